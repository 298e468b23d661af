"""The layouts in which catalogs come as tables, recognised by their header, and what a table means as events.

==========  ==========================================================================================================
layout      header
==========  ==========================================================================================================
FDSN        ``#EventID|Time|Latitude|Longitude|Depth/Km|…|MagType|Magnitude|…`` (FDSN event text 1.2, "#" or none);
            INGV's comma-separated export has the same columns
INSTANCE    ``source_id``, ``source_origin_time``, ``source_latitude_deg``, … one row a trace
HORUS       ``time_string,lon,lat,depth,M``
plain       the names of `EVENT_COLUMNS`; any other table by a mapping of these names to its own
==========  ==========================================================================================================

A new layout is one more entry of `LAYOUTS`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seisprobe.catalog import EVENT_COLUMNS, Catalog, tidy_events
from seisprobe.errors import DataFileError, StudyError, nearest

__all__ = [
    "FDSN",
    "LAYOUTS",
    "PLAIN",
    "Header",
    "Layout",
    "catalog_of",
    "check_mapping",
    "find_columns",
    "parse_times",
    "split_header",
]

REQUIRED = ("time", "latitude", "longitude", "magnitude")
# Names met in the wild, for the mapping that an error message proposes; never used without the user's word.
LIKELY = {
    "event_id": ("id", "eventid", "event id", "evid"),
    "time": ("origin", "origin_time", "origintime", "origin time", "datetime", "date_time", "time_utc", "time_string"),
    "latitude": ("lat", "latitude_deg"),
    "longitude": ("lon", "long", "lng", "longitude_deg"),
    "depth_km": ("depth", "dep", "depth_km", "depth/km"),
    "magnitude": ("mag", "m", "mw", "ml", "md", "mb", "magnitudo"),
    "magnitude_type": ("magtype", "mag_type", "type_mag"),
}
DELIMITERS = ",;|\t"
ISO_TIME = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}[T ]\d{1,2}:\d{2}(:\d{2}(\.\d*)?)?"
ZONE = r"\s?(Z|[+-]\d{2}(:?\d{2})?)"


@dataclass(frozen=True)
class Layout:
    """One way in which events are written as a table.

    Parameters
    ----------
    name : str
    columns : mapping of str to tuple of str
        Event column to the names that it has in this layout, in lower case, the preferred first.
    needed : tuple of str
        Event columns without which a table is not of this layout.
    says_utc : bool
        The format's own description says that times without a zone are UTC.
    row_a_trace : bool
        Rows are traces; the same event stands in several.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...] = REQUIRED
    says_utc: bool = True
    row_a_trace: bool = False

    def positions(self, names: Mapping[str, int]) -> dict[str, int] | None:
        """Return event column to position, from a table's names in lower case, or None where a needed one lacks."""
        found = {
            column: next(names[name] for name in known if name in names)
            for column, known in self.columns.items()
            if any(name in names for name in known)
        }
        return found if all(column in found for column in self.needed) else None


FDSN = Layout(
    "FDSN",
    {
        "event_id": ("eventid",),
        "time": ("time",),
        "latitude": ("latitude",),
        "longitude": ("longitude",),
        "depth_km": ("depth/km", "depth_km", "depth"),
        "magnitude": ("magnitude",),
        "magnitude_type": ("magtype",),
        "event_type": ("eventtype",),
    },
    needed=("event_id", *REQUIRED),
)
LAYOUTS = (
    FDSN,
    Layout(
        "INSTANCE",
        {
            "event_id": ("source_id",),
            "time": ("source_origin_time",),
            "latitude": ("source_latitude_deg",),
            "longitude": ("source_longitude_deg",),
            "depth_km": ("source_depth_km",),
            "magnitude": ("source_magnitude",),
            "magnitude_type": ("source_magnitude_type",),
            "event_type": ("source_type",),
        },
        needed=("event_id", *REQUIRED),
        row_a_trace=True,
    ),
    Layout(
        "HORUS",
        {
            "time": ("time_string",),
            "longitude": ("lon",),
            "latitude": ("lat",),
            "depth_km": ("depth",),
            "magnitude": ("m",),
        },
    ),
)
PLAIN = Layout("plain", {column: (column,) for column in EVENT_COLUMNS}, says_utc=False)


