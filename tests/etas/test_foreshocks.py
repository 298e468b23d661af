"""Published numbers: what clustering alone does to event counts before large events, and the weights that undo it."""

from dataclasses import replace

import numpy as np
import pytest

from seisprobe.etas import EtasParameters, branching_ratio, rate, simulate

LAW = {"b": 1.0, "max_magnitude": 7.0}
HOURS = (2, 6, 12, 24)
DAYS = 1095.0
FIRST_DAY = 30.0
GAP_DAYS = 120 / 86400
# Rows "pure temporal ETAS": (mu per day, branching ratio over infinite time): pooled percentile by window length.
ROWS = {(2.0, 0.7): (0.604, 0.607, 0.601, 0.588), (1.0, 0.9): (0.658, 0.667, 0.661, 0.651)}


def model(mu, ratio):
    unit = EtasParameters(mu, 1.0, 1.8, 0.005, 1.12, mc=2.0)
    return replace(unit, k=ratio / branching_ratio(unit, **LAW))


def count_before(events, ends, hours):
    return np.searchsorted(events, ends, "left") - np.searchsorted(events, ends - hours / 24, "left")


def mid_ranks(values, background):
    ordered = np.sort(background)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(ordered))


def pooled_percentiles(parameters, n_catalogs, seed):
    """Return the mean percentile of the count before M >= 5.5 among uniform times, by window, and its error."""
    rng = np.random.default_rng(seed)
    sums, n = np.zeros((n_catalogs, len(HOURS))), np.zeros(n_catalogs)
    for world in range(n_catalogs):
        made = simulate(parameters, DAYS, rng, **LAW)
        events = made.times_days
        large = events[(made.magnitudes >= 5.5) & (events > FIRST_DAY)]
        ends = rng.uniform(FIRST_DAY, DAYS, 1000)
        n[world] = len(large)
        for column, hours in enumerate(HOURS):
            ranks = mid_ranks(count_before(events, large, hours), count_before(events, ends, hours))
            sums[world, column] = ranks.sum()
    mean = sums.sum(axis=0) / n.sum()
    return mean, np.sqrt(((sums - n[:, None] * mean) ** 2).sum(axis=0)) / n.sum()


def weighted_percentiles(parameters, n_catalogs, seed):
    """Return the same against times weighted by lambda at the time pointed at, weights summed over all catalogs."""
    rng = np.random.default_rng(seed)
    background = [np.zeros(1) for _ in HOURS]
    positives = [[] for _ in HOURS]
    for _ in range(n_catalogs):
        made = simulate(parameters, DAYS, rng, **LAW)
        events = made.times_days
        large = events[(made.magnitudes >= 5.5) & (events > FIRST_DAY)]
        ends = rng.uniform(FIRST_DAY, DAYS, 1000) - GAP_DAYS
        weights = rate(parameters, ends + GAP_DAYS, events, made.magnitudes)
        for column, hours in enumerate(HOURS):
            new = np.bincount(count_before(events, ends, hours), weights)
            old = background[column]
            background[column] = np.pad(old, (0, max(len(new) - len(old), 0)))
            background[column][: len(new)] += new
            positives[column].extend(count_before(events, large - GAP_DAYS, hours).tolist())
    result = []
    for weight, counts in zip(background, positives, strict=True):
        weight = np.pad(weight, (0, max(max(counts) + 1 - len(weight), 0)))
        below = np.cumsum(weight) - weight / 2
        result.append(float((below[counts] / weight.sum()).mean()))
    return np.array(result)


@pytest.mark.parametrize(("mu", "ratio"), list(ROWS))
def test_counts_before_large_events_are_high_in_pure_clustering(mu, ratio):
    mean, error = pooled_percentiles(model(mu, ratio), 150, seed=1)
    assert np.abs(mean - ROWS[mu, ratio]).max() < 3.5 * error.max()
    assert error.max() < 0.03
    assert mean.min() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("mu", "ratio"), list(ROWS))
def test_counts_before_large_events_reproduce_the_published_rows(mu, ratio):
    mean, _ = pooled_percentiles(model(mu, ratio), 4000, seed=2)
    assert mean == pytest.approx(np.array(ROWS[mu, ratio]), abs=0.02)


@pytest.mark.parametrize(("mu", "ratio"), list(ROWS))
def test_weights_by_the_rate_bring_them_back_to_one_half(mu, ratio):
    assert weighted_percentiles(model(mu, ratio), 150, seed=3) == pytest.approx(np.full(4, 0.5), abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("mu", "ratio"), list(ROWS))
def test_weights_by_the_rate_bring_them_back_to_one_half_in_2000_catalogs(mu, ratio):
    assert weighted_percentiles(model(mu, ratio), 2000, seed=4) == pytest.approx(np.full(4, 0.5), abs=0.02)
