"""Features of any timed table in windows: mean, spread, largest value, trend, and what is usual at that time of day.

A row of the table counts in a window [start, end) once it is complete: a 15-minute sum that begins before a mainshock
and ends after it is no row of the window before. Every window of a length holds as many samples, wherever it lies.
A window with less than `min_coverage` of the samples it should hold has no row, nor has one before which fewer than
three of `history_days` days are covered at the same hours: what is usual is not known there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.errors import StudyError
from seisprobe.sections import LEAST_HISTORY, TableOptions
from seisprobe.setting import Setting
from seisprobe.sources.local_times import days_before
from seisprobe.sources.tables import TimedTable, read_timed_table, time_text
from seisprobe.windows import DAY_US, HOUR_US

__all__ = ["STATISTICS", "TableCoverage", "coverage_of", "describe", "features", "history_of", "record"]

STATISTICS = ("mean", "std", "max", "slope", "z")
KINDS = ("positive", "background", "post", "placebo")
CHUNK = 1 << 21  # numbers at a time
ROUNDING = 1e-12  # of a mean: days that differ by less are the same


@dataclass(frozen=True)
class TableCoverage:
    """What a plan says of a table before anything is computed.

    Parameters
    ----------
    table : TimedTable
        With its own counts of what was left out, and notes.
    windows : mapping of kind to int
        Windows with a row, of positive, background, post and placebo.
    dropped : mapping of kind to (mapping of reason to int)
        Windows without one: ``before_table``, ``after_table``, ``low_coverage``, ``short_history``.
    longest_h : float
        Length of the longest windows before mainshocks.
    covered, uncovered : tuple of str
        Mainshocks of the plan whose longest window is covered, and those whose is not.
    without_history : tuple of str
        Those of the covered ones before which too few days are: they have no row either.
    """

    table: TimedTable
    windows: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    longest_h: float
    covered: tuple[str, ...]
    uncovered: tuple[str, ...]
    without_history: tuple[str, ...]

    @property
    def line(self) -> str:
        """The whole in one line.

        Examples
        --------
        ``table:herd: 2016-10-28T00:00:00Z to 2016-11-30T00:00:00Z; of the 24 h before 3 mainshock(s) it covers 1
        (Norcia)``
        """
        first, last = self.table.period
        covered = f" ({', '.join(self.covered[:5])}{', …' if len(self.covered) > 5 else ''})" if self.covered else ""
        return (
            f"table:{self.table.name}: {time_text(first)} to {time_text(last)}; of the {self.longest_h:g} h before"
            f" {len(self.covered) + len(self.uncovered)} mainshock(s) it covers {len(self.covered)}{covered}"
        )


def features(setting: Setting, options: TableOptions) -> pd.DataFrame:
    """Return the features of a table in the windows that it covers.

    Parameters
    ----------
    setting : Setting
        Windows; nothing else of it is looked at but the study's period, for the message.
    options : TableOptions

    Returns
    -------
    DataFrame
        ``window_id``, ``station`` (the group, "" where the table has none), then of each column of values
        ``<column>_mean``, ``_std`` (of the samples, divisor n), ``_max``, ``_slope`` (per hour, least squares), and
        ``_z``: how the mean differs from those of the same clock hours of the `history_days` days before. Of the n of
        these days that are covered, t = (mean − their mean) / (their standard deviation √(1 + 1/n)) has Student's law
        with n − 1 degrees of freedom where days are alike and normal; z is the normal quantile of the same
        probability, so that three days before a window make it no stranger than seven. The clock is that of `zone`,
        UTC without one. A window longer than a day is compared with as many days, beginning with the last that it
        does not share. NaN for a column that itself has too few numbers in the window, or in those of three days. No
        ``_z`` where `history_days` is 0.

    Raises
    ------
    StudyError
        A table that covers no window; options that do not fit the file.
    DataFileError
        A file that cannot be read.
    """
    table = read_timed_table(options)
    starts, ends, inverse = _distinct(setting.windows)
    share = coverage_of(table, starts, ends)
    there = share >= options.min_coverage
    if not there.any():
        first, last = (time_text(t) for t in table.period)
        study = setting.study.study
        raise StudyError(
            f"[[table]] {table.name} covers no window: it holds {first} to {last}, the study {study.start:%Y-%m-%d} to"
            f" {study.end:%Y-%m-%d}, and {share.max(initial=0.0):.0%} of the samples at best (min_coverage ="
            f" {options.min_coverage:g}); name a table of that time, change sampling_s, or lower min_coverage"
        )
    there &= history_of(table, starts, ends, options) >= _least_days(options)
    if not there.any():
        raise StudyError(
            f"[[table]] {table.name}: no window has {LEAST_HISTORY} covered days in the history_days ="
            f" {options.history_days} before it; raise history_days, or set it to 0 to do without z"
        )
    used = STATISTICS if options.history_days else STATISTICS[:-1]
    names = [f"{column}_{statistic}" for column in table.columns for statistic in used]
    parts = []
    for number, group in enumerate(table.groups):
        covered = np.flatnonzero(there[number])
        place = np.full(len(starts), -1)
        place[covered] = np.arange(len(covered))
        own = place[inverse]
        values = _features_of(table, number, starts[covered], ends[covered], options)
        part = pd.DataFrame(values[own[own >= 0]], columns=names)
        part.insert(0, "window_id", setting.windows["window_id"].to_numpy()[own >= 0])
        part.insert(1, "station", group)
        part["order"] = np.flatnonzero(own >= 0)
        parts.append(part)
    made = pd.concat(parts).sort_values(["order", "station"], kind="stable", ignore_index=True)
    return made.drop(columns="order")


def coverage_of(table: TimedTable, starts: Integers, ends: Integers) -> Floats:
    """Return which share of the samples that windows should hold is there, at most 1.

    Parameters
    ----------
    table : TimedTable
    starts, ends : ndarray of int64, shape (n,)
        Microseconds UTC.

    Returns
    -------
    ndarray, shape (groups, n)
    """
    shares = [np.diff(_limits(_Series.of(table, g).known, starts, ends), axis=0)[0] for g in range(len(table.groups))]
    return np.minimum(np.array(shares) * (table.sampling_us / (ends - starts)), 1.0)


def history_of(table: TimedTable, starts: Integers, ends: Integers, options: TableOptions) -> Integers:
    """Return how many of the days before windows are covered at the same hours.

    Parameters
    ----------
    table : TimedTable
    starts, ends : ndarray of int64, shape (n,)
        Microseconds UTC.
    options : TableOptions

    Returns
    -------
    ndarray of int64, shape (groups, n)
    """
    if not options.history_days:
        return np.zeros((len(table.groups), len(ends)), np.int64)
    share = coverage_of(table, *_same_hours(table, starts, ends, options))
    return np.asarray((share >= options.min_coverage).reshape(len(share), options.history_days, -1).sum(axis=1))


def _least_days(options: TableOptions) -> int:
    return LEAST_HISTORY if options.history_days else 0


def describe(setting: Setting, options: TableOptions) -> TableCoverage:
    """Return what a table covers of a plan; a window counts as covered where one group covers it.

    Raises
    ------
    StudyError, DataFileError
        As `features`, but for a table that covers nothing.
    """
    table = read_timed_table(options)
    windows = setting.windows.loc[setting.windows["kind"].isin(KINDS)]
    starts, ends, inverse = _distinct(windows)
    there = coverage_of(table, starts, ends) >= options.min_coverage
    known = there & (history_of(table, starts, ends, options) >= _least_days(options))
    covered, whole = np.stack([there.any(axis=0), known.any(axis=0)])[:, inverse]
    first, last = (t + table.known_after_us for t in table.period)
    reason = np.where(ends[inverse] < first, "before_table", "low_coverage").astype(object)
    reason[starts[inverse] >= last] = "after_table"
    reason[covered] = "short_history"
    reason[whole] = ""
    counts = pd.DataFrame({"kind": windows["kind"].to_numpy(), "reason": reason}).value_counts().sort_index()
    kept, dropped = dict.fromkeys(KINDS, 0), {kind: dict[str, int]() for kind in KINDS}
    for (kind, why), count in counts.items():
        if why:
            dropped[kind][why] = int(count)
        else:
            kept[kind] = int(count)
    positive = windows["kind"].eq("positive").to_numpy()
    longest_h = float(windows["hours"].loc[positive].max()) if positive.any() else 0.0
    longest = positive & windows["hours"].eq(longest_h).to_numpy()
    names = windows["mainshock"].to_numpy()[longest]
    seen, used = (pd.Series(some[longest]).groupby(names, sort=False).any() for some in (covered, whole))
    groups = (seen.index[chosen] for chosen in (seen, ~seen, seen & ~used))
    return TableCoverage(table, kept, dropped, longest_h, *(tuple(map(str, names)) for names in groups))


def record(seen: TableCoverage) -> dict[str, Any]:
    """Return a coverage as plain data, as ``result.json`` and ``plan --json`` have it.

    Parameters
    ----------
    seen : TableCoverage
    """
    table, (first, last) = seen.table, seen.table.period
    return {
        "name": table.name,
        "stamp": table.stamp,
        "start": time_text(first),
        "end": time_text(last),
        "rows": len(table.times),
        "groups": [group for group in table.groups if group],
        "columns": list(table.columns),
        "sampling_s": table.sampling_us / 1e6,
        "hours": seen.longest_h,
        "covered": list(seen.covered),
        "uncovered": list(seen.uncovered),
        "without_history": list(seen.without_history),
        "windows": dict(seen.windows),
        "dropped": {kind: dict(reasons) for kind, reasons in seen.dropped.items()},
        "left_out": dict(table.dropped),
        "notes": list(table.notes),
    }


# --- windows and samples ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Series:
    """One group's samples: when they are complete (n,), their times in hours (n,), values (d, n) of finite or 0."""

    known: Integers
    hours: Floats
    values: Floats
    finite: NDArray[np.bool_]

    @classmethod
    def of(cls, table: TimedTable, group: int) -> _Series:
        rows = np.flatnonzero(table.group == group)
        values = table.values[rows].T  # noqa: PD011  a table of our own
        some = np.isfinite(values).any(axis=0)
        times, values = table.times[rows][some], np.ascontiguousarray(values[:, some])
        finite = np.isfinite(values)
        return cls(times + table.known_after_us, times / HOUR_US, np.where(finite, values, 0.0), finite)


