"""The worlds that `demo` and `simulate` make: mainshocks, stations, the study that looks at them, the right words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from seisprobe.errors import InputError, nearest
from seisprobe.simulation.catalog import CatalogWorld, SimulatedMainshock
from seisprobe.simulation.noise import generator
from seisprobe.simulation.precursors import CONFOUNDERS, Precursor, moved_mainshocks
from seisprobe.simulation.seismograms import Station
from seisprobe.simulation.stations import stations_around
from seisprobe.simulation.world import World

__all__ = ["PRESETS", "Preset", "default_precursor", "find_preset", "make_world", "right_words", "study_of_world"]

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
HISTORY_US = 365 * DAY_US
FOUND = ("SUGGESTIVE", "DETECTED")
NOTHING = {
    True: ("NOT DETECTED", "EXPLAINED BY CLUSTERING", "INCONCLUSIVE", "CONFOUNDED"),
    False: ("INCONCLUSIVE", "EXPLAINED BY CLUSTERING", "CONFOUNDED"),
}
# Origin times, magnitudes and places of INGV's catalog: the world's mainshocks come when the real ones came.
NORCIA = (
    ("Amatrice", "2016-08-24T01:36:32", 6.0, 42.6983, 13.2335),
    ("Visso", "2016-10-26T19:18:07.42", 5.9, 42.9048, 13.0902),
    ("Norcia", "2016-10-30T06:40:17.32", 6.5, 42.8303, 13.1092),
)
REGION = (41.5, 44.0, 11.5, 14.5)
# The fastest backend is found by timing, which is not the same every time: a demo is to give the same bytes.
NETWORK = {"threads": 1, "batch": 16, "backend": "torch"}
MANY = 10  # mainshocks: a classifier is refitted for each of them in each draw, which takes long
MIN_MAGNITUDE = 2.5  # of the study; smaller events shake the stations and stand in no catalog that it reads


@dataclass(frozen=True)
class Preset:
    """What a simulated study is made of.

    Parameters
    ----------
    name : str
    start, end : str
        Of the study; the catalog begins a year earlier.
    mainshocks : int
        How many; 0: the three of 2016.
    magnitude : float
        Of the smallest mainshock that is made up; they differ by up to 0.4. Their aftershocks must fill the hour after.
    apart_days : float
        Between mainshocks where they are made up; each is moved by up to a sixth of it.
    stations : int
    hours : tuple of float
        Lengths of windows; the precursor lasts as long as the longest.
    per_window, background_count : int
        As in ``[segments]`` and ``[windows]``.
    rate_per_day : float
        Background events.
    tremor_db : float
        Size of the default precursor: the point of the power curve (docs/demo.md) with at least 99%.
    power : tuple of (float, int, int)
        That point: size, detected, tried.
    words, null_words : tuple of str
        The right ones with the default precursor, and with none.
    """

    name: str
    start: str
    end: str
    mainshocks: int
    magnitude: float
    apart_days: float
    stations: int
    hours: tuple[float, ...]
    per_window: int
    background_count: int
    rate_per_day: float
    tremor_db: float
    power: tuple[float, int, int]
    words: tuple[str, ...]
    null_words: tuple[str, ...]


CLUSTERED = ("INCONCLUSIVE", "EXPLAINED BY CLUSTERING")
PRESETS: Mapping[str, Preset] = {
    "norcia": Preset("norcia", "2016-01-01", "2017-01-01", 0, 0.0, 0.0, 2, (1.0, 2.0), 30, 30, 1.0,
                     10.0, (10.0, 1000, 1000), ("SUGGESTIVE",), CLUSTERED),
    "power": Preset("power", "2020-01-01", "2021-01-01", 20, 6.0, 18.0, 2, (1.0, 2.0), 30, 200, 1.0,
                    10.0, (10.0, 200, 200), ("DETECTED",), ("NOT DETECTED", "EXPLAINED BY CLUSTERING")),
    "small": Preset("small", "2020-01-01", "2020-06-29", 3, 6.4, 50.0, 2, (1.0,), 16, 24, 2.0,
                    15.0, (15.0, 1000, 1000), ("SUGGESTIVE",), CLUSTERED),
}  # fmt: skip


def find_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises
    ------
    InputError
        There is none of that name.

    Examples
    --------
    >>> find_preset("smal")
    Traceback (most recent call last):
    ...
    seisprobe.errors.InputError: preset smal: no such preset; did you mean 'small'? (known: norcia, power, small)
    """
    if name not in PRESETS:
        raise InputError(f"preset {name}: no such preset; {nearest(name, PRESETS)}")
    return PRESETS[name]


