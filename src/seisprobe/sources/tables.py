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

from seisprobe.catalog import Floats, Integers
from seisprobe.errors import StudyError
from seisprobe.sections import TableOptions
from seisprobe.sources.accelerations import ANIMAL, check_export, in_slots, read_bursts, slot_times
from seisprobe.sources.local_times import zone_of
from seisprobe.sources.stamps import file_stamp
from seisprobe.sources.table_columns import Parts, check_columns, read_columns, stopping, time_text
from seisprobe.sources.table_files import checked_file, shown
from seisprobe.sources.table_numbers import named_columns, without_constants

__all__ = ["TimedTable", "check_table", "read_timed_table", "time_text"]

SLOT_S = 900.0  # 15 minutes, as the published activity of the herd
FAR_OFF = 1.5  # sampling_s and the spacing of rows that differ by more are both named


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
        What coverage is counted by: declared, but the median spacing where this is much finer or nothing is declared.
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


def check_table(options: TableOptions) -> None:
    """Refuse a table that is not there, whose header cannot be read, or lacks what the study names; no row is read.

    Raises
    ------
    StudyError, DataFileError
        As `read_timed_table`.
    """
    path = checked_file(Path(options.path))
    _zone_name(options)
    if options.layout == "e-obs":
        _check_group(options)
        check_export(path)
    else:
        check_columns(options)


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
    path = checked_file(Path(options.path))
    return _read(options, file_stamp(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(options: TableOptions, stamp: str, _changed: int) -> TimedTable:
    zone = _zone_name(options)
    parts = _of_bursts(options) if options.layout == "e-obs" else read_columns(options)
    order = np.lexsort((parts.group, parts.times))
    times, group, values = parts.times[order], parts.group[order], parts.numbers[order]
    declared_us, sampling_us, said = _sampling(options, times, group)
    # A slot of bursts is over when its time is, whatever marks say: they are of the rows of a file.
    marks = "start" if options.layout == "e-obs" else options.marks
    known_after_us = {"start": declared_us, "end": 0, "instant": 1}[marks]
    notes = tuple(" ".join(note.split()) for note in (*parts.notes, *said))  # a name in them may hold a line break
    for array in (times, group, values):
        array.flags.writeable = False
    return TimedTable(
        options.name, times, parts.groups, group, parts.columns, values, sampling_us, known_after_us, zone,
        dict(sorted(parts.dropped.items())), stamp, notes,
    )  # fmt: skip


def _zone_name(options: TableOptions) -> str | None:
    return None if options.zone is None else zone_of(options.zone, f"[[table]] {options.name}").key


def _sampling(options: TableOptions, times: Integers, group: Integers) -> tuple[int, int, list[str]]:
    """Return how long a row lasts, by what coverage is counted, and a line where the file tells otherwise.

    Rows that are closer than declared would each cover more than their own time: few of them would make a window whole.
    """
    order = np.lexsort((times, group))
    spacing = np.diff(times[order])[np.diff(group[order]) == 0]
    if options.sampling_s is None and options.layout == "columns":
        if not len(spacing):
            raise StudyError(
                f"[[table]] {options.name}: {len(times)} row(s) do not tell how far apart samples are; write sampling_s"
            )
        return int(np.median(spacing)), int(np.median(spacing)), []
    declared_us = round((options.sampling_s or SLOT_S) * 1e6)
    typical_us = int(np.median(spacing)) if len(spacing) else declared_us
    if max(declared_us, typical_us) <= FAR_OFF * min(declared_us, typical_us):
        return declared_us, declared_us, []
    finer_us = min(declared_us, typical_us)
    said = (
        f"{Path(options.path).name}: rows are {typical_us / 1e6:g} s apart (median), sampling_s ="
        f" {declared_us / 1e6:g}: coverage is counted by {finer_us / 1e6:g} s a row"
    )
    return declared_us, finer_us, [said]


# --- accelerations ---------------------------------------------------------------------------------------------------


def _check_group(options: TableOptions) -> None:
    if options.group not in (None, ANIMAL):
        raise StudyError(f"[[table]] {options.name} group = '{shown(options.group)}': of e-obs bursts only '{ANIMAL}'")


def _of_bursts(options: TableOptions) -> Parts:
    _check_group(options)
    path = Path(options.path)
    bursts = read_bursts(path)
    sampling_s = options.sampling_s or SLOT_S
    made = in_slots(bursts, sampling_s, by_animal=options.group is not None)
    frame = pd.DataFrame(made.values, columns=list(made.columns))
    dropped, notes = Counter(bursts.dropped), [*bursts.notes, *(f"{path.name}: {note}" for note in made.notes)]
    chosen = named_columns(options, list(made.columns)) or list(made.columns)
    kept = without_constants(frame[chosen], path.name, dropped, notes)
    notes += stopping(path.name, bursts.animals, slot_times(bursts.ends_us, sampling_s), bursts.animal)
    return Parts(made.times, made.groups, made.group, tuple(kept), frame[kept].to_numpy(), dropped, tuple(notes))
