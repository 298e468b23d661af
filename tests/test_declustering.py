"""Aftershocks by windows and by nearest neighbours, looking back only."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seisprobe.catalog import distance_km
from seisprobe.declustering import (
    DECLUSTERING,
    aftershock_spans,
    are_aftershocks,
    gardner_knopoff_windows,
    nearest_neighbour,
    neighbour_distances,
)
from seisprobe.errors import StudyError
from support.event_tables import event_table

DAY_US = 86_400_000_000
START = datetime(2020, 1, 1, tzinfo=UTC)


def catalog(seed: int, n: int, days: float = 300.0):
    rng = np.random.default_rng(seed)
    first = int(START.timestamp() * 1e6)
    rows = [
        {"event_id": f"e{i}", "time": first + int(t * DAY_US), "latitude": round(float(a), 4),
         "longitude": round(float(b), 4), "depth_km": 10.0, "magnitude": round(float(m), 1), "magnitude_type": "ML",
         "event_type": "", "evaluation_mode": "", "evaluation_status": ""}
        for i, (t, a, b, m) in enumerate(zip(
            np.sort(rng.uniform(0, days, n)), rng.normal(43, 0.4, n), rng.normal(13, 0.4, n),
            3.0 + rng.exponential(0.6, n), strict=True))
    ]  # fmt: skip
    return event_table(rows)


def by_hand(events, row: int) -> bool:
    """Gardner and Knopoff's window with plain loops: km, days, earlier and at least as large."""
    here = events.iloc[row]
    for i in range(row):
        other = events.iloc[i]
        if other["magnitude"] < here["magnitude"] - 1e-9:
            continue
        m = other["magnitude"]
        km = 10 ** (0.1238 * m + 0.983)
        days = 10 ** (0.032 * m + 2.7389) if m >= 6.5 else 10 ** (0.5409 * m - 0.547)
        a, b = (np.array([float(other[c])]) for c in ("latitude", "longitude"))
        near = distance_km(a, b, float(here["latitude"]), float(here["longitude"]))[0] <= km
        if near and timedelta(0) < here["time"] - other["time"] <= timedelta(days=days):
            return True
    return False


@given(st.integers(0, 10**6), st.integers(2, 40))
def test_gardner_knopoff_equals_plain_loops(seed: int, n: int) -> None:
    events = catalog(seed, n)
    found = are_aftershocks(events, DECLUSTERING["gardner-knopoff"](events), np.arange(n))
    assert found.tolist() == [by_hand(events, row) for row in range(n)]


@pytest.mark.parametrize(
    ("magnitude", "km", "days"), [(2.5, 19.5, 6), (4.0, 30.0, 42), (5.5, 47.0, 290), (6.0, 54.0, 510), (7.0, 70.0, 915)]
)
def test_the_windows_are_near_the_table_of_1974(magnitude: float, km: float, days: float) -> None:
    found_km, found_days = (float(x[0]) for x in gardner_knopoff_windows(np.array([magnitude])))
    assert found_km == pytest.approx(km, rel=0.06)
    assert found_days == pytest.approx(days, rel=0.08)


@given(st.integers(0, 10**6))
def test_what_comes_later_decides_nothing(seed: int) -> None:
    events = catalog(seed, 40)
    rows = np.arange(20)
    reach = DECLUSTERING["gardner-knopoff"](events)
    before = are_aftershocks(events.iloc[:20], reach, rows)
    assert before.tolist() == are_aftershocks(events, reach, rows).tolist()


def test_neighbour_distances_equal_plain_loops() -> None:
    events = catalog(3, 60)
    found = neighbour_distances(events)
    times = [t.timestamp() for t in events["time"]]
    for row in range(1, 60):
        best = math.inf
        for i in range(row):
            years = max(times[row] - times[i], 1.0) / 86_400 / 365.25
            a, b = (np.array([float(events[c].iloc[i])]) for c in ("latitude", "longitude"))
            km = distance_km(a, b, float(events["latitude"].iloc[row]), float(events["longitude"].iloc[row]))[0]
            best = min(best, math.log10(years * max(km, 0.1) ** 1.6 * 10 ** -float(events["magnitude"].iloc[i])))
        assert found[row] == pytest.approx(best, abs=1e-9)
    assert found[0] == math.inf


def test_nearest_neighbours_find_a_planted_sequence_and_leave_a_scattered_catalog() -> None:
    events = catalog(5, 400, days=3000.0)
    rng = np.random.default_rng(1)
    main = {**events.iloc[200].to_dict(), "magnitude": 6.5, "event_id": "main"}
    time = int(main["time"].timestamp() * 1e6)
    rows = [*events.to_dict("records"), main]
    for i in range(200):
        later, north = int(DAY_US * 10 ** rng.uniform(-2, 1)), rng.normal(0, 0.01)
        after = {"event_id": f"a{i}", "magnitude": 3.0, "time": time + later, "latitude": main["latitude"] + north}
        rows.append({**main, **after})
    rows = [{**r, "time": r["time"] if isinstance(r["time"], int) else int(r["time"].timestamp() * 1e6)} for r in rows]
    planted = event_table(rows).sort_values("time", kind="stable", ignore_index=True)
    found = are_aftershocks(planted, nearest_neighbour(planted), np.arange(len(planted)))
    mine = planted["event_id"].str.startswith("a").to_numpy()
    assert found[mine].mean() > 0.97
    assert found[~mine].mean() < 0.1
    assert not found[planted["event_id"].eq("main")].any()


def test_spans_and_single_events_say_the_same() -> None:
    events = catalog(9, 150)
    reach = nearest_neighbour(events)
    for row in range(0, 150, 7):
        event = events.iloc[row]
        place = float(event["latitude"]), float(event["longitude"])
        starts, ends = aftershock_spans(events, reach, place, float(event["magnitude"]))
        time = int(event["time"].timestamp() * 1e6)
        inside = any(a < time <= b for a, b in zip(starts, ends, strict=True))
        assert inside == are_aftershocks(events, reach, np.array([row]))[0]


def test_too_few_events_have_no_nearest_neighbours() -> None:
    with pytest.raises(StudyError, match=r"rule\.decluster = 'nearest-neighbour': 20 events are too few"):
        nearest_neighbour(catalog(0, 20))
