"""Small waveform files for tests: streams made by seed, cut anywhere, written as miniSEED or as an SDS archive."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from obspy import Stream, Trace, UTCDateTime

DAY = UTCDateTime("2016-10-30")


def make_stream(
    codes: str = "IV.NRCA..HH",
    start: UTCDateTime | str = DAY,
    seconds: float = 600.0,
    *,
    components: str = "ENZ",
    rate_hz: float = 100.0,
    seed: int = 0,
    amplitude: float = 1000.0,
) -> Stream:
    """Return noise in counts (int32), one trace a component; "NET.STA.LOC.BAND" and the seed say which noise."""
    network, station, location, band = codes.split(".")
    begin = UTCDateTime(start)
    samples = round(seconds * rate_hz)
    stream = Stream()
    for component in components:
        rng = np.random.default_rng([seed, *codes.encode(), ord(component)])
        header = {
            "network": network,
            "station": station,
            "location": location,
            "channel": band + component,
            "starttime": begin,
            "sampling_rate": rate_hz,
        }
        noise = rng.standard_normal(samples, dtype=np.float32) * np.float32(amplitude)
        stream.append(Trace(noise.astype(np.int32), header))
    return stream


def piece(trace: Trace, first: int, last: int) -> Trace:
    """Return samples [first, last) of a trace as a trace of its own."""
    out = trace.copy()
    out.data = trace.data[first:last].copy()
    out.stats.starttime = trace.stats.starttime + first / trace.stats.sampling_rate
    return out


def cut(stream: Stream, pieces: int, seed: int = 0) -> Stream:
    """Return every trace cut at `pieces` − 1 random samples, all pieces in random order: the same data."""
    rng = np.random.default_rng(seed)
    parts: list[Trace] = []
    for trace in stream:
        inner = np.sort(rng.choice(np.arange(1, trace.stats.npts), pieces - 1, replace=False))
        edges = [0, *inner.tolist(), trace.stats.npts]
        parts += [piece(trace, a, b) for a, b in itertools.pairwise(edges)]
    return Stream([parts[i] for i in rng.permutation(len(parts))])


def without(stream: Stream, start: UTCDateTime | str, end: UTCDateTime | str, channels: str = "*") -> Stream:
    """Return the stream with a gap: no sample in [start, end) on these channels."""
    begin, stop = UTCDateTime(start), UTCDateTime(end)
    out = Stream()
    for trace in stream:
        if not fnmatchcase(trace.stats.channel, channels):
            out.append(trace)
            continue
        rate, first = trace.stats.sampling_rate, trace.stats.starttime
        a, b = (int(np.clip(np.ceil((t - first) * rate - 1e-6), 0, trace.stats.npts)) for t in (begin, stop))
        out.extend([piece(trace, *edges) for edges in ((0, a), (b, trace.stats.npts)) if edges[0] < edges[1]])
    return out


def write_mseed(
    path: Path, stream: Stream | Iterable[Trace], *, encoding: str = "STEIM2", record_length: int = 512
) -> Path:
    """Write a stream as one miniSEED file, folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Stream(list(stream)).write(str(path), format="MSEED", encoding=encoding, reclen=record_length)
    return path


def sds_path(root: Path, trace: Trace, day: UTCDateTime) -> Path:
    """Return where an SDS archive keeps a channel's day."""
    stats = trace.stats
    name = f"{stats.network}.{stats.station}.{stats.location}.{stats.channel}.D.{day.year}.{day.julday:03d}"
    return root / str(day.year) / stats.network / stats.station / f"{stats.channel}.D" / name


def write_sds(
    root: Path, stream: Stream, *, spill_s: float = 0.0, encoding: str = "STEIM2", record_length: int = 512
) -> list[Path]:
    """Write a stream as an SDS archive, a file a channel and day; return the files, sorted.

    `spill_s` seconds of each day lie at the end of the file of the day before, as real archives have it.
    """
    files: dict[Path, list[Trace]] = {}
    for trace in stream:
        rate, first = trace.stats.sampling_rate, trace.stats.starttime
        day = UTCDateTime((first - spill_s).date)
        at = 0
        while at < trace.stats.npts:
            after = int(np.ceil((day + 86400 + spill_s - first) * rate - 1e-6))
            last = min(max(after, at), trace.stats.npts)
            if last > at:
                files.setdefault(sds_path(root, trace, day), []).append(piece(trace, at, last))
            at, day = last, day + 86400
    for path, traces in files.items():
        write_mseed(path, traces, encoding=encoding, record_length=record_length)
    return sorted(files)
