"""The study folder: one study, one process, complete again after a kill at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from seisprobe import pipeline
from seisprobe.errors import BusyError, DataFileError, FolderError
from seisprobe.folder import claim, known_study, stored_study, wipe_computed
from seisprobe.study import study_fingerprint, study_from_dict
from support.studies import World, call, command, environment, result_bytes

QUICK = World(
    days=60,
    shocks=(("Alfa", 25.3, 6.0), ("Beta", 45.1, 5.8)),
    windows={"hours": [2]},
    evaluation={"backgrounds": ["quiet", "uniform"], "draws": 9, "shifts": 9},
)
KILLS = (0.0, 0.02, 0.1, 0.2, 0.4, 0.8, 1.2, 2.0)  # seconds after the folder was taken, at the latest


def started(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start a run and return when it works in its folder."""
    line = command("run", "study.toml", "--out", "out", *more)
    at = line.index("-m")  # a signal may fall between the opening of a file and the hand that would close it
    process = subprocess.Popen(
        [*line[:at], "-W", "ignore::ResourceWarning", *line[at:]],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    running = folder / "out" / "running.json"  # a killed run has left its own
    while not (running.exists() and f'"pid": {process.pid},' in running.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def test_killed_at_any_moment_a_run_is_completed_by_the_next_with_the_same_bytes(tmp_path: Path) -> None:
    QUICK.write(tmp_path)
    pipeline.run(tmp_path / "study.toml", out=tmp_path / "reference")
    rng, reached = random.Random(0), set()
    for turn, latest_s in enumerate(KILLS):
        process = started(tmp_path, "--fresh") if turn % 2 else started(tmp_path)
        time.sleep(rng.uniform(0.5, 1.0) * latest_s)
        process.kill()
        process.communicate()
        reached.add(len(list((tmp_path / "out").rglob("*.parquet"))))
        for path in (tmp_path / "out").rglob("*.parquet"):
            assert path.read_bytes()[-4:] == b"PAR1", f"{path} is half-written"
    done = call("run", "study.toml", "--out", "out", "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert result_bytes(tmp_path / "out") == result_bytes(tmp_path / "reference")
    assert len(reached) > 1, "all kills came at the same moment"
    names = {p.name for p in (tmp_path / "out").rglob("*")}
    assert not any(name.endswith(".tmp") for name in names)
    assert "running.json" not in names


@pytest.mark.parametrize(
    ("signum", "status", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_run_with_one_line_and_the_next_continues(
    signum: signal.Signals, status: int, said: str, tmp_path: Path
) -> None:
    QUICK.write(tmp_path)
    process = started(tmp_path, "-q")
    process.send_signal(signum)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "")
    assert error == f"seisprobe: {said}; the same command continues where it stopped\n"
    assert not (tmp_path / "out" / "running.json").exists()
    assert not (tmp_path / "out" / "result.json").exists()
    assert pipeline.run(tmp_path / "study.toml", out=tmp_path / "out")["k"] == 2


def test_a_second_run_in_the_same_folder_fails_and_says_which_process_works_there(tmp_path: Path) -> None:
    QUICK.write(tmp_path)
    study = pipeline.load_study(tmp_path / "study.toml")
    with claim(tmp_path / "out", study):
        done = call("run", "study.toml", "--out", "out", folder=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith(f"seisprobe: out: process {os.getpid()} on ")
        assert len(done.stderr.splitlines()) == 1
        with pytest.raises(BusyError), claim(tmp_path / "out", study):
            pass
    with claim(tmp_path / "out", study):
        assert (tmp_path / "out" / "running.json").exists()
    assert not (tmp_path / "out" / "running.json").exists()


def another() -> World:
    return World(**{**QUICK.__dict__, "windows": {"hours": [2], "gap_s": 60}})


def test_a_folder_that_holds_another_study_is_refused_naming_the_keys_that_differ(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with claim(folder, QUICK.study()):
        pass
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(FolderError, match=r"holds another study, which differs in windows.gap_s \(120 → 60\);"):
        known_study(folder, another().study())
    with pytest.raises(FolderError), claim(folder, another().study()):
        pass
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert known_study(folder, QUICK.study())
    assert study_fingerprint(stored_study(folder)) == study_fingerprint(QUICK.study())


def test_a_study_toml_that_cannot_be_read_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("not = [toml")
    with pytest.raises(FolderError, match=r"its study.toml cannot be read"):
        known_study(tmp_path, QUICK.study())
    assert (tmp_path / "study.toml").read_text() == "not = [toml"


def test_a_refused_first_run_leaves_nothing_and_a_refused_later_one_everything(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"

    def refuse() -> None:
        with claim(folder, QUICK.study()):
            (folder / "run.log").write_text("x")
            raise DataFileError("bad")

    with pytest.raises(DataFileError):
        refuse()
    assert not folder.exists()
    folder.mkdir()
    (folder / "truth.json").write_text("{}")  # a demo's world: of ours, but not of this run
    with pytest.raises(DataFileError):
        refuse()
    assert [p.name for p in folder.iterdir()] == ["truth.json"]
    with claim(folder, QUICK.study()):
        pass
    with pytest.raises(DataFileError):
        refuse()
    assert {"truth.json", "study.toml", "run.log"} <= {p.name for p in folder.iterdir()}


def test_wiping_keeps_catalog_waveforms_embeddings_and_the_list_of_runs(tmp_path: Path) -> None:
    kept = ("study.toml", "catalog.parquet", "runs.jsonl", "mine.txt")
    for name in (*kept, "windows.parquet", "backgrounds.parquet", "result.json", "report.html"):
        (tmp_path / name).write_text("x")
    for name in ("features", "waveforms", "embeddings"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    wipe_computed(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {*kept, "waveforms", "embeddings"}


def test_a_name_that_leads_elsewhere_is_no_folder_name() -> None:
    for name in ("../x", "/tmp/x", "a/b", "", ".hidden", "a\nb", "<b>", "🌋"):
        raw = QUICK.raw()
        raw["study"]["name"] = name
        with pytest.raises(ValueError, match=r"\[study\] name = .*: names a folder"):
            study_from_dict(raw)
