"""Writers of catalogs in every layout that is read, plain and without use of the package's own writer."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from seisprobe.catalog import EVENT_COLUMNS
from support import instance_metadata

# An unpaired quotation mark, a comma and an accent: all met in place names.
PLACE = '"4 km SE Portomaggiore, Forlì (FE)'
FDSN_NAMES = (
    "EventID|Time|Latitude|Longitude|Depth/Km|Author|Catalog|Contributor|ContributorID|MagType|Magnitude|MagAuthor|"
    "EventLocationName|EventType"
)


def iso(time: pd.Timestamp, end: str = "") -> str:
    """Return a time as catalogs write it, to the microsecond."""
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}{end}"


def number(value: float) -> str:
    """Return a number to the last bit, and nothing for none."""
    return "" if pd.isna(value) else repr(float(value))


def fdsn_lines(events: pd.DataFrame, place: str = PLACE) -> list[str]:
    """Return events as rows of FDSN event text."""
    return [
        f"{e.event_id}|{iso(e.time)}|{number(e.latitude)}|{number(e.longitude)}|{number(e.depth_km)}|SURVEY||||"
        f"{e.magnitude_type}|{number(e.magnitude)}|--|{place}|{e.event_type}"
        for e in events.itertuples()
    ]


def fdsn_text(events: pd.DataFrame, *, hash_mark: str = "#", place: str = PLACE) -> bytes:
    """Return events as an FDSN event service sends them."""
    return ("\n".join([hash_mark + FDSN_NAMES, *fdsn_lines(events, place)]) + "\n").encode()


def ingv_csv(events: pd.DataFrame, delimiter: str = ",") -> bytes:
    """Return events as a comma-separated export with the columns of FDSN text; place names are quoted."""
    quoted = '"' + PLACE.replace('"', '""') + '"'
    lines = [line.replace("|", delimiter) for line in fdsn_lines(events, place=quoted)]
    return ("\r\n".join(["#" + FDSN_NAMES.replace("|", delimiter), *lines]) + "\r\n\r\n").encode()


def plain_csv(events: pd.DataFrame, delimiter: str = ",", zone: str = "Z") -> bytes:
    """Return events under the package's own column names."""
    table = events.astype(object)
    table["time"] = [iso(time, zone) for time in events["time"]]
    for column in ("latitude", "longitude", "depth_km", "magnitude"):
        table[column] = [number(value) for value in events[column]]
    return bytes(table.to_csv(sep=delimiter, index=False, lineterminator="\n").encode())


def mapped_csv(events: pd.DataFrame) -> bytes:
    """Return events under names that need a mapping, times with an offset of two hours, a column nobody asked for."""
    local = [iso(time + pd.Timedelta(hours=2), "+02:00") for time in events["time"]]
    names = {"latitude": "Lat.", "longitude": "Lon.", "magnitude": "Mag", "depth_km": "Depth (km)", "event_id": "ID"}
    table = events.rename(columns=names)
    table["Origin, local"] = local
    for column in ("Lat.", "Lon.", "Mag", "Depth (km)"):
        table[column] = [number(value) for value in table[column]]
    kept = ["Mag", "Origin, local", *[n for n in names.values() if n != "Mag"], "magnitude_type", "event_type"]
    return bytes(table.assign(quality="A")[[*kept, "quality"]].to_csv(index=False).encode())


MAPPING = {
    "time": "Origin, local",
    "latitude": "Lat.",
    "longitude": "Lon.",
    "magnitude": "Mag",
    "depth_km": "Depth (km)",
    "event_id": "ID",
}


def horus_csv(events: pd.DataFrame) -> bytes:
    """Return events as HORUS cuts are published."""
    rows = [
        f"{iso(e.time)},{number(e.longitude)},{number(e.latitude)},{number(e.depth_km)},{number(e.magnitude)}"
        for e in events.itertuples()
    ]
    return ("\n".join(["time_string,lon,lat,depth,M", *rows]) + "\n").encode()


def quakeml(events: pd.DataFrame) -> bytes:
    """Return events as QuakeML, each with a second origin and magnitude that are not the preferred ones."""
    import io

    from obspy import UTCDateTime
    from obspy.core.event import Catalog, Event, Magnitude, Origin, ResourceIdentifier

    catalog = Catalog()
    for e in events.itertuples():
        wrong = Origin(time=UTCDateTime(0), latitude=0.0, longitude=0.0, depth=0.0)
        origin = Origin(
            time=UTCDateTime(ns=int(e.time.as_unit("ns").value)),
            latitude=e.latitude,
            longitude=e.longitude,
            depth=None if pd.isna(e.depth_km) else e.depth_km * 1000.0,
            evaluation_mode=e.evaluation_mode or None,
            evaluation_status=e.evaluation_status or None,
        )
        magnitude = Magnitude(mag=e.magnitude, magnitude_type=e.magnitude_type or None)
        event = Event(
            resource_id=ResourceIdentifier(f"smi:webservices.ingv.it/fdsnws/event/1/query?eventId={e.event_id}"),
            event_type=e.event_type or None,
            origins=[wrong, origin],
            magnitudes=[Magnitude(mag=0.0), magnitude],
        )
        event.preferred_origin_id, event.preferred_magnitude_id = origin.resource_id, magnitude.resource_id
        catalog.append(event)
    buffer = io.BytesIO()
    catalog.write(buffer, format="QUAKEML")
    return buffer.getvalue()


