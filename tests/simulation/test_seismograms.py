"""A station's simulated record: the events are in it, at their times, whatever way it is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from seisprobe.errors import InputError
from seisprobe.simulation.ground_motion import arrivals
from seisprobe.simulation.noise import NoiseModel
from seisprobe.simulation.seismograms import (
    DAY_US,
    FULL_SCALE,
    Recording,
    Station,
    check_events,
    simulate_record,
    station_day,
)

DAYS = 16_000 * DAY_US  # a day in 2013
SILENT = NoiseModel(
    level=0.0, day_night_ratio=1.0, storm_db=0.0, glitches_per_day=0.0, gaps_per_day=0.0, outages_per_year=0.0
)
RECORDING = Recording(DAYS, DAYS + 4 * DAY_US, noise=SILENT)
STATION = Station("IV", "NRCA", 42.83, 13.11)


def event(name: str, seconds: float, magnitude: float, **more: object) -> dict[str, object]:
    time = pd.Timestamp(DAYS + round(seconds * 1e6), unit="us", tz="UTC")
    place = {"latitude": 42.9, "longitude": 13.1, "depth_km": 9.0}
    return {"event_id": name, "time": time, "magnitude": magnitude} | place | more


def table(*events: dict[str, object]) -> pd.DataFrame:
    columns = ["event_id", "time", "latitude", "longitude", "depth_km", "magnitude"]
    return (
        pd.DataFrame(list(events))
        if events
        else pd.DataFrame(columns=columns).astype({"time": "datetime64[us, UTC]"} | dict.fromkeys(columns[2:], float))
    )


def counts(
    events: pd.DataFrame, start_s: float, n: int, recording: Recording = RECORDING, **more: object
) -> np.ndarray:
    station = replace(STATION, **more)
    return simulate_record(events, station, DAYS + round(start_s * 1e6), n, recording).counts


def test_p_and_s_begin_when_the_layers_say() -> None:
    made = counts(table(event("a", 100.0, 3.0, latitude=43.1)), 90.0, 6000).astype(float)
    first = arrivals(np.array([30.03]), np.array([9.0]))
    peak = np.abs(made).max(axis=0)
    onset = 90.0 + np.argmax(peak > 0.02 * peak.max()) / 100.0
    assert onset - 100.0 == pytest.approx(first.p_s[0], abs=0.3)
    s = round(100 * (10.0 + first.s_s[0]))
    horizontal = np.sqrt(np.mean(made[:2] ** 2, axis=0))
    assert np.sqrt(np.mean(horizontal[s : s + 200] ** 2)) > 2 * np.sqrt(np.mean(horizontal[s - 150 : s] ** 2))


def test_p_points_away_from_its_event() -> None:
    for place, horizontal in (
        ({"latitude": 42.53, "longitude": 13.11}, (0, 1)),
        ({"latitude": 42.83, "longitude": 12.7}, (1, 0)),
    ):
        events = table(event("a", 100.0, 4.0, **place))
        first = arrivals(np.array([33.4]), np.array([9.0]))
        still, moving = counts(events, 100.0 + round(first.p_s[0] + 0.2), 300)[list(horizontal)].astype(float)
        assert np.std(still) < 0.1 * np.std(moving)
        up = counts(events, 100.0 + round(first.p_s[0] + 0.2), 300)[2].astype(float)
        assert np.corrcoef(moving, up)[0, 1] > 0.99  # to the north, or the east, when upwards


def test_an_event_across_midnight_is_the_same_on_both_days() -> None:
    events = table(event("a", 86_395.0, 5.0), event("b", 86_390.0, 2.0), event("c", 86_420.0, 3.0))
    noisy = replace(RECORDING, noise=NoiseModel(glitches_per_day=50.0))
    whole = counts(events, 86_380.0, 8000, noisy)
    before, after = counts(events, 86_380.0, 2000, noisy), counts(events, 86_400.0, 6000, noisy)
    assert np.array_equal(whole, np.concatenate([before, after], axis=1))
    assert np.abs(after).max() > 10_000


def test_what_one_event_gives_does_not_depend_on_the_others_or_their_order() -> None:
    one, two = event("a", 100.0, 3.0), event("b", 110.0, 2.5)
    alone, other, both, turned = (
        counts(table(*rows), 90.0, 6000).astype(int) for rows in ((one,), (two,), (one, two), (two, one))
    )
    quiet = counts(table(), 90.0, 6000).astype(int)
    assert np.abs(both - (alone + other - quiet)).max() <= 2  # of rounding
    assert np.abs(both - turned).max() <= 1


def test_seed_station_and_event_each_make_another_record_and_the_same_the_same() -> None:
    base = counts(table(event("a", 100.0, 3.0)), 95.0, 4000)
    assert np.array_equal(base, counts(table(event("a", 100.0, 3.0)), 95.0, 4000))
    for other in (
        counts(table(event("b", 100.0, 3.0)), 95.0, 4000),
        counts(table(event("a", 100.0, 3.0)), 95.0, 4000, replace(RECORDING, seed=1)),
        counts(table(event("a", 100.0, 3.0)), 95.0, 4000, code="CAMP"),
    ):
        assert abs(np.corrcoef(base[0], other[0])[0, 1]) < 0.3


def test_events_of_a_family_are_alike_and_scale_with_size() -> None:
    events = table(
        event("a", 100.0, 2.0, family="f"), event("b", 200.0, 2.0, family="f"), event("c", 300.0, 2.0, family="")
    )
    first, second, third = (counts(events, at, 1500)[0].astype(float) for at in (100.0, 200.0, 300.0))
    assert np.corrcoef(first, second)[0, 1] > 0.98
    assert abs(np.corrcoef(first, third)[0, 1]) < 0.4


def test_counts_are_proportional_to_the_gain() -> None:
    events = table(event("a", 100.0, 4.0))
    one, two = (counts(events, 95.0, 4000, counts_per_m_s=gain).astype(float) for gain in (1e7, 2e7))
    assert np.abs(two - 2 * one).max() <= 1.5


def test_the_digitiser_clips_and_says_how_often() -> None:
    record = simulate_record(table(event("a", 100.0, 6.0)), STATION, DAYS + 95_000_000, 4000, RECORDING)
    assert np.abs(record.counts).max() == FULL_SCALE
    assert record.clipped == np.count_nonzero(np.abs(record.counts) == FULL_SCALE)
    small = simulate_record(table(event("a", 100.0, 2.0)), STATION, DAYS + 95_000_000, 4000, RECORDING)
    assert small.clipped == 0


def test_a_depth_that_is_not_known_is_ten_kilometres() -> None:
    unknown, ten = (counts(table(event("a", 100.0, 3.0, depth_km=d)), 95.0, 4000) for d in (np.nan, 10.0))
    assert np.array_equal(unknown, ten)


def test_an_event_right_under_the_station_at_no_depth_moves_it_by_a_finite_amount() -> None:
    made = counts(table(event("a", 100.0, 1.0, latitude=42.83, longitude=13.11, depth_km=0.0)), 99.0, 1000)
    assert 100 < np.abs(made).max() < FULL_SCALE


def test_a_stream_has_a_trace_a_component_and_piece_and_misses_what_was_lost() -> None:
    lossy = replace(RECORDING, noise=replace(SILENT, gaps_per_day=200.0, gap_s=20.0))
    record = simulate_record(table(), STATION, DAYS, 360_000, lossy)
    stream = record.stream()
    assert len(record.gaps) >= 2
    assert len(stream) == 3 * len(record.pieces())
    assert {trace.id for trace in stream} == {"IV.NRCA..HHE", "IV.NRCA..HHN", "IV.NRCA..HHZ"}
    lost = (record.gaps[:, 1] - record.gaps[:, 0]).sum() // 10_000
    assert sum(trace.stats.npts for trace in stream.select(channel="HHZ")) == 360_000 - lost
    for trace in stream.select(channel="HHN"):
        begin = (trace.stats.starttime.ns // 1000 - DAYS) // 10_000
        assert np.array_equal(trace.data, record.counts[1, begin : begin + trace.stats.npts])
        assert trace.data.dtype == np.int32


def test_a_record_lost_as_a_whole_has_no_pieces() -> None:
    gone = replace(RECORDING, noise=replace(SILENT, outages_per_year=365_250.0, outage_h=200.0))
    record = simulate_record(table(), STATION, DAYS + DAY_US, 1000, gone)
    assert record.pieces() == []
    assert len(record.stream()) == 0


def test_a_day_is_a_day() -> None:
    events = table(event("a", 100.0, 3.0), event("b", 86_500.0, 3.0))
    record = station_day(events, STATION, DAYS, RECORDING)
    assert record.counts.shape == (3, 8_640_000)
    assert np.array_equal(record.counts[:, 9500:13_500], counts(events, 95.0, 4000))


@pytest.mark.parametrize("seconds", [-1.0, 4 * 86_400.0])
def test_an_event_outside_the_record_is_one_line(seconds: float) -> None:
    with pytest.raises(InputError) as caught:
        counts(table(event("far", seconds, 3.0)), 0.0, 1000)
    message = str(caught.value)
    assert message.startswith("event far of 2013-")
    assert "lies outside the record, 2013-10-22T00:00:00Z to 2013-10-26T00:00:00Z" in message
    assert "\n" not in message


def test_an_event_too_deep_and_a_stretch_outside_or_off_the_samples_are_one_line() -> None:
    with pytest.raises(InputError, match=r"event a: depth_km = 900, must be at most 700"):
        check_events(table(event("a", 10.0, 3.0, depth_km=900.0)), RECORDING)
    for start_us, n in ((DAYS - 10_000, 100), (DAYS + 4 * DAY_US - 10_000, 2), (DAYS + 5_000, 100), (DAYS, 0)):
        with pytest.raises(InputError, match="must lie on samples within the record"):
            simulate_record(table(), STATION, start_us, n, RECORDING)
