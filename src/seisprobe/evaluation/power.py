"""What K mainshocks can show at all: the law of the mean percentile under chance and under an effect (PROTOCOL 6).

Under chance each block's percentile is uniform, so the AUC of K apart is the mean of K uniforms (Bates). Under an
effect of true AUC A it is u = Φ(z + √2 Φ⁻¹(A)), z standard normal (equal-variance binormal model). Members of a block
share one z. Both laws come from one numerical convolution, exact to about 1e-6, on a fixed grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["PercentileLaw", "critical_auc", "detectable_auc", "inversion_interval", "percentile_law"]

Floats = NDArray[np.float64]
AUC_GRID = np.concatenate(
    [[1e-4, 1e-3, 3e-3], np.linspace(0.005, 0.995, 199), [0.997, 0.999, 0.9999]]
)  # dense enough that linear interpolation errs by under 1e-4
POWER = 0.8
NEAREST_TO_EDGE = 1e-3  # a background of some hundred windows resolves no more


@dataclass(frozen=True)
class PercentileLaw:
    """P(mean percentile ≤ c) for true AUCs on a grid, for given block sizes.

    Parameters
    ----------
    sizes : tuple of int
        Members of each block, taken as one; without a common divisor.
    auc : ndarray, shape (a,)
        True AUCs.
    value : ndarray, shape (m,)
        Values c of the mean percentile, ascending in [0, 1].
    cdf : ndarray of float32, shape (a, m)
    """

    sizes: tuple[int, ...]
    auc: Floats
    value: Floats
    cdf: NDArray[np.float32]

    @property
    def edge(self) -> float:
        """How near to 0 and 1 the law can be read: two of its steps, and no nearer than a background resolves."""
        return max(NEAREST_TO_EDGE, 2 * sum(self.sizes) / (len(self.value) - 2))

    def exceedance(self, c: float) -> Floats:
        """Return P(mean percentile ≥ c) for each true AUC of the grid, shape (a,)."""
        c = min(c, 1.0)  # a mean of ones may be a little more
        column = np.clip(np.searchsorted(self.value, c), 1, len(self.value) - 1)
        low, high = self.value[column - 1], self.value[column]
        share = np.clip((c - low) / (high - low), 0.0, 1.0)
        return np.asarray(1.0 - (1 - share) * self.cdf[:, column - 1] - share * self.cdf[:, column])

    def quantile(self, probability: float, auc: float = 0.5) -> float:
        """Return c with P(mean percentile ≤ c) = `probability` for the grid's AUC nearest to `auc`."""
        row = self.cdf[int(np.argmin(np.abs(self.auc - auc)))]
        return float(np.interp(probability, row, self.value))


def percentile_law(sizes: tuple[int, ...]) -> PercentileLaw:
    """Return the law of the AUC of blocks of given sizes.

    Parameters
    ----------
    sizes : tuple of int
        At least one block; ``(1, 1, 1)`` for three mainshocks apart, ``(1, 2)`` for one and a pair.

    Returns
    -------
    PercentileLaw

    Examples
    --------
    >>> law = percentile_law((1, 1, 1))
    >>> round(law.quantile(0.95), 3)
    0.777
    """
    common = int(np.gcd.reduce(sizes))  # blocks of one size are as many mainshocks apart, and have a finer law
    return _law(tuple(sorted(size // common for size in sizes)))


@lru_cache(maxsize=64)
def _law(sizes: tuple[int, ...]) -> PercentileLaw:
    total = sum(sizes)
    bins = max(16, 4096 // total)  # of many summed, each may be coarse: the error of the sum stays under 1e-4
    edges = np.linspace(0.0, 1.0, bins + 1)
    shifts = np.sqrt(2.0) * ndtri(AUC_GRID)[:, None]
    mass = np.diff(ndtr(ndtri(edges)[None, :] - shifts), axis=1)
    length = 1 << int(np.ceil(np.log2(total * bins + 1)))
    spectrum = np.ones((len(AUC_GRID), length // 2 + 1), dtype=np.complex128)
    for size in sorted(set(sizes)):
        stretched = np.zeros((len(AUC_GRID), length))
        stretched[:, : size * bins : size] = mass
        spectrum *= np.fft.rfft(stretched, axis=1) ** sizes.count(size)
    sums = np.fft.irfft(spectrum, n=length, axis=1)
    cdf = np.clip(np.cumsum(sums[:, : total * bins], axis=1), 0.0, 1.0).astype(np.float32)
    # a bin's mass lies at its middle, half a bin a member above the lower edges that were added up; and the
    # cumulative sum of a step is reached at the step's end, half a step above its middle
    value = np.concatenate([[0.0], np.clip((np.arange(total * bins) + total / 2 + 0.5) / (total * bins), 0, 1), [1.0]])
    ends = np.ones((len(AUC_GRID), 1), dtype=np.float32)
    return PercentileLaw(sizes, AUC_GRID, value, np.concatenate([0 * ends, cdf, ends], axis=1))


def critical_auc(sizes: tuple[int, ...], alpha: float) -> float:
    """Return the AUC that chance reaches with probability `alpha` (one-sided), for blocks of given sizes.

    Examples
    --------
    >>> [round(critical_auc((1,) * k, 0.05), 3) for k in (2, 3, 10)], round(critical_auc((1, 2), 0.05), 3)
    ([0.842, 0.777, 0.65], 0.851)
    """
    return percentile_law(sizes).quantile(1.0 - alpha)


def detectable_auc(sizes: tuple[int, ...], critical: float, power: float = POWER) -> float:
    """Return the true AUC that exceeds a critical value with 80% probability; 1 where none on the grid does.

    Examples
    --------
    >>> round(detectable_auc((1, 1, 1), critical_auc((1, 1, 1), 0.05)), 2)
    0.86
    """
    law = percentile_law(sizes)
    reached = law.exceedance(critical)
    if critical >= 1.0 or reached[-1] < power:
        return 1.0
    return float(np.interp(power, np.maximum.accumulate(reached), law.auc))


def inversion_interval(auc: float, sizes: tuple[int, ...], level: float = 0.95) -> tuple[float, float]:
    """Return the true AUCs that a two-sided test does not refuse, given the AUC observed.

    An AUC nearer to 1 than the law's `edge` is taken for 1 − `edge` at the lower limit (and likewise near 0): a
    background is finite, and mainshocks that lie above all of it are no proof that the true AUC is 1.

    Examples
    --------
    >>> low, high = inversion_interval(0.9, (1, 1, 1))
    >>> low < 0.9 < high
    True
    """
    law = percentile_law(sizes)
    tail = (1.0 - level) / 2
    at_least = np.maximum.accumulate(law.exceedance(min(auc, 1.0 - law.edge)))
    low = float(np.interp(tail, at_least, law.auc)) if at_least[0] < tail else 0.0
    at_least = np.maximum.accumulate(law.exceedance(max(auc, law.edge)))
    high = float(np.interp(1.0 - tail, at_least, law.auc)) if at_least[-1] > 1.0 - tail else 1.0
    return low, max(high, auc)
