"""Stations about a place, and those of a StationXML file with its gains."""

from __future__ import annotations

from pathlib import Path

import pytest

from seisprobe.catalog import distance_km
from seisprobe.errors import DataFileError, InputError
from seisprobe.simulation.catalog import CatalogWorld
from seisprobe.simulation.seismograms import Station
from seisprobe.simulation.stations import listed_stations, stations_around
from seisprobe.simulation.world import World, write_stations

DAY_US = 86_400_000_000


def test_stations_stand_about_the_place_each_further_away() -> None:
    stations = stations_around(6, 42.8, 13.1)
    away = [float(distance_km(s.latitude, s.longitude, 42.8, 13.1)) for s in stations]
    assert away == pytest.approx([10, 15, 20, 25, 30, 35], rel=0.02)
    assert len({s.name for s in stations}) == 6


@pytest.mark.parametrize("n", [0, -1, 100])
def test_too_few_or_too_many_stations_are_refused(n: int) -> None:
    with pytest.raises(InputError, match=f"--stations {n}: a world has 1 to 99 stations"):
        stations_around(n, 42.8, 13.1)


def stationxml(folder: Path) -> Path:
    stations = (
        Station("IV", "NRCA", 42.83, 13.11, 3e8, "", "HH"),
        Station("IV", "T1213", 42.72, 13.13, 6e8, "01", "EH"),
    )
    write_stations(World(CatalogWorld(0, DAY_US, (42.0, 43.0, 12.5, 13.5)), stations), folder)
    return folder / "stations.xml"


def test_a_stations_place_band_and_gain_are_its_stationxmls(tmp_path: Path) -> None:
    one, other = listed_stations(stationxml(tmp_path), ["IV.T1213", "IV.NRCA"])
    assert (one.name, one.counts_per_m_s, one.location, one.band) == ("IV.T1213", 6e8, "01", "EH")
    assert (other.latitude, other.longitude, other.counts_per_m_s) == (42.83, 13.11, 3e8)


def test_a_station_without_stationxml_is_refused(tmp_path: Path) -> None:
    path = stationxml(tmp_path)
    with pytest.raises(InputError, match=r"IV.NRCB: .*has no such station; did you mean 'IV.NRCA'"):
        listed_stations(path, ["IV.NRCB"])
    text = path.read_text().replace("<Value>300000000.0</Value>", "<Value>0.0</Value>")
    assert "<Value>0.0</Value>" in text
    path.write_text(text)
    with pytest.raises(InputError, match=r"--stations IV.NRCA: .*gives no sensitivity of a vertical channel"):
        listed_stations(path, ["IV.NRCA"])


def test_what_is_no_stationxml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="no such file"):
        listed_stations(tmp_path / "none.xml", ["IV.NRCA"])
    (tmp_path / "bad.xml").write_text("<html>")
    with pytest.raises(DataFileError, match="is no StationXML"):
        listed_stations(tmp_path / "bad.xml", ["IV.NRCA"])
