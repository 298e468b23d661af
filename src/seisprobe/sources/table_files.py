"""Files that hold a timed table: delimited text, Parquet, Excel; kind and compression are told by content."""

from __future__ import annotations

import codecs
import csv
import importlib
import io
import lzma
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.errors import DataFileError
from seisprobe.sources.layouts import split_header
from seisprobe.sources.reading import OPENERS

__all__ = ["BROKEN", "DAMAGED", "checked_file", "open_plain", "read_frame", "read_names", "shown"]

ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DAMAGED = "the file is damaged or was cut: copy or fetch it again"
BROKEN = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)  # what decompression raises, and Arrow
HEADER_BYTES = 1 << 20
LONGEST_PATH, SHOWN = 200, 60
# How pandas names a column without a name: in Parquet, and once it has read such a file and written it again.
UNNAMED = re.compile(r"|Unnamed: \d+|__index_level_\d+__")


def shown(value: object) -> str:
    r"""Return a cell, name or path as messages show it: on one line, and no longer than a person reads.

    Examples
    --------
    >>> shown("a\nb")
    'a b'
    """
    return " ".join(str(value).split())[:SHOWN]


def checked_file(path: Path) -> Path:
    """Return the path of a file that is there.

    Raises
    ------
    DataFileError
    """
    text = str(path)
    name = text if len(text) <= LONGEST_PATH else f"{text[:LONGEST_PATH]}…"
    try:
        folder, there = path.is_dir(), path.is_file()
        if there:
            path.open("rb").close()
    except OSError as error:  # a name that is too long, no permission
        raise DataFileError(f"{name}: cannot be opened ({error.strerror}); name another file") from None
    if folder:
        raise DataFileError(f"{name}: this is a folder; name the file in it")
    if not there:
        raise DataFileError(f"{name}: no such file; name one by the study file")
    return path


def read_frame(path: Path, notes: list[str], named: Collection[str] = ()) -> pd.DataFrame:
    r"""Return a table as it stands: text of delimited text, the file's own types of Parquet and Excel.

    Parameters
    ----------
    path : Path
        Delimited text (comma, semicolon, bar or tab; plain, gzip, bzip2 or xz), Parquet, or an Excel workbook.
    notes : list of str
        What was noticed is appended.
    named : collection of str
        Columns that the study names: they stay, even one without a name of its own.

    Returns
    -------
    DataFrame
        The index is the line of the file in which a row begins; ``attrs`` of delimited text tell its
        ``delimiter``, and whether a cell ``spans_lines``.

    Raises
    ------
    DataFileError
        A damaged or empty file, another kind of file, a column that stands twice.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "herd.csv"
    >>> _ = path.write_text("datetime,cow,dog\n2016-10-28 12:00:00,1.5,2\n")
    >>> frame = read_frame(path, [])
    >>> frame.to_numpy().tolist(), frame.index.tolist()
    ([['2016-10-28 12:00:00', '1.5', '2']], [2])
    """
    magic = _magic(path)
    if magic.startswith(b"PAR1"):
        frame = _from_parquet(path)
    elif magic.startswith(b"PK\x03\x04"):
        frame = _from_excel(path, notes)
    else:
        frame = _from_text(path, notes)
    names = [str(name).strip() for name in frame.columns]
    kept = [name in named or not UNNAMED.fullmatch(name) for name in names]
    if not all(kept):
        what = "an index, or what stands behind the last name"
        notes.append(f"{path.name}: {kept.count(False)} column(s) without a name left out: {what}")
    names = [name for name, keep in zip(names, kept, strict=True) if keep]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataFileError(f"{path.name}: column '{shown(repeated[0])}' stands twice; give each its own name")
    made = frame.loc[:, kept]
    made.columns = pd.Index(names)
    made.attrs = frame.attrs
    return made


