"""A world as files: what stands in the archive is what was simulated, whoever made it and in whatever order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from obspy import read, read_inventory

from seisprobe.embedding.embed import epoch_edges
from seisprobe.errors import InputError, StorageError
from seisprobe.simulation.catalog import CatalogWorld, SimulatedMainshock
from seisprobe.simulation.noise import NoiseModel
from seisprobe.simulation.precursors import Precursor
from seisprobe.simulation.seismograms import simulate_record
from seisprobe.simulation.stations import stations_around
from seisprobe.simulation.world import (
    StationDay,
    World,
    archive_bytes,
    check_disk,
    make_catalog,
    make_days,
    station_days,
    truth_of,
    write_stations,
)

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
SHOCK = SimulatedMainshock("M1", 30 * DAY_US + 5 * HOUR_US + 123_456, 5.8, 42.8, 13.1)
QUIET = NoiseModel(gaps_per_day=0.0, outages_per_year=0.0)
CATALOG = CatalogWorld(0, 60 * DAY_US, (41.5, 44.0, 11.5, 14.5), (SHOCK,))
WORLD = World(CATALOG, stations_around(2, 42.8, 13.1), noise=QUIET)
SPANS = np.array([[SHOCK.time_us - 600_000_000, SHOCK.time_us], [29 * DAY_US - 60_000_000, 29 * DAY_US + 60_000_000]])


def made(folder: Path, world: World = WORLD, spans: np.ndarray = SPANS) -> dict[str, bytes]:
    """Make an archive; return its files."""
    days = station_days(world, spans)
    assert len(list(make_days(world, make_catalog(world), folder, days))) == len(days)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_archive_holds_what_was_asked_for_sample_for_sample(tmp_path: Path) -> None:
    files = made(tmp_path)
    assert "1970/XX/SIM01/HHZ.D/XX.SIM01..HHZ.D.1970.031" in files  # 31 January
    assert len(files) == 2 * 3 * 3  # stations, days (a stretch meets midnight), components
    begin = SPANS[0, 0] // 10_000 * 10_000
    n = -(-int(SPANS[0, 1]) // 10_000) - begin // 10_000
    record = simulate_record(make_catalog(WORLD), WORLD.stations[1], int(begin), n, WORLD.recording)
    (trace,) = read(str(tmp_path / "1970/XX/SIM02/HHN.D/XX.SIM02..HHN.D.1970.031"))
    assert np.array_equal(trace.data, record.counts[1])
    assert trace.stats.starttime.ns // 1000 == begin
    assert trace.stats.sampling_rate == 100.0
    over = read(str(tmp_path / "1970/XX/SIM01/HHZ.D/*.0[23]*"))
    assert {len(t) for t in over if t.stats.starttime.ns // 1000 < 29 * DAY_US + HOUR_US} == {6000}


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_another_others(tmp_path: Path) -> None:
    first = made(tmp_path / "a")
    days = station_days(WORLD, SPANS)
    for day in reversed(days):
        list(make_days(WORLD, make_catalog(WORLD), tmp_path / "b", [day]))
    again = {str(p.relative_to(tmp_path / "b")): p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()}
    assert again == first
    other = made(tmp_path / "c", replace(WORLD, seed=1))
    assert other.keys() == first.keys()
    assert all(other[name] != first[name] for name in first)


def test_what_stands_is_not_made_again_and_what_lacks_is(tmp_path: Path) -> None:
    first = made(tmp_path)
    victim = next(p for p in sorted(tmp_path.rglob("*HHE*")) if p.is_file())
    marked = next(p for p in sorted(tmp_path.rglob("*SIM02..HHZ*")) if p.is_file())
    marked.write_bytes(b"as it was")
    victim.unlink()
    again = made(tmp_path)
    assert again[str(victim.relative_to(tmp_path))] == first[str(victim.relative_to(tmp_path))]
    assert again[str(marked.relative_to(tmp_path))] == b"as it was"


def test_gaps_are_not_in_the_files(tmp_path: Path) -> None:
    noisy = replace(WORLD, confounder="outages", noise=replace(QUIET, gaps_per_day=400.0, gap_s=20.0))
    made(tmp_path, noisy)
    traces = read(str(tmp_path / "1970/XX/SIM01/HHZ.D/XX.SIM01..HHZ.D.1970.031"))
    assert len(traces) > 1
    begin = traces[0].stats.starttime.ns // 1000
    whole = simulate_record(make_catalog(noisy), noisy.stations[0], begin, 1000, noisy.recording)
    assert np.array_equal(traces[0].data[:500], whole.counts[2][: min(500, len(traces[0]))])


def test_the_metadata_know_of_a_listed_gain_and_not_of_another(tmp_path: Path) -> None:
    changes = {}
    for kind in ("gain-listed", "gain-unlisted"):
        write_stations(replace(WORLD, confounder=kind), tmp_path / kind)
        inventory = read_inventory(str(tmp_path / kind / "stations.xml"))
        values = {
            channel.start_date.ns // 1000: channel.response.instrument_sensitivity.value
            for channel in inventory.select(station="SIM01", channel="HHZ")[0][0]
        }
        changes[kind] = values
        assert len(inventory.select(station="SIM02", channel="HHZ")[0][0].channels) == 1
    at = SHOCK.time_us // 1_000_000 * 1_000_000 - 3 * DAY_US
    assert changes["gain-listed"] == {0: 5e8, at: 1.5e9}
    assert changes["gain-unlisted"] == {0: 5e8}
    listed = epoch_edges(read_inventory(str(tmp_path / "gain-listed" / "stations.xml")))
    assert any(listed.values())


@pytest.mark.parametrize("kind", ["gain-listed", "gain-unlisted"])
def test_a_gain_change_is_in_the_counts_either_way(kind: str, tmp_path: Path) -> None:
    at = SHOCK.time_us // 1_000_000 * 1_000_000 - 3 * DAY_US
    spans = np.array([[at - 60_000_000, at + 60_000_000]])
    for name, world in (("plain", WORLD), ("changed", replace(WORLD, confounder=kind))):
        made(tmp_path / name, world, spans)
    path = "1970/XX/SIM01/HHZ.D/XX.SIM01..HHZ.D.1970.028"
    plain, changed = (read(str(tmp_path / name / path)) for name in ("plain", "changed"))
    before, after = (plain[0].data[part].astype(float) for part in (slice(0, 6000), slice(6000, 12000)))
    together = np.concatenate([t.data for t in changed.sort(["starttime"])])
    assert np.array_equal(together[:6000], before)
    assert np.abs(together[6000:] - 3 * after).max() <= 1.5  # of rounding
    second = "1970/XX/SIM02/HHZ.D/XX.SIM02..HHZ.D.1970.028"
    assert (tmp_path / "plain" / second).read_bytes() == (tmp_path / "changed" / second).read_bytes()


def test_a_tremor_changes_the_hours_before_the_mainshock_alone(tmp_path: Path) -> None:
    spans = np.array([[SHOCK.time_us - HOUR_US, SHOCK.time_us - HOUR_US + 60_000_000],
                      [SHOCK.time_us - 9 * HOUR_US, SHOCK.time_us - 9 * HOUR_US + 60_000_000]])  # fmt: skip
    plain = made(tmp_path / "a", WORLD, spans)
    shaken = made(tmp_path / "b", replace(WORLD, precursor=Precursor("tremor", 20.0)), spans)
    same = [name for name in plain if plain[name] == shaken[name]]
    assert all(".030" in name for name in same)
    assert len(same) == len(plain) // 2


def test_the_disk_is_asked_before_anything_is_written(tmp_path: Path) -> None:
    days = station_days(WORLD, np.array([[0, 40 * DAY_US]]))
    assert archive_bytes(days) == 2 * 40 * 3 * 8_640_000 * 2
    check_disk(tmp_path / "not" / "there", days[:1])
    with pytest.raises(
        StorageError, match=r"2 station-days take about 103680000.0 GB and the disk has \d+\.\d GB free"
    ):
        check_disk(tmp_path, [StationDay(s, 0, ((0, 10**9 * DAY_US),)) for s in (0, 1)])


def test_real_files_are_no_larger_than_foretold(tmp_path: Path) -> None:
    files = made(tmp_path)
    told = archive_bytes(station_days(WORLD, SPANS))
    assert 0.3 * told < sum(map(len, files.values())) < 1.3 * told  # records of 4096 bytes are not all full


def test_a_world_without_stations_or_times_is_refused() -> None:
    with pytest.raises(InputError, match="a world needs a station"):
        station_days(replace(WORLD, stations=()), SPANS)
    with pytest.raises(InputError, match="nothing of the asked-for times lies in the simulated record"):
        station_days(WORLD, np.array([[-DAY_US, -1]]))


def test_the_truth_names_what_was_put_in() -> None:
    world = replace(WORLD, precursor=Precursor("tremor", 12.0, 1.0), confounder="slow-drift", seed=3)
    truth = truth_of(world, make_catalog(world))
    assert truth["precursor"] == {"kind": "tremor", "size": 12.0, "hours": 1.0, "unit": "dB"}
    assert (truth["confounder"], truth["seed"]) == ("slow-drift", 3)
    assert truth["mainshocks"][0]["time"] == "1970-01-31T05:00:00.123456Z"
    assert truth_of(WORLD, make_catalog(WORLD))["precursor"] is None
