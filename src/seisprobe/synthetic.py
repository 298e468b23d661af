"""p_etas: the study asked again of catalogs that ETAS made, in which clustering is all there is (PROTOCOL 5).

The catalogs come from a fit held at a branching ratio of at most 0.95, its background rate set so that as many events
are expected as were observed. A catalog's mainshocks are its K largest events more than D apart (in ETAS an event's
past does not depend on its magnitude); it counts if their blocks have the study's number and sizes. Rate, weights,
zones and scores are computed anew, on a coarser grid of background windows, which changes an AUC's mean by nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seisprobe.catalog import EVENT_COLUMNS, Catalog, Floats, Integers, largest_apart, select_events, times_us
from seisprobe.errors import SeisprobeError
from seisprobe.etas import EtasFit, EtasParameters, FitOptions, fit_etas, simulate, with_expected_events
from seisprobe.evaluation.cells import Cell, generator
from seisprobe.evaluation.judgement import Key, rank_only
from seisprobe.evaluation.nulls import one_sided_p
from seisprobe.mainshocks import block_sizes, positive_distance_h
from seisprobe.modalities import MODALITIES
from seisprobe.planning import make_plan, tables_of
from seisprobe.sections import Mainshock, MainshockOptions
from seisprobe.setting import Rates, Setting, etas_days
from seisprobe.study import Study
from seisprobe.windows import DAY_US

__all__ = ["Synthetic", "synthetic_p"]

log = logging.getLogger("seisprobe")
MOST_TRIES = 20_000
LEAD_IN_DAYS = 365.0
BRANCHING = 0.95
LAW = FitOptions(b=1.0, max_magnitude=7.0, starts=1)
COARSE_STEP_H = 12.0
DELTA_M = 0.1


@dataclass(frozen=True)
class Synthetic:
    """p_etas of each cell, or why there is none."""

    p: Mapping[Key, float]
    why_none: str = ""


def synthetic_p(
    study: Study,
    setting: Setting,
    mainshocks: pd.DataFrame,
    cells: Sequence[Cell],
    progress: Callable[[float, str], None] | None = None,
) -> Synthetic:
    """Return p_etas of the label-free catalog cells at `etas`.

    Parameters
    ----------
    study : Study
    setting : Setting
        The study's own, with its events and fits.
    mainshocks : DataFrame
        From the plan.
    cells : sequence of Cell
        Those of the study, computed.
    progress : callable, optional

    Returns
    -------
    Synthetic
    """
    wanted = study.evaluation.synthetic_catalogs
    if not wanted:
        return Synthetic({}, "the study asks for no synthetic catalogs")
    if not setting.rates.parameters:
        return Synthetic({}, setting.rates.why_none)
    if study.windows.radius_km is not None:
        return Synthetic({}, "a temporal ETAS catalog has no places; p_etas is for a whole region")
    asked = {c.key: c.auc for c in cells if _asked(c)}
    sizes = block_sizes(mainshocks)
    try:
        law = _law(study, setting)
    except SeisprobeError as error:
        return Synthetic({}, f"no fit with branching ≤ {BRANCHING:g}: {error}")
    nulls: dict[Key, list[float]] = {key: [] for key in asked}
    kept = 0
    for found in _catalogs(study, law, sizes):
        kept += 1
        for key, auc in _auc_of(found, asked).items():
            nulls[key].append(auc)
        if progress:
            progress(kept / wanted, "synthetic catalogs")
    if kept < wanted:
        return Synthetic({}, f"{kept} of {wanted} synthetic catalogs have the study's blocks after {MOST_TRIES} tries")
    return Synthetic({key: one_sided_p(auc, np.array(nulls[key])) for key, auc in asked.items() if auc is not None})


def _asked(cell: Cell) -> bool:
    spec = MODALITIES.get(cell.modality)
    label_free = spec is not None and (cell.score in spec.scores or cell.score == "novelty")
    return cell.modality == "catalog" and cell.background == "etas" and cell.auc is not None and label_free


def _law(study: Study, setting: Setting) -> EtasParameters:
    """Return the parameters of the constrained fit, μ such that the observed number of events is expected."""
    usable = select_events(setting.events, min_magnitude=study.mc)
    days = etas_days(study, times_us(usable["time"]))
    duration = float(etas_days(study, times_us([study.study.end]))[0])
    fit: EtasFit = fit_etas(
        days, usable["magnitude"].to_numpy(), study.mc, 0.0, duration, max_branching=BRANCHING, options=LAW
    )
    observed = float(((days > 0) & (days <= duration)).sum())
    return with_expected_events(fit.parameters, observed, duration, b=1.0, max_magnitude=7.0, lead_in_days=LEAD_IN_DAYS)


def _catalogs(
    study: Study, law: EtasParameters, sizes: tuple[int, ...]
) -> Iterator[tuple[Study, pd.DataFrame, EtasParameters]]:
    """Yield synthetic catalogs whose K largest events make blocks of the study's number and sizes, and their study."""
    rng = generator(study.study.seed, "synthetic catalogs")
    duration = float(etas_days(study, times_us([study.study.end]))[0])
    room = (max(study.windows.hours) + study.windows.gap_s / 3600) / 24  # the first needs all its windows
    kept = 0
    for _ in range(MOST_TRIES):
        try:
            made = simulate(law, duration, rng, b=1.0, max_magnitude=7.0, lead_in_days=LEAD_IN_DAYS, delta_m=DELTA_M)
        except SeisprobeError:
            continue  # a catalog that explodes is a try without success
        eligible = (made.times_days > room) & (made.times_days < duration)
        rows = largest_apart(made.times_days, made.magnitudes, eligible, sum(sizes), positive_distance_h(study) / 24)
        if sorted(_time_blocks(study, made.times_days[rows])) != sorted(sizes):
            continue
        events = _event_table(study, made.times_days, made.magnitudes)
        yield _study_of(study, events, rows), events, law
        kept += 1
        if kept == study.evaluation.synthetic_catalogs:
            return


