"""A score as an alarm, counted again by brute force on time bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seisprobe.evaluation.alarms import (
    alarm_figures,
    area_skill_score,
    false_alarm_runs,
    information_gain,
    molchan_curve,
)
from seisprobe.evaluation.scores import percentiles

HOUR_US = 3_600_000_000


def test_area_skill_score_on_time_bins_is_the_identity_with_auc():
    # brute force: the area under the Molchan curve of all bins, every bin both measured and, in K of them, an event
    rng = np.random.default_rng(2)
    for n, k in ((60, 1), (200, 7), (500, 40)):
        scores = np.round(rng.normal(size=n), 1)
        hits = np.zeros(n, dtype=bool)
        hits[rng.choice(n, k, replace=False)] = True
        levels = np.unique(scores)[::-1]
        tau = np.concatenate([[0.0], [np.mean(scores >= c) for c in levels]])
        hit_rate = np.concatenate([[0.0], [np.mean(scores[hits] >= c) for c in levels]])
        area = np.trapezoid(hit_rate, tau)
        auc = percentiles(scores[hits], scores[~hits]).mean()
        assert area_skill_score(auc, k / n) == pytest.approx(area, abs=1e-12)


@given(st.integers(1, 8), st.integers(10, 60), st.integers(0, 10**6), st.sampled_from([0.5, 0.8, 1.0]))
def test_alarm_figures_equal_counting_bins(k, n, seed, recall):
    rng = np.random.default_rng(seed)
    background = np.round(rng.random(n), 1)
    u = np.round(rng.random(k), 1)
    weights = rng.integers(0, 3, n).astype(float)
    weights[0] = 1.0
    ends = np.arange(n) * HOUR_US
    found = alarm_figures(u, background[None], weights[None], ends, recall=recall, length_h=2.0, record_h=100.0 * k)
    most = k if k < 5 else next(m for m in range(1, k + 1) if m / k >= recall - 1e-12)
    assert found.threshold == sorted(u, reverse=True)[most - 1]
    hits = sum(x >= found.threshold for x in u) / k
    fpr = sum(w for b, w in zip(background, weights, strict=True) if b >= found.threshold) / weights.sum()
    fraction = 0.02 * hits + 0.98 * fpr
    assert found.recall == pytest.approx(hits)
    assert found.recall >= recall or k < 5
    assert found.false_positive_rate == pytest.approx(fpr)
    assert found.alarm_fraction == pytest.approx(fraction)
    assert found.precision == pytest.approx(0.02 * hits / fraction)
    assert found.gain == pytest.approx(hits / fraction)
    alarmed = [w > 0 and b >= found.threshold for b, w in zip(background, weights, strict=True)]
    runs = sum(now and not before for now, before in zip(alarmed, [False, *alarmed[:-1]], strict=True))
    assert found.false_alarms_per_year == pytest.approx(runs / (np.sum(weights > 0) / (365.25 * 24)))


def test_fewer_than_five_mainshocks_must_all_be_reached():
    u = np.array([0.9, 0.2, 0.8])
    found = alarm_figures(
        u, np.linspace(0, 1, 11)[None], np.ones((1, 11)), np.arange(11) * HOUR_US, recall=0.8, length_h=1, record_h=100
    )
    assert found.threshold == 0.2
    assert found.recall == 1.0
    assert found.false_positive_rate == pytest.approx(9 / 11)


def test_false_alarms_of_own_sets_are_counted_in_the_hours_of_each():
    ends = np.arange(8) * HOUR_US
    background = np.array([[1.0, 0.0, 1.0, 0.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.0, 1.0, 0, 0]])
    weights = np.array([[1.0] * 4 + [0.0] * 4, [0.0] * 4 + [1.0] * 4])
    found = alarm_figures(np.array([0.5, 0.6]), background, weights, ends, recall=1, length_h=1, record_h=100)
    assert found.false_alarms_per_year == pytest.approx((2 / 4 + 1 / 4) / 2 * 365.25 * 24)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_runs_are_counted_once(alarmed):
    text = "".join("x" if a else " " for a in alarmed)
    assert false_alarm_runs(np.array(alarmed)) == len(text.split())


def test_molchan_curve_goes_from_no_alarm_to_no_miss_and_bounds_one_minus_auc():
    u = np.array([0.3, 0.9, 0.75])
    tau, nu = molchan_curve(u)
    assert (tau[0], nu[0], tau[-1], nu[-1]) == (0.0, 1.0, 1.0, 0.0)
    assert (np.diff(tau) >= 0).all()
    assert (np.diff(nu) <= 0).all()
    assert np.trapezoid(nu, tau) == pytest.approx(1 - u.mean())  # area over the curve is the AUC


def test_information_gain_is_the_binormal_density_ratio_and_needs_three_blocks():
    from scipy.stats import norm

    u, blocks = np.array([0.9, 0.8, 0.7, 0.95]), np.array([1, 2, 2, 3])
    expected = []
    for k in range(4):
        shift = np.sqrt(2) * norm.ppf(np.mean(u[blocks != blocks[k]]))
        x = norm.ppf(u[k])
        expected.append(np.log(norm.pdf(x - shift) / norm.pdf(x)))
    assert information_gain(u, blocks) == pytest.approx(np.mean(expected))
    assert np.isnan(information_gain(u[:3], blocks[:3]))
    assert np.isfinite(information_gain(np.array([1.0, 1.0, 0.0]), np.array([1, 2, 3])))