@dataclass(frozen=True)
class Header:
    """What a table's header says: its layout, and where the event columns stand."""

    layout: Layout
    positions: Mapping[str, int]
    names: tuple[str, ...]


def split_header(line: str) -> tuple[str, list[str]]:
    """Return the delimiter of a header line (the most frequent of , ; | tab) and its names.

    Examples
    --------
    >>> split_header("#EventID | Time|Latitude")
    ('|', ['EventID', 'Time', 'Latitude'])
    """
    delimiter = max(DELIMITERS, key=line.count)
    names = next(csv.reader([line.lstrip("\ufeff").lstrip("#")], delimiter=delimiter), [])
    return delimiter, [name.strip() for name in names]


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Refuse a column mapping with a key that is no event column.

    Raises
    ------
    StudyError

    Examples
    --------
    >>> check_mapping({"depth": "Depth (km)"})
    Traceback (most recent call last):
    seisprobe.errors.StudyError: [catalog] columns: unknown key 'depth'; did you mean 'depth_km'? ...
    """
    for key in mapping:
        if key not in EVENT_COLUMNS:
            raise StudyError(f"[catalog] columns: unknown key '{key}'; {nearest(key, EVENT_COLUMNS)}")


def find_columns(names: Sequence[str], mapping: Mapping[str, str], *, origin: str) -> Header:
    """Return where the event columns stand in a table with these column names.

    Parameters
    ----------
    names : sequence of str
        The table's own column names, in order.
    mapping : mapping of str to str
        Event column to the table's own name, from the study file; goes before what the layout says.
    origin : str
        File, for messages.

    Returns
    -------
    Header

    Raises
    ------
    DataFileError
        When a needed column cannot be found; the message proposes the mapping to write.

    Examples
    --------
    >>> header = find_columns(["time_string", "lon", "lat", "depth", "M"], {}, origin="horus.csv.gz")
    >>> header.layout.name, header.positions["magnitude"]
    ('HORUS', 4)
    """
    places: dict[str, int] = {}
    for position, name in enumerate(names):
        places.setdefault(name.strip().lower(), position)
    layout, found = PLAIN, {column: places[column] for column in EVENT_COLUMNS if column in places}
    for known in LAYOUTS:
        positions = known.positions(places)
        if positions is not None:
            layout, found = known, positions
            break
    for column, name in mapping.items():
        found[column] = _mapped(column, name, names, places, origin)
    if any(column not in found for column in REQUIRED):
        raise DataFileError(_mapping_to_write(names, found, mapping, origin))
    return Header(layout, found, tuple(names))


def _mapped(column: str, name: str, names: Sequence[str], places: Mapping[str, int], origin: str) -> int:
    if name in names:
        return names.index(name)
    if name.strip().lower() in places:
        return places[name.strip().lower()]
    asked = f"[catalog] columns {column} = {json.dumps(name, ensure_ascii=False)}"
    raise DataFileError(f"{origin}: {asked}: the file has no such column; {nearest(name, names)}")


def _mapping_to_write(names: Sequence[str], found: Mapping[str, int], mapping: Mapping[str, str], origin: str) -> str:
    """Return the message for an unknown header: the columns found, and the mapping to paste, filled in where likely."""
    places = {name.lower(): name for name in reversed(names)}
    proposed = {}
    for column in EVENT_COLUMNS:
        likely = next((places[name] for name in LIKELY.get(column, ()) if name in places), None)
        own = names[found[column]] if column in found else likely
        if own is not None or column in REQUIRED:
            proposed[column] = mapping.get(column, own or "?")
    shown = ", ".join(json.dumps(name, ensure_ascii=False) for name in names[:40])
    shown += f" and {len(names) - 40} more" if len(names) > 40 else ""
    written = ", ".join(f"{column} = {json.dumps(name, ensure_ascii=False)}" for column, name in proposed.items())
    return (
        f"{origin}: not a known catalog layout; its columns are {shown or 'none'}; name the event columns in the study "
        f"file: [catalog] columns = {{{written}}}"
    )


def parse_times(text: pd.Series) -> tuple[pd.Series, int]:
    """Return UTC times of ISO 8601 texts, NaT for what is none, and how many of them carry no zone.

    A date without a time of day is no time: half of a time that stands in two columns must not become midnight.

    Parameters
    ----------
    text : series of str

    Returns
    -------
    times : series of datetime64[us, UTC]
    zoneless : int
        They are taken as UTC.

    Examples
    --------
    >>> times, zoneless = parse_times(pd.Series(["2016-08-24T03:36:32+02:00", "2016-08-24 01:36:32.5", "2016-08-24"]))
    >>> times.dt.strftime("%H:%M:%S.%f").tolist(), zoneless
    (['01:36:32.000000', '01:36:32.500000', nan], 1)
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    stripped = text.astype("str").str.strip()
    # Through Arrow: pandas matches alternatives one by one in Python, at ten times the cost.
    values = pa.array(stripped, from_pandas=True)
    bare, zoned = (
        pc.match_substring_regex(values, f"^{ISO_TIME}{end}$").fill_null(False).to_numpy(zero_copy_only=False)
        for end in ("", ZONE)
    )
    times = pd.to_datetime(stripped.where(bare | zoned), format="ISO8601", utc=True, errors="coerce")
    return times.dt.as_unit("us"), int((bare & times.notna()).sum())


