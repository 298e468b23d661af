"""What the windows of a plan see of the waveforms: which segments are valid, which were drawn, and their vectors.

All segments of the windows are looked at once (`scan`), then exactly as many of the valid ones are drawn for each
window and station, and only these are embedded. A waveform becomes a vector once, however many windows share it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.catalog import Integers, times_us
from seisprobe.embedding.components import LENGTH_S
from seisprobe.embedding.drawing import Bools, Drawn, draw_segments, priorities, touched, wanted_starts
from seisprobe.embedding.embed import Embedded, Progress, embed, scan
from seisprobe.embedding.executors import Executor, serial
from seisprobe.embedding.store import Store
from seisprobe.embedding.work import Recipe, open_source
from seisprobe.errors import InputError
from seisprobe.sources.waveforms import ContinuousSource, Query

__all__ = ["ALL", "MASKED", "METADATA", "Request", "Waves", "observe"]

log = logging.getLogger("seisprobe")
ALL, MASKED = "", "masked"
METADATA = "metadata"  # the use whose encoder gives vectors of traces' metadata too
LOOKED_AT = ("start", "reason", "rate_hz", "epoch", "priority", "unit", "instrument")
NAMES = ("reason", "unit", "instrument")
LEAST_COVER = 0.5
POOLED = ""
Spans = Mapping[str, tuple[Integers, Integers]]


@dataclass(frozen=True)
class Request:
    """What is to be observed.

    Parameters
    ----------
    windows : DataFrame
        Rows of a plan that need waveforms.
    counts : ndarray of int64, shape (rows,)
        How many segments each takes.
    seed : int
    near : callable, optional
        Station → which windows it stands for, booleans of shape (rows,); None: all.
    spans : mapping of station to (starts, ends) in microseconds, optional
        Times that the event-masked draw leaves out; None: there is no such draw.
    """

    windows: pd.DataFrame
    counts: Integers
    seed: int
    near: Callable[[str], Bools] | None = None
    spans: Spans | None = None


@dataclass(frozen=True)
class Waves:
    """Segments and vectors of the windows that were asked for.

    Parameters
    ----------
    windows : DataFrame
        The rows asked for.
    segments : mapping of station to DataFrame
        All segments looked at, `LOOKED_AT`, in order of time; the station is "NET.STA", or "" for traces of events,
        which are pooled.
    drawn : mapping of (draw, station) to Drawn
        The draw is `ALL` or `MASKED`; rows are positions in `windows`, segments positions in the station's table.
    stores : mapping of use to Store
        Vectors by what they are for.
    seed : int
        Of the priorities.
    asked : mapping of station to int
        Windows that the station stands for, whether it has segments enough or not.
    """

    windows: pd.DataFrame
    segments: Mapping[str, pd.DataFrame]
    drawn: Mapping[tuple[str, str], Drawn]
    stores: Mapping[str, Store]
    seed: int
    asked: Mapping[str, int] = field(default_factory=dict)

    @property
    def stations(self) -> tuple[str, ...]:
        """The stations that have windows, sorted."""
        return tuple(sorted(self.segments))

    def vectors(self, use: str, station: str, column: str = "vector") -> tuple[NDArray[Any], Integers]:
        """Return all vectors of a station, and for each of its segments the row of its vector (−1: none)."""
        store = self.stores[use]
        table, vectors = store.read(_keys_of(store, station), (column,))
        kept = priorities(table.loc[table["reason"].eq(""), "segment_id"], self.seed)
        return vectors, pd.Index(kept).get_indexer(self.segments[station]["priority"]).astype(np.int64)


def observe(
    source: str,
    query: Query,
    root: Path,
    request: Request,
    recipe: Recipe,
    encoders: Mapping[str, Mapping[str, Any]],
    *,
    executor: Executor = serial,
    progress: Progress | None = None,
) -> Waves:
    """Scan the segments of windows, draw some, and embed those.

    Parameters
    ----------
    source : str
        ``"scheme:rest"``.
    query : Query
        Stations and channels; its times must hold all windows.
    root : Path
        Folder of embeddings.
    request : Request
    recipe : Recipe
        Segmenting, epochs, number type; its encoder is replaced.
    encoders : mapping of use to arguments of `make_encoder`
        Each makes a store of its own; what has the arguments of `METADATA` reads that one.
    executor, progress
        As for `embed`.

    Returns
    -------
    Waves

    Raises
    ------
    InputError
        No station has enough valid segments in half of the windows.
    SeisprobeError
        As `embed`.
    """
    opened = open_source(source, recipe.folder)
    continuous = isinstance(opened, ContinuousSource)
    wanted = _wanted(opened.units(query), request.windows, recipe.segmenting.hop_s) if continuous else None
    log.info("waveforms: looking at %s", "all traces" if wanted is None else f"{len(wanted)} station-days")
    looked = scan(source, query, root, recipe, wanted=wanted, executor=executor, progress=progress)
    segments = _by_station(looked.store, request.seed, pooled=not continuous)
    drawn, asked, lines = _draw(segments, request)
    for line in (*looked.problems, *lines):
        log.warning("%s", line)
    if not drawn:
        why = "; ".join(lines) or "it holds nothing of these stations and times"
        why = f"no station has enough valid segments in half of the windows; {why}"
        raise InputError(f"{source}: {why if continuous else _few_traces(segments.get(POOLED), request)}")
    stations = sorted({station for _, station in drawn})
    segments = {station: segments[station] for station in stations}
    waves = Waves(request.windows.reset_index(drop=True), segments, drawn, {}, request.seed, asked)
    chosen = _chosen(waves) if continuous else None
    making = partial(embed, source, query, root, wanted=chosen, executor=executor, progress=progress)
    many = sum(len(starts) for starts in chosen.values()) if chosen is not None else "the traces'"
    return replace(waves, stores=_embedded(making, recipe, encoders, many))


def _embedded(
    making: Callable[[Recipe], Embedded], recipe: Recipe, encoders: Mapping[str, Mapping[str, Any]], many: int | str
) -> dict[str, Store]:
    """Return the store of each use; one that has the encoder of `METADATA` shares its vectors of waveforms."""
    stores: dict[str, Store] = {}
    for use in sorted(encoders, key=lambda use: use != METADATA):
        arguments = encoders[use]
        if METADATA in stores and arguments == encoders[METADATA]:
            stores[use] = stores[METADATA]
            continue
        log.info("waveforms: embedding %s segments with %s", many, arguments["name"])
        stores[use] = making(replace(recipe, encoder=arguments, metadata=use == METADATA)).store
    return {use: stores[use] for use in encoders}


def _wanted(units: Iterable[Any], windows: pd.DataFrame, hop_s: int) -> dict[str, Integers]:
    """Return the segments to look at, by key of the station-day."""
    starts = wanted_starts(windows, hop_s)
    return {unit.key: starts[unit.day] for unit in units if unit.day in starts}


def _by_station(store: Store, seed: int, *, pooled: bool) -> dict[str, pd.DataFrame]:
    """Return the segments of each station in order of time (of traces: all of them together)."""
    groups: dict[str, list[str]] = {}
    for key in store.units():
        groups.setdefault(POOLED if pooled else _station_of(key), []).append(key)
    found = {}
    for station, keys in sorted(groups.items()):
        table = pd.concat([_compact(store, key, seed) for key in keys], ignore_index=True)
        for name in NAMES:  # a few different names, millions of times
            table[name] = table[name].astype("category")
        found[station] = table.sort_values(["start", "priority"], kind="stable", ignore_index=True)
    return found


def _compact(store: Store, key: str, seed: int) -> pd.DataFrame:
    """Return the segments of a unit with a start, in few bytes: their names give way to their priorities."""
    table, _ = store.read([key], ())
    table = table.loc[table["start"].notna()]
    instrument = table["location"] + "." + table["channels"].str[:2]
    table = table.assign(unit=key, priority=priorities(table["segment_id"], seed), instrument=instrument)
    return table.astype({"rate_hz": np.float32})[list(LOOKED_AT)]


def _station_of(key: str) -> str:
    return ".".join(key.split(".")[:2])


def _keys_of(store: Store, station: str) -> list[str]:
    return [key for key in store.units() if station in (POOLED, _station_of(key))]


def _draw(
    segments: Mapping[str, pd.DataFrame], request: Request
) -> tuple[dict[tuple[str, str], Drawn], dict[str, int], list[str]]:
    """Draw segments at each station; how many windows it stands for; lines on those that cover few, or too few."""
    windows = request.windows
    begin, end = times_us(windows["start"]), times_us(windows["end"])
    drawn: dict[tuple[str, str], Drawn] = {}
    asked, lines = {}, []
    for station, table in segments.items():
        mine = np.ones(len(windows), dtype=bool) if request.near is None else request.near(station)
        if not mine.any():
            continue
        counts = np.where(mine, request.counts, len(table) + 1)
        starts, order = times_us(table["start"]), table["priority"].to_numpy()
        valid = table["reason"].eq("").to_numpy()
        found = draw_segments(starts, valid, order, (begin, end, counts))
        covered, most = len(found.rows), int(mine.sum())
        asked[station] = most
        if covered < most:
            said = f"{station or 'the traces'}: {covered} of {most} windows have enough valid segments"
            lines.append(said if covered >= LEAST_COVER * most else f"{said}; left out")
        if covered < LEAST_COVER * most:
            continue
        drawn[ALL, station] = found
        if request.spans is not None and station in request.spans:
            unshaken = valid & ~touched(starts, request.spans[station])
            drawn[MASKED, station] = draw_segments(starts, unshaken, order, (begin, end, counts))
    return drawn, asked, lines


def _few_traces(table: pd.DataFrame | None, request: Request) -> str:
    """Return how many windows have enough segments of traces, and what to do, in one line."""
    if table is None or not len(table):
        return "holds no trace of the study's region, stations and times; name another file, or change [study] region"
    valid = times_us(table.loc[table["reason"].eq(""), "start"])
    begin, end = times_us(request.windows["start"]), times_us(request.windows["end"])
    held = np.searchsorted(valid, end - LENGTH_S * 1_000_000, "right") - np.searchsorted(valid, begin)
    full = int(request.counts.max())
    said = f"{int((held >= request.counts).sum())} of {len(held)} windows have enough traces ({full} minutes; half of"
    # as `planning.waveform_rows` has it, half as many are taken of a window of the hour after, and two at least
    most = np.where(held < 2, 0, np.where(request.counts < full, 2 * held, held))
    enough = int(np.sort(most)[len(most) // 2])
    lower = f"lower [segments] per_window to {enough} or less" if enough >= 2 else "take longer [windows] hours"
    return f"{said} the windows must): {lower}"


def _chosen(waves: Waves) -> dict[str, Integers]:
    """Return the starts of all drawn segments, by key of the station-day."""
    chosen: dict[str, Integers] = {}
    for station in waves.stations:
        used = np.unique(np.concatenate([d.used for (_, name), d in waves.drawn.items() if name == station]))
        some = waves.segments[station].iloc[used]
        seconds = pd.Series(times_us(some["start"]) // 1_000_000)
        chosen |= {str(key): mine.to_numpy() for key, mine in seconds.groupby(some["unit"].to_numpy(dtype=object))}
    return chosen
