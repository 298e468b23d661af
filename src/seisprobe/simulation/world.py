"""A world as files: a catalog, an SDS archive of seismograms and its StationXML, read by the ordinary sources.

A station-day is made alone and written whole or not at all; what stands is not made again. Every byte belongs to the
seed, whoever makes it and in whatever order.
"""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.catalog import Integers, times_us
from seisprobe.errors import InputError, StorageError
from seisprobe.simulation import precursors
from seisprobe.simulation.catalog import CatalogWorld, simulate_catalog
from seisprobe.simulation.noise import NoiseModel, generator
from seisprobe.simulation.precursors import Precursor
from seisprobe.simulation.seismograms import DAY_US, SAMPLE_US, Recording, Station, StationRecord, simulate_record
from seisprobe.storage import write_bytes

__all__ = [
    "StationDay",
    "World",
    "archive_bytes",
    "check_disk",
    "make_catalog",
    "make_days",
    "station_days",
    "truth_of",
    "write_stations",
]

COMPONENTS = "ENZ"
BYTES_A_SAMPLE = 2.0  # Steim-2, three components of these noises take 1.2 to 1.8 a sample
CODA_US = 1_800_000_000  # an event this long before a stretch shakes it no more
RECORD_BYTES = 4096


@dataclass(frozen=True)
class World:
    """Everything that a simulated world is made of.

    Parameters
    ----------
    catalog : CatalogWorld
        Period, region, mainshocks and the laws of seismicity.
    stations : tuple of Station
    seed : int
    precursor : Precursor, optional
    confounder : str
        One of `precursors.CONFOUNDERS`, "" for none.
    noise : NoiseModel
    """

    catalog: CatalogWorld
    stations: tuple[Station, ...]
    seed: int = 0
    precursor: Precursor | None = None
    confounder: str = ""
    noise: NoiseModel = field(default_factory=NoiseModel)

    @property
    def recording(self) -> Recording:
        """What all stretches share; a fresh one, for its bands hold functions."""
        period = (self.catalog.start_us, self.catalog.end_us)
        bands = precursors.bands_of_world(self.catalog.mainshocks, period, self.precursor, self.confounder)
        return Recording(*period, self.seed, noise=self.noise, bands=bands)

    @property
    def hours(self) -> float:
        """How long before a mainshock a precursor, or what looks like one, begins."""
        return self.precursor.hours if self.precursor else Precursor("", 0.0).hours


@dataclass(frozen=True)
class StationDay:
    """What is to be recorded of a station on a day: stretches [start, end) in microseconds, on samples, apart."""

    station: int
    day_us: int
    spans: tuple[tuple[int, int], ...]


def make_catalog(world: World) -> pd.DataFrame:
    """Return a world's catalog, with a precursor that a catalog can see where it has one.

    Examples
    --------
    >>> from seisprobe.simulation.catalog import SimulatedMainshock
    >>> catalog = CatalogWorld(0, 90 * DAY_US, (42.0, 43.0, 12.5, 13.5),
    ...                        (SimulatedMainshock("M", 50 * DAY_US, 6.0, 42.5, 13.0),))
    >>> len(make_catalog(World(catalog, (Station("XX", "AAA", 42.5, 13.0),))))
    454
    """
    events = simulate_catalog(world.catalog, generator(world.seed, "catalog"))
    return precursors.with_precursor(world.catalog, world.precursor, events, world.seed)


# --- the archive -----------------------------------------------------------------------------------------------------


