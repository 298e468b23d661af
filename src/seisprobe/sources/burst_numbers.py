"""Bursts of accelerations as numbers: rows of text into integers, integers into the activity of each burst.

Static acceleration is the mean of the burst and axis, dynamic acceleration what differs from it. ODBA is the mean over
the burst's samples of the sum over axes of the absolute dynamic acceleration (Wilson et al. 2006, J. Anim. Ecol. 75,
doi:10.1111/j.1365-2656.2006.01127.x); VeDBA that of the length of its vector (Gleiss, Wilson & Shepard 2011, Methods
Ecol. Evol. 2, doi:10.1111/j.2041-210X.2010.00057.x). Wilson et al. take a running mean as the static part; over bursts
of seconds Movebank's Acceleration Viewer takes the burst's, as is done here, and gives the sum where this is the mean:
bursts of any length compare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seisprobe.catalog import Floats, Integers

__all__ = ["burst_activity", "parse_integers"]

Bytes = NDArray[np.uint8]
SPACE, MINUS, ZERO = 32, 45, 48
MOST_DIGITS = 9


def parse_integers(text: Bytes, offsets: Integers) -> tuple[NDArray[np.int32], Integers, NDArray[np.bool_]]:
    """Return the integers of rows of text, all at once.

    Digits are gathered by their place before each blank, one vectorised step a place: no loop over numbers.

    Parameters
    ----------
    text : ndarray of uint8
        Rows one after another, each with a blank behind it.
    offsets : ndarray of int64, shape (n + 1,)
        Where rows begin, and where the last ends.

    Returns
    -------
    numbers : ndarray of int32
        Of all rows in turn; those of a bad row mean nothing.
    counts : ndarray of int64, shape (n,)
        How many numbers each row holds.
    bad : ndarray of bool, shape (n,)
        Rows that hold anything but integers of at most nine digits.

    Examples
    --------
    >>> rows = [b"12 -7  305 ", b" ", b"1.5 2 "]
    >>> numbers, counts, bad = parse_integers(
    ...     np.frombuffer(b"".join(rows), np.uint8), np.cumsum([0, *map(len, rows)])
    ... )
    >>> numbers[:3].tolist(), counts.tolist(), bad.tolist()
    ([12, -7, 305], [3, 0, 2], [False, False, True])
    """
    stops = np.flatnonzero(text == SPACE)
    blanks = len(stops)
    lengths = np.diff(stops, prepend=-1) - 1
    if len(lengths) and lengths.min() == 0:
        filled = lengths > 0
        stops, lengths = stops[filled], lengths[filled]
    first = np.searchsorted(stops, offsets)
    bad = np.zeros(len(offsets) - 1, dtype=bool)
    digits = text - np.uint8(ZERO)  # what is below "0" wraps around to above 9
    negative = _signs(text, digits, blanks, stops - lengths, offsets, bad)
    if not len(stops):
        return np.empty(0, np.int32), np.diff(first), bad
    if negative is not None:
        lengths = lengths - negative
    bad[_rows_of(stops[(lengths < 1) | (lengths > MOST_DIGITS)], offsets)] = True
    numbers = _by_places(digits, stops, lengths)
    return (numbers if negative is None else np.where(negative, -numbers, numbers)), np.diff(first), bad


def _by_places(digits: Bytes, stops: Integers, lengths: Integers) -> NDArray[np.int32]:
    """Return Σ digit · 10^place of the digits before each stop."""
    numbers = digits[stops - 1].astype(np.int32)
    least, most = int(lengths.min()), min(int(lengths.max()), MOST_DIGITS)
    for place in range(1, most):
        values = digits[np.maximum(stops - 1 - place, 0)].astype(np.int32)
        values *= 10**place
        if place >= least:
            values *= lengths > place
        numbers += values
    return numbers


def _signs(
    text: Bytes, digits: Bytes, blanks: int, begins: Integers, offsets: Integers, bad: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Return which numbers have a minus in front, None for none; mark the rows that hold anything else."""
    other = digits > 9
    if np.count_nonzero(other) == blanks:
        return None
    others = np.flatnonzero(other)
    others = others[text[others] != SPACE]
    negative = text[begins] == MINUS
    bad[_rows_of(others[~np.isin(others, begins[negative])], offsets)] = True
    return np.asarray(negative)


def _rows_of(positions: Integers, offsets: Integers) -> Integers:
    return np.unique(np.searchsorted(offsets, positions, side="right") - 1)


def burst_activity(numbers: NDArray[np.int32], counts: Integers, axes: Integers) -> tuple[Floats, Floats]:
    """Return ODBA and VeDBA of bursts.

    Parameters
    ----------
    numbers : ndarray
        Of all bursts in turn, interleaved by axes.
    counts : ndarray of int64, shape (n,)
        How many numbers each burst has.
    axes : ndarray of int64, shape (n,)
        How many axes each burst has; 0 for one that is passed over.

    Returns
    -------
    odba, vedba : ndarray, shape (n,)
        In the unit of `numbers`; NaN for a burst passed over.

    Examples
    --------
    >>> odba, vedba = burst_activity(np.array([0, 0, 6, 8], np.int32), np.array([4]), np.array([2]))
    >>> odba.tolist(), vedba.tolist()  # two samples of X and Y, 3 and 4 away from their means
    ([7.0], [5.0])
    """
    first = np.cumsum(counts) - counts
    odba, vedba = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    usable = np.flatnonzero(axes > 0)
    kinds, kind = np.unique(counts[usable] * 4 + axes[usable], return_inverse=True)  # both in one number
    for number, (count, a) in enumerate(divmod(both, 4) for both in kinds.tolist()):
        rows = usable[kind == number]
        if len(rows) == len(counts):
            table = numbers.reshape(len(rows), count)
        else:
            table = np.lib.stride_tricks.sliding_window_view(numbers, count)[first[rows]]
        total, squares = np.zeros(len(rows)), np.zeros((len(rows), count // a))
        for axis in range(a):
            dynamic = table[:, axis::a].astype(np.float64)
            dynamic -= dynamic.mean(axis=1, keepdims=True)
            total += np.abs(dynamic).sum(axis=1)
            squares += dynamic * dynamic
        odba[rows], vedba[rows] = total / (count // a), np.sqrt(squares).mean(axis=1)
    return odba, vedba
