"""The commands about simulated worlds: demo, simulate, calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seisprobe.cli.shell import Quiet, Verbose, Workers, app, talking
from seisprobe.cli.studies import print_verdict

Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulated world.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The study folder.")] = Path("seisprobe-demo"),
    seed: Seed = 0,
    null: Annotated[bool, typer.Option("--null", help="A world without a precursor.")] = False,
    preset: Annotated[str, typer.Option("--preset", help="norcia, power or small.")] = "norcia",
    workers: Workers = 1,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a study on a simulated world.

    A catalog and seismograms with a known answer: no network, no files needed.
    """
    from seisprobe.demo import Request, right_line, run_demo
    from seisprobe.embedding.executors import choose_executor
    from seisprobe.presets import default_precursor, find_preset

    precursor = None if null else default_precursor(find_preset(preset))
    request = Request(preset, seed, precursor)
    with talking(quiet=quiet, verbose=verbose) as progress:
        result, truth = run_demo(request, out, executor=choose_executor(workers), progress=progress)
    typer.echo(f"truth: {truth['answer']}")
    print_verdict(result, out)
    typer.echo(right_line(result, truth))


@app.command()
def simulate(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="norcia, power or small.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The world.  [default: ./PRESET]")] = None,
    seed: Seed = 0,
    days: Annotated[
        int | None,
        typer.Option(
            "--days",
            help="Days of continuous record, to the day after the last mainshock.",
            show_default="what its study looks at",
        ),
    ] = None,
    stations: Annotated[
        str,
        typer.Option(
            "--stations", metavar="N|NET.STA,…", help="How many, or which of --inventory.", show_default="the preset's"
        ),
    ] = "",
    inventory: Annotated[
        Path | None, typer.Option("--inventory", metavar="FILE", help="StationXML: places and gains.")
    ] = None,
    catalog: Annotated[
        Path | None, typer.Option("--catalog", metavar="FILE", help="A real catalog instead of a simulated one.")
    ] = None,
    precursor: Annotated[
        str,
        typer.Option("--precursor", metavar="KIND:SIZE", help="rate:20, b-value:0.4, tremor:10, repeaters:3 or none."),
    ] = "none",
    confounder: Annotated[
        str,
        typer.Option("--confounder", metavar="KIND", help="gain-listed, gain-unlisted, outages, hours, slow-drift."),
    ] = "",
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Write a simulated world as files.

    Catalog, SDS archive, StationXML, the study that looks at it, and the truth; resumable.
    """
    from seisprobe.demo import Request, simulate, world_lines
    from seisprobe.embedding.executors import choose_executor
    from seisprobe.presets import find_preset
    from seisprobe.simulation.precursors import parse_precursor

    asked = parse_precursor(precursor, max(find_preset(preset).hours))
    request = Request(preset, seed, asked, confounder, stations, inventory, days, catalog)
    folder = out if out is not None else Path(preset)
    with talking(quiet=quiet, verbose=False) as progress:
        truth = simulate(request, folder, executor=choose_executor(workers), progress=progress)
    typer.echo("\n".join(world_lines(truth, folder)))


@app.command()
def calibrate(
    worlds: Annotated[int, typer.Option("--worlds", min=1, help="How many worlds; with --study, trials.")] = 2000,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="Catalogs: stationary, poisson, drift, daily, confounder; by rule: rule, rule-places, rule-uneven."
            " Waveforms:"
            " clean, gain-listed, gain-unlisted, outages, hours, slow-drift. With --study: embedding or tremor.",
        ),
    ] = "stationary",
    size: Annotated[
        list[float] | None,
        typer.Option("--size", help="Rate increase; with --study, sd or dB, and again for more.  [default: 0]"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the worlds.")] = 0,
    mainshocks: Annotated[
        int,
        typer.Option(
            "--mainshocks",
            min=0,
            help="K, the largest events of a world; by rule the least.",
            show_default="3; 6 with waveforms; 20 by rule",
        ),
    ] = 0,
    workers: Workers = 1,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where calibration.json goes.")] = Path(
        "calibration"
    ),
    study: Annotated[
        Path | None,
        typer.Option("--study", metavar="DIR", help="Put precursors into the record of a finished study instead."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure false alarms and power.

    Runs the protocol on many simulated worlds, or on a study into which precursors are put; resumable.
    """
    from seisprobe.calibration import Request, calibrate, inject, injection_lines, rate_lines
    from seisprobe.embedding.executors import choose_executor
    from seisprobe.errors import InputError

    sizes = size or [0.0]
    with talking(quiet=quiet, verbose=False) as progress:
        if study is not None:
            found = inject(study, kind, sizes, worlds, seed, executor=choose_executor(workers), progress=progress)
            lines = injection_lines(found)
        elif len(sizes) == 1:
            request = Request(kind, worlds, sizes[0], seed, mainshocks)
            lines = rate_lines(calibrate(request, out, workers=workers, progress=progress))
        else:
            raise InputError(f"--size {sizes[1]:g}: several sizes go with --study; give one")
    typer.echo("\n".join(lines))
    if study is not None:
        from seisprobe import pipeline

        typer.echo(f"report: {pipeline.report(study)}")
