"""Tables to arrays: the windows of one layout and length on their grid of ends, and a score ranked on it.

Axes: S stations (one, "", where a modality has none), P places (one for the region, K with a radius), K mainshocks,
n candidate ends in order of time. Candidates inside zones keep their place on the grid: shifted times visit them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, distance_km, times_us
from seisprobe.evaluation.scores import percentiles
from seisprobe.windows import GRID_REASONS, PLACE_COLUMNS, rows_of

__all__ = [
    "Features",
    "Grid",
    "Ranked",
    "Scores",
    "align",
    "make_grid",
    "median_over_stations",
    "rank",
    "rank_positives",
    "read_scores",
]

Bools = np.ndarray


@dataclass(frozen=True)
class Features:
    """A feature table beside a plan: whole rows by position instead of by window id, which is looked up once.

    Parameters
    ----------
    stations : tuple of str
    columns : tuple of str
    values : ndarray, shape (m, d)
    position : ndarray of int64, shape (S, windows)
        Row of `values` for each station and each row of the plan; −1 where a window has none.
    """

    stations: tuple[str, ...]
    columns: tuple[str, ...]
    values: Floats
    position: Integers

    def take(self, station: str, rows: Integers, columns: tuple[str, ...]) -> Floats:
        """Return columns of windows by their row in the plan, shape (…, d), NaN where a window has no row.

        A table without stations goes with any.
        """
        position = self._position_at(station)[rows]
        found = np.full((*position.shape, len(columns)), np.nan)
        there = position >= 0
        chosen = [self._order[c] for c in columns]
        every = chosen == list(range(self.values.shape[1]))
        found[there] = self.values[position[there]] if every else self.values[position[there][:, None], chosen]
        return found

    def has(self, station: str, rows: Integers) -> Bools:
        """Return which windows, by their row in the plan, have a row here."""
        return np.asarray(self._position_at(station)[rows] >= 0)

    @cached_property
    def _order(self) -> dict[str, int]:
        return {column: j for j, column in enumerate(self.columns)}

    def _position_at(self, station: str) -> Integers:
        return np.asarray(self.position[self.stations.index(station if station in self.stations else "")])


def align(windows: pd.DataFrame, table: pd.DataFrame) -> Features:
    """Return a feature table by position in a plan.

    Parameters
    ----------
    windows : DataFrame
        The plan.
    table : DataFrame
        ``window_id, station``, columns.
    """
    columns = tuple(c for c in table.columns if c not in ("window_id", "station"))
    stations = tuple(sorted(table["station"].unique()))
    row = rows_of(windows, table["window_id"])
    position = np.full((len(stations), len(windows)), -1, dtype=np.int64)
    station_of = pd.Index(stations).get_indexer(table["station"])
    known = row >= 0
    position[station_of[known], row[known]] = np.flatnonzero(known)
    return Features(stations, columns, table[list(columns)].to_numpy(dtype=np.float64), position)


@dataclass(frozen=True)
class Grid:
    """The windows of one layout and length.

    Parameters
    ----------
    layout, hours
        Which windows these are.
    names : tuple of str, length K
        Mainshocks with a positive window, in order of time.
    blocks : ndarray of int64, shape (K,)
    positive_rows : ndarray of int64, shape (K,)
        Rows of the plan.
    positive_ends : ndarray of int64, shape (K,)
    ends : ndarray of int64, shape (n,)
    candidate_rows : ndarray of int64, shape (P, n)
    candidate : ndarray of bool, shape (P, n)
        False inside zones.
    weights : mapping of background to ndarray, shape (P or K, n)
        0 where a candidate is not in the background.
    why_none : mapping of background to str
        Why a background is empty, or lacks the set of a mainshock.
    near : ndarray of bool, shape (P, K)
        Whose zones a place's windows stay out of: of all mainshocks, or of those whose circles meet its own.
    sampled : bool
        Backgrounds are samples of the candidates: all others have no features.
    zone_us : (int, int)
        How much later windows end that are in the zone of a mainshock at a window, microseconds.
    """

    layout: str
    hours: float
    names: tuple[str, ...]
    blocks: Integers
    positive_rows: Integers
    positive_ends: Integers
    ends: Integers
    candidate_rows: Integers
    candidate: Bools
    weights: Mapping[str, Floats]
    why_none: Mapping[str, str]
    near: Bools
    sampled: bool = False
    zone_us: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Scores:
    """One score of one grid: candidates (S, P, n) and positives (S, K); NaN where a window has none.

    `lost` (S, K) and `absent` (S, P, n) are True where a window has no row at all (an outage), not merely no value in
    this column.
    """

    stations: tuple[str, ...]
    candidates: Floats
    positives: Floats
    lost: Bools
    absent: Bools


@dataclass(frozen=True)
class Ranked:
    """A score as percentiles of one background: candidates (S, P or K, n) and positives (S, K)."""

    stations: tuple[str, ...]
    candidates: Floats
    positives: Floats

    @property
    def u(self) -> Floats:
        """Percentile of each mainshock, the median over stations, shape (K,)."""
        return median_over_stations(self.positives)


def median_over_stations(values: Floats) -> Floats:
    """Return the median over the first axis, NaN left out (all NaN gives NaN)."""
    if len(values) == 1:
        return np.asarray(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "All-NaN slice": NaN is the answer
        return np.asarray(np.nanmedian(values, axis=0))


def make_grid(
    windows: pd.DataFrame, weighted: pd.DataFrame, layout: str, hours: float, why_none: Mapping[str, str]
) -> Grid:
    """Return the grid of one layout and length from a plan's tables.

    Parameters
    ----------
    windows : DataFrame
        The plan, index from 0.
    weighted : DataFrame
        ``row`` (of the plan), ``background``, ``mainshock``, ``weight``.
    layout, hours
        Which windows.
    why_none : mapping of background to str
    """
    of_grid = windows["layout"].eq(layout) & windows["hours"].eq(hours)
    rows = windows.loc[of_grid, [*PLACE_COLUMNS, "kind", "block", "end", "reason"]]
    positive = rows.loc[rows["kind"].eq("positive")].sort_values("end", kind="stable")
    on_grid = rows.loc[rows["kind"].eq("background") | rows["reason"].isin(GRID_REASONS)].sort_values(
        "end", kind="stable"
    )
    names = tuple(positive["mainshock"])
    by_place = [on_grid]
    if not on_grid["radius_km"].isna().all():
        named = dict(list(on_grid[["mainshock", "kind", "end"]].groupby("mainshock", sort=False)))
        by_place = [named[name] for name in names]
    by_place = by_place or [on_grid.iloc[:0]]  # a radius, and no mainshock with a window of this length
    candidate_rows = np.stack([table.index.to_numpy() for table in by_place])
    return Grid(
        layout=layout,
        hours=float(hours),
        names=names,
        blocks=positive["block"].to_numpy(dtype=np.int64),
        positive_rows=positive.index.to_numpy(),
        positive_ends=times_us(positive["end"]),
        ends=times_us(by_place[0]["end"]),
        candidate_rows=candidate_rows,
        candidate=np.stack([table["kind"].eq("background").to_numpy() for table in by_place]),
        weights=_weights(weighted, candidate_rows, names, len(windows)),
        why_none=why_none,
        near=_near(positive, len(candidate_rows)),
    )


def _near(positive: pd.DataFrame, places: int) -> Bools:
    """Return which mainshocks (K) share ground with each place, from the positives' own places."""
    if places != len(positive) or positive["radius_km"].isna().any():
        return np.ones((places, len(positive)), dtype=bool)
    latitude, longitude = positive["latitude"].to_numpy(), positive["longitude"].to_numpy()
    reach = 2 * positive["radius_km"].to_numpy()
    away = [distance_km(latitude, longitude, a, b) for a, b in zip(latitude, longitude, strict=True)]
    return np.asarray(np.stack(away) <= reach)


