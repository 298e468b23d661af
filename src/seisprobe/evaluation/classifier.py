"""Logistic regression on held-out blocks: one scikit-learn pipeline, cloned in each fold (PROTOCOL 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seisprobe.catalog import Floats
from seisprobe.evaluation.novelty import COMPONENTS, MANY_COLUMNS
from seisprobe.evaluation.scores import percentiles
from seisprobe.evaluation.splits import Fold

__all__ = ["Held", "held_out_percentiles", "make_classifier"]

REGULARISATION = 0.1
MOST_BACKGROUND = 500


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
            ("classify", LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=1000)),
        ]
    )


def held_out_percentiles(
    candidates: Floats,
    positives: Floats,
    widths: Sequence[int],
    weights: Floats,
    folds: Sequence[Fold],
    rng: np.random.Generator,
) -> Held:
    """Return each mainshock's percentile among the background of its own span, under a classifier trained elsewhere.

    Parameters
    ----------
    candidates : ndarray, shape (n, d)
        Rows with NaN are left out.
    positives : ndarray, shape (K, d)
    widths : sequence of int
        Columns of each modality.
    weights : ndarray, shape (n,)
        Of the background; 0 leaves a candidate out.
    folds : sequence of Fold
    rng : Generator
        Thins the training background to 500, in proportion to its weights.
    """
    u = np.full(len(positives), np.nan)
    usable = np.isfinite(candidates).all(axis=1) & (weights > 0)
    known = np.isfinite(positives).all(axis=1)
    fewest: list[int] = []
    for fold in folds:
        train = np.flatnonzero(fold.train & usable)
        train_positive, held = fold.train_positive & known, fold.test_positive & known
        test = fold.test & usable
        if not (train_positive.any() and held.any() and len(train) and test.any()):
            continue
        if len(train) > MOST_BACKGROUND:
            share = weights[train] / weights[train].sum()
            train = np.sort(rng.choice(train, MOST_BACKGROUND, replace=False, p=share))
        x = np.concatenate([candidates[train], positives[train_positive]])
        y = np.concatenate([np.zeros(len(train)), np.ones(int(train_positive.sum()))])
        model = make_classifier(widths, len(x)).fit(x, y)
        u[held] = percentiles(
            model.decision_function(positives[held]), model.decision_function(candidates[test]), weights[test]
        )
        fewest.append(int(train_positive.sum()))
    return Held(u, min(fewest, default=0))
