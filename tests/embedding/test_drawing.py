"""Drawing segments: exactly as many, of the valid ones, by name and seed alone; masks and grids of whole segments."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.embedding.drawing import draw_segments, priorities, touched, wanted_starts
from seisprobe.embedding.masking import coda_s, shaken_spans

US = 1_000_000
MINUTE = 60 * US


@settings(max_examples=60, deadline=None)
@given(
    valid=st.lists(st.booleans(), min_size=1, max_size=60),
    windows=st.lists(st.tuples(st.integers(-3600, 3600), st.integers(1, 3600), st.integers(1, 8)), max_size=6),
    seed=st.integers(0, 5),
)
def test_a_window_has_the_valid_segments_of_lowest_priority_that_lie_wholly_in_it(valid, windows, seed):
    starts = MINUTE * np.arange(len(valid))
    order = priorities(pd.Series([f"s{i}" for i in range(len(valid))]), seed)
    begin = np.array([a * US for a, _, _ in windows], np.int64)
    end = begin + np.array([b * US for _, b, _ in windows], np.int64)
    counts = np.array([n for _, _, n in windows], np.int64)
    drawn = draw_segments(starts, np.array(valid), order, (begin, end, counts))
    found = dict(zip(drawn.rows.tolist(), drawn.segments, strict=True))
    for row, (a, b, n) in enumerate(zip(begin, end, counts, strict=True)):
        inside = [i for i, s in enumerate(starts) if valid[i] and s >= a and s + MINUTE <= b]
        if len(inside) < n:
            assert row not in found
        else:
            assert found[row].tolist() == sorted(sorted(inside, key=lambda i: order[i])[:n])


def test_a_window_inside_another_shares_what_it_can():
    starts = MINUTE * np.arange(1440)
    order = priorities(pd.Series(starts.astype(str)), 0)
    windows = (np.zeros(2, np.int64), MINUTE * np.array([1440, 720]), np.array([60, 60]))
    long, short = draw_segments(starts, np.ones(1440, bool), order, windows).segments
    assert set(long[long < 720]) <= set(short)
    assert 15 <= (long < 720).sum() <= 45


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 300)), max_size=8))
def test_touched_equals_a_comparison_one_by_one(spans):
    starts = 7 * US * np.arange(150)
    first = np.array([a * US for a, _ in spans], np.int64)
    last = first + np.array([b * US + 1 for _, b in spans], np.int64)
    expected = [any(s < b and a < s + MINUTE for a, b in zip(first, last, strict=True)) for s in starts]
    assert touched(starts, (first, last)).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 20_000)), min_size=1, max_size=4),
    st.sampled_from([7, 30, 60]),
)
def test_wanted_starts_are_all_whole_segments_of_the_grid(windows, hop):
    begin = pd.to_datetime([a * 10**9 for a, _ in windows], utc=True).as_unit("us")
    table = pd.DataFrame({"start": begin, "end": begin + pd.to_timedelta([b for _, b in windows], unit="s")})
    expected = {s for a, b in windows for s in range(0, 230_000, hop) if s >= a and s + 60 <= a + b}
    found = wanted_starts(table, hop)
    assert {int(s) for part in found.values() for s in part} == expected
    assert all(str(np.datetime64(int(s), "s"))[:10] == day for day, part in found.items() for s in part)


def test_an_event_shakes_from_before_its_p_wave_to_the_end_of_its_coda():
    events = pd.DataFrame({"time": pd.to_datetime(["2016-10-30T06:40:17Z"]).as_unit("us"), "latitude": [42.83],
                           "longitude": [13.11], "depth_km": [0.0], "magnitude": [3.0]})  # fmt: skip
    (first,), (last,) = shaken_spans(events, 42.83 + 60 / 111.19, 13.11)
    origin = events["time"].astype("int64").iloc[0]
    assert abs((first - origin) / US - (60 / 6.0 - 5.0)) < 0.1
    assert abs((last - first) / US - (5.0 + 10 ** ((3.0 + 2.31) / 2.49))) < 0.1
    assert (np.diff(coda_s(np.arange(1.0, 6.0))) > 0).all()
