"""Catalog features of windows: rate, largest magnitude, moment, b-value, depth and spread (PROTOCOL 2).

Everything comes from events of M ≥ Mc inside [start, end) of the window and at its place; rate ratio and b-value also
look back before it, never past its end. Searchsorted finds a window's events, reduceat adds them up: the cost is the
number of events times the number of windows that hold each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from seisprobe.catalog import (
    EARTH_RADIUS_KM,
    Floats,
    Integers,
    b_of_mean_excess,
    completeness_at,
    magnitude_bin,
    select_events,
    times_us,
)
from seisprobe.setting import Setting, by_place
from seisprobe.study import Study
from seisprobe.windows import HOUR_US, PLACE_COLUMNS

__all__ = ["MULTIVARIATE", "SCORES", "features", "features_at", "of_places", "reach_us"]

Compute = Callable[[Integers, Integers, pd.DataFrame, float, int], dict[str, Floats]]
SCORES = {
    "event_rate": ("event_rate", 1.0),
    "event_rate_complete": ("event_rate_complete", 1.0),
    "max_magnitude": ("max_magnitude", 1.0),
    "cumulative_moment": ("cumulative_moment", 1.0),
    "rate_ratio": ("rate_ratio", 1.0),
    "b_value": ("b_value", -1.0),
}
MULTIVARIATE = ("event_rate", "max_magnitude", "cumulative_moment", "rate_ratio")
RATIO_H = 168
B_EVENTS, B_POSITIVE_LEAST, B_WINDOW_LEAST = 100, 25, 50


def features(setting: Setting) -> pd.DataFrame:
    """Return the catalog features of windows.

    Parameters
    ----------
    setting : Setting
        Windows, and the region's events with their history; Mc is the study's.

    Returns
    -------
    DataFrame
        ``window_id``, ``station`` (""), ``event_rate`` and ``event_rate_complete`` per hour, ``max_magnitude``,
        ``cumulative_moment`` (log10 of N·m, moment after Hanks & Kanamori 1979), ``rate_ratio`` (natural log),
        ``mean_depth`` and ``depth_spread`` in km, ``spatial_spread`` (rms distance from the mean epicentre, km),
        ``b_value`` (b-positive of the last 100 complete events), ``b_value_classic``, ``b_value_window``. NaN where a
        window has too few events for a figure.
    """
    return of_places(setting, features_at)


def of_places(setting: Setting, compute: Compute) -> pd.DataFrame:
    """Compute features place by place, each from the events M ≥ Mc of its own; rows come back in the order given."""
    usable = select_events(setting.events, min_magnitude=setting.study.mc)
    reach = reach_us(setting.events, setting.study)
    parts = []
    windows = setting.windows[[*PLACE_COLUMNS, "start", "end"]]
    for place, rows in by_place(windows):
        inside = usable.loc[place.contains(usable)].reset_index(drop=True)
        for without, some in _by_largest(rows, inside, setting.without_largest):
            kept = inside.drop(index=without)
            columns = compute(times_us(some["start"]), times_us(some["end"]), kept, setting.study.mc, reach)
            parts.append(pd.DataFrame(columns, index=some.index))
    table = pd.concat(parts).loc[setting.windows.index].reset_index(drop=True)
    table.insert(0, "window_id", setting.windows["window_id"].array)
    table.insert(1, "station", "")
    return table


def _by_largest(rows: pd.DataFrame, events: pd.DataFrame, threshold: float) -> Iterator[tuple[list[int], pd.DataFrame]]:
    """Yield the windows whose largest event is left out, by that event, and first those that lose none."""
    large = np.flatnonzero(events["magnitude"].to_numpy() >= threshold - 1e-9)
    loses = np.full(len(rows), -1)
    for index in large[np.argsort(events["magnitude"].to_numpy()[large], kind="stable")]:
        time = events["time"].iloc[index]
        loses[((rows["start"] <= time) & (time < rows["end"])).to_numpy()] = index  # ascending: the largest comes last
    for index in np.unique(loses):
        yield ([int(index)] if index >= 0 else []), rows.loc[loses == index]


def reach_us(events: pd.DataFrame, study: Study) -> int:
    """Return the time from which on the catalog is known, in microseconds: its first event, or the study's start."""
    start = int(times_us([study.study.start])[0])
    return min(start, int(times_us(events["time"].iloc[:1])[0])) if len(events) else start


