"""Spans cover a period without gap or overlap; what is kept of them is whole and of one question."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seisprobe.errors import StorageError
from seisprobe.sources.spans import Parts, Span, calendar_spans

MOMENTS = st.integers(0, 2_000_000_000_000_000).map(lambda us: pd.Timestamp(us, unit="us", tz="UTC"))
DAY = Span(pd.Timestamp("2016-10-30", tz="UTC"), pd.Timestamp("2016-10-31", tz="UTC"))


def assert_covers(spans: list[Span], start: pd.Timestamp, end: pd.Timestamp) -> None:
    """Check that spans follow each other without gap, from start to end, none of them empty."""
    assert (spans[0].start, spans[-1].end) == (start, end)
    assert all(before.end == after.start for before, after in itertools.pairwise(spans))
    assert all(span.start < span.end for span in spans)


@given(one=MOMENTS, other=MOMENTS, months=st.integers(1, 18))
def test_calendar_spans_cover_the_period(one: pd.Timestamp, other: pd.Timestamp, months: int) -> None:
    start, end = sorted((one, other))
    spans = calendar_spans(Span(start, end), months)
    if start == end:
        assert spans == []
    else:
        assert_covers(spans, start, end)
        assert max(span.end - span.start for span in spans) <= pd.Timedelta(days=31 * months)


@given(start=MOMENTS, length_us=st.integers(60_000_001, 10**14))
def test_halves_cover_the_whole(start: pd.Timestamp, length_us: int) -> None:
    end = start + pd.Timedelta(microseconds=length_us)
    assert_covers(list(Span(start, end).halves()), start, end)


def test_pieces_are_seen_but_the_whole_is_no_piece_of_itself(tmp_path: Path) -> None:
    parts = Parts(tmp_path, {"minmagnitude": 2.5})
    parts.write(DAY, b"whole")
    assert not parts.has_pieces_of(DAY)
    parts.write(DAY.halves()[1], b"half")
    assert parts.has_pieces_of(DAY)
    assert not Parts(tmp_path, {"minmagnitude": 2.0}).has_pieces_of(DAY)
    assert (parts.read(DAY), Parts(tmp_path, {"minmagnitude": 2.0}).read(DAY)) == (b"whole", None)


def test_without_a_folder_nothing_is_kept() -> None:
    parts = Parts(None, {})
    parts.write(DAY, b"whole")
    assert parts.read(DAY) is None
    assert not parts.has_pieces_of(DAY)


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts", {})
    (tmp_path / "parts").rmdir()
    (tmp_path / "parts").write_text("in the way")
    with pytest.raises(StorageError, match=r"\.txt: cannot be written") as error:
        parts.write(DAY, b"whole")
    assert "\n" not in str(error.value)
