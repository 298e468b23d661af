"""Which windows train and which test: whole blocks of time, with purge and embargo; nothing else unless allowed.

::

    time ──────────────────────────────────────────────────────────────────►
    positives        *                    *  *                    *
    blocks           1                    2  2                    3
    every time belongs to the nearest positive's block (cut midway):
                 1111111111111│222222222222222222222222│3333333333333333
    leave out 2  tttttttt░░░░░│    ranked in here      │░░░░░ttttttttttt
                        purge and embargo: L + E on both sides
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from seisprobe.catalog import Integers
from seisprobe.errors import StudyError, nearest

__all__ = [
    "SAFE",
    "SPLITS",
    "Fold",
    "forward_chaining",
    "leave_one_block_out",
    "safe_split",
    "shuffled_k_fold",
    "span_of",
]

Bools = np.ndarray


@dataclass(frozen=True)
class Fold:
    """Masks of one fold: positives and candidates that train, and that are held out."""

    train_positive: Bools
    train: Bools
    test_positive: Bools
    test: Bools


def span_of(ends: Integers, positive_ends: Integers, blocks: Integers) -> Integers:
    """Return the block that each time belongs to: that of the nearest positive.

    Examples
    --------
    >>> span_of(np.array([0, 4, 6, 9]), np.array([1, 9]), np.array([1, 2])).tolist()
    [1, 1, 2, 2]
    """
    order = np.argsort(positive_ends, kind="stable")
    times = positive_ends[order]
    cuts = (times[1:] + times[:-1]) // 2
    return np.asarray(blocks[order][np.searchsorted(cuts, ends, side="left")])


def leave_one_block_out(
    ends: Integers,
    positive_ends: Integers,
    blocks: Integers,
    apart_us: int,
    rng: np.random.Generator,
    least_us: int = 0,
) -> Iterator[Fold]:
    """Yield one fold a block: the block's span of time is held out, what lies more than L + E from it trains.

    Parameters
    ----------
    ends : ndarray of int64, shape (n,)
        Candidate ends, microseconds, ascending.
    positive_ends, blocks : ndarray of int64, shape (K,)
    apart_us : int
        L + E in microseconds.
    rng : Generator
        Not used: the split is fixed.
    least_us : int
        A span reaches at least so far before and after each of its positives: where each has ground of its own, the
        next may come within hours.
    """
    runs = _runs(span_of(ends, positive_ends, blocks))
    for block in np.unique(blocks):
        held, positive_near = blocks == block, np.zeros(len(positive_ends), dtype=bool)
        inside, near = np.zeros((2, len(ends)), dtype=bool)
        spans = [slice(start, stop) for start, stop in runs.get(int(block), ())]
        spans += [_between(ends, t - least_us, t + least_us) for t in positive_ends[held] if least_us]
        for span in spans:
            if span.stop > span.start:
                first, last = ends[span.start] - apart_us, ends[span.stop - 1] + apart_us
                inside[span] = True
                near[_between(ends, first, last)] = True
                positive_near |= (positive_ends >= first) & (positive_ends <= last)
        yield Fold(~held & ~positive_near, ~near, held, inside)


def _between(ends: Integers, first: int, last: int) -> slice:
    return slice(int(np.searchsorted(ends, first)), int(np.searchsorted(ends, last, side="right")))


def forward_chaining(
    ends: Integers,
    positive_ends: Integers,
    blocks: Integers,
    apart_us: int,
    rng: np.random.Generator,
    least_us: int = 0,
) -> Iterator[Fold]:
    """Yield folds that train on earlier blocks only (pseudo-prospective); the first block is never tested."""
    for fold in leave_one_block_out(ends, positive_ends, blocks, apart_us, rng, least_us):
        first = positive_ends[fold.test_positive].min()
        train_positive = fold.train_positive & (positive_ends < first)
        if train_positive.any():
            yield Fold(train_positive, fold.train & (ends < first), fold.test_positive, fold.test)


def shuffled_k_fold(
    ends: Integers,
    positive_ends: Integers,
    blocks: Integers,
    apart_us: int,
    rng: np.random.Generator,
    least_us: int = 0,
) -> Iterator[Fold]:
    """Yield five shuffled folds, as is common and wrong here: overlapping windows stand on both sides."""
    folds = 5
    part, positive_part = rng.integers(folds, size=len(ends)), rng.permutation(len(positive_ends)) % folds
    for number in np.unique(positive_part):
        held, inside = positive_part == number, part == number
        yield Fold(~held, ~inside, held, inside)


def _runs(span: Integers) -> dict[int, list[tuple[int, int]]]:
    """Return, by block, where each run of consecutive candidates of its span starts and stops."""
    edges = [0, *(np.flatnonzero(np.diff(span)) + 1).tolist(), len(span)]
    found: dict[int, list[tuple[int, int]]] = {}
    for start, stop in pairwise(edges):
        if stop > start:
            found.setdefault(int(span[start]), []).append((start, stop))
    return found


Split = Callable[[Integers, Integers, Integers, int, np.random.Generator, int], Iterator[Fold]]
SPLITS: dict[str, Split] = {"leave-one-block-out": leave_one_block_out, "shuffled-k-fold": shuffled_k_fold}
SAFE = ("leave-one-block-out",)


def safe_split(name: str, *, allow_unsafe: bool) -> Split:
    """Return a split by name; refuse one that leaks unless the study allows it.

    Raises
    ------
    StudyError
    """
    if name not in SPLITS:
        raise StudyError(f"[evaluation] split = '{name}': {nearest(name, SPLITS)}")
    if name not in SAFE and not allow_unsafe:
        raise StudyError(
            f"[evaluation] split = '{name}': overlapping windows on both sides of a split score 0.9 on pure noise; use"
            f" '{SAFE[0]}', or set allow_unsafe_split = true, which stamps the report"
        )
    return SPLITS[name]
