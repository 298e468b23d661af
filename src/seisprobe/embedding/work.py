"""What a worker does: units in, parts out. It reads and places the next unit while it encodes this one."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.embedding.components import LENGTH_S, Segmenting
from seisprobe.embedding.segments import Block, cut_traces, empty_table, iter_segments
from seisprobe.embedding.store import Store, changed_settings, count_segments
from seisprobe.errors import SeisprobeError
from seisprobe.sources.waveforms import (
    ContinuousSource,
    Query,
    StationDay,
    TraceChunk,
    Traces,
    TraceSource,
    open_waveform_source,
)

__all__ = [
    "Bench",
    "Change",
    "Done",
    "Job",
    "Recipe",
    "Source",
    "Task",
    "edges_of",
    "forget",
    "open_source",
    "read_unit",
    "work",
]

Source = ContinuousSource | TraceSource
Floats = NDArray[np.float32]


class Change(Protocol):
    """What is done to segments before they are encoded; it must be able to go to other processes."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides what it does."""

    def __call__(self, waveforms: Floats, table: pd.DataFrame) -> Floats:
        """Return waveforms (v, 3, 6000) changed; the table has their v rows."""


@dataclass(frozen=True)
class Recipe:
    """How vectors are made, apart from which segments.

    Parameters
    ----------
    encoder : mapping or None
        Arguments of `seisclip.make_encoder`: name, weights, precision, backend, batch, threads …; None: no vectors,
        only what becomes of each segment.
    segmenting : Segmenting
    dtype : {"float16", "float32"}
        Of the vectors on disk.
    scale : float
        What samples are multiplied by; 1e9 turns m/s into nm/s, which SeisCLIP can take for counts.
    metadata : bool
        Embed the metadata of event traces too, and give the cosine of both embeddings.
    edges : mapping of str to sequence of float
        ``"NET.STA.LOC.BAND"`` → UTC seconds at which the station's metadata change; see `epoch_edges`.
    folder : Path
        What paths of the source are relative to.
    change : Change, optional
        Changes segments before they are encoded, such as `tremor.Tremor`; its identity is part of the store's settings.
    """

    encoder: Mapping[str, Any] | None
    segmenting: Segmenting = field(default_factory=Segmenting)
    dtype: str = "float16"
    scale: float = 1.0
    metadata: bool = False
    edges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)
    change: Change | None = None


@dataclass(frozen=True)
class Job:
    """All that a worker must know; small, and the same for every unit."""

    token: str  # of this run: a worker that outlives it makes a new bench for the next one
    source: str | Source
    query: Query
    root: Path
    settings: dict[str, Any]
    recipe: Recipe


@dataclass(frozen=True)
class Task:
    """One unit: the number its part will have, and what it shall hold (starts, or what was asked for)."""

    unit: StationDay | TraceChunk
    part: int
    starts: NDArray[np.int64] | None = None
    request: str = ""
    source: str = ""


@dataclass(frozen=True)
class Done:
    """What became of a unit."""

    key: str
    counts: dict[str, int]
    problems: list[str]


@dataclass
class Bench:
    """What a worker keeps between units. A process has one, whatever number of threads dask gives it."""

    source: Source
    encoder: Any
    store: Store
    reading: threading.Lock = field(default_factory=threading.Lock)
    encoding: threading.Lock = field(default_factory=threading.Lock)


_BENCHES: dict[str, Bench] = {}
_MAKING, _FIRST = threading.Lock(), threading.Lock()


def open_source(source: str | Source, folder: Path) -> Source:
    """Open a source by its name, or return one that is open."""
    return open_waveform_source(source, folder=folder) if isinstance(source, str) else source


def make_bench(job: Job, source: Source, encoder: Any) -> Bench:
    """Lay a bench out in this process, for units that it will work on itself."""
    with _MAKING:
        _BENCHES.clear()
        _BENCHES[job.token] = Bench(source, encoder, Store(job.root, job.settings))
        return _BENCHES[job.token]


def forget(job: Job) -> None:
    """Let go of this process's bench."""
    with _MAKING:
        _BENCHES.pop(job.token, None)


def _bench(job: Job) -> Bench:
    """The process's bench, made when its first unit comes."""
    with _MAKING:
        if job.token in _BENCHES:
            return _BENCHES[job.token]
    with _FIRST:
        if job.token in _BENCHES:
            return _BENCHES[job.token]
        encoder = None if job.recipe.encoder is None else make_encoder(job.recipe.encoder)
        source = open_source(job.source, job.recipe.folder)
        found = {"encoder": None if encoder is None else encoder.settings, "source": source.identity}
        expected = {key: job.settings[key] for key in found}
        keys = changed_settings(expected, json.loads(json.dumps(found)))
        if keys:
            raise SeisprobeError(
                f"a worker differs from the process that planned the work in {', '.join(keys)}; "
                "give all machines the same weights, data and versions"
            )
        if isinstance(source, TraceSource):
            source.units(job.query)  # it reads what the query chose
        return make_bench(job, source, encoder)


def make_encoder(arguments: Mapping[str, Any]) -> Any:
    """Make the encoder of a recipe."""
    from seisprobe.seisclip import make_encoder as make

    return make(**arguments)


def work(job: Job, tasks: Iterable[Task]) -> Iterator[Done]:
    """Tasks → results in order; the next one is read while this one is encoded."""
    bench, coming = _bench(job), iter(tasks)
    reader = ThreadPoolExecutor(1, "read")
    try:
        ahead = reader.submit(_load_next, bench, job, coming)
        while (loaded := ahead.result()) is not None:
            ahead = reader.submit(_load_next, bench, job, coming)
            with bench.encoding:
                done = _finish(bench, job, *loaded)
            loaded = None
            yield done
    finally:
        reader.shutdown(wait=False, cancel_futures=True)  # after an error it may be waiting for a unit that never comes


