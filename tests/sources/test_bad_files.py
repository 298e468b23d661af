"""Damaged, foreign and mistaken files: one line that names file, place and what to do, never a traceback."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
from collections.abc import Callable, Sized
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.errors import DataFileError, StudyError
from seisprobe.sources.files import FileSource
from seisprobe.sources.reading import read_catalog
from support import instance_metadata
from support.catalog_files import WRITERS, fdsn_text, horus_csv, mapped_csv, plain_csv, quakeml
from support.event_tables import random_events

EVENTS = random_events(7, 400)


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the message, after a look that it is one line of fit length."""
    message = str(error.value)
    assert "\n" not in message
    assert 20 < len(message) < 900
    return message


def refusal(path: Path, mapping: dict[str, str] | None = None) -> str:
    """Return what reading a file is refused with."""
    with pytest.raises(DataFileError) as error:
        read_catalog(path, mapping)
    assert path.name in str(error.value)
    return one_line(error)


def events_or_line(path: Path) -> Sized:
    """Return the events of a file, or the one line that refuses it; any other failure fails the test."""
    try:
        return list(read_catalog(path).events.index)
    except DataFileError as error:
        return str(error) if "\n" not in str(error) else ""


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_cut_compressed_file_is_refused(packer: str, share: float, tmp_path: Path) -> None:
    data = PACKERS[packer](horus_csv(EVENTS))
    (tmp_path / "c.csv.gz").write_bytes(data[: max(12, int(len(data) * share))])
    assert "copy or fetch it again" in refusal(tmp_path / "c.csv.gz")


