"""Completeness after large events, b-values, selection, distances: published numbers and plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.catalog import (
    EVENT_COLUMNS,
    b_positive,
    b_value,
    completeness_at,
    completeness_mean,
    distance_km,
    magnitude_bin,
    nearest_event,
    select_events,
    table_sha256,
    tidy_events,
    times_us,
)
from seisprobe.errors import DataFileError
from support.event_tables import event_table, event_tables, random_events

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MINUTE_US = 60_000_000
# The magnitudes of SeismoStats' docstrings, and what its estimators give for them.
SEISMOSTATS = np.fromstring(
    "2.0 2.5 2.1 2.2 2.5 2.2 2.6 2.3 2.7 2.2 2.4 2.0 2.7 2.2 2.3 2.1 2.4 2.6 2.2 2.2 2.7 2.4 2.2 2.5", sep=" "
)


def test_classic_and_positive_b_are_those_of_seismostats() -> None:
    assert b_value(SEISMOSTATS, 2.0, 0.1) == pytest.approx(1.114920128810535, abs=1e-13)
    assert b_positive(SEISMOSTATS, 0.1, 0.2) == pytest.approx(1.9188552623891313, abs=1e-13)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_b_values_are_the_formulas_applied_by_hand(steps: list[int]) -> None:
    magnitudes = np.round(2.0 + 0.1 * np.array(steps), 1)
    excess = [m - 2.5 for m in magnitudes if m > 2.45]
    mean = math.fsum(excess) / len(excess) if excess else 0.0
    expected = math.log1p(0.1 / mean) / (0.1 * math.log(10)) if mean > 1e-9 else math.nan
    assert b_value(magnitudes, 2.5, 0.1) == pytest.approx(expected, rel=1e-9, nan_ok=True)
    rises = [b - a - 1 for a, b in itertools.pairwise(steps) if b - a >= 1]
    mean = 0.1 * sum(rises) / len(rises) if rises else 0.0
    expected = math.log1p(0.1 / mean) / (0.1 * math.log(10)) if mean > 1e-9 else math.nan
    assert b_positive(magnitudes, 0.1) == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_continuous_magnitudes_give_akis_estimate() -> None:
    magnitudes = 2.0 + np.random.default_rng(0).exponential(1.0 / math.log(10), 20_000)
    assert magnitude_bin(magnitudes) == 0.0
    assert b_value(magnitudes, 2.0, 0.0) == pytest.approx(1 / ((magnitudes.mean() - 2.0) * math.log(10)), rel=1e-12)
    assert b_value(magnitudes, 2.0, 0.0) == pytest.approx(1.0, abs=0.03)


# --- completeness ----------------------------------------------------------------------------------------------------


def mc_by_hand(time: int, times: np.ndarray, magnitudes: np.ndarray, mc: float) -> float:
    """Return Mc(t) by the protocol's sentence, event by event."""
    highest = mc
    for t, m in zip(times.tolist(), magnitudes.tolist(), strict=True):
        if t < time and m >= mc + 2 - 1e-9:
            days = max(time - t, MINUTE_US) / DAY_US
            highest = max(highest, m - 4.5 - 0.75 * math.log10(days))
    return highest


large_events = st.lists(
    st.tuples(st.integers(0, 20 * DAY_US), st.sampled_from([2.5, 4.4, 4.5, 5.0, 5.7, 6.5, 7.3])), max_size=8
).map(sorted)


@settings(max_examples=60)
@given(large_events, st.lists(st.integers(-DAY_US, 25 * DAY_US), min_size=1, max_size=20).map(sorted))
def test_completeness_is_that_of_the_formula_event_by_event(events: list[tuple[int, float]], at: list[int]) -> None:
    times = np.array([t for t, _ in events], dtype=np.int64)
    magnitudes = np.array([m for _, m in events], dtype=float)
    asked = np.array(
        sorted([*at, *times.tolist(), *(times + 1).tolist(), *(times + MINUTE_US).tolist()]), dtype=np.int64
    )
    found = completeness_at(asked, times, magnitudes, 2.5)
    assert found == pytest.approx([mc_by_hand(t, times, magnitudes, 2.5) for t in asked.tolist()], abs=1e-12)


@settings(max_examples=25)
@given(large_events, st.integers(0, 20 * DAY_US), st.sampled_from([HOUR_US, 2 * HOUR_US, 24 * HOUR_US]))
def test_mean_completeness_is_a_fine_integral(events: list[tuple[int, float]], start: int, length: int) -> None:
    times = np.array([t for t, _ in events], dtype=np.int64)
    magnitudes = np.array([m for _, m in events], dtype=float)
    step = length // 20_000
    middles = start + step // 2 + step * np.arange(20_000, dtype=np.int64)
    fine = completeness_at(middles, times, magnitudes, 2.5).mean()
    starts, ends = np.array([start]), np.array([start + length])
    assert completeness_mean(starts, ends, times, magnitudes, 2.5)[0] == pytest.approx(fine, abs=5e-3)


@pytest.mark.parametrize("mc", [-10.0, -5.0, -1.13, 0.0])
def test_completeness_of_a_catalog_of_everything_stays_within_64_bits(mc: float) -> None:
    times, magnitudes = np.array([1_500_000_000_000_000]), np.array([9.5])
    found = completeness_at(times + DAY_US, times, magnitudes, mc)
    assert found[0] == pytest.approx(max(mc, 5.0))
    assert np.isfinite(completeness_mean(times, times + DAY_US, times, magnitudes, mc)).all()


