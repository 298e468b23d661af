"""What is put into a world: a precursor of a known size before each mainshock, or something that only looks like one.

=============  ========================================================================================================
precursor      before each mainshock
=============  ========================================================================================================
``rate:F``     F times the mean rate of events is added over the last hours, about its epicentre
``b-value:X``  the b-value of the last 30 days is lower by X
``tremor:X``   noise between 2 and 8 Hz is louder by X dB over the last hours, at every station; no event is added
``repeaters:S``  alike small events every five minutes of the last hours at its epicentre, in no catalog; S is their
               peak over the rms of the noise at the nearest station, both between 2 and 8 Hz
=============  ========================================================================================================

=============  ========================================================================================================
confounder     what it is
=============  ========================================================================================================
gain-listed    the first station counts three times as much from three days before the first mainshock on; its
               metadata say so
gain-unlisted  the same, and its metadata do not
outages        the first station fails for minutes, four times a day and three times an hour before mainshocks
hours          two hours of the day are louder by 6 dB between 1 and 20 Hz, and all mainshocks follow them
slow-drift     noise grows by 12 dB between 0.5 and 20 Hz over the record
=============  ========================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, distance_km, times_us
from seisprobe.errors import InputError, nearest
from seisprobe.simulation import ground_motion
from seisprobe.simulation.catalog import CatalogWorld, SimulatedMainshock, event_table
from seisprobe.simulation.ground_motion import Medium
from seisprobe.simulation.noise import Band, NoiseModel, generator, noise_velocity
from seisprobe.simulation.seismograms import Station

__all__ = [
    "CONFOUNDERS", "PRECURSORS", "Precursor", "bands_of_world", "extra_gaps", "gain_changes", "moved_mainshocks",
    "parse_precursor", "repeaters", "with_precursor",
]  # fmt: skip

PRECURSORS = {"rate": "times the mean rate", "b-value": "lower b", "tremor": "dB", "repeaters": "times the noise"}
CONFOUNDERS = ("gain-listed", "gain-unlisted", "outages", "hours", "slow-drift")
SECOND_US, HOUR_US, DAY_US = 1_000_000, 3_600_000_000, 86_400_000_000
TREMOR_HZ = (2.0, 8.0)
GAP_US = 120 * SECOND_US  # windows end this long before a mainshock: nothing is put where none looks
B_DAYS = 30.0
REPEAT_US = 300 * SECOND_US
GAIN, GAIN_LEAD_US = 3.0, 3 * DAY_US
OUTAGES_A_DAY, OUTAGES_BEFORE_A_DAY, OUTAGE_MINUTES = 4.0, 72.0, (2.0, 8.0)
LOUD_HOURS, LOUD_DB, LOUD_HZ = 2, 6.0, (1.0, 20.0)
DRIFT_DB, DRIFT_HZ = 12.0, (0.5, 20.0)


@dataclass(frozen=True)
class Precursor:
    """A kind of precursor, its size, and over how many hours before each mainshock it lasts."""

    kind: str
    size: float
    hours: float = 2.0

    def __str__(self) -> str:
        return f"{self.kind}:{self.size:g}"


def parse_precursor(text: str, hours: float = 2.0) -> Precursor | None:
    """Return what ``KIND:SIZE`` names, None for ``none``.

    Raises
    ------
    InputError
        A kind that does not exist, a size that is no positive number.

    Examples
    --------
    >>> parse_precursor("tremor:6").size, parse_precursor("none") is None
    (6.0, True)
    """
    if text == "none":
        return None
    kind, _, size = text.partition(":")
    if kind not in PRECURSORS:
        raise InputError(f"--precursor {text}: no such precursor; {nearest(kind, ['none', *PRECURSORS])}")
    try:
        number = float(size)
    except ValueError:
        number = float("nan")
    if not 0.0 < number < 1000.0:
        raise InputError(f"--precursor {text}: give its size, {PRECURSORS[kind]}, as in {kind}:{_example(kind)}")
    if kind == "b-value" and number >= 0.9:
        raise InputError(f"--precursor {text}: a b-value cannot be lower by that much; give less than 0.9")
    return Precursor(kind, number, hours)


def _example(kind: str) -> str:
    return {"rate": "20", "b-value": "0.4", "tremor": "10", "repeaters": "3"}[kind]


# --- in the catalog --------------------------------------------------------------------------------------------------


def with_precursor(world: CatalogWorld, precursor: Precursor | None, events: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return a catalog in which a precursor that a catalog can see has been put.

    Examples
    --------
    >>> from seisprobe.simulation.catalog import simulate_catalog
    >>> world = CatalogWorld(0, 100 * DAY_US, (42.0, 43.0, 12.5, 13.5),
    ...                      [SimulatedMainshock("M", 50 * DAY_US, 6.0, 42.5, 13.0)])
    >>> events = simulate_catalog(world, np.random.default_rng(0))
    >>> more = with_precursor(world, Precursor("rate", 20.0), events, 0)
    >>> 0 < len(more) - len(events) < 20
    True
    """
    if precursor is None or precursor.kind not in ("rate", "b-value"):
        return events
    rng = generator(seed, "precursor", str(precursor))
    own = {m.time_us for m in world.mainshocks}
    if precursor.kind == "b-value":
        times = times_us(events["time"])
        before = np.any([(times >= t - B_DAYS * DAY_US) & (times < t) for t in own], axis=0) & ~np.isin(
            times, list(own)
        )
        raised = world.mc + (events["magnitude"] - world.mc) * world.b / (world.b - precursor.size)
        changed = np.round(np.minimum(raised, world.largest), 1)
        return events.assign(magnitude=events["magnitude"].where(~before, changed))
    rate = len(events) / (world.end_us - world.start_us)
    rows = [_added(world, m, rng.poisson(precursor.size * rate * precursor.hours * HOUR_US), precursor.hours, rng)
            for m in world.mainshocks]  # fmt: skip
    table = pd.concat([events.assign(time_us=times_us(events["time"])), *rows], ignore_index=True)
    return event_table(table.sort_values("time_us", kind="stable"))


