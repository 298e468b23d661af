"""Cut-out traces: every layout in which INSTANCE, SeisBench and STEAD come, and what is wrong with some."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from seisprobe.errors import DataFileError
from seisprobe.seisclip.metadata import features_from_instance, features_from_stead
from seisprobe.sources import instance, trace_tables
from seisprobe.sources.instance import InstanceSource, find_pair
from seisprobe.sources.waveforms import Query, TraceChunk, Traces
from support.instance_files import (
    FEATURES,
    FIRST,
    STEP,
    metadata,
    plain_name,
    wave,
    write_instance,
    write_table,
    write_waves,
)
from support.studies import environment

SHORT = 600


def read_all(source: InstanceSource, query: Query | None = None) -> list[Traces]:
    return [source.read(unit) for unit in source.units(query or Query())]


def small(folder: Path, table: pa.Table, **waves: object) -> InstanceSource:
    """Write a table as CSV with the waveforms of its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "metadata.csv", table)
    write_waves(folder / "waveforms.hdf5", table.num_rows, samples=SHORT, **waves)
    return InstanceSource(folder)


@pytest.mark.parametrize("kind", ["csv", "csv.bz2", "parquet"])
@pytest.mark.parametrize(("columns", "buckets"), [(115, 0), (116, 2), (117, 2)])
def test_a_hundred_traces_in_every_layout(kind: str, columns: int, buckets: int, tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, columns=columns, buckets=buckets, kind=kind))
    (traces,) = read_all(source)
    assert traces.waveforms.shape == (100, 3, 12_000)
    assert traces.waveforms.dtype == np.float32
    assert all(np.array_equal(traces.waveforms[row], wave(row)) for row in range(100))
    assert traces.missing == []
    table = traces.table
    assert table["start"].dtype == pd.DatetimeTZDtype("us", "UTC")
    assert (table["start"].dt.tz_convert(None).to_numpy() == FIRST + np.arange(100) * STEP).all()
    assert set(table["sampling_rate_hz"]) == {100.0}
    assert [*table.loc[1, ["network", "station", "location", "channels"]]] == ["IV", "CESI", "", "HH"]
    found = features_from_instance(table)
    assert found.counts["unreadable"] == 0
    assert found.features[1] == pytest.approx([2001 / 6000, 1, 6.5 / 60, 0, 0.75, 11 / 300, 7 / 360, 0])
    assert found.features[0, 3] == pytest.approx(0 if 2000 % 3 == 0 else 2400 / 6000)


def test_only_the_columns_needed_are_required(tmp_path: Path) -> None:
    table = metadata(6, samples=SHORT)
    needed = ["trace_name", "station_network_code", "station_code", "trace_dt_s"]
    (traces,) = read_all(small(tmp_path / "bare", table.select(needed)))
    assert traces.waveforms.shape == (6, 3, SHORT)
    assert traces.table["start"].isna().all()
    assert list(traces.table["location"]) == [""] * 6
    for column in needed[:3]:
        rest = table.drop_columns([column])
        with pytest.raises(DataFileError, match=rf"metadata.csv: no column {column}; .*it is needed"):
            read_all(small(tmp_path / column, rest))
    with pytest.raises(DataFileError, match="no column trace_dt_s or trace_sampling_rate_hz"):
        read_all(small(tmp_path / "rate", table.drop_columns(["trace_dt_s"])))


@pytest.mark.parametrize(
    ("query", "column"),
    [
        (Query(start=pd.Timestamp("2016-08-24", tz="UTC")), "trace_start_time"),
        (
            Query(region={"min_latitude": 42, "max_latitude": 43, "min_longitude": 12, "max_longitude": 14}),
            "station_latitude_deg",
        ),
    ],
)
def test_what_a_query_chooses_by_must_be_there(query: Query, column: str, tmp_path: Path) -> None:
    source = small(tmp_path, metadata(6, samples=SHORT).drop_columns([column]))
    assert len(source.units(Query())) == 1
    with pytest.raises(DataFileError, match=f"no column {column}, which choosing by"):
        source.units(query)


