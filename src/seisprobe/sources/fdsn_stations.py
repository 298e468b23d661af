"""Which stations and channels a data centre has, kept as StationXML in the archive, and what of them is wanted.

The archive's ``stations.xml`` holds every channel epoch that was ever asked about, from whatever data centre;
``stations.json`` beside it says which questions were asked and which stations each data centre named, so that an
interrupted fetch plans the same again without asking.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from seisprobe.errors import DataFileError, InputError, SourceError
from seisprobe.sources.centre import Centre, ForbiddenError
from seisprobe.sources.retry import TooMuchError
from seisprobe.sources.waveforms import Query, StationDay, choose_band
from seisprobe.storage import write_bytes

__all__ = ["Channel", "Wanted", "known_channels", "merged", "read_stations", "wanted_days"]

PATTERNS_ASKED = 50
# Integers take about one byte a sample in Steim2, noise at a quiet site less, strong motion more.
BYTES_A_SAMPLE = 1.5


class Channel(NamedTuple):
    """An epoch of a channel: [start_us, end_us) in µs since 1970, sampling rate, place in degrees."""

    network: str
    station: str
    location: str
    code: str
    start_us: int
    end_us: int
    rate_hz: float
    latitude: float
    longitude: float


@dataclass(frozen=True)
class Wanted:
    """A station-day that is wanted, the channels to ask for, and about how many bytes they are."""

    unit: StationDay
    codes: tuple[str, ...]
    about_bytes: float


def known_channels(centre: Centre, query: Query, archive: Path) -> list[Channel]:
    """Return the channels that a query is about, asking the data centre unless it was asked the same before.

    Parameters
    ----------
    centre : Centre
    query : Query
        With start and end.
    archive : Path
        Holds ``stations.xml`` and ``stations.json``, which are brought up to date.

    Returns
    -------
    list of Channel
        Sorted.

    Raises
    ------
    InputError
        The query has no start or end, or nothing is there that fits it.
    SourceError
        When the service refuses or does not answer.
    """
    if query.start is None or query.end is None:
        raise InputError(f"{centre.identity}: from when to when? give start and end: a data centre holds decades")
    record = _read_record(archive)
    of_centre = record.setdefault(centre.identity, {"questions": [], "stations": []})
    for question in _questions(query):
        if question not in of_centre["questions"]:
            answered = _ask(centre, question, archive, of_centre)
            # Of a period that is not over, more may be known tomorrow.
            if answered and query.end <= pd.Timestamp.now("UTC"):
                of_centre["questions"].append(question)
            write_bytes(archive / "stations.json", (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
    named = set(of_centre["stations"])
    channels = [
        channel
        for channel in _channels(read_stations(archive))
        if f"{channel.network}.{channel.station}" in named and _fits(channel, query)
    ]
    if not channels:
        raise InputError(
            f"{centre.identity}: no station with channels {', '.join(query.channels)} from {query.start:%Y-%m-%d} to "
            f"{query.end:%Y-%m-%d} in what is asked for: look at stations, region and channels"
        )
    return sorted(channels)


def _read_record(archive: Path) -> dict[str, Any]:
    try:
        record = json.loads((archive / "stations.json").read_bytes())
        return record if isinstance(record, dict) and (archive / "stations.xml").is_file() else {}
    except (FileNotFoundError, ValueError):
        return {}


def read_stations(archive: Path) -> Any:
    """Return the archive's station metadata (an ObsPy Inventory, channel level), None where it has none.

    Raises
    ------
    DataFileError
        When the file is damaged.
    """
    from obspy import read_inventory

    path = archive / "stations.xml"
    if not path.is_file():
        return None
    try:
        return read_inventory(str(path), format="STATIONXML")
    except Exception as error:  # the parser's own and lxml's, of several kinds
        raise DataFileError(f"{path}: is no StationXML ({error}); remove it and fetch again") from error


def _questions(query: Query) -> Iterator[dict[str, str | float]]:
    """Yield what to ask the station service: one question for every so many patterns of stations."""
    channels = ",".join(f"{band}?" for band in query.channels)
    period = {"starttime": f"{query.start:%Y-%m-%dT%H:%M:%S}", "endtime": f"{query.end:%Y-%m-%dT%H:%M:%S}"}
    box = {key.replace("_", ""): float(value) for key, value in (query.region or {}).items()}
    patterns = sorted(query.stations) or ["*.*"]
    for at in range(0, len(patterns), PATTERNS_ASKED):
        pairs = [(p if "." in p else f"*.{p}").split(".") for p in patterns[at : at + PATTERNS_ASKED]]
        networks, stations = (",".join(sorted({_plain(pair[i]) for pair in pairs})) for i in (0, 1))
        yield {"network": networks, "station": stations, "channel": channels, "level": "channel", **period, **box}


def _plain(pattern: str) -> str:
    """Return a pattern in the wildcards that FDSN services know; more may fit it.

    Examples
    --------
    >>> _plain("T12[14]?")
    'T12??'
    """
    return re.sub(r"\[[^]]*\]", "?", pattern)


def _ask(centre: Centre, question: Mapping[str, Any], archive: Path, of_centre: dict[str, Any]) -> bool:
    """Ask the station service, and put what is new into the archive's stations.xml; False where it has nothing."""
    from obspy import UTCDateTime

    times = {key: UTCDateTime(question[key]) for key in ("starttime", "endtime")}
    try:
        answer = centre.stations({**question, **times})
    except TooMuchError as error:
        raise SourceError(
            f"{centre.identity}: stations: {error}; take a smaller region or a list of stations"
        ) from None
    except ForbiddenError:
        raise SourceError(f"{centre.identity}: the station service refuses these credentials; unset them") from None
    if answer is None:
        return False
    named = {f"{network.code}.{station.code}" for network in answer for station in network}
    of_centre["stations"] = sorted(named.union(of_centre["stations"]))
    buffer = io.BytesIO()
    merged(read_stations(archive), answer).write(buffer, format="STATIONXML")
    write_bytes(archive / "stations.xml", buffer.getvalue())
    return True


