"""Files that are whole or not there: written to a temporary name, synced, renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from seisprobe.errors import StorageError

__all__ = ["feature_file", "read_table", "strict_json", "write_bytes", "write_table"]

SIGNIFICANT = 12


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one.

    Raises
    ------
    StorageError
        When it cannot be written; what was there before stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}; free the disk or use another"
        ) from None


def write_table(path: Path, table: pd.DataFrame, stamp: Mapping[str, str]) -> None:
    """Write a table as Parquet with a stamp of what made it in its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {"seisprobe": json.dumps(dict(stamp), sort_keys=True)}
    sink = pa.BufferOutputStream()
    pq.write_table(arrow.replace_schema_metadata(metadata), sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def feature_file(modality: str) -> str:
    """Return the name of a modality's feature table; a colon cannot stand in the file names of every system.

    Examples
    --------
    >>> feature_file("catalog"), feature_file("table:animals")
    ('catalog.parquet', 'table-animals.parquet')
    """
    return f"{modality.replace(':', '-')}.parquet"


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, str]] | None:
    """Return a table and its stamp, None where there is none that can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        arrow = pq.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid, OSError):
        return None
    stamp = json.loads((arrow.schema.metadata or {}).get(b"seisprobe", b"{}"))
    return arrow.to_pandas(), stamp


def strict_json(value: Any) -> str:
    r"""Return JSON without NaN, floats rounded to 12 significant digits, keys in the order given.

    Examples
    --------
    >>> strict_json({"b": 1 / 3, "a": float("nan")})
    '{\n "b": 0.333333333333,\n "a": null\n}\n'
    """
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    import numpy as np

    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.{SIGNIFICANT}g}") if np.isfinite(value) else None
    return value
