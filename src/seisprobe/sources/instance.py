"""Cut-out traces with a metadata table: ``instance:PATH``, INSTANCE and whatever has SeisBench's or STEAD's layout.

The table says which traces there are, and only those that are wanted are read from the HDF5 file, chunk by chunk:
memory grows with neither file.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seisprobe.errors import DataFileError
from seisprobe.sources.stamps import joined_stamp
from seisprobe.sources.trace_files import open_waves, read_setting, read_wave
from seisprobe.sources.trace_tables import CHUNK_ROWS, FEATURES, TraceTable, choose_rows, sampling_rates
from seisprobe.sources.waveforms import Query, TraceChunk, Traces

__all__ = ["InstanceSource", "find_pair"]

STRIDE = 20  # chunks that are looked through at once
TABLES = (".csv", ".csv.bz2", ".csv.gz", ".csv.xz", ".parquet")
WAVES = (".hdf5", ".h5", ".hdf")


class InstanceSource:
    """Traces of events (or of noise) with metadata. One thread at a time; every process opens its own.

    Parameters
    ----------
    path : Path
        The metadata table, the HDF5 file, or the folder of both (`find_pair`).

    Attributes
    ----------
    identity : str
        ``instance:`` and the names of the two files, without where they lie.

    Raises
    ------
    DataFileError
        When a file is missing or several could be meant.

    Examples
    --------
    >>> InstanceSource(Path("nowhere"))
    Traceback (most recent call last):
    seisprobe.errors.DataFileError: nowhere: no such file or folder; ...
    """

    def __init__(self, path: Path) -> None:
        self.metadata, self.waveforms = find_pair(path)
        stamp = joined_stamp([("metadata", self.metadata), ("waveforms", self.waveforms)])
        self.identity = f"instance:{self.metadata.name}+{self.waveforms.name}:{stamp}"
        self._query = Query()
        self._opened: TraceTable | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}  # another process reads the table for itself

    def _table(self, query: Query) -> TraceTable:
        self._opened = self._opened or TraceTable(self.metadata)
        self._opened.need(query)
        return self._opened

    def units(self, query: Query) -> list[TraceChunk]:
        """Return the chunks of the table that hold wanted traces; `read` keeps to the same query.

        Parameters
        ----------
        query : Query
            Stations by code; the period holds the trace's start; the region holds the station. Its channels are left
            out of account: a trace has those that it has.

        Returns
        -------
        list of TraceChunk
            In order; a chunk's number and rows do not depend on the query.

        Raises
        ------
        DataFileError
            When the table is damaged, or has no column that is needed.
        """
        self._query = query
        table = self._table(query)
        if query.start is None and query.end is None and query.region is None and not query.stations:
            wanted: Iterable[int] = range(len(table))
        else:
            wanted = itertools.chain.from_iterable(
                _chunks(table, query, number) for number in range(0, len(table), STRIDE)
            )
        return [TraceChunk(number, *table.bounds(number)) for number in wanted]

    def read(self, unit: TraceChunk, query: Query | None = None) -> Traces:
        """Return the wanted traces of a chunk.

        Parameters
        ----------
        unit : TraceChunk
        query : Query, optional
            By default that of the last `units`; all traces where there was none.

        Returns
        -------
        Traces
            In file order. A trace that cannot be had, or that has another number of samples than most of the chunk's
            wanted ones, is in `missing` with the reason.

        Raises
        ------
        DataFileError
            When a file is damaged or has nothing that is needed, or the chunk is of another table.
        """
        query = query or self._query
        table = self._table(query)
        if not 0 <= unit.number < len(table) or table.bounds(unit.number) != (unit.first, unit.last):
            raise DataFileError(
                f"{self.metadata.name}: {unit.key} is not one of its chunks; plan again with this table"
            )
        frame = table.frame(unit.number)
        chosen, unknown = choose_rows(frame, query)
        missing = [(name, "start or place in the table cannot be read") for name in frame.loc[unknown, "trace_name"]]
        frame = frame.loc[chosen].reset_index(drop=True)
        with open_waves(self.waveforms) as file:
            frame["sampling_rate_hz"] = sampling_rates(frame, table, _number(read_setting(file, "sampling_rate")))
            usual, axes = read_setting(file, "component_order") or "ENZ", read_setting(file, "dimension_order")
            found = [
                "no sampling rate" if np.isnan(rate) else read_wave(file, name, order or usual, axes)
                for name, order, rate in zip(
                    frame["trace_name"], frame["order"], frame["sampling_rate_hz"], strict=True
                )
            ]
        waves, reasons = _same_length(found)
        kept = [i for i, reason in enumerate(reasons) if not reason]
        missing += [(name, reason) for name, reason in zip(frame["trace_name"], reasons, strict=True) if reason]
        columns = ["trace_name", "network", "station", "location", "channels", "start", "sampling_rate_hz"]
        columns += [name for name in FEATURES if name in frame]
        return Traces(waves, frame.loc[kept, columns].reset_index(drop=True), missing)


def _chunks(table: TraceTable, query: Query, number: int) -> list[int]:
    """Return which of some chunks, from one on, have rows that a query chooses or cannot judge."""
    chosen, unknown = choose_rows(table.frame(number, STRIDE), query)
    return [number + int(chunk) for chunk in np.unique(np.flatnonzero(chosen | unknown) // CHUNK_ROWS)]


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _same_length(found: Sequence[NDArray[np.float32] | str]) -> tuple[NDArray[np.float32], list[str]]:
    """Stack the traces that have the most common number of samples; a reason for each of the others, "" for those."""
    lengths = Counter(wave.shape[1] for wave in found if not isinstance(wave, str))
    usual = max(lengths, key=lambda length: (lengths[length], length), default=0)
    reasons = []
    for wave in found:
        if isinstance(wave, str):
            reasons.append(wave)
        else:
            other = wave.shape[1] != usual
            reasons.append(f"{wave.shape[1]} samples, where most have {usual}" if other else "")
    stacked = np.empty((reasons.count(""), 3, usual), np.float32)
    same = (wave for wave, reason in zip(found, reasons, strict=True) if not reason)
    for row, wave in enumerate(same):
        stacked[row] = wave
    return stacked, reasons


def find_pair(path: Path) -> tuple[Path, Path]:
    """Return the metadata table and the HDF5 file that a path means.

    Parameters
    ----------
    path : Path
        The table, the HDF5 file, or the folder of both. Of several files beside the one named, that whose name has
        most words in common with it is taken (``metadata_Instance_noise.csv`` goes with ``Instance_noise.hdf5``).

    Returns
    -------
    (Path, Path)

    Raises
    ------
    DataFileError
        When a file is missing, or several could be meant.
    """
    if not path.exists():
        raise DataFileError(f"{path}: no such file or folder; a path in a study is relative to the study file")
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    tables = [file for file in files if file.name.lower().endswith(TABLES)]
    waves = [file for file in files if file.name.lower().endswith(WAVES)]
    if path.is_dir():
        wave = _only(waves, "HDF5 file (.hdf5, .h5)", path)
        return _only(_alike(tables, wave), "metadata table (.csv, .csv.bz2, .parquet)", wave), wave
    with path.open("rb") as file:
        is_waves = file.read(8) == b"\x89HDF\r\n\x1a\n"
    if is_waves:
        return _only(_alike(tables, path), "metadata table (.csv, .csv.bz2, .parquet)", path), path
    return path, _only(_alike(waves, path), "HDF5 file (.hdf5, .h5)", path)


def _words(path: Path) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", path.name.lower()))


def _alike(files: Iterable[Path], other: Path) -> list[Path]:
    """Return the files whose names have most words in common with another."""
    common = {file: len(_words(file) & _words(other)) for file in files}
    return [file for file, shared in common.items() if shared == max(common.values())]


def _only(files: Sequence[Path], what: str, beside: Path) -> Path:
    where = "in it" if beside.is_dir() else "beside it"
    if not files:
        raise DataFileError(f"{beside}: no {what} {where}; put both files into one folder")
    if len(files) > 1:
        raise DataFileError(f"{beside}: {', '.join(f.name for f in files)}: which {what}? Name one of them")
    return files[0]
