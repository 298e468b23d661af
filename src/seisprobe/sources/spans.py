"""Periods of time that are fetched piece by piece, and the pieces that are done."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from seisprobe.storage import write_bytes

__all__ = ["Parts", "Span", "calendar_spans"]


@dataclass(frozen=True)
class Span:
    """A period of time [start, end) that is asked for at once.

    Examples
    --------
    >>> span = Span(pd.Timestamp("2016-01-01", tz="UTC"), pd.Timestamp("2016-01-02", tz="UTC"))
    >>> str(span.halves()[1])
    '2016-01-01T12:00:00 to 2016-01-02T00:00:00'
    """

    start: pd.Timestamp
    end: pd.Timestamp

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%S} to {self.end:%Y-%m-%dT%H:%M:%S}"

    @property
    def name(self) -> str:
        """The span as part of a file name."""
        return f"{self.start:%Y%m%dT%H%M%S.%f}-{self.end:%Y%m%dT%H%M%S.%f}"

    def halves(self) -> tuple[Span, Span]:
        """Return the two halves, cut at a whole second; always the same for the same span."""
        middle = (self.start + (self.end - self.start) / 2).floor("s")
        return replace(self, end=middle), replace(self, start=middle)


def calendar_spans(whole: Span, months: int) -> list[Span]:
    """Return the period in spans that end with calendar months, so that another period shares their inner ones.

    Parameters
    ----------
    whole : Span
    months : int
        Length of a span.

    Returns
    -------
    list of Span
        In order of time, without a gap.

    Examples
    --------
    >>> span = Span(pd.Timestamp("2015-12-30", tz="UTC"), pd.Timestamp("2016-04-02", tz="UTC"))
    >>> [str(s)[:10] for s in calendar_spans(span, 3)]
    ['2015-12-30', '2016-01-01', '2016-04-01']
    """
    first = pd.Timestamp(whole.start.year, 1, 1, tz="UTC")
    grid = pd.date_range(first, whole.end, freq=pd.DateOffset(months=months))
    edges = [whole.start, *(edge for edge in grid if whole.start < edge < whole.end), whole.end]
    return [Span(start, end) for start, end in itertools.pairwise(edges) if start < end]


class Parts:
    """Finished spans in a folder: one file each, named by span and question; what is there is done.

    Parameters
    ----------
    folder : Path or None
        Made if it is not there; None keeps nothing.
    question : mapping
        What is asked for besides the time. Answers to other questions are never mixed in.
    """

    def __init__(self, folder: Path | None, question: Mapping[str, Any]) -> None:
        self._folder = folder
        self._suffix = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:12]
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def _path(self, span: Span) -> Path | None:
        return None if self._folder is None else self._folder / f"{span.name}-{self._suffix}.txt"

    def read(self, span: Span) -> bytes | None:
        """Return what was kept of a span, None where nothing was."""
        path = self._path(span)
        return path.read_bytes() if path is not None and path.is_file() else None

    def write(self, span: Span, body: bytes) -> None:
        """Keep a span, whole or not at all; StorageError where it cannot be written."""
        path = self._path(span)
        # A span that is not over yet will hold more events tomorrow.
        if path is not None and span.end <= pd.Timestamp.now("UTC"):
            write_bytes(path, body)

    def has_pieces_of(self, span: Span) -> bool:
        """Whether an earlier run halved this span: it is not asked for again, only what lacks of it."""
        if self._folder is None:
            return False
        start, end = whole = span.name.split("-")
        kept = [path.name.split("-")[:2] for path in self._folder.glob(f"*-{self._suffix}.txt")]
        return any(start <= first and last <= end and [first, last] != whole for first, last in kept)
