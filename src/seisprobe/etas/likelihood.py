"""What a fit sees of a catalog, the exact log-likelihood with its gradient, and the rate at any time.

All sums run over every pair of an event and an earlier event, in blocks that fit into the processor's cache: nothing is
cut off. Of two events at the same instant neither triggers the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seisprobe.errors import DataFileError, InputError
from seisprobe.etas.model import EtasParameters, omori_integral, omori_integral_gradient

__all__ = [
    "Observations",
    "incomplete_intervals",
    "log_likelihood",
    "log_likelihood_gradient",
    "observe",
    "rate",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK = 1 << 16  # pairs at a time: three buffers of 0.5 MB stay in the second-level cache
MAX_ROWS = 256
MINUTE_DAYS = 1.0 / 1440.0
TOLERANCE_M = 1e-9


@dataclass(frozen=True)
class Observations:
    """A catalog as the likelihood sees it: all parents, the targets among them, the time that is observed.

    Parameters
    ----------
    times_days, excess : ndarray, shape (n,)
        Parents in order of time, with M - Mc; those before the start are history.
    targets : ndarray of int64
        Which of them count in the likelihood.
    starts_days, ends_days : ndarray, shape (m,)
        The observed intervals, in order: (start, end] without what was left out.
    mc : float
    left_out_events : int
        Events of the period that are no targets because they fall into left-out time.
    """

    times_days: Floats
    excess: Floats
    targets: Integers
    starts_days: Floats
    ends_days: Floats
    mc: float
    left_out_events: int = 0

    @property
    def observed_days(self) -> float:
        """Length of the observed time in days."""
        return float((self.ends_days - self.starts_days).sum())

    @property
    def left_out_days(self) -> float:
        """Length of the time left out between first start and last end, in days."""
        return float(self.ends_days[-1] - self.starts_days[0]) - self.observed_days


def incomplete_intervals(times_days: Floats, magnitudes: Floats, mc: float) -> tuple[Floats, Floats]:
    """Return the times during which large events raise the magnitude of completeness above `mc`, merged.

    After an event of M >= mc + 2, Mc(t) = M - 4.5 - 0.75 log10(days since) (Helmstetter, Kagan & Jackson 2006, BSSA 96,
    eq. 15) exceeds `mc` for 10^((M - 4.5 - mc) / 0.75) days; below one minute it counts as none, the same rule as
    `catalog.completeness_at`.

    Returns
    -------
    starts, ends : ndarray
        Half-open (start, end]: the large event itself is still observed.

    Examples
    --------
    >>> starts, ends = incomplete_intervals(np.array([1.0, 1.1, 9.0]), np.array([6.5, 5.5, 4.6]), 2.5)
    >>> starts.tolist(), ends.round(3).tolist()
    ([1.0], [1.215])
    """
    days = 10 ** ((magnitudes - 4.5 - mc) / 0.75)
    raised = (magnitudes >= mc + 2 - TOLERANCE_M) & (days > MINUTE_DAYS)
    starts, ends = times_days[raised], np.maximum.accumulate((times_days + days)[raised])
    if not len(starts):
        return starts, ends
    new = np.concatenate([[True], starts[1:] > ends[:-1]])
    return starts[new], ends[np.concatenate([new[1:], [True]])]


def observe(
    times_days: Floats,
    magnitudes: Floats,
    mc: float,
    start_days: float,
    end_days: float,
    *,
    leave_out_incomplete: bool = True,
) -> Observations:
    """Make ready what a likelihood needs: parents with M >= mc, targets in (start, end], observed intervals.

    Parameters
    ----------
    times_days, magnitudes : ndarray, shape (n,)
        Events in any order, those before `start_days` included (they are parents only).
    mc : float
        Magnitude of completeness; smaller events are left aside.
    start_days, end_days : float
        Period of the targets.
    leave_out_incomplete : bool, optional
        Leave the `incomplete_intervals` out, as targets and from the integral; their events stay parents. As the
        intervals follow from the past alone, the likelihood of the rest stays exact.

    Returns
    -------
    Observations

    Raises
    ------
    DataFileError
        When a time or magnitude is not finite, or no time is observed.

    Examples
    --------
    >>> seen = observe(np.array([1.0, 1.1, 3.0]), np.array([6.5, 3.0, 2.5]), 2.5, 0.0, 10.0)
    >>> seen.targets.tolist(), round(seen.left_out_days, 3), seen.left_out_events
    ([0, 2], 0.215, 1)
    """
    times, sizes = _checked(times_days, magnitudes)
    if not end_days > start_days:
        raise InputError(f"ETAS: end {end_days:g} d is not after start {start_days:g} d; give a longer period")
    keep = np.flatnonzero((sizes >= mc - TOLERANCE_M) & (times <= end_days))
    keep = keep[np.argsort(times[keep], kind="stable")]
    times, sizes = times[keep], sizes[keep]
    no_gaps = (np.empty(0), np.empty(0))
    gaps = incomplete_intervals(times, sizes, mc) if leave_out_incomplete else no_gaps
    starts, ends = _between(gaps, start_days, end_days)
    if not len(starts):
        raise DataFileError(f"ETAS: aftershocks leave no complete time at Mc {mc:g}; raise catalog.mc")
    hidden = _inside(times, *gaps)
    targets, left_out = (times > start_days) & ~hidden, (times > start_days) & hidden
    excess = np.maximum(sizes - mc, 0.0)
    return Observations(times, excess, np.flatnonzero(targets), starts, ends, mc, int(left_out.sum()))


def _between(gaps: tuple[Floats, Floats], start: float, end: float) -> tuple[Floats, Floats]:
    """Return starts and ends of what is left of (start, end] without the gaps."""
    starts = np.concatenate([[start], np.clip(gaps[1], start, end)])
    ends = np.concatenate([np.clip(gaps[0], start, end), [end]])
    return starts[ends > starts], ends[ends > starts]


def _checked(times_days: Floats, magnitudes: Floats) -> tuple[Floats, Floats]:
    times, sizes = np.asarray(times_days, dtype=np.float64), np.asarray(magnitudes, dtype=np.float64)
    if times.shape != sizes.shape or times.ndim != 1:
        raise InputError(f"ETAS: times {times.shape} and magnitudes {sizes.shape} must be two lists of one length")
    for name, values in (("time", times), ("magnitude", sizes)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise DataFileError(f"ETAS: event {bad[0]} has {name} {values[bad[0]]}; drop such events first")
    return times, sizes


def _inside(times: Floats, starts: Floats, ends: Floats) -> NDArray[np.bool_]:
    """Return which times lie in one of the disjoint intervals (start, end]."""
    if not len(starts):
        return np.zeros(len(times), dtype=bool)
    which = np.searchsorted(starts, times, side="left") - 1
    return np.asarray((which >= 0) & (times <= ends[np.maximum(which, 0)]))


def log_likelihood(parameters: EtasParameters, observations: Observations) -> float:
    """Return the log-likelihood of the observed targets (Ogata 1988, eq. 2.3, over the observed intervals).

    ln L = sum over targets of ln lambda(t_i), minus the integral of lambda over the observed time.

    Examples
    --------
    >>> poisson = EtasParameters(2.0, 0.0, 1.0, 0.01, 1.1, mc=2.5)
    >>> seen = observe(np.array([1.0, 3.0]), np.array([2.5, 2.5]), 2.5, 0.0, 10.0)
    >>> round(log_likelihood(poisson, seen), 6)  # 2 ln 2 - 20
    -18.613706
    """
    return log_likelihood_gradient(parameters, observations)[0]


def log_likelihood_gradient(parameters: EtasParameters, observations: Observations) -> tuple[float, Floats]:
    """Return the log-likelihood and its gradient by the logarithms of mu, K, alpha, c and p.

    Parameters
    ----------
    parameters : EtasParameters
    observations : Observations

    Returns
    -------
    value : float
    gradient : ndarray, shape (5,)

    Examples
    --------
    >>> poisson = EtasParameters(2.0, 0.0, 1.0, 0.01, 1.1, mc=2.5)
    >>> seen = observe(np.array([1.0, 3.0]), np.array([2.5, 2.5]), 2.5, 0.0, 10.0)
    >>> log_likelihood_gradient(poisson, seen)[1].round(3).tolist()
    [-18.0, -0.0, 0.0, 0.0, -0.0]
    """
    return Likelihood(observations)(parameters)


class Likelihood:
    """The log-likelihood of one catalog: holds what does not change from one set of parameters to the next."""

    def __init__(self, observations: Observations) -> None:
        self.observations = observations
        times = observations.times_days
        self._rows = times[observations.targets]
        edges = np.concatenate([observations.ends_days, observations.starts_days])
        sign = np.repeat([1.0, -1.0], len(observations.ends_days))
        edge, self._parent = np.nonzero(edges[:, None] > times[None, :])
        self._days = edges[edge] - times[self._parent]
        self._sign = sign[edge]

    def triggering(self, parameters: EtasParameters) -> tuple[Floats, float]:
        """Return what all events trigger for K = 1: the rate at each target, and the number expected in all."""
        seen = self.observations
        weight = np.exp(parameters.alpha * seen.excess)
        sums = _kernel_sums(self._rows, seen.times_days, weight, seen.excess, parameters.c_days, parameters.p)
        expected = self._sign * omori_integral(self._days, parameters.c_days, parameters.p)
        return sums[:, 0], float(weight[self._parent] @ expected)

    def __call__(self, parameters: EtasParameters) -> tuple[float, Floats]:
        """Return the value and the gradient by log-parameters."""
        seen, given = self.observations, parameters
        weight = np.exp(given.alpha * seen.excess)
        sums = _kernel_sums(self._rows, seen.times_days, weight, seen.excess, given.c_days, given.p)
        rates = given.mu_per_day + given.k * sums[:, 0]
        share = 1.0 / np.maximum(rates, 1e-300)
        value, by_c, by_p = omori_integral_gradient(self._days, given.c_days, given.p)
        n = len(weight)
        counts = np.bincount(self._parent, self._sign * value, minlength=n)
        total = given.mu_per_day * seen.observed_days + given.k * float(weight @ counts)
        signed = weight[self._parent] * self._sign
        slope = np.array([weight @ counts, (weight * seen.excess) @ counts, signed @ by_c, signed @ by_p])
        triggered = share @ (sums * np.array([1.0, 1.0, -given.p, -1.0])) - slope
        scale = given.k * np.array([1.0, given.alpha, given.c_days, given.p])
        background = given.mu_per_day * (share.sum() - seen.observed_days)
        gradient = np.concatenate([[background], scale * triggered])
        return float(np.log(np.maximum(rates, 1e-300)).sum()) - total, gradient


def _kernel_sums(times: Floats, parents: Floats, weight: Floats, excess: Floats, c_days: float, p: float) -> Floats:
    """Return, for each time, four sums over earlier parents of w = exp(alpha excess) times the Omori–Utsu law.

    Columns: w x^-p; w excess x^-p; w x^(-p-1); w x^-p ln x; with x = t - t_j + c. One logarithm, one exponential and
    one division a pair; (t - t_j + c)^-p as exp(-p ln x) costs a third of a power.
    """
    both = np.column_stack([weight, weight * excess])
    sums = np.zeros((len(times), 4))
    for rows, m, x, late, first in _blocks(times, parents, c_days):
        log = np.log(x)
        power = np.multiply(log, -p)
        np.exp(power, out=power)
        power[:, first:][late] = 0.0
        sums[rows, :2] = power @ both[:m]
        log *= power
        sums[rows, 3] = log @ weight[:m]
        power /= x
        sums[rows, 2] = power @ weight[:m]
    return sums


def _blocks(
    times: Floats, parents: Floats, c_days: float
) -> Iterator[tuple[slice, int, Floats, NDArray[np.bool_], int]]:
    """Yield blocks of ascending times: rows, number of parents m, x = t - t_j + c (rows, m), pairs that do not count.

    Those are pairs whose parent is not strictly earlier; they lie in the columns from `first` on and get x = 1.
    """
    counts = np.searchsorted(parents, times, side="left")
    row = int(np.searchsorted(counts, 0, side="right"))
    while row < len(times):
        height = max(1, min(MAX_ROWS, BLOCK // (int(counts[row]) + MAX_ROWS)))
        end = min(row + height, len(times))
        m, first = int(counts[end - 1]), int(counts[row])
        x = times[row:end, None] - parents[None, :m]
        late = x[:, first:] <= 0.0
        x += c_days
        x[:, first:][late] = 1.0
        yield slice(row, end), m, x, late, first
        row = end


def rate(parameters: EtasParameters, times_days: Floats, event_times_days: Floats, magnitudes: Floats) -> Floats:
    """Return lambda(t), events M >= Mc per day, at any times; parents are all events strictly before.

    Parameters
    ----------
    parameters : EtasParameters
    times_days : ndarray, shape (n,)
        In any order.
    event_times_days, magnitudes : ndarray, shape (m,)
        The catalog, in any order; events below Mc are no parents.

    Returns
    -------
    ndarray, shape (n,)
        The background's share is mu_per_day / rate.

    Raises
    ------
    DataFileError
        When a time or magnitude is not finite.

    Examples
    --------
    >>> parameters = EtasParameters(1.0, 2.0, 0.0, 1.0, 1.0, mc=2.5)
    >>> rate(parameters, np.array([5.0, 1.0]), np.array([1.0]), np.array([3.0])).tolist()
    [1.4, 1.0]
    """
    events, sizes = _checked(event_times_days, magnitudes)
    wanted = np.asarray(times_days, dtype=np.float64)
    keep = sizes >= parameters.mc - TOLERANCE_M
    events, sizes = events[keep], sizes[keep]
    by_time, order = np.argsort(events, kind="stable"), np.argsort(wanted, kind="stable")
    weight = parameters.k * np.exp(parameters.alpha * np.maximum(sizes[by_time] - parameters.mc, 0.0))
    result = np.full(len(wanted), parameters.mu_per_day)
    for rows, m, x, late, first in _blocks(wanted[order], events[by_time], parameters.c_days):
        power = np.exp(-parameters.p * np.log(x))
        power[:, first:][late] = 0.0
        result[order[rows]] += power @ weight[:m]
    return result


def integrated_rate(parameters: EtasParameters, times_days: Floats, observations: Observations) -> Floats:
    """Return the integral of lambda from the start of the observations to each of ascending times, gaps included."""
    seen = observations
    start = float(seen.starts_days[0])
    weight = parameters.k * np.exp(parameters.alpha * seen.excess)
    known = np.maximum(start - seen.times_days, 0.0)
    before = weight * omori_integral(known, parameters.c_days, parameters.p)
    result = parameters.mu_per_day * (times_days - start)
    for rows, m, x, late, first in _blocks(times_days, seen.times_days, 0.0):
        x[:, first:][late] = 0.0
        result[rows] += omori_integral(x, parameters.c_days, parameters.p) @ weight[:m] - before[:m].sum()
    return np.asarray(result)
