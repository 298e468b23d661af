"""A study names its source by scheme; a new scheme is one entry in the registry."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from seisprobe.catalog import Catalog, select_events
from seisprobe.errors import DataFileError, StudyError
from seisprobe.sources import EVENT_SOURCES, open_event_source
from seisprobe.sources.fdsn import FdsnSource
from seisprobe.sources.files import FileSource
from support.catalog_files import MAPPING, mapped_csv, plain_csv
from support.event_tables import random_events
from support.fdsn_server import EventService, FdsnServer

EVENTS = random_events(1, 40)
QUESTION = {
    "starttime": pd.Timestamp("2016-03-01", tz="UTC"),
    "endtime": pd.Timestamp("2016-09-01", tz="UTC"),
    "minlatitude": 42.0,
    "maxlatitude": 43.5,
    "minlongitude": 11.5,
    "maxlongitude": 13.5,
    "minmagnitude": 1.2,
}


def test_a_file_and_a_service_that_hold_the_same_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    events = EVENTS.assign(evaluation_mode="", evaluation_status="")
    (tmp_path / "c.csv").write_bytes(plain_csv(events))
    with FdsnServer({"event": EventService(events)}) as server:
        service = open_event_source(f"fdsn:{server.url}", folder=tmp_path, parts=tmp_path / "parts")
        fetched = service.get_events(**QUESTION)
    file = open_event_source("file:c.csv", folder=tmp_path)
    assert isinstance(service, FdsnSource)
    assert isinstance(file, FileSource)
    read = file.get_events(**QUESTION)
    assert len(read.events) > 3
    pd.testing.assert_frame_equal(read.events.astype("object"), fetched.events.astype("object"))
    assert service.identity == f"fdsn:{server.url}"


def test_a_new_scheme_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Simulated:
        identity = "simulated:3"

        def get_events(self, *, starttime: pd.Timestamp, endtime: pd.Timestamp, **_: float) -> Catalog:
            return Catalog(select_events(EVENTS, start=starttime, end=endtime))

    monkeypatch.setitem(EVENT_SOURCES, "simulated", lambda rest, **_: Simulated())
    assert len(open_event_source("simulated:3", folder=Path()).get_events(**QUESTION).events) > 3


def test_paths_are_relative_to_the_folder_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "c.csv").write_bytes(plain_csv(EVENTS))
    monkeypatch.chdir(tmp_path)
    assert open_event_source("file:../c.csv", folder=Path("studies")).identity == "file:c.csv"
    assert open_event_source(f"file:{tmp_path / 'c.csv'}", folder=Path("studies")).identity == "file:c.csv"
    with pytest.raises(DataFileError, match="no such file"):
        open_event_source("file:c.csv", folder=Path("studies"))


def test_a_mapping_reaches_the_file_and_is_refused_for_a_service(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(mapped_csv(EVENTS))
    source = open_event_source("file:c.csv", folder=tmp_path, columns=MAPPING)
    assert len(source.get_events(**QUESTION).events) > 3
    with pytest.raises(StudyError, match="columns: not for source"):
        open_event_source("fdsn:INGV", folder=tmp_path, columns=MAPPING)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("fsdn:INGV", "no such scheme; did you mean 'fdsn'\\? \\(known: file, fdsn\\)"),
        ("c.csv", 'no scheme; write "file:c.csv" for a file, or "fdsn:INGV"'),
        ("", "no scheme"),
        ("file:", "no path"),
        ("fdsn:", "no such data centre"),
        ("fdsn:INGB", "no such data centre; did you mean 'INGV'\\?"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused_with_the_nearest(source: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=said) as error:
        open_event_source(source, folder=tmp_path)
    assert "\n" not in str(error.value)
