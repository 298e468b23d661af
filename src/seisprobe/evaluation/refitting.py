"""Logistic regressions of many folds solved at once, for nulls that refit a classifier thousands of times.

The optimum is that of the scikit-learn pipeline of `classifier` (StandardScaler, LogisticRegression with an L2 penalty,
balanced classes); only the way to it is another: folds share most of their rows, so one table serves all of them, and
Newton's method begins at the regression on all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seisprobe.catalog import Floats

__all__ = ["fit_folds"]

MOST_STEPS, MOST_HALVINGS = 100, 30
SMALL_DECREMENT = 1e-18  # squared, of Newton's method: the loss left to gain, whatever the scale of a column


def fit_folds(x: Floats, y: Floats, members: np.ndarray, regularisation: float) -> tuple[Floats, Floats]:
    """Fit one regression to each fold; the decision of fold f is x · slope[f] + intercept[f].

    Parameters
    ----------
    x : ndarray, shape (n, d)
        Rows of all folds.
    y : ndarray, shape (n,)
        0 and 1, both present in each fold.
    members : ndarray of bool, shape (folds, n)
        Which rows each fold trains on.
    regularisation : float
        C, the inverse strength of the L2 penalty on columns standardised by fold; the intercept has none.

    Returns
    -------
    slope : ndarray, shape (folds, d)
    intercept : ndarray, shape (folds,)

    Examples
    --------
    >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0.0, 0.0, 1.0, 1.0])
    >>> slope, intercept = fit_folds(x, y, np.ones((1, 4), dtype=bool), 0.1)
    >>> slope.round(3).tolist(), intercept.round(3).tolist()
    ([[0.146]], [-0.218])
    """
    used = np.asarray(members.any(axis=0))
    x = np.where(used[:, None], x, 0.0)  # what trains nowhere may be NaN
    mean, scale = _moments(x, used[None])
    design = np.append((x - mean) / scale, np.ones((len(x), 1)), axis=1)
    start = _solve(_problem(design, y, used[None], regularisation), np.zeros((1, design.shape[1])))
    solution = _solve(_problem(design, y, members, regularisation), np.repeat(start, len(members), axis=0))
    slope = solution[:, :-1] / scale
    return slope, solution[:, -1] - slope @ mean[0]


@dataclass(frozen=True)
class _Problem:
    """Loss of each fold: C Σ weight (log(1 + exp f) − target f) + Σ penalty β²/2, f = design · β."""

    design: Floats
    products: Floats
    target: Floats
    weight: Floats
    penalty: Floats


def _problem(design: Floats, y: Floats, members: np.ndarray, regularisation: float) -> _Problem:
    """Return the problem of folds: the intercept is free, so only the scale of a fold's columns enters its penalty."""
    count, positives = members.sum(axis=1), members @ y
    of_class = np.where(y > 0, (count / 2 / positives)[:, None], (count / 2 / (count - positives))[:, None])
    _, scale = _moments(design[:, :-1], members)
    penalty = np.append(scale**2, np.zeros((len(members), 1)), axis=1)
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    return _Problem(design, products, y, regularisation * members * of_class, penalty)


def _moments(x: Floats, members: np.ndarray) -> tuple[Floats, Floats]:
    """Return mean and scale of each fold's columns, (folds, d); a constant one has scale 1, as in scikit-learn."""
    share = members / members.sum(axis=1, keepdims=True)
    mean = share @ x
    variance = np.stack([(share * (x[:, j] - mean[:, [j]]) ** 2).sum(axis=1) for j in range(x.shape[1])], axis=1)
    deviation = np.sqrt(variance)
    constant = deviation <= 10 * np.finfo(float).eps * np.maximum(np.abs(mean), 1.0)
    return mean, np.where(constant, 1.0, deviation)


def _solve(problem: _Problem, solution: Floats) -> Floats:
    """Return the minimum of each fold's loss, by Newton's method from (folds, d + 1)."""
    folds, columns = solution.shape
    loss, p = _evaluate(problem, solution)
    for _ in range(MOST_STEPS):
        gradient = (problem.weight * (p - problem.target)) @ problem.design + problem.penalty * solution
        curvature = ((problem.weight * p * (1 - p)) @ problem.products).reshape(folds, columns, columns)
        hessian: Floats = curvature + problem.penalty[:, :, None] * np.eye(columns)
        step = np.asarray(np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0], dtype=np.float64)
        if (gradient * step).sum(axis=1).max(initial=0.0) < SMALL_DECREMENT:
            break
        solution, loss, p = _downhill(problem, solution, step, loss)
    return solution


def _evaluate(problem: _Problem, solution: Floats) -> tuple[Floats, Floats]:
    """Return each fold's loss, (folds,), and each row's probability, (folds, n)."""
    f = solution @ problem.design.T
    small = np.exp(-np.abs(f))
    softplus = np.maximum(f, 0.0) + np.log1p(small)
    fit, shrinkage = problem.weight * (softplus - problem.target * f), problem.penalty * solution**2 / 2
    return np.asarray(fit.sum(axis=1) + shrinkage.sum(axis=1)), np.where(f >= 0, 1.0, small) / (1.0 + small)


def _downhill(problem: _Problem, solution: Floats, step: Floats, before: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the solution after a Newton step, halved in folds where a full one would lead uphill; its loss and p."""
    length = np.ones(len(solution))
    for _ in range(MOST_HALVINGS):
        moved = solution - length[:, None] * step
        loss, p = _evaluate(problem, moved)
        uphill = loss > before + 1e-9 * np.abs(before)
        if not uphill.any():
            break
        length = np.where(uphill, length / 2, length)
    return moved, loss, p
