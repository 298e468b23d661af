"""embed: every segment once, the same bytes whoever works and whatever is killed, one line for what goes wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from obspy import Stream, UTCDateTime

from seisprobe.embedding.components import Segmenting
from seisprobe.embedding.embed import embed, scan, scan_unit
from seisprobe.embedding.executors import dask_cluster, processes
from seisprobe.embedding.segments import cut_segments
from seisprobe.embedding.work import Recipe
from seisprobe.errors import BusyError, DataFileError, FolderError, InputError, SeisprobeError, StorageError
from seisprobe.seisclip import make_encoder
from seisprobe.sources.waveforms import Query, StationDay, open_waveform_source
from support.embeddings import ROOT, Nursery, part_bytes, seconds, starts, tiny_encoder
from support.instance_files import write_instance
from support.shared import shared_file
from support.waveforms import cut, make_stream, piece, sds_path, without, write_mseed, write_sds

BANDS = Recipe({"name": "band_energy"})
EVENING = UTCDateTime("2016-10-29T23:54:00")
NIGHT = Query(pd.Timestamp("2016-10-29T23:54Z"), pd.Timestamp("2016-10-30T00:06Z"))


def archive(root: Path, stations: int = 2, *, seconds_: float = 720.0, start: UTCDateTime = EVENING) -> Stream:
    """Write an SDS archive of some stations around midnight, and return what it holds."""
    stream = Stream()
    for number in range(stations):
        stream += make_stream(f"IV.S{number}..HH", start, seconds_, seed=number)
    write_sds(root, stream)
    return stream


@pytest.fixture(scope="module")
def sds(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("data") / "archive"
    archive(root)
    return f"sds:{root}"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return Recipe(tiny_encoder(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def reference(sds: str, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("reference")
    embed(sds, NIGHT, root, tiny)
    return part_bytes(root)


# --- what is embedded ------------------------------------------------------------------------------------------------


def test_a_part_holds_the_encoders_vectors_of_the_segments(sds: str, tiny: Recipe, tmp_path: Path) -> None:
    stream = archive(tmp_path / "again")
    done = embed(sds, NIGHT, tmp_path / "out", tiny)
    assert done.store.units() == [f"IV.S{n}..HH.2016-10-{day}" for n in (0, 1) for day in (29, 30)]
    assert done.counts["embedded"] == done.counts["segments"] == 24
    encoder = make_encoder(**tiny.encoder)
    for number in (0, 1):
        table, vectors = done.store.read_window("IV", f"S{number}", NIGHT.start, NIGHT.end)
        segments = cut_segments(stream.select(station=f"S{number}"), starts("2016-10-29T23:54", 12))
        pd.testing.assert_frame_equal(table, segments.table)
        assert vectors.dtype == np.float16
        expected = encoder.encode(segments.waveforms)
        assert np.allclose(vectors.astype(np.float32), expected, rtol=2e-3, atol=1e-2)


def test_the_next_day_reaches_into_segments_that_start_before_midnight(sds: str, tmp_path: Path) -> None:
    every_10_s = Recipe(BANDS.encoder, Segmenting(hop_s=10))
    done = embed(sds, NIGHT, tmp_path, every_10_s)
    table, _ = done.store.read(["IV.S0..HH.2016-10-29"])
    assert len(table) == 36
    assert set(table.reason) == {""}
    assert table.start.max() == pd.Timestamp("2016-10-29T23:59:50Z")


REAL = {"AM.RAC84.00.EH.2023-05-04": 92, "IV.CESI..HH.2018-04-04": 1, "TR.EGG05.42.%3FH.2023-02-15": 2}


def test_the_real_files_give_95_vectors_and_every_drop_snap_and_resampling_is_counted(tmp_path: Path) -> None:
    folder = shared_file("data/waveforms/TR.EGG05_128hz.mseed").parent
    done = embed(f"mseed:{folder}", Query(), tmp_path, BANDS)
    assert {key: len(done.store.read([key])[1]) for key in done.store.units()} == REAL
    summary = done.store.summary()
    assert summary["dropped"] == {"gap": 10, "missing_component": 1, "no_data": 3 * 1440 - 106}
    expected = {"segments": 4320, "embedded": 95, "resampled": 2, "snapped": 95, "bridged": 0, "renamed": 0}
    assert {key: summary[key] for key in expected} == {key: done.counts[key] for key in expected} == expected
    assert summary["largest_offset_s"] == 0.003
    assert done.problems == ["ncedc_events_100hz.npz: not miniSEED"]


def test_each_real_file_alone_gives_its_own_number(tmp_path: Path) -> None:
    for name, count in (("AM.RAC84_100hz_A", 30), ("AM.RAC84_100hz_B", 32), ("AM.RAC84_100hz_C", 30)):
        path = shared_file(f"data/waveforms/{name}.mseed")
        assert embed(f"mseed:{path}", Query(), tmp_path, BANDS).counts["embedded"] == count


def test_the_same_data_in_other_files_give_the_same_parts(tmp_path: Path) -> None:
    stream = archive(tmp_path / "one" / "data", 1)
    found = []
    for seed in (None, 1, 2):
        root = tmp_path / str(seed) / "data"
        for number, trace in enumerate(stream if seed is None else cut(stream, 7, seed)):
            write_mseed(root / f"{number}.mseed", [trace])
        store = embed(f"mseed:{root}", NIGHT, tmp_path / f"out{seed}", BANDS).store
        found.append([store.read([key]) for key in store.units()])
    for other in found[1:]:
        assert len(other) == len(found[0]) > 0
        for (table, vectors), (same_table, same_vectors) in zip(found[0], other, strict=True):
            pd.testing.assert_frame_equal(table, same_table)
            assert vectors.tobytes() == same_vectors.tobytes()
    assert len(found[0]) == 2


# --- plan − done -----------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_and_a_wider_one_adds_what_is_missing(sds: str, tmp_path: Path) -> None:
    narrow = Query(NIGHT.start, pd.Timestamp("2016-10-29T23:58Z"), stations=("S0",))
    first = embed(sds, narrow, tmp_path, BANDS)
    before = part_bytes(tmp_path)
    again = embed(sds, narrow, tmp_path, BANDS)
    assert (first.units, first.done, again.units, again.done, again.counts) == (1, 0, 1, 1, {})
    wide = embed(sds, NIGHT, tmp_path, BANDS)
    assert wide.counts["segments"] == 24 - 4
    after = part_bytes(tmp_path)
    assert sorted(after)[:2] == ["IV.S0..HH.2016-10-29.0.parquet", "IV.S0..HH.2016-10-29.1.parquet"]
    assert {name: after[name] for name in before} == before
    whole = embed(sds, NIGHT, tmp_path / "whole", BANDS).store
    for key in whole.units():
        for one, other in zip(whole.read([key]), wide.store.read([key]), strict=True):
            assert np.array_equal(np.asarray(one), np.asarray(other))


def test_only_the_wanted_segments_are_embedded_and_what_the_source_lacks_is_named(sds: str, tmp_path: Path) -> None:
    wanted = {
        "IV.S0..HH.2016-10-29": starts("2016-10-29T23:55:30", 2),
        "IV.S1..HH.2016-10-30": np.array(["2016-10-30T00:01:07"], "datetime64[s]"),
        "IV.NRCA..HH.2016-10-30": starts("2016-10-30", 1),
    }
    done = embed(sds, Query(), tmp_path, BANDS, wanted=wanted)
    assert done.absent == ["IV.NRCA..HH.2016-10-30"]
    assert done.store.starts("IV.S0..HH.2016-10-29").tolist() == starts("2016-10-29T23:55:30", 2).tolist()
    assert done.store.starts("IV.S1..HH.2016-10-30").tolist() == [seconds("2016-10-30T00:01:07")]
    assert done.counts["embedded"] == 3
    assert embed(sds, Query(), tmp_path, BANDS, wanted=wanted).counts == {}


@pytest.mark.parametrize("start", [seconds("2016-10-30"), seconds("2016-10-29T23:55") + 0.5])
def test_wanted_starts_outside_the_day_or_within_a_second_are_refused(sds: str, start: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"IV.S0..HH.2016-10-29: starts must be whole seconds of that day"):
        embed(sds, Query(), tmp_path, BANDS, wanted={"IV.S0..HH.2016-10-29": [start]})


def test_a_scan_tells_what_embedding_will_find_without_vectors(sds: str, tiny: Recipe, tmp_path: Path) -> None:
    scanned = scan(sds, NIGHT, tmp_path, tiny)
    embedded = embed(sds, NIGHT, tmp_path, tiny)
    assert scanned.store.fingerprint != embedded.store.fingerprint
    for key in embedded.store.units():
        pd.testing.assert_frame_equal(scanned.store.read([key], ())[0], embedded.store.read([key])[0])
    unit = StationDay("IV", "S0", "", "HH", "2016-10-29")
    table = scan_unit(open_waveform_source(sds, folder=Path()), unit)
    assert table.reason.value_counts().to_dict() == {"no_data": 1434, "": 6}
    with pytest.raises(InputError, match="has no vector; it holds no vectors"):
        scanned.store.read([unit.key])


def test_what_decides_a_vector_decides_the_fingerprint(sds: str, tiny: Recipe, tmp_path: Path) -> None:
    recipes = [
        tiny,
        Recipe({**tiny.encoder, "batch": 8}),
        Recipe(tiny_encoder(tmp_path, seed=1)),
        Recipe(tiny.encoder, Segmenting(max_gap_s=0.5)),
        Recipe(tiny.encoder, dtype="float32"),
        Recipe(tiny.encoder, scale=1e9),
    ]
    found = [embed(sds, NIGHT, tmp_path, recipe, wanted={}).store.fingerprint for recipe in recipes]
    assert len(set(found)) == len(found)
    hop = embed(sds, NIGHT, tmp_path, Recipe(tiny.encoder, Segmenting(hop_s=1)), wanted={}).store.fingerprint
    assert hop == found[0]  # the hop says which segments, not what is in them


def test_scale_multiplies_the_samples(sds: str, tmp_path: Path) -> None:
    plain, larger = (
        embed(sds, NIGHT, tmp_path, Recipe(BANDS.encoder, dtype="float32", scale=scale)).store for scale in (1.0, 1e3)
    )
    _, a = plain.read(["IV.S0..HH.2016-10-29"])
    _, b = larger.read(["IV.S0..HH.2016-10-29"])
    assert np.allclose(b[:, :8] - a[:, :8], 6, atol=1e-4)  # log10 of power


# --- the same bytes, whoever works -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [2])
def test_processes_write_the_bytes_that_one_process_writes(
    sds: str, tiny: Recipe, reference: dict[str, bytes], workers: int, tmp_path: Path
) -> None:
    seen: list[float] = []
    done = embed(
        sds, NIGHT, tmp_path, tiny, executor=processes(workers), progress=lambda share, key: seen.append(share)
    )
    assert part_bytes(tmp_path) == reference
    assert done.counts["embedded"] == 24
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_a_worker_that_would_make_other_vectors_fails(sds: str, tiny: Recipe, tmp_path: Path) -> None:
    path = Path(str(tiny.encoder["name"]))
    mine = tmp_path / "weights.pt"
    shutil.copy(path, mine)

    def exchanged(work, units):  # between planning and the worker's start, as on a machine with other weights
        shutil.copy(tiny_encoder(tmp_path, seed=1)["name"], mine)
        return processes(1)(work, units)

    with pytest.raises(SeisprobeError, match=r"a worker differs .* in encoder.weights; give all machines the same"):
        embed(sds, NIGHT, tmp_path / "out", Recipe({**tiny.encoder, "name": str(mine)}), executor=exchanged)
    assert part_bytes(tmp_path / "out") == {}


def test_a_dask_cluster_whose_worker_is_killed_in_the_middle_writes_the_same_bytes(
    tiny: Recipe, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    archive(tmp_path / "archive", 5, seconds_=720)
    source = f"sds:{tmp_path / 'archive'}"
    embed(source, NIGHT, tmp_path / "serial", tiny)
    out = tmp_path / "dask"
    killed: list[int] = []

    def kill(cluster) -> None:
        while len(list(out.rglob("*.parquet"))) < 2:
            time.sleep(0.01)
        killed.append(cluster.workers[0].pid)
        os.kill(killed[0], 9)

    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(2, **options) as cluster:
        killer = threading.Thread(target=kill, args=(cluster,))
        killer.start()
        done = embed(source, NIGHT, out, tiny, executor=dask_cluster(cluster.scheduler_address))
        killer.join()
    assert killed
    assert done.units == 10
    assert part_bytes(out) == part_bytes(tmp_path / "serial")
    assert len(part_bytes(out)) == 10


# --- killed, interrupted, full ---------------------------------------------------------------------------------------


def killed_runs(kills: int, tiny: Recipe, tmp_path: Path) -> None:
    archive(tmp_path / "archive", 3)
    source, weights = f"sds:{tmp_path / 'archive'}", str(tiny.encoder["name"])
    rng = np.random.default_rng(kills)
    with Nursery() as nursery:
        begun = time.perf_counter()
        assert nursery.embed(source, tmp_path / "whole", weights) == (0, 6)
        lasting_s = time.perf_counter() - begun
        expected = part_bytes(tmp_path / "whole")
        deaths, in_the_middle, number = 0, 0, 0
        while number < kills or in_the_middle < 0.3 * kills:  # a busy machine shifts the moments: go on until they hit
            assert number < 8 * kills, f"{in_the_middle} of {number} kills came in the middle of a run"
            out = tmp_path / f"killed-{number}"
            status, _ = nursery.embed(source, out, weights, kill_after_s=rng.uniform(0.1, 1) * lasting_s)
            deaths += status == -9
            left = part_bytes(out)
            in_the_middle += 0 < len(left) < 6
            assert {name: expected[name] for name in left} == left
            status, done = nursery.embed(source, out, weights)
            assert status == 0
            assert done == 6 - len(left)  # what was written before is not made again
            assert part_bytes(out) == expected
            assert not list(out.rglob("*.tmp"))
            number += 1
    assert deaths >= in_the_middle


def test_sigkill_at_3_random_moments_then_resume_gives_the_same_bytes(tiny: Recipe, tmp_path: Path) -> None:
    killed_runs(3, tiny, tmp_path)


@pytest.mark.slow
def test_sigkill_at_20_random_moments_then_resume_gives_the_same_bytes(tiny: Recipe, tmp_path: Path) -> None:
    killed_runs(20, tiny, tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupt_keeps_what_was_done(sds: str, workers: int, tmp_path: Path) -> None:
    def interrupt(share: float, key: str) -> None:
        raise KeyboardInterrupt

    options = {"executor": processes(workers)} if workers else {}
    with pytest.raises(KeyboardInterrupt):
        embed(sds, NIGHT, tmp_path / "out", BANDS, progress=interrupt, **options)
    assert multiprocessing.active_children() == []
    left = part_bytes(tmp_path)
    assert 1 <= len(left) <= 4
    assert embed(sds, NIGHT, tmp_path / "out", BANDS).done == len(left)
    assert not list(tmp_path.rglob("*.tmp"))
    embed(sds, NIGHT, tmp_path / "whole", BANDS)
    assert part_bytes(tmp_path / "out") == part_bytes(tmp_path / "whole")


INTERRUPTED = """
import sys
from pathlib import Path
from seisprobe.embedding.embed import embed
from seisprobe.embedding.executors import processes
from seisprobe.embedding.work import Recipe
from seisprobe.sources.waveforms import Query