@given(draw=st.data())
@settings(max_examples=40, deadline=None)
def test_flipped_bytes_in_a_compressed_file_give_its_events_or_one_line(
    draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    packed = bytearray(PACKERS[draw.draw(st.sampled_from(sorted(PACKERS)))](plain_csv(EVENTS.head(50))))
    for place in draw.draw(st.lists(st.integers(12, len(packed) - 1), min_size=1, max_size=4)):
        packed[place] ^= draw.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flipped") / "c.csv.gz"
    path.write_bytes(bytes(packed))
    assert len(events_or_line(path)) > 0


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_parquet_file_is_refused(share: float, tmp_path: Path) -> None:
    WRITERS["plain, Parquet"].write(EVENTS, tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "c.parquet").write_bytes(data[: int(len(data) * share)])
    assert re.search(r"not readable as Parquet .* copy or fetch it again", refusal(tmp_path / "c.parquet"))


def test_a_parquet_file_damaged_inside_is_refused(tmp_path: Path) -> None:
    WRITERS["plain, Parquet"].write(EVENTS, tmp_path / "c.parquet")
    data = bytearray((tmp_path / "c.parquet").read_bytes())
    data[4:2000] = bytes(1996)
    (tmp_path / "c.parquet").write_bytes(bytes(data))
    assert "not readable as Parquet" in refusal(tmp_path / "c.parquet")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_cut_quakeml_file_is_refused(share: float, tmp_path: Path) -> None:
    data = quakeml(EVENTS.head(5))
    (tmp_path / "c.xml").write_bytes(data[: int(len(data) * share)])
    assert "not readable as QuakeML" in refusal(tmp_path / "c.xml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n\n  \n", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (b"#EventID|Time|Latitude|Longitude|Depth/Km|Magnitude\n", "holds no events"),
        (b"time,latitude,longitude,magnitude", "holds no events"),
        (bytes(range(1, 256)) * 20, "neither text, Parquet nor QuakeML"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 file: name the metadata table"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"<html><body>502 Bad Gateway</body></html>", "not readable as QuakeML"),
        (b"<?xml version='1.0'?><FDSNStationXML><Network/></FDSNStationXML>", "not readable as QuakeML"),
        (b"# only\n# comments\n", "no header line"),
        (b'time,latitude,longitude,magnitude\n2016-01-01T00:00:00Z,1,1,"3\n', "EOF inside string"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[:12]),
)
def test_what_is_no_catalog_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_bytes(content)
    assert re.search(said, refusal(tmp_path / "catalog.csv"))


@given(content=st.binary(min_size=1, max_size=300))
@settings(max_examples=80, deadline=None)
def test_any_bytes_at_all_are_refused_in_one_line(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("rubbish") / "c"
    path.write_bytes(content)
    with pytest.raises(DataFileError) as error:
        read_catalog(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_refused_before_any_reading(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"nowhere\.csv: no such file; a catalog's path is relative to the study"):
        FileSource(tmp_path / "nowhere.csv")
    with pytest.raises(DataFileError, match="this is a folder; name the catalog file in it"):
        FileSource(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(plain_csv(EVENTS))
    (tmp_path / "c.csv").chmod(0)
    assert "Permission denied" in refusal(tmp_path / "c.csv")


# --- columns ---------------------------------------------------------------------------------------------------------


def test_an_unknown_header_lists_the_columns_and_the_mapping_to_paste(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(mapped_csv(EVENTS))
    message = refusal(tmp_path / "c.csv")
    assert 'its columns are "Mag", "Origin, local", "Lat."' in message
    assert (
        '[catalog] columns = {event_id = "ID", time = "?", latitude = "?", longitude = "?", magnitude = "Mag"'
        in message
    )


def test_the_mapping_that_the_message_proposes_works_when_it_could_be_guessed(tmp_path: Path) -> None:
    import tomllib

    text = plain_csv(EVENTS).replace(
        b"event_id,time,latitude,longitude,depth_km,magnitude,", b"id,Origin Time,LAT,Lon,Depth,Mw,"
    )
    (tmp_path / "c.csv").write_bytes(text)
    message = refusal(tmp_path / "c.csv")
    mapping = tomllib.loads(message[message.index("columns = {") :])["columns"]
    assert "?" not in mapping.values()
    pd.testing.assert_frame_equal(read_catalog(tmp_path / "c.csv", mapping).events, EVENTS)


def test_an_unknown_header_of_parquet_lists_its_columns(tmp_path: Path) -> None:
    WRITERS["mapped, Parquet"].write(EVENTS, tmp_path / "c.parquet")
    message = refusal(tmp_path / "c.parquet")
    assert 'time = "Origin", latitude = "latitude"' in message
    assert 'magnitude = "Mag"' in message


def test_a_commented_header_of_unknown_names_is_taken_for_the_header(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("#ID|When|Where\n1|2016-10-30T06:40:17|Norcia\n")
    assert 'its columns are "ID", "When", "Where"' in refusal(tmp_path / "c.txt")


def test_a_wide_unknown_table_shows_its_first_40_columns(tmp_path: Path) -> None:
    names = [f"column_{i}" for i in range(115)]
    (tmp_path / "c.csv").write_text(",".join(names) + "\n" + ",".join(["1"] * 115) + "\n")
    assert '"column_39" and 75 more;' in refusal(tmp_path / "c.csv")


def test_a_mapping_to_a_column_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(mapped_csv(EVENTS))
    message = refusal(tmp_path / "c.csv", {"time": "Origin, locl", "magnitude": "Mag"})
    assert (
        "[catalog] columns time = \"Origin, locl\": the file has no such column; did you mean 'Origin, local'?"
        in message
    )


def test_a_mapping_of_an_unknown_event_column_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(plain_csv(EVENTS))
    with pytest.raises(StudyError, match=r"unknown key 'depth'; did you mean 'depth_km'\?") as error:
        FileSource(tmp_path / "c.csv", columns={"depth": "Depth"})
    one_line(error)


def test_a_file_of_which_no_row_can_be_used_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("time,latitude,longitude,magnitude\n2016-10-30T06:40:17Z,95,13.1,6.5\n")
    message = refusal(tmp_path / "c.csv")
    assert "none of its 1 rows can be used" in message
    assert "the first in line 2: latitude '95'" in message


def test_noise_metadata_hold_no_events(tmp_path: Path) -> None:
    table = instance_metadata.traces(EVENTS.head(2), 2, noise_rows=5).slice(2)
    instance_metadata.write_parquet(table, tmp_path / "noise.parquet")
    assert "holds noise alone" in refusal(tmp_path / "noise.parquet")


def test_a_parquet_row_that_cannot_be_used_is_named_by_its_row(tmp_path: Path) -> None:
    events = EVENTS.copy()
    events.loc[6, "latitude"] = 95.0
    WRITERS["plain, Parquet"].write(events, tmp_path / "c.parquet")
    assert "the first in row 7: latitude 95.0" in read_catalog(tmp_path / "c.parquet").notes[0]


def test_a_bad_trace_of_instance_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    lines = instance_metadata.as_csv(instance_metadata.traces(EVENTS.head(10), 40)).decode().splitlines()
    names = [name.strip('"') for name in lines[0].split(",")]
    for number in range(30, 40):
        fields = lines[number].split(",")
        fields[names.index("source_magnitude")] = '"n/a"'
        lines[number] = ",".join(fields)
    fields = lines[1].split(",")
    lines.append(",".join(['"last"', *fields[1:]]).replace(fields[names.index("source_latitude_deg")], "95"))
    (tmp_path / "m.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    catalog = read_catalog(tmp_path / "m.csv.gz")
    assert any("the first in line 42: latitude '95'" in note for note in catalog.notes)


def test_quakeml_events_without_origin_are_counted(tmp_path: Path) -> None:
    from obspy import read_events

    (tmp_path / "c.xml").write_bytes(quakeml(EVENTS.head(3)))
    events = read_events(str(tmp_path / "c.xml"))
    events[1].origins, events[1].preferred_origin_id = [], None
    events[2].magnitudes, events[2].preferred_magnitude_id = [], None
    events.write(str(tmp_path / "c.xml"), format="QUAKEML")
    catalog = read_catalog(tmp_path / "c.xml")
    assert catalog.dropped == {"bad_time": 1, "no_magnitude": 1}
    assert any("bad_time, the first in event 2" in note for note in catalog.notes)


def test_reading_leaves_no_open_file(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    import gc

    (tmp_path / "c.txt").write_bytes(gzip.compress(fdsn_text(EVENTS)))
    read_catalog(tmp_path / "c.txt")
    gc.collect()
    assert not [w for w in recwarn if issubclass(w.category, ResourceWarning)]