def test_a_query_chooses_rows_and_changes_no_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "STRIDE", 2)
    table = metadata(1700, samples=3)
    write_table(tmp_path / "metadata.csv", table)
    write_waves(tmp_path / "waves.h5", 1700, samples=3)
    source = InstanceSource(tmp_path)
    assert [(u.first, u.last) for u in source.units(Query())] == [(0, 500), (500, 1000), (1000, 1500), (1500, 1700)]
    start = pd.Timestamp(FIRST, tz="UTC") + 600 * pd.Timedelta(STEP)
    box = {"min_latitude": 42.0, "max_latitude": 42.83, "min_longitude": 13.0, "max_longitude": 13.2}
    for query, rows in [
        (Query(start=start, end=start + 500 * pd.Timedelta(STEP)), np.arange(600, 1100)),
        (Query(start=start, stations=("IV.*",)), [row for row in range(600, 1700) if row % 3 != 2]),
        (Query(end=start, region=box), np.arange(0, 600, 3)),
        (Query(stations=("XX.*",)), []),
    ]:
        units = source.units(query)
        assert set(units) <= set(source.units(Query()))
        source.units(query)
        names = [name for unit in units for name in source.read(unit).table["trace_name"]]
        assert names == [plain_name(row) for row in rows]
        again = InstanceSource(tmp_path)
        assert names == [name for unit in units for name in again.read(unit, query).table["trace_name"]]


def test_traces_that_cannot_be_had_are_named_with_the_reason(tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, rows=12, samples=SHORT, leave_out=(3,)))
    with h5py.File(source.waveforms, "a") as file:
        for row, values in {
            4: np.zeros((3, SHORT - 1)),
            5: np.zeros((2, SHORT)),
            6: np.zeros(SHORT),
            7: np.full((3, SHORT), np.nan),
        }.items():
            del file[f"data/{plain_name(row)}"]
            file[f"data/{plain_name(row)}"] = values
        del file[f"data/{plain_name(8)}"]
        file.create_group(f"data/{plain_name(8)}")
        del file[f"data/{plain_name(9)}"]
        file[f"data/{plain_name(9)}"] = "not a waveform"
        del file[f"data/{plain_name(10)}"]
        file[f"data/{plain_name(10)}"] = h5py.SoftLink("/nowhere")
    (traces,) = read_all(source)
    assert [*traces.table["trace_name"]] == [plain_name(row) for row in (0, 1, 2, 11)]
    assert len(traces.waveforms) == 4
    reasons = dict(traces.missing)
    assert sorted(reasons) == [plain_name(row) for row in range(3, 11)]
    said = ["no such trace", "599 samples, where most have 600", "components ENZ in 2 rows", "1 dimensions",
            "no numbers", "no such trace", "no waveform", "no such trace"]  # fmt: skip
    assert [fragment in reasons[plain_name(3 + i)] for i, fragment in enumerate(said)] == [True] * 8


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bucket0$99,:3,:600", "bucket0 has 3 rows only"),
        ("bucket7$0,:3,:600", "no such trace"),
        ("bucket0$0,:2,:600", "in 2 rows"),
        ("bucket0$0,:3,:600,:9", "no waveform"),
        ("bucket0$-1,:3", "no such trace"),
        ("../../etc/passwd", "no such trace"),
        ("", "no such trace"),
        (".", "no such trace"),
        ("/", "no such trace"),
        ("data", "no such trace"),
        ("bucket0$0", ""),
        (" data/bucket0$1,:,:600 ", ""),
    ],
)
def test_names_in_buckets_good_and_hostile(name: str, said: str, tmp_path: Path) -> None:
    table = metadata(1, buckets=2, samples=SHORT)
    table = table.set_column(table.column_names.index("trace_name"), "trace_name", pa.array([name]))
    write_table(tmp_path / "metadata.csv", table)
    write_waves(tmp_path / "waveforms.hdf5", 6, buckets=2, samples=SHORT)
    (traces,) = read_all(InstanceSource(tmp_path))
    assert len(traces.waveforms) == (not said)
    assert [said in reason for _, reason in traces.missing] == [True] * bool(said)


