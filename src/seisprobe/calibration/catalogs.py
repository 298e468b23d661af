"""One world of a catalog judged: the whole protocol on events of which none precedes the mainshocks (PROTOCOL 5, 6).

Beside it what a naive analyst would have got from the same worlds: twelve windows before each mainshock taken as
independent, their labels shuffled, DeLong's test, or a classifier under shuffled k-fold.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from seisprobe import planning
from seisprobe.catalog import Catalog, Integers, times_us
from seisprobe.errors import StudyError, nearest
from seisprobe.etas import FitOptions
from seisprobe.evaluation.judgement import Evaluation, Tables, evaluate
from seisprobe.evaluation.nulls import drawn_percentiles, null_auc, one_sided_p
from seisprobe.evaluation.scores import delong
from seisprobe.evaluation.shared_draws import make_grids, make_nulls
from seisprobe.mainshocks import block_sizes, plan_mainshocks, positive_distance_h
from seisprobe.setting import fit_places
from seisprobe.simulation.vector_worlds import VECTOR_KINDS
from seisprobe.simulation.worlds import KINDS, LEAD_IN_DAYS, MC, RULED_KINDS, NullWorld, null_world
from seisprobe.study import Study, study_from_dict
from seisprobe.windows import HOUR_US, places

__all__ = ["ALPHA", "DRAWS", "Request", "binomial_interval", "judge_catalog", "world_study"]

HOURS = (6.0, 24.0)
DRAWS = 199
ALPHA = 0.05
NAIVE_WINDOWS, NAIVE_BACKGROUND, NAIVE_SHUFFLES = 12, 200, 199
INJECTED_H = 24.0
MAINSHOCKS, MAINSHOCKS_OF_WAVEFORMS, MAINSHOCKS_BY_RULE = 3, 6, 20
FEWER = 4  # what is slow and has no bound to keep is done in every fourth world


@dataclass(frozen=True)
class Request:
    """What is asked: kind and number of worlds, size of an injected rate increase, seed, K.

    K is 3 by default (0), and 6 for worlds of waveforms: five blocks are the fewest that can be DETECTED. Where a rule
    gives the mainshocks it is the least number of them, 20.
    """

    kind: str
    worlds: int
    size: float = 0.0
    seed: int = 0
    mainshocks: int = 0

    def __post_init__(self) -> None:
        known = (*KINDS, *VECTOR_KINDS, *RULED_KINDS)
        if self.kind not in known:
            raise StudyError(f"--kind {self.kind}: no such kind of world; {nearest(self.kind, known)}")
        if self.kind in (*VECTOR_KINDS, *RULED_KINDS) and self.size:
            raise StudyError(f"--size {self.size:g}: {self.kind} worlds have no rate increase; leave it out")
        if not self.mainshocks:
            fewest = dict.fromkeys(VECTOR_KINDS, MAINSHOCKS_OF_WAVEFORMS) | dict.fromkeys(
                RULED_KINDS, MAINSHOCKS_BY_RULE
            )
            object.__setattr__(self, "mainshocks", fewest.get(self.kind, MAINSHOCKS))


def binomial_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a rate (Clopper & Pearson 1934).

    Examples
    --------
    >>> [round(x, 4) for x in binomial_interval(117, 2000)]
    [0.0486, 0.0697]
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


# --- one world -------------------------------------------------------------------------------------------------------


def world_study(world: NullWorld, seed: int, kind: str) -> Study:
    """Return the study of a world: label-free scores at `uniform` and `etas`, 199 draws, steps of two hours."""
    rows = world.events.iloc[world.mainshocks]
    start, end = (datetime.fromtimestamp(t / 1e6, UTC) for t in (world.start_us, world.end_us))
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
            "windows": {"hours": list(HOURS), "step_h": 2},
            "evaluation": {
                "backgrounds": ["uniform", "etas"],
                "draws": DRAWS,
                "shifts": DRAWS,
                "primary": {"hours": HOURS[0] if kind == "confounder" else HOURS[1]},
            },
        }
    )


def judge_catalog(request: Request, index: int) -> dict[str, Any] | None:
    """Make one world, run the protocol on it, and return what was found; None where it has no K mainshocks.

    Parameters
    ----------
    request : Request
    index : int
        Number of the world: with the seed, all of its randomness.
    """
    rng = np.random.default_rng([request.seed, KINDS.index(request.kind), index])
    distance_h = max(HOURS) + 2 * 24.0 + 2.0
    world = null_world(request.kind, request.mainshocks, distance_h, rng)
    if world is None:
        return None
    if request.size:
        world = _with_precursor(world, request.size, rng)
    study = world_study(world, int(rng.integers(2**31)), request.kind)
    where = places(study, plan_mainshocks(study, world.events))
    rates = fit_places(study, where, world.events, {"options": FitOptions(starts=1)})
    plan = planning.make_plan(study, Catalog(world.events), rates)
    assert positive_distance_h(study) == distance_h
    tables = planning.tables_of(study, plan, planning.compute_features(study, plan))
    with threadpool_limits(1, "blas"):  # what a world gives does not depend on how many threads a worker has
        found = evaluate(study, tables, label_free=True)
    return {
        "index": index,
        "merged": max(block_sizes(plan.mainshocks)) > 1,
        "fitted": bool(rates.fits),
        **_figures(found),
        **_naive(plan, tables.features["catalog"], rng, k_fold=index % FEWER == 0),
        **(_unblocked(study, tables, found, rng) if index % FEWER == 0 else {}),
    }


def _figures(found: Evaluation) -> dict[str, Any]:
    """Return the primary cell's figures, the smallest adjusted p of its family, and every word."""
    cells = {c.key: c for c in found.cells}
    modality, score, hours, _, layout = found.primary
    at_uniform = cells[modality, score, hours, "uniform", layout]
    rate = cells[modality, "event_rate", hours, "uniform", layout]
    family = [p for key, p in found.p_adjusted.items() if key[3] == found.headline]
    words = Counter(v.word for key, v in found.verdicts.items() if key != found.primary)
    return {
        "auc": found.primary_cell.auc,
        "p_pseudo": found.primary_cell.p_pseudo,
        "p_adjusted": found.p_adjusted.get(found.primary),
        "p_adjusted_least": min(family, default=None),
        "auc_uniform": at_uniform.auc,
        "p_pseudo_uniform": at_uniform.p_pseudo,
        "p_shift_uniform": at_uniform.p_shift,
        "auc_rate_uniform": rate.auc,
        "p_pseudo_rate_uniform": rate.p_pseudo,
        "word": found.verdicts[found.primary].word,
        "other_words": dict(words),
    }


