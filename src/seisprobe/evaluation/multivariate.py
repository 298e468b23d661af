"""Scores of many columns at once: novelty as a table of its own, logistic regression as a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.evaluation.cells import (
    NO_P_QUIET,
    Cell,
    Nulls,
    auc_interval,
    background_size,
    empty_cell,
    generator,
    sizes_of,
)
from seisprobe.evaluation.classifier import Candidates, Held, held_out_percentiles
from seisprobe.evaluation.grid import Features, Grid, median_over_stations
from seisprobe.evaluation.novelty import MOST_MISSING, Apart, Columns, novelty, select_columns
from seisprobe.evaluation.nulls import one_sided_p
from seisprobe.evaluation.reliability import LEAST_POSITIVES, calibration_of
from seisprobe.evaluation.splits import Split
from seisprobe.study import Study
from seisprobe.windows import DAY_US, HOUR_US, window_length_h

__all__ = ["FEW_BLOCKS", "ManyColumns", "columns_at", "logistic_cell", "novelty_features", "shared_stations"]

FEW_BLOCKS, FORWARD_BLOCKS = 5, 10
TOO_FEW = "too few blocks to train on; values far below 0.5 are usual"
TOO_FEW_FORWARD = f"forward chaining has a p from {FORWARD_BLOCKS} blocks on: its first folds train on next to nothing"


@dataclass(frozen=True)
class ManyColumns:
    """Features of one modality, the columns that scores of many columns use, and how novelty scales them.

    `residual_on` is what is regressed out of them first; `apart` fits the novelty of each window without those near it.
    """

    features: Features
    columns: tuple[str, ...]
    by_deviation: bool
    residual_on: ManyColumns | None = None
    apart: bool = False

    @property
    def fitted_apart(self) -> bool:
        """Whether it, or what is regressed out of it, is fitted for each window anew."""
        return self.apart or (self.residual_on is not None and self.residual_on.apart)

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
    rows, ends = np.flatnonzero(scored), times_us(windows["end"])
    by_region = windows["radius_km"].isna().all()
    place = np.zeros(len(rows), dtype=np.int64) if by_region else pd.factorize(windows["mainshock"].iloc[rows])[0]
    stations = shared_stations(modalities)
    position = np.full((len(stations), len(windows)), -1, dtype=np.int64)
    values: list[Floats] = []
    left_out: dict[str, None] = {}
    for s, station in enumerate(stations):
        for number in range(place.max(initial=-1) + 1):
            mine = rows[place == number]
            mine = mine[np.all([m.has(station, mine) for m in modalities], axis=0)]
            near = Apart(ends[mine], *grid.zone_us) if any(m.fitted_apart for m in modalities) else None
            result = novelty([columns_at(m, station, mine) for m in modalities], fitted[mine], near)
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

    Forward chaining, whose first folds have next to nothing to train on, has a p from ten blocks on.

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
    pairs = _pairs(grid)
    why, designs = _designs(grid, modalities, background, pairs)
    if why:
        return empty_cell(grid, *labels, background, why, family=False)
    apart_us = round((window_length_h(study, grid.layout, grid.hours) + study.windows.embargo_h) * HOUR_US)
    least_us = round(study.windows.block_days * DAY_US) if len(grid.candidate_rows) > 1 else 0
    trial = _Trial(grid, pairs, designs, split, apart_us, least_us, study.study.seed)
    use = f"{labels[1]} {labels[0]} {grid.layout} {grid.hours:g} {background}"
    weights = grid.weights[background]
    held = trial.run(grid.positive_ends, [d.positives for d in designs], pairs.weights(weights), use)
    u = median_over_stations(np.stack([h.u for h in held]))
    if not np.isfinite(u).any():
        return empty_cell(grid, *labels, background, "no fold has positives on both sides", family=False)
    untested = _untested(grid, labels[1])
    cell = _cell_of(study, grid, labels, background, u, min(h.train_positives for h in held), untested)
    cell = _with_reliability(study, grid, cell, held, pairs.weights(weights))
    pseudo = nulls.draws.get(background)
    if untested or pseudo is None or not len(pseudo):
        return cell
    null = np.empty(min(len(pseudo), study.evaluation.logistic_draws))
    for number, index in enumerate(pseudo[: len(null)]):
        rows = pairs.rows(index)
        outside = pairs.weights(weights, pairs.zones(index, nulls.own_zone, grid))
        again = trial.run(grid.ends[index], [d.candidates.x[rows] for d in designs], outside, f"{use} draw {number}")
        null[number] = _mean(median_over_stations(np.stack([h.u for h in again])))
    p = one_sided_p(_mean(u), null)
    return replace(cell, null=null, p_pseudo=p, why_null=_keep(cell.why_null, "p_shift", "reliability"))


@dataclass(frozen=True)
class _Pairs:
    """Candidates that a classifier may see, (place, time) by (place, time): what is laid out of a grid, row by row.

    `index` (m,) is the end on the grid, ascending within a place; `first` (P + 1,) the row at which each place begins.
    """

    index: Integers
    first: Integers

    @property
    def places(self) -> list[slice]:
        """Return the rows of each place."""
        return [slice(int(a), int(b)) for a, b in pairwise(self.first)]

    def spread(self, table: np.ndarray) -> np.ndarray:
        """Return what a table of the grid, shape (P, n), holds for each row."""
        return np.concatenate([row[self.index[own]] for row, own in zip(table, self.places, strict=True)])

    def rows(self, index: Integers) -> Integers:
        """Return the rows of mainshocks by their index on the grid, shape (K,): of place k for mainshock k."""
        if len(self.first) == 2:
            return np.searchsorted(self.index, index)
        found = [own.start + np.searchsorted(self.index[own], i) for own, i in zip(self.places, index, strict=True)]
        return np.array(found, dtype=np.int64)

    def zones(self, index: Integers, own_zone: Integers, grid: Grid) -> np.ndarray:
        """Return which rows meet the zone of a pseudo-mainshock that shares ground with their place."""
        met = [_met(index[near], own_zone, len(grid.ends)) for near in grid.near]
        return self.spread(np.stack(met))

    def weights(self, weights: Floats, without: np.ndarray | None = None) -> Floats:
        """Return each row's weight in a background; of several places each has the same mass."""
        flat = np.asarray(self.spread(weights), dtype=np.float64)
        if without is not None:
            flat[without] = 0.0
        for own in self.places if len(self.first) > 2 else []:
            flat[own] /= flat[own].sum() or 1.0
        return flat


