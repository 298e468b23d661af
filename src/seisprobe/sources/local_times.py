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

__all__ = ["NO_TIME", "Local", "days_before", "read_clock", "told_by_order", "zone_of"]

NO_TIME = np.iinfo(np.int64).min
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


def told_by_order(clock: Integers, overlap: Flags, group: Integers) -> Flags | None:
    """Return which times of the repeated hour are its second pass, None where the order of rows does not tell.

    It tells where the rows of a group, as they stand, go back exactly once within the repeated hour of one night.

    Parameters
    ----------
    clock : ndarray of int64, shape (n,)
        Clock times in microseconds, in the order of the rows.
    overlap : ndarray of bool, shape (n,)
        Times that are repeated.
    group : ndarray of int64, shape (n,)

    Examples
    --------
    >>> hour = 3_600_000_000
    >>> told_by_order(np.array([2, 2.5, 2, 2.5, 3]) * hour, np.array([True] * 4 + [False]), np.zeros(5)).tolist()
    [False, False, True, True, False]
    >>> told_by_order(np.array([2, 2.5, 3]) * hour, np.array([True, True, False]), np.zeros(3)) is None
    True
    """
    second = np.zeros(len(clock), dtype=bool)
    night = clock // DAY_US
    for key in {*zip(group[overlap].tolist(), night[overlap].tolist(), strict=True)}:
        rows = np.flatnonzero(overlap & (group == key[0]) & (night == key[1]))
        back = np.flatnonzero(np.diff(clock[rows]) < 0)
        if len(back) != 1:
            return None
        second[rows[back[0] + 1 :]] = True
    return second


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
