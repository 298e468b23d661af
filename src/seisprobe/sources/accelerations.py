"""Movebank's export of e-obs accelerations: bursts of raw counts into activity, one number a burst, in flat memory.

A row is a burst of one tag: integers separated by blanks, interleaved by the axes that ``eobs:acceleration-axes``
names. Static acceleration is the mean of the burst and axis, dynamic acceleration what differs from it. ODBA is the
mean over the burst's samples of the sum over axes of the absolute dynamic acceleration (Wilson et al. 2006, J. Anim.
Ecol. 75, doi:10.1111/j.1365-2656.2006.01127.x); VeDBA that of the length of its vector (Gleiss, Wilson & Shepard 2011,
Methods Ecol. Evol. 2, doi:10.1111/j.2041-210X.2010.00057.x). Wilson et al. take a running mean as the static part; over
bursts of seconds Movebank's Acceleration Viewer takes the burst's, as is done here, and gives the sum where this is the
mean: bursts of any length compare. Both are in raw counts, as no calibration is applied.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.catalog import Floats, Integers
from seisprobe.errors import DataFileError, nearest
from seisprobe.sources.layouts import parse_times
from seisprobe.sources.reading import OPENERS

__all__ = ["Bursts", "Slots", "burst_activity", "in_slots", "parse_integers", "read_bursts"]

Bytes = NDArray[np.uint8]
Names = dict[str, dict[str, int]]  # of a column, its texts and their numbers
BLOCK_BYTES = 1 << 21  # what fits into a processor's cache; a burst is some kilobytes
HEADER_BYTES = 1 << 20
START, TIME = "eobs:start-timestamp", "timestamp"
AXES, COUNTS = "eobs:acceleration-axes", "eobs:accelerations-raw"
FREQUENCY = "eobs:acceleration-sampling-frequency-per-axis"
ANIMAL, TAG, SPECIES = "individual-local-identifier", "tag-local-identifier", "individual-taxon-canonical-name"
SPACE, MINUS, ZERO = 32, 45, 48
MOST_DIGITS = 9
LABELS = (ANIMAL, TAG, SPECIES)
AXES_KNOWN = frozenset({"X", "Y", "Z", "XY", "XZ", "YZ", "XYZ"})


@dataclass(frozen=True)
class Bursts:
    """The activity of each burst of a file.

    Parameters
    ----------
    ends_us : ndarray of int64, shape (n,)
        When each burst was over, microseconds UTC, ascending.
    animal : ndarray of int64, shape (n,)
        Index into `animals`.
    odba, vedba : ndarray, shape (n,)
        Raw counts.
    animals, species : tuple of str
        Of each animal its name and its species ("" where it is not told).
    samples : int
        Numbers read, all axes.
    dropped : mapping of str to int
        Bursts left out, by reason.
    notes : tuple of str
    """

    ends_us: Integers
    animal: Integers
    odba: Floats
    vedba: Floats
    animals: tuple[str, ...]
    species: tuple[str, ...]
    samples: int
    dropped: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Slots:
    """Activity on a regular grid: times (n,) at which slots begin, groups of rows, columns, values (n, d), notes."""

    times: Integers
    groups: tuple[str, ...]
    group: Integers
    columns: tuple[str, ...]
    values: Floats
    notes: tuple[str, ...]


# --- numbers in text -------------------------------------------------------------------------------------------------


def parse_integers(text: Bytes, offsets: Integers) -> tuple[NDArray[np.int32], Integers, NDArray[np.bool_]]:
    """Return the integers of rows of text, all at once.

    Digits are gathered by their place before each blank, one vectorised step a place: no loop over numbers.

    Parameters
    ----------
    text : ndarray of uint8
        Rows one after another, each with a blank behind it.
    offsets : ndarray of int64, shape (n + 1,)
        Where rows begin, and where the last ends.

    Returns
    -------
    numbers : ndarray of int32
        Of all rows in turn; those of a bad row mean nothing.
    counts : ndarray of int64, shape (n,)
        How many numbers each row holds.
    bad : ndarray of bool, shape (n,)
        Rows that hold anything but integers of at most nine digits.

    Examples
    --------
    >>> rows = [b"12 -7  305 ", b" ", b"1.5 2 "]
    >>> numbers, counts, bad = parse_integers(
    ...     np.frombuffer(b"".join(rows), np.uint8), np.cumsum([0, *map(len, rows)])
    ... )
    >>> numbers[:3].tolist(), counts.tolist(), bad.tolist()
    ([12, -7, 305], [3, 0, 2], [False, False, True])
    """
    stops = np.flatnonzero(text == SPACE)
    blanks = len(stops)
    lengths = np.diff(stops, prepend=-1) - 1
    if len(lengths) and lengths.min() == 0:
        filled = lengths > 0
        stops, lengths = stops[filled], lengths[filled]
    first = np.searchsorted(stops, offsets)
    bad = np.zeros(len(offsets) - 1, dtype=bool)
    digits = text - np.uint8(ZERO)  # what is below "0" wraps around to above 9
    negative = _signs(text, digits, blanks, stops - lengths, offsets, bad)
    if not len(stops):
        return np.empty(0, np.int32), np.diff(first), bad
    if negative is not None:
        lengths = lengths - negative
    bad[_rows_of(stops[(lengths < 1) | (lengths > MOST_DIGITS)], offsets)] = True
    numbers = _by_places(digits, stops, lengths)
    return (numbers if negative is None else np.where(negative, -numbers, numbers)), np.diff(first), bad


def _by_places(digits: Bytes, stops: Integers, lengths: Integers) -> NDArray[np.int32]:
    """Return Σ digit · 10^place of the digits before each stop."""
    numbers = digits[stops - 1].astype(np.int32)
    least, most = int(lengths.min()), min(int(lengths.max()), MOST_DIGITS)
    for place in range(1, most):
        values = digits[np.maximum(stops - 1 - place, 0)].astype(np.int32)
        values *= 10**place
        if place >= least:
            values *= lengths > place
        numbers += values
    return numbers


def _signs(
    text: Bytes, digits: Bytes, blanks: int, begins: Integers, offsets: Integers, bad: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Return which numbers have a minus in front, None for none; mark the rows that hold anything else."""
    other = digits > 9
    if np.count_nonzero(other) == blanks:
        return None
    others = np.flatnonzero(other)
    others = others[text[others] != SPACE]
    negative = text[begins] == MINUS
    bad[_rows_of(others[~np.isin(others, begins[negative])], offsets)] = True
    return np.asarray(negative)


