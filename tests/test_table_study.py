"""Studies of a timed table alone: judged, never called more than they are, and said in one line when they cannot be."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from scipy.stats import binomtest

from seisprobe.calibration import binomial_interval
from seisprobe.errors import StudyError
from seisprobe.evaluation.power import critical_auc, detectable_auc
from seisprobe.planning import check
from seisprobe.study import Study, load_study
from support.herd_worlds import herd_study, judge_herd
from support.studies import call

STRONG, MANY = 3.0, 2000


def test_a_herd_that_answers_is_seen_and_the_word_stays_capped(tmp_path: Path) -> None:
    found = judge_herd(tmp_path, 3, response=STRONG)
    cell = found.primary_cell
    assert cell.key[:4] == ("table:herd", "novelty", 12.0, "uniform")
    assert cell.p_pseudo is not None
    assert cell.p_pseudo <= 0.05
    verdict = found.verdicts[found.primary]
    assert verdict.word == "INCONCLUSIVE"
    assert verdict.why.startswith("clustering not controlled: the study has no catalog (p = ")


def test_a_herd_that_does_not_answer_is_called_significant_no_more_than_it_should(tmp_path: Path) -> None:
    p = [judge_herd(tmp_path, seed).primary_cell.p_pseudo for seed in range(40)]
    hits = sum(x is not None and x <= 0.05 for x in p)
    assert binomtest(hits, len(p), 0.05, "greater").pvalue > 0.001


@pytest.mark.slow
def test_false_alarms_of_two_thousand_herds_are_bounded(tmp_path: Path) -> None:
    p = [judge_herd(tmp_path, seed).primary_cell.p_pseudo for seed in range(MANY)]
    hits = sum(x is not None and x <= 0.05 for x in p)
    assert binomial_interval(hits, MANY)[1] <= 0.07


@pytest.mark.slow
def test_a_known_response_is_found_as_often_as_its_auc_foretells(tmp_path: Path) -> None:
    """The power foretold: that of six binormal mainshocks whose AUC is the mean of the worlds'."""
    cells = [judge_herd(tmp_path, seed, response=1.0).primary_cell for seed in range(200)]
    found = np.mean([c.p_pseudo is not None and c.p_pseudo <= 0.05 for c in cells])
    auc = float(np.mean([c.auc for c in cells]))
    foretold = 0.8 if auc >= detectable_auc((1,) * 6, critical_auc((1,) * 6, 0.05)) else 0.0
    assert found >= foretold - 0.06


def test_mainshocks_at_feeding_time_are_the_clocks_doing(tmp_path: Path) -> None:
    """All mainshocks come after the evening meal: what the herd does then, the clock does as well."""
    found = [judge_herd(tmp_path, seed, at_hour=18.0, feeding=6.0, feeding_h=(16.0, 17.0)) for seed in range(12)]
    p = [f.primary_cell.p_pseudo for f in found]
    significant = [f for f, x in zip(found, p, strict=True) if x is not None and x <= 0.05]
    clocks = [f.controls[f.primary]["clock"].p_pseudo for f in found]
    assert len(significant) >= 3
    assert sum(x is not None and x <= 0.05 for x in clocks) >= 10
    assert sum(f.verdicts[f.primary].word == "CONFOUNDED" for f in significant) >= 0.6 * len(significant)


def written(study: Study, folder: Path, **more: Any) -> None:
    """Write a study into a folder as study.toml, some sections changed."""
    raw = json.loads(study.model_dump_json(exclude_none=True, exclude_defaults=True)) | more
    (folder / "study.toml").write_text(tomli_w.dumps(raw))


def test_background_windows_hours_apart_are_refused_beside_a_table(tmp_path: Path) -> None:
    study = herd_study(tmp_path, 1)
    check(study)
    apart = study.model_copy(update={"windows": study.windows.model_copy(update={"step_h": 1.5})})
    with pytest.raises(StudyError, match=r"step_h = 1\.5: 'table:herd' may follow the time of day"):
        check(apart)


