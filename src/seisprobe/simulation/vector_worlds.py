"""Worlds for waveform studies without a waveform: a catalog, and how loud each station is at any time.

In all of them the catalog is temporal ETAS and nothing precedes the mainshocks; something else goes with them:

=============  ========================================================================================================
clean          nothing
gain-listed    one station counts 2 to 5 times as much, or as little, in 11 to 15% of the record, where all mainshocks
               or all but one fall; its metadata say so
gain-unlisted  the same, and its metadata do not
outages        one station fails for minutes, once or twice a day and four to six times in the two hours before each
               mainshock; its sensor swings after every restart
hours          two hours of the day are louder by 10 to 20 dB in an octave between 1 and 20 Hz at all stations, and all
               mainshocks come within the hour after them
slow-drift     noise above 0.5 Hz grows at all stations, slowly, then faster, by 10 to 20 dB over the record, and all
               mainshocks are in its last 15%
=============  ========================================================================================================

Every station has the noise of `NoiseModel`: louder by day, storms in the microseism, lost packets and outages.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.etas import draw_magnitudes
from seisprobe.simulation import noise
from seisprobe.simulation.noise import EDGE_OCTAVES, HOUR_US, NoiseModel
from seisprobe.simulation.worlds import (
    ALPHA,
    BACKGROUND_PER_DAY,
    C_DAYS,
    DAY_US,
    DAYS_A_MAINSHOCK,
    MC,
    START_US,
    B,
    NullWorld,
    P,
    clustered_world,
    productivity,
)

__all__ = ["EDGES_HZ", "VECTOR_KINDS", "StationHistory", "VectorWorld", "noise_gains", "small_events", "vector_world"]

VECTOR_KINDS = ("clean", "gain-listed", "gain-unlisted", "outages", "hours", "slow-drift")
STATIONS = {"XX.NEAR": 25.0, "XX.MIDDLE": 35.0, "XX.FAR": 50.0}  # hypocentral distance of all events, km
EDGES_HZ = (noise.LOWEST_HZ, *np.geomspace(0.5, 50.0, 9))  # below the eight bands of band energies, and these
APART_DAYS = 10.5  # more than a block is long: every mainshock is a block of its own
SETTLED_DAYS = 1.0  # a mainshock comes at least this long after a change
GAIN, CHANGED_SHARE = (2.0, 5.0), (0.11, 0.15)
OUTAGES_A_DAY, OUTAGES_BEFORE, OUTAGE_MINUTES = (1.0, 2.0), (4, 6), (2.0, 5.0)
BEFORE_MINUTES = (6.0, 122.0)  # before the mainshock: the two hours that a window of two hours looks at
SWING, SWING_S = (10.0, 100.0), (60.0, 240.0)  # amplitude over that of the microseism, and decay
LOUD_HOURS, LOUD_DB, LOUD_OCTAVES, LOUD_LOWEST_HZ = 2, (10.0, 20.0), 1.0, (1.0, 10.0)
DRIFT_DB, DRIFT_POWER, LATE_SHARE = (10.0, 20.0), 5.0, 0.15
SMALLEST = 1.0  # magnitude of events that no catalog lists and stations record
LONGEST_DAYS = 30.0  # of small aftershocks
# Soon after a mainshock more is recorded than listed; the hour after must stand out, or rule 1 ends the verdict.
UNLISTED, UNLISTED_DAYS, UNLISTED_LARGEST = 1500, (2.0 / 1440.0, 20.0 / 24.0), 3.5
MICROSEISM, FIRST = 0, 1  # positions in `EDGES_HZ`


@dataclass(frozen=True)
class StationHistory:
    """What becomes of one station.

    Parameters
    ----------
    name : str
    distance_km : float
        Hypocentral, of all events.
    toggles : ndarray of int64, shape (t,)
        Times at which the gain changes, and changes back.
    gain : float
        Counts of the changed state over those of the other.
    listed : bool
        The metadata know the changes.
    gaps : ndarray of int64, shape (k, 2)
        [start, end) without data, microseconds since 1970, in order of start.
    restarts : ndarray of int64, shape (r,)
        Times after which the sensor swings.
    swings : ndarray, shape (r, 2)
        Amplitude of each swing over that of the microseism, and its decay in s.
    """

    name: str
    distance_km: float
    toggles: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    gain: float = 1.0
    listed: bool = False
    gaps: Integers = field(default_factory=lambda: np.empty((0, 2), np.int64))
    restarts: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    swings: Floats = field(default_factory=lambda: np.empty((0, 2)))

    def factor(self, times: Integers) -> Floats:
        """Return counts over those of the unchanged state, by time."""
        return np.where(np.searchsorted(self.toggles, times, side="right") % 2 == 1, self.gain, 1.0)

    def epoch(self, times: Integers) -> Integers:
        """Return how many times the metadata have changed before."""
        if not self.listed:
            return np.zeros(len(times), np.int64)
        return np.searchsorted(self.toggles, times, side="right").astype(np.int64)

    def swing(self, times: Integers) -> Floats:
        """Return the power of the sensor's swing over that of the microseism, by time."""
        if not len(self.restarts):
            return np.zeros(len(times))
        last = np.searchsorted(self.restarts, times, side="right") - 1
        after_s = np.where(last >= 0, times - self.restarts[last], np.inf) / 1e6
        amplitude, decay_s = self.swings[last].T
        return np.asarray(amplitude**2 * np.exp(-2.0 * after_s / decay_s))


