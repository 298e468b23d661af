"""The whole way: cells equal an independent recount, results are the same bytes, nothing is done twice."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from seisprobe import pipeline
from seisprobe.errors import DataFileError, FolderError, StudyError
from seisprobe.evaluation.cells import Cell
from seisprobe.evaluation.judgement import evaluate
from seisprobe.planning import compute_features
from seisprobe.study import load_study, study_from_dict
from support.recount import Recount
from support.shared import ROOT, shared_file
from support.studies import World, result_bytes, result_of, utc

COUNTED = ("event_rate", "max_magnitude")
BOTH = {"backgrounds": ["quiet", "uniform"], "draws": 19, "shifts": 19}
QUICK = World(
    days=60,
    shocks=(("Alfa", 25.3, 6.0), ("Beta", 45.1, 5.8)),
    windows={"hours": [2]},
    evaluation={"backgrounds": ["quiet", "uniform"], "draws": 19, "shifts": 19},
)


def cells_of(study_file: Path) -> list[Cell]:
    study = load_study(study_file)
    pipeline.check(study)
    catalog, _ = pipeline.read_catalog(study, None)
    plan = pipeline.make_plan(study, catalog)
    return evaluate(study, pipeline.tables_of(study, plan, compute_features(study, plan))).cells


def assert_recounted(study_file: Path, catalog: Path) -> dict[tuple[str, float, str, str], Cell]:
    """Compare every countable cell with the recount to 1e-12; return them by (score, hours, background, layout)."""
    recount = Recount(study_file, catalog)
    found = {}
    for cell in cells_of(study_file):
        if cell.modality != "catalog" or cell.score not in COUNTED or cell.background not in ("quiet", "uniform"):
            continue
        expected = recount.cell(cell.score, cell.hours, cell.background, cell.layout)
        where = f"{cell.key} in {study_file}"
        assert cell.auc == pytest.approx(expected.auc, abs=1e-12), where
        assert dict(zip(cell.names, cell.u.tolist(), strict=True)) == pytest.approx(expected.percentiles, abs=1e-12), (
            where
        )
        assert cell.n_background in expected.n_background.values(), where
        found[cell.score, cell.hours, cell.background, cell.layout] = cell
    layouts, lengths = len(recount.layouts), len(recount.lengths)
    assert len(found) == layouts * lengths * 2 * 2  # every score, background, length and layout was there
    return found


# --- the recount -----------------------------------------------------------------------------------------------------


def norcia(folder: Path) -> tuple[Path, Path]:
    """Write the Norcia study on INGV's file, quiet and uniform backgrounds alone; return study and catalog."""
    catalog = shared_file("data/catalogues/ingv_italy_m2.5_2015-2026.txt").resolve()
    raw = tomllib.loads((ROOT / "studies" / "norcia-2016-catalog.toml").read_text())
    raw["catalog"]["source"] = f"file:{catalog}"
    raw["evaluation"] = {**BOTH, "headline": "uniform"}
    study = folder / "study.toml"
    study.write_text(tomli_w.dumps(raw))
    return study, catalog


def test_norcia_cells_equal_a_recount_written_from_the_protocol_alone(tmp_path: Path) -> None:
    study, catalog = norcia(tmp_path)
    cells = assert_recounted(study, catalog)
    rates = [cells["event_rate", hours, "uniform", "until-event"].auc for hours in (2, 6, 12, 24)]
    assert rates == pytest.approx([0.800, 0.770, 0.750, 0.726], abs=0.002)  # published with the protocol
    assert Recount(study, catalog).n_events == 4067
    _, described = pipeline.read_catalog(load_study(study), None)
    assert described["n_events"] == 4067


