"""A simulated catalog: a stationary background and the Omori–Utsu aftershocks of given mainshocks; no precursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seisprobe.catalog import EARTH_RADIUS_KM, EVENT_COLUMNS, Floats

__all__ = ["CatalogWorld", "SimulatedMainshock", "simulate_catalog"]

DAY_US = 86_400_000_000
DELTA_M = 0.1


@dataclass(frozen=True)
class SimulatedMainshock:
    """An earthquake put into a world at a given time (microseconds since 1970) and place."""

    name: str
    time_us: int
    magnitude: float
    latitude: float
    longitude: float


@dataclass(frozen=True)
class CatalogWorld:
    """What a simulated catalog is made of.

    Parameters
    ----------
    start_us, end_us : int
        Period, microseconds since 1970.
    region : (min_latitude, max_latitude, min_longitude, max_longitude)
        Degrees; background events are uniform in it.
    mainshocks : sequence of SimulatedMainshock
    mc, b : float
        Gutenberg–Richter law above the magnitude of completeness.
    rate_per_day : float
        Background events of M ≥ mc.
    productivity : float
        Aftershocks M ≥ mc within the world of a mainshock of magnitude M: 10^(productivity + b (M − mc − 1.2)); the
        1.2 is Båth's law.
    c_days, p : float
        Omori–Utsu law (Utsu 1961).
    spread_km : float
        Standard deviation of aftershocks about their mainshock, north and east.
    """

    start_us: int
    end_us: int
    region: tuple[float, float, float, float]
    mainshocks: Sequence[SimulatedMainshock]
    mc: float = 2.5
    b: float = 1.0
    rate_per_day: float = 0.6
    productivity: float = 0.6
    c_days: float = 0.01
    p: float = 1.1
    spread_km: float = 8.0


def simulate_catalog(world: CatalogWorld, rng: np.random.Generator) -> pd.DataFrame:
    """Return an event table of a world, the mainshocks among the events.

    Parameters
    ----------
    world : CatalogWorld
    rng : Generator

    Returns
    -------
    DataFrame
        Event table (`seisprobe.catalog.EVENT_COLUMNS`), magnitudes in steps of 0.1.

    Examples
    --------
    >>> world = CatalogWorld(0, 100 * DAY_US, (41.5, 44.0, 11.5, 14.5),
    ...                      [SimulatedMainshock("M", 50 * DAY_US, 6.0, 42.8, 13.1)])
    >>> events = simulate_catalog(world, np.random.default_rng(0))
    >>> bool(events["magnitude"].max() == 6.0), events["time"].is_monotonic_increasing
    (True, True)
    """
    parts = [_background(world, rng), *(_aftershocks(world, m, rng) for m in world.mainshocks)]
    parts.append(
        pd.DataFrame(
            [(m.time_us, m.latitude, m.longitude, 9.0, m.magnitude) for m in world.mainshocks],
            columns=["time_us", "latitude", "longitude", "depth_km", "magnitude"],
        )
    )
    table = pd.concat(parts, ignore_index=True).sort_values("time_us", ignore_index=True)
    south, north, west, east = world.region
    inside = table["latitude"].between(south, north) & table["longitude"].between(west, east)
    table = table.loc[inside].reset_index(drop=True)
    table["time"] = pd.to_datetime(table["time_us"], unit="us", utc=True).dt.as_unit("us")
    table["event_id"] = [f"sim{number:06d}" for number in range(len(table))]
    table["magnitude_type"], table["event_type"] = "Mw", "earthquake"
    table["evaluation_mode"] = table["evaluation_status"] = ""
    return table[list(EVENT_COLUMNS)]


def _magnitudes(n: int, mc: float, b: float, largest: float, rng: np.random.Generator) -> Floats:
    """Draw magnitudes from a Gutenberg–Richter law between mc and `largest`, in bins of 0.1."""
    low = mc - DELTA_M / 2
    share = 1.0 - 10.0 ** (-b * (largest - low))
    magnitudes = low - np.log10(1.0 - rng.random(n) * share) / b
    return np.asarray(np.round(np.round(magnitudes / DELTA_M) * DELTA_M, 1))


def _background(world: CatalogWorld, rng: np.random.Generator) -> pd.DataFrame:
    n = rng.poisson(world.rate_per_day * (world.end_us - world.start_us) / DAY_US)
    south, north, west, east = world.region
    return pd.DataFrame(
        {
            "time_us": rng.integers(world.start_us, world.end_us, n),
            "latitude": np.round(rng.uniform(south, north, n), 4),
            "longitude": np.round(rng.uniform(west, east, n), 4),
            "depth_km": np.round(rng.gamma(4.0, 2.5, n), 1),
            "magnitude": _magnitudes(n, world.mc, world.b, 5.0, rng),
        }
    )


def _aftershocks(world: CatalogWorld, mainshock: SimulatedMainshock, rng: np.random.Generator) -> pd.DataFrame:
    horizon = max(0.0, (world.end_us - mainshock.time_us) / DAY_US)
    n = rng.poisson(10.0 ** (world.productivity + world.b * (mainshock.magnitude - world.mc - 1.2)))
    q = 1.0 - world.p  # inverse of the Omori–Utsu distribution function between 0 and the world's end
    whole = (horizon + world.c_days) ** q - world.c_days**q
    days = (rng.random(n) * whole + world.c_days**q) ** (1.0 / q) - world.c_days
    degree_km = np.pi * EARTH_RADIUS_KM / 180.0
    north, east = rng.normal(0.0, world.spread_km / degree_km, (2, n))
    return pd.DataFrame(
        {
            "time_us": mainshock.time_us + np.round(days * DAY_US).astype(np.int64),
            "latitude": np.round(mainshock.latitude + north, 4),
            "longitude": np.round(mainshock.longitude + east / np.cos(np.radians(mainshock.latitude)), 4),
            "depth_km": np.round(rng.gamma(9.0, 1.0, n), 1),
            "magnitude": _magnitudes(n, world.mc, world.b, mainshock.magnitude - 0.5, rng),
        }
    )
