"""Cells: a score of a modality, ranked in a background, with everything that says whether its AUC means anything.

A cell is one (modality, score, length, background, layout). What cannot be computed is None, with the reason under
`why_null`. The order of work is that of the protocol: rank, null, power; the families' adjusted p and the words come
after, in `judgement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import numpy as np

from seisprobe.catalog import Floats, Integers
from seisprobe.evaluation.alarms import Alarm, alarm_figures, information_gain
from seisprobe.evaluation.grid import Grid, Ranked, Scores, median_over_stations, rank
from seisprobe.evaluation.nulls import drawn_percentiles, independent_number, null_auc, one_sided_p, shifted_auc
from seisprobe.evaluation.power import critical_auc, detectable_auc, inversion_interval
from seisprobe.study import Study
from seisprobe.windows import DAY_US, window_length_h

__all__ = [
    "NO_P_QUIET",
    "Cell",
    "Nulls",
    "auc_interval",
    "background_size",
    "empty_cell",
    "generator",
    "rank_cell",
    "sizes_of",
]

MOST_MISSING = 0.05
LEAST_MAINSHOCKS = 2
MANY_MAINSHOCKS = 10
FEWEST_TO_RESAMPLE = 5
NO_SHIFTS = "scores do not cover the whole record, or shifted times do not follow the mainshocks' rule"
NO_P_QUIET = "chosen by what follows it: an AUC, no p"
NO_MAINSHOCK = "no mainshock has a window of this length inside the record"


def generator(seed: int, use: str) -> np.random.Generator:
    """Return the generator of one use, named so that a new use changes no other's numbers."""
    return np.random.default_rng([seed, crc32(use.encode())])


def sizes_of(blocks: Integers) -> tuple[int, ...]:
    """Return the sizes of blocks, ascending.

    Examples
    --------
    >>> sizes_of(np.array([1, 2, 2]))
    (1, 2)
    """
    return tuple(sorted(int(n) for n in np.unique(blocks, return_counts=True)[1]))


@dataclass(frozen=True)
class Nulls:
    """Pseudo-mainshocks of each background and joint shifts, made once and shared by all cells of a grid.

    Parameters
    ----------
    draws : mapping of background to ndarray, shape (r, K)
        Indices on this grid.
    shifts : ndarray or None, shape (q, K)
        None where scores do not cover the whole record.
    zones : tuple of ndarray
        By place: steps from the first mainshock's index to every candidate in a zone.
    own_zone : ndarray
        Steps from a window that points at a mainshock to the candidates that meet its zone.
    around : int
        Steps in the whole record.
    """

    draws: Mapping[str, Integers]
    shifts: Integers | None
    zones: tuple[Integers, ...]
    own_zone: Integers
    around: int


@dataclass(frozen=True)
class Cell:
    """One cell, computed as far as it can be by itself."""

    modality: str
    score: str
    hours: float
    background: str
    layout: str
    names: tuple[str, ...]
    blocks: Integers
    u: Floats
    family: bool = True
    auc: float | None = None
    n_background: int | None = None
    n_days: int | None = None
    n_effective: float | None = None
    train_positives: int | None = None
    drawn: Floats | None = None
    null: Floats | None = None
    shift_null: Floats | None = None
    p_pseudo: float | None = None
    p_shift: float | None = None
    p_etas: float | None = None
    n_independent: float | None = None
    interval: tuple[float, float] | None = None
    alarm: Alarm | None = None
    information_gain: float | None = None
    reliability: Mapping[str, Any] | None = None
    stations: Mapping[str, float] = field(default_factory=dict)
    scores: Scores | None = None
    ranked: Ranked | None = None
    why_null: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, float, str, str]:
        """What tells cells apart, in the order in which results are sorted."""
        return (self.modality, self.score, self.hours, self.background, self.layout)

    @property
    def used(self) -> np.ndarray:
        """Which mainshocks have a percentile, booleans of shape (K,)."""
        return np.isfinite(self.u)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the blocks of the mainshocks used."""
        return sizes_of(self.blocks[self.used])

    def critical(self, alpha: float) -> float | None:
        """Return the (1 − alpha) quantile of the cell's own null, None without one."""
        if self.null is None:
            return None
        return float(np.quantile(self.null[np.isfinite(self.null)], 1.0 - alpha))

    def detectable(self, alpha: float) -> float | None:
        """Return the true AUC that reaches the cell's critical value with 80% power.

        The critical value is taken no lower than that of mainshocks all apart, which is the best case: a null of a
        score with many ties is narrow, but not because the score could tell more.
        """
        critical = self.critical(alpha)
        if critical is None:
            return None
        return detectable_auc(self.sizes, max(critical, critical_auc((1,) * int(self.used.sum()), alpha)))

    def bates(self, alpha: float) -> dict[str, float | None]:
        """Return the best-case critical AUC for K mainshocks apart and for the blocks as they are."""
        k = int(self.used.sum())
        if not k:
            return {"k": None, "k_effective": None}
        return {"k": critical_auc((1,) * k, alpha), "k_effective": critical_auc(self.sizes, alpha)}


