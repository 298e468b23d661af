"""How long an event's aftershocks last at a distance: the windows of Gardner and Knopoff, or nearest neighbours.

Both look back only: an event is an aftershock where an earlier one at least as large reaches it. The usual declustering
also takes out foreshocks, which are known as such when the larger event has come: mainshocks chosen so would be chosen
by what follows them. Here a foreshock stays a mainshock; the larger event after it is one of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from seisprobe.catalog import DAY_US, Floats, Integers, distance_km, times_us
from seisprobe.errors import StudyError

__all__ = [
    "DECLUSTERING",
    "Reach",
    "aftershock_spans",
    "are_aftershocks",
    "gardner_knopoff",
    "gardner_knopoff_windows",
    "nearest_neighbour",
    "neighbour_distances",
]

YEAR_DAYS = 365.25
LONGEST_DAYS = 36_525.0
FRACTAL_DIMENSION, B_VALUE = 1.6, 1.0  # Zaliapin & Ben-Zion 2013, https://doi.org/10.1002/jgrb.50179
LEAST_KM, LEAST_DAYS = 0.1, 1 / 86_400  # what a catalog resolves: two events at one place or instant have a distance
LEAST_EVENTS = 100
STARTS = 5  # one start stops early on a catalog that one sequence dominates

Reach = Callable[[Floats, Floats], Floats]  # magnitudes of earlier events, km to them → days that they reach


# --- how far an event reaches ----------------------------------------------------------------------------------------


def gardner_knopoff_windows(magnitudes: Floats) -> tuple[Floats, Floats]:
    """Return how far (km) and how long (days) an event's aftershocks reach.

    The fit to the table of Gardner & Knopoff (1974) that van Stiphout et al. (2012, CORSSA,
    https://doi.org/10.5078/corssa-52382934, equation 1) give.

    Examples
    --------
    >>> km, days = gardner_knopoff_windows(np.array([4.5, 6.5]))
    >>> km.round(1).tolist(), days.round(0).tolist()
    ([34.7, 61.3], [77.0, 885.0])
    """
    km = 10.0 ** (0.1238 * magnitudes + 0.983)
    days = np.where(magnitudes >= 6.5, 10.0 ** (0.032 * magnitudes + 2.7389), 10.0 ** (0.5409 * magnitudes - 0.547))
    return np.asarray(km), np.asarray(days)


def gardner_knopoff(events: pd.DataFrame) -> Reach:  # noqa: ARG001 — the shape of all of them
    """Return the days that an event reaches within its window, 0 outside."""

    def reach(magnitudes: Floats, away_km: Floats) -> Floats:
        km, days = gardner_knopoff_windows(magnitudes)
        return np.where(away_km <= km, days, 0.0)

    return reach


def nearest_neighbour(events: pd.DataFrame) -> Reach:
    """Return the days within which an event is nearer than clusters end, η = t r^1.6 10^−m.

    Where clusters end is where two normal distributions of log10 η, fitted to all events, are equally likely (Zaliapin
    & Ben-Zion 2013).

    Raises
    ------
    StudyError
        Too few events for the two distributions.
    """
    if len(events) < LEAST_EVENTS:
        raise StudyError(
            f"[mainshocks] rule.decluster = 'nearest-neighbour': {len(events)} events are too few to tell clusters from"
            f" the background, {LEAST_EVENTS} are needed; use 'gardner-knopoff', or a longer catalog"
        )
    threshold = _where_clusters_end(neighbour_distances(events)[1:])

    def reach(magnitudes: Floats, away_km: Floats) -> Floats:
        log_years = threshold + B_VALUE * magnitudes - FRACTAL_DIMENSION * np.log10(np.maximum(away_km, LEAST_KM))
        return np.minimum(YEAR_DAYS * 10.0**log_years, LONGEST_DAYS)

    return reach


def neighbour_distances(events: pd.DataFrame) -> Floats:
    """Return log10 η of each event to its nearest earlier one, η = t r^1.6 10^−m: years, km, m of the earlier one.

    Baiesi & Paczuski (2004, https://doi.org/10.1103/PhysRevE.69.066106).

    Parameters
    ----------
    events : DataFrame
        Event table in order of time.

    Returns
    -------
    ndarray, shape (n,)
        +inf of the first.
    """
    days, magnitudes = times_us(events["time"]) / DAY_US, events["magnitude"].to_numpy()
    found = np.full(len(events), np.inf)
    for row in range(1, len(events)):
        years = np.maximum(days[row] - days[:row], LEAST_DAYS) / YEAR_DAYS
        away = np.maximum(_away_km(events, slice(0, row), row), LEAST_KM)
        found[row] = np.log10((years * away**FRACTAL_DIMENSION * 10.0 ** (-B_VALUE * magnitudes[:row])).min())
    return found


def _where_clusters_end(distances: Floats) -> float:
    """Return where the nearer of two normal distributions stops being the likelier one, the best of several starts."""
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(2, n_init=STARTS, tol=1e-6, max_iter=1000, random_state=0).fit(distances[:, None])
    near = int(np.argmin(model.means_.ravel()))
    between = np.linspace(float(model.means_.min()), float(model.means_.max()), 10_001)
    likely = model.predict_proba(between[:, None])[:, near] >= 0.5
    return float(between[likely][-1]) if likely.any() else -np.inf


def _away_km(events: pd.DataFrame, rows: slice, row: int) -> Floats:
    latitude, longitude = events["latitude"].to_numpy(), events["longitude"].to_numpy()
    return distance_km(latitude[rows], longitude[rows], latitude[row], longitude[row])


def _none(events: pd.DataFrame) -> Reach:  # noqa: ARG001 — the shape of all of them
    return lambda magnitudes, away_km: np.zeros(np.broadcast(magnitudes, away_km).shape)


DECLUSTERING: dict[str, Callable[[pd.DataFrame], Reach]] = {
    "gardner-knopoff": gardner_knopoff,
    "nearest-neighbour": nearest_neighbour,
    "none": _none,
}


# --- whom it reaches -------------------------------------------------------------------------------------------------


def aftershock_spans(
    events: pd.DataFrame, reach: Reach, place: tuple[float, float], magnitude: float
) -> tuple[Integers, Integers]:
    """Return the times at which an event of some magnitude would be an aftershock at a place.

    Parameters
    ----------
    events : DataFrame
        Event table.
    reach : callable
    place : (latitude, longitude)
    magnitude : float
        Smaller events have no aftershocks of that size.

    Returns
    -------
    starts, ends : ndarray of int64, microseconds
        After a start, up to and with its end.

    Examples
    --------
    >>> events = pd.DataFrame({"time": pd.to_datetime([0], utc=True), "latitude": 42.0, "longitude": 13.0,
    ...                        "magnitude": 4.5})
    >>> _, ends = aftershock_spans(events, gardner_knopoff(events), (42.1, 13.0), 4.5)
    >>> (ends / DAY_US).round(1).tolist()
    [77.1]
    >>> aftershock_spans(events, gardner_knopoff(events), (42.1, 13.0), 4.6)[1].tolist()
    []
    """
    larger = events.loc[events["magnitude"] >= magnitude - 1e-9]
    away = distance_km(larger["latitude"].to_numpy(), larger["longitude"].to_numpy(), *place)
    days = reach(larger["magnitude"].to_numpy(), away)
    starts = times_us(larger["time"])[days > 0]
    return starts, starts + np.round(days[days > 0] * DAY_US).astype(np.int64)


def are_aftershocks(events: pd.DataFrame, reach: Reach, rows: Integers) -> np.ndarray:
    """Return which of the events at `rows` an earlier one at least as large reaches; shape (m,)."""
    times, found = times_us(events["time"]), np.zeros(len(rows), dtype=bool)
    for i, row in enumerate(rows):
        event = events.iloc[row]
        place = (float(event["latitude"]), float(event["longitude"]))
        starts, ends = aftershock_spans(events, reach, place, float(event["magnitude"]))
        found[i] = bool(((starts < times[row]) & (times[row] <= ends)).any())
    return found
