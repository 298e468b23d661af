"""p_etas: the study asked again of catalogs that ETAS made, in which clustering is all there is (PROTOCOL 5).

The catalogs come from a fit held at a branching ratio of at most 0.95, its background rate set so that as many events
are expected as were observed. A catalog's mainshocks are its K largest events more than D apart (in ETAS an event's
past does not depend on its magnitude); it counts if their blocks have the study's number and sizes. Rate, weights,
zones and scores are computed anew, on a coarser grid of background windows, which changes an AUC's mean by nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from seisprobe.catalog import Floats, Integers, largest_apart, select_events, times_us
from seisprobe.embedding.executors import Executor, serial
from seisprobe.errors import SeisprobeError
from seisprobe.etas import (
    EtasFit,
    EtasParameters,
    FitOptions,
    SyntheticCatalog,
    fit_etas,
    rate,
    simulate,
    with_expected_events,
)
from seisprobe.evaluation.cells import Cell, generator
from seisprobe.evaluation.judgement import Key
from seisprobe.evaluation.novelty import Columns, novelty
from seisprobe.evaluation.nulls import one_sided_p
from seisprobe.evaluation.scores import percentiles
from seisprobe.mainshocks import block_sizes, positive_distance_h
from seisprobe.modalities import MODALITIES
from seisprobe.modalities.catalog import features_at, reach_us
from seisprobe.setting import Setting, etas_days
from seisprobe.study import Study
from seisprobe.windows import (
    DAY_US,
    HOUR_US,
    candidate_ends,
    meets_zone,
    pointed_ahead_us,
    window_length_h,
    zone_reach_us,
)

__all__ = ["Synthetic", "auc_in_catalog", "synthetic_p"]

log = logging.getLogger("seisprobe")
MOST_TRIES = 20_000
LEAD_IN_DAYS = 365.0
BRANCHING = 0.95
LAW = FitOptions(b=1.0, max_magnitude=7.0, starts=1, standard_errors=False)
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
    executor: Executor = serial,
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
    executor : callable
        Who looks at the catalogs, which are all made beforehand: `seisprobe.embedding.choose_executor`.
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
    catalogs = list(_catalogs(study, law, sizes))
    if len(catalogs) < wanted:
        kept = f"{len(catalogs)} of {wanted} synthetic catalogs"
        return Synthetic({}, f"{kept} have the study's blocks after {MOST_TRIES} tries")
    nulls: dict[Key, list[float]] = {key: [] for key in asked}
    for number, found in enumerate(executor(_Asking(study, law, tuple(asked)), catalogs), start=1):
        for key, auc in found.items():
            nulls[key].append(auc)
        if progress:
            progress(number / wanted, "synthetic catalogs")
    return Synthetic({key: one_sided_p(auc, np.array(nulls[key])) for key, auc in asked.items() if auc is not None})


@dataclass(frozen=True)
class _Asking:
    """The work of an executor: synthetic catalogs, with their mainshocks, to the AUC of every cell asked for."""

    study: Study
    law: EtasParameters
    keys: tuple[Key, ...]

    def __call__(self, catalogs: Iterable[tuple[SyntheticCatalog, Integers]]) -> Iterator[dict[Key, float]]:
        with threadpool_limits(1, "blas"):
            for catalog, rows in catalogs:
                yield auc_in_catalog(self.study, self.law, catalog, rows, self.keys)


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


def _catalogs(study: Study, law: EtasParameters, sizes: tuple[int, ...]) -> Iterator[tuple[SyntheticCatalog, Integers]]:
    """Yield synthetic catalogs whose K largest events make blocks of the study's number and sizes, and those events."""
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
        yield made, rows
        kept += 1
        if kept == study.evaluation.synthetic_catalogs:
            return


def _time_blocks(study: Study, days: Floats) -> list[int]:
    """Return the sizes of blocks by time alone: a temporal catalog lies in one place."""
    breaks = np.flatnonzero(np.diff(days) > study.windows.block_days)
    return [int(n) for n in np.diff(np.concatenate([[-1], breaks, [len(days) - 1]]))] if len(days) else []


def auc_in_catalog(
    study: Study, law: EtasParameters, catalog: SyntheticCatalog, rows: Integers, keys: Sequence[Key]
) -> dict[Key, float]:
    """Return the AUC of label-free catalog cells at `etas` in one synthetic catalog, under the rate that made it.

    What `seisprobe run` would compute of that catalog on a coarse grid, from arrays alone.

    Parameters
    ----------
    study : Study
        Its windows and zones.
    law : EtasParameters
    catalog : SyntheticCatalog
    rows : ndarray of int64, shape (K,)
        The mainshocks.
    keys : sequence of cell keys

    Returns
    -------
    dict of cell key to float
        NaN where a mainshock's window has no value.
    """
    coarse = study.windows.model_copy(update={"step_h": max(COARSE_STEP_H, study.windows.step_h)})
    study = study.model_copy(update={"windows": coarse})
    events = _event_table(study, catalog)
    shocks, ends = times_us(events["time"])[rows], candidate_ends(study)
    before, after = zone_reach_us(study)
    reach = reach_us(events, study)
    rates: dict[int, Floats] = {}
    found: dict[Key, float] = {}
    for layout, hours in dict.fromkeys((key[4], key[2]) for key in keys):
        ahead, length = pointed_ahead_us(study, layout, hours), round(window_length_h(study, layout, hours) * HOUR_US)
        outside = ~np.any([meets_zone(ends - length, ends, t - before, t + after) for t in shocks], axis=0)
        if ahead not in rates:
            rates[ahead] = rate(law, etas_days(study, ends + ahead), catalog.times_days, catalog.magnitudes)
        windows = np.concatenate([shocks - ahead, ends[outside]])
        table = features_at(windows - length, windows, events, study.mc, reach)
        for key in keys:
            if (key[4], key[2]) == (layout, hours):
                values = _score(table, key[1])
                of_mainshocks, of_candidates = np.split(values, [len(rows)])
                found[key] = float(percentiles(of_mainshocks, of_candidates, rates[ahead][outside]).mean())
    return found


def _score(table: Mapping[str, Floats], score: str) -> Floats:
    """Return one label-free score of the catalog's columns, of positives and candidates together."""
    modality = MODALITIES["catalog"]
    if score != "novelty":
        column, sign = modality.scores[score]
        return sign * table[column]
    values = np.column_stack([table[c] for c in modality.multivariate])
    columns = Columns(values, modality.multivariate, modality.by_deviation)
    return novelty([columns], np.ones(len(values), dtype=bool)).scores


def _event_table(study: Study, catalog: SyntheticCatalog) -> pd.DataFrame:
    """Return a synthetic catalog's events M ≥ Mc, all in one place."""
    region = study.study.region
    start = times_us([study.study.start])[0]
    times = start + np.round(catalog.times_days * DAY_US).astype(np.int64)
    return pd.DataFrame(
        {
            "time": pd.to_datetime(times, unit="us", utc=True),
            "latitude": (region.min_latitude + region.max_latitude) / 2,
            "longitude": (region.min_longitude + region.max_longitude) / 2,
            "depth_km": 10.0,
            "magnitude": catalog.magnitudes,
        }
    )
