"""What the waveforms of a plan would cost: station-days, segments, bytes, seconds and memory, before any is fetched."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.catalog import times_us
from seisprobe.embedding.drawing import draw_segments, wanted_starts
from seisprobe.embedding.embed import scan_unit
from seisprobe.errors import DataFileError, SeisprobeError, SourceError
from seisprobe.evaluation.cells import generator
from seisprobe.fetching import archive_of, data_centre, waveform_query
from seisprobe.mainshocks import block_sizes
from seisprobe.modalities import WIDTH
from seisprobe.observing import encoders_of, needs_waveforms, number_of_networks
from seisprobe.planning import Plan, modalities_of, waveform_rows
from seisprobe.sources.fdsn_waveforms import plan_fetch
from seisprobe.sources.retry import Patience
from seisprobe.sources.waveforms import ContinuousSource, Query, StationDay, open_waveform_source
from seisprobe.study import Study
from seisprobe.windows import DAY_US

__all__ = ["Costs", "cost_lines", "waveform_costs"]

# measured on one core (docs/performance.md): reading a station-day of three components at 100 Hz, and cutting and
# judging a segment, where none is here to be timed; a segment's number in the statistics of a window; a byte of
# features written and read; a fit of novelty or of a classifier to n windows of 1,536 columns, one part going with n²
READ_DAY_S, CUT_SEGMENT_S = 0.45, 0.5e-3
SECONDS_A_NUMBER, SECONDS_A_BYTE = 2.4e-8, 1.5e-8
SECONDS_A_FIT, SECONDS_A_PAIR_FITTED = 0.03, 7e-7
ENCODED_TO_TIME = 32
DAY_BYTES = 3 * 100 * 86_400 * 1.3  # three components at 100 Hz, compressed as miniSEED usually is
PLAIN = re.compile(r"[A-Z0-9]+\.[A-Z0-9]+")
BYTES_A_VALUE, BYTES_A_SEGMENT_ROW = 2, 40
MEMORY_MODEL, MEMORY_DAY, TABLES_HELD = 750_000_000, 700_000_000, 3.5  # a day of 100 Hz, and of less in proportion
NUMBERS = {"amplitude": 33, "random": WIDTH}


@dataclass(frozen=True)
class Costs:
    """What a study's waveforms would take.

    Parameters
    ----------
    windows : int
        Windows that need waveforms.
    covered : mapping of station to int
        How many of them each station's days cover.
    station_days, looked, drawn : int
        Station-days read; segments looked at; segments drawn, of all stations.
    fetch_bytes, bytes, memory_bytes : float
        Still to be fetched; vectors and features on disk; the most that is held at once.
    seconds : float
        On one core, without the fetch.
    notes : tuple of str
    """

    windows: int = 0
    covered: Mapping[str, int] = field(default_factory=dict)
    station_days: int = 0
    looked: int = 0
    drawn: int = 0
    fetch_bytes: float = 0.0
    bytes: float = 0.0
    memory_bytes: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def waveform_costs(study: Study, plan: Plan, folder: Path) -> Costs | None:
    """Return what the waveforms of a plan would cost; None where no modality reads any.

    Asks the station service of a data centre; encoders whose weights are there are timed for a second.

    Parameters
    ----------
    study : Study
    plan : Plan
    folder : Path
        The study folder, whose archive may hold something already.
    """
    if not needs_waveforms(study):
        return None
    assert study.segments is not None
    rows, counts = waveform_rows(study, plan)
    units, fetch_bytes, (day_s, segment_s, rate_hz), notes = _units(study, rows, folder)
    if units is None:
        return Costs(windows=len(rows), notes=tuple(notes))
    stations = sorted({f"{unit.network}.{unit.station}" for unit in units})
    looked, drawn = _segments(study, rows, counts, units)
    speeds, more = _seconds_a_segment(study)
    passes = 1 + len(speeds)
    widths = {use: NUMBERS.get(use, WIDTH) * (number_of_networks(study) if use == "random" else 1) for use in speeds}
    rows_made = len(rows) * len(stations)
    statistics = rows_made * 4 * sum(widths.values())
    seconds = passes * day_s * len(units) + segment_s * (looked + (passes - 1) * drawn)
    seconds += sum(drawn * speed for speed in speeds.values())
    seconds += SECONDS_A_NUMBER * statistics * study.segments.per_window + SECONDS_A_BYTE * 8 * statistics
    seconds += _fits(study, plan, len(stations)) * _seconds_a_fit(study, len(rows))
    table = 8 * 4 * WIDTH * rows_made
    stored = drawn * sum(BYTES_A_VALUE * w + BYTES_A_SEGMENT_ROW for w in widths.values())
    return Costs(
        windows=len(rows),
        covered=_covered(rows, units),
        station_days=len(units),
        looked=looked,
        drawn=drawn,
        fetch_bytes=fetch_bytes,
        bytes=stored + BYTES_A_SEGMENT_ROW * looked + 8.0 * statistics,
        memory_bytes=MEMORY_MODEL + MEMORY_DAY * rate_hz / 100 + TABLES_HELD * table + BYTES_A_SEGMENT_ROW * looked,
        seconds=seconds,
        notes=(*notes, *more),
    )


def _fits(study: Study, plan: Plan, stations: int) -> int:
    """Return how many fits of many columns a judgement takes: novelty once, a classifier in each fold."""
    wide = [m for name, m in modalities_of(study).items() if m.sampled and name != "station_state"]
    folds = 2 * len(block_sizes(plan.mainshocks)) * len(plan.backgrounds)
    return stations * len(study.windows.hours) * sum(1 + (0 if m.control else folds) for m in wide)


def _seconds_a_fit(study: Study, windows: int) -> float:
    of_a_length = windows / (len(study.windows.hours) + 1)
    return SECONDS_A_FIT + SECONDS_A_PAIR_FITTED * of_a_length**2


def _units(
    study: Study, rows: pd.DataFrame, folder: Path
) -> tuple[list[StationDay] | None, float, tuple[float, float, float], list[str]]:
    """Return the station-days of the windows, bytes that lack, `_reading_s`, and what is not known."""
    assert study.waveforms is not None
    query, days = waveform_query(study, rows)
    centre = data_centre(study)
    if centre:
        return _of_centre(centre, query, days, archive_of(study, folder))
    try:
        opened = open_waveform_source(study.waveforms.source, folder=Path())
    except DataFileError as error:
        return None, 0.0, (0.0, 0.0, 0.0), [f"stations are not known: {error}"]
    if not isinstance(opened, ContinuousSource):
        return None, 0.0, (0.0, 0.0, 0.0), ["traces of events are read as they are: no station-days"]
    units = [unit for unit in opened.units(query) if unit.day in set(days)]
    return units, 0.0, _reading_s(opened, units), []


def _of_centre(
    centre: str, query: Query, days: list[str], archive: Path
) -> tuple[list[StationDay] | None, float, tuple[float, float, float], list[str]]:
    """Return what a data centre says that it has; where it does not answer, what the stations named would have."""
    typical = (READ_DAY_S, CUT_SEGMENT_S, 100.0)
    try:
        with tempfile.TemporaryDirectory() as other:  # a plan leaves nothing behind
            where = archive if archive.is_dir() else Path(other)
            units, lacking = plan_fetch(centre, query, where, days=days, patience=Patience(attempts=2))
    except SourceError as error:
        named = [station.partition(".") for station in query.stations if PLAIN.fullmatch(station)]
        if not named or len(named) < len(query.stations):
            return None, 0.0, typical, [f"stations are not known: {error}"]
        units = [StationDay(net, code, "", query.channels[0], day) for net, _, code in named for day in days]
        return units, DAY_BYTES * len(units), typical, [f"taken as if each station had all days: {error}"]
    return units, lacking, typical, []


def _reading_s(source: ContinuousSource, units: list[StationDay]) -> tuple[float, float, float]:
    """Return seconds to read a station-day here and to cut a segment of it, medians of three; the rate in Hz."""
    from obspy import UTCDateTime

    reading, cutting, rates = [], [], []
    for unit in units[:: max(1, len(units) // 3)][:3]:
        begin = time.perf_counter()
        codes = (unit.network, unit.station, unit.location, f"{unit.band}?")
        day = (UTCDateTime(at.timestamp()) for at in (unit.start, unit.end))
        rates += [trace.stats.sampling_rate for trace in source.get_waveforms(*codes, *day)]
        read = time.perf_counter()
        valid = int(scan_unit(source, unit)["reason"].eq("").sum())
        reading.append(read - begin)
        if valid:
            cutting.append(max(time.perf_counter() - read - (read - begin), 0.0) / valid)
    return (
        float(np.median(reading)) if reading else READ_DAY_S,
        float(np.median(cutting)) if cutting else CUT_SEGMENT_S,
        float(max(rates, default=100.0)),
    )


def _segments(study: Study, rows: pd.DataFrame, counts: np.ndarray, units: list[StationDay]) -> tuple[int, int]:
    """Return how many segments would be looked at and drawn at all stations, were every one valid."""
    assert study.segments is not None
    by_day = wanted_starts(rows, study.segments.hop_s)
    looked = sum(len(by_day.get(unit.day, ())) for unit in units)
    starts = 1_000_000 * np.concatenate([np.empty(0, np.int64), *by_day.values()])
    rng = generator(study.study.seed, "costs")
    order = rng.permutation(len(starts)).astype(np.uint64)
    windows = (times_us(rows["start"]), times_us(rows["end"]), counts)
    used = draw_segments(starts, np.ones(len(starts), dtype=bool), order, windows).used
    on = pd.Series(starts[used] // DAY_US).value_counts()
    of_day = {str(np.datetime64(int(day), "D")): int(n) for day, n in on.items()}
    return looked, sum(of_day.get(unit.day, 0) for unit in units)


def _covered(rows: pd.DataFrame, units: list[StationDay]) -> dict[str, int]:
    """Return how many windows each station has all days of."""
    first, last = times_us(rows["start"]) // DAY_US, (times_us(rows["end"]) - 1) // DAY_US
    origin, n = int(first.min()), int(last.max() - first.min()) + 1
    there: dict[str, np.ndarray] = {}
    for unit in units:
        own = there.setdefault(f"{unit.network}.{unit.station}", np.zeros(n + 1, dtype=np.int64))
        own[1 + int(np.datetime64(unit.day, "D").astype(np.int64)) - origin] = 1
    totals = {station: np.cumsum(own) for station, own in sorted(there.items())}
    low, high = first - origin, last - origin + 1
    return {station: int((total[high] - total[low] == high - low).sum()) for station, total in totals.items()}


def _seconds_a_segment(study: Study) -> tuple[dict[str, float], list[str]]:
    """Return how long each encoder takes for a segment here, timed, and a line for each that cannot be made."""
    from seisprobe.seisclip import make_encoder

    found: dict[str, float] = {}
    notes = []
    noise = np.random.default_rng(0).normal(0, 100, (ENCODED_TO_TIME, 3, 6000)).astype(np.float32)
    for use, arguments in encoders_of(study).items():
        try:
            encoder: Any = make_encoder(**arguments)
        except SeisprobeError as error:
            notes.append(f"{use}: {error}; timed with random weights")
            try:
                encoder = make_encoder("random_encoder", seeds=[0])
            except SeisprobeError:  # no torch
                found[use] = 0.0
                continue
        encoder.encode(noise[:4])
        took = []
        for _ in range(3):
            begin = time.perf_counter()
            encoder.encode(noise)
            took.append(time.perf_counter() - begin)
        found[use] = min(took) / len(noise)
    return found, notes


def cost_lines(costs: Costs) -> list[str]:
    """Return the costs for a person."""
    lines = [f"waveforms: {costs.windows} windows"]
    if costs.covered:
        whole = sum(n == costs.windows for n in costs.covered.values())
        lines.append(f"stations: {len(costs.covered)}, of which {whole} have data of all days of these windows")
        lines += [
            f"  {station}: {n} of {costs.windows} windows" for station, n in costs.covered.items() if n < costs.windows
        ]
        lines.append(
            f"  {costs.station_days} station-days, {costs.looked} segments to look at, about {costs.drawn} to embed"
        )
        fetch = f"{costs.fetch_bytes / 1e9:.1f} GB to fetch, " if costs.fetch_bytes else ""
        lines.append(
            f"  {fetch}{costs.bytes / 1e9:.2f} GB to write, {costs.memory_bytes / 1e9:.1f} GB of memory,"
            f" {costs.seconds / 3600:.1f} h on one core"
        )
    return [*lines, *(f"  {note}" for note in costs.notes)]
