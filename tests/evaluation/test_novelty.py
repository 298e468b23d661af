"""The label-free score: no bias from the fit, nothing outside the plane missed, bad columns named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.evaluation import novelty as module
from seisprobe.evaluation.novelty import Apart, Columns, brought_to_unit, novelty, regress_out, select_columns
from seisprobe.evaluation.scores import auc_percentile
from support.worlds import ar1

K = 3


def names(d: int) -> tuple[str, ...]:
    return tuple(f"x{j}" for j in range(d))


def noise(rng: np.random.Generator, rows: int, columns: int, memory: float) -> np.ndarray:
    """Rows of factors with falling spread, and white noise (PROTOCOL 8: sd 3 … 0.3, over √60, 0.3 white)."""
    factors = ar1(rows, memory, rng, 60) if memory else rng.standard_normal((rows, 60))
    spread = np.linspace(3.0, 0.3, 60) / np.sqrt(60)
    return (factors * spread) @ rng.standard_normal((60, columns)) + 0.3 * rng.standard_normal((rows, columns))


def null_auc(seed: int, background: int, columns: int, memory: float, shift: float = 0.0) -> float:
    """AUC of K windows at random places of noise, novelty fitted on all windows."""
    rng = np.random.default_rng([seed, background, columns])
    x = noise(rng, background + K, columns, memory)
    positive = np.zeros(len(x), dtype=bool)
    positive[rng.choice(len(x), K, replace=False)] = True
    if shift:
        direction = rng.standard_normal(columns)
        x[positive] += shift * x.std() * direction
    scores = novelty([Columns(x, names(columns))], np.ones(len(x), dtype=bool)).scores
    return auc_percentile(scores[positive], scores[~positive])


@pytest.mark.parametrize("memory", [0.0, 12.0])
@pytest.mark.parametrize(("background", "worlds"), [(200, 400), (1000, 400)])
def test_on_noise_novelty_is_at_chance(background, worlds, memory):
    columns = 24  # more than 20: components and residual; the full width is among the slow tests
    aucs = [null_auc(seed, background, columns, memory) for seed in range(worlds)]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.03 if worlds >= 400 else 0.05)


def test_on_noise_of_1536_columns_novelty_is_at_chance():
    aucs = [null_auc(seed, 200, 1536, 0.0) for seed in range(16)]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0.0, 12.0])
@pytest.mark.parametrize("background", [200, 1000])
def test_on_noise_of_1152_columns_novelty_is_at_chance(background, memory):
    aucs = [null_auc(seed, background, 1152, memory) for seed in range(400)]
    assert 0.47 <= np.mean(aucs) <= 0.53


@pytest.mark.slow
def test_a_shift_among_1152_columns_is_found():
    assert np.mean([null_auc(seed, 200, 1152, 0.0, shift=0.85) for seed in range(20)]) > 0.8


@pytest.mark.slow
def test_on_noise_of_1536_columns_novelty_is_at_chance_over_200_worlds():
    assert np.mean([null_auc(seed, 200, 1536, 0.0) for seed in range(200)]) == pytest.approx(0.5, abs=0.04)


def test_fitted_on_the_background_alone_it_would_be_biased():
    # why the positives are in the fit: the rule that this replaces, on the same noise
    aucs = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = noise(rng, 200 + K, 200, 0.0)
        fitted = np.arange(len(x)) >= K
        scores = novelty([Columns(x, names(200))], fitted).scores
        aucs.append(auc_percentile(scores[:K], scores[K:]))
    assert abs(np.mean(aucs) - 0.5) > 0.06


def test_a_shift_in_a_random_direction_is_found_by_the_residual_column_alone(monkeypatch):
    seen = np.mean([null_auc(seed, 200, 300, 0.0, shift=0.85) for seed in range(24)])
    reduced = module._reduced

    def without_residual(values, fitted):
        return reduced(values, fitted)[:, :-1]

    monkeypatch.setattr(module, "_reduced", without_residual)
    blind = np.mean([null_auc(seed, 200, 300, 0.0, shift=0.85) for seed in range(24)])
    assert seen > 0.8
    assert blind < 0.7
    assert seen - blind > 0.2


def test_a_wide_modality_does_not_drown_a_narrow_one():
    aucs = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        wide, narrow = 50 * noise(rng, 63, 400, 0.0), rng.standard_normal((63, 4))
        narrow[:K] += 2.0
        both = novelty([Columns(wide, names(400)), Columns(narrow, names(4))], np.ones(63, dtype=bool)).scores
        aucs.append(auc_percentile(both[:K], both[K:]))
    assert np.mean(aucs) > 0.85  # under 0.6 where each modality keeps its own variance


def test_scores_do_not_depend_on_units_or_on_the_order_of_windows():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 5)) ** 3
    fitted = rng.random(150) < 0.8
    scores = novelty([Columns(x, names(5))], fitted).scores
    moved = novelty([Columns(x * [1e-6, 1, 1e5, 3, 2] + 7, names(5))], fitted).scores
    np.testing.assert_allclose(moved, scores, rtol=1e-9)
    order = rng.permutation(150)
    np.testing.assert_allclose(novelty([Columns(x[order], names(5))], fitted[order]).scores, scores[order], rtol=1e-9)


def test_only_fitted_windows_decide_and_all_are_scored():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((100, 3))
    fitted = np.arange(100) < 80
    scores = novelty([Columns(x, names(3))], fitted).scores
    x[90] = 1e6
    again = novelty([Columns(x, names(3))], fitted).scores
    assert np.delete(again, 90).tolist() == np.delete(scores, 90).tolist()
    assert np.isfinite(scores).all()
    assert again[90] == again.max()


def test_constant_and_missing_columns_are_left_out_and_named():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 5))
    x[:, 1] = 3.0
    x[:, 2] = np.nan
    x[:11, 3] = np.nan  # 5.5%
    x[:10, 4] = np.nan  # 5%: stays, and these windows have no score
    result = novelty([Columns(x, ("a", "flat", "void", "thin", "kept"))], np.ones(200, dtype=bool))
    assert result.left_out == (
        "flat (constant)", "void (missing in 100% of windows)", "thin (missing in 6% of windows)"
    )  # fmt: skip
    assert np.isnan(result.scores).sum() == 10
    expected = novelty([Columns(x[:, [0, 4]], ("a", "kept"))], np.ones(200, dtype=bool)).scores
    np.testing.assert_allclose(result.scores, expected)


def test_an_outage_is_no_missing_value():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, 2))
    x[:40] = np.nan  # no row there
    present = np.arange(200) >= 40
    everywhere = np.ones(200, dtype=bool)
    assert select_columns(Columns(x, names(2)), everywhere)[0].names == ()
    usable, gone = select_columns(Columns(x, names(2), present=present), everywhere)
    assert (usable.names, gone) == (names(2), ())
    scores = novelty([Columns(x, names(2), present=present)], everywhere).scores
    assert np.isnan(scores).tolist() == (~present).tolist()


def test_nothing_to_fit_gives_nan_everywhere():
    for table in (np.full((9, 3), np.nan), np.column_stack([np.ones(9), np.full(9, np.nan)]), np.empty((9, 0))):
        assert np.isnan(novelty([Columns(table, names(table.shape[1]))], np.ones(9, dtype=bool)).scores).all()
    assert np.isnan(novelty([Columns(np.eye(9), names(9))], np.zeros(9, dtype=bool)).scores).all()


def test_constant_columns_tell_no_window_from_another():
    table = np.ones((9, 3))
    table[2] = np.nan
    scores = novelty([Columns(table, names(3))], np.arange(9) != 2).scores
    assert np.isnan(scores).tolist() == [i == 2 for i in range(9)]
    assert (scores[np.arange(9) != 2] == 0).all()


def test_two_windows_at_the_same_place_have_the_same_score():
    rng = np.random.default_rng(4)
    x = np.repeat(rng.standard_normal((60, 30)), 2, axis=0)
    scores = novelty([Columns(x, names(30))], np.ones(120, dtype=bool)).scores
    np.testing.assert_allclose(scores[::2], scores[1::2], rtol=1e-9)


@pytest.mark.parametrize(("rows", "columns", "rank"), [(60, 200, 60), (60, 200, 3), (12, 900, 12), (300, 40, 40)])
def test_axes_of_wide_tables_are_those_of_singular_values(rows, columns, rank, monkeypatch):
    rng = np.random.default_rng([rows, columns, rank])
    x = 100 + rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    x += (1e-3 if rank == 3 else 1e-13) * rng.standard_normal((rows, columns))  # else two axes have no variance
    fitted = np.arange(rows) >= 2
    quick = novelty([Columns(x, names(columns))], fitted).scores
    monkeypatch.setattr(module, "LEAST_SHARE", np.inf)
    np.testing.assert_allclose(quick, novelty([Columns(x, names(columns))], fitted).scores, rtol=1e-8)


# --- each window fitted without those near it ------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(30, 80), columns=st.integers(2, 5))
def test_apart_is_a_fit_of_each_window_without_those_near_it(seed, n, columns):
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(seed)
    ends, (low, high) = rng.permutation(np.sort(rng.integers(0, 400, n))), (-20, 35)
    fitted = rng.random(n) < 0.9
    made = Columns(rng.standard_normal((n, columns)) * rng.uniform(0.1, 9, columns), names(columns))
    table, _ = brought_to_unit(made, fitted)
    _, shrinkage = ledoit_wolf(table[fitted])
    expected = []
    for i in range(n):
        later = ends - ends[i]
        used = fitted & ~((later > low) & (later <= high))
        used[i] = fitted[i]
        mean, covariance = table[used].mean(axis=0), np.cov(table[used].T, bias=True)
        d = len(covariance)
        covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)
        away = table[i] - mean
        expected.append(np.sqrt(away @ np.linalg.inv(covariance) @ away))
    found = novelty([made], fitted, Apart(ends, low, high)).scores
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def zoned_auc(seed: int, *, apart: bool) -> float:
    """AUC of K windows of noise that lasts, whose neighbours are no background, as those in zones are none."""
    rng = np.random.default_rng(seed)
    n, memory = 1500, 12
    x = noise(rng, n, 5, float(memory))
    chosen = rng.choice(np.arange(40, n - 40), K, replace=False)
    ends = np.arange(n)
    fitted = (np.abs(ends[:, None] - chosen) > 30).all(axis=1)
    background = fitted.copy()
    fitted[chosen] = True
    near = Apart(ends, -31, 30) if apart else None
    scores = novelty([Columns(x, names(5))], fitted, near).scores
    return auc_percentile(scores[chosen], scores[background])


def test_windows_in_zones_are_no_more_novel_than_others_once_fitted_apart():
    plain, apart = (np.array([zoned_auc(seed, apart=way) for seed in range(400)]) for way in (False, True))
    assert np.mean(apart) == pytest.approx(0.5, abs=4 * apart.std() / 20)
    assert np.mean(plain - apart) > 4 * (plain - apart).std() / 20


@given(st.integers(0, 1000))
def test_a_regression_apart_is_one_for_each_row_without_those_near_it(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 2)) * [1.0, 50.0] + [3.0, -400.0], rng.normal(size=(30, 3)) + 7.0
    fitted, ends = rng.random(30) < 0.8, np.cumsum(rng.integers(1, 4, 30))
    found = regress_out(y, x, fitted, Apart(ends, -4, 6))
    design = np.column_stack([np.ones(30), x])
    for i in range(30):
        near = (ends - ends[i] > -4) & (ends - ends[i] <= 6)
        own = fitted & (~near | (np.arange(30) == i))
        solution = np.linalg.lstsq(design[own], y[own], rcond=None)[0]
        assert found[i] == pytest.approx(y[i] - design[i] @ solution, abs=1e-8)
