"""Tables of columns, a row a time (and group): rows in order, each once; whatever is left out is a count and a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from seisprobe.catalog import DAY_US, Floats, Integers
from seisprobe.errors import DataFileError, StudyError, nearest
from seisprobe.sections import TableOptions
from seisprobe.sources.local_times import NO_TIME
from seisprobe.sources.table_files import read_frame, read_names, shown
from seisprobe.sources.table_numbers import named_columns, numbers_of, without_constants
from seisprobe.sources.table_times import row_times

__all__ = ["Parts", "check_columns", "read_columns", "stopping", "time_text"]

STOPS_EARLY_US = DAY_US  # what ends this long before the table is said to stop


@dataclass(frozen=True)
class Parts:
    """Rows of a table in any order: `TimedTable` has what its fields are."""

    times: Integers
    groups: tuple[str, ...]
    group: Integers
    columns: tuple[str, ...]
    numbers: Floats
    dropped: Counter[str]
    notes: tuple[str, ...]


def time_text(microseconds: int) -> str:
    """Return a time as messages write it.

    Examples
    --------
    >>> time_text(1_477_809_617_000_000)
    '2016-10-30T06:40:17Z'
    """
    return str(pd.Timestamp(microseconds, unit="us").strftime("%Y-%m-%dT%H:%M:%SZ"))


def check_columns(options: TableOptions) -> None:
    """Refuse a table whose header has not the columns that the study names; no row is read.

    Raises
    ------
    StudyError
        A column that is not there.
    DataFileError
        A file that cannot be read.
    """
    path = Path(options.path)
    names = read_names(path)
    _check_named(options, names, path.name)
    named_columns(options, [name for name in names if name not in (options.time, options.group)])


def read_columns(options: TableOptions) -> Parts:
    """Read the rows of a table of columns.

    Raises
    ------
    StudyError
        A column that is not there, times that the study's options do not resolve.
    DataFileError
        A file that cannot be read, rows that contradict each other, or nothing that can be used.
    """
    path, dropped, notes = Path(options.path), Counter[str](), list[str]()
    frame = read_frame(path, notes, {options.time, options.group or options.time, *options.values})  # noqa: PD011
    _check_named(options, list(frame.columns), path.name)
    if not len(frame):
        raise DataFileError(f"{path.name}: holds no row below its header; fetch it again or name another")
    labels = _labels(options, frame)
    group, groups = pd.factorize(labels, sort=True)
    said: list[str] = []
    numbers = numbers_of(options, frame, path.name, dropped, said)
    values = numbers.to_numpy("float64")
    times, of_times = row_times(options, frame[options.time], group, values, dropped)
    notes += [*of_times, *said]
    _check_quotes(frame, (options.time, *numbers.columns), path.name, notes)
    if options.group is not None and (labels == "").any():
        dropped["no_group"] = int(((labels == "") & (times != NO_TIME)).sum())
        of_times.append(f"{path.name}: {dropped['no_group']} row(s) without '{shown(options.group)}' left out")
        notes.append(of_times[-1])
        times = np.where(labels == "", NO_TIME, times)
    kept = np.flatnonzero(times != NO_TIME)
    if not len(kept):
        why = of_times[-1].removeprefix(f"{path.name}: ")
        raise DataFileError(f"{path.name}: none of its {len(frame)} row(s) has a time that can be used: {why}")
    rows = _Rows(times[kept], group[kept], values[kept], frame.index.to_numpy()[kept])
    return _in_parts(options, rows, groups, list(numbers.columns), dropped, notes)


@dataclass(frozen=True)
class _Rows:
    """Rows that can be used, as they stand in the file, and their lines there."""

    times: Integers
    group: Integers
    numbers: Floats
    lines: Integers


def _in_parts(
    options: TableOptions, rows: _Rows, groups: np.ndarray, names: list[str], dropped: Counter[str], notes: list[str]
) -> Parts:
    origin = Path(options.path).name
    backwards = _backwards(rows.times, rows.group)
    if backwards:
        notes.append(f"{origin}: {backwards} time(s) go backwards; rows are put in order of time")
    once = _without_repeats(rows, options, dropped, notes)
    times, values = rows.times[once], rows.numbers[once]
    columns = without_constants(pd.DataFrame(values, columns=names), origin, dropped, notes)
    used, group = np.unique(rows.group[once], return_inverse=True)
    numbers = values[:, [names.index(column) for column in columns]]
    present = tuple(str(groups[i]) for i in used)
    notes += stopping(origin, present, times, group)
    notes += _stopping_columns(origin, columns, numbers, times, group, present)
    return Parts(times, present, group, tuple(columns), numbers, dropped, tuple(notes))


def stopping(origin: str, names: Sequence[str], times: Integers, index: Integers) -> list[str]:
    """Return a line for each animal, sensor or station that ends a day or more before the table does.

    Parameters
    ----------
    origin : str
        Name of the file.
    names : sequence of str
    times, index : ndarray of int64, shape (n,)
        Of each row its time, and which of `names` it is of.

    Examples
    --------
    >>> stopping("herd.csv", ["cow", "dog"], np.array([0, 0, 1, 2]) * DAY_US, np.array([0, 1, 0, 0]))
    ["herd.csv: 'dog' stops at 1970-01-01T00:00:00Z, before the table's end 1970-01-03T00:00:00Z"]
    """
    end, last = times.max(), np.full(len(names), times.min())
    np.maximum.at(last, index, times)
    early = np.flatnonzero(last < end - STOPS_EARLY_US).tolist()
    return [_stops(origin, f"'{shown(names[i])}'", last[i], end) for i in early]


def _stops(origin: str, what: str, last: int, end: int) -> str:
    return f"{origin}: {what} stops at {time_text(last)}, before the table's end {time_text(end)}"


def _stopping_columns(
    origin: str, columns: list[str], numbers: Floats, times: Integers, group: Integers, groups: tuple[str, ...]
) -> list[str]:
    """Return a line for each column whose numbers end early; of a group that itself does not."""
    lines, end = [], times.max()
    finite, some = np.isfinite(numbers), np.isfinite(numbers).any(axis=1)
    goes_on = np.full(len(groups), times.min())
    np.maximum.at(goes_on, group[some], times[some])
    for number, column in enumerate(columns):
        held = finite[:, number]
        last = np.full(len(groups), times.min())
        np.maximum.at(last, group[held], times[held])
        early = last < end - STOPS_EARLY_US
        if early.all():
            lines.append(_stops(origin, f"'{shown(column)}'", last.max(), end))
            continue
        early &= (goes_on >= end - STOPS_EARLY_US) & (np.bincount(group[held], minlength=len(groups)) > 0)
        lines += [
            _stops(origin, f"'{shown(column)}' of '{shown(groups[i])}'", last[i], end) for i in np.flatnonzero(early)
        ]
    return lines


def _labels(options: TableOptions, frame: pd.DataFrame) -> np.ndarray:
    if options.group is None:
        return np.full(len(frame), "", dtype=object)
    return np.asarray(frame[options.group].astype("string").fillna("").str.strip(), dtype=object)


def _backwards(times: Integers, group: Integers) -> int:
    order = np.argsort(group, kind="stable")
    return int(((np.diff(times[order]) < 0) & (np.diff(group[order]) == 0)).sum())


def _without_repeats(rows: _Rows, options: TableOptions, dropped: Counter[str], notes: list[str]) -> Integers:
    """Return the rows that stay: one of those that are the same; those that contradict each other are refused."""
    values = {f"v{i}": rows.numbers[:, i] for i in range(rows.numbers.shape[1])}
    frame = pd.DataFrame({"time": rows.times, "group": rows.group, **values})
    same = frame.duplicated().to_numpy()
    name = Path(options.path).name
    if same.any():
        dropped["duplicate"] = int(same.sum())
        notes.append(f"{name}: {same.sum()} row(s) stand twice, the first in line {rows.lines[same][0]}: taken once")
    once = np.flatnonzero(~same)
    against = frame.iloc[once].duplicated(["time", "group"]).to_numpy()
    if against.any():
        first = once[against][0]
        way = "name the column that tells them apart as group" if options.group is None else "leave one of each in it"
        raise DataFileError(
            f"{name}: {against.sum()} row(s) have the time of another and other values, the first"
            f" {time_text(rows.times[first])} in line {rows.lines[first]}; {way}"
        )
    return once


# --- what is refused -------------------------------------------------------------------------------------------------


def _check_named(options: TableOptions, known: list[str], origin: str) -> None:
    for key, name in (("time", options.time), *([("group", options.group)] if options.group is not None else [])):
        if name not in known:
            raise StudyError(
                f"[[table]] {options.name} {key} = '{shown(name)}': no such column in {origin}; {nearest(name, known)}"
            )


def _check_quotes(frame: pd.DataFrame, used: Sequence[str], origin: str, notes: list[str]) -> None:
    """Refuse a cell of times or values that spans lines: a stray quote takes in whole rows. Say it of other cells."""
    if not frame.attrs.get("spans_lines"):
        return
    lines = frame.index.to_numpy()
    for name in frame.columns:
        breaks = frame[name].astype("string").fillna("").str.count("\n").to_numpy(np.int64)
        if not breaks.any():
            continue
        worst = int(breaks.argmax())
        said = (
            f"{(breaks > 0).sum()} cell(s) of '{shown(name)}' span lines: a quote in line {lines[worst]} takes in"
            f" {breaks[worst]} more"
        )
        if name in used:
            raise DataFileError(f"{origin}: {said}; take stray quotes out of the file")
        notes.append(f"{origin}: {said}")
