"""fetch: catalog, stations and the days that windows touch, from a real dataselect server, through the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
from obspy import Stream, UTCDateTime

from seisprobe.folder import known_study
from seisprobe.pipeline import plan
from seisprobe.samples import draw_samples, touched_days, waveform_windows
from seisprobe.study import load_study
from support.dataselect_server import RealServer, StationService, WaveformCentre, inventory_of, lacking_server
from support.studies import World, call
from support.waveforms import make_stream, write_sds

WORLD = World(
    days=20,
    shocks=(("Alfa", 8.3, 6.0), ("Beta", 15.1, 5.8)),
    windows={"hours": [1, 2], "embargo_h": 6, "background_count": 4},
    evaluation={"backgrounds": ["uniform"], "draws": 9, "shifts": 9},
)


@pytest.fixture
def centre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WaveformCentre]:
    """A data centre with five minutes a day of one station."""
    if lacking_server():
        pytest.skip(lacking_server())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    held = Stream()
    for day in range(22):
        start = UTCDateTime(WORLD.start) - 86400 + day * 86400 + 43200
        held += make_stream("IV.NRCA..HH", start, 300.0, rate_hz=20.0, seed=day)
    write_sds(tmp_path / "held", held)
    with (
        RealServer(tmp_path / "held", tmp_path / "server") as real,
        WaveformCentre(StationService(inventory_of(held)), real) as served,
    ):
        yield served


def write_study(folder: Path, source: str) -> Path:
    path = WORLD.write(folder)
    raw = WORLD.raw() | {"waveforms": {"source": source, "stations": ["IV.NRCA"]}}
    path.write_text(tomli_w.dumps(raw), encoding="utf-8")
    return path


def test_the_days_that_windows_touch_are_fetched_once(tmp_path: Path, centre: WaveformCentre) -> None:
    path = write_study(tmp_path / "user", f"fdsn:{centre.url}")
    done = call("fetch", path, "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    study = load_study(path)
    planned = plan(study)
    rows = waveform_windows(planned.windows, draw_samples(study, planned.windows, planned.backgrounds))
    days = touched_days(rows)
    assert 4 < len(days) < 20
    archive = tmp_path / "small" / "waveforms"
    held = {file.name[-8:] for file in archive.glob("*/IV/NRCA/HHZ.D/*")}
    assert held == {pd.Timestamp(day).strftime("%Y.%j") for day in days}
    assert f"{len(days)} station-days, 0 of them there before, 0 without data" in done.stdout
    assert (tmp_path / "small" / "catalog.parquet").exists()
    assert known_study(tmp_path / "small", study)
    asked = len(centre.asked)
    again = call("fetch", path, "-q", folder=tmp_path)
    assert f"{len(days)} station-days, {len(days)} of them there before" in again.stdout
    assert len(centre.asked) == asked


def test_a_study_with_its_waveforms_on_disk_has_nothing_to_fetch(tmp_path: Path) -> None:
    path = write_study(tmp_path, "sds:archive")
    done = call("fetch", path, "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"catalog fetched; waveforms are read from sds:{tmp_path / 'archive'}, nothing to fetch\n"
    path = WORLD.write(tmp_path / "other")
    done = call("fetch", path, "-q", "--out", "other/out", folder=tmp_path)
    assert "the study has no [waveforms]" in done.stdout


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("waveforms.source", "sdss:archive", "no such scheme; did you mean 'sds'?"),
        ("waveforms.source", "fdsn:INGG", "did you mean 'INGV'?"),
        ("waveforms.stations", '["A.B.C"]', 'station "A.B.C": write NETWORK.STATION'),
        ("waveforms.channels", '["HHZ"]', 'channel "HHZ"'),
        ("segments.hop_s", "7", "hop_s = 7: give whole seconds from 1 to 60 that divide a day"),
        ("segments.hops", "7", "[segments] unknown key 'hops'; did you mean 'hop_s'?"),
        ("encoder.precision", "half", "[encoder] precision = 'half'"),
    ],
)
def test_bad_waveform_options_are_one_line(tmp_path: Path, key: str, value: str, said: str) -> None:
    path = write_study(tmp_path, "sds:archive")
    done = call("fetch", path, "--set", f"{key}={value}", folder=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not (tmp_path / "small").exists()


def test_segments_without_waveforms_are_refused(tmp_path: Path) -> None:
    path = WORLD.write(tmp_path)
    done = call("fetch", path, "--set", "segments.hop_s=30", folder=tmp_path)
    assert done.returncode == 2
    assert "[segments] stands without [waveforms]" in done.stderr
