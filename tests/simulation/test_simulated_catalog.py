"""A simulated catalog obeys the laws it was made from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from seisprobe.catalog import EVENT_COLUMNS, b_value, distance_km, times_us
from seisprobe.errors import InputError
from seisprobe.etas import FitOptions, fit_etas, omori_integral
from seisprobe.simulation.catalog import CatalogWorld, SimulatedMainshock, simulate_catalog

DAY_US = 86_400_000_000
REGION = (41.5, 44.0, 11.5, 14.5)
SHOCK = SimulatedMainshock("Alfa", 300 * DAY_US, 6.5, 42.8, 13.1)
QUIET = {"rate_per_day": 1e-9}


def world(**more: object) -> CatalogWorld:
    return CatalogWorld(**({"start_us": 0, "end_us": 600 * DAY_US, "region": REGION, "mainshocks": (SHOCK,)} | more))


def family(seed: int, **more: object) -> pd.DataFrame:
    events = simulate_catalog(world(**QUIET, **more), np.random.default_rng(seed))
    return events.loc[times_us(events["time"]) != SHOCK.time_us]


def test_the_same_seed_gives_the_same_events_and_another_others() -> None:
    one, two, other = (simulate_catalog(world(), np.random.default_rng(seed)) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) != len(other) or not one.equals(other)
    assert list(one.columns) == list(EVENT_COLUMNS)
    assert one["time"].is_monotonic_increasing
    assert one["event_id"].is_unique
    assert str(one["time"].dtype) == "datetime64[us, UTC]"
    own = one.loc[times_us(one["time"]) == SHOCK.time_us]
    assert own[["latitude", "longitude", "magnitude"]].to_numpy().tolist() == [[42.8, 13.1, 6.5]]


def test_direct_aftershocks_decay_as_omori_and_utsu_have_it() -> None:
    c, p = 0.05, 1.2
    days = []
    for seed in range(16):  # with so small a branching ratio nearly all aftershocks are direct ones
        events = family(seed, c_days=c, p=p, branching=0.02, alpha=2.8)
        days.append((times_us(events["time"]) - SHOCK.time_us) / DAY_US)
    after = np.concatenate(days)
    assert len(after) > 1000
    assert (after > 0).all()
    assert stats.kstest(after, lambda t: omori_integral(t, c, p) / omori_integral(300.0, c, p)).pvalue > 0.01
    wrong = stats.kstest(after, lambda t: omori_integral(t, c, 1.0) / omori_integral(300.0, c, 1.0))
    assert wrong.pvalue < 1e-6  # the test can fail


def test_the_fit_finds_the_laws_again() -> None:
    asked = world(mainshocks=(), rate_per_day=3.0)
    events = simulate_catalog(asked, np.random.default_rng(5))
    days = times_us(events["time"]) / DAY_US
    options = FitOptions(starts=1)
    fit = fit_etas(days, events["magnitude"].to_numpy(), 2.0, 100.0, 600.0, options=options)
    assert fit.parameters.mu_per_day == pytest.approx(3.0, rel=0.25)
    assert fit.parameters.alpha == pytest.approx(1.8, abs=0.35)


def test_magnitudes_follow_gutenberg_and_richter_in_steps_of_a_tenth_up_to_their_largest() -> None:
    events = family(2, b=1.1, branching=0.8)
    magnitudes = events["magnitude"].to_numpy()
    assert len(magnitudes) > 1000
    assert b_value(magnitudes, 2.0, 0.1) == pytest.approx(1.1, abs=4 * 1.1 / np.sqrt(len(magnitudes)))
    assert magnitudes.min() == 2.0
    assert magnitudes.max() <= 6.0
    assert np.allclose(magnitudes * 10, np.round(magnitudes * 10), atol=1e-9)


def test_direct_aftershocks_are_as_many_and_as_near_as_asked() -> None:
    asked = world(**QUIET, branching=0.02, spread_km=3.0)
    counts = [len(family(seed, branching=0.02, spread_km=3.0)) for seed in range(40)]
    direct = asked.parameters.k * np.exp(1.8 * 4.5) * float(omori_integral(300.0, asked.c_days, asked.p))
    assert direct / 40 > 0.1
    assert np.mean(counts) == pytest.approx(direct / (1 - 0.02), rel=0.15)
    events = pd.concat([family(seed, branching=0.02, spread_km=3.0) for seed in range(40)])
    away = distance_km(events["latitude"].to_numpy(), events["longitude"].to_numpy(), 42.8, 13.1)
    assert np.sqrt(np.mean(away**2)) == pytest.approx(3.0 * 10**0.25 * np.sqrt(2), rel=0.1)


def test_the_background_is_stationary_in_the_box_and_nothing_lies_outside() -> None:
    events = simulate_catalog(world(mainshocks=(), rate_per_day=4.0, branching=1e-6), np.random.default_rng(3))
    assert abs(len(events) - 2400) < 4 * np.sqrt(2400)
    days = times_us(events["time"]) / DAY_US
    assert stats.kstest(days, stats.uniform(0, 600).cdf).pvalue > 0.01
    near_edge = SimulatedMainshock("Edge", 300 * DAY_US, 6.0, 41.5, 11.5)
    both = simulate_catalog(world(mainshocks=(near_edge,)), np.random.default_rng(4))
    assert both["latitude"].between(41.5, 44.0).all()
    assert both["longitude"].between(11.5, 14.5).all()


def test_an_aftershock_lies_about_an_earlier_event_of_its_family() -> None:
    events = simulate_catalog(world(mainshocks=(), rate_per_day=0.5, branching=0.9), np.random.default_rng(6))
    at = events[["latitude", "longitude"]].to_numpy()
    nearest = [distance_km(at[:i, 0], at[:i, 1], *at[i]).min() for i in range(50, len(at))]
    scattered = np.random.default_rng(0).uniform([41.5, 11.5], [44.0, 14.5], at.shape)
    at_random = [distance_km(scattered[:i, 0], scattered[:i, 1], *scattered[i]).min() for i in range(50, len(at))]
    assert np.median(nearest) < 0.3 * np.median(at_random)


@pytest.mark.parametrize(
    ("shock", "said"),
    [
        (
            replace(SHOCK, time_us=601 * DAY_US),
            r"mainshock Alfa of 1971-08-25T00:00:00Z lies outside the sim",
        ),
        (replace(SHOCK, magnitude=2.5), r"mainshock Alfa: M 2.5 is less than a unit above the smallest event, M 2"),
    ],
)
def test_a_mainshock_that_cannot_be_is_refused(shock: SimulatedMainshock, said: str) -> None:
    with pytest.raises(InputError, match=said):
        simulate_catalog(world(mainshocks=(shock,)), np.random.default_rng(0))
