"""Grids of a study, and the pseudo-mainshocks and shifts that all of its cells share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from seisprobe.catalog import Integers, times_us
from seisprobe.evaluation.cells import Nulls, generator
from seisprobe.evaluation.grid import Grid, make_grid
from seisprobe.evaluation.nulls import joint_shifts, pseudo_draws
from seisprobe.mainshocks import bars_background, positive_distance_h
from seisprobe.study import Study
from seisprobe.windows import DAY_US, HOUR_US, pointed_ahead_us, rows_of, zone_around, zone_steps

__all__ = ["Ground", "WhyNone", "drawable_ends", "make_grids", "make_grounds", "make_nulls", "pseudo_mainshocks"]

NOT_SAMPLED = "waveforms are embedded for samples of `uniform` and `etas` alone"

WhyNone = Mapping[str, Mapping[tuple[str, float, str], str]]
Where = tuple[str, float]


def make_grids(
    study: Study, windows: pd.DataFrame, backgrounds: pd.DataFrame, why_none: WhyNone
) -> dict[tuple[str, float], Grid]:
    """Return the grid of every layout and length, with the reasons of backgrounds that lack something."""
    row = rows_of(windows, backgrounds["window_id"])
    weighted = backgrounds.assign(row=row).loc[row >= 0]
    grids = {}
    for layout in study.windows.layouts:
        for hours in study.windows.hours:
            why = {}
            for background, reasons in why_none.items():
                mine = [(n, r) for (at, h, n), r in reasons.items() if at in ("", layout) and h in (0.0, hours)]
                if mine:
                    why[background] = "; ".join(f"{name}: {reason}" if name else reason for name, reason in mine)
            made = make_grid(windows, weighted, layout, hours, why)
            grids[layout, hours] = replace(made, zone_us=zone_around(study, layout, hours))
    return grids


def _steps_behind(study: Study, layout: str, hours: float, step: int) -> int:
    """Return how many grid steps a window's end lies from the time that it points at, the nearest whole number."""
    return -round(pointed_ahead_us(study, layout, hours) / step)


@dataclass(frozen=True)
class Ground:
    """Grids by layout and length, and the pseudo-mainshocks and shifts on them."""

    grids: Mapping[Where, Grid]
    nulls: Mapping[Where, Nulls]


def make_grounds(
    study: Study,
    windows: pd.DataFrame,
    backgrounds: pd.DataFrame,
    why_none: WhyNone,
    samples: pd.DataFrame | None = None,
) -> tuple[Ground, Ground]:
    """Return the ground of features that every candidate has, and that of features which sampled ones alone have.

    Both have the same pseudo-mainshocks, drawn among sampled windows where there are samples, so that any two cells can
    be compared draw by draw. Sampled windows do not cover the record: they cannot be shifted.

    Parameters
    ----------
    study : Study
    windows, backgrounds, why_none
        As in `judgement.Tables`.
    samples : DataFrame, optional
        Like `backgrounds`, weights being how often a window was drawn; None: all features are of every candidate.
    """
    whole = make_grids(study, windows, backgrounds, why_none)
    if samples is None:
        ground = Ground(whole, make_nulls(study, whole))
        return ground, ground
    there = set(samples["background"])
    reasons = {name: dict(why) for name, why in why_none.items()}
    lacking = {name: {("", 0.0, ""): NOT_SAMPLED} for name in _names(whole) - there}
    made = make_grids(study, windows, samples, reasons | lacking)
    sampled = {where: replace(grid, sampled=True) for where, grid in made.items()}
    nulls: dict[Where, Nulls] = {}
    for layout in study.windows.layouts:  # ends of one layout are not sampled for another: each has draws of its own
        mine = {where: grid for where, grid in whole.items() if where[0] == layout}
        nulls |= make_nulls(study, mine, sampled)
    own = {where: {n: rows for n, rows in null.draws.items() if n in there} for where, null in nulls.items()}
    return Ground(whole, nulls), Ground(
        sampled, {where: replace(null, draws=own[where], shifts=None) for where, null in nulls.items()}
    )


def _names(grids: Mapping[Where, Grid]) -> set[str]:
    """Return the backgrounds that any grid has windows of."""
    return {name for grid in grids.values() for name in grid.weights}


