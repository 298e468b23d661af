"""Bytes to tables: compression and kind by content, never by a file's extension; every damage is one line.

`read_catalog` is the way through: decompress → text with a header, Parquet, or QuakeML → columns as read →
`layouts.catalog_of`. Only the columns needed are kept, so that a table of 117 columns costs what its 8 cost.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pandas as pd

from seisprobe.catalog import EVENT_COLUMNS, Catalog
from seisprobe.errors import DataFileError
from seisprobe.sources.layouts import FDSN, PLAIN, Header, Layout, catalog_of, find_columns, parse_times, split_header

__all__ = ["read_catalog", "read_delimited"]

PEEK_BYTES = 65_536
HEADER_LINES = 50
SURPLUS_FIELDS = 4
OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
# What is mistaken for a catalog most often, by its first bytes.
OTHER_KINDS = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet): unpack it, or save it as CSV",
    b"\x89HDF": "an HDF5 file: name the metadata table (CSV or Parquet) beside it",
    b"%PDF": "a PDF file",
}
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
UTF8_MARK = b"\xef\xbb\xbf"


def read_catalog(path: Path, mapping: Mapping[str, str] | None = None) -> Catalog:
    """Read a catalog file of any layout that is known, or that a mapping of columns describes.

    Parameters
    ----------
    path : Path
        Text with a header line (delimited by comma, semicolon, bar or tab), Parquet or QuakeML; plain or compressed
        by gzip, bzip2 or xz.
    mapping : mapping of str to str, optional
        Event column to the file's own column name.

    Returns
    -------
    Catalog
        All its events, of any time and place.

    Raises
    ------
    DataFileError
        When the file is damaged, of an unknown layout or holds no usable row; names file, line and what to do.
    """
    with _damage_in_words(path.name), _open(path) as stream:
        head = stream.peek(PEEK_BYTES)[:PEEK_BYTES]
        if head.startswith(b"PAR1"):
            return _read_parquet(stream if stream.seekable() else io.BytesIO(stream.read()), mapping or {}, path.name)
        if head.removeprefix(UTF8_MARK).lstrip().startswith(b"<"):
            return _read_quakeml(stream, path.name)
        _refuse_other_kinds(head, path.name)
        return _read_text(path, head, mapping or {})


@contextmanager
def _damage_in_words(name: str) -> Iterator[None]:
    """Turn what readers raise on damaged files into one line."""
    again = "the file is damaged or was cut: copy or fetch it again"
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataFileError(f"{name}: compressed data end too early ({error}); {again}") from error
    except pd.errors.ParserError as error:
        raise DataFileError(f"{name}: {error}; {again}") from error
    except OSError as error:
        if error.errno is None:
            raise DataFileError(f"{name}: {error}; {again}") from error
        raise DataFileError(f"{name}: cannot be read ({error.strerror})") from error


def _open(path: Path) -> io.BufferedReader:
    """Open a file, decompressed by what its first bytes say."""
    with path.open("rb") as file:
        magic = file.read(8)
    for mark, opener in OPENERS.items():
        if magic.startswith(mark):
            return io.BufferedReader(opener(path, "rb"), PEEK_BYTES)
    return io.BufferedReader(io.FileIO(path), PEEK_BYTES)


def _refuse_other_kinds(head: bytes, name: str) -> None:
    if not head.strip():
        raise DataFileError(f"{name}: the file is empty; fetch it again or name another")
    for mark, kind in OTHER_KINDS.items():
        if head.startswith(mark):
            raise DataFileError(f"{name}: this is {kind}")
    if not head.startswith(UTF16_MARKS) and re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", head):
        raise DataFileError(f"{name}: neither text, Parquet nor QuakeML; name a catalog file")


# --- delimited text --------------------------------------------------------------------------------------------------


def _read_text(path: Path, head: bytes, mapping: Mapping[str, str]) -> Catalog:
    encoding = "utf-16" if head.startswith(UTF16_MARKS) else "utf-8-sig"
    notes: list[str] = []
    try:
        with _open(path) as stream:
            table, header = read_delimited(stream, mapping, origin=path.name, encoding=encoding, notes=notes)
    except UnicodeDecodeError:
        notes = [f"{path.name}: not in UTF-8: read as Latin-1"]
        with _open(path) as stream:
            table, header = read_delimited(stream, mapping, origin=path.name, encoding="latin-1", notes=notes)
    return catalog_of(table, layout=header.layout, origin=path.name, notes=notes)


def read_delimited(
    stream: IO[bytes],
    mapping: Mapping[str, str],
    *,
    origin: str,
    encoding: str = "utf-8-sig",
    notes: list[str],
) -> tuple[pd.DataFrame, Header]:
    r"""Read the event columns of a table in delimited text, as text.

    Parameters
    ----------
    stream : binary stream
    mapping : mapping of str to str
        Event column to the table's own column name.
    origin : str
        File or service, for messages.
    encoding : str
    notes : list of str
        What was noticed is appended.

    Returns
    -------
    table : DataFrame
        Event columns as text, and ``row_number``, the line in the file (as long as no quoted text holds a line break).
    header : Header

    Raises
    ------
    DataFileError
        When the header is of no known layout.
    UnicodeDecodeError
        When the text is not in this encoding.

    Examples
    --------
    >>> text = "time_string,lon,lat,depth,M\n\n2016-10-30T06:40:17.3,13.11,42.83,9.2,6.61\n"
    >>> table, header = read_delimited(io.BytesIO(text.encode()), {}, origin="example", notes=[])
    >>> table["magnitude"].tolist(), table["row_number"].tolist()
    (['6.61'], [3])
    """
    lines = io.TextIOWrapper(stream, encoding=encoding, newline="")
    header, delimiter, header_line = _find_header(lines, mapping, origin)
    read = _read_columns(lines, delimiter, header)
    lines.detach()
    table = pd.DataFrame({column: read[position] for column, position in header.positions.items()})
    table["row_number"] = header_line + read.index.to_numpy()
    width = len(header.names)
    longer = read[width].notna()
    if longer.any():
        notes.append(
            f"{origin}: {int(longer.sum())} row(s) have more than the header's {width} fields, the first in line "
            f"{table.loc[longer, 'row_number'].iloc[0]}: read by their first {width}"
        )
        if header.layout is FDSN and header.positions.get("event_type") == width - 1:
            # An unquoted delimiter in the place name, which stands before the event type: the last field is the type.
            table.loc[longer, "event_type"] = read.loc[longer, width - 1 :].ffill(axis=1).iloc[:, -1]
    return table.loc[read.notna().any(axis=1)], header


def _read_columns(lines: io.TextIOWrapper, delimiter: str, header: Header) -> pd.DataFrame:
    """Return the columns needed, by position, the first, and what stands behind the last; rows from 1 in the index."""
    width, full = len(header.names), len(header.names) + SURPLUS_FIELDS
    # With usecols the parser forgives rows of any length, but only columns that some row has: hence a full first row.
    prefix = delimiter * (full - 1) + "\n"
    read = pd.read_csv(
        cast("IO[str]", _Prefixed(prefix, lines)),
        sep=delimiter,
        header=None,
        names=list(range(full)),
        usecols=sorted({0, *header.positions.values(), *range(width, full)}),
        dtype="str",
        keep_default_na=False,
        na_values=[""],
        skip_blank_lines=False,
        # A quotation mark means nothing in bar-separated text, where place names hold them unpaired.
        quoting=csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL,
    )
    return read.iloc[1:]


def _find_header(lines: io.TextIOWrapper, mapping: Mapping[str, str], origin: str) -> tuple[Header, str, int]:
    """Return the header, the delimiter and the header's line number; the stream is left behind the header.

    Comment lines before the header are passed over: the first line that is a header is it, at the latest the first
    line without "#" in front.
    """
    comments: list[tuple[int, DataFileError]] = []
    for number in range(1, HEADER_LINES + 1):
        line = lines.readline()
        if not line:
            break
        if not line.strip("\ufeff \t\r\n"):
            continue
        delimiter, names = split_header(line)
        try:
            return find_columns(names, mapping, origin=origin), delimiter, number
        except DataFileError as error:
            if not line.lstrip("\ufeff").startswith("#"):
                # A commented line as wide as the first row is the header, of an unknown layout; else this line is.
                raise next((e for width, e in comments if width == len(names) > 1), error) from None
            comments.append((len(names), error))
    raise DataFileError(f"{origin}: no header line in its first {HEADER_LINES} lines; the first line names the columns")


class _Prefixed:
    """A text stream with something in front of it."""

    def __init__(self, prefix: str, stream: io.TextIOBase) -> None:
        self._prefix = prefix
        self._stream = stream

    def read(self, size: int = -1) -> str:
        prefix, self._prefix = self._prefix, ""
        return prefix or self._stream.read(size)

    def __iter__(self) -> Iterator[str]:
        yield from iter(lambda: self.read(PEEK_BYTES), "")


# --- Parquet ---------------------------------------------------------------------------------------------------------


def _read_parquet(source: IO[bytes], mapping: Mapping[str, str], name: str) -> Catalog:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(source, memory_map=False)
        header = find_columns(file.schema_arrow.names, mapping, origin=name)
        wanted = {column: header.names[position] for column, position in header.positions.items()}
        read = file.read(columns=sorted(set(wanted.values())), use_threads=False)
        table = pd.DataFrame({column: _plain_column(read[own], column, name) for column, own in wanted.items()})
    except (pa.ArrowException, OSError) as error:
        raise DataFileError(
            f"{name}: not readable as Parquet ({error}); the file is damaged or was cut: copy or fetch it again"
        ) from error
    table["row_number"] = np.arange(1, len(table) + 1)
    notes = []
    if _zoneless(read.schema.field(wanted["time"]).type) and not header.layout.says_utc:
        notes.append(f"{name}: times carry no zone: taken as UTC")
    return catalog_of(table, layout=header.layout, origin=name, row_word="row", notes=notes)


def _zoneless(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind) and kind.tz is None)


def _plain_column(values: Any, column: str, name: str) -> pd.Series:
    """Return a Parquet column as numbers, text, or (for times) aware datetimes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if column == "time" and pa.types.is_timestamp(kind):
        # To microseconds first: nanoseconds could not hold every year, and what lies below is not kept anyway.
        values = pc.cast(values, pa.timestamp("us", kind.tz), safe=False)
        times = values.to_pandas()
        return times.dt.tz_localize("UTC") if kind.tz is None else times.dt.tz_convert("UTC")
    if pa.types.is_decimal(kind):
        return cast("pd.Series", pc.cast(values, pa.float64()).to_pandas())
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if numeric and column != "time":
        # An identifier must not turn into a float because one is missing.
        kept = pc.cast(values, pa.string()) if column == "event_id" and pa.types.is_integer(kind) else values
        return cast("pd.Series", kept.to_pandas())
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise DataFileError(f"{name}: column for {column} is of type {kind}; numbers or text are needed")
    return cast("pd.Series", pc.cast(values, pa.string()).to_pandas()).astype("str")


