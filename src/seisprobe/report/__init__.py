"""report.html: one file that says what was found and whether it means anything. Reads files only."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_report"]

NAME = "report.html"


def write_report(folder: Path) -> Path:
    """Write ``report.html`` of a finished study folder: one file, nothing outside it, the same bytes every time.

    Parameters
    ----------
    folder : Path
        Holds ``study.toml`` and ``result.json``; ``catalog.parquet``, ``nulls.parquet``, ``etas.parquet`` and
        ``runs.jsonl`` are read where they are, and what they would show is left out where they are not.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    FolderError
        When there is no result that can be read, or the folder cannot be written to.
    StudyError
        When ``study.toml`` cannot be read.
    """
    from seisprobe.report.html import page
    from seisprobe.report.inputs import read_folder
    from seisprobe.storage import write_bytes

    path = Path(folder) / NAME
    write_bytes(path, page(read_folder(Path(folder))).encode("utf-8"))
    return path
