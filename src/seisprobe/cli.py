"""The command line: parses, prints, sets the exit status; knows no science.

Exit status: 0 done, whatever the verdict; 1 failed; 2 command line, study or a file it names is malformed or missing;
130 after SIGINT, 143 after SIGTERM, both resumable by the same command.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from seisprobe import __version__
from seisprobe.errors import SeisprobeError

__all__ = ["app", "main"]

INTERRUPTED, TERMINATED = 130, 143

app = typer.Typer(
    name="seisprobe",
    help="Tests whether seismic data change before large earthquakes, with controls, nulls and power.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)]
FolderPath = Annotated[Path, typer.Argument(metavar="DIR", help="A study folder that `run` made.", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override section.key of the study; may repeat.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The study folder.  [default: ./NAME]")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Compute everything again; keep catalog and waveforms.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print the verdict alone.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print what is done in detail.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes.")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", metavar="tcp://…", help="A dask scheduler, or local.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output, and nothing else.")]


class Stopped(BaseException):
    """SIGINT or SIGTERM: unwinds everything, so that locks and temporary files go.

    Not KeyboardInterrupt: typer catches that one, and what it makes of it depends on its version.
    """

    def __init__(self, status: int) -> None:
        self.status = status


def main() -> None:
    """Run the command line; every failure that a user can meet is one line on standard error."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell sets it for what runs in the background
        signal.signal(signal.SIGINT, _stop)
    try:
        app(standalone_mode=False)
    except SeisprobeError as error:
        _fail(str(error), error.exit_status)
    except Stopped as stopped:
        said = "interrupted" if stopped.status == INTERRUPTED else "terminated"
        _fail(f"{said}; the same command continues where it stopped", stopped.status)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us is gone; nothing is left to be said
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  typer's own exceptions carry their exit status; anything else is ours
        _usage_or_bug(error)


def _usage_or_bug(error: Exception) -> None:
    if isinstance(error, typer.Exit):
        sys.exit(error.exit_code)
    message = getattr(error, "format_message", None)
    if message is not None and "\n" in message():
        typer.echo(message(), err=True)  # no command was given: the help itself
        sys.exit(2)
    if message is not None:
        _fail(f"{message()} (see seisprobe --help)", 2)
    if isinstance(error, MemoryError | OSError):
        _fail(f"{type(error).__name__}: {error}", 1)
    raise error


def _fail(message: str, status: int) -> None:
    typer.echo(f"seisprobe: {message}", err=True)
    sys.exit(status)


def _stop(signum: int, _frame: FrameType | None) -> None:
    raise Stopped(INTERRUPTED if signum == signal.SIGINT else TERMINATED)


@contextmanager
def _talking(*, quiet: bool, verbose: bool) -> Iterator[Callable[[float, str], None]]:
    """Print the log to standard error, and a bar for what lasts over two seconds."""
    from tqdm import tqdm

    log = logging.getLogger("seisprobe")
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.ERROR if quiet else logging.DEBUG)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    bar = tqdm(
        total=1000,
        delay=2,
        mininterval=1 if sys.stderr.isatty() else 15,
        disable=quiet,
        file=sys.stderr,
        bar_format="{l_bar}{bar}| {elapsed}<{remaining}",
    )

    def progress(share: float, text: str) -> None:
        bar.set_description_str(text, refresh=False)
        bar.update(round(1000 * share) - bar.n)

    try:
        yield progress
    finally:
        bar.leave = False
        bar.close()
        log.removeHandler(handler)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"seisprobe {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tests whether seismic data change before large earthquakes, with controls, nulls and power."""


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
    with _talking(quiet=quiet, verbose=verbose) as progress:
        executor = choose_executor(workers, scheduler)
        result = pipeline.run(loaded, out=folder, fresh=fresh, executor=executor, progress=progress)
    _print_verdict(result, folder)