def station_days(world: World, spans: Integers) -> list[StationDay]:
    """Return the station-days of an archive that records some stretches of time.

    Parameters
    ----------
    world : World
    spans : ndarray of int64, shape (n, 2)
        [start, end) in microseconds, any order, may overlap; widened to samples, cut to the world's period.

    Raises
    ------
    InputError
        No station, nothing to record.

    Examples
    --------
    >>> world = World(CatalogWorld(0, 9 * DAY_US, (42.0, 43.0, 12.5, 13.5)), (Station("XX", "AAA", 42.5, 13.0),))
    >>> [len(day.spans) for day in station_days(world, np.array([[0, 7], [DAY_US - 5, DAY_US + 5]]))]
    [2, 1]
    """
    if not world.stations:
        raise InputError("a world needs a station: give --stations 1 or more")
    low, high = spans.min(axis=1) // SAMPLE_US, -(-spans.max(axis=1) // SAMPLE_US)
    low = np.maximum(low * SAMPLE_US, world.catalog.start_us)
    high = np.minimum(high * SAMPLE_US, world.catalog.end_us)
    order = np.argsort(low, kind="stable")
    days: dict[int, list[tuple[int, int]]] = {}
    reach = -1
    for begin, end in zip(low[order].tolist(), high[order].tolist(), strict=True):
        begin, reach = max(begin, reach), max(reach, end)
        while begin < end:
            day = begin // DAY_US * DAY_US
            until = min(end, day + DAY_US)
            own = days.setdefault(day, [])
            if own and own[-1][1] == begin:
                begin = own.pop()[0]
            own.append((begin, until))
            begin = until
    if not days:
        raise InputError("nothing of the asked-for times lies in the simulated record")
    return [StationDay(s, day, tuple(days[day])) for day in sorted(days) for s in range(len(world.stations))]


def archive_bytes(days: Iterable[StationDay]) -> int:
    """Return about how much disk station-days take.

    Examples
    --------
    >>> archive_bytes([StationDay(0, 0, ((0, DAY_US),))]) / 1e6
    51.84
    """
    samples = sum(end - begin for day in days for begin, end in day.spans) / SAMPLE_US
    return math.ceil(len(COMPONENTS) * BYTES_A_SAMPLE * samples)


def check_disk(folder: Path, days: Sequence[StationDay]) -> None:
    """Raise StorageError where a disk has not the room for what is to be written."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, archive_bytes(days)
    if needed > free:
        raise StorageError(
            f"{folder}: {len(days)} station-days take about {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB"
            " free; ask for fewer days or stations, or name another disk with --out"
        )


def make_days(world: World, events: pd.DataFrame, root: Path, days: Iterable[StationDay]) -> Iterator[int]:
    """Write station-days that are not there yet; yield how many samples each has.

    Parameters
    ----------
    world : World
    events : DataFrame
        The catalog.
    root : Path
        Of the SDS archive.
    days : iterable of StationDay
    """
    recording = world.recording
    hidden = precursors.repeaters(
        world.catalog.mainshocks, world.precursor, world.stations, world.seed, world.noise, recording.medium
    )
    everything = pd.concat([events, hidden], ignore_index=True) if len(hidden) else events
    times = times_us(everything["time"])
    everything = everything.loc[(times >= recording.start_us) & (times < recording.end_us)]
    for day in days:
        paths = _paths(world.stations[day.station], root, day.day_us)
        if not all(path.is_file() for path in paths.values()):
            records = [r for begin, end in day.spans for r in _records(world, everything, day.station, begin, end)]
            _write_day(records, paths)
        yield sum(end - begin for begin, end in day.spans) // SAMPLE_US


def _records(world: World, events: pd.DataFrame, number: int, begin: int, end: int) -> Iterator[StationRecord]:
    """Yield a stretch of a station, cut where its gain changes."""
    station, shocks = world.stations[number], world.catalog.mainshocks
    changes = precursors.gain_changes(shocks, world.confounder, number == 0)
    edges = [begin, *(at for at, _ in changes if begin < at < end), end]
    times = times_us(events["time"])
    near = events.loc[(times > begin - CODA_US) & (times < end)]
    for low, high in pairwise(edges):
        factor = next((f for at, f in reversed(changes) if at <= low), 1.0)
        sounding = replace(station, counts_per_m_s=factor * station.counts_per_m_s)
        made = simulate_record(near, sounding, low, (high - low) // SAMPLE_US, world.recording)
        if number == 0:
            failed = precursors.extra_gaps(shocks, low, high, world.confounder, station, world.seed, world.hours)
            made = replace(made, gaps=_united(np.concatenate([made.gaps, failed])))
        yield made


def _united(gaps: Integers) -> Integers:
    """Return gaps in order, those that overlap as one."""
    joined: list[list[int]] = []
    for begin, end in sorted(map(tuple, gaps.tolist())):
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([begin, end])
    return np.array(joined, dtype=np.int64).reshape(-1, 2)


def _paths(station: Station, root: Path, day_us: int) -> dict[str, Path]:
    """Return the day file of each channel, as SeisComP's data structure names it."""
    date = np.datetime64(day_us, "us").astype("datetime64[D]")
    year = str(date)[:4]
    number = (date - np.datetime64(f"{year}-01-01", "D")).astype(int) + 1
    found = {}
    for component in COMPONENTS:
        channel = station.band + component
        name = f"{station.network}.{station.code}.{station.location}.{channel}.D.{year}.{number:03d}"
        found[channel] = root / year / station.network / station.code / f"{channel}.D" / name
    return found


