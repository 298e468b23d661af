"""What waveforms would cost: counted from the plan, without fetching anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seisprobe import pipeline
from seisprobe.costs import cost_lines, waveform_costs
from seisprobe.planning import waveform_rows
from seisprobe.study import load_study
from support.dataselect_server import RealServer, StationService, WaveformCentre, inventory_of, lacking_server
from support.seen import Seen
from support.studies import call

WORLD = Seen(modalities=("catalog", "amplitude"), background_count=8, windows={"hours": [2, 6]})


def test_segments_and_station_days_are_those_that_a_run_then_has(tmp_path: Path) -> None:
    path = WORLD.write(tmp_path / "user", "sds:../held")
    WORLD.write_archive(tmp_path / "user", tmp_path / "held")
    study = load_study(path)
    plan = pipeline.plan(study)
    costs = waveform_costs(study, plan, tmp_path / "none")
    assert costs is not None
    assert costs.windows == len(waveform_rows(study, plan)[0])
    assert costs.covered == {"IV.AAA": costs.windows, "IV.BBB": costs.windows}
    result = pipeline.run(path, out=tmp_path / "out")
    stations = result["waveforms"]["stations"].values()
    assert costs.station_days == sum(s["station_days"] for s in stations)
    assert costs.looked == sum(s["segments"] for s in stations)
    assert costs.drawn == pytest.approx(sum(s["drawn"] for s in stations), rel=0.05)
    written = sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.parquet"))
    assert costs.bytes < 3 * written
    assert costs.seconds > 0


def test_a_data_centre_is_asked_for_stations_and_not_for_waveforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking_server():
        pytest.skip(lacking_server())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    WORLD.write(tmp_path / "user", "sds:../held")
    told = WORLD.write_archive(tmp_path / "user", tmp_path / "held")
    with (
        RealServer(tmp_path / "held", tmp_path / "server") as real,
        WaveformCentre(StationService(inventory_of(told, end="2016-03-01")), real) as centre,
    ):
        path = WORLD.write(tmp_path / "user", f"fdsn:{centre.url}")
        done = call("plan", path, "--json", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert set(centre.outcomes("dataselect")) == set()
        assert sum(centre.outcomes("station").values()) == 1
        said = call("plan", path, folder=tmp_path).stdout
    found = json.loads(done.stdout)
    assert found["station_days"] == found["waveforms"]["station_days"] > 0
    assert found["waveforms"]["fetch_bytes"] > 0
    covered = found["waveforms"]["covered"]
    assert 0 < covered["IV.AAA"] < found["waveforms"]["windows"]  # its channels end in March
    assert "stations: 2, of which 0 have data of all days of these windows" in said
    assert f"  IV.AAA: {covered['IV.AAA']} of {found['waveforms']['windows']} windows" in said
    assert not (tmp_path / "small").exists()


def test_a_data_centre_that_does_not_answer_leaves_the_plan_standing(tmp_path: Path) -> None:
    path = WORLD.write(tmp_path / "user", "fdsn:http://127.0.0.1:9999")
    study = load_study(path)
    costs = waveform_costs(study, pipeline.plan(study), tmp_path / "none")
    assert costs is not None
    assert set(costs.covered) == {"IV.AAA", "IV.BBB"}
    assert any("taken as if each station had all days" in line for line in cost_lines(costs))
    unnamed = load_study(path, ["waveforms.stations=[]"])
    assert any("stations are not known" in line for line in cost_lines(
        waveform_costs(unnamed, pipeline.plan(unnamed), tmp_path / "none")))  # fmt: skip


def test_a_study_of_the_catalog_alone_has_no_such_costs(tmp_path: Path) -> None:
    path = Seen(modalities=("catalog",)).write(tmp_path, "sds:held")
    study = load_study(path)
    assert waveform_costs(study, pipeline.plan(study), tmp_path) is None
