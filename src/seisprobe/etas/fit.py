"""Maximum-likelihood fit of temporal ETAS: several starts, limits that keep it identifiable, standard errors, notes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seisprobe.catalog import b_value, magnitude_bin
from seisprobe.errors import DataFileError, InputError
from seisprobe.etas.likelihood import Likelihood, Observations, observe, rate
from seisprobe.etas.model import PARAMETER_NAMES, EtasParameters, branching_ratio, check_magnitude_law
from seisprobe.etas.residuals import Residuals, residuals
from seisprobe.etas.search import (
    BRANCHING_LIMITS,
    P_LEAST_CONSTRAINED,
    STARTS,
    Maximum,
    Space,
    branching_error,
    maximise,
)

__all__ = ["EVENTS_PER_PARAMETER", "EtasFit", "FitOptions", "fit_etas", "fit_own_share", "is_within"]

Floats = NDArray[np.float64]

# Of synthetic catalogs with 50, 100, 200 targets, 52%, 20%, 2% of the fits end on a limit of the search: 100 targets,
# 20 for each of the five parameters, are asked for, and below 200 the standard errors are called rough.
EVENTS_PER_PARAMETER = 20
ROUGH_BELOW = 200
MIN_MAX_MAGNITUDE = 7.0
EARLY_Z = 2.5  # one catalog in 160 by chance
LOWER_MAXIMUM = 1e-4


@dataclass(frozen=True)
class FitOptions:
    """What a fit may be told beside the catalog.

    Parameters
    ----------
    b : float, optional
        b-value of the branching ratio; by default that of the targets (maximum likelihood, binned).
    max_magnitude : float, optional
        Largest magnitude of the branching ratio; by default 7, or half a unit above the largest event if that is more.
    leave_out_incomplete : bool
        Leave out the times after large events during which the catalog is incomplete (`incomplete_intervals`).
    starts : int
        Starting points, 1 to 3.
    standard_errors : bool
        Without them a fit is a third quicker; they are NaN then.
    """

    b: float | None = None
    max_magnitude: float | None = None
    leave_out_incomplete: bool = True
    starts: int = len(STARTS)
    standard_errors: bool = True


@dataclass(frozen=True)
class EtasFit:
    """A fitted model and what a reader should know of it.

    Parameters
    ----------
    parameters : EtasParameters
    standard_errors : mapping of str to float
        Of the logarithms of the parameters, from the Hessian; NaN for what was held or ended on a limit.
    log_likelihood : float
    maxima : tuple of float
        Log-likelihood reached from each start, before the last Newton step.
    n_events, n_history : int
        Targets of the likelihood, and parents before the start.
    b, max_magnitude : float
        Magnitude law of the branching ratio.
    branching_ratio, branching_se : float
        Over infinite time, with the standard error by the delta method (b held). NaN where p <= 1 makes it infinite.
    branching_window, branching_window_se : float
        The same over the length of the fit's period: far better determined where p is near 1.
    left_out_events, left_out_hours
        Targets and time left out because the catalog is incomplete after large events.
    residuals : Residuals
        Transformed times and their Kolmogorov–Smirnov test.
    start_days, end_days : float
        Period of the targets.
    notes : tuple of str
        One line each: branching ratio of 1 or more, limits met, simultaneous events, a start inside aftershocks.
    """

    parameters: EtasParameters
    standard_errors: Mapping[str, float]
    log_likelihood: float
    maxima: tuple[float, ...]
    n_events: int
    n_history: int
    b: float
    max_magnitude: float
    branching_ratio: float
    branching_se: float
    branching_window: float
    branching_window_se: float
    left_out_events: int
    left_out_hours: float
    residuals: Residuals
    start_days: float
    end_days: float
    notes: tuple[str, ...]


def fit_etas(
    times_days: Floats,
    magnitudes: Floats,
    mc: float,
    start_days: float,
    end_days: float,
    *,
    max_branching: float | None = None,
    fixed: Mapping[str, float] | None = None,
    options: FitOptions | None = None,
) -> EtasFit:
    """Fit temporal ETAS by maximum likelihood.

    Parameters
    ----------
    times_days, magnitudes : ndarray, shape (n,)
        Events; those at or before `start_days` trigger but are no targets.
    mc : float
        Magnitude of completeness.
    start_days, end_days : float
        Period of the targets.
    max_branching : float, optional
        Upper limit of the branching ratio over infinite time; p is then above 1.
    fixed : mapping, optional
        Parameters held at a value, by name (`PARAMETER_NAMES`).
    options : FitOptions, optional

    Returns
    -------
    EtasFit

    Raises
    ------
    DataFileError
        Too few targets (the message says how many are needed), or a time or magnitude that is not finite.
    InputError
        Unknown or contradictory `fixed`, `max_branching` or `options`.

    Examples
    --------
    >>> from seisprobe.etas import simulate
    >>> truth = EtasParameters(1.0, 0.02, 1.5, 0.01, 1.2, mc=2.0)
    >>> world = simulate(truth, 400.0, np.random.default_rng(5), b=1.0, max_magnitude=6.0)
    >>> fit = fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0)
    >>> fit.n_events, bool(abs(np.log(fit.parameters.p / 1.2)) < 3 * fit.standard_errors["p"])
    (1069, True)
    """
    options, held = options or FitOptions(), dict(fixed or {})
    _check_request(max_branching, held, options)
    seen = observe(times_days, magnitudes, mc, start_days, end_days, leave_out_incomplete=options.leave_out_incomplete)
    _check_enough(seen, len(PARAMETER_NAMES) - len(held))
    law = _magnitude_law(seen, options)
    space = Space.make(seen, held, law, end_days - start_days, max_branching)
    maximum = maximise(Likelihood(seen), space, options.starts, curvature=options.standard_errors)
    fit = _describe(maximum, space, seen, law, (start_days, end_days))
    return replace(fit, notes=tuple(_notes(fit, seen, space, maximum)))


def is_within(fit: EtasFit, max_branching: float) -> bool:
    """Return whether a fit without limits lies within one: the search under it would end there as well."""
    return fit.parameters.p > P_LEAST_CONSTRAINED and fit.branching_ratio <= max_branching


def fit_own_share(
    shape: EtasParameters, times_days: Floats, magnitudes: Floats, start_days: float, end_days: float
) -> EtasParameters:
    """Fit mu and K to a catalog too small for a fit of its own, with alpha, c and p held (maximum likelihood).

    At the maximum mu T + K A = n: as many events are expected as there are. What is left to find is the triggered share
    s of them, in which the log-likelihood is concave: sum over targets of ln((1 - s) / T + s S_i / A), T the observed
    time, S_i and A the rate and the number of triggered events for K = 1. Half a background event is the least.

    Parameters
    ----------
    shape : EtasParameters
        Of like places.
    times_days, magnitudes : ndarray, shape (n,)
        Events; those at or before `start_days` trigger but are no targets.
    start_days, end_days : float

    Returns
    -------
    EtasParameters

    Examples
    --------
    >>> shape = EtasParameters(1.0, 0.02, 1.5, 0.01, 1.2, mc=2.0)
    >>> alone = fit_own_share(shape, np.array([3.0, 50.0, 90.0]), np.array([2.5, 2.1, 2.2]), 0.0, 100.0)
    >>> alone.mu_per_day, alone.k  # far apart, they trigger nothing
    (0.035, 0.0)
    """
    from scipy.optimize import brentq

    seen = observe(times_days, magnitudes, shape.mc, start_days, end_days)
    at_targets, expected = Likelihood(seen).triggering(shape)
    n, days = len(seen.targets) + 0.5, seen.observed_days
    if expected <= 0:
        return replace(shape, mu_per_day=n / days, k=0.0)
    gain = at_targets / expected - 1 / days

    def slope(share: float) -> float:
        return float((gain / (1 / days + share * gain)).sum() - 0.5 / (1 - share))

    most = 1 - 1e-9
    share = float(brentq(slope, 0.0, most)) if slope(0.0) > 0 > slope(most) else 0.0
    return replace(shape, mu_per_day=(1 - share) * n / days, k=share * n / expected)


def _describe(
    maximum: Maximum, space: Space, seen: Observations, law: tuple[float, float], period: tuple[float, float]
) -> EtasFit:
    """Return the fit without its notes."""
    parameters, days = maximum.parameters, period[1] - period[0]
    variance = np.diag(maximum.covariance)
    errors = np.sqrt(np.where(variance > 0, variance, np.nan))
    ratio, window = branching_ratio(parameters, *law), branching_ratio(parameters, *law, window_days=days)
    return EtasFit(
        parameters=parameters,
        standard_errors=dict(zip(PARAMETER_NAMES, errors.tolist(), strict=True)),
        log_likelihood=maximum.value,
        maxima=maximum.reached,
        n_events=len(seen.targets),
        n_history=int((seen.times_days <= period[0]).sum()),
        b=law[0],
        max_magnitude=law[1],
        branching_ratio=ratio,
        branching_se=branching_error(space, maximum, ratio, math.inf),
        branching_window=window,
        branching_window_se=branching_error(space, maximum, window, days),
        left_out_events=seen.left_out_events,
        left_out_hours=24 * (days - seen.observed_days),
        residuals=residuals(parameters, seen),
        start_days=period[0],
        end_days=period[1],
        notes=(),
    )


def _check_request(max_branching: float | None, held: dict[str, float], options: FitOptions) -> None:
    unknown = sorted(set(held) - set(PARAMETER_NAMES))
    if unknown:
        raise InputError(f"ETAS: cannot hold {unknown[0]!r}; the parameters are {', '.join(PARAMETER_NAMES)}")
    for name, value in held.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"ETAS: {name} held at {value:g}: must be a positive number")
    if not 1 <= options.starts <= len(STARTS):
        raise InputError(f"ETAS: starts = {options.starts}: must be 1 to {len(STARTS)}")
    if max_branching is None:
        return
    if not BRANCHING_LIMITS[0] < max_branching < BRANCHING_LIMITS[1]:
        raise InputError(f"ETAS: max_branching = {max_branching:g}: must be a positive number, as 0.95")
    if "k" in held:
        raise InputError("ETAS: k cannot be held together with max_branching; leave one of them out")
    if held.get("p", 2.0) <= 1:
        raise InputError(f"ETAS: p held at {held['p']:g} has no finite branching ratio; hold it above 1")


def _check_enough(seen: Observations, n_free: int) -> None:
    need, have = EVENTS_PER_PARAMETER * max(n_free, 1), len(seen.targets)
    if have < need:
        left_out = f" ({seen.left_out_events} more left out as incomplete)" if seen.left_out_events else ""
        raise DataFileError(
            f"ETAS: {have} events M >= {seen.mc:g} in the period{left_out}, a fit of {n_free} parameters needs at"
            f" least {need}; lower catalog.mc, or take a longer period or a larger region"
        )


def _magnitude_law(seen: Observations, options: FitOptions) -> tuple[float, float]:
    sizes = seen.excess + seen.mc
    b, largest = options.b, options.max_magnitude
    if largest is None:
        largest = max(MIN_MAX_MAGNITUDE, float(sizes.max()) + 0.5)
    if b is None:
        targets = sizes[seen.targets]
        b = b_value(targets, seen.mc, magnitude_bin(targets))
        if not math.isfinite(b):
            raise DataFileError(f"ETAS: all magnitudes equal Mc {seen.mc:g}, so b has no value; give FitOptions(b=1.0)")
    check_magnitude_law(seen.mc, b, largest, bounded=True)
    return b, largest


def _notes(fit: EtasFit, seen: Observations, space: Space, maximum: Maximum) -> list[str]:
    """Return what a reader should know, one line each."""
    notes = []
    if fit.left_out_hours > 0:
        notes.append(
            f"short-term incompleteness: {fit.left_out_events} events and {fit.left_out_hours:.1f} h after large events"
            " are no targets and not in the integral (they still trigger)"
        )
    if fit.n_events < ROUGH_BELOW:
        notes.append(f"{fit.n_events} events are few: standard errors are rough below {ROUGH_BELOW}")
    if not fit.branching_ratio < 1:
        notes.append(
            f"branching ratio {fit.branching_ratio:.2f} ± {fit.branching_se:.2f} over infinite time"
            f" ({fit.branching_window:.2f} ± {fit.branching_window_se:.2f} over the period; b {fit.b:.2f}, largest"
            f" magnitude {fit.max_magnitude:.1f}) is 1 or more: such a catalog cannot go on for ever; simulate from a"
            " fit with max_branching=0.95"
        )
    for index in np.flatnonzero(space.on_limit(maximum.point)):
        name = "branching ratio" if index == 1 else PARAMETER_NAMES[index]
        notes.append(f"{name} ended on the limit {math.exp(maximum.point[index]):.3g} of the search: no standard error")
    if np.isnan(maximum.covariance).any():
        notes.append("the likelihood is flat at its maximum: no standard errors; hold a parameter, as p or alpha")
    short = sum(fit.log_likelihood - value > LOWER_MAXIMUM for value in fit.maxima)
    if short:
        notes.append(f"{short} of {len(fit.maxima)} starts ended on a lower maximum; the highest is reported")
    together = int((np.diff(seen.times_days) == 0).sum())
    if together:
        notes.append(f"{together} events at the same instant as another: neither triggers the other")
    notes.extend(_early_note(fit, seen))
    if fit.residuals.ks_p < 0.01:
        notes.append(f"residuals fail: Kolmogorov–Smirnov p = {fit.residuals.ks_p:.2g}, the model does not hold")
    return notes


def _early_note(fit: EtasFit, seen: Observations) -> list[str]:
    """Return a note if the data ask for aftershocks of a mainshock before the catalog's start.

    Rao's score test of a term theta / (t - start + 1 day) added to the rate, at theta = 0: an event counts the term
    over lambda; the sum less the term's integral, over the root of the sum of squares, is standard normal.
    """
    times = seen.times_days[seen.targets]
    term = 1.0 / (times - fit.start_days + 1.0)
    share = term / rate(fit.parameters, times, seen.times_days, seen.excess + seen.mc)
    starts, ends = seen.starts_days - fit.start_days, seen.ends_days - fit.start_days
    z = (share.sum() - np.log((ends + 1.0) / (starts + 1.0)).sum()) / math.sqrt((share**2).sum())
    if z < EARLY_Z:
        return []
    excess = f"the first days hold more events than the model explains (z = {z:.1f})"
    return [f"{excess}: the catalog seems to start inside an aftershock sequence; read it from an earlier date"]