def _pairs(grid: Grid) -> _Pairs:
    """Return the candidates that a classifier may see: all, or those that some background has sampled."""
    places = len(grid.candidate_rows)
    seen = np.ones((places, len(grid.ends)), dtype=bool)
    if grid.sampled:
        counted = [w if len(w) == places else w.max(axis=0, keepdims=True) for w in grid.weights.values()]
        seen = np.any([w > 0 for w in counted], axis=0)
    return _Pairs(np.nonzero(seen)[1], np.append(0, np.cumsum(seen.sum(axis=1))))


def _met(index: Integers, own_zone: Integers, n: int) -> np.ndarray:
    """Return which of n candidates meet the zone of any pseudo-mainshock."""
    zone = (index[:, None] + own_zone).ravel()
    met = np.zeros(n, dtype=bool)
    met[zone[(zone >= 0) & (zone < n)]] = True
    return met


@dataclass(frozen=True)
class _Design:
    """One station's columns: candidates (m, d) with what is present of them (m,), positives (K, d), d by modality.

    The first `covariates` columns are to be regressed out, and are not counted in `widths`.
    """

    candidates: Candidates
    present: np.ndarray
    positives: Floats
    widths: tuple[int, ...]
    covariates: int = 0


@dataclass(frozen=True)
class _Trial:
    """A classifier on its folds, for mainshocks at any times."""

    grid: Grid
    pairs: _Pairs
    designs: Sequence[_Design]
    split: Split
    apart_us: int
    least_us: int
    seed: int

    def run(self, times: Integers, positives: Sequence[Floats], weights: Floats, use: str) -> list[Held]:
        """Return what each station says of mainshocks at `times` (K,) with columns (K, d), trained elsewhere."""
        rng = generator(self.seed, use)
        region = len(self.pairs.first) == 2
        ends = self.grid.ends[self.pairs.index] if region else self.grid.ends
        held = []
        for design, own in zip(self.designs, positives, strict=True):
            folds = self.split(ends, times, self.grid.blocks, self.apart_us, rng, self.least_us)
            held.append(
                held_out_percentiles(design.candidates, own, design.widths, weights, folds, rng, design.covariates)
            )
        return held


def _designs(
    grid: Grid, modalities: Sequence[ManyColumns], background: str, pairs: _Pairs
) -> tuple[str, list[_Design]]:
    """Return why there can be no regression, "" for no reason, and the columns of each station."""
    if len(sizes_of(grid.blocks)) < 2:
        return "one block: nothing is left to train on", []
    if len(grid.weights[background]) > len(grid.candidate_rows):
        return "logistic regression needs one background for all mainshocks", []
    designs = [_design(grid, modalities, station, pairs) for station in shared_stations(modalities)]
    weights = pairs.spread(grid.weights[background])
    return next((why for design in designs if (why := _unusable(design, weights))), ""), designs


