"""Log-likelihood, gradient, rate and left-out intervals against plain double loops."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from seisprobe.catalog import completeness_at
from seisprobe.errors import DataFileError, InputError
from seisprobe.etas import (
    PARAMETER_NAMES,
    EtasParameters,
    incomplete_intervals,
    log_likelihood,
    log_likelihood_gradient,
    observe,
    rate,
    simulate,
)

TRUTH = EtasParameters(1.0, 0.012, 1.8, 0.005, 1.12, mc=2.0)
OTHERS = (
    TRUTH,
    EtasParameters(0.3, 0.05, 0.4, 0.2, 0.9, mc=2.0),
    EtasParameters(2.0, 0.03, 1.2, 0.0005, 1.0, mc=2.0),
)


@pytest.fixture(scope="module")
def world():
    """About 900 events from day -100 on, some of them large enough to hide others, one pair at the same instant."""
    made = simulate(TRUTH, 300.0, np.random.default_rng(15), b=1.0, max_magnitude=7.0, lead_in_days=100.0)
    times, magnitudes = made.times_days.copy(), made.magnitudes
    times[500] = times[499]
    assert 600 < len(times) < 1500
    assert magnitudes.max() > 5.0
    return times, magnitudes


def kernel(given, days, magnitude):
    return given.k * math.exp(given.alpha * (magnitude - given.mc)) * (days + given.c_days) ** -given.p


def kernel_integral(given, days, magnitude):
    q = 1 - given.p
    c = given.c_days
    area = math.log((days + c) / c) if q == 0 else ((days + c) ** q - c**q) / q
    return given.k * math.exp(given.alpha * (magnitude - given.mc)) * area


def direct_log_likelihood(given, times, magnitudes, start, end, gaps):
    """Return the log-likelihood term by term, in plain Python, over (start, end] without the gaps."""

    def hidden(t):
        return any(a < t <= b for a, b in gaps)

    logs = []
    for t in times:
        if start < t <= end and not hidden(t):
            parts = [kernel(given, t - s, m) for s, m in zip(times, magnitudes, strict=True) if s < t]
            logs.append(math.log(math.fsum([given.mu_per_day, *parts])))
    edges = [start, *(x for gap in gaps for x in gap), end]
    areas = []
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        areas.append(given.mu_per_day * (b - a))
        for s, m in zip(times, magnitudes, strict=True):
            if s < b:
                areas.append(kernel_integral(given, b - s, m))
                areas.append(-kernel_integral(given, max(a - s, 0.0), m))
    return math.fsum(logs) - math.fsum(areas)


@pytest.mark.parametrize("given", OTHERS)
@pytest.mark.parametrize("leave_out", [True, False])
def test_log_likelihood_equals_direct_summation(world, given, leave_out):
    times, magnitudes = world
    seen = observe(times, magnitudes, 2.0, 0.0, 300.0, leave_out_incomplete=leave_out)
    gaps = list(zip(seen.ends_days[:-1], seen.starts_days[1:], strict=True))
    assert bool(gaps) == leave_out
    direct = direct_log_likelihood(given, times, magnitudes, 0.0, 300.0, gaps)
    assert log_likelihood(given, seen) == pytest.approx(direct, rel=1e-9)


@pytest.mark.parametrize("given", OTHERS)
def test_gradient_equals_finite_differences(world, given):
    seen = observe(*world, 2.0, 0.0, 300.0)
    value, gradient = log_likelihood_gradient(given, seen)
    assert value == log_likelihood(given, seen)
    for index, name in enumerate(PARAMETER_NAMES):

        def shifted(step, name=name):
            return log_likelihood(replace(given, **{name: getattr(given, name) * math.exp(step)}), seen)

        # Five points: the error of the difference itself stays near 1e-9.
        h = 1e-3
        difference = (8 * (shifted(h) - shifted(-h)) - (shifted(2 * h) - shifted(-2 * h))) / (12 * h)
        assert gradient[index] == pytest.approx(difference, rel=1e-6, abs=1e-6 * abs(gradient).max())


def test_order_of_events_and_smaller_events_do_not_matter(world):
    times, magnitudes = world
    shuffled = np.random.default_rng(1).permutation(len(times))
    seen = observe(times[shuffled], magnitudes[shuffled], 2.0, 0.0, 300.0)
    more_times, more_sizes = np.append(times, 50.0), np.append(magnitudes, 1.9)
    more = observe(more_times, more_sizes, 2.0, 0.0, 300.0)
    assert (
        log_likelihood(TRUTH, seen)
        == log_likelihood(TRUTH, more)
        == log_likelihood(TRUTH, observe(times, magnitudes, 2.0, 0.0, 300.0))
    )


def test_rate_equals_direct_summation_at_unordered_times_and_at_events(world):
    times, magnitudes = world
    wanted = np.concatenate([np.random.default_rng(2).uniform(-150, 350, 200), times[495:505]])
    direct = [
        TRUTH.mu_per_day + sum(kernel(TRUTH, t - s, m) for s, m in zip(times, magnitudes, strict=True) if s < t)
        for t in wanted
    ]
    assert rate(TRUTH, wanted, times, magnitudes) == pytest.approx(direct, rel=1e-12)


def test_rate_of_many_times_is_the_same_as_one_by_one(world):
    times, magnitudes = world
    wanted = np.linspace(-1.0, 300.0, 5000)
    together = rate(TRUTH, wanted, times, magnitudes)
    alone = [rate(TRUTH, wanted[i : i + 1], times, magnitudes)[0] for i in range(0, 5000, 97)]
    assert together[::97] == pytest.approx(alone, rel=1e-12)


def test_the_integral_in_the_likelihood_is_that_of_the_rate(world):
    times, magnitudes = world
    few = slice(0, 60)
    seen = observe(times[few], magnitudes[few], 2.0, -90.0, -80.0, leave_out_incomplete=False)
    knots = np.unique(np.concatenate([[-90.0, -80.0], seen.times_days[seen.targets]]))
    area = sum(
        quad(lambda t: rate(TRUTH, np.array([t]), times[few], magnitudes[few])[0], a, b, epsrel=1e-8, limit=400)[0]
        for a, b in pairwise(knots)
    )
    logs = np.log(rate(TRUTH, seen.times_days[seen.targets], times[few], magnitudes[few])).sum()
    assert log_likelihood(TRUTH, seen) == pytest.approx(logs - area, rel=1e-5)


def test_left_out_time_is_where_completeness_is_raised():
    times, magnitudes = np.array([3.0, 3.02, 5.0, 5.1]), np.array([6.5, 5.6, 4.0, 4.65])
    starts, ends = incomplete_intervals(times, magnitudes, 2.5)
    grid = np.arange(2.9, 5.3, 1e-4)
    day = 86_400_000_000
    raised = completeness_at((grid * day).astype(np.int64), (times * day).astype(np.int64), magnitudes, 2.5) > 2.5
    inside = ((grid[:, None] > starts) & (grid[:, None] <= ends)).any(axis=1)
    assert len(starts) == 2
    assert (raised != inside).sum() <= 2 * len(starts)  # grid points within rounding of an edge


def test_left_out_events_are_counted_and_still_trigger(world):
    times, magnitudes = world
    seen = observe(times, magnitudes, 2.0, 0.0, 300.0)
    every = observe(times, magnitudes, 2.0, 0.0, 300.0, leave_out_incomplete=False)
    assert seen.left_out_events > 0
    assert len(seen.targets) + seen.left_out_events == len(every.targets)
    assert len(seen.times_days) == len(every.times_days)
    assert seen.observed_days + seen.left_out_days == pytest.approx(300.0)
    starts, ends = incomplete_intervals(times, magnitudes, 2.0)
    clipped = np.clip(ends, 0, 300) - np.clip(starts, 0, 300)
    assert seen.left_out_days == pytest.approx(clipped.sum())


@pytest.mark.parametrize(("column", "word"), [(0, "time"), (1, "magnitude")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_times_and_magnitudes_that_are_not_finite_are_refused(column, word, value):
    columns = [np.arange(5.0), np.full(5, 3.0)]
    columns[column][3] = value
    with pytest.raises(DataFileError, match=f"event 3 has {word} {value}"):
        observe(*columns, 2.0, 0.0, 10.0)
    with pytest.raises(DataFileError, match=f"event 3 has {word} {value}"):
        rate(TRUTH, np.array([1.0]), *columns)


def test_periods_and_lists_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="end 1 d is not after start 2 d"):
        observe(np.array([1.0]), np.array([3.0]), 2.0, 2.0, 1.0)
    with pytest.raises(InputError, match="one length"):
        observe(np.array([1.0, 2.0]), np.array([3.0]), 2.0, 0.0, 1.0)
    with pytest.raises(DataFileError, match="no complete time at Mc 2; raise"):
        observe(np.array([0.0, 0.5]), np.array([8.0, 8.0]), 2.0, 0.0, 1.0)


def test_a_rate_without_events_is_the_background():
    assert rate(TRUTH, np.array([1.0, 2.0]), np.empty(0), np.empty(0)).tolist() == [1.0, 1.0]
