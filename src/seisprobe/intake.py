"""A study's catalog with a year of history: from the study folder where it was read before, else from its source."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from seisprobe.catalog import EVENT_COLUMNS, Catalog, select_events, table_sha256
from seisprobe.errors import DataFileError, FolderError, StudyError
from seisprobe.sources import EventSource, open_event_source
from seisprobe.storage import read_table, write_table
from seisprobe.study import Study

__all__ = ["Progress", "read_catalog"]

log = logging.getLogger("seisprobe")
Progress = Callable[[float, str], None]
HISTORY_DAYS = 365


def read_catalog(study: Study, folder: Path | None, progress: Progress | None = None) -> tuple[Catalog, dict[str, Any]]:
    """Return the study's events with a year of history, from its folder or else from its source.

    Returns
    -------
    Catalog
    dict
        ``source``, ``n_events`` (of the study's period) and ``sha256`` of the table, for the result.

    Raises
    ------
    FolderError
        When the source file is not what it was when the folder's catalog was read.
    """
    if study.catalog is None:
        return _no_catalog(folder)
    options = study.catalog
    stored = read_table(folder / "catalog.parquet") if folder else None
    source: EventSource | None
    try:
        source = open_event_source(
            options.source,
            folder=Path.cwd(),
            columns=options.columns,
            parts=folder / "catalog-parts" if folder else None,
            progress=progress,
        )
    except DataFileError:
        if stored is None:
            raise
        source = None  # the file is gone: what was read of it stands in the folder
    if stored is not None:
        table, stamp = stored
        _same_file(folder, source, stamp)
        catalog = Catalog(table, json.loads(stamp["dropped"]), tuple(json.loads(stamp["notes"])))
        identity = stamp["source"]
    else:
        assert source is not None
        identity = source.identity
        log.info("catalog: reading %s", source.identity)
        region = study.study.region
        start = pd.Timestamp(study.study.start)
        catalog = source.get_events(
            starttime=start - pd.Timedelta(days=HISTORY_DAYS),
            endtime=pd.Timestamp(study.study.end),
            minlatitude=region.min_latitude,
            maxlatitude=region.max_latitude,
            minlongitude=region.min_longitude,
            maxlongitude=region.max_longitude,
            minmagnitude=options.min_magnitude,
        )
        if folder:
            stamp = {"source": identity, "file": _file_sha256(source), "dropped": json.dumps(dict(catalog.dropped))}
            stamp["notes"] = json.dumps(list(catalog.notes))
            write_table(folder / "catalog.parquet", catalog.events, stamp)
            _remove_parts(folder / "catalog-parts")
    return catalog, _described(study, catalog, identity)


def _no_catalog(folder: Path | None) -> tuple[Catalog, dict[str, Any]]:
    """Return an empty catalog, that of a study of tables alone."""
    empty = pd.DataFrame({name: [] for name in EVENT_COLUMNS})
    kinds = {"latitude": float, "longitude": float, "depth_km": float, "magnitude": float}
    events = empty.astype(kinds).assign(time=pd.to_datetime([], utc=True).as_unit("us"))
    if folder:
        write_table(folder / "catalog.parquet", events, {"source": "none", "file": "", "dropped": "{}", "notes": "[]"})
    return Catalog(events), {"source": "none", "n_events": 0, "sha256": table_sha256(events)}


def _file_sha256(source: Any) -> str:
    """Return the hash of a source's file, "" for a service or a file that is gone."""
    try:
        return str(source.sha256()) if hasattr(source, "sha256") else ""
    except (OSError, ValueError):
        return ""


def _same_file(folder: Path | None, source: Any, stamp: Mapping[str, str]) -> None:
    now = _file_sha256(source)
    if now and stamp.get("file") and now != stamp["file"]:
        raise FolderError(
            f"{folder}: its catalog was read from {stamp['source']}, which has changed since; name another folder with"
            " --out"
        )


def _remove_parts(parts: Path) -> None:
    if parts.is_dir():
        for part in parts.iterdir():
            part.unlink()
        parts.rmdir()


def _described(study: Study, catalog: Catalog, identity: str) -> dict[str, Any]:
    start, end = pd.Timestamp(study.study.start), pd.Timestamp(study.study.end)
    n_events = len(select_events(catalog.events, start=start, end=end))
    log.info("catalog: %d events in the study's period, %d with its history", n_events, len(catalog.events))
    if not n_events:
        raise StudyError(
            f"[catalog] source = '{identity}': no event of M ≥ {study.mc:g} in the study's region and period; check"
            " region, start, end and min_magnitude"
        )
    return {"source": identity, "n_events": n_events, "sha256": table_sha256(catalog.events)}