def _parquet(events: pd.DataFrame, path: Path, names: dict[str, str] | None = None) -> None:
    pq.write_table(pa.Table.from_pandas(events.rename(columns=names or {}), preserve_index=False), path)


def _instance(events: pd.DataFrame) -> pa.Table:
    numbered = events.assign(event_id=np.arange(1, len(events) + 1).astype(str))
    return instance_metadata.traces(numbered, 3 * len(events), noise_rows=4, text_numbers=True)


@dataclass(frozen=True)
class Writer:
    """A way to write a catalog, and the event columns that it keeps; a name per column where it needs a mapping."""

    write: Callable[[pd.DataFrame, Path], object]
    keeps: tuple[str, ...]
    mapping: dict[str, str] | None = None


def _bytes(make: Callable[[pd.DataFrame], bytes]) -> Callable[[pd.DataFrame, Path], object]:
    return lambda events, path: path.write_bytes(make(events))


FDSN_KEEPS = tuple(c for c in EVENT_COLUMNS if not c.startswith("evaluation"))
HORUS_KEEPS = ("time", "latitude", "longitude", "depth_km", "magnitude")
INSTANCE_KEEPS = (*HORUS_KEEPS, "magnitude_type")
ALL = EVENT_COLUMNS
BOM = b"\xef\xbb\xbf"
WRITERS = {
    "fdsn": Writer(_bytes(fdsn_text), FDSN_KEEPS),
    "fdsn, no hash mark": Writer(_bytes(lambda e: fdsn_text(e, hash_mark="")), FDSN_KEEPS),
    "fdsn, spaces around names": Writer(
        _bytes(lambda e: fdsn_text(e).replace(FDSN_NAMES.encode(), FDSN_NAMES.replace("|", " | ").encode())), FDSN_KEEPS
    ),
    "fdsn, byte-order mark": Writer(_bytes(lambda e: BOM + fdsn_text(e)), FDSN_KEEPS),
    "fdsn, CRLF and blank lines": Writer(
        _bytes(lambda e: b"\r\n" + fdsn_text(e).replace(b"\n", b"\r\n\r\n") + b"\r\n\r\n"), FDSN_KEEPS
    ),
    "fdsn, xz": Writer(_bytes(lambda e: lzma.compress(fdsn_text(e))), FDSN_KEEPS),
    "ingv, comma": Writer(_bytes(ingv_csv), FDSN_KEEPS),
    "ingv, semicolon": Writer(_bytes(lambda e: ingv_csv(e, ";")), FDSN_KEEPS),
    "plain": Writer(_bytes(plain_csv), ALL),
    "plain, tab": Writer(_bytes(lambda e: plain_csv(e, "\t")), ALL),
    "plain, no zone": Writer(_bytes(lambda e: plain_csv(e, zone="")), ALL),
    "plain, byte-order mark": Writer(_bytes(lambda e: BOM + plain_csv(e)), ALL),
    "plain, UTF-16": Writer(_bytes(lambda e: plain_csv(e).decode().encode("utf-16")), ALL),
    "plain, Parquet": Writer(_parquet, ALL),
    "plain, Parquet, times without a zone": Writer(
        lambda e, path: _parquet(e.assign(time=e["time"].dt.tz_convert(None)), path), ALL
    ),
    "mapped": Writer(_bytes(mapped_csv), FDSN_KEEPS, MAPPING),
    "mapped, gzip, byte-order mark": Writer(_bytes(lambda e: gzip.compress(BOM + mapped_csv(e))), FDSN_KEEPS, MAPPING),
    "mapped, Parquet": Writer(
        lambda e, path: _parquet(e, path, {"time": "Origin", "magnitude": "Mag"}),
        ALL,
        {"time": "Origin", "magnitude": "Mag"},
    ),
    "horus": Writer(_bytes(horus_csv), HORUS_KEEPS),
    "horus, gzip": Writer(_bytes(lambda e: gzip.compress(horus_csv(e))), HORUS_KEEPS),
    "horus, bzip2": Writer(_bytes(lambda e: bz2.compress(horus_csv(e))), HORUS_KEEPS),
}
# Slower to make: fewer random tables are tried on them.
SLOW_WRITERS = {
    "instance, Parquet": Writer(lambda e, p: instance_metadata.write_parquet(_instance(e), p), INSTANCE_KEEPS),
    "instance, gzip": Writer(
        lambda e, p: p.write_bytes(gzip.compress(instance_metadata.as_csv(_instance(e)), compresslevel=1)),
        INSTANCE_KEEPS,
    ),
    "instance, bzip2": Writer(
        lambda e, p: p.write_bytes(bz2.compress(instance_metadata.as_csv(_instance(e)))), INSTANCE_KEEPS
    ),
    "quakeml": Writer(_bytes(quakeml), ALL),
    "quakeml, gzip": Writer(_bytes(lambda e: gzip.compress(quakeml(e))), ALL),
}
