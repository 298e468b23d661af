"""The demo and `simulate`: a world of files with a known answer, the ordinary study on it, and the right word."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from obspy import UTCDateTime, read

from seisprobe.demo import Request, run_demo, simulate
from seisprobe.embedding.executors import processes
from seisprobe.errors import FolderError, InputError
from seisprobe.folder import stored_study
from seisprobe.presets import find_preset, make_world
from seisprobe.simulation.precursors import Precursor
from seisprobe.simulation.stations import stations_around
from seisprobe.simulation.world import World, write_stations
from seisprobe.sources.files import FileSource
from seisprobe.study import load_study
from support.studies import call, command, environment, result_of

FOUND = ("DETECTED", "SUGGESTIVE")
Ran = tuple[Path, subprocess.CompletedProcess[str]]


def files_of(folder: Path) -> dict[str, bytes]:
    """Return what a world is made of."""
    own = ["catalog.txt", "truth.json", "world.toml", "world.json"]
    paths = [*(folder / name for name in own), *sorted((folder / "waveforms").rglob("*.*"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Return the folder of a small demo with its tremor, run by the command line, and what it printed."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("demo")
    arguments = command("demo", "--preset", "small", "--workers", 1, "--out", "world")
    done = subprocess.run(
        arguments, cwd=folder, env=environment(), capture_output=True, text=True, timeout=500, check=False
    )
    return folder, done


def test_the_demo_tells_its_truth_and_finds_the_tremor(world: Ran) -> None:
    folder, done = world[0] / "world", world[1]
    assert done.returncode == 0, done.stderr
    truth, result = json.loads((folder / "truth.json").read_text()), result_of(folder)
    assert truth["precursor"]["kind"] == "tremor"
    assert truth["right_words"] == ["SUGGESTIVE"]
    assert result["verdict"]["word"] == "SUGGESTIVE"
    assert done.stdout.startswith(f"truth: {truth['answer']}\nSUGGESTIVE: ")
    assert done.stdout.endswith("the right word\n")
    assert (result["k"], result["k_effective"]) == (3, 3)
    primary = next(c for c in result["cells"] if c["primary"])
    assert (primary["modality"], primary["score"], primary["background"]) == ("seisclip", "novelty", "etas")
    catalog = next(
        c for c in result["cells"] if c["modality"] == "catalog" and c["score"] == "novelty" and c["verdict"]
    )
    assert catalog["verdict"] not in FOUND
    page = (folder / "report.html").read_text()
    assert truth["answer"] in page
    assert "The word is right." in page


def test_the_demo_again_does_nothing_and_another_world_is_refused(world: Ran) -> None:
    folder = world[0]
    before = {p.name: p.stat().st_mtime_ns for p in (folder / "world").iterdir() if p.is_file() and p.suffix != ".log"}
    arguments = ("demo", "--preset", "small", "--workers", 1, "--out", "world")
    again = call(*arguments, "-q", folder=folder)
    assert (again.returncode, again.stdout) == (0, world[1].stdout)
    for name in ("result.json", "report.html", "catalog.txt", "truth.json"):
        assert (folder / "world" / name).stat().st_mtime_ns == before[name], name
    null = call(*arguments, "--null", folder=folder)
    assert null.returncode == 2
    assert "holds another world (precursor (tremor:15 → none))" in null.stderr.strip().splitlines()[-1]
    seed = call(*arguments, "--seed", 1, folder=folder)
    assert seed.returncode == 2
    assert "seed (0 → 1)" in seed.stderr
    assert {p.name for p in (folder / "world").iterdir() if p.suffix == ".tmp"} == set()


def test_without_a_precursor_nothing_is_found(tmp_path: Path) -> None:
    result, truth = run_demo(Request("small", 0, encoder="band_energy"), tmp_path / "null")
    assert truth["precursor"] is None
    assert result["verdict"]["word"] in truth["right_words"]
    assert result["sanity"]["post_event_auc"] > 0.9


def test_a_simulated_world_is_a_study_like_any_other(tmp_path: Path) -> None:
    done = call("simulate", "small", "--out", "w", "--precursor", "repeaters:5", "--stations", 1, "--days", 2,
                folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "run its study: seisprobe run w/world.toml" in done.stdout
    study = load_study(tmp_path / "w" / "world.toml")
    assert study.waveforms is not None
    assert study.waveforms.stations == ("XX.SIM01",)
    assert study == stored_study(tmp_path / "w")
    planned = call("plan", "w/world.toml", "--json", folder=tmp_path)
    assert json.loads(planned.stdout)["k"] == 3
    truth = json.loads((tmp_path / "w" / "truth.json").read_text())
    assert truth["precursor"]["kind"] == "repeaters"
    assert truth["right_words"] is None
    shock = UTCDateTime(truth["mainshocks"][-1]["time"])
    traces = read(str(next((tmp_path / "w" / "waveforms").rglob(f"*HHZ.D.{shock.year}.{shock.julday:03d}"))))
    assert traces[0].stats.starttime == UTCDateTime(shock.year, shock.month, shock.day)


def test_a_killed_simulation_continues_to_the_same_bytes(tmp_path: Path) -> None:
    arguments = ("simulate", "small", "--days", 2, "--stations", 1, "--seed", 4)
    assert call(*arguments, "--out", "whole", folder=tmp_path).returncode == 0
    wait = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            command(*arguments, "--out", "cut"), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(wait.uniform(1.5, 6.0))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert call(*arguments, "--out", "cut", folder=tmp_path).returncode == 0
    whole, cut = files_of(tmp_path / "whole"), files_of(tmp_path / "cut")
    assert cut.keys() == whole.keys()
    assert [name for name in whole if cut[name] != whole[name]] == []
    days = [p.name[-3:] for p in (tmp_path / "whole" / "waveforms").rglob("*HHZ.D.2020*") if p.is_file()]
    assert len(days) == 2


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    request = Request("small", 2, Precursor("tremor", 9.0, 1.0), stations="2", days=1)
    simulate(request, tmp_path / "one")
    simulate(request, tmp_path / "two", executor=processes(2))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_real_catalog_and_real_stations_make_a_world(tmp_path: Path) -> None:
    first = simulate(Request("norcia", 3, stations="1", days=1), tmp_path / "a")
    write_stations(World(make_world(find_preset("norcia"), 0).catalog, stations_around(2, 42.8, 13.1)), tmp_path)
    request = Request("norcia", 0, stations="XX.SIM02", inventory=tmp_path / "stations.xml", days=1,
                      catalog=tmp_path / "a" / "catalog.txt")  # fmt: skip
    second = simulate(request, tmp_path / "b")
    assert not (tmp_path / "b" / "catalog.txt").exists()
    assert [s["code"] for s in second["stations"]] == ["SIM02"]
    events = FileSource(tmp_path / "a" / "catalog.txt").get_events(
        starttime=pd.Timestamp("2015-01-01", tz="UTC"), endtime=pd.Timestamp("2017-01-01", tz="UTC"), minlatitude=41.5,
        maxlatitude=44.0, minlongitude=11.5, maxlongitude=14.5, minmagnitude=0.0,
    ).events  # fmt: skip
    assert len(events) == second["events"] == first["events"]
    assert (events["magnitude"] < 2.5).any()  # they shake the station, and the study does not read them


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("smal"), "preset smal: no such preset; did you mean 'small'"),
        (Request("small", stations="0"), "--stations 0: a world has 1 to 99 stations"),
        (Request("small", stations="IV.NRCA"), "--stations IV.NRCA: give a number, or name the StationXML"),
        (Request("small", confounder="outage"), "no such confounder; did you mean 'outages'"),
        (Request("small", days=0), "--days 0: give 1 or more"),
        (Request("small", precursor=Precursor("rate", 3.0), catalog=Path("x.txt")), "goes into a simulated catalog"),
        (Request("small", catalog=Path("x.txt")), "x.txt"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(request_: Request, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        simulate(request_, tmp_path / "w")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "w").exists()


def test_a_disk_too_small_is_said_before_anything_is_simulated(tmp_path: Path) -> None:
    done = call("simulate", "norcia", "--days", 600, "--stations", 99, "--out", "w", folder=tmp_path)
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    needed = 99 * 600 * 3 * 8_640_000 * 2
    if free > needed:
        pytest.skip(f"this disk has room for {needed / 1e12:.1f} TB")
    assert done.returncode == 1
    assert "station-days take about 3079.3 GB and the disk has" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "w").exists()


def test_precursors_into_no_study_are_one_line(tmp_path: Path) -> None:
    for arguments, said in (
        (("--study", "nowhere", "--kind", "embedding"), "nowhere: is no study folder"),
        (("--size", 1, "--size", 2), "--size 2: several sizes go with --study; give one"),
        (("--kind", "foggy"), "--kind foggy: no such kind of world"),
    ):
        done = call("calibrate", *arguments, "-q", folder=tmp_path)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
        assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_somebodys_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"thesis.txt"):
        simulate(Request("small", days=1, stations="1"), tmp_path / "w")
    assert [p.name for p in (tmp_path / "w").iterdir()] == ["thesis.txt"]


def test_a_tremor_of_no_size_is_one_line_on_the_command_line(tmp_path: Path) -> None:
    done = call("simulate", "small", "--precursor", "tremor", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "seisprobe: --precursor tremor: give its size, dB, as in tremor:10\n"
    assert list(tmp_path.iterdir()) == []
