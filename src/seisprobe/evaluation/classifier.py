"""Logistic regression on held-out blocks: one scikit-learn pipeline, cloned in each fold (PROTOCOL 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from seisprobe.catalog import Floats, Integers
from seisprobe.evaluation.novelty import COMPONENTS, MANY_COLUMNS, regress_out
from seisprobe.evaluation.refitting import fit_folds
from seisprobe.evaluation.scores import percentiles_of_few
from seisprobe.evaluation.splits import Fold

__all__ = ["Candidates", "Decided", "Held", "held_out_percentiles", "make_classifier"]

Decide = Callable[[Floats], Floats]
REGULARISATION = 0.1
MOST_BACKGROUND = 500
SOLVER = "newton-cholesky"  # exact, and for few columns quicker than the default
HEAD, POOL = 3, 30  # times as many candidates as a fold needs, drawn once for all folds; no result depends on it


@dataclass(frozen=True)
class Candidates:
    """Candidate windows with their columns: of one place for all mainshocks, or by place, place k for mainshock k.

    Parameters
    ----------
    x : ndarray, shape (m, d)
        A row with NaN neither trains nor ranks.
    time : ndarray of int64, shape (m,)
        Which of the ends that folds are masks of each window has; ascending within a place.
    first : ndarray of int64, shape (P + 1,)
        Row at which each place begins, and m.
    """

    x: Floats
    time: Integers
    first: Integers

    @classmethod
    def of_one_place(cls, x: Floats) -> Candidates:
        """Return candidates that all mainshocks share, one at each end."""
        return cls(x, np.arange(len(x)), np.array([0, len(x)]))

    @cached_property
    def known(self) -> np.ndarray:
        """Which rows have no NaN, booleans of shape (m,)."""
        return np.asarray(np.isfinite(self.x).all(axis=1))

    def owners(self, held: Integers) -> list[tuple[int, Integers]]:
        """Return the place of held-out mainshocks, with those of them that it belongs to."""
        return [(0, held)] if len(self.first) == 2 else [(int(k), held[held == k]) for k in held]


@dataclass(frozen=True)
class Decided:
    """Decisions (log odds) of one fold: of held-out mainshocks, and of the candidates that they are ranked among.

    `group` is the first mainshock of the fold, or the only one of a place: the same at every station.
    """

    group: int
    held: Integers
    decision: Floats
    rows: Integers
    background: Floats


@dataclass(frozen=True)
class Held:
    """Percentiles of held-out mainshocks, shape (K,), NaN where never held out; fewest positives that trained."""

    u: Floats
    train_positives: int
    decided: tuple[Decided, ...] = ()


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
    """Rows of one fold: candidates that train (thinned), positives that train; those held out, each with its own."""

    train: Integers
    train_positive: Integers
    asked: tuple[tuple[int, Integers, Integers], ...]


def held_out_percentiles(
    candidates: Candidates,
    positives: Floats,
    widths: Sequence[int],
    weights: Floats,
    folds: Iterable[Fold],
    rng: np.random.Generator,
    covariates: int = 0,
) -> Held:
    """Return each mainshock's percentile among the background of its own span, under a classifier trained elsewhere.

    What is held out is held out at every place; candidates of all places train, a mainshock is ranked among its own.

    Parameters
    ----------
    candidates : Candidates
    positives : ndarray, shape (K, d)
    widths : sequence of int
        Columns of each modality. Where all are narrow, the folds are solved together (`refitting.fit_folds`), to the
        same optimum as the pipeline's.
    weights : ndarray, shape (m,)
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
    narrow = max(widths) <= MANY_COLUMNS and not covariates
    decisions = (
        _together(tasks, candidates.x, positives)
        if narrow
        else _one_by_one(tasks, candidates.x, positives, widths, covariates)
    )
    decided = []
    for task, decide in zip(tasks, decisions, strict=True):
        for group, held, rows in task.asked:
            made = Decided(group, held, decide(positives[held]), rows, decide(candidates.x[rows]))
            u[held] = percentiles_of_few(made.decision, made.background, weights[rows])
            decided.append(made)
    return Held(u, min(len(t.train_positive) for t in tasks), tuple(decided))