def _design(grid: Grid, modalities: Sequence[ManyColumns], station: str, pairs: _Pairs) -> _Design:
    """Return the usable columns of all places: those that novelty would use on the uniform candidates."""
    rows, fitted = pairs.spread(grid.candidate_rows), pairs.spread(grid.candidate)
    usable = [select_columns(columns_at(m, station, rows), fitted)[0] for m in modalities]
    kept = [(m, columns) for m, columns in zip(modalities, usable, strict=True) if columns.names]
    others = [(m.residual_on, m.residual_on.columns) for m, _ in kept if m.residual_on is not None]
    taken = [*others, *((m, columns.names) for m, columns in kept)]

    def table(windows: Integers) -> Floats:
        empty = np.empty((len(windows), 0))
        return np.concatenate([empty, *(m.features.take(station, windows, names) for m, names in taken)], axis=1)

    present = np.all([m.has(station, rows) for m in modalities], axis=0)
    widths = tuple(len(columns.names) for _, columns in kept)
    time = np.arange(len(rows)) if len(pairs.first) == 2 else pairs.index
    candidates = Candidates(table(rows), time, pairs.first)
    return _Design(candidates, present, table(grid.positive_rows), widths, sum(len(names) for _, names in others))


def _unusable(design: _Design, weights: Floats) -> str:
    """Return why a design cannot be trained on, "" where it can."""
    if not design.widths:
        return "no usable column is left"
    known = design.candidates.known[design.present & (weights > 0)]
    missing = float(np.mean(~known)) if len(known) else 1.0
    return f"values missing in {100 * missing:.0f}% of the background" if missing > MOST_MISSING else ""


def _untested(grid: Grid, score: str) -> str:
    """Return why a classifier's AUC is shown without p and word, "" where it has both."""
    blocks = len(sizes_of(grid.blocks))
    if blocks < FEW_BLOCKS:
        return TOO_FEW
    return TOO_FEW_FORWARD if score == "logistic_forward" and blocks < FORWARD_BLOCKS else ""


def _mean(u: Floats) -> float:
    return float(np.nanmean(u)) if np.isfinite(u).any() else float("nan")


def _keep(why: Mapping[str, str], *keys: str) -> dict[str, str]:
    return {key: reason for key, reason in why.items() if key in keys}


def _cell_of(
    study: Study, grid: Grid, labels: tuple[str, str], background: str, u: Floats, train_positives: int, untested: str
) -> Cell:
    used = np.isfinite(u)
    why = {"p_shift": "a classifier is refitted for each null; shifts are for label-free scores"}
    if untested:
        why |= dict.fromkeys(("p_pseudo", "p_adjusted", "verdict", "critical_auc", "detectable_auc"), untested)
    elif background == "quiet":
        why |= dict.fromkeys(("p_pseudo", "p_adjusted"), NO_P_QUIET)
    weights = grid.weights[background]
    windows, days, effective = background_size(grid, weights, np.ones(weights.shape, dtype=bool))
    return Cell(
        *labels, grid.hours, background, grid.layout, grid.names, grid.blocks, u,
        family=not untested,
        auc=_mean(u),
        n_background=windows,
        n_days=days,
        n_effective=effective,
        train_positives=train_positives,
        interval=auc_interval(study, u[used], grid.blocks[used]),
        why_null=why,
    )  # fmt: skip


def _with_reliability(study: Study, grid: Grid, cell: Cell, held: Sequence[Held], weights: Floats) -> Cell:
    """Return a cell with what its held-out probabilities are worth, or why there are too few to say."""
    used = int(cell.used.sum())
    if used < LEAST_POSITIVES:
        why = f"{used} held-out mainshocks: probabilities are looked at from {LEAST_POSITIVES} on"
        return replace(cell, why_null={**cell.why_null, "reliability": why})
    decision, background, mass = _decisions(held, weights)
    record_h = (study.study.end - study.study.start).total_seconds() / 3600 * len(grid.candidate_rows)
    share = min(1.0, used * window_length_h(study, grid.layout, grid.hours) / record_h)
    found = {"balanced": calibration_of(decision, background, mass, 0.5)}
    if share < 1:
        found["record"] = calibration_of(decision, background, mass, share)
    return replace(cell, reliability=found)


def _decisions(held: Sequence[Held], weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return decisions of held-out mainshocks and of the candidates that they are ranked among, and these' mass.

    Of several stations the median. As in an AUC, the background of each mainshock has as much mass as any other's.
    """
    positive = np.full((len(held), len(held[0].u)), np.nan)
    candidate = np.full((len(held), len(weights)), np.nan)
    group, member = np.full(len(weights), -1), np.full(len(held[0].u), -1)
    for s, station in enumerate(held):
        for made in station.decided:
            positive[s, made.held], candidate[s, made.rows] = made.decision, made.background
            group[made.rows] = member[made.held] = made.group
    of_mainshock, of_candidate = median_over_stations(positive), median_over_stations(candidate)
    used, asked = np.isfinite(of_mainshock), np.isfinite(of_candidate)
    k = len(member)
    mass = np.bincount(group[asked], weights[asked], k)[group[asked]]
    mass = weights[asked] / mass * np.bincount(member[used], minlength=k)[group[asked]]
    return of_mainshock[used], of_candidate[asked], mass