@pytest.mark.parametrize("order", ["ENZ", "ZNE", "NEZ"])
@pytest.mark.parametrize(("axes", "buckets"), [("CW", 0), ("WC", 0), ("CW", 2)])
def test_component_and_dimension_order_are_those_the_file_says(
    order: str, axes: str, buckets: int, tmp_path: Path
) -> None:
    source = small(tmp_path, metadata(4, buckets=buckets, samples=SHORT), buckets=buckets, order=order, axes=axes)
    (traces,) = read_all(source)
    assert all(np.array_equal(traces.waveforms[row], wave(row, SHORT)) for row in range(4))


def test_a_row_may_give_its_own_component_order(tmp_path: Path) -> None:
    table = metadata(3, samples=SHORT).append_column("trace_component_order", pa.array(["ENZ", "", "Z21"]))
    (traces,) = read_all(small(tmp_path, table, order="ZNE"))
    stored = [wave(row, SHORT)[[2, 1, 0]] for row in range(3)]
    assert np.array_equal(traces.waveforms[0], stored[0])
    assert np.array_equal(traces.waveforms[1], stored[1][[2, 1, 0]])
    assert np.array_equal(traces.waveforms[2], stored[2][[1, 2, 0]])


def test_steads_layout_and_seisbenchs_of_it(tmp_path: Path) -> None:
    stead = {
        "trace_name": [plain_name(0), plain_name(1)],
        "network_code": ["NA", "TA"],
        "receiver_code": ["NAN", "109C"],
        "receiver_type": ["HH", "BH"],
        "trace_start_time": ["2006-07-23 15:58:50", "2006-07-23 15:58:50.123"],
        "p_arrival_sample": [80, 70.0],
        "p_weight": [0.54, 0.6],
        "p_travel_sec": [11.0, 12],
        "s_arrival_sample": [126, 130],
        "s_weight": [45, 0.5],
        "source_distance_km": [65.35, 60],
        "back_azimuth_deg": [180.0, 90],
        "coda_end_sample": ["[[341.]]", "[[350]]"],
    }
    frame = pd.DataFrame(stead)
    renamed = {name: f"trace_{name}" for name in ("p_arrival_sample", "p_weight", "s_arrival_sample", "s_weight")}
    renamed |= {"coda_end_sample": "trace_coda_end_sample", "p_travel_sec": "path_p_travel_sec"}
    renamed |= {"back_azimuth_deg": "path_back_azimuth_deg", "network_code": "station_network_code"}
    given = {}
    for name, table in {"stead": frame, "seisbench": frame.rename(columns=renamed)}.items():
        (tmp_path / name).mkdir()
        table.to_csv(tmp_path / name / "merge.csv", index=False)
        write_waves(tmp_path / name / "merge.hdf5", 2, samples=SHORT, axes="WC")
        (given[name],) = read_all(InstanceSource(tmp_path / name / "merge.csv"))
    pd.testing.assert_frame_equal(given["stead"].table, given["seisbench"].table)
    table = given["stead"].table
    assert [*table["network"], *table["station"]] == ["NA", "TA", "NAN", "109C"]  # codes, not missing values
    assert table["start"].iloc[1] == pd.Timestamp("2006-07-23T15:58:50.123Z")
    assert set(table["sampling_rate_hz"]) == {100.0}
    assert features_from_stead(table).features[0] == pytest.approx(
        [80 / 6000, 0.54, 11 / 60, 126 / 6000, 0.45, 65.35 / 300, 0.5, 341 / 6000]
    )