@dataclass(frozen=True)
class VectorWorld:
    """A catalog, its stations, and what is louder at all of them.

    Parameters
    ----------
    kind : str
    catalog : NullWorld
    stations : tuple of StationHistory
    weather : int
        Seed of the storms, the same at all stations.
    loud_hour : float or None
        UTC; from then on two hours a day are louder by `loud_db`.
    loud_db, loud_lowest_hz : float
        In an octave from that frequency on.
    drift_db : float
    model : NoiseModel
    """

    kind: str
    catalog: NullWorld
    stations: tuple[StationHistory, ...]
    weather: int
    loud_hour: float | None = None
    loud_db: float = 0.0
    loud_lowest_hz: float = 1.0
    drift_db: float = 0.0
    model: NoiseModel = field(default_factory=NoiseModel)

    @property
    def changed_station(self) -> str:
        """The one station that something happened to, "" where it is all or none."""
        return next((s.name for s in self.stations if len(s.toggles) or len(s.restarts)), "")


# --- making ----------------------------------------------------------------------------------------------------------


def vector_world(kind: str, mainshocks: int, rng: np.random.Generator) -> VectorWorld | None:
    """Return a world of one kind, None where its catalog has no K events far enough apart.

    Parameters
    ----------
    kind : str
        One of `VECTOR_KINDS`.
    mainshocks : int
        K; the record has 120 days for each.
    rng : Generator

    Examples
    --------
    >>> world = vector_world("hours", 6, np.random.default_rng(0))
    >>> shocks = world.catalog.events["time"].iloc[world.catalog.mainshocks]
    >>> after_h = (times_us(shocks) / HOUR_US - world.loud_hour) % 24
    >>> bool(((after_h >= 2) & (after_h < 3)).all())
    True
    """
    days = DAYS_A_MAINSHOCK * mainshocks
    loud_hour = float(rng.integers(24)) if kind == "hours" else None
    changed = _changed_days(days, rng) if kind in ("gain-listed", "gain-unlisted") else np.empty(0)

    def eligible(at: Floats) -> np.ndarray:
        if loud_hour is not None:
            after_h = (24.0 * at - loud_hour) % 24.0
            return np.asarray((after_h >= LOUD_HOURS) & (after_h < LOUD_HOURS + 1))
        if len(changed):
            return np.asarray(np.searchsorted(changed, at) % 2 == 1) & (_since(changed, at) > SETTLED_DAYS)
        return at > (1.0 - LATE_SHARE) * days if kind == "slow-drift" else np.ones(len(at), dtype=bool)

    elsewhere = int(rng.integers(2)) if len(changed) else 0
    catalog = clustered_world(days, mainshocks, APART_DAYS, eligible, rng, elsewhere=elsewhere)
    if catalog is None:
        return None
    weather = int(rng.integers(2**31))
    stations = [_natural(name, away, catalog, rng) for name, away in STATIONS.items()]
    bad = int(rng.integers(len(stations)))
    if len(changed):
        toggles = START_US + np.round(changed * DAY_US).astype(np.int64)
        gain = float(np.exp(rng.uniform(*np.log(GAIN)))) ** rng.choice((-1, 1))
        stations[bad] = replace(stations[bad], toggles=toggles, gain=gain, listed=kind == "gain-listed")
    if kind == "outages":
        stations[bad] = _failing(stations[bad], catalog, days, rng)
    return VectorWorld(
        kind, catalog, tuple(stations), weather, loud_hour,
        float(rng.uniform(*LOUD_DB)) if kind == "hours" else 0.0,
        float(np.exp(rng.uniform(*np.log(LOUD_LOWEST_HZ)))),
        float(rng.uniform(*DRIFT_DB)) if kind == "slow-drift" else 0.0,
    )  # fmt: skip


