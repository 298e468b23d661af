"""Files that hold a timed table: delimited text, Parquet, Excel; kind and compression are told by content."""

from __future__ import annotations

import importlib
import io
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd

from seisprobe.errors import DataFileError
from seisprobe.sources.layouts import split_header
from seisprobe.sources.reading import OPENERS

__all__ = ["read_frame"]

ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DAMAGED = "the file is damaged or was cut: copy or fetch it again"
SHOWN = 60


def read_frame(path: Path, notes: list[str]) -> pd.DataFrame:
    r"""Return a table as it stands: text of delimited text, the file's own types of Parquet and Excel.

    Parameters
    ----------
    path : Path
        Delimited text (comma, semicolon, bar or tab; plain, gzip, bzip2 or xz), Parquet, or an Excel workbook.
    notes : list of str
        What was noticed is appended.

    Returns
    -------
    DataFrame
        Index from 0; ``attrs["delimiter"]`` of delimited text.

    Raises
    ------
    DataFileError
        A damaged or empty file, another kind of file, a column that stands twice.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "herd.csv"
    >>> _ = path.write_text("datetime,cow,dog\n2016-10-28 12:00:00,1.5,2\n")
    >>> read_frame(path, []).to_numpy().tolist()
    [['2016-10-28 12:00:00', '1.5', '2']]
    """
    with path.open("rb") as file:
        magic = file.read(8)
    if not magic:
        raise DataFileError(f"{path.name}: the file is empty; fetch it again or name another")
    if magic.startswith(b"PAR1"):
        frame = _from_parquet(path)
    elif magic.startswith(b"PK\x03\x04"):
        frame = _from_excel(path, notes)
    else:
        frame = _from_text(path, magic, notes)
    names = [str(name).strip() for name in frame.columns]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataFileError(f"{path.name}: column '{repeated[0][:SHOWN]}' stands twice; give each its own name")
    frame.columns = pd.Index(names)
    return frame.reset_index(drop=True)


def _from_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read(use_threads=False).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise DataFileError(f"{path.name}: not readable as Parquet ({error}); {DAMAGED}") from error


def _from_excel(path: Path, notes: list[str]) -> pd.DataFrame:
    try:
        openpyxl = importlib.import_module("openpyxl")  # an extra: only who has such a file needs it
    except ImportError:
        raise DataFileError(
            f"{path.name}: Excel files need openpyxl: pip install 'seisprobe[excel]', or save the sheet as CSV"
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = book.worksheets[0].iter_rows(values_only=True)
        header = next(rows, ())
        frame = pd.DataFrame(list(rows), columns=["" if name is None else str(name) for name in header])
        sheets = book.sheetnames
        book.close()
    except Exception as error:  # openpyxl raises what its parsers do: KeyError, BadZipFile, ValueError
        raise DataFileError(f"{path.name}: not readable as Excel ({error}); {DAMAGED}") from error
    if len(sheets) > 1:
        notes.append(f"{path.name}: only its first sheet '{sheets[0][:SHOWN]}' of {len(sheets)} is read")
    frame = frame.loc[:, [name != "" for name in frame.columns]]
    return frame.iloc[: frame.notna().any(axis=1).to_numpy().nonzero()[0].max(initial=-1) + 1]


def _from_text(path: Path, magic: bytes, notes: list[str]) -> pd.DataFrame:
    try:
        opener = next((opener for mark, opener in OPENERS.items() if magic.startswith(mark)), Path.open)
        with opener(path, "rb") as file:
            data = file.read()
    except (EOFError, OSError, ValueError) as error:  # lzma and zlib raise the last two's kin
        raise DataFileError(f"{path.name}: cannot be read ({error}); {DAMAGED}") from error
    encoding = ENCODINGS.get(data[:2], "utf-8-sig")
    if encoding != "utf-16" and b"\x00" in data[:4096]:
        raise DataFileError(f"{path.name}: neither text, Parquet nor Excel; name a table")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        notes.append(f"{path.name}: not in UTF-8: read as Latin-1")
    text = text.strip()  # lines without anything in between stay, so that numbers of lines hold
    delimiter, names = split_header(text.partition("\n")[0])
    if not any(names):
        raise DataFileError(f"{path.name}: no header line; the first line names the columns")
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
    frame.attrs["delimiter"] = delimiter
    return frame
