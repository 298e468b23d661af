"""What a miniSEED file (version 2) holds, found record by record from headers alone; nothing is decoded.

Each record is found by its own header (SEED manual 2.4, chapter 8), so that one damaged byte costs one record, and
what is no whole record is named: ObsPy gives up the rest of a file at the first byte too many, and says nothing of a
record that is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAY_NS", "Block", "Extent", "FileIndex", "Nslc", "Records", "index_file", "parse_codes", "scan"]

WINDOW = 8 << 20
HEADER_BYTES = 48
ROWS = 4096
DAY_NS = 86_400_000_000_000
EXPONENTS = range(7, 21)  # of the record length, as libmseed has it: 128 bytes to 1 MiB
YEARS = range(1900, 2101)
HEADER = re.compile(rb"[0-9 \0]{6}[DRQM][ \0][\0\x20-\x7e]{12}.{4}[\0-\x17][\0-\x3b][\0-\x3c].{21}", re.DOTALL)
CONTROL = re.compile(rb"[0-9]{6}[VAST][ *]")
FIELDS = np.dtype(
    [("sequence", "S6"), ("quality", "S1"), ("reserved", "S1"), ("codes", "S12"), ("year", "u2"), ("day", "u2"),
     ("hour", "u1"), ("minute", "u1"), ("second", "u1"), ("unused", "u1"), ("fraction", "u2"), ("samples", "u2"),
     ("factor", "i2"), ("multiplier", "i2"), ("activity", "u1"), ("io", "u1"), ("data_quality", "u1"),
     ("blockettes", "u1"), ("correction", "i4"), ("data", "u2"), ("blockette", "u2")]
)  # fmt: skip


class Nslc(NamedTuple):
    """Network, station, location and channel code, without blanks."""

    network: str
    station: str
    location: str
    channel: str


@dataclass(frozen=True)
class Records:
    """Data records of a piece of a file, in file order: arrays of one length.

    `offset` and `length` in bytes, `start` and `end` in nanoseconds since 1970 (end: one sample after the last).
    """

    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    codes: NDArray[np.bytes_]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    samples: NDArray[np.int64]

    def take(self, which: NDArray[Any]) -> Records:
        """Return some of the records."""
        return Records(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @staticmethod
    def join(parts: Iterable[Records]) -> Records:
        """Return records one after another."""
        listed = [*parts] or [Records(*(np.empty(0, kind) for kind in ("i8", "i8", "S12", "i8", "i8", "i8")))]
        return Records(
            *(np.concatenate([getattr(part, name) for part in listed]) for name in Records.__dataclass_fields__)
        )


class Extent(NamedTuple):
    """Start of the first and end of the last sample, ns since 1970; the days since 1970 with data."""

    start: int
    end: int
    days: frozenset[int]


@dataclass(frozen=True)
class Block:
    """A piece of a file that ends between two records, and what it holds of each channel."""

    at: int
    size: int
    extents: dict[Nslc, Extent]


@dataclass(frozen=True)
class FileIndex:
    """What a file holds, without its samples; `notes` say what in it is no whole record."""

    blocks: tuple[Block, ...]
    notes: tuple[str, ...]

    def channels(self) -> dict[Nslc, Extent]:
        """Return the channels of the whole file and what it holds of each."""
        found: dict[Nslc, Extent] = {}
        for block in self.blocks:
            for nslc, new in block.extents.items():
                old = found.get(nslc, new)
                found[nslc] = Extent(min(old.start, new.start), max(old.end, new.end), old.days | new.days)
        return found


def _word(data: bytes, at: int, order: str) -> int:
    return int.from_bytes(data[at : at + 2], "big" if order == ">" else "little")


def _layout(data: bytes, at: int) -> tuple[str, int, int] | None:
    """Byte order, where blockette 1000 stands in the record, and the record's length; None where it is no header."""
    if not HEADER.match(data, at):
        return None
    order = next((o for o in "><" if _word(data, at + 20, o) in YEARS and 1 <= _word(data, at + 22, o) <= 366), None)
    if order is None:
        return None
    where, seen = _word(data, at + 46, order), 0
    while where >= HEADER_BYTES and seen < 16 and at + where + 8 <= len(data):
        if _word(data, at + where, order) == 1000:
            exponent = data[at + where + 6]
            return (order, where, 1 << exponent) if exponent in EXPONENTS and where + 8 <= 1 << exponent else None
        where, seen = _word(data, at + where + 2, order), seen + 1
    return None


def _swallows(data: bytes, at: int, length: int) -> bool:
    """Whether a header gives a length, damaged, that would take whole records behind it as well."""
    shorter = (1 << exponent for exponent in EXPONENTS if 1 << exponent < length)
    return any((_layout(data, at + step) or (0, 0, 0))[2] == step for step in shorter)


def _table(*groups: bytes | range) -> NDArray[np.bool_]:
    table = np.zeros(256, bool)
    for group in groups:
        table[list(group)] = True
    return table


_SEQUENCE, _QUALITY, _BLANK = _table(b"0123456789 \0"), _table(b"DRQM"), _table(b" \0")
_CODE = _table(b"\0", range(0x20, 0x7F))


def _alike(rows: NDArray[np.uint8], layout: tuple[str, int, int]) -> int:
    """How many rows, from the first on, are headers of this layout."""
    order, where, length = layout
    kind = f"{order}u2"
    years = rows[:, 20:22].copy().view(kind)[:, 0]
    days = rows[:, 22:24].copy().view(kind)[:, 0]
    good = _SEQUENCE[rows[:, :6]].all(1) & _QUALITY[rows[:, 6]] & _BLANK[rows[:, 7]] & _CODE[rows[:, 8:20]].all(1)
    good &= (rows[:, 24] < 24) & (rows[:, 25] < 60) & (rows[:, 26] <= 60) & (days >= 1) & (days <= 366)
    good &= (years >= YEARS.start) & (years < YEARS.stop) & (rows[:, where + 6] == length.bit_length() - 1)
    good &= rows[:, where : where + 2].copy().view(kind)[:, 0] == 1000
    return len(rows) if good.all() else int(np.argmin(good))


