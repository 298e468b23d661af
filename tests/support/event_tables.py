"""Event tables made from nothing: by seed, and by hypothesis."""

from __future__ import annotations

import string

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from seisprobe.catalog import EVENT_COLUMNS

TEXT = ("event_id", "magnitude_type", "event_type", "evaluation_mode", "evaluation_status")
EARLIEST_US = -315_619_200_000_000  # 1960-01-01
LATEST_US = 1_893_456_000_000_000  # 2030-01-01


def event_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return rows (times in microseconds) as an event table: types and order as the package has them."""
    table = pd.DataFrame(rows, columns=[*EVENT_COLUMNS])
    table["time"] = pd.to_datetime(table["time"].astype("int64"), unit="us", utc=True).dt.as_unit("us")
    for column in ("latitude", "longitude", "depth_km", "magnitude"):
        table[column] = table[column].astype("float64")
    for column in TEXT:
        table[column] = table[column].astype("string")
    return table.sort_values(["time", "event_id"], ignore_index=True)


def random_events(
    seed: int,
    n: int,
    *,
    start: str = "2016-01-01",
    end: str = "2016-12-31",
    region: tuple[float, ...] = (41, 44, 11, 14),
) -> pd.DataFrame:
    """Return `n` events spread evenly over a period and a region (south, north, west, east)."""
    rng = np.random.default_rng(seed)
    low, high = (pd.Timestamp(t, tz="UTC").value // 1000 for t in (start, end))
    times = np.sort(rng.choice(np.arange(low, high, 10_000_000 + int(rng.integers(9))), size=n, replace=False))
    rows = [
        {
            "event_id": str(7_000_000 + i * 10 + int(rng.integers(10))),
            "time": int(time) + int(rng.integers(1_000_000)),
            "latitude": round(float(rng.uniform(region[0], region[1])), 4),
            "longitude": round(float(rng.uniform(region[2], region[3])), 4),
            "depth_km": round(float(rng.exponential(9.0)), 1),
            "magnitude": round(float(1.0 + rng.exponential(0.45)), 1),
            "magnitude_type": str(rng.choice(["ML", "Mw", "Md"])),
            "event_type": "earthquake",
            "evaluation_mode": "manual",
            "evaluation_status": "reviewed",
        }
        for i, time in enumerate(times)
    ]
    return event_table(rows)


def _floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)


_event = st.fixed_dictionaries(
    {
        "event_id": st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12),
        "time": st.integers(EARLIEST_US, LATEST_US),
        "latitude": _floats(-90, 90),
        "longitude": _floats(-180, 180),
        "depth_km": st.none() | _floats(-5, 700),
        "magnitude": _floats(-2, 9.9),
        "magnitude_type": st.sampled_from(["", "ML", "Mw", "md"]),
        "event_type": st.sampled_from(["", "earthquake"]),
        "evaluation_mode": st.sampled_from(["", "manual", "automatic"]),
        "evaluation_status": st.sampled_from(["", "final", "preliminary"]),
    }
)


def event_tables(max_events: int = 12) -> st.SearchStrategy[pd.DataFrame]:
    """Return a hypothesis strategy of event tables: any time, place, depth or none, any last bit of a number."""
    # Without ids, events of the same time could be taken for one, and an id in upper and lower case is two.
    rows = st.lists(_event, min_size=1, max_size=max_events, unique_by=(lambda r: r["event_id"], lambda r: r["time"]))
    return rows.map(event_table)