def merged(old: Any, new: Any) -> Any:
    """Return two inventories as one: every channel epoch once, the new one where both have it.

    Sorted, and without the times at which they were made, so that the same answers make the same file.

    Parameters
    ----------
    old : Inventory or None
    new : Inventory

    Returns
    -------
    Inventory
    """
    from obspy import UTCDateTime
    from obspy.core.inventory import Inventory

    networks: dict[Any, Any] = {}
    for inventory in (old, new):
        for network in inventory or ():
            there = _united(networks.get(_epoch(network)), network, "stations")
            networks[_epoch(network)] = there
    ordered = [networks[key] for key in sorted(networks)]
    made = Inventory(networks=ordered, source="seisprobe", module="seisprobe")
    made.created, made.module_uri = UTCDateTime(0), None
    return made


def _epoch(thing: Any) -> tuple[str, str, float]:
    """Return what tells an epoch of a network, station or channel from the others."""
    start = thing.start_date
    return thing.code, getattr(thing, "location_code", ""), start.timestamp if start else 0.0


def _united(old: Any, new: Any, inside: str) -> Any:
    """Return the new network or station, with what only the old one holds inside as well."""
    parts = {_epoch(part): part for part in getattr(old, inside, [])}
    for part in getattr(new, inside):
        deeper = "channels" if inside == "stations" else ""
        parts[_epoch(part)] = _united(parts.get(_epoch(part)), part, deeper) if deeper else part
    setattr(new, inside, [parts[key] for key in sorted(parts)])
    return new


def _channels(inventory: Any) -> Iterator[Channel]:
    for network in inventory or ():
        for station in network:
            for channel in station:
                yield Channel(
                    network.code,
                    station.code,
                    channel.location_code or "",
                    channel.code,
                    channel.start_date.ns // 1000 if channel.start_date else 0,
                    channel.end_date.ns // 1000 if channel.end_date else 1 << 62,
                    float(channel.sample_rate or 0.0),
                    float(station.latitude),
                    float(station.longitude),
                )


def _fits(channel: Channel, query: Query) -> bool:
    """Whether a channel is what was asked for: data centres name more, and other."""
    box = query.region
    return (
        query.wants(channel.network, channel.station)
        and channel.code[:2] in query.channels
        and channel.rate_hz > 0
        # Codes become names of files.
        and all(re.fullmatch(r"\w*", code, re.ASCII) for code in channel[:4])
        and (
            box is None
            or (
                box["min_latitude"] <= channel.latitude <= box["max_latitude"]
                and box["min_longitude"] <= channel.longitude <= box["max_longitude"]
            )
        )
    )


def wanted_days(
    channels: Sequence[Channel], query: Query, days: Collection[str] | None = None
) -> Iterator[list[Wanted]]:
    """Yield, for every station and UTC day, what to ask for: the first choice, and what to take if it is not whole.

    Parameters
    ----------
    channels : sequence of Channel
        Sorted.
    query : Query
        With start and end.
    days : collection of str, optional
        Only these days, "2016-10-30".

    Yields
    ------
    list of Wanted
        By priority, not empty.
    """
    assert query.start is not None
    assert query.end is not None
    first, last = query.start.tz_convert("UTC").normalize(), query.end.tz_convert("UTC")
    every = [f"{day:%Y-%m-%d}" for day in pd.date_range(first, last, inclusive="left")]
    of_station: dict[tuple[str, str], list[Channel]] = {}
    for channel in channels:
        of_station.setdefault((channel.network, channel.station), []).append(channel)
    for there in of_station.values():
        for day in every:
            if (days is None or day in days) and (choices := _choices(there, query.channels, day)):
                yield choices


def _choices(there: Iterable[Channel], bands: tuple[str, ...], day: str) -> list[Wanted]:
    start_us = pd.Timestamp(day, tz="UTC").value // 1000
    open_then = [c for c in there if c.start_us < start_us + 86_400_000_000 and c.end_us > start_us]
    left = {(channel.location, channel.code) for channel in open_then}
    choices = []
    while best := choose_band(left, bands):
        location, band = best
        of_band = [c for c in open_then if c.location == location and c.code[:2] == band]
        codes = tuple(sorted({channel.code for channel in of_band}))
        size = len(codes) * max(channel.rate_hz for channel in of_band) * 86400 * BYTES_A_SAMPLE
        unit = StationDay(of_band[0].network, of_band[0].station, location, band, day)
        choices.append(Wanted(unit, codes, size))
        left -= {(location, code) for code in codes}
    return choices
