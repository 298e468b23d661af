"""When catalogued events shake a station: from a little before the P wave to the end of the coda.

Segments that share time with such a span are left out of the event-masked features, so that what is left cannot be the
catalog in disguise (events below the catalog's magnitude remain).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from seisprobe.catalog import Integers, distance_km, times_us

__all__ = ["coda_s", "shaken_spans", "station_places"]

P_KM_S = 6.0
BEFORE_S = 5.0  # early picks, and events that are nearer than the catalog has them
_A, _B = 2.49, 2.31
_US = 1_000_000


def coda_s(magnitude: Any) -> Any:
    """Return how long an event shakes, P to the end of its coda, in seconds.

    The duration magnitude of Italian earthquakes, M = 2.49 log10 τ − 2.31, solved for τ (Castello, Olivieri & Selvaggi
    2007, Bull. Seism. Soc. Am. 97); made for M 1.5 to 4.5, longer than most measured durations above.

    Examples
    --------
    >>> coda_s(np.array([2.5, 4.0])).round().tolist()
    [85.0, 342.0]
    """
    return 10.0 ** ((np.asarray(magnitude, dtype=np.float64) + _B) / _A)


def shaken_spans(events: pd.DataFrame, latitude: float, longitude: float) -> tuple[Integers, Integers]:
    """Return when events shake a station: start and end of each, in microseconds.

    Parameters
    ----------
    events : DataFrame
        Event table; all of it, below Mc too.
    latitude, longitude : float
        Of the station, degrees.
    """
    flat = distance_km(events["latitude"].to_numpy(), events["longitude"].to_numpy(), latitude, longitude)
    arrival = times_us(events["time"]) + np.hypot(flat, events["depth_km"].fillna(10.0).to_numpy()) / P_KM_S * _US
    end = arrival + coda_s(events["magnitude"]) * _US
    return (arrival - BEFORE_S * _US).astype(np.int64), end.astype(np.int64)


def station_places(inventory: Any) -> dict[str, tuple[float, float]]:
    """Return latitude and longitude of each station of an ObsPy Inventory (None: of none), by ``"NET.STA"``."""
    return {
        f"{network.code}.{station.code}": (float(station.latitude), float(station.longitude))
        for network in inventory or ()
        for station in network
    }
