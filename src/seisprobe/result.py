"""result.json: an evaluation as plain data, keys in the order of the contract (schema 1).

No clock time, path, host or duration is in it: the same study on the same catalog gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from seisprobe import __version__
from seisprobe.backgrounds import Background
from seisprobe.catalog import Catalog
from seisprobe.etas import EtasFit
from seisprobe.evaluation.cells import Cell
from seisprobe.evaluation.judgement import Evaluation
from seisprobe.evaluation.splits import SAFE
from seisprobe.evaluation.verdict import as_good, post_event_needed
from seisprobe.mainshocks import block_sizes, how_chosen, unlisted_events
from seisprobe.planning import modalities_of
from seisprobe.study import Study, study_fingerprint

__all__ = ["SCHEMA", "result_of"]

SCHEMA = 1
LEAST_CONTROLLED = 0.8  # of the cell's mainshocks
DAY_NIGHT = 0.6  # vectors that cannot tell day from night see little


def result_of(
    study: Study,
    source: Mapping[str, Any],
    catalog: Catalog,
    plan: tuple[pd.DataFrame, pd.DataFrame, Mapping[str, Background]],
    fits: Mapping[str, EtasFit],
    evaluation: Evaluation,
    sensitivity: Sequence[Mapping[str, Any]],
    waveforms: Mapping[str, Any] | None = None,
    tables: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the result of a study.

    Parameters
    ----------
    study : Study
    source : mapping
        ``source`` (without folders), ``n_events``, ``sha256``.
    catalog : Catalog
    plan : (mainshocks, windows, backgrounds by name)
    fits : mapping of place to EtasFit
    evaluation : Evaluation
    sensitivity : sequence of {change, auc, p}
    waveforms : mapping, optional
        What was seen of the waveforms: source, stations, samples, counts.
    tables : sequence of mapping
        What each timed table covers.

    Returns
    -------
    dict
        As JSON can hold it, but for NaN, which become null when it is written.
    """
    mainshocks, windows, backgrounds = plan
    sizes = block_sizes(mainshocks)
    primary = evaluation.primary_cell
    verdict = evaluation.verdicts[evaluation.primary]
    return {
        "schema": SCHEMA,
        "seisprobe": __version__,
        "study": {"name": study.study.name, "fingerprint": study_fingerprint(study), "seed": study.study.seed},
        "catalog": {**source, "dropped": dict(catalog.dropped), "notes": list(catalog.notes)},
        "mainshocks": [_mainshock(m) for m in mainshocks.to_dict("records")],
        "mainshock_list": how_chosen(study),
        "unlisted_large_events": _unlisted(study, mainshocks, catalog),
        "k": sum(sizes),
        "k_effective": len(sizes),
        "windows": _windows(study, windows, backgrounds),
        "waveforms": dict(waveforms) if waveforms is not None else None,
        "tables": list(tables),
        "etas": {place or "region": _fit(fit) for place, fit in fits.items()},
        "headline": evaluation.headline,
        "tests": evaluation.tests,
        "baselines": sorted(name for name, m in modalities_of(study).items() if m.baseline),
        "unsafe_split": None if study.evaluation.split in SAFE else study.evaluation.split,
        "cells": [_cell(study, evaluation, cell) for cell in evaluation.cells],
        "left_out_columns": _left_out(evaluation),
        "comparisons": [asdict(comparison) for comparison in evaluation.comparisons],
        "ablation": None if evaluation.ablation is None else asdict(evaluation.ablation),
        "controls": _controls(study, evaluation, primary),
        "sensitivity": list(sensitivity),
        "placebo": evaluation.placebo.to_dict("records"),
        "sanity": _sanity(evaluation),
        "verdict": {"word": verdict.word, "why": verdict.why, "adds": _adds(evaluation), "rule": verdict.rule},
    }


def _unlisted(study: Study, mainshocks: pd.DataFrame, catalog: Catalog) -> list[dict[str, Any]]:
    events = unlisted_events(study, mainshocks, catalog.events).to_dict("records")
    return [
        {"time": _stamp(e["time"]), **{key: e[key] for key in ("magnitude", "latitude", "longitude")}} for e in events
    ]


