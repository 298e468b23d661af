"""A simulated catalog: temporal ETAS, with mainshocks put in at given times and places; nothing precedes them.

The mainshocks are further parents of the same process: background, their families and all families of families are
independent of each other, so that the sum of simulations is the process itself (Hawkes & Oakes 1974).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seisprobe.catalog import EARTH_RADIUS_KM, EVENT_COLUMNS, Floats, Integers
from seisprobe.errors import InputError
from seisprobe.etas import EtasParameters, branching_ratio, simulate
from seisprobe.etas.simulate import SyntheticCatalog

__all__ = ["CatalogWorld", "SimulatedMainshock", "event_table", "simulate_catalog"]

DAY_US = 86_400_000_000
DELTA_M = 0.1
LARGEST_GENERIC = 7.0  # of the magnitude law that the branching ratio refers to
BELOW_MAINSHOCK = 0.5  # no other event comes nearer to the smallest mainshock
DEGREE_KM = np.pi * EARTH_RADIUS_KM / 180.0


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
        Gutenberg–Richter law above the magnitude of completeness, in steps of 0.1.
    rate_per_day : float
        Background events of M ≥ mc, their aftershocks not counted.
    branching : float
        Mean number of direct aftershocks of an event, were magnitudes to reach 7.
    alpha, c_days, p : float
        ETAS (Ogata 1988): growth of productivity in e-units, Omori–Utsu law.
    spread_km : float
        Standard deviation of direct aftershocks about their parent, north and east, at M 6; it goes with the rupture
        length, 10^(M/2).
    """

    start_us: int
    end_us: int
    region: tuple[float, float, float, float]
    mainshocks: Sequence[SimulatedMainshock] = ()
    mc: float = 2.0
    b: float = 1.0
    rate_per_day: float = 1.0
    branching: float = 0.7
    alpha: float = 1.8
    c_days: float = 0.005
    p: float = 1.12
    spread_km: float = 6.0

    @property
    def parameters(self) -> EtasParameters:
        """The ETAS parameters of the background and of every family."""
        unit = EtasParameters(self.rate_per_day, 1.0, self.alpha, self.c_days, self.p, self.mc)
        k = self.branching / branching_ratio(unit, self.b, LARGEST_GENERIC)
        return EtasParameters(self.rate_per_day, k, self.alpha, self.c_days, self.p, self.mc)

    @property
    def largest(self) -> float:
        """The largest magnitude of an event that is no mainshock."""
        return min((m.magnitude for m in self.mainshocks), default=LARGEST_GENERIC) - BELOW_MAINSHOCK


def simulate_catalog(world: CatalogWorld, rng: np.random.Generator) -> pd.DataFrame:
    """Return an event table of a world, the mainshocks among the events.

    Parameters
    ----------
    world : CatalogWorld
    rng : Generator

    Returns
    -------
    DataFrame
        Event table (`seisprobe.catalog.EVENT_COLUMNS`).

    Raises
    ------
    InputError
        A mainshock outside the period or too small to be one.

    Examples
    --------
    >>> world = CatalogWorld(0, 100 * DAY_US, (41.5, 44.0, 11.5, 14.5),
    ...                      [SimulatedMainshock("M", 50 * DAY_US, 6.0, 42.8, 13.1)])
    >>> events = simulate_catalog(world, np.random.default_rng(0))
    >>> bool(events["magnitude"].max() == 6.0), events["time"].is_monotonic_increasing
    (True, True)
    """
    _check(world)
    days = (world.end_us - world.start_us) / DAY_US
    parts = [_placed(world, _simulated(world, days, rng), None, rng)]
    for mainshock in sorted(world.mainshocks, key=lambda m: m.time_us):
        left = (world.end_us - mainshock.time_us) / DAY_US
        parts.append(_placed(world, _simulated(world, left, rng, mainshock.magnitude), mainshock, rng))
    table = pd.concat(parts, ignore_index=True).sort_values("time_us", ignore_index=True, kind="stable")
    south, north, west, east = world.region
    inside = table["latitude"].between(south, north) & table["longitude"].between(west, east)
    return event_table(table.loc[inside])