def read_names(path: Path) -> list[str]:
    r"""Return the names of a table's columns; nothing below its header is looked at.

    Parameters
    ----------
    path : Path
        As of `read_frame`.

    Raises
    ------
    DataFileError

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "herd.csv"
    >>> _ = path.write_text("datetime;cow\n")
    >>> read_names(path)
    ['datetime', 'cow']
    """
    magic = _magic(path)
    if magic.startswith(b"PAR1"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            names = pq.read_schema(path).names
        except (pa.ArrowException, OSError) as error:
            raise _not_readable(path, "Parquet", error) from error
    elif magic.startswith(b"PK\x03\x04"):
        names = _workbook(path, rows=False)[0]
    else:
        text, _ = _text_of(path, HEADER_BYTES)
        _, names = _header(text, path.name)
    return [str(name).strip() for name in names]


def open_plain(path: Path) -> Any:
    """Return a binary file, decompressed by what its first bytes say."""
    magic = _magic(path)
    opener: Any = next((opener for mark, opener in OPENERS.items() if magic.startswith(mark)), Path.open)
    return opener(path, "rb")


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        magic = file.read(8)
    if not magic:
        raise DataFileError(f"{path.name}: the file is empty; fetch it again or name another")
    return magic


# --- Parquet and Excel -----------------------------------------------------------------------------------------------


def _from_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        frame = pq.ParquetFile(path).read(use_threads=False).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise _not_readable(path, "Parquet", error) from error
    return _numbered(frame)


def _from_excel(path: Path, notes: list[str]) -> pd.DataFrame:
    names, rows, sheets = _workbook(path)
    if len(sheets) > 1:
        notes.append(f"{path.name}: only its first sheet '{shown(sheets[0])}' of {len(sheets)} is read")
    frame = pd.DataFrame(rows, columns=names)
    return _numbered(frame.iloc[: frame.notna().any(axis=1).to_numpy().nonzero()[0].max(initial=-1) + 1])


def _workbook(path: Path, *, rows: bool = True) -> tuple[list[str], list[Any], list[str]]:
    """Return the first sheet's names and rows, and what the sheets are called."""
    try:
        openpyxl = importlib.import_module("openpyxl")  # an extra: only who has such a file needs it
    except ImportError:
        raise DataFileError(
            f"{path.name}: Excel files need openpyxl: pip install 'seisprobe[excel]', or save the sheet as CSV"
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        lines = book.worksheets[0].iter_rows(values_only=True)
        names = ["" if name is None else str(name) for name in next(lines, ())]
        found = [line[: len(names)] for line in lines] if rows else []
        sheets = list(book.sheetnames)
        book.close()
    except Exception as error:  # openpyxl raises what its parsers do: KeyError, BadZipFile, ValueError
        raise _not_readable(path, "Excel", error) from error
    return names, found, sheets


def _not_readable(path: Path, kind: str, error: Exception) -> DataFileError:
    return DataFileError(f"{path.name}: not readable as {kind} ({error}); {DAMAGED}")


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Number rows as an editor does, below the header."""
    frame.index = pd.RangeIndex(2, 2 + len(frame))
    return frame


# --- text ------------------------------------------------------------------------------------------------------------


def _text_of(path: Path, size: int = -1) -> tuple[str, bool]:
    """Return a file's text (its first `size` bytes), lines ended by LF, and whether it had to be read as Latin-1."""
    try:
        with open_plain(path) as file:
            data = file.read(size)
    except BROKEN as error:
        raise DataFileError(f"{path.name}: cannot be read ({error}); {DAMAGED}") from error
    encoding = ENCODINGS.get(data[:2], "utf-8-sig")
    if encoding != "utf-16" and b"\x00" in data[:4096]:
        raise DataFileError(f"{path.name}: neither text, Parquet nor Excel; name a table")
    latin = False
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data, final=size < 0)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise DataFileError(f"{path.name}: not readable as UTF-16 ({error.reason}); {DAMAGED}") from error
        text, latin = data.decode("latin-1"), True
    return text.replace("\r\n", "\n").replace("\r", "\n"), latin


def _header(text: str, name: str) -> tuple[str, list[str]]:
    """Return the delimiter and the names of the first line that holds anything."""
    try:
        delimiter, names = split_header(_from_header(text).partition("\n")[0])
    except csv.Error as error:
        raise DataFileError(
            f"{name}: its first line is no header ({error}); the first line names the columns"
        ) from None
    if not any(names):
        raise DataFileError(f"{name}: no header line; the first line names the columns")
    return delimiter, names


def _from_header(text: str) -> str:
    """Return a text without empty lines in front; a header that begins with a tab keeps it."""
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text)


def _from_text(path: Path, notes: list[str]) -> pd.DataFrame:
    whole, latin = _text_of(path)
    if latin:
        notes.append(f"{path.name}: not in UTF-8: read as Latin-1")
    delimiter, names = _header(whole, path.name)
    text = _from_header(whole)
    header_line = whole.count("\n") - text.count("\n") + 1
    text = text.rstrip()  # lines without anything in between stay, so that numbers of lines hold
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with more fields than the header
            frame = pd.read_csv(
                io.StringIO(text), sep=delimiter, dtype="str", keep_default_na=False, header=None, skiprows=1,
                names=range(len(names)), index_col=False, skip_blank_lines=False,
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataFileError(f"{path.name}: {error}; {DAMAGED}") from error
    frame.columns = pd.Index(names)
    frame.index = pd.Index(header_line + 1 + _lines_before(frame, text))
    frame.attrs |= {"delimiter": delimiter, "spans_lines": text.count("\n") > len(frame)}
    return frame


def _lines_before(frame: pd.DataFrame, text: str) -> np.ndarray:
    """Return how many lines stand between the header and each row; quoted cells may hold more than one."""
    if text.count("\n") == len(frame):
        return np.arange(len(frame))
    breaks = sum(frame.iloc[:, i].fillna("").str.count("\n").to_numpy(np.int64) for i in range(frame.shape[1]))
    lines = 1 + np.asarray(breaks)
    return np.asarray(np.cumsum(lines) - lines)
