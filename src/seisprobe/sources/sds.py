"""SDS archives: ``sds:PATH``, one file a channel and day, YEAR/NET/STA/CHAN.D/NET.STA.LOC.CHAN.D.YEAR.DAY.

The structure is SeisComP's, https://www.seiscomp.de/seiscomp3/doc/applications/slarchive/SDS.html.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seisprobe.errors import DataFileError
from seisprobe.sources.decoding import Notes, matching, nanoseconds, read_period
from seisprobe.sources.scanning import DAY_NS, FileIndex, Nslc, index_file
from seisprobe.sources.stamps import joined_stamp
from seisprobe.sources.waveforms import Query, StationDay, station_days

if TYPE_CHECKING:
    from obspy import Stream

__all__ = ["SdsSource"]

NAME = re.compile(r"([^.]+)\.([^.]+)\.([^.]*)\.([^.]+)\.D\.(\d{4})\.(\d{3})")
EPOCH = datetime.date(1970, 1, 1).toordinal()
# Files whose content is remembered: those of a station's three channels and three days, and some more.
REMEMBERED = 64


class DayFile(NamedTuple):
    """A file of an archive, as its name has it; `day` in days since 1970."""

    nslc: Nslc
    day: int
    path: Path


class SdsSource:
    """Continuous waveforms from an SDS archive; the plan is made from names of files alone.

    A file is read for the day before and after its own as well: in real archives the record that spans midnight stands
    whole in one of the two.

    Parameters
    ----------
    root : Path
        The folder with the years in it.

    Attributes
    ----------
    identity : str
        ``sds:`` and the folder's name, without where it lies.

    Raises
    ------
    DataFileError
        When there is no such folder.

    Examples
    --------
    >>> SdsSource(Path("nowhere"))
    Traceback (most recent call last):
    seisprobe.errors.DataFileError: nowhere: no such folder; name the one of an SDS archive that has the years in it
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            what = "a file, not a folder" if root.exists() else "no such folder"
            raise DataFileError(f"{root}: {what}; name the one of an SDS archive that has the years in it")
        self.root = root
        self.identity = f"sds:{root.resolve().name}"
        self._remembered: dict[Path, tuple[tuple[int, int], FileIndex]] = {}
        self._notes = Notes()
        self._left_out: list[str] = []

    def units(self, query: Query) -> list[StationDay]:
        """Return the station-days there are, sorted; one band and location a station and day.

        Parameters
        ----------
        query : Query
            Its region is left out of account: an archive says nothing of where a station stands.

        Returns
        -------
        list of StationDay
        """
        first, last = (None if time is None else time.tz_convert("UTC").year for time in (query.start, query.end))
        there: dict[tuple[str, str, str], set[tuple[str, str]]] = {}
        for file in self._files((first, last)):
            key = (file.nslc.network, file.nslc.station, _date(file.day).isoformat())
            there.setdefault(key, set()).add((file.nslc.location, file.nslc.channel))
        units, self._left_out = station_days(there, query)
        if not there:
            self._left_out = [
                f"{self.root.name}: no file YEAR/NET/STA/CHAN.D/NET.STA.LOC.CHAN.D.YEAR.DAY of the period"
            ]
        return units

    def get_waveforms(
        self, network: str, station: str, location: str, channel: str, starttime: Any, endtime: Any
    ) -> Stream:
        """Return the samples in [starttime, endtime), in the shape of ObsPy's clients.

        Parameters
        ----------
        network, station, location, channel : str
            ``*`` and ``?`` stand for other letters; location "" or "--" is the empty one.
        starttime, endtime : UTCDateTime or Timestamp
            Samples at `endtime` are not in it.

        Returns
        -------
        Stream
            Samples as stored, sorted by channel and time; empty where there is nothing.
        """
        start, end = nanoseconds(starttime), nanoseconds(endtime)
        first, last = start // DAY_NS - 1, (end - 1) // DAY_NS + 1
        files = [
            file
            for file in self._files((_date(first).year, _date(last).year), network, station)
            if first <= file.day <= last
        ]
        wanted = matching((file.nslc for file in files), network, station, location, channel)
        indexed = [
            (file.path.relative_to(self.root).as_posix(), file.path, self._look_into(file))
            for file in sorted(files)
            if file.nslc in wanted
        ]
        return read_period(indexed, wanted.__contains__, start, end, self._notes)

    def stamp(self, unit: StationDay) -> str:
        """Return what changes when the data of a station-day do; those that spill from the day before count too."""
        day = datetime.date.fromisoformat(unit.day).toordinal() - EPOCH
        years = (_date(day - 1).year, _date(day).year)
        return joined_stamp(
            (f"{file.nslc.channel} {file.day - day}", file.path)
            for file in self._files(years, unit.network, unit.station)
            if file.day in (day - 1, day)
            and file.nslc.location == unit.location
            and file.nslc.channel.startswith(unit.band)
        )

    def problems(self) -> list[str]:
        """Return one line for each file of which something could not be read, then for each station left out."""
        return [*self._notes.lines(), *self._left_out]

    def _look_into(self, file: DayFile) -> FileIndex:
        name = file.path.relative_to(self.root).as_posix()
        try:
            stat = file.path.stat()
            state = (stat.st_size, stat.st_mtime_ns)
            known, index = self._remembered.pop(file.path, (None, None))
            if known != state or index is None:
                index = index_file(file.path)
        except OSError as error:
            self._notes.file(name, [f"cannot be read: {error.strerror or error}"])
            return FileIndex((), ())
        self._remembered[file.path] = state, index
        if len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._notes.file(name, index.notes)
        held = index.channels()
        if held and file.nslc not in held:
            self._notes.file(name, [f"holds {'.'.join(min(held))}, not what its name says; left out"])
        return index

    def _files(self, years: tuple[int | None, int | None], network: str = "*", station: str = "*") -> Iterator[DayFile]:
        """Files of an archive by their names, those of some years, a network and a station alone."""
        first, last = years
        for year in _folders(self.root, "*"):
            if not re.fullmatch(r"\d{4}", year.name):
                continue
            if (first is not None and int(year.name) < first) or (last is not None and int(year.name) > last):
                continue
            for folder in _folders(year, network):
                for of_station in _folders(folder, station):
                    for channel in _folders(of_station, "*"):
                        yield from _day_files(channel)


def _date(day: int) -> datetime.date:
    return datetime.date.fromordinal(EPOCH + day)


def _folders(folder: Path, pattern: str) -> Iterator[Path]:
    """Folders in a folder; those of one name alone where it is no pattern."""
    names = _names(folder) if set(pattern) & set("*?[") else [pattern]
    return (path for path in (folder / name for name in names) if path.is_dir())


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise DataFileError(f"{folder}: cannot be read: {error.strerror or error}; mend its permissions") from None


def _day_files(folder: Path) -> Iterator[DayFile]:
    for name in _names(folder):
        match = NAME.fullmatch(name)
        if match is None:
            continue
        network, station, location, channel, year, of_year = match.groups()
        first = datetime.date(int(year), 1, 1).toordinal() if int(year) else 0
        if first and 1 <= int(of_year) <= 366:
            yield DayFile(Nslc(network, station, location, channel), first + int(of_year) - 1 - EPOCH, folder / name)
