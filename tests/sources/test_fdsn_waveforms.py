"""A data centre that fails in every way loses no sample and doubles none; a fetch killed anywhere ends the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from obspy import Stream, UTCDateTime, read

from seisprobe.errors import InputError, SourceError, StorageError
from seisprobe.sources import fdsn_waveforms
from seisprobe.sources.fdsn_waveforms import fetch_waveforms, plan_fetch
from seisprobe.sources.retry import Patience
from seisprobe.sources.waveforms import Query, open_waveform_source
from support.dataselect_server import (
    RealServer,
    RecordFaults,
    Spoiler,
    StationService,
    WaveformCentre,
    inventory_of,
    lacking_server,
    selection,
)
from support.fdsn_server import FRAMINGS, Answer, refusal
from support.waveforms import make_stream, without, write_sds

pytestmark = pytest.mark.skipif(bool(lacking_server()), reason=lacking_server())

QUICK = Patience(attempts=20, pause_s=0.001, longest_pause_s=0.02, timeout_s=5.0)
FAULTS = ("429", "500", "502", "503", "504", "refuse", "reset", "cut", "cut", "cut", "page", "linger")
DAYS = Query(start=pd.Timestamp("2016-10-29", tz="UTC"), end=pd.Timestamp("2016-11-01", tz="UTC"))
Samples = dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("SEISPROBE_FDSN_USER", "SEISPROBE_FDSN_PASSWORD", "SEISPROBE_EIDA_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def held_stream() -> Stream:
    """Return what the data centre holds: three days, with gaps, an outage, two rates, onsets off the grid."""
    night = make_stream("IV.NRCA..HH", "2016-10-29T23:50:00", 1200.0, rate_hz=20.0)
    gappy = without(night, "2016-10-29T23:52:01", "2016-10-29T23:53:00")
    gappy = without(gappy, "2016-10-30T00:04:00.3", "2016-10-30T00:05:10", "HHN")
    noon = make_stream("IV.NRCA..HH", "2016-10-30T12:00:00.013", 300.0, rate_hz=20.0, seed=1)
    late = make_stream("IV.NRCA..HH", "2016-10-31T23:58:00", 240.0, rate_hz=20.0, seed=2)
    # The band of first choice has an outage on the 30th, where the second has data.
    spare = make_stream("IV.CESI..HH", "2016-10-29T06:00:00", 300.0, rate_hz=20.0)
    spare += make_stream("IV.CESI..EH", "2016-10-29T06:00:00", 300.0, rate_hz=20.0)
    spare += make_stream("IV.CESI..EH", "2016-10-30T06:00:00", 300.0, rate_hz=20.0)
    other = make_stream("8P.T1212.00.EH", "2016-10-30T23:57:00.0039", 400.0, rate_hz=31.25, components="12Z")
    return gappy + noon + late + spare + other


def samples_of(stream: Stream) -> Samples:
    """Return times (µs since 1970) and values of every channel's samples, in order of time."""
    found: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
    for trace in stream:
        steps = np.arange(trace.stats.npts) * (1e6 / trace.stats.sampling_rate)
        times = trace.stats.starttime.ns // 1000 + np.rint(steps).astype(np.int64)
        found.setdefault(trace.id, []).append((times, trace.data.astype(np.int64)))
    joined = {}
    for codes, parts in found.items():
        times, values = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        order = np.argsort(times, kind="stable")
        joined[codes] = times[order], values[order]
    return joined


def samples_in(archive: Path) -> Samples:
    """Return the samples of an archive's files."""
    stream = Stream()
    for path in sorted(archive.glob("[0-9]*/*/*/*/*")):
        stream += read(str(path), format="MSEED")
    return samples_of(stream)


