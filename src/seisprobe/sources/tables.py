"""Timed tables, ``[[table]]``: any CSV, Parquet or Excel file with a column of times, and Movebank's e-obs export.

Kind and compression are told by content. Whatever is not taken as it stands is a count and a line: nothing is averaged,
filled or guessed on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from seisprobe.catalog import DAY_US, Floats, Integers, times_us
from seisprobe.errors import DataFileError, StudyError, nearest
from seisprobe.sections import TableOptions
from seisprobe.sources.accelerations import ANIMAL, in_slots, read_bursts
from seisprobe.sources.layouts import ISO_TIME, ZONE
from seisprobe.sources.local_times import NO_TIME, Flags, read_clock, told_by_order, zone_of
from seisprobe.sources.stamps import file_stamp
from seisprobe.sources.table_files import read_frame

__all__ = ["TimedTable", "read_timed_table", "time_text"]

SLOT_S = 900.0  # 15 minutes, as the published activity of the herd
DATE = r"\d{4}-\d{2}-\d{2}"
STOPS_EARLY_US = DAY_US  # a group that ends this long before the table is said to stop
SHOWN = 60


@dataclass(frozen=True)
class TimedTable:
    """A timed table as read; arrays are read-only.

    Parameters
    ----------
    name : str
    times : ndarray of int64, shape (n,)
        As the table marks them, microseconds UTC, ascending.
    groups : tuple of str
        Names, sorted; ("",) where there are none.
    group : ndarray of int64, shape (n,)
        Index into `groups`.
    columns : tuple of str
    values : ndarray, shape (n, d)
        NaN where a cell holds no number.
    sampling_us : int
        Declared, or the median spacing.
    known_after_us : int
        How long after its time a row is complete.
    zone : str or None
        Whose clock the hours of the day are read by; None for UTC.
    dropped : mapping of str to int
        What was left out, by reason: rows, and ``constant_column``, ``not_a_number`` (cells).
    stamp : str
        Of the file.
    notes : tuple of str
        What a reader of the report should know, one line each.
    """

    name: str
    times: Integers
    groups: tuple[str, ...]
    group: Integers
    columns: tuple[str, ...]
    values: Floats
    sampling_us: int
    known_after_us: int
    zone: str | None
    dropped: Mapping[str, int]
    stamp: str
    notes: tuple[str, ...]

    @property
    def period(self) -> tuple[int, int]:
        """First and last time, microseconds UTC."""
        return int(self.times[0]), int(self.times[-1])


def time_text(microseconds: int) -> str:
    """Return a time as messages write it.

    Examples
    --------
    >>> time_text(1_477_809_617_000_000)
    '2016-10-30T06:40:17Z'
    """
    return str(pd.Timestamp(microseconds, unit="us").strftime("%Y-%m-%dT%H:%M:%SZ"))


def read_timed_table(options: TableOptions) -> TimedTable:
    """Read the table that a study names; the same file is read once a process.

    Parameters
    ----------
    options : TableOptions
        `path` as it is, absolute or relative to the working folder.

    Returns
    -------
    TimedTable

    Raises
    ------
    StudyError
        A column or zone that is not there; times without a zone; times that a rule does not resolve.
    DataFileError
        No file, a damaged one, rows that contradict each other, or nothing that can be used.
    """
    path = Path(options.path)
    if not path.is_file():
        what = "this is a folder; name the file in it" if path.is_dir() else "no such file; name one by the study file"
        raise DataFileError(f"{path}: {what}")
    return _read(options, file_stamp(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(options: TableOptions, stamp: str, _changed: int) -> TimedTable:
    zone = None if options.zone is None else zone_of(options.zone, f"[[table]] {options.name}").key
    parts = _of_bursts(options) if options.layout == "e-obs" else _of_columns(options)
    order = np.lexsort((parts.group, parts.times))
    times, group, values = parts.times[order], parts.group[order], parts.numbers[order]
    sampling_us = _sampling(options, times, group)
    known_after_us = {"start": sampling_us, "end": 0, "instant": 1}[options.marks]
    notes = (*parts.notes, *_stopping(Path(options.path).name, parts.groups, times, group))
    for array in (times, group, values):
        array.flags.writeable = False
    return TimedTable(
        options.name, times, parts.groups, group, parts.columns, values, sampling_us, known_after_us, zone,
        dict(sorted(parts.dropped.items())), stamp, notes,
    )  # fmt: skip


@dataclass(frozen=True)
class _Parts:
    times: Integers
    groups: tuple[str, ...]
    group: Integers
    columns: tuple[str, ...]
    numbers: Floats
    dropped: Counter[str]
    notes: tuple[str, ...]


def _sampling(options: TableOptions, times: Integers, group: Integers) -> int:
    if options.sampling_s is not None or options.layout == "e-obs":
        return round((options.sampling_s or SLOT_S) * 1e6)
    order = np.lexsort((times, group))
    spacing = np.diff(times[order])[np.diff(group[order]) == 0]
    if not len(spacing):
        raise StudyError(
            f"[[table]] {options.name}: {len(times)} row(s) do not tell how far apart samples are; write sampling_s"
        )
    return int(np.median(spacing))


def _stopping(origin: str, groups: tuple[str, ...], times: Integers, group: Integers) -> list[str]:
    """Return a line for each group that ends a day or more before the table does."""
    last = np.full(len(groups), times[0])
    np.maximum.at(last, group, times)
    return [
        f"{origin}: '{groups[i]}' stops at {time_text(last[i])}, before the table's end {time_text(times[-1])}"
        for i in np.flatnonzero(last < times[-1] - STOPS_EARLY_US)
    ]


# --- accelerations ---------------------------------------------------------------------------------------------------


def _of_bursts(options: TableOptions) -> _Parts:
    if options.group not in (None, ANIMAL):
        raise StudyError(f"[[table]] {options.name} group = '{options.group}': of e-obs bursts only '{ANIMAL}'")
    path = Path(options.path)
    bursts = read_bursts(path)
    made = in_slots(bursts, options.sampling_s or SLOT_S, by_animal=options.group is not None)
    frame = pd.DataFrame(made.values, columns=list(made.columns))
    dropped, notes = Counter(bursts.dropped), [*bursts.notes, *(f"{path.name}: {note}" for note in made.notes)]
    chosen = _named(options, list(made.columns)) or list(made.columns)
    kept = _not_constant(frame[chosen], path.name, dropped, notes)
    return _Parts(made.times, made.groups, made.group, tuple(kept), frame[kept].to_numpy(), dropped, tuple(notes))


# --- columns ---------------------------------------------------------------------------------------------------------


def _of_columns(options: TableOptions) -> _Parts:
    path, dropped, notes = Path(options.path), Counter[str](), list[str]()
    frame = read_frame(path, notes)
    _check_columns(options, frame, path)
    rows = np.arange(len(frame)) + 2  # as an editor numbers them, below the header
    labels = _labels(options, frame)
    group, groups = pd.factorize(labels, sort=True)
    times = _times(options, frame[options.time], group, dropped, notes)
    values = _numbers(options, frame, path.name, dropped, notes)
    if options.group is not None and (labels == "").any():
        dropped["no_group"] = int(((labels == "") & (times != NO_TIME)).sum())
        notes.append(f"{path.name}: {dropped['no_group']} row(s) without '{options.group}' left out")
        times = np.where(labels == "", NO_TIME, times)
    kept = np.flatnonzero(times != NO_TIME)
    if not len(kept):
        raise DataFileError(f"{path.name}: none of its {len(frame)} row(s) has a time that can be used: {notes[0]}")
    times, group, rows, numbers = times[kept], group[kept], rows[kept], values.to_numpy("float64")[kept]
    backwards = _backwards(times, group)
    if backwards:
        notes.append(f"{path.name}: {backwards} time(s) go backwards; rows are put in order of time")
    once = _without_repeats(times, group, numbers, rows, options, dropped, notes)
    numbers = numbers[once]
    columns = _not_constant(pd.DataFrame(numbers, columns=values.columns), path.name, dropped, notes)
    used, index = np.unique(group[once], return_inverse=True)
    return _Parts(
        times[once], tuple(str(groups[i]) for i in used), index, tuple(columns),
        numbers[:, [list(values.columns).index(c) for c in columns]], dropped, tuple(notes),
    )  # fmt: skip


def _labels(options: TableOptions, frame: pd.DataFrame) -> np.ndarray:
    if options.group is None:
        return np.full(len(frame), "", dtype=object)
    return np.asarray(frame[options.group].astype("string").fillna("").str.strip(), dtype=object)


def _backwards(times: Integers, group: Integers) -> int:
    order = np.argsort(group, kind="stable")
    return int(((np.diff(times[order]) < 0) & (np.diff(group[order]) == 0)).sum())


def _without_repeats(
    times: Integers,
    group: Integers,
    values: Floats,
    rows: Integers,
    options: TableOptions,
    dropped: Counter[str],
    notes: list[str],
) -> Integers:
    """Return the rows that stay: one of those that are the same; those that contradict each other are refused."""
    frame = pd.DataFrame({"time": times, "group": group, **{f"v{i}": values[:, i] for i in range(values.shape[1])}})
    same = frame.duplicated().to_numpy()
    name = Path(options.path).name
    if same.any():
        dropped["duplicate"] = int(same.sum())
        notes.append(f"{name}: {same.sum()} row(s) stand twice, the first in line {rows[same][0]}: taken once")
    once = np.flatnonzero(~same)
    against = frame.iloc[once].duplicated(["time", "group"]).to_numpy()
    if against.any():
        first = once[against][0]
        way = "name the column that tells them apart as group" if options.group is None else "leave one of each in it"
        raise DataFileError(
            f"{name}: {against.sum()} row(s) have the time of another and other values, the first"
            f" {time_text(times[first])} in line {rows[first]}; {way}"
        )
    return once


# --- times -----------------------------------------------------------------------------------------------------------


def _times(
    options: TableOptions, column: pd.Series, group: Integers, dropped: Counter[str], notes: list[str]
) -> Integers:
    """Return times in microseconds UTC, `NO_TIME` for a row that is left out."""
    name, where = Path(options.path).name, f"[[table]] {options.name}"
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        clock, instant = None, column.dt.tz_convert("UTC")
    elif pd.api.types.is_datetime64_dtype(column.dtype):
        clock, instant = column, None
    else:
        clock, instant = _read_texts(column.astype("string").fillna("").str.strip().astype("str"), name, where)
    read = instant if clock is None else clock
    assert read is not None
    if read.isna().any():
        bad = np.flatnonzero(read.isna())
        dropped["bad_time"] = len(bad)
        shown = str(column.iloc[bad[0]])[:SHOWN]
        notes.append(
            f"{name}: {len(bad)} row(s) left out as bad_time, the first in line {bad[0] + 2}: '{shown}';"
            " write times as 2016-10-30T06:40:17Z"
        )
    if clock is None:
        return np.where(read.notna(), times_us(read), NO_TIME)
    if options.zone is None:
        raise StudyError(
            f"{where}: times of '{options.time[:SHOWN]}' in {name} carry no zone; write zone = 'UTC', or that of the"
            " clock, as 'Europe/Rome'"
        )
    return _resolved(options, clock, group, dropped, notes)


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
            f"{where}: {name} mixes times with a zone (line {np.flatnonzero(zoned)[0] + 2}:"
            f" '{texts[zoned].iloc[0][:SHOWN]}') and without (line {np.flatnonzero(bare)[0] + 2}:"
            f" '{texts[bare].iloc[0][:SHOWN]}'); write all in one way"
        )
    chosen = texts.where(zoned if zoned.any() else bare)
    read = pd.to_datetime(chosen, format="ISO8601", utc=bool(zoned.any()), errors="coerce").dt.as_unit("us")
    return (None, read) if zoned.any() or not bare.any() else (read, None)


def _resolved(
    options: TableOptions, clock: pd.Series, group: Integers, dropped: Counter[str], notes: list[str]
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
    whole = clock.dt.as_unit("us").astype("int64").to_numpy()
    second = told_by_order(whole, read.overlap, group) if rule == "order" else None
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


def _first(faults: Flags, clock: pd.Series) -> str:
    row = int(np.flatnonzero(faults)[0])
    return f"{int(faults.sum())} time(s), the first {clock.iloc[row].strftime('%Y-%m-%d %H:%M:%S')} in line {row + 2},"


# --- values ----------------------------------------------------------------------------------------------------------


def _check_columns(options: TableOptions, frame: pd.DataFrame, path: Path) -> None:
    known = [str(name) for name in frame.columns]
    for key, name in (("time", options.time), *([("group", options.group)] if options.group is not None else [])):
        if name not in known:
            raise StudyError(
                f"[[table]] {options.name} {key} = '{str(name)[:SHOWN]}': no such column in {path.name};"
                f" {nearest(str(name), known)}"
            )
    if not len(frame):
        raise DataFileError(f"{path.name}: holds no row below its header; fetch it again or name another")


def _named(options: TableOptions, known: list[str]) -> list[str]:
    """Return the columns that the study names, all of which must be there."""
    names = options.values  # noqa: PD011  an option, no frame
    for name in names:
        if name not in known:
            raise StudyError(f"[[table]] {options.name} values: no column '{name[:SHOWN]}'; {nearest(name, known)}")
    return list(names)


def _numbers(
    options: TableOptions, frame: pd.DataFrame, origin: str, dropped: Counter[str], notes: list[str]
) -> pd.DataFrame:
    """Return the value columns as numbers, NaN (counted) for a cell that holds something else."""
    others = [str(name) for name in frame.columns if name not in (options.time, options.group)]
    named = _named(options, others)
    made, passed = {}, []
    for name in named or others:
        numbers, filled = _as_numbers(frame[name], frame.attrs.get("delimiter") == ";")
        usable = np.isfinite(numbers)
        if not usable.any() or (not named and usable.sum() * 2 < filled.sum()):
            passed.append(name)
            continue
        made[name] = np.where(usable, numbers, np.nan)
        lost = ~usable
        if lost.any():
            dropped["not_a_number"] += int(lost.sum())
            row = int(np.flatnonzero(lost)[0])
            shown = "" if not filled[row] else str(frame[name].iloc[row])[:SHOWN]
            notes.append(
                f"{origin}: {lost.sum()} cell(s) of '{name}' hold no number, first in line {row + 2}: '{shown}'"
            )
    if passed and (named or not made):
        raise DataFileError(f"{origin}: column(s) without numbers: {', '.join(passed)[:200]}; name others as values")
    if not made:
        raise DataFileError(f"{origin}: no column of values beside the time; name a table that has one")
    if passed:
        notes.append(f"{origin}: column(s) without numbers left out: {', '.join(passed)[:200]}")
    return pd.DataFrame(made, index=frame.index)


def _as_numbers(column: pd.Series, decimal_comma: bool) -> tuple[Floats, Flags]:
    """Return a column as numbers, NaN for none, and which cells hold anything; 0,5 only where ; parts the columns."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy("float64", na_value=np.nan)
        return numbers, ~np.isnan(numbers)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return np.full(len(column), np.nan), column.notna().to_numpy()
    texts = column.astype("string").fillna("").str.strip()
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy("float64", na_value=np.nan)
    if decimal_comma and np.isnan(numbers).all():
        numbers = pd.to_numeric(texts.str.replace(",", "."), errors="coerce").to_numpy("float64", na_value=np.nan)
    return numbers, (texts != "").to_numpy(dtype=bool)


def _not_constant(frame: pd.DataFrame, origin: str, dropped: Counter[str], notes: list[str]) -> list[str]:
    """Return the columns that change; the others say nothing of any window."""
    values = frame.to_numpy("float64")
    flat = ~(np.fmax.reduce(values, axis=0) > np.fmin.reduce(values, axis=0))  # of nothing but NaN too
    constant = [name for name, still in zip(frame.columns, flat, strict=True) if still]
    if constant:
        dropped["constant_column"] = len(constant)
        notes.append(f"{origin}: constant column(s) left out: {', '.join(constant)[:200]}")
    if len(constant) == len(flat):
        raise DataFileError(f"{origin}: every column of values is constant ({', '.join(constant)[:200]}); name others")
    return [name for name in frame.columns if name not in constant]