def main():
    told = {"progress": lambda share, key: print(key, flush=True), "executor": processes(2)}
    embed(sys.argv[1], Query(), Path(sys.argv[2]), Recipe({"name": "band_energy"}), **told)

if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_ctrl_c_in_a_terminal_ends_the_workers_without_a_word(tmp_path: Path) -> None:
    archive(tmp_path / "archive", 12)
    (tmp_path / "run.py").write_text(INTERRUPTED)
    command = [sys.executable, tmp_path / "run.py", f"sds:{tmp_path / 'archive'}", tmp_path / "out"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=env, start_new_session=True, **pipes) as running:
        first = running.stdout.readline()
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
        _, errors = running.communicate(timeout=60)
    assert first.startswith("IV.S")
    assert running.returncode == 130
    assert errors == ""
    assert 1 <= len(part_bytes(tmp_path / "out")) < 24
    for _ in range(100):  # a killed process may take a moment to be gone
        left = subprocess.run(["ps", "-o", "pid=", "-g", str(running.pid)], capture_output=True, text=True, check=False)
        if not left.stdout.strip():
            break
        time.sleep(0.1)
    assert left.stdout.strip() == ""


def test_leftovers_of_a_killed_run_are_removed_by_the_next(sds: str, tmp_path: Path) -> None:
    folder = embed(sds, NIGHT, tmp_path, BANDS, wanted={}).store.folder
    leftover = folder / ".IV.S0..HH.2016-10-29.0.parquet.999.tmp"
    leftover.write_bytes(b"half of a part")
    assert embed(sds, NIGHT, tmp_path, BANDS).counts["embedded"] == 24
    assert not leftover.exists()


