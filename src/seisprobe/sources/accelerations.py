"""Movebank's export of e-obs accelerations: bursts of raw counts into activity, one number a burst, in flat memory.

A row is a burst of one tag: integers separated by blanks, interleaved by the axes that ``eobs:acceleration-axes``
names. `burst_numbers` makes ODBA and VeDBA of them, in raw counts, as no calibration is applied.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.catalog import DAY_US, Floats, Integers
from seisprobe.errors import DataFileError, nearest
from seisprobe.sources.burst_numbers import burst_activity, parse_integers
from seisprobe.sources.layouts import parse_times
from seisprobe.sources.local_times import within_years
from seisprobe.sources.table_files import BROKEN, DAMAGED, open_plain, shown

__all__ = ["ANIMAL", "Bursts", "Slots", "check_export", "in_slots", "read_bursts", "slot_times"]

Names = dict[str, dict[str, int]]  # of a column, its texts and their numbers
BLOCK_BYTES = 1 << 21  # what fits into a processor's cache; a burst is some kilobytes
HEADER_BYTES, LISTED = 1 << 20, 100
START, TIME = "eobs:start-timestamp", "timestamp"
AXES, COUNTS = "eobs:acceleration-axes", "eobs:accelerations-raw"
FREQUENCY = "eobs:acceleration-sampling-frequency-per-axis"
ANIMAL, TAG, SPECIES = "individual-local-identifier", "tag-local-identifier", "individual-taxon-canonical-name"
LABELS = (ANIMAL, TAG, SPECIES)
AXES_KNOWN = frozenset({"X", "Y", "Z", "XY", "XZ", "YZ", "XYZ"})
MOST_HERTZ = 10_000.0  # no tag samples faster, and no burst lasts longer than a day


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


# --- the file --------------------------------------------------------------------------------------------------------


@dataclass
class _Seen:
    """What the blocks of a file have shown so far: labels, bursts left out, how times and texts are written."""

    known: Names = field(default_factory=lambda: {name: {} for name in LABELS})
    dropped: Counter[str] = field(default_factory=Counter)
    written: dict[str, dict[str, str]] = field(default_factory=dict)
    latin: bool = False


def check_export(path: Path) -> None:
    """Refuse a file whose header is not that of an export of e-obs accelerations; no burst is read.

    Raises
    ------
    DataFileError
    """
    _header(path)


def read_bursts(path: Path) -> Bursts:
    """Read the bursts of a Movebank export of e-obs accelerations; memory holds a block of it, and a row a burst.

    Times are UTC, as all of Movebank's: ``eobs:start-timestamp`` where it stands, else ``timestamp``. A burst counts
    from its end (start, and samples over frequency), so that nothing is known before it happened; one whose frequency
    is not told is left out. Bursts of a tag on no animal are left out.

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
        A column that is not there, a damaged file, times with and without zones, or no burst that can be read.
    """
    seen, parts, samples = _Seen(), [], 0
    names, has_rows = _header(path)
    taken = [name for name in (START, TIME, AXES, COUNTS, FREQUENCY, *LABELS) if name in names]
    try:
        for block in _blocks(path, names, taken) if has_rows else ():
            part, read = _activity_of(block, seen, path.name)
            parts.append(part)
            samples += read
    except DataFileError:
        raise
    except BROKEN as error:
        raise DataFileError(f"{path.name}: cannot be read further ({error}); {DAMAGED}") from error
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if table.empty:
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(seen.dropped.items())) or "it holds no row"
        raise DataFileError(f"{path.name}: no burst can be read ({why}); export accelerations of e-obs tags as CSV")
    return _tidy(table, samples, seen, path.name, taken)


def _header(path: Path) -> tuple[list[str], bool]:
    """Return the names of the columns, with all that are needed among them, and whether any row is below."""
    try:
        with open_plain(path) as file:
            # Of a file whose lines end by CR this is all that there is room for.
            head = file.readline(HEADER_BYTES)
    except DataFileError:
        raise
    except BROKEN as error:
        raise DataFileError(f"{path.name}: cannot be read further ({error}); {DAMAGED}") from error
    line, *rest = re.split(rb"\r\n|\r|\n", head, maxsplit=1)
    try:
        names = [name.strip() for name in next(csv.reader([_decoded(line).lstrip("\ufeff")]), [])]
    except csv.Error as error:
        raise DataFileError(f"{path.name}: its first line is no header ({error}); {DAMAGED}") from None
    animal = next((name for name in (ANIMAL, TAG) if name in names), ANIMAL)
    time = next((name for name in (START, TIME) if name in names), TIME)
    for name in (time, AXES, COUNTS, animal):
        if name not in names:
            known = nearest(name, map(shown, names[:LISTED]))
            raise DataFileError(f"{path.name}: no column '{name}', as exports of e-obs tags have; {known}")
    return names, bool(rest)


def _blocks(path: Path, names: list[str], taken: list[str]) -> Iterator[Any]:
    """Yield the file's record batches, the columns taken as bytes: a name in Latin-1 is no damage."""
    import pyarrow as pa
    import pyarrow.csv as pc

    with open_plain(path) as plain:
        yield from pc.open_csv(
            pa.OSFile(str(path)) if isinstance(plain, io.BufferedReader) else plain,
            pc.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows=1),
            convert_options=pc.ConvertOptions(
                include_columns=taken, column_types=dict.fromkeys(taken, pa.binary()), strings_can_be_null=False
            ),
        )


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _texts(column: Any, seen: _Seen) -> Any:
    """Return a column of bytes as text."""
    import pyarrow as pa

    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:  # not UTF-8
        seen.latin = True
        return pa.array([_decoded(data) for data in column.to_pylist()], pa.string())