def _changed_days(days: float, rng: np.random.Generator) -> Floats:
    """Return when a state begins and ends: once, or once and then until the record's end."""
    length = days * rng.uniform(*CHANGED_SHARE)
    if rng.random() < 0.5:
        begin = rng.uniform(APART_DAYS, days - length - APART_DAYS)
        return np.array([begin, begin + length])
    first, last = length * np.array([0.5, 0.5])
    begin = rng.uniform(APART_DAYS, days - last - first - APART_DAYS)
    return np.array([begin, begin + first, days - last])


def _since(edges: Floats, at: Floats) -> Floats:
    last = np.searchsorted(edges, at) - 1
    return np.where(last >= 0, at - edges[last], np.inf)


def _natural(name: str, distance_km: float, catalog: NullWorld, rng: np.random.Generator) -> StationHistory:
    """Return a station with lost packets and outages as `NoiseModel` has them."""
    model, days = NoiseModel(), (catalog.end_us - catalog.start_us) / DAY_US
    kinds = (
        (model.gaps_per_day, 1e6 * model.gap_s),
        (model.outages_per_year / 365.25, 1e6 * 3600 * model.outage_h),
    )
    gaps = []
    for rate, mean_us in kinds:
        begin = catalog.start_us + rng.integers(0, round(days * DAY_US), rng.poisson(rate * days))
        gaps.append(np.column_stack([begin, begin + rng.exponential(mean_us, len(begin)).astype(np.int64) + 1]))
    return StationHistory(name, distance_km, gaps=_in_order(np.concatenate(gaps)))


def _in_order(gaps: Integers) -> Integers:
    return gaps[np.argsort(gaps[:, 0], kind="stable")]


def _failing(station: StationHistory, catalog: NullWorld, days: float, rng: np.random.Generator) -> StationHistory:
    """Return a station that fails now and then, and more often before mainshocks."""
    often = rng.poisson(rng.uniform(*OUTAGES_A_DAY) * days)
    begins = [catalog.start_us + rng.integers(0, round(days * DAY_US), often)]
    for shock in times_us(catalog.events["time"].iloc[catalog.mainshocks]):
        minutes = rng.uniform(*BEFORE_MINUTES, rng.integers(OUTAGES_BEFORE[0], OUTAGES_BEFORE[1] + 1))
        begins.append(shock - np.round(60e6 * minutes).astype(np.int64))
    begin = np.sort(np.concatenate(begins))
    end = begin + np.round(60e6 * rng.uniform(*OUTAGE_MINUTES, len(begin))).astype(np.int64)
    restarts = np.sort(end)
    amplitude, decay_s = (_log_uniform(r, len(begin), rng) for r in (SWING, SWING_S))
    gaps = _in_order(np.concatenate([station.gaps, np.column_stack([begin, end])]))
    return replace(station, gaps=gaps, restarts=restarts, swings=np.column_stack([amplitude, decay_s]))


def _log_uniform(between: tuple[float, float], shape: int | tuple[int, int], rng: np.random.Generator) -> Floats:
    low, high = np.log(between)
    return np.exp(rng.uniform(float(low), float(high), shape))


