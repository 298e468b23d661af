"""Streams into exact segments (3, 6000) at 100 Hz, or a reason why not.

A segment is 60 s from a whole UTC second on, components E, N, Z (codes 2 and 1 stand in for E and N). Its samples
depend on the data within it and `Segmenting.margin_s` around it, never on files, days or other segments:

- `grid` puts samples on the sampling rate's own grid of time.
- Another rate than 100 Hz is resampled by a polyphase filter, flat to 42 Hz and 80 dB down from 50 Hz on (0.84 and 1.0
  of the lower Nyquist frequency): about that of a digitiser that records at 100 Hz.
- A gap longer than ``max_gap_s`` drops the segment; a shorter one is bridged by a straight line and counted.

The first reason that holds is a dropped segment's reason:

==================  ===================================================================================================
metadata_epoch      the station's metadata change inside (only where an inventory says so)
no_data             no component has a sample
missing_component   a component has no sample
rate_change         a component has samples of two sampling rates
gap                 samples are missing for longer than ``max_gap_s``
overlap             the same, counting places that records fill with different values
dead_channel        every sample of a component has the same value
clipped             ≥ 10 samples of a component stand at its largest or smallest value, in runs of ≥ 3, and its range is
                    ≥ 10,000 times its smallest step (a coarse or smooth record repeats its peaks without clipping)
short               a trace of an event holds no whole segment
==================  ===================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.embedding.components import DAY_S, LENGTH_S, Part, Segmenting, find_component
from seisprobe.embedding.grid import Track, place, runs_of
from seisprobe.errors import InputError
from seisprobe.seisclip.spectra import SAMPLING_RATE_HZ, SEGMENT_SAMPLES

if TYPE_CHECKING:
    from seisprobe.sources.waveforms import Traces

__all__ = [
    "COLUMNS",
    "REASONS",
    "Block",
    "cut_segments",
    "cut_traces",
    "empty_table",
    "grid_starts",
    "iter_segments",
]

COMPONENTS = {"E": "E2", "N": "N1", "Z": "Z"}  # component → last letters of the codes that hold it, best first
REASONS = (
    "metadata_epoch",
    "no_data",
    "missing_component",
    "rate_change",
    "gap",
    "overlap",
    "dead_channel",
    "clipped",
    "short",
)
COLUMNS = (
    "segment_id",
    "network",
    "station",
    "location",
    "channels",
    "start",
    "reason",
    "gap_s",
    "offset_s",
    "rate_hz",
    "filled_samples",
    "overlap_samples",
    "epoch",
)
_BLOCK = 256  # 18 MB
Floats = NDArray[np.float32]


class Block(NamedTuple):
    """Some segments in order: what became of each, and the samples of those that have no reason.

    Parameters
    ----------
    waveforms : ndarray
        (v, 3, 6000) float32, v ≤ rows of `table` with an empty reason.
    table : DataFrame
        `COLUMNS`; start is datetime64[us, UTC].
    """

    waveforms: Floats
    table: pd.DataFrame


def grid_starts(start: pd.Timestamp, end: pd.Timestamp, hop_s: int = 60) -> NDArray[np.int64]:
    """Return the starts of the grid's segments that lie within [start, end), as UTC seconds since 1970.

    Examples
    --------
    >>> day = pd.Timestamp("1970-01-02", tz="UTC")
    >>> grid_starts(day + pd.Timedelta("1s"), day + pd.Timedelta("3min")).tolist()
    [86460, 86520]
    """
    first = -(-start.value // (hop_s * 10**9)) * hop_s
    return np.arange(first, end.value // 10**9 - LENGTH_S + 1, hop_s, dtype=np.int64)


def iter_segments(
    stream: Iterable[Any],
    starts: Sequence[int] | NDArray[np.int64],
    settings: Segmenting,
    edges: Sequence[float] = (),
    *,
    waveforms: bool = True,
) -> Iterator[Block]:
    """Cut one station's stream into segments, a block at a time.

    Parameters
    ----------
    stream : iterable of obspy Trace
        Pieces of the three components of one band, in any order, reaching `Segmenting.margin_s` beyond the segments
        where there are data.
    starts : array_like of int
        UTC seconds since 1970.
    settings : Segmenting
    edges : sequence of float
        UTC seconds at which the station's metadata change.
    waveforms : bool
        False: what becomes of each segment alone, without samples.

    Yields
    ------
    Block

    Raises
    ------
    InputError
        The stream holds more than one station, location or band.
    """
    traces = list(stream)
    codes = _one_band(traces)
    order = np.unique(np.asarray(starts, np.int64))
    if not len(order):
        return
    margin = settings.margin_s
    # from an hour before the day on: of a rate without whole samples a second, too, a segment is always the same ones
    origin = int(order[0]) // DAY_S * DAY_S - 3600
    tracks = place(traces, origin, int(order[-1]) + LENGTH_S + margin)
    del traces, stream
    for first in range(0, len(order), _BLOCK):
        yield _block(tracks, codes, order[first : first + _BLOCK], settings, sorted(edges), waveforms=waveforms)


def cut_segments(
    stream: Iterable[Any],
    starts: Sequence[int] | NDArray[np.int64],
    settings: Segmenting | None = None,
    edges: Sequence[float] = (),
) -> Block:
    """Cut one station's stream into segments, all at once (72 kB each); see `iter_segments`.

    Examples
    --------
    >>> import obspy
    >>> noise = np.random.default_rng(0).normal(0, 100, (3, 9000))
    >>> head = {"sampling_rate": 100.0, "starttime": obspy.UTCDateTime(600)}
    >>> stream = [obspy.Trace(x, {**head, "channel": f"HH{c}"}) for x, c in zip(noise, "Z12")]
    >>> waveforms, table = cut_segments(stream, [600, 660])
    >>> waveforms.shape, table.reason.tolist(), table.channels[0]
    ((1, 3, 6000), ['', 'gap'], 'HH2,HH1,HHZ')
    """
    blocks = list(iter_segments(stream, starts, settings or Segmenting(), edges))
    if not blocks:
        return Block(np.empty((0, 3, SEGMENT_SAMPLES), np.float32), empty_table())
    waveforms, tables = zip(*blocks, strict=True)
    return Block(np.concatenate(waveforms), pd.concat(tables, ignore_index=True))


def _one_band(traces: Sequence[Any]) -> tuple[str, str, str, str]:
    bands = {(t.stats.network, t.stats.station, t.stats.location, t.stats.channel[:2]) for t in traces}
    if len(bands) > 1:
        named = ", ".join(".".join(band) for band in sorted(bands)[:4])
        raise InputError(f"a stream of several stations or bands ({named}): give one at a time")
    return bands.pop() if bands else ("", "", "", "")


def _block(
    tracks: dict[str, list[Track]],
    codes: tuple[str, str, str, str],
    starts: NDArray[np.int64],
    settings: Segmenting,
    edges: Sequence[float],
    *,
    waveforms: bool,
) -> Block:
    kept, rows = [], []
    for start_s in starts.tolist():
        epoch = int(np.searchsorted(edges, start_s, side="right"))
        parts = _parts(tracks, start_s, settings)
        reason = _reason(parts)
        if epoch < len(edges) and edges[epoch] < start_s + LENGTH_S:
            reason = "metadata_epoch"
        if not reason and waveforms:
            kept.append([part.samples for part in parts])
        begin = pd.Timestamp(start_s, unit="s", tz="UTC")
        rows.append((f"{'.'.join(codes)}.{begin:%Y-%m-%dT%H:%M:%S}", *codes[:3], *_row(parts, begin, reason), epoch))
    return Block(_stack(kept), _table(rows))


def _row(parts: Sequence[Part], begin: Any, reason: str) -> tuple[Any, ...]:
    """Columns `channels` to `overlap_samples` of a segment."""
    rates = [part.rate_hz for part in parts if not math.isnan(part.rate_hz)]
    return (
        ",".join(part.channel for part in parts if part.channel),
        begin,
        reason,
        max(part.gap_s for part in parts),
        max(part.offset_s for part in parts),
        # Of components that differ, the one furthest from 100 Hz.
        max(rates, key=lambda rate: abs(rate - SAMPLING_RATE_HZ), default=math.nan),
        sum(part.filled_samples for part in parts),
        sum(part.overlap_samples for part in parts),
    )


def _stack(waveforms: list[Any]) -> Floats:
    return np.array(waveforms, np.float32).reshape(-1, len(COMPONENTS), SEGMENT_SAMPLES)


def empty_table() -> pd.DataFrame:
    """Return a table of no segments, with the columns' types.

    Examples
    --------
    >>> str(empty_table().start.dtype)
    'datetime64[us, UTC]'
    """
    return _table([])


def _table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["start"] = pd.to_datetime(table.start, utc=True).astype("datetime64[us, UTC]")
    numbers = dict.fromkeys(("gap_s", "offset_s", "rate_hz"), "float64")
    return table.astype({**numbers, **dict.fromkeys(("filled_samples", "overlap_samples", "epoch"), "int32")})


def _reason(parts: Sequence[Part]) -> str:
    reasons = [part.reason for part in parts]
    if all(reason == "missing_component" for reason in reasons):
        return "no_data"
    return min((reason for reason in reasons if reason), key=REASONS.index, default="")


def _parts(tracks: dict[str, list[Track]], start_s: int, settings: Segmenting) -> list[Part]:
    """Three components of one sensor: E, N, Z where there are all three, else 2, 1, Z if fewer of these are missing."""

    def of(letters: Iterable[str]) -> tuple[int, list[Part]]:
        parts = [find_component(tracks, letter, start_s, settings) for letter in letters]
        return sum(part.reason == "missing_component" for part in parts), parts

    lacking, oriented = of(letters[0] for letters in COMPONENTS.values())
    if not lacking:
        return oriented
    lacking_too, plain = of(letters[-1] for letters in COMPONENTS.values())
    return plain if lacking_too < lacking else oriented


def cut_traces(traces: Traces, settings: Segmenting) -> Iterator[Block]:
    """Cut traces of events into segments: 120 s are two, ``trace_name#0`` and ``trace_name#1``.

    Parameters
    ----------
    traces : Traces
        (n, 3, samples) with a table; NaN and infinite samples are no samples.
    settings : Segmenting
        Its hop is not used: segments of a trace start with it and do not overlap.

    Yields
    ------
    Block
        Rows of one trace after another; ``trace`` (row of the table, −1 for a missing one) and ``second`` (where in
        the trace the segment starts) join `COLUMNS`.
    """
    table = traces.table.reset_index(drop=True)
    for first in range(0, len(table), _BLOCK // 2):
        rows = range(first, min(first + _BLOCK // 2, len(table)))
        yield _trace_block([_trace(traces.waveforms[row], table.loc[row], settings) for row in rows], first)
    for name, reason in traces.missing:
        nothing = ("", pd.NaT, reason, 0.0, 0.0, math.nan, 0, 0)
        lost = _table([(f"{name}#0", "", "", "", *nothing, 0)])
        yield Block(_stack([]), lost.assign(trace=np.int64(-1), second=np.int64(0)))


_Cut = tuple[list[Any], list[tuple[Any, ...]]]


def _trace_block(cuts: list[_Cut], first: int) -> Block:
    waveforms = [values for kept, _ in cuts for values in kept]
    table = _table([row for _, rows in cuts for row in rows])
    numbers = [first + index for index, (_, rows) in enumerate(cuts) for _ in rows]
    seconds = [LENGTH_S * segment for _, rows in cuts for segment in range(len(rows))]
    return Block(_stack(waveforms), table.assign(trace=np.array(numbers), second=np.array(seconds)))


def _trace(waveform: Floats, row: Any, settings: Segmenting) -> _Cut:
    rate_hz = float(row.sampling_rate_hz)
    names = str(row.channels).split(",")
    tracks = {letter: [_whole_track(values, rate_hz)] for letter, values in zip(COMPONENTS, waveform, strict=True)}
    codes = [str(row[name]) for name in ("network", "station", "location")]
    count = max(int((waveform.shape[1] + 0.5) / rate_hz) // LENGTH_S, 1)
    kept: list[Any] = []
    rows: list[tuple[Any, ...]] = []
    for segment in range(count):
        parts = [find_component(tracks, letter, segment * LENGTH_S, settings) for letter in COMPONENTS]
        reason = _reason(parts)
        if waveform.shape[1] < round(LENGTH_S * rate_hz):
            reason = "short"
        for part, name in zip(parts, names, strict=False):
            part.channel = name if len(names) == len(parts) else ""
        if not reason:
            kept.append([part.samples for part in parts])
        begin = row.start + pd.Timedelta(seconds=segment * LENGTH_S)
        columns = _row(parts, begin, reason)
        if len(names) != len(parts):
            columns = (str(row.channels), *columns[1:])
        rows.append((f"{row.trace_name}#{segment}", *codes, *columns, 0))
    return kept, rows


def _whole_track(values: Floats, rate_hz: float) -> Track:
    good = np.isfinite(values)
    whole = np.array([[0.0, len(values), 0.0]])
    clean = np.where(good, values, np.float32(0))
    return Track(rate_hz, 0, 0, clean, good.astype(np.uint8), runs_of(good), whole)