def _codes(column: Any, known: dict[str, int], seen: _Seen) -> Integers:
    """Return a number for each text of a column; new texts join those known."""
    coded = column.dictionary_encode()
    texts = _texts(coded.dictionary, seen).to_pylist()
    own = np.array([known.setdefault(text.strip(), len(known)) for text in texts], np.int64)
    return np.asarray(own[coded.indices.to_numpy()])


def _starts(block: Any, seen: _Seen, origin: str) -> pd.Series:
    """Return when bursts began, NaT where it cannot be read: the tag's own start first."""
    first, *other = [name for name in (START, TIME) if name in block.schema.names]
    start = _times(block, first, seen, origin)
    if other and start.isna().any():
        start = start.fillna(_times(block, other[0], seen, origin))
    return start


def _times(block: Any, name: str, seen: _Seen, origin: str) -> pd.Series:
    """Return a column of times; one of which some carry a zone and some do not is refused."""
    texts = _texts(block[name], seen).to_pandas()
    times, bare = parse_times(texts)
    known = times.notna()
    zoned = known & (bare == 0)
    if 0 < bare < known.sum():
        zoned = known & texts.str.contains(r"(?:Z|[+-]\d{2}(?::?\d{2})?)\s*$")
    written = seen.written.setdefault(name, {})
    for kind, some in (("with", zoned), ("without", known & ~zoned)):
        if some.any():
            written.setdefault(kind, shown(texts[some].iloc[0]))
    if len(written) > 1:
        raise DataFileError(
            f"{origin} mixes times with a zone ('{written['with']}') and without ('{written['without']}') in '{name}';"
            " write all in one way"
        )
    return within_years(times)


