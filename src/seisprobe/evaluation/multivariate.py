"""Scores of many columns at once: novelty as a table of its own, logistic regression as a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers
from seisprobe.evaluation.cells import NO_P_QUIET, Cell, Nulls, auc_interval, empty_cell, generator, sizes_of
from seisprobe.evaluation.classifier import held_out_percentiles
from seisprobe.evaluation.grid import Features, Grid, median_over_stations
from seisprobe.evaluation.novelty import MOST_MISSING, Columns, novelty, select_columns
from seisprobe.evaluation.nulls import one_sided_p
from seisprobe.evaluation.splits import Split
from seisprobe.study import Study
from seisprobe.windows import HOUR_US, window_length_h

__all__ = ["FEW_BLOCKS", "ManyColumns", "columns_at", "logistic_cell", "novelty_features", "shared_stations"]

FEW_BLOCKS = 5
TOO_FEW = "too few blocks to train on; values far below 0.5 are usual"


@dataclass(frozen=True)
class ManyColumns:
    """Features of one modality, the columns that scores of many columns use, and how novelty scales them.

    `residual_on` is what is regressed out of them first.
    """

    features: Features
    columns: tuple[str, ...]
    by_deviation: bool
    residual_on: ManyColumns | None = None

    def has(self, station: str, rows: Integers) -> np.ndarray:
        """Return which windows have all that is needed of them."""
        own = self.features.has(station, rows)
        return own if self.residual_on is None else own & self.residual_on.has(station, rows)


def novelty_features(
    windows: pd.DataFrame, grid: Grid, fitted: np.ndarray, modalities: Sequence[ManyColumns]
) -> tuple[Features, tuple[str, ...]]:
    """Return the novelty of every window of one grid, and the columns that were left out.

    Parameters
    ----------
    windows : DataFrame
        The plan; positives, candidates and placebo windows of the grid's layout and length are scored.
    grid : Grid
    fitted : ndarray of bool, shape (windows,)
        Positives and the windows of all backgrounds: each place and station is fitted by itself on its own.
    modalities : sequence of ManyColumns
        One, or several for ``a+b``.

    Returns
    -------
    Features
        One column, ``novelty``.
    tuple of str
    """
    own = windows["layout"].eq(grid.layout) & windows["hours"].eq(grid.hours)
    scored = own & (windows["kind"].isin(("positive", "background", "placebo")) | windows["reason"].eq("zone"))
    rows = np.flatnonzero(scored)
    by_region = windows["radius_km"].isna().all()
    place = np.zeros(len(rows), dtype=object) if by_region else windows["mainshock"].to_numpy(dtype=object)[rows]
    stations = shared_stations(modalities)
    position = np.full((len(stations), len(windows)), -1, dtype=np.int64)
    values: list[Floats] = []
    left_out: dict[str, None] = {}
    for s, station in enumerate(stations):
        for name in dict.fromkeys(place):
            mine = rows[place == name]
            mine = mine[np.all([m.has(station, mine) for m in modalities], axis=0)]
            result = novelty([columns_at(m, station, mine) for m in modalities], fitted[mine])
            left_out |= dict.fromkeys(result.left_out)
            position[s, mine] = sum(len(v) for v in values) + np.arange(len(mine))
            values.append(result.scores)
    return Features(tuple(stations), ("novelty",), np.concatenate(values)[:, None], position), tuple(left_out)


def columns_at(modality: ManyColumns, station: str, rows: Integers) -> Columns:
    """Return a modality's columns of some windows at one station."""
    features = modality.features
    table = features.take(station, rows, modality.columns)
    other = modality.residual_on
    covariates = None if other is None else other.features.take(station, rows, other.columns)
    return Columns(table, modality.columns, modality.by_deviation, modality.has(station, rows), covariates)


def shared_stations(modalities: Sequence[ManyColumns]) -> list[str]:
    """Return the stations that modalities share; one without stations goes with any."""
    named = [set(m.features.stations) for m in modalities]
    with_stations = [names for names in named if names != {""}]
    return sorted(set.intersection(*with_stations)) if with_stations else [""]


def logistic_cell(
    study: Study,
    grid: Grid,
    nulls: Nulls,
    modalities: Sequence[ManyColumns],
    labels: tuple[str, str],
    background: str,
    split: Split,
) -> Cell:
    """Return the cell of a logistic regression, refitted in each fold; a p only where there are five blocks or more.

    Parameters
    ----------
    study : Study
    grid : Grid
    nulls : Nulls
        Of its pseudo-mainshocks the first ``logistic_draws`` are refitted, each without the zones of its draw.
    modalities : sequence of ManyColumns
    labels : (modality, score)
        ``logistic`` or ``logistic_forward``.
    background : str
    split : callable
        From `seisprobe.evaluation.splits`.
    """
    here = _used_ends(grid)
    ends, weights = grid.ends[here], grid.weights[background][:, here]
    why, designs = _designs(grid, modalities, weights, here)
    if why:
        return empty_cell(grid, *labels, background, why, family=False)
    few = len(sizes_of(grid.blocks)) < FEW_BLOCKS
    apart_us = round((window_length_h(study, grid.layout, grid.hours) + study.windows.embargo_h) * HOUR_US)

    def percentiles_of(
        times: Integers, positives: Sequence[Floats], use: str, weight: Floats = weights[0]
    ) -> tuple[Floats, int]:
        rng = generator(study.study.seed, use)
        held = []
        for design, own in zip(designs, positives, strict=True):
            folds = split(ends, times, grid.blocks, apart_us, rng)
            held.append(
                held_out_percentiles(design.candidates, own, design.widths, weight, folds, rng, design.covariates)
            )
        return median_over_stations(np.stack([h.u for h in held])), min(h.train_positives for h in held)

    use = f"{labels[1]} {labels[0]} {grid.layout} {grid.hours:g} {background}"
    u, train_positives = percentiles_of(grid.positive_ends, [design.positives for design in designs], use)
    if not np.isfinite(u).any():
        return empty_cell(grid, *labels, background, "no fold has positives on both sides", family=False)
    cell = _cell_of(study, grid, labels, background, u, train_positives, few=few)
    pseudo = nulls.draws.get(background)
    if few or pseudo is None or not len(pseudo):
        return cell
    null = []
    for number, index in enumerate(pseudo[: study.evaluation.logistic_draws]):
        drawn = [design.candidates[np.searchsorted(here, index)] for design in designs]
        outside = weights[0] * ~_met(index, nulls.own_zone, len(grid.ends))[here]
        null.append(_mean(percentiles_of(grid.ends[index], drawn, f"{use} draw {number}", outside)[0]))
    p = one_sided_p(_mean(u), np.array(null))
    return replace(cell, null=np.array(null), p_pseudo=p, why_null=_keep_shift(cell.why_null))