def _distinct(windows: pd.DataFrame) -> tuple[Integers, Integers, Integers]:
    """Return each pair of start and end once, and where every window has its own."""
    pairs = pd.DataFrame({"start": times_us(windows["start"]), "end": times_us(windows["end"])})
    inverse = pairs.groupby(["start", "end"], sort=False).ngroup().to_numpy(np.int64)
    once = pairs.drop_duplicates()
    return once["start"].to_numpy(), once["end"].to_numpy(), inverse


def _limits(known: Integers, starts: Integers, ends: Integers) -> Integers:
    """Return first and behind the last sample of windows, (2, n): those complete after the start and by the end."""
    return np.array([np.searchsorted(known, limits, side="right") for limits in (starts, ends)])


def _features_of(table: TimedTable, group: int, starts: Integers, ends: Integers, options: TableOptions) -> Floats:
    """Return features (n, columns × statistics) of windows that a group covers."""
    series = _Series.of(table, group)
    own = _limits(series.known, starts, ends)
    pairs, inverse = _pairs(own)
    found = _statistics(series, pairs)[:, :, inverse]
    enough = _counts(series, own) * (table.sampling_us / (ends - starts)) >= options.min_coverage
    found = np.where(enough, found, np.nan)
    if options.history_days:
        earlier = _same_hours(table, starts, ends, options)
        found = np.concatenate([found, _against_history(table, series, earlier, options, found[0])[None]])
    return found.transpose(2, 1, 0).reshape(len(starts), -1)