# --- QuakeML ---------------------------------------------------------------------------------------------------------


def _read_quakeml(stream: IO[bytes], name: str) -> Catalog:
    import obspy

    data = io.BytesIO(stream.read())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            events = obspy.read_events(data, format="QUAKEML")
        except Exception as error:  # ObsPy says "not QuakeML" with a plain Exception
            raise DataFileError(
                f"{name}: not readable as QuakeML ({error}); the file is damaged or is other XML: fetch it again"
            ) from error
    table = pd.DataFrame([_event_row(event) for event in events], columns=[*EVENT_COLUMNS])
    table["time"] = parse_times(table["time"])[0]
    table["row_number"] = np.arange(1, len(table) + 1)
    notes = (
        [f"{name}: {len(caught)} warning(s) of the QuakeML reader, the first: {caught[0].message}"] if caught else []
    )
    return catalog_of(table, layout=_QUAKEML, origin=name, row_word="event", notes=notes)


_QUAKEML = Layout("QuakeML", PLAIN.columns, says_utc=True)


def _event_row(event: Any) -> dict[str, Any]:
    """Return an event's preferred origin and magnitude (the first where none is preferred) as a row."""
    origin = event.preferred_origin() or next(iter(event.origins), None)
    magnitude = event.preferred_magnitude() or next(iter(event.magnitudes), None)
    row = {
        "event_id": re.split(r"[/=]", event.resource_id.id)[-1] if event.resource_id else "",
        "event_type": event.event_type or "",
        "magnitude": magnitude.mag if magnitude else None,
        "magnitude_type": (magnitude.magnitude_type or "") if magnitude else "",
    }
    if origin is not None:
        row |= {
            "time": str(origin.time) if origin.time else "",
            "latitude": origin.latitude,
            "longitude": origin.longitude,
            "depth_km": None if origin.depth is None else origin.depth / 1000.0,
            "evaluation_mode": origin.evaluation_mode or "",
            "evaluation_status": origin.evaluation_status or "",
        }
    return row
