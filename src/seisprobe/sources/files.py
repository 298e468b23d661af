"""Catalog files: `file:PATH`. Reading is in `reading`, layouts in `layouts`; here are the source and the writer."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from seisprobe.catalog import Catalog, select_events
from seisprobe.errors import DataFileError, StudyError
from seisprobe.sources.layouts import check_mapping
from seisprobe.sources.reading import read_catalog
from seisprobe.storage import write_bytes

__all__ = ["FileSource", "open_source", "write_fdsn_text"]

FDSN_HEADER = (
    "#EventID|Time|Latitude|Longitude|Depth/Km|Author|Catalog|Contributor|ContributorID|MagType|Magnitude|MagAuthor|"
    "EventLocationName|EventType"
)


class FileSource:
    """Events from a file; the file is read once, at the first question.

    Parameters
    ----------
    path : Path
    columns : mapping of str to str, optional
        Event column to the file's own column name.

    Attributes
    ----------
    identity : str
        ``file:`` and the file's name, without its folder.

    Raises
    ------
    DataFileError
        When there is no such file.
    StudyError
        When `columns` has an unknown key.

    Examples
    --------
    >>> FileSource(Path("nowhere.csv"))
    Traceback (most recent call last):
    seisprobe.errors.DataFileError: nowhere.csv: no such file; a catalog's path is relative to the study file
    """

    def __init__(self, path: Path, *, columns: Mapping[str, str] | None = None) -> None:
        check_mapping(columns or {})
        if path.is_dir():
            raise DataFileError(f"{path}: this is a folder; name the catalog file in it")
        if not path.is_file():
            raise DataFileError(f"{path}: no such file; a catalog's path is relative to the study file")
        self.path = path
        self.identity = f"file:{path.name}"
        self._columns = dict(columns or {})
        self._catalog: Catalog | None = None

    def sha256(self) -> str:
        """Return the SHA-256 of the file's bytes, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def get_events(
        self,
        *,
        starttime: pd.Timestamp,
        endtime: pd.Timestamp,
        minlatitude: float,
        maxlatitude: float,
        minlongitude: float,
        maxlongitude: float,
        minmagnitude: float,
    ) -> Catalog:
        """Return the events in [starttime, endtime), in the region (edges included), of at least a magnitude.

        Parameters
        ----------
        starttime, endtime : Timestamp
            Aware.
        minlatitude, maxlatitude, minlongitude, maxlongitude : float
            Degrees.
        minmagnitude : float

        Returns
        -------
        Catalog
            Dropped rows and notes are those of the whole file: a row without time or place belongs nowhere.

        Raises
        ------
        DataFileError
            When the file is damaged, of an unknown layout or holds no usable row.
        """
        if self._catalog is None:
            self._catalog = read_catalog(self.path, self._columns)
        region = {
            "min_latitude": minlatitude,
            "max_latitude": maxlatitude,
            "min_longitude": minlongitude,
            "max_longitude": maxlongitude,
        }
        events = select_events(
            self._catalog.events, start=starttime, end=endtime, region=region, min_magnitude=minmagnitude
        )
        return Catalog(events, self._catalog.dropped, self._catalog.notes)


def open_source(
    rest: str,
    *,
    folder: Path,
    columns: Mapping[str, str] | None = None,
    parts: Path | None = None,  # noqa: ARG001  every opener takes the same; a file needs no pieces
    progress: Callable[[float, str], None] | None = None,  # noqa: ARG001
) -> FileSource:
    """Open ``file:PATH``; the path is relative to `folder`.

    Raises
    ------
    DataFileError
        When there is no such file.
    StudyError
        When no path is given.
    """
    if not rest.strip():
        raise StudyError('[catalog] source = "file:": no path; write "file:PATH", relative to the study file')
    return FileSource(folder / Path(rest).expanduser(), columns=columns)


def write_fdsn_text(events: pd.DataFrame, path: Path) -> None:
    """Write an event table in FDSN event text format (fdsnws-event 1.2), whole or not at all.

    Times are to the microsecond and numbers to the last bit, so that reading gives the same table back, but for
    evaluation mode and status, which the format cannot hold. A bar or line break inside a text becomes a space.

    Parameters
    ----------
    events : DataFrame
        Event table.
    path : Path

    Examples
    --------
    >>> import tempfile
    >>> events = pd.DataFrame({"event_id": ["7073641"], "time": pd.to_datetime(["2016-08-24T01:36:32Z"]),
    ...                        "latitude": [42.7], "longitude": [13.23], "depth_km": [8.1], "magnitude": [6.0],
    ...                        "magnitude_type": ["Mw"], "event_type": ["earthquake"]})
    >>> path = Path(tempfile.mkdtemp()) / "catalog.txt"
    >>> write_fdsn_text(events, path)
    >>> path.read_text().splitlines()[1]
    '7073641|2016-08-24T01:36:32.000000|42.7|13.23|8.1|||||Mw|6.0|||earthquake'
    """
    text = {
        column: events[column].astype("str").str.replace(r"[|\r\n]+", " ", regex=True)
        for column in ("event_id", "magnitude_type", "event_type")
    }
    table = pd.DataFrame("", index=events.index, columns=FDSN_HEADER.lstrip("#").split("|"), dtype=object)
    table["EventID"] = text["event_id"]
    table["Time"] = np.datetime_as_string(events["time"].dt.tz_convert(None).to_numpy(dtype="datetime64[us]"))
    for name, column in {"Latitude": "latitude", "Longitude": "longitude", "Depth/Km": "depth_km"}.items():
        table[name] = events[column].astype(float)
    table["MagType"] = text["magnitude_type"]
    table["Magnitude"] = events["magnitude"].astype(float)
    table["EventType"] = text["event_type"]
    buffer = io.StringIO()
    table.to_csv(buffer, sep="|", header=False, index=False, lineterminator="\n", quoting=csv.QUOTE_NONE)
    write_bytes(path, f"{FDSN_HEADER}\n{buffer.getvalue()}".encode())
