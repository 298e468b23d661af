"""The samples of a period from any number of miniSEED files, in the order of time.

ObsPy decodes, one run of records at a time; a record that fails the check which Steim compression carries, of which
ObsPy keeps the samples, is found and left out by name. Records are put in order of time, whatever file they came from,
before they are decoded: what comes out does not depend on how data were cut into files.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.errors import InputError
from seisprobe.sources.scanning import Block, FileIndex, Nslc, Records, parse_codes, scan

if TYPE_CHECKING:
    from obspy import Stream, Trace

__all__ = ["Notes", "matching", "nanoseconds", "read_period", "trim"]

MARGIN_NS = 1_000_000_000  # header times lack microseconds and exact rates; samples are cut exactly after decoding

# Warnings are caught by changing the process's filters, which two threads must not do at once.
_DECODER = threading.Lock()


def matching(known: Iterable[Nslc], network: str, station: str, location: str, channel: str) -> set[Nslc]:
    """Return the channels that four codes mean, as ObsPy's clients read them: ``*`` and ``?`` stand for other letters.

    A ``?`` that a file has in a code means itself wherever some code is the same up to the component.

    Examples
    --------
    >>> known = [Nslc("TR", "EGG05", "42", "?HZ"), Nslc("TR", "EGG05", "42", "HHZ")]
    >>> [n.channel for n in sorted(matching(known, "TR", "EGG05", "42", "?H?"))]
    ['?HZ']
    """
    asked = (network, station, "" if location == "--" else location, channel)
    found = {n for n in known if all(a == b or fnmatchcase(a, b) for a, b in zip(n, asked, strict=True))}
    same = {n for n in found if n.channel[:2] == channel[:2]}
    return same if same and "?" in channel[:2] else found


def nanoseconds(time: Any) -> int:
    """Return a time as nanoseconds since 1970: a UTCDateTime, an aware Timestamp, or what UTCDateTime takes.

    Raises
    ------
    InputError
        A Timestamp without zone.

    Examples
    --------
    >>> nanoseconds(pd.Timestamp("1970-01-01T01:00:01+01:00"))
    1000000000
    """
    from obspy import UTCDateTime

    if isinstance(time, pd.Timestamp):
        if time.tzinfo is None:
            raise InputError(f"time {time} has no time zone: write it with one, {time:%Y-%m-%dT%H:%M:%S}Z")
        return int(time.as_unit("ns").value)
    return int(UTCDateTime(time).ns)


@dataclass
class Notes:
    """What could not be read, by file, each thing once however often the file is read."""

    _whole: dict[str, set[str]] = field(default_factory=dict)
    _records: dict[str, set[int]] = field(default_factory=dict)

    def file(self, name: str, reasons: Iterable[str]) -> None:
        """Note reasons that belong to a whole file."""
        for reason in reasons:
            self._whole.setdefault(name, set()).add(reason)

    def record(self, name: str, at: int) -> None:
        """Note a record, by its first byte, that cannot be decoded."""
        self._records.setdefault(name, set()).add(at)

    def lines(self) -> list[str]:
        """Return one line a file, sorted."""
        said = {name: sorted(reasons) for name, reasons in self._whole.items()}
        for name, at in self._records.items():
            many = "1 record" if len(at) == 1 else f"{len(at)} records"
            said.setdefault(name, []).append(f"{many} that cannot be decoded left out, the first at byte {min(at)}")
        return [f"{name}: {'; '.join(said[name])}" for name in sorted(said)]


@dataclass
class _Pool:
    """The records of one channel, from any number of files."""

    parts: list[Records] = field(default_factory=list)
    buffers: list[bytes] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)
    records: Records = field(default_factory=lambda: Records.join([]))
    of: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def close(self) -> None:
        """Join what was collected; records in order of time."""
        joined = Records.join(self.parts)
        of = np.repeat(np.arange(len(self.parts)), [len(part.offset) for part in self.parts])
        order = np.lexsort((joined.offset, of, joined.start))
        self.records, self.of = joined.take(order), of[order]

    def one(self, index: int) -> bytes:
        """Return a record."""
        at = int(self.records.offset[index])
        return self.buffers[int(self.of[index])][at : at + int(self.records.length[index])]

    def payload(self, which: NDArray[np.int64]) -> bytes:
        """Return records one after another; what is adjacent in a file is copied at once."""
        at, length, of = self.records.offset[which], self.records.length[which], self.of[which]
        breaks = np.flatnonzero((at[1:] != at[:-1] + length[:-1]) | (of[1:] != of[:-1])) + 1
        firsts, lasts = np.r_[0, breaks], np.r_[breaks, len(which)] - 1
        slices = zip(of[firsts], at[firsts], at[lasts] + length[lasts], strict=True)
        return b"".join(self.buffers[buffer][a:b] for buffer, a, b in slices)

    def layers(self) -> list[NDArray[np.int64]]:
        """Return the records in rows in which none overlaps another; copies of a record are left out."""
        start, end = self.records.start, self.records.end
        half = (end - start) // np.maximum(self.records.samples, 1) // 2
        if (start[1:] >= end[:-1] - half[1:]).all():
            return [np.arange(len(start))]
        # Sequence number and quality say nothing of the data. Order must not depend on which file a record is in.
        content = {i: self.one(i)[8:] for i in range(len(start))}
        order = sorted(content, key=lambda i: (start[i], end[i], content[i]))
        rows: list[list[int]] = []
        for i in order:
            if any(content[row[-1]] == content[i] for row in rows):
                continue
            free = [row for row in rows if end[row[-1]] <= start[i] + half[i]]
            if free:
                max(free, key=lambda row: end[row[-1]]).append(i)
            else:
                rows.append([i])
        return [np.array(row) for row in rows]


def _decode(payload: bytes, samples: int) -> list[Trace] | None:
    """Traces of the records, None where any of them fails its own check or gives other samples than it says."""
    from obspy import read
    from obspy.io.mseed import InternalMSEEDWarning

    with _DECODER, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", InternalMSEEDWarning)
        try:
            traces = list(read(io.BytesIO(payload), format="MSEED"))
        except Exception:  # noqa: BLE001  (ObsPy raises bare Exceptions for bytes it does not know)
            return None
    return None if caught or sum(trace.stats.npts for trace in traces) != samples else traces


def _damaged(pool: _Pool, which: NDArray[np.int64]) -> list[int]:
    """Return the records that cannot be decoded, found by halving."""
    if _decode(pool.payload(which), int(pool.records.samples[which].sum())) is not None:
        return []
    if len(which) == 1:
        return [int(which[0])]
    middle = len(which) // 2
    return _damaged(pool, which[:middle]) + _damaged(pool, which[middle:])


def _on_time(records: Records, which: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return records in runs in which each is due, within half a sample, when the run's first says.

    ObsPy joins records by their predecessors alone and keeps the first one's time: a clock that drifts, or a rate that
    is not quite what the header says, would add up over a day.
    """
    start, end = records.start[which], records.end[which]
    step = (end - start) / np.maximum(records.samples[which], 1)
    other_rate = np.abs(np.diff(step)) > 1e-5 * step[1:]
    breaks = np.flatnonzero((np.abs(start[1:] - end[:-1]) > step[1:] / 2) | other_rate) + 1
    return [run for unbroken in np.split(which, breaks) for run in _undrifted(records, unbroken)]


