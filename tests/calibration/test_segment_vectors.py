"""Cheap vectors agree with `BandEnergy` on samples: level and scatter of noise, day and storm, gain, events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seisprobe.calibration.segment_vectors import (
    COUNTS_PER_M_S,
    Shaking,
    noise_pieces,
    pieces_of,
    segment_vectors,
    shaking,
)
from seisprobe.seisclip.baselines import BandEnergy
from seisprobe.simulation import ground_motion
from seisprobe.simulation.ground_motion import VERTICAL_TO_HORIZONTAL, Medium
from seisprobe.simulation.noise import DAY_US, HOUR_US, NoiseModel, daily_ratio, noise_velocity, storm_ratio
from seisprobe.simulation.vector_worlds import StationHistory, VectorWorld, vector_world

MINUTE_US, SAMPLES = 60_000_000, 6000
QUIET = NoiseModel(day_night_ratio=1.0, storm_db=0.0, glitches_per_day=0.0)
NUMBERS = [f"band {band}" for band in range(8)] + ["rsam", "kurtosis", "centroid"]
N = 150


@pytest.fixture(scope="module")
def clean() -> VectorWorld:
    world = vector_world("clean", 6, np.random.default_rng(0))
    assert world is not None
    return world


def unshaken(world: VectorWorld, station: StationHistory, starts: np.ndarray) -> np.ndarray:
    """Return cheap vectors of segments, shape (n, 3, 11), as if there were no events."""
    rng = np.random.default_rng(5)
    nothing = replace(
        world, catalog=replace(world.catalog, events=world.catalog.events.iloc[:0], mainshocks=np.empty(0, np.int64))
    )
    shaken = shaking(nothing, station, rng, (np.empty(0, np.int64), np.empty(0)))
    return segment_vectors(world, station, starts, shaken, rng).reshape(-1, 3, 11).astype(np.float64)


def encoded(start_us: int, n: int, model: NoiseModel, seed: int) -> np.ndarray:
    """Return what `BandEnergy` says of n segments of simulated noise, shape (n, 3, 11)."""
    velocity = noise_velocity(start_us, n * SAMPLES, "XX.OTHER", seed, model)
    counts = (COUNTS_PER_M_S * velocity).reshape(3, n, SAMPLES).transpose(1, 0, 2)
    return BandEnergy().encode(counts).reshape(n, 3, 11).astype(np.float64)


def agree(cheap: np.ndarray, real: np.ndarray) -> None:
    """Mean within a fifth of the scatter and four standard errors, scatter within a fifth."""
    cheap, real = cheap.reshape(-1, 11), real.reshape(-1, 11)
    spread = real.std(axis=0)
    apart = np.abs(cheap.mean(axis=0) - real.mean(axis=0)) / spread
    for name, one, ratio in zip(NUMBERS, apart, cheap.std(axis=0) / spread, strict=True):
        assert one < 0.25, (name, one)
        assert 0.8 < ratio < 1.25, (name, ratio)


def test_noise_of_the_night_has_the_level_and_scatter_of_encoded_samples(clean):
    real = encoded(0, N, QUIET, 1)
    starts = np.arange(4 * N) * MINUTE_US
    still = replace(clean, model=QUIET)
    cheap = unshaken(still, clean.stations[0], starts)
    agree(cheap, real)
    # and numbers go together as they do: what is high in RSAM is high in power below 0.5 Hz, so low in centroid
    together = [np.corrcoef(x.reshape(-1, 11)[:, [0, 3, 8, 9, 10]].T) for x in (cheap, real)]
    assert np.abs(together[0] - together[1]).max() < 0.25
    assert np.abs(np.corrcoef(cheap[:, 0, 8], cheap[:, 1, 8])[0, 1]) < 0.15


def test_a_stormy_working_day_is_as_loud_as_in_encoded_samples(clean):
    model = NoiseModel(glitches_per_day=0.0, storm_db=6.0)
    hours = np.arange(0, 60 * 24) * HOUR_US
    noon = (hours % DAY_US == 11 * HOUR_US) & (daily_ratio(model, hours) > 1.99)
    at = int(hours[noon][np.argmax(storm_ratio(model, 3, hours[noon]))])
    assert storm_ratio(model, 3, np.array([at]))[0] > 1.5
    real = encoded(at, N, model, 3)
    cheap = unshaken(replace(clean, model=model, weather=3), clean.stations[0], at + np.arange(4 * N) % N * MINUTE_US)
    apart = cheap.mean(axis=(0, 1)) - real.mean(axis=(0, 1))
    assert np.abs(apart[1:9]).max() < 0.06, dict(zip(NUMBERS, apart, strict=True))  # log10: 15% of power
    assert -0.25 < apart[0] < 0.0  # what leaks of a great storm over 0.5 Hz is left out: half of a band's power
    assert np.abs(apart[9:]).max() < 0.15
    quiet = unshaken(replace(clean, model=QUIET), clean.stations[0], at + np.arange(N) * MINUTE_US)
    assert (cheap - quiet[:1]).mean(axis=(0, 1))[3] > 0.5  # 6 dB in the cultural bands


def test_a_gain_moves_powers_and_rsam_and_nothing_else(clean):
    starts = clean.catalog.start_us + np.arange(40) * MINUTE_US
    station = replace(clean.stations[0], toggles=starts[20:21], gain=3.0)
    before, after = (unshaken(clean, s, starts) for s in (clean.stations[0], station))
    moved = after - before
    np.testing.assert_allclose(moved[:20], 0.0, atol=1e-6)
    expected = [2 * np.log10(3.0)] * 8 + [np.log10(3.0), 0.0, 0.0]
    np.testing.assert_allclose(moved[20:], np.broadcast_to(expected, moved[20:].shape), atol=1e-5)


def test_a_swing_is_at_long_periods(clean):
    starts = clean.catalog.start_us + np.arange(40) * MINUTE_US
    station = replace(clean.stations[0], restarts=starts[20:21], swings=np.array([[10.0, 120.0]]))
    moved = unshaken(clean, station, starts) - unshaken(clean, clean.stations[0], starts)
    np.testing.assert_allclose(moved[:20], 0.0, atol=1e-6)
    assert (moved[20:22, :, 8] > 0.5).all()  # RSAM
    assert (moved[20:22, :, 10] < 0.0).all()  # centroid
    assert np.abs(moved[20:22, :, 2:8]).max() < 1e-6
    assert np.abs(moved[36:]).max() < 0.05


@pytest.mark.parametrize("magnitude", [2.0, 4.0])
def test_an_event_has_the_energy_of_the_stochastic_method(clean, magnitude):
    """Mean power over the places that S may have in a minute, across the path: within a factor of two."""
    station = clean.stations[1]
    start = clean.catalog.start_us + HOUR_US
    first = ground_motion.arrivals(np.array([np.sqrt(station.distance_km**2 - 81.0)]), np.array([9.0]))
    path = (float(first.p_s[0]), float(first.s_s[0]), float(first.p_angle[0]))
    noise = noise_velocity(0, SAMPLES, "XX.OTHER", 1, QUIET)
    power = {"cheap": np.zeros((3, 8)), "real": np.zeros((3, 8))}
    for seed, after_s in enumerate(np.arange(1.0, 50.0, 2.0)):
        rng = np.random.default_rng(seed)
        arrival = np.array([start + round(1e6 * after_s)])
        shaken = Shaking(arrival, np.array([magnitude]), np.array([[1.0, 1.0, VERTICAL_TO_HORIZONTAL**2]]))
        quiet = replace(clean, model=QUIET)
        cheap = segment_vectors(quiet, station, np.array([start]), shaken, rng).reshape(3, 11)
        motion = ground_motion.event_velocity(magnitude, station.distance_km, path, 0.0, 2 * SAMPLES, Medium(), rng)
        moved = np.roll(motion, round(100 * (after_s - path[1])), axis=1)[:, :SAMPLES]
        real = BandEnergy().encode(COUNTS_PER_M_S * (noise + moved)[None]).reshape(3, 11)
        power["cheap"] += 10.0 ** cheap[:, :8]
        power["real"] += 10.0 ** real[:, :8]
    apart = np.log10(power["cheap"] / power["real"])[0, 2:8]
    assert np.abs(apart).max() < 0.3, apart


def test_pieces_hold_what_a_vector_says():
    counts = np.random.default_rng(0).standard_normal((2, 3, SAMPLES)) * 100.0
    vectors = BandEnergy().encode(counts).reshape(6, 11)
    pieces = pieces_of(counts)
    np.testing.assert_allclose(np.log10(pieces.power[:, 1:]), vectors[:, :8], atol=1e-4)
    np.testing.assert_allclose(pieces.moment.sum(axis=1) / pieces.power.sum(axis=1), vectors[:, 10], rtol=1e-3)
    assert len(noise_pieces().rsam) == 900
