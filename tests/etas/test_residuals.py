"""Transformed times and their test, left-out time included."""

import numpy as np
import pytest
from scipy.stats import kstest

from seisprobe.etas import EtasParameters, log_likelihood, observe, rate, residuals, simulate
from seisprobe.etas.likelihood import integrated_rate

TRUTH = EtasParameters(1.0, 0.012, 1.8, 0.005, 1.12, mc=2.0)
LAW = {"b": 1.0, "max_magnitude": 7.0}


@pytest.fixture(scope="module")
def world():
    return simulate(TRUTH, 300.0, np.random.default_rng(15), lead_in_days=100.0, **LAW)


@pytest.mark.parametrize("leave_out", [True, False])
def test_the_expected_number_is_the_integral_in_the_likelihood(world, leave_out):
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 300.0, leave_out_incomplete=leave_out)
    logs = np.log(rate(TRUTH, seen.times_days[seen.targets], world.times_days, world.magnitudes)).sum()
    assert residuals(TRUTH, seen).expected == pytest.approx(logs - log_likelihood(TRUTH, seen), rel=1e-9)


def test_each_transformed_time_is_the_integral_up_to_the_event(world):
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 300.0)
    result = residuals(TRUTH, seen)
    for index in (0, 5, 100, len(seen.targets) - 1):
        time = seen.times_days[seen.targets[index]]
        part = observe(world.times_days, world.magnitudes, 2.0, 0.0, time)
        assert result.transformed[index] == pytest.approx(residuals(TRUTH, part).expected, rel=1e-9)


def test_transformed_times_ascend_within_the_expected_number(world):
    result = residuals(TRUTH, observe(world.times_days, world.magnitudes, 2.0, 0.0, 300.0))
    assert (np.diff(result.transformed) >= 0).all()
    assert result.transformed[0] >= 0
    assert result.transformed[-1] <= result.expected


def test_statistic_and_p_value_are_those_of_scipy(world):
    result = residuals(TRUTH, observe(world.times_days, world.magnitudes, 2.0, 0.0, 300.0))
    reference = kstest(result.transformed / result.expected, "uniform")
    assert result.ks_statistic == pytest.approx(reference.statistic, rel=1e-12)
    assert result.ks_p == pytest.approx(reference.pvalue, rel=1e-6)


def test_left_out_time_adds_nothing(world):
    """With events of the left-out time taken away, what is left must still be Poisson: cutting is no trick."""
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 300.0)
    edges = np.sort(np.concatenate([seen.ends_days[:-1], seen.starts_days[1:]]))
    assert len(edges)
    grown = integrated_rate(TRUTH, edges, seen)
    hidden = (grown[1::2] - grown[::2]).sum()
    every = observe(world.times_days, world.magnitudes, 2.0, 0.0, 300.0, leave_out_incomplete=False)
    assert hidden > 0
    assert residuals(TRUTH, seen).expected + hidden == pytest.approx(residuals(TRUTH, every).expected, rel=1e-9)


def test_a_wrong_model_fails(world):
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 300.0)
    poisson = EtasParameters(len(seen.targets) / 300.0, 0.0, 1.0, 0.01, 1.1, mc=2.0)
    assert residuals(poisson, seen).ks_p < 1e-4
    assert residuals(TRUTH, seen).ks_p > 0.01


def test_without_targets_there_is_no_test():
    seen = observe(np.array([-1.0]), np.array([3.0]), 2.0, 0.0, 10.0)
    result = residuals(TRUTH, seen)
    assert len(result.transformed) == 0
    assert np.isnan(result.ks_p)