def _added(
    world: CatalogWorld, shock: SimulatedMainshock, n: int, hours: float, rng: np.random.Generator
) -> pd.DataFrame:
    times = shock.time_us - GAP_US - rng.integers(0, round(hours * HOUR_US) - GAP_US, n)
    excess = -np.log10(1.0 - rng.random(n) * (1.0 - 10.0 ** (-world.b * (world.largest - world.mc)))) / world.b
    return pd.DataFrame(
        {
            "time_us": times,
            "latitude": np.round(shock.latitude + 0.02 * rng.standard_normal(n), 4),
            "longitude": np.round(shock.longitude + 0.02 * rng.standard_normal(n), 4),
            "depth_km": np.round(rng.uniform(5.0, 12.0, n), 1),
            "magnitude": np.round(world.mc + np.floor(excess * 10) / 10, 1),
        }
    )


def moved_mainshocks(mainshocks: Sequence[SimulatedMainshock], confounder: str) -> tuple[SimulatedMainshock, ...]:
    """Return mainshocks at the hour of the day of the first one, where loud hours are to precede them all.

    Examples
    --------
    >>> shocks = [SimulatedMainshock(name, hour * HOUR_US, 6.0, 42.0, 13.0) for name, hour in (("A", 24), ("B", 30))]
    >>> [m.time_us // HOUR_US for m in moved_mainshocks(shocks, "hours")]
    [24, 24]
    """
    if confounder != "hours":
        return tuple(mainshocks)
    hour = mainshocks[0].time_us % DAY_US // HOUR_US
    return tuple(
        replace(m, time_us=m.time_us // DAY_US * DAY_US + hour * HOUR_US + m.time_us % HOUR_US) for m in mainshocks
    )


# --- in the waveforms ------------------------------------------------------------------------------------------------


def repeaters(
    mainshocks: Sequence[SimulatedMainshock], precursor: Precursor | None, stations: Sequence[Station], seed: int,
    noise: NoiseModel, medium: Medium,
) -> pd.DataFrame:  # fmt: skip
    """Return the small alike events that shake stations and stand in no catalog, an event table with ``family``.

    Examples
    --------
    >>> shocks, near = [SimulatedMainshock("M", DAY_US, 6.0, 42.0, 13.0)], [Station("XX", "A", 42.1, 13.0)]
    >>> few = repeaters(shocks, Precursor("repeaters", 5.0), near, 0, NoiseModel(), Medium())
    >>> len(few), few["family"].unique().tolist(), bool((few["magnitude"] < 2.0).all())
    (24, ['M'], True)
    """
    rows = []
    for shock in mainshocks if precursor is not None and precursor.kind == "repeaters" else ():
        assert precursor is not None
        away = [float(distance_km(np.array(shock.latitude), np.array(shock.longitude), s.latitude, s.longitude))
                for s in stations]  # fmt: skip
        near = int(np.argmin(away))
        magnitude = _magnitude_of(precursor.size, away[near], stations[near], seed, noise, medium)
        times = np.arange(
            shock.time_us - GAP_US - REPEAT_US // 2, shock.time_us - precursor.hours * HOUR_US, -REPEAT_US
        )
        rows.append(
            pd.DataFrame({"time_us": times[::-1], "latitude": shock.latitude, "longitude": shock.longitude,
                          "depth_km": 9.0, "magnitude": magnitude, "family": shock.name})
        )  # fmt: skip
    if not rows:
        return event_table(pd.DataFrame({n: [] for n in ("time_us", "latitude", "longitude", "depth_km", "magnitude")}))
    table = pd.concat(rows, ignore_index=True)
    made = event_table(table).assign(family=table["family"].to_numpy())
    return made.assign(event_id=[f"rep{i:06d}" for i in range(len(made))])


def _magnitude_of(
    snr: float, epicentral_km: float, station: Station, seed: int, noise: NoiseModel, medium: Medium
) -> float:
    """Return the magnitude whose peak between 2 and 8 Hz is `snr` times the rms of a quiet ten minutes."""
    quiet = noise_velocity(0, 60_000, station.name, seed, replace(noise, glitches_per_day=0.0))
    rms = float(np.sqrt(np.mean(_banded(quiet) ** 2)))
    distance = float(np.hypot(epicentral_km, 9.0))
    first = ground_motion.arrivals(np.array([epicentral_km]), np.array([9.0]))
    times = (float(first.p_s[0]), float(first.s_s[0]), float(first.p_angle[0]))
    low, high = -2.0, 4.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        own = generator(seed, "repeater")
        motion = ground_motion.event_velocity(middle, distance, times, 0.0, 4096, medium, own)
        low, high = (middle, high) if np.abs(_banded(motion)).max() < snr * rms else (low, middle)
    return 0.5 * (low + high)


def _banded(velocity: np.ndarray) -> Floats:
    from scipy.signal import butter, sosfiltfilt

    return np.asarray(sosfiltfilt(butter(4, TREMOR_HZ, "bandpass", fs=100.0, output="sos"), velocity, axis=1))


def bands_of_world(
    mainshocks: Sequence[SimulatedMainshock], period_us: tuple[int, int], precursor: Precursor | None, confounder: str
) -> tuple[Band, ...]:
    """Return the bands in which a world's noise is louder than its stations' own: tremor, loud hours, drift.

    Examples
    --------
    >>> shocks = [SimulatedMainshock("M", DAY_US, 6.0, 42.0, 13.0)]
    >>> (band,) = bands_of_world(shocks, (0, 2 * DAY_US), Precursor("tremor", 20.0), "")
    >>> band.ratio(np.array([DAY_US - 3 * HOUR_US, DAY_US - HOUR_US, DAY_US])).tolist()
    [1.0, 10.0, 1.0]
    """
    bands = []
    if precursor is not None and precursor.kind == "tremor":
        spans = [(m.time_us - round(precursor.hours * HOUR_US), m.time_us) for m in mainshocks]
        bands.append(Band(*TREMOR_HZ, lambda times: _within(times, spans, precursor.size)))
    if confounder == "hours":
        last = mainshocks[0].time_us // HOUR_US % 24
        bands.append(Band(*LOUD_HZ, lambda times: _hours(times, int(last))))
    if confounder == "slow-drift":
        start, end = period_us
        bands.append(Band(*DRIFT_HZ, lambda times: 10.0 ** (DRIFT_DB / 20.0 * (times - start) / (end - start))))
    return tuple(bands)


def _within(times: Integers, spans: Sequence[tuple[int, int]], db: float) -> Floats:
    inside = np.any([(times >= begin) & (times < end) for begin, end in spans], axis=0)
    return np.where(inside, 10.0 ** (db / 20.0), 1.0)


def _hours(times: Integers, last: int) -> Floats:
    before = (last - 1 - times // HOUR_US % 24) % 24
    return np.where(before < LOUD_HOURS, 10.0 ** (LOUD_DB / 20.0), 1.0)


def gain_changes(mainshocks: Sequence[SimulatedMainshock], confounder: str, first: bool) -> list[tuple[int, float]]:
    """Return when a station's gain changes, and to what factor; only the first station's does.

    Examples
    --------
    >>> gain_changes([SimulatedMainshock("M", 9 * DAY_US, 6.0, 42.0, 13.0)], "gain-listed", True) == [(6 * DAY_US, 3.0)]
    True
    """
    if not first or confounder not in ("gain-listed", "gain-unlisted"):
        return []
    return [(min(m.time_us for m in mainshocks) // SECOND_US * SECOND_US - GAIN_LEAD_US, GAIN)]


def extra_gaps(
    mainshocks: Sequence[SimulatedMainshock], start_us: int, end_us: int, confounder: str, station: Station, seed: int,
    hours: float,
) -> Integers:  # fmt: skip
    """Return when the failing station has nothing, [start, end) in microseconds, shape (k, 2).

    Examples
    --------
    >>> shocks = [SimulatedMainshock("M", DAY_US, 6.0, 42.0, 13.0)]
    >>> extra_gaps(shocks, 0, DAY_US, "outages", Station("XX", "A", 42.0, 13.0), 0, 2.0).shape[1]
    2
    """
    if confounder != "outages":
        return np.empty((0, 2), dtype=np.int64)
    gaps = [gap for day in range(start_us // DAY_US - 1, end_us // DAY_US + 1)
            for gap in _failures(day, mainshocks, station, seed, hours)]  # fmt: skip
    found = np.clip(np.array(gaps, dtype=np.int64).reshape(-1, 2), start_us, end_us)
    return found[found[:, 1] > found[:, 0]]


def _failures(
    day: int, mainshocks: Sequence[SimulatedMainshock], station: Station, seed: int, hours: float
) -> Iterator[tuple[int, int]]:
    """Yield a day's failures: some at any time, many in the hours before mainshocks."""
    rng = generator(seed, "failures", station.name, day)
    spans = [(day * DAY_US, (day + 1) * DAY_US, OUTAGES_A_DAY)]
    spans += [(m.time_us - round(hours * HOUR_US), m.time_us, OUTAGES_BEFORE_A_DAY) for m in mainshocks
              if m.time_us // DAY_US == day]  # fmt: skip
    for begin, end, a_day in spans:
        for at in rng.integers(begin, end, rng.poisson(a_day * (end - begin) / DAY_US)):
            minutes = rng.uniform(*OUTAGE_MINUTES)
            yield int(at) // 10_000 * 10_000, (int(at) + round(60e6 * minutes)) // 10_000 * 10_000
