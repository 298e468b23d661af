"""The metadata table of cut-out traces: read once, in pieces, only the columns needed, whatever their number.

INSTANCE: Michelini et al. 2021, https://doi.org/10.5194/essd-13-5509-2021. SeisBench: Woollam et al. 2022,
https://doi.org/10.1785/0220210324. STEAD: Mousavi et al. 2019, https://doi.org/10.1109/ACCESS.2019.2947848.
"""

from __future__ import annotations

import lzma
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.errors import DataFileError, StorageError, nearest
from seisprobe.sources.reading import OPENERS
from seisprobe.sources.waveforms import Query

__all__ = ["CHUNK_ROWS", "FEATURES", "TraceTable", "choose_rows", "sampling_rates"]

CHUNK_ROWS = 500
CODES = ("network", "station", "location", "channels")
# What is needed or welcome of a trace, and what it is called: in INSTANCE and SeisBench, then in STEAD.
COLUMNS = {
    "trace_name": ("trace_name",),
    "network": ("station_network_code", "network_code"),
    "station": ("station_code", "receiver_code"),
    "location": ("station_location_code",),
    "channels": ("station_channels", "trace_channel", "receiver_type"),
    "start": ("trace_start_time",),
    "latitude": ("station_latitude_deg", "receiver_latitude"),
    "longitude": ("station_longitude_deg", "receiver_longitude"),
    "dt_s": ("trace_dt_s",),
    "rate_hz": ("trace_sampling_rate_hz",),
    "order": ("trace_component_order",),
}
REQUIRED = ("trace_name", "network", "station")
# What the eight metadata features are made of: INSTANCE's columns; STEAD's, which SeisBench renames.
FEATURES = {
    "trace_P_arrival_sample": (),
    "path_weight_phase_location_P": (),
    "path_travel_time_P_s": (),
    "trace_S_arrival_sample": (),
    "path_weight_phase_location_S": (),
    "path_ep_distance_km": (),
    "path_backazimuth_deg": (),
    "p_arrival_sample": ("trace_p_arrival_sample",),
    "p_weight": ("trace_p_weight",),
    "p_travel_sec": ("path_p_travel_sec",),
    "s_arrival_sample": ("trace_s_arrival_sample",),
    "s_weight": ("trace_s_weight",),
    "source_distance_km": (),
    "back_azimuth_deg": ("path_back_azimuth_deg",),
    "coda_end_sample": ("trace_coda_end_sample",),
}
# STEAD's table and HDF5 file give no sampling rate; its paper does.
STEAD_RATE_HZ = 100.0
UTF8_MARK = b"\xef\xbb\xbf"


