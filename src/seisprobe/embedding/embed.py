"""Waveforms to vectors: what is planned, less what is done, shared out to workers, each unit one part on disk.

A worker reads and places the next unit while it encodes this one. Its encoder is made once, from settings that were
resolved before work was shared out, so that every worker makes the same vectors or fails.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.embedding.components import LENGTH_S, Segmenting
from seisprobe.embedding.executors import Executor, serial
from seisprobe.embedding.segments import empty_table, grid_starts
from seisprobe.embedding.store import Store, fingerprint_of
from seisprobe.embedding.work import (
    Done,
    Job,
    Recipe,
    Source,
    Task,
    edges_of,
    forget,
    make_bench,
    make_encoder,
    open_source,
    problems_of,
    read_unit,
)
from seisprobe.embedding.work import work as work_on
from seisprobe.errors import BusyError, InputError, StorageError
from seisprobe.sources.waveforms import ContinuousSource, Query, StationDay, TraceChunk, TraceSource

__all__ = ["Embedded", "Wanted", "embed", "epoch_edges", "scan", "scan_unit"]

_US = 1_000_000
Wanted = Mapping[str, NDArray[Any]]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Embedded:
    """What a run of `embed` did.

    Parameters
    ----------
    store : Store
    units, done : int
        Units with wanted segments; those that were done before.
    counts : dict of str to int
        Of this run: segments, embedded, resampled, snapped, bridged, and ``dropped:REASON``.
    absent : list of str
        Units that were wanted and of which the source has nothing.
    problems : list of str
        One line for each file that could not be read whole.
    """

    store: Store
    units: int
    done: int
    counts: dict[str, int]
    absent: list[str]
    problems: list[str]


# --- the library functions ------------------------------------------------------------------------------------------


def embed(
    source: str | Source,
    query: Query,
    root: Path,
    recipe: Recipe,
    *,
    wanted: Wanted | None = None,
    executor: Executor = serial,
    progress: Progress | None = None,
) -> Embedded:
    """Embed waveforms into ``root/<fingerprint>``; what is there already is not made again.

    Parameters
    ----------
    source : str or source
        ``"scheme:rest"``, or an open source (which processes must be able to pickle).
    query : Query
        Stations, channels and times. A segment lies wholly in [start, end).
    root : Path
        Folder of embeddings.
    recipe : Recipe
    wanted : mapping of str to ndarray, optional
        Key of a station-day → starts of the segments to embed, UTC seconds since 1970 or datetime64; None: all of the
        grid. Of event traces the query alone decides.
    executor : callable
        `executors.choose_executor`.
    progress : callable, optional
        Called with the share done and the unit's key.

    Returns
    -------
    Embedded

    Raises
    ------
    InputError, FolderError
        A source, option or weights that do not exist; parts made by other settings in the folder.
    StorageError, BusyError, SeisprobeError
        A part cannot be written; another process embeds there; workers died again and again, or differ from this one.
    """
    opened = open_source(source, recipe.folder)
    if recipe.metadata and not isinstance(opened, TraceSource):
        raise InputError("metadata are embedded of event traces (instance:…); leave metadata out for this source")
    encoder = None if recipe.encoder is None else make_encoder(recipe.encoder)
    settings, fixed = _settings(recipe, opened, encoder), _resolved(recipe, encoder)
    job = Job(uuid.uuid4().hex, source, query, root.resolve(), settings, fixed)
    store = make_bench(job, opened, encoder).store
    with _alone(store, job):
        units = opened.units(query)
        problems = set(problems_of(opened))
        tasks, planned = _plan(store, opened, units, job, wanted)
        results = _run(executor, job, tasks, progress)
    counts: Counter[str] = Counter()
    for done in results:
        counts.update(done.counts)
        problems.update(done.problems)
    absent = sorted(set(wanted or ()) - {unit.key for unit in units})
    return Embedded(store, planned, planned - len(tasks), dict(sorted(counts.items())), absent, sorted(problems))


def _run(executor: Executor, job: Job, tasks: Sequence[Task], progress: Progress | None) -> list[Done]:
    results: list[Done] = []
    if not tasks:
        return results
    running = executor(partial(work_on, job), tasks)
    try:
        for done in running:
            results.append(done)
            if progress is not None:
                progress(len(results) / len(tasks), done.key)
    finally:
        if hasattr(running, "close"):  # workers end now, not when the error's traceback is forgotten
            running.close()
    return results


def scan(
    source: str | Source,
    query: Query,
    root: Path,
    recipe: Recipe,
    *,
    wanted: Wanted | None = None,
    executor: Executor = serial,
    progress: Progress | None = None,
) -> Embedded:
    """Find out what becomes of each segment without encoding it: a store as `embed` makes, without vectors.

    Takes and gives what `embed` does; the recipe's encoder is left out of account. Tells which segments are valid,
    before some of them are drawn to be embedded.
    """
    plain = Recipe(None, recipe.segmenting, edges=recipe.edges, folder=recipe.folder)
    return embed(source, query, root, plain, wanted=wanted, executor=executor, progress=progress)


def scan_unit(
    source: Source, unit: StationDay | TraceChunk, segmenting: Segmenting | None = None, edges: Sequence[float] = ()
) -> pd.DataFrame:
    """Return what becomes of each segment of one unit, now and here: `segments.COLUMNS`.

    Parameters
    ----------
    source : source
        Open, see `open_waveform_source`; of event traces, after ``units(query)``.
    unit : StationDay or TraceChunk
    segmenting : Segmenting, optional
    edges : sequence of float
        UTC seconds at which the station's metadata change.
    """
    settings = segmenting or Segmenting()
    starts = _day_starts(unit, Query(), settings) if isinstance(unit, StationDay) else None
    blocks, _ = read_unit(source, Task(unit, 0, starts), settings, edges, waveforms=False)
    tables = [block.table for block in blocks]
    return pd.concat(tables, ignore_index=True) if tables else empty_table()


def epoch_edges(inventory: Any) -> dict[str, list[float]]:
    """Return when metadata change: where channels of an inventory start and end.

    Parameters
    ----------
    inventory : obspy Inventory
        At channel or response level.

    Returns
    -------
    dict of str to list of float
        ``"NET.STA.LOC.BAND"`` → UTC seconds since 1970, sorted.

    Examples
    --------
    >>> from obspy.core.inventory import Channel, Inventory, Network, Station
    >>> from obspy import UTCDateTime
    >>> place = {"latitude": 0, "longitude": 0, "elevation": 0}
    >>> channel = Channel("HHZ", "", **place, depth=0, start_date=UTCDateTime(60), end_date=UTCDateTime(90.5))
    >>> epoch_edges(Inventory([Network("IV", [Station("NRCA", **place, channels=[channel])])]))
    {'IV.NRCA..HH': [60.0, 90.5]}
    """
    edges: dict[str, set[float]] = {}
    for network in inventory:
        for station in network:
            for channel in station:
                key = f"{network.code}.{station.code}.{channel.location_code}.{channel.code[:2]}"
                times = (channel.start_date, channel.end_date)
                edges.setdefault(key, set()).update(time.timestamp for time in times if time is not None)
    return {key: sorted(times) for key, times in sorted(edges.items())}


# --- plan − done ----------------------------------------------------------------------------------------------------


def _settings(recipe: Recipe, source: Source, encoder: Any) -> dict[str, Any]:
    """All that decides a vector."""
    if recipe.metadata and not hasattr(encoder, "encode_metadata"):
        raise InputError("metadata are embedded by SeisCLIP alone; leave metadata out, or choose its encoder")
    settings = {
        "encoder": None if encoder is None else encoder.settings,
        "segments": recipe.segmenting.identity,
        "source": source.identity,
        "dtype": recipe.dtype,
        "scale": float(recipe.scale),
        "metadata": recipe.metadata,
    }
    if recipe.change is not None:  # stores without any keep the names that they have
        settings["change"] = recipe.change.identity
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _resolved(recipe: Recipe, encoder: Any) -> Recipe:
    """The recipe with every "auto" and relative path replaced by what it means here."""
    if recipe.encoder is None:
        return replace(recipe, folder=recipe.folder.resolve())
    options = dict(recipe.encoder)
    if hasattr(encoder, "options"):
        options |= {key: value for key, value in asdict(encoder.options).items() if key != "device"}
    for key in ("name", "weights"):
        if options.get(key) is not None and Path(options[key]).exists():
            options[key] = str(Path(options[key]).resolve())
    return replace(recipe, encoder=options, folder=recipe.folder.resolve())


def _plan(
    store: Store, source: Source, units: Sequence[StationDay | TraceChunk], job: Job, wanted: Wanted | None
) -> tuple[list[Task], int]:
    """Tasks for what is wanted and not done, and the number of units with wanted segments."""
    tasks, planned = [], 0
    request = fingerprint_of({key: str(value) for key, value in vars(job.query).items()})
    for unit in units:
        numbers = store.part_numbers(unit.key)
        part = numbers[-1] + 1 if numbers else 0
        if isinstance(unit, TraceChunk):
            planned += 1
            if request not in store.requests(unit.key):
                tasks.append(Task(unit, part, None, request))
            continue
        starts = _day_starts(unit, job.query, job.recipe.segmenting)
        if wanted is not None:
            starts = _checked_starts(wanted.get(unit.key, ()), unit)
        planned += bool(len(starts))
        if not len(starts):
            continue
        assert isinstance(source, ContinuousSource)
        stamp = _stamp(source, unit, job.recipe)
        lacking = np.setdiff1d(starts, store.starts(unit.key, stamp)) if numbers else starts
        if len(lacking):
            tasks.append(Task(unit, part, lacking, source=stamp))
    return tasks, planned


def _stamp(source: ContinuousSource, unit: StationDay, recipe: Recipe) -> str:
    """What a unit's part is made of: its data, and when in that day the station's metadata change."""
    first, last = unit.start.timestamp(), unit.end.timestamp() + LENGTH_S
    edges = [edge for edge in edges_of(recipe, unit) if first <= edge < last]
    stamp = source.stamp(unit)
    return fingerprint_of({"data": stamp, "edges": edges}) if edges else stamp


def _day_starts(unit: StationDay, query: Query, settings: Segmenting) -> NDArray[np.int64]:
    """Starts on the grid in a day (the last segments may reach into the next one) and in the query's time."""
    start, end = unit.start, unit.end + pd.Timedelta(seconds=LENGTH_S - settings.hop_s)
    start = start if query.start is None else max(start, query.start)
    end = end if query.end is None else min(end, query.end)
    return grid_starts(start, end, settings.hop_s)


def _checked_starts(given: Any, unit: StationDay) -> NDArray[np.int64]:
    array = np.asarray(given)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]").astype(np.int64) / _US
    elif array.dtype == object:
        array = np.array([pd.Timestamp(time).timestamp() for time in array])
    starts = np.unique(array.astype(np.int64))
    first = int(unit.start.timestamp())
    outside = (starts < first) | (starts >= first + 86400)
    if outside.any() or (array != array.astype(np.int64)).any():
        raise InputError(f"segments wanted of {unit.key}: starts must be whole seconds of that day")
    return starts


@contextmanager
def _alone(store: Store, job: Job) -> Iterator[None]:
    """Hold the folder for the time of a run, cleaned of what a killed run left."""
    from filelock import FileLock, Timeout

    lock = FileLock(store.folder / ".lock")
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(
            f"{store.folder}: another process embeds into it; wait for it, or name another folder"
        ) from None
    except OSError as error:
        raise StorageError(
            f"{store.folder}: cannot be written: {error.strerror or error}; free the disk or use another"
        ) from None
    try:
        store.clean()
        yield
    finally:
        lock.release()
        forget(job)
