"""What is put into the windows of pseudo-mainshocks: shifted vectors, or waveforms with tremor (PROTOCOL 6).

Both are a `seisprobe.calibration.trials.Put`: they say what the columns of windows become.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from seisprobe.calibration.trials import Bench
from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.embedding.components import Segmenting
from seisprobe.embedding.embed import epoch_edges
from seisprobe.embedding.executors import Executor, serial
from seisprobe.embedding.masking import station_places
from seisprobe.embedding.tremor import Tremor, band_power
from seisprobe.embedding.waves import ALL, Request, Waves, observe
from seisprobe.embedding.work import Recipe, Task, edges_of, open_source, read_unit
from seisprobe.errors import StudyError
from seisprobe.evaluation.cells import generator
from seisprobe.evaluation.grid import Features, align
from seisprobe.fetching import archive_of, data_centre, waveform_query
from seisprobe.intake import Progress
from seisprobe.modalities.waveforms import MIDDLE, NUMBERS_A_COMPONENT, UPPER
from seisprobe.observing import encoders_of, event_spans, near_windows, station_metadata
from seisprobe.planning import Plan, modalities_of, tabled
from seisprobe.setting import Setting
from seisprobe.sources.waveforms import ContinuousSource, Query, StationDay
from seisprobe.study import Study

__all__ = ["Archive", "Shift", "Swap", "make_shift", "make_swap", "median_levels", "open_archive", "shift_effect"]

MOVED = ("mean", "max", "q95")  # statistics that move with the vectors; the standard deviation stays
LEVEL_DAYS = 12  # station-days that the median power of an instrument is taken from


# --- vectors ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shift:
    """Moves every segment vector of a window by so many standard deviations along one random direction a trial.

    The direction is a unit vector in the numbers of a vector, each divided by its standard deviation over the station's
    background segments: a size is the distance from other segments in the mean standard deviation along a direction,
    and means the same whatever number of segments stands for a window. No vector is needed: of a window's statistics
    mean, maximum and 95% quantile move with the segments, the standard deviation stays, DSAR moves by half of what its
    two bands differ by.

    Parameters
    ----------
    size : float
    effects : tuple of ndarray or None, by modality
        (D, d): how columns follow the numbers of a vector; None for a modality that stays.
    spreads : tuple of tuples of ndarray, by part and modality
        Standard deviations, (d,).
    seed : int
    """

    size: float
    effects: tuple[Floats | None, ...]
    spreads: tuple[tuple[Floats, ...], ...]
    seed: int

    def __call__(self, part: int, modality: int, values: Floats, rows: Integers, trial: int) -> Floats:  # noqa: ARG002
        """Return columns of windows, shifted."""
        effect = self.effects[modality]
        if effect is None:
            return values
        return np.asarray(
            values + effect @ (self.size * self.spreads[part][modality] * self._direction(trial, modality))
        )

    def _direction(self, trial: int, modality: int) -> Floats:
        """Return what a trial's direction, a unit vector over all modalities that move, is in one of them."""
        widths = [0 if effect is None else effect.shape[1] for effect in self.effects]
        drawn = np.random.default_rng([self.seed, crc32(b"injected direction"), trial]).standard_normal(sum(widths))
        first = sum(widths[:modality])
        return np.asarray(drawn[first : first + widths[modality]] / np.linalg.norm(drawn))


