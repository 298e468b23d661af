"""One trial of injection and recovery: pseudo-mainshocks of a study become its positives, and are judged (PROTOCOL 6).

They are drawn from the study's own background sample as the protocol draws them. What meets their zones leaves the
background, as what meets the real ones has; the real mainshocks are no positives. Novelty is fitted anew, and p comes
from pseudo-mainshocks of the trial's own. A further member of a block follows a real mainshock in the positives and in
the trial's own draws alike: nothing else in the record follows a large event as its aftershocks do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from seisprobe.catalog import Floats, Integers
from seisprobe.errors import FolderError, StudyError
from seisprobe.evaluation.cells import generator
from seisprobe.evaluation.grid import Grid, Scores, median_over_stations, rank_positives
from seisprobe.evaluation.judgement import Key, Tables, make_board
from seisprobe.evaluation.multivariate import ManyColumns, columns_at, shared_stations
from seisprobe.evaluation.novelty import Columns, novelty
from seisprobe.evaluation.nulls import drawn_percentiles, null_auc, one_sided_p
from seisprobe.evaluation.shared_draws import drawable_ends, pseudo_mainshocks
from seisprobe.mainshocks import positive_distance_h
from seisprobe.modalities import MODALITIES
from seisprobe.planning import Plan, background_table, modalities_of
from seisprobe.samples import sample_weights
from seisprobe.storage import feature_file, read_table
from seisprobe.study import Study
from seisprobe.windows import HOUR_US

__all__ = ["Bench", "Part", "Put", "Trial", "judge_trial", "judge_trials", "open_bench", "pseudo_positives"]

BATCH, MOST_BATCHES = 256, 400


# --- the bench -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """The windows of one station and place that any trial looks at.

    Parameters
    ----------
    station, place : int
    index : ndarray of int64, shape (m,)
        Candidates on the grid, ascending.
    columns : tuple of Columns
        By modality, m rows each.
    """

    station: int
    place: int
    index: Integers
    columns: tuple[Columns, ...]


@dataclass(frozen=True)
class Bench:
    """A study's primary cell laid out for trials: tables aligned once, and all that a worker must know.

    Parameters
    ----------
    study : Study
    key : cell key
    grid : Grid
    drawable : ndarray of bool, shape (P, n)
        Candidates that pseudo-mainshocks are drawn from.
    covered : ndarray of bool, shape (n,)
        Candidates with a row at some station: into others no precursor can be put.
    own_zone : ndarray
        Steps from a window that points at a mainshock to the candidates that meet its zone.
    stations : tuple of str
    parts : tuple of Part
    moved : tuple of str
        By modality of the cell: the feature table that waveforms make, "" for one that a precursor leaves as it is.
    """

    study: Study
    key: Key
    grid: Grid
    drawable: np.ndarray
    covered: np.ndarray
    own_zone: Integers
    stations: tuple[str, ...]
    parts: tuple[Part, ...]
    moved: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """What became of one trial: percentiles of its K pseudo-mainshocks, their mean, its p, and its own null."""

    number: int
    u: Floats
    auc: float
    p: float
    null: Floats


Put = Callable[[int, int, Floats, Integers, int], Floats]


def open_bench(folder: Path, plan: Plan, study: Study, key: Key) -> Bench:
    """Lay the primary cell of a finished study out for trials.

    Raises
    ------
    StudyError
        The cell is none of waveforms, or not novelty, or its background has no sampled windows.
    """
    modalities = modalities_of(study)
    modality, _, hours, background, layout = key
    named = modalities[modality].parts or (modality,)
    specs = [modalities.get(name) or MODALITIES[name] for name in named]
    read = [spec.table or name for name, spec in zip(named, specs, strict=True)]
    moved = tuple(name if spec.sampled else "" for name, spec in zip(read, specs, strict=True))
    others = [spec.residual_on for spec in specs if spec.residual_on]
    tables = Tables(
        mainshocks=plan.mainshocks,
        windows=plan.windows,
        backgrounds=background_table(plan.backgrounds),
        why_none={},
        features={name: _features(folder, plan.windows, name, key) for name in {*read, *others}},
        modalities={name: modalities.get(name) or MODALITIES[name] for name in {modality, *named, *others}},
        samples=None if plan.samples is None else sample_weights(plan.windows, plan.samples, plan.backgrounds),
    )
    board = make_board(study, tables)
    ground, many = board.ground(modality), board.columns(modality)
    grid = ground.grids[layout, hours]
    if background not in grid.weights:
        raise StudyError(f"{folder}: no sampled window belongs to the background '{background}'; name another headline")
    stations = tuple(shared_stations(many))
    parts = tuple(_parts(grid, stations, many))
    covered = np.zeros(len(grid.ends), dtype=bool)
    for part in parts:
        covered[part.index] = True
    drawable = drawable_ends(study, ground.grids, (layout, hours))
    own_zone = ground.nulls[layout, hours].own_zone
    return Bench(study, key, grid, drawable, covered, own_zone, stations, parts, moved)


def _features(folder: Path, windows: pd.DataFrame, name: str, key: Key) -> pd.DataFrame:
    """Return the rows of a feature table that the cell's windows have."""
    found = read_table(folder / "features" / feature_file(name))
    if found is None:
        raise FolderError(f"{folder}: has no features/{feature_file(name)}; run its study again")
    own = windows.loc[windows["hours"].eq(key[2]) & windows["layout"].eq(key[4]), "window_id"]
    return found[0].loc[found[0]["window_id"].isin(own)].reset_index(drop=True)