def test_a_study_of_a_table_alone_runs_to_its_report_and_does_nothing_twice(tmp_path: Path) -> None:
    study = herd_study(tmp_path, 1, response=STRONG)
    written(study, tmp_path)
    done = call("run", "study.toml", "--out", "s", "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "clustering not controlled" in done.stdout
    result = json.loads((tmp_path / "s" / "result.json").read_text())
    assert result["catalog"]["n_events"] == 0
    assert {c["why_null"]["auc"] for c in result["cells"] if c["background"] == "etas"} == {"the study has no catalog"}
    (seen,) = result["tables"]
    assert seen["covered"] == [m.name for m in study.mainshock]
    assert seen["windows"]["positive"] == 6
    page = (tmp_path / "s" / "report.html").read_text()
    assert re.search(r"covers the 12\sh before 6 of 6 mainshocks\.", page)
    before = (tmp_path / "s" / "result.json").stat().st_mtime_ns
    assert call("run", "study.toml", "--out", "s", "-q", folder=tmp_path).returncode == 0
    assert (tmp_path / "s" / "result.json").stat().st_mtime_ns == before
    _halve(Path(study.table[0].path), study.mainshock[3].time)
    assert call("run", "study.toml", "--out", "s", "-q", folder=tmp_path).returncode == 0
    again = json.loads((tmp_path / "s" / "result.json").read_text())
    assert again["tables"][0]["uncovered"] == ["M1", "M2", "M3"]
    assert again["tables"][0]["stamp"] != seen["stamp"]
    assert next(c for c in again["cells"] if c["primary"])["k_used"] < 4


def _halve(path: Path, time: datetime) -> None:
    """Leave out of a table what came more than a day before a time."""
    table = pd.read_csv(path)
    table[pd.to_datetime(table["datetime"], utc=True) > time - timedelta(days=1)].to_csv(path, index=False)


def test_plan_says_first_how_many_mainshocks_a_table_covers(tmp_path: Path) -> None:
    study = herd_study(tmp_path, 1)
    _halve(Path(study.table[0].path), study.mainshock[5].time)
    written(study, tmp_path)
    done = call("plan", "study.toml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of the 12 h before 6 mainshock(s) it covers 1 (M6)" in done.stdout
    assert "  K = 1: nothing can be said of the hours before so few mainshocks; the way out is" in done.stdout
    foretold = json.loads(call("plan", "study.toml", "--json", folder=tmp_path).stdout)
    assert foretold["tables"][0]["uncovered"] == ["M1", "M2", "M3", "M4", "M5"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": ["cow", "horse"]}, "[[table]] herd values: no column 'horse'"),
        ({"zone": "Europe/Roma"}, "did you mean 'Europe/Rome'"),
        ({"history_days": 2}, "history_days = 2: is 0 (no z-score) or 3 to 60 days"),
        ({"path": "nowhere.csv"}, "nowhere.csv: no such file"),
        ({"name": "../herd"}, "names a folder"),
        ({"path": "x" * 300}, "cannot be opened (File name too long)"),
        ({"sampling_s": 1e13}, "sampling_s = 10000000000000.0: input should be less than or equal to 31622400"),
        ({"sampling_s": 1e-7}, "sampling_s = 1e-07: input should be greater than or equal to 0.001"),
        (
            {"layout": "e-obs", "time": "time", "marks": "end"},
            "[[table]] herd marks = 'end': bursts of layout = 'e-obs'",
        ),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    study = herd_study(tmp_path, 1)
    own = json.loads(study.table[0].model_dump_json(exclude_none=True, exclude_defaults=True))
    written(study, tmp_path, table=[own | change])
    done = call("run", "study.toml", "--out", "s", "-q", folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr, done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert not (tmp_path / "s" / "result.json").exists()


def test_an_ablation_is_checked_before_any_work(tmp_path: Path) -> None:
    written(herd_study(tmp_path, 1), tmp_path, ablation={"modalities": ["table:herd", "catalog"]})
    done = call("plan", "study.toml", folder=tmp_path)
    assert done.returncode != 0
    assert "[ablation] modalities names 'catalog'" in done.stderr


@pytest.mark.parametrize(("change", "said"), [({"path": "nowhere.csv"}, "nowhere.csv: no such file"),
                                              ({"values": ["horse"]}, "values: no column 'horse'")])  # fmt: skip
def test_a_table_is_looked_for_before_the_catalog_is_read(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    study = herd_study(tmp_path, 1)
    own = json.loads(study.table[0].model_dump_json(exclude_none=True, exclude_defaults=True))
    written(study, tmp_path, table=[own | change], catalog={"source": "file:nowhere-either.csv"})
    done = call("plan", "study.toml", folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr, done.stderr


@pytest.mark.parametrize("days", [1e9, 1e300, -1.0])
def test_a_gap_between_mainshocks_that_no_record_has_is_refused(tmp_path: Path, days: float) -> None:
    rule = {"min_magnitude": 4.0, "min_gap_days": days}
    written(herd_study(tmp_path, 1), tmp_path, mainshocks={"rule": rule})
    with pytest.raises(StudyError, match=r"rule\.min_gap_days = .*: input should be (less|greater) than or equal to"):
        load_study(tmp_path / "study.toml")
