"""One world of waveforms judged without a waveform: segments and vectors in memory, and all the rest of the protocol.

Windows, samples of backgrounds, ETAS fit, the drawing of segments, features and the verdict are those of any study;
only what a station would have recorded is made at the level of vectors (`segment_vectors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from seisprobe import planning
from seisprobe.calibration.catalogs import ALPHA, DRAWS, Request
from seisprobe.calibration.segment_vectors import segment_vectors, shaking
from seisprobe.catalog import Catalog, Integers, times_us
from seisprobe.embedding.components import LENGTH_S
from seisprobe.embedding.drawing import draw_segments, priorities, wanted_starts
from seisprobe.embedding.store import Store
from seisprobe.embedding.waves import ALL, LEAST_COVER, NAMES, Waves
from seisprobe.etas import FitOptions
from seisprobe.evaluation.cells import Cell, rank_cell
from seisprobe.evaluation.grid import Scores
from seisprobe.evaluation.judgement import Evaluation, Tables, evaluate, make_board
from seisprobe.mainshocks import block_sizes, plan_mainshocks
from seisprobe.seisclip.baselines import BandEnergy
from seisprobe.setting import fit_places
from seisprobe.simulation.vector_worlds import VECTOR_KINDS, StationHistory, VectorWorld, small_events, vector_world
from seisprobe.simulation.worlds import MC
from seisprobe.study import Study, study_from_dict
from seisprobe.windows import places

__all__ = ["HeldVectors", "confounded_study", "judge_confounded", "observe_world"]

HOURS = 2.0
PER_WINDOW, BACKGROUND_COUNT = 15, 60
MODALITY = "seisclip"  # with band energies for its encoder
_US = 1_000_000
RATE_HZ, INSTRUMENT = 100.0, ".HH"
SEEDS_FROM = 1000  # kinds of worlds of catalogs alone have the numbers below


class HeldVectors(Store):
    """A store that holds one vector for each segment in memory.

    Parameters
    ----------
    held : mapping of station to (segment names, vectors)
        Names of shape (v,), vectors of shape (v, d).

    Examples
    --------
    >>> store = HeldVectors({"XX.A": (np.array(["a", "b"], dtype=object), np.zeros((2, 33), np.float32))})
    >>> table, vectors = store.read(store.units())
    >>> table["segment_id"].tolist(), vectors.shape
    (['a', 'b'], (2, 33))
    """

    def __init__(self, held: dict[str, tuple[NDArray[Any], NDArray[np.float32]]]) -> None:
        super().__init__(Path("held"), {"dtype": "float32", "encoder": BandEnergy().settings})
        self._held = held

    def units(self) -> list[str]:
        """Return the stations."""
        return sorted(self._held)

    def read(self, keys: Sequence[str], columns: Sequence[str] = ("vector",)) -> tuple[pd.DataFrame, NDArray[Any]]:
        """Return names and vectors of some stations; every segment is valid."""
        assert tuple(columns) == ("vector",)
        names = np.concatenate([self._held[key][0] for key in keys])
        table = pd.DataFrame({"segment_id": names, "reason": ""})
        return table, np.concatenate([self._held[key][1] for key in keys])


def confounded_study(world: VectorWorld, seed: int) -> Study:
    """Return the study of a world: band energies in windows of two hours, at `uniform` and `etas`."""
    catalog = world.catalog
    rows = catalog.events.iloc[catalog.mainshocks]
    start, end = (datetime.fromtimestamp(t / 1e6, UTC) for t in (catalog.start_us, catalog.end_us))
    return study_from_dict(
        {
            "study": {
                "name": "world",
                "seed": seed,
                "start": start,
                "end": end,
                "region": {"min_latitude": 40, "max_latitude": 46, "min_longitude": 10, "max_longitude": 16},
            },
            "catalog": {"source": "file:world", "min_magnitude": MC},
            "mainshock": [
                {"name": f"M{k}", "time": t.to_pydatetime(), "magnitude": float(m), "latitude": 43.0, "longitude": 13.0}
                for k, (t, m) in enumerate(zip(rows["time"], rows["magnitude"], strict=True), start=1)
            ],
            "windows": {"hours": [HOURS], "background_count": BACKGROUND_COUNT},
            "waveforms": {"source": "sds:held", "stations": [s.name for s in world.stations]},
            "segments": {"per_window": PER_WINDOW},
            "encoder": {"name": "band_energy"},
            "modality": [{"name": MODALITY}],
            "evaluation": {
                "backgrounds": ["uniform", "etas"],
                "draws": DRAWS,
                "shifts": DRAWS,
                "primary": {"modality": MODALITY, "score": "novelty", "hours": HOURS},
            },
        }
    )


# --- what the stations saw -------------------------------------------------------------------------------------------


def observe_world(
    world: VectorWorld, study: Study, windows: pd.DataFrame, counts: Integers, rng: np.random.Generator
) -> Waves:
    """Return what windows see of a world.

    Parameters
    ----------
    world : VectorWorld
    study : Study
    windows : DataFrame
        Rows of a plan that need waveforms.
    counts : ndarray of int64, shape (rows,)
        Segments that each takes.
    rng : Generator

    Returns
    -------
    Waves
        A station that has enough valid segments in less than half of the windows is left out, as `observe` does.
    """
    seed, hop_s = study.study.seed, study.segments.hop_s if study.segments else LENGTH_S
    by_day = wanted_starts(windows, hop_s)
    starts = _US * np.concatenate(list(by_day.values()))
    days = np.repeat(list(by_day), [len(part) for part in by_day.values()])
    span = times_us(windows["start"]), times_us(windows["end"]), counts
    small = small_events(world, rng)
    segments, drawn, held = {}, {}, {}
    for station in world.stations:
        shaken = shaking(world, station, rng, small)
        names = np.array([f"{station.name}.{start}" for start in starts // _US], dtype=object)
        table = _segments(station, starts, days, priorities(pd.Series(names), seed))
        valid = table["reason"].eq("").to_numpy()
        found = draw_segments(starts, valid, table["priority"].to_numpy(), span)
        if len(found.rows) < LEAST_COVER * len(windows):
            continue
        segments[station.name], drawn[ALL, station.name] = table, found
        used = found.used
        held[station.name] = names[used], segment_vectors(world, station, starts[used], shaken, rng)
    asked = dict.fromkeys(segments, len(windows))
    return Waves(windows.reset_index(drop=True), segments, drawn, {MODALITY: HeldVectors(held)}, seed, asked)


def _segments(
    station: StationHistory, starts: Integers, days: NDArray[Any], priority: NDArray[np.uint64]
) -> pd.DataFrame:
    """Return a station's segments as a scan of its record would: gaps, changes of metadata, epochs."""
    ends = starts + LENGTH_S * _US
    gaps = station.gaps
    reach = np.maximum.accumulate(gaps[:, 1])
    before_end = np.searchsorted(gaps[:, 0], ends)  # gaps that begin before a segment ends
    meets = (before_end > 0) & (reach[np.maximum(before_end - 1, 0)] > starts)
    before_start = np.searchsorted(gaps[:, 0], starts, side="right")
    covered = (before_start > 0) & (reach[np.maximum(before_start - 1, 0)] >= ends)
    changes = station.listed & (station.epoch(starts) != station.epoch(ends - 1))
    reason = np.select([changes, covered, meets], ["metadata_epoch", "no_data", "gap"], "")
    table = pd.DataFrame(
        {
            "start": pd.to_datetime(starts, unit="us", utc=True).as_unit("us"),
            "reason": reason,
            "rate_hz": np.float32(RATE_HZ),
            "epoch": station.epoch(starts),
            "priority": priority,
            "unit": [f"{station.name}.{INSTRUMENT}.{day}" for day in days],
            "instrument": INSTRUMENT,
        }
    )
    return table.astype(dict.fromkeys(NAMES, "category"))


