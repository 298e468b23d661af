"""miniSEED files of any names: ``mseed:PATH``, a file or a folder with all that is under it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from seisprobe.errors import DataFileError
from seisprobe.sources.decoding import Notes, matching, nanoseconds, read_period
from seisprobe.sources.scanning import FileIndex, index_file
from seisprobe.sources.stamps import joined_stamp
from seisprobe.sources.waveforms import Query, StationDay, station_days

if TYPE_CHECKING:
    from obspy import Stream

__all__ = ["MseedSource"]


class MseedSource:
    """Continuous waveforms from miniSEED files; what they hold is found once, at the first question.

    Parameters
    ----------
    path : Path
        A file, or a folder; hidden files are left out.

    Attributes
    ----------
    identity : str
        ``mseed:`` and the name of the file or folder, without where it lies.

    Raises
    ------
    DataFileError
        When there is nothing at the path.

    Examples
    --------
    >>> MseedSource(Path("nowhere.mseed"))
    Traceback (most recent call last):
    seisprobe.errors.DataFileError: nowhere.mseed: no such file or folder; ...
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DataFileError(f"{path}: no such file or folder; a path in a study is relative to the study file")
        self.path = path
        self.identity = f"mseed:{path.resolve().name}"
        self._index: list[tuple[str, Path, FileIndex]] | None = None
        self._notes = Notes()
        self._left_out: list[str] = []

    def units(self, query: Query) -> list[StationDay]:
        """Return the station-days there are, sorted; one band and location a station and day.

        Parameters
        ----------
        query : Query
            Its region is left out of account: the files say nothing of where a station stands.

        Returns
        -------
        list of StationDay

        Raises
        ------
        DataFileError
            When no file is miniSEED.
        """
        there: dict[tuple[str, str, str], set[tuple[str, str]]] = {}
        for _, _, index in self._indexed():
            for nslc, extent in index.channels().items():
                for day in extent.days:
                    date = f"{pd.Timestamp(day, unit='D'):%Y-%m-%d}"
                    key = (nslc.network, nslc.station, date)
                    there.setdefault(key, set()).add((nslc.location, nslc.channel))
        units, self._left_out = station_days(there, query)
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

        Raises
        ------
        DataFileError
            When no file is miniSEED.
        """
        start, end = nanoseconds(starttime), nanoseconds(endtime)
        indexed = self._indexed()
        known = {nslc for _, _, index in indexed for block in index.blocks for nslc in block.extents}
        wanted = matching(known, network, station, location, channel)
        return read_period(indexed, wanted.__contains__, start, end, self._notes)

    def stamp(self, unit: StationDay) -> str:
        """Return what changes when the data of a station-day do: of the files that hold any, size and ends."""
        day = (unit.start - pd.Timestamp(0, tz="UTC")).days
        own = (unit.network, unit.station, unit.location)
        return joined_stamp(
            ("", path)
            for _, path, index in self._indexed()
            if any(tuple(nslc)[:3] == own and day in of.days for nslc, of in index.channels().items())
        )

    def problems(self) -> list[str]:
        """Return one line for each file of which something could not be read, then for each station left out."""
        return [*self._notes.lines(), *self._left_out]

    def _indexed(self) -> list[tuple[str, Path, FileIndex]]:
        if self._index is None:
            found = [(name, path, self._look_into(name, path)) for name, path in self._files()]
            self._index = [(name, path, index) for name, path, index in found if index.blocks]
            if not self._index:
                why = self._notes.lines()[:1] or ["no file in it"]
                raise DataFileError(f"{self.path}: no miniSEED to read ({why[0]}); name another file or folder")
        return self._index

    def _look_into(self, name: str, path: Path) -> FileIndex:
        try:
            index = index_file(path)
        except OSError as error:
            index = FileIndex((), (f"cannot be read: {error.strerror or error}",))
        self._notes.file(name, index.notes)
        return index

    def _note_folder(self, error: OSError) -> None:
        self._notes.file(str(error.filename), [f"cannot be read: {error.strerror or error}"])

    def _files(self) -> Iterator[tuple[str, Path]]:
        """Name and path of each file, sorted."""
        if not self.path.is_dir():
            yield self.path.name, self.path
            return
        for folder, folders, names in os.walk(self.path, onerror=self._note_folder):
            for name in folders:
                if Path(folder, name).is_symlink():
                    self._notes.file(Path(folder, name).relative_to(self.path).as_posix(), ["a link: not followed"])
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if not name.startswith(".") and path.is_file():
                    yield path.relative_to(self.path).as_posix(), path
