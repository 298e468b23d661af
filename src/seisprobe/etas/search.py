"""The search for the maximum of the ETAS likelihood: coordinates, limits, several starts, curvature at the top.

L-BFGS-B with the exact gradient runs in the logarithms of mu, branching ratio, alpha, c and p: the branching ratio is
far less correlated with c and p than K is, and an upper limit on it is a plain limit of the search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seisprobe.etas.likelihood import Likelihood, Observations
from seisprobe.etas.model import (
    LN10,
    PARAMETER_NAMES,
    EtasParameters,
    mean_productivity_gradient,
    omori_integral_gradient,
)

__all__ = ["BRANCHING_LIMITS", "P_LEAST_CONSTRAINED", "STARTS", "Maximum", "Space", "branching_error", "maximise"]

Floats = NDArray[np.float64]

# (share of background, branching ratio, alpha, c in days, p), spread over what is published for shallow seismicity.
STARTS = ((0.4, 0.6, 1.6, 0.01, 1.15), (0.15, 0.85, 2.1, 0.002, 1.05), (0.7, 0.3, 1.0, 0.05, 1.3))
# Natural sizes of steps in the five log-coordinates; they save the quasi-Newton search half of its steps.
STEP_SIZES = np.array([0.3, 0.1, 0.2, 0.6, 0.08])
# A top that falls by less than this over a natural step along some line has no standard errors worth the name.
FLAT = 1e-3
ALPHA_LIMITS = (0.02, 6.0)
C_LIMITS_DAYS = (1e-5, 10.0)
P_LIMITS = (0.5, 3.0)
P_LEAST_CONSTRAINED = 1.001
BRANCHING_LIMITS = (1e-4, 50.0)


@dataclass(frozen=True)
class Space:
    """The coordinates of the search: ln of mu, branching ratio (or K, where K is held), alpha, c, p; their limits."""

    mc: float
    beta: float
    span: float
    window_days: float
    events_per_day: float
    by_k: bool
    lower: Floats
    upper: Floats
    free: NDArray[np.bool_]

    @classmethod
    def make(
        cls,
        seen: Observations,
        held: dict[str, float],
        law: tuple[float, float],
        days: float,
        max_branching: float | None,
    ) -> Space:
        """Lay out the search for one catalog; `law` is b and the largest magnitude, `days` the fit's period."""
        per_day = len(seen.targets) / seen.observed_days
        ratios = (BRANCHING_LIMITS[0], max_branching or BRANCHING_LIMITS[1])
        p_limits = P_LIMITS if max_branching is None else (P_LEAST_CONSTRAINED, P_LIMITS[1])
        limits = np.array([(1e-5 * per_day, 2 * per_day), ratios, ALPHA_LIMITS, C_LIMITS_DAYS, p_limits])
        for index, name in enumerate(PARAMETER_NAMES):
            if name in held:
                limits[index] = held[name]
        lower, upper = np.log(limits).T
        window = days if max_branching is None else math.inf
        free = np.array([name not in held for name in PARAMETER_NAMES])
        return cls(seen.mc, law[0] * LN10, law[1] - seen.mc, window, per_day, "k" in held, lower, upper, free)

    def start(self, guess: tuple[float, ...]) -> Floats:
        """Return the coordinates of one of `STARTS`, inside the limits."""
        point = np.log(np.array(guess))
        point[0] += math.log(self.events_per_day)
        return np.asarray(np.clip(point, self.lower, self.upper))

    def offset(self, point: Floats) -> tuple[float, Floats]:
        """Return ln(branching ratio / K) and its gradient by the coordinates."""
        alpha, c, p = np.exp(point[2:])
        mean, by_alpha = mean_productivity_gradient(alpha, self.beta, self.span)
        if math.isinf(self.window_days):
            aftershocks = c ** (1 - p) / (p - 1)
            by_c, by_p = aftershocks * (1 - p) / c, -aftershocks * (math.log(c) + 1 / (p - 1))
        else:
            aftershocks, by_c, by_p = (float(x) for x in omori_integral_gradient(np.array(self.window_days), c, p))
        slope = np.array([0.0, 0.0, alpha * by_alpha / mean, c * by_c / aftershocks, p * by_p / aftershocks])
        return math.log(aftershocks * mean), slope

    def parameters(self, point: Floats) -> EtasParameters:
        """Return the parameters at a point of the search."""
        logs = point.copy()
        if not self.by_k:
            logs[1] -= self.offset(point)[0]
        mu, k, alpha, c, p = np.exp(logs).tolist()
        return EtasParameters(mu, k, alpha, c, p, self.mc)

    def jacobian(self, point: Floats) -> Floats:
        """Return the derivative of the log-parameters by the coordinates, shape (5, 5)."""
        result = np.eye(5)
        if not self.by_k:
            result[1] -= self.offset(point)[1]
        return result

    def value_gradient(self, likelihood: Likelihood, point: Floats) -> tuple[float, Floats]:
        """Return the log-likelihood and its gradient by the coordinates."""
        value, gradient = likelihood(self.parameters(point))
        return value, gradient @ self.jacobian(point)

    def on_limit(self, point: Floats) -> NDArray[np.bool_]:
        """Return which coordinates lie on a limit of the search."""
        near = 1e-6 * STEP_SIZES
        return np.asarray(self.free & ((point - self.lower < near) | (self.upper - point < near)))


