"""Vectors on disk: one immutable Parquet part for each unit of work, all of one fingerprint in one folder.

::

    embeddings/<fingerprint>/IV.NRCA..HH.2016-10-30.0.parquet     what was asked for first
                             IV.NRCA..HH.2016-10-30.1.parquet     what a later request wanted besides
                             traces-00012.0.parquet

The fingerprint is of encoder, weights, segmenting and source; every part carries it with the settings it was made of,
and one of another fingerprint is refused, never mixed in. A part is written to a temporary name, synced and renamed, so
that it is whole or not there; what is there is done.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.embedding.components import LENGTH_S
from seisprobe.embedding.segments import empty_table
from seisprobe.errors import DataFileError, FolderError, InputError, StorageError
from seisprobe.storage import write_bytes

__all__ = ["DTYPES", "Store", "changed_settings", "count_segments", "fingerprint_of", "open_store", "stores"]

DTYPES = ("float16", "float32")
_FORMAT = 1
_STAMP = b"seisprobe"
Vectors = NDArray[Any]


def fingerprint_of(settings: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for settings.

    Examples
    --------
    >>> fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def changed_settings(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the keys whose values differ, nested ones with dots.

    Examples
    --------
    >>> changed_settings({"encoder": {"batch": 64, "threads": 1}, "x": 1}, {"encoder": {"batch": 32, "threads": 1}})
    ['encoder.batch', 'x']
    """
    found: list[str] = []
    for key in sorted({*a, *b}):
        one, other = a.get(key), b.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += changed_settings(one, other, f"{prefix}{key}.")
        elif one != other or (key in a) != (key in b):
            found.append(prefix + key)
    return found


def stores(root: Path) -> list[Path]:
    """Return the folders of `root` that hold parts.

    Examples
    --------
    >>> stores(Path("no-such-folder"))
    []
    """
    return sorted({path.parent for path in root.glob("*/*.parquet") if not path.name.startswith(".")})


def count_segments(table: pd.DataFrame) -> dict[str, int]:
    """Count what became of segments.

    Parameters
    ----------
    table : DataFrame
        reason, offset_s, rate_hz, filled_samples, channels.

    Returns
    -------
    dict of str to int
        segments, embedded; of these: resampled (another rate than 100 Hz), snapped (off the grid), bridged (over a
        short gap), renamed (components 1 and 2); ``dropped:REASON`` for each reason there is.

    Examples
    --------
    >>> row = {"reason": "gap", "offset_s": 0, "rate_hz": 100, "filled_samples": 0, "channels": "HHE,HHN,HHZ"}
    >>> {key: n for key, n in count_segments(pd.DataFrame([row])).items() if n}
    {'segments': 1, 'dropped:gap': 1}
    """
    kept = table[table.reason == ""]
    lost = table.reason[table.reason != ""].value_counts().sort_index()
    return {
        "segments": len(table),
        "embedded": len(kept),
        "resampled": int((kept.rate_hz != 100.0).sum()),
        "snapped": int((kept.offset_s > 0).sum()),
        "bridged": int((kept.filled_samples > 0).sum()),
        "renamed": int(kept.channels.str.contains("[12](?:,|$)").sum()),
        **{f"dropped:{reason}": int(n) for reason, n in lost.items()},
    }