def empty_cell(grid: Grid, modality: str, score: str, background: str, why: str, *, family: bool = True) -> Cell:
    """Return a cell that could not be computed, with the reason."""
    nothing = np.full(len(grid.names), np.nan)
    return Cell(
        modality, score, grid.hours, background, grid.layout, grid.names, grid.blocks, nothing, family=family,
        why_null={"auc": why},
    )  # fmt: skip


def rank_cell(
    study: Study,
    grid: Grid,
    nulls: Nulls,
    scores: Scores,
    labels: tuple[str, str],
    background: str,
    *,
    family: bool = True,
) -> Cell:
    """Rank one label-free score in one background, and set its null, interval and alarm figures beside it.

    Parameters
    ----------
    study : Study
    grid : Grid
    nulls : Nulls
    scores : Scores
    labels : (modality, score)
    background : str
        One that the grid has weights for.
    family : bool
        Whether the cell counts among the tests of its background.
    """
    modality, score = labels
    if not grid.names:
        return empty_cell(grid, modality, score, background, NO_MAINSHOCK, family=family)
    weights = grid.weights[background]
    shape = (max(len(weights), scores.candidates.shape[1]), len(grid.ends))
    why = _why_not(grid, scores, np.broadcast_to(weights > 0, shape))
    if why:
        return empty_cell(grid, modality, score, background, why, family=family)
    ranked = rank(grid, scores, background)
    u = ranked.u
    used = np.isfinite(u)
    if background in grid.why_none:  # a mainshock has no set of its own: its u is null and so is the cell
        cell = empty_cell(grid, modality, score, background, grid.why_none[background], family=family)
        return replace(cell, u=u)
    if used.sum() < min(LEAST_MAINSHOCKS, len(grid.names)):
        lost = ", ".join(n for n, ok in zip(grid.names, used, strict=True) if not ok)
        return empty_cell(grid, modality, score, background, f"mainshocks without data: {lost}", family=family)
    cell = Cell(
        *(modality, score, grid.hours, background, grid.layout, grid.names, grid.blocks, u),
        family=family,
        auc=float(np.mean(u[used])),
        n_independent=independent_number(scores),
        interval=auc_interval(study, u[used], grid.blocks[used]),
        information_gain=information_gain(u[used], grid.blocks[used]) if background == "etas" else None,
        stations=_by_station(ranked, used),
        scores=scores,
        ranked=ranked,
    )
    return _with_nulls(_with_background(cell, study, grid, ranked), grid, nulls, scores)


def _with_background(cell: Cell, study: Study, grid: Grid, ranked: Ranked) -> Cell:
    """Return a cell with the size of its background and what alarming in it would cost."""
    weights, medians = grid.weights[cell.background], median_over_stations(ranked.candidates)
    windows, days, effective = background_size(grid, weights, np.isfinite(medians))
    alarm = _alarm(study, grid, cell.u[cell.used], medians, weights)
    return replace(cell, n_background=windows, n_days=days, n_effective=effective, alarm=alarm)


def _with_nulls(cell: Cell, grid: Grid, nulls: Nulls, scores: Scores) -> Cell:
    """Return a cell with its pseudo-mainshocks and shifts ranked, their p, and why one is missing."""
    assert cell.auc is not None
    assert cell.n_independent is not None
    draws = nulls.draws.get(cell.background)
    drawn, null = None, None
    if draws is not None and len(draws):
        drawn = drawn_percentiles(scores, grid.weights[cell.background], draws, nulls.own_zone, grid.near)
        null = null_auc(drawn, cell.used)
        null = null if np.isfinite(null).any() else None
    shifted, p_shift = None, None
    if cell.background == "uniform" and nulls.shifts is not None and len(nulls.shifts):
        shifted = shifted_auc(scores, nulls.shifts, nulls.zones, nulls.around)
        p_shift = max(one_sided_p(cell.auc, shifted), 1.0 / (1.0 + cell.n_independent))
    return replace(
        cell,
        drawn=drawn,
        null=null,
        shift_null=shifted,
        p_pseudo=None if null is None else one_sided_p(cell.auc, null),
        p_shift=p_shift,
        why_null=_why_null(cell.background, null, shifted, cell.used, nulls),
    )


