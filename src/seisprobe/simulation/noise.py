"""Noise of a station: coloured between Peterson's models, louder by day and in storms, with glitches and gaps.

White noise is drawn ten minutes at a time, each ten minutes of a station from a generator of their own, and coloured
by filters that overlap from one to the next: a record is the same sample for sample however it is cut, and any minute
of a year can be made alone. A `Band` is louder at some times than at others: by what its function says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from seisprobe.catalog import Floats, Integers

__all__ = [
    "Band",
    "NoiseModel",
    "acceleration_psd",
    "bands_of",
    "daily_ratio",
    "gap_intervals",
    "generator",
    "noise_velocity",
    "storm_ratio",
]

SAMPLING_HZ = 100
SAMPLE_US = 10_000
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
BLOCK = 60_000  # samples: ten minutes
BLOCK_US = BLOCK * SAMPLE_US
TAPS = 2**14  # of the filters, 164 s
LOWEST_HZ = 1.0 / 120.0  # the corner of a common broadband seismometer; nothing is made below
CULTURAL_HZ = (1.0, 20.0)  # traffic and machines: McNamara & Buland (2004), BSSA 94, 1517–1527, 1–10 Hz and above
MICROSEISM_HZ = (0.1, 0.4)  # the secondary peak: the same authors, 4–8 s, and its shoulder
EDGE_OCTAVES = 0.5
EVEN = 0.02  # a ratio that changes by less within a block is taken as its mean: a step of 0.2 dB at most
MONDAY_US = 4 * DAY_US  # 1970-01-05
DAY_HOURS, NIGHT_HOURS = (9.0, 17.0), (5.0, 21.0)  # loud from 9 to 17, quiet before 5 and after 21, local time
STORM_DAYS = (2.0, 3.1, 4.7, 7.3, 11.0, 17.0)  # periods of the microseism's level: weather, a choice
GLITCH_DECAY_S, GLITCH_M_S = (0.2, 5.0), 1e-5  # range of decays; median peak, spread by a factor of e
LONGEST_OUTAGE_DAYS = 10


@dataclass(frozen=True)
class NoiseModel:
    """What the noise of a station is made of. All defaults are choices, none a measurement.

    Parameters
    ----------
    level : float
        0 is Peterson's low-noise model, 1 the high-noise model, between them linear in dB at every period; that of
        the night, in fair weather.
    day_night_ratio : float
        Amplitude on a working day from 9 to 17 over that of the night, between 1 and 20 Hz; 1 is no difference.
    weekend_share : float
        Of the difference between day and night that is left on Saturday and Sunday.
    utc_offset_h : float
        Local time; no summer time.
    storm_db : float
        Standard deviation of the microseism's level over weeks, the same at all stations of a seed.
    glitches_per_day : float
        Steps in acceleration of the sensor: decaying pulses on one component.
    gaps_per_day, gap_s : float
        Lost packets: how many, and their mean length.
    outages_per_year, outage_h : float
        Station down: how often, and mean length; ten days at most.
    """

    level: float = 0.4
    day_night_ratio: float = 2.0
    weekend_share: float = 0.4
    utc_offset_h: float = 1.0
    storm_db: float = 3.0
    glitches_per_day: float = 0.2
    gaps_per_day: float = 0.3
    gap_s: float = 5.0
    outages_per_year: float = 3.0
    outage_h: float = 12.0


@dataclass(frozen=True)
class Band:
    """A band of frequencies whose noise is `ratio` times as loud (amplitude).

    Parameters
    ----------
    low_hz, high_hz : float
        Full within, nothing half an octave outside.
    ratio : callable
        Of times (int64, microseconds since 1970, shape (n,)): amplitude ratios of shape (n,), not negative;
        asked for every ten seconds.
    """

    low_hz: float
    high_hz: float
    ratio: Callable[[Integers], Floats]


def generator(seed: int, *words: object) -> np.random.Generator:
    """Return the random generator that belongs to a seed and some words.

    Examples
    --------
    >>> a, b, c = (generator(0, *words).random() for words in (("IV.NRCA", 7), ("IV.NRCA", 7), ("IV.NRCA", 8)))
    >>> a == b, a == c
    (True, False)
    """
    text = "\x1f".join(str(word) for word in (seed, *words))
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little"))


# --- levels ---------------------------------------------------------------------------------------------------------


def acceleration_psd(frequency_hz: Floats, level: float) -> Floats:
    """Return a power spectral density of ground acceleration between the models of Peterson (1993, USGS OFR 93-322).

    Parameters
    ----------
    frequency_hz : array_like
        The models end at 10 Hz and go on flat.
    level : float
        0 low-noise model, 1 high-noise model.

    Returns
    -------
    ndarray
        m²/s³ (that is (m/s²)²/Hz), one-sided.

    Examples
    --------
    >>> (10 * np.log10(acceleration_psd(np.array([0.2, 1.0]), 0.0))).round(1).tolist()
    [-141.2, -166.4]
    """
    period, low_db, high_db = _peterson()
    at = np.log(1.0 / np.maximum(np.asarray(frequency_hz, dtype=np.float64), 1e-5))
    db = np.interp(at, period, low_db + level * (high_db - low_db))
    return np.asarray(10.0 ** (db / 10.0))


@lru_cache(maxsize=1)
def _peterson() -> tuple[Floats, Floats, Floats]:
    """Return log periods, ascending, and the two models in dB."""
    from obspy.signal.spectral_estimation import get_nhnm, get_nlnm  # slow to import

    (low_period, low_db), (high_period, high_db) = get_nlnm(), get_nhnm()
    period = np.log(low_period[::-1])
    return period, low_db[::-1], np.interp(period, np.log(high_period[::-1]), high_db[::-1])


def daily_ratio(model: NoiseModel, times_us: Integers) -> Floats:
    """Return how much louder cultural noise is than at night.

    Examples
    --------
    >>> hours = np.array([2, 12, 5 * 24 + 12]) * HOUR_US + MONDAY_US  # Monday night and noon, Saturday noon
    >>> daily_ratio(NoiseModel(day_night_ratio=3.0, utc_offset_h=0.0, weekend_share=0.5), hours).tolist()
    [1.0, 3.0, 2.0]
    """
    local = np.asarray(times_us) + round(model.utc_offset_h * HOUR_US)
    hour = local % DAY_US / HOUR_US
    corners = (NIGHT_HOURS[0], DAY_HOURS[0], DAY_HOURS[1], NIGHT_HOURS[1])
    busy = np.sin(0.5 * np.pi * np.interp(hour, corners, (0.0, 1.0, 1.0, 0.0))) ** 2
    # The weekend begins and ends at midnight, when there is no difference to be lost.
    weekend = (local - MONDAY_US) // DAY_US % 7 >= 5
    return np.asarray(1.0 + (model.day_night_ratio - 1.0) * busy * np.where(weekend, model.weekend_share, 1.0))


def storm_ratio(model: NoiseModel, seed: int, times_us: Integers) -> Floats:
    """Return the amplitude of the microseism, relative to its median, under the weather of a seed.

    Examples
    --------
    >>> year = storm_ratio(NoiseModel(storm_db=3.0), 0, np.arange(0, 365 * DAY_US, HOUR_US))
    >>> bool(2.5 < np.std(20 * np.log10(year)) < 3.5)
    True
    """
    phases = generator(seed, "weather").uniform(0.0, 2.0 * np.pi, len(STORM_DAYS))
    days = np.asarray(times_us) / DAY_US
    waves = sum(np.sin(2.0 * np.pi * days / period + phase) for period, phase in zip(STORM_DAYS, phases, strict=True))
    return np.asarray(10.0 ** (model.storm_db / 20.0 * np.sqrt(2.0 / len(STORM_DAYS)) * waves))


def bands_of(model: NoiseModel, seed: int) -> tuple[Band, ...]:
    """Return the bands in which a model's noise changes with time: culture and the microseism.

    Examples
    --------
    >>> [(band.low_hz, band.high_hz) for band in bands_of(NoiseModel(storm_db=0.0), 0)]
    [(1.0, 20.0)]
    """
    bands = []
    if model.day_night_ratio != 1.0:
        bands.append(Band(*CULTURAL_HZ, lambda times_us: daily_ratio(model, times_us)))
    if model.storm_db != 0.0:
        bands.append(Band(*MICROSEISM_HZ, lambda times_us: storm_ratio(model, seed, times_us)))
    return tuple(bands)


# --- samples --------------------------------------------------------------------------------------------------------


def noise_velocity(
    start_us: int, n: int, station: str, seed: int, model: NoiseModel, more_bands: Sequence[Band] = ()
) -> np.ndarray:
    """Return the ground velocity of a station's noise.

    Parameters
    ----------
    start_us : int
        Microseconds since 1970, a multiple of 10,000.
    n : int
        Samples at 100 Hz.
    station : str
        Its name tells its noise from that of others.
    seed : int
    model : NoiseModel
    more_bands : sequence of Band
        On top of the model's own: a tremor is one.

    Returns
    -------
    ndarray of float32, shape (3, n)
        m/s.

    Examples
    --------
    >>> whole = noise_velocity(HOUR_US - 2_000_000, 400, "IV.NRCA", 0, NoiseModel())
    >>> part = noise_velocity(HOUR_US, 200, "IV.NRCA", 0, NoiseModel())
    >>> bool(np.array_equal(whole[:, 200:], part))
    True
    """
    first = start_us // SAMPLE_US
    out = np.zeros((3, n), dtype=np.float32)
    bands = (*bands_of(model, seed), *more_bands)
    half = TAPS // 2
    for number in range((first - half) // BLOCK, (first + n - 1 + half) // BLOCK + 1):
        block = _block(number, station, seed, model, bands)
        begin = number * BLOCK - half - first  # of the block, in samples of `out`
        into, out_to = max(begin, 0), min(begin + block.shape[1], n)
        out[:, into:out_to] += block[:, into - begin : out_to - begin]
    return out


def _block(number: int, station: str, seed: int, model: NoiseModel, bands: Sequence[Band]) -> np.ndarray:
    """Return ten minutes of coloured noise and its overlaps, half a filter before and half after."""
    rng = generator(seed, "noise", station, number)
    white = rng.standard_normal((3, BLOCK), dtype=np.float32)
    length = fft.next_fast_len(BLOCK + TAPS, real=True)
    colour, uneven = _filter(model.level, 0.0, 0.0), None
    coarse = np.linspace(0, BLOCK, 61)  # every ten seconds: no ratio needs to change faster
    times_us = number * BLOCK_US + np.round(coarse * SAMPLE_US).astype(np.int64)
    for band in bands:
        more, filtered = band.ratio(times_us) - 1.0, _filter(model.level, band.low_hz, band.high_hz)
        if np.ptp(more) > EVEN:
            louder = white * np.interp(np.arange(BLOCK), coarse, more).astype(np.float32)
            added = fft.rfft(louder, n=length, axis=1) * filtered
            uneven = added if uneven is None else uneven + added
        elif np.any(more != 0.0):
            colour = colour + np.float32(more.mean()) * filtered
    spectra = fft.rfft(white, n=length, axis=1) * colour
    if uneven is not None:
        spectra += uneven
    block = fft.irfft(spectra, n=length, axis=1)[:, : BLOCK + TAPS]
    _add_glitches(block, rng, model)
    return np.asarray(block)


@lru_cache(maxsize=32)
def _filter(level: float, low_hz: float, high_hz: float) -> np.ndarray:
    """Return the transform of the filter that gives white noise a level's velocity, in a band if it has one."""
    fine = 4 * TAPS
    frequency = fft.rfftfreq(fine, 1.0 / SAMPLING_HZ)
    above = np.maximum(frequency, 1e-5)
    velocity_psd = acceleration_psd(above, level) / (2.0 * np.pi * above) ** 2
    # Second order, as a seismometer is; half the sampling rate because the density is one-sided.
    gain = np.sqrt(velocity_psd * SAMPLING_HZ / 2.0) * above**2 / (above**2 + LOWEST_HZ**2)
    if high_hz > 0.0:
        outside = np.maximum(np.log2(low_hz / above), np.log2(above / high_hz))
        gain = gain * np.cos(0.5 * np.pi * np.clip(outside / EDGE_OCTAVES, 0.0, 1.0)) ** 2
    taps = np.roll(fft.irfft(gain), TAPS // 2)[:TAPS] * np.hanning(TAPS + 1)[:-1]
    length = fft.next_fast_len(BLOCK + TAPS, real=True)
    return np.asarray(fft.rfft(taps, n=length).astype(np.complex64))


def _add_glitches(block: np.ndarray, rng: np.random.Generator, model: NoiseModel) -> None:
    """Add pulses that start within the block; one ends, if not before, with the overlap of its block."""
    for _ in range(rng.poisson(model.glitches_per_day * BLOCK_US / DAY_US)):
        at, component = TAPS // 2 + int(rng.integers(BLOCK)), int(rng.integers(3))
        decay_s = np.exp(rng.uniform(*np.log(GLITCH_DECAY_S)))
        peak = rng.choice((-1.0, 1.0)) * GLITCH_M_S * np.exp(rng.standard_normal())
        block[component, at:] += (peak * np.exp(-np.arange(block.shape[1] - at) / (decay_s * SAMPLING_HZ))).astype(
            np.float32
        )


# --- gaps -----------------------------------------------------------------------------------------------------------


def gap_intervals(start_us: int, end_us: int, station: str, seed: int, model: NoiseModel) -> Integers:
    """Return when a station recorded nothing: lost packets and outages, each day's from a generator of its own.

    Returns
    -------
    ndarray of int64, shape (k, 2)
        [start, end) in microseconds since 1970, on samples, in order, apart, clipped to the period asked for.

    Examples
    --------
    >>> model = NoiseModel(gaps_per_day=4.0, outages_per_year=0.0)
    >>> gaps = gap_intervals(0, 10 * DAY_US, "IV.NRCA", 0, model)
    >>> 20 < len(gaps) < 60, bool((gaps[1:, 0] > gaps[:-1, 1]).all())
    (True, True)
    """
    found = []
    for day in range(start_us // DAY_US - LONGEST_OUTAGE_DAYS, (end_us - 1) // DAY_US + 1):
        rng = generator(seed, "gaps", station, day)
        kinds = (
            (model.gaps_per_day, 1e6 * model.gap_s),
            (model.outages_per_year / 365.25, 1e6 * 3600 * model.outage_h),
        )
        for rate, mean_us in kinds:
            count = rng.poisson(rate)
            begin = day * DAY_US + rng.integers(0, DAY_US, count)
            length = np.minimum(rng.exponential(mean_us, count), LONGEST_OUTAGE_DAYS * DAY_US)
            found.append(np.column_stack([begin, begin + length.astype(np.int64) + SAMPLE_US]) // SAMPLE_US * SAMPLE_US)
    return _merged(np.clip(np.concatenate(found), start_us, end_us))


def _merged(intervals: Integers) -> Integers:
    """Return intervals in order, those that overlap or touch as one, empty ones gone."""
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]
    if not len(intervals):
        return np.empty((0, 2), dtype=np.int64)
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    reach = np.maximum.accumulate(intervals[:, 1])
    heads = np.concatenate([[True], intervals[1:, 0] > reach[:-1]])
    lasts = np.concatenate([np.flatnonzero(heads)[1:] - 1, [len(intervals) - 1]])
    return np.column_stack([intervals[heads, 0], reach[lasts]])
