"""trace_metadata against a recount with pandas; tables that lack columns, rows that cannot be read, empty windows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from seisprobe.catalog import times_us
from seisprobe.embedding.waves import Waves
from seisprobe.errors import DataFileError
from seisprobe.modalities import MODALITIES
from seisprobe.modalities.trace_metadata import QUANTITIES
from seisprobe.setting import Setting
from seisprobe.study import study_from_dict
from support.event_tables import random_events
from support.instance_files import metadata, write_table
from support.seen import small
from support.studies import REGION

DAY = pd.Timestamp("2016-08-24T00:00:00Z")  # that of the first trace; one follows every ten minutes
ROWS = 1300  # three chunks of the table
COLUMNS = sorted({name for ways in QUANTITIES.values() for way in ways for name in way})


def table_of(rows: int = ROWS, seed: int = 0, **columns: Any) -> pa.Table:
    """Return a metadata table whose SNR, PGA, PGV and RMS are positive, one in ten missing, some as text."""
    rng = np.random.default_rng(seed)
    table = metadata(rows)
    for number, name in enumerate(COLUMNS):
        values = np.round(rng.lognormal(0, 2, rows) - (20 if "snr" in name else 0), 4).astype(object)
        values[rng.random(rows) < 0.1] = None
        if number % 2:
            values = np.array(["" if value is None else str(value) for value in values], dtype=object)
        columns.setdefault(name, pa.array(values.tolist()))
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def windows_of(*hours: tuple[float, float]) -> pd.DataFrame:
    """Return windows by start and end, hours after the first trace."""
    start, end = ([DAY + pd.Timedelta(hours=pair[i]) for pair in hours] for i in (0, 1))
    times = {"start": pd.to_datetime(start).as_unit("us"), "end": pd.to_datetime(end).as_unit("us")}
    return pd.DataFrame({"window_id": [f"w{i}" for i in range(len(hours))], **times})


WINDOWS = windows_of((0, 2), (1, 7), (24, 48), (-5, -2), (100, 100.1), (30, 300), (215, 230))


def setting_of(folder: Path, table: pa.Table, windows: pd.DataFrame = WINDOWS, **changes: Any) -> Setting:
    """Write a table beside an HDF5 file that holds nothing, and return what the modality looks at."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "metadata.csv", table)
    h5py.File(folder / "waves.hdf5", "w").close()
    raw = small().raw(f"instance:{folder}")
    raw["waveforms"] = {"source": f"instance:{folder}", **changes.pop("waveforms", {})}
    study = study_from_dict(raw | {key: raw[key] | value for key, value in changes.items()})
    return Setting(study, windows, random_events(1, 5), waves=Waves(windows, {}, {}, {}, seed=0))


def recount(path: Path, windows: pd.DataFrame, keep: Any = None) -> pd.DataFrame:
    """Return the features by pandas alone, one window at a time."""
    frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    start = pd.to_datetime(frame["trace_start_time"], utc=True)
    numbers = frame[COLUMNS].apply(pd.to_numeric, errors="coerce")
    of_trace = pd.DataFrame(
        {
            "snr": numbers[[f"trace_{c}_snr_db" for c in "ENZ"]].mean(axis=1),
            "pga": numbers["trace_pga_cmps2"],
            "pgv": numbers["trace_pgv_cmps"],
            "rms": (numbers[[f"trace_{c}_rms_counts" for c in "ENZ"]] ** 2).mean(axis=1) ** 0.5,
        }
    )
    code = frame["station_network_code"] + "." + frame["station_code"]
    kept = pd.Series(True, index=frame.index) if keep is None else keep(frame)
    rows = []
    for window in windows.itertuples():
        mine = kept & (start >= window.start) & (start < window.end)
        row = {"n_traces": mine.sum(), "n_stations": code[mine].nunique()}
        for name, column in of_trace[mine].items():
            both = (column.mean(), column.max())
            for how, value in zip(("mean", "max"), both, strict=True):
                row[f"{how} {name}"] = value if name == "snr" else np.log10(value)
        rows.append(row)
    return pd.DataFrame(rows).astype("float64")


def features(setting: Setting) -> pd.DataFrame:
    return MODALITIES["trace_metadata"].features(setting)


def test_features_are_those_of_a_recount_with_pandas(tmp_path: Path) -> None:
    found = features(setting_of(tmp_path, table_of()))
    assert found["window_id"].tolist() == WINDOWS["window_id"].tolist()
    assert found["station"].eq("").all()
    assert found.columns[2:].tolist() == [
        "n_traces", "n_stations", "mean_snr_db", "max_snr_db", "log_mean_pga_cmps2", "log_max_pga_cmps2",
        "log_mean_pgv_cmps", "log_max_pgv_cmps", "log_mean_rms_counts", "log_max_rms_counts",
    ]  # fmt: skip
    expected = recount(tmp_path / "metadata.csv", WINDOWS)
    np.testing.assert_allclose(found.iloc[:, 2:].to_numpy(), expected.to_numpy(), rtol=1e-12)
    assert expected["n_traces"].tolist() == [12, 36, 144, 0, 1, 1120, 10]


