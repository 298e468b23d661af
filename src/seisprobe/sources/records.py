"""miniSEED records: what a data centre sends, read from the headers, cut to a period, repeats left out.

Records are kept as they were sent. One is decoded and written anew only where it reaches over the edge of a period or
repeats samples of another. Of records that disagree, both stay: which one counts is for the reader to say.

The layout is that of the SEED manual 2.4, chapter 8 (fixed header, blockettes 100, 1000 and 1001).
"""

from __future__ import annotations

import io
import math
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Codes", "Record", "cut_to_period", "holes", "parse_records", "without_repeats"]

Codes = tuple[str, str, str, str]
SECOND_US = 1_000_000
# Sample times come rounded to 1 or 100 µs, now up, now down; an edge this far before the period's own is met by none of
# them, so that a sample at midnight falls to the same day whoever rounded it.
EDGE_US = 30
# Samples of two records are the same sample where they lie closer than this share of the sampling interval.
SAME_GRID = 0.1
_STEP = 64
_DECODING = threading.Lock()


class Record(NamedTuple):
    """A miniSEED record: network, station, location, channel; time in µs since 1970; the record's own bytes."""

    codes: Codes
    start_us: int
    samples: int
    rate_hz: float
    data: bytes

    @property
    def end_us(self) -> int:
        """When the sample after the last one is due, µs since 1970."""
        return self.start_us + round(self.samples * SECOND_US / self.rate_hz)

    @property
    def step_us(self) -> float:
        """Sampling interval, µs."""
        return SECOND_US / self.rate_hz


@lru_cache(maxsize=4096)
def _day_us(year: int, day_of_year: int) -> int:
    return int(pd.Timestamp(year, 1, 1, tz="UTC").timestamp()) * SECOND_US + (day_of_year - 1) * 86400 * SECOND_US


def parse_records(body: bytes) -> tuple[list[Record], int]:
    r"""Return the waveform records in some bytes, and how many bytes are of no whole record.

    Records without samples or sampling rate (logs, state of health) are passed over.

    Parameters
    ----------
    body : bytes

    Returns
    -------
    records : list of Record
        In the order of the bytes.
    damaged : int
        Bytes that are no record, and those of a last one that is cut short.

    Examples
    --------
    >>> from obspy import Trace
    >>> buffer = io.BytesIO()
    >>> trace = Trace(np.arange(3, dtype=np.int32), {"network": "IV", "station": "NRCA", "channel": "HHZ"})
    >>> trace.write(buffer, format="MSEED", reclen=512)
    >>> records, damaged = parse_records(buffer.getvalue() + b"no record")
    >>> [(record.codes, record.start_us, record.samples) for record in records], damaged
    ([(('IV', 'NRCA', '', 'HHZ'), 0, 3)], 9)
    """
    records: list[Record] = []
    at = damaged = 0
    while at < len(body):
        length, record = _record_at(body, at)
        if length == 0 or at + length > len(body):
            step = min(_STEP, len(body) - at)
            damaged += step
            at += step
            continue
        if record is not None:
            records.append(record)
        at += length
    return records, damaged


def _record_at(body: bytes, at: int) -> tuple[int, Record | None]:
    """Return the length of the record at a place (0: there is none), and the record where it holds samples."""
    head = body[at : at + 48]
    if len(head) < 48 or head[6:7] not in (b"D", b"R", b"Q", b"M") or head[:6].strip(b"0123456789 \0"):
        return 0, None
    order = ">" if 1900 <= int.from_bytes(head[20:22], "big") <= 2100 else "<"
    (
        year,
        day,
        hour,
        minute,
        second,
        _,
        fraction,
        samples,
        factor,
        multiplier,
        flags,
        _,
        _,
        blockettes,
        late,
        _,
        first,
    ) = struct.unpack(f"{order}HHBBBBHHhhBBBBiHH", head[20:])
    if not (1900 <= year <= 2100 and 1 <= day <= 366 and hour < 24 and minute < 60 and second <= 60):
        return 0, None
    length, exact_hz, extra_us = _blockettes(body, at, first, blockettes, order)
    if length < 128:
        return 0, None
    rate_hz = exact_hz or _rate_hz(factor, multiplier)
    if not samples or not rate_hz:
        return length, None
    start_us = _day_us(year, day) + ((hour * 60 + minute) * 60 + second) * SECOND_US + fraction * 100 + extra_us
    if late and not flags & 2:  # a correction that is in the header and not yet in the time
        start_us += late * 100
    codes = tuple(head[a:b].decode("latin-1").strip(" \0") for a, b in ((18, 20), (8, 13), (13, 15), (15, 18)))
    return length, Record(codes, start_us, samples, rate_hz, body[at : at + length])  # type: ignore[arg-type]