def _undrifted(records: Records, which: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    while len(which):
        start, samples = records.start[which], records.samples[which]
        step = (records.end[which[0]] - start[0]) / max(int(samples[0]), 1)
        due = np.concatenate([[0], np.cumsum(samples[:-1])]) * step
        late = np.flatnonzero(np.abs(start - start[0] - due) > step / 2)
        n = int(late[0]) if len(late) else len(which)
        yield which[:n]
        which = which[n:]


def _traces(pool: _Pool, which: NDArray[np.int64], notes: Notes) -> list[Trace]:
    return [trace for run in _on_time(pool.records, which) for trace in _joined(pool, run, notes)]


def _joined(pool: _Pool, which: NDArray[np.int64], notes: Notes) -> list[Trace]:
    samples = pool.records.samples
    whole = _decode(pool.payload(which), int(samples[which].sum()))
    if whole is not None:
        return whole
    bad = _damaged(pool, which)
    for index in bad:
        name, base = pool.places[pool.of[index]]
        notes.record(name, base + int(pool.records.offset[index]))
    good = which[~np.isin(which, bad)]
    if not len(good):
        return []
    together = _decode(pool.payload(good), int(samples[good].sum()))
    if together is not None:
        return together
    return [trace for i in good for trace in _decode(pool.one(i), int(samples[i])) or []]


def trim(trace: Trace, start_ns: int, end_ns: int) -> Trace | None:
    """Cut a trace to the samples in [start, end), None where there is none; the samples stay where they are in time.

    Parameters
    ----------
    trace : Trace
        Not changed; its samples are shared.
    start_ns, end_ns : int
        Nanoseconds since 1970. A sample less than a millionth of a sample before an edge counts as on it.

    Returns
    -------
    Trace or None

    Examples
    --------
    >>> from obspy import Trace
    >>> minute = Trace(np.zeros(6001, np.int32), {"sampling_rate": 100.0})
    >>> trim(minute, 0, 60_000_000_000).stats.npts
    6000
    """
    from obspy import Trace, UTCDateTime

    first_ns, rate = int(trace.stats.starttime.ns), float(trace.stats.sampling_rate)
    edges = np.ceil((np.array([start_ns, end_ns], np.int64) - first_ns) * rate / 1e9 - 1e-6)
    begin, stop = (int(edge) for edge in edges.clip(0, trace.stats.npts))
    if begin >= stop:
        return None
    stats = trace.stats.copy()
    stats.npts = stop - begin
    stats.starttime = UTCDateTime(ns=first_ns + round(begin * 1e9 / rate))
    return Trace(trace.data[begin:stop], stats)


def read_period(
    files: Iterable[tuple[str, Path, FileIndex]],
    wanted: Callable[[Nslc], bool],
    start_ns: int,
    end_ns: int,
    notes: Notes,
) -> Stream:
    """Read the samples of a period from any number of files.

    Parameters
    ----------
    files : iterable of (str, Path, FileIndex)
        Name for the notes, file, what it holds.
    wanted : callable
        Says of a channel whether it is.
    start_ns, end_ns : int
        Nanoseconds since 1970, [start, end).
    notes : Notes
        Takes the records that cannot be decoded and the files that cannot be read.

    Returns
    -------
    Stream
        Sorted by channel and time. What overlaps without being a copy stands in traces of its own.
    """
    from obspy import Stream

    pools: dict[Nslc, _Pool] = {}
    early, late = start_ns - MARGIN_NS, end_ns + MARGIN_NS
    for name, path, index in files:
        for block in index.blocks:
            hits = [n for n, of in block.extents.items() if of.start < late and of.end > early and wanted(n)]
            if hits:
                try:
                    _collect(pools, name, path, block, set(hits), (early, late))
                except OSError as error:
                    notes.file(name, [f"cannot be read: {error.strerror or error}"])
    stream = Stream()
    for nslc in sorted(pools):
        pools[nslc].close()
        traces = [t for row in pools[nslc].layers() for t in _traces(pools[nslc], row, notes)]
        for trace in sorted(traces, key=lambda t: t.stats.starttime.ns):
            trace.stats.pop("mseed", None)  # counts the records of this reading, not the data's
            trace.stats.update(nslc._asdict())
            kept = trim(trace, start_ns, end_ns)
            if kept is not None:
                stream.append(kept)
    return stream


def _collect(
    pools: dict[Nslc, _Pool], name: str, path: Path, block: Block, wanted: set[Nslc], period: tuple[int, int]
) -> None:
    """Put the records of a block that are wanted into the pools of their channels."""
    with path.open("rb") as file:
        file.seek(block.at)
        data = file.read(block.size)
    records, _, _ = scan(data, last=True)
    records = records.take((records.start < period[1]) & (records.end > period[0]))
    for codes in np.unique(records.codes):
        nslc = parse_codes(codes)
        if nslc in wanted:
            pool = pools.setdefault(nslc, _Pool())
            pool.parts.append(records.take(records.codes == codes))
            pool.buffers.append(data)
            pool.places.append((name, block.at))
