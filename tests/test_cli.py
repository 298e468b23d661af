"""The real command line: one line on standard error, the exit status of the contract, nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from support.studies import World, call, command, environment, result_of

QUICK = World(
    days=60,
    shocks=(("Alfa", 25.3, 6.0), ("Beta", 45.1, 5.8)),
    windows={"hours": [2]},
    evaluation={"backgrounds": ["quiet", "uniform"], "draws": 9, "shifts": 9},
)


def refused(folder: Path, *arguments: object, status: int = 2) -> str:
    """Run a command that must fail; return its one line."""
    before = tree(folder)
    done = call(*arguments, folder=folder)
    lines = done.stderr.splitlines()
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    said = [line for line in lines if not line.startswith("catalog: ")]  # the log of what went well before
    assert len(said) == 1, done.stderr
    assert said[0].startswith("seisprobe: ")
    assert "Traceback" not in done.stderr
    assert tree(folder) == before, "something was left behind"
    return said[0]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


HEADER = (
    "event_id,time,latitude,longitude,depth_km,magnitude,magnitude_type,event_type,evaluation_mode,evaluation_status"
)
EVENT = "a,2016-01-26T07:12:00Z,{latitude},13.1,9,{magnitude},Mw,earthquake,,"


def a_csv(text: str, encoding: str = "utf-8") -> tuple[dict[str, bytes], list[str]]:
    return {"bad.csv": text.encode(encoding)}, ["--set", "catalog.source=file:bad.csv"]


# what is written beside the study, further arguments, and what the line must name: file, row or key, value, what to do
BAD_INPUT: dict[str, tuple[tuple[dict[str, bytes], list[str]], list[str]]] = {
    "a missing catalog": (({}, ["--set", "catalog.source=file:gone.csv"]), ["gone.csv", "no such file"]),
    "an empty catalog": (a_csv(""), ["bad.csv", "empty"]),
    "a catalog of a header alone": (a_csv(HEADER + "\n"), ["bad.csv", "no events"]),
    "no mainshock in the period": (
        ({}, ["--set", "study.start=2016-02-20T00:00:00Z"]),
        ["[[mainshock]] Alfa", "2016-01-26T07:12:00Z", "outside the study's period", "leave it out"],
    ),
    "windows longer than the record": (
        ({}, ["--set", "windows.hours=[2, 1441]"]),
        ["[windows] hours = 1441", "the record of 1440 h", "shorten"],
    ),
    "a naive time": (
        ({}, ["--set", "mainshock.Beta.time=2016-02-15T02:24:00"]),
        ["[[mainshock]] Beta time", "2016-02-15T02:24:00", "no time zone", "Z behind it"],
    ),
    "an unknown key": (
        ({}, ["--set", "windows.hour=[2]"]),
        ["[windows]", "unknown key 'hour'", "did you mean 'hours'?"],
    ),
    "latitude 95": (
        a_csv(f"{HEADER}\n{EVENT.format(latitude=95, magnitude=6.0)}\n"),
        ["bad.csv", "line 2", "latitude '95'", "none of its 1 rows can be used"],
    ),
    "latitude 95 of a mainshock": (
        ({}, ["--set", "mainshock.Beta.latitude=95"]),
        ["[[mainshock]] Beta latitude", "95", "less than or equal to 90"],
    ),
    "a magnitude of n/a": (
        a_csv(f"{HEADER}\n{EVENT.format(latitude=42.7, magnitude='n/a')}\n"),
        ["bad.csv", "line 2", "magnitude 'n/a'"],
    ),
    "a wrong header": (
        a_csv("when,where,how\n1,2,3\n"),
        ["bad.csv", '"when", "where", "how"', "[catalog] columns = {time ="],
    ),
    "a byte-order mark and a wrong header": (
        a_csv("when,where\n1,2\n", "utf-8-sig"),
        ["bad.csv", 'its columns are "when", "where"', "[catalog] columns = {time ="],
    ),
    "a truncated gzip": (
        ({"bad.gz": gzip.compress(b"x,y\n" * 9000)[:-30]}, ["--set", "catalog.source=file:bad.gz"]),
        ["bad.gz", "cut", "fetch it again"],
    ),
    "a mainshock an hour off": (
        ({}, ["--set", "mainshock.Alfa.time=2016-01-26T08:12:00Z"]),
        ["[[mainshock]] Alfa", "2016-01-26T07:12:00Z M 6", "give it in UTC"],
    ),
    "a region without events": (
        ({}, ["--set", "study.region={min_latitude=0, max_latitude=1, min_longitude=0, max_longitude=1}"]),
        ["[catalog] source = 'file:catalog.txt'", "no event", "check region"],
    ),
    "zones over the whole record": (({}, ["--set", "windows.embargo_h=900"]), ["[windows] hours = 2", "embargo_h"]),
    "a --set without a value": (({}, ["--set", "windows.hours"]), ["--set windows.hours", "section.key=value"]),
    "an unknown source": (({}, ["--set", "catalog.source=fiel:x"]), ["fiel:x", "did you mean 'file'?"]),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_one_line_that_names_what_is_wrong_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    (files, arguments), named = BAD_INPUT[name]
    QUICK.write(tmp_path)
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    line = refused(tmp_path, "run", "study.toml", *arguments)
    for words in named:
        assert words in line, line


def test_a_study_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    assert "nowhere.toml: no such study file" in refused(tmp_path, "run", "nowhere.toml")
    (tmp_path / "a.toml").write_text("[study\nname = 1")
    assert "a.toml: is not TOML" in refused(tmp_path, "run", "a.toml")
    assert "Missing argument 'STUDY.toml'" in refused(tmp_path, "run")
    assert "No such command 'runn'" in refused(tmp_path, "runn")


def test_a_folder_of_another_study_and_one_of_other_files_are_left_as_they_are(tmp_path: Path) -> None:
    QUICK.write(tmp_path)
    assert call("run", "study.toml", "-q", folder=tmp_path).returncode == 0
    line = refused(tmp_path, "run", "study.toml", "--set", "study.seed=5", "--set", "windows.gap_s=60")
    assert "small: holds another study, which differs in study.seed (0 → 5), windows.gap_s (120 → 60)" in line
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.doc").write_text("a life's work")
    assert "thesis.doc" in refused(tmp_path, "run", "study.toml", "--out", "theirs")
    assert "study.toml: is a file; name a folder" in refused(tmp_path, "run", "study.toml", "--out", "study.toml")
    assert "cannot be used" in refused(tmp_path, "run", "study.toml", "--out", "/proc/none/here")
    for other in ("status", "report"):
        assert "is no study folder" in refused(tmp_path, other, "theirs")


def test_run_plan_and_status_print_what_the_contract_says(tmp_path: Path) -> None:
    folder = tmp_path / "ünï ✓ folder"
    folder.mkdir()
    QUICK.write(folder)
    text = (folder / "study.toml").read_text()
    (folder / "my study.toml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())  # as Notepad saves it
    planned = call("plan", "my study.toml", "--json", folder=folder)
    assert planned.returncode == 0
    assert planned.stderr == ""
    keys = [
        "k",
        "k_effective",
        "tests",
        "critical_auc",
        "detectable_auc",
        "windows",
        "station_days",
        "bytes",
        "seconds",
    ]
    assert list(json.loads(planned.stdout)) == keys
    assert not (folder / "small").exists(), "a plan writes nothing"

    ran = call("run", "my study.toml", folder=folder)
    assert ran.returncode == 0
    assert ran.stdout.splitlines()[-1] == "report: small/report.html"
    assert ran.stdout.startswith(result_of(folder / "small")["verdict"]["word"])
    status = call("status", "small", "--json", folder=folder)
    assert status.stderr == ""
    found = json.loads(status.stdout)
    assert {"planned", "done", "remaining", "dropped", "bytes"} <= set(found)
    assert found["remaining"] == 0
    assert found["planned"] == found["done"] > 0
    spoken = call("status", "small", folder=folder)
    assert "0 remaining" in spoken.stdout
    again = call("run", "my study.toml", "-q", folder=folder)
    assert again.returncode == 0
    assert again.stderr == ""

    (folder / "small" / "report.html").unlink()
    assert call("report", "small", folder=folder).stdout == "report: small/report.html\n"
    assert (folder / "small" / "report.html").is_file()


def test_version_and_help_answer_and_no_command_shows_the_help(tmp_path: Path) -> None:
    version = call("--version", folder=tmp_path)
    assert (version.returncode, version.stdout, version.stderr) == (0, "seisprobe 0.1.0\n", "")
    short, long = (call(flag, folder=tmp_path) for flag in ("-h", "--help"))
    assert short.stdout == long.stdout
    assert all(word in long.stdout for word in ("run", "plan", "status", "report", "demo"))
    bare = call(folder=tmp_path)
    assert (bare.returncode, bare.stdout) == (2, "")
    assert bare.stderr.startswith("Usage: ")


def test_whoever_stops_reading_gets_no_traceback(tmp_path: Path) -> None:
    QUICK.write(tmp_path)
    with subprocess.Popen(
        command("plan", "study.toml"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, error = process.communicate(timeout=60)
    assert b"Traceback" not in error
    assert b"BrokenPipe" not in error


def test_a_terminal_that_knows_ascii_alone_gets_an_answer(tmp_path: Path) -> None:
    QUICK.write(tmp_path)
    narrow = {**environment(), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        command("plan", "study.toml", "--set", "mainshock.Alfa.name=Città"),
        cwd=tmp_path, env=narrow, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Citt" in done.stdout


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    QUICK.write(tmp_path)
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot be used: Permission denied" in refused(tmp_path, "run", "study.toml", "--out", "locked/x")