def _why_not(grid: Grid, scores: Scores, counted: np.ndarray) -> str:
    """Return why a score has no cell: values missing from the background or from a positive that has its row."""
    for s, station in enumerate(scores.stations):
        where = f" at {station}" if station else ""
        bad = np.isnan(scores.positives[s]) & ~scores.lost[s]
        if bad.any():
            names = ", ".join(n for n, b in zip(grid.names, bad, strict=True) if b)
            return f"no value before {names}{where}"
        present = counted & ~np.broadcast_to(scores.absent[s], counted.shape)
        values = np.broadcast_to(scores.candidates[s], counted.shape)[present]
        missing = float(np.mean(np.isnan(values))) if len(values) else 1.0
        if missing > MOST_MISSING:
            return f"no value in {100 * missing:.0f}% of the background{where} (at most 5% may lack one)"
    asked = np.concatenate([scores.candidates.ravel(), scores.positives.ravel()])
    if np.isfinite(asked).any() and np.nanmin(asked) == np.nanmax(asked):
        return "the same value in all windows: there is nothing to rank"
    return ""


def background_size(grid: Grid, weights: Floats, scored: np.ndarray) -> tuple[int, int, float]:
    """Return windows, calendar days and effective number of a background, of the smallest of mainshocks' own sets."""
    shape = (max(len(weights), len(scored)), len(grid.ends))
    counted = np.broadcast_to(weights, shape) * np.broadcast_to(scored, shape)
    row = counted[int(np.argmin((counted > 0).sum(axis=1)))]
    days = len(np.unique(grid.ends[row > 0] // DAY_US))
    return int((row > 0).sum()), days, float(row.sum() ** 2 / (row**2).sum())


def auc_interval(study: Study, u: Floats, blocks: Integers) -> tuple[float, float] | None:
    """Return the 95% interval of the AUC: test inversion below ten mainshocks, BCa over blocks from ten on."""
    if len(u) < 2:
        return None
    if len(u) < MANY_MAINSHOCKS or len(np.unique(blocks)) < FEWEST_TO_RESAMPLE or np.ptp(u) == 0:
        return inversion_interval(float(u.mean()), sizes_of(blocks))
    from scipy.stats import bootstrap

    sums = np.array([u[blocks == b].sum() for b in np.unique(blocks)])
    counts = np.array([(blocks == b).sum() for b in np.unique(blocks)], dtype=np.float64)
    result = bootstrap(
        (sums, counts),
        lambda s, n, axis=-1: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="BCa",
        n_resamples=2000,
        rng=generator(study.study.seed, "interval"),
    ).confidence_interval
    return float(result.low), float(result.high)


def _alarm(study: Study, grid: Grid, u: Floats, candidates: Floats, weights: Floats) -> Alarm:
    record_h = (study.study.end - study.study.start).total_seconds() / 3600 * len(grid.candidate_rows)
    owners = max(len(candidates), len(weights))
    shape = (owners, len(grid.ends))
    return alarm_figures(
        u,
        np.broadcast_to(candidates, shape),
        np.broadcast_to(weights, shape),
        grid.ends,
        recall=study.evaluation.recall,
        length_h=window_length_h(study, grid.layout, grid.hours),
        record_h=record_h,
    )


def _by_station(ranked: Ranked, used: np.ndarray) -> dict[str, float]:
    if ranked.stations == ("",):
        return {}
    rows = zip(ranked.stations, ranked.positives, strict=True)
    return {name: float(np.nanmean(u[used])) for name, u in rows if np.isfinite(u[used]).any()}


def _why_null(
    background: str, null: Floats | None, shifted: Floats | None, used: np.ndarray, nulls: Nulls
) -> dict[str, str]:
    why: dict[str, str] = {}
    if null is None:
        drawn = nulls.draws.get(background)
        why_none = (
            "no room for pseudo-mainshocks" if drawn is None or not len(drawn) else "no pseudo-mainshock has data"
        )
        why_none = NO_P_QUIET if background == "quiet" else why_none
        why |= dict.fromkeys(("p_pseudo", "p_adjusted", "critical_auc", "detectable_auc"), why_none)
    if shifted is None and background != "uniform":
        why["p_shift"] = "shifted times ignore clustering; p_shift belongs to `uniform`"
    elif shifted is None:
        why["p_shift"] = NO_SHIFTS if nulls.shifts is None else "the record is too short"
    if used.sum() < 2:
        why["ci95"] = "one mainshock has no interval"
    return why