FULL = """
import json, subprocess, sys
from pathlib import Path
from seisprobe.embedding.embed import embed
from seisprobe.embedding.executors import processes, serial
from seisprobe.embedding.work import Recipe
from seisprobe.errors import SeisprobeError
from seisprobe.sources.waveforms import Query

def main():
    source, disk, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60k", "none", disk], check=True)
    recipe = Recipe({"name": "band_energy"}, dtype="float32")
    said = []

    def attempt(executor):
        try:
            embed(source, Query(), disk, recipe, executor=executor)
        except SeisprobeError as error:
            said.append([type(error).__name__, str(error)])

    attempt(processes(workers) if workers else serial)
    there = {p.name: p.stat().st_size for p in disk.rglob("*") if p.is_file()}
    subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    attempt(serial)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    attempt(serial)
    final = {p.name: p.read_bytes().hex() for p in disk.rglob("*.parquet")}
    print(json.dumps([said, there, final]))

if __name__ == "__main__":
    main()
"""


@cache
def may_mount() -> bool:
    mounting = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(mounting, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_and_a_read_only_disk_are_one_line_each_and_nothing_is_half_written(
    workers: int, tmp_path: Path
) -> None:
    if not may_mount():
        pytest.skip("a small disk cannot be mounted here (unshare -rm)")
    archive(tmp_path / "archive", 3)
    source, disk = f"sds:{tmp_path / 'archive'}", tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "full.py").write_text(FULL)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = ["unshare", "-rm", sys.executable, tmp_path / "full.py", source, disk, str(workers)]
    out = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    said, there, final = json.loads(out.stdout)
    (full, full_line), (read_only, read_only_line) = said  # and the third attempt succeeded
    assert (full, read_only) == ("StorageError", "StorageError")
    assert "cannot be written: No space left on device; free the disk" in full_line
    assert "cannot be written: Read-only file system" in read_only_line
    assert out.stderr == ""
    embed(source, Query(), tmp_path / "plenty", Recipe(BANDS.encoder, dtype="float32"))
    expected = {name: data.hex() for name, data in part_bytes(tmp_path / "plenty").items()}
    assert final == expected
    assert 0 < len(there) < 7
    for name, size in there.items():
        assert name == ".lock" or 2 * size == len(expected[name])


