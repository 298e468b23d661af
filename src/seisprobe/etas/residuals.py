"""Residual analysis: under the model, the integral of the rate turns the targets into a unit-rate Poisson process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seisprobe.etas.likelihood import Observations, integrated_rate
from seisprobe.etas.model import EtasParameters

__all__ = ["Residuals", "residuals"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Residuals:
    """Transformed times of the targets and the Kolmogorov–Smirnov test of their uniformity.

    Parameters
    ----------
    transformed : ndarray, shape (n,)
        Number of events expected from the start to each target, over observed time only; the left-out intervals are
        cut out and the rest joined.
    expected : float
        The same at the end; at a maximum with mu and K free it equals n.
    ks_statistic, ks_p : float
        Two-sided test of transformed / expected against the uniform distribution (a Poisson process given its number
        of events); NaN without targets. On fitted parameters it rejects too rarely.
    """

    transformed: Floats
    expected: float
    ks_statistic: float
    ks_p: float


def residuals(parameters: EtasParameters, observations: Observations) -> Residuals:
    """Return transformed times and their test (Ogata 1988, JASA 83, section 4).

    Parameters
    ----------
    parameters : EtasParameters
    observations : Observations
        From `observe`, with the same left-out intervals as the fit.

    Returns
    -------
    Residuals

    Examples
    --------
    >>> from seisprobe.etas import observe
    >>> poisson = EtasParameters(2.0, 0.0, 1.0, 0.01, 1.1, mc=2.5)
    >>> seen = observe(np.array([1.0, 3.0]), np.array([2.5, 2.5]), 2.5, 0.0, 10.0)
    >>> residuals(poisson, seen).transformed.tolist(), residuals(poisson, seen).ks_statistic
    ([2.0, 6.0], 0.7)
    """
    seen = observations
    targets = seen.times_days[seen.targets]
    gap_starts, gap_ends = seen.ends_days[:-1], seen.starts_days[1:]
    wanted = np.concatenate([targets, gap_starts, gap_ends, seen.ends_days[-1:]])
    order = np.argsort(wanted, kind="stable")
    grown = np.empty(len(wanted))
    grown[order] = integrated_rate(parameters, wanted[order], seen)
    at_targets, at_starts, at_ends, total = np.split(
        grown, [len(targets), len(targets) + len(gap_starts), len(wanted) - 1]
    )
    hidden = np.concatenate([[0.0], np.cumsum(at_ends - at_starts)])
    transformed = at_targets - hidden[np.searchsorted(gap_ends, targets, side="left")]
    expected = float(total[0] - hidden[-1])
    return Residuals(transformed, expected, *_kolmogorov_smirnov(transformed / expected))


def _kolmogorov_smirnov(uniform: Floats) -> tuple[float, float]:
    from scipy.stats import kstwo

    n = len(uniform)
    if n == 0:
        return float("nan"), float("nan")
    steps = np.arange(n + 1) / n
    statistic = float(max((steps[1:] - uniform).max(), (uniform - steps[:-1]).max()))
    return statistic, float(kstwo.sf(statistic, n))