def _tasks(
    candidates: Candidates, positives: Floats, weights: Floats, folds: Iterable[Fold], rng: np.random.Generator
) -> Iterator[_Task]:
    """Yield the rows of each fold that can be trained and tested.

    The training background is a sample without replacement in proportion to weight: the smallest of independent
    exponential times at those rates (Efraimidis & Spirakis 2006), the same times for all folds.
    """
    usable = candidates.known & (weights > 0)
    rows = np.flatnonzero(usable)
    known = np.asarray(np.isfinite(positives).all(axis=1))
    times = rng.standard_exponential(len(rows)) / weights[rows]
    pool = rows[_earliest(times, POOL * MOST_BACKGROUND)]
    when, head = candidates.time[pool], HEAD * MOST_BACKGROUND
    for fold in folds:
        train = pool[:head][fold.train[when[:head]]][:MOST_BACKGROUND]
        if len(train) < MOST_BACKGROUND:
            train = pool[fold.train[when]][:MOST_BACKGROUND]
        if len(train) < MOST_BACKGROUND and len(pool) < len(rows):
            eligible = np.flatnonzero(fold.train[candidates.time[rows]])
            train = rows[eligible[_earliest(times[eligible], MOST_BACKGROUND)]]
        train_positive = np.flatnonzero(fold.train_positive & known)
        asked = _asked(candidates, fold, known, usable)
        if len(train) and len(train_positive) and asked:
            yield _Task(np.sort(train), train_positive, asked)


def _earliest(times: Floats, most: int) -> Integers:
    """Return which of times are the smallest, in order."""
    first = np.arange(len(times)) if len(times) <= most else np.argpartition(times, most)[:most]
    return np.asarray(first[np.argsort(times[first], kind="stable")])


def _asked(
    candidates: Candidates, fold: Fold, known: np.ndarray, usable: np.ndarray
) -> tuple[tuple[int, Integers, Integers], ...]:
    """Return held-out mainshocks, with the candidates that they are ranked among, where there are both."""
    found = []
    for place, held in candidates.owners(np.flatnonzero(fold.test_positive)):
        own = slice(int(candidates.first[place]), int(candidates.first[place + 1]))
        rows = own.start + np.flatnonzero(fold.test[candidates.time[own]] & usable[own])
        mine = held[known[held]]
        if len(mine) and len(rows):
            found.append((int(held[0]), mine, rows))
    return tuple(found)


def _together(tasks: Sequence[_Task], background: Floats, positives: Floats) -> Iterator[Decide]:
    """Yield the decision of each fold, all solved together: one table of the rows that any of them trains on."""
    rows = np.unique(np.concatenate([t.train for t in tasks]))
    members = np.zeros((len(tasks), len(rows) + len(positives)), dtype=bool)
    for member, task in zip(members, tasks, strict=True):
        member[np.searchsorted(rows, task.train)] = True
        member[len(rows) + task.train_positive] = True
    y = np.repeat([0.0, 1.0], [len(rows), len(positives)])
    slope, intercept = fit_folds(np.concatenate([background[rows], positives]), y, members, REGULARISATION)
    for f in range(len(tasks)):
        yield partial(_linear, slope[f], float(intercept[f]))


def _linear(slope: Floats, intercept: float, x: Floats) -> Floats:
    return np.asarray(x @ slope + intercept)


def _one_by_one(
    tasks: Sequence[_Task], background: Floats, positives: Floats, widths: Sequence[int], covariates: int
) -> Iterator[Decide]:
    for task in tasks:
        x = np.concatenate([background[task.train], positives[task.train_positive]])
        y = np.repeat([0.0, 1.0], [len(task.train), len(task.train_positive)])
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