def test_a_folder_that_cannot_be_made_is_one_line(sds: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(
        StorageError, match=r"file/\w+: cannot be written: Not a directory; free the disk or use another"
    ):
        embed(sds, NIGHT, tmp_path / "file", BANDS)


def test_two_runs_in_one_folder_do_not_mix(sds: str, tmp_path: Path) -> None:
    def second(share: float, key: str) -> None:
        with pytest.raises(BusyError, match="another process embeds into it; wait for it"):
            embed(sds, NIGHT, tmp_path, BANDS)

    assert embed(sds, NIGHT, tmp_path, BANDS, progress=second).counts["embedded"] == 24


def test_a_part_of_another_encoder_in_the_folder_stops_the_run_before_any_work(
    sds: str, tiny: Recipe, tmp_path: Path
) -> None:
    theirs = embed(sds, NIGHT, tmp_path, tiny).store
    mine = embed(sds, NIGHT, tmp_path, Recipe({**tiny.encoder, "batch": 8}), wanted={}).store
    key = theirs.units()[-1]
    shutil.copy(theirs.path(key, 0), mine.folder)
    with pytest.raises(FolderError, match=rf"{key}.0.parquet: was made by other settings \(encoder.batch\); move it"):
        embed(sds, NIGHT, tmp_path, Recipe({**tiny.encoder, "batch": 8}))
    assert mine.units() == [key]


# --- bad data --------------------------------------------------------------------------------------------------------


def test_corrupt_empty_and_truncated_files_cost_their_own_minutes_and_are_named(tmp_path: Path) -> None:
    archive(tmp_path / "good", 3)
    archive(tmp_path / "bad", 3)
    files = sorted((tmp_path / "bad").rglob("*HHZ.D.2016.304"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[: 512 * 100 + 77])
    data = bytearray(files[2].read_bytes())
    data[512 * 50 : 512 * 60] = np.random.default_rng(0).bytes(5120)
    files[2].write_bytes(data)
    good = embed(f"sds:{tmp_path / 'good'}", NIGHT, tmp_path / "out", BANDS)
    bad = embed(f"sds:{tmp_path / 'bad'}", NIGHT, tmp_path / "out", BANDS)
    assert good.problems == []
    for path in files:
        assert any(path.name in line for line in bad.problems)
    assert all("\n" not in line for line in bad.problems)
    assert bad.counts["embedded"] < good.counts["embedded"]
    for key in good.store.units():
        whole, vectors = good.store.read([key])
        table, found = bad.store.read([key])
        if key.endswith("S0..HH.2016-10-30"):  # its Z is the empty file
            assert set(table.reason) <= {"missing_component", "gap"}
        kept = table.segment_id[table.reason == ""]
        assert np.array_equal(found, vectors[whole.segment_id.isin(kept).to_numpy()])
        assert set(table.reason) <= {"", "gap", "missing_component"}


def test_a_rate_that_changes_at_noon_two_responses_and_disagreeing_records_in_one_day(tmp_path: Path) -> None:
    noon = UTCDateTime("2016-10-30T12:00:00")
    before = make_stream("IV.X..HH", noon - 300, 300, rate_hz=100.0)
    after = make_stream("IV.X..HH", noon, 300, rate_hz=125.0)
    liar = piece(after[0], 15000, 15200)
    liar.data = liar.data + 1
    write_sds(tmp_path / "archive", before + after)
    with sds_path(tmp_path / "archive", after[0], noon).open("ab") as file:
        write_mseed(tmp_path / "liar.mseed", [liar])
        file.write((tmp_path / "liar.mseed").read_bytes())
    query = Query(pd.Timestamp("2016-10-30T11:55Z"), pd.Timestamp("2016-10-30T12:05Z"))
    edges = {"IV.X..HH": [seconds("2016-10-30T11:56:30")]}
    done = embed(f"sds:{tmp_path / 'archive'}", query, tmp_path, Recipe(BANDS.encoder, edges=edges))
    table, _ = done.store.read(["IV.X..HH.2016-10-30"])
    assert table.reason.tolist() == ["", "metadata_epoch", "", "", "", "", "", "overlap", "", ""]
    assert table.rate_hz.tolist() == [100.0] * 5 + [125.0] * 5
    assert table.overlap_samples.tolist() == [0] * 7 + [200, 0, 0]
    assert table.epoch.tolist() == [0, 0] + [1] * 8
    summary = done.store.summary()
    assert summary["resampled"] == 4
    assert summary["dropped"] == {"metadata_epoch": 1, "overlap": 1}


def test_gaps_are_dropped_not_filled(tmp_path: Path) -> None:
    stream = without(make_stream("IV.X..HH", EVENING, 720), EVENING + 130, EVENING + 131, "HHE")
    write_sds(tmp_path / "archive", stream)
    done = embed(f"sds:{tmp_path / 'archive'}", NIGHT, tmp_path, BANDS)
    assert done.counts["embedded"] == 11
    assert done.counts["dropped:gap"] == 1


def test_a_source_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="nowhere: no such"):
        embed("sds:nowhere", NIGHT, tmp_path, BANDS)


# --- traces of events ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buckets", [0, 2])
def test_traces_of_events_get_two_vectors_each_and_a_missing_one_a_reason(
    buckets: int, tiny: Recipe, tmp_path: Path
) -> None:
    folder = write_instance(tmp_path / "instance", 12, buckets=buckets, leave_out=() if buckets else (3,))
    done = embed(f"instance:{folder}", Query(), tmp_path / "out", tiny)
    table, vectors = done.store.read(done.store.units())
    lost = [] if buckets else [3]
    assert len(vectors) == 24 - 2 * len(lost)
    assert done.counts["segments"] == 24 - len(lost)
    assert table.segment_id.is_unique
    again = embed(f"instance:{folder}", Query(), tmp_path / "out", tiny)
    assert (again.units, again.done, again.counts) == (1, 1, {})


def test_a_later_query_adds_the_traces_that_the_first_left_out(tiny: Recipe, tmp_path: Path) -> None:
    folder = write_instance(tmp_path / "instance", 12)
    one = embed(f"instance:{folder}", Query(stations=("NRCA",)), tmp_path / "out", tiny)
    two = embed(f"instance:{folder}", Query(), tmp_path / "out", tiny)
    assert one.counts["embedded"] == 8
    assert two.counts["embedded"] == 16
    assert len(part_bytes(tmp_path / "out")) == 2
    table, vectors = two.store.read(two.store.units())
    assert table.segment_id.is_unique
    whole, expected = (s := embed(f"instance:{folder}", Query(), tmp_path / "whole", tiny).store).read(s.units())
    order = [table.segment_id.tolist().index(name) for name in whole.segment_id]
    assert np.allclose(vectors[order].astype(np.float32), expected.astype(np.float32), atol=1e-2)


def test_metadata_get_an_embedding_of_their_own_and_the_cosine_of_both(tiny: Recipe, tmp_path: Path) -> None:
    from seisprobe.seisclip import features_from_instance

    folder = write_instance(tmp_path / "instance", 6, leave_out=(2,))
    recipe = Recipe(tiny.encoder, dtype="float32", metadata=True)
    done = embed(f"instance:{folder}", Query(), tmp_path / "out", recipe)
    table, waves = done.store.read(done.store.units())
    _, described = done.store.read(done.store.units(), ("metadata_vector",))
    source = open_waveform_source(f"instance:{folder}", folder=Path())
    traces = source.read(source.units(Query())[0])
    rows = traces.table.loc[np.repeat(np.arange(5), 2)]
    features = features_from_instance(rows, np.tile([0, 6000], 5)).features
    expected = make_encoder(**tiny.encoder).encode_metadata(features)
    order = np.argsort(np.repeat(traces.table.start.to_numpy(), 2), kind="stable")
    assert np.array_equal(described, expected[order])
    cosine = np.sum(waves * described, 1) / np.linalg.norm(waves, axis=1) / np.linalg.norm(described, axis=1)
    kept = table.reason == ""
    assert np.allclose(table.cosine[kept], cosine, atol=1e-6)
    assert table.cosine[~kept].isna().all()
    assert (~kept).sum() == 1


def test_metadata_are_refused_where_there_are_none(sds: str, tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metadata are embedded of event traces"):
        embed(sds, NIGHT, tmp_path, Recipe(tiny.encoder, metadata=True))
    folder = write_instance(tmp_path / "instance", 2)
    with pytest.raises(InputError, match="metadata are embedded by SeisCLIP alone"):
        embed(f"instance:{folder}", Query(), tmp_path, Recipe(BANDS.encoder, metadata=True))


# --- data that change ------------------------------------------------------------------------------------------------


def test_data_that_came_later_are_embedded_and_count(tmp_path: Path) -> None:
    stream = make_stream("IV.NRCA..HH", seconds=600.0)
    (tmp_path / "archive").mkdir()
    write_sds(tmp_path / "archive", cut_at(stream, 0, 18000))
    query = Query(start=pd.Timestamp("2016-10-30T00:00Z"), end=pd.Timestamp("2016-10-30T00:10Z"))
    first = embed(f"sds:{tmp_path / 'archive'}", query, tmp_path, Recipe(BANDS.encoder, dtype="float32"))
    assert (first.counts["embedded"], first.counts["dropped:no_data"]) == (3, 7)
    for path in (tmp_path / "archive").glob("*/*/*/*/*"):
        path.unlink()
    write_sds(tmp_path / "archive", stream)
    again = embed(f"sds:{tmp_path / 'archive'}", query, tmp_path, Recipe(BANDS.encoder, dtype="float32"))
    assert (again.done, again.counts["embedded"]) == (0, 10)
    table, vectors = again.store.read(["IV.NRCA..HH.2016-10-30"])
    assert table["reason"].tolist() == [""] * 10
    assert again.store.summary()["segments"] == 10
    counts = np.stack([trace.data.reshape(10, 6000) for trace in stream], axis=1).astype(np.float32)
    np.testing.assert_array_equal(vectors, make_encoder("band_energy").encode(counts))
    assert embed(f"sds:{tmp_path / 'archive'}", query, tmp_path, Recipe(BANDS.encoder, dtype="float32")).done == 1


def test_another_archive_of_the_same_name_is_not_taken_for_done(tmp_path: Path) -> None:
    query = Query(start=pd.Timestamp("2016-10-30T00:00Z"), end=pd.Timestamp("2016-10-30T00:03Z"))
    found = []
    for seed, folder in enumerate(("a", "b")):
        write_sds(tmp_path / folder / "same", make_stream("IV.NRCA..HH", seconds=180.0, seed=seed))
        done = embed(f"sds:{tmp_path / folder / 'same'}", query, tmp_path, Recipe(BANDS.encoder, dtype="float32"))
        assert done.counts["embedded"] == 3
        found.append(done.store.read(["IV.NRCA..HH.2016-10-30"])[1])
    assert not np.allclose(*found)


def test_a_change_of_metadata_in_the_day_makes_its_segments_anew(tmp_path: Path) -> None:
    write_sds(tmp_path / "archive", make_stream("IV.NRCA..HH", seconds=180.0))
    query = Query(start=pd.Timestamp("2016-10-30T00:00Z"), end=pd.Timestamp("2016-10-30T00:03Z"))
    reasons = []
    for times in ([], [0.0, seconds("2016-10-30T00:01:30")], [], [0.0]):
        edges = {"IV.NRCA..HH": times}
        done = embed(f"sds:{tmp_path / 'archive'}", query, tmp_path, Recipe(BANDS.encoder, edges=edges))
        reasons.append(done.store.read(["IV.NRCA..HH.2016-10-30"])[0]["reason"].tolist())
    assert reasons[0] == ["", "", ""]
    assert reasons[1] == ["", "metadata_epoch", ""]
    assert reasons[2] == ["", "", ""]
    assert done.done == 1  # an edge on another day changes nothing of this one's


def cut_at(stream: Stream, first: int, last: int) -> Stream:
    return Stream([piece(trace, first, last) for trace in stream])