class TraceTable:
    """A metadata table, kept in a temporary file in chunks of 500 rows.

    Parameters
    ----------
    path : Path
        CSV, plain or compressed by gzip, bzip2 or xz, or Parquet; the content says which.
    more : sequence of str
        Further columns, by the table's own names; those that it has not are left out.

    Attributes
    ----------
    names : dict of str to str
        What is known of a trace to the table's own column of it.

    Raises
    ------
    DataFileError
        When it is damaged, empty, or without a column that is needed.
    StorageError
        When the temporary file cannot be written.
    """

    def __init__(self, path: Path, more: Sequence[str] = ()) -> None:
        import pyarrow as pa

        self.path = path
        # Without a name in a folder, so that a kill leaves nothing behind; and read, not mapped: pages that are mapped
        # count as this process's memory.
        with _no_room_in_words(path.name):
            self._file = tempfile.TemporaryFile(prefix="seisprobe-")  # noqa: SIM115  (lives as long as the table)
        weakref.finalize(self, self._file.close)
        with _damage_in_words(path.name), _open_batches(path, more) as (batches, self.names):
            rows = _write_chunks(batches, self._file, path.name)
        if not rows:
            raise DataFileError(f"{path.name}: no row in it; fetch it again or name another table")
        self._batches = pa.ipc.open_file(self._file)
        self.rows = rows

    def __len__(self) -> int:
        """Return the number of chunks."""
        return int(self._batches.num_record_batches)

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the rows [first, last) of a chunk."""
        return number * CHUNK_ROWS, min((number + 1) * CHUNK_ROWS, self.rows)

    def frame(self, number: int, chunks: int = 1) -> pd.DataFrame:
        """Return a chunk, or several from one on: the columns of `COLUMNS`, `FEATURES` and `more` that there are.

        Codes and names are text without blanks around them, ``start`` is UTC (NaT where it cannot be read), places and
        rates are float64 (NaN where they cannot be read); all others are as in the table, numbers or text.
        """
        import pyarrow as pa

        last = min(number + chunks, len(self))
        batches = [self._batches.get_batch(each) for each in range(number, last)]
        columns = pa.Table.from_batches(batches).to_pydict()
        frame = pd.DataFrame({name: columns[name] for name in columns if name not in COLUMNS})
        size = len(columns["trace_name"])
        for name in ("trace_name", *CODES, "order"):
            texts = columns.get(name, [None] * size)
            frame[name] = pd.Series(["" if text is None else str(text).strip() for text in texts], dtype="str")
        times = pd.Series(columns.get("start", [None] * size), dtype="object")
        frame["start"] = pd.to_datetime(times, utc=True, errors="coerce", format="ISO8601").dt.as_unit("us")
        for name in ("latitude", "longitude", "dt_s", "rate_hz"):
            numbers = pd.Series(columns.get(name, [None] * size), dtype="object")
            frame[name] = pd.to_numeric(numbers, errors="coerce").astype("float64")
        frame["location"] = frame["location"].replace("--", "")
        return frame

    def need(self, query: Query) -> None:
        """Raise DataFileError where the table has no column of what a query chooses by."""
        asked = {"start": query.start is not None or query.end is not None}
        asked |= dict.fromkeys(("latitude", "longitude"), query.region is not None)
        for what, wanted in asked.items():
            if wanted and what not in self.names:
                by = "period" if what == "start" else "region"
                raise DataFileError(
                    f"{self.path.name}: no column {COLUMNS[what][0]}, which choosing by {by} needs; leave the {by} out"
                )


def choose_rows(frame: pd.DataFrame, query: Query) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows a query chooses, and which it cannot judge because the time or the place cannot be read."""
    pairs = list(zip(frame["network"], frame["station"], strict=True))
    known = {pair: query.wants(*pair) for pair in set(pairs)}
    chosen = np.array([known[pair] for pair in pairs], bool)
    unknown = np.zeros(len(frame), bool)
    if query.start is not None or query.end is not None:
        unknown |= frame["start"].isna().to_numpy()
    if query.start is not None:
        chosen &= (frame["start"] >= query.start).to_numpy() | unknown
    if query.end is not None:
        chosen &= (frame["start"] < query.end).to_numpy() | unknown
    if query.region is not None:
        for what in ("latitude", "longitude"):
            low, high = query.region[f"min_{what}"], query.region[f"max_{what}"]
            nowhere = frame[what].isna().to_numpy()
            chosen &= frame[what].between(low, high).to_numpy() | nowhere
            unknown |= nowhere
    return chosen & ~unknown, chosen & unknown


def sampling_rates(frame: pd.DataFrame, table: TraceTable, of_file: float | None) -> NDArray[np.float64]:
    """Return the sampling rate of each row, Hz, NaN where there is none: the table's own, else the HDF5 file's.

    Raises
    ------
    DataFileError
        When neither has one.
    """
    if "rate_hz" in table.names:
        rates = frame["rate_hz"].to_numpy()
    elif "dt_s" in table.names:
        with np.errstate(divide="ignore", invalid="ignore"):
            # 0.01 that went through float32 gives 100.0000022; over 120 s the fourth decimal is 0.006 of a sample.
            rates = np.round(1 / frame["dt_s"].to_numpy(), 4)
    elif of_file is not None or table.names["station"] == "receiver_code":
        rates = np.full(len(frame), STEAD_RATE_HZ if of_file is None else of_file)
    else:
        raise DataFileError(
            f"{table.path.name}: no column trace_dt_s or trace_sampling_rate_hz, and no data_format/sampling_rate in "
            "the HDF5 file; add one of them"
        )
    return np.where(np.isfinite(rates) & (rates > 0), rates, np.nan)


