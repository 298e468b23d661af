"""Study folders with made results of any shape: many mainshocks or one, gaps anywhere, several modalities, layouts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.storage import strict_json, write_table
from seisprobe.study import Study, resolved_toml, study_fingerprint, study_from_dict

NUMBERS = (
    "p_shift", "p_pseudo", "p_etas", "p_adjusted", "recall", "precision_at_recall_80", "fpr_at_recall_80",
    "alarm_fraction", "gain", "n_independent", "n_background", "n_days", "n_effective", "critical_auc",
    "detectable_auc", "detectable_auc_tests", "false_alarms_per_year", "information_gain",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What a made result looks like; `auc = False` leaves every cell without figures."""

    mainshocks: int = 3
    modalities: Sequence[str] = ("catalog",)
    layouts: Sequence[str] = ("until-event",)
    backgrounds: Sequence[str] = ("uniform", "matched", "etas")
    headline: str = "etas"
    hours: Sequence[float] = (24.0,)
    stations: Sequence[str] = ()
    radius_km: float | None = None
    fits: bool = True
    tables: bool = True
    auc: bool = True
    word: str = "INCONCLUSIVE"
    rule: int = 9
    seed: int = 0


def make_study(shape: Shape) -> Study:
    """Return a study of a shape's mainshocks, a month apart."""
    return study_from_dict({
        "study": {"name": "made-up", "seed": shape.seed, "start": "2014-01-01T00:00:00Z", "end": "2018-01-01T00:00:00Z",
                  "region": {"min_latitude": 41, "max_latitude": 44, "min_longitude": 11, "max_longitude": 15}},
        "catalog": {"source": "file:/somewhere/private/events.csv"},
        "mainshock": [
            {"name": f"Shock {i + 1}", "time": f"{time:%Y-%m-%dT%H:%M:%S}Z", "magnitude": 5.5 + 0.1 * (i % 10)}
            for i, time in enumerate(_times(shape))
        ],
        "windows": {"hours": list(shape.hours), "layouts": list(shape.layouts),
                    **({} if shape.radius_km is None else {"radius_km": shape.radius_km})},
        "evaluation": {"backgrounds": list(shape.backgrounds), "headline": shape.headline},
    })  # fmt: skip


def _times(shape: Shape) -> pd.DatetimeIndex:
    return pd.date_range("2015-02-03T04:05:06Z", periods=shape.mainshocks, freq="29D")


def make_result(shape: Shape) -> dict[str, Any]:
    """Return a result of schema 1."""
    rng = np.random.default_rng(shape.seed)
    study = make_study(shape)
    cells = sorted(_cells(shape, rng), key=lambda c: [str(c[k]) for k in ("modality", "score", "hours", "background")])
    places = [m.name for m in study.mainshock] if shape.radius_km else ["region"]
    return {
        "schema": 1, "seisprobe": "0.1.0",
        "study": {"name": "made-up", "fingerprint": study_fingerprint(study), "seed": shape.seed},
        "catalog": {"source": "file:events.csv", "n_events": 500, "sha256": "ab" * 32,
                    "dropped": {"no_magnitude": 3}, "notes": ["events.csv: 3 row(s) dropped <as> no_magnitude"]},
        "mainshocks": [
            {"name": m.name, "time": f"{m.time:%Y-%m-%dT%H:%M:%S}Z", "magnitude": m.magnitude, "block": i + 1,
             "reason": None}
            for i, m in enumerate(study.mainshock)
        ],
        "mainshock_list": "chosen after the fact",
        "unlisted_large_events": [
            {"time": "2016-05-06T07:08:09Z", "magnitude": 6.1, "latitude": 42.0, "longitude": 13.0}
        ],
        "k": shape.mainshocks, "k_effective": shape.mainshocks,
        "windows": {"positive": 2 * shape.mainshocks, "post": shape.mainshocks,
                    "background": {name: {f"{h:g}": 1234 for h in shape.hours} for name in shape.backgrounds},
                    "dropped": {"zone": 321}, "levels": {}},
        "etas": {place: _fit() for place in places} if shape.fits else {},
        "headline": shape.headline, "tests": dict.fromkeys(shape.backgrounds, 4), "unsafe_split": None,
        "cells": cells, "left_out_columns": [],
        "comparisons": [
            {"a": a, "b": shape.modalities[0], "score": "novelty", "hours": shape.hours[-1],
             "background": shape.headline, "delta_auc": 0.125, "p": 0.012, "word": "ADDS"} for a in shape.modalities[1:]
        ],
        "controls": [{"name": "clock", "auc": 0.4, "p": 0.7, "passed": True},
                     {"name": "post_event", "auc": None, "p": None, "passed": None}],
        "sensitivity": [{"change": "Mc + 0.3", "auc": None, "p": None, "why_null": "no events above Mc"}],
        "placebo": [{"day": day, "auc": 0.5 + 0.01 * day, "meets_zone": abs(day) < 3} for day in range(-10, 11)],
        "sanity": {"label_shuffle_auc": 0.51, "label_shuffle_p": 0.4, "post_event_auc": 0.999},
        "verdict": {"word": shape.word, "why": "as the test <made> it", "adds": None, "rule": shape.rule},
    }  # fmt: skip