def shift_effect(names: Sequence[str]) -> Floats:
    """Return how columns of statistics follow a vector that every segment is shifted by, shape (D, d).

    Parameters
    ----------
    names : sequence of str, length D
        ``mean_0 …, std_0 …, max_0 …, q95_0 …``, and ``dsar_E …`` of band energies.

    Raises
    ------
    StudyError
        A column that is no statistic of vectors.

    Examples
    --------
    >>> shift_effect(["mean_0", "mean_1", "std_0", "std_1", "q95_1"]).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    width = sum(name.startswith("mean_") for name in names)
    effect = np.zeros((len(names), width))
    for row, name in enumerate(names):
        statistic, _, what = name.partition("_")
        if statistic == "dsar" and what in tuple("ENZ"):
            first = NUMBERS_A_COMPONENT * "ENZ".index(what)
            effect[row, first + MIDDLE], effect[row, first + UPPER] = 0.5, -0.5
        elif statistic in (*MOVED, "std") and what.isdecimal() and int(what) < width:
            effect[row, int(what)] = float(statistic in MOVED)
        else:
            raise StudyError(f"column '{name}': is no statistic of segment vectors, which alone can be shifted")
    return effect


def make_shift(bench: Bench, size: float, seed: int) -> Shift:
    """Return the shift of a size for a bench.

    The spread of segments is that of the windows' means together with the mean spread inside windows.
    """
    columns = bench.parts[0].columns
    effects = tuple(shift_effect(c.names) if name else None for c, name in zip(columns, bench.moved, strict=True))
    spreads = tuple(tuple(_spread(c.names, c.table) for c in part.columns) for part in bench.parts)
    return Shift(size, effects, spreads, seed)


def _spread(names: Sequence[str], table: Floats) -> Floats:
    means, inside = (table[:, [n.startswith(s) for n in names]] for s in ("mean_", "std_"))
    if means.shape != inside.shape or not len(table):
        return np.empty(0)
    return np.asarray(np.sqrt(means.var(axis=0) + (inside**2).mean(axis=0)))


# --- waveforms -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swap:
    """Gives windows the columns that they have with a precursor in their waveforms.

    Parameters
    ----------
    tables : tuple of tuples of ndarray or None, by part and modality
        As many rows as the part; NaN for windows that no trial picks; None for a modality that stays.
    """

    tables: tuple[tuple[Floats | None, ...], ...]

    def __call__(self, part: int, modality: int, values: Floats, rows: Integers, trial: int) -> Floats:  # noqa: ARG002
        """Return columns of windows, with the precursor."""
        table = self.tables[part][modality]
        return values if table is None else table[rows]


@dataclass(frozen=True)
class Archive:
    """A study's waveforms as its windows see them: what `observe` takes.

    The request is of all sampled windows of the cell's length; `rows` are theirs in the plan, ascending.
    """

    study: Study
    source: str
    query: Query
    root: Path
    request: Request
    recipe: Recipe
    rows: Integers

    def observe(
        self,
        windows: np.ndarray,
        encoders: Mapping[str, Any],
        recipe: Recipe,
        executor: Executor,
        progress: Progress | None,
    ) -> Waves:
        """Return what some windows of the request see; stores that are there are read."""
        near = self.request.near
        some = replace(
            self.request,
            windows=self.request.windows.loc[windows].reset_index(drop=True),
            counts=self.request.counts[windows],
            near=None if near is None else lambda station: near(station)[windows],
        )
        return observe(self.source, self.query, self.root, some, recipe, encoders, executor=executor, progress=progress)


def open_archive(folder: Path, study: Study, plan: Plan, bench: Bench) -> Archive:
    """Lay out the waveforms of a study for the windows of a bench.

    Raises
    ------
    StudyError
        They are traces of events, which have no background to put tremor into.
    SeisprobeError
        They cannot be opened any more.
    """
    assert study.waveforms is not None
    assert study.segments is not None
    assert study.encoder is not None
    source = f"sds:{archive_of(study, folder).resolve()}" if data_centre(study) else study.waveforms.source
    if not isinstance(open_source(source, Path()), ContinuousSource):
        raise StudyError(f"[waveforms] source = '{source}': tremor is put into continuous records; this one has traces")
    used = np.unique(np.concatenate([bench.grid.candidate_rows[p.place][p.index] for p in bench.parts]))
    rows = plan.windows.iloc[used].reset_index(drop=True)
    inventory = station_metadata(study, folder)
    places = station_places(inventory)
    counts = np.full(len(rows), study.segments.per_window, dtype=np.int64)
    request = Request(rows, counts, study.study.seed, near_windows(rows, places), event_spans(study, plan, places))
    edges = {} if inventory is None else epoch_edges(inventory)
    recipe = Recipe(None, Segmenting(study.segments.hop_s, study.segments.max_gap_s), study.encoder.dtype, edges=edges)
    return Archive(study, source, waveform_query(study, rows)[0], folder / "embeddings", request, recipe, used)


def median_levels(
    archive: Archive, band_hz: tuple[float, float], *, executor: Executor = serial, progress: Progress | None = None
) -> dict[str, tuple[float, float, float]]:
    """Return the median band power of each instrument's E, N and Z, over drawn segments of the background.

    Of an instrument with many station-days, 12 are read, drawn by the study's seed. Six significant digits.
    """
    everything = np.ones(len(archive.request.windows), dtype=bool)
    waves = archive.observe(everything, {}, archive.recipe, executor, progress)
    source = open_source(archive.source, Path())
    units = {unit.key: unit for unit in source.units(archive.query) if isinstance(unit, StationDay)}
    wanted: dict[str, dict[str, Integers]] = {}
    for station in waves.stations:
        drawn = waves.segments[station].iloc[waves.drawn[ALL, station].used]
        seconds = pd.Series(times_us(drawn["start"]) // 1_000_000)
        for key, starts in seconds.groupby(drawn["unit"].to_numpy(dtype=object)):
            unit = units[str(key)]
            instrument = f"{unit.network}.{unit.station}.{unit.location}.{unit.band}"
            wanted.setdefault(instrument, {})[unit.key] = starts.to_numpy()
    levels = {}
    for done, (instrument, days) in enumerate(sorted(wanted.items())):
        if progress:
            progress(done / len(wanted), f"level of {instrument}")
        rng = generator(archive.study.study.seed, f"levels {instrument}")
        some = sorted(rng.permutation(sorted(days))[:LEVEL_DAYS])
        power = [_powers(source, Task(units[key], 0, days[key]), archive.recipe, band_hz) for key in some]
        median = np.median(np.concatenate(power), axis=0)
        levels[instrument] = tuple(float(f"{x:.6g}") for x in median)
    return levels  # type: ignore[return-value]


def _powers(source: Any, task: Task, recipe: Recipe, band_hz: tuple[float, float]) -> Floats:
    blocks, _ = read_unit(source, task, recipe.segmenting, edges_of(recipe, task.unit))
    return np.concatenate([band_power(block.waveforms, band_hz) for block in blocks])


def make_swap(
    bench: Bench,
    archive: Archive,
    positives: Integers,
    tremor: Tremor,
    *,
    executor: Executor = serial,
    progress: Progress | None = None,
) -> Swap:
    """Embed the windows that trials pick, with tremor in, and compute their features anew.

    A station-day is read once; what is embedded stays in the study's folder of embeddings, under settings of its own.

    Parameters
    ----------
    bench : Bench
    archive : Archive
    positives : ndarray of int64, shape (trials, K)
    tremor : Tremor
    executor, progress
        As for `seisprobe.embedding.embed`.
    """
    rows, picked = bench.grid.candidate_rows, np.isin(archive.rows, _picked(bench, positives))
    known = tabled(modalities_of(archive.study))
    specs = {name: known[name] for name in bench.moved if name}
    uses = {spec.encoder for spec in specs.values()}
    encoders = {use: how for use, how in encoders_of(archive.study).items() if use in uses}
    waves = archive.observe(picked, encoders, replace(archive.recipe, change=tremor), executor, progress)
    windows = archive.request.windows
    setting = Setting(archive.study, windows, windows.iloc[:0], waves=waves)
    made = {name: align(windows, spec.features(setting)) for name, spec in specs.items()}
    tables = []
    for part in bench.parts:
        at = np.searchsorted(archive.rows, rows[part.place][part.index])
        tables.append(tuple(_columns_of(made[name], bench.stations[part.station], at, c.names) if name else None
                            for name, c in zip(bench.moved, part.columns, strict=True)))  # fmt: skip
    return Swap(tuple(tables))


def _picked(bench: Bench, positives: Integers) -> Integers:
    """Return the rows of the plan that some trial picks."""
    rows = bench.grid.candidate_rows
    if len(rows) == 1:
        return np.asarray(rows[0][np.unique(positives)])
    return np.concatenate([own[np.unique(index)] for own, index in zip(rows, positives.T, strict=True)])


def _columns_of(features: Features, station: str, rows: Integers, names: tuple[str, ...]) -> Floats:
    if station not in features.stations:  # it has too few of these windows: no score of it counts in a trial
        return np.full((len(rows), len(names)), np.nan)
    return features.take(station, rows, names)
