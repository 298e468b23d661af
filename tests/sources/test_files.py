"""Every layout of catalog files is read back as it was written; the real ones hold what they are known to hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.catalog import EVENT_COLUMNS, table_sha256
from seisprobe.errors import DataFileError
from seisprobe.sources.files import FileSource, write_fdsn_text
from seisprobe.sources.reading import read_catalog
from support import instance_metadata
from support.catalog_files import FDSN_KEEPS, SLOW_WRITERS, WRITERS, Writer, fdsn_text, horus_csv, plain_csv
from support.event_tables import event_table, event_tables, random_events
from support.shared import shared_file

UTC = "UTC"
EVERYWHERE = {"minlatitude": -90, "maxlatitude": 90, "minlongitude": -180, "maxlongitude": 180, "minmagnitude": -9}
ALWAYS = {"starttime": pd.Timestamp("1900-01-01", tz=UTC), "endtime": pd.Timestamp("2100-01-01", tz=UTC)}


def assert_same(read: pd.DataFrame, written: pd.DataFrame, columns: tuple[str, ...], **tolerance: float) -> None:
    """Compare event tables column by column; exactly, if no tolerance is given."""
    assert list(read.columns) == list(EVENT_COLUMNS)
    exact = tolerance or {"check_exact": True}
    pd.testing.assert_frame_equal(read[[*columns]], written[[*columns]], **exact)


@pytest.mark.parametrize("name", WRITERS)
@given(events=event_tables())
@settings(max_examples=12, deadline=None)
def test_whatever_is_written_in_a_layout_is_read_back_equal_to_the_last_bit(
    name: str, events: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    writer: Writer = WRITERS[name]
    # The extension lies: content alone decides.
    path = tmp_path_factory.mktemp("layout") / "catalog.dat"
    writer.write(events, path)
    catalog = read_catalog(path, writer.mapping)
    assert_same(catalog.events, events, writer.keeps)
    assert catalog.dropped == {}
    lost = set(EVENT_COLUMNS) - set(writer.keeps)
    assert all(catalog.events[column].isin([""]).all() for column in lost)


@pytest.mark.parametrize("name", SLOW_WRITERS)
@given(events=event_tables(max_events=5))
@settings(max_examples=6, deadline=None)
def test_instance_metadata_and_quakeml_are_read_back_one_row_an_event(
    name: str, events: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    writer = SLOW_WRITERS[name]
    path = tmp_path_factory.mktemp("layout") / "catalog"
    writer.write(events, path)
    catalog = read_catalog(path, writer.mapping)
    # QuakeML has depth in metres, which costs the last bit; text of Parquet floats is as short as exact.
    assert_same(catalog.events, events, writer.keeps, check_exact=False, rtol=1e-14, atol=1e-12)
    if name.startswith("instance"):
        assert catalog.dropped == {"noise": 4}
        assert f"{3 * len(events)} traces of {len(events)} events, and 4 of noise" in catalog.notes[0]


@given(events=event_tables())
@settings(max_examples=20, deadline=None)
def test_the_writer_of_fdsn_text_loses_nothing_that_the_format_holds(
    events: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("written") / "simulated.txt"
    write_fdsn_text(events, path)
    assert_same(read_catalog(path).events, events, FDSN_KEEPS)
    assert [p.name for p in path.parent.iterdir()] == ["simulated.txt"]


def test_the_written_text_is_what_an_event_service_would_send(tmp_path: Path) -> None:
    events = random_events(3, 20)
    write_fdsn_text(events, tmp_path / "ours.txt")
    sent = fdsn_text(events, place="").decode().replace("|SURVEY|", "||").replace("|--|", "||")
    assert (tmp_path / "ours.txt").read_text() == sent


def test_a_bar_or_line_break_in_a_text_does_not_break_the_written_table(tmp_path: Path) -> None:
    events = random_events(3, 2)
    events.loc[0, "event_id"] = "a|b\nc"
    write_fdsn_text(events, tmp_path / "ours.txt")
    assert read_catalog(tmp_path / "ours.txt").events["event_id"].tolist()[0] == "a b c"


# --- the source ------------------------------------------------------------------------------------------------------


def test_a_file_source_gives_half_open_times_and_closed_edges(tmp_path: Path) -> None:
    day = 86_400_000_000
    base = {"depth_km": 1.0, "magnitude_type": "ML", "event_type": "", "evaluation_mode": "", "evaluation_status": ""}
    rows = [
        {"event_id": "at start", "time": 0, "latitude": 41.5, "longitude": 11.5, "magnitude": 2.8},
        {"event_id": "inside", "time": day - 1, "latitude": 44.0, "longitude": 14.5, "magnitude": 2.9},
        {"event_id": "at end", "time": day, "latitude": 43.0, "longitude": 13.0, "magnitude": 5.0},
        {"event_id": "north", "time": 5, "latitude": 44.0001, "longitude": 13.0, "magnitude": 5.0},
        {"event_id": "small", "time": 6, "latitude": 43.0, "longitude": 13.0, "magnitude": 2.79},
    ]
    (tmp_path / "c.txt").write_bytes(fdsn_text(event_table([row | base for row in rows])))
    catalog = FileSource(tmp_path / "c.txt").get_events(
        starttime=pd.Timestamp(0, tz=UTC),
        endtime=pd.Timestamp("1970-01-02T01:00", tz="Europe/Rome"),
        minlatitude=41.5,
        maxlatitude=44.0,
        minlongitude=11.5,
        maxlongitude=14.5,
        minmagnitude=2.5 + 0.3,
    )
    assert catalog.events["event_id"].tolist() == ["at start", "inside"]


def test_identity_and_hash_name_the_file_without_its_folder(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.csv").write_bytes(plain_csv(random_events(1, 5)))
    one, two = (FileSource(tmp_path / folder / "c.csv") for folder in ("one", "two"))
    assert one.identity == two.identity == "file:c.csv"
    expected = hashlib.sha256((tmp_path / "one" / "c.csv").read_bytes()).hexdigest()
    assert one.sha256() == two.sha256() == expected


def test_the_same_events_have_the_same_table_whatever_file_they_come_in(tmp_path: Path) -> None:
    events = random_events(5, 30).assign(evaluation_mode="", evaluation_status="")
    sums = set()
    for name, writer in {**WRITERS, "instance": SLOW_WRITERS["instance, Parquet"]}.items():
        if set(writer.keeps) >= set(FDSN_KEEPS):
            writer.write(events, tmp_path / "c")
            sums.add(table_sha256(read_catalog(tmp_path / "c", writer.mapping).events))
            assert len(sums) == 1, name


# --- what rows mean --------------------------------------------------------------------------------------------------


def test_times_with_an_offset_are_converted_and_zoneless_ones_are_utc_and_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(
        "Origin,latitude,longitude,Mag\n"
        "2016-08-24T03:36:32.000001+02:00,42.7,13.2,6.0\n"
        "2016-10-26 19:18:07,42.9,13.1,5.9\n"
        "2016-10-30T06:40:17Z,42.8,13.1,6.5\n"
    )
    catalog = read_catalog(path, {"time": "Origin", "magnitude": "Mag"})
    assert [f"{t:%dT%H:%M:%S.%f}" for t in catalog.events["time"]] == [
        "24T01:36:32.000001",
        "26T19:18:07.000000",
        "30T06:40:17.000000",
    ]
    assert "c.csv: 1 time(s) carry no zone: taken as UTC" in catalog.notes


def test_formats_that_say_utc_need_no_note(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(horus_csv(random_events(1, 3)))
    assert read_catalog(tmp_path / "c").notes == ()


def test_a_zoneless_parquet_time_is_said_to_be_taken_as_utc(tmp_path: Path) -> None:
    WRITERS["plain, Parquet, times without a zone"].write(random_events(1, 3), tmp_path / "c")
    assert read_catalog(tmp_path / "c").notes == ("c: times carry no zone: taken as UTC",)


def test_a_date_without_a_time_of_day_is_no_time(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("time,latitude,longitude,magnitude\n2016-10-30,42.8,13.1,6.5\n")
    with pytest.raises(DataFileError, match="bad_time, the first in line 2: time '2016-10-30'"):
        read_catalog(tmp_path / "c.csv")


BAD_ROWS = [
    (",42.8,13.1,5,2.5,x", "bad_time", "time ''"),
    ("2016-13-01T00:00:00,42.8,13.1,5,2.5,x", "bad_time", "time '2016-13-01T00:00:00'"),
    ("yesterday,42.8,13.1,5,2.5,x", "bad_time", "time 'yesterday'"),
    ("1477809617,42.8,13.1,5,2.5,x", "bad_time", "time '1477809617'"),
    ("2016-10-30T06:40:17,95,13.1,5,2.5,x", "out_of_range", "latitude '95', longitude '13.1', magnitude '2.5'"),
    ("2016-10-30T06:40:17,42.8,-181,5,2.5,x", "out_of_range", "longitude '-181'"),
    ("2016-10-30T06:40:17,north,13.1,5,2.5,x", "out_of_range", "latitude 'north'"),
    ("2016-10-30T06:40:17,42.8,13.1,5,n/a,x", "no_magnitude", "magnitude 'n/a'"),
    ("2016-10-30T06:40:17,42.8,13.1,5,--,x", "no_magnitude", "magnitude '--'"),
    ("2016-10-30T06:40:17,42.8,13.1,5,,x", "no_magnitude", "magnitude ''"),
    ("2016-10-30T06:40:17,42.8,13.1", "no_magnitude", "magnitude ''"),
    ("2016-10-30T06:40:17,42.8,13.1,5,65,x", "out_of_range", "magnitude '65'"),
    ("2016-10-30T06:40:17,42.8,13.1,5,2.5,explosion", "not_an_earthquake", "event_type 'explosion'"),
]
HEAD = "time,latitude,longitude,depth_km,magnitude,event_type"
GOOD = "2016-10-30T06:40:17.32Z,42.83,13.11,9.2,6.5,earthquake"


@pytest.mark.parametrize("pack", ["plain", "gzip"])
@pytest.mark.parametrize(("row", "reason", "shown"), BAD_ROWS)
def test_a_row_that_cannot_be_used_is_counted_with_its_line_and_value(
    row: str, reason: str, shown: str, pack: str, tmp_path: Path
) -> None:
    import gzip

    # A blank line above and one more bad row below: the first one's own line is named.
    data = "\n".join([HEAD, GOOD, "", row, row, ""]).encode()
    (tmp_path / "c.csv").write_bytes(gzip.compress(data) if pack == "gzip" else data)
    catalog = read_catalog(tmp_path / "c.csv")
    assert len(catalog.events) == 1
    assert catalog.dropped == {reason: 2}
    note = next(note for note in catalog.notes if reason in note)
    assert note.startswith(f"c.csv: 2 row(s) dropped as {reason}, the first in line 4: ")
    assert shown in note


def test_rows_longer_than_the_header_are_read_and_said(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"{HEAD}\n{GOOD}\n{GOOD.replace('6.5', '5.5')},more,and more\n")
    catalog = read_catalog(tmp_path / "c.csv")
    assert catalog.events["magnitude"].tolist() == [5.5, 6.5]
    assert "c.csv: 1 row(s) have more than the header's 6 fields, the first in line 3: read by their first 6" in (
        catalog.notes
    )


def test_an_unquoted_comma_in_a_place_name_costs_no_event(tmp_path: Path) -> None:
    events = random_events(1, 4)
    text = fdsn_text(events, place="5 km NE Norcia (PG)").decode().replace("|", ",")
    first = text.splitlines()[1]
    text = text.replace(first, first.replace("Norcia (PG)", "Norcia, Umbria, (PG)"))
    text += (
        first.replace(events["event_id"][0], "1")
        .replace("Norcia (PG)", "Norcia, (PG)")
        .replace("earthquake", "explosion")
    )
    (tmp_path / "c.csv").write_text(text)
    catalog = read_catalog(tmp_path / "c.csv")
    assert_same(catalog.events, events, FDSN_KEEPS)
    assert catalog.dropped == {"not_an_earthquake": 1}
    assert "2 row(s) have more than the header's 14 fields, the first in line 2" in catalog.notes[0]


def test_missing_optional_columns_are_said(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("time,latitude,longitude,magnitude\n2016-10-30T06:40:17Z,42.8,13.1,6.5\n")
    catalog = read_catalog(tmp_path / "c.csv")
    assert catalog.notes == ("c.csv: no column for event_id and depth_km",)
    assert catalog.events["depth_km"].isna().all()


def test_an_event_that_stands_twice_counts_once(tmp_path: Path) -> None:
    events = random_events(2, 6)
    twice = fdsn_text(events) + b"\n".join(fdsn_text(events).splitlines()[3:5]) + b"\n"
    (tmp_path / "c.txt").write_bytes(twice)
    catalog = read_catalog(tmp_path / "c.txt")
    assert len(catalog.events) == 6
    assert catalog.dropped == {"duplicate": 2}


def test_latin_1_text_is_read_and_said(tmp_path: Path) -> None:
    events = random_events(1, 4)
    (tmp_path / "c.txt").write_bytes(fdsn_text(events).decode().encode("latin-1"))
    catalog = read_catalog(tmp_path / "c.txt")
    assert_same(catalog.events, events, FDSN_KEEPS)
    assert catalog.notes == ("c.txt: not in UTF-8: read as Latin-1",)


def test_comment_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    events = random_events(1, 4)
    (tmp_path / "c.txt").write_bytes(b"# fetched with care\n#\n\n" + fdsn_text(events))
    assert_same(read_catalog(tmp_path / "c.txt").events, events, FDSN_KEEPS)


def test_a_mapping_goes_before_what_the_layout_says(tmp_path: Path) -> None:
    events = random_events(1, 4)
    text = fdsn_text(events).decode().replace("|MagAuthor|", "|Mw|").replace("|--|", "|7.5|")
    (tmp_path / "c.txt").write_text(text)
    assert read_catalog(tmp_path / "c.txt", {"magnitude": "Mw"}).events["magnitude"].eq(7.5).all()


def test_identifiers_that_a_missing_one_turned_into_floats_are_whole_again(tmp_path: Path) -> None:
    events = random_events(1, 3)
    ids = events["event_id"].astype("float64")
    ids[1] = float("nan")
    events.assign(event_id=ids).to_parquet(tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet").events["event_id"].tolist() == [
        events["event_id"][0],
        "",
        events["event_id"][2],
    ]


def test_longitudes_of_0_to_360_become_180(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("time,latitude,longitude,magnitude\n2016-10-30T06:40:17Z,42.8,190.5,6.5\n")
    assert read_catalog(tmp_path / "c.csv").events["longitude"].tolist() == [-169.5]


@given(ids=st.lists(st.integers(1, 400), min_size=1, max_size=5, unique=True), text_numbers=st.booleans())
@settings(max_examples=8, deadline=None)
def test_instance_events_are_counted_once_whatever_the_number_of_their_traces(
    ids: list[int], text_numbers: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = random_events(len(ids), len(ids)).assign(event_id=pd.array([str(i) for i in ids], dtype="string"))
    path = tmp_path_factory.mktemp("instance") / "metadata.parquet"
    instance_metadata.write_parquet(instance_metadata.traces(events, 50, text_numbers=text_numbers), path)
    read = read_catalog(path).events
    assert_same(read, events, (*FDSN_KEEPS,))


def test_the_instance_table_is_as_wide_as_the_real_one() -> None:
    assert instance_metadata.traces(random_events(1, 5), 10).num_columns == 116


# --- real files ------------------------------------------------------------------------------------------------------

STUDY = {
    "starttime": pd.Timestamp("2016-01-01", tz=UTC),
    "endtime": pd.Timestamp("2018-01-01", tz=UTC),
    "minlatitude": 41.5,
    "maxlatitude": 44.0,
    "minlongitude": 11.5,
    "maxlongitude": 14.5,
    "minmagnitude": 2.5,
}


def test_the_ingv_catalog_of_the_study_box_holds_4067_events() -> None:
    source = FileSource(shared_file("data/catalogues/ingv_italy_m2.5_2015-2026.txt"))
    catalog = source.get_events(**STUDY)
    assert len(catalog.events) == 4067
    assert len(source.get_events(**ALWAYS, **EVERYWHERE).events) + sum(catalog.dropped.values()) == 11_435
    norcia = catalog.events.loc[catalog.events["magnitude"].idxmax()]
    assert (f"{norcia['time']:%Y-%m-%dT%H:%M:%S.%f}", norcia["magnitude_type"]) == ("2016-10-30T06:40:17.320000", "Mw")


def test_all_230027_rows_of_horus_load() -> None:
    source = FileSource(shared_file("data/catalogues/horus_norcia_box_2005-2019.csv.gz"))
    catalog = source.get_events(**ALWAYS, **EVERYWHERE)
    assert len(catalog.events) == 230_027
    assert catalog.dropped == {}
    assert catalog.events["magnitude"].agg(["min", "max"]).round(2).tolist() == [-1.13, 6.61]
