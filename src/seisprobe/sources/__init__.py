"""Where catalogs come from: ``"scheme:rest"`` in the study file, one file a scheme.

=========  =======================================================================  ==========
scheme     rest                                                                     file
=========  =======================================================================  ==========
``file:``  path of a catalog file, relative to the study file                       `files`
``fdsn:``  a data centre's name (``INGV``) or the address of an FDSN event service  `fdsn`
=========  =======================================================================  ==========

A new scheme is one more file, whose opener is put into `EVENT_SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pandas as pd

from seisprobe.catalog import Catalog
from seisprobe.errors import StudyError, nearest
from seisprobe.sources import fdsn, files

__all__ = ["EVENT_SOURCES", "EventSource", "Opener", "open_event_source"]


class EventSource(Protocol):
    """Anything that gives events, in the shape of ObsPy's clients."""

    identity: str

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
        """Return the events in [starttime, endtime), in the region (edges included), of at least a magnitude."""
        ...


class Opener(Protocol):
    """What opens the sources of one scheme."""

    def __call__(
        self,
        rest: str,
        *,
        folder: Path,
        columns: Mapping[str, str] | None = None,
        parts: Path | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> EventSource:
        """Return the source that `rest`, the text behind the scheme, names."""
        ...


EVENT_SOURCES: dict[str, Opener] = {"file": files.open_source, "fdsn": fdsn.open_source}


def open_event_source(
    source: str,
    *,
    folder: Path,
    columns: Mapping[str, str] | None = None,
    parts: Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> EventSource:
    """Open the catalog source that a study names.

    Parameters
    ----------
    source : str
        ``"scheme:rest"``.
    folder : Path
        What paths are relative to: the folder of the study file.
    columns : mapping of str to str, optional
        Event column to the source's own column name.
    parts : Path, optional
        Folder in which a slow source keeps its finished pieces, so that an interrupted fetch continues.
    progress : callable, optional
        Is told the fraction done and what happens.

    Returns
    -------
    EventSource

    Raises
    ------
    StudyError
        When the scheme is unknown, or the rest is malformed.
    DataFileError
        When a file is missing.

    Examples
    --------
    >>> open_event_source("fdns:INGV", folder=Path())
    Traceback (most recent call last):
    seisprobe.errors.StudyError: [catalog] source = "fdns:INGV": no such scheme; did you mean 'fdsn'? ...
    """
    scheme, colon, rest = source.partition(":")
    if not colon:
        raise StudyError(f'[catalog] source = "{source}": no scheme; write "file:{source}" for a file, or "fdsn:INGV"')
    if scheme not in EVENT_SOURCES:
        raise StudyError(f'[catalog] source = "{source}": no such scheme; {nearest(scheme, EVENT_SOURCES)}')
    return EVENT_SOURCES[scheme](rest, folder=folder, columns=columns, parts=parts, progress=progress)
