"""Where waveforms come from: ``"scheme:rest"`` in the study file, one file a scheme.

=============  ========================================================================  ==========  ================
scheme         rest                                                                      file        gives
=============  ========================================================================  ==========  ================
``sds:``       folder of an SDS archive (YEAR/NET/STA/CHAN.D/NET.STA.LOC.CHAN.D.Y.DAY)   `sds`       continuous data
``mseed:``     a miniSEED file, or a folder of them, of any names                        `mseed`     continuous data
``instance:``  a metadata table with its HDF5 file (INSTANCE, SeisBench), or the folder  `instance`  traces of events
=============  ========================================================================  ==========  ================

Paths are relative to the study file. ``fdsn:`` is fetched into an SDS archive first, and read from there. A new scheme
is one more file, whose opener is put into `WAVEFORM_SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.errors import InputError, StudyError, nearest

if TYPE_CHECKING:
    from obspy import Stream

__all__ = [
    "WAVEFORM_SOURCES",
    "ContinuousSource",
    "Query",
    "StationDay",
    "TraceChunk",
    "TraceSource",
    "Traces",
    "choose_band",
    "open_waveform_source",
    "station_days",
]

COMPONENTS = (frozenset("ENZ"), frozenset("12Z"))
REGION = ("min_latitude", "max_latitude", "min_longitude", "max_longitude")


@dataclass(frozen=True)
class Query:
    """Which waveforms are wanted.

    Parameters
    ----------
    start, end : Timestamp, optional
        Aware; [start, end). None: all there is.
    region : mapping of str to float, optional
        ``min_latitude``, ``max_latitude``, ``min_longitude``, ``max_longitude``, degrees, edges included: where the
        stations stand. Sources that know no coordinates (``sds:``, ``mseed:``) hold what was chosen before, and leave
        it out of account.
    stations : tuple of str
        ``"IV.NRCA"``, or ``"NRCA"`` of any network; ``*``, ``?`` and ``[…]`` as in file names; empty: all.
    channels : tuple of str
        Band and instrument codes, in order of priority.

    Raises
    ------
    InputError
        A time without zone, an end before the start, a malformed station or channel, a region without an edge.

    Examples
    --------
    >>> query = Query(stations=("IV.N*", "CESI"))
    >>> [query.wants("IV", "NRCA"), query.wants("XX", "NRCA"), query.wants("IV", "CESI")]
    [True, False, True]
    >>> Query(start=pd.Timestamp("2016-10-30"))
    Traceback (most recent call last):
    seisprobe.errors.InputError: start 2016-10-30 00:00:00 has no time zone: write it with one, 2016-10-30T00:00:00Z
    """

    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    region: Mapping[str, float] | None = None
    stations: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("HH", "EH", "HN")

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            time = getattr(self, name)
            if time is not None and time.tzinfo is None:
                raise InputError(f"{name} {time} has no time zone: write it with one, {time:%Y-%m-%dT%H:%M:%S}Z")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise InputError(f"end {self.end} is not after start {self.start}: change one of them")
        for pattern in self.stations:
            if not pattern or pattern.count(".") > 1:
                raise InputError(f'station "{pattern}": write NETWORK.STATION or STATION, as in IV.NRCA')
        for code in self.channels:
            if len(code) != 2:
                raise InputError(f'channel "{code}": write band and instrument code, two letters, as in HH')
        if self.region is not None and set(self.region) != set(REGION):
            raise InputError(f"region with {', '.join(self.region) or 'nothing'}: give {', '.join(REGION)}")

    def wants(self, network: str, station: str) -> bool:
        """Whether the list of stations lets this one in (the region is not looked at)."""
        codes = f"{network}.{station}"
        return not self.stations or any(
            fnmatchcase(codes if "." in pattern else station, pattern) for pattern in self.stations
        )

    def wants_day(self, day: str) -> bool:
        """Whether a UTC day, "2016-10-30", meets [start, end)."""
        begin = pd.Timestamp(day, tz="UTC")
        return (self.end is None or begin < self.end) and (
            self.start is None or begin + pd.Timedelta(days=1) > self.start
        )


def _safe(code: str) -> str:
    """A code as part of a file name: what a damaged header holds must not lead out of a folder."""
    return quote(code, safe="", errors="surrogateescape").replace(".", "%2E").replace("~", "%7E")


@dataclass(frozen=True, order=True)
class StationDay:
    """A unit of work of continuous data: one band of one station, one UTC day.

    Examples
    --------
    >>> unit = StationDay("IV", "NRCA", "", "HH", "2016-10-30")
    >>> unit.key, str(unit.end)
    ('IV.NRCA..HH.2016-10-30', '2016-10-31 00:00:00+00:00')
    >>> StationDay("IV", "../x", "", "HH", "2016-10-30").key
    'IV.%2E%2E%2Fx..HH.2016-10-30'
    """

    network: str
    station: str
    location: str
    band: str
    day: str

    @property
    def key(self) -> str:
        """The unit's name, usable as a file name."""
        return ".".join([*(_safe(code) for code in (self.network, self.station, self.location, self.band)), self.day])

    @property
    def start(self) -> pd.Timestamp:
        """Midnight at which the day starts."""
        return pd.Timestamp(self.day, tz="UTC")

    @property
    def end(self) -> pd.Timestamp:
        """Midnight at which the next day starts."""
        return self.start + pd.Timedelta(days=1)