def features_at(starts: Integers, ends: Integers, events: pd.DataFrame, mc: float, reach: int) -> dict[str, Floats]:
    """Return the catalog features of windows in one place, by column.

    Parameters
    ----------
    starts, ends : ndarray of int64, shape (n,)
        Microseconds; windows are half-open.
    events : DataFrame
        Those of the place, M ≥ Mc, in order of time, with their history.
    mc : float
    reach : int
        From `reach_us`.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        The columns that `features` has.
    """
    times, magnitudes = times_us(events["time"]), events["magnitude"].to_numpy()
    hours = (ends - starts) / HOUR_US
    first, last = np.searchsorted(times, starts), np.searchsorted(times, ends)
    count = last - first
    threshold = completeness_at(times, times, magnitudes, mc)
    complete = magnitudes >= threshold - 1e-9
    listed = times[complete], magnitudes[complete], _round_up(threshold[complete], magnitude_bin(magnitudes))
    empty_magnitude = mc - 0.1
    moment = _reduce(np.add, 10.0 ** (1.5 * magnitudes + 9.1), first, last, 10.0 ** (1.5 * empty_magnitude + 9.1))
    before = first - np.searchsorted(times, starts - RATIO_H * HOUR_US)
    ratio = np.log((count + 0.5) / (before * hours / RATIO_H + 0.5))
    return {
        "event_rate": count / hours,
        "event_rate_complete": _between(complete, first, last) / hours,
        "max_magnitude": _reduce(np.maximum, magnitudes, first, last, empty_magnitude),
        "cumulative_moment": np.log10(moment),
        "rate_ratio": np.where(starts - RATIO_H * HOUR_US >= reach, ratio, np.nan),
        **_depth(events["depth_km"].to_numpy(), first, last),
        "spatial_spread": _spatial_spread(events, first, last),
        **_b_values(*listed, ends),
        "b_value_window": _b_inside(*listed, starts, ends),
    }


def _round_up(threshold: Floats, delta_m: float) -> Floats:
    """Return Mc(t) as the lowest magnitude that the catalog can hold above it: its bins are `delta_m` wide."""
    return np.ceil(threshold / delta_m - 1e-6) * delta_m if delta_m else threshold


def _reduce(operation: np.ufunc, values: Floats, first: Integers, last: Integers, empty: float) -> Floats:
    """Return operation over values[first:last] of each window, `empty` where it holds nothing.

    Each window is summed by itself: the same events give the same bits wherever the window starts, so that ties stay
    ties, which differences of one long cumulative sum would not keep.
    """
    result = np.full(len(first), empty)
    filled = np.flatnonzero(last > first)
    if len(filled):
        order = filled[np.argsort(first[filled], kind="stable")]
        limits = np.column_stack([first[order], last[order]]).ravel()
        result[order] = operation.reduceat(np.append(values, empty), limits)[::2]
    return result


def _depth(depth_km: Floats, first: Integers, last: Integers) -> dict[str, Floats]:
    known = np.isfinite(depth_km)
    depth = np.where(known, depth_km, 0.0)
    n = _reduce(np.add, known.astype(np.float64), first, last, 0.0)
    total = _reduce(np.add, depth, first, last, 0.0)
    squares = _reduce(np.add, depth**2, first, last, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(n >= 2, total / n, np.nan)
        variance = np.maximum(squares / n - mean**2, 0.0)
    return {"mean_depth": mean, "depth_spread": np.sqrt(variance)}


def _spatial_spread(events: pd.DataFrame, first: Integers, last: Integers) -> Floats:
    """Return the rms distance from the mean epicentre: R √(1 − |mean unit vector|²), exact for chords."""
    latitude, longitude = (np.radians(events[c].to_numpy()) for c in ("latitude", "longitude"))
    axes = (np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude))
    n = last - first
    centre = [a.mean() if len(a) else 0.0 for a in axes]  # small numbers about the centre keep the digits
    with np.errstate(divide="ignore", invalid="ignore"):
        shifted = [a - c for a, c in zip(axes, centre, strict=True)]
        means = [_reduce(np.add, a, first, last, 0.0) / n for a in shifted]
        squares = [_reduce(np.add, a**2, first, last, 0.0) / n for a in shifted]
        variance = sum(s - m**2 for s, m in zip(squares, means, strict=True))
        spread = EARTH_RADIUS_KM * np.sqrt(np.maximum(variance, 0.0))
    return np.where(n >= 2, spread, np.nan)


def _b_values(times: Integers, magnitudes: Floats, threshold: Floats, ends: Integers) -> dict[str, Floats]:
    """Return b-positive and classic b of the last 100 complete events before each end, however far back."""
    delta_m = magnitude_bin(magnitudes)
    last = np.searchsorted(times, ends)
    enough = last >= B_EVENTS
    first = np.maximum(last - B_EVENTS, 0)
    difference = np.diff(magnitudes, prepend=magnitudes[:1])
    used = (difference >= delta_m - 1e-9) & (difference > 1e-9)
    n = _between(used, np.minimum(first + 1, last), last)  # the first of the 100 has no predecessor among them
    rise = _between(np.where(used, difference - delta_m, 0.0), np.minimum(first + 1, last), last)
    excess = _between(magnitudes - threshold, first, last)
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.where(enough & (n >= B_POSITIVE_LEAST), b_of_mean_excess(rise / n, delta_m), np.nan)
        classic = np.where(enough, b_of_mean_excess(excess / B_EVENTS, delta_m), np.nan)
    return {"b_value": positive, "b_value_classic": classic}


def _b_inside(times: Integers, magnitudes: Floats, threshold: Floats, starts: Integers, ends: Integers) -> Floats:
    """Return the classic b-value of the complete events inside a window, NaN under 50 of them."""
    first, last = np.searchsorted(times, starts), np.searchsorted(times, ends)
    n = last - first
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = _between(magnitudes - threshold, first, last) / n
        return np.where(n >= B_WINDOW_LEAST, b_of_mean_excess(mean, magnitude_bin(magnitudes)), np.nan)


def _between(values: np.ndarray, first: Integers, last: Integers) -> Floats:
    """Return the sum of values[first:last] for each window, from one cumulative sum."""
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return np.asarray(total[last] - total[first])
