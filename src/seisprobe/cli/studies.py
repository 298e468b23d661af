"""The commands about studies: run, plan, fetch, status, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seisprobe.cli.shell import (
    FolderPath,
    Fresh,
    Json,
    Out,
    Quiet,
    Scheduler,
    Settings,
    StudyPath,
    Verbose,
    Workers,
    app,
    talking,
)

__all__ = ["print_verdict"]

MOST_NAMED = 20  # mainshocks whose percentiles are printed one by one


@app.command()
def run(
    study: StudyPath,
    out: Out = None,
    settings: Settings = None,
    fresh: Fresh = False,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Leave out a modality; again for more.")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a study to its report.

    Does what is not done yet; a second run does nothing again.
    """
    from seisprobe import pipeline
    from seisprobe.embedding.executors import choose_executor
    from seisprobe.planning import leave_out
    from seisprobe.study import load_study

    loaded = leave_out(load_study(study, settings or ()), without or ())
    folder = out if out is not None else Path(loaded.study.name)
    with talking(quiet=quiet, verbose=verbose) as progress:
        executor = choose_executor(workers, scheduler)
        result = pipeline.run(loaded, out=folder, fresh=fresh, executor=executor, progress=progress)
    print_verdict(result, folder)


def print_verdict(result: dict[str, Any], folder: Path) -> None:
    """Print word, reason and effect, and where the report is."""
    primary = next(cell for cell in result["cells"] if cell["primary"])
    typer.echo(f"{result['verdict']['word']}: {result['verdict']['why']}")
    if primary["auc"] is not None:
        typer.echo(
            f"{primary['score']} of {primary['modality']}, {primary['hours']:g} h, {primary['background']}:"
            f" AUC {primary['auc']:.2f} ({_percentiles(primary['percentiles'])})"
        )
    typer.echo(f"report: {folder / 'report.html'}")


def _percentiles(found: dict[str, float | None]) -> str:
    """Return the percentile of each mainshock, or of many how they spread."""
    known = {name: u for name, u in found.items() if u is not None}
    if len(known) <= MOST_NAMED:
        return ", ".join(f"{name} {u:.2f}" for name, u in known.items())
    in_order = sorted(known.values())
    low, middle, high = (in_order[round(share * (len(in_order) - 1))] for share in (0.1, 0.5, 0.9))
    return f"{len(known)} mainshocks: a tenth below {low:.2f}, half below {middle:.2f}, a tenth above {high:.2f}"


@app.command()
def plan(study: StudyPath, settings: Settings = None, as_json: Json = False) -> None:
    """Check a study; say what it could show.

    Windows, backgrounds and power. May fetch the catalog, never waveforms.
    """
    from seisprobe import pipeline
    from seisprobe.costs import waveform_costs
    from seisprobe.foretell import foretell, plan_lines
    from seisprobe.planning import modalities_of
    from seisprobe.storage import strict_json
    from seisprobe.study import load_study

    loaded = load_study(study, settings or ())
    with talking(quiet=as_json, verbose=False) as progress:
        planned = pipeline.plan(loaded, progress=progress)
        costs = waveform_costs(loaded, planned, Path(loaded.study.name))
    foretold = foretell(loaded, planned, modalities_of(loaded), costs)
    text = strict_json(foretold) if as_json else "\n".join([*plan_lines(loaded, planned, foretold, costs), ""])
    typer.echo(text, nl=False)


@app.command()
def fetch(
    study: StudyPath,
    out: Out = None,
    settings: Settings = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Requests at the same time.")] = 2,
    quiet: Quiet = False,
) -> None:
    """Fetch catalog, stations and waveforms.

    What the study's windows touch and its archive lacks; may be killed at any point and run again.
    """
    from seisprobe.fetching import fetch_study, fetched_lines
    from seisprobe.study import load_study

    loaded = load_study(study, settings or ())
    folder = out if out is not None else Path(loaded.study.name)
    with talking(quiet=quiet, verbose=False) as progress:
        archive, fetched = fetch_study(loaded, folder, parallel=workers, progress=progress)
    typer.echo("\n".join(fetched_lines(loaded, archive, fetched)))


@app.command()
def status(folder: FolderPath, as_json: Json = False) -> None:
    """Say how far a study is.

    What is planned, done, dropped and left to do, from the files alone.
    """
    from seisprobe.status import folder_status, status_lines
    from seisprobe.storage import strict_json

    found = folder_status(folder)
    typer.echo(strict_json(found) if as_json else "\n".join([*status_lines(found), ""]), nl=False)


@app.command()
def report(folder: FolderPath) -> None:
    """Write the report again.

    From the files of a study folder alone.
    """
    from seisprobe import pipeline

    typer.echo(f"report: {pipeline.report(folder)}")
