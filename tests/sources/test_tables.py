"""Timed tables: what is read as it stands, what is counted, what is refused and in which words."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.errors import DataFileError, SeisprobeError, StudyError
from seisprobe.sections import TableOptions
from seisprobe.sources.tables import TimedTable, check_table, read_timed_table
from support.herd import e_obs_text, herd

MINUTE_US = 60_000_000


def read(path: Path, **options) -> TimedTable:
    return read_timed_table(TableOptions(**{"name": "herd", "path": str(path), "zone": "UTC", **options}))


def rows_of(*rows: str, header: str = "time,x") -> str:
    return "\n".join([header, *rows]) + "\n"


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def stamps(table: TimedTable) -> list[str]:
    return pd.to_datetime(table.times, unit="us").strftime("%Y-%m-%dT%H:%M:%S").tolist()


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [["datetime", "cow", "dog", "sheep", "animal"],
                                     ["animal", "sheep", "datetime", "dog", "cow"]])  # fmt: skip
def test_the_published_layout_is_read_whatever_the_order_of_its_columns(tmp_path, columns):
    made = herd("2016-10-28T00:00Z", 3, local=False)
    made[columns].to_csv(tmp_path / "herd.csv", index=False)
    table = read(tmp_path / "herd.csv", time="datetime")
    assert sorted(table.columns) == ["animal", "cow", "dog", "sheep"]
    assert len(table.times) == 3 * 96
    assert table.sampling_us == table.known_after_us == 15 * MINUTE_US
    for name in table.columns:
        assert (table.values[:, table.columns.index(name)] == made[name]).all()


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "semicolon", "tab", "parquet", "parquet-zoned", "xlsx"])
def test_the_same_numbers_come_from_every_kind_of_file(tmp_path, kind):
    made = herd("2016-10-28T00:00Z", 2, local=False)
    made["datetime"] = pd.to_datetime(made["datetime"])
    path = tmp_path / "table"
    if kind == "parquet":
        made.to_parquet(path)
    elif kind == "parquet-zoned":
        made.assign(datetime=made["datetime"].dt.tz_localize("UTC").dt.tz_convert("Europe/Rome")).to_parquet(path)
    elif kind == "xlsx":
        made.to_excel(tmp_path / "t.xlsx", index=False)
        path = tmp_path / "t.xlsx"
    else:
        text = made.to_csv(index=False, sep={"semicolon": ";", "tab": "\t"}.get(kind, ","))
        path.write_bytes(gzip.compress(text.encode()) if kind == "csv.gz" else text.encode())
    table = read(path, time="datetime")
    assert stamps(table)[:2] == ["2016-10-28T00:00:00", "2016-10-28T00:15:00"]
    np.testing.assert_allclose(table.values, made[list(table.columns)].to_numpy(), rtol=1e-12)


def test_decimal_commas_are_numbers_where_semicolons_part_columns(tmp_path):
    path = written(tmp_path, rows_of("2016-10-28 00:00:00;0,5", "2016-10-28 00:15:00;1,25", header="time;x"))
    assert read(path).values.ravel().tolist() == [0.5, 1.25]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_whole_number_among_decimal_commas_is_a_number_too(tmp_path, delimiter):
    rows = [f"2016-10-28 00:{m:02d}:00{delimiter}{x}" for m, x in ((0, "0,7"), (15, "1"), (30, "n.a."), (45, "-2,5e1"))]
    table = read(written(tmp_path, rows_of(*rows, header=f"time{delimiter}x")))
    assert table.values.ravel()[[0, 1, 3]].tolist() == [0.7, 1.0, -25.0]
    assert table.dropped == {"not_a_number": 1}
    assert "t.csv: commas are read as decimal points in column(s) x" in table.notes


def test_commas_beside_points_are_no_decimal_commas(tmp_path):
    rows = [f"2016-10-28 00:{m:02d}:00;{x}" for m, x in ((0, "0.7"), (15, "1,234"), (30, "0.9"))]
    table = read(written(tmp_path, rows_of(*rows, header="time;x")))
    assert np.isnan(table.values[1, 0])
    assert table.dropped == {"not_a_number": 1}


@pytest.mark.parametrize("ending", ["\r", "\r\n"])
def test_lines_may_end_by_cr(tmp_path, ending):
    (tmp_path / "t.csv").write_bytes(rows_of(*TWO).replace("\n", ending).encode())
    assert read(tmp_path / "t.csv").values.ravel().tolist() == [1, 2]


@pytest.mark.parametrize("ending", ["", "\n"])
def test_times_in_the_column_without_a_name_are_read_where_the_study_says_so(tmp_path, ending):
    text = "\tcow\tdog\n2016-10-28 00:00:00\t1\t5\n2016-10-28 00:15:00\t2\t6" + ending
    table = read(written(tmp_path, text), time="")
    assert table.columns == ("cow", "dog")
    assert table.values.tolist() == [[1, 5], [2, 6]]


def test_a_clock_in_rome_is_put_on_utc(tmp_path):
    path = written(tmp_path, rows_of("2016-10-29 12:00:00,1", "2016-10-31 12:00:00,2"))
    assert stamps(read(path, zone="Europe/Rome")) == ["2016-10-29T10:00:00", "2016-10-31T11:00:00"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), groups=st.integers(1, 4))
def test_any_order_of_rows_gives_the_same_table(tmp_path_factory, seed, groups):
    folder = tmp_path_factory.mktemp("t")
    rng = np.random.default_rng(seed)
    times = pd.date_range("2016-10-28", periods=20, freq="15min").strftime("%Y-%m-%dT%H:%M:%SZ")
    made = pd.DataFrame({"time": np.repeat(times, groups), "who": [f"a{i % groups}" for i in range(20 * groups)],
                         "x": rng.normal(size=20 * groups)})  # fmt: skip
    made.to_csv(folder / "a.csv", index=False)
    made.sample(frac=1, random_state=seed % 1000).to_csv(folder / "b.csv", index=False)
    a, b = (read(folder / name, group="who") for name in ("a.csv", "b.csv"))
    assert a.groups == b.groups
    for one, other in ((a.times, b.times), (a.group, b.group), (a.values, b.values)):
        assert (one == other).all()


# --- what is counted -------------------------------------------------------------------------------------------------


def test_times_that_go_backwards_are_put_in_order_and_said(tmp_path):
    path = written(tmp_path, rows_of("2016-10-28 00:15:00,2", "2016-10-28 00:00:00,1", "2016-10-28 00:30:00,3"))
    table = read(path)
    assert table.values.ravel().tolist() == [1, 2, 3]
    assert table.notes == ("t.csv: 1 time(s) go backwards; rows are put in order of time",)


def test_a_row_that_stands_twice_is_taken_once_and_counted(tmp_path):
    path = written(tmp_path, rows_of("2016-10-28 00:00:00,1", "2016-10-28 00:00:00,1", "2016-10-28 00:15:00,2"))
    table = read(path)
    assert len(table.times) == 2
    assert table.dropped == {"duplicate": 1}
    assert "line 3" in table.notes[0]


def test_a_tag_that_stops_is_named(tmp_path):
    rows = [f"2016-10-{d:02d} 12:00:00,{who},{d + len(who)}"
            for who, last in (("cow", 31), ("doggy", 28)) for d in range(20, last + 1)]  # fmt: skip
    table = read(written(tmp_path, rows_of(*rows, header="time,who,x")), group="who", sampling_s=86400)
    assert table.groups == ("cow", "doggy")
    assert any("'doggy' stops at 2016-10-28T12:00:00Z" in note for note in table.notes)


def test_a_column_that_stops_is_named_as_a_tag_is(tmp_path):
    rows = [f"2016-10-{d:02d} 12:00:00,{d},{d if d < 28 else ''}" for d in range(20, 32)]
    table = read(written(tmp_path, rows_of(*rows, header="time,cow,dog")))
    said = "t.csv: 'dog' stops at 2016-10-27T12:00:00Z, before the table's end 2016-10-31T12:00:00Z"
    assert [note for note in table.notes if "stops" in note] == [said]


def test_a_column_that_stops_in_one_group_is_named_with_it(tmp_path):
    rows = [f"2016-10-{d:02d} 12:00:00,{who},{d},{d if d < 28 or who == 'a' else ''}"
            for who in "ab" for d in range(20, 32)]  # fmt: skip
    rows += [f"2016-10-{d:02d} 12:00:00,c,{d},{d}" for d in range(20, 25)]
    table = read(written(tmp_path, rows_of(*rows, header="time,who,x,y")), group="who", sampling_s=86400)
    assert [note.partition(",")[0] for note in table.notes if "stops" in note] == [
        "t.csv: 'c' stops at 2016-10-24T12:00:00Z", "t.csv: 'y' of 'b' stops at 2016-10-27T12:00:00Z"]  # fmt: skip


def test_numbers_too_large_to_square_are_none_and_counted(tmp_path):
    rows = [f"2016-10-28 00:{m:02d}:00,{x}"
            for m, x in ((0, "1"), (15, "1.7976931348623157e+308"), (30, "-1e160"), (45, "2"))]  # fmt: skip
    table = read(written(tmp_path, rows_of(*rows)))
    assert np.isnan(table.values[1:3]).all()
    assert table.dropped == {"not_a_number": 2}
    assert "2 cell(s) of 'x' hold no number, first in line 3: '1.7976931348623157e+308'" in table.notes[0]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("year", ["0001", "1799", "2201", "9999"])
def test_years_that_no_instrument_saw_are_bad_times(tmp_path, zone, year):
    path = written(tmp_path, rows_of(*TWO, f"{year}-12-31 23:59:59,3", f"{year}-01-01 00:00:00,4"))
    table = read(path, zone=zone)
    assert len(table.times) == 2
    assert table.dropped == {"bad_time": 2}
    assert "of the years 1800 to 2200" in table.notes[0]
    made = pd.read_csv(path)
    made["time"] = pd.to_datetime(made["time"]).dt.as_unit("s")
    made.to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", zone=zone).dropped == {"bad_time": 2}


def test_years_out_of_range_that_carry_an_offset_are_bad_times(tmp_path):
    rows = [*(row.replace(",", "Z,") for row in TWO), "9999-12-31 23:59:59-12:00,3", "0001-01-01 00:00:00+14:00,4"]
    assert read(written(tmp_path, rows_of(*rows)), zone=None).dropped == {"bad_time": 2}


def test_columns_without_a_name_are_left_out_with_a_line(tmp_path):
    made = herd("2016-10-28T00:00Z", 1, local=False)
    made.to_csv(tmp_path / "t.csv")
    said = "t.csv: 1 column(s) without a name left out: an index, or what stands behind the last name"
    table = read(tmp_path / "t.csv", time="datetime")
    assert table.columns == ("cow", "dog", "sheep", "animal")
    assert table.notes == (said,)
    made.iloc[::2].to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", time="datetime").columns == table.columns
    trailing = read(written(tmp_path, rows_of(*(row + "," for row in TWO), header="time,x,"), "c.csv"))
    assert trailing.notes == (said.replace("t.csv", "c.csv"),)


def test_declared_and_real_spacing_that_differ_are_both_named_and_the_finer_counts(tmp_path):
    path = written(tmp_path, rows_of(*(f"2016-10-28 {h:02d}:00:00,{h}" for h in range(24))))
    coarse, fine = read(path, sampling_s=7200.0), read(path, sampling_s=900.0)
    said = "t.csv: rows are 3600 s apart (median), sampling_s = {}: coverage is counted by {} s a row"
    assert coarse.notes == (said.format(7200, 3600),)
    assert (coarse.sampling_us, coarse.known_after_us) == (60 * MINUTE_US, 120 * MINUTE_US)
    assert fine.notes == (said.format(900, 900),)
    assert read(path, sampling_s=3000.0).notes == ()


def test_lines_are_those_of_the_file_whatever_cells_and_blanks_are_in_front(tmp_path):
    text = '\n\ntime,x,said\n2016-10-28 00:00:00,1,"two\nlines"\n2016-10-28 00:15:00,lost,a\n2016-10-28 00:30:00,2,b\n'
    table = read(written(tmp_path, text))
    assert "first in line 6: 'lost'" in table.notes[0]
    assert "t.csv: 1 cell(s) of 'said' span lines: a quote in line 4 takes in 1 more" in table.notes
    assert not any("\n" in note for note in table.notes)


def test_a_constant_column_is_left_out_and_counted(tmp_path):
    path = written(tmp_path, rows_of("2016-10-28 00:00:00,1,5", "2016-10-28 00:15:00,2,5", header="time,x,tag"))
    table = read(path)
    assert table.columns == ("x",)
    assert table.dropped == {"constant_column": 1}
    assert table.notes == ("t.csv: constant column(s) left out: tag",)


def test_cells_and_times_that_cannot_be_read_are_counted_with_their_line(tmp_path):
    path = written(tmp_path, rows_of("2016-10-28 00:00:00,1", "yesterday,2", "2016-10-28 00:15:00,lost",
                                     "2016-10-28 00:30:00,3"))  # fmt: skip
    table = read(path)
    assert np.isnan(table.values[1, 0])
    assert table.dropped == {"bad_time": 1, "not_a_number": 1}
    assert "first in line 3: 'yesterday'" in table.notes[0]
    assert "line 4: 'lost'" in table.notes[1]


def test_one_animal_that_stands_for_a_species_is_named(tmp_path):
    text, _ = e_obs_text("2016-10-28T00:00Z", 240, animals=(("a", "cow"), ("b", "cow"), ("c", "dog")))
    table = read(written(tmp_path, text), layout="e-obs")
    assert any("one animal stands for Canis familiaris" in note for note in table.notes)
    assert not any("Bos taurus" in note for note in table.notes)


# --- daylight saving -------------------------------------------------------------------------------------------------

NIGHT = [f"2016-10-30 {clock}:00,{i}" for i, clock in enumerate(("01:30", "02:00", "02:30", "02:00", "02:30", "03:00"))]


def test_the_hour_that_daylight_saving_repeats_is_refused_until_a_rule_is_named(tmp_path):
    path = written(tmp_path, rows_of(*NIGHT))
    with pytest.raises(StudyError, match=r"4 time\(s\), the first 2016-10-30 02:00:00 in line 3, that daylight saving"):
        read(path, zone="Europe/Rome")
    dropped = read(path, zone="Europe/Rome", daylight_saving="drop")
    assert stamps(dropped) == ["2016-10-29T23:30:00", "2016-10-30T02:00:00"]
    assert dropped.dropped == {"daylight_saving_overlap": 4}
    told = read(path, zone="Europe/Rome", daylight_saving="order")
    assert told.values.ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert (np.diff(told.times) == 30 * MINUTE_US).all()


def test_a_repeated_hour_that_stands_once_is_not_guessed(tmp_path):
    path = written(tmp_path, rows_of(*NIGHT[:3], NIGHT[-1]))
    with pytest.raises(StudyError, match="the order of rows does not tell"):
        read(path, zone="Europe/Rome", daylight_saving="order")


def night(*clocks: str) -> str:
    return rows_of(*(f"2016-10-30 {clock}:00,{i}" for i, clock in enumerate(clocks)))


def test_one_row_an_hour_shows_the_clock_twice_and_is_told_by_order(tmp_path):
    told = read(written(tmp_path, night("01:00", "02:00", "02:00", "03:00")), zone="Europe/Rome",
                daylight_saving="order")  # fmt: skip
    assert stamps(told) == [f"2016-10-{d}T{h}:00:00" for d, h in ((29, 23), (30, "00"), (30, "01"), (30, "02"))]
    assert told.values.ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seconds", [0, 7])
def test_passes_that_share_no_clock_time_are_told_where_rows_go_on_evenly(tmp_path, seconds):
    times = pd.date_range("2016-10-29T22:00Z", periods=24, freq=f"{900 + seconds}s").tz_convert("Europe/Rome")
    rows = [f"{time:%Y-%m-%d %H:%M:%S},{i}" for i, time in enumerate(times)]
    told = read(written(tmp_path, rows_of(*rows)), zone="Europe/Rome", daylight_saving="order")
    assert (np.diff(told.times) == (900 + seconds) * 1_000_000).all()


@pytest.mark.parametrize(
    "text",
    [
        night("03:00", "02:30", "02:00", "01:30"),  # descending, one pass
        night("03:00", "02:30", "02:00", "02:30", "02:00", "01:30"),  # descending, both
        night("03:00", "02:00", "02:00", "01:00"),
        night("01:45", "02:00", "02:30", "02:15", "02:45", "03:00"),  # two rows swapped within one pass
        night("01:45", "02:00", "02:15", "02:00", "02:15", "01:50", "03:00"),
        night("01:30", "02:00", "02:30", "02:30", "03:00"),
        rows_of(
            *(f"2016-10-30 {c}:00,{x}" for c, x in (("01:45", 9), *(("02:00", 0), ("02:30", 1)) * 2, ("03:00", 5)))
        ),
    ],
)
def test_an_order_that_does_not_tell_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(StudyError, match="the order of rows does not tell which pass it is: daylight_saving = 'drop'"):
        read(written(tmp_path, text), zone="Europe/Rome", daylight_saving="order")


def test_each_group_has_an_order_of_its_own(tmp_path):
    clocks = ("01:30", "02:00", "02:30", "02:00", "02:30", "03:00")
    rows = [f"2016-10-30 {clock}:00,{who},{i + ord(who)}" for i, clock in enumerate(clocks) for who in "ab"]
    options = {"zone": "Europe/Rome", "daylight_saving": "order", "group": "who"}
    table = read(written(tmp_path, rows_of(*rows, header="time,who,x")), **options)
    assert (np.diff(table.times[table.group == 0]) == 30 * MINUTE_US).all()
    rows[2], rows[4] = rows[4], rows[2]  # the first pass of one group, backwards
    with pytest.raises(StudyError, match="the order of rows does not tell"):
        read(written(tmp_path, rows_of(*rows, header="time,who,x")), **options)


def test_an_hour_that_daylight_saving_leaves_out_is_refused(tmp_path):
    path = written(tmp_path, rows_of("2017-03-26 01:30:00,1", "2017-03-26 02:30:00,2", "2017-03-26 03:30:00,3"))
    for rule in ("refuse", "order"):
        with pytest.raises(StudyError, match="that daylight saving leaves out in Europe/Rome"):
            read(path, zone="Europe/Rome", daylight_saving=rule)
    assert read(path, zone="Europe/Rome", daylight_saving="drop").dropped == {"daylight_saving_gap": 1}
    assert len(read(path, zone="Etc/GMT-1").times) == 3


# --- what is refused -------------------------------------------------------------------------------------------------

TWO = ("2016-10-28 00:00:00,1", "2016-10-28 00:15:00,2")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (rows_of(*TWO), {"zone": None}, "carry no zone; write zone = 'UTC'"),
        (rows_of(*TWO), {"zone": "Europe/Roma"}, "did you mean 'Europe/Rome'"),
        (rows_of(TWO[0], "2016-10-28T00:15:00Z,2"), {}, "mixes times with a zone (line 3"),
        (rows_of(*TWO), {"time": "datetime"}, "no such column in t.csv; did you mean 'time'?"),
        (rows_of(*TWO), {"group": "animal"}, "group = 'animal': no such column"),
        (rows_of(*TWO), {"values": ("cow",)}, "values: no column 'cow'"),
        (rows_of(TWO[0], "2016-10-28 00:00:00,2"), {}, "have the time of another and other values"),
        (rows_of("2016-10-28 00:00:00,5", "2016-10-28 00:15:00,5"), {}, "every column of values is constant (x)"),
        (rows_of("2016-10-28 00:00:00,a", "2016-10-28 00:15:00,b"), {}, "column(s) without numbers: x"),
        (rows_of("a,1", "b,2"), {}, "none of its 2 row(s) has a time that can be used"),
        (rows_of(), {}, "holds no row below its header"),
        (rows_of(*TWO, header="time,x,x").replace(",1", ",1,1"), {}, "column 'x' stands twice"),
        ("", {}, "the file is empty"),
        ("time,x\n2016-10-28 00:00:00,1,2,3\n", {}, "the file is damaged"),
        ("\x00\x01\x02", {}, "neither text, Parquet nor Excel"),
        ("PAR1 not really", {}, "not readable as Parquet"),
        ("PK\x03\x04 not really", {}, "not readable as Excel"),
        ("time," + "x" * 200_000, {}, "its first line is no header"),
        (rows_of("vä,1", "b,2").encode("latin-1"), {}, "that can be used: 2 row(s) left out as bad_time"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, text, options, said):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SeisprobeError) as caught:
        read(path, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path):
    with pytest.raises(DataFileError, match="no such file"):
        read(tmp_path / "herd.csv")
    with pytest.raises(DataFileError, match="this is a folder"):
        read(tmp_path)


def test_a_path_that_is_too_long_is_one_short_line(tmp_path):
    with pytest.raises(DataFileError, match=r"…: cannot be opened \(File name too long\)") as caught:
        read(tmp_path / ("x" * 300))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_archive_is_refused_wherever_the_damage_is(tmp_path, pack):
    whole = pack(herd("2016-10-28T00:00Z", 10, local=False).to_csv(index=False).encode())
    refused = 0
    for place in range(12, len(whole), len(whole) // 40):
        (tmp_path / "t.csv").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read(tmp_path / "t.csv", time="datetime")
        except DataFileError as error:
            refused += "the file is damaged" in str(error)
    assert refused >= 39


def test_a_stray_quote_that_takes_in_rows_is_named_with_its_line(tmp_path):
    lines = herd("2016-10-28T00:00Z", 10, local=False).to_csv(index=False).splitlines()
    lines[50] = lines[50].replace(",", ',"', 1)
    lines[900] += '"'
    with pytest.raises(DataFileError) as caught:
        read(written(tmp_path, "\n".join(lines)), time="datetime")
    assert str(caught.value) == (
        "t.csv: 1 cell(s) of 'cow' span lines: a quote in line 51 takes in 850 more; take stray quotes out of the file"
    )


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "xlsx"])
def test_a_header_is_checked_without_a_row_being_read(tmp_path, kind):
    made = herd("2016-10-28T00:00Z", 1, local=False).rename(columns={"cow": "väche"})
    path = tmp_path / f"t.{kind}"
    if kind in ("parquet", "xlsx"):
        getattr(made, {"parquet": "to_parquet", "xlsx": "to_excel"}[kind])(path, index=False)
    else:
        made.to_csv(path, index=False)
    options = {"name": "herd", "path": str(path), "time": "datetime"}
    check_table(TableOptions(**options, values=("väche", "dog")))
    for more, said in (
        ({"values": ("horse",)}, "no column 'horse'"),
        ({"time": "when"}, "time = 'when': no such column"),
        ({"group": "tag"}, "group = 'tag': no such column"),
        ({"zone": "Europe/Roma"}, "no such time zone"),
    ):
        with pytest.raises(StudyError, match=said):
            check_table(TableOptions(**options | more))
    with pytest.raises(DataFileError, match="no such file"):
        check_table(TableOptions(name="herd", path=str(tmp_path / "nowhere.csv")))
