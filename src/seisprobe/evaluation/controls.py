"""What else could make a window special: the clock, the season, missing small events (PROTOCOL 7).

A control is a score of its own, judged in the same background by the same draws. `clock` and `drift` are made from a
cell's own percentiles: each window gets the mean percentile of the background windows at the same time of day and kind
of day, or of the same month. The others are modalities; the state of each station is looked at by itself too, because
the median over stations does not show what is wrong with one of three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from seisprobe.backgrounds import weekend
from seisprobe.catalog import Floats, Integers
from seisprobe.evaluation.cells import Cell, Nulls, rank_cell
from seisprobe.evaluation.grid import Grid, Ranked, Scores
from seisprobe.modalities import Modality
from seisprobe.study import Study
from seisprobe.windows import DAY_US, HOUR_US

__all__ = ["clock_scores", "controls_of", "drift_scores"]

DRIFT_DAYS = 15
LEAST_NEIGHBOURS = 5  # windows that drift reaches for where a sample has fewer within its days
STATE = "station_state"


def controls_of(
    study: Study,
    ground: Callable[[str], tuple[Grid, Nulls]],
    cell: Cell,
    cells: Sequence[Cell],
    modalities: Mapping[str, Modality],
) -> dict[str, Cell]:
    """Return the controls of a cell at its own background: those made from it, and those that are modalities.

    Parameters
    ----------
    study : Study
    ground : callable
        Modality → grid and nulls of the cell's layout and length.
    cell : Cell
    cells : sequence of Cell
        All cells of the study.
    modalities : mapping of str to Modality

    Returns
    -------
    dict of str to Cell
        By name of the control; those without AUC or p are left out.
    """
    made: dict[str, Cell] = {}
    background = cell.background
    grid, nulls = ground(cell.modality)
    if cell.ranked is not None:
        kinds = {"clock": clock_scores}
        if modalities[cell.modality].needs != "catalog":
            kinds["drift"] = drift_scores
        for name, function in kinds.items():
            scores = function(grid, cell.ranked, background)
            made[name] = rank_cell(study, grid, nulls, scores, (name, name), background, family=False)
    for other in cells:
        kind = modalities[other.modality]
        alike = (other.background, other.layout, other.hours) == (background, cell.layout, cell.hours)
        if kind.control and not kind.baseline and alike:
            made[other.modality] = other
    if STATE in made:
        single = _single_stations(study, *ground(STATE), made[STATE])
        made[STATE] = _strongest([made[STATE], *single], study.evaluation.alpha)
    return {name: c for name, c in made.items() if c.auc is not None and c.p_pseudo is not None}


def _single_stations(study: Study, grid: Grid, nulls: Nulls, state: Cell) -> Iterator[Cell]:
    """Yield a control for each of several stations by itself, its p times their number (Bonferroni)."""
    scores = state.scores
    many = 0 if scores is None else len(scores.stations)
    for s in range(many if many > 1 else 0):
        assert scores is not None
        parts = (scores.candidates, scores.positives, scores.lost, scores.absent)
        own = Scores(scores.stations[s : s + 1], *(part[s : s + 1] for part in parts))
        made = rank_cell(study, grid, nulls, own, (STATE, state.score), state.background, family=False)
        if made.p_pseudo is not None:
            yield replace(made, p_pseudo=min(1.0, many * made.p_pseudo))


def _strongest(cells: Sequence[Cell], alpha: float) -> Cell:
    """Return, of the cells with p ≤ alpha, the one with the highest AUC; where there is none, that with the least p."""
    known = [cell for cell in cells if cell.p_pseudo is not None and cell.auc is not None]
    significant = [cell for cell in known if (cell.p_pseudo or 0.0) <= alpha]
    if significant:
        return max(significant, key=lambda cell: cell.auc or 0.0)
    return min(known, key=lambda cell: cell.p_pseudo or 0.0, default=cells[0])


def clock_scores(grid: Grid, ranked: Ranked, background: str) -> Scores:
    """Return, for each window, the mean percentile of background windows of the same UTC hour ± 1 and weekday class.

    Where candidates are more than two hours apart, the hours reach half as far as they are: no time of day is without.

    Parameters
    ----------
    grid : Grid
    ranked : Ranked
        The cell's percentiles in that background.
    background : str

    Returns
    -------
    Scores
        Shape of `ranked`; NaN where no background window has that time.
    """
    step = int(np.diff(grid.ends).min(initial=DAY_US)) if len(grid.ends) > 1 else HOUR_US
    apart = np.abs(np.arange(24)[:, None] - np.arange(24))
    near = np.minimum(apart, 24 - apart) <= max(1, -(-step // (2 * HOUR_US)))

    def slot_of(times: Integers) -> tuple[Integers, Integers]:
        """Whole hours for positives as for candidates: with minutes, a positive would average two hours, not three."""
        return weekend(times).astype(np.int64), times % DAY_US // HOUR_US

    def mean_at(percentiles: Floats, weights: Floats, times: Integers) -> Floats:
        used = np.where(np.isfinite(percentiles), weights, 0.0)
        mass, total = np.zeros((2, 24)), np.zeros((2, 24))
        np.add.at(mass, slot_of(grid.ends), used)
        np.add.at(total, slot_of(grid.ends), np.nan_to_num(percentiles) * used)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(((total @ near) / (mass @ near))[slot_of(times)])

    return _from_percentiles(grid, ranked, background, mean_at)


def drift_scores(grid: Grid, ranked: Ranked, background: str) -> Scores:
    """Return, for each window, the mean percentile of background windows within 15 days before and after.

    Of a sample at least the five nearest are taken, however far: without them there would be no control.
    """
    reach = DRIFT_DAYS * DAY_US

    def mean_at(percentiles: Floats, weights: Floats, times: Integers) -> Floats:
        used = np.where(np.isfinite(percentiles), weights, 0.0)
        there = np.flatnonzero(used > 0)
        ends = grid.ends[there]
        mass = np.concatenate([[0.0], np.cumsum(used[there])])
        total = np.concatenate([[0.0], np.cumsum(percentiles[there] * used[there])])
        first, last = _neighbours(ends, times, reach)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((total[last] - total[first]) / (mass[last] - mass[first]))

    return _from_percentiles(grid, ranked, background, mean_at)


def _neighbours(ends: Integers, times: Integers, reach: int) -> tuple[Integers, Integers]:
    """Return the first and one past the last of the ends within reach of each time, or of the five nearest."""
    first = np.searchsorted(ends, times - reach, side="left")
    last = np.searchsorted(ends, times + reach, side="right")
    least = min(LEAST_NEIGHBOURS, len(ends))
    for row in np.flatnonzero(last - first < least):
        starts = np.arange(len(ends) - least + 1)
        furthest = np.maximum(np.abs(ends[starts] - times[row]), np.abs(ends[starts + least - 1] - times[row]))
        first[row] = starts[np.argmin(furthest)]
        last[row] = first[row] + least
    return first, last


def _from_percentiles(
    grid: Grid, ranked: Ranked, background: str, mean_at: Callable[[Floats, Floats, Integers], Floats]
) -> Scores:
    """Apply a mean of percentiles to every station and owner of a background."""
    weights = grid.weights[background]
    candidates = np.full(ranked.candidates.shape, np.nan)
    positives = np.full(ranked.positives.shape, np.nan)
    owners = ranked.candidates.shape[1]
    for s in range(len(ranked.stations)):
        for q in range(owners):
            percentiles, weight = ranked.candidates[s, q], weights[q % len(weights)]
            candidates[s, q] = mean_at(percentiles, weight, grid.ends)
            mine = [q] if owners > 1 else list(range(len(grid.names)))
            positives[s, mine] = mean_at(percentiles, weight, grid.positive_ends[mine])
    return Scores(ranked.stations, candidates, positives, np.isnan(positives), np.isnan(candidates))
