"""Which segments stand for a window: as many in every window, drawn by seed among the valid ones (PROTOCOL 2).

Maximum and standard deviation grow with the number of segments, so that an outage, or a longer window, would look like
a change. Every segment has one priority, a hash of its name and the seed; a window takes the valid segments of lowest
priority that lie wholly in it. Windows that are nested or overlap so share what they can, and one more window, station
or modality changes no other's draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.embedding.components import LENGTH_S

__all__ = ["Drawn", "draw_segments", "priorities", "touched", "wanted_starts"]

_US = 1_000_000
_DAY_S = 86_400
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Drawn:
    """The segments drawn for windows at one station.

    Parameters
    ----------
    rows : ndarray of int64, shape (m,)
        Windows that have enough valid segments, by position in the table of windows.
    segments : tuple of m ndarrays of int64
        Positions in the station's table of segments, in order of time.
    """

    rows: Integers
    segments: tuple[Integers, ...]

    @property
    def used(self) -> Integers:
        """All segments that some window drew, each once, in order."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self.segments]))


def priorities(names: pd.Series, seed: int) -> NDArray[np.uint64]:
    """Return a number for each segment that depends on its name and the seed alone.

    Examples
    --------
    >>> both, one = priorities(pd.Series(["a", "b"]), 0), priorities(pd.Series(["b"]), 0)
    >>> bool(both[1] == one[0]), bool(priorities(pd.Series(["b"]), 1)[0] == one[0])
    (True, False)
    """
    hashed = pd.util.hash_array(names.to_numpy(dtype=object), hash_key=f"segments {seed % 10**7:07d}")
    return np.asarray(hashed, np.uint64)


def draw_segments(
    starts_us: Integers, valid: Bools, priority: NDArray[np.uint64], windows: tuple[Integers, Integers, Integers]
) -> Drawn:
    """Draw segments for windows at one station.

    Parameters
    ----------
    starts_us : ndarray of int64, shape (s,)
        Starts of the segments, ascending.
    valid : ndarray of bool, shape (s,)
    priority : ndarray of uint64, shape (s,)
    windows : three ndarrays of int64, shape (n,)
        Start and end in microseconds, and how many segments each takes; a segment lies wholly in [start, end).

    Returns
    -------
    Drawn
        Without the windows that have too few valid segments.

    Examples
    --------
    >>> minutes = 60_000_000 * np.arange(4)
    >>> drawn = draw_segments(minutes, np.array([True, True, False, True]), np.array([3, 1, 0, 2], np.uint64),
    ...                       (minutes[:2], minutes[:2] + 4 * 60_000_000 - minutes[:2], np.array([2, 3])))
    >>> drawn.rows.tolist(), [s.tolist() for s in drawn.segments]
    ([0], [[1, 3]])
    """
    usable = np.flatnonzero(valid)
    times, order = starts_us[usable], priority[usable]
    rows, segments = [], []
    first = np.searchsorted(times, windows[0])
    last = np.searchsorted(times, windows[1] - LENGTH_S * _US, side="right")
    for row, (low, high, count) in enumerate(zip(first, last, windows[2], strict=True)):
        if high - low >= count:
            chosen = low + np.argpartition(order[low:high], count - 1)[:count]
            rows.append(row)
            segments.append(usable[np.sort(chosen)])
    return Drawn(np.array(rows, np.int64), tuple(segments))


def touched(starts_us: Integers, spans: tuple[Integers, Integers]) -> Bools:
    """Return which segments share time with any of the spans [start, end), in microseconds.

    Examples
    --------
    >>> touched(np.array([0, 60_000_000, 120_000_000]), (np.array([70_000_000]), np.array([80_000_000]))).tolist()
    [False, True, False]
    """
    began = np.searchsorted(np.sort(spans[0]), starts_us + LENGTH_S * _US, side="left")
    ended = np.searchsorted(np.sort(spans[1]), starts_us, side="right")
    return np.asarray(began > ended)


def wanted_starts(windows: pd.DataFrame, hop_s: int) -> dict[str, Integers]:
    """Return the starts of all segments of the grid that lie wholly in some window, by UTC day.

    Parameters
    ----------
    windows : DataFrame
        ``start``, ``end``.
    hop_s : int

    Returns
    -------
    dict of str to ndarray of int64
        ``"2016-10-30"`` → UTC seconds since 1970.

    Examples
    --------
    >>> times = pd.to_datetime(["2016-10-29T23:58:30Z", "2016-10-30T00:02:00Z"]).as_unit("us")
    >>> found = wanted_starts(pd.DataFrame({"start": times[:1], "end": times[1:]}), 60)
    >>> {day: len(starts) for day, starts in found.items()}
    {'2016-10-29': 1, '2016-10-30': 2}
    """
    begin, end = (windows[name].astype("datetime64[us, UTC]").astype("int64").to_numpy() for name in ("start", "end"))
    low, high = -(-begin // (hop_s * _US)), (end // _US - LENGTH_S) // hop_s + 1
    slots = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
    starts = hop_s * np.unique(np.concatenate([np.empty(0, np.int64), *slots]))
    days, first = np.unique(starts // _DAY_S, return_index=True)
    parts = np.split(starts, first)[1:]
    return {str(np.datetime64(int(day), "D")): part for day, part in zip(days, parts, strict=True)}
