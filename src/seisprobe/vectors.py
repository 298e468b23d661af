"""Any waveforms to vectors on disk, without a study: what `seisprobe embed` does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from seisprobe.embedding.embed import Embedded, embed, epoch_edges
from seisprobe.embedding.executors import Executor, serial
from seisprobe.embedding.work import Recipe
from seisprobe.errors import InputError
from seisprobe.sources.fdsn_stations import read_stations
from seisprobe.sources.fdsn_waveforms import fetch_waveforms, plan_fetch
from seisprobe.sources.waveforms import REGION, ContinuousSource, Query, open_waveform_source

__all__ = ["embed_source", "embedded_lines", "parse_region", "parse_time"]

MOST_UNASKED = 100
Progress = Callable[[float, str], None]


def parse_time(text: str | None, name: str) -> pd.Timestamp | None:
    """Return a time of the command line, None for none.

    Examples
    --------
    >>> parse_time("2016-10-30T06:00:00Z", "--start")
    Timestamp('2016-10-30 06:00:00+0000', tz='UTC')
    >>> parse_time("2016-10-30", "--start")
    Traceback (most recent call last):
    seisprobe.errors.InputError: --start 2016-10-30: has no time zone; write it as 2016-10-30T00:00:00Z
    """
    if text is None:
        return None
    try:
        time = pd.Timestamp(text)
    except ValueError:
        raise InputError(f"{name} {text}: is no time; write it as 2016-10-30T00:00:00Z") from None
    if pd.isna(time):
        raise InputError(f"{name} {text}: is no time; write it as 2016-10-30T00:00:00Z")
    if time.tzinfo is None:
        raise InputError(f"{name} {text}: has no time zone; write it as {time:%Y-%m-%dT%H:%M:%S}Z")
    return time.tz_convert("UTC")


def parse_region(text: str | None) -> dict[str, float] | None:
    """Return a box of the command line, None for none.

    Examples
    --------
    >>> parse_region("42,43.5,12.5,13.8")["max_latitude"]
    43.5
    """
    if text is None:
        return None
    try:
        edges = [float(part) for part in text.split(",")]
    except ValueError:
        edges = []
    if len(edges) != len(REGION) or not (edges[0] < edges[1] and edges[2] < edges[3]):
        raise InputError(
            f"--region {text}: write south,north,west,east in degrees, south below north and west below east, as"
            " 42,43.5,12.5,13.8"
        )
    return dict(zip(REGION, edges, strict=True))


def embed_source(
    source: str,
    query: Query,
    out: Path,
    recipe: Recipe,
    *,
    executor: Executor = serial,
    everything: bool = False,
    progress: Progress | None = None,
) -> Embedded:
    """Embed the waveforms of a source into ``out/<fingerprint>``; what is there already is not made again.

    Parameters
    ----------
    source : str
        ``sds:``, ``mseed:``, ``instance:`` and a path relative to the recipe's folder, or ``fdsn:`` and a data centre,
        whose waveforms are fetched into ``out/waveforms`` first.
    query : Query
    out : Path
    recipe : Recipe
    executor : callable
    everything : bool
        Needed where nothing of a large source is chosen: no times, stations or region, and over 100 station-days or
        chunks.
    progress : callable, optional

    Returns
    -------
    Embedded

    Raises
    ------
    SeisprobeError
        See `seisprobe.embedding.embed.embed` and `fetch_waveforms`.
    """
    if not math.isfinite(recipe.scale) or recipe.scale == 0:
        raise InputError(f"--scale {recipe.scale:g}: give a number that is not zero, 1e9 for data in m/s")
    scheme, _, rest = source.partition(":")
    if scheme == "fdsn":
        return _fetched_and_embedded(rest, query, out, recipe, executor, progress)
    opened = open_waveform_source(source, folder=recipe.folder)
    n = len(opened.units(query))
    if not n:
        raise InputError(f"{source}: holds nothing of these stations, times and region{_why_nothing(opened)}")
    if not everything and query == Query(channels=query.channels) and n > MOST_UNASKED:
        raise InputError(
            f"{source}: holds {n} station-days or chunks of traces; choose with --start, --end, --stations or"
            " --region, or take them all with --all"
        )
    return embed(opened, query, out, recipe, executor=executor, progress=progress)


def _fetched_and_embedded(
    service: str, query: Query, out: Path, recipe: Recipe, executor: Executor, progress: Progress | None
) -> Embedded:
    """Fetch into an archive, then embed the stations that the data centre named, by their metadata's epochs."""
    archive = out / "waveforms"
    fetched = fetch_waveforms(service, query, archive, progress=progress)
    named = {f"{unit.network}.{unit.station}" for unit in plan_fetch(service, query, archive)[0]}
    inventory = read_stations(archive)
    edges = {} if inventory is None else epoch_edges(inventory)
    mine = {key: times for key, times in edges.items() if ".".join(key.split(".")[:2]) in named}
    opened = open_waveform_source(f"sds:{archive.resolve()}", folder=Path())
    wanted = replace(query, region=None, stations=tuple(sorted(named)))
    made = embed(opened, wanted, out, replace(recipe, edges=mine), executor=executor, progress=progress)
    return replace(made, problems=[*fetched.problems, *made.problems])


def _why_nothing(source: object) -> str:
    problems = source.problems() if isinstance(source, ContinuousSource) else []
    return f" ({problems[0]})" if problems else ""


def embedded_lines(made: Embedded) -> list[str]:
    """Return what became of all segments, for a person."""
    counts = made.counts
    done = f"{made.units} station-days or chunks, {made.done} of them done before"
    lines = [f"{done}; {counts.get('embedded', 0)} of {counts.get('segments', 0)} segments embedded now"]
    lines += [f"  {name}: {n}" for name, n in counts.items() if name not in ("embedded", "segments") and n]
    whole = [p for p in made.problems if not any(other != p and other.startswith(p) for other in made.problems)]
    return [*lines, *(f"  {_printable(problem)}" for problem in whole), f"parts: {made.store.folder}"]


def _printable(text: str) -> str:
    """Return a text that any terminal can show: names of files may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