def _write_day(records: Sequence[StationRecord], paths: dict[str, Path]) -> None:
    """Write one file a channel; a day on which nothing was recorded has none."""
    from obspy import Stream

    stream = sum((record.stream() for record in records), Stream())
    for channel, path in paths.items():
        if own := stream.select(channel=channel):
            buffer = io.BytesIO()
            own.write(buffer, format="MSEED", encoding="STEIM2", reclen=RECORD_BYTES)
            write_bytes(path, buffer.getvalue())


# --- metadata --------------------------------------------------------------------------------------------------------


def write_stations(world: World, root: Path) -> None:
    """Write the archive's StationXML, ``stations.xml``: places, and each channel's sensitivity by epoch."""
    from obspy import UTCDateTime
    from obspy.core.inventory import Inventory, Network
    from obspy.core.inventory import Station as Place

    shocks, start = world.catalog.mainshocks, world.catalog.start_us
    networks: dict[str, list[Place]] = {}
    for number, station in enumerate(world.stations):
        listed = precursors.gain_changes(shocks, world.confounder, number == 0 and world.confounder == "gain-listed")
        epochs = [(start, 1.0), *listed, (world.catalog.end_us, 1.0)]
        channels = [
            _channel(station, component, factor, UTCDateTime(begin / 1e6), UTCDateTime(end / 1e6))
            for component in COMPONENTS
            for (begin, factor), (end, _) in pairwise(epochs)
        ]
        place = Place(station.code, station.latitude, station.longitude, 500.0, channels=channels)
        networks.setdefault(station.network, []).append(place)
    inventory = Inventory(
        [Network(code, stations) for code, stations in sorted(networks.items())],
        source="seisprobe", sender="seisprobe", module="seisprobe simulate", created=UTCDateTime(start / 1e6),
    )  # fmt: skip
    buffer = io.BytesIO()
    inventory.write(buffer, format="STATIONXML")
    write_bytes(root / "stations.xml", buffer.getvalue())


def _channel(station: Station, component: str, factor: float, begin: Any, end: Any) -> Any:
    from obspy.core.inventory import Channel
    from obspy.core.inventory.response import InstrumentSensitivity, Response

    value = factor * station.counts_per_m_s
    return Channel(
        station.band + component, station.location, station.latitude, station.longitude, 500.0, 0.0,
        azimuth={"E": 90.0, "N": 0.0, "Z": 0.0}[component], dip=-90.0 if component == "Z" else 0.0,
        sample_rate=1e6 / SAMPLE_US, start_date=begin, end_date=end,
        response=Response(instrument_sensitivity=InstrumentSensitivity(value, 1.0, "M/S", "COUNTS")),
    )  # fmt: skip


def truth_of(world: World, events: pd.DataFrame) -> dict[str, Any]:
    """Return what is true of a world, for ``truth.json``."""
    catalog, precursor = world.catalog, world.precursor
    laws = ("mc", "b", "rate_per_day", "branching", "alpha", "c_days", "p")
    when = {m.name: str(np.datetime64(m.time_us, "us")) + "Z" for m in catalog.mainshocks}
    return {
        "seed": world.seed,
        "precursor": None
        if precursor is None
        else {**asdict(precursor), "unit": precursors.PRECURSORS[precursor.kind]},
        "confounder": world.confounder or None,
        "mainshocks": [{**asdict(m), "time": when[m.name]} for m in catalog.mainshocks],
        "stations": [asdict(s) for s in world.stations],
        "events": len(events),
        "laws": {name: getattr(catalog, name) for name in laws},
        "noise": asdict(world.noise),
    }
