"""Waveforms of cut-out traces in HDF5: ``data/<trace_name>``, or parts of buckets as SeisBench writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seisprobe.errors import DataFileError

__all__ = ["open_waves", "read_setting", "read_wave"]

BUCKET = re.compile(r"([^$]+)\$(\d+)((?:,\d*:\d*)*)")
# Letters of east, north and up, in the order of the rows that are given.
COMPONENTS = ("E2", "N1", "Z3")


@contextmanager
def open_waves(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading; DataFileError where it is none, or damaged."""
    import h5py

    try:
        # Some shared file systems refuse locks; nothing is written here.
        file = h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        said = str(error).partition("(")[2].rstrip(")") or str(error)
        raise DataFileError(f"{path.name}: not HDF5, or damaged ({said}); copy or fetch it again") from None
    with file:
        yield file


def read_setting(file: Any, name: str) -> str | None:
    """Return ``data_format/<name>`` of a SeisBench file as text, None where there is none."""
    try:
        value = file[f"data_format/{name}"][()]
    except (KeyError, TypeError, ValueError, OSError, RuntimeError):
        return None
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def read_wave(file: Any, name: str, order: str, axes: str | None) -> NDArray[np.float32] | str:
    """Return a trace, or the reason why it cannot be had.

    Parameters
    ----------
    file : h5py.File
    name : str
        As the table has it: a dataset under ``data`` (or under the file's root), or ``bucket$row,:channels,:samples``.
    order : str
        Component letters in the order of the dataset: ENZ where INSTANCE and STEAD are as published, often ZNE in
        SeisBench's files, whose ``data_format/component_order`` says it.
    axes : str or None
        ``data_format/dimension_order``: "CW" components first, "WC" samples first; None: by the shape.

    Returns
    -------
    ndarray or str
        (3, samples) float32 in the order E, N, Z.
    """
    bucket = BUCKET.fullmatch(name.replace(" ", ""))
    path = bucket[1] if bucket else name
    try:
        dataset = _dataset(file, path)
        if dataset is None:
            return "the HDF5 file has no such trace"
        if bucket:
            row = int(bucket[2])
            if row >= len(dataset):
                return f"{path} has {len(dataset)} rows only"
            values = dataset[(row, *_slices(bucket[3]))]
        else:
            values = dataset[()]
        wave = np.asarray(values, np.float32)
    except (OSError, RuntimeError) as error:
        return f"cannot be read: {str(error).partition('(')[2].rstrip(')') or error}"
    except (KeyError, ValueError, TypeError, IndexError) as error:
        return f"no waveform: {error}"
    return _arranged(wave, order, axes)


def _dataset(file: Any, path: str) -> Any:
    bare = path.strip().strip("/").removeprefix("data/")
    if not bare or "\0" in bare:
        return None
    for place in (f"data/{bare}", bare):
        found = file.get(place)
        if found is not None and hasattr(found, "dtype"):
            return found
    return None


def _slices(text: str) -> list[slice]:
    edges = [part.split(":") for part in text.split(",") if part]
    return [slice(int(first) if first else None, int(last) if last else None) for first, last in edges]


def _arranged(wave: NDArray[np.float32], order: str, axes: str | None) -> NDArray[np.float32] | str:
    """A trace with components in rows, E, N, Z."""
    if wave.ndim != 2:
        return f"its array has {wave.ndim} dimensions, not 2"
    letters = order.strip().upper()
    by_shape = wave.shape[0] != len(letters) == wave.shape[1]
    wave = wave.T if (axes.upper().removeprefix("N") == "WC" if axes else by_shape) else wave
    rows = [next((i for i, letter in enumerate(letters) if letter in of), -1) for of in COMPONENTS]
    if min(rows) < 0 or len(letters) != len(wave):
        return f"components {letters} in {len(wave)} rows, not east, north and up"
    if not np.isfinite(wave).all():
        return "samples that are no numbers"
    return np.ascontiguousarray(wave[rows])