_Loaded = tuple[Task, Iterator[Block], Traces | None, list[str]]


def _load_next(bench: Bench, job: Job, coming: Iterator[Task]) -> _Loaded | None:
    task = next(coming, None)
    if task is None:
        return None
    if bench.store.path(task.unit.key, task.part).exists():  # by a worker that died before it could say so
        return task, iter(()), None, []
    with bench.reading:
        known = set(problems_of(bench.source))
        edges, vectors = edges_of(job.recipe, task.unit), bench.encoder is not None
        blocks, traces = read_unit(bench.source, task, job.recipe.segmenting, edges, waveforms=vectors)
        first = list(itertools.islice(blocks, 1))  # places the day's samples
        problems = [line for line in problems_of(bench.source) if line not in known]
    return task, itertools.chain(first, blocks), traces, problems


def edges_of(recipe: Recipe, unit: StationDay | TraceChunk) -> Sequence[float]:
    """Return when the metadata of a unit's station change, UTC seconds."""
    if not isinstance(unit, StationDay):
        return ()
    return recipe.edges.get(f"{unit.network}.{unit.station}.{unit.location}.{unit.band}", ())


def problems_of(source: Source) -> list[str]:
    """Return what a source could not read, a line each."""
    return source.problems() if isinstance(source, ContinuousSource) else []


def read_unit(
    source: Source, task: Task, settings: Segmenting, edges: Sequence[float], *, waveforms: bool = True
) -> tuple[Iterator[Block], Traces | None]:
    """Return the blocks of a unit's segments, and its traces where it has any."""
    unit = task.unit
    if isinstance(unit, TraceChunk):
        assert isinstance(source, TraceSource)
        traces = source.read(unit)
        return cut_traces(traces, settings), traces
    from obspy import UTCDateTime

    assert isinstance(source, ContinuousSource)
    assert task.starts is not None
    around = UTCDateTime(unit.start.timestamp()) - settings.margin_s
    until = UTCDateTime(unit.end.timestamp()) + LENGTH_S + settings.margin_s
    codes = (unit.network, unit.station, unit.location, f"{unit.band}?")
    stream = source.get_waveforms(*codes, around, until)
    return iter_segments(stream, task.starts, settings, edges, waveforms=waveforms), None


def _finish(
    bench: Bench, job: Job, task: Task, blocks: Iterator[Block], traces: Traces | None, problems: list[str]
) -> Done:
    """Encode the segments of a unit and write its part."""
    path = bench.store.path(task.unit.key, task.part)
    if path.exists():
        return Done(task.unit.key, count_segments(bench.store.read_part(task.unit.key, task.part)), problems)
    known = set(_known_ids(bench.store, task))
    tables: list[pd.DataFrame] = []
    vectors = _encode(bench.encoder, _kept(blocks, tables, known, job.recipe))
    table = _joined(tables)
    columns = {} if bench.encoder is None else {"vector": vectors}
    if traces is not None:
        if job.recipe.metadata:
            columns["metadata_vector"], table["cosine"] = _with_metadata(bench.encoder, traces, table, vectors)
        table = table.drop(columns=["trace", "second"], errors="ignore")
    bench.store.write(task.unit.key, task.part, table, columns, task.request, task.source)
    return Done(task.unit.key, count_segments(table), problems)


def _known_ids(store: Store, task: Task) -> list[str]:
    """Traces of the unit that an earlier request embedded (the starts of a station-day were compared before)."""
    if task.starts is not None or task.part == 0:
        return []
    found: list[str] = store.read([task.unit.key], ())[0].segment_id.to_list()
    return found


def _kept(blocks: Iterable[Block], tables: list[pd.DataFrame], known: set[str], recipe: Recipe) -> Iterator[Floats]:
    """Waveforms to encode, block by block; tables of all segments are put into the list as they pass."""
    for waveforms, whole in blocks:
        values, table = waveforms, whole
        if known:
            new = ~table.segment_id.isin(known).to_numpy()
            values, table = values[new[table.reason.to_numpy() == ""]], table[new]
        tables.append(table)
        if len(values) and recipe.change is not None:
            values = recipe.change(values, table[table.reason == ""])
        if len(values):
            yield values if recipe.scale == 1 else values * np.float32(recipe.scale)


def _encode(encoder: Any, waveforms: Iterator[Floats]) -> Floats:
    if encoder is None:
        for _ in waveforms:
            pass
        return np.empty((0, 0), np.float32)
    stream = encoder.encode_stream if hasattr(encoder, "encode_stream") else partial(map, encoder.encode)
    return np.concatenate([np.empty((0, encoder.dimension), np.float32), *stream(waveforms)])


def _with_metadata(encoder: Any, traces: Traces, table: pd.DataFrame, vectors: Floats) -> tuple[Floats, pd.Series]:
    """Embeddings of the metadata, and their cosine with those of the waveforms (NaN for a dropped segment)."""
    from seisprobe.seisclip import features_from_instance, features_from_stead

    kept = table[table.reason == ""]
    rows = traces.table.reset_index(drop=True).loc[kept.trace]
    features = features_from_stead if "p_arrival_sample" in rows else features_from_instance
    found = features(rows, 100 * kept.second.to_numpy())
    described: Floats = encoder.encode_metadata(found.features)
    norms = np.linalg.norm(described.astype(np.float64), axis=1) * np.linalg.norm(vectors.astype(np.float64), axis=1)
    cosine = pd.Series(np.nan, index=table.index)
    cosine[kept.index] = np.einsum("ij,ij->i", described, vectors, dtype=np.float64) / norms
    return described, cosine


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else empty_table()
