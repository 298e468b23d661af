"""The temporal ETAS model: its parameters, the Omori–Utsu integral, branching ratios, expected numbers of events.

The rate of events of magnitude M >= Mc (Ogata 1988, JASA 83, 9-27) is, in events per day,

    lambda(t) = mu + sum over t_j < t of K exp(alpha (M_j - Mc)) (t - t_j + c)^-p,

and magnitudes are independent of the past: Gutenberg–Richter with b = beta / ln 10, cut at a largest magnitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seisprobe.errors import InputError

__all__ = [
    "PARAMETER_NAMES",
    "EtasParameters",
    "branching_ratio",
    "expected_events",
    "omori_integral",
    "with_expected_events",
]

Floats = NDArray[np.float64]

PARAMETER_NAMES = ("mu_per_day", "k", "alpha", "c_days", "p")
LN10 = math.log(10.0)
# Below this |z| the closed forms of phi lose more digits than their series, cut after z^5, leaves out.
SERIES_BELOW = 0.02


@dataclass(frozen=True)
class EtasParameters:
    """The five parameters of temporal ETAS and the magnitude they refer to.

    Parameters
    ----------
    mu_per_day : float
        Background rate of events M >= `mc`, per day.
    k : float
        Productivity: rate factor of an event of magnitude `mc`, in day^(p - 1).
    alpha : float
        Growth of productivity with magnitude, in e-units: exp(alpha (M - mc)).
    c_days, p : float
        Omori–Utsu law (t + c)^-p.
    mc : float
        Magnitude of completeness, the smallest magnitude of the process.

    Raises
    ------
    InputError
        When a value is not finite, or c or p are not positive, or another is negative.

    Examples
    --------
    >>> EtasParameters(1.0, 0.02, 1.8, 0.005, 1.12, mc=2.0).alpha
    1.8
    """

    mu_per_day: float
    k: float
    alpha: float
    c_days: float
    p: float
    mc: float

    def __post_init__(self) -> None:
        for name in (*PARAMETER_NAMES, "mc"):
            value = getattr(self, name)
            positive = name in ("c_days", "p")
            if not math.isfinite(value) or (name != "mc" and (value < 0 or (positive and value == 0))):
                need = "a positive number" if positive else ("a finite number" if name == "mc" else "zero or more")
                raise InputError(f"ETAS parameter {name} = {value:g}: must be {need}")


def omori_integral(days: Floats | float, c_days: float, p: float) -> Floats:
    """Return the integral of (s + c)^-p over s from 0 to `days`: H(x) = (c^(1-p) - (x + c)^(1-p)) / (p - 1).

    Computed without cancellation near p = 1, where it is ln(1 + x / c). Infinite `days` are allowed.

    Parameters
    ----------
    days : ndarray or float
        Upper limits, zero or more.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> omori_integral(np.array([0.0, 9.0, np.inf]), 1.0, 2.0).round(12).tolist()
    [0.0, 0.9, 1.0]
    >>> round(float(omori_integral(9.0, 1.0, 1.0)), 6)
    2.302585
    """
    q = 1.0 - p
    u = np.log1p(np.asarray(days, dtype=np.float64) / c_days)
    if q == 0.0:
        return np.asarray(u)
    with np.errstate(over="ignore"):
        return np.asarray(c_days**q * np.expm1(q * u) / q)


def omori_integral_gradient(days: Floats, c_days: float, p: float) -> tuple[Floats, Floats, Floats]:
    """Return H(days) and its derivatives by c and by p.

    With q = 1 - p and u = ln(1 + x / c), H = c^q u phi(q u), where phi(z) = (e^z - 1) / z.
    """
    q = 1.0 - p
    u = np.log1p(days / c_days)
    phi, slope = _phi(q * u)
    power = c_days**q
    value = power * u * phi
    by_c = power / c_days * np.expm1(-p * u)
    by_p = -(math.log(c_days) * value + power * u**2 * slope)
    return value, by_c, by_p


def _phi(z: Floats) -> tuple[Floats, Floats]:
    """Return phi(z) = (e^z - 1) / z and its derivative, to full precision near 0 too."""
    small = np.abs(z) < SERIES_BELOW
    grown, safe = np.expm1(z), np.where(small, 1.0, z)
    series = 1 + z * (1 / 2 + z * (1 / 6 + z * (1 / 24 + z * (1 / 120 + z * (1 / 720 + z / 5040)))))
    slope_series = 1 / 2 + z * (1 / 3 + z * (1 / 8 + z * (1 / 30 + z * (1 / 144 + z / 840))))
    phi = np.where(small, series, grown / safe)
    slope = np.where(small, slope_series, (z * (grown + 1) - grown) / safe**2)
    return phi, slope


def mean_productivity(alpha: float, beta: float, span: float, delta_m: float = 0.0) -> float:
    """Return the mean of exp(alpha (M - Mc)) over Gutenberg–Richter magnitudes in [Mc, Mc + span].

    Continuous magnitudes: beta / (beta - alpha) (1 - e^-((beta - alpha) span)) / (1 - e^-(beta span)), Helmstetter &
    Sornette 2002, JGR 107(B10), with the cut at the largest magnitude. In steps of `delta_m`: the sum over bins.
    """
    if delta_m > 0 and math.isfinite(span):
        excess = delta_m * np.arange(bins(span, delta_m))
        weight = np.exp(-beta * excess)
        return float((weight * np.exp(alpha * excess)).sum() / weight.sum())
    if math.isinf(span):
        ratio = (
            math.expm1(-beta * delta_m) / math.expm1((alpha - beta) * delta_m) if delta_m > 0 and alpha < beta else 0.0
        )
        return (ratio or beta / (beta - alpha)) if alpha < beta else math.inf
    return mean_productivity_gradient(alpha, beta, span)[0]


def mean_productivity_gradient(alpha: float, beta: float, span: float) -> tuple[float, float]:
    """Return the mean of exp(alpha (M - Mc)) for continuous magnitudes and its derivative by alpha."""
    phi, slope = _phi(np.array((alpha - beta) * span))
    scale = beta * span / -math.expm1(-beta * span)
    return scale * float(phi), scale * span * float(slope)


def bins(span: float, delta_m: float) -> int:
    """Return the number of magnitude bins from Mc to Mc + span, both centres included."""
    return math.floor(span / delta_m + 1e-6) + 1


def check_magnitude_law(mc: float, b: float, max_magnitude: float, *, bounded: bool = False) -> None:
    """Refuse a b-value that is not positive and a largest magnitude at or below `mc` (or, if asked, none at all)."""
    if not (math.isfinite(b) and b > 0):
        raise InputError(f"b-value {b:g}: must be a positive number")
    if math.isnan(max_magnitude) or max_magnitude <= mc:
        raise InputError(f"max_magnitude = {max_magnitude:g}: must be above the magnitude of completeness {mc:g}")
    if bounded and math.isinf(max_magnitude):
        raise InputError("max_magnitude is infinite: ETAS needs the region's largest possible magnitude, as 7")


def branching_ratio(
    parameters: EtasParameters, b: float, max_magnitude: float, *, window_days: float = math.inf, delta_m: float = 0.0
) -> float:
    """Return the mean number of direct aftershocks of an event.

    n = K H(T) E[exp(alpha (M - Mc))], H(T) the integral of the Omori–Utsu law over T = `window_days` (Ogata 1988;
    Helmstetter & Sornette 2002, JGR 107(B10), doi:10.1029/2001JB001580, eq. 3). Over infinite time H is
    c^(1-p) / (p - 1) for p > 1 and infinite for p <= 1, where only a finite window has a branching ratio. Without a
    largest magnitude n is infinite where alpha >= beta.

    Parameters
    ----------
    parameters : EtasParameters
    b : float
        Gutenberg–Richter b-value.
    max_magnitude : float
        Largest magnitude; may be infinite.
    window_days : float, optional
        T; infinite by default.
    delta_m : float, optional
        Magnitude bin, 0 for continuous magnitudes.

    Returns
    -------
    float
        May be infinite.

    Raises
    ------
    InputError
        When `b` is not positive or `max_magnitude` is not above Mc.

    Examples
    --------
    >>> parameters = EtasParameters(1.0, 0.02, 1.8, 0.005, 1.12, mc=2.0)
    >>> [round(branching_ratio(parameters, 1.0, 7.0, window_days=days), 4) for days in (365, np.inf)]
    [0.9795, 1.3252]
    """
    check_magnitude_law(parameters.mc, b, max_magnitude)
    if window_days <= 0:
        raise InputError(f"window_days = {window_days:g}: must be above 0")
    aftershocks = float(omori_integral(window_days, parameters.c_days, parameters.p))
    mean = mean_productivity(parameters.alpha, b * LN10, max_magnitude - parameters.mc, delta_m)
    return parameters.k * aftershocks * mean if parameters.k > 0 else 0.0


def expected_events(
    parameters: EtasParameters, duration_days: float, *, b: float, max_magnitude: float, lead_in_days: float = 0.0
) -> float:
    """Return the expected number of events in `duration_days` that follow a lead-in which itself starts empty.

    Solves M'(t) = mu + n_inf * integral of g(t - s) M'(s) ds (Hawkes 1971, Biometrika 58, 83) for the mean rate M' on a
    grid of some 2,000 steps; each step's own aftershocks count, averaged over the step. Finite for any branching ratio.

    Parameters
    ----------
    duration_days, lead_in_days : float
        Days counted, and days before them.
    b, max_magnitude
        As in `branching_ratio`.

    Returns
    -------
    float

    Examples
    --------
    >>> quiet = EtasParameters(2.0, 0.0, 1.8, 0.005, 1.12, mc=2.0)
    >>> round(expected_events(quiet, 100.0, b=1.0, max_magnitude=7.0), 6)
    200.0
    """
    check_magnitude_law(parameters.mc, b, max_magnitude)
    step = (duration_days + lead_in_days) / 2000
    lead = round(lead_in_days / step)
    step = duration_days / max(2000 - lead, 1)
    mean = parameters.k * mean_productivity(parameters.alpha, b * LN10, max_magnitude - parameters.mc)
    if not math.isfinite(mean):
        raise InputError("max_magnitude is infinite and alpha >= beta: no expected number; give a largest magnitude")
    # Second differences of the twice-integrated kernel: offspring that a uniform step sends into each later step.
    edges = step * np.arange(-1, 2001, dtype=np.float64)
    twice = _omori_second_integral(np.maximum(edges, 0.0), parameters.c_days, parameters.p)
    kernel = mean * np.diff(twice, 2) / step
    kernel = np.concatenate([[mean * twice[2] / step], kernel[1:]])
    counts = np.zeros(2000)
    for i in range(2000):
        born = parameters.mu_per_day * step + counts[:i] @ kernel[i:0:-1]
        if kernel[0] >= 1:
            return math.inf
        counts[i] = born / (1 - kernel[0])
    return float(counts[lead:].sum())


def _omori_second_integral(days: Floats, c_days: float, p: float) -> Floats:
    """Return the integral of H from 0 to each of `days`."""
    if abs(p - 1) < 1e-9:
        return np.asarray((days + c_days) * np.log1p(days / c_days) - days)
    return np.asarray((days * c_days ** (1 - p) - omori_integral(days, c_days, p - 1)) / (p - 1))


def with_expected_events(
    parameters: EtasParameters,
    n_events: float,
    duration_days: float,
    *,
    b: float,
    max_magnitude: float,
    lead_in_days: float = 0.0,
) -> EtasParameters:
    """Return the parameters with mu set so that `n_events` are expected (the expected number is linear in mu).

    Examples
    --------
    >>> old = EtasParameters(1.0, 0.01, 1.0, 0.005, 1.2, mc=2.0)
    >>> new = with_expected_events(old, 1000, 365.0, b=1.0, max_magnitude=7.0)
    >>> round(expected_events(new, 365.0, b=1.0, max_magnitude=7.0), 6)
    1000.0
    """
    unit = replace(parameters, mu_per_day=1.0)
    per_mu = expected_events(unit, duration_days, b=b, max_magnitude=max_magnitude, lead_in_days=lead_in_days)
    if not math.isfinite(per_mu):
        raise InputError("the expected number of events is infinite: fit with max_branching below 1 first")
    return replace(parameters, mu_per_day=n_events / per_mu)