def _unblocked(study: Study, tables: Tables, found: Evaluation, rng: np.random.Generator) -> dict[str, float]:
    """Return two p that the protocol does not use at `etas`, for the docs: joint shifts, and independent draws."""
    cell = found.primary_cell
    if cell.scores is None or cell.auc is None or cell.background != "etas":
        return {}
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    where = (cell.layout, cell.hours)
    weights, nulls = grids[where].weights["etas"], make_nulls(study, grids)[where]
    one_by_one = rng.choice(weights.shape[1], (DRAWS, len(cell.names)), p=weights[0] / weights[0].sum())
    made = {"p_independent_etas": one_by_one}
    if nulls.shifts is not None and len(nulls.shifts):
        made["p_shift_etas"] = nulls.shifts
    whole = np.empty(0, dtype=np.int64)
    return {
        name: one_sided_p(cell.auc, null_auc(drawn_percentiles(cell.scores, weights, draws, whole), cell.used))
        for name, draws in made.items()
    }


def _with_precursor(world: NullWorld, size: float, rng: np.random.Generator) -> NullWorld:
    """Return a world with `size` times the mean rate added over the last 24 h before each mainshock."""
    rate = len(world.events) / ((world.end_us - world.start_us) / HOUR_US + LEAD_IN_DAYS * 24)
    added = []
    for row in world.mainshocks:
        shock = world.events.iloc[row]
        n = rng.poisson(size * rate * INJECTED_H)
        seconds = -rng.random(n) * INJECTED_H * 3600 - 120
        extra = pd.DataFrame([shock] * n).assign(
            time=[shock["time"] + pd.Timedelta(seconds=round(s)) for s in seconds],
            magnitude=np.minimum(MC + rng.exponential(1 / np.log(10), n), shock["magnitude"] - 0.5),
            event_id=[f"p{row}-{i}" for i in range(n)],
        )
        added.append(extra)
    times = world.events["time"].iloc[world.mainshocks]
    events = pd.concat([world.events, *(a for a in added if len(a))]).sort_values("time", ignore_index=True)
    return NullWorld(events, np.flatnonzero(events["time"].isin(times)), world.start_us, world.end_us)


def _naive(plan: planning.Plan, features: pd.DataFrame, rng: np.random.Generator, *, k_fold: bool) -> dict[str, Any]:
    """Return the p-values of a naive analyst: twelve 6 h windows before each mainshock, taken as independent."""
    windows = plan.windows
    short = windows["hours"].eq(HOURS[0])
    grid = windows.loc[short & (windows["kind"].eq("background") | windows["reason"].eq("zone"))]
    ends = times_us(grid["end"])
    table = features.set_index("window_id").loc[grid["window_id"]]
    columns = ["event_rate", "max_magnitude", "cumulative_moment"]
    positive = np.concatenate([_last_before(ends, int(t)) for t in _positive_ends(windows, short)])
    candidates = np.flatnonzero(grid["kind"].eq("background"))
    background = rng.choice(candidates, min(NAIVE_BACKGROUND, len(candidates)), replace=False)
    chosen = np.concatenate([positive, background])
    labels = np.arange(len(chosen)) < len(positive)
    x = table[columns].to_numpy()[chosen]
    result = delong(x[:, 0], labels)
    return {
        "naive_shuffle": one_sided_p(result.auc, _shuffled_auc(x[:, 0], labels, rng)),
        "naive_delong": result.p / 2 if result.z > 0 else 1 - result.p / 2,
        **({"naive_k_fold_auc": _k_fold_auc(x, labels, rng)} if k_fold else {}),
    }


def _shuffled_auc(x: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the AUC of shuffled labels, by rank sums (Mann & Whitney 1947)."""
    from scipy.stats import rankdata

    shuffled = rng.permuted(np.tile(labels, (NAIVE_SHUFFLES, 1)), axis=1)
    positive = int(labels.sum())
    smallest = positive * (positive + 1) / 2
    return np.asarray((shuffled @ rankdata(x) - smallest) / (positive * (len(labels) - positive)))


def _positive_ends(windows: pd.DataFrame, short: pd.Series) -> Integers:
    return times_us(windows.loc[short & windows["kind"].eq("positive"), "end"])


def _last_before(ends: Integers, time: int) -> Integers:
    last = int(np.searchsorted(ends, time, side="right"))
    return np.arange(max(0, last - NAIVE_WINDOWS // 2), last)  # every second hour of the last twelve


def _k_fold_auc(x: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedKFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    return delong(cross_val_predict(model, x, labels, cv=folds, method="decision_function"), labels).auc
