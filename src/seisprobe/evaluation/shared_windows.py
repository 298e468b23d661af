"""Modalities held to the windows that all of them have, so that any subset of them is asked about the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from seisprobe.catalog import Floats, Integers
from seisprobe.evaluation.grid import Features, Grid
from seisprobe.evaluation.multivariate import ManyColumns, shared_stations
from seisprobe.evaluation.novelty import MANY_COLUMNS, MOST_MISSING, Columns, brought_to_unit, regress_out
from seisprobe.windows import HOUR_US

__all__ = ["Shared", "residual_on_others", "share_windows"]

WINDOWS_PER_COLUMN = 3
LEAST_LEFT = 1e-9  # of a column's variance: less is the rounding of what the others say already


@dataclass(frozen=True)
class Shared:
    """Modalities on common stations and windows.

    Parameters
    ----------
    columns : mapping of str to ManyColumns
        All with the same stations and positions; a window that any of them lacks, or in which any has a NaN, has no
        row in any.
    left_out : tuple of str
        Columns without a value in more than 5% of the fitted windows, ``modality: column``.
    blocks : tuple of (ndarray of int64, ndarray of bool)
        Of each place and station: rows of the tables, and which of them scores are fitted on.
    reduced : tuple of str
        Modalities that stand as components where they are regressed out of another: all of more than five columns,
        where together they have more columns than a third of the windows that do not overlap.
    """

    columns: Mapping[str, ManyColumns]
    left_out: tuple[str, ...]
    blocks: tuple[tuple[Integers, np.ndarray], ...]
    reduced: tuple[str, ...] = ()


def share_windows(grid: Grid, fitted: np.ndarray, columns: Mapping[str, ManyColumns]) -> Shared:
    """Hold modalities to the stations, windows and places of one grid that all of them have.

    Parameters
    ----------
    grid : Grid
    fitted : ndarray of bool, shape (windows,)
        Positives and the windows of all backgrounds, as for novelty.
    columns : mapping of str to ManyColumns
        Columns of residuals are refused: what is regressed out is decided here.
    """
    stations = shared_stations(list(columns.values()))
    rows = np.unique(np.concatenate([grid.positive_rows, grid.candidate_rows.ravel()]))
    whole = np.ones((len(stations), len(rows)), dtype=bool)
    for many in columns.values():
        assert many.residual_on is None
        whole &= np.stack([many.has(station, rows) for station in stations])
    places = _places(grid, rows)
    known = [(s, place[whole[s, place] & fitted[rows[place]]]) for s in range(len(stations)) for place in places]
    tables: dict[str, Floats] = {}
    names: dict[str, tuple[str, ...]] = {}
    left_out: list[str] = []
    for name, many in columns.items():
        table = np.stack([many.features.take(station, rows, many.columns) for station in stations])
        kept = np.ones(len(many.columns), dtype=bool)
        for s, mine in known:
            if len(mine):
                kept &= (~np.isfinite(table[s, mine])).mean(axis=0) <= MOST_MISSING
        names[name] = tuple(c for c, keep in zip(many.columns, kept, strict=True) if keep)
        left_out += [f"{name}: {c}" for c, keep in zip(many.columns, kept, strict=True) if not keep]
        tables[name] = table[..., kept].reshape(whole.size, len(names[name]))
    for table in tables.values():  # only now: a column left out takes no window with it
        whole &= np.isfinite(table).all(axis=1).reshape(whole.shape)
    position = np.full((len(stations), len(fitted)), -1, dtype=np.int64)
    position[:, rows] = np.where(whole, np.arange(whole.size).reshape(whole.shape), -1)
    made = {
        name: replace(
            many,
            features=Features(tuple(stations), names[name], tables[name], position),
            columns=names[name],
            residual_on=None,
        )
        for name, many in columns.items()
    }
    blocks = [(s * len(rows) + (own := place[whole[s, place]]), fitted[rows[own]])
              for s in range(len(stations)) for place in places]  # fmt: skip
    return Shared(made, tuple(left_out), tuple(blocks), _reduced(grid, blocks, names))


def _reduced(
    grid: Grid, blocks: Sequence[tuple[Integers, np.ndarray]], names: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return which modalities are too wide to be regressed out as they are."""
    step = float(np.diff(grid.ends).min(initial=HOUR_US)) / HOUR_US
    separate = min((int(fitted.sum()) for _, fitted in blocks if fitted.any()), default=0) / max(1.0, grid.hours / step)
    if sum(len(columns) for columns in names.values()) * WINDOWS_PER_COLUMN <= separate:
        return ()
    return tuple(name for name, columns in names.items() if len(columns) > MANY_COLUMNS)


def _places(grid: Grid, rows: Integers) -> list[Integers]:
    """Return, for each place, the index among sorted rows of its candidates and positives."""
    many = len(grid.candidate_rows) > 1
    positives = [grid.positive_rows[[q]] if many else grid.positive_rows for q in range(len(grid.candidate_rows))]
    return [np.searchsorted(rows, np.concatenate([own, candidates]))
            for own, candidates in zip(positives, grid.candidate_rows, strict=True)]  # fmt: skip


def residual_on_others(shared: Shared, name: str) -> ManyColumns | None:
    """Return a modality of which all others are regressed out first, None where nothing is left of it.

    Parameters
    ----------
    shared : Shared
    name : str

    Notes
    -----
    The regression is linear and knows no labels: it is fitted on positives and backgrounds together, for each window
    anew without those near it. Others that are nearly as many columns as there are windows (`Shared.reduced`) would
    leave nothing of anything: they stand in it as the components that novelty reduces them to. A column that the others
    determine is left out: scaled up, the rounding of its residual would look like a score.
    """
    others = np.concatenate([_narrow(shared, other) for other in shared.columns if other != name], axis=1)
    own = shared.columns[name]
    values = own.features.values
    left = np.zeros(len(own.columns), dtype=bool)
    gone = np.zeros(len(own.columns), dtype=bool)
    for rows, fitted in shared.blocks:
        if not fitted.any():
            continue
        residual = regress_out(values[rows], others[rows], fitted)[fitted].var(axis=0)
        variance = values[rows][fitted].var(axis=0)
        left |= residual > LEAST_LEFT * variance
        gone |= (variance > 0) & (residual <= LEAST_LEFT * variance)
    kept = tuple(c for c, keep in zip(own.columns, left & ~gone, strict=True) if keep)
    if not kept:
        return None
    labels = tuple(f"other {j}" for j in range(others.shape[1]))
    covariates = Features(own.features.stations, labels, others, own.features.position)
    return replace(own, columns=kept, residual_on=ManyColumns(covariates, labels, own.by_deviation, apart=True))


def _narrow(shared: Shared, name: str) -> Floats:
    """Return the rows of a modality, of a reduced one the components that novelty makes of it at each place."""
    own = shared.columns[name]
    values = own.features.values
    if name not in shared.reduced:
        return values
    parts = [brought_to_unit(Columns(values[rows], own.columns, own.by_deviation), fitted)[0]
             for rows, fitted in shared.blocks]  # fmt: skip
    narrow = np.zeros((len(values), max(part.shape[1] for part in parts)))
    for (rows, _), part in zip(shared.blocks, parts, strict=True):
        narrow[rows, : part.shape[1]] = part
    return narrow