def test_a_trace_belongs_to_the_window_it_starts_in_whatever_the_order_of_rows(tmp_path: Path) -> None:
    edges = windows_of((0, 1), (1, 2))
    table = table_of(13)
    found = features(setting_of(tmp_path / "a", table, edges))
    assert found["n_traces"].tolist() == [6, 6]  # one starts as the first window ends, and one as the second does
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(13)))
    again = features(setting_of(tmp_path / "b", shuffled, edges))
    pd.testing.assert_frame_equal(found, again)


def test_a_window_without_traces_has_a_count_of_zero_and_no_other_number(tmp_path: Path) -> None:
    found = features(setting_of(tmp_path, table_of(), WINDOWS.iloc[[3]]))
    assert found[["n_traces", "n_stations"]].to_numpy().tolist() == [[0, 0]]
    assert found.iloc[:, 4:].isna().all(axis=None)


@pytest.mark.parametrize(
    ("changes", "keep"),
    [
        (  # named, they need not stand in the region
            {"waveforms": {"stations": ["IV.CESI"]}, "study": {"region": {**REGION, "min_latitude": 43.5}}},
            lambda f: f["station_code"].eq("CESI"),
        ),
        (
            {"study": {"region": {"min_latitude": 42.5, "max_latitude": 43.0, "min_longitude": 13.0,
                                  "max_longitude": 13.2}}},
            lambda f: f["station_code"].eq("NRCA"),
        ),
    ],
    ids=["stations", "region"],
)  # fmt: skip
def test_the_study_chooses_the_traces(tmp_path: Path, changes: dict[str, Any], keep: Any) -> None:
    found = features(setting_of(tmp_path, table_of(), **changes))
    expected = recount(tmp_path / "metadata.csv", WINDOWS, keep)
    assert 0 < expected["n_traces"].iloc[0] < 12
    np.testing.assert_allclose(found.iloc[:, 2:].to_numpy(), expected.to_numpy(), rtol=1e-12)


def test_what_is_no_amplitude_is_none(tmp_path: Path) -> None:
    values = {"trace_pga_cmps2": pa.array(["0", "-1.0", "nan", "inf", "100.0", ""])}
    found = features(setting_of(tmp_path, table_of(6, **values), windows_of((0, 0.5), (0, 1))))
    assert found["log_max_pga_cmps2"].isna().tolist() == [True, False]
    assert found[["log_mean_pga_cmps2", "log_max_pga_cmps2"]].iloc[1].tolist() == [2.0, 2.0]


def test_a_table_without_a_column_for_the_trace_gives_the_largest_component(tmp_path: Path) -> None:
    components = {f"trace_{c}_pga_cmps2": pa.array([f"{n}.0"] * 4) for c, n in zip("ENZ", (1, 1000, 10), strict=True)}
    table = table_of(4, **components).drop_columns(["trace_pga_cmps2", "trace_E_snr_db"])
    found = features(setting_of(tmp_path, table, windows_of((0, 1))))
    assert found["log_max_pga_cmps2"].tolist() == [3.0]
    mean = pd.read_csv(tmp_path / "metadata.csv")[["trace_N_snr_db", "trace_Z_snr_db"]].mean(axis=1).mean()
    assert found["mean_snr_db"].tolist() == pytest.approx([mean])


def test_a_table_of_other_columns_gives_those_it_has_or_one_line(tmp_path: Path) -> None:
    others = [name for name in COLUMNS if "rms" not in name]
    rms = features(setting_of(tmp_path / "a", table_of(4).drop_columns(others)))
    assert rms.columns[2:].tolist() == ["n_traces", "n_stations", "log_mean_rms_counts", "log_max_rms_counts"]
    with pytest.raises(DataFileError, match=r"metadata.csv: no column of SNR, PGA, PGV or RMS .*leave the modality"):
        features(setting_of(tmp_path / "b", table_of(4).drop_columns(COLUMNS)))


def test_traces_whose_start_cannot_be_read_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = table_of(12)
    starts = table["trace_start_time"].to_pylist()
    starts[3:5] = ["", "soon"]
    table = table.set_column(table.column_names.index("trace_start_time"), "trace_start_time", pa.array(starts))
    with caplog.at_level(logging.WARNING, "seisprobe"):
        found = features(setting_of(tmp_path, table))
    assert found["n_traces"].iloc[0] == 10
    assert "2 traces whose start or place cannot be read are left out" in caplog.text


def test_only_traces_of_some_window_stay_in_memory(tmp_path: Path) -> None:
    from seisprobe.modalities.trace_metadata import _chosen, _query, _table

    setting = setting_of(tmp_path, table_of(), WINDOWS.iloc[[0, 6]])
    edges = (times_us(setting.windows["start"]), times_us(setting.windows["end"]))
    parts = list(_chosen(_table(tmp_path), _query(setting), edges))
    assert sum(len(starts) for starts, _, _ in parts) == 22  # of 1,300 in the period