def _parse(rows: NDArray[np.uint8], at: int, layout: tuple[str, int, int]) -> Records:
    """Records from header rows that are alike."""
    order, _, length = layout
    kind = FIELDS.newbyteorder(">" if order == ">" else "<")
    head = rows[:, :HEADER_BYTES].copy().view(kind)[:, 0]
    days = (head["year"].astype("i8") - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype("i8")
    days += head["day"].astype("i8") - 1
    seconds = ((days * 24 + head["hour"]) * 60 + head["minute"]) * 60 + head["second"]
    # The correction is already in the time where bit 1 of the activity flags is set.
    correction = np.where(head["activity"] & 2, 0, head["correction"].astype("i8"))
    start = seconds * 1_000_000_000 + (head["fraction"].astype("i8") + correction) * 100_000
    factor, multiplier = head["factor"].astype(float), head["multiplier"].astype(float)
    with np.errstate(divide="ignore"):
        rate = np.where(factor > 0, factor, -1 / factor) * np.where(multiplier > 0, multiplier, -1 / multiplier)
    samples = head["samples"].astype("i8")
    timed = (samples > 0) & (factor != 0) & (multiplier != 0)  # the rest is logs and the like
    span = np.rint(samples * 1e9 / np.where(timed, rate, 1.0)).astype("i8")
    where = at + length * np.arange(len(rows), dtype=np.int64)
    found = Records(where, np.full(len(rows), length, np.int64), head["codes"], start, start + span, samples)
    return found.take(timed)


def scan(data: bytes, *, last: bool) -> tuple[Records, list[tuple[int, int]], int]:
    """Records of a piece of a file, the byte ranges in it that are none, and where the next piece should begin."""
    found: list[Records] = []
    waste: list[tuple[int, int]] = []
    at = 0
    while at < len(data):
        layout = _layout(data, at)
        rows = min((len(data) - at) // layout[2], ROWS) if layout else 0
        if layout and not rows and not last:
            break
        if layout is None or not rows or _swallows(data, at, layout[2]):
            match = HEADER.search(data, at + 1)
            end = match.start() if match else len(data) if last else max(at, len(data) - HEADER_BYTES + 1)
            if end > at:
                waste.append((at, end))
            at = end
            if match is None:
                break
            continue
        width = max(HEADER_BYTES, layout[1] + 8)
        table = np.frombuffer(data, np.uint8, rows * layout[2], at).reshape(rows, layout[2])[:, :width]
        alike = max(1, _alike(table, layout))
        found.append(_parse(table[:alike], at, layout))
        at += alike * layout[2]
    return Records.join(found), waste, at


def parse_codes(codes: bytes) -> Nslc:
    """Return the channel of a header: station, location, channel and network code as they stand there, 12 bytes."""
    station, location, channel, network = (codes.ljust(12)[a:b] for a, b in ((0, 5), (5, 7), (7, 10), (10, 12)))
    return Nslc(*(code.decode("ascii").strip(" \0") for code in (network, station, location, channel)))


def _extents(records: Records) -> dict[Nslc, Extent]:
    found: dict[Nslc, Extent] = {}
    for codes in np.unique(records.codes):
        of = records.take(records.codes == codes)
        # A sample that lies a hair before midnight makes no day of its own.
        edge = np.minimum(DAY_NS // 172_800, (of.end - of.start) // 2)
        days = np.unique(np.concatenate([(of.start + edge) // DAY_NS, (of.end - edge - 1) // DAY_NS]))
        found[parse_codes(codes)] = Extent(int(of.start.min()), int(of.end.max()), frozenset(days.tolist()))
    return found


def index_file(path: Path) -> FileIndex:
    """Find what a file holds: reads it once, a few MiB at a time, and decodes nothing.

    Parameters
    ----------
    path : Path

    Returns
    -------
    FileIndex
        Without blocks where the file is empty or no miniSEED; the notes say so.

    Raises
    ------
    OSError
        When it cannot be read.

    Examples
    --------
    >>> index_file(Path(__file__)).notes
    ('not miniSEED',)
    """
    blocks: list[Block] = []
    lost, first, cut, at, rest, last = 0, 0, False, 0, b"", False
    magic = b""
    with path.open("rb") as file:
        while not last:
            more = file.read(WINDOW)
            data, last = rest + more, len(more) < WINDOW
            magic = magic or data[:3]
            records, waste, used = scan(data, last=last)
            for a, b in waste:
                if not CONTROL.match(data, a):  # the headers of a full SEED volume are no loss
                    first = first if lost else at + a
                    lost += b - a
                    cut = last and b == len(data) and HEADER.match(data, a) is not None
            if len(records.offset):
                blocks.append(Block(at, used, _extents(records)))
            at, rest = at + used, data[used:]
    return FileIndex(tuple(blocks), tuple(_file_notes(bool(blocks), magic, lost, first, cut)))


def _file_notes(whole: bool, magic: bytes, lost: int, first: int, cut: bool) -> Iterator[str]:
    if not magic:
        yield "empty"
    elif magic == b"MS\3":
        yield "miniSEED of version 3, which is not read; convert it to version 2"
    elif not whole and not cut:
        yield "not miniSEED"
    elif cut and lost:
        yield f"cut off in a record; {lost} bytes left out, the first at byte {first}"
    elif lost:
        yield f"{lost} bytes that are no record left out, the first at byte {first}"
