"""The commands about waveforms: embed, and SeisCLIP's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from seisprobe.cli.shell import Json, Quiet, Scheduler, Workers, app, talking


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
    with talking(quiet=quiet, verbose=False) as progress:
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

    with talking(quiet=as_json, verbose=False) as progress:
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
