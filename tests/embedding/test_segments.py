"""Segments: exact, on the minute, the same whatever files the data came in, and a reason for each that is not there."""

from __future__ import annotations

import numpy as np
import obspy
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime
from scipy.signal import firwin

from seisprobe.embedding.components import Segmenting
from seisprobe.embedding.segments import COLUMNS, REASONS, cut_segments, cut_traces, grid_starts
from seisprobe.errors import InputError
from seisprobe.sources.waveforms import Traces
from support.embeddings import seconds, starts
from support.shared import shared_file
from support.waveforms import DAY, cut, make_stream, piece, without

NOON = "2016-10-30T12:00:00"


def of_day(stream: Stream, **options):
    day = pd.Timestamp(min(trace.stats.starttime for trace in stream).date, tz="UTC")
    return cut_segments(stream, grid_starts(day, day + pd.Timedelta(days=1)), Segmenting(**options))


def reasons(table: pd.DataFrame) -> list[str]:
    return table.reason.tolist()


def same(one, other) -> bool:
    return one.waveforms.tobytes() == other.waveforms.tobytes() and one.table.equals(other.table)


# --- real files ------------------------------------------------------------------------------------------------------

REAL = {
    "IV.CESI_2018-04-04_PieveTorina.mseed": (1, {"gap": 2}, 100.0, 0.0003, "HHE,HHN,HHZ"),
    "AM.RAC84_100hz_A.mseed": (30, {"gap": 2, "missing_component": 1}, 100.0, 0.001, "EHE,EHN,EHZ"),
    "AM.RAC84_100hz_B.mseed": (32, {"gap": 2}, 100.0, 0.001, "EHE,EHN,EHZ"),
    "AM.RAC84_100hz_C.mseed": (30, {"gap": 2}, 100.0, 0.003, "EHE,EHN,EHZ"),
    "TR.EGG05_128hz.mseed": (2, {"gap": 2}, 128.0, 0.0012, "?HE,?HN,?HZ"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_hold_this_many_whole_minutes_and_every_other_minute_has_a_reason(name: str) -> None:
    count, dropped, rate_hz, offset_s, channels = REAL[name]
    waveforms, table = of_day(obspy.read(shared_file(f"data/waveforms/{name}")))
    kept = table[table.reason == ""]
    assert waveforms.shape == (count, 3, 6000)
    assert waveforms.dtype == np.float32
    lost = table.reason[table.reason != ""].value_counts().to_dict()
    assert lost == {**dropped, "no_data": 1440 - count - sum(dropped.values())}
    assert set(kept.rate_hz) == {rate_hz}
    assert set(kept.offset_s) == {offset_s}
    assert set(kept.channels) == {channels}


def test_the_real_minute_of_cesi_holds_the_recorded_counts_in_the_order_e_n_z() -> None:
    stream = obspy.read(shared_file("data/waveforms/IV.CESI_2018-04-04_PieveTorina.mseed"))
    waveforms, _ = of_day(stream)
    for values, component in zip(waveforms[0], "ENZ", strict=True):
        (trace,) = stream.select(channel=f"HH{component}")
        first = round((UTCDateTime("2018-04-04T02:20:00") - trace.stats.starttime) * 100)
        assert np.array_equal(values, trace.data[first : first + 6000])


def test_the_last_minute_of_rac84_b_ends_on_its_last_sample() -> None:
    stream = obspy.read(shared_file("data/waveforms/AM.RAC84_100hz_B.mseed"))
    waveforms, table = of_day(stream)
    assert table.start[table.reason == ""].max() == pd.Timestamp("2023-05-04T19:41:00Z")
    (trace,) = stream.select(component="Z")
    # The last sample, at 19:41:59.999, lies nearest to the place of 19:42:00.00, the first of the next minute.
    assert np.array_equal(waveforms[-1, 2], trace.data[-6001:-1])


# --- the same data in other pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate_hz", "shift_s"),
    [(100.0, 0.0), (100.0, 0.0031), (100.0, 0.005), (125.0, 0.0), (128.0, 0.00431), (62.5, 0.0), (200.0, 0.0025)],
)
@pytest.mark.parametrize("pieces", [2, 40])
def test_cuts_at_random_places_change_no_byte(rate_hz: float, shift_s: float, pieces: int) -> None:
    stream = make_stream(start=UTCDateTime(NOON) - 7.3 + shift_s, seconds=420, rate_hz=rate_hz)
    whole = cut_segments(stream, starts(NOON, 6))
    assert reasons(whole.table) == [""] * 6
    for seed in range(5):
        assert same(cut_segments(cut(stream, pieces, seed), starts(NOON, 6)), whole)


@pytest.mark.parametrize("name", ["IV.CESI_2018-04-04_PieveTorina.mseed", "TR.EGG05_128hz.mseed"])
def test_real_data_cut_anywhere_and_written_to_files_give_the_same_bytes(name: str, tmp_path) -> None:
    stream = obspy.read(shared_file(f"data/waveforms/{name}"))
    whole = of_day(stream)
    for seed in range(2):
        pieces = cut(stream, 9, seed)
        for number, trace in enumerate(pieces):
            trace.write(str(tmp_path / f"{seed}-{number}.mseed"), format="MSEED")
        again = [trace for number in range(len(pieces)) for trace in obspy.read(tmp_path / f"{seed}-{number}.mseed")]
        assert same(of_day(Stream(again)), whole)


@given(data=st.data(), rate_hz=st.sampled_from([100.0, 128.0, 80.0]), hop_s=st.sampled_from([1, 20, 60]))
@settings(max_examples=25)
def test_pieces_may_overlap_repeat_and_come_in_any_order(data, rate_hz: float, hop_s: int) -> None:
    stream = make_stream(start=UTCDateTime(NOON) - 4, seconds=150, rate_hz=rate_hz)
    grid = starts(NOON, 80 // hop_s + 1, hop_s)
    extra = Stream()
    for _ in range(data.draw(st.integers(1, 4))):
        trace = stream[data.draw(st.integers(0, 2))]
        first = data.draw(st.integers(0, trace.stats.npts - 1))
        extra.append(piece(trace, first, data.draw(st.integers(first + 1, trace.stats.npts))))
    mixed = list(extra) + list(cut(stream, data.draw(st.integers(2, 6)), data.draw(st.integers(0, 99))))
    assert same(cut_segments(data.draw(st.permutations(mixed)), grid), cut_segments(stream, grid))


def test_a_segment_does_not_depend_on_which_others_are_cut() -> None:
    stream = make_stream(start=UTCDateTime(NOON) - 300, seconds=900, rate_hz=125.0)
    together = cut_segments(stream, starts(NOON, 5))
    for number, start in enumerate(starts(NOON, 5)):
        near = stream.slice(UTCDateTime(int(start)) - 2, UTCDateTime(int(start)) + 62)
        alone = cut_segments(near, [int(start)])
        assert np.array_equal(alone.waveforms[0], together.waveforms[number])


# --- the grid of samples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift_s", [-0.0049, -0.001, 0.0, 0.0003, 0.0049])
def test_samples_off_the_grid_by_up_to_half_a_sample_are_snapped_and_the_offset_is_kept(shift_s: float) -> None:
    stream = make_stream(start=UTCDateTime(NOON) - 10, seconds=120)
    exact = cut_segments(stream, starts(NOON, 1))
    stream[1].stats.starttime += shift_s
    shifted = cut_segments(stream, starts(NOON, 1))
    assert np.array_equal(shifted.waveforms, exact.waveforms)
    assert shifted.table.offset_s.tolist() == [pytest.approx(abs(shift_s))]


def test_records_whose_times_jitter_around_half_a_sample_stay_in_phase() -> None:
    stream = make_stream(start=UTCDateTime(NOON) - 10 + 0.005, seconds=120)
    rng = np.random.default_rng(3)
    pieces = cut(stream, 30, 1)
    for trace in pieces:
        trace.stats.starttime += float(rng.uniform(-0.0005, 0.0005))
    assert reasons(cut_segments(pieces, starts(NOON, 1)).table) == [""]


@pytest.mark.parametrize(("components", "channels"), [("12Z", "HH2,HH1,HHZ"), ("ENZ", "HHE,HHN,HHZ")])
def test_components_1_and_2_stand_in_for_n_and_e(components: str, channels: str) -> None:
    stream = make_stream(start=NOON, seconds=60, components=components)
    waveforms, table = cut_segments(stream, starts(NOON, 1))
    by_letter = {trace.stats.channel[-1]: trace.data for trace in stream}
    order = [by_letter[letter] for letter in ("21Z" if components == "12Z" else "ENZ")]
    assert np.array_equal(waveforms[0], np.array(order))
    assert table.channels[0] == channels


def test_e_and_n_come_before_2_and_1_and_a_channel_renamed_at_noon_goes_on() -> None:
    before = make_stream(start=UTCDateTime(NOON) - 120, seconds=120, components="12Z")
    after = make_stream(start=NOON, seconds=120, components="ENZ")
    _, table = cut_segments(before + after, starts("2016-10-30T11:58:00", 4))
    assert table.channels.tolist() == ["HH2,HH1,HHZ"] * 2 + ["HHE,HHN,HHZ"] * 2
    assert reasons(table) == [""] * 4


# --- other rates -----------------------------------------------------------------------------------------------------


def tone(hertz: float, rate_hz: float, seconds_: float = 100.0) -> Stream:
    time = np.arange(round(seconds_ * rate_hz)) / rate_hz - 20
    header = {"sampling_rate": rate_hz, "starttime": UTCDateTime(NOON) - 20, "network": "IV", "station": "X"}
    return Stream([Trace(1000 * np.sin(2 * np.pi * hertz * time), {**header, "channel": f"HH{c}"}) for c in "ENZ"])


@pytest.mark.parametrize("rate_hz", [80.0, 125.0, 128.0, 200.0, 250.0, 500.0, 62.5])
def test_other_rates_are_resampled_in_place_without_delay(rate_hz: float) -> None:
    waveforms, table = cut_segments(tone(5.0, rate_hz), starts(NOON, 1))
    assert table.rate_hz.tolist() == [rate_hz]
    expected = 1000 * np.sin(2 * np.pi * 5 * np.arange(6000) / 100)
    assert np.abs(waveforms[0] - expected).max() < 1.0


@pytest.mark.parametrize("rate_hz", [125.0, 200.0, 500.0])
def test_what_a_rate_of_100_hz_cannot_hold_is_filtered_out(rate_hz: float) -> None:
    waveforms, _ = cut_segments(tone(55.0, rate_hz), starts(NOON, 1))
    assert np.abs(waveforms).max() < 0.2  # 74 dB down


def test_the_filter_is_flat_to_42_hz() -> None:
    for hertz in (1.0, 20.0, 40.0, 42.0):
        waveforms, _ = cut_segments(tone(hertz, 200.0), starts(NOON, 1))
        expected = 1000 * np.sin(2 * np.pi * hertz * np.arange(6000) / 100)
        assert np.abs(waveforms[0] - expected).max() < 10


def test_an_offset_makes_no_tone() -> None:
    stream = tone(5.0, 128.0)
    for trace in stream:
        trace.data = 1e6 + 0.01 * trace.data
    waveforms, _ = cut_segments(stream, starts(NOON, 1))
    expected = 1e6 + 10 * np.sin(2 * np.pi * 5 * np.arange(6000) / 100)
    assert np.abs(waveforms[0] - expected).max() < 0.1


def test_resampling_is_the_textbook_polyphase_filter() -> None:
    stream = make_stream(start=UTCDateTime(NOON) - 10, seconds=90, rate_hz=200.0)
    waveforms, _ = cut_segments(stream, starts(NOON, 1))
    taps = firwin(121, 0.92 / 2, window=("kaiser", 8.0))
    for values, trace in zip(waveforms[0], stream, strict=True):
        smooth = np.convolve(trace.data.astype(float), taps)[60:][2000 : 2000 + 12000 : 2]
        assert np.allclose(values, smooth, atol=1e-3)


# --- reasons ---------------------------------------------------------------------------------------------------------


def minutes(stream: Stream, count: int = 3, **options):
    return cut_segments(stream, starts(NOON, count), Segmenting(**options))


def noise(**options) -> Stream:
    return make_stream(start=UTCDateTime(NOON) - 10, seconds=200, **options)


def test_one_missing_sample_drops_its_minute_and_no_other() -> None:
    waveforms, table = minutes(without(noise(), f"{NOON[:-2]}30.005", f"{NOON[:-2]}30.015", "HHN"))
    assert reasons(table) == ["gap", "", ""]
    assert table.gap_s[0] == pytest.approx(0.01)
    assert len(waveforms) == 2


def test_gaps_are_bridged_up_to_max_gap_s_by_a_straight_line_and_counted() -> None:
    whole = noise()
    stream = without(whole, "2016-10-30T12:00:30", "2016-10-30T12:00:30.25", "HHE")
    waveforms, table = minutes(stream, max_gap_s=0.25)
    assert reasons(table) == [""] * 3
    assert table.filled_samples.tolist() == [25, 0, 0]
    line = np.interp(np.arange(3000, 3025), [2999, 3025], waveforms[0, 0, [2999, 3025]])
    assert np.allclose(waveforms[0, 0, 3000:3025], line)
    assert np.array_equal(waveforms[1:], minutes(whole).waveforms[1:])
    assert reasons(minutes(stream, max_gap_s=0.24).table) == ["gap", "", ""]


def test_a_gap_is_as_long_as_it_is_though_only_its_end_lies_in_the_minute() -> None:
    stream = without(noise(), "2016-10-30T12:00:59", "2016-10-30T12:01:00.1")
    assert reasons(minutes(stream, max_gap_s=1.0).table) == ["gap", "gap", ""]
    assert reasons(minutes(stream, max_gap_s=1.11).table) == ["", "", ""]


@pytest.mark.parametrize(("channels", "expected"), [("HHZ", "missing_component"), ("*", "no_data")])
def test_a_component_that_is_not_there(channels: str, expected: str) -> None:
    stream = without(noise(), "2016-10-30T12:00:00", "2016-10-30T12:01:00", channels)
    assert reasons(minutes(stream).table) == [expected, "", ""]


def test_a_component_that_the_station_does_not_have() -> None:
    assert reasons(minutes(noise(components="EZ")).table) == ["missing_component"] * 3


def test_overlapping_records_that_disagree_are_believed_by_neither_and_counted() -> None:
    stream = noise()
    liar = piece(stream[0], 5000, 5100)
    liar.data = liar.data.copy()
    liar.data[50:52] += 1
    for order in (stream + Stream([liar]), Stream([liar]) + stream):
        waveforms, table = minutes(order)
        assert reasons(table) == ["overlap", "", ""]
        assert table.overlap_samples.tolist() == [2, 0, 0]
        assert len(waveforms) == 2
    assert reasons(minutes(stream + Stream([liar]), max_gap_s=0.02).table) == [""] * 3


def test_two_of_three_records_that_agree_do_not_outvote_the_third() -> None:
    stream = noise()
    liar = piece(stream[0], 5000, 5100)
    liar.data = liar.data + 1
    honest = piece(stream[0], 4900, 5200)
    tables = [minutes(Stream(list(s))).table for s in ([*stream, liar, honest], [liar, honest, *stream])]
    assert all(table.overlap_samples.tolist() == [100, 0, 0] for table in tables)


def test_a_channel_that_changes_rate_at_noon_loses_no_minute_and_one_that_does_so_within_a_minute_loses_it() -> None:
    def changing(at: float) -> Stream:
        before = make_stream(start=UTCDateTime(NOON) - 180, seconds=180 + at, rate_hz=100.0)
        after = make_stream(start=UTCDateTime(NOON) + at, seconds=180 - at, rate_hz=200.0)
        return before + after

    at_noon = cut_segments(changing(0.0), starts("2016-10-30T11:57:00", 6))
    assert reasons(at_noon.table) == [""] * 6
    assert at_noon.table.rate_hz.tolist() == [100.0] * 3 + [200.0] * 3
    within = cut_segments(changing(20.0), starts("2016-10-30T11:57:00", 6))
    assert reasons(within.table) == ["", "", "", "rate_change", "", ""]


def test_two_responses_in_a_day_cost_the_minute_in_which_they_change() -> None:
    edges = [seconds(NOON) + 90, seconds(NOON) + 180]
    _, table = cut_segments(make_stream(start=NOON, seconds=300), starts(NOON, 5), edges=edges)
    assert reasons(table) == ["", "metadata_epoch", "", "", ""]  # the second change is at the edge of a minute
    assert table.epoch.tolist() == [0, 0, 1, 2, 2]


def test_a_dead_channel() -> None:
    stream = noise()
    stream[2].data[:] = 17
    assert reasons(minutes(stream).table) == ["dead_channel"] * 3


def test_clipping_is_seen_in_flat_tops_and_not_in_quiet_or_smooth_records() -> None:
    time = np.arange(20000) / 100
    tops = 1e6 * np.sin(2 * np.pi * 3 * time) * np.exp(-(((time - 40) / 5) ** 2)) + np.random.default_rng(0).normal(
        0, 50, 20000
    )
    quiet = np.random.default_rng(1).normal(0, 1, 20000)
    swell = 1000 * np.sin(2 * np.pi * 0.15 * time)
    for wave, expected in ((np.clip(tops, -6e5, 6e5), "clipped"), (tops, ""), (quiet, ""), (swell, "")):
        stream = noise()
        stream[0].data = wave.round().astype(np.int32)
        assert reasons(minutes(stream).table)[0] == expected


def test_nan_and_infinite_samples_are_no_samples() -> None:
    stream = noise()
    stream[0].data = stream[0].data.astype(np.float64)
    stream[0].data[4000] = np.nan
    stream[0].data[12000] = np.inf
    assert reasons(minutes(stream).table) == ["gap", "gap", ""]


def test_masked_traces_hold_what_is_not_masked() -> None:
    stream = without(noise(), "2016-10-30T12:01:10", "2016-10-30T12:01:11")
    merged = stream.copy().merge()
    assert np.ma.isMaskedArray(merged[0].data)
    assert same(minutes(merged), minutes(stream))


def test_a_rate_beyond_a_gap_is_edge_of_the_filter_only_outside_the_minute() -> None:
    whole = make_stream(start=UTCDateTime(NOON) - 10, seconds=90, rate_hz=200.0)
    short = whole.slice(UTCDateTime(NOON), UTCDateTime(NOON) + 60 - 0.005)
    a, b = minutes(whole, 1).waveforms, minutes(short, 1).waveforms
    assert np.array_equal(a[..., 30:-30], b[..., 30:-30])


def test_every_row_has_the_columns_and_a_known_reason() -> None:
    table = minutes(without(noise(), "2016-10-30T12:00:30", "2016-10-30T12:02:30")).table
    assert tuple(table) == COLUMNS
    assert set(table.reason) <= {"", *REASONS}
    assert str(table.start.dtype) == "datetime64[us, UTC]"
    assert table.segment_id[0] == "IV.NRCA..HH.2016-10-30T12:00:00"


def test_nothing_gives_nothing() -> None:
    waveforms, table = cut_segments([], [])
    assert waveforms.shape == (0, 3, 6000)
    assert len(table) == 0
    assert reasons(cut_segments([], starts(NOON, 2)).table) == ["no_data"] * 2


def test_two_stations_at_once_are_refused() -> None:
    with pytest.raises(InputError, match=r"several stations or bands \(IV.CESI..HH, IV.NRCA..HH\): give one"):
        minutes(noise() + noise(codes="IV.CESI..HH"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hop_s": 0}, "hop_s = 0"),
        ({"hop_s": 61}, "hop_s = 61"),
        ({"hop_s": 7}, "hop_s = 7"),
        ({"max_gap_s": -1}, "max_gap_s = -1"),
        ({"max_gap_s": 60}, "max_gap_s = 60"),
        ({"max_gap_s": float("nan")}, "max_gap_s = nan"),
    ],
)
def test_bad_settings_are_named(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Segmenting(**options)


def test_the_grid_starts_at_midnight_and_holds_whole_segments_only() -> None:
    start, end = pd.Timestamp("2016-10-30T11:59:31Z"), pd.Timestamp("2016-10-30T12:02:59Z")
    assert grid_starts(start, end, 60).tolist() == [seconds(NOON), seconds(NOON) + 60]
    assert grid_starts(start, end, 30)[-1] == seconds(NOON) + 90
    assert len(grid_starts(start, start + pd.Timedelta(seconds=59))) == 0


# --- traces of events ------------------------------------------------------------------------------------------------


def traces(n: int = 3, samples: int = 12000, rate_hz: float = 100.0) -> Traces:
    waveforms = np.random.default_rng(0).normal(0, 500, (n, 3, samples)).astype(np.float32)
    table = pd.DataFrame(
        {
            "trace_name": [f"ev{i}.IV.X" for i in range(n)],
            "network": "IV",
            "station": "X",
            "location": "",
            "channels": "HH",
            "start": pd.to_datetime(["2016-10-30T00:00:10.5"] * n, utc=True).astype("datetime64[us, UTC]"),
            "sampling_rate_hz": rate_hz,
        }
    )
    return Traces(waveforms, table, [])


def joined(blocks):
    blocks = list(blocks)
    table = pd.concat([block.table for block in blocks], ignore_index=True)
    return np.concatenate([block.waveforms for block in blocks]), table


def test_a_trace_of_120_s_is_two_segments() -> None:
    given_ = traces()
    waveforms, table = joined(cut_traces(given_, Segmenting()))
    assert table.segment_id.tolist() == [f"ev{i}.IV.X#{k}" for i in range(3) for k in range(2)]
    assert np.array_equal(waveforms, given_.waveforms.reshape(3, 3, 2, 6000).swapaxes(1, 2).reshape(6, 3, 6000))
    assert table.start[1] == pd.Timestamp("2016-10-30T00:01:10.5Z")
    assert table.second.tolist() == [0, 60] * 3


def test_traces_with_holes_dead_channels_other_rates_and_none_at_all() -> None:
    given_ = traces(4)
    given_.waveforms[0, 1, 7000] = np.nan
    given_.waveforms[1, 2] = 0
    given_.table.loc[2, "sampling_rate_hz"] = 200.0
    given_.missing.append(("ev9.IV.X", "no waveform in the file"))
    waveforms, table = joined(cut_traces(given_, Segmenting()))
    assert table.segment_id.tolist()[4:] == ["ev2.IV.X#0", "ev3.IV.X#0", "ev3.IV.X#1", "ev9.IV.X#0"]
    assert reasons(table) == ["", "gap", "dead_channel", "dead_channel", "", "", "", "no waveform in the file"]
    assert table.rate_hz[4] == 200.0
    assert len(waveforms) == 4


def test_a_trace_shorter_than_a_minute_is_said_to_be() -> None:
    _, table = joined(cut_traces(traces(1, samples=5999), Segmenting()))
    assert reasons(table) == ["short"]


@pytest.mark.parametrize("rate_hz", [99.97, 40.96, 99.999])
def test_a_rate_without_whole_samples_a_second_is_the_same_whatever_is_asked_and_says_how_far_off(rate_hz):
    stream = make_stream(seconds=600.0, rate_hz=rate_hz)
    whole = cut_segments(stream, starts("2016-10-30", 9))
    late = cut_segments(stream, starts("2016-10-30", 9)[4:])
    kept = whole.table["reason"].eq("").to_numpy()
    assert kept[1:8].all()
    np.testing.assert_array_equal(whole.waveforms[-len(late.waveforms) :], late.waveforms)
    offsets = whole.table["offset_s"].to_numpy()[1:8]
    assert offsets.max() <= 0.5 / rate_hz + 1e-4
    assert offsets.max() > 0.0004


def test_a_segment_is_of_one_sensor():
    first, second = make_stream(seconds=300.0, components="ENZ"), make_stream(seconds=300.0, components="12Z", seed=1)
    broken = without(first, DAY + 120, DAY + 400, "HHN")
    both = broken + second.select(channel="HH[12]")
    _, table = cut_segments(both, starts("2016-10-30", 5))
    assert table["channels"].tolist()[:2] == ["HHE,HHN,HHZ"] * 2
    assert table["channels"].tolist()[2:] == ["HH2,HH1,HHZ"] * 3
    assert table["reason"].tolist() == [""] * 5