def test_sampling_rates_come_from_the_table_or_the_file(tmp_path: Path) -> None:
    table = metadata(4, samples=SHORT)
    place = table.column_names.index("trace_dt_s")
    odd = table.set_column(place, "trace_dt_s", pa.array(["0.008", str(float(np.float32(0.01))), "", "0"]))
    (traces,) = read_all(small(tmp_path / "table", odd))
    assert [*traces.table["sampling_rate_hz"]] == [125.0, 100.0]
    assert traces.missing == [(plain_name(row), "no sampling rate") for row in (2, 3)]
    source = small(tmp_path / "file", table.drop_columns(["trace_dt_s"]))
    with h5py.File(source.waveforms, "a") as file:
        file["data_format/sampling_rate"] = 50
    assert set(read_all(source)[0].table["sampling_rate_hz"]) == {50.0}


def test_starts_that_cannot_be_read_are_missing_only_where_a_period_is_asked_for(tmp_path: Path) -> None:
    table = metadata(4, samples=SHORT)
    starts = table["trace_start_time"].to_pylist()
    starts[2] = "yesterday"
    source = small(
        tmp_path, table.set_column(table.column_names.index("trace_start_time"), "trace_start_time", [starts])
    )
    (traces,) = read_all(source)
    assert traces.table["start"].isna().tolist() == [False, False, True, False]
    (traces,) = read_all(source, Query(start=pd.Timestamp(FIRST, tz="UTC")))
    assert len(traces.table) == 3
    assert traces.missing == [(plain_name(2), "start or place in the table cannot be read")]


def test_stations_without_a_place_are_missing_only_where_a_region_is_asked_for(tmp_path: Path) -> None:
    table = metadata(4, samples=SHORT)
    place = table.column_names.index("station_latitude_deg")
    source = small(tmp_path, table.set_column(place, "station_latitude_deg", pa.array(["42.8", "", "42.3", "50"])))
    assert len(read_all(source)[0].table) == 4
    box = {"min_latitude": 42.0, "max_latitude": 43.0, "min_longitude": 12.0, "max_longitude": 14.0}
    (traces,) = read_all(source, Query(region=box))
    assert [*traces.table["trace_name"]] == [plain_name(0), plain_name(2)]
    assert traces.missing == [(plain_name(1), "start or place in the table cannot be read")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"trace_name,station_network_code,station_code,trace_dt_s\n", "no row in it"),
        (b"\x00\x01\x02\x03" * 50, "neither CSV nor Parquet"),
        (b"\xff\xfet\x00r\x00", "neither CSV nor Parquet"),
        (b"trace_name,station_network_code,station_code,trace_dt_s\na,IV,NRCA,0.01\nb,IV\n", "damaged or was cut"),
        (b"trace_name,trace_name,station_network_code,station_code\na,a,IV,X\n", "stands in it 2 times"),
        (b"trace_names,station_network_code,station_code\na,IV,X\n", "did you mean 'trace_names'"),
        (b"BZh91AY&SY" + bytes(30), "damaged or was cut"),
        (b"PAR1" + bytes(100), "damaged or was cut"),
        (b"trace_name,station_network_code,station_code\na,IV,\xff\xfe\n", "damaged or was cut"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, rows=2, samples=3))
    source.metadata.write_bytes(content)
    with pytest.raises(DataFileError, match=said) as caught:
        source.units(Query())
    assert str(caught.value).startswith(source.metadata.name)
    assert "\n" not in str(caught.value)


def test_a_compressed_table_that_was_cut_is_one_line(tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, rows=500, samples=3, kind="csv.bz2"))
    whole = source.metadata.read_bytes()
    source.metadata.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFileError, match="end too early"):
        source.units(Query())


def test_hdf5_that_was_cut_or_is_none_is_one_line(tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, rows=4, samples=SHORT))
    (unit,) = source.units(Query())
    whole = source.waveforms.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        source.waveforms.write_bytes(content)
        with pytest.raises(DataFileError, match="not HDF5, or damaged") as caught:
            source.read(unit)
        assert "\n" not in str(caught.value)


