"""What cells are made from: a study's tables laid out on their grids, with the draws that all cells share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd

from seisprobe.evaluation.cells import Cell, Nulls
from seisprobe.evaluation.grid import Features, Grid, align
from seisprobe.evaluation.multivariate import ManyColumns
from seisprobe.evaluation.shared_draws import Ground, WhyNone, make_grounds
from seisprobe.modalities import MODALITIES, Modality
from seisprobe.study import Study

__all__ = ["Board", "Tables", "columns_of", "fitted_windows", "make_board"]


@dataclass(frozen=True)
class Tables:
    """What an evaluation reads.

    Parameters
    ----------
    mainshocks, windows, backgrounds : DataFrame
        The plan.
    why_none : mapping of background to {(layout, hours, mainshock): reason}
    features : mapping of modality to DataFrame
        Those that have a table of their own; they may be read from disk when they are asked for.
    modalities : mapping of modality to Modality
    caveats : tuple of str
        Said with every word that is read at `etas`.
    samples : DataFrame, optional
        Like `backgrounds`: the windows for which waveforms were embedded, the weight being how often each was drawn.
    segments : mapping of modality to DataFrame
        ``station, start`` and vectors of single segments of the uniform sample, for day against night.
    """

    mainshocks: pd.DataFrame
    windows: pd.DataFrame
    backgrounds: pd.DataFrame
    why_none: WhyNone
    features: Mapping[str, pd.DataFrame]
    modalities: Mapping[str, Modality]
    caveats: tuple[str, ...] = ()
    samples: pd.DataFrame | None = None
    segments: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """A study's tables on their grids; feature tables are laid out when they are asked for, a few at a time."""

    study: Study
    tables: Tables
    whole: Ground
    sampled: Ground
    align: Callable[[str], Features]

    def ground(self, name: str) -> Ground:
        """Return grids and nulls of a modality."""
        return self.sampled if self.tables.modalities[name].sampled else self.whole

    def on(self, cell: Cell) -> Callable[[str], tuple[Grid, Nulls]]:
        """Return what gives grid and nulls of any modality at a cell's layout and length."""
        where = (cell.layout, cell.hours)
        return lambda name: (self.ground(name).grids[where], self.ground(name).nulls[where])

    def columns(self, name: str) -> list[ManyColumns]:
        """Return the columns of a modality, of each of its parts where it has some."""
        return columns_of(self.tables, name, self.align)

    def fitted(self, name: str) -> np.ndarray:
        """Return which windows novelty is fitted on."""
        return fitted_windows(self.tables, self.ground(name).grids)


def make_board(study: Study, tables: Tables) -> Board:
    """Lay a study out: grids, draws, and feature tables at hand."""
    whole, sampled = make_grounds(study, tables.windows, tables.backgrounds, tables.why_none, tables.samples)
    aligned = lru_cache(maxsize=2)(lambda name: align(tables.windows, tables.features[name]))
    return Board(study, tables, whole, sampled, aligned)


def columns_of(tables: Tables, name: str, aligned: Callable[[str], Features]) -> list[ManyColumns]:
    """Return the columns of a modality, of each of its parts where it has some, and what is regressed out of them.

    Parameters
    ----------
    tables : Tables
    name : str
        A modality of theirs.
    aligned : callable
        Name of a feature table to the table by position in the plan.
    """
    modality = tables.modalities[name]
    found = []
    for part in modality.parts or (name,):
        spec = tables.modalities[part] if part in tables.modalities else MODALITIES[part]
        features = aligned(spec.table or part)
        other = columns_of(tables, spec.residual_on, aligned)[0] if spec.residual_on else None
        columns = spec.multivariate or features.columns
        found.append(ManyColumns(features, columns, spec.by_deviation, other, apart=spec.needs == "table"))
    return found


def fitted_windows(tables: Tables, grids: Mapping[tuple[str, float], Grid]) -> np.ndarray:
    """Return which windows novelty is fitted on: positives and the windows of all backgrounds, each once."""
    fitted = np.zeros(len(tables.windows), dtype=bool)
    for grid in grids.values():
        fitted[grid.positive_rows] = True
        for weights in grid.weights.values():
            used = weights if len(weights) == len(grid.candidate_rows) else weights.max(axis=0, keepdims=True)
            fitted[grid.candidate_rows[used > 0]] = True
    return fitted
