"""Logistic regression on held-out blocks: the optimum, what trains it, and what cannot reach it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seisprobe.evaluation import classifier
from seisprobe.evaluation.classifier import Candidates, make_classifier
from seisprobe.evaluation.classifier import held_out_percentiles as held_out
from seisprobe.evaluation.refitting import fit_folds
from seisprobe.evaluation.scores import percentiles
from seisprobe.evaluation.splits import leave_one_block_out

HOUR = 3_600_000_000


def held_out_percentiles(x, *rest):
    """Candidates of one place that all mainshocks share."""
    return held_out(Candidates.of_one_place(x), *rest)


def blocks_world(seed: int, n: int = 900, k: int = 6, columns: int = 4):
    """Candidates (hourly), positives with their first column raised, and the folds that hold out one at a time."""
    rng = np.random.default_rng(seed)
    ends = np.arange(n) * HOUR
    times = (np.arange(k) + 0.5) * (n / k) * HOUR + 1234
    x = rng.standard_normal((n, columns)) * 10.0 ** rng.integers(-3, 4, columns)
    p = rng.standard_normal((k, columns)) * x.std(axis=0)
    p[:, 0] += 2 * x[:, 0].std()
    folds = list(leave_one_block_out(ends, times.astype(np.int64), np.arange(k), 12 * HOUR, rng))
    return x, p, folds


@given(st.integers(0, 10**6))
def test_all_folds_together_reach_the_optimum_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(3):
        n, positive = int(rng.integers(10, 80)), int(rng.integers(1, 6))
        x = rng.standard_normal((n, 3)) * [1.0, 1e-4, 300.0] + [0.0, 5.0, -1e3]
        x[:, 1] = 7.0 if rng.random() < 0.2 else x[:, 1]  # a constant column
        y = np.repeat([0.0, 1.0], [n - positive, positive])
        x[y == 1] += rng.uniform(0, 20) * x.std(axis=0)  # from nothing to perfectly apart
        samples.append((x, y))
    x, y = np.concatenate([x for x, _ in samples]), np.concatenate([y for _, y in samples])
    members = np.repeat(np.arange(3), [len(y) for _, y in samples]) == np.arange(3)[:, None]
    slopes, intercepts = fit_folds(x, y, members, 0.1)
    for (x, y), slope, intercept in zip(samples, slopes, intercepts, strict=True):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", solver="newton-cholesky", tol=1e-10)
        ).fit(x, y)
        np.testing.assert_allclose(x @ slope + intercept, model.decision_function(x), rtol=0, atol=1e-5)


def test_percentiles_are_those_of_the_pipeline_fold_by_fold():
    x, p, folds = blocks_world(1)
    weights = np.random.default_rng(2).gamma(1.0, size=len(x))
    found = held_out_percentiles(x, p, [4], weights, folds, np.random.default_rng(3))
    assert found.train_positives == 5
    monkey = pytest.MonkeyPatch()
    monkey.setattr(classifier, "MANY_COLUMNS", 0)  # the pipeline's own path, without PCA
    slow = held_out_percentiles(x, p, [4], weights, folds, np.random.default_rng(3))
    monkey.undo()
    np.testing.assert_allclose(found.u, slow.u, atol=2e-3)


def test_what_is_ranked_is_the_span_of_the_held_out_block_by_weight():
    x, p, folds = blocks_world(4, n=300)  # under 500: no thinning, so that the fold can be done again by hand
    weights = np.random.default_rng(5).integers(0, 3, len(x)).astype(float)
    found = held_out_percentiles(x, p, [4], weights, folds, np.random.default_rng(0))
    for k, fold in enumerate(folds):
        train, test = fold.train & (weights > 0), fold.test & (weights > 0)
        model = make_classifier([4], 999)
        model.fit(np.concatenate([x[train], p[fold.train_positive]]), np.repeat([0, 1], [train.sum(), 5]))
        u = percentiles(model.decision_function(p[[k]]), model.decision_function(x[test]), weights[test])
        assert found.u[k] == pytest.approx(u[0], abs=1e-12)


@pytest.mark.parametrize("columns", [4, 60])
def test_poisoned_test_rows_leave_what_was_trained_bit_for_bit(columns, monkeypatch):
    x, p, folds = blocks_world(6, columns=columns)
    fitted: list[list[bytes]] = []

    def watched(tasks, background, positives, *rest):
        made = list(original(tasks, background, positives, *rest))
        zero, one = np.zeros((1, columns)), np.eye(columns)
        fitted.append([np.concatenate([d(zero), d(one)]).tobytes() for d in made])
        fitted[-1] += [rows.tobytes() for t in tasks for rows in (background[t.train], positives[t.train_positive])]
        return made

    name = "_together" if columns <= 20 else "_one_by_one"
    original = getattr(classifier, name)
    monkeypatch.setattr(classifier, name, watched)
    for fold in folds[:2]:
        for poison in (0.0, 1e6):
            bad_x, bad_p = x.copy(), p.copy()
            bad_x[fold.test] += poison
            bad_p[fold.test_positive] += poison
            held_out_percentiles(bad_x, bad_p, [columns], np.ones(len(x)), [fold], np.random.default_rng(7))
        assert fitted[-1] == fitted[-2]
        bad_x = x.copy()
        bad_x[fold.train] += 1e6  # and the test itself: poison in training rows is seen
        held_out_percentiles(bad_x, p, [columns], np.ones(len(x)), [fold], np.random.default_rng(7))
        assert fitted[-1] != fitted[-2]


def test_rows_with_nan_neither_train_nor_rank():
    x, p, folds = blocks_world(8, n=300)
    clean = held_out_percentiles(x, p, [4], np.ones(300), folds, np.random.default_rng(0))
    weights = np.ones(300)
    weights[::7] = 0.0
    holed = x.copy()
    holed[::7, 2] = np.nan
    without = held_out_percentiles(holed, p, [4], np.ones(300), folds, np.random.default_rng(0))
    by_weight = held_out_percentiles(x, p, [4], weights, folds, np.random.default_rng(0))
    np.testing.assert_allclose(without.u, by_weight.u, atol=1e-12)
    assert not np.allclose(clean.u, without.u)
    p[2] = np.nan
    lost = held_out_percentiles(x, p, [4], np.ones(300), folds, np.random.default_rng(0))
    assert np.isnan(lost.u).tolist() == [False, False, True, False, False, False]
    assert lost.train_positives == 4


def test_training_background_is_thinned_in_proportion_to_weight():
    rng = np.random.default_rng(0)
    n = 8000
    weights = np.where(np.arange(n) % 2, 5.0, 1.0)
    x, p, folds = blocks_world(9, n=n, k=5)
    drawn = np.zeros(n)
    for _ in range(40):
        for task in classifier._tasks(Candidates.of_one_place(x), p, weights, folds, rng):
            assert len(task.train) == 500
            drawn[task.train] += 1
    assert drawn[1::2].sum() / drawn[::2].sum() == pytest.approx(5.0, rel=0.12)  # a little less, without replacement


def test_nothing_to_train_on_gives_no_percentile():
    x, p, folds = blocks_world(1, n=200, k=1)
    found = held_out_percentiles(x, p, [4], np.ones(200), folds, np.random.default_rng(0))
    assert np.isnan(found.u).all()
    assert found.train_positives == 0


def joined_auc(seed: int, noise_columns: int, informative: bool = True) -> float:
    """AUC of logistic on a (four columns, raised before mainshocks) beside b (noise), ten blocks."""
    rng = np.random.default_rng(seed)
    n, k = 1500, 10
    ends, times = np.arange(n) * HOUR, (np.arange(k) + 0.5) * (n / k) * HOUR
    a, positive = rng.standard_normal((n, 4)), rng.standard_normal((k, 4)) + 1.4 * informative
    if noise_columns:  # 60 factors and white noise, as embeddings have them; far wider than a in variance
        loadings = 30 * rng.standard_normal((60, noise_columns)) / np.sqrt(60)
        b = rng.standard_normal((n + k, 60)) @ loadings + rng.standard_normal((n + k, noise_columns))
        a, positive = np.hstack([a, b[:n]]), np.hstack([positive, b[n:]])
    folds = leave_one_block_out(ends, times.astype(np.int64), np.arange(k), 12 * HOUR, rng)
    widths = [4, noise_columns] if noise_columns else [4]
    return float(np.nanmean(held_out_percentiles(a, positive, widths, np.ones(n), folds, rng).u))


def test_four_informative_columns_are_not_lost_beside_many_of_noise():
    alone = np.mean([joined_auc(seed, 0) for seed in range(6)])
    joined = np.mean([joined_auc(seed, 200) for seed in range(6)])
    assert alone > 0.85
    assert abs(joined - alone) < 0.03


@pytest.mark.slow
def test_four_informative_columns_are_not_lost_beside_1536_of_noise():
    alone = np.mean([joined_auc(seed, 0) for seed in range(12)])
    joined = np.mean([joined_auc(seed, 1536) for seed in range(12)])
    assert abs(joined - alone) < 0.03


def test_a_classifier_on_noise_is_at_chance():
    u = [joined_auc(seed, 0, informative=False) for seed in range(60)]
    assert np.mean(u) == pytest.approx(0.5, abs=0.05)
