"""A simulated catalog obeys the laws it was made from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from seisprobe.catalog import EVENT_COLUMNS, b_value, distance_km, times_us
from seisprobe.simulation.catalog import CatalogWorld, SimulatedMainshock, simulate_catalog

DAY_US = 86_400_000_000
REGION = (41.5, 44.0, 11.5, 14.5)
SHOCK = SimulatedMainshock("Alfa", 300 * DAY_US, 6.5, 42.8, 13.1)


def world(**more: object) -> CatalogWorld:
    return CatalogWorld(**({"start_us": 0, "end_us": 600 * DAY_US, "region": REGION, "mainshocks": [SHOCK]} | more))


def aftershocks(seed: int, **more: object) -> pd.DataFrame:
    events = simulate_catalog(world(rate_per_day=0.0, **more), np.random.default_rng(seed))
    return events.loc[times_us(events["time"]) != SHOCK.time_us]


def test_the_same_seed_gives_the_same_events_and_another_others() -> None:
    one, two, other = (simulate_catalog(world(), np.random.default_rng(seed)) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) != len(other) or not one.equals(other)
    assert list(one.columns) == list(EVENT_COLUMNS)
    assert one["time"].is_monotonic_increasing
    assert one["event_id"].is_unique
    assert str(one["time"].dtype) == "datetime64[us, UTC]"


def test_aftershocks_decay_as_omori_and_utsu_have_it() -> None:
    c, p = 0.05, 1.2
    events = aftershocks(1, c_days=c, p=p, productivity=1.5, spread_km=1.0)
    days = (times_us(events["time"]) - SHOCK.time_us) / DAY_US
    assert len(days) > 2000

    def law(t: np.ndarray) -> np.ndarray:
        return ((t + c) ** (1 - p) - c ** (1 - p)) / ((300 + c) ** (1 - p) - c ** (1 - p))

    assert (days > 0).all()
    assert stats.kstest(days, law).pvalue > 0.01
    assert stats.kstest(days, lambda t: np.log1p(t / c) / np.log1p(300 / c)).pvalue < 1e-6  # p = 1: the test can fail


def test_magnitudes_follow_gutenberg_and_richter_in_steps_of_a_tenth_up_to_their_largest() -> None:
    events = aftershocks(2, b=1.1, productivity=2.0)
    magnitudes = events["magnitude"].to_numpy()
    assert b_value(magnitudes, 2.5, 0.1) == pytest.approx(1.1, abs=0.05)
    assert magnitudes.min() == 2.5
    assert magnitudes.max() <= 6.0
    assert np.allclose(magnitudes * 10, np.round(magnitudes * 10), atol=1e-9)


def test_aftershocks_are_as_many_and_as_near_as_asked() -> None:
    counts = [len(aftershocks(seed, spread_km=3.0)) for seed in range(10)]
    expected = 10 ** (0.6 + 6.5 - 2.5 - 1.2)
    assert np.mean(counts) == pytest.approx(expected, abs=4 * np.sqrt(expected / 10))
    events = aftershocks(0, spread_km=3.0)
    away = distance_km(events["latitude"].to_numpy(), events["longitude"].to_numpy(), 42.8, 13.1)
    assert np.sqrt(np.mean(away**2)) == pytest.approx(3.0 * np.sqrt(2), rel=0.05)


def test_the_background_is_stationary_in_the_box_and_nothing_lies_outside() -> None:
    events = simulate_catalog(world(mainshocks=[], rate_per_day=4.0), np.random.default_rng(3))
    assert abs(len(events) - 2400) < 4 * np.sqrt(2400)
    days = times_us(events["time"]) / DAY_US
    assert stats.kstest(days, stats.uniform(0, 600).cdf).pvalue > 0.01
    near_edge = SimulatedMainshock("Edge", 300 * DAY_US, 6.0, 41.5, 11.5)
    both = simulate_catalog(world(mainshocks=[near_edge]), np.random.default_rng(4))
    assert both["latitude"].between(41.5, 44.0).all()
    assert both["longitude"].between(11.5, 14.5).all()