def _used_ends(grid: Grid) -> Integers:
    """Return the ends that a classifier may see: all, or those that some background has sampled."""
    if not grid.sampled:
        return np.arange(len(grid.ends))
    return np.flatnonzero(np.any([weights.max(axis=0) > 0 for weights in grid.weights.values()], axis=0))


def _met(index: Integers, own_zone: Integers, n: int) -> np.ndarray:
    """Return which of n candidates meet the zone of any pseudo-mainshock."""
    zone = (index[:, None] + own_zone).ravel()
    met = np.zeros(n, dtype=bool)
    met[zone[(zone >= 0) & (zone < n)]] = True
    return met


@dataclass(frozen=True)
class _Design:
    """One station's columns: candidates (n, d) with what is present of them (n,), positives (K, d), d by modality.

    The first `covariates` columns are to be regressed out, and are not counted in `widths`.
    """

    candidates: Floats
    present: np.ndarray
    positives: Floats
    widths: tuple[int, ...]
    covariates: int = 0


def _designs(
    grid: Grid, modalities: Sequence[ManyColumns], weights: Floats, here: Integers
) -> tuple[str, list[_Design]]:
    """Return why there can be no regression, "" for no reason, and the columns of each station."""
    if len(sizes_of(grid.blocks)) < 2:
        return "one block: nothing is left to train on", []
    if len(weights) > 1 or len(grid.candidate_rows) > 1:
        return "logistic regression needs one background for all mainshocks", []
    designs = [_design(grid, modalities, station, here) for station in shared_stations(modalities)]
    return next((why for design in designs if (why := _unusable(design, weights[0]))), ""), designs


def _design(grid: Grid, modalities: Sequence[ManyColumns], station: str, here: Integers) -> _Design:
    """Return the usable columns of the region's place: those that novelty would use on the uniform candidates."""
    rows = grid.candidate_rows[0][here]
    usable = [select_columns(columns_at(m, station, rows), grid.candidate[0][here])[0] for m in modalities]
    kept = [(m, columns) for m, columns in zip(modalities, usable, strict=True) if columns.names]
    others = [(m.residual_on, m.residual_on.columns) for m, _ in kept if m.residual_on is not None]
    taken = [*others, *((m, columns.names) for m, columns in kept)]

    def table(windows: Integers) -> Floats:
        empty = np.empty((len(windows), 0))
        return np.concatenate([empty, *(m.features.take(station, windows, names) for m, names in taken)], axis=1)

    present = np.all([m.has(station, rows) for m in modalities], axis=0)
    widths = tuple(len(columns.names) for _, columns in kept)
    return _Design(table(rows), present, table(grid.positive_rows), widths, sum(len(names) for _, names in others))


def _unusable(design: _Design, weights: Floats) -> str:
    """Return why a design cannot be trained on, "" where it can."""
    if not design.widths:
        return "no usable column is left"
    rows = design.candidates[design.present & (weights > 0)]
    missing = float(np.mean(~np.isfinite(rows).all(axis=1))) if len(rows) else 1.0
    return f"values missing in {100 * missing:.0f}% of the background" if missing > MOST_MISSING else ""


def _mean(u: Floats) -> float:
    return float(np.nanmean(u)) if np.isfinite(u).any() else float("nan")


def _keep_shift(why: Mapping[str, str]) -> dict[str, str]:
    return {key: reason for key, reason in why.items() if key == "p_shift"}


def _cell_of(
    study: Study, grid: Grid, labels: tuple[str, str], background: str, u: Floats, train_positives: int, *, few: bool
) -> Cell:
    used = np.isfinite(u)
    why = {"p_shift": "a classifier is refitted for each null; shifts are for label-free scores"}
    if few:
        why |= dict.fromkeys(("p_pseudo", "p_adjusted", "verdict", "critical_auc", "detectable_auc"), TOO_FEW)
    elif background == "quiet":
        why |= dict.fromkeys(("p_pseudo", "p_adjusted"), NO_P_QUIET)
    weights = grid.weights[background][0]
    return Cell(
        *labels, grid.hours, background, grid.layout, grid.names, grid.blocks, u,
        family=not few,
        auc=_mean(u),
        n_background=int((weights > 0).sum()),
        n_days=len(np.unique(grid.ends[weights > 0] // (24 * HOUR_US))),
        n_effective=float(weights.sum() ** 2 / (weights**2).sum()),
        train_positives=train_positives,
        interval=auc_interval(study, u[used], grid.blocks[used]),
        why_null=why,
    )  # fmt: skip