def event_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return an event table of ``time_us``, place, depth and magnitude; the events are named in their order."""
    table = rows.reset_index(drop=True)
    table["time"] = pd.to_datetime(table["time_us"], unit="us", utc=True).dt.as_unit("us")
    table["event_id"] = [f"sim{number:06d}" for number in range(len(table))]
    table["magnitude_type"], table["event_type"] = "Mw", "earthquake"
    table["evaluation_mode"] = table["evaluation_status"] = ""
    return table[list(EVENT_COLUMNS)]


def _check(world: CatalogWorld) -> None:
    for m in world.mainshocks:
        if not world.start_us <= m.time_us < world.end_us:
            when = np.datetime64(m.time_us, "us").astype("datetime64[s]")
            raise InputError(f"mainshock {m.name} of {when}Z lies outside the simulated record; give another time")
        if m.magnitude < world.mc + 1.0:
            raise InputError(
                f"mainshock {m.name}: M {m.magnitude:g} is less than a unit above the smallest event, M {world.mc:g}"
            )


def _simulated(
    world: CatalogWorld, days: float, rng: np.random.Generator, of_magnitude: float | None = None
) -> SyntheticCatalog:
    """Return the background with its families, or the family of one event alone."""
    parameters, history = world.parameters, None
    if of_magnitude is not None:
        parameters = EtasParameters(0.0, parameters.k, world.alpha, world.c_days, world.p, world.mc)
        history = (np.zeros(1), np.array([of_magnitude]))
    return simulate(parameters, days, rng, b=world.b, max_magnitude=world.largest, history=history, delta_m=DELTA_M)


def _placed(
    world: CatalogWorld, made: SyntheticCatalog, first: SimulatedMainshock | None, rng: np.random.Generator
) -> pd.DataFrame:
    """Return events with places: the background anywhere, an aftershock about a parent that may have had it."""
    n = len(made.times_days)
    south, north, west, east = world.region
    times, sizes, generation = made.times_days, made.magnitudes, made.generation
    at = np.column_stack([rng.uniform(south, north, n), rng.uniform(west, east, n), rng.gamma(5.0, 2.0, n)])
    origin = world.start_us
    if first is not None:
        times, sizes = np.append(times, 0.0), np.append(sizes, first.magnitude)
        generation = np.append(generation, 0)
        at = np.vstack([at, [first.latitude, first.longitude, 9.0]])
        origin = first.time_us
    parents = _parents(world, times, sizes, generation, rng)
    for number in range(1, int(generation.max(initial=0)) + 1):
        rows = np.flatnonzero(generation == number)
        at[rows] = _about(at[parents[rows]], world.spread_km * 10 ** (0.5 * (sizes[parents[rows]] - 6.0)), rng)
    return pd.DataFrame(
        {
            "time_us": origin + np.round(times * DAY_US).astype(np.int64),
            "latitude": np.round(at[:, 0], 4),
            "longitude": np.round(at[:, 1], 4),
            "depth_km": np.round(at[:, 2], 1),
            "magnitude": np.round(sizes, 1),
        }
    )


def _parents(
    world: CatalogWorld, times: Floats, sizes: Floats, generation: Integers, rng: np.random.Generator
) -> Integers:
    """Draw each aftershock's parent among the generation before it, in proportion to what each contributed."""
    parents = np.full(len(times), -1, dtype=np.int64)
    weight = np.exp(world.alpha * (sizes - world.mc))
    for number in range(1, int(generation.max(initial=0)) + 1):
        before, rows = np.flatnonzero(generation == number - 1), np.flatnonzero(generation == number)
        for row in rows:
            after = times[row] - times[before]
            rate = np.where(after > 0, weight[before] * np.maximum(after + world.c_days, world.c_days) ** -world.p, 0.0)
            total = np.cumsum(rate)
            parents[row] = before[np.searchsorted(total, rng.random() * total[-1], side="right")]
    return parents


def _about(at: Floats, spread_km: Floats, rng: np.random.Generator) -> Floats:
    """Return places about others: normal north and east, depths about the parent's."""
    north, east = rng.standard_normal((2, len(at))) * np.maximum(spread_km, 0.5)
    down = rng.standard_normal(len(at)) * np.maximum(0.5 * spread_km, 0.5)
    return np.column_stack(
        [
            at[:, 0] + north / DEGREE_KM,
            at[:, 1] + east / DEGREE_KM / np.cos(np.radians(at[:, 0])),
            np.clip(at[:, 2] + down, 1.0, 30.0),
        ]
    )