def _blockettes(body: bytes, at: int, first: int, count: int, order: str) -> tuple[int, float, int]:
    """Return a record's length in bytes, its exact rate (blockette 100, else 0) and the µs to add to its time."""
    length, rate_hz, extra_us, place = 0, 0.0, 0, first
    for _ in range(count):
        if place < 48 or at + place + 8 > len(body):
            break
        kind, following = struct.unpack_from(f"{order}HH", body, at + place)
        if kind == 1000:
            length = 1 << min(body[at + place + 6], 20)
        elif kind == 1001:
            (extra_us,) = struct.unpack_from("b", body, at + place + 5)
        elif kind == 100:
            (rate_hz,) = struct.unpack_from(f"{order}f", body, at + place + 4)
        place = following
    return length, rate_hz if rate_hz > 0 else 0.0, extra_us


def _rate_hz(factor: int, multiplier: int) -> float:
    """Return the sampling rate of a fixed header (SEED manual 2.4, chapter 8, note 9).

    Examples
    --------
    >>> [_rate_hz(33, 10), _rate_hz(330, 1), _rate_hz(3306, -10), _rate_hz(-60, 1), _rate_hz(0, 1)]
    [330.0, 330.0, 330.6, 0.016666666666666666, 0.0]
    """
    if not factor or not multiplier:
        return 0.0
    rate = float(factor) if factor > 0 else -1.0 / factor
    return rate * multiplier if multiplier > 0 else -rate / multiplier


def cut_to_period(record: Record, start_us: int, end_us: int) -> list[Record]:
    """Return the part of a record in [start_us, end_us): itself, nothing, or new records with the same samples.

    Both edges lie `EDGE_US` earlier than said. A record that cannot be decoded is returned whole.
    """
    first, last = (_index(record, edge_us) for edge_us in (start_us, end_us))
    if first >= last:
        return []
    if first == 0 and last == record.samples:
        return [record]
    return _piece(record, first, last) or [record]


def _index(record: Record, time_us: int) -> int:
    """Return the number of the first sample at or after a time, `EDGE_US` before it."""
    due = math.ceil((time_us - EDGE_US - record.start_us) / record.step_us)
    return min(max(due, 0), record.samples)


def _decoded(record: Record) -> NDArray[np.generic] | None:
    """Return the samples of a record, None where they cannot be had."""
    from obspy import read
    from obspy.core.util.obspy_types import ObsPyException

    # What ObsPy warns of (a failed check sum) is no reason to lose the record; filters are the whole process's.
    with _DECODING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            samples: NDArray[np.generic] = read(io.BytesIO(record.data), format="MSEED")[0].data
        except (ObsPyException, ValueError, TypeError, OSError, IndexError):
            return None
    return samples if len(samples) == record.samples else None


