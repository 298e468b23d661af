"""Synthetic catalogs: seeded, of the right law, and refused where they explode."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from seisprobe.catalog import b_value
from seisprobe.errors import InputError, SeisprobeError
from seisprobe.etas import EtasParameters, branching_ratio, draw_magnitudes, observe, rate, residuals, simulate

TRUTH = EtasParameters(1.0, 0.01, 1.8, 0.005, 1.12, mc=2.0)
LAW = {"b": 1.0, "max_magnitude": 7.0}


def test_the_same_seed_gives_the_same_catalog():
    first, second = (simulate(TRUTH, 200.0, np.random.default_rng(3), **LAW) for _ in range(2))
    other = simulate(TRUTH, 200.0, np.random.default_rng(4), **LAW)
    assert np.array_equal(first.times_days, second.times_days)
    assert np.array_equal(first.magnitudes, second.magnitudes)
    assert not np.array_equal(first.times_days, other.times_days)


def test_events_are_in_order_and_inside_the_period():
    world = simulate(TRUTH, 200.0, np.random.default_rng(3), lead_in_days=50.0, **LAW)
    assert (np.diff(world.times_days) >= 0).all()
    assert -50 <= world.times_days[0] < 0
    assert 150 < world.times_days[-1] <= 200
    assert len(world.times_days) == len(world.magnitudes) == len(world.generation)


def test_background_events_are_poisson_of_rate_mu():
    world = simulate(replace(TRUTH, mu_per_day=20.0), 1000.0, np.random.default_rng(5), **LAW)
    background = world.times_days[world.generation == 0]
    assert len(background) == pytest.approx(20_000, abs=4 * np.sqrt(20_000))
    assert kstest(background / 1000.0, "uniform").pvalue > 0.01


@pytest.mark.parametrize("p", [0.9, 1.0, 1.12, 1.8])
def test_direct_aftershocks_follow_the_omori_law(p):
    given = replace(TRUTH, mu_per_day=1e-9, p=p, k=0.005 if p > 1.5 else 0.03, alpha=0.0)
    world = simulate(given, 50.0, np.random.default_rng(6), history=(np.zeros(20_000), np.full(20_000, 2.0)), **LAW)
    direct = world.times_days[world.generation == 1]
    c = given.c_days
    law = (
        np.log1p(direct / c) / np.log1p(50 / c)
        if p == 1
        else ((direct + c) ** (1 - p) - c ** (1 - p)) / ((50 + c) ** (1 - p) - c ** (1 - p))
    )
    assert len(direct) > 500
    assert kstest(law, "uniform").pvalue > 0.01


def test_a_history_triggers_what_its_law_says_but_is_not_returned():
    given = replace(TRUTH, mu_per_day=1e-9, k=0.1, alpha=2.0)
    history = (np.array([-3.0, 0.0, -1.0]), np.array([4.0, 4.0, 1.9]))
    counts = []
    for seed in range(300):
        world = simulate(given, 10.0, np.random.default_rng(seed), b=2.0, max_magnitude=2.1, history=history)
        assert world.times_days.min(initial=1.0) > 0
        counts.append(int((world.generation == 1).sum()))
    grid = np.concatenate([[0.0], np.geomspace(1e-7, 10.0, 4000)])
    rates = rate(given, np.maximum(grid, 1e-12), *history) - 1e-9
    expected = float(np.trapezoid(rates, grid))
    assert np.mean(counts) == pytest.approx(expected, rel=4 / np.sqrt(300 * expected))


def test_simulated_catalogs_pass_the_residual_test_of_their_own_parameters():
    values = []
    for seed in range(60):
        world = simulate(TRUTH, 300.0, np.random.default_rng(seed), **LAW)
        values.append(residuals(TRUTH, observe(world.times_days, world.magnitudes, 2.0, 0.0, 300.0)).ks_p)
    assert kstest(values, "uniform").pvalue > 0.01


def test_magnitudes_are_gutenberg_richter_up_to_the_largest():
    rng = np.random.default_rng(7)
    drawn = draw_magnitudes(100_000, rng, mc=2.0, b=1.2, max_magnitude=4.0)
    beta = 1.2 * np.log(10)
    assert drawn.min() >= 2.0
    assert drawn.max() <= 4.0
    law = np.expm1(-beta * (drawn - 2.0)) / np.expm1(-beta * 2.0)
    assert kstest(law, "uniform").pvalue > 0.01


def test_binned_magnitudes_lie_on_bins_and_keep_b():
    drawn = draw_magnitudes(100_000, np.random.default_rng(7), mc=2.5, b=1.0, max_magnitude=7.0, delta_m=0.1)
    steps = (drawn - 2.5) / 0.1
    assert np.allclose(steps, np.round(steps), atol=1e-9)
    assert drawn.max() <= 7.0 + 1e-9
    assert b_value(drawn, 2.5, 0.1) == pytest.approx(1.0, abs=0.02)
    short = draw_magnitudes(100_000, np.random.default_rng(7), mc=2.5, b=1.0, max_magnitude=2.7, delta_m=0.1)
    values, counts = np.unique(short.round(6), return_counts=True)
    assert values.tolist() == [2.5, 2.6, 2.7]
    assert counts[1:] / counts[:-1] == pytest.approx([10**-0.1] * 2, rel=0.03)


def test_a_supercritical_catalog_ends_in_one_line():
    wild = replace(TRUTH, k=1.0)
    assert branching_ratio(wild, 1.0, 7.0) > 10
    with pytest.raises(SeisprobeError, match="more than 500000 events") as caught:
        simulate(wild, 1000.0, np.random.default_rng(0), **LAW)
    assert "\n" not in str(caught.value)
    assert "max_branching" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_magnitude": np.inf}, "max_magnitude is infinite"),
        ({"b": 0.0}, "b-value 0"),
        ({"duration_days": 0.0}, "duration 0 d"),
        ({"lead_in_days": -1.0}, "lead-in -1 d"),
        ({"history": (np.array([1.0]), np.array([3.0]))}, "after the simulation's start"),
        ({"history": (np.array([-1.0]), np.array([np.nan]))}, "all finite"),
    ],
)
def test_impossible_requests_are_refused(change, words):
    request = {"duration_days": 10.0, **LAW, **change}
    with pytest.raises(InputError, match=words):
        simulate(TRUTH, rng=np.random.default_rng(0), **request)


def test_a_world_without_events_is_empty():
    world = simulate(replace(TRUTH, mu_per_day=0.0), 10.0, np.random.default_rng(0), **LAW)
    assert len(world.times_days) == len(world.magnitudes) == len(world.generation) == 0