@dataclass(frozen=True, order=True)
class TraceChunk:
    """A unit of work of event traces: rows of the metadata table, in file order.

    The table is cut into chunks of a fixed length whatever is asked for, so that a chunk has the same rows and the
    same name in every run; the traces that a query does not choose are left out when the chunk is read.

    Parameters
    ----------
    number : int
    first, last : int
        Rows [first, last) of the whole table.

    Examples
    --------
    >>> TraceChunk(12, 6000, 6500).key
    'traces-00012'
    """

    number: int
    first: int
    last: int

    @property
    def key(self) -> str:
        """The unit's name, usable as a file name."""
        return f"traces-{self.number:05d}"


@dataclass(frozen=True)
class Traces:
    """The traces of a chunk that are wanted and there.

    Parameters
    ----------
    waveforms : ndarray
        (n, 3, samples) float32 in the order E, N, Z, in the units of the file (counts, where it has counts).
    table : DataFrame
        n rows: trace_name, network, station, location, channels (str), start (datetime64[us, UTC], NaT where the
        table has none), sampling_rate_hz, and those columns of the table that the metadata features take.
    missing : list of (str, str)
        Trace name and reason of each trace that the table names and that cannot be had.
    """

    waveforms: NDArray[np.float32]
    table: pd.DataFrame
    missing: list[tuple[str, str]] = field(default_factory=list)


@runtime_checkable
class ContinuousSource(Protocol):
    """Anything that gives continuous waveforms, in the shape of ObsPy's clients.

    ``identity`` goes into the fingerprint of what is computed; it holds no host and no absolute path.
    """

    identity: str

    def units(self, query: Query) -> list[StationDay]:
        """Return the station-days there are, sorted; one band and location a station and day (`choose_band`)."""
        ...

    def get_waveforms(
        self, network: str, station: str, location: str, channel: str, starttime: Any, endtime: Any
    ) -> Stream:
        """Return the samples in [starttime, endtime); `channel` may be ``"HH?"``."""
        ...

    def stamp(self, unit: StationDay) -> str:
        """Return what changes when the data of a station-day do: of the files that hold them, size and ends."""
        ...

    def problems(self) -> list[str]:
        """Return one line for each file of which something could not be read, and for what was left out."""
        ...


@runtime_checkable
class TraceSource(Protocol):
    """Anything that gives cut-out traces with a metadata table.

    ``identity`` goes into the fingerprint of what is computed; it holds no host and no absolute path.
    """

    identity: str

    def units(self, query: Query) -> list[TraceChunk]:
        """Return the chunks of the table that hold wanted traces, in order; `read` keeps to the same query."""
        ...

    def read(self, unit: TraceChunk) -> Traces:
        """Return the wanted traces of a chunk."""
        ...


def choose_band(channels: Iterable[tuple[str, str]], wanted: tuple[str, ...]) -> tuple[str, str] | None:
    """Return location and band of the first wanted band with three components (E, N, Z or 1, 2, Z).

    Parameters
    ----------
    channels : iterable of (str, str)
        Location and channel code of what a station has, of one day.
    wanted : tuple of str
        Bands in order of priority. Within a band, locations are taken in sorted order, "" first. A ``?`` that is
        stored in a code stands for any letter.

    Returns
    -------
    (str, str) or None
        None where no wanted band has three components.

    Examples
    --------
    >>> there = [("", "HHZ"), ("", "EHE"), ("", "EHN"), ("", "EHZ"), ("00", "EHE"), ("00", "EHN"), ("00", "EHZ")]
    >>> choose_band(there, ("HH", "EH", "HN"))
    ('', 'EH')
    >>> choose_band([("42", "?HE"), ("42", "?HN"), ("42", "?HZ")], ("HH", "EH"))
    ('42', '?H')
    """
    components: dict[tuple[str, str], set[str]] = {}
    for location, code in channels:
        components.setdefault((location, code[:2]), set()).add(code[2:])
    whole = [key for key, there in components.items() if any(needed <= there for needed in COMPONENTS)]
    for band in wanted:
        found = [(location, of) for location, of in whole if _fits(of, band)]
        if found:
            return min(found, key=lambda key: (key[1] != band, key))
    return None


