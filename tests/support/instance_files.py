"""INSTANCE as it is published, small: a metadata table of 115, 116 or 117 columns with its HDF5 file, made by seed."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from support.event_tables import random_events
from support.instance_metadata import as_csv, traces, write_parquet

STATIONS = (("IV", "NRCA", 42.83, 13.11), ("IV", "CESI", 43.00, 12.90), ("MN", "AQU", 42.35, 13.40))
FEATURES = (
    "trace_P_arrival_sample", "path_weight_phase_location_P", "path_travel_time_P_s", "trace_S_arrival_sample",
    "path_weight_phase_location_S", "path_ep_distance_km", "path_backazimuth_deg",
)  # fmt: skip
FIRST = np.datetime64("2016-08-24T00:00:00", "us")
STEP = np.timedelta64(600, "s")


def plain_name(row: int) -> str:
    """Return a trace's name as INSTANCE has it."""
    network, station, _, _ = STATIONS[row % len(STATIONS)]
    return f"{11000000 + row}.{network}.{station}..HH"


def bucket_name(row: int, buckets: int, samples: int) -> str:
    """Return a trace's name as SeisBench has it: rows take turns among the buckets."""
    return f"bucket{row % buckets}${row // buckets},:3,:{samples}"


def wave(row: int, samples: int = 12_000) -> np.ndarray:
    """Return the trace of a row, (3, samples) float32, E, N, Z: noise in counts, stronger after its P."""
    rng = np.random.default_rng([7, row])
    out = rng.standard_normal((3, samples), dtype=np.float32) * np.float32(100)
    out[:, 2000 + row % 500 :] *= 20
    return np.round(out)


def metadata(rows: int, *, first: int = 0, columns: int = 116, buckets: int = 0, samples: int = 12_000) -> pa.Table:
    """Return the table: numbers as text in part, a trace every ten minutes, three stations in turn."""
    index = np.arange(first, first + rows)
    events = random_events(1, max(1, min(rows, 1000)))
    table = traces(events.assign(event_id=np.arange(len(events)).astype(str)), rows, seed=first, text_numbers=True)
    who = [STATIONS[row % len(STATIONS)] for row in index]
    starts = np.datetime_as_string(FIRST + index * STEP)
    p = 2000 + index % 500
    values: dict[str, Any] = {
        "trace_name": [bucket_name(row, buckets, samples) if buckets else plain_name(row) for row in index],
        "station_network_code": [each[0] for each in who],
        "station_code": [each[1] for each in who],
        "station_location_code": [""] * rows,
        "station_channels": ["HH"] * rows,
        "station_latitude_deg": [each[2] for each in who],
        "station_longitude_deg": [each[3] for each in who],
        "trace_start_time": [f"{start}Z" for start in starts],
        "trace_dt_s": [0.01] * rows,
        "trace_npts": [samples] * rows,
        "trace_P_arrival_sample": p,
        "trace_S_arrival_sample": [str(float(sample + 400)) if sample % 3 else "" for sample in p],
        "path_weight_phase_location_P": [100.0] * rows,
        "path_weight_phase_location_S": ["75"] * rows,
        "path_travel_time_P_s": [6.5] * rows,
        "path_ep_distance_km": 10.0 + index % 90,
        "path_backazimuth_deg": (index * 7.0) % 360,
    }
    for name, column in values.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(column))
    if columns < table.num_columns:
        table = table.drop_columns(["trace_category"])
    if columns > table.num_columns:
        table = table.append_column("trace_split", pa.array(["train"] * rows))
    assert table.num_columns == columns
    return table


def write_table(path: Path, table: pa.Table) -> Path:
    """Write a table as the name's ending says: .csv, .csv.bz2 or .parquet."""
    if path.suffix == ".parquet":
        write_parquet(table, path)
    else:
        text = as_csv(table)
        path.write_bytes(bz2.compress(text) if path.suffix == ".bz2" else text)
    return path


def write_waves(
    path: Path,
    rows: int,
    *,
    buckets: int = 0,
    samples: int = 12_000,
    order: str | None = None,
    axes: str | None = None,
    leave_out: tuple[int, ...] = (),
) -> Path:
    """Write the HDF5 file, traces one by one or in buckets; `order` and `axes` as SeisBench's data_format has them."""
    letters = order or "ENZ"
    rearranged = [wave(row, samples)[["ENZ".index(letter) for letter in letters]] for row in range(rows)]
    if axes == "WC":
        rearranged = [each.T for each in rearranged]
    with h5py.File(path, "w") as file:
        if order:
            file["data_format/component_order"] = order
        if axes:
            file["data_format/dimension_order"] = axes
        for bucket in range(buckets):
            file[f"data/bucket{bucket}"] = np.stack(rearranged[bucket::buckets])
        for row in range(rows if not buckets else 0):
            if row not in leave_out:
                file[f"data/{plain_name(row)}"] = rearranged[row]
    return path


def write_instance(
    folder: Path,
    rows: int = 100,
    *,
    buckets: int = 0,
    columns: int = 116,
    kind: str = "csv",
    samples: int = 12_000,
    leave_out: tuple[int, ...] = (),
) -> Path:
    """Write table and HDF5 file into a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    table = metadata(rows, columns=columns, buckets=buckets, samples=samples)
    write_table(folder / f"metadata_Instance_events.{kind}", table)
    write_waves(folder / "Instance_events_counts.hdf5", rows, buckets=buckets, samples=samples, leave_out=leave_out)
    return folder