def _cells(shape: Shape, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for modality in (*shape.modalities, "completeness"):
        for score in ("novelty",) if modality == "completeness" else ("event_rate", "novelty"):
            for hours in shape.hours:
                for layout in shape.layouts:
                    for background in shape.backgrounds:
                        key = {"modality": modality, "score": score, "hours": hours, "background": background,
                               "layout": layout}  # fmt: skip
                        yield _cell(shape, key, rng)


def _cell(shape: Shape, key: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    names = [f"Shock {i + 1}" for i in range(shape.mainshocks)]
    first = (shape.modalities[0], "novelty", shape.hours[-1], shape.headline, shape.layouts[0])
    primary = (key["modality"], key["score"], key["hours"], key["background"], key["layout"]) == first
    judged = key["background"] == shape.headline and key["modality"] != "completeness"
    base = {**key, "declared": False, "primary": primary, "stations": dict.fromkeys(shape.stations, 0.6)}
    word = {"verdict": shape.word if judged else None, "why": "a reason" if judged else None}
    if not shape.auc or key["background"] == "matched":
        return {**base, "auc": None, "percentiles": dict.fromkeys(names), "k_used": 0, "train_positives": None,
                "ci95": None, "critical_auc_bates": {"k": None, "k_effective": None}, **dict.fromkeys(NUMBERS), **word,
                "why_null": {"auc": "no <windows> of that kind"}}  # fmt: skip
    u = rng.random(shape.mainshocks)
    return {**base, "auc": float(u.mean()), "percentiles": dict(zip(names, u.tolist(), strict=True)),
            "k_used": shape.mainshocks, "train_positives": None,
            "ci95": None if shape.mainshocks == 1 else [0.2, 0.8],
            "critical_auc_bates": {"k": 0.78, "k_effective": 0.85}, **dict.fromkeys(NUMBERS, 0.625), **word,
            "why_null": {"train_positives": "only a classifier is trained", "ci95": "K = 1"}}  # fmt: skip


def _fit() -> dict[str, Any]:
    return {
        "parameters": {"mu_per_day": 0.2, "k": 0.01, "alpha": 1.8, "c_days": 0.01, "p": 1.1},
        "standard_errors_log": {"mu_per_day": 0.1, "k": 0.2}, "n_events": 400, "branching_ratio": 0.8,
        "branching_se": None, "left_out_events": 10, "left_out_hours": 3.0, "ks_p": 0.3, "notes": ["a note"],
    }  # fmt: skip


def write_folder(folder: Path, shape: Shape, result: dict[str, Any] | None = None) -> Path:
    """Write a finished study folder of a shape, with or without its tables; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    study, result = make_study(shape), make_result(shape) if result is None else result
    (folder / "study.toml").write_text(resolved_toml(study), encoding="utf-8")
    (folder / "result.json").write_text(strict_json(result), encoding="utf-8")
    run = {"fingerprint": "f", "mainshocks": [m.get("time") for m in result.get("mainshocks") or []]}
    (folder / "runs.jsonl").write_text(json.dumps(run) + "\n", encoding="utf-8")
    if shape.tables:
        _write_tables(folder, shape, result)
    return folder


def _write_tables(folder: Path, shape: Shape, result: dict[str, Any]) -> None:
    rng = np.random.default_rng(shape.seed + 1)
    days = np.sort(rng.uniform(0, 1460, 500))
    events = {
        "time": pd.Timestamp("2014-01-01", tz="UTC") + pd.to_timedelta(days, "D"),
        "magnitude": 2.5 + rng.exponential(0.4, 500),
    }
    write_table(folder / "catalog.parquet", pd.DataFrame(events), {})
    nulls = [pd.DataFrame({"background": name, "null": "pseudo", "auc": rng.random(200)}) for name in shape.backgrounds]
    write_table(folder / "nulls.parquet", pd.concat(nulls, ignore_index=True), {})
    fits = [
        pd.DataFrame(
            {
                "place": "" if place == "region" else place,
                "transformed": np.sort(rng.uniform(0, 400, 400)),
                "expected": 400.0,
            }
        )
        for place in result.get("etas") or {}
    ]
    if fits:
        write_table(folder / "etas.parquet", pd.concat(fits, ignore_index=True), {})