# --- tables ----------------------------------------------------------------------------------------------------------


def test_events_are_selected_in_half_open_time_with_the_edges_of_the_region() -> None:
    events = event_table(
        [
            {**row, "depth_km": 5.0, "event_id": str(i), "magnitude_type": "", "event_type": ""}
            | {"evaluation_mode": "", "evaluation_status": ""}
            for i, row in enumerate(
                {"time": t, "latitude": a, "longitude": b, "magnitude": m}
                for t in (0, 1, 2)
                for a in (41.0, 41.5, 44.0)
                for b in (11.5, 14.6)
                for m in (2.4, 2.5 + 0.3)
            )
        ]
    )
    start, end = (pd.Timestamp(t, unit="us", tz="UTC") for t in (0, 2))
    region = {"min_latitude": 41.5, "max_latitude": 44.0, "min_longitude": 11.5, "max_longitude": 14.5}
    chosen = select_events(events, start=start, end=end, region=region, min_magnitude=2.8)
    assert times_us(chosen["time"]).tolist() == [0, 0, 1, 1]
    assert chosen["latitude"].tolist() == [41.5, 44.0] * 2
    assert list(chosen.index) == [0, 1, 2, 3]


@given(st.tuples(*[st.floats(-90, 90), st.floats(-180, 180)] * 2))
def test_distances_are_those_of_the_chord(points: tuple[float, float, float, float]) -> None:
    a, b = ((math.radians(lat), math.radians(lon)) for lat, lon in (points[:2], points[2:]))
    u, v = ((math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)) for lat, lon in (a, b))
    expected = 2 * 6371.0 * math.asin(min(1.0, math.dist(u, v) / 2))
    found = distance_km(np.array([points[0]]), np.array([points[1]]), points[2], points[3])[0]
    assert found == pytest.approx(expected, abs=2e-3)


@settings(max_examples=30)
@given(event_tables())
def test_the_hash_of_a_table_depends_on_every_value_and_on_nothing_else(events: pd.DataFrame) -> None:
    whole = table_sha256(events)
    assert table_sha256(events.copy().set_index(events.index + 5)) == whole
    for column in ("latitude", "longitude", "magnitude"):
        changed = events.copy()
        changed.loc[0, column] = np.nextafter(changed.loc[0, column], 1000.0)
        assert table_sha256(changed) != whole
    changed = events.copy()
    changed.loc[0, "time"] += pd.Timedelta(microseconds=1)
    assert table_sha256(changed) != whole
    assert table_sha256(events.iloc[1:]) != whole


def raw_rows(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    base = {
        "time": ["2016-10-30T06:40:17Z"] * n,
        "latitude": [42.8] * n,
        "longitude": [13.1] * n,
        "magnitude": [6.5] * n,
    }
    raw = pd.DataFrame(base | columns)
    raw["time"] = pd.to_datetime(raw["time"], errors="coerce", utc=True)
    return raw


def test_every_row_that_cannot_be_used_is_counted_under_one_reason() -> None:
    raw = raw_rows(
        event_id=["ok", "time", "none", "n/a", "north", "wild", "blast", "ok", ""],
        time=["2016-10-30T06:40:17Z", None, *["2016-10-30T06:40:17Z"] * 6, "2016-10-30T06:40:18Z"],
        magnitude=["6.5", "5", None, "n/a", "5", "12", "3", "6.5", "2.5"],
        latitude=[42.8, 42.8, 42.8, 42.8, 95.0, 42.8, 42.8, 42.8, 42.8],
        event_type=["earthquake", "", "", "", "", "", "quarry blast", "", "Earthquake"],
    )
    catalog = tidy_events(raw, origin="x.csv")
    assert catalog.dropped == {
        "bad_time": 1, "duplicate": 1, "no_magnitude": 2, "not_an_earthquake": 1, "out_of_range": 2
    }  # fmt: skip
    assert len(catalog.events) + sum(catalog.dropped.values()) == len(raw)
    assert list(catalog.events.columns) == list(EVENT_COLUMNS)
    notes = " | ".join(catalog.notes)
    assert "x.csv: 2 row(s) dropped as no_magnitude, the first in line 4: magnitude ''" in notes
    assert "2 row(s) dropped as out_of_range, the first in line 6: latitude 95.0" in notes


def test_a_table_without_a_usable_row_is_refused_with_file_line_and_value() -> None:
    with pytest.raises(DataFileError, match=r"x.csv: none of its 2 rows can be used.*line 2: magnitude 'n/a'"):
        tidy_events(raw_rows(magnitude=["n/a", "--"]), origin="x.csv")
    with pytest.raises(DataFileError, match="holds no events"):
        tidy_events(raw_rows(magnitude=["n/a"]).iloc[:0], origin="x.csv")


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_event_is_the_nearest(seed: int) -> None:
    events = random_events(seed, 50)
    rng = np.random.default_rng(seed)
    time = pd.Timestamp("2016-06-01", tz="UTC") + pd.Timedelta(days=float(rng.uniform(-200, 200)))
    offsets = [(t - time).total_seconds() for t in events["time"]]
    found = nearest_event(events, time)
    assert found is not None
    assert found["offset_s"] == pytest.approx(min(offsets, key=abs))
    alike = [o for o, m in zip(offsets, events["magnitude"], strict=True) if abs(m - 1.5) <= 0.3 + 1e-9]
    near = nearest_event(events, time, 1.5)
    assert (near is None) == (not alike)
    if near is not None:
        assert near["offset_s"] == pytest.approx(min(alike, key=abs))
