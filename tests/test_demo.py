"""The demo: a seeded world whose laws are found again, the ordinary study on it, and no discovery in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from seisprobe.catalog import b_value, select_events
from seisprobe.demo import MAINSHOCKS, REGION
from seisprobe.sources.files import FileSource
from support.studies import call, result_of


def events_of(folder: Path) -> pd.DataFrame:
    return FileSource(folder / "catalog.txt").get_events(
        starttime=pd.Timestamp("2014-01-01", tz="UTC"), endtime=pd.Timestamp("2019-01-01", tz="UTC"),
        minlatitude=41.5, maxlatitude=44.0, minlongitude=11.5, maxlongitude=14.5, minmagnitude=0.0,
    ).events  # fmt: skip


def test_the_demo_tells_its_truth_and_finds_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    done = call("demo", "--out", "world", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    truth = json.loads((tmp_path / "world" / "truth.json").read_text())
    assert truth["precursor"] is None
    assert truth["seed"] == 0
    result = result_of(tmp_path / "world")
    assert result["verdict"]["word"] not in ("DETECTED", "SUGGESTIVE")
    assert done.stdout.startswith(f"truth: {truth['answer']}\n{result['verdict']['word']}: ")
    assert (result["k"], result["k_effective"]) == (3, 2)

    events = events_of(tmp_path / "world")
    assert len(events) == truth["events"]
    assert select_events(events, region=REGION).shape == events.shape
    assert abs(b_value(events["magnitude"].to_numpy(), truth["mc"], 0.1) - truth["b"]) < 0.1
    for name, time, magnitude, latitude, longitude in MAINSHOCKS:
        own = events.loc[events["time"].eq(pd.Timestamp(time)) & events["magnitude"].eq(magnitude)]
        assert own[["latitude", "longitude"]].to_numpy().tolist() == [[latitude, longitude]], name
    quiet = events.loc[events["time"] < pd.Timestamp(MAINSHOCKS[0][1])]
    days = (pd.Timestamp(MAINSHOCKS[0][1]) - pd.Timestamp("2015-01-01", tz="UTC")).total_seconds() / 86_400
    assert abs(len(quiet) / days - truth["rate_per_day"]) < 4 * np.sqrt(truth["rate_per_day"] / days)

    before = {p.name: p.read_bytes() for p in (tmp_path / "world").iterdir() if p.name not in ("run.log", "features")
              and p.is_file()}  # fmt: skip
    assert call("demo", "--out", "world", "-q", folder=tmp_path).returncode == 0
    for name, data in before.items():
        assert (tmp_path / "world" / name).read_bytes() == data, name
    refused = call("demo", "--out", "world", "--seed", "1", folder=tmp_path)
    assert refused.returncode == 2
    assert "study.seed (0 → 1)" in refused.stderr
