"""An SDS archive that is filled from data centres, and what of it is done.

::

    archive/
        2016/IV/NRCA/HHZ.D/IV.NRCA..HHZ.D.2016.304    records as they were sent, in order of time, cut at midnight
        fetched/IV.NRCA..HH.2016-10-30.json           a slip: which files that station-day has, and their sizes
        stations.xml, stations.json                   channel epochs, and the questions that brought them

A station-day's files are written first, then its slip: what has one is done, also where the data centre had nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from seisprobe.errors import BusyError, FolderError, StorageError
from seisprobe.sources.fdsn_stations import Wanted
from seisprobe.sources.records import EDGE_US, Codes, Record, parse_records, without_repeats
from seisprobe.sources.waveforms import StationDay, choose_band
from seisprobe.storage import write_bytes

__all__ = ["channel_codes", "day_file", "day_us", "first_lacking", "hold", "is_whole", "store"]


@contextmanager
def hold(archive: Path) -> Iterator[None]:
    """Hold the archive, and take away what a killed process left half-written."""
    from filelock import FileLock, Timeout

    try:
        archive.mkdir(parents=True, exist_ok=True)
        lock = FileLock(archive / ".fetch.lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise BusyError(f"{archive}: another process fetches into it; wait for it, or name another archive") from None
    except OSError as error:
        raise StorageError(f"{archive}: cannot be used: {error.strerror or error}; name another archive") from None
    try:
        for pattern in (".*.tmp", "fetched/.*.tmp", "[0-9][0-9][0-9][0-9]/*/*/*.D/.*.tmp"):
            for left in archive.glob(pattern):
                left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def day_file(archive: Path, codes: Codes, day: str) -> Path:
    """Return where an SDS archive keeps a channel's day.

    Examples
    --------
    >>> day_file(Path(), ("IV", "NRCA", "", "HHZ"), "2016-10-30").as_posix()
    '2016/IV/NRCA/HHZ.D/IV.NRCA..HHZ.D.2016.304'
    """
    network, station, _, channel = codes
    year, day_of_year = pd.Timestamp(day).year, pd.Timestamp(day).day_of_year
    name = f"{'.'.join(codes)}.D.{year}.{day_of_year:03d}"
    return archive / str(year) / network / station / f"{channel}.D" / name


def _slip(archive: Path, unit: StationDay) -> Path:
    return archive / "fetched" / f"{unit.key}.json"


def channel_codes(want: Wanted) -> list[Codes]:
    """Return network, station, location and channel of each channel to ask for."""
    unit = want.unit
    return [(unit.network, unit.station, unit.location, code) for code in want.codes]


def day_us(unit: StationDay) -> tuple[int, int]:
    """Return start and end of a station-day, µs since 1970."""
    return unit.start.value // 1000, unit.end.value // 1000


def is_whole(unit: StationDay, channels: Collection[str]) -> bool:
    """Whether channels make three components of the unit's band."""
    return choose_band([(unit.location, code) for code in channels], (unit.band,)) is not None


def _came_before(archive: Path, unit: StationDay, source: str) -> list[str] | None:
    """Return the channels that came for a station-day that was fetched before, None where it is to be fetched.

    What one data centre lacks is still to be asked for from another.
    """
    try:
        slip = json.loads(_slip(archive, unit).read_bytes())
        files, asked = slip["files"], slip["source"]
        for code, size in files.items():
            codes = (unit.network, unit.station, unit.location, code)
            if day_file(archive, codes, unit.day).stat().st_size != size:
                return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return list(files) if asked == source or is_whole(unit, files) else None


def first_lacking(archive: Path, choices: Sequence[Wanted], source: str) -> tuple[Wanted | None, bool]:
    """Return what of a station's day is to be fetched next, and whether what was fetched before is whole.

    Parameters
    ----------
    archive : Path
    choices : sequence of Wanted
        One station and day, by priority.
    source : str
        The data centre that would be asked.
    """
    for want in choices:
        there = _came_before(archive, want.unit, source)
        if there is None:
            return want, False
        if is_whole(want.unit, there):
            return None, True
    return None, False


def store(archive: Path, want: Wanted, records: Sequence[Record], source: str) -> list[str]:
    """Write a station-day's files, then the slip that says they are whole; return the channels that have a file.

    Parameters
    ----------
    archive : Path
    want : Wanted
    records : sequence of Record
        Of that day or others, of these channels or others: what is of this day and these channels is taken.
    source : str
        The data centre that was asked.

    Raises
    ------
    FolderError
        A file of that name is there that is no miniSEED, and was not fetched.
    StorageError
        When a file cannot be written.
    """
    start_us, end_us = (time_us - EDGE_US for time_us in day_us(want.unit))
    sizes = {}
    for codes in channel_codes(want):
        path = day_file(archive, codes, want.unit.day)
        new = [r for r in records if r.codes == codes and start_us <= r.start_us < end_us]
        before = path.read_bytes() if path.is_file() else b""
        there, damaged = parse_records(before)
        if damaged and not _slip(archive, want.unit).is_file():
            raise FolderError(
                f"{path}: is damaged or no miniSEED 2, and was not fetched: move it, or name another archive"
            )
        body = b"".join(record.data for record in without_repeats([*there, *new]))
        if body and body != before:
            write_bytes(path, body)
        if body:
            sizes[codes[3]] = len(body)
    # Of a day that is not over, more may come tomorrow.
    if want.unit.end <= pd.Timestamp.now("UTC"):
        write_bytes(_slip(archive, want.unit), json.dumps({"files": sizes, "source": source}, sort_keys=True).encode())
    return list(sizes)
