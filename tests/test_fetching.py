"""fetch: catalog, stations and the days that windows touch, from a real dataselect server, through the command."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
from obspy import Stream, UTCDateTime
from obspy.core.inventory import Inventory, Network

from seisprobe.folder import known_study
from seisprobe.pipeline import plan
from seisprobe.samples import draw_samples, touched_days, waveform_windows
from seisprobe.study import load_study
from support.dataselect_server import RealServer, StationService, WaveformCentre, inventory_of, lacking_server
from support.fdsn_server import Answer
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
    raw = WORLD.raw() | {"waveforms": {"source": source, "stations": ["IV.NRCA"]}, "segments": {"per_window": 20}}
    path.write_text(tomli_w.dumps(raw), encoding="utf-8")
    return path


def test_the_days_that_windows_touch_are_fetched_once(tmp_path: Path, centre: WaveformCentre) -> None:
    path = write_study(tmp_path / "user", f"fdsn:{centre.url}")
    done = call("fetch", path, "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    study = load_study(path)
    planned = plan(study)
    rows = waveform_windows(study, planned.windows, draw_samples(study, planned.windows, planned.backgrounds))
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


class Boxed(StationService):
    """A station service that looks at the box that it is asked for."""

    def __call__(self, query: Mapping[str, str]) -> Answer:
        low, high = float(query.get("minlatitude", -90)), float(query.get("maxlatitude", 90))
        inside = Inventory(
            [
                Network(network.code, [s for s in network if low <= s.latitude <= high])
                for network in self.inventory
            ],
            source="test",
        )  # fmt: skip
        return StationService(inside)(query)


def test_embed_takes_the_stations_of_the_box_and_drops_what_spans_two_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking_server():
        pytest.skip(lacking_server())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    noon = UTCDateTime("2016-01-03T12:00:00")
    held = make_stream("IV.AAA..HH", noon, 300.0, rate_hz=20.0) + make_stream("IV.BBB..HH", noon, 300.0, rate_hz=20.0)
    write_sds(tmp_path / "held", held)
    inventory = inventory_of(held)
    for channel in list(inventory[0][0].channels):
        later = copy.deepcopy(channel)
        later.start_date, channel.end_date = noon + 90, noon + 90
        inventory[0][0].channels.append(later)
    times = ("--start", "2016-01-03T12:00:00Z", "--end", "2016-01-03T12:05:00Z", "--encoder", "band_energy", "-q")
    found = {}
    with (
        RealServer(tmp_path / "held", tmp_path / "server") as real,
        WaveformCentre(Boxed(inventory), real) as centre,
    ):
        for name, box in (("AAA", "41.9,42.05,12,14"), ("BBB", "42.05,42.2,12,14")):
            done = call("embed", f"fdsn:{centre.url}", "--out", "v", "--region", box, *times, folder=tmp_path)
            assert done.returncode == 0, done.stderr
            found[name] = done.stdout
        lost = call("embed", f"fdsn:{centre.url}", "--out", "v", "--region", "10,11,10,11", *times, folder=tmp_path)
    assert found["AAA"].startswith("1 station-days or chunks, 0 of them done before; 4 of 5 segments embedded now")
    assert "dropped:metadata_epoch: 1" in found["AAA"]
    assert found["BBB"].startswith("1 station-days or chunks, 0 of them done before; 5 of 5 segments embedded now")
    assert lost.returncode == 2
    assert len(lost.stderr.splitlines()) == 1


def test_a_study_without_sampled_backgrounds_fetches_the_mainshocks_days(
    tmp_path: Path, centre: WaveformCentre
) -> None:
    path = write_study(tmp_path, f"fdsn:{centre.url}")
    only = ("--set", 'evaluation.backgrounds=["quiet","matched"]', "--set", "evaluation.headline=matched")
    done = call("fetch", path, *only, "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 station-days")