def _left_out(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {"modality": modality, "layout": layout, "hours": hours, "columns": list(gone)}
        for (modality, layout, hours), gone in sorted(evaluation.left_out.items())
    ]


def _sanity(evaluation: Evaluation) -> dict[str, float | None]:
    auc, p = evaluation.label_shuffle or (None, None)
    return {"label_shuffle_auc": auc, "label_shuffle_p": p, "post_event_auc": evaluation.post_event_auc}


def _mainshock(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a mainshock; one that is no positive has no block, and a reason."""
    found = {"name": row["name"], "time": _stamp(row["time"]), "magnitude": row["magnitude"]}
    return {**found, "block": row["block"] or None, "reason": row["reason"] or None}


def _stamp(time: pd.Timestamp) -> str:
    text = str(time.strftime("%Y-%m-%dT%H:%M:%S.%f")).rstrip("0").rstrip(".")
    return f"{text}Z"


def _windows(study: Study, windows: pd.DataFrame, backgrounds: Mapping[str, Background]) -> dict[str, Any]:
    dropped = windows.loc[windows["kind"].eq("excluded"), "reason"].value_counts().sort_index()
    hours_of = pd.Series(windows["hours"].to_numpy(), index=windows["window_id"].to_numpy(dtype=object))
    counts: dict[str, Any] = {}
    levels: dict[str, Any] = {}
    for name, background in backgrounds.items():
        table = background.weights.assign(hours=hours_of.reindex(background.weights["window_id"]).to_numpy())
        table = table.loc[table["hours"].isin(study.windows.hours)]
        counts[name] = {f"{h:g}": _numbers(rows) for h, rows in table.groupby("hours")}
        for (_, hours, mainshock), level in background.levels.items():
            levels.setdefault(name, {}).setdefault(f"{hours:g}", {})[mainshock] = level
    return {
        "positive": int(windows["kind"].eq("positive").sum()),
        "post": int(windows["kind"].eq("post").sum()),
        "background": counts,
        "dropped": {str(reason): int(n) for reason, n in dropped.items()},
        "levels": levels,
    }


def _numbers(rows: pd.DataFrame) -> Any:
    """Return how many windows, or how many for each mainshock where each has a set of its own."""
    by = rows.groupby("mainshock").size()
    return int(by.sum()) if list(by.index) == [""] else {str(name): int(n) for name, n in by.items()}


def _fit(fit: EtasFit) -> dict[str, Any]:
    p = fit.parameters
    names = {"mu_per_day": p.mu_per_day, "k": p.k, "alpha": p.alpha, "c_days": p.c_days, "p": p.p}
    return {
        "parameters": names,
        "standard_errors_log": dict(fit.standard_errors),
        "n_events": fit.n_events,
        "branching_ratio": fit.branching_ratio,
        "branching_se": fit.branching_se,
        "left_out_events": fit.left_out_events,
        "left_out_hours": fit.left_out_hours,
        "ks_p": fit.residuals.ks_p,
        "notes": list(fit.notes),
    }


def _cell(study: Study, evaluation: Evaluation, cell: Cell) -> dict[str, Any]:
    primary = cell.key == evaluation.primary
    tests = 1 if primary else max(1, evaluation.tests.get(cell.background, 1))
    alpha = study.evaluation.alpha
    verdict = evaluation.verdicts.get(cell.key)
    alarm = cell.alarm
    p_adjusted = evaluation.p_adjusted.get(cell.key)
    made = {
        "modality": cell.modality,
        "score": cell.score,
        "hours": cell.hours,
        "background": cell.background,
        "layout": cell.layout,
        "declared": primary and study.evaluation.primary.model_fields_set != set(),
        "primary": primary,
        "auc": cell.auc,
        "percentiles": dict(zip(cell.names, (float(x) for x in cell.u), strict=True)),
        "k_used": int(cell.used.sum()),
        "n_background": cell.n_background,
        "n_days": cell.n_days,
        "n_effective": cell.n_effective,
        "train_positives": cell.train_positives,
        "ci95": list(cell.interval) if cell.interval else None,
        "p_shift": cell.p_shift,
        "p_pseudo": cell.p_pseudo,
        "p_etas": cell.p_etas,
        "p_adjusted": p_adjusted,
        "recall": alarm.recall if alarm else None,
        "precision_at_recall_80": alarm.precision if alarm else None,
        "fpr_at_recall_80": alarm.false_positive_rate if alarm else None,
        "alarm_fraction": alarm.alarm_fraction if alarm else None,
        "gain": alarm.gain if alarm else None,
        "n_independent": cell.n_independent,
        "critical_auc": cell.critical(alpha),
        "critical_auc_bates": cell.bates(alpha),
        "detectable_auc": cell.detectable(alpha),
        "detectable_auc_tests": cell.detectable(alpha / tests),
        "false_alarms_per_year": alarm.false_alarms_per_year if alarm else None,
        "information_gain": cell.information_gain,
        "reliability": dict(cell.reliability) if cell.reliability else None,
        "stations": dict(cell.stations),
        "verdict": verdict.word if verdict else None,
        "why": verdict.why if verdict else None,
    }
    made["why_null"] = _why_null(made, cell, evaluation)
    return made


def _why_null(made: Mapping[str, Any], cell: Cell, evaluation: Evaluation) -> dict[str, str]:
    """Return a reason for every figure of a cell that is null."""
    why = dict(cell.why_null)
    general = why.get("auc")
    reasons = {
        "train_positives": "only a classifier is trained",
        "p_adjusted": "controls and cells without draws are in no family",
        "p_etas": "made for catalog scores at `etas`",
        "information_gain": "made at `etas`, from three blocks on",
        "reliability": "only a classifier gives probabilities",
        "verdict": f"a word is read at `{evaluation.headline}`, and controls get none",
        "why": f"a word is read at `{evaluation.headline}`, and controls get none",
        "p_shift": "shifted times belong to `uniform`",
    }
    lost = [name for name, ok in zip(cell.names, cell.used, strict=True) if not ok]
    if lost:
        reasons["percentiles"] = f"no percentile of {', '.join(lost)}: no data before it, or in no fold that is tested"
    found = {}
    for key, value in made.items():
        if _holds_null(value):
            own = general if general and key not in ("verdict", "why") else None
            found[key] = why.get(key) or own or reasons.get(key) or "needs an AUC with its own draws"
    if general:
        found["auc"] = general
    return found


def _holds_null(value: Any) -> bool:
    """Return whether a figure, or one inside it, will be null in JSON."""
    if isinstance(value, Mapping):
        return any(_holds_null(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_holds_null(inner) for inner in value)
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _controls(study: Study, evaluation: Evaluation, primary: Cell) -> list[dict[str, Any]]:
    """Return the controls of the primary cell; one passes unless it is as good as the cell and significant.

    One that lacks more than a fifth of the cell's mainshocks neither passes nor fails.
    """
    rows = []
    for name, control in sorted(evaluation.controls[evaluation.primary].items()):
        assert control.auc is not None
        assert control.p_pseudo is not None
        k_used = int(control.used.sum())
        failed = primary.auc is not None and as_good(control.auc, control.p_pseudo, primary.auc, study.evaluation.alpha)
        passed = None if k_used < LEAST_CONTROLLED * int(primary.used.sum()) and not failed else not failed
        rows.append({"name": name, "auc": control.auc, "p": control.p_pseudo, "passed": passed, "k_used": k_used})
    post = evaluation.post_event_auc
    needed = post_event_needed(len({int(b) for b in evaluation.primary_cell.blocks}))
    rows.append({"name": "post_event", "auc": post, "p": None, "passed": None if post is None else post > needed})
    for name, auc in sorted(evaluation.day_night.items()):
        told = None if auc is None else auc > DAY_NIGHT
        rows.append({"name": f"day_night of {name}", "auc": auc, "p": None, "passed": told})
    return rows


def _adds(evaluation: Evaluation) -> str | None:
    """Return what the primary cell's modality adds to each other one, None where there is nothing to compare."""
    _, _, hours, background, _ = evaluation.primary
    said = [
        f"{c.a} over {c.b}: {c.word} (ΔAUC {c.delta_auc:+.2f}" + (f", p = {c.p:.2g})" if c.p is not None else ")")
        for c in evaluation.comparisons
        if c.a == evaluation.primary[0] and c.hours == hours and c.background == background
    ]
    return "; ".join(said) or None
