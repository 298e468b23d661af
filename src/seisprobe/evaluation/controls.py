"""What else could make a window special: the clock, the season, missing small events (PROTOCOL 7).

A control is a score of its own, judged in the same background by the same draws. `clock` and `drift` are made from a
cell's own percentiles: each window gets the mean percentile of the background windows at the same time of day and kind
of day, or of the same fortnight.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seisprobe.backgrounds import near_hour, weekend
from seisprobe.catalog import Floats, Integers
from seisprobe.evaluation.grid import Grid, Ranked, Scores
from seisprobe.windows import DAY_US, HOUR_US

__all__ = ["clock_scores", "drift_scores"]

DRIFT_DAYS = 15


def clock_scores(grid: Grid, ranked: Ranked, background: str) -> Scores:
    """Return, for each window, the mean percentile of background windows of the same UTC hour ± 1 and weekday class.

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
    near = np.stack([near_hour(np.arange(24) * HOUR_US, hour * HOUR_US) for hour in range(24)])

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
    """Return, for each window, the mean percentile of background windows within 15 days before and after."""
    reach = DRIFT_DAYS * DAY_US

    def mean_at(percentiles: Floats, weights: Floats, times: Integers) -> Floats:
        used = np.where(np.isfinite(percentiles), weights, 0.0)
        mass = np.concatenate([[0.0], np.cumsum(used)])
        total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(percentiles) * used)])
        first = np.searchsorted(grid.ends, times - reach, side="left")
        last = np.searchsorted(grid.ends, times + reach, side="right")
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((total[last] - total[first]) / (mass[last] - mass[first]))

    return _from_percentiles(grid, ranked, background, mean_at)


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
