"""Which windows train and which test: no leak, whatever the times; and what a leak would score on noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from seisprobe.errors import StudyError
from seisprobe.evaluation.scores import auc_percentile
from seisprobe.evaluation.splits import (
    forward_chaining,
    leave_one_block_out,
    safe_split,
    shuffled_k_fold,
    span_of,
)
from support.worlds import ar1

RNG = np.random.default_rng(0)
HOUR = 3_600_000_000

worlds = st.tuples(
    st.integers(20, 300),  # candidates
    st.lists(st.tuples(st.integers(-5, 320), st.integers(1, 4)), min_size=1, max_size=8, unique_by=lambda p: p[0]),
    st.integers(0, 40),  # apart
)


def split_of(world, split):
    n, positives, apart = world
    times = np.array([t for t, _ in positives]) * HOUR + 1234
    return np.arange(n) * HOUR, times, np.array([b for _, b in positives]), apart * HOUR, split


@given(worlds, st.sampled_from([leave_one_block_out, forward_chaining]), st.sampled_from([0, 30 * HOUR]))
def test_nothing_trains_within_l_and_e_of_what_is_held_out(world, split, least):
    ends, times, blocks, apart, split = split_of(world, split)
    for fold in split(ends, times, blocks, apart, RNG, least):
        held = np.concatenate([ends[fold.test], times[fold.test_positive]])
        for trained in (ends[fold.train], times[fold.train_positive]):
            if len(trained) and fold.test.any():
                gaps = np.abs(trained[:, None] - ends[fold.test][None, :])
                assert gaps.min() > apart
            if len(trained) and len(held):
                assert not np.isin(trained, held).any()
        assert not (fold.train & fold.test).any()
        assert not (fold.train_positive & fold.test_positive).any()
        assert len(np.unique(blocks[fold.test_positive])) == 1
        assert not np.isin(blocks[fold.train_positive], blocks[fold.test_positive]).any()


@given(worlds)
def test_every_block_is_held_out_once_and_every_candidate_is_tested_once(world):
    ends, times, blocks, apart, split = split_of(world, leave_one_block_out)
    folds = list(split(ends, times, blocks, apart, RNG))
    assert sum(f.test_positive.astype(int) for f in folds).tolist() == [1] * len(times)
    assert sum(f.test.astype(int) for f in folds).tolist() == [1] * len(ends)


@given(worlds)
def test_the_training_set_is_no_smaller_than_purge_and_embargo_ask(world):
    ends, times, blocks, apart, split = split_of(world, leave_one_block_out)
    for fold in split(ends, times, blocks, apart, RNG):
        if fold.test.any():
            far = np.abs(ends[:, None] - ends[fold.test][None, :]).min(axis=1) > apart
            assert fold.train.tolist() == far.tolist()


@given(worlds)
def test_a_time_belongs_to_the_nearest_positive(world):
    ends, times, blocks, _, _ = split_of(world, None)
    apart = np.abs(ends[:, None] - times[None, :])
    nearest = apart == apart.min(axis=1, keepdims=True)
    assert all(span in blocks[near] for span, near in zip(span_of(ends, times, blocks), nearest, strict=True))


@given(worlds)
def test_forward_chaining_trains_on_what_came_before(world):
    ends, times, blocks, apart, split = split_of(world, forward_chaining)
    for fold in split(ends, times, blocks, apart, RNG):
        first = times[fold.test_positive].min()
        assert (times[fold.train_positive] < first).all()
        assert (ends[fold.train] < first).all()
        assert fold.train_positive.any()


def test_the_first_block_is_never_tested_forward():
    folds = list(forward_chaining(np.arange(100) * HOUR, np.array([10, 50, 90]) * HOUR, np.array([1, 2, 3]), HOUR, RNG))
    assert [np.flatnonzero(f.test_positive).tolist() for f in folds] == [[1], [2]]


def test_an_unsafe_split_is_refused_unless_allowed():
    with pytest.raises(StudyError, match="overlapping windows on both sides"):
        safe_split("shuffled-k-fold", allow_unsafe=False)
    with pytest.raises(StudyError, match="did you mean 'leave-one-block-out'"):
        safe_split("leave-one-block", allow_unsafe=True)
    assert safe_split("shuffled-k-fold", allow_unsafe=True) is shuffled_k_fold
    assert safe_split("leave-one-block-out", allow_unsafe=False) is leave_one_block_out


@threadpool_limits.wrap(limits=1)
def noise_auc(split, embargo: int, seed: int, columns: int = 1152, memory_h=(12.0, 48.0)) -> float:
    """Mean over folds of the AUC of a classifier on autocorrelated noise: 720 two-hour windows, three mainshocks."""
    rng = np.random.default_rng(seed)
    n, factors = 720, 60
    memory = rng.uniform(*memory_h, factors) / 2  # hours to windows
    x = ar1(n, memory, rng, factors) @ rng.standard_normal((factors, columns)) / np.sqrt(factors)
    x += 0.3 * rng.standard_normal((n, columns))
    rows = np.concatenate([np.arange(last - 11, last + 1) for last in (150, 560, 602)])
    background = np.setdiff1d(np.arange(n), rows)
    blocks = np.repeat([1, 2, 3], 12)
    aucs = []
    for fold in split(background * HOUR, rows * HOUR, blocks, embargo * HOUR, rng):
        train, positive = background[fold.train], rows[fold.train_positive]
        model = make_pipeline(
            StandardScaler(),
            PCA(10, svd_solver="covariance_eigh" if columns < 600 else "arpack", random_state=0),
            LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000),
        ).fit(x[np.concatenate([train, positive])], np.repeat([0, 1], [len(train), len(positive)]))
        held = model.decision_function(x[rows[fold.test_positive]])
        aucs.append(auc_percentile(held, model.decision_function(x[background[fold.test]])))
    return float(np.mean(aucs))


def test_on_noise_a_shuffled_split_finds_much_and_whole_blocks_nothing():
    # 120 columns of the same 60 factors: the same leak, in a tenth of the time
    shuffled = [noise_auc(shuffled_k_fold, 0, seed, 120) for seed in range(4)]
    apart = [noise_auc(leave_one_block_out, 24, seed, 120) for seed in range(30)]
    assert np.mean(shuffled) > 0.84
    assert 0.40 < np.mean(apart) < 0.58


@pytest.mark.slow
@pytest.mark.parametrize("memory_h", [12.0, 24.0])
def test_on_noise_of_1152_columns_only_the_shuffled_split_finds_something(memory_h):
    shuffled = [noise_auc(shuffled_k_fold, 0, seed, memory_h=(memory_h, memory_h)) for seed in range(12)]
    apart = [noise_auc(leave_one_block_out, 24, seed, memory_h=(memory_h, memory_h)) for seed in range(200)]
    assert 0.86 <= np.mean(shuffled) <= 0.95
    assert np.mean(apart) == pytest.approx(0.49, abs=0.04)  # a standard error is 0.011


def test_a_span_reaches_as_far_as_asked_for_however_soon_the_next_positive_comes():
    ends, times = np.arange(100) * HOUR, np.array([40, 43]) * HOUR
    tested = {
        least: [np.flatnonzero(f.test) for f in leave_one_block_out(ends, times, np.array([1, 2]), 0, RNG, least)]
        for least in (0, 20 * HOUR)
    }
    assert tested[0][1].min() == 42
    assert tested[20 * HOUR][1].min() == 23
    assert tested[20 * HOUR][0].max() == 60
