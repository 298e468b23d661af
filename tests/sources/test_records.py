"""Records are read as ObsPy reads them; however they are cut, repeated and mixed, each sample is there once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime, read

from seisprobe.sources.records import Record, cut_to_period, holes, parse_records, without_repeats
from support.waveforms import make_stream, piece

CODES = ("IV", "NRCA", "", "HHZ")


def records_of(*traces: Trace, encoding: str = "STEIM2", length: int = 512, order: str = ">") -> list[Record]:
    """Return traces as records, each trace written by itself."""
    found = []
    for trace in traces:
        buffer = io.BytesIO()
        trace.write(buffer, format="MSEED", encoding=encoding, reclen=length, byteorder=order)
        records, damaged = parse_records(buffer.getvalue())
        assert not damaged
        found += records
    return found


def one_channel(seconds: float = 60.0, start: str = "2016-10-30", seed: int = 0, rate_hz: float = 20.0) -> Trace:
    return make_stream(start=start, seconds=seconds, components="Z", rate_hz=rate_hz, seed=seed)[0]


def decoded(records: list[Record]) -> Stream:
    """Return records as ObsPy reads them, one trace for what is without gap."""
    return read(io.BytesIO(b"".join(record.data for record in records)), format="MSEED")


# ObsPy looks at a little-endian header in the wrong order first, and wonders.
@pytest.mark.filterwarnings("ignore:Record contains a fractional seconds")
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(
    ("encoding", "dtype"), [("STEIM1", "i4"), ("STEIM2", "i4"), ("INT32", "i4"), ("FLOAT32", "f4")]
)
@pytest.mark.parametrize(("rate_hz", "start"), [(100.0, "2016-12-31T23:59:59.123456"), (31.25, "2016-02-29T00:00:00")])
def test_headers_say_what_obspy_says(order: str, encoding: str, dtype: str, rate_hz: float, start: str) -> None:
    trace = one_channel(60.0, start, rate_hz=rate_hz)
    trace.data = trace.data.astype(dtype)
    records = records_of(trace, encoding=encoding, order=order)
    assert len(records) > 1
    for record in records:
        theirs = read(io.BytesIO(record.data), format="MSEED")[0]
        assert record.codes == CODES
        assert (record.start_us, record.samples) == (theirs.stats.starttime.ns // 1000, theirs.stats.npts)
        assert record.rate_hz == pytest.approx(theirs.stats.sampling_rate, rel=1e-6)


@pytest.mark.parametrize(("applied", "late_us"), [(0, 12_300), (2, 0)])
def test_a_time_correction_counts_where_it_is_not_in_the_time_yet(applied: int, late_us: int) -> None:
    (record, *_) = records_of(one_channel())
    data = bytearray(record.data)
    data[36] |= applied
    data[40:44] = (123).to_bytes(4, "big")
    assert parse_records(bytes(data))[0][0].start_us == record.start_us + late_us


@given(cut=st.integers(0, 511), junk=st.binary(min_size=64, max_size=64))
def test_damage_costs_its_own_records(cut: int, junk: bytes) -> None:
    records = RECORDS
    body = records[0].data + junk.replace(b"D", b"x") + records[1].data + records[2].data[:cut]
    found, damaged = parse_records(body)
    assert [record.data for record in found] == [record.data for record in records[:2]]
    assert damaged == 64 + cut


RECORDS = records_of(one_channel(300.0))
START_US = RECORDS[0].start_us
END_US = RECORDS[-1].end_us


@settings(max_examples=50)
@given(at=st.integers(START_US, END_US))
def test_a_cut_gives_every_sample_to_one_side(at: int) -> None:
    before = [piece for record in RECORDS for piece in cut_to_period(record, START_US, at)]
    after = [piece for record in RECORDS for piece in cut_to_period(record, at, END_US)]
    stream = decoded([*before, *after]).merge()
    assert len(stream) == 1
    assert stream[0].stats.starttime.ns // 1000 == START_US
    assert np.array_equal(stream[0].data, one_channel(300.0).data)
    assert sum(record.samples for record in [*before, *after]) == 6000


@pytest.mark.parametrize("shift_us", [-1, 0, 1])
def test_a_sample_at_the_edge_falls_to_one_side_whoever_rounded_its_time(shift_us: int) -> None:
    (record, *_) = RECORDS
    rounded = record._replace(start_us=record.start_us + shift_us)
    edge = record.start_us + 100 * 50_000
    before, after = cut_to_period(record, START_US, edge), cut_to_period(rounded, edge, END_US)
    assert [piece.samples for piece in (*before, *after)] == [100, record.samples - 100]


@settings(max_examples=12)
@given(data=st.data())
def test_however_records_repeat_and_overlap_each_sample_is_there_once(data: st.DataObject) -> None:
    trace = one_channel(300.0)
    edges = st.tuples(st.integers(0, 5990), st.integers(2, 3000)).map(lambda e: (e[0], min(6000, e[0] + e[1])))
    parts = data.draw(st.lists(edges, min_size=1, max_size=4))
    extra = records_of(*(piece(trace, *part) for part in parts), length=data.draw(st.sampled_from([256, 512])))
    mixed = data.draw(st.permutations([*RECORDS, *extra]))
    found = without_repeats(mixed)
    assert sum(record.samples for record in found) == 6000
    assert not holes(found, START_US, END_US)
    stream = decoded(found)
    assert len(stream) == 1
    assert np.array_equal(stream[0].data, trace.data)
    assert [r.data[8:] for r in found] == [r.data[8:] for r in without_repeats(list(reversed(mixed)))]


def test_without_repeats_healthy_records_stay_as_sent() -> None:
    assert without_repeats(reversed(RECORDS)) == RECORDS


def test_records_that_disagree_both_stay() -> None:
    other = one_channel(10.0, "2016-10-30T00:00:30", seed=1)
    found = without_repeats([*RECORDS, *records_of(other)])
    assert sum(record.samples for record in found) == 6000 + 200


@pytest.mark.parametrize("change", ["shift", "rate"])
def test_records_on_another_grid_stay(change: str) -> None:
    other = piece(one_channel(300.0), 600, 800)
    if change == "shift":
        other.stats.starttime += 0.02
    else:
        other.stats.sampling_rate = 40.0
    found = without_repeats([*RECORDS, *records_of(other)])
    assert sum(record.samples for record in found) == 6000 + 200


def test_a_record_that_cannot_be_decoded_stays_whole() -> None:
    broken = bytearray(RECORDS[0].data)
    broken[52] = 19  # an encoding that nobody knows
    (record,) = parse_records(bytes(broken))[0]
    middle = record.start_us + 1_000_000
    assert cut_to_period(record, middle, END_US) == [record]
    assert record in without_repeats([*RECORDS, record])


def test_large_steps_that_steim_cannot_hold_are_cut_all_the_same() -> None:
    trace = Trace(np.array([2**31 - 1, -(2**31), 2**31 - 1, 0] * 20, np.int32), {"starttime": UTCDateTime(0)})
    (record,) = records_of(trace, encoding="INT32")
    (cut,) = cut_to_period(record, 10_000_000, 90_000_000)
    assert np.array_equal(decoded([cut])[0].data, trace.data[10:])


def test_holes_are_where_samples_are_due() -> None:
    trace = one_channel(300.0)
    records = records_of(piece(trace, 100, 2000), piece(trace, 2001, 5000))
    at = [START_US + sample * 50_000 for sample in (0, 100, 2000, 2001, 5000, 6000)]
    assert holes(records, START_US, END_US) == [(at[0], at[1]), (at[2], at[3]), (at[4], at[5])]
    assert holes([], 0, 100) == [(0, 100)]