# --- one world judged ------------------------------------------------------------------------------------------------


def judge_confounded(request: Request, index: int) -> dict[str, Any] | None:
    """Make one world, run the protocol on it, and return what was found; None where it has no K mainshocks.

    Parameters
    ----------
    request : Request
    index : int
        Number of the world: with the seed, all of its randomness.
    """
    rng = np.random.default_rng([request.seed, SEEDS_FROM + VECTOR_KINDS.index(request.kind), index])
    world = vector_world(request.kind, request.mainshocks, rng)
    if world is None:
        return None
    study = confounded_study(world, int(rng.integers(2**31)))
    events = world.catalog.events
    rates = fit_places(study, places(study, plan_mainshocks(study, events)), events, {"options": FitOptions(starts=1)})
    plan = planning.make_plan(study, Catalog(events), rates)
    with threadpool_limits(1, "blas"):
        waves = observe_world(world, study, *planning.waveform_rows(study, plan), rng)
        seen = replace(plan, setting=replace(plan.setting, waves=waves))
        tables = planning.tables_of(study, seen, planning.compute_features(study, seen))
        found = evaluate(study, tables, label_free=True)
    return {
        "index": index,
        "merged": max(block_sizes(plan.mainshocks)) > 1,
        "fitted": bool(rates.fits),
        "changed_station": world.changed_station,
        **_figures(found),
        **_one_station(study, tables, found),
    }


