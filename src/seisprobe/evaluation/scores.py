"""How high a mainshock's window ranks among background windows: the statistic of every cell (PROTOCOL 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DeLong",
    "auc_percentile",
    "delong",
    "delong_paired",
    "percentiles",
    "percentiles_of_few",
    "round_significant",
]

Floats = NDArray[np.float64]


def round_significant(values: ArrayLike, digits: int = 9) -> Floats:
    """Round to significant digits, so that sums of the same events in another order stay ties.

    Examples
    --------
    >>> round_significant([0.1 + 0.2, -12345.678915, 0.0]).tolist()
    [0.3, -12345.6789, 0.0]
    """
    x = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.abs(x))))
        rounded = np.round(x * scale) / scale
    return np.where(np.isfinite(rounded), rounded, x)


def percentiles(scores: ArrayLike, background: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the mid-rank percentile of each score in a weighted background.

    u = Σ w_b (1[s_b < s] + ½·1[s_b = s]) / Σ w_b, on values rounded to 9 significant digits.

    Parameters
    ----------
    scores : array_like, any shape
        NaN gives NaN.
    background : array_like, shape (n,)
        NaN leaves the background.
    weights : array_like, shape (n,), optional
        Not negative; 1 by default.

    Returns
    -------
    ndarray of float64, shape of `scores`
        In [0, 1]; NaN everywhere where the background has no weight.

    Examples
    --------
    >>> percentiles([0.0, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0]).tolist()
    [0.0, 0.375, 1.0]
    >>> percentiles([2.0], [1.0, 2.0], weights=[3.0, 1.0]).tolist()
    [0.875]
    """
    s, b = round_significant(scores), round_significant(background)
    w = np.ones(b.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    counts = np.isfinite(b) & (w > 0)
    b, w = b[counts], w[counts]
    if not len(b):
        return np.full(s.shape, np.nan)
    order = np.argsort(b, kind="stable")
    b, mass = b[order], np.concatenate([[0.0], np.cumsum(w[order])])
    below, up_to = mass[np.searchsorted(b, s, side="left")], mass[np.searchsorted(b, s, side="right")]
    return np.where(np.isnan(s), np.nan, (below + up_to) / (2 * mass[-1]))


def percentiles_of_few(scores: ArrayLike, background: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return what `percentiles` does, by counting instead of sorting: quicker for one or two scores.

    Only background values next to a score are rounded: the others cannot be ties.

    Parameters
    ----------
    scores : array_like, shape (k,)
    background, weights : array_like, shape (n,)
        Background without NaN.

    Examples
    --------
    >>> percentiles_of_few([0.0, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0]).tolist()
    [0.0, 0.375, 1.0]
    """
    b = np.asarray(background, dtype=np.float64)
    w = np.ones(b.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    found = np.full(len(np.asarray(scores)), np.nan)
    for k, x in enumerate(np.asarray(scores, dtype=np.float64)):
        close = np.flatnonzero(np.abs(b - x) <= 1e-7 * abs(x))
        below = float(w[b < x].sum() - w[close][b[close] < x].sum())
        rounded, own = round_significant(b[close]), round_significant(x)
        below += float(w[close][rounded < own].sum() + 0.5 * w[close][rounded == own].sum())
        total = float(w.sum())
        found[k] = below / total if total > 0 and np.isfinite(x) else np.nan
    return found


def auc_percentile(scores: ArrayLike, background: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the AUC of scores against a background: the mean of their mid-rank percentiles.

    Parameters
    ----------
    scores : array_like, shape (K,)
        One a mainshock; NaN is left out.
    background : array_like, shape (n,)
    weights : array_like, shape (n,), optional

    Returns
    -------
    float
        NaN where there is no score or no background.

    Examples
    --------
    >>> auc_percentile([3.0, 9.0], [1.0, 2.0, 3.0, 4.0])
    0.8125
    """
    u = percentiles(scores, background, weights)
    return float(np.nanmean(u)) if np.isfinite(u).any() else float("nan")


@dataclass(frozen=True)
class DeLong:
    """An AUC with DeLong's variance, or the difference of two; assumes independent windows, which ours are not."""

    auc: float
    variance: float
    z: float
    p: float


def _placements(scores: Floats, labels: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the percentile of each positive among negatives, and of 1 minus each negative's among positives."""
    return percentiles(scores[labels], scores[~labels]), 1.0 - percentiles(scores[~labels], scores[labels])


def _cases(labels: ArrayLike) -> NDArray[np.bool_]:
    y = np.asarray(labels).astype(bool)
    if y.sum() < 2 or (~y).sum() < 2:
        raise ValueError(f"DeLong's variance needs two of each class; there are {int(y.sum())} and {int((~y).sum())}")
    return y


def delong(scores: ArrayLike, labels: ArrayLike) -> DeLong:
    """Return an AUC, its variance, and z and two-sided p against 0.5 (DeLong, DeLong & Clarke-Pearson 1988).

    Parameters
    ----------
    scores : array_like, shape (n,)
    labels : array_like, shape (n,)
        True for positives.

    Notes
    -----
    Assumes independent windows: with overlapping or autocorrelated ones a nominal 5% test rejects 26–37% of nulls.

    Examples
    --------
    >>> result = delong([1, 2, 3, 4, 5, 6], [0, 0, 1, 0, 1, 1])
    >>> round(result.auc, 4), round(result.variance, 4)
    (0.8889, 0.0247)
    """
    y = _cases(labels)
    s = np.asarray(scores, dtype=np.float64)
    up, down = _placements(s, y)
    variance = up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down)
    return _tested(float(up.mean()), float(up.mean()) - 0.5, float(variance))


def delong_paired(scores_a: ArrayLike, scores_b: ArrayLike, labels: ArrayLike) -> DeLong:
    """Return AUC(a) − AUC(b) of two scores on the same windows, with DeLong's variance, z and two-sided p.

    Examples
    --------
    >>> delong_paired([1, 2, 3, 4], [1, 2, 3, 4], [0, 0, 1, 1]).p
    1.0
    """
    y = _cases(labels)
    a, b = (_placements(np.asarray(s, dtype=np.float64), y) for s in (scores_a, scores_b))
    up, down = a[0] - b[0], a[1] - b[1]
    variance = up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down)
    return _tested(float(up.mean()), float(up.mean()), float(variance))


def _tested(value: float, excess: float, variance: float) -> DeLong:
    from scipy.special import ndtr

    z = excess / np.sqrt(variance) if variance > 0 else (0.0 if excess == 0 else float(np.copysign(np.inf, excess)))
    return DeLong(value, variance, float(z), float(2 * ndtr(-abs(z))))