class Store:
    """The parts of one fingerprint.

    Parameters
    ----------
    root : Path
        Holds one folder for each fingerprint; made when the first part is written.
    settings : mapping
        All that decides a vector: encoder, segments, source, dtype. Plain values, as JSON has them.

    Attributes
    ----------
    fingerprint : str
    folder : Path
        ``root / fingerprint``.

    Examples
    --------
    >>> Store(Path("embeddings"), {"dtype": "float16"}).units()
    []
    """

    def __init__(self, root: Path, settings: Mapping[str, Any]) -> None:
        self.settings = json.loads(json.dumps(settings))
        self.fingerprint = fingerprint_of(self.settings)
        self.folder = root / self.fingerprint
        self._dtype = np.dtype(self.settings.get("dtype", "float16"))
        if self._dtype.name not in DTYPES:
            raise InputError(f"dtype = {self._dtype.name!r}: give one of {', '.join(DTYPES)}")
        self._listed: tuple[int, dict[str, list[int]]] | None = None
        self._by_station: dict[str, list[str]] = {}

    # --- what is there ------------------------------------------------------------------------------------------------

    def units(self) -> list[str]:
        """Return the keys of the units that have parts, sorted."""
        return sorted(self._parts())

    def part_numbers(self, key: str) -> list[int]:
        """Return the numbers of a unit's parts, in order."""
        return self._parts().get(key, [])

    def path(self, key: str, number: int) -> Path:
        """Return where a part is, or would be."""
        return self.folder / f"{key}.{number}.parquet"

    def starts(self, key: str, source: str | None = None) -> NDArray[np.int64]:
        """Return the starts, UTC seconds since 1970, of all segments of a unit that were dealt with, dropped or not.

        With `source`, those do not count of which the last part was made of other data, by its stamp.
        """
        found = np.empty(0, np.int64)
        for path in self._paths(key):
            table, _ = self._read(path, ["start"])
            held = table.start.astype("datetime64[s, UTC]").astype("int64").to_numpy()
            mine = source is None or self._stamp(path).get("source", "") == source
            found = np.union1d(found, held) if mine else np.setdiff1d(found, held)
        return found

    def requests(self, key: str) -> set[str]:
        """Return the requests that parts of a unit answered whole."""
        return {str(self._stamp(path)["request"]) for path in self._paths(key)}

    def read(self, keys: Sequence[str], columns: Sequence[str] = ("vector",)) -> tuple[pd.DataFrame, Vectors]:
        """Read units.

        Parameters
        ----------
        keys : sequence of str
            Those without parts give nothing.
        columns : sequence of str
            One of ``vector`` and ``metadata_vector``, or none at all.

        Returns
        -------
        DataFrame
            All segments in the order of the keys, then of time: `COLUMNS`, and ``cosine`` where there is one.
        ndarray
            (v, d) of the column, for the rows whose reason is empty, in their order; (v, 0) where none was asked for.

        Raises
        ------
        DataFileError
            A part cannot be read.
        FolderError
            A part has another fingerprint; names the settings that differ.
        """
        tables, vectors = [], []
        for key in keys:
            found = [self._read(path, None, tuple(columns)) for path in self._paths(key)]
            if not found:
                continue
            table = pd.concat([table for table, _ in found], ignore_index=True)
            rows = np.concatenate([values for _, values in found])
            order = table.start.argsort(kind="stable").to_numpy()
            order = order[~table.segment_id.duplicated(keep="last").to_numpy()[order]]  # made again of newer data
            place = np.cumsum(table.reason.to_numpy() == "") - 1  # row → its vector
            table = table.iloc[order].reset_index(drop=True)
            tables.append(table)
            vectors.append(rows[place[order[table.reason.to_numpy() == ""]]])
        if not tables:
            return empty_table(), np.empty((0, 0), self._dtype)
        return pd.concat(tables, ignore_index=True), np.concatenate(vectors)

    def read_window(
        self, network: str, station: str, start: pd.Timestamp, end: pd.Timestamp, columns: Sequence[str] = ("vector",)
    ) -> tuple[pd.DataFrame, Vectors]:
        """Read the segments of a station that lie wholly in [start, end); only parts of these days are opened.

        Of event traces, all parts are opened.

        Returns
        -------
        DataFrame, ndarray
            As `read`.

        Raises
        ------
        InputError
            A time without zone.
        """
        if start.tzinfo is None or end.tzinfo is None:
            raise InputError(f"{start} to {end}: has no time zone; give aware times")
        start, end = start.tz_convert("UTC"), end.tz_convert("UTC")
        days = {f"{day:%Y-%m-%d}" for day in pd.date_range(start.floor("D"), end - pd.Timedelta(1, "ns"), freq="D")}
        codes = [quote(code, safe="").replace(".", "%2E").replace("~", "%7E") for code in (network, station)]
        self._parts()
        keys = [key for key in self._by_station.get(".".join(codes), ()) if key[-10:] in days]
        keys += [key for key in self.units() if key.startswith("traces-")]
        table, vectors = self.read(keys, columns)
        if not len(table):
            return table, vectors
        inside = (table.start >= start) & (table.start + pd.Timedelta(seconds=LENGTH_S) <= end)
        inside &= (table.network == network) & (table.station == station)
        return table[inside].reset_index(drop=True), vectors[inside[table.reason == ""].to_numpy()]

    def summary(self) -> dict[str, Any]:
        """Count what the parts hold.

        Returns
        -------
        dict
            units, parts, bytes, the counts of `count_segments`, largest_offset_s, dropped {reason: n}.
        """
        counts: Counter[str] = Counter()
        largest = 0.0
        paths = [path for key in self.units() for path in self._paths(key)]
        for key in self.units():
            table, _ = self.read([key], ())
            counts.update(count_segments(table))
            largest = float(table.offset_s[table.reason == ""].to_numpy().max(initial=largest))
        dropped = {key.partition(":")[2]: counts.pop(key) for key in sorted(counts) if key.startswith("dropped:")}
        sizes = {"units": len(self.units()), "parts": len(paths), "bytes": sum(path.stat().st_size for path in paths)}
        return {**sizes, **counts, "largest_offset_s": largest, "dropped": dropped}

    def read_part(self, key: str, number: int) -> pd.DataFrame:
        """Return the segments of one part, without vectors."""
        return self._read(self.path(key, number), None)[0]

    # --- writing --------------------------------------------------------------------------------------------------

    def write(
        self,
        key: str,
        number: int,
        table: pd.DataFrame,
        vectors: Mapping[str, Vectors],
        request: str = "",
        source: str = "",
    ) -> Path:
        """Write a part, whole or not at all.

        Parameters
        ----------
        key : str
            The unit's.
        number : int
            The part's, among those of the unit.
        table : DataFrame
            `COLUMNS`, and any further numbers.
        vectors : mapping of str to ndarray
            Column → (v, d), for the rows whose reason is empty; further columns of the same length.
        request : str
            What was asked for, where the segments alone do not say whether the unit is done.
        source : str
            Stamp of the data that it was made of. Of two parts that hold the same segment, the later counts.

        Returns
        -------
        Path

        Raises
        ------
        InputError
            A vector that the number type cannot hold.
        StorageError
            It cannot be written; what was there before stays.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrow = pa.Table.from_pandas(table, preserve_index=False)
        kept = table.reason.to_numpy() == ""
        for name, values in vectors.items():
            arrow = arrow.append_column(name, self._column(values, kept, f"{key}: {name}"))
        stamp = {"format": _FORMAT, "fingerprint": self.fingerprint, "settings": self.settings}
        stamp |= {"unit": key, "part": number, "request": request, "source": source}
        arrow = arrow.replace_schema_metadata({_STAMP: json.dumps(stamp, sort_keys=True)})
        split = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in vectors}
        sink = pa.BufferOutputStream()
        pq.write_table(arrow, sink, compression="zstd", use_dictionary=False, column_encoding=split or None)
        path = self.path(key, number)
        write_bytes(path, sink.getvalue().to_pybytes())
        self._listed = None
        return path

    def clean(self) -> int:
        """Remove what a killed process left half-written; nobody else may be writing. Return how many files."""
        leftovers = list(self.folder.glob(".*.tmp"))
        for path in leftovers:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{path}: cannot be removed: {error.strerror}; make the folder writable") from None
        return len(leftovers)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _parts(self) -> dict[str, list[int]]:
        try:
            changed = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if self._listed is None or self._listed[0] != changed:
            found: dict[str, list[int]] = {}
            for key, number in self._names():
                found.setdefault(key, []).append(number)
            self._listed = changed, {key: sorted(numbers) for key, numbers in found.items()}
            self._by_station = {}
            for key in sorted(found):
                self._by_station.setdefault(".".join(key.split(".")[:2]), []).append(key)
        return self._listed[1]

    def _names(self) -> Iterator[tuple[str, int]]:
        for path in self.folder.glob("*.parquet"):
            key, _, number = path.stem.rpartition(".")
            if key and number.isdecimal() and not key.startswith("."):
                yield key, int(number)

    def _paths(self, key: str) -> list[Path]:
        return [self.path(key, number) for number in self.part_numbers(key)]

    def _stamp(self, path: Path) -> dict[str, Any]:
        with _file(path) as file:
            return self._checked(file, path)

    def _checked(self, file: Any, path: Path) -> dict[str, Any]:
        stamp: dict[str, Any] = _stamp_of(file, path)
        if stamp["fingerprint"] != self.fingerprint:
            keys = ", ".join(changed_settings(stamp["settings"], self.settings)) or "its fingerprint"
            raise FolderError(f"{path}: was made by other settings ({keys}); move it away, or name another folder")
        return stamp

    def _read(
        self, path: Path, plain: Sequence[str] | None, nested: tuple[str, ...] = ()
    ) -> tuple[pd.DataFrame, Vectors]:
        """Plain columns (None: all) as a table, and one column of vectors, (v, 0) where there is none."""
        import pyarrow as pa

        file = _file(path)
        with file:
            self._checked(file, path)
            names = file.schema_arrow.names
            lists = [name for name in names if pa.types.is_fixed_size_list(file.schema_arrow.field(name).type)]
            wanted = [name for name in names if name not in lists] if plain is None else list(plain)
            if nested and nested[0] not in lists:
                raise InputError(f"{path}: has no {nested[0]}; it holds {', '.join(lists) or 'no vectors'}")
            arrow = file.read(columns=[*wanted, *nested])
        table = arrow.select(wanted).to_pandas()
        if not nested:
            return table, np.empty((int((table.reason == "").sum()) if "reason" in table else 0, 0), self._dtype)
        column = arrow[nested[0]].combine_chunks()
        width = column.type.list_size
        return table, column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)

    def _column(self, values: Vectors, kept: NDArray[np.bool_], what: str) -> Any:
        import pyarrow as pa

        with np.errstate(over="ignore"):
            stored = np.asarray(values).astype(self._dtype)
        if not np.isfinite(stored).all():
            raise InputError(f"{what} holds numbers that {self._dtype.name} cannot; give dtype = float32")
        width = stored.shape[1]
        every = np.zeros((len(kept), width), self._dtype)
        every[kept] = stored
        return pa.FixedSizeListArray.from_arrays(pa.array(every.ravel()), width, mask=pa.array(~kept))


def _file(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataFileError(f"{path}: cannot be read as Parquet ({error}); delete it and run again") from None


def _stamp_of(file: Any, path: Path) -> dict[str, Any]:
    text: Any = (file.schema_arrow.metadata or {}).get(_STAMP)
    stamp = None
    with suppress(ValueError, TypeError):
        stamp = json.loads(text)
    if not isinstance(stamp, dict) or not {"fingerprint", "settings", "request"} <= set(stamp):
        raise FolderError(f"{path}: is no part of a store of seisprobe; move it away")
    return stamp


def open_store(folder: Path) -> Store:
    """Open the store in a folder, with the settings that its parts name.

    Parameters
    ----------
    folder : Path
        ``embeddings/<fingerprint>``.

    Raises
    ------
    FolderError
        It holds no parts.
    DataFileError
        A part cannot be read.

    Examples
    --------
    >>> open_store(Path("nowhere"))
    Traceback (most recent call last):
    ...
    seisprobe.errors.FolderError: nowhere: holds no embeddings; name a folder that `seisprobe embed` made
    """
    paths = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    if not paths:
        raise FolderError(f"{folder}: holds no embeddings; name a folder that `seisprobe embed` made")
    with _file(paths[0]) as file:
        store = Store(folder.parent, _stamp_of(file, paths[0])["settings"])
    store.folder = folder
    return store
