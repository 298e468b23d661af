"""Many worlds judged: one after the other or in several processes, resumable, and what their words come to."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seisprobe import __version__
from seisprobe.calibration.catalogs import ALPHA, Request, binomial_interval, judge_catalog
from seisprobe.calibration.confounded import judge_confounded
from seisprobe.calibration.ruled import judge_ruled
from seisprobe.embedding.executors import processes, serial
from seisprobe.errors import FolderError
from seisprobe.evaluation.power import critical_auc, percentile_law
from seisprobe.simulation.vector_worlds import VECTOR_KINDS
from seisprobe.simulation.worlds import RULED_KINDS
from seisprobe.storage import strict_json, write_bytes

__all__ = ["calibrate", "judge_world", "rate_lines", "summarise"]

FLUSH_EVERY = 20
BLUE, ORANGE = "#0072B2", "#D55E00"


def judge_world(request: Request, index: int) -> dict[str, Any] | None:
    """Make one world, run the protocol on it, and return what was found; None where it has no K mainshocks.

    Parameters
    ----------
    request : Request
    index : int
        Number of the world: with the seed, all of its randomness.
    """
    judges = dict.fromkeys(VECTOR_KINDS, judge_confounded) | dict.fromkeys(RULED_KINDS, judge_ruled)
    return judges.get(request.kind, judge_catalog)(request, index)


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
        ``kind, worlds, size, mainshocks, rates: {name: {k, n, low, high}}, words: {word: n}``; for worlds of catalogs
        the same two again under ``blocks_apart`` and ``blocks_merged``, for those of waveforms ``significant``, the
        words where the primary cell has p ≤ 0.05, those of rule 5 apart.
    """
    if request.kind in VECTOR_KINDS:
        return _of_waveforms(request, rows)
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


def _of_waveforms(request: Request, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the rates of worlds of waveforms, and what became of the cells that are significant."""
    critical = critical_auc((1,) * request.mainshocks, ALPHA)
    significant = [r for r in rows if r["p_pseudo"] is not None and r["p_pseudo"] <= ALPHA]
    named = Counter(r["word"] + (" by rule 5" if r["rule"] == 5 else "") for r in significant)
    caught = ("CONFOUNDED", "EXPLAINED BY CLUSTERING", "INCONCLUSIVE by rule 5")
    alone = [r["stations_uniform"].get(r["changed_station"], r["auc_uniform"]) for r in rows]
    rates = {
        "naive": _rate([auc is not None and auc >= critical for auc in alone]),
        "p_pseudo_uniform": _rate([r["p_pseudo_uniform"] <= ALPHA for r in rows if r["p_pseudo_uniform"] is not None]),
        "p_pseudo": _rate([r["p_pseudo"] <= ALPHA for r in rows if r["p_pseudo"] is not None]),
        "word_detected": _rate([r["word"] == "DETECTED" for r in rows]),
        "word_detected_or_suggestive": _rate([r["word"] in ("DETECTED", "SUGGESTIVE") for r in rows]),
        "caught_of_significant": _rate([name in caught for name, n in named.items() for _ in range(n)]),
    }
    return {
        "kind": request.kind,
        "worlds": len(rows),
        "size": request.size,
        "mainshocks": request.mainshocks,
        "rates": rates,
        "words": dict(sorted(Counter(r["word"] for r in rows).items())),
        "significant": dict(sorted(named.items())),
    }


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
        "p_pseudo_event_rate": "p_pseudo_rate",
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
    power = rates["blocks_apart"]["power_uniform"] if "blocks_apart" in rates else {}
    if power.get("worlds"):
        lines.append(
            f"  at uniform, blocks apart: mean AUC {power['mean_auc']:.3f}, p_pseudo ≤ 0.05 in"
            f" {100 * power['power']:.1f}%, binormal mainshocks of that AUC {100 * power['expected']:.1f}%"
        )
    lines += [f"  {word}: {n}" for word, n in rates["words"].items()]
    if "significant" in rates:
        lines.append(f"  of {sum(rates['significant'].values())} worlds with p_pseudo ≤ 0.05:")
    return [*lines, *(f"    {word}: {n}" for word, n in rates.get("significant", {}).items())]


def _figure(rates: Mapping[str, Any]) -> bytes:
    """Draw the rates with their intervals against the nominal 5%."""
    from io import BytesIO

    from matplotlib.figure import Figure

    named = {n: r for n, r in rates["rates"].items() if r["n"]}
    figure = Figure(figsize=(7, 0.45 * len(named) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for row, (name, rate) in enumerate(named.items()):
        share = rate["k"] / rate["n"]
        axes.errorbar(
            100 * share, row, xerr=[[100 * (share - rate["low"])], [100 * (rate["high"] - share)]],
            fmt="o", color=ORANGE if name.startswith("naive") else BLUE, capsize=3,
        )  # fmt: skip
    axes.axvline(100 * ALPHA, color="0.4", linestyle="--")
    axes.set_yticks(range(len(named)), [name.replace("_", " ") for name in named])
    axes.invert_yaxis()
    axes.set_xlim(0, None)
    axes.set_xlabel(f"worlds called significant (%), {rates['worlds']} {rates['kind']} worlds; dashed: nominal 5%")
    image = BytesIO()
    figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()
