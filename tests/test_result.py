"""result.json: keys in the order of the contract, strict JSON, a reason beside every null, the same bytes again."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from seisprobe.catalog import Catalog
from seisprobe.evaluation.judgement import evaluate
from seisprobe.planning import compute_features
from seisprobe.result import SCHEMA, result_of
from seisprobe.storage import strict_json
from support.worlds import ar1, modality_of, planned, series_table, study_of, tables_of

TOP = ["schema", "seisprobe", "study", "catalog", "mainshocks", "k", "k_effective", "windows", "cells", "comparisons",
       "controls", "sensitivity", "sanity", "verdict"]  # fmt: skip
CELL = ["modality", "score", "hours", "background", "layout", "declared", "primary", "auc", "percentiles", "k_used",
        "n_background", "n_effective", "train_positives", "ci95", "p_shift", "p_pseudo", "p_etas", "p_adjusted",
        "recall", "precision_at_recall_80", "fpr_at_recall_80", "alarm_fraction", "gain", "n_independent",
        "critical_auc", "critical_auc_bates", "detectable_auc", "detectable_auc_tests", "false_alarms_per_year",
        "information_gain", "stations", "verdict", "why_null"]  # fmt: skip
STUDIES = {
    "three blocks": {"days": (12.0, 31.0, 34.6, 60.0), "record_days": 80},
    "one mainshock": {"days": (20.0,), "record_days": 50},
    "one block": {"days": (20.0, 24.0), "record_days": 60},
    "no room": {"days": (1.25, 3.7), "record_days": 6},
    "no window": {"days": (0.1,), "record_days": 20},
    "too close": {"days": (20.0, 20.1, 40.0), "record_days": 60},
    "too close and early": {"days": (0.1, 0.2, 40.0), "record_days": 60},
    "two layouts": {"days": (12.0, 31.0, 34.6), "record_days": 60, "hours": (2.0, 12.0),
                    "windows": {"layouts": ["until-event", "at-lead"]}},
    "all backgrounds": {"days": (12.0, 31.0, 34.6), "record_days": 60,
                        "evaluation": {"backgrounds": ["quiet", "uniform", "matched", "etas"], "headline": "etas"}},
    "a radius": {"days": (12.0, 31.0), "record_days": 50, "windows": {"radius_km": 40}},
}  # fmt: skip


def made(name: str, stations: bool = False, rate_per_day: float = 2.0):
    study = study_of(**STUDIES[name])
    plan, events = planned(study, rate_per_day=rate_per_day)
    features, modalities = compute_features(study, plan), {}
    if stations:
        series = ar1(24 * int(STUDIES[name]["record_days"]) + 1, 6.0, np.random.default_rng(0), 2)
        table = series_table(plan.windows, series, "IV.ONE")
        features["net"] = table.loc[~table["window_id"].str.startswith("positive-M1")]
        modalities["net"] = modality_of(2)
    evaluation = evaluate(study, tables_of(plan, features, modalities))
    source = {"source": "file:nowhere.csv", "n_events": len(events), "sha256": "0"}
    planned_parts = (plan.mainshocks, plan.windows, plan.backgrounds)
    return result_of(study, source, Catalog(events), planned_parts, {}, evaluation, []), evaluation


@pytest.fixture(scope="module", params=sorted(STUDIES))
def result(request):
    return made(request.param)[0]


def in_order(keys, contract) -> bool:
    return [key for key in keys if key in contract] == list(contract)


def test_keys_are_the_contracts_in_its_order(result):
    assert result["schema"] == SCHEMA == 1
    assert in_order(result, TOP)
    assert in_order(result["study"], ["name", "fingerprint", "seed"])
    assert in_order(result["catalog"], ["source", "n_events", "sha256"])
    assert in_order(result["mainshocks"][0], ["name", "time", "magnitude", "block"])
    assert in_order(result["windows"], ["positive", "post", "background", "dropped"])
    assert in_order(result["sanity"], ["label_shuffle_auc", "label_shuffle_p", "post_event_auc"])
    assert in_order(result["verdict"], ["word", "why", "adds"])
    for cell in result["cells"]:
        assert in_order(cell, CELL)
    for row in result["comparisons"]:
        assert in_order(row, ["a", "b", "score", "hours", "background", "delta_auc", "p", "word"])
    for row in result["controls"]:
        assert in_order(row, ["name", "auc", "p", "passed"])


def test_cells_are_sorted_and_one_is_primary(result):
    keys = [(c["modality"], c["score"], c["hours"], c["background"], c["layout"]) for c in result["cells"]]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert sum(c["primary"] for c in result["cells"]) == 1


def nulls_in(value) -> bool:
    if isinstance(value, dict):
        return any(nulls_in(inner) for inner in value.values())
    if isinstance(value, list):
        return any(nulls_in(inner) for inner in value)
    return value is None


def test_every_null_of_a_cell_has_a_reason_and_nothing_else_has(result):
    for cell in json.loads(strict_json(result))["cells"]:
        empty = {key for key, value in cell.items() if key != "why_null" and nulls_in(value)}
        assert empty == set(cell["why_null"])
        for reason in cell["why_null"].values():
            assert reason.strip()
            assert "\n" not in reason


def test_it_is_strict_json(result):
    text = strict_json(result)
    assert "NaN" not in text
    assert "Infinity" not in text
    again = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert again["verdict"]["word"]
    for cell in again["cells"]:
        for key in ("auc", "p_shift", "p_pseudo", "p_adjusted", "recall", "alarm_fraction", "critical_auc"):
            assert cell[key] is None or 0 <= cell[key] <= 1
        if cell["ci95"]:
            assert cell["ci95"][0] <= cell["auc"] <= cell["ci95"][1]
        for p in ("p_shift", "p_pseudo", "p_adjusted"):
            assert cell[p] is None or cell[p] > 0


def test_the_same_study_gives_the_same_bytes():
    assert strict_json(made("all backgrounds")[0]) == strict_json(made("all backgrounds")[0])


def test_the_studys_word_is_that_of_its_primary_cell(result):
    primary = next(c for c in result["cells"] if c["primary"])
    assert primary["verdict"] == result["verdict"]["word"]
    assert primary["why"] == result["verdict"]["why"]
    assert {c["verdict"] for c in result["cells"] if c["background"] != result["headline"]} <= {None}


def test_where_no_etas_rate_is_the_headline_is_uniform():
    result, _ = made("all backgrounds", rate_per_day=0.4)  # too few events for a fit
    assert result["headline"] == "uniform"
    etas = [c for c in result["cells"] if c["background"] == "etas"]
    assert etas
    assert all(c["auc"] is None and c["why_null"]["auc"] for c in etas)
    assert result["tests"]["uniform"] == sum(
        c["background"] == "uniform" and c["modality"] == "catalog" and c["auc"] is not None
        and not c["score"].startswith("logistic") for c in result["cells"]
    )  # fmt: skip


def test_a_station_that_missed_a_mainshock_is_written_with_its_reason():
    result, _ = made("three blocks", stations=True)
    cell = next(c for c in result["cells"] if c["modality"] == "net" and c["score"] == "x0")
    assert cell["k_used"] == 3
    assert math.isnan(cell["percentiles"]["M1"])
    assert "M1" in cell["why_null"]["percentiles"]
    assert cell["stations"]["IV.ONE"] == pytest.approx(cell["auc"])
    assert json.loads(strict_json(result))["cells"] != []
    assert [(c["a"], c["b"]) for c in result["comparisons"]]
    assert result["verdict"]["adds"] is None  # the primary modality comes before the other in no comparison


def test_too_close_mainshocks_keep_their_row_and_reason():
    result, _ = made("too close")
    assert [(m["block"], m["reason"]) for m in result["mainshocks"]] == [(1, None), (None, "too_close"), (2, None)]
    assert (result["k"], result["k_effective"]) == (2, 2)