def _print_verdict(result: dict[str, Any], folder: Path) -> None:
    primary = next(cell for cell in result["cells"] if cell["primary"])
    typer.echo(f"{result['verdict']['word']}: {result['verdict']['why']}")
    if primary["auc"] is not None:
        percentiles = ", ".join(f"{n} {u:.2f}" for n, u in primary["percentiles"].items() if u is not None)
        typer.echo(
            f"{primary['score']} of {primary['modality']}, {primary['hours']:g} h, {primary['background']}:"
            f" AUC {primary['auc']:.2f} ({percentiles})"
        )
    typer.echo(f"report: {folder / 'report.html'}")


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
    with _talking(quiet=as_json, verbose=False) as progress:
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
    with _talking(quiet=quiet, verbose=False) as progress:
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


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The study folder.")] = Path("seisprobe-demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulated world.")] = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a study on a simulated world.

    A catalog with a known answer: no network, no files needed.
    """
    from seisprobe.demo import run_demo

    with _talking(quiet=quiet, verbose=verbose) as progress:
        result, truth = run_demo(out, seed=seed, progress=progress)
    typer.echo(f"truth: {truth['answer']}")
    _print_verdict(result, out)


@app.command()
def calibrate(
    worlds: Annotated[int, typer.Option("--worlds", min=1, help="How many worlds.")] = 2000,
    kind: Annotated[
        str, typer.Option("--kind", help="stationary, poisson, drift, daily or confounder.")
    ] = "stationary",
    size: Annotated[float, typer.Option("--size", min=0.0, help="Rate increase before the mainshocks; 0: none.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the worlds.")] = 0,
    mainshocks: Annotated[int, typer.Option("--mainshocks", min=1, help="K, the largest events of a world.")] = 3,
    workers: Workers = 1,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where calibration.json goes.")] = Path(
        "calibration"
    ),
    quiet: Quiet = False,
) -> None:
    """Measure false alarms and power.

    Runs the protocol on many simulated worlds; resumable.
    """
    from seisprobe.calibration import Request, calibrate, rate_lines

    with _talking(quiet=quiet, verbose=False) as progress:
        rates = calibrate(Request(kind, worlds, size, seed, mainshocks), out, workers=workers, progress=progress)
    typer.echo("\n".join(rate_lines(rates)))


@app.command()
def embed(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="sds:, mseed: or instance: and a path, or fdsn: and a data centre.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the vectors.")] = Path("embeddings"),
    encoder: Annotated[
        str, typer.Option("--encoder", help="A name of `weights list`, band_energy or random_encoder.")
    ] = "seisclip-120",
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="A checkpoint, by its path.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")] = "auto",
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="2016-10-30T00:00:00Z.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="Not included.")] = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="S,N,W,E", help="Box of stations or events, in degrees.")
    ] = None,
    stations: Annotated[
        list[str] | None, typer.Option("--stations", metavar="NET.STA", help="May repeat; * and ? are wild.")
    ] = None,
    hop_s: Annotated[int, typer.Option("--hop-s", help="Seconds from one segment to the next, 1 to 60.")] = 60,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    everything: Annotated[bool, typer.Option("--all", help="All of a large source, nothing chosen.")] = False,
    metadata: Annotated[
        bool, typer.Option("--metadata", help="Embed the metadata of event traces too, and give the cosine.")
    ] = False,
    scale: Annotated[float, typer.Option("--scale", help="Samples times this; 1e9 for data in m/s.")] = 1.0,
    quiet: Quiet = False,
) -> None:
    """Turn waveforms into vectors.

    Any waveforms, resumable: what is done is not done again.
    """
    from seisprobe.embedding import Recipe, Segmenting, choose_executor
    from seisprobe.sources.waveforms import Query
    from seisprobe.vectors import embed_source, embedded_lines, parse_region, parse_time

    query = Query(parse_time(start, "--start"), parse_time(end, "--end"), parse_region(region), tuple(stations or ()))
    options: dict[str, Any] = {"name": encoder}
    if encoder != "band_energy":
        options |= {"weights": weights, "precision": precision} if encoder != "random_encoder" else {}
    recipe = Recipe(options, Segmenting(hop_s), scale=scale, metadata=metadata)
    with _talking(quiet=quiet, verbose=False) as progress:
        made = embed_source(
            source, query, out, recipe,
            executor=choose_executor(workers, scheduler), everything=everything, progress=progress,
        )  # fmt: skip
    typer.echo("\n".join(embedded_lines(made)))


weights_app = typer.Typer(
    help="Keep and check SeisCLIP's weights.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
app.add_typer(weights_app, name="weights")
WeightsDir = Annotated[
    Path | None, typer.Option("--weights-dir", metavar="DIR", help="Folder of weights.  [default: the user's cache]")
]
WeightsName = Annotated[str, typer.Argument(metavar="NAME", help="For example seisclip-120.", show_default=False)]


def _show(found: Any, lines: Callable[[], list[str]], *, as_json: bool) -> None:
    from seisprobe.storage import strict_json

    typer.echo(strict_json(found) if as_json else "\n".join([*lines(), ""]), nl=False)


@weights_app.command("list")
def list_weights(weights_dir: WeightsDir = None, as_json: Json = False) -> None:
    """List known and installed weights."""
    from seisprobe import seisclip

    rows = seisclip.list_weights(weights_dir)
    state = {True: "installed", False: "not here"}
    _show(rows, lambda: [f"{r['name']:<20} {state[r['installed']]:<10} {r['path'] or r['page'] or ''}" for r in rows],
          as_json=as_json)  # fmt: skip


@weights_app.command("add")
def add_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An official .pt, or .safetensors.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="Name to keep it under.")] = None,
    weights_dir: WeightsDir = None,
    as_json: Json = False,
) -> None:
    """Check a checkpoint and keep it."""
    from seisprobe import seisclip

    _show_added(seisclip.add_weights(file, name, weights_dir), as_json=as_json)


@weights_app.command("fetch")
def fetch_weights(name: WeightsName, weights_dir: WeightsDir = None, as_json: Json = False) -> None:
    """Download official weights and keep them."""
    from seisprobe import seisclip

    with _talking(quiet=as_json, verbose=False) as progress:
        record = seisclip.fetch_weights(
            name, weights_dir, progress=lambda done, total: progress(done / total if total else 0.0, name)
        )
    _show_added(record, as_json=as_json)


def _show_added(record: dict[str, Any], *, as_json: bool) -> None:
    keys = ("name", "path", "sha256", "git_blob", "said")
    _show(record, lambda: [f"{key:<9} {record[key]}" for key in keys], as_json=as_json)


@weights_app.command("info")
def weights_info(name: WeightsName, weights_dir: WeightsDir = None, as_json: Json = False) -> None:
    """Say all that is known of installed weights."""
    from seisprobe import seisclip

    found = seisclip.weights_info(name, weights_dir)
    _show(found, lambda: [f"{key:<9} {value}" for key, value in found.items()], as_json=as_json)


@weights_app.command("check")
def check_weights(
    name: WeightsName,
    weights_dir: WeightsDir = None,
    threads: Annotated[int, typer.Option("--threads", min=0, help="0: one a processor.")] = 0,
    compiled: Annotated[bool, typer.Option("--compiled", help="Also torch.compile: half a minute each.")] = False,
    as_json: Json = False,
) -> None:
    """Encode a built-in minute with every backend."""
    from seisprobe import seisclip

    rows = seisclip.check_weights(name, weights_dir, threads=threads, compiled=compiled)
    _show(rows, lambda: [_checked_line(row) for row in rows], as_json=as_json)


def _checked_line(row: dict[str, Any]) -> str:
    what = f"{row['backend']:<9} {row['precision']:<9}"
    if "skipped" in row:
        return f"{what} skipped: {row['skipped']}"
    return (
        f"{what} {row['shape']} norm {row['norm']:.4f} cosine {row['cosine']:.6f} {row['windows_per_s']:.0f} windows/s"
    )
