"""An archive keeps what it held, each sample once, and knows what is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from obspy import read

from seisprobe.errors import BusyError, FolderError
from seisprobe.sources.archive import channel_codes, day_file, first_lacking, hold, store
from seisprobe.sources.fdsn_stations import Wanted
from seisprobe.sources.records import Record, parse_records
from seisprobe.sources.waveforms import StationDay
from support.waveforms import make_stream, write_mseed

WANT = Wanted(StationDay("IV", "NRCA", "", "HH", "2016-10-30"), ("HHE", "HHN", "HHZ"), 1e6)
NEXT = Wanted(StationDay("IV", "NRCA", "", "EH", "2016-10-30"), ("EHE", "EHN", "EHZ"), 1e6)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Return two minutes of three channels."""
    stream = make_stream(seconds=120.0, rate_hz=20.0)
    return parse_records(write_mseed(tmp_path / "sent", stream).read_bytes())[0]


def files_in(archive: Path) -> dict[str, bytes]:
    return {path.relative_to(archive).as_posix(): path.read_bytes() for path in archive.rglob("*") if path.is_file()}


def test_what_is_stored_twice_is_stored_once(records: list[Record], tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    assert store(archive, WANT, records, "fdsn:INGV") == ["HHE", "HHN", "HHZ"]
    before = files_in(archive)
    store(archive, WANT, records[::-1], "fdsn:INGV")
    assert files_in(archive) == before


def test_halves_that_come_apart_make_the_same_file(records: list[Record], tmp_path: Path) -> None:
    for half in (records[::2], records[1::2]):
        store(tmp_path / "halves", WANT, half, "fdsn:INGV")
    store(tmp_path / "whole", WANT, records, "fdsn:INGV")
    assert files_in(tmp_path / "halves") == files_in(tmp_path / "whole")
    trace = read(str(day_file(tmp_path / "whole", channel_codes(WANT)[0], "2016-10-30")))[0]
    assert np.array_equal(trace.data, make_stream(seconds=120.0, rate_hz=20.0)[0].data)


def test_what_is_done_and_what_comes_next(records: list[Record], tmp_path: Path) -> None:
    ask = lambda source: first_lacking(tmp_path, [WANT, NEXT], source)  # noqa: E731
    assert ask("fdsn:INGV") == (WANT, False)
    store(tmp_path, WANT, [r for r in records if r.codes[3] != "HHZ"], "fdsn:INGV")
    assert ask("fdsn:INGV") == (NEXT, False)
    assert ask("fdsn:ORFEUS") == (WANT, False)
    store(tmp_path, NEXT, [], "fdsn:INGV")
    assert ask("fdsn:INGV") == (None, False)
    store(tmp_path, WANT, records, "fdsn:ORFEUS")
    assert ask("fdsn:INGV") == ask("fdsn:ORFEUS") == (None, True)
    day_file(tmp_path, channel_codes(WANT)[2], "2016-10-30").unlink()
    assert ask("fdsn:INGV") == (WANT, False)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"files": []}', b'{"files": {"HHE": "x"}, "source": ""}'])
def test_a_damaged_slip_means_not_done(damage: bytes, records: list[Record], tmp_path: Path) -> None:
    store(tmp_path, WANT, records, "fdsn:INGV")
    (tmp_path / "fetched/IV.NRCA..HH.2016-10-30.json").write_bytes(damage)
    assert first_lacking(tmp_path, [WANT], "fdsn:INGV") == (WANT, False)


def test_a_day_that_is_not_over_is_never_done(records: list[Record], tmp_path: Path) -> None:
    today = f"{pd.Timestamp.now('UTC'):%Y-%m-%d}"
    want = Wanted(StationDay("IV", "NRCA", "", "HH", today), WANT.codes, 1e6)
    store(tmp_path, want, [], "fdsn:INGV")
    assert first_lacking(tmp_path, [want], "fdsn:INGV") == (want, False)


def test_a_file_that_is_no_miniseed_is_not_written_over(records: list[Record], tmp_path: Path) -> None:
    path = day_file(tmp_path, channel_codes(WANT)[0], "2016-10-30")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something of the user's")
    with pytest.raises(FolderError, match=r"HHE.D.2016.304: is damaged or no miniSEED"):
        store(tmp_path, WANT, records, "fdsn:INGV")
    assert path.read_bytes() == b"something of the user's"


def test_what_a_killed_process_left_half_written_is_taken_away(tmp_path: Path) -> None:
    for place in ("", "fetched", "2016/IV/NRCA/HHZ.D"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / ".x.123.tmp").write_bytes(b"half")
    with hold(tmp_path):
        assert not list(tmp_path.rglob("*.tmp"))


def test_one_archive_is_held_once(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".fetch.lock"),
        pytest.raises(BusyError, match="another process fetches into it"),
        hold(tmp_path),
    ):
        pass
