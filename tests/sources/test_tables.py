"""Timed tables: what is read as it stands, what is counted, what is refused and in which words."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.errors import DataFileError, SeisprobeError, StudyError
from seisprobe.sections import TableOptions
from seisprobe.sources.tables import TimedTable, read_timed_table
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
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, text, options, said):
    path = written(tmp_path, text)
    with pytest.raises(SeisprobeError) as caught:
        read(path, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path):
    with pytest.raises(DataFileError, match="no such file"):
        read(tmp_path / "herd.csv")
    with pytest.raises(DataFileError, match="this is a folder"):
        read(tmp_path)
