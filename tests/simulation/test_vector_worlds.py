"""Worlds without waveforms: gains, swings and small events are what they say; a world is the same again."""

from __future__ import annotations

import numpy as np
import pytest

from seisprobe.catalog import times_us
from seisprobe.simulation.noise import NoiseModel, daily_ratio, storm_ratio
from seisprobe.simulation.vector_worlds import VECTOR_KINDS, StationHistory, noise_gains, small_events, vector_world
from seisprobe.simulation.worlds import MC, START_US

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000


@pytest.mark.parametrize("kind", VECTOR_KINDS)
def test_a_world_is_the_same_again_and_its_mainshocks_lie_more_than_ten_days_apart(kind):
    one, two = (vector_world(kind, 6, np.random.default_rng(4)) for _ in range(2))
    shocks = times_us(one.catalog.events["time"].iloc[one.catalog.mainshocks])
    assert (shocks == times_us(two.catalog.events["time"].iloc[two.catalog.mainshocks])).all()
    assert np.diff(shocks).min() > 10 * DAY_US
    assert [s.gaps.tolist() for s in one.stations] == [s.gaps.tolist() for s in two.stations]
    assert vector_world(kind, 6, np.random.default_rng(5)).weather != one.weather


def test_noise_is_louder_as_the_noise_model_says():
    world = vector_world("clean", 6, np.random.default_rng(0))
    times = START_US + HOUR_US * np.arange(14 * 24)
    gains = noise_gains(world, times)
    daily, storm = daily_ratio(NoiseModel(), times), storm_ratio(NoiseModel(), world.weather, times)
    np.testing.assert_allclose(gains[:, 4], daily**2)  # 2.8 to 5 Hz: within the cultural band
    np.testing.assert_allclose(gains[:, 0], storm**2)
    np.testing.assert_allclose(gains[:, 8], 1.0, rtol=1e-3)  # 28 to 50 Hz: outside
    drifting = vector_world("slow-drift", 6, np.random.default_rng(0))
    ends = np.array([drifting.catalog.start_us, drifting.catalog.end_us])  # both at midnight of 720 days
    ratio = noise_gains(drifting, ends)[:, 8]
    assert 10 * np.log10(ratio[1] / ratio[0]) == pytest.approx(drifting.drift_db)
    assert 10.0 <= drifting.drift_db <= 20.0


def test_a_station_swings_after_its_restarts_and_counts_more_between_toggles():
    station = StationHistory("X.A", 20.0, restarts=np.array([10 * HOUR_US]), swings=np.array([[10.0, 60.0]]))
    at = 10 * HOUR_US + np.array([-1, 0, 60_000_000])
    np.testing.assert_allclose(station.swing(at), [0.0, 100.0, 100.0 * np.exp(-2.0)])
    toggled = StationHistory("X.A", 20.0, toggles=np.array([10, 20, 30]), gain=3.0, listed=True)
    assert toggled.factor(np.array([9, 10, 19, 20, 30])).tolist() == [1.0, 3.0, 3.0, 1.0, 3.0]
    assert toggled.epoch(np.array([9, 10, 19, 20, 30])).tolist() == [0, 1, 1, 2, 3]
    assert StationHistory("X.A", 20.0, toggles=np.array([10])).epoch(np.array([11])).tolist() == [0]


def test_small_events_go_on_below_the_catalog_and_crowd_after_mainshocks():
    world = vector_world("clean", 6, np.random.default_rng(0))
    times, magnitudes = small_events(world, np.random.default_rng(1))
    shocks = times_us(world.catalog.events["time"].iloc[world.catalog.mainshocks])
    hour_after = [((times > t + HOUR_US) & (times < t + 2 * HOUR_US)).sum() for t in shocks]
    assert min(hour_after) > 100
    before = [((times > t - 2 * HOUR_US) & (times < t)).sum() for t in shocks]
    assert np.median(before) < 10
    far = np.all(np.abs(times[:, None] - shocks[None, :]) > DAY_US, axis=1)
    listed = (world.catalog.events["magnitude"] < MC + 1.0).sum() / 2  # the second year is history
    assert (magnitudes[far] < MC).all()
    assert 2.0 < far.sum() / listed < 20.0  # ten times as many for each unit less
