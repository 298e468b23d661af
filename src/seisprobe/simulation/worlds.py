"""Null worlds for calibration: catalogs in which nothing precedes the largest events, each with a trap of its own.

============  =====================================================================================================
stationary    temporal ETAS with a constant background: clustering and nothing else
poisson       no clustering at all
drift         no clustering; the rate grows threefold over the record
daily         no clustering; half of the small events are missed in working hours, Monday to Friday
confounder    as `daily`, and the mainshocks are the largest events of the night, when small events are not missed
============  =====================================================================================================

In the worlds without clustering the mainshocks alone have aftershocks, for less than a day, inside the zone that no
background window meets: the hours after them must stand out, or the verdict ends at its first rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seisprobe.catalog import EVENT_COLUMNS, Floats, Integers, largest_apart
from seisprobe.etas import EtasParameters, branching_ratio, draw_magnitudes, simulate

__all__ = ["KINDS", "RULED_KINDS", "NullWorld", "clustered_world", "null_world", "productivity", "ruled_events"]

KINDS = ("stationary", "poisson", "drift", "daily", "confounder")
RULED_KINDS = ("rule", "rule-places", "rule-uneven")
DAY_US = 86_400_000_000
START_US = 1_577_836_800_000_000  # 2020-01-01, a Wednesday: any date does, weekdays matter
DAYS, DAYS_A_MAINSHOCK, LEAD_IN_DAYS = 365.0, 120.0, 365.0
MC, B, LARGEST = 2.0, 1.0, 7.0
ALPHA, C_DAYS, P = 1.8, 0.005, 1.12
BRANCHING, BACKGROUND_PER_DAY = 0.7, 0.9
POISSON_PER_DAY = 1.6
RULED_DAYS, RULED_PER_DAY = 2000.0, (0.6, 0.4)  # background events of all places, of one
PLACES = {"rule": 1, "rule-places": 10, "rule-uneven": 25}
UNEVEN_BRANCHING = (0.1, 0.9)
WORKING_HOURS, MISSED_BY_DAY = (6.0, 18.0), 0.5
NIGHT_HOURS = (0.0, 5.0)
AFTERSHOCKS, AFTERSHOCK_DAYS = 40, (2.0 / 1440.0, 20.0 / 24.0)


@dataclass(frozen=True)
class NullWorld:
    """A catalog and its mainshocks: the K largest events more than D apart, in order of time.

    Parameters
    ----------
    events : DataFrame
        Event table with a year of history.
    mainshocks : ndarray of int64, shape (K,)
        Rows of `events`.
    start_us, end_us : int
        The study's period, microseconds since 1970.
    """

    events: pd.DataFrame
    mainshocks: Integers
    start_us: int
    end_us: int


def null_world(kind: str, mainshocks: int, distance_h: float, rng: np.random.Generator) -> NullWorld | None:
    """Return a world of one kind, None where its catalog has no K events far enough apart.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    mainshocks : int
        K; the record is a year long, more where there are more than three.
    distance_h : float
        D: mainshocks are more than this apart, and the first this long after the start.
    rng : Generator
    """
    length = max(DAYS, DAYS_A_MAINSHOCK * mainshocks)
    days, magnitudes = _clustered(length, rng) if kind == "stationary" else _unclustered(kind, length, rng)
    eligible = (days > distance_h / 24) & (days < length - 2.0)
    if kind == "confounder":
        hour = 24 * (days % 1.0)
        eligible &= (hour >= NIGHT_HOURS[0]) & (hour < NIGHT_HOURS[1])
    chosen = largest_apart(days, magnitudes, eligible, mainshocks, distance_h / 24)
    if len(chosen) < mainshocks:
        return None
    if kind != "stationary":
        days, magnitudes, chosen = _with_aftershocks(days, magnitudes, chosen, rng)
    end_us = START_US + round(length * DAY_US)
    return NullWorld(_table(days, magnitudes, rng), chosen, START_US, end_us)


def clustered_world(
    days: float,
    mainshocks: int,
    distance_days: float,
    eligible: Callable[[Floats], np.ndarray],
    rng: np.random.Generator,
    *,
    elsewhere: int = 0,
) -> NullWorld | None:
    """Return a stationary ETAS world whose mainshocks are the largest of the events that some times allow.

    What an ETAS catalog does before an event does not depend on which times are allowed: nothing precedes these either.

    Parameters
    ----------
    days : float
        Length of the record.
    mainshocks : int
        K.
    distance_days : float
        Mainshocks are more than this apart, and the first this long after the start.
    eligible : callable
        Times in days from the start, shape (n,), → which may be mainshocks, booleans of shape (n,).
    rng : Generator
    elsewhere : int
        How many of the K are taken of the times that are not allowed, after the others.

    Returns
    -------
    NullWorld or None
        None where there are no K such events.

    Examples
    --------
    >>> late = clustered_world(400.0, 3, 11.0, lambda at: at > 300.0, np.random.default_rng(0))
    >>> days = (late.events["time"].iloc[late.mainshocks] - pd.Timestamp("2020-01-01", tz="UTC")) / pd.Timedelta("1D")
    >>> bool((days > 300.0).all())
    True
    """
    at, magnitudes = _clustered(days, rng)
    possible, allowed = (at > distance_days) & (at < days - 2.0), np.asarray(eligible(at))
    chosen = largest_apart(at, magnitudes, possible & allowed, mainshocks - elsewhere, distance_days)
    if elsewhere:
        near = np.any(np.abs(at[:, None] - at[chosen][None, :]) <= distance_days, axis=1)
        more = largest_apart(at, magnitudes, possible & ~allowed & ~near, elsewhere, distance_days)
        chosen = np.sort(np.concatenate([chosen, more]))
    if len(chosen) < mainshocks:
        return None
    return NullWorld(_table(at, magnitudes, rng), chosen, START_US, START_US + round(days * DAY_US))


def ruled_events(kind: str, rng: np.random.Generator) -> tuple[pd.DataFrame, int, int]:
    """Return a stationary ETAS catalog for mainshocks by rule, and the study's period in microseconds.

    Parameters
    ----------
    kind : str
        ``rule``: one place. ``rule-places``: ten places 200 km apart, quiet ones and lively ones, each a catalog of its
        own. ``rule-uneven``: twenty-five, of which each has a productivity of its own too, many too quiet for a fit.
    rng : Generator

    Returns
    -------
    events : DataFrame
        Event table with a year of history.
    start_us, end_us : int
    """
    places, total = PLACES[kind], RULED_PER_DAY[kind == "rule"]
    shares = rng.lognormal(0.0, 1.0, places) if places > 1 else np.ones(1)
    tables = []
    for number, share in enumerate(shares / shares.sum()):
        branching = float(rng.uniform(*UNEVEN_BRANCHING)) if kind == "rule-uneven" else BRANCHING
        days, magnitudes = _clustered(RULED_DAYS, rng, total * float(share), branching)
        if not len(days):
            continue
        north, east = 2.0 * (number // 5), 2.5 * (number % 5)
        table = _table(days, magnitudes, rng)
        moved = {"latitude": table["latitude"] + north, "longitude": table["longitude"] + east}
        tables.append(table.assign(**moved, event_id=f"p{number}-" + table["event_id"]))
    events = pd.concat(tables).sort_values("time", kind="stable", ignore_index=True)
    return events, START_US, START_US + round(RULED_DAYS * DAY_US)


def productivity() -> float:
    """Return the mean number of direct aftershocks, without end of time, of an event of the magnitude Mc.

    Examples
    --------
    >>> round(productivity(), 2)
    0.17
    """
    unit = EtasParameters(BACKGROUND_PER_DAY, 1.0, ALPHA, C_DAYS, P, mc=MC)
    # of the unit, C_DAYS ** (1 - P) / (P - 1) events: Omori's law integrated
    return float(BRANCHING / branching_ratio(unit, B, LARGEST) * C_DAYS ** (1.0 - P) / (P - 1.0))


def _clustered(
    length: float, rng: np.random.Generator, per_day: float = BACKGROUND_PER_DAY, branching: float = BRANCHING
) -> tuple[Floats, Floats]:
    unit = EtasParameters(per_day, 1.0, ALPHA, C_DAYS, P, mc=MC)
    k = branching / branching_ratio(unit, B, LARGEST)
    parameters = EtasParameters(per_day, k, ALPHA, C_DAYS, P, mc=MC)
    world = simulate(parameters, length, rng, b=B, max_magnitude=LARGEST, lead_in_days=LEAD_IN_DAYS)
    return world.times_days, world.magnitudes


def _unclustered(kind: str, length: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    n = rng.poisson(POISSON_PER_DAY * (length + LEAD_IN_DAYS))
    share = rng.random(n)
    if kind == "drift":
        share = (np.sqrt(1.0 + 8.0 * share) - 1.0) / 2.0  # density 0.5 + x: three times the rate at the end
    days = np.sort(share * (length + LEAD_IN_DAYS) - LEAD_IN_DAYS)
    magnitudes = draw_magnitudes(n, rng, mc=MC, b=B, max_magnitude=LARGEST)
    if kind in ("daily", "confounder"):
        hour, weekday = 24 * (days % 1.0), np.floor(days + 2) % 7  # the start is a Wednesday
        working = (hour >= WORKING_HOURS[0]) & (hour < WORKING_HOURS[1]) & (weekday < 5)
        missed = working & (magnitudes < MC + 1.0) & (rng.random(n) < MISSED_BY_DAY)
        days, magnitudes = days[~missed], magnitudes[~missed]
    return days, magnitudes


def _with_aftershocks(
    days: Floats, magnitudes: Floats, chosen: Integers, rng: np.random.Generator
) -> tuple[Floats, Floats, Integers]:
    """Return a catalog with aftershocks of the mainshocks, as many in each factor of time, and the mainshocks' rows."""
    first, last = np.log(AFTERSHOCK_DAYS)
    more_days, more_magnitudes = [days], [magnitudes]
    for row in chosen:
        more_days.append(days[row] + np.exp(rng.uniform(first, last, AFTERSHOCKS)))
        more_magnitudes.append(draw_magnitudes(AFTERSHOCKS, rng, mc=MC, b=B, max_magnitude=magnitudes[row] - 0.5))
    times, sizes = np.concatenate(more_days), np.concatenate(more_magnitudes)
    order = np.argsort(times, kind="stable")
    return times[order], sizes[order], np.flatnonzero(np.isin(order, chosen))


def _table(days: Floats, magnitudes: Floats, rng: np.random.Generator) -> pd.DataFrame:
    n = len(days)
    times = START_US + np.round(days * DAY_US).astype(np.int64)
    table = pd.DataFrame(
        {
            "event_id": [f"w{row}" for row in range(n)],
            "time": pd.to_datetime(times, unit="us", utc=True).as_unit("us"),
            "latitude": 43.0 + 0.05 * rng.standard_normal(n),
            "longitude": 13.0 + 0.05 * rng.standard_normal(n),
            "depth_km": 9.0 + rng.standard_normal(n),
            "magnitude": magnitudes,
        }
    )
    for column in EVENT_COLUMNS[6:]:
        table[column] = ""
    return table[list(EVENT_COLUMNS)]