def test_a_damaged_trace_costs_itself_alone(tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, rows=3, samples=SHORT))
    with h5py.File(source.waveforms, "a") as file:
        for row in range(3):
            del file[f"data/{plain_name(row)}"]
            file.create_dataset(f"data/{plain_name(row)}", data=wave(row, SHORT), compression="gzip")
        place = file[f"data/{plain_name(1)}"].id.get_chunk_info(0).byte_offset
    data = bytearray(source.waveforms.read_bytes())
    data[place : place + 50] = b"x" * 50
    source.waveforms.write_bytes(data)
    (traces,) = read_all(source)
    assert [*traces.table["trace_name"]] == [plain_name(0), plain_name(2)]
    ((name, reason),) = traces.missing
    assert name == plain_name(1)
    assert reason.startswith("cannot be read")


def test_a_chunk_of_another_table_is_refused(tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, rows=4, samples=SHORT))
    for unit in (TraceChunk(1, 500, 600), TraceChunk(0, 0, 500)):
        with pytest.raises(DataFileError, match="is not one of its chunks"):
            source.read(unit)


def test_a_source_goes_to_another_process_with_its_query(tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, rows=9, samples=SHORT))
    (unit,) = source.units(Query(stations=("AQU",)))
    copy = pickle.loads(pickle.dumps(source))
    assert [*copy.read(unit).table["station"]] == ["AQU"] * 3


def test_a_full_temporary_folder_is_one_line(tmp_path: Path) -> None:
    source = InstanceSource(write_instance(tmp_path, rows=2000, samples=3))
    code = (
        "import resource, sys, pathlib\n"
        "from seisprobe.sources.instance import InstanceSource\n"
        "from seisprobe.sources.waveforms import Query\n"
        "from seisprobe.errors import StorageError\n"
        "import pyarrow.csv, pyarrow.parquet\n"
        "source = InstanceSource(pathlib.Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n    source.units(Query())\n"
        "except StorageError as error:\n    print('said:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source.metadata)], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert "set TMPDIR to another" in done.stdout


@pytest.mark.parametrize(
    ("names", "given", "pair"),
    [
        (["metadata.csv", "waveforms.hdf5"], "", (0, 1)),
        (["metadata.csv", "waveforms.hdf5"], "metadata.csv", (0, 1)),
        (["metadata.csv", "waveforms.hdf5"], "waveforms.hdf5", (0, 1)),
        (
            ["metadata_Instance_events_v2.csv.bz2", "metadata_Instance_noise.csv.bz2", "Instance_noise.hdf5",
             "Instance_events_counts.hdf5"],
            "Instance_noise.hdf5",
            (1, 2),
        ),
        (
            ["metadata_Instance_events_v2.csv", "metadata_Instance_noise.csv", "Instance_events_counts.hdf5",
             "Instance_events_gm.hdf5"],
            "Instance_events_gm.hdf5",
            (0, 3),
        ),
        (["metadata_a.csv", "a.h5", "b.h5"], "", "which HDF5 file"),
        (["metadata.csv", "a.h5", "b.h5"], "metadata.csv", "which HDF5 file"),
        (["metadata.csv"], "", "no HDF5 file"),
        (["a.h5"], "a.h5", "no metadata table"),
    ],
)  # fmt: skip
def test_the_other_file_is_found_beside_the_one_named(
    names: list[str], given: str, pair: tuple | str, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" if name.endswith(("h5", "hdf5")) else b"trace_name\n")
    if isinstance(pair, str):
        with pytest.raises(DataFileError, match=pair):
            find_pair(tmp_path / given)
    else:
        assert find_pair(tmp_path / given) == tuple(tmp_path / names[i] for i in pair)


def test_the_feature_columns_are_those_that_the_model_takes() -> None:
    assert set(FEATURES) <= set(trace_tables.FEATURES)
    with_all = pd.DataFrame({name: [1.0] for name in trace_tables.FEATURES})
    assert features_from_instance(with_all).features.shape == features_from_stead(with_all).features.shape == (1, 8)