def _fits(stored: str, wanted: str) -> bool:
    return len(stored) == len(wanted) and all(a in ("?", b) for a, b in zip(stored, wanted, strict=True))


def station_days(
    there: Mapping[tuple[str, str, str], Iterable[tuple[str, str]]], query: Query
) -> tuple[list[StationDay], list[str]]:
    """Return the units of an archive, and a line for each station of which days have no band with three components.

    Parameters
    ----------
    there : mapping
        Network, station and UTC day ("2016-10-30") to the location and channel codes there are.
    query : Query
        Its stations, period and channels choose.

    Returns
    -------
    list of StationDay, list of str

    Examples
    --------
    >>> station_days({("IV", "NRCA", "2016-10-30"): [("", "EHZ")]}, Query())
    ([], ['IV.NRCA: 1 day without three components of HH, EH, HN left out (there are EHZ)'])
    """
    units, without = [], dict[str, list[Iterable[tuple[str, str]]]]()
    for (network, station, day), channels in there.items():
        if query.wants(network, station) and query.wants_day(day):
            chosen = choose_band(channels, query.channels)
            if chosen:
                units.append(StationDay(network, station, *chosen, day))
            else:
                without.setdefault(f"{network}.{station}", []).append(channels)
    lines = []
    for codes, days in sorted(without.items()):
        many = "1 day" if len(days) == 1 else f"{len(days)} days"
        some = ", ".join(sorted({code for channels in days for _, code in channels}))
        wanted = ", ".join(query.channels)
        lines.append(f"{codes}: {many} without three components of {wanted} left out (there are {some})")
    return sorted(units), lines


Opener = Callable[[str, Path], ContinuousSource | TraceSource]


# The files of the schemes import the types above, so they are loaded when they are first asked for.
def _open_sds(rest: str, folder: Path) -> ContinuousSource:
    from seisprobe.sources.sds import SdsSource

    return SdsSource(folder / rest)


def _open_mseed(rest: str, folder: Path) -> ContinuousSource:
    from seisprobe.sources.mseed import MseedSource

    return MseedSource(folder / rest)


def _open_instance(rest: str, folder: Path) -> TraceSource:
    from seisprobe.sources.instance import InstanceSource

    return InstanceSource(folder / rest)


WAVEFORM_SOURCES: dict[str, Opener] = {"sds": _open_sds, "mseed": _open_mseed, "instance": _open_instance}


def open_waveform_source(source: str, *, folder: Path) -> ContinuousSource | TraceSource:
    """Open the source of waveforms that a study names.

    Parameters
    ----------
    source : str
        ``"scheme:rest"``.
    folder : Path
        What paths are relative to: the folder of the study file.

    Returns
    -------
    ContinuousSource or TraceSource

    Raises
    ------
    StudyError
        When the scheme is unknown, or nothing is behind it.
    DataFileError
        When a file or folder is missing or cannot be such a source.

    Examples
    --------
    >>> open_waveform_source("sdss:archive", folder=Path())
    Traceback (most recent call last):
    seisprobe.errors.StudyError: [waveforms] source = "sdss:archive": no such scheme; did you mean 'sds'? ...
    """
    scheme, colon, rest = source.partition(":")
    said = f'[waveforms] source = "{source}"'
    if not colon:
        raise StudyError(f'{said}: no scheme; write "sds:{source}" for an archive, or "mseed:{source}" for files')
    if scheme == "fdsn" and scheme not in WAVEFORM_SOURCES:
        raise StudyError(f'{said}: a data centre is fetched into an archive first; then write "sds:" and the archive')
    if scheme not in WAVEFORM_SOURCES:
        raise StudyError(f"{said}: no such scheme; {nearest(scheme, WAVEFORM_SOURCES)}")
    if not rest.strip():
        raise StudyError(f"{said}: no path; write it behind the colon")
    return WAVEFORM_SOURCES[scheme](rest, folder)
