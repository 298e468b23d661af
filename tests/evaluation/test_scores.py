"""The statistic of every cell: mid-rank percentiles, AUC, DeLong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seisprobe.evaluation.scores import (
    auc_percentile,
    delong,
    delong_paired,
    percentiles,
    percentiles_of_few,
    round_significant,
)
from support.shared import shared_file

small = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 1.0 + 1e-12, 3.0, 1e5])
several = st.lists(small, min_size=1, max_size=12)
with_nan = st.lists(st.one_of(small, st.just(float("nan"))), min_size=1, max_size=12)


def naive_percentile(score: float, background: list[float], weights: list[float]) -> float:
    total = below = 0.0
    for b, w in zip(background, weights, strict=True):
        if b == b and w > 0:
            total += w
            s, t = float(f"{score:.8e}"), float(f"{b:.8e}")
            below += w * (1.0 if t < s else 0.5 if t == s else 0.0)
    return below / total if total and score == score else float("nan")


@given(with_nan, with_nan, st.data())
def test_percentiles_are_the_weighted_share_below_with_half_of_ties(scores, background, data):
    weights = data.draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=len(background),
                                 max_size=len(background)))  # fmt: skip
    found = percentiles(scores, background, weights)
    expected = [naive_percentile(s, background, weights) for s in scores]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


@given(with_nan, several, st.data())
def test_counting_gives_what_sorting_gives(scores, background, data):
    weights = data.draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=len(background),
                                 max_size=len(background)))  # fmt: skip
    np.testing.assert_allclose(
        percentiles_of_few(scores, background, weights), percentiles(scores, background, weights), rtol=0, atol=1e-15
    )


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=8))
def test_counting_sees_ties_that_differ_in_the_last_bits(numbers):
    background = np.array(numbers) / 7.0
    scores = background[:1] * (1 + 4e-16)
    assert percentiles_of_few(scores, background) == percentiles(scores, background)


def test_a_score_of_the_background_itself_has_mean_percentile_one_half():
    rng = np.random.default_rng(0)
    values, weights = rng.integers(0, 9, 400).astype(float), rng.gamma(1.0, size=400)
    assert np.average(percentiles(values, values, weights), weights=weights) == pytest.approx(0.5, abs=1e-13)


def test_sums_in_another_order_stay_ties_and_nothing_else_does():
    assert round_significant(0.1 + 0.2) == round_significant(0.3)
    assert round_significant(1.000000012) != round_significant(1.0)
    assert np.isnan(round_significant(np.nan))
    assert round_significant(np.inf) == np.inf


def test_auc_without_scores_or_without_background_is_nan():
    assert np.isnan(auc_percentile([np.nan], [1.0]))
    assert np.isnan(auc_percentile([1.0], [np.nan]))
    assert np.isnan(auc_percentile([1.0], [1.0], weights=[0.0]))
    assert auc_percentile([1.0, np.nan], [0.0, 2.0]) == 0.5


def naive_delong(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    positive, negative = scores[labels == 1], scores[labels == 0]
    kernel = np.array([[1.0 if p > n else 0.5 if p == n else 0.0 for n in negative] for p in positive])
    return kernel.mean(), kernel.mean(axis=1), kernel.mean(axis=0)


def test_delong_equals_all_pairs_on_seeded_data_with_ties():
    rng = np.random.default_rng(3)
    labels = (rng.random(90) < 0.4).astype(int)
    a = np.round(rng.normal(size=90) + labels, 1)
    b = np.round(rng.normal(size=90) + 0.5 * labels, 1)
    auc_a, up_a, down_a = naive_delong(a, labels)
    auc_b, up_b, down_b = naive_delong(b, labels)
    variance = up_a.var(ddof=1) / len(up_a) + down_a.var(ddof=1) / len(down_a)
    found = delong(a, labels)
    assert found.auc == pytest.approx(auc_a, abs=1e-14)
    assert found.variance == pytest.approx(variance, abs=1e-14)
    assert found.z == pytest.approx((auc_a - 0.5) / np.sqrt(variance), abs=1e-10)
    up, down = up_a - up_b, down_a - down_b
    paired_variance = up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down)
    paired = delong_paired(a, b, labels)
    assert paired.auc == pytest.approx(auc_a - auc_b, abs=1e-14)
    assert paired.variance == pytest.approx(paired_variance, abs=1e-14)


def test_delong_reproduces_the_published_values_of_the_aneurysm_data():
    # PROTOCOL 8: pROC's aSAH data and pROC's own test values
    table = pd.read_csv(shared_file("reference/asah_113.csv"))
    labels = table.iloc[:, 0].to_numpy()
    published = {
        "wfns": (0.823678861788618, 0.00146991470882363),
        "s100b": (0.7313685636856369, 0.00266868245717244),
        "ndka": (0.611957994579946, 0.0031908105493913),
    }
    for name, (auc, variance) in published.items():
        found = delong(table[name], labels)
        assert found.auc == pytest.approx(auc, abs=1e-12)
        assert found.variance == pytest.approx(variance, abs=1e-12)
    paired = delong_paired(table["wfns"], table["s100b"], labels)
    assert paired.z == pytest.approx(2.20898359144091, abs=1e-9)
    assert paired.p == pytest.approx(0.0271757822291882, abs=1e-10)


def test_delong_needs_two_of_each_class_and_knows_what_has_no_variance():
    with pytest.raises(ValueError, match="two of each class"):
        delong([1.0, 2.0, 3.0], [1, 0, 0])
    perfect = delong([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1])
    assert (perfect.auc, perfect.variance, perfect.z, perfect.p) == (1.0, 0.0, np.inf, 0.0)
    assert delong([1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1]).p == 1.0
