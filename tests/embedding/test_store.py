"""The store: what was written is read, whatever was written before, crashed in between or does not belong there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from seisprobe.embedding.segments import cut_segments
from seisprobe.embedding.store import Store, changed_settings, open_store, stores
from seisprobe.errors import DataFileError, FolderError, InputError, StorageError
from support.embeddings import seconds

SETTINGS = {"encoder": {"encoder": "made-up", "batch": 4}, "dtype": "float32", "source": "sds"}
DAYS = ("2016-10-29", "2016-10-30")
STATIONS = ("NRCA", "CESI")
WIDTH = 3


def rows(day: str, minutes: list[int], station: str = "NRCA", lost: tuple[int, ...] = ()) -> pd.DataFrame:
    """Return the table of some minutes of a day, those in `lost` dropped."""
    table = cut_segments([], seconds(day) + 60 * np.array(minutes, int)).table
    table["network"], table["station"] = "IV", station
    table["reason"] = ["gap" if minute in lost else "" for minute in minutes]
    return table


def vectors(n: int, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def unit(station: str, day: str) -> str:
    return f"IV.{station}..HH.{day}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, SETTINGS)


def test_a_part_holds_what_was_written_and_says_what_made_it(store: Store) -> None:
    table, values = rows(DAYS[0], [0, 1, 2], lost=(1,)), vectors(2)
    path = store.write(unit("NRCA", DAYS[0]), 0, table, {"vector": values})
    assert path == store.folder / "IV.NRCA..HH.2016-10-29.0.parquet"
    again, read = store.read([unit("NRCA", DAYS[0])])
    pd.testing.assert_frame_equal(again, table)
    assert np.array_equal(read, values)
    assert open_store(store.folder).settings == SETTINGS


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_parts_are_split_streams_under_zstd_without_dictionary_and_hold_null_where_a_segment_was_dropped(
    dtype: str, tmp_path: Path
) -> None:
    store = Store(tmp_path, {**SETTINGS, "dtype": dtype})
    store.write("k.2016-10-30", 0, rows(DAYS[0], [0, 1, 2], lost=(1,)), {"vector": vectors(2)})
    with pq.ParquetFile(store.path("k.2016-10-30", 0)) as file:
        group = file.metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert not any("DICT" in name for column in columns.values() for name in column.encodings)
        assert "BYTE_STREAM_SPLIT" in columns["vector.list.element"].encodings
        schema, arrow = file.schema_arrow, file.read()
    short = {"float16": "halffloat", "float32": "float"}[dtype]
    assert str(schema.field("vector").type) == f"fixed_size_list<element: {short}>[3]"
    assert str(schema.field("start").type) == "timestamp[us, tz=UTC]"
    assert arrow["vector"].is_null().to_pylist() == [False, True, False]


def test_a_later_part_joins_the_first_in_order_of_time(store: Store) -> None:
    key = unit("NRCA", DAYS[0])
    store.write(key, 0, rows(DAYS[0], [1, 4, 7], lost=(4,)), {"vector": vectors(2, 1)})
    store.write(key, 1, rows(DAYS[0], [0, 5]), {"vector": vectors(2, 2)})
    table, read = store.read([key])
    assert ((table.start - table.start[0]).dt.total_seconds() / 60).tolist() == [0, 1, 4, 5, 7]
    expected = [vectors(2, 2)[0], vectors(2, 1)[0], vectors(2, 2)[1], vectors(2, 1)[1]]
    assert np.array_equal(read, expected)
    assert store.starts(key).tolist() == [seconds(DAYS[0]) + 60 * m for m in (0, 1, 4, 5, 7)]


def test_a_window_opens_only_the_parts_of_its_station_and_days(store: Store) -> None:
    for station in STATIONS:
        for seed, day in enumerate(("2016-10-28", *DAYS, "2016-10-31")):
            store.write(unit(station, day), 0, rows(day, [0, 1, 1438, 1439], station), {"vector": vectors(4, seed)})
    for path in store.folder.glob("*.parquet"):
        if not path.name.startswith((unit("NRCA", DAYS[0]), unit("NRCA", DAYS[1]))):
            path.write_bytes(b"reading this fails")
    start, end = pd.Timestamp("2016-10-29T23:58:30Z"), pd.Timestamp("2016-10-30T00:02:00Z")
    table, read = store.read_window("IV", "NRCA", start, end)
    assert table.start.dt.strftime("%H:%M").tolist() == ["23:59", "00:00", "00:01"]
    assert np.array_equal(read, [vectors(4, 1)[3], vectors(4, 2)[0], vectors(4, 2)[1]])
    with pytest.raises(DataFileError, match=r"cannot be read as Parquet .* delete it and run again"):
        store.read_window("IV", "NRCA", start - pd.Timedelta(days=1), end)


def test_a_window_that_ends_at_midnight_does_not_open_the_next_day_in_vain(store: Store) -> None:
    store.write(unit("NRCA", DAYS[0]), 0, rows(DAYS[0], [1439]), {"vector": vectors(1)})
    store.path(unit("NRCA", DAYS[1]), 0).write_bytes(b"reading this fails")
    table, _ = store.read_window("IV", "NRCA", pd.Timestamp(DAYS[0], tz="UTC"), pd.Timestamp(DAYS[1], tz="UTC"))
    assert len(table) == 1


def test_a_part_of_another_encoder_is_refused_and_the_settings_that_differ_are_named(
    store: Store, tmp_path: Path
) -> None:
    other = Store(tmp_path, {**SETTINGS, "encoder": {"encoder": "made-up", "batch": 8}, "scale": 2.0})
    path = other.write(unit("NRCA", DAYS[0]), 0, rows(DAYS[0], [0]), {"vector": vectors(1)})
    store.write(unit("CESI", DAYS[0]), 0, rows(DAYS[0], [0]), {"vector": vectors(1)})
    shutil.copy(path, store.folder)
    for read in (store.starts, lambda key: store.read([key]), store.requests, lambda _: store.summary()):
        with pytest.raises(FolderError, match=r"made by other settings \(encoder.batch, scale\); move it away"):
            read(unit("NRCA", DAYS[0]))
    assert len(store.read([unit("CESI", DAYS[0])])[0]) == 1


def test_a_parquet_file_of_somebody_else_is_refused(store: Store) -> None:
    store.folder.mkdir(parents=True)
    pd.DataFrame({"start": [1]}).to_parquet(store.path("x", 0))
    with pytest.raises(FolderError, match=r"is no part of a store of seisprobe"):
        store.starts("x")
    with pytest.raises(FolderError, match=r"is no part of a store of seisprobe"):
        open_store(store.folder)


def test_numbers_that_float16_cannot_hold_are_refused_not_written_as_infinity(tmp_path: Path) -> None:
    store = Store(tmp_path, {**SETTINGS, "dtype": "float16"})
    with pytest.raises(InputError, match=r"vector holds numbers that float16 cannot; give dtype = float32"):
        store.write("k", 0, rows(DAYS[0], [0]), {"vector": np.full((1, 2), 1e5)})
    assert stores(tmp_path) == []


def test_an_unknown_number_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dtype = 'int8': give one of float16, float32"):
        Store(tmp_path, {"dtype": "int8"})


def test_a_part_that_cannot_be_written_leaves_nothing_behind(store: Store) -> None:
    store.folder.parent.mkdir(parents=True, exist_ok=True)
    store.folder.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot be written"):
        store.write("k", 0, rows(DAYS[0], [0]), {"vector": vectors(1)})
    assert [path.name for path in store.folder.parent.iterdir()] == [store.fingerprint]


def test_a_column_that_is_not_there_is_named_with_those_that_are(store: Store) -> None:
    store.write("k", 0, rows(DAYS[0], [0]), {"vector": vectors(1)})
    with pytest.raises(InputError, match="has no metadata_vector; it holds vector"):
        store.read(["k"], ("metadata_vector",))


def test_settings_are_compared_key_by_key() -> None:
    assert changed_settings({"a": {"b": {"c": 1}}, "d": None}, {"a": {"b": {"c": 2}}}) == ["a.b.c", "d"]
    assert changed_settings(SETTINGS, SETTINGS) == []


class StoreMachine(RuleBasedStateMachine):
    """A store beside a dictionary: unit → minute → (reason, vector), whatever happens to the folder in between."""

    units = Bundle("units")

    @initialize()
    def make(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.store = Store(self.root, SETTINGS)
        self.model: dict[str, dict[int, tuple[str, bytes]]] = {}
        self.foreign: set[str] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    @rule(
        station=st.sampled_from(STATIONS),
        day=st.sampled_from(DAYS),
        minutes=st.lists(st.integers(0, 1439), unique=True, min_size=0, max_size=6),
        lost=st.integers(0, 3),
        seed=st.integers(0, 999),
    )
    def write_what_is_missing(self, station: str, day: str, minutes: list[int], lost: int, seed: int) -> None:
        key = unit(station, day)
        if key in self.foreign:
            return
        had = set(self.store.starts(key).tolist())
        new = sorted(minute for minute in minutes if seconds(day) + 60 * minute not in had)
        if not new:
            return
        table = rows(day, new, station, tuple(new[:lost]))
        values = vectors(len(new[lost:]), seed)
        numbers = self.store.part_numbers(key)
        self.store.write(key, len(numbers), table, {"vector": values}, request=str(seed))
        known = self.model.setdefault(key, {})
        known |= dict.fromkeys(new[:lost], ("gap", b""))
        known |= {minute: ("", value.tobytes()) for minute, value in zip(new[lost:], values, strict=True)}

    @rule()
    def open_again(self) -> None:
        self.store = Store(self.root, SETTINGS)

    @rule(name=st.sampled_from(["IV.NRCA..HH.2016-10-29.0.parquet", "x"]), size=st.integers(0, 50))
    def crash_while_writing(self, name: str, size: int) -> None:
        self.store.folder.mkdir(parents=True, exist_ok=True)
        (self.store.folder / f".{name}.123.tmp").write_bytes(b"PAR1" * size)

    @rule()
    def clean(self) -> None:
        self.store.clean()
        assert not list(self.store.folder.glob(".*"))

    @rule(station=st.sampled_from(STATIONS), day=st.sampled_from(DAYS))
    def another_encoder_puts_a_part_here(self, station: str, day: str) -> None:
        key = unit(station, day)
        other = Store(self.root / "elsewhere", {**SETTINGS, "source": "other"})
        path = other.write(key, 0, rows(day, [0]), {"vector": vectors(1)})
        if key in self.model or key in self.foreign:
            return
        self.store.folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, self.store.folder)
        self.foreign.add(key)

    @rule()
    def the_foreign_parts_are_moved_away(self) -> None:
        for key in self.foreign:
            self.store.path(key, 0).unlink()
        self.foreign.clear()

    @rule(first=st.integers(-100, 2980), length=st.integers(1, 1600), station=st.sampled_from(STATIONS))
    def read_a_window(self, first: int, length: int, station: str) -> None:
        start = pd.Timestamp(DAYS[0], tz="UTC") + pd.Timedelta(minutes=first)
        end = start + pd.Timedelta(minutes=length)
        if any(key.startswith(f"IV.{station}.") for key in self.foreign):
            return
        table, values = self.store.read_window("IV", station, start, end)
        expected = [
            (1440 * number + minute, *row)
            for number, day in enumerate(DAYS)
            for minute, row in sorted(self.model.get(unit(station, day), {}).items())
            if first <= 1440 * number + minute and 1440 * number + minute + 1 <= first + length
        ]
        self.compare(table, values, expected)

    @invariant()
    def every_unit_holds_what_the_model_holds(self) -> None:
        assert set(self.store.units()) == set(self.model) | self.foreign
        for key, known in self.model.items():
            day = DAYS.index(key[-10:])
            self.compare(*self.store.read([key]), [(1440 * day + m, *row) for m, row in sorted(known.items())])

    @invariant()
    def foreign_parts_are_never_read(self) -> None:
        for key in self.foreign:
            with pytest.raises(FolderError, match=r"other settings \(source\)"):
                self.store.read([key])

    def compare(self, table: pd.DataFrame, values: np.ndarray, expected: list[tuple[int, str, bytes]]) -> None:
        minutes = ((table.start - pd.Timestamp(DAYS[0], tz="UTC")).dt.total_seconds() // 60).astype(int).tolist()
        assert minutes == [minute for minute, _, _ in expected]
        assert table.reason.tolist() == [reason for _, reason, _ in expected]
        assert [value.tobytes() for value in values] == [value for _, reason, value in expected if not reason]


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=30, stateful_step_count=15)


# --- parts of other data, times, traces ------------------------------------------------------------------------------


def test_of_two_parts_with_the_same_segment_the_later_counts(store: Store) -> None:
    key = unit("NRCA", DAYS[0])
    store.write(key, 0, rows(DAYS[0], [0, 1, 2], lost=(1,)), {"vector": vectors(2)}, source="old")
    store.write(key, 1, rows(DAYS[0], [1, 2]), {"vector": vectors(2, 1)}, source="new")
    table, read = store.read([key])
    assert table["start"].dt.minute.tolist() == [0, 1, 2]
    assert table["reason"].tolist() == [""] * 3
    np.testing.assert_array_equal(read, np.concatenate([vectors(2)[:1], vectors(2, 1)]).astype(read.dtype))
    first = store.starts(key, "old")
    assert len(first) == 1
    assert len(store.starts(key, "new")) == 2
    assert len(store.starts(key, "newer")) == 0
    assert store.summary()["segments"] == 3


def test_a_window_in_another_zone_is_the_same_window(store: Store) -> None:
    store.write(unit("NRCA", DAYS[0]), 0, rows(DAYS[0], [1438, 1439]), {"vector": vectors(2)})
    store.write(unit("NRCA", DAYS[1]), 0, rows(DAYS[1], [0, 1]), {"vector": vectors(2, 1)})
    start = pd.Timestamp(DAYS[1], tz="UTC") - pd.Timedelta("2min")
    end = start + pd.Timedelta("4min")
    table, _ = store.read_window("IV", "NRCA", start, end)
    assert len(table) == 4
    rome, _ = store.read_window("IV", "NRCA", start.tz_convert("Europe/Rome"), end.tz_convert("Asia/Tokyo"))
    pd.testing.assert_frame_equal(table, rome)
    with pytest.raises(InputError, match="has no time zone"):
        store.read_window("IV", "NRCA", start.tz_localize(None), end)