def _figures(found: Evaluation) -> dict[str, Any]:
    """Return the primary cell's figures and word, what gave it, and its controls."""
    cell, verdict = found.primary_cell, found.verdicts[found.primary]
    at_uniform = next(c for c in found.cells if c.key == (*found.primary[:3], "uniform", found.primary[4]))
    return {
        "auc": cell.auc,
        "p_pseudo": cell.p_pseudo,
        "auc_uniform": at_uniform.auc,
        "p_pseudo_uniform": at_uniform.p_pseudo,
        "word": verdict.word,
        "rule": verdict.rule,
        "why": verdict.why,
        "u": [round(float(u), 4) for u in cell.u],
        "stations": {name: round(auc, 4) for name, auc in cell.stations.items()},
        "stations_uniform": {name: round(auc, 4) for name, auc in at_uniform.stations.items()},
        "controls": {n: (c.auc, c.p_pseudo) for n, c in found.controls[found.primary].items()},
        "post_event_auc": found.post_event_auc,
    }


def _one_station(
    study: Study, tables: Tables, found: Evaluation
) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    """Return, where the primary cell is significant, AUC and p without each station, and those of each state alone."""
    if found.primary_cell.p_pseudo is None or found.primary_cell.p_pseudo > ALPHA:
        return {}
    modality, _, hours, background, layout = found.primary
    ground = make_board(study, tables).ground(modality)
    grid, nulls = ground.grids[layout, hours], ground.nulls[layout, hours]

    def of_stations(cell: Cell, kept: list[str]) -> tuple[float | None, float | None]:
        assert cell.scores is not None
        rows = [cell.scores.stations.index(name) for name in kept]
        some = Scores(
            tuple(kept), *(values[rows] for values in (cell.scores.candidates, cell.scores.positives,
                                                       cell.scores.lost, cell.scores.absent))
        )  # fmt: skip
        made = rank_cell(study, grid, nulls, some, (cell.modality, cell.score), background)
        return made.auc, made.p_pseudo

    names = list(found.primary_cell.stations)
    rest = {name: of_stations(found.primary_cell, [n for n in names if n != name]) for name in names}
    state = found.controls[found.primary].get("station_state")
    alone = {} if state is None else {name: of_stations(state, [name]) for name in names if name in state.stations}
    return {"without": rest, "state": alone}