def make_nulls(
    study: Study, grids: Mapping[Where, Grid], sampled: Mapping[Where, Grid] | None = None
) -> dict[Where, Nulls]:
    """Make pseudo-mainshocks and joint shifts once; every grid gets the same ones as its own indices.

    They are made on the grid that has all mainshocks (one soon after the record's start has no longer window) and, of
    these, the longest windows; a grid that lacks a mainshock takes the columns of its own. With `sampled` grids they
    are drawn among sampled windows, by how often those were drawn.
    """
    start, end = (int(t) for t in times_us([study.study.start, study.study.end]))
    step = round(study.windows.step_h * HOUR_US)
    behind = _behind(study, grids)
    layouts = study.windows.layouts
    order = sorted(grids, key=lambda where: (-len(grids[where].names), layouts.index(where[0]), -where[1]))
    draws: dict[str, tuple[Where, Integers]] = {}
    for where in order:
        grid = grids[where]
        drawable = drawable_ends(study, grids, where)
        for name in grid.weights:
            if name != "quiet" and name not in draws and name not in grid.why_none:
                of_sample = {} if sampled is None else sampled[where].weights
                drawn_from = replace(grid, weights={**grid.weights, **of_sample})
                rng = generator(study.study.seed, f"pseudo {name}")
                draws[name] = where, pseudo_mainshocks(study, name, drawn_from, drawable, study.evaluation.draws, rng)
    least = round((max(study.windows.hours) + study.windows.embargo_h) * HOUR_US)
    follows_rule = bars_background(study)
    made = {}
    for where, own in grids.items():
        first = (own.positive_ends[0] - own.ends[0]) // step if len(own.positive_ends) and len(own.ends) else 0
        zone = tuple(np.flatnonzero(~candidate) - first for candidate in own.candidate)
        shifts = joint_shifts(
            own.positive_ends, own.ends, (start, end), least, study.evaluation.shifts,
            generator(study.study.seed, "shifts"),
        )  # fmt: skip
        here = {}
        for name, (made_on, rows) in draws.items():
            known = grids[made_on].names
            if set(own.names) <= set(known):
                columns = [known.index(mainshock) for mainshock in own.names]
                here[name] = rows[:, columns] + behind[where] - behind[made_on]
        made[where] = Nulls(
            here, None if follows_rule else shifts, zone, zone_steps(study, *where), (end - start) // step
        )
    return made


def _behind(study: Study, grids: Mapping[Where, Grid]) -> dict[Where, int]:
    step = round(study.windows.step_h * HOUR_US)
    return {where: _steps_behind(study, *where, step) for where in grids}


def drawable_ends(study: Study, grids: Mapping[Where, Grid], where: Where) -> np.ndarray:
    """Return which candidates of one grid are candidates of every layout and length, so that all cells share draws.

    Returns
    -------
    ndarray of bool, shape (P, n)
        By place: the rule that chose a mainshock leaves out other times at each.
    """
    behind, n = _behind(study, grids), len(grids[where].ends)
    good = np.ones(grids[where].candidate.shape, dtype=bool)
    for other, grid in grids.items():
        index = np.arange(n) + behind[other] - behind[where]
        inside = (index >= 0) & (index < n)
        there = grid.candidate[:, np.clip(index, 0, n - 1)]
        good &= inside & (there if len(there) == len(good) else np.all(there, axis=0))
    return good


def pseudo_mainshocks(
    study: Study, name: str, grid: Grid, drawable: np.ndarray, draws: int, rng: np.random.Generator
) -> Integers:
    """Draw pseudo-mainshocks of one background: block by block, or each from its own set where it has one.

    A further member of a block follows a mainshock by days, and what the rate is then, its aftershocks decide. Against
    times of the same ETAS rate it is therefore drawn from the days after real mainshocks, not from those after a time
    that no large event marks.

    Parameters
    ----------
    study : Study
    name : str
        A background that the grid has weights for.
    grid : Grid
    drawable : ndarray of bool, shape (P, n)
        From `drawable_ends`.
    draws : int
    rng : Generator

    Returns
    -------
    ndarray of int64, shape (draws, K)
        Indices on the grid; fewer rows where the record has no room for the blocks.
    """
    weights = grid.weights[name] * drawable
    own_sets = len(weights) > 1 and len(grid.candidate_rows) == 1
    blocks = list(range(len(grid.names))) if own_sets else [int(b) for b in grid.blocks]
    distance, reach = round(positive_distance_h(study) * HOUR_US), round(study.windows.block_days * DAY_US)
    return pseudo_draws(
        grid.ends,
        weights,
        blocks,
        distance,
        reach,
        draws,
        rng,
        _aftermath(grid, distance, reach) if name == "etas" else None,
    )


def _aftermath(grid: Grid, distance_us: int, reach_us: int) -> np.ndarray:
    """Return, by mainshock, the candidates that follow a real one on its ground by `distance_us` to `reach_us`; (K, n).

    Those that follow the mainshock itself are left out: its own aftershocks would be its background.
    """
    after = grid.ends[None, :] - grid.positive_ends[:, None]
    follows = (after > distance_us) & (after <= reach_us)
    near = np.broadcast_to(grid.near, (len(grid.names), len(grid.names)))
    return np.asarray((near @ follows) & ~((after > 0) & (after <= reach_us)))