WORLDS = {
    "both layouts": World(seed=1, windows={"layouts": ["until-event", "at-lead"], "hours": [2, 6]}, evaluation=BOTH),
    "half steps, one too close": World(
        seed=2,
        start=utc("2015-06-07T05:17:23.5"),
        days=60.37,
        shocks=(("A", 20.3, 6.0), ("B", 22.7, 5.5), ("C", 40.0, 5.7)),
        windows={"step_h": 0.5, "hours": [1.5, 10]},
        evaluation=BOTH,
    ),
    "three-hour steps, odd leads": World(
        seed=3,
        start=utc("2015-06-07T22:17:23"),
        days=200,
        shocks=(("A", 50.3, 6.0), ("B", 90.9, 5.5), ("C", 160.0, 5.7)),
        windows={"step_h": 3, "hours": [3, 7, 31], "layouts": ["at-lead"], "lead_window_h": 2.5, "embargo_h": 5},
        evaluation=BOTH,
    ),
    "circles, higher Mc": World(
        seed=4,
        shocks=(("A", 50.3, 6.0), ("B", 90.9, 5.5)),
        windows={"radius_km": 25, "step_h": 0.75, "layouts": ["until-event", "at-lead"]},
        catalog={"mc": 2.7},
        evaluation=BOTH,
    ),
    "before 1970, no gap, no embargo": World(
        seed=5,
        start=utc("1967-12-30T13:00"),
        days=90,
        shocks=(("A", 30.3, 6.0), ("B", 60.1, 5.5)),
        windows={"embargo_h": 0, "gap_s": 0, "hours": [24]},
        evaluation=BOTH,
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_cells_of_seeded_worlds_equal_the_recount(name: str, tmp_path: Path) -> None:
    study = WORLDS[name].write(tmp_path)
    assert_recounted(study, tmp_path / "catalog.txt")
    assert Recount(study, tmp_path / "catalog.txt").n_events > 50


# --- the same bytes --------------------------------------------------------------------------------------------------


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return time of change and bytes of every file but the log."""
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in ("run.log", ".lock")
    }


def test_a_result_has_the_same_bytes_again_elsewhere_and_afresh_and_a_second_run_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = QUICK.write(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    first = tmp_path / "first"
    result = pipeline.run("one/study.toml", out=first)
    assert result == result_of(first)
    before = state_of(first)
    assert {"study.toml", "catalog.parquet", "windows.parquet", "backgrounds.parquet", "features/catalog.parquet",
            "result.json", "report.html", "runs.jsonl"} <= set(before)  # fmt: skip
    assert pipeline.run("one/study.toml", out="first") == result
    assert state_of(first) == before, "a second run wrote something"

    elsewhere = tmp_path / "else where" / "dèep"
    (elsewhere / "data").mkdir(parents=True)
    shutil.copy(tmp_path / "one" / "catalog.txt", elsewhere / "data" / "catalog.txt")
    moved = study.read_text().replace("file:catalog.txt", "file:../data/catalog.txt")
    (elsewhere / "studies").mkdir()
    (elsewhere / "studies" / "other name.toml").write_text(moved)
    monkeypatch.chdir(elsewhere / "data")
    pipeline.run("../studies/other name.toml")
    assert result_bytes(elsewhere / "data" / "small") == result_bytes(first)

    pipeline.run(study, out=first, fresh=True)
    after = state_of(first)
    assert {k: v[1] for k, v in after.items()} == {k: v[1] for k, v in before.items()}
    assert after["windows.parquet"][0] > before["windows.parquet"][0], "--fresh computes again"
    assert after["catalog.parquet"] == before["catalog.parquet"], "--fresh keeps the catalog"
    assert len((first / "runs.jsonl").read_text().splitlines()) == 1


def test_a_result_is_strict_json_of_the_contract_without_clock_path_or_host(tmp_path: Path) -> None:
    pipeline.run(QUICK.write(tmp_path / "s"), out=tmp_path / "out")
    text = (tmp_path / "out" / "result.json").read_text()

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no strict JSON")

    result = json.loads(text, parse_constant=refuse)
    contract = ["schema", "seisprobe", "study", "catalog", "mainshocks", "k", "k_effective", "windows", "cells",
                "comparisons", "controls", "sensitivity", "sanity", "verdict"]  # fmt: skip
    assert [key for key in result if key in contract] == contract
    assert result["schema"] == 1
    keys = ["modality", "score", "hours", "background", "layout", "declared", "primary", "auc", "percentiles", "k_used",
            "n_background", "n_effective", "train_positives", "ci95", "p_shift", "p_pseudo", "p_etas", "p_adjusted",
            "recall", "precision_at_recall_80", "fpr_at_recall_80", "alarm_fraction", "gain", "n_independent",
            "critical_auc", "critical_auc_bates", "detectable_auc", "detectable_auc_tests", "false_alarms_per_year",
            "information_gain", "stations", "verdict", "why_null"]  # fmt: skip
    for cell in result["cells"]:
        assert [key for key in cell if key in keys] == keys
        assert {key for key in cell if cell[key] is None} <= set(cell["why_null"]), cell
    order = [(c["modality"], c["score"], c["hours"], c["background"], c["layout"]) for c in result["cells"]]
    assert order == sorted(order)
    assert sum(c["primary"] for c in result["cells"]) == 1
    for forbidden in (str(tmp_path), os.uname().nodename, str(os.getpid()) + " "):
        assert forbidden not in text
    numbers: list[str] = []
    json.loads(text, parse_float=numbers.append)
    assert len(numbers) > 100
    assert all(float(f"{float(number):.12g}") == float(number) for number in numbers)  # 12 significant digits


def test_a_missing_feature_table_is_made_again_and_the_result_stays(tmp_path: Path) -> None:
    study, out = QUICK.write(tmp_path / "s"), tmp_path / "out"
    pipeline.run(study, out=out)
    before = result_bytes(out)
    for lost in ("features/catalog.parquet", "report.html"):
        (out / lost).unlink()
        pipeline.run(study, out=out)
        assert (out / lost).is_file(), lost
        assert result_bytes(out) == before, lost
    (out / "result.json").write_text('{"half')
    pipeline.run(study, out=out)
    assert result_bytes(out) == before


def test_a_catalog_that_changed_since_is_refused_and_a_plan_reads_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, out = QUICK.write(tmp_path / "s"), tmp_path / "small"
    pipeline.run(study, out=out)
    before = state_of(out)
    file = tmp_path / "s" / "catalog.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(FolderError, match=r"file:catalog.txt, which has changed since"):
        pipeline.run(study, out=out)
    assert state_of(out) == before
    monkeypatch.chdir(tmp_path)  # where ./small is the study's folder
    assert len(pipeline.plan(study).setting.events) > 10
    file.unlink()
    with pytest.raises(DataFileError, match="no such file"):
        pipeline.run(study, out=tmp_path / "another")
    assert not (tmp_path / "another").exists()


def test_a_finished_study_whose_catalog_file_is_gone_runs_from_its_folder(tmp_path: Path) -> None:
    study, out = QUICK.write(tmp_path / "s"), tmp_path / "out"
    result = pipeline.run(study, out=out)
    before = result_bytes(out)
    (tmp_path / "s" / "catalog.txt").unlink()
    assert pipeline.run(study, out=out) == result
    assert pipeline.run(study, out=out, fresh=True) == result
    assert result_bytes(out) == before


# --- studies at the edge ---------------------------------------------------------------------------------------------

EDGES = {
    "one mainshock": replace(QUICK, shocks=(("Alfa", 25.3, 6.0),)),
    "one draw, one shift": replace(QUICK, evaluation={"backgrounds": ["uniform"], "draws": 1, "shifts": 1}),
    "an empty quiet background": replace(QUICK, per_day=20.0),
    "all too close to the first": replace(QUICK, shocks=(("A", 25.3, 6.0), ("B", 25.9, 5.8), ("C", 26.5, 5.8))),
    "a mainshock in the first hours": replace(QUICK, shocks=(("A", 0.01, 6.0), ("B", 25.3, 5.8))),
    "only a mainshock in the first hours": replace(QUICK, shocks=(("A", 0.01, 6.0),)),
    "a mainshock in the last hour": replace(QUICK, shocks=(("A", 25.3, 6.0), ("B", 59.99, 5.8))),
    "circles, one too close, etas": replace(
        QUICK,
        per_day=12.0,
        days=90,
        shocks=(("A", 25.3, 6.0), ("B", 26.2, 5.8), ("C", 60.1, 5.8)),
        windows={"hours": [2], "radius_km": 150},
        evaluation={"backgrounds": ["uniform", "etas"], "headline": "etas", "draws": 19, "shifts": 19},
    ),
    "circles that hold no event": replace(QUICK, windows={"hours": [2], "radius_km": 0.01}),
    "too few events for etas": replace(
        QUICK, per_day=0.1, evaluation={"headline": "etas", "backgrounds": ["uniform", "etas"], "draws": 9}
    ),
    "hardly a candidate": replace(QUICK, windows={"hours": [2], "embargo_h": 14.4 * 24, "step_h": 24}),
    "lead alone": replace(QUICK, windows={"hours": [2], "layouts": ["at-lead"], "lead_window_h": 6}),
    "declared primary": replace(
        QUICK, evaluation={**QUICK.evaluation, "primary": {"score": "b_value", "modality": "catalog", "hours": 2}}
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_a_study_at_the_edge_ends_in_a_result_with_a_reason_for_every_null(name: str, tmp_path: Path) -> None:
    study = EDGES[name].write(tmp_path / "s")
    result = pipeline.run(study, out=tmp_path / "out")
    assert result["verdict"]["word"]
    assert result["k"] >= 1
    for cell in result["cells"]:
        assert {key for key in cell if cell[key] is None} <= set(cell["why_null"])
        assert cell["auc"] is None or 0 <= cell["auc"] <= 1
        assert all(reason for reason in cell["why_null"].values())


def test_an_off_by_an_hour_mainshock_leaves_no_folder_so_that_the_corrected_study_runs(tmp_path: Path) -> None:
    study, out = QUICK.write(tmp_path / "s"), tmp_path / "out"
    shifted = study.read_text().replace("2016-01-26 07:12:00", "2016-01-26 08:12:00")
    wrong = tmp_path / "s" / "wrong.toml"
    wrong.write_text(shifted)
    assert load_study(wrong).mainshock[0].time.hour == 8
    with pytest.raises(StudyError, match=r"Alfa.*the time looks local"):
        pipeline.run(wrong, out=out)
    assert not out.exists()
    assert pipeline.run(study, out=out)["k"] == 2


def test_norcia_at_local_time_is_refused_naming_it_and_the_nearest_event(tmp_path: Path) -> None:
    study, _ = norcia(tmp_path)
    with pytest.raises(StudyError) as refusal:
        pipeline.run(study, out=tmp_path / "out", settings=["mainshock.Norcia.time=2016-10-30T07:40:17Z"])
    message = str(refusal.value)
    assert "[[mainshock]] Norcia" in message
    assert "2016-10-30T07:40:17Z M 6.5" in message
    assert "the nearest of about that magnitude 2016-10-30T06:40:17.32Z M 6.5 (-3600 s): 1 h away" in message
    assert "its nearest event is 2016-10-30T07:" in message
    assert not (tmp_path / "out").exists()


# --- the check before any work ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"catalog": None}, r"\[catalog\] is missing"),
        ({"modality": [{"name": "catalogue"}]}, r"\[\[modality\]\] name = 'catalogue': did you mean 'catalog'"),
        ({"modality": [{"name": "catalog", "x": 1}]}, r"\[\[modality\]\] catalog: unknown key 'x'"),
        ({"evaluation": {"backgrounds": ["uniform", "matchd"], "headline": "uniform"}}, "did you mean 'matched'"),
        ({"evaluation": {"backgrounds": ["quiet"], "headline": "quiet"}}, "headline = 'quiet'"),
        ({"evaluation": {"split": "shuffled-k-fold"}}, "allow_unsafe_split"),
        ({"evaluation": {"primary": {"hours": 24}}}, r"primary.hours = 24 is not among \[windows\] hours = 2, 6"),
        ({"evaluation": {"primary": {"score": "rate"}}}, "primary.score = 'rate'"),
        ({"evaluation": {"primary": {"modality": "completeness"}}}, "primary.modality = 'completeness'"),
    ],
)
def test_a_study_that_names_what_does_not_exist_is_refused_before_any_work(change: dict, expected: str) -> None:
    raw = World().raw() | change
    if change.get("catalog", 1) is None:
        del raw["catalog"]
    with pytest.raises(StudyError, match=expected):
        pipeline.check(study_from_dict(raw))