@dataclass(frozen=True)
class Maximum:
    """Where a search ended.

    Parameters
    ----------
    point : ndarray, shape (5,)
        Coordinates of the maximum (`Space`).
    parameters : EtasParameters
    value : float
        Log-likelihood.
    reached : tuple of float
        Log-likelihood reached from each start.
    covariance : ndarray, shape (5, 5)
        Of the log-parameters; zero for what was held or lies on a limit, and where the curvature was not asked for; NaN
        where the top is not curved downwards.
    """

    point: Floats
    parameters: EtasParameters
    value: float
    reached: tuple[float, ...]
    covariance: Floats


def maximise(likelihood: Likelihood, space: Space, starts: int, *, curvature: bool = True) -> Maximum:
    """Climb from the first of `STARTS`, take the highest end, polish it by a Newton step if the curvature is wanted."""
    found = [_climb(likelihood, space, start) for start in STARTS[:starts]]
    point, covariance = max(found, key=lambda one: one[1])[0], np.zeros((5, 5))
    if curvature:
        point, covariance = _polish(likelihood, space, point)
    parameters = space.parameters(point)
    return Maximum(point, parameters, likelihood(parameters)[0], tuple(one[1] for one in found), covariance)


def _climb(likelihood: Likelihood, space: Space, guess: tuple[float, ...]) -> tuple[Floats, float]:
    """Return the coordinates and the value of the maximum reached from one start."""
    from scipy.optimize import minimize

    full, free = space.start(guess), space.free
    size = STEP_SIZES[free]

    def negative(scaled: Floats) -> tuple[float, Floats]:
        point = full.copy()
        point[free] = scaled * size
        value, gradient = space.value_gradient(likelihood, point)
        return -value, -gradient[free] * size

    if free.any():
        limits = np.column_stack([space.lower[free] / size, space.upper[free] / size])
        tuning = {"maxiter": 400, "maxfun": 1000, "ftol": 1e-14, "gtol": 1e-5, "maxcor": 20}
        result = minimize(negative, full[free] / size, jac=True, method="L-BFGS-B", bounds=limits, options=tuning)
        full[free] = np.clip(result.x * size, space.lower[free], space.upper[free])
    return full, space.value_gradient(likelihood, full)[0]


def _polish(likelihood: Likelihood, space: Space, point: Floats) -> tuple[Floats, Floats]:
    """Return the maximum after Newton steps, and the covariance of the log-parameters there.

    The Hessian is the central difference of the exact gradient; coordinates on a limit are held.
    """
    inside = space.free & ~space.on_limit(point)
    moving = np.flatnonzero(inside)
    value, gradient = space.value_gradient(likelihood, point)
    hessian = np.empty((len(moving), len(moving)))
    for row, index in enumerate(moving):
        step = np.zeros(5)
        step[index] = 1e-3 * STEP_SIZES[index]
        ahead, behind = (space.value_gradient(likelihood, point + sign * step)[1] for sign in (1, -1))
        hessian[row] = (ahead - behind)[moving] / (2 * step[index])
    hessian = (hessian + hessian.T) / 2
    in_steps = hessian * np.outer(STEP_SIZES[moving], STEP_SIZES[moving])
    if len(moving) and np.linalg.eigvalsh(in_steps).max() > -FLAT:
        return point, np.full((5, 5), np.nan)
    if not len(moving):
        return point, np.zeros((5, 5))
    trial = point.copy()
    trial[moving] = np.clip(
        point[moving] - np.linalg.solve(hessian, gradient[moving]), space.lower[moving], space.upper[moving]
    )
    if space.value_gradient(likelihood, trial)[0] >= value:
        point = trial
    covariance = np.zeros((5, 5))
    covariance[np.ix_(moving, moving)] = np.linalg.inv(-hessian)
    jacobian = space.jacobian(point)
    return point, np.asarray(jacobian @ covariance @ jacobian.T)


def branching_error(space: Space, maximum: Maximum, ratio: float, window_days: float) -> float:
    """Return the standard error of the branching ratio over a window by the delta method; b is held."""
    if not math.isfinite(ratio):
        return math.nan
    logs = np.log([getattr(maximum.parameters, name) for name in PARAMETER_NAMES])
    slope = replace(space, window_days=window_days).offset(logs)[1]
    slope[1] = 1.0
    return float(ratio * math.sqrt(max(float(slope @ maximum.covariance @ slope), 0.0)))