def _rows_of(positions: Integers, offsets: Integers) -> Integers:
    return np.unique(np.searchsorted(offsets, positions, side="right") - 1)


def burst_activity(numbers: NDArray[np.int32], counts: Integers, axes: Integers) -> tuple[Floats, Floats]:
    """Return ODBA and VeDBA of bursts.

    Parameters
    ----------
    numbers : ndarray
        Of all bursts in turn, interleaved by axes.
    counts : ndarray of int64, shape (n,)
        How many numbers each burst has.
    axes : ndarray of int64, shape (n,)
        How many axes each burst has; 0 for one that is passed over.

    Returns
    -------
    odba, vedba : ndarray, shape (n,)
        In the unit of `numbers`; NaN for a burst passed over.

    Examples
    --------
    >>> odba, vedba = burst_activity(np.array([0, 0, 6, 8], np.int32), np.array([4]), np.array([2]))
    >>> odba.tolist(), vedba.tolist()  # two samples of X and Y, 3 and 4 away from their means
    ([7.0], [5.0])
    """
    first = np.cumsum(counts) - counts
    odba, vedba = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    usable = np.flatnonzero(axes > 0)
    kinds, kind = np.unique(counts[usable] * 4 + axes[usable], return_inverse=True)  # both in one number
    for number, (count, a) in enumerate(divmod(both, 4) for both in kinds.tolist()):
        rows = usable[kind == number]
        if len(rows) == len(counts):
            table = numbers.reshape(len(rows), count)
        else:
            table = np.lib.stride_tricks.sliding_window_view(numbers, count)[first[rows]]
        total, squares = np.zeros(len(rows)), np.zeros((len(rows), count // a))
        for axis in range(a):
            dynamic = table[:, axis::a].astype(np.float64)
            dynamic -= dynamic.mean(axis=1, keepdims=True)
            total += np.abs(dynamic).sum(axis=1)
            squares += dynamic * dynamic
        odba[rows], vedba[rows] = total / (count // a), np.sqrt(squares).mean(axis=1)
    return odba, vedba


# --- the file --------------------------------------------------------------------------------------------------------


def read_bursts(path: Path) -> Bursts:
    """Read the bursts of a Movebank export of e-obs accelerations; memory holds a block of it, and a row a burst.

    Times are UTC, as all of Movebank's: ``eobs:start-timestamp`` where it stands, else ``timestamp``. A burst counts
    from its end (start, and samples over frequency), so that nothing is known before it happened.

    Parameters
    ----------
    path : Path
        CSV, plain or compressed by gzip, bzip2 or xz.

    Returns
    -------
    Bursts

    Raises
    ------
    DataFileError
        A column that is not there, a damaged file, or no burst that can be read.
    """
    dropped: Counter[str] = Counter()
    known: Names = {name: {} for name in LABELS}
    parts, samples = [], 0
    try:
        blocks, names = _blocks(path)
        for block in blocks:
            part, read = _activity_of(block, known, dropped)
            parts.append(part)
            samples += read
    except DataFileError:
        raise
    except (EOFError, OSError, ValueError) as error:  # those of decompression, and Arrow's own
        raise DataFileError(
            f"{path.name}: cannot be read further ({error}); the file is damaged or was cut: copy or fetch it again"
        ) from error
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if table.empty:
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(dropped.items())) or "it holds no row"
        raise DataFileError(f"{path.name}: no burst can be read ({why}); export accelerations of e-obs tags as CSV")
    return _tidy(table, samples, dropped, path.name, (names, known))


def _blocks(path: Path) -> tuple[Iterator[Any], list[str]]:
    """Return the file's record batches, all columns as text, and the names of the columns taken."""
    import pyarrow as pa
    import pyarrow.csv as pc

    with path.open("rb") as file:
        magic = file.read(8)
    opener: Any = next((opener for mark, opener in OPENERS.items() if magic.startswith(mark)), Path.open)
    with opener(path, "rb") as file:
        header = file.readline(HEADER_BYTES).decode("utf-8-sig", "replace").strip()
    names = [name.strip().strip('"') for name in header.split(",")]
    animal = next((name for name in (ANIMAL, TAG) if name in names), ANIMAL)
    times = [name for name in (START, TIME) if name in names] or [TIME]
    for name in (*times, AXES, COUNTS, animal):
        if name not in names:
            raise DataFileError(
                f"{path.name}: no column '{name}', as exports of e-obs tags have; {nearest(name, names)}"
            )
    taken = list(dict.fromkeys([*times, AXES, COUNTS, animal, *(n for n in (TAG, FREQUENCY, SPECIES) if n in names)]))
    reader = pc.open_csv(
        pa.OSFile(str(path)) if opener is Path.open else opener(path, "rb"),
        pc.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows=1),
        convert_options=pc.ConvertOptions(
            include_columns=taken, column_types=dict.fromkeys(taken, pa.string()), strings_can_be_null=False
        ),
    )
    return iter(reader), taken


def _codes(column: Any, known: dict[str, int]) -> Integers:
    """Return a number for each text of a column; new texts join those known."""
    coded = column.dictionary_encode()
    own = np.array([known.setdefault(str(text).strip(), len(known)) for text in coded.dictionary.to_pylist()], np.int64)
    return np.asarray(own[coded.indices.to_numpy()])


def _starts(block: Any) -> pd.Series:
    """Return when bursts began, NaT where it cannot be read: the tag's own start first."""
    first, *other = [name for name in (START, TIME) if name in block.schema.names]
    start = parse_times(block[first].to_pandas())[0]
    if other and start.isna().any():
        start = start.fillna(parse_times(block[other[0]].to_pandas())[0])
    return start


def _activity_of(block: Any, known: Names, dropped: Counter[str]) -> tuple[pd.DataFrame, int]:
    """Return the bursts of a record batch that can be read, and how many numbers they hold; count the others."""
    import pyarrow.compute as pc

    joined = pc.binary_join_element_wise(block[COUNTS], "", " ")
    offsets = np.frombuffer(joined.buffers()[1], np.int32)[joined.offset :][: len(joined) + 1].astype(np.int64)
    text = np.frombuffer(joined.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    numbers, counts, bad = parse_integers(text, offsets - offsets[0])
    letters: dict[str, int] = {}
    letter = _codes(block[AXES], letters)
    axes = np.array([len(x) if x.upper() in AXES_KNOWN else 0 for x in letters], np.int64)[letter]
    start = _starts(block)
    reason = np.full(len(counts), "", dtype=object)
    width = np.maximum(axes, 1)
    for name, fault in (
        ("too_short", counts < 2 * width),
        ("not_whole", counts % width != 0),
        ("bad_axes", axes == 0),
        ("not_integers", bad),
        ("empty", (counts == 0) & ~bad),
        ("bad_time", start.isna().to_numpy()),
    ):
        reason[fault] = name
    usable = reason == ""
    dropped.update(reason[~usable].tolist())
    odba, vedba = burst_activity(numbers, counts, np.where(usable, axes, 0))
    hertz = np.zeros(len(counts))
    if FREQUENCY in block.schema.names:
        rates: dict[str, int] = {}
        rate = _codes(block[FREQUENCY], rates)
        hertz = pd.to_numeric(pd.Series([*rates], dtype="str"), errors="coerce").fillna(0.0).to_numpy("float64")[rate]
    lasted_us = np.round(1e6 * np.divide(counts / width, hertz, out=np.zeros(len(counts)), where=hertz > 0))
    made = {name: _codes(block[name], known[name]) for name in LABELS if name in block.schema.names}
    made["end"] = start.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64) + lasted_us.astype(np.int64)
    return pd.DataFrame({**made, "odba": odba, "vedba": vedba}).loc[usable], int(counts[usable].sum())


def _tidy(
    table: pd.DataFrame, samples: int, dropped: Counter[str], origin: str, names: tuple[list[str], Names]
) -> Bursts:
    """Put bursts in order of time; the same burst twice is one, two that contradict each other are none."""
    taken, known = names
    notes = [f"{origin}: {n} burst(s) left out as {reason}" for reason, n in sorted(dropped.items())]
    if START not in taken:
        notes.append(f"{origin}: no column '{START}': bursts stand at '{TIME}', UTC")
    label = ANIMAL if ANIMAL in taken else TAG
    if label == TAG:
        notes.append(f"{origin}: no column '{ANIMAL}': each tag is taken as one animal")
    key = ["end", *(name for name in (ANIMAL, TAG) if name in taken)]
    repeated = table.duplicated([*key, "odba", "vedba"])
    table = table.loc[~repeated]
    against = table.duplicated(key, keep=False)
    for reason, count in (("duplicate", int(repeated.sum())), ("contradicting", int(against.sum()))):
        if count:
            dropped[reason] = count
            notes.append(f"{origin}: {count} burst(s) left out as {reason}: the same tag and time")
    table = table.loc[~against].sort_values(key, kind="stable", ignore_index=True)
    if table.empty:
        raise DataFileError(f"{origin}: all bursts contradict another of the same tag and time; export the file again")
    animals = np.array([*known[label]], dtype=object)[table[label].to_numpy()]
    index, found = pd.factorize(animals, sort=True)
    species = [""] * len(found)
    if SPECIES in taken:
        pairs = pd.DataFrame({"animal": index, "kind": table[SPECIES].to_numpy()}).value_counts().reset_index()
        most = pairs.drop_duplicates("animal").sort_values("animal")["kind"]  # the one told most often comes first
        species = [[*known[SPECIES]][kind] for kind in most]
    return Bursts(
        table["end"].to_numpy(np.int64), index.astype(np.int64), table["odba"].to_numpy(), table["vedba"].to_numpy(),
        tuple(map(str, found)), tuple(species), samples, dict(sorted(dropped.items())), tuple(notes),
    )  # fmt: skip


# --- the herd --------------------------------------------------------------------------------------------------------


def in_slots(bursts: Bursts, sampling_s: float, *, by_animal: bool = False) -> Slots:
    """Return the activity of a herd on a regular grid; a slot without any burst has no row.

    A burst belongs to the slot in which it ends. An animal's figure in a slot is the mean of its bursts', a species'
    the mean of its animals', so that a tag that sends twice as often does not count twice.

    Parameters
    ----------
    bursts : Bursts
    sampling_s : float
        Length of a slot; slots begin at whole multiples since 1970-01-01 UTC.
    by_animal : bool
        One row a slot and animal, columns ``odba`` and ``vedba``, instead of the herd's.

    Returns
    -------
    Slots
        Columns ``<species>_odba`` and ``<species>_vedba`` (where there are two species or more), ``animal_odba`` and
        ``animal_vedba`` over all animals, in raw counts, and ``active_share``: of the animals with a burst in the slot,
        two at least, the share whose ODBA is above their own median of the whole record.
    """
    slot_us = round(sampling_s * 1e6)
    slot = (bursts.ends_us - 1) // slot_us  # a burst that ends as a slot begins is the slot's before
    pair, inverse = np.unique(slot * len(bursts.animals) + bursts.animal, return_inverse=True)
    count = np.bincount(inverse)
    odba, vedba = (np.bincount(inverse, values) / count for values in (bursts.odba, bursts.vedba))
    animal = pair % len(bursts.animals)
    times, row = np.unique(pair // len(bursts.animals) * slot_us, return_inverse=True)
    if by_animal:
        values = np.column_stack([odba, vedba])
        return Slots(times[row], bursts.animals, animal, ("odba", "vedba"), values, ())
    columns: dict[str, Floats] = {}
    notes = []
    kinds = sorted(set(bursts.species) - {""})
    for kind in kinds:
        own = np.array([species == kind for species in bursts.species])
        if own.sum() == 1:
            notes.append(f"one animal stands for {kind}: what it does is no behaviour of a species")
        if len(kinds) > 1:
            mine = own[animal]
            for name, values in (("odba", odba), ("vedba", vedba)):
                columns[f"{_slug(kind)}_{name}"] = _mean_by(row[mine], values[mine], len(times))
    if len(bursts.animals) == 1 and not kinds:
        notes.append("one animal stands for all")
    columns["animal_odba"], columns["animal_vedba"] = (_mean_by(row, values, len(times)) for values in (odba, vedba))
    if len(bursts.animals) > 1:
        median = pd.Series(odba).groupby(animal).transform("median").to_numpy()
        share = _mean_by(row, (odba > median).astype(np.float64), len(times))
        columns["active_share"] = np.where(np.bincount(row, minlength=len(times)) > 1, share, np.nan)
    made = np.column_stack(list(columns.values()))
    return Slots(times, ("",), np.zeros(len(times), np.int64), tuple(columns), made, tuple(notes))


def _mean_by(row: Integers, values: Floats, rows: int) -> Floats:
    count = np.bincount(row, minlength=rows)
    total = np.bincount(row, values, minlength=rows)
    return np.asarray(np.divide(total, count, out=np.full(rows, np.nan), where=count > 0))


def _slug(species: str) -> str:
    """Return a species as a column's name.

    Examples
    --------
    >>> _slug("Bos taurus")
    'bos_taurus'
    """
    return re.sub(r"\W+", "_", species.strip().lower())
