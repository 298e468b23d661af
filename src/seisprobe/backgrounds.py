"""What a mainshock's window is compared with: sets of candidates and their weights, one function a background.

A background takes a `Setting` and returns weights of candidate windows. To add one, write its function and name it in
`BACKGROUNDS`; nothing else changes. (PROTOCOL 1)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, select_events, times_us
from seisprobe.setting import Setting, by_place, intensity
from seisprobe.windows import DAY_US, HOUR_US, PLACE_COLUMNS, Place, pointed_ahead_us

__all__ = ["BACKGROUNDS", "Background", "etas", "matched", "near_hour", "quiet", "uniform", "weekend"]

QUIET_MAGNITUDE, QUIET_H = 4.0, 48
LARGE_MAGNITUDE = 5.0
TIME_FACTOR, MAGNITUDE_BAND = 2.0, 0.5
LEAST_CANDIDATES, LEAST_EVENTS, LEAST_DAYS = 50, 3, 30
LEVELS = ("weekday, hour, magnitude", "hour, magnitude", "magnitude", "time since the last M 5 alone")


@dataclass(frozen=True)
class Background:
    """Weights of candidates.

    Parameters
    ----------
    weights : DataFrame
        ``window_id``, ``mainshock`` ("" where a window serves all of its place), ``weight``.
    reasons : mapping
        Why there are none: by (layout, hours, mainshock), "" for all mainshocks.
    levels : mapping
        What `matched` could hold to, by (layout, hours, mainshock).
    """

    weights: pd.DataFrame
    reasons: Mapping[tuple[str, float, str], str] = field(default_factory=dict)
    levels: Mapping[tuple[str, float, str], str] = field(default_factory=dict)


def uniform(setting: Setting) -> Background:
    """Return all candidates, each with weight 1."""
    return Background(_weighted(_candidates(setting)))


def quiet(setting: Setting) -> Background:
    """Return the candidates with no M ≥ 4 from 48 h before their start to 48 h after their end.

    The end of such a background is chosen by what follows it, so it has an AUC but no p and is never the headline.
    """
    kept = []
    large = select_events(setting.events, min_magnitude=QUIET_MAGNITUDE)
    for place, rows in by_place(_candidates(setting)):
        times = times_us(large.loc[place.contains(large), "time"])
        first = np.searchsorted(times, times_us(rows["start"]) - QUIET_H * HOUR_US)
        last = np.searchsorted(times, times_us(rows["end"]) + QUIET_H * HOUR_US)
        kept.append(rows.loc[first == last])
    return Background(_weighted(pd.concat(kept)))


def matched(setting: Setting) -> Background:
    """Return, for each mainshock, candidates in the same state: time since and size of the last M ≥ 5, hour, weekday.

    Conditions are given up in the order weekday, hour, magnitude until a set holds 50 candidates after at least three
    different M ≥ 5 (or over 30 days where none came before); one that never does has a reason instead.
    """
    tables, reasons, levels = [], {}, {}
    positives = setting.windows.loc[setting.windows["kind"] == "positive"]
    candidates = _candidates(setting)
    for (layout, hours, name), positive in positives.groupby(["layout", "hours", "mainshock"], sort=False):
        same = candidates.loc[candidates["layout"].eq(layout) & candidates["hours"].eq(hours)]
        same = same.loc[same["mainshock"].isin(("", name))]
        place = Place("", *(float(positive[c].iloc[0]) for c in ("latitude", "longitude", "radius_km")))
        chosen, level = _matched_to(int(times_us(positive["end"])[0]), same, setting.events, place)
        if chosen is None:
            reasons[layout, hours, name] = level
        else:
            tables.append(_weighted(chosen, str(name)))
            levels[layout, hours, name] = level
    empty = _weighted(candidates.iloc[:0])
    return Background(pd.concat([empty, *tables], ignore_index=True), reasons, levels)


def _matched_to(
    end: int, candidates: pd.DataFrame, events: pd.DataFrame, place: Place
) -> tuple[pd.DataFrame | None, str]:
    """Return the candidates like a window that ends at `end`, and the conditions held, or the reason for none."""
    large = select_events(events, min_magnitude=LARGE_MAGNITUDE)
    large = large.loc[place.contains(large)]
    times, magnitudes = times_us(large["time"]), large["magnitude"].to_numpy()
    ends = times_us(candidates["end"])
    last, own = np.searchsorted(times, ends) - 1, int(np.searchsorted(times, end)) - 1
    if own < 0:
        alike, near_magnitude = last < 0, np.ones(len(ends), dtype=bool)
    else:
        since, own_since = ends - times[last], end - int(times[own])
        alike = (last >= 0) & (since * TIME_FACTOR >= own_since) & (since <= own_since * TIME_FACTOR)
        near_magnitude = np.abs(magnitudes[last] - magnitudes[own]) <= MAGNITUDE_BAND + 1e-9
    near = near_hour(ends, end)
    same_week = weekend(ends) == weekend(np.array([end]))
    most = 0
    conditions = (same_week & near & near_magnitude, near & near_magnitude, near_magnitude, True)
    for level, condition in zip(LEVELS, conditions, strict=True):
        chosen = alike & condition
        most = max(most, int(chosen.sum()))
        if _enough(ends[chosen], last[chosen], none_before=own < 0):
            return candidates.loc[chosen], level
    what = f"{LEAST_DAYS} days" if own < 0 else f"{LEAST_EVENTS} different M ≥ {LARGE_MAGNITUDE:g}"
    return None, f"no {LEAST_CANDIDATES} candidates from {what} in its state, with every condition given up ({most})"


def _enough(ends: Integers, last: np.ndarray, *, none_before: bool) -> bool:
    different = len(np.unique(ends // DAY_US)) if none_before else len(np.unique(last))
    return len(ends) >= LEAST_CANDIDATES and different >= (LEAST_DAYS if none_before else LEAST_EVENTS)


def near_hour(times: Integers, time: int) -> np.ndarray:
    """Return which times have the UTC time of day of `time` within an hour, around midnight too.

    Examples
    --------
    >>> hour = 3_600_000_000
    >>> near_hour(np.array([0, 23 * hour, 12 * hour]), hour // 2).tolist()
    [True, False, False]
    """
    apart = np.abs(times % DAY_US - time % DAY_US)
    return np.asarray(np.minimum(apart, DAY_US - apart) <= HOUR_US)


def weekend(times: Integers) -> np.ndarray:
    """Return which times fall on a Saturday or Sunday, UTC (1970-01-01 was a Thursday).

    Examples
    --------
    >>> weekend(np.array([0, 2 * 86_400_000_000])).tolist()
    [False, True]
    """
    return np.asarray((times // DAY_US + 3) % 7 >= 5)


def _candidates(setting: Setting) -> pd.DataFrame:
    return setting.windows.loc[setting.windows["kind"] == "background"]


def _weighted(rows: pd.DataFrame, mainshock: str | None = None, weight: Floats | float = 1.0) -> pd.DataFrame:
    table = rows[["window_id", "mainshock"]].reset_index(drop=True)
    if mainshock is not None:
        table["mainshock"] = mainshock
    table["weight"] = weight
    return table


def etas(setting: Setting) -> Background:
    """Return all candidates, weighted by the ETAS rate at the time that each window points at.

    That time is e + g for windows that end a gap before an event, e + L for windows that end L before. A mainshock that
    clustering alone explains is a draw from this background.
    """
    candidates = _candidates(setting)
    if not setting.rates.parameters:
        reasons = {("", 0.0, ""): setting.rates.why_none}
        return Background(_weighted(candidates.iloc[:0]), reasons)
    weight = np.empty(len(candidates))
    where = candidates[[*PLACE_COLUMNS, "layout", "hours", "end"]].reset_index(drop=True)
    pointed_at = times_us(where["end"])
    for (layout, hours), rows in where.groupby(["layout", "hours"]):
        pointed_at[rows.index] += pointed_ahead_us(setting.study, layout, hours)
    for place, rows in by_place(where):
        times, index = np.unique(pointed_at[rows.index], return_inverse=True)
        weight[rows.index] = intensity(setting, place, times)[index]
    return Background(_weighted(candidates, weight=weight))


BACKGROUNDS: dict[str, Callable[[Setting], Background]] = {
    "quiet": quiet,
    "uniform": uniform,
    "matched": matched,
    "etas": etas,
}
