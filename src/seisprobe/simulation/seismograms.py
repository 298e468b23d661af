"""Seismograms of a station, three components of integer counts at 100 Hz, from a list of events and a noise model.

A stretch of record is made alone, of any length: an event gives the same samples wherever the stretch is cut, because
its generator belongs to the seed, the station and the event; noise and gaps likewise (`noise`). What a stretch costs
in memory goes with its length, not with the number of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, distance_km, times_us
from seisprobe.errors import InputError
from seisprobe.simulation import ground_motion, noise
from seisprobe.simulation.ground_motion import Medium
from seisprobe.simulation.noise import Band, NoiseModel

if TYPE_CHECKING:
    from obspy import Stream

__all__ = ["Recording", "Station", "StationRecord", "check_events", "simulate_record", "station_day"]

SAMPLING_HZ = 100
SAMPLE_US = 10_000
DAY_US = 86_400_000_000
UNKNOWN_DEPTH_KM = 10.0
DEEPEST_KM = 700.0
COMPONENTS = "ENZ"
FULL_SCALE = 2**23 - 1  # a 24-bit digitiser


@dataclass(frozen=True)
class Station:
    """A three-component station whose counts are proportional to ground velocity.

    Parameters
    ----------
    network, code, location, band : str
        The channels are band + E, N, Z.
    latitude, longitude : float
    counts_per_m_s : float
        Overall sensitivity, as in StationXML. 5e8: a broadband seismometer of about 1200 V s/m on a 24-bit digitiser
        of 20 V from peak to peak.
    site : float
        Amplitude of ground motion, noise too, relative to generic rock.
    """

    network: str
    code: str
    latitude: float
    longitude: float
    counts_per_m_s: float = 5e8
    location: str = ""
    band: str = "HH"
    site: float = 1.0

    @property
    def name(self) -> str:
        """Network and station, as in IV.NRCA."""
        return f"{self.network}.{self.code}"


@dataclass(frozen=True)
class Recording:
    """What all stretches of a world share.

    Parameters
    ----------
    start_us, end_us : int
        The world's period, microseconds since 1970, within which all its events lie.
    seed : int
    medium : Medium
    noise : NoiseModel
    bands : sequence of Band
        Louder noise on top of the noise model: a tremor.
    """

    start_us: int
    end_us: int
    seed: int = 0
    medium: Medium = field(default_factory=Medium)
    noise: NoiseModel = field(default_factory=NoiseModel)
    bands: Sequence[Band] = ()


@dataclass(frozen=True)
class StationRecord:
    """A stretch of a station's record.

    Parameters
    ----------
    station : Station
    start_us : int
        Of the first sample.
    counts : ndarray of int32, shape (3, n)
        E, N, Z, as if nothing had been lost.
    gaps : ndarray of int64, shape (k, 2)
        When nothing was recorded, [start, end) in microseconds.
    clipped : int
        Samples at the end of the digitiser's scale.
    """

    station: Station
    start_us: int
    counts: np.ndarray
    gaps: Integers
    clipped: int

    def pieces(self) -> list[tuple[int, np.ndarray]]:
        """Return (start in microseconds, counts) of what was recorded between the gaps."""
        samples = (self.gaps - self.start_us) // SAMPLE_US
        begins = [0, *samples[:, 1].tolist()]
        ends = [*samples[:, 0].tolist(), self.counts.shape[1]]
        whole = [(begin, end) for begin, end in zip(begins, ends, strict=True) if end > begin]
        return [(self.start_us + begin * SAMPLE_US, self.counts[:, begin:end]) for begin, end in whole]

    def stream(self) -> Stream:
        """Return an ObsPy Stream, one trace a component and piece."""
        from obspy import Stream, Trace, UTCDateTime

        station, traces = self.station, []
        for begin_us, counts in self.pieces():
            header = {
                "network": station.network,
                "station": station.code,
                "location": station.location,
                "starttime": UTCDateTime(ns=begin_us * 1000),
                "sampling_rate": float(SAMPLING_HZ),
            }
            for component, data in zip(COMPONENTS, counts, strict=True):
                traces.append(Trace(np.ascontiguousarray(data), header | {"channel": station.band + component}))
        return Stream(traces)


def check_events(events: pd.DataFrame, recording: Recording) -> None:
    """Raise InputError where an event lies outside the record, or below where times are known.

    Examples
    --------
    >>> time = pd.to_datetime(["2016-08-24T01:36:32Z"])
    >>> events = pd.DataFrame({"event_id": ["a"], "time": time, "magnitude": [6.0], "depth_km": [8.0]})
    >>> check_events(events, Recording(0, DAY_US))
    Traceback (most recent call last):
    seisprobe.errors.InputError: event a of 2016-08-24T01:36:32Z lies outside the record, ...
    """
    origin_us = times_us(events["time"])
    outside = np.flatnonzero((origin_us < recording.start_us) | (origin_us >= recording.end_us))
    if len(outside):
        row = outside[0]
        raise InputError(
            f"event {events['event_id'].iloc[row]} of {_written(origin_us[row])} lies outside the record, "
            f"{_written(recording.start_us)} to {_written(recording.end_us)}: leave it out or make the record longer"
        )
    depth = events["depth_km"].to_numpy(dtype=np.float64)
    deep = np.flatnonzero(depth > DEEPEST_KM)
    if len(deep):
        row = deep[0]
        raise InputError(
            f"event {events['event_id'].iloc[row]}: depth_km = {depth[row]:g}, must be at most {DEEPEST_KM:g}"
        )


def _written(time_us: int) -> str:
    return str(np.datetime64(int(time_us), "us").astype("datetime64[s]")) + "Z"


def station_day(events: pd.DataFrame, station: Station, day_us: int, recording: Recording) -> StationRecord:
    """Return a whole day of a station (`simulate_record`), from midnight UTC at `day_us`."""
    return simulate_record(events, station, day_us, DAY_US // SAMPLE_US, recording)


def simulate_record(
    events: pd.DataFrame, station: Station, start_us: int, n: int, recording: Recording
) -> StationRecord:
    """Return a stretch of a station's record.

    Parameters
    ----------
    events : DataFrame
        Event table (`seisprobe.catalog.EVENT_COLUMNS`) of the whole record; a depth not known is taken as 10 km.
        Events of the same value in an optional column ``family`` have the same waveform but for size, distance.
    station : Station
    start_us, n : int
        First sample (microseconds since 1970, a multiple of 10,000), and number of samples at 100 Hz.
    recording : Recording

    Returns
    -------
    StationRecord

    Raises
    ------
    InputError
        An event outside the record, a stretch outside the record or off the samples.

    Examples
    --------
    >>> from seisprobe.simulation.catalog import CatalogWorld, simulate_catalog
    >>> world = CatalogWorld(0, DAY_US, (42.0, 43.0, 12.5, 13.5), [], mc=1.0, rate_per_day=20.0)
    >>> events = simulate_catalog(world, np.random.default_rng(0))
    >>> record = simulate_record(events, Station("XX", "AAA", 42.5, 13.0), 0, 6000, Recording(0, DAY_US))
    >>> record.counts.shape, str(record.counts.dtype)
    ((3, 6000), 'int32')
    """
    check_events(events, recording)
    end_us = start_us + n * SAMPLE_US
    if start_us % SAMPLE_US or not recording.start_us <= start_us < end_us <= recording.end_us:
        raise InputError(
            f"stretch {_written(start_us)} to {_written(end_us)}: must lie on samples within the record, "
            f"{_written(recording.start_us)} to {_written(recording.end_us)}"
        )
    seed = recording.seed
    velocity = noise.noise_velocity(start_us, n, station.name, seed, recording.noise, recording.bands)
    _add_events(velocity, events, station, start_us, recording)
    velocity *= np.float32(station.counts_per_m_s * station.site)
    np.rint(velocity, out=velocity)
    clipped = int(np.count_nonzero(velocity > FULL_SCALE) + np.count_nonzero(velocity < -FULL_SCALE))
    np.clip(velocity, -FULL_SCALE, FULL_SCALE, out=velocity)
    gaps = noise.gap_intervals(start_us, end_us, station.name, seed, recording.noise)
    return StationRecord(station, start_us, velocity.astype(np.int32), gaps, clipped)


def _add_events(
    velocity: np.ndarray, events: pd.DataFrame, station: Station, start_us: int, recording: Recording
) -> None:
    """Add to a stretch all events of which a sample falls into it."""
    latitude, longitude = (events[name].to_numpy(dtype=np.float64) for name in ("latitude", "longitude"))
    depth = events["depth_km"].fillna(UNKNOWN_DEPTH_KM).to_numpy(dtype=np.float64).clip(min=0.0)
    epicentral = distance_km(latitude, longitude, station.latitude, station.longitude)
    distance = np.hypot(epicentral, np.maximum(depth, 1.0))  # a point source at the surface would have no distance
    magnitude = events["magnitude"].to_numpy(dtype=np.float64)
    first = ground_motion.arrivals(epicentral, depth)
    lengths = ground_motion.window_lengths(magnitude, distance, first, recording.medium)
    onset = times_us(events["time"]) + np.round(1e6 * (first.p_s - ground_motion.PAD_S)).astype(np.int64)
    begins = -(-onset // SAMPLE_US) - start_us // SAMPLE_US  # samples of the stretch
    azimuth = _azimuth(latitude, longitude, station)
    keys = _keys(events)
    n = velocity.shape[1]
    for row in np.flatnonzero((lengths > 0) & (begins < n) & (begins + lengths > 0)):
        rng = noise.generator(recording.seed, "event", station.name, keys[row])
        times = (first.p_s[row], first.s_s[row], first.p_angle[row])
        begin, length = int(begins[row]), int(lengths[row])
        motion = ground_motion.event_velocity(
            magnitude[row], distance[row], times, azimuth[row], length, recording.medium, rng
        )
        into, out_to = max(begin, 0), min(begin + length, n)
        velocity[:, into:out_to] += motion[:, into - begin : out_to - begin]


def _azimuth(latitude: Floats, longitude: Floats, station: Station) -> Floats:
    """Return the azimuth from events to the station in radians, great circle on a sphere."""
    lat, lat0 = np.radians(latitude), np.radians(station.latitude)
    east = np.radians(station.longitude - longitude)
    north = np.cos(lat) * np.sin(lat0) - np.sin(lat) * np.cos(lat0) * np.cos(east)
    return np.asarray(np.arctan2(np.sin(east) * np.cos(lat0), north))


def _keys(events: pd.DataFrame) -> list[str]:
    """Return what each event's generator is named after: its family if it has one, its identifier otherwise."""
    ids = ["id:" + value for value in events["event_id"].astype(str)]
    if "family" not in events.columns:
        return ids
    families = events["family"].fillna("").astype(str)
    return ["family:" + family if family else own for family, own in zip(families, ids, strict=True)]
