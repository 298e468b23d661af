"""How often the software cries wolf: the whole protocol on many worlds in which the answer is known (PROTOCOL 5, 6).

Beside it what a naive analyst would have got from the same worlds: twelve windows before each mainshock taken as
independent, their labels shuffled, DeLong's test, or a classifier under shuffled k-fold.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from seisprobe import __version__, planning
from seisprobe.catalog import Catalog, Integers, times_us
from seisprobe.embedding.executors import processes, serial
from seisprobe.errors import FolderError, StudyError, nearest
from seisprobe.etas import FitOptions
from seisprobe.evaluation.judgement import Evaluation, Tables, evaluate
from seisprobe.evaluation.nulls import drawn_percentiles, null_auc, one_sided_p
from seisprobe.evaluation.power import critical_auc, percentile_law
from seisprobe.evaluation.scores import delong
from seisprobe.evaluation.shared_draws import make_grids, make_nulls
from seisprobe.setting import fit_places
from seisprobe.simulation.worlds import KINDS, LEAD_IN_DAYS, MC, NullWorld, null_world
from seisprobe.storage import strict_json, write_bytes
from seisprobe.study import Study, study_from_dict
from seisprobe.windows import HOUR_US, block_sizes, places, plan_mainshocks, positive_distance_h

__all__ = ["Request", "binomial_interval", "calibrate", "judge_world", "rate_lines", "summarise"]

HOURS = (6.0, 24.0)
DRAWS = 199
ALPHA = 0.05
NAIVE_WINDOWS, NAIVE_BACKGROUND, NAIVE_SHUFFLES = 12, 200, 199
INJECTED_H = 24.0
FLUSH_EVERY = 20
FEWER = 4  # what is slow and has no bound to keep is done in every fourth world


@dataclass(frozen=True)
class Request:
    """What is asked: kind and number of worlds, size of an injected rate increase, seed, K."""

    kind: str
    worlds: int
    size: float = 0.0
    seed: int = 0
    mainshocks: int = 3

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise StudyError(f"--kind {self.kind}: no such kind of world; {nearest(self.kind, KINDS)}")


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


def judge_world(request: Request, index: int) -> dict[str, Any] | None:
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


# --- many worlds -----------------------------------------------------------------------------------------------------


def calibrate(
    request: Request, out: Path, *, workers: int = 1, progress: Callable[[float, str], None] | None = None
) -> dict[str, Any]:
    """Judge worlds that are not judged yet, and write ``calibration.json`` and ``calibration.png``.

    Parameters
    ----------
    request : Request
    out : Path
        Folder; each judged world is a line of ``worlds.jsonl``, so that an interrupted run continues.
    workers : int
        Processes.
    progress : callable, optional

    Returns
    -------
    dict
        As `summarise`.
    """
    out.mkdir(parents=True, exist_ok=True)
    _same_request(out, request)
    path = out / "worlds.jsonl"
    rows = _judged(path)
    left = [index for index in range(request.worlds) if index not in rows]
    new: list[str] = []
    for done, (index, row) in enumerate(_judge_all(request, left, workers), start=1):
        rows[index] = row
        new.append(json.dumps({"index": index, "row": row}))
        if len(new) >= FLUSH_EVERY or done == len(left):
            _append(path, new)
            new = []
        if progress:
            progress(done / len(left), f"{request.kind} worlds")
    counted = [rows[i] for i in sorted(rows) if i < request.worlds]
    rates = summarise(request, [row for row in counted if row is not None])
    write_bytes(out / "calibration.json", strict_json(rates).encode())
    write_bytes(out / "calibration.png", _figure(rates))
    return rates


def _same_request(out: Path, request: Request) -> None:
    """Refuse a folder of other worlds; more worlds of the same kind may join."""
    path = out / "request.json"
    mine = {**asdict(request), "seisprobe": __version__}
    mine.pop("worlds")
    if path.exists():
        known = json.loads(path.read_text())
        if known != mine:
            differs = ", ".join(f"{k} ({known.get(k)} → {mine[k]})" for k in mine if known.get(k) != mine[k])
            raise FolderError(f"{out}: holds other worlds ({differs}); name another folder with --out")
    else:
        write_bytes(path, json.dumps(mine).encode())


def _judged(path: Path) -> dict[int, dict[str, Any] | None]:
    rows: dict[int, dict[str, Any] | None] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line cut by a kill: that world is judged again
        rows[entry["index"]] = entry["row"]
    return rows


def _append(path: Path, lines: Iterable[str]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + "\n".join(lines) + "\n")  # a cut line before stays a line of its own
        file.flush()
        os.fsync(file.fileno())


def _judge_all(request: Request, indices: list[int], workers: int) -> Iterable[tuple[int, dict[str, Any] | None]]:
    """Yield each world's index and row; what a world gives does not depend on who made it."""
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    os.environ.update(dict.fromkeys(threads, "1"))  # read when a worker loads its libraries: one thread each
    try:
        yield from (serial if workers == 1 else processes(workers))(partial(_judge_each, request), indices)
    finally:
        for name, value in threads.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _judge_each(request: Request, indices: Iterable[int]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    for index in indices:
        yield index, judge_world(request, index)


def summarise(request: Request, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rates with exact intervals, over all worlds and apart for blocks apart and merged.

    Returns
    -------
    dict
        ``kind, worlds, size, mainshocks, rates: {name: {k, n, low, high}}, words: {word: n}``, and the same two again
        under ``blocks_apart`` and ``blocks_merged``.
    """
    groups = {
        "": rows,
        "blocks_apart": [r for r in rows if not r["merged"]],
        "blocks_merged": [r for r in rows if r["merged"]],
    }
    made: dict[str, Any] = {
        "kind": request.kind,
        "worlds": len(rows),
        "size": request.size,
        "mainshocks": request.mainshocks,
    }
    for name, group in groups.items():
        found: dict[str, Any] = {
            "rates": _rates(group),
            "words": dict(sorted(Counter(r["word"] for r in group).items())),
        }
        made |= found if not name else {name: {"worlds": len(group), **found}}
    made["blocks_apart"]["power_uniform"] = _power(groups["blocks_apart"], request.mainshocks)
    return made


def _power(rows: list[dict[str, Any]], k: int) -> dict[str, float | int | None]:
    """Return how often p_pseudo ≤ 0.05 at `uniform`, and how often K binormal mainshocks of that AUC would pass Bates.

    The AUC is the mean over the worlds: what clustering and an injected precursor make of it together.
    """
    seen = [(r["auc_uniform"], r["p_pseudo_uniform"]) for r in rows if r["p_pseudo_uniform"] is not None]
    if not seen:
        return {"worlds": 0, "mean_auc": None, "power": None, "expected": None}
    law, sizes = percentile_law((1,) * k), (1,) * k
    mean = float(np.mean([auc for auc, _ in seen]))
    expected = float(np.interp(mean, law.auc, law.exceedance(critical_auc(sizes, ALPHA))))
    return {
        "worlds": len(seen),
        "mean_auc": mean,
        "power": float(np.mean([p <= ALPHA for _, p in seen])),
        "expected": expected,
    }


def _rates(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = {
        "p_pseudo": "p_pseudo",
        "p_adjusted": "p_adjusted",
        "p_adjusted_of_any_cell": "p_adjusted_least",
        "p_pseudo_uniform": "p_pseudo_uniform",
        "p_shift": "p_shift_uniform",
        "p_shift_etas": "p_shift_etas",
        "p_independent_etas": "p_independent_etas",
        "naive_label_shuffle": "naive_shuffle",
        "naive_delong": "naive_delong",
    }
    rates = {name: _rate([r[key] <= ALPHA for r in rows if r.get(key) is not None]) for name, key in names.items()}
    rates["word_detected_or_suggestive"] = _rate([r["word"] in ("DETECTED", "SUGGESTIVE") for r in rows])
    rates["naive_k_fold_auc_over_0.7"] = _rate([r["naive_k_fold_auc"] > 0.7 for r in rows if "naive_k_fold_auc" in r])
    return rates


def _rate(hits: list[bool]) -> dict[str, Any]:
    k, n = sum(hits), len(hits)
    low, high = binomial_interval(k, n) if n else (0.0, 1.0)
    return {"k": k, "n": n, "low": low, "high": high}


def rate_lines(rates: Mapping[str, Any]) -> list[str]:
    """Return a calibration for a person: each rate with its interval, then the words."""
    lines = [f"{rates['worlds']} {rates['kind']} worlds, size {rates['size']:g}, K = {rates['mainshocks']}"]
    for name, rate in rates["rates"].items():
        share = rate["k"] / rate["n"] if rate["n"] else float("nan")
        interval = f"[{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
        lines.append(f"  {name:<28} {rate['k']:>5} of {rate['n']:<5} {100 * share:5.1f}%  {interval}")
    power = rates["blocks_apart"]["power_uniform"]
    if power["worlds"]:
        lines.append(
            f"  at uniform, blocks apart: mean AUC {power['mean_auc']:.3f}, p_pseudo ≤ 0.05 in"
            f" {100 * power['power']:.1f}%, binormal mainshocks of that AUC {100 * power['expected']:.1f}%"
        )
    return [*lines, *(f"  {word}: {n}" for word, n in rates["words"].items())]


def _figure(rates: Mapping[str, Any]) -> bytes:
    """Draw the rates with their intervals against the nominal 5%."""
    from io import BytesIO

    from matplotlib.figure import Figure

    named = {n: r for n, r in rates["rates"].items() if r["n"]}
    figure = Figure(figsize=(7, 0.45 * len(named) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for row, rate in enumerate(named.values()):
        share = rate["k"] / rate["n"]
        axes.errorbar(
            100 * share, row, xerr=[[100 * (share - rate["low"])], [100 * (rate["high"] - share)]],
            fmt="o", color="#0072B2" if row < len(named) - 4 else "#D55E00", capsize=3,
        )  # fmt: skip
    axes.axvline(100 * ALPHA, color="0.4", linestyle="--")
    axes.set_yticks(range(len(named)), [name.replace("_", " ") for name in named])
    axes.invert_yaxis()
    axes.set_xlim(0, None)
    axes.set_xlabel(f"worlds called significant (%), {rates['worlds']} {rates['kind']} worlds; dashed: nominal 5%")
    image = BytesIO()
    figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()
