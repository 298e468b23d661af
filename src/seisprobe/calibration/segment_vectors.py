"""Vectors of segments without their samples: what `BandEnergy` would say of noise and events, at a hundredth the cost.

Some hundreds of one-minute pieces of simulated noise are encoded once. A cheap vector takes one of them, by chance, for
each component, and puts on its bands what is louder than in the piece: power in each band is multiplied by the world's
gains, the power of the events that shake the segment is added, and RSAM, kurtosis and centroid follow from both. The
scatter of the numbers, and how they go together, so is that of encoded samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.embedding.components import LENGTH_S
from seisprobe.seisclip.baselines import BandEnergy
from seisprobe.simulation.ground_motion import VERTICAL_TO_HORIZONTAL, Medium, acceleration_spectrum, phase_duration_s
from seisprobe.simulation.noise import NoiseModel, noise_velocity
from seisprobe.simulation.vector_worlds import EDGES_HZ, StationHistory, VectorWorld, noise_gains

__all__ = ["Pieces", "Shaking", "noise_pieces", "segment_vectors", "shaking"]

SEGMENT_SAMPLES = 6000
PIECES = 300  # of three components each
COUNTS_PER_M_S = 5e8
BANDS = len(EDGES_HZ) - 1  # those of `BandEnergy` and, first, all that is below
MAGNITUDE_STEP = 0.1
MAGNITUDES = np.arange(0.0, 7.2, MAGNITUDE_STEP)
LARGE, REACH_S, LARGE_REACH_S = 3.0, 120.0, 1800.0  # how long the coda is looked at, from which magnitude longer
RADIATION_SPREAD = 0.5  # of ln energy, by event and component: a choice
LOW, LEAK = 0, 1e-3  # of a swing below 0.5 Hz into the lowest band
VERTICAL = 2
_US = 1_000_000


@dataclass(frozen=True)
class Pieces:
    """Encoded one-minute pieces of quiet noise of one component.

    Parameters
    ----------
    power : ndarray, shape (n, 9)
        Counts², in the bands between `EDGES_HZ`.
    moment : ndarray, shape (n, 9)
        Power times its mean frequency, Hz.
    rsam, kurtosis : ndarray, shape (n,)
    """

    power: Floats
    moment: Floats
    rsam: Floats
    kurtosis: Floats


@dataclass(frozen=True)
class Shaking:
    """When events reach a station, and how strong they are.

    Parameters
    ----------
    arrival : ndarray of int64, shape (e,)
        Of S, microseconds since 1970, ascending.
    magnitude : ndarray, shape (e,)
    energy : ndarray, shape (e, 3)
        Factor by component: radiation and path.
    """

    arrival: Integers
    magnitude: Floats
    energy: Floats


@lru_cache(maxsize=1)
def noise_pieces() -> Pieces:
    """Return pieces of noise of the night, in fair weather, without glitches.

    Examples
    --------
    >>> noise_pieces().power.shape
    (900, 9)
    """
    model = NoiseModel(day_night_ratio=1.0, storm_db=0.0, glitches_per_day=0.0)
    velocity = noise_velocity(0, PIECES * SEGMENT_SAMPLES, "XX.PIECE", 0, model)
    counts = (COUNTS_PER_M_S * velocity).reshape(3, PIECES, SEGMENT_SAMPLES).transpose(1, 0, 2)
    return pieces_of(counts)


def pieces_of(counts: np.ndarray) -> Pieces:
    """Return what is known of segments, shape (n, 3, 6000), component by component."""
    vectors = BandEnergy().encode(counts).astype(np.float64).reshape(-1, BANDS + 2)
    samples = np.asarray(counts, dtype=np.float64).reshape(-1, SEGMENT_SAMPLES)
    samples = samples - samples.mean(axis=1, keepdims=True)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SEGMENT_SAMPLES) / SEGMENT_SAMPLES)
    total = np.mean((samples * hann) ** 2, axis=1) / np.mean(hann**2)  # Parseval: what the bands are parts of
    bands = 10.0 ** vectors[:, : BANDS - 1]
    low = np.maximum(total - bands.sum(axis=1), 1e-3 * total)
    middles = np.sqrt(np.array(EDGES_HZ[1:-1]) * np.array(EDGES_HZ[2:]))
    known = bands * middles
    below = np.maximum(total * vectors[:, -1] - known.sum(axis=1), EDGES_HZ[0] * low)
    return Pieces(
        np.column_stack([low, bands]), np.column_stack([below, known]), 10.0 ** vectors[:, -3], vectors[:, -2]
    )


def shaking(
    world: VectorWorld, station: StationHistory, rng: np.random.Generator, small: tuple[Integers, Floats]
) -> Shaking:
    """Return how a station is shaken by the events of the catalog and by smaller ones.

    Parameters
    ----------
    world : VectorWorld
    station : StationHistory
    rng : Generator
    small : (times, magnitudes)
        From `small_events`, the same for all stations.
    """
    events = world.catalog.events
    times = np.concatenate([times_us(events["time"]), small[0]])
    magnitudes = np.concatenate([events["magnitude"].to_numpy(), small[1]])
    order = np.argsort(times, kind="stable")
    arrival = times[order] + round(1e6 * station.distance_km / Medium().s_velocity_km_s)
    energy = np.exp(RADIATION_SPREAD * rng.standard_normal((len(order), 3)))
    energy[:, VERTICAL] *= VERTICAL_TO_HORIZONTAL**2
    return Shaking(arrival, magnitudes[order], energy)


@lru_cache(maxsize=8)
def _event_energy(distance_km: float) -> tuple[Floats, Floats]:
    """Return counts² s of S in each band by magnitude, (m, 9), and its duration in s by magnitude, (m,)."""
    medium = Medium()
    energy = np.empty((len(MAGNITUDES), BANDS))
    for band, (low, high) in enumerate(pairwise(EDGES_HZ)):
        at = np.geomspace(low, high, 33)
        velocity = acceleration_spectrum(at, MAGNITUDES[:, None], distance_km, medium) / (2.0 * np.pi * at)
        energy[:, band] = 2.0 * np.trapezoid((COUNTS_PER_M_S * velocity) ** 2, at, axis=1)
    return energy, np.asarray(phase_duration_s(MAGNITUDES, distance_km, medium))


def _shaken(starts: Integers, shaking: Shaking, distance_km: float) -> tuple[Floats, Floats]:
    """Return the mean power that events have in segments, (n, 3, 9), and the share of time that they last, (n,)."""
    energy, duration_s = _event_energy(distance_km)
    power, lasting = np.zeros((len(starts), 3, BANDS)), np.zeros(len(starts))
    large = shaking.magnitude >= LARGE
    for mine, reach_s in ((~large, REACH_S), (large, LARGE_REACH_S)):
        arrival, own = shaking.arrival[mine], np.flatnonzero(mine)
        first = np.searchsorted(arrival, starts - round(reach_s * _US))
        counts = np.searchsorted(arrival, starts + LENGTH_S * _US) - first
        segment = np.repeat(np.arange(len(starts)), counts)
        place = np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        level = np.round(shaking.magnitude[own[place]] / MAGNITUDE_STEP).astype(np.int64)
        tau_s = duration_s[level]
        begin_s = (starts[segment] - arrival[place]) / 1e6
        # (1 + t/tau)^-2 of the energy comes later than t: a coda that falls off with the third power of time
        later = [1.0 / (1.0 + np.maximum(t, 0.0) / tau_s) ** 2 for t in (begin_s, begin_s + LENGTH_S)]
        within = (later[0] - later[1])[:, None, None] / LENGTH_S
        np.add.at(power, segment, within * shaking.energy[own[place]][:, :, None] * energy[level][:, None, :])
        np.maximum.at(lasting, segment, np.clip(2.0 * tau_s / LENGTH_S, 0.05, 1.0))
    return power, np.where(lasting > 0, lasting, 1.0)


def segment_vectors(
    world: VectorWorld, station: StationHistory, starts: Integers, shaken: Shaking, rng: np.random.Generator
) -> np.ndarray:
    """Return what `BandEnergy` would say of segments.

    Parameters
    ----------
    world : VectorWorld
    station : StationHistory
    starts : ndarray of int64, shape (n,)
        Microseconds since 1970.
    shaken : Shaking
        Of the station.
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (n, 33)
    """
    pieces = noise_pieces()
    chosen = rng.integers(0, len(pieces.rsam), (len(starts), 3))
    middle = starts + LENGTH_S * _US // 2
    gains = noise_gains(world, middle)[:, None, :] * np.ones((1, 3, 1))
    noise_power, moment = pieces.power[chosen] * gains, pieces.moment[chosen] * gains
    swing = station.swing(middle)[:, None] * pieces.power[:, LOW].mean()
    noise_power[..., LOW] += swing
    noise_power[..., LOW + 1] += LEAK * swing
    moment[..., LOW] += swing * 2.0 * EDGES_HZ[0]
    event_power, lasting = _shaken(starts, shaken, station.distance_km)
    power = noise_power + event_power
    middles = np.sqrt(np.array(EDGES_HZ[:-1]) * np.array(EDGES_HZ[1:]))
    total_noise, total = noise_power.sum(axis=-1), power.sum(axis=-1)
    ratio = event_power.sum(axis=-1) / total_noise
    share, q = 1.0 - 1.0 / (1.0 + ratio), lasting[:, None]
    # of a Gaussian process that is stronger for a share q of the time
    rsam = pieces.rsam[chosen] * np.sqrt(total_noise / pieces.power[chosen].sum(axis=-1))
    rsam = rsam * ((1.0 - q) + q * np.sqrt(1.0 + ratio / q))
    kurtosis = pieces.kurtosis[chosen] * (1.0 - share) ** 2 + 3.0 * share**2 * (1.0 / q - 1.0)
    centroid = (moment + event_power * middles).sum(axis=-1) / total
    gain = station.factor(middle)[:, None]
    logs = np.log10(np.concatenate([power[..., 1:] * gain[..., None] ** 2, (rsam * gain)[..., None]], axis=-1))
    numbers = np.concatenate([logs, kurtosis[..., None], centroid[..., None]], axis=-1)
    return numbers.reshape(len(starts), -1).astype(np.float32)
