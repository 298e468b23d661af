"""Metadata as INSTANCE has it: a row a trace, 115 columns and more, of which a catalog needs eight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq


def _names(text: str) -> list[str]:
    return text.split()


PER_CHANNEL = _names("""
    median_counts mean_counts min_counts max_counts rms_counts lower_quartile_counts upper_quartile_counts spikes
    snr_db pga_cmps2 pgv_cmps pga_perc pga_time pgv_time sa03_cmps2 sa10_cmps2 sa30_cmps2
""")
NUMBERS = _names("""
    station_latitude_deg station_longitude_deg station_elevation_m station_vs_30_mps source_origin_uncertainty_s
    source_latitude_uncertainty_deg source_longitude_uncertainty_deg source_depth_uncertainty_km source_stderror_s
    source_gap_deg source_horizontal_uncertainty_km path_travel_time_P_s path_travel_time_S_s path_residual_P_s
    path_residual_S_s path_ep_distance_km path_hyp_distance_km path_azimuth_deg path_backazimuth_deg
    path_weight_phase_location_P path_weight_phase_location_S trace_dt_s trace_npts trace_P_uncertainty_s
    trace_S_uncertainty_s trace_P_arrival_sample trace_S_arrival_sample trace_GPD_P_number trace_GPD_S_number
    trace_EQT_number_detections trace_EQT_P_number trace_EQT_S_number trace_pga_cmps2 trace_pgv_cmps trace_pga_perc
    trace_sa03_cmps2 trace_sa10_cmps2 trace_sa30_cmps2
""") + [f"trace_{channel}_{what}" for channel in "ENZ" for what in PER_CHANNEL]
TEXTS = _names("""
    station_network_code station_code station_location_code station_channels station_vs_30_detail
    source_magnitude_type source_mt_eval_mode source_mt_status source_mt_scalar_moment_Nm source_type
    source_mechanism_strike_dip_rake source_mechanism_moment_tensor trace_start_time trace_eval_P trace_P_arrival_time
    trace_polarity trace_eval_S trace_S_arrival_time trace_deconvolved_units trace_name trace_category
""")


def source_columns(events: pd.DataFrame) -> dict[str, pa.Array]:
    """Return the eight columns that make a catalog, a row an event."""
    times = np.datetime_as_string(events["time"].dt.tz_convert(None).to_numpy(dtype="datetime64[us]"))
    return {
        "source_id": pa.array(events["event_id"].astype("int64").to_numpy()),
        "source_origin_time": pa.array([f"{time}Z" for time in times]),
        "source_latitude_deg": pa.array(events["latitude"]),
        "source_longitude_deg": pa.array(events["longitude"]),
        "source_depth_km": pa.array(events["depth_km"], from_pandas=True),
        "source_magnitude": pa.array(events["magnitude"]),
        "source_magnitude_type": pa.array(events["magnitude_type"].astype("str")),
        "source_type": pa.array(["earthquake"] * len(events)),
    }


def traces(
    events: pd.DataFrame, rows: int, *, seed: int = 0, text_numbers: bool = False, noise_rows: int = 0
) -> pa.Table:
    """Return a table of 116 columns: `rows` traces of these events (each has one at least), then traces of noise.

    Parameters
    ----------
    events : DataFrame
        Event table whose ids are whole numbers.
    rows : int
    text_numbers : bool
        Source numbers and the trace's numbers stored as text, as parts of the published table are.
    noise_rows : int
        They have a text as ``source_id`` and nothing else of a source.
    """
    rng = np.random.default_rng(seed)
    which = np.concatenate([np.arange(len(events)), rng.integers(0, len(events), rows - len(events))])
    which = pa.array([*np.sort(which).tolist(), *[None] * noise_rows], pa.int64())
    columns = {name: values.take(which) for name, values in source_columns(events).items()}
    if noise_rows:
        ids = columns["source_id"].cast(pa.string()).to_pylist()
        ids[rows:] = [f"noise.{i}" for i in range(noise_rows)]
        columns["source_id"] = pa.array(ids)
    if text_numbers:
        for name in ("source_depth_km", "source_magnitude"):
            columns[name] = columns[name].cast(pa.string())
    total = rows + noise_rows
    pool = rng.normal(size=(7, total)).round(4)
    for i, name in enumerate(NUMBERS):
        values = pa.array(np.roll(pool[i % 7], i * 13))
        columns[name] = values.cast(pa.string()) if text_numbers and i % 3 == 0 else values
    words = pa.array([f"word-{i:04d}" for i in range(512)])
    codes = rng.integers(0, 512, total)
    for i, name in enumerate(TEXTS):
        if name not in columns:
            columns[name] = words.take(pa.array(np.roll(codes, i)))
    return pa.table(columns)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table of traces as Parquet."""
    pq.write_table(table, path, compression="snappy", row_group_size=100_000)


def as_csv(table: pa.Table) -> bytes:
    """Return a table of traces as comma-separated text."""
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink)
    return bytes(sink.getvalue())