def _piece(record: Record, first: int, last: int) -> list[Record]:
    """Return samples [first, last) of a record as records of the same length in bytes; none where it is unreadable."""
    samples = _decoded(record)
    if samples is None:
        return []
    from obspy import Trace, UTCDateTime
    from obspy.core.util.obspy_types import ObsPyException

    start_us = record.start_us + round(first * record.step_us)
    network, station, location, channel = record.codes
    header = {
        "network": network,
        "station": station,
        "location": location,
        "channel": channel,
        "sampling_rate": record.rate_hz,
        "starttime": UTCDateTime(ns=start_us * 1000),
        "mseed": {"dataquality": record.data[6:7].decode()},
    }
    trace = Trace(np.ascontiguousarray(samples[first:last]), header)
    whole_numbers = np.issubdtype(samples.dtype, np.integer)
    for encoding in ("STEIM2", "INT32") if whole_numbers else (f"FLOAT{8 * samples.dtype.itemsize}",):
        buffer = io.BytesIO()
        with _DECODING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                trace.write(buffer, format="MSEED", encoding=encoding, reclen=max(len(record.data), 256))
            except (ObsPyException, ValueError):
                continue  # STEIM2 holds no difference beyond 30 bits
        return parse_records(buffer.getvalue())[0]
    return []


def without_repeats(records: Iterable[Record]) -> list[Record]:
    """Return the records of one channel in order of time, each sample once.

    A record whose samples are all in others goes; one that repeats some is written anew without them; one that says
    something else for the same time stays whole, beside the other. The result does not depend on the order given.

    Parameters
    ----------
    records : iterable of Record
        Of one channel.

    Returns
    -------
    list of Record
    """
    kept: list[Record] = []
    reach_us = longest_us = 0
    for record in sorted(records, key=_order):
        news = [record]
        if record.start_us < reach_us - record.step_us / 2:
            news = _what_is_new(record, list(_overlapping(kept, record, longest_us)))
        kept += news
        for new in news:
            reach_us = max(reach_us, new.end_us)
            longest_us = max(longest_us, new.end_us - new.start_us)
    return sorted(kept, key=_order)


def _order(record: Record) -> tuple[int, int, bytes]:
    # Sequence numbers and the quality letter count for nothing.
    return record.start_us, -record.samples, record.data[8:]


def _overlapping(kept: list[Record], record: Record, longest_us: int) -> Iterator[Record]:
    """Yield the kept records that reach into a record, which starts no earlier than any of them did."""
    for other in reversed(kept):
        if other.start_us < record.start_us - longest_us - SECOND_US:
            return
        if other.end_us > record.start_us + record.step_us / 2 and other.start_us < record.end_us:
            yield other


def _what_is_new(record: Record, others: list[Record]) -> list[Record]:
    if any(other.data[8:] == record.data[8:] for other in others):
        return []
    samples = _decoded(record)
    if samples is None:
        return [record]
    seen = np.zeros(record.samples, dtype=bool)
    for other in others:
        steps = (record.start_us - other.start_us) / record.step_us
        theirs = _decoded(other)
        if other.rate_hz != record.rate_hz or abs(steps - round(steps)) > SAME_GRID or theirs is None:
            return [record]
        shift = round(steps)  # sample i of the record is sample i + shift of the other
        a, b = max(0, -shift), min(record.samples, other.samples - shift)
        if not np.array_equal(samples[a:b], theirs[a + shift : b + shift]):
            return [record]
        seen[a:b] = True
    edges = np.flatnonzero(np.diff(np.r_[True, seen, True].astype(np.int8))).reshape(-1, 2)
    return [piece for first, last in edges.tolist() for piece in _piece(record, first, last)]


def holes(records: Iterable[Record], start_us: int, end_us: int) -> list[tuple[int, int]]:
    """Return the periods within [start_us, end_us) in which a sample of one channel is due and none is there.

    Examples
    --------
    >>> codes = ("IV", "NRCA", "", "HHZ")
    >>> holes([Record(codes, 0, 100, 100.0, b""), Record(codes, 2_000_000, 100, 100.0, b"")], 0, 3_000_000)
    [(1000000, 2000000)]
    """
    found = []
    due_us = start_us
    allowed = 1.0  # before the first sample there may be nearly a whole interval, between others half of one
    for record in sorted(records, key=_order):
        if record.start_us - due_us > allowed * record.step_us:
            found.append((due_us, record.start_us))
        due_us, allowed = max(due_us, record.end_us), 0.5
    if due_us < end_us - EDGE_US:
        found.append((due_us, end_us))
    return found