def catalog_of(
    table: pd.DataFrame, *, layout: Layout, origin: str, row_word: str = "line", notes: Sequence[str] = ()
) -> Catalog:
    """Return the catalog that a table as read holds.

    Parameters
    ----------
    table : DataFrame
        Event columns as read (text, numbers, or aware datetimes) and ``row_number``.
    layout : Layout
    origin, row_word : str
        File or service, and what a row of it is called, for messages.
    notes : sequence of str
        What happened on the way.

    Returns
    -------
    Catalog

    Raises
    ------
    DataFileError
        When no row can be used.

    Examples
    --------
    >>> table = pd.DataFrame({"time": ["2016-10-30T06:40:17.32", "2016-10-30"], "latitude": ["42.83", "42.9"],
    ...                       "longitude": ["13.11", "13.2"], "magnitude": ["6.5", "--"], "row_number": [2, 3]})
    >>> catalog_of(table, layout=FDSN, origin="example.txt").notes
    ("example.txt: 1 row(s) dropped as bad_time, the first in line 3: time '2016-10-30'",)
    """
    said = list(notes)
    raw, noise = _one_row_an_event(table, origin, said) if layout.row_a_trace else (table, 0)
    raw = raw.reset_index(drop=True)
    if not isinstance(raw["time"].dtype, pd.DatetimeTZDtype):
        raw["time_text"] = raw["time"].astype("str")
        raw["time"], zoneless = parse_times(raw["time_text"])
        if zoneless and not layout.says_utc:
            said.append(f"{origin}: {zoneless} time(s) carry no zone: taken as UTC")
    absent = [column for column in ("event_id", "depth_km") if column not in raw]
    if absent and layout is PLAIN:
        said.append(f"{origin}: no column for {' and '.join(absent)}")
    if "event_id" in raw:
        raw["event_id"] = _as_ids(raw["event_id"])
    catalog = tidy_events(raw, origin=origin, row_word=row_word)
    dropped = {**catalog.dropped, "noise": noise} if noise else dict(catalog.dropped)
    return Catalog(catalog.events, dict(sorted(dropped.items())), (*said, *catalog.notes))


def _one_row_an_event(table: pd.DataFrame, origin: str, notes: list[str]) -> tuple[pd.DataFrame, int]:
    """Return the first row of every event, and how many rows are noise: neither origin time nor magnitude."""
    noise = table["time"].isna() & table["magnitude"].isna()
    traces = table.loc[~noise]
    repeated = traces["event_id"].notna() & traces.duplicated("event_id")
    events = traces.loc[~repeated]
    said = f"{origin}: {len(traces)} traces of {len(events)} events"
    notes.append(f"{said}, and {int(noise.sum())} of noise" if noise.any() else said)
    if events.empty:
        raise DataFileError(f"{origin}: holds noise alone, no events; name INSTANCE's metadata of events")
    return events, int(noise.sum())


def _as_ids(ids: pd.Series) -> pd.Series:
    """Return identifiers as text; whole numbers that a missing value turned into floats lose their ".0"."""
    if pd.api.types.is_float_dtype(ids):
        whole = ids.notna() & np.isfinite(ids) & (ids == np.floor(ids))
        text = ids.astype("string")
        text[whole] = ids[whole].astype("int64").astype("string")
        return text
    return ids.astype("string")
