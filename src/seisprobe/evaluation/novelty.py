"""The label-free score: how far a window lies from all windows, positives and background alike (PROTOCOL 3).

It is fitted once, on the union of positives and background, without labels. Fitted on the background alone it is biased
(the positives, not having been seen, look far away: AUC well above or below one half on pure noise).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seisprobe.catalog import Floats

__all__ = ["Columns", "Novelty", "novelty", "regress_out", "select_columns"]

MANY_COLUMNS, COMPONENTS = 20, 5
MOST_MISSING = 0.05
MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Columns:
    """The columns of one modality: values of shape (windows, d), their names, and how they are scaled.

    Parameters
    ----------
    table : ndarray, shape (n, d)
    names : tuple of str
    by_deviation : bool
        Scale by the standard deviation (counts, whose MAD is 0) instead of the MAD.
    present : ndarray of bool, shape (n,), optional
        Windows that the modality has a row for; an outage is no missing value. All by default.
    covariates : ndarray, shape (n, c), optional
        Columns of another modality that are regressed out first.
    """

    table: Floats
    names: tuple[str, ...]
    by_deviation: bool = False
    present: np.ndarray | None = None
    covariates: Floats | None = None


@dataclass(frozen=True)
class Novelty:
    """Scores of all windows, and the columns that could not be used, with the reason."""

    scores: Floats
    left_out: tuple[str, ...]


def select_columns(columns: Columns, fitted: np.ndarray) -> tuple[Columns, tuple[str, ...]]:
    """Leave out columns that are NaN in more than 5% of the fitted windows, or constant there; say which and why."""
    kept, left_out = [], []
    fitted = fitted if columns.present is None else fitted & columns.present
    for j, name in enumerate(columns.names):
        values = columns.table[fitted, j]
        missing = float(np.mean(~np.isfinite(values))) if len(values) else 1.0
        if missing > MOST_MISSING:
            left_out.append(f"{name} (missing in {100 * missing:.0f}% of windows)")
        elif np.nanmax(values) - np.nanmin(values) <= 1e-12 * max(1.0, float(np.nanmax(np.abs(values)))):
            left_out.append(f"{name} (constant)")
        else:
            kept.append(j)
    names = tuple(columns.names[j] for j in kept)
    return replace(columns, table=columns.table[:, kept], names=names), tuple(left_out)


def regress_out(values: Floats, covariates: Floats, fitted: np.ndarray) -> Floats:
    """Return what a linear regression on covariates, fitted on some rows, leaves of values.

    Parameters
    ----------
    values : ndarray, shape (n, d)
    covariates : ndarray, shape (n, c)
        A row with NaN gives NaN.
    fitted : ndarray of bool, shape (n,)

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> np.abs(regress_out(3 * x + 1, x, np.array([True, True, False]))).round(9).tolist()
    [[0.0], [0.0], [0.0]]
    """
    design = np.column_stack([np.ones(len(values)), covariates])
    known = fitted & np.isfinite(design).all(axis=1)
    solution = np.linalg.lstsq(design[known], values[known], rcond=None)[0]
    return np.asarray(values - design @ solution)


def novelty(modalities: Sequence[Columns], fitted: np.ndarray) -> Novelty:
    """Return the Mahalanobis distance of every window from the mean of the fitted ones, under Ledoit–Wolf shrinkage.

    Parameters
    ----------
    modalities : sequence of Columns
        Each scaled, reduced where it is wide, and brought to unit total variance by itself.
    fitted : ndarray of bool, shape (n,)
        The union of positives and the windows of all backgrounds, each once.

    Returns
    -------
    Novelty
        ``scores`` of shape (n,); NaN for a window with a NaN left, and everywhere where no column is left; 0 where all
        columns are constant (one perfect station must not hide another's state).

    References
    ----------
    Ledoit & Wolf 2004, J. Multivariate Analysis 88, doi:10.1016/S0047-259X(03)00096-4.
    """
    from sklearn.covariance import ledoit_wolf

    parts: list[Floats] = []
    left_out: list[str] = []
    for columns in modalities:
        usable, gone = select_columns(columns, fitted)
        left_out += gone
        complete = fitted & np.isfinite(usable.table).all(axis=1)
        if usable.covariates is not None:
            usable = replace(usable, table=regress_out(usable.table, usable.covariates, complete))
            complete &= np.isfinite(usable.table).all(axis=1)
        if usable.names and complete.sum() > 1:
            parts.append(_unit_variance(_reduced(_scaled(usable, complete), complete), complete))
    table = np.concatenate(parts, axis=1) if parts else np.empty((len(fitted), 0))
    usable_rows = np.isfinite(table).all(axis=1)
    known = fitted & usable_rows
    scores = np.full(len(fitted), np.nan)
    if not table.shape[1] and left_out and all(name.endswith("(constant)") for name in left_out):
        whole = np.all([np.isfinite(columns.table).all(axis=1) for columns in modalities], axis=0)
        return Novelty(np.where(whole, 0.0, np.nan), tuple(left_out))  # nothing tells its windows apart
    if not table.shape[1] or known.sum() < 3:
        return Novelty(scores, tuple(left_out))
    centred = table[usable_rows] - table[known].mean(axis=0)
    covariance, _ = ledoit_wolf(table[known])
    scores[usable_rows] = np.sqrt(np.einsum("ij,ij->i", centred @ np.linalg.pinv(covariance), centred))
    return Novelty(scores, tuple(left_out))


def _scaled(columns: Columns, fitted: np.ndarray) -> Floats:
    reference = columns.table[fitted]
    median = np.median(reference, axis=0)
    deviation = reference.std(axis=0)
    if columns.by_deviation:
        return np.asarray((columns.table - median) / deviation)
    mad = MAD_TO_SD * np.median(np.abs(reference - median), axis=0)
    return np.asarray((columns.table - median) / np.where(mad > 0, mad, deviation))


def _reduced(values: Floats, fitted: np.ndarray) -> Floats:
    """Return wide tables as five principal components and the log squared distance to their plane.

    What changes outside the plane of the widest components is seen by the last column alone, which is scaled to the
    components' mean standard deviation.
    """
    if values.shape[1] <= MANY_COLUMNS:
        return values
    from sklearn.decomposition import PCA

    reference = values[fitted]
    count = min(COMPONENTS, len(reference) - 1, values.shape[1])
    solver = "covariance_eigh" if len(reference) > 2 * values.shape[1] else "full"
    pca = PCA(count, svd_solver=solver).fit(reference)
    whole = np.isfinite(values).all(axis=1)
    reduced = np.full((len(values), count + 1), np.nan)
    components = pca.transform(values[whole])
    rest = values[whole] - pca.mean_ - components @ pca.components_
    distance = np.log(np.maximum((rest**2).sum(axis=1), np.finfo(float).tiny))
    inside = fitted[whole]
    spread = distance[inside].std()
    scale = components[inside].std(axis=0).mean() / spread if spread > 0 else 0.0
    reduced[whole] = np.column_stack([components, (distance - distance[inside].mean()) * scale])
    return reduced


def _unit_variance(values: Floats, fitted: np.ndarray) -> Floats:
    total = values[fitted].var(axis=0).sum()
    return np.asarray(values / np.sqrt(total)) if total > 0 else values
