"""The numbers in a table's cells: what holds none is counted, columns of text and of one value are left out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats
from seisprobe.errors import DataFileError, StudyError, nearest
from seisprobe.sections import TableOptions
from seisprobe.sources.local_times import Flags
from seisprobe.sources.table_files import shown

__all__ = ["named_columns", "numbers_of", "without_constants"]

LARGEST = 1e150  # whose square is a number; beyond it stands what fills a gap, as the largest double does
LISTED = 200


def named_columns(options: TableOptions, known: list[str]) -> list[str]:
    """Return the columns that the study names as values, all of which must be there.

    Raises
    ------
    StudyError

    Examples
    --------
    >>> named_columns(TableOptions(name="herd", path="herd.csv", values=("cow",)), ["cow", "dog"])
    ['cow']
    """
    names = options.values  # noqa: PD011  an option, no frame
    for name in names:
        if name not in known:
            raise StudyError(f"[[table]] {options.name} values: no column '{shown(name)}'; {nearest(name, known)}")
    return list(names)


def numbers_of(
    options: TableOptions, frame: pd.DataFrame, origin: str, dropped: Counter[str], notes: list[str]
) -> pd.DataFrame:
    """Return the value columns as numbers, NaN (counted) for a cell that holds something else.

    Parameters
    ----------
    options : TableOptions
    frame : DataFrame
        As `read_frame` gives it.
    origin : str
        Name of the file, for messages.
    dropped : Counter
        ``not_a_number`` is counted in it.
    notes : list of str
        What was noticed is appended.

    Raises
    ------
    StudyError, DataFileError
        A column that the study names is not there, or holds no numbers; there is none beside the time.
    """
    others = [str(name) for name in frame.columns if name not in (options.time, options.group)]
    named = named_columns(options, others)
    decimal_comma = frame.attrs.get("delimiter", ",") != ","
    made, passed, commas = {}, [], []
    for name in named or others:
        numbers, filled, comma = _as_numbers(frame[name], decimal_comma)
        usable = np.abs(numbers) <= LARGEST  # of NaN too
        if not usable.any() or (not named and usable.sum() * 2 < filled.sum()):
            passed.append(name)
            continue
        made[name] = np.where(usable, numbers, np.nan)
        commas += [name] if comma else []
        _count_lost(frame[name], filled, ~usable, origin, dropped, notes)
    if passed and (named or not made):
        raise DataFileError(f"{origin}: column(s) without numbers: {_listed(passed)}; name others as values")
    if not made:
        raise DataFileError(f"{origin}: no column of values beside the time; name a table that has one")
    if passed:
        notes.append(f"{origin}: column(s) without numbers left out: {_listed(passed)}")
    if commas:
        notes.append(f"{origin}: commas are read as decimal points in column(s) {_listed(commas)}")
    return pd.DataFrame(made, index=frame.index)


def without_constants(frame: pd.DataFrame, origin: str, dropped: Counter[str], notes: list[str]) -> list[str]:
    """Return the columns that change; the others say nothing of any window, and are counted in `dropped`.

    Raises
    ------
    DataFileError
        None changes.

    Examples
    --------
    >>> without_constants(pd.DataFrame({"x": [1.0, 2.0], "tag": [5.0, 5.0]}), "herd.csv", Counter(), [])
    ['x']
    """
    values = frame.to_numpy("float64")
    flat = ~(np.fmax.reduce(values, axis=0) > np.fmin.reduce(values, axis=0))  # of nothing but NaN too
    constant = [name for name, still in zip(frame.columns, flat, strict=True) if still]
    if constant:
        dropped["constant_column"] = len(constant)
        notes.append(f"{origin}: constant column(s) left out: {_listed(constant)}")
    if len(constant) == len(flat):
        raise DataFileError(f"{origin}: every column of values is constant ({_listed(constant)}); name others")
    return [name for name in frame.columns if name not in constant]


def _listed(names: list[str]) -> str:
    return ", ".join(names)[:LISTED]


def _count_lost(
    column: pd.Series, filled: Flags, lost: Flags, origin: str, dropped: Counter[str], notes: list[str]
) -> None:
    """Count the cells of a column that hold no number, and show the first."""
    if not lost.any():
        return
    dropped["not_a_number"] += int(lost.sum())
    row = int(np.flatnonzero(lost)[0])
    text = shown(column.iloc[row]) if filled[row] else ""
    notes.append(
        f"{origin}: {lost.sum()} cell(s) of '{shown(column.name)}' hold no number, first in line {column.index[row]}:"
        f" '{text}'"
    )


def _as_numbers(column: pd.Series, decimal_comma: bool) -> tuple[Floats, Flags, bool]:
    """Return a column as numbers, NaN for none, which cells hold anything, and whether commas were read as points.

    They are where something else parts the columns, and no cell holds a point: of 1,234 and 0.5 neither is guessed.
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy("float64", na_value=np.nan)
        return numbers, ~np.isnan(numbers), False
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return np.full(len(column), np.nan), column.notna().to_numpy(), False
    texts = column.astype("string").fillna("").str.strip()
    filled = (texts != "").to_numpy(dtype=bool)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy("float64", na_value=np.nan)
    comma = bool(decimal_comma and texts.str.contains(",", regex=False).any())
    if comma and not texts.str.contains(r"\d\.|\.\d", regex=True).any():
        pointed = texts.str.replace(",", ".", regex=False)
        read = pd.to_numeric(pointed, errors="coerce").to_numpy("float64", na_value=np.nan)
        if not np.array_equal(read, numbers, equal_nan=True):
            return read, filled, True
    return numbers, filled, False
