"""What is asked of waveforms, in which units it comes, and who gives it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some

from seisprobe.errors import DataFileError, InputError, StudyError
from seisprobe.sources.waveforms import (
    WAVEFORM_SOURCES,
    ContinuousSource,
    Query,
    StationDay,
    TraceChunk,
    TraceSource,
    choose_band,
    open_waveform_source,
    station_days,
)
from support.instance_files import write_instance
from support.waveforms import make_stream, write_mseed, write_sds

DAY = pd.Timestamp("2016-10-30", tz="UTC")
BOX = {"min_latitude": 42.0, "max_latitude": 43.0, "min_longitude": 12.0, "max_longitude": 14.0}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"start": pd.Timestamp("2016-10-30")}, "start 2016-10-30 00:00:00 has no time zone"),
        ({"start": DAY, "end": DAY}, "is not after start"),
        ({"stations": ("IV.NRCA.00",)}, "write NETWORK.STATION"),
        ({"stations": ("",)}, "write NETWORK.STATION"),
        ({"channels": ("HHZ",)}, "two letters"),
        ({"region": {"min_latitude": 42.0}}, "give min_latitude, max_latitude"),
    ],
)
def test_a_malformed_question_says_what_is_wrong(asked: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Query(**asked)


def test_a_day_is_wanted_where_it_meets_the_period() -> None:
    query = Query(start=DAY + pd.Timedelta(hours=23), end=DAY + pd.Timedelta(days=2))
    days = [f"2016-10-{day}" for day in (29, 30, 31)]
    assert [query.wants_day(day) for day in [*days, "2016-11-01"]] == [False, True, True, False]


def test_stations_are_named_with_network_without_or_by_pattern() -> None:
    query = Query(stations=("IV.NRC?", "T12*", "MN.*"))
    wanted = [("IV", "NRCA"), ("8P", "T1244"), ("MN", "AQU")]
    assert all(query.wants(*codes) for codes in wanted)
    assert not any(query.wants(*codes) for codes in [("XX", "NRCA"), ("IV", "CESI"), ("8P", "AT12")])


def channels(*codes: str) -> list[tuple[str, str]]:
    return [(code.split(".")[0], code.split(".")[1] + component) for code in codes for component in code.split(".")[2]]


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ((".HN.ENZ", ".EH.ENZ", ".HH.ENZ"), ("", "HH")),
        ((".HN.ENZ", ".EH.ENZ", ".HH.EZ"), ("", "EH")),
        (("10.HH.ENZ", "00.HH.ENZ", ".EH.ENZ"), ("00", "HH")),
        (("00.HH.12Z", ".HH.ENZ"), ("", "HH")),
        ((".HH.12Z",), ("", "HH")),
        ((".HH.E", "00.HH.NZ"), None),
        ((".HH.E2Z",), None),
        ((".BH.ENZ",), None),
        (("42.?H.ENZ",), ("42", "?H")),
        (("42.?H.ENZ", "43.HH.ENZ"), ("43", "HH")),
        (("42.?H.ENZ", "43.EH.ENZ"), ("42", "?H")),
    ],
)
def test_the_first_wanted_band_with_three_components_is_taken(there: tuple, chosen: tuple | None) -> None:
    assert choose_band(channels(*there), ("HH", "EH", "HN")) == chosen


def test_station_days_are_sorted_and_what_has_no_band_is_said_station_by_station() -> None:
    whole, vertical = channels(".HH.ENZ"), channels(".EH.Z")
    there = {
        ("IV", "NRCA", "2016-10-31"): whole,
        ("IV", "NRCA", "2016-10-30"): whole,
        ("IV", "CESI", "2016-10-30"): vertical,
        ("IV", "CESI", "2016-10-31"): vertical,
        ("MN", "AQU", "2016-10-30"): whole,
    }
    units, lines = station_days(there, Query(stations=("IV.*",)))
    assert [unit.key for unit in units] == ["IV.NRCA..HH.2016-10-30", "IV.NRCA..HH.2016-10-31"]
    assert lines == ["IV.CESI: 2 days without three components of HH, EH, HN left out (there are EHZ)"]


@given(some.lists(some.text(max_size=5), min_size=4, max_size=4))
def test_a_units_name_is_a_file_name_whatever_the_codes_hold(codes: list[str]) -> None:
    key = StationDay(*codes, "2016-10-30").key
    assert not set(key) & set('/\\:*?"<>|\0 ')
    assert key.count(".") == 4
    assert Path("folder", key).resolve().parent == Path("folder").resolve()


def test_different_codes_never_share_a_name() -> None:
    one, other = StationDay("IV", "A.B", "", "HH", "2016-10-30"), StationDay("IV.A", "B", "", "HH", "2016-10-30")
    assert one.key != other.key
    assert TraceChunk(7, 3500, 4000).key == "traces-00007"


def test_each_scheme_gives_a_source_of_its_kind(tmp_path: Path) -> None:
    write_sds(tmp_path / "archive", make_stream(seconds=5))
    write_mseed(tmp_path / "files" / "a.mseed", make_stream(seconds=5))
    write_instance(tmp_path / "instance", rows=2, samples=100)
    for rest, kind in [("sds:archive", ContinuousSource), ("mseed:files", ContinuousSource)]:
        source = open_waveform_source(rest, folder=tmp_path)
        assert isinstance(source, kind)
        assert source.identity == rest
        assert [unit.key for unit in source.units(Query())] == ["IV.NRCA..HH.2016-10-30"]
    traces = open_waveform_source("instance:instance", folder=tmp_path)
    assert isinstance(traces, TraceSource)
    assert not isinstance(traces, ContinuousSource)
    assert str(tmp_path) not in traces.identity


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("archive", StudyError, 'no scheme; write "sds:archive"'),
        ("msed:a", StudyError, "did you mean 'mseed'"),
        ("sds:", StudyError, "no path"),
        ("sds:nowhere", DataFileError, "no such folder"),
        ("mseed:nowhere", DataFileError, "no such file or folder"),
        ("instance:nowhere", DataFileError, "no such file or folder"),
    ],
)
def test_a_source_that_cannot_be_opened_says_why(source: str, error: type, said: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=said):
        open_waveform_source(source, folder=tmp_path)


def test_a_new_scheme_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setitem(WAVEFORM_SOURCES, "tape", lambda rest, folder: opened.append((rest, folder)))
    open_waveform_source("tape:7", folder=Path("here"))
    assert opened == [("7", Path("here"))]
