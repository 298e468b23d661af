"""miniSEED files of any names: every sample once, whatever the cuts; what is damaged costs itself and a line."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import obspy
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from obspy import Stream, Trace, UTCDateTime

from seisprobe.errors import DataFileError
from seisprobe.sources import scanning
from seisprobe.sources.mseed import MseedSource
from seisprobe.sources.waveforms import Query
from support.shared import shared_file
from support.waveforms import DAY, cut, make_stream, without, write_mseed

ALL = ("*", "*", "*", "*", UTCDateTime(1970, 1, 1), UTCDateTime(2100, 1, 1))
RECORD = 512


def samples(stream: Stream) -> dict[str, dict[int, int]]:
    """Return every sample by channel and time (ns); a time that comes twice fails."""
    out: dict[str, dict[int, int]] = {}
    for trace in stream:
        times = trace.stats.starttime.ns + np.round(np.arange(trace.stats.npts) * 1e9 / trace.stats.sampling_rate)
        known = out.setdefault(trace.id, {})
        assert not known.keys() & set(times.astype("i8").tolist())
        known.update(zip(times.astype("i8").tolist(), trace.data.tolist(), strict=True))
    return out


def as_bytes(stream: Stream, **options: object) -> bytes:
    buffer = io.BytesIO()
    stream.write(buffer, format="MSEED", **({"reclen": RECORD, "encoding": "STEIM2"} | options))
    return buffer.getvalue()


def read_all(path: Path) -> tuple[Stream, list[str]]:
    source = MseedSource(path)
    stream = source.get_waveforms(*ALL)
    return stream, source.problems()


@pytest.mark.parametrize("seed", range(6))
def test_the_same_data_in_any_number_of_files_is_the_same_stream(seed: int, tmp_path: Path) -> None:
    whole = make_stream(seconds=40, seed=seed)
    rng = np.random.default_rng(seed)
    for number, trace in enumerate(cut(whole, pieces=5, seed=seed)):
        file = tmp_path / f"{rng.integers(4)}" / f"{number}.bin"
        write_mseed(file, [trace], record_length=int(rng.choice([256, 512, 4096])))
    stream, problems = read_all(tmp_path)
    assert problems == []
    assert samples(stream) == samples(whole)
    assert [trace.id for trace in stream] == sorted(trace.id for trace in whole)  # joined again, one trace a channel


def test_records_scattered_over_files_come_out_as_from_one(tmp_path: Path) -> None:
    whole = as_bytes(make_stream(seconds=60))
    records = [whole[at : at + RECORD] for at in range(0, len(whole), RECORD)]
    rng = np.random.default_rng(3)
    where = rng.integers(5, size=len(records))
    for number in range(5):
        of = rng.permutation(np.flatnonzero(where == number))
        (tmp_path / f"{number}.mseed").write_bytes(b"".join(records[i] for i in of))
    stream, _ = read_all(tmp_path)
    assert [(t.id, t.stats.starttime, t.data.tobytes()) for t in stream] == [
        (t.id, t.stats.starttime, t.data.tobytes()) for t in make_stream(seconds=60)
    ]


@pytest.mark.parametrize("window", [1024, 4096, 10_000])
def test_files_larger_than_the_window_lose_nothing(
    window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_stream(seconds=60)
    write_mseed(tmp_path / "a", whole)
    monkeypatch.setattr(scanning, "WINDOW", window)
    source = MseedSource(tmp_path)
    assert samples(source.get_waveforms(*ALL)) == samples(whole)
    assert len(source._indexed()[0][2].blocks) > 1


@pytest.mark.parametrize(
    "options",
    [{"byteorder": "<"}, {"encoding": "STEIM1"}, {"encoding": "INT32"}, {"encoding": "FLOAT64"}, {"reclen": 4096}],
    ids=str,
)
def test_encodings_byte_orders_and_record_lengths(options: dict, tmp_path: Path) -> None:
    whole = make_stream(seconds=20)
    if options.get("encoding") == "FLOAT64":
        for trace in whole:
            trace.data = trace.data.astype(np.float64) / 3
    (tmp_path / "a").write_bytes(as_bytes(whole, **options))
    stream, problems = read_all(tmp_path)
    assert (samples(stream), problems) == (samples(whole), [])


@pytest.mark.parametrize("offset_s", [0.0, 0.0003, 0.005, -0.0003])
def test_a_minute_has_its_samples_and_not_the_next_minutes_first(offset_s: float, tmp_path: Path) -> None:
    write_mseed(tmp_path / "a", make_stream(start=DAY + 10 + offset_s, seconds=200))
    stream = MseedSource(tmp_path / "a").get_waveforms("IV", "NRCA", "", "HH?", DAY + 60, DAY + 120)
    assert [trace.stats.npts for trace in stream] == [6000] * 3
    first = DAY + 60 + (offset_s if offset_s >= 0 else 0.01 + offset_s)
    assert {trace.stats.starttime.ns for trace in stream} == {first.ns}
    assert all(trace.stats.endtime < DAY + 120 for trace in stream)


def test_codes_are_asked_for_as_of_obspys_clients(tmp_path: Path) -> None:
    write_mseed(tmp_path / "a", make_stream(seconds=5) + make_stream("IV.NRCA.00.HN", seconds=5))
    source = MseedSource(tmp_path)
    period = (DAY, DAY + 5)
    assert [t.id for t in source.get_waveforms("IV", "NRCA", "", "HHZ", *period)] == ["IV.NRCA..HHZ"]
    assert [t.id for t in source.get_waveforms("IV", "NRCA", "--", "HH[EN]", *period)] == [
        "IV.NRCA..HHE",
        "IV.NRCA..HHN",
    ]
    assert {t.stats.channel for t in source.get_waveforms("*", "NRC?", "*", "*Z", *period)} == {"HHZ", "HNZ"}
    assert len(source.get_waveforms("IV", "nrca", "", "HH?", *period)) == 0
    assert len(source.get_waveforms("IV", "NRCA", "", "HH?", DAY + 5, DAY + 6)) == 0


def damaged(what: str, whole: bytes) -> tuple[bytes, set[int]]:
    """Return a file with damage to its third record, and the records that it costs."""
    at = 2 * RECORD
    before, third, after = whole[:at], whole[at : at + RECORD], whole[at + RECORD :]
    last = len(whole) // RECORD - 1
    patch = {
        "overwritten": b"x" * RECORD,
        "zeros": bytes(RECORD),
        "payload": third[:200] + b"\xff" + third[201:],
        "samples": third[:30] + b"\xff\xff" + third[32:],
        "year": third[:20] + b"\xff\xff" + third[22:],
        "encoding": third[:52] + b"\x63" + third[53:],
        "longer": third[:54] + b"\x0c" + third[55:],
        "huge": third[:54] + b"\x1e" + third[55:],
        "shorter": third[:54] + b"\x08" + third[55:],
        "codes": third[:8] + b"\xff\xfe\xfd" + third[11:],
    }
    if what in patch:
        return before + patch[what] + after, {2}
    if what == "inserted":
        return before + b"y" * 77 + third + after, set()
    if what == "bytes lost":
        return before + third[100:] + after, {2}
    if what == "junk before":
        return b"#!" * 50 + whole, set()
    return {"cut in a record": (whole[:-100], {last}), "cut in a header": (whole[: -RECORD + 20], {last})}[what]


@pytest.mark.parametrize(
    "what",
    ["overwritten", "zeros", "payload", "samples", "year", "encoding", "longer", "huge", "shorter", "codes", "inserted",
     "bytes lost", "junk before", "cut in a record", "cut in a header"],
)  # fmt: skip
def test_damage_costs_the_damaged_record_and_nothing_else(what: str, tmp_path: Path) -> None:
    stream = make_stream(seconds=60, components="Z")
    whole = as_bytes(stream)
    data, lost = damaged(what, whole)
    (tmp_path / "a.mseed").write_bytes(data)
    lengths = [t.stats.npts for at in range(0, len(whole), RECORD) for t in obspy.read(io.BytesIO(whole[at:][:RECORD]))]
    starts = np.cumsum([0, *lengths])
    truth = samples(stream)["IV.NRCA..HHZ"]
    gone = {time for i, time in enumerate(truth) if any(starts[r] <= i < starts[r + 1] for r in lost)}
    read, problems = read_all(tmp_path)
    assert samples(read)["IV.NRCA..HHZ"] == {time: value for time, value in truth.items() if time not in gone}
    assert len(problems) == 1
    assert problems[0].startswith("a.mseed: ")
    assert ("cut off in a record" in problems[0]) == (what == "cut in a record")


WHOLE = as_bytes(make_stream(seconds=60, components="Z"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(some.lists(some.tuples(some.integers(0, 14 * RECORD), some.binary(min_size=1, max_size=40)), max_size=6))
def test_no_damage_at_all_ends_in_a_traceback(tmp_path: Path, patches: list[tuple[int, bytes]]) -> None:
    data = bytearray(WHOLE)
    for at, patch in patches:
        data[at : at + len(patch)] = patch
    (tmp_path / "a.mseed").write_bytes(data)
    try:
        stream, _ = read_all(tmp_path)
    except DataFileError:
        return
    assert sum(trace.stats.npts for trace in stream) <= 6000 + 65_535 * len(patches)


def test_files_that_are_none_are_named_and_the_others_read(tmp_path: Path) -> None:
    stream = make_stream(seconds=10)
    write_mseed(tmp_path / "good.mseed", stream)
    (tmp_path / "README.md").write_text("# Data\n" * 100)
    (tmp_path / "empty.mseed").write_bytes(b"")
    (tmp_path / "three.mseed").write_bytes(b"MS\x03" + bytes(500))
    (tmp_path / ".good.mseed.123.tmp").write_bytes(b"half")
    (tmp_path / "cut.mseed").write_bytes(as_bytes(make_stream("IV.CESI..HH", seconds=1))[:300])
    read, problems = read_all(tmp_path)
    assert samples(read) == samples(stream)
    assert [line.partition(":")[0] for line in problems] == ["README.md", "cut.mseed", "empty.mseed", "three.mseed"]
    assert problems[0] == "README.md: not miniSEED"
    assert problems[2] == "empty.mseed: empty"
    assert "version 3" in problems[3]


@pytest.mark.parametrize("content", [None, b"", b"hello, world\n" * 100, b"MS\x03" + bytes(500)])
def test_a_folder_or_file_without_miniseed_is_an_error_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    for path in [tmp_path, *([tmp_path / "a"] if content is not None else [])]:
        with pytest.raises(DataFileError, match="no miniSEED to read") as caught:
            MseedSource(path).units(Query())
        assert "\n" not in str(caught.value)


def test_copies_of_records_count_once_and_contradictions_both_stay(tmp_path: Path) -> None:
    stream = make_stream(seconds=60, components="Z")
    write_mseed(tmp_path / "a", stream)
    write_mseed(tmp_path / "b", stream)
    read, _ = read_all(tmp_path)
    assert samples(read) == samples(stream)
    other = make_stream(start=DAY + 20, seconds=10, components="Z", seed=9)
    write_mseed(tmp_path / "c", other)
    read, _ = read_all(tmp_path)
    assert sum(trace.stats.npts for trace in read) == 7000
    both = read.slice(DAY + 21, DAY + 29)
    assert sorted(trace.data.tobytes() for trace in both) == sorted(
        trace.data.tobytes() for trace in (stream + other).slice(DAY + 21, DAY + 29)
    )


def test_contradicting_recordings_each_stay_in_one_piece(tmp_path: Path) -> None:
    one = make_stream(seconds=60, components="Z")
    other = make_stream(start=DAY + 20, seconds=60, components="Z", seed=9)
    write_mseed(tmp_path / "a", one + other)
    read, _ = read_all(tmp_path)
    assert [trace.data.tobytes() for trace in read] == [trace.data.tobytes() for trace in one + other]


def test_a_rate_that_changes_at_noon_gives_traces_of_both_rates(tmp_path: Path) -> None:
    noon = DAY + 43_200
    before = make_stream(start=noon - 30, seconds=30, components="Z")
    after = make_stream(start=noon, seconds=30, components="Z", rate_hz=125)
    write_mseed(tmp_path / "a", before + after)
    read, _ = read_all(tmp_path)
    assert [(t.stats.sampling_rate, t.stats.npts) for t in read] == [(100.0, 3000), (125.0, 3750)]


def test_a_gap_stays_a_gap(tmp_path: Path) -> None:
    stream = without(make_stream(seconds=60), DAY + 20, DAY + 20.01, "HHN")
    write_mseed(tmp_path / "a", stream)
    read, _ = read_all(tmp_path)
    assert [t.stats.npts for t in read.select(channel="HHN")] == [2000, 3999]
    assert samples(read) == samples(stream)


def test_a_time_correction_in_the_header_is_applied_as_obspy_does(tmp_path: Path) -> None:
    data = bytearray(as_bytes(make_stream(seconds=1, components="Z")))
    data[40:44] = (250_000).to_bytes(4, "big")  # 25 s, not yet applied
    (tmp_path / "a").write_bytes(data)
    truth = obspy.read(io.BytesIO(bytes(data)))
    assert truth[0].stats.starttime == DAY + 25
    read = MseedSource(tmp_path).get_waveforms("IV", "NRCA", "", "HHZ", DAY + 25, DAY + 26)
    assert samples(read) == samples(truth)


def test_units_are_the_days_with_data_and_nothing_of_a_hair_before_midnight(tmp_path: Path) -> None:
    write_mseed(tmp_path / "a", make_stream(start=DAY - 0.0003, seconds=20))
    write_mseed(tmp_path / "b", make_stream(start=DAY + 86_400 * 2 - 30, seconds=60))
    write_mseed(tmp_path / "c", make_stream("IV.CESI..EH", start=DAY, seconds=60, components="Z"))
    source = MseedSource(tmp_path)
    days = ["2016-10-30", "2016-10-31", "2016-11-01"]
    assert [unit.key for unit in source.units(Query())] == [f"IV.NRCA..HH.{day}" for day in days]
    assert source.problems() == ["IV.CESI: 1 day without three components of HH, EH, HN left out (there are EHZ)"]
    unit = source.units(Query(stations=("NRCA",), end=pd.Timestamp("2016-10-31", tz="UTC")))
    assert [u.day for u in unit] == days[:1]
    assert source.problems() == []


def test_a_station_code_that_leads_out_of_folders_makes_a_harmless_name(tmp_path: Path) -> None:
    write_mseed(tmp_path / "a", make_stream("IV.%..HH", seconds=5))
    data = (tmp_path / "a").read_bytes().replace(b"%    ", b"../x*")
    (tmp_path / "a").write_bytes(data)
    source = MseedSource(tmp_path)
    (unit,) = source.units(Query())
    assert unit.station == "../x*"
    assert "/" not in unit.key
    stream = source.get_waveforms(unit.network, unit.station, unit.location, f"{unit.band}?", unit.start, unit.end)
    assert [trace.stats.npts for trace in stream] == [500] * 3


def test_a_source_goes_to_another_process_with_what_it_found(tmp_path: Path) -> None:
    stream = make_stream(seconds=5)
    write_mseed(tmp_path / "a", stream)
    source = MseedSource(tmp_path / "a")
    source.units(Query())
    copy = pickle.loads(pickle.dumps(source))
    assert copy.identity == "mseed:a"
    assert samples(copy.get_waveforms(*ALL)) == samples(stream)


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("IV.CESI_2018-04-04_PieveTorina", ["IV.CESI..HH.2018-04-04"]),
        ("AM.RAC84_100hz_B", ["AM.RAC84.00.EH.2023-05-04"]),
        ("TR.EGG05_128hz", ["TR.EGG05.42.%3FH.2023-02-15"]),
    ],
)
def test_real_files_read_as_obspy_reads_them(name: str, units: list[str]) -> None:
    path = shared_file(f"data/waveforms/{name}.mseed")
    source = MseedSource(path)
    found = source.units(Query())
    assert [unit.key for unit in found] == units
    (unit,) = found
    read = source.get_waveforms(unit.network, unit.station, unit.location, f"{unit.band}?", unit.start, unit.end)
    truth = obspy.read(str(path)).sort()
    assert [(t.id, t.stats.starttime, t.data.tobytes()) for t in read] == [
        (t.id, t.stats.starttime, t.data.tobytes()) for t in truth
    ]
    assert source.problems() == []


def test_a_clock_that_drifts_keeps_its_records_times(tmp_path: Path) -> None:
    # 20 records of 400 samples at 100 Hz, each 4 ms later than the one before says: 80 ms in all
    rng, pieces = np.random.default_rng(0), []
    for number in range(20):
        header = {"network": "IV", "station": "DRFT", "channel": "HHZ", "sampling_rate": 100.0}
        data = rng.integers(-1000, 1000, 400).astype(np.int32)
        trace = Trace(data, header | {"starttime": DAY + number * 4.004})
        pieces.append(trace)
        write_mseed(tmp_path / f"{number:02d}.mseed", [trace], record_length=4096)
    stream = MseedSource(tmp_path).get_waveforms("IV", "DRFT", "", "HHZ", DAY, DAY + 3600)
    assert sum(trace.stats.npts for trace in stream) == 8000
    times = np.concatenate([trace.stats.starttime.ns + trace.times() * 1e9 for trace in stream])
    truth = np.concatenate([piece.stats.starttime.ns + piece.times() * 1e9 for piece in pieces])
    assert np.abs(times - truth).max() <= 5e6 + 1  # half a sample
    assert len(stream) > 5
