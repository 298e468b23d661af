"""Checks that a reader asks for first: the hours after, shuffled labels, the mainshocks moved by days (PROTOCOL 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.evaluation.cells import Cell, generator
from seisprobe.evaluation.classifier import make_classifier
from seisprobe.evaluation.grid import Features, Grid, Scores, median_over_stations, rank_positives, read_scores
from seisprobe.evaluation.multivariate import ManyColumns, columns_at, shared_stations
from seisprobe.evaluation.novelty import novelty
from seisprobe.evaluation.nulls import drawn_percentiles, null_auc, one_sided_p
from seisprobe.evaluation.scores import percentiles
from seisprobe.study import Study
from seisprobe.windows import HOUR_US

__all__ = ["day_night_auc", "label_shuffle", "placebo_curve", "post_event_auc", "post_event_novelty"]

FIFTHS = 5


def post_event_auc(study: Study, windows: pd.DataFrame, features: Features | None) -> float | None:
    """Return the AUC of the windows after the mainshocks against uniform candidates of that length, event rate.

    Above 0.9 says that the data work; it is no discovery.
    """
    if features is None:
        return None
    length = study.windows.post_length_h
    alike = windows["layout"].eq("until-event") & windows["hours"].eq(length)
    candidates = windows.loc[alike & windows["kind"].eq("background")]
    rate = features.take("", np.arange(len(windows)), ("event_rate",))[:, 0]
    u = []
    for row in windows.loc[windows["kind"].eq("post")].itertuples():
        own = (
            candidates if study.windows.radius_km is None else candidates.loc[candidates["mainshock"].eq(row.mainshock)]
        )
        u.append(float(percentiles([rate[row.Index]], rate[own.index.to_numpy()])[0]))
    return float(np.mean(u)) if np.isfinite(u).any() else None


def post_event_novelty(
    study: Study, windows: pd.DataFrame, samples: pd.DataFrame | None, modalities: Sequence[ManyColumns]
) -> float | None:
    """Return the AUC of the windows after the mainshocks against windows of that length in the uniform sample.

    Novelty, of fewer segments than a window of the study has. None where any mainshock's hour after lacks them: an
    outage after a large event says nothing of the method.
    """
    length = study.windows.post_length_h
    alike = windows["layout"].eq("until-event") & windows["hours"].eq(length)
    sampled = alike & windows["kind"].eq("background")
    if samples is not None:
        ids = samples.loc[samples["background"].eq("uniform"), "window_id"]
        ends = windows.loc[windows["window_id"].isin(ids), "end"]
        sampled &= windows["end"].isin(ends)
    post = np.flatnonzero(windows["kind"].eq("post"))
    candidates = np.flatnonzero(sampled)
    rows = np.concatenate([post, candidates])
    by_station = []
    for station in shared_stations(modalities):
        there = np.all([m.has(station, rows) for m in modalities], axis=0)
        if there[: len(post)].all() and there[len(post) :].any():
            found = novelty([columns_at(m, station, rows) for m in modalities], there).scores
            by_station.append(percentiles(found[: len(post)], found[len(post) :][there[len(post) :]]))
    if not by_station:
        return None
    u = median_over_stations(np.stack(by_station))
    return float(np.mean(u)) if np.isfinite(u).all() and len(u) else None


def day_night_auc(study: Study, segments: pd.DataFrame, most: int = 500) -> float | None:
    """Return how well single segments tell day from night: what a detector of anything would see first.

    10–16 h against 22–4 h of local mean solar time at the middle of the region; logistic regression with one fifth of
    the record left out at a time; mean over folds, median over stations.

    Parameters
    ----------
    study : Study
    segments : DataFrame
        ``station``, ``start``, then a column for each number of the vectors.
    most : int
        Segments of each kind and station, the first in an order drawn by seed.

    Returns
    -------
    float or None
        None where a station has no two folds with both kinds.
    """
    region = study.study.region
    east_h = (region.min_longitude + region.max_longitude) / 2 / 15
    aucs = []
    for station, rows in segments.groupby("station", sort=True):
        rng = generator(study.study.seed, f"day and night {station}")
        rows = rows.iloc[rng.permutation(len(rows))]
        times = times_us(rows["start"])
        local_h = (times / HOUR_US + east_h) % 24
        day, night = (local_h >= 10) & (local_h < 16), (local_h >= 22) | (local_h < 4)
        chosen = np.concatenate([np.flatnonzero(day)[:most], np.flatnonzero(night)[:most]])
        values = rows.drop(columns=["station", "start"]).to_numpy(dtype=np.float64)[chosen]
        auc = _auc_over_fifths(values, day[chosen], times[chosen])
        if auc is not None:
            aucs.append(auc)
    return float(np.median(aucs)) if aucs else None


def _auc_over_fifths(values: Floats, labels: np.ndarray, times: Integers) -> float | None:
    """Return the mean AUC of a classifier over five consecutive parts of the record, each left out once."""
    if len(times) < FIFTHS:
        return None
    edges = np.linspace(times.min(), times.max() + 1, FIFTHS + 1)
    part = np.searchsorted(edges, times, side="right")
    aucs = []
    for number in range(1, FIFTHS + 1):
        held = part == number
        if all(0 < labels[rows].sum() < rows.sum() for rows in (held, ~held)):
            model = make_classifier((values.shape[1],), int((~held).sum())).fit(values[~held], labels[~held])
            score = model.decision_function(values[held])
            aucs.append(float(np.mean(percentiles(score[labels[held]], score[~labels[held]]))))
    return float(np.mean(aucs)) if len(aucs) > 1 else None


def label_shuffle(study: Study, cell: Cell | None, grid: Grid, shuffles: int = 200) -> tuple[float, float] | None:
    """Return the mean AUC and p when K background windows change places with the positives, 200 times.

    Windows are drawn by their weight in the cell's background, one by one: neither blocks nor their distances are kept,
    which is why this p is beside the others, not among them.
    """
    if cell is None or cell.scores is None or cell.auc is None:
        return None
    rng = generator(study.study.seed, "label shuffle")
    weights = grid.weights[cell.background]
    draws = np.zeros((shuffles, len(grid.names)), dtype=np.int64)
    for k in np.flatnonzero(cell.used):
        weight = weights[k % len(weights)]
        draws[:, k] = rng.choice(len(weight), shuffles, p=weight / weight.sum())
    whole = np.empty(0, dtype=np.int64)  # ranked in the whole background, as a shuffle does
    null = null_auc(drawn_percentiles(cell.scores, weights, draws, whole), cell.used)
    return float(np.nanmean(null)), one_sided_p(cell.auc, null)


def placebo_curve(
    study: Study, windows: pd.DataFrame, cell: Cell | None, grid: Grid, column: tuple[Features, str, float] | None
) -> pd.DataFrame:
    """Return a cell's AUC with all mainshocks moved together by −10 … 10 days.

    Parameters
    ----------
    study : Study
    windows : DataFrame
        The plan, with its placebo windows.
    cell : Cell or None
    grid : Grid
        The cell's.
    column : (Features, str, float) or None
        Table, column and sign of the cell's score; None of a classifier, which has no score of other times.

    Returns
    -------
    DataFrame
        ``day, auc, meets_zone``; the zones stay where the real mainshocks are, and a day on which any moved window
        meets one is marked.
    """
    if cell is None or cell.auc is None or column is None or grid.sampled:  # placebo windows have no waveforms
        return pd.DataFrame({"day": [], "auc": [], "meets_zone": []})
    own = windows.loc[windows["layout"].eq(grid.layout) & windows["hours"].eq(grid.hours)]
    rows = own.loc[own["kind"].eq("placebo") & own["mainshock"].isin(grid.names)]
    in_zone = set(times_us(own.loc[own["reason"].eq("zone"), "end"]).tolist())
    step = round(study.windows.step_h * HOUR_US)
    days = rows["window_id"].str.extract(r"([+-]\d+)d$")[0].astype(int).to_numpy()
    found = [{"day": 0, "auc": cell.auc, "meets_zone": True}]
    for day in np.unique(days):
        mine = rows.loc[days == day].sort_values("end", kind="stable")
        if len(mine) < len(grid.names):
            continue  # a mainshock moved out of the record
        ends = times_us(mine["end"])
        moved = replace(grid, positive_rows=mine.index.to_numpy(), positive_ends=ends)
        floor = (ends - grid.ends[0]) // step * step + grid.ends[0]
        auc = _auc_of(moved, read_scores(moved, *column), cell.background)
        found.append({"day": int(day), "auc": auc, "meets_zone": any(int(t) in in_zone for t in floor)})
    return pd.DataFrame(found).sort_values("day", ignore_index=True)


def _auc_of(grid: Grid, scores: Scores, background: str) -> float:
    """Return the AUC of a score in a background, NaN left out."""
    u = median_over_stations(rank_positives(grid, scores, background))
    return float(np.nanmean(u)) if np.isfinite(u).any() else float("nan")
