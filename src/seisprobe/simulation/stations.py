"""The stations of a world: set out around a place, or those of a StationXML file with the gains it gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seisprobe.catalog import EARTH_RADIUS_KM
from seisprobe.errors import DataFileError, InputError, nearest
from seisprobe.simulation.seismograms import Station

__all__ = ["listed_stations", "stations_around"]

NETWORK = "XX"  # FDSN's code for what is made for a test
NEAREST_KM, FURTHER_KM = 10.0, 5.0  # of the first station, and how much further each next one
GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))
MOST = 99


def stations_around(n: int, latitude: float, longitude: float) -> tuple[Station, ...]:
    """Return n stations about a place, each further away and in a direction of its own.

    Raises
    ------
    InputError
        Zero stations, or more than 99.

    Examples
    --------
    >>> [station.name for station in stations_around(2, 42.8, 13.1)]
    ['XX.SIM01', 'XX.SIM02']
    """
    if not 1 <= n <= MOST:
        raise InputError(f"--stations {n}: a world has 1 to {MOST} stations")
    found = []
    for number in range(n):
        degrees = np.degrees((NEAREST_KM + FURTHER_KM * number) / EARTH_RADIUS_KM)
        north, east = degrees * np.cos(GOLDEN_ANGLE * number), degrees * np.sin(GOLDEN_ANGLE * number)
        place = round(latitude + north, 4), round(longitude + east / np.cos(np.radians(latitude)), 4)
        found.append(Station(NETWORK, f"SIM{number + 1:02d}", *place))
    return tuple(found)


def listed_stations(path: Path, names: Sequence[str]) -> tuple[Station, ...]:
    """Return stations of a StationXML file, with place, band and sensitivity of their first Z channel.

    Parameters
    ----------
    path : Path
    names : sequence of str
        NET.STA each.

    Raises
    ------
    InputError
        A station that the file has not, or has no sensitivity of.
    DataFileError
        No StationXML.
    """
    from obspy import read_inventory

    try:
        inventory = read_inventory(str(path), format="STATIONXML")
    except FileNotFoundError:
        raise DataFileError(f"--inventory {path}: no such file") from None
    except Exception as error:  # the parser's own and lxml's, of several kinds
        raise DataFileError(f"--inventory {path}: is no StationXML ({error})") from error
    known: dict[str, list[Station]] = {}
    for network in inventory:
        for station in network:
            own = known.setdefault(f"{network.code}.{station.code}", [])
            for channel in station:
                found = channel.response.instrument_sensitivity if channel.response else None
                if channel.code.endswith("Z") and found is not None and found.value:
                    own.append(
                        Station(network.code, station.code, channel.latitude, channel.longitude, float(found.value),
                                channel.location_code, channel.code[:2])
                    )  # fmt: skip
    return tuple(_known(name, known, path) for name in names)


def _known(name: str, known: dict[str, list[Station]], path: Path) -> Station:
    if name not in known:
        raise InputError(f"--stations {name}: {path} has no such station; {nearest(name, sorted(known))}")
    if not known[name]:
        raise InputError(f"--stations {name}: {path} gives no sensitivity of a vertical channel; name another station")
    return known[name][0]