def _pairs(limits: Integers) -> tuple[Integers, Integers]:
    """Return each (first, last) once, in order of their number of samples, and where every window has its own."""
    low, high = limits
    coded, inverse = np.unique((high - low) * (high.max(initial=0) + 1) + low, return_inverse=True)
    count, first = np.divmod(coded, high.max(initial=0) + 1)
    return np.array([first, first + count]), inverse


def _counts(series: _Series, limits: Integers) -> Integers:
    """Return how many numbers each column has between limits, (d, n)."""
    total = np.zeros((len(series.finite), len(series.known) + 1), np.int64)
    np.cumsum(series.finite, axis=1, out=total[:, 1:])
    return total[:, limits[1]] - total[:, limits[0]]


def _chunks(pairs: Integers, columns: int) -> list[tuple[int, NDArray[np.intp]]]:
    """Return runs of pairs with the same number of samples, none too large: (samples, rows)."""
    made = []
    count = pairs[1] - pairs[0]
    edges = np.flatnonzero(np.diff(count, prepend=-1))
    for low, high in zip(edges, [*edges[1:], len(count)], strict=True):
        samples = int(count[low])
        step = max(CHUNK // max(samples * columns, 1), 1)
        made += [(samples, np.arange(a, min(a + step, high))) for a in range(low, high, step)]
    return made


def _gather(values: np.ndarray, samples: int, first: Integers) -> np.ndarray:
    """Return values[..., first : first + samples] of each first, (..., n, samples)."""
    seen: np.ndarray = np.lib.stride_tricks.sliding_window_view(values, samples, axis=-1)
    return seen[..., first, :]


def _statistics(series: _Series, pairs: Integers) -> Floats:
    """Return mean, std, max and slope of samples between limits, (4, d, n); NaN where there is none.

    Each is summed by itself about its own mean: the same samples give the same bits, and a constant has no spread,
    which differences of one long cumulative sum would not keep.
    """
    made = np.full((4, len(series.values), pairs.shape[1]), np.nan)
    for samples, rows in _chunks(pairs, len(series.values)):
        if not samples:
            continue
        first = pairs[0, rows]
        x, finite = _gather(series.values, samples, first), _gather(series.finite, samples, first)
        hours = _gather(series.hours, samples, first)
        with np.errstate(divide="ignore", invalid="ignore"):
            made[:, :, rows] = _moments(x, finite, hours - hours[:, :1])
    return made


def _moments(x: Floats, finite: NDArray[np.bool_], hours: Floats) -> Floats:
    """Return mean, std, max and slope over the last axis: x and finite (d, n, samples), hours (n, samples)."""
    count = finite.sum(axis=-1)
    mean = x.sum(axis=-1) / count
    away = np.where(finite, x - mean[..., None], 0.0)
    constant = np.where(finite, x, -np.inf).max(axis=-1) == np.where(finite, x, np.inf).min(axis=-1)
    spread = np.where(constant, 0.0, np.sqrt((away * away).sum(axis=-1) / count))
    when = np.where(finite, hours, 0.0)
    when = np.where(finite, when - (when.sum(axis=-1) / count)[..., None], 0.0)
    slope = np.where(count > 1, (when * away).sum(axis=-1) / (when * when).sum(axis=-1), np.nan)
    most = np.where(count > 0, np.where(finite, x, -np.inf).max(axis=-1), np.nan)
    return np.array([mean, np.where(count > 0, spread, np.nan), most, np.where(constant & (count > 1), 0.0, slope)])


def _means(series: _Series, pairs: Integers) -> Floats:
    """Return the means between limits, (d, n); NaN where there is no number."""
    made = np.full((len(series.values), pairs.shape[1]), np.nan)
    for samples, rows in _chunks(pairs, len(series.values)):
        if samples:
            made[:, rows] = _gather(series.values, samples, pairs[0, rows]).sum(axis=-1)
    count = _counts(series, pairs)
    means: Floats = np.divide(made, count, out=np.full(made.shape, np.nan), where=count > 0)
    return means


def _same_hours(
    table: TimedTable, starts: Integers, ends: Integers, options: TableOptions
) -> tuple[Integers, Integers]:
    """Return starts and ends of the same clock hours on the days before windows, (days × n,), the nearest day first."""
    zone = None if table.zone is None else ZoneInfo(table.zone)
    length = ends - starts
    first_day = np.maximum(-(-length // DAY_US), 1)
    moved = np.empty((options.history_days, len(ends)), np.int64)
    for shift in np.unique(first_day):
        some = first_day == shift
        for day in range(options.history_days):
            moved[day, some] = days_before(ends[some], int(shift) + day, zone)
    return moved.ravel() - np.tile(length, options.history_days), moved.ravel()


def _against_history(
    table: TimedTable, series: _Series, earlier: tuple[Integers, Integers], options: TableOptions, mean: Floats
) -> Floats:
    """Return z of each column and window, (d, n): `mean` against the same hours on days before (days × n,)."""
    limits = _limits(series.known, *earlier)
    pairs, inverse = _pairs(limits)
    enough = _counts(series, limits) * (table.sampling_us / (earlier[1] - earlier[0])) >= options.min_coverage
    usual = np.where(enough, _means(series, pairs)[:, inverse], np.nan).reshape(len(mean), options.history_days, -1)
    count = np.isfinite(usual).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.nansum(usual, axis=1) / count
        spread = np.sqrt(np.nansum((usual - centre[:, None]) ** 2, axis=1) / (count - 1))
        z = _normal((mean - centre) / (spread * np.sqrt(1 + 1 / count)), count - 1)
        rounding = ROUNDING * np.abs(centre)
        z = np.where(spread > rounding, z, np.where(np.abs(mean - centre) <= rounding, 0.0, np.nan))
    return np.where(count >= LEAST_HISTORY, z, np.nan)


def _normal(t: Floats, degrees: Integers) -> Floats:
    """Return the normal quantiles of Student's t, from its lower tail: no t is infinitely strange."""
    from scipy.special import ndtri, stdtr

    return np.asarray(-np.sign(t) * ndtri(stdtr(np.maximum(degrees, 1), -np.abs(t))))
