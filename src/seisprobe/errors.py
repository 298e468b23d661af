"""The error tree: every failure a user can meet is one line that says what, which value, what to do next.

::

    SeisprobeError                      exit status 1: the work failed; run again, or as the message says
    ├── InputError (ValueError)         exit status 2: what the user wrote or named is malformed or missing
    │   ├── StudyError                  the study file, or a --set on the command line
    │   ├── DataFileError               a catalog, waveform or table file
    │   └── FolderError                 the output folder holds something else
    ├── StorageError (OSError)          a file that cannot be written: full disk, no permission
    ├── SourceError (OSError)           a data centre that cannot be reached, or answers with an error
    └── BusyError (RuntimeError)        another process works in the same study folder

Messages are one line: whatever line breaks a cause carried are folded.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BusyError",
    "DataFileError",
    "FolderError",
    "InputError",
    "SeisprobeError",
    "SourceError",
    "StorageError",
    "StudyError",
    "nearest",
]


class SeisprobeError(Exception):
    r"""Anything that ends a command with one line instead of a traceback.

    Parameters
    ----------
    message : str
        What, which value, what to do next. Folded to one line.

    Examples
    --------
    >>> str(StudyError("study.toml: [windows] hours = 0:\n  must be positive"))
    'study.toml: [windows] hours = 0: must be positive'
    """

    exit_status = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class InputError(SeisprobeError, ValueError):
    """What the user wrote or named is malformed or missing (exit status 2)."""

    exit_status = 2


class StudyError(InputError):
    """The study file, or a ``--set``, is malformed: names file, section, key and value."""


class DataFileError(InputError):
    """A data file is missing, empty, truncated or of an unknown layout: names file, row and column."""


class FolderError(InputError):
    """The output folder holds another study, or files that are not a study's."""


class StorageError(SeisprobeError, OSError):
    """A file cannot be written: full disk, no permission; what was there before stays."""


class SourceError(SeisprobeError, OSError):
    """A data centre cannot be reached or answers with an error; what was fetched is kept."""


class BusyError(SeisprobeError, RuntimeError):
    """Another process works in the same study folder."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'? (known: …)" for a word that is not known.

    Examples
    --------
    >>> nearest("hour", ["hours", "gap_s"])
    "did you mean 'hours'? (known: hours, gap_s)"
    """
    choices = list(known)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    listed = f"known: {', '.join(choices)}" if choices else "none is known here"
    return f"did you mean '{close[0]}'? ({listed})" if close else listed
