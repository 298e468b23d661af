"""What K mainshocks can show: the rows of PROTOCOL 8, closed forms, and the coverage of the interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from seisprobe.evaluation.power import critical_auc, detectable_auc, inversion_interval, percentile_law

K = (2, 3, 5, 8, 10, 12, 20, 30)
CRITICAL = {
    1: (0.842, 0.777, 0.713, 0.668, 0.650, 0.637, 0.606, 0.587),
    12: (0.954, 0.903, 0.826, 0.762, 0.736, 0.716, 0.669, 0.638),
}
DETECTABLE = {
    1: (0.907, 0.860, 0.794, 0.740, 0.717, 0.700, 0.657, 0.629),
    12: (0.969, 0.941, 0.884, 0.822, 0.794, 0.772, 0.716, 0.679),
}


@pytest.mark.parametrize("tests", [1, 12])
@pytest.mark.parametrize("index", range(len(K)))
def test_critical_and_detectable_auc_are_those_of_the_protocol(tests, index):
    sizes = (1,) * K[index]
    critical = critical_auc(sizes, 0.05 / tests)
    assert critical == pytest.approx(CRITICAL[tests][index], abs=0.0015)
    assert detectable_auc(sizes, critical) == pytest.approx(DETECTABLE[tests][index], abs=0.0015)


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01, 0.05 / 12])
def test_critical_auc_has_the_closed_forms_of_few_blocks(alpha):
    assert critical_auc((1,), alpha) == pytest.approx(1 - alpha, abs=1e-5)
    assert critical_auc((3,), alpha) == pytest.approx(1 - alpha, abs=1e-5)  # one block, whatever its size
    assert critical_auc((1, 1), alpha) == pytest.approx(1 - np.sqrt(2 * alpha) / 2, abs=1e-5)
    assert critical_auc((1, 1, 1), alpha) == pytest.approx(1 - (6 * alpha) ** (1 / 3) / 3, abs=1e-5)
    assert critical_auc((1, 2), alpha) == pytest.approx(1 - np.sqrt(4 * alpha / 9), abs=1e-5)


def test_the_law_equals_simulation_with_blocks_that_share_one_draw():
    rng = np.random.default_rng(1)
    sizes, auc = (1, 1, 2, 3), 0.7
    z = rng.standard_normal((200_000, len(sizes)))
    mean = ndtr(z + np.sqrt(2) * ndtri(auc)) @ np.array(sizes) / sum(sizes)
    law = percentile_law(sizes)
    at = int(np.argmin(np.abs(law.auc - auc)))
    for c in (0.4, 0.6, 0.8, 0.9):
        assert law.exceedance(c)[at] == pytest.approx(np.mean(mean >= c), abs=0.004)


def test_the_mean_of_the_percentiles_is_the_true_auc():
    law = percentile_law((1, 2))
    for row in (20, 101, 150, 190):
        density = np.diff(law.cdf[row].astype(float))
        middle = (law.value[1:] + law.value[:-1]) / 2
        assert density @ middle == pytest.approx(law.auc[row], abs=1e-3)


def test_detectable_auc_is_one_where_nothing_reaches_the_critical_value():
    assert detectable_auc((1, 1), 1.0) == 1.0
    assert detectable_auc((1, 1), 0.99999) == 1.0


@pytest.mark.parametrize(("sizes", "auc"), [((1, 1, 1), 0.5), ((1, 1, 1), 0.8), ((1, 2), 0.7), ((1,) * 8, 0.75)])
def test_the_inversion_interval_covers_the_true_auc(sizes, auc):
    rng = np.random.default_rng(5)
    z = rng.standard_normal((1500, len(sizes)))
    observed = ndtr(z + np.sqrt(2) * ndtri(auc)) @ np.array(sizes) / sum(sizes)
    limits = np.array([inversion_interval(float(a), sizes) for a in observed])
    coverage = np.mean((limits[:, 0] <= auc) & (auc <= limits[:, 1]))
    assert 0.935 <= coverage <= 0.975  # 95%, and three standard errors of 1,500 worlds


@pytest.mark.parametrize("sizes", [(1,), (3,), (1, 2), (1, 1, 1), (1,) * 9])
def test_mainshocks_above_all_background_do_not_prove_a_perfect_score(sizes):
    low, high = inversion_interval(1.0, sizes)
    assert high == 1.0
    assert 0.5 < low < (0.9 if len(sizes) == 1 else 0.9985)
    mirror = inversion_interval(0.0, sizes)
    assert mirror[0] == 0.0
    assert mirror[1] == pytest.approx(1 - low, abs=0.005)


def test_the_interval_grows_with_the_auc_and_holds_it():
    low, high = np.array([inversion_interval(a, (1, 1, 2)) for a in np.linspace(0, 1, 41)]).T
    assert (np.diff(low) >= -1e-9).all()
    assert (np.diff(high) >= -1e-9).all()
    assert (low <= np.linspace(0, 1, 41)).all()
    assert (high >= np.linspace(0, 1, 41)).all()