@contextmanager
def _damage_in_words(name: str) -> Iterator[None]:
    """Turn what readers raise on damaged tables into one line."""
    import pyarrow as pa

    again = "the table is damaged or was cut: copy or fetch it again"
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataFileError(f"{name}: compressed data end too early ({error}); {again}") from None
    except (pa.ArrowException, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise DataFileError(f"{name}: {said[:160]}; {again}") from None
    except (DataFileError, StorageError):
        raise
    except OSError as error:
        raise DataFileError(f"{name}: cannot be read ({error.strerror or error}); {again}") from None


@contextmanager
def _open_batches(path: Path, more: Sequence[str]) -> Iterator[tuple[Iterable[Any], dict[str, str]]]:
    """Pieces of a table, the columns of interest alone and by our names; and the table's own names of them."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        magic = file.read(8)
    if not magic.strip():
        raise DataFileError(f"{path.name}: the file is empty; fetch it again or name another")
    if magic.startswith(b"PAR1"):
        with pq.ParquetFile(path) as parquet:
            names = _columns_of(parquet.schema_arrow.names, path.name, more)
            yield _renamed(parquet.iter_batches(batch_size=8 * CHUNK_ROWS, columns=list(names.values())), names), names
        return
    opener = next((opener for mark, opener in OPENERS.items() if magic.startswith(mark)), open)
    with opener(path, "rb") as stream:
        names = _columns_of(_header(stream.readline(1 << 20), path.name), path.name, more)
    # Text throughout: numbers stand as text in parts of the published table, and "NA" is a network.
    convert = pyarrow.csv.ConvertOptions(
        include_columns=list(names.values()),
        column_types=dict.fromkeys(names.values(), pa.string()),
        strings_can_be_null=False,
    )
    read = pyarrow.csv.ReadOptions(use_threads=False, block_size=1 << 20)
    with opener(path, "rb") as stream:
        yield _renamed(pyarrow.csv.open_csv(stream, read_options=read, convert_options=convert), names), names


def _header(line: bytes, name: str) -> list[str]:
    import csv

    try:
        names = next(csv.reader([line.removeprefix(UTF8_MARK).decode()]), [])
    except (UnicodeDecodeError, csv.Error):
        names = []
    if not names or any("\0" in column for column in names):
        raise DataFileError(f"{name}: neither CSV nor Parquet; name the metadata table")
    return names


def _columns_of(there: list[str], table: str, more: Sequence[str]) -> dict[str, str]:
    """What is known of a trace to the table's column of it; DataFileError where a needed one is missing."""
    found = {}
    features = {name: (name, *other) for name, other in FEATURES.items()}
    for what, names in {**COLUMNS, **features, **{name: (name,) for name in more}}.items():
        own = next((name for name in names if name in there), None)
        if own is not None and there.count(own) > 1:
            raise DataFileError(f"{table}: the column {own} stands in it {there.count(own)} times; leave one")
        if own is not None:
            found[what] = own
    for what in REQUIRED:
        if what not in found:
            known = [name for name in there if name][:200]
            close = nearest(COLUMNS[what][0], known).partition(" (known")[0] if known else ""
            hint = f"; {close}" if close.startswith("did you") else ""
            raise DataFileError(
                f"{table}: no column {COLUMNS[what][0]}{hint}; it is needed to name a trace's waveforms"
            )
    return found


def _renamed(pieces: Iterable[Any], names: Mapping[str, str]) -> Iterator[Any]:
    import pyarrow as pa

    for piece in pieces:
        yield pa.table({what: _plain(piece.column(own)) for what, own in names.items()})


def _plain(column: Any) -> Any:
    """A column without dictionaries and the like, so that all pieces have one type; times as text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return column.cast(pa.float64())
    return column.cast(pa.string())


def _write_chunks(pieces: Iterable[Any], file: Any, name: str) -> int:
    """Write pieces of any length in chunks of 500 rows; return the number of rows."""
    import pyarrow as pa

    writer, rest, rows = None, None, 0
    for piece in pieces:
        table = piece if rest is None else pa.concat_tables([rest, piece])
        whole = len(table) // CHUNK_ROWS * CHUNK_ROWS
        rest, rows = table.slice(whole), rows + len(piece)
        with _no_room_in_words(name):
            writer = writer or pa.ipc.new_file(file, table.schema)
            writer.write_table(table.slice(0, whole).combine_chunks(), max_chunksize=CHUNK_ROWS)
    if writer is not None and rest is not None:
        with _no_room_in_words(name):
            writer.write_table(rest.combine_chunks(), max_chunksize=CHUNK_ROWS)
            writer.close()
            file.flush()
    return rows


@contextmanager
def _no_room_in_words(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{name}: its rows cannot be kept in the temporary folder {tempfile.gettempdir()} "
            f"({error.strerror or error}); free it, or set TMPDIR to another"
        ) from None