def small_events(world: VectorWorld, rng: np.random.Generator) -> tuple[Integers, Floats]:
    """Return times and magnitudes of the events below the catalog's magnitude of completeness, in order of time.

    Background, and the direct aftershocks of the listed events, as the same Gutenberg–Richter law goes on below Mc; and
    what a catalog lacks in the hours after a mainshock.

    Examples
    --------
    >>> world = vector_world("clean", 6, np.random.default_rng(0))
    >>> times, magnitudes = small_events(world, np.random.default_rng(1))
    >>> bool((np.diff(times) >= 0).all()), bool(0.02 < (magnitudes > MC).mean() < 0.1)
    (True, True)
    """
    catalog = world.catalog
    more = 10.0 ** (B * (MC - SMALLEST)) - 1.0
    period = catalog.end_us - catalog.start_us
    background = catalog.start_us + rng.integers(0, period, rng.poisson(more * BACKGROUND_PER_DAY * period / DAY_US))
    parents, magnitudes = times_us(catalog.events["time"]), catalog.events["magnitude"].to_numpy()
    mean = more * productivity() * np.exp(ALPHA * (magnitudes - MC))
    parent = np.repeat(np.arange(len(parents)), rng.poisson(mean))
    low, high = C_DAYS ** (1.0 - P), (LONGEST_DAYS + C_DAYS) ** (1.0 - P)
    after = (low + rng.random(len(parent)) * (high - low)) ** (1.0 / (1.0 - P)) - C_DAYS
    soon = _log_uniform(UNLISTED_DAYS, (len(catalog.mainshocks), UNLISTED), rng)
    unlisted = (parents[catalog.mainshocks][:, None] + np.round(soon * DAY_US).astype(np.int64)).ravel()
    times = np.concatenate([background, parents[parent] + np.round(after * DAY_US).astype(np.int64)])
    sizes = draw_magnitudes(len(times), rng, mc=SMALLEST, b=B, max_magnitude=MC)
    more_sizes = draw_magnitudes(len(unlisted), rng, mc=SMALLEST, b=B, max_magnitude=UNLISTED_LARGEST)
    times, sizes = np.concatenate([times, unlisted]), np.concatenate([sizes, more_sizes])
    order = np.argsort(times, kind="stable")
    return times[order], sizes[order]


# --- how loud --------------------------------------------------------------------------------------------------------


def noise_gains(world: VectorWorld, times: Integers) -> Floats:
    """Return how many times as strong (power) the noise is than at night in fair weather.

    Parameters
    ----------
    world : VectorWorld
    times : ndarray of int64, shape (n,)
        Microseconds since 1970.

    Returns
    -------
    ndarray, shape (n, 9)
        In the bands between `EDGES_HZ`.

    Examples
    --------
    >>> world = vector_world("clean", 6, np.random.default_rng(0))
    >>> gains = noise_gains(world, np.arange(START_US, START_US + 10 * DAY_US, HOUR_US))
    >>> gains.shape, bool(gains[:, 4].max() > 3.0), bool((gains[:, 1] < 1.5).all())
    ((240, 9), True, True)
    """
    amplitude = np.ones((len(times), len(EDGES_HZ) - 1))
    amplitude += np.outer(noise.daily_ratio(world.model, times) - 1.0, _share(*noise.CULTURAL_HZ))
    if world.loud_hour is not None:
        inside = (times / HOUR_US - world.loud_hour) % 24.0 < LOUD_HOURS
        loud_hz = world.loud_lowest_hz, world.loud_lowest_hz * 2.0**LOUD_OCTAVES
        amplitude += np.outer(inside * (10.0 ** (world.loud_db / 20.0) - 1.0), _share(*loud_hz))
    # of the microseism's own band all, which is nearly all the power below 0.5 Hz
    amplitude[:, MICROSEISM] = noise.storm_ratio(world.model, world.weather, times)
    passed = (times - world.catalog.start_us) / (world.catalog.end_us - world.catalog.start_us)
    amplitude[:, FIRST:] *= 10.0 ** (world.drift_db / 20.0 * np.clip(passed, 0.0, 1.0) ** DRIFT_POWER)[:, None]
    return np.asarray(amplitude**2)


def _share(low_hz: float, high_hz: float) -> Floats:
    """Return how much of each band a band of noise with soft edges fills, as `noise` makes it."""
    found = []
    for low, high in pairwise(EDGES_HZ):
        at = np.geomspace(low, high, 65)
        outside = np.maximum(np.log2(low_hz / at), np.log2(at / high_hz))
        found.append(np.mean(np.cos(0.5 * np.pi * np.clip(outside / EDGE_OCTAVES, 0.0, 1.0)) ** 2))
    return np.array(found)
