"""Times of ETAS: a gradient, a fit, a rate on a fine grid, a synthetic world (pytest benchmarks/bench_etas.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seisprobe.etas import EtasParameters, FitOptions, branching_ratio, fit_etas, rate, simulate
from seisprobe.etas.likelihood import Likelihood, observe

LAW = {"b": 1.0, "max_magnitude": 7.0}
TRUTH = EtasParameters(1.0, 0.0198, 1.5, 0.01, 1.2, mc=2.0)


def world(n_events):
    """The first `n_events` events of a long catalog."""
    made = simulate(TRUTH, n_events * 0.6, np.random.default_rng(1), **LAW)
    return made.times_days[:n_events], made.magnitudes[:n_events]


@pytest.mark.parametrize("n_events", [1000, 5000])
def test_likelihood_and_gradient(benchmark, n_events):
    times, magnitudes = world(n_events)
    likelihood = Likelihood(observe(times, magnitudes, 2.0, 0.0, times[-1]))
    benchmark(likelihood, TRUTH)


@pytest.mark.parametrize("n_events", [1000, 3000])
def test_fit_from_one_start(benchmark, n_events):
    times, magnitudes = world(n_events)
    options = FitOptions(starts=1)
    benchmark.pedantic(
        lambda: fit_etas(times, magnitudes, 2.0, 0.0, times[-1], options=options), rounds=3, warmup_rounds=1
    )


def test_rate_at_17500_times_of_5000_events(benchmark):
    times, magnitudes = world(5000)
    hours = np.linspace(0.0, times[-1], 17_500)
    benchmark.pedantic(lambda: rate(TRUTH, hours, times, magnitudes), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("ratio", [0.7, 0.95])
def test_simulation_of_about_1000_events(benchmark, ratio):
    parameters = replace(TRUTH, k=TRUTH.k * ratio / branching_ratio(TRUTH, **LAW), mu_per_day=1.3 * (1 - ratio))
    rng = np.random.default_rng(2)
    benchmark(lambda: simulate(parameters, 730.0, rng, lead_in_days=365.0, **LAW))
