"""Synthetic catalogs of the temporal ETAS model, generation by generation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seisprobe.errors import InputError, SeisprobeError
from seisprobe.etas.model import LN10, EtasParameters, bins, check_magnitude_law, omori_integral

__all__ = ["SyntheticCatalog", "draw_magnitudes", "simulate"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAX_EVENTS = 500_000


@dataclass(frozen=True)
class SyntheticCatalog:
    """Events of one synthetic catalog in order of time.

    Parameters
    ----------
    times_days, magnitudes : ndarray, shape (n,)
        Times from the start of the period; events of the lead-in have times below 0.
    generation : ndarray of int64, shape (n,)
        0 for background events (and for direct aftershocks of a given history 1), 1 for their aftershocks, and so on.
    """

    times_days: Floats
    magnitudes: Floats
    generation: Integers


def draw_magnitudes(
    n: int, rng: np.random.Generator, *, mc: float, b: float, max_magnitude: float, delta_m: float = 0.0
) -> Floats:
    """Draw Gutenberg–Richter magnitudes between `mc` and `max_magnitude`, continuous or in bins of `delta_m`.

    Bins are named by their centre, `mc` being the first; the largest is the last at or below `max_magnitude`.

    Examples
    --------
    >>> drawn = draw_magnitudes(5, np.random.default_rng(0), mc=2.5, b=1.0, max_magnitude=7.0, delta_m=0.1)
    >>> drawn.round(6).tolist()
    [2.9, 2.6, 2.5, 2.5, 3.2]
    """
    check_magnitude_law(mc, b, max_magnitude, bounded=True)
    beta, span = b * LN10, max_magnitude - mc
    if delta_m > 0:
        span = delta_m * bins(span, delta_m)
    excess = -np.log1p(rng.random(n) * math.expm1(-beta * span)) / beta
    if delta_m > 0:
        excess = np.floor(np.minimum(excess, span * (1 - 1e-12)) / delta_m) * delta_m
    return mc + excess


def simulate(
    parameters: EtasParameters,
    duration_days: float,
    rng: np.random.Generator,
    *,
    b: float,
    max_magnitude: float,
    history: tuple[Floats, Floats] | None = None,
    lead_in_days: float = 0.0,
    delta_m: float = 0.0,
) -> SyntheticCatalog:
    """Simulate a catalog on (-lead_in_days, duration_days) by generations (Hawkes & Oakes 1974, J. Appl. Prob. 11).

    Background events are Poisson; each event has Poisson many direct aftershocks within the time that is left, at times
    drawn from the Omori–Utsu law by inversion.

    Parameters
    ----------
    parameters : EtasParameters
    duration_days : float
    rng : numpy.random.Generator
    b, max_magnitude : float
        Gutenberg–Richter magnitudes; a largest magnitude is needed.
    history : (times_days, magnitudes), optional
        Earlier events that trigger; times at or before the start. They are not part of the result.
    lead_in_days : float, optional
        Time before 0 that is simulated as well, starting empty or after `history`; its events have negative times.
    delta_m : float, optional
        Magnitude bin.

    Returns
    -------
    SyntheticCatalog

    Raises
    ------
    InputError
        Duration, b-value, largest magnitude or history make no sense.
    SeisprobeError
        The catalog explodes beyond 500,000 events, as supercritical parameters do.

    Examples
    --------
    >>> parameters = EtasParameters(1.0, 0.01, 1.8, 0.005, 1.12, mc=2.0)
    >>> world = simulate(parameters, 100.0, np.random.default_rng(1), b=1.0, max_magnitude=7.0)
    >>> len(world.times_days), int(world.generation.max())
    (185, 6)
    """
    start = _start(duration_days, lead_in_days)
    law = {"mc": parameters.mc, "b": b, "max_magnitude": max_magnitude, "delta_m": delta_m}
    n = int(rng.poisson(parameters.mu_per_day * (duration_days - start)))
    generations = [(rng.uniform(start, duration_days, n), draw_magnitudes(n, rng, **law))]
    times, sizes = generations[0]
    times, sizes = _with_history(times, sizes, history, start, parameters.mc)
    while len(times):
        times = _aftershock_times(parameters, times, sizes, (start, duration_days), rng, MAX_EVENTS - n)
        sizes = draw_magnitudes(len(times), rng, **law)
        generations.append((times, sizes))
        n += len(times)
    return _in_order(generations)


def _start(duration_days: float, lead_in_days: float) -> float:
    if not (math.isfinite(duration_days) and duration_days > 0 and 0 <= lead_in_days < math.inf):
        raise InputError(f"duration {duration_days:g} d, lead-in {lead_in_days:g} d: must be above 0, and 0 or more")
    return -lead_in_days


def _in_order(generations: list[tuple[Floats, Floats]]) -> SyntheticCatalog:
    times, magnitudes = (np.concatenate(column) for column in zip(*generations, strict=True))
    generation = np.repeat(np.arange(len(generations)), [len(one) for one, _ in generations])
    order = np.argsort(times, kind="stable")
    return SyntheticCatalog(times[order], magnitudes[order], generation[order])


def _with_history(
    times: Floats, sizes: Floats, history: tuple[Floats, Floats] | None, start: float, mc: float
) -> tuple[Floats, Floats]:
    """Return parents with those of the history."""
    if history is None:
        return times, sizes
    old_times, old_sizes = (np.asarray(values, dtype=np.float64) for values in history)
    if old_times.shape != old_sizes.shape or not (np.isfinite(old_times).all() and np.isfinite(old_sizes).all()):
        raise InputError("history: times and magnitudes must be two lists of one length, all finite")
    if (old_times > start).any():
        raise InputError(f"history: an event at {old_times.max():g} d is after the simulation's start at {start:g} d")
    keep = old_sizes >= mc - 1e-9
    return np.concatenate([times, old_times[keep]]), np.concatenate([sizes, old_sizes[keep]])


def _aftershock_times(
    parameters: EtasParameters,
    times: Floats,
    sizes: Floats,
    period: tuple[float, float],
    rng: np.random.Generator,
    most: int,
) -> Floats:
    """Return the times of all direct aftershocks of some parents within a period; refuse to make more than `most`."""
    c, q = parameters.c_days, 1.0 - parameters.p
    low = omori_integral(np.maximum(period[0] - times, 0.0), c, parameters.p)
    high = omori_integral(period[1] - times, c, parameters.p)
    mean = parameters.k * np.exp(parameters.alpha * np.maximum(sizes - parameters.mc, 0.0)) * (high - low)
    n = rng.poisson(np.minimum(mean, MAX_EVENTS))
    if n.sum() > most:
        raise SeisprobeError(
            f"ETAS simulation: more than {MAX_EVENTS} events; the parameters are supercritical or the period too long:"
            " fit with max_branching=0.95"
        )
    area = np.repeat(low, n) + rng.random(int(n.sum())) * np.repeat(high - low, n)
    u = area if q == 0.0 else np.log1p(q * c**-q * area) / q
    return np.asarray(np.minimum(np.repeat(times, n) + c * np.expm1(u), period[1]))
