"""Clock times into UTC: what daylight saving leaves out or repeats is resolved by a rule that is named, or refused."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.catalog import DAY_US, Integers
from seisprobe.errors import StudyError

__all__ = ["NO_TIME", "Local", "days_before", "read_clock", "told_by_order", "within_years", "zone_of"]

NO_TIME = np.iinfo(np.int64).min
FIRST_YEAR, LAST_YEAR = 1800, 2200  # beyond them a time is a placeholder, and zones and sums overflow
MOST_APART = 1.5  # of the typical spacing: rows that go on after the step back as they did before it
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Local:
    """Clock times read in a zone.

    Parameters
    ----------
    summer, standard : ndarray of int64, shape (n,)
        Microseconds UTC, `NO_TIME` where there is none; they differ in the hour that is repeated.
    gap, overlap : ndarray of bool, shape (n,)
        Times that daylight saving leaves out, and that it repeats.
    """

    summer: Integers
    standard: Integers
    gap: Flags
    overlap: Flags


def zone_of(name: str, where: str) -> ZoneInfo:
    """Return the time zone of a name of the IANA database.

    Parameters
    ----------
    name : str
    where : str
        Section and name, for the message.

    Raises
    ------
    StudyError

    Examples
    --------
    >>> zone_of("Europe/Roma", "[[table]] animals")
    Traceback (most recent call last):
    seisprobe.errors.StudyError: [[table]] animals zone = 'Europe/Roma': no such time zone; did you mean 'Europe/Rome'?
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        close = difflib.get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else "write one of the IANA database, as 'Europe/Rome' or 'UTC'"
        raise StudyError(f"{where} zone = '{name[:60]}': no such time zone; {hint}") from None


def read_clock(clock: pd.Series, zone: ZoneInfo) -> Local:
    """Return what times without zone may be in a zone.

    Parameters
    ----------
    clock : series of datetime64, without zone
        NaT where there is none.
    zone : ZoneInfo

    Examples
    --------
    >>> clock = pd.Series(pd.to_datetime(["2016-10-30 02:30", "2017-03-26 02:30", "2016-10-30 07:40"]))
    >>> read = read_clock(clock, ZoneInfo("Europe/Rome"))
    >>> read.overlap.tolist(), read.gap.tolist()
    ([True, False, False], [False, True, False])
    >>> pd.to_datetime([read.summer[0], read.standard[0]], unit="us").strftime("%H:%M").tolist()
    ['00:30', '01:30']
    """
    known = clock.notna().to_numpy()
    both = [
        clock.dt.tz_localize(zone, ambiguous=np.full(len(clock), first), nonexistent="NaT") for first in (True, False)
    ]
    summer, standard = (
        np.where(times.notna(), times.dt.tz_convert("UTC").dt.as_unit("us").astype("int64"), NO_TIME) for times in both
    )
    return Local(summer, standard, known & (summer == NO_TIME), known & (summer != standard))


def within_years(times: pd.Series) -> pd.Series:
    """Return times, NaT for those before the year 1800 or after 2200: no instrument was read then.

    Examples
    --------
    >>> times = pd.Series(pd.to_datetime(["9999-12-31", "2016-10-30"]).as_unit("us"))
    >>> within_years(times).isna().tolist()
    [True, False]
    """
    return times.where(times.dt.year.between(FIRST_YEAR, LAST_YEAR))


def told_by_order(read: Local, group: Integers, content: Integers) -> Flags | None:
    """Return which times of the repeated hour are their second pass, None where the order of rows does not tell.

    It tells where the rows of a group, as they stand, go back once within the repeated hour of a night (by nothing,
    where one row an hour shows the same clock twice), and then, from the row before that hour to the row after it,
    ascend. So do two rows of one pass that are swapped, and a pass that was written twice. Hence the rows after the
    step must go on as rows do, no more than 1.5 typical spacings after those before it, or show two clock times or
    more again; and they must not be copies of rows before it.

    Parameters
    ----------
    read : Local
        In the order of the rows.
    group : ndarray of int64, shape (n,)
    content : ndarray of int64, shape (n,)
        The same number for rows that hold the same.

    Examples
    --------
    >>> clock = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    >>> read = read_clock(pd.Series(pd.to_datetime([f"2016-10-30 {c}" for c in clock])), ZoneInfo("Europe/Rome"))
    >>> told_by_order(read, np.zeros(6), np.arange(6)).tolist()
    [False, False, False, True, True, False]
    >>> told_by_order(read, np.zeros(6), np.array([0, 1, 2, 1, 2, 3])) is None
    True
    """
    second = np.zeros(len(group), dtype=bool)
    for own in np.unique(group[read.overlap]):
        rows = np.flatnonzero((group == own) & (read.standard != NO_TIME))
        local = Local(read.summer[rows], read.standard[rows], read.gap[rows], read.overlap[rows])
        spacing = np.diff(np.unique(local.summer))  # in order, as rows that are swapped are not
        typical = float(np.median(spacing)) if len(spacing) else 0.0
        night = local.summer // DAY_US
        for one in np.unique(night[local.overlap]):
            passes = _passes(local, np.flatnonzero(local.overlap & (night == one)), content[rows], typical)
            if passes is None:
                return None
            second[rows[passes]] = True
    return second


def _passes(read: Local, rows: Integers, content: Integers, typical: float) -> Integers | None:
    """Return those of the rows of a night that are its second pass, None where it is not told."""
    back = np.flatnonzero(np.diff(read.summer[rows]) <= 0)
    if len(back) != 1:
        return None
    first, second = np.split(rows, [back[0] + 1])
    around = np.arange(max(rows[0] - 1, 0), min(rows[-1] + 2, len(content)))
    times = np.where(read.overlap, read.summer, read.standard)
    times[second] = read.standard[second]
    if (np.diff(times[around]) <= 0).any():
        return None
    apart = times[second[0]] - times[first[-1]]
    if apart > MOST_APART * typical and np.isin(read.summer[second], read.summer[first]).sum() < 2:
        return None
    copied = np.isin(content[second], content[first]).all() or np.isin(content[first], content[second]).all()
    return None if copied else second


def days_before(times: Integers, days: int, zone: ZoneInfo | None) -> Integers:
    """Return the times that show the same clock, some days before; 24 hours a day where no zone is given.

    Of a clock time that was repeated that night the first pass is taken, for one left out the time at which it went on.

    Parameters
    ----------
    times : ndarray of int64
        Microseconds UTC.
    days : int
    zone : ZoneInfo or None

    Examples
    --------
    >>> morning = pd.DatetimeIndex(["2016-10-30T06:38:17Z"]).as_unit("us").asi8  # 07:38:17 in Rome, an hour after 06:38
    >>> [pd.Timestamp(days_before(morning, 1, z)[0], unit="us").isoformat() for z in (None, ZoneInfo("Europe/Rome"))]
    ['2016-10-29T06:38:17', '2016-10-29T05:38:17']
    """
    if zone is None:
        return times - days * DAY_US
    clock = pd.DatetimeIndex(times.view("M8[us]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    moved = (clock - pd.Timedelta(days=days)).tz_localize(
        zone, ambiguous=np.ones(len(times), dtype=bool), nonexistent="shift_forward"
    )
    return np.asarray(moved.tz_convert("UTC").as_unit("us").asi8, dtype=np.int64)