def make_world(
    preset: Preset,
    seed: int,
    precursor: Precursor | None = None,
    confounder: str = "",
    stations: Sequence[Station] | None = None,
) -> World:
    """Return the world of a preset.

    Parameters
    ----------
    preset : Preset
    seed : int
    precursor : Precursor, optional
    confounder : str
        "" for none.
    stations : sequence of Station, optional
        Instead of the preset's.

    Raises
    ------
    InputError
        A confounder that does not exist, no station.

    Examples
    --------
    >>> world = make_world(find_preset("small"), 0)
    >>> [m.name for m in world.catalog.mainshocks], len(world.stations)
    (['M1', 'M2', 'M3'], 2)
    """
    if confounder and confounder not in CONFOUNDERS:
        raise InputError(f"--confounder {confounder}: no such confounder; {nearest(confounder, CONFOUNDERS)}")
    shocks = moved_mainshocks(_norcia() if not preset.mainshocks else _made_up(preset, seed), confounder)
    north, east = (float(np.mean([getattr(m, key) for m in shocks])) for key in ("latitude", "longitude"))
    chosen = stations_around(preset.stations, north, east) if stations is None else tuple(stations)
    period = (_us(preset.start) - HISTORY_US, _us(preset.end))
    catalog = CatalogWorld(*period, REGION, shocks, rate_per_day=preset.rate_per_day)
    return World(catalog, chosen, seed, precursor, confounder)


def _us(text: str) -> int:
    return int(np.datetime64(text, "us").astype(np.int64))


def _norcia() -> tuple[SimulatedMainshock, ...]:
    return tuple(SimulatedMainshock(name, _us(time), *rest) for name, time, *rest in NORCIA)


def _made_up(preset: Preset, seed: int) -> tuple[SimulatedMainshock, ...]:
    """Return mainshocks at times that belong to the seed, far enough apart for a block each."""
    rng = generator(seed, "mainshocks", preset.name)
    whole = _us(preset.end) - _us(preset.start)
    first = 0.5 * (whole / DAY_US - preset.apart_days * (preset.mainshocks - 1))
    shocks = []
    for k in range(preset.mainshocks):
        day = first + preset.apart_days * (k + rng.uniform(-1.0, 1.0) / 6.0)
        time_us = _us(preset.start) + round(day * DAY_US) // 1000 * 1000
        magnitude = round(preset.magnitude + 0.1 * int(rng.integers(0, 5)), 1)
        latitude, longitude = 42.83 + 0.05 * rng.standard_normal(), 13.11 + 0.05 * rng.standard_normal()
        shocks.append(SimulatedMainshock(f"M{k + 1}", time_us, magnitude, round(latitude, 4), round(longitude, 4)))
    return tuple(shocks)


def study_of_world(
    preset: Preset,
    world: World,
    catalog: str = "file:catalog.txt",
    encoder: str = "random_encoder",
) -> dict[str, Any]:
    """Return the study that looks at a world, as nested tables; paths are relative to the study's file."""
    south, north, west, east = world.catalog.region
    names = sorted(station.name for station in world.stations)
    return {
        "study": {
            "name": f"seisprobe-demo-{preset.name}",
            "seed": world.seed,
            "start": datetime.fromisoformat(preset.start).replace(tzinfo=UTC),
            "end": datetime.fromisoformat(preset.end).replace(tzinfo=UTC),
            "region": {"min_latitude": south, "max_latitude": north, "min_longitude": west, "max_longitude": east},
        },
        "catalog": {"source": catalog, "min_magnitude": MIN_MAGNITUDE},
        "mainshock": [
            {"name": m.name, "time": datetime.fromtimestamp(m.time_us / 1e6, UTC), "magnitude": m.magnitude,
             "latitude": m.latitude, "longitude": m.longitude}
            for m in world.catalog.mainshocks
        ],
        "windows": {"hours": list(preset.hours), "embargo_h": 6, "background_count": preset.background_count},
        "waveforms": {"source": "sds:waveforms", "stations": names,
                      "channels": sorted({station.band for station in world.stations})},
        "segments": {"per_window": preset.per_window},
        "encoder": {"name": encoder, **(NETWORK if encoder != "band_energy" else {})},
        "modality": [{"name": name} for name in ("catalog", "seisclip", "catalog+seisclip", "amplitude")],
        "evaluation": {
            "primary": {"modality": "seisclip", "score": "novelty", "hours": max(preset.hours)},
            "synthetic_catalogs": 0,
            "logistic_draws": 19 if preset.mainshocks > MANY else 199,
        },
    }  # fmt: skip


def default_precursor(preset: Preset) -> Precursor:
    """Return the tremor that a preset's demo puts in: what no catalog can see, of a size that is found.

    Examples
    --------
    >>> default_precursor(find_preset("small")).kind
    'tremor'
    """
    return Precursor("tremor", preset.tremor_db, max(preset.hours))


def right_words(preset: Preset, precursor: Precursor | None, confounder: str) -> tuple[str, ...] | None:
    """Return the words that would be right; None where that depends on how strong the precursor is.

    Examples
    --------
    >>> right_words(find_preset("norcia"), None, "")
    ('INCONCLUSIVE', 'EXPLAINED BY CLUSTERING')
    """
    if confounder and precursor is None:
        return NOTHING[preset.mainshocks >= 5]
    if precursor is None:
        return preset.null_words
    default = precursor.kind == "tremor" and precursor.size >= preset.tremor_db
    return preset.words if default and not confounder else None
