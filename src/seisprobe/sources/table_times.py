"""The times of a table's rows, in UTC: what cannot be read is counted, what has no zone or two meanings is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.errors import StudyError
from seisprobe.sections import TableOptions
from seisprobe.sources.layouts import ISO_TIME, ZONE
from seisprobe.sources.local_times import NO_TIME, Flags, read_clock, told_by_order, within_years, zone_of
from seisprobe.sources.table_files import shown

__all__ = ["row_times"]

DATE = r"\d{4}-\d{2}-\d{2}"


def row_times(
    options: TableOptions, column: pd.Series, group: Integers, values: Floats, dropped: Counter[str]
) -> tuple[Integers, list[str]]:
    """Return times in microseconds UTC, `NO_TIME` for a row that is left out, and what is to be said of them.

    Parameters
    ----------
    options : TableOptions
    column : series
        As read; its index holds the lines of the file.
    group : ndarray of int64, shape (n,)
    values : ndarray, shape (n, d)
        The rows' numbers, which tell whether a row stands twice.
    dropped : Counter
        ``bad_time``, ``daylight_saving_gap`` and ``daylight_saving_overlap`` are counted in it.

    Raises
    ------
    StudyError
        Times without a zone, or of which some have one; times that the rule for daylight saving does not resolve.
    """
    name, where, notes = Path(options.path).name, f"[[table]] {options.name}", list[str]()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        clock, instant = None, column.dt.tz_convert("UTC")
    elif pd.api.types.is_datetime64_dtype(column.dtype):
        clock, instant = column, None
    else:
        clock, instant = _read_texts(column.astype("string").fillna("").str.strip().astype("str"), name, where)
    read = instant if clock is None else clock
    assert read is not None
    read = within_years(read)
    if read.isna().any():
        bad = np.flatnonzero(read.isna())
        dropped["bad_time"] = len(bad)
        notes.append(
            f"{name}: {len(bad)} row(s) left out as bad_time, the first in line {column.index[bad[0]]}:"
            f" '{shown(column.iloc[bad[0]])}'; write times as 2016-10-30T06:40:17Z, of the years 1800 to 2200"
        )
    if clock is None:
        return np.where(read.notna(), times_us(read), NO_TIME), notes
    if options.zone is None:
        raise StudyError(
            f"{where}: times of '{shown(options.time)}' in {name} carry no zone; write zone = 'UTC', or that of the"
            " clock, as 'Europe/Rome'"
        )
    return _resolved(options, read, group, values, dropped, notes), notes


def _read_texts(texts: pd.Series, name: str, where: str) -> tuple[pd.Series | None, pd.Series | None]:
    """Return times as (clock, None) where none has a zone, or (None, instants) where all have one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pa.array(texts, from_pandas=True)
    bare, dates, zoned = (
        pc.match_substring_regex(values, f"^{pattern}$").fill_null(False).to_numpy(zero_copy_only=False)
        for pattern in (ISO_TIME, DATE, ISO_TIME + ZONE)
    )
    if bare.any() or not dates.all():
        dates = np.zeros_like(dates)  # a day among times is half a time, and no midnight
    bare |= dates
    if bare.any() and zoned.any():
        raise StudyError(
            f"{where}: {name} mixes times with a zone (line {texts.index[zoned][0]}:"
            f" '{shown(texts[zoned].iloc[0])}') and without (line {texts.index[bare][0]}:"
            f" '{shown(texts[bare].iloc[0])}'); write all in one way"
        )
    chosen = texts.where(zoned if zoned.any() else bare)
    read = pd.to_datetime(chosen, format="ISO8601", utc=bool(zoned.any()), errors="coerce").dt.as_unit("us")
    return (None, read) if zoned.any() or not bare.any() else (read, None)


def _resolved(
    options: TableOptions, clock: pd.Series, group: Integers, values: Floats, dropped: Counter[str], notes: list[str]
) -> Integers:
    """Return clock times in UTC by the study's rule for daylight saving."""
    assert options.zone is not None
    read = read_clock(clock, zone_of(options.zone, f"[[table]] {options.name}"))
    name, rule = Path(options.path).name, options.daylight_saving
    if rule == "drop":
        for reason, faults in (("daylight_saving_gap", read.gap), ("daylight_saving_overlap", read.overlap)):
            if faults.any():
                dropped[reason] = int(faults.sum())
                notes.append(f"{name}: {_first(faults, clock)} left out as {reason} of {options.zone}")
        return np.where(read.gap | read.overlap, NO_TIME, read.standard)
    if read.gap.any():
        raise StudyError(
            f"[[table]] {options.name}: {_first(read.gap, clock)} that daylight saving leaves out in {options.zone};"
            " the clock was another (zone = 'UTC', 'Etc/GMT-1'), or leave them out: daylight_saving = 'drop'"
        )
    if not read.overlap.any():
        return read.standard
    second = told_by_order(read, group, _content(read.summer, values)) if rule == "order" else None
    if second is None:
        way = (
            "the order of rows does not tell which pass it is: daylight_saving = 'drop', or"
            if rule == "order"
            else "daylight_saving = 'order' (rows in order of time) or 'drop', or"
        )
        raise StudyError(
            f"[[table]] {options.name}: {_first(read.overlap, clock)} that daylight saving repeats in {options.zone};"
            f" {way} write times with their offset"
        )
    notes.append(f"{name}: {_first(read.overlap, clock)} that daylight saving repeats, told apart by their order")
    return np.where(read.overlap & ~second, read.summer, read.standard)


def _content(clock: Integers, values: Floats) -> Integers:
    """Return a number for each row, the same for rows of the same clock time and values."""
    frame = pd.DataFrame(values).assign(clock=clock)
    return np.asarray(frame.groupby(list(frame.columns), sort=False, dropna=False).ngroup(), dtype=np.int64)


def _first(faults: Flags, clock: pd.Series) -> str:
    row = int(np.flatnonzero(faults)[0])
    return (
        f"{int(faults.sum())} time(s), the first {clock.iloc[row].strftime('%Y-%m-%d %H:%M:%S')} in line"
        f" {clock.index[row]},"
    )