def asked_for(stream: Stream, query: Query = DAYS) -> Samples:
    """Return what a fetch should bring: whole days, one band a station and day."""
    wanted = {}
    start_us, end_us = (int(time.value) // 1000 for time in (query.start, query.end))
    for codes, (times, values) in samples_of(stream).items():
        inside = (times >= start_us) & (times < end_us)
        if codes.startswith("IV.CESI..EH"):
            inside &= times >= pd.Timestamp("2016-10-30", tz="UTC").value // 1000
        if inside.any():
            wanted[codes] = times[inside], values[inside]
    return wanted


def assert_equal(got: Samples, expected: Samples) -> None:
    """Check that every sample is there, once, with its value, to a µs of its time."""
    assert got.keys() == expected.keys()
    for codes, (times, values) in expected.items():
        assert len(got[codes][0]) == len(times), codes
        assert np.abs(got[codes][0] - times).max() <= 1, codes
        assert np.array_equal(got[codes][1], values), codes


def files_in(archive: Path) -> dict[str, bytes]:
    """Return every file of an archive but the lock."""
    paths = [path for path in archive.rglob("*") if path.is_file() and path.name != ".fetch.lock"]
    return {path.relative_to(archive).as_posix(): path.read_bytes() for path in sorted(paths)}


@dataclass(frozen=True)
class Held:
    """What the data centre holds, its files, and the server over them."""

    stream: Stream
    archive: Path
    real: RealServer

    def centre(self, **rest: Any) -> WaveformCentre:
        """Return the data centre in front of the server, healthy unless told otherwise."""
        rest = {"station": StationService(inventory_of(self.stream)), "dataselect": self.real, **rest}
        return WaveformCentre(**rest)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    folder = tmp_path_factory.mktemp("centre")
    stream = held_stream()
    write_sds(folder / "held", stream, spill_s=3.0)
    with RealServer(folder / "held", folder / "server") as real:
        yield Held(stream, folder / "held", real)


# --- nothing lost, nothing twice -------------------------------------------------------------------------------------


def test_a_healthy_data_centre_gives_every_sample_once(held: Held, tmp_path: Path) -> None:
    with held.centre() as centre:
        done = fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
    assert_equal(samples_in(tmp_path), asked_for(held.stream))
    assert (done.days, done.kept, done.problems) == (9, 0, ())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_every_sample_arrives_exactly_once(
    seed: int, held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fdsn_waveforms, "REQUEST_BYTES", (1e6, 20e6)[seed // 4 % 2])
    spoiler = Spoiler(
        held.real, held.archive, seed=seed, share=0.4, largest_s=(None, 600_000.0, 200_000.0, 80_000.0)[seed % 4]
    )
    with held.centre(
        station=StationService(inventory_of(held.stream), exact=seed % 2 == 0),
        dataselect=spoiler,
        faults=RecordFaults(seed, share=0.5, kinds=FAULTS),
        framing=FRAMINGS[(seed + seed // 4) % 4],
    ) as centre:
        done = fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK, parallel=1 + seed % 3)
    assert_equal(samples_in(tmp_path), asked_for(held.stream))
    assert done.problems == ()
    outcomes = centre.outcomes()
    failed = sum(outcomes.values()) - outcomes["200"] - outcomes["204"]
    assert failed + sum(spoiler.spoilt.values()) >= 4, "the seed made no faults: nothing was shown"


@pytest.mark.parametrize("kind", ["untrimmed", "wrong", "204"])
def test_each_way_of_answering_other_than_asked_is_survived(kind: str, held: Held, tmp_path: Path) -> None:
    spoiler = Spoiler(held.real, held.archive, seed=1, share=1.0, kinds=[kind])
    with held.centre(dataselect=spoiler) as centre:
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK, parallel=1)
    assert spoiler.spoilt[kind]
    assert_equal(samples_in(tmp_path), asked_for(held.stream))


def test_records_of_other_times_in_a_gap_leave_it_a_gap(held: Held, tmp_path: Path) -> None:
    spoiler = Spoiler(held.real, held.archive, seed=1, share=1.0, kinds=["wrong"])
    quiet = Query(start=pd.Timestamp("2016-12-01", tz="UTC"), end=pd.Timestamp("2016-12-02", tz="UTC"))
    with held.centre(dataselect=spoiler) as centre:
        done = fetch_waveforms(centre.url, quiet, tmp_path, patience=QUICK)
    assert spoiler.spoilt["wrong for none"]
    assert (done.days, done.empty, samples_in(tmp_path)) == (3, 3, {})


def test_refusals_of_the_server_itself_halve_the_list(held: Held, tmp_path: Path) -> None:
    largest = max(path.stat().st_size for path in held.archive.glob("*/*/*/*/*"))
    with (
        RealServer(held.archive, tmp_path / "server", request_limit=4 * largest) as real,
        held.centre(dataselect=real) as centre,
    ):
        fetch_waveforms(centre.url, DAYS, tmp_path / "archive", patience=QUICK)
    assert centre.outcomes()["413"]
    assert_equal(samples_in(tmp_path / "archive"), asked_for(held.stream))


def test_a_request_that_is_too_much_at_a_minute_says_so(held: Held, tmp_path: Path) -> None:
    spoiler = Spoiler(held.real, held.archive, largest_s=30.0)
    query = Query(start=DAYS.start, end=DAYS.end, stations=("IV.NRCA",))
    with (
        held.centre(dataselect=spoiler) as centre,
        pytest.raises(SourceError, match=r"not fetched: IV.NRCA.*refuses even IV.NRCA..HHE .* as too much"),
    ):
        fetch_waveforms(centre.url, query, tmp_path, patience=QUICK, days={"2016-10-30"})


# --- what is asked for -----------------------------------------------------------------------------------------------


def asked_lines(centre: WaveformCentre) -> list[str]:
    """Return "NET.STA.LOC.CHA day" of every line asked for, in order."""
    bodies = [asked.query["body"] for asked in centre.asked if asked.service == "dataselect"]
    return [f"{codes} {(start + 1).date}" for body in bodies for codes, start, _ in selection(body)]


@pytest.mark.parametrize(
    ("query", "stations"),
    [
        ({"stations": ("IV.NRCA",)}, {"IV.NRCA"}),
        ({"stations": ("T1*",)}, {"8P.T1212"}),
        ({"stations": ("IV.*", "8P.X[0-9]")}, {"IV.NRCA", "IV.CESI"}),
        ({"region": {"min_latitude": 42.05, "max_latitude": 42.1, "min_longitude": 12.0, "max_longitude": 13.0}},
         {"IV.CESI"}),
        ({"channels": ("EH",)}, {"IV.CESI", "8P.T1212"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("exact", [True, False])
def test_stations_come_by_list_box_and_channels(
    query: dict[str, Any], stations: set[str], exact: bool, held: Held, tmp_path: Path
) -> None:
    with held.centre(station=StationService(inventory_of(held.stream), exact=exact)) as centre:
        fetch_waveforms(centre.url, Query(DAYS.start, DAYS.end, **query), tmp_path, patience=QUICK)
    assert {".".join(line.split(".")[:2]) for line in asked_lines(centre)} == stations


def test_a_band_is_asked_for_only_where_those_before_it_are_not_whole(held: Held, tmp_path: Path) -> None:
    query = Query(DAYS.start, DAYS.end, stations=("CESI",))
    with held.centre(framing="length") as centre:
        fetch_waveforms(centre.url, query, tmp_path, patience=QUICK, parallel=1)
    days = {band: {line[-10:] for line in asked_lines(centre) if f"..{band}" in line} for band in ("HH", "EH")}
    assert days["HH"] == {"2016-10-29", "2016-10-30", "2016-10-31"}
    assert days["EH"] == {"2016-10-30", "2016-10-31"}


def test_only_the_days_that_are_wanted_are_asked_for(held: Held, tmp_path: Path) -> None:
    with held.centre() as centre:
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK, days={"2016-10-30"})
    assert {line[-10:] for line in asked_lines(centre)} == {"2016-10-30"}


def test_no_more_requests_run_at_a_time_than_are_allowed(held: Held, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(fdsn_waveforms, "REQUEST_BYTES", 1.0)
    running, most, lock = [0], [0], threading.Lock()

    def counting(body: str) -> Answer:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.03)
        with lock:
            running[0] -= 1
        return held.real(body)

    with held.centre(dataselect=counting) as centre:
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK, parallel=3)
    assert most == [3]


def test_a_second_fetch_asks_for_nothing_and_changes_nothing(held: Held, tmp_path: Path) -> None:
    with held.centre() as centre:
        first = fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
        before, requests = files_in(tmp_path), len(centre.asked)
        again = fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
        assert len(centre.asked) == requests
    assert files_in(tmp_path) == before
    assert (again.days, again.kept, again.empty) == (first.days, first.days, first.empty)


def test_another_query_asks_only_for_what_lacks(held: Held, tmp_path: Path) -> None:
    one, two = (Query(DAYS.start, DAYS.end, stations=names) for names in (("NRCA",), ("NRCA", "T1212")))
    with held.centre() as centre:
        fetch_waveforms(centre.url, one, tmp_path, patience=QUICK)
        centre.asked.clear()
        fetch_waveforms(centre.url, two, tmp_path, patience=QUICK)
    assert {line.split(".")[1] for line in asked_lines(centre)} == {"T1212"}
    codes = {c for c in asked_for(held.stream) if ".CESI." not in c}
    assert_equal(samples_in(tmp_path), {c: v for c, v in asked_for(held.stream).items() if c in codes})


def test_a_plan_fetches_no_waveforms(held: Held, tmp_path: Path) -> None:
    with held.centre() as centre:
        units, lacking_bytes = plan_fetch(centre.url, DAYS, tmp_path, patience=QUICK)
        assert {asked.service for asked in centre.asked} == {"station"}
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
        assert plan_fetch(centre.url, DAYS, tmp_path, patience=QUICK) == (units, 0.0)
    assert [unit.key for unit in units[:4]] == [
        *(f"8P.T1212.00.EH.2016-10-{day}" for day in (29, 30, 31)),
        "IV.CESI..HH.2016-10-29",
    ]
    assert lacking_bytes == 3 * 86400 * 1.5 * 3 * (20.0 + 20.0 + 31.25)


def test_progress_tells_bytes_station_days_and_what_is_left(held: Held, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    main = threading.get_ident()

    def progress(fraction: float, text: str) -> None:
        assert threading.get_ident() == main
        told.append((fraction, text))

    with held.centre() as centre:
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK, progress=progress)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    done = [text for _, text in told if "station-days" in text]
    assert len(done) == 9
    assert all(" MB" in text for text in done)
    assert all("left" in text for text in done[:-1])


def test_the_archive_is_read_as_any_other(held: Held, tmp_path: Path) -> None:
    with held.centre() as centre:
        fetch_waveforms(centre.url, DAYS, tmp_path / "archive", patience=QUICK)
    source = open_waveform_source("sds:archive", folder=tmp_path)
    assert {unit.key for unit in source.units(DAYS)} >= {"IV.NRCA..HH.2016-10-30", "IV.CESI..EH.2016-10-30"}
    day = UTCDateTime("2016-10-30")
    stream = source.get_waveforms("IV", "NRCA", "", "HH?", day, day + 86400)
    expected = {codes: v for codes, v in asked_for(held.stream).items() if codes.startswith("IV.NRCA")}
    got = samples_of(stream)
    for codes, (times, values) in expected.items():
        inside = (times >= day.ns // 1000) & (times < (day + 86400).ns // 1000)
        assert np.array_equal(got[codes][1], values[inside])
    assert source.problems() == []


# --- killed and resumed ----------------------------------------------------------------------------------------------

NURSERY = """
import itertools, os, signal, sys, time
from pathlib import Path
import pandas as pd
import obspy, obspy.clients.fdsn, filelock
from seisprobe.sources import fdsn_waveforms
from seisprobe.sources.retry import Patience
from seisprobe.sources.waveforms import Query
fdsn_waveforms.REQUEST_BYTES = 1e6
url, start, end = sys.argv[1:]
query = Query(pd.Timestamp(start), pd.Timestamp(end))
def dying_at(number):
    # Odd: just before the rename that makes a file; even: just after it.
    count, rename = itertools.count(1), Path.replace
    def replace(path, target):
        mine = next(count)
        if number == 2 * mine - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        done = rename(path, target)
        if number == 2 * mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return replace


for line in sys.stdin:
    archive, after_s, number = line.rsplit(" ", 2)
    child = os.fork()
    if not child:
        Path.replace = dying_at(int(number))
        fdsn_waveforms.fetch_waveforms(url, query, Path(archive), patience=Patience(attempts=3, pause_s=0.01))
        os._exit(0)
    deadline = time.monotonic() + float(after_s)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    print(os.waitstatus_to_exitcode(ended[1]), flush=True)
"""


class Nursery:
    """A process that has everything imported and forks a fetch for every archive it is told."""

    def __init__(self, url: str, query: Query) -> None:
        command = [sys.executable, "-c", NURSERY, url, str(query.start), str(query.end)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def fetch(self, archive: Path, kill_after_s: float = 60.0, kill_at_rename: int = 0) -> int:
        """Fetch into an archive, killed after a time or around a rename; return the exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{archive} {kill_after_s} {kill_at_rename}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def test_killed_at_any_moment_a_fetch_resumes_to_the_same_files(held: Held, tmp_path: Path) -> None:
    def slow(body: str) -> Answer:
        time.sleep(0.01)
        return held.real(body)

    with held.centre(dataselect=slow, framing="length") as centre:
        nursery = Nursery(centre.url, DAYS)
        try:
            assert nursery.fetch(tmp_path / "warm") == 0
            began = time.monotonic()
            assert nursery.fetch(tmp_path / "whole") == 0
            length_s = time.monotonic() - began
            whole = files_in(tmp_path / "whole")
            stopped_at = []
            for number, share in enumerate(np.random.default_rng(5).uniform(0.02, 0.95, 20)):
                archive, after_s = tmp_path / f"killed-{number}", share * length_s
                while nursery.fetch(archive, after_s) != -signal.SIGKILL:
                    archive, after_s = archive.with_name(f"{archive.name}-again"), after_s / 2  # it was done before
                there = files_in(archive)
                stopped_at.append(len(there))
                assert {name for name in there if not name.endswith(".tmp")} <= whole.keys()
                assert nursery.fetch(archive) == 0
                assert files_in(archive) == whole
        finally:
            nursery.close()
    assert len(set(stopped_at)) >= 5, f"all kills fell on the same places: {stopped_at}"
    assert_equal(samples_in(tmp_path / "whole"), asked_for(held.stream))


def test_killed_before_and_after_every_file_that_is_written_a_fetch_resumes_to_the_same_files(
    held: Held, tmp_path: Path
) -> None:
    with held.centre(framing="length") as centre:
        nursery = Nursery(centre.url, Query(pd.Timestamp("2016-10-30", tz="UTC"), DAYS.end))
        try:
            assert nursery.fetch(tmp_path / "whole") == 0
            whole = files_in(tmp_path / "whole")
            for number in (*range(1, 2 * 8 + 1), 2 * len(whole)):
                archive = tmp_path / f"killed-{number}"
                assert nursery.fetch(archive, kill_at_rename=number) == -signal.SIGKILL
                assert len(files_in(archive)) < len(whole) or number == 2 * len(whole)
                assert nursery.fetch(archive) == 0
                assert files_in(archive) == whole
        finally:
            nursery.close()


def test_an_interrupt_ends_the_fetch_and_the_next_goes_on(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fdsn_waveforms, "REQUEST_BYTES", 1.0)

    def interrupt(fraction: float, text: str) -> None:
        raise KeyboardInterrupt

    released = threading.Event()

    def hanging(body: str) -> Answer:
        if "NRCA" in body:
            released.wait(20.0)  # the thread that asks this must neither be waited for nor write later
        return held.real(body)

    with held.centre(dataselect=hanging) as centre:
        with pytest.raises(KeyboardInterrupt):
            fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK, days={"2016-10-31"}, progress=interrupt)
        released.set()
        done = fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
    assert done.kept >= 1
    assert_equal(samples_in(tmp_path), asked_for(held.stream))


def test_an_outage_keeps_what_came_and_the_next_run_asks_for_the_rest(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fdsn_waveforms, "REQUEST_BYTES", 1.0)
    impatient = Patience(attempts=2, pause_s=0.001, timeout_s=1.0)
    with held.centre(down_after=5) as centre:
        with pytest.raises(SourceError, match="what was fetched is kept: run again to continue"):
            fetch_waveforms(centre.url, DAYS, tmp_path, patience=impatient, parallel=1)
        kept = {name for name in files_in(tmp_path) if name.startswith("fetched/")}
        assert 1 <= len(kept) <= 4
        centre.down_after = None
        centre.asked.clear()
        centre.start()
        done = fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
    assert done.kept >= 1
    assert_equal(samples_in(tmp_path), asked_for(held.stream))


def test_a_station_day_that_the_data_centre_cannot_give_costs_no_other(held: Held, tmp_path: Path) -> None:
    def broken(body: str) -> Answer:
        bad = any("NRCA" in codes and (start + 1).day == 30 for codes, start, _ in selection(body))
        return Answer(500, b"cannot read the disk") if bad else held.real(body)

    impatient = Patience(attempts=2, pause_s=0.001, timeout_s=5.0)
    with (
        held.centre(dataselect=broken) as centre,
        pytest.raises(SourceError, match=r"not fetched: IV.NRCA..HH.2016-10-30: .*cannot read the disk.*run again"),
    ):
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=impatient, parallel=1)
    slips = {name for name in files_in(tmp_path) if name.startswith("fetched/")}
    assert "fetched/IV.NRCA..HH.2016-10-31.json" in slips
    assert "fetched/IV.NRCA..HH.2016-10-30.json" not in slips


def test_a_file_that_was_damaged_since_is_fetched_again(held: Held, tmp_path: Path) -> None:
    with held.centre() as centre:
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
        whole = files_in(tmp_path)
        path = tmp_path / "2016/IV/NRCA/HHZ.D/IV.NRCA..HHZ.D.2016.304"
        path.write_bytes(path.read_bytes()[:700])
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
    assert files_in(tmp_path) == whole


# --- what the archive held before ------------------------------------------------------------------------------------


def test_what_the_archive_held_before_stays_and_comes_no_second_time(held: Held, tmp_path: Path) -> None:
    own = make_stream("IV.NRCA..HH", "2016-10-30T11:59:00", 59.0, rate_hz=20.0, seed=9)
    shared = held.stream.select(station="NRCA").slice(
        UTCDateTime("2016-10-30T12:01:00"), UTCDateTime("2016-10-30T12:02:00")
    )
    write_sds(tmp_path, own + shared, record_length=4096)
    with held.centre() as centre:
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)
    assert_equal(samples_in(tmp_path), asked_for(held.stream + own))


def test_another_data_centre_is_asked_for_what_the_first_lacks(held: Held, tmp_path: Path) -> None:
    with held.centre(dataselect=lambda _: Answer(204)) as first:
        assert fetch_waveforms(first.url, DAYS, tmp_path, patience=QUICK).empty == 9
    with held.centre() as second:
        fetch_waveforms(second.url, DAYS, tmp_path, patience=QUICK)
    assert_equal(samples_in(tmp_path), asked_for(held.stream))


def test_a_disk_that_cannot_be_written_is_one_line(held: Held, tmp_path: Path) -> None:
    (tmp_path / "fetched").write_bytes(b"a file where the folder should be")
    with held.centre() as centre, pytest.raises(StorageError, match="cannot be written"):
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK)


# --- restricted data -------------------------------------------------------------------------------------------------


def test_restricted_data_come_with_name_and_password_which_are_in_no_word_and_no_file(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEISPROBE_FDSN_USER", "probe")
    monkeypatch.setenv("SEISPROBE_FDSN_PASSWORD", "w0rd-of-honour")
    told: list[str] = []
    state = iter([True, *[False] * 10_000])

    def echoing(body: str) -> Answer:
        return Answer(500, b"w0rd-of-honour is what you said") if next(state) else held.real(body)

    with held.centre(dataselect=echoing, password="w0rd-of-honour") as centre:
        fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK, progress=lambda _, text: told.append(text))
    assert_equal(samples_in(tmp_path), asked_for(held.stream))
    assert any("… is what you said" in text for text in told)
    assert "w0rd-of-honour" not in " ".join(told)
    assert not any(b"w0rd-of-honour" in data for data in files_in(tmp_path).values())


def test_a_restricted_station_costs_no_other_and_is_named(held: Held, tmp_path: Path) -> None:
    def guarded(body: str) -> Answer:
        return refusal(403, "not for you") if "CESI" in body else held.real(body)

    with held.centre(dataselect=guarded) as centre:
        done = fetch_waveforms(centre.url, DAYS, tmp_path, patience=QUICK, parallel=1)
    assert done.days == 6
    assert [problem.split(":")[0] for problem in done.problems] == ["IV.CESI"]
    expected = {codes: v for codes, v in asked_for(held.stream).items() if ".CESI." not in codes}
    assert_equal(samples_in(tmp_path), expected)
    assert centre.outcomes()["403"] <= 3


# --- bad questions ---------------------------------------------------------------------------------------------------


def test_a_period_must_be_given(held: Held, tmp_path: Path) -> None:
    with held.centre() as centre, pytest.raises(InputError, match="give start and end"):
        fetch_waveforms(centre.url, Query(start=DAYS.start), tmp_path, patience=QUICK)


def test_no_station_that_fits_is_one_line(held: Held, tmp_path: Path) -> None:
    query = Query(DAYS.start, DAYS.end, stations=("IV.NOPE",))
    with held.centre() as centre, pytest.raises(InputError, match="no station with channels HH, EH, HN"):
        fetch_waveforms(centre.url, query, tmp_path, patience=QUICK)


def test_records_that_the_data_centre_holds_damaged_are_left_out_and_said(held: Held, tmp_path: Path) -> None:
    def damaging(body: str) -> Answer:
        answer = held.real(body)
        return Answer(answer.status, answer.body[:512] + b"\xff" * 512 + answer.body[1024:])

    query = Query(DAYS.start, DAYS.end, stations=("NRCA",))
    with held.centre(dataselect=damaging, framing="length") as centre:
        done = fetch_waveforms(centre.url, query, tmp_path, patience=QUICK, days={"2016-10-30"})
    assert len(done.problems) == 1
    assert "512 bytes of the answer are no miniSEED records" in done.problems[0]
    assert 0 < len(samples_in(tmp_path)["IV.NRCA..HHE"][0]) < 20 * 900


def test_a_day_that_is_not_over_is_asked_for_again(held: Held, tmp_path: Path) -> None:
    today = pd.Timestamp.now("UTC").normalize()
    query = Query(today, today + pd.Timedelta(days=1), stations=("NRCA",))
    with held.centre() as centre:
        fetch_waveforms(centre.url, query, tmp_path, patience=QUICK)
        first = Counter(asked.service for asked in centre.asked)
        fetch_waveforms(centre.url, query, tmp_path, patience=QUICK)
    assert Counter(asked.service for asked in centre.asked) == first + first
    assert json.loads((tmp_path / "stations.json").read_text())[f"fdsn:{centre.url}"]["questions"] == []