def _time_blocks(study: Study, days: Floats) -> list[int]:
    """Return the sizes of blocks by time alone: a temporal catalog lies in one place."""
    breaks = np.flatnonzero(np.diff(days) > study.windows.block_days)
    return [int(n) for n in np.diff(np.concatenate([[-1], breaks, [len(days) - 1]]))] if len(days) else []


def _event_table(study: Study, days: Floats, magnitudes: Floats) -> pd.DataFrame:
    region = study.study.region
    start = times_us([study.study.start])[0]
    table = pd.DataFrame(
        {
            "event_id": "",
            "time": pd.to_datetime(start + np.round(days * DAY_US).astype(np.int64), unit="us", utc=True).as_unit("us"),
            "latitude": (region.min_latitude + region.max_latitude) / 2,
            "longitude": (region.min_longitude + region.max_longitude) / 2,
            "depth_km": 10.0,
            "magnitude": magnitudes,
        }
    )
    for column in EVENT_COLUMNS[6:]:
        table[column] = ""
    return table[list(EVENT_COLUMNS)]


def _study_of(study: Study, events: pd.DataFrame, rows: Integers) -> Study:
    """Return the study with a catalog's own mainshocks, a coarse grid, and the two backgrounds that are needed."""
    shocks = tuple(
        Mainshock(
            name=f"S{n}", time=events["time"].iloc[r].to_pydatetime(), magnitude=float(events["magnitude"].iloc[r])
        )
        for n, r in enumerate(rows, start=1)
    )
    windows = study.windows.model_copy(update={"step_h": max(COARSE_STEP_H, study.windows.step_h)})
    evaluation = study.evaluation.model_copy(update={"backgrounds": ("uniform", "etas"), "headline": "etas"})
    chosen = {"mainshock": shocks, "mainshocks": MainshockOptions()}  # by size, not by the study's rule
    return study.model_copy(update={**chosen, "windows": windows, "evaluation": evaluation})


def _auc_of(found: tuple[Study, pd.DataFrame, EtasParameters], asked: Mapping[Key, float | None]) -> dict[Key, float]:
    """Return the AUC of every cell asked for, in one synthetic catalog, under the rate that made it."""
    own, events, law = found
    plan = make_plan(own, Catalog(events), Rates({"": law}))
    features = {"catalog": MODALITIES["catalog"].features(plan.setting)}
    return rank_only(own, tables_of(own, plan, features), list(asked))