def _parts(grid: Grid, stations: Sequence[str], many: Sequence[ManyColumns]) -> Iterator[Part]:
    """Yield what novelty is fitted on: the windows of all backgrounds, by station and place."""
    for s, station in enumerate(stations):
        for q, rows in enumerate(grid.candidate_rows):
            used = np.zeros(len(grid.ends), dtype=bool)
            for weights in grid.weights.values():
                used |= (weights[q] if len(weights) == len(grid.candidate_rows) else weights.max(axis=0)) > 0
            index = np.flatnonzero(used)
            index = index[np.all([m.has(station, rows[index]) for m in many], axis=0)]
            yield Part(s, q, index, tuple(columns_at(m, station, rows[index]) for m in many))


# --- one trial -------------------------------------------------------------------------------------------------------


def pseudo_positives(bench: Bench, trials: int, seed: int) -> Integers:
    """Draw the pseudo-mainshocks of all trials, each more than D from the others of its trial, as positives are.

    Returns
    -------
    ndarray of int64, shape (trials, K)
        Indices on the grid; the first of many trials are those of few.

    Raises
    ------
    StudyError
        Too few background windows to draw K of them apart.
    """
    grid, rng = bench.grid, generator(seed, "injected positives")
    least = round(positive_distance_h(bench.study) * HOUR_US)
    kept: list[Integers] = []
    for _ in range(MOST_BATCHES):
        drawn = pseudo_mainshocks(bench.study, bench.key[3], grid, bench.drawable & bench.covered, BATCH, rng)
        apart = np.all(np.diff(np.sort(grid.ends[drawn], axis=1), axis=1) > least, axis=1)
        kept.append(drawn[apart])
        if not len(drawn) or sum(map(len, kept)) >= trials:
            break
    found = np.concatenate(kept)[:trials]
    if len(found) < trials:
        raise StudyError(
            f"[windows] background_count = {bench.study.windows.background_count}: its windows have no room for"
            f" {len(grid.names)} pseudo-mainshocks {positive_distance_h(bench.study):g} h apart; take a longer record"
            " or more of them"
        )
    return found


def judge_trial(bench: Bench, put: Put | None, positives: Integers, number: int, draws: int, seed: int) -> Trial:
    """Judge one trial.

    Parameters
    ----------
    bench : Bench
    put : callable, optional
        (number of the part, of the modality, their columns (r, D) at the positives, rows of the part (r,), trial) →
        what these columns become; None: no precursor.
    positives : ndarray of int64, shape (K,)
        Indices on the grid.
    number : int
        Of the trial: with the seed, all of its randomness.
    draws, seed : int
    """
    grid, background, k_all = bench.grid, bench.key[3], len(positives)
    zone = (positives[:, None] + bench.own_zone).ravel()
    outside = np.ones(len(grid.ends), dtype=bool)
    outside[zone[(zone >= 0) & (zone < len(outside))]] = False
    outside[positives] = False
    places = len(grid.candidate_rows)
    candidates = np.full((len(bench.stations), places, len(grid.ends)), np.nan)
    own = np.full((len(bench.stations), k_all), np.nan)
    for i, part in enumerate(bench.parts):
        mine = np.arange(k_all) if places == 1 else np.array([part.place])
        mine = mine[np.isin(positives[mine], part.index)]
        rows = np.searchsorted(part.index, positives[mine])
        fitted = outside[part.index]
        fitted[rows] = True
        columns = list(part.columns)
        if put is not None:
            columns = [_with(c, rows, put(i, j, c.table[rows], rows, number)) for j, c in enumerate(columns)]
        scores = novelty(columns, fitted).scores
        candidates[part.station, part.place, part.index] = scores
        own[part.station, mine] = scores[rows]
    scored = Scores(bench.stations, candidates, own, np.isnan(own), np.isnan(candidates))
    remaining = replace(grid, weights={background: grid.weights[background] * outside})
    u = median_over_stations(rank_positives(remaining, scored, background))
    rng = np.random.default_rng([seed, crc32(b"injected null"), number])
    drawn = pseudo_mainshocks(bench.study, background, remaining, bench.drawable, draws, rng)
    used = np.isfinite(u)
    if used.sum() < min(2, k_all) or not len(drawn):
        return Trial(number, u, np.nan, np.nan, np.empty(0))
    null = null_auc(drawn_percentiles(scored, remaining.weights[background], drawn, bench.own_zone, grid.near), used)
    auc = float(np.mean(u[used]))
    return Trial(number, u, auc, one_sided_p(auc, null), null)


def _with(columns: Columns, rows: Integers, values: Floats) -> Columns:
    table = columns.table.copy()
    table[rows] = values
    return replace(columns, table=table)


def judge_trials(
    bench: Bench, put: Put | None, positives: Integers, draws: int, seed: int, numbers: Iterable[int]
) -> Iterator[tuple[int, float, float]]:
    """Yield number, AUC and p of trials: what a worker does."""
    with threadpool_limits(1, "blas"):  # what a trial gives does not depend on how many threads a worker has
        for number in numbers:
            trial = judge_trial(bench, put, positives[number], number, draws, seed)
            yield number, trial.auc, trial.p
