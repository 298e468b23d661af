"""Logistic regression on held-out blocks: one scikit-learn pipeline, cloned in each fold (PROTOCOL 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from seisprobe.catalog import Floats, Integers
from seisprobe.evaluation.novelty import COMPONENTS, MANY_COLUMNS, regress_out
from seisprobe.evaluation.refitting import fit_folds
from seisprobe.evaluation.scores import percentiles_of_few
from seisprobe.evaluation.splits import Fold

__all__ = ["Held", "held_out_percentiles", "make_classifier"]

Decide = Callable[[Floats], Floats]
REGULARISATION = 0.1
MOST_BACKGROUND = 500
SOLVER = "newton-cholesky"  # exact, and for few columns quicker than the default
POOL = 6  # times as many candidates as a fold needs, drawn once for all folds


@dataclass(frozen=True)
class Held:
    """Percentiles of held-out mainshocks, shape (K,), NaN where never held out; fewest positives that trained."""

    u: Floats
    train_positives: int


def make_classifier(widths: Sequence[int], n_train: int) -> Any:
    """Return the pipeline: scaling; PCA modality by modality where one is wide; L2 logistic regression, C = 0.1.

    Never one PCA over several modalities: it keeps the widest and loses the informative one.

    Parameters
    ----------
    widths : sequence of int
        Columns of each modality, in order.
    n_train : int
        Windows it will be trained on, which bounds the number of components.

    Returns
    -------
    sklearn.pipeline.Pipeline
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    steps, first = [], 0
    for index, width in enumerate(widths):
        columns = list(range(first, first + width))
        first += width
        wide = width > MANY_COLUMNS
        reduce = PCA(min(COMPONENTS, n_train, width), svd_solver="full") if wide else "passthrough"
        steps.append((f"modality_{index}", reduce, columns))
    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("reduce", ColumnTransformer(steps)),
            ("classify", LogisticRegression(C=REGULARISATION, class_weight="balanced", solver=SOLVER, tol=1e-8)),
        ]
    )


@dataclass(frozen=True)
class _Task:
    """Rows of one fold: candidates that train (thinned), positives that train and are held out, candidates beside."""

    train: Integers
    train_positive: Integers
    held: Integers
    test: Integers


def held_out_percentiles(
    candidates: Floats,
    positives: Floats,
    widths: Sequence[int],
    weights: Floats,
    folds: Iterable[Fold],
    rng: np.random.Generator,
    covariates: int = 0,
) -> Held:
    """Return each mainshock's percentile among the background of its own span, under a classifier trained elsewhere.

    Parameters
    ----------
    candidates : ndarray, shape (n, d)
        Rows with NaN are left out.
    positives : ndarray, shape (K, d)
    widths : sequence of int
        Columns of each modality. Where all are narrow, the folds are solved together (`refitting.fit_folds`), to the
        same optimum as the pipeline's.
    weights : ndarray, shape (n,)
        Of the background; 0 leaves a candidate out.
    folds : iterable of Fold
    rng : Generator
        Thins the training background to 500, in proportion to its weights.
    covariates : int
        So many leading columns, before those of `widths`, are regressed out of the others, by the training windows.
    """
    tasks = list(_tasks(candidates, positives, weights, folds, rng))
    u = np.full(len(positives), np.nan)
    if not tasks:
        return Held(u, 0)
    samples = [_sample(candidates[t.train], positives[t.train_positive]) for t in tasks]
    narrow = max(widths) <= MANY_COLUMNS and not covariates
    decisions = _together(samples) if narrow else _one_by_one(samples, widths, covariates)
    for task, decide in zip(tasks, decisions, strict=True):
        u[task.held] = percentiles_of_few(
            decide(positives[task.held]), decide(candidates[task.test]), weights[task.test]
        )
    return Held(u, min(len(t.train_positive) for t in tasks))


def _tasks(
    candidates: Floats, positives: Floats, weights: Floats, folds: Iterable[Fold], rng: np.random.Generator
) -> Iterator[_Task]:
    """Yield the rows of each fold that can be trained and tested.

    The training background is a sample without replacement in proportion to weight: the smallest of independent
    exponential times at those rates (Efraimidis & Spirakis 2006), the same times for all folds.
    """
    usable = np.isfinite(candidates).all(axis=1) & (weights > 0)
    known = np.isfinite(positives).all(axis=1)
    n_usable = int(usable.sum())
    times = np.full(len(weights), np.inf)
    times[usable] = rng.standard_exponential(n_usable) / weights[usable]
    pool = np.argsort(times, kind="stable") if n_usable <= POOL * MOST_BACKGROUND else _earliest(times)
    pool = pool[:n_usable]
    for fold in folds:
        train = pool[fold.train[pool]][:MOST_BACKGROUND]
        if len(train) < MOST_BACKGROUND and len(pool) < n_usable:
            eligible = np.flatnonzero(fold.train & usable)
            train = eligible[np.argsort(times[eligible])[:MOST_BACKGROUND]]
        task = _Task(
            np.sort(train),
            np.flatnonzero(fold.train_positive & known),
            np.flatnonzero(fold.test_positive & known),
            np.flatnonzero(fold.test & usable),
        )
        if all(len(part) for part in (task.train, task.train_positive, task.held, task.test)):
            yield task


def _earliest(times: Floats) -> Integers:
    first = np.argpartition(times, POOL * MOST_BACKGROUND)[: POOL * MOST_BACKGROUND]
    return np.asarray(first[np.argsort(times[first], kind="stable")])


def _sample(background: Floats, positives: Floats) -> tuple[Floats, Floats]:
    return np.concatenate([background, positives]), np.repeat([0.0, 1.0], [len(background), len(positives)])


def _together(samples: Sequence[tuple[Floats, Floats]]) -> Iterator[Decide]:
    slope, intercept = fit_folds(samples, REGULARISATION)
    for f in range(len(samples)):
        yield partial(_linear, slope[f], float(intercept[f]))


def _linear(slope: Floats, intercept: float, x: Floats) -> Floats:
    return np.asarray(x @ slope + intercept)


def _one_by_one(samples: Sequence[tuple[Floats, Floats]], widths: Sequence[int], covariates: int) -> Iterator[Decide]:
    for x, y in samples:
        clean = partial(_without_covariates, x, covariates)
        yield partial(_decide, make_classifier(widths, len(x)).fit(clean(x), y), clean)


def _decide(classifier: Any, clean: Decide, x: Floats) -> Floats:
    return np.asarray(classifier.decision_function(clean(x)))


def _without_covariates(training: Floats, covariates: int, x: Floats) -> Floats:
    """Return the other columns of rows, without what the leading ones explain of them in training windows."""
    if not covariates:
        return x
    both = np.concatenate([training, x])
    fitted = np.arange(len(both)) < len(training)
    return regress_out(both[:, covariates:], both[:, :covariates], fitted)[len(training) :]