def _weights(
    weighted: pd.DataFrame, candidate_rows: Integers, names: tuple[str, ...], n_windows: int
) -> dict[str, Floats]:
    """Return each background's weights on the grid, by place, or by mainshock where it has sets of its own."""
    place = np.full(n_windows, -1, dtype=np.int64)
    place[candidate_rows.ravel()] = np.arange(candidate_rows.size)
    weights: dict[str, Floats] = {}
    for background, table in weighted.groupby("background", sort=False):
        where = place[table["row"].to_numpy()]
        here = where >= 0
        if not here.any():
            continue
        owner, weight = table["mainshock"].to_numpy(dtype=object)[here], table["weight"].to_numpy()[here]
        if (owner == "").all() or len(candidate_rows) > 1:
            flat: Floats = np.bincount(where[here], weight, candidate_rows.size).astype(np.float64)
            weights[str(background)] = flat.reshape(candidate_rows.shape)
        else:
            own = [np.bincount(where[here][owner == n], weight[owner == n], candidate_rows.size) for n in names]
            weights[str(background)] = np.stack(own)
    return weights


def read_scores(grid: Grid, features: Features, column: str, sign: float = 1.0) -> Scores:
    """Return one column of a feature table on a grid, times its sign (higher is more anomalous)."""
    shape = grid.candidate_rows.shape
    candidates = np.full((len(features.stations), *shape), np.nan)
    positives = np.full((len(features.stations), len(grid.names)), np.nan)
    for s, station in enumerate(features.stations):
        candidates[s] = sign * features.take(station, grid.candidate_rows, (column,))[..., 0]
        positives[s] = sign * features.take(station, grid.positive_rows, (column,))[..., 0]
    lost, absent = (features.position[:, rows] < 0 for rows in (grid.positive_rows, grid.candidate_rows))
    return Scores(features.stations, candidates, positives, lost, absent)


def rank(grid: Grid, scores: Scores, background: str) -> Ranked:
    """Return a score's percentiles in a background, for positives and for every candidate on the grid.

    Each station and each mainshock is ranked in its own background. A candidate that is part of the background counts
    itself as a tie, so that the mean over the background is exactly one half.
    """
    weights = grid.weights[background]
    owners = max(len(weights), scores.candidates.shape[1])
    candidates = np.full((len(scores.stations), owners, len(grid.ends)), np.nan)
    for s in range(len(scores.stations)):
        for q in range(owners):
            values = scores.candidates[s, q % scores.candidates.shape[1]]
            candidates[s, q] = percentiles(values, values, weights[q % len(weights)])
    return Ranked(scores.stations, candidates, rank_positives(grid, scores, background))


def rank_positives(grid: Grid, scores: Scores, background: str) -> Floats:
    """Return the percentiles of the positives alone, (S, K)."""
    weights = grid.weights[background]
    owners = max(len(weights), scores.candidates.shape[1])
    ranked = np.full(scores.positives.shape, np.nan)
    for s in range(len(scores.stations)):
        for q in range(owners):
            mine = [q] if owners > 1 else list(range(len(grid.names)))
            values = scores.candidates[s, q % scores.candidates.shape[1]]
            ranked[s, mine] = percentiles(scores.positives[s, mine], values, weights[q % len(weights)])
    return ranked
