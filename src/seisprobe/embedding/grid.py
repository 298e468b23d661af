"""Samples onto a fixed grid of time: what a channel recorded, whatever pieces it came in.

A sample's place is decided by its time alone, so nothing that follows depends on how the data were cut into files:

- Each channel and sampling rate is a `Track`: a grid of that rate that starts on a whole UTC second.
- A piece goes to the nearest places of the grid. What it was off by, half a sample at most, is kept.
- A place that pieces fill with the same value is filled once. A place that pieces fill with different values holds
  neither (as ObsPy's `Stream.merge` does by default): nobody knows which one is right.
- NaN and infinite samples are no samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ABSENT", "DISAGREEING", "PRESENT", "Track", "place", "runs_of"]

ABSENT, PRESENT, DISAGREEING = 0, 1, 2
_LEAN = 0.008  # sample: headers hold times to 1 or 100 µs, and half a sample must round the same way every time
_KEPT_PHASE = 0.75  # sample: how far off a piece may lie to be placed in phase with the one before it
_RATE_DIGITS = 6
_NS = 1_000_000_000
Floats = NDArray[np.float32]
Spans = NDArray[np.int64]


def runs_of(mask: NDArray[np.bool_]) -> Spans:
    """Where a mask is true: (k, 2) first and one past the last index of each run.

    Examples
    --------
    >>> runs_of(np.array([True, True, False, True])).tolist()
    [[0, 2], [3, 4]]
    """
    edges = np.flatnonzero(np.diff(mask.view(np.int8), prepend=np.int8(0), append=np.int8(0)))
    return edges.reshape(-1, 2).astype(np.int64)


@dataclass(frozen=True)
class Track:
    """One channel at one sampling rate on a grid that starts on a whole second.

    Parameters
    ----------
    rate_hz : float
    origin_s : int
        UTC second (since 1970) of place 0.
    first : int
        Place of ``values[0]``.
    values : ndarray
        (n,) float32, 0 where there is no sample.
    state : ndarray
        (n,) uint8: ABSENT, PRESENT or DISAGREEING.
    filled : ndarray
        (k, 2) places [begin, end) of unbroken runs of PRESENT.
    pieces : ndarray
        (m, 3) float64: places [begin, end) and offset (s) of each piece that was put in.
    """

    rate_hz: float
    origin_s: int
    first: int
    values: Floats
    state: NDArray[np.uint8]
    filled: Spans
    pieces: NDArray[np.float64]

    def index(self, second: int) -> int:
        """Return the place nearest to a whole UTC second."""
        return round((second - self.origin_s) * self.rate_hz)

    def holds_all(self, begin: int, end: int) -> bool:
        """Whether every place of [begin, end) has a sample."""
        run = int(np.searchsorted(self.filled[:, 0], begin, side="right")) - 1
        return run >= 0 and bool(self.filled[run, 1] >= end)

    def holds_any(self, begin: int, end: int) -> bool:
        """Whether some place of [begin, end) has a sample, or two that disagree."""
        return bool(self._slice(self.state, begin, end).any())

    def window(self, begin: int, end: int) -> tuple[Floats, NDArray[np.uint8]]:
        """Return values and states of [begin, end), ABSENT where nothing was recorded."""
        inside = slice(max(begin - self.first, 0), max(end - self.first, 0))
        values, state = self.values[inside], self.state[inside]
        lacking = max(self.first - begin, 0)
        if len(values) == end - begin:
            return values, state
        lacking = min(lacking, end - begin)
        pad = (lacking, end - begin - lacking - len(values))
        return np.pad(values, pad), np.pad(state, pad)

    def offset_s(self, begin: int, end: int, second: int) -> float:
        """Return how far off, at most, the samples of [begin, end) are, whose first stands for `second`, to 0.1 ms."""
        meets = (self.pieces[:, 0] < end) & (self.pieces[:, 1] > begin)
        early = second - self.origin_s - begin / self.rate_hz  # 0 where a second has a whole number of samples
        return round(float(np.abs(self.pieces[meets, 2] - early).max(initial=0.0)), 4)

    def _slice(self, array: NDArray[Any], begin: int, end: int) -> NDArray[Any]:
        return array[max(begin - self.first, 0) : max(end - self.first, 0)]


def place(stream: Iterable[Any], first_s: int, last_s: int) -> dict[str, list[Track]]:
    """Put the samples of one station on grids.

    Parameters
    ----------
    stream : iterable of obspy Trace
        Pieces of any length, in any order.
    first_s, last_s : int
        UTC seconds (since 1970) [first, last) outside of which samples are left out.

    Returns
    -------
    dict of str to list of Track
        Channel code → one track for each sampling rate, the earliest first.

    Examples
    --------
    >>> import obspy
    >>> trace = obspy.Trace(np.arange(400), {"sampling_rate": 100.0, "starttime": 1000.0003, "channel": "HHZ"})
    >>> (track,) = place([trace.slice(endtime=obspy.UTCDateTime(1002)), trace], 1001, 1010)["HHZ"]
    >>> track.first, track.filled.tolist(), track.offset_s(0, 100, 1001)
    (0, [[0, 300]], 0.0003)
    """
    by_kind: dict[tuple[str, float], list[tuple[int, NDArray[Any]]]] = {}
    for trace in stream:
        for piece in trace.split() if np.ma.isMaskedArray(trace.data) else (trace,):
            if len(piece.data):
                kind = (piece.stats.channel, round(float(piece.stats.sampling_rate), _RATE_DIGITS))
                by_kind.setdefault(kind, []).append((piece.stats.starttime.ns, np.asarray(piece.data)))
    tracks: dict[str, list[Track]] = {}
    for (channel, rate_hz), pieces in sorted(by_kind.items()):
        track = _track(pieces, rate_hz, first_s, last_s) if rate_hz > 0 else None
        if track is not None:
            tracks.setdefault(channel, []).append(track)
    for same in tracks.values():
        same.sort(key=lambda track: (track.first / track.rate_hz, track.rate_hz))
    return tracks


def _track(pieces: list[tuple[int, NDArray[Any]]], rate_hz: float, first_s: int, last_s: int) -> Track | None:
    spans = _snap([(start_ns, len(data)) for start_ns, data in pieces], rate_hz, first_s)
    most = int(np.ceil((last_s - first_s) * rate_hz))
    inside = [
        (begin, offset_s, data)
        for (begin, offset_s), (_, data) in zip(spans, pieces, strict=True)
        if begin < most and begin + len(data) > 0
    ]
    if not inside:
        return None
    first = max(min(begin for begin, _, _ in inside), 0)
    last = min(max(begin + len(data) for begin, _, data in inside), most)
    values, state = np.zeros(last - first, np.float32), np.zeros(last - first, np.uint8)
    table = np.empty((len(inside), 3))
    for row, (begin, offset_s, data) in enumerate(inside):
        kept = data[max(first - begin, 0) : last - begin]
        start = max(begin, first)
        _put(values[start - first : start - first + len(kept)], state[start - first : start - first + len(kept)], kept)
        table[row] = start, start + len(kept), offset_s
    return Track(rate_hz, first_s, first, values, state, runs_of(state == PRESENT) + first, table)


def _snap(pieces: list[tuple[int, int]], rate_hz: float, first_s: int) -> list[tuple[int, float]]:
    """Place and offset (s) of each piece; a digitiser keeps its phase, which settles what half a sample rounds to."""
    found: list[tuple[int, float]] = [(0, 0.0)] * len(pieces)
    phase: float | None = None
    for row in sorted(range(len(pieces)), key=lambda row: pieces[row]):
        exact = (pieces[row][0] - first_s * _NS) * rate_hz / _NS
        begin = int(np.floor(exact + 0.5 + _LEAN))
        if phase is not None and abs(exact - round(exact - phase)) <= _KEPT_PHASE:
            begin = round(exact - phase)
        phase = exact - begin
        found[row] = (begin, phase / rate_hz)
    return found


def _put(values: Floats, state: NDArray[np.uint8], data: NDArray[Any]) -> None:
    """Write a piece into its places; the result does not depend on the order of pieces."""
    fresh = not state.any()
    if fresh and data.dtype.kind in "iu":  # the ordinary case, without temporaries the size of a day
        values[:] = data
        state[:] = PRESENT
        return
    with np.errstate(over="ignore"):
        new = data.astype(np.float32)
    good = np.isfinite(new)
    free = good & (state == ABSENT)
    differs = good & (state != ABSENT) & ((values != new) | (state == DISAGREEING))
    values[free] = new[free]
    state[free] = PRESENT
    values[differs] = 0
    state[differs] = DISAGREEING