def _activity_of(block: Any, seen: _Seen, origin: str) -> tuple[pd.DataFrame, int]:
    """Return the bursts of a record batch that can be read, and how many numbers they hold; count the others."""
    import pyarrow.compute as pc

    joined = pc.binary_join_element_wise(block[COUNTS], b"", b" ")
    offsets = np.frombuffer(joined.buffers()[1], np.int32)[joined.offset :][: len(joined) + 1].astype(np.int64)
    text = np.frombuffer(joined.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    numbers, counts, bad = parse_integers(text, offsets - offsets[0])
    letters: dict[str, int] = {}
    letter = _codes(block[AXES], letters, seen)
    axes = np.array([len(x) if x.upper() in AXES_KNOWN else 0 for x in letters], np.int64)[letter]
    width = np.maximum(axes, 1)
    start = _starts(block, seen, origin)
    labels = {name: _codes(block[name], seen.known[name], seen) for name in LABELS if name in block.schema.names}
    label = ANIMAL if ANIMAL in labels else TAG
    lasted_us, timed = _lengths(block, counts / width, seen)
    reason = np.full(len(counts), "", dtype=object)
    for name, fault in (  # where there are several, the last
        ("bad_frequency", ~timed),
        ("too_short", counts < 2 * width),
        ("not_whole", counts % width != 0),
        ("bad_axes", axes == 0),
        ("not_integers", bad),
        ("empty", (counts == 0) & ~bad),
        ("bad_time", start.isna().to_numpy()),
        ("no_animal", labels[label] == seen.known[label].get("", -1)),  # a tag that lies on a shelf
    ):
        reason[fault] = name
    usable = reason == ""
    seen.dropped.update(reason[~usable].tolist())
    odba, vedba = burst_activity(numbers, counts, np.where(usable, axes, 0))
    end = start.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64) + lasted_us
    return pd.DataFrame({**labels, "end": end, "odba": odba, "vedba": vedba}).loc[usable], int(counts[usable].sum())


def _lengths(block: Any, samples: Floats, seen: _Seen) -> tuple[Integers, NDArray[np.bool_]]:
    """Return how long bursts lasted, microseconds, and where it is told; all 0 where the file has no frequencies."""
    if FREQUENCY not in block.schema.names:
        return np.zeros(len(samples), np.int64), np.ones(len(samples), dtype=bool)
    rates: dict[str, int] = {}
    rate = _codes(block[FREQUENCY], rates, seen)
    hertz = pd.to_numeric(pd.Series([*rates], dtype="str"), errors="coerce").to_numpy("float64")[rate]
    hertz = np.where((hertz > 0) & (hertz <= MOST_HERTZ), hertz, 0.0)
    timed = (hertz > 0) & (1e6 * samples <= DAY_US * hertz)
    lasted_us = np.divide(1e6 * samples, hertz, out=np.zeros(len(samples)), where=timed)
    return np.round(lasted_us).astype(np.int64), timed


def _tidy(table: pd.DataFrame, samples: int, seen: _Seen, origin: str, taken: list[str]) -> Bursts:
    """Put bursts in order of time; the same burst twice is one, two that contradict each other are none."""
    known, dropped = seen.known, seen.dropped
    notes = [f"{origin}: not in UTF-8: read as Latin-1"] if seen.latin else []
    notes += [f"{origin}: {n} burst(s) left out as {reason}" for reason, n in sorted(dropped.items())]
    if START not in taken:
        notes.append(f"{origin}: no column '{START}': bursts stand at '{TIME}', UTC")
    if FREQUENCY not in taken:
        notes.append(f"{origin}: no column '{FREQUENCY}': bursts count from their start, though they end later")
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


def slot_times(ends_us: Integers, sampling_s: float) -> Integers:
    """Return when the slot begins in which each burst ends; slots begin at whole multiples since 1970-01-01 UTC.

    A burst that ends as a slot begins is of the slot before, which then is over.

    Parameters
    ----------
    ends_us : ndarray of int64, shape (n,)
        Microseconds UTC.
    sampling_s : float
        Length of a slot.

    Examples
    --------
    >>> (slot_times(np.array([899, 900, 901]) * 1_000_000, 900.0) // 1_000_000).tolist()
    [0, 0, 900]
    """
    slot_us = round(sampling_s * 1e6)
    return (ends_us - 1) // slot_us * slot_us


def in_slots(bursts: Bursts, sampling_s: float, *, by_animal: bool = False) -> Slots:
    """Return the activity of a herd on a regular grid; a slot without any burst has no row.

    A burst belongs to the slot in which it ends. An animal's figure in a slot is the mean of its bursts', a species'
    the mean of its animals', so that a tag that sends twice as often does not count twice.

    Parameters
    ----------
    bursts : Bursts
    sampling_s : float
        Length of a slot.
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
    slot = slot_times(bursts.ends_us, sampling_s) // slot_us
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
