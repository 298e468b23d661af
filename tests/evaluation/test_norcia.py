"""The real catalog: the figures that the protocol gives for the three mainshocks of 2016."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seisprobe.evaluation.judgement import evaluate
from seisprobe.evaluation.nulls import one_sided_p
from seisprobe.pipeline import read_catalog
from seisprobe.planning import compute_features, make_plan, tables_of
from seisprobe.result import result_of
from seisprobe.storage import strict_json
from seisprobe.study import load_study
from support.shared import shared_file

STUDY = Path(__file__).resolve().parents[2] / "studies" / "norcia-2016-catalog.toml"
HOURS = (2.0, 6.0, 12.0, 24.0)


@pytest.fixture(scope="session")
def norcia():
    """Study, catalog, plan and evaluation without an ETAS fit: backgrounds quiet, uniform and matched."""
    path = shared_file("data/catalogues/ingv_italy_m2.5_2015-2026.txt")
    settings = [
        f"catalog.source=file:{path.resolve()}",
        'evaluation.backgrounds=["quiet", "uniform", "matched"]',
        "evaluation.headline=uniform",
    ]
    study = load_study(STUDY, settings)
    catalog, source = read_catalog(study, None)
    plan = make_plan(study, catalog)
    tables = tables_of(study, plan, compute_features(study, plan))
    return study, (catalog, source), plan, evaluate(study, tables)


def cell_of(norcia, score, hours, background="uniform"):
    return next(c for c in norcia[3].cells if c.key[:4] == ("catalog", score, hours, background))


@pytest.mark.parametrize(
    ("hours", "pseudo", "shift"), [(2.0, 0.01, 0.03), (6.0, 0.06, 0.10), (12.0, 0.09, 0.16), (24.0, 0.13, 0.21)]
)
def test_event_rate_against_any_time_has_the_expected_p(norcia, hours, pseudo, shift):
    cell = cell_of(norcia, "event_rate", hours)
    assert cell.p_pseudo == pytest.approx(pseudo, abs=0.03)
    assert one_sided_p(cell.auc, cell.shift_null) == pytest.approx(shift, abs=0.03)
    assert cell.p_shift == max(one_sided_p(cell.auc, cell.shift_null), 1 / (1 + cell.n_independent))
    assert 7.5 <= cell.n_independent <= 23


@pytest.mark.parametrize(("hours", "auc"), [(2.0, 0.874), (6.0, 0.830), (12.0, 0.793), (24.0, 0.716)])
def test_novelty_of_the_catalog_has_the_expected_auc(norcia, hours, auc):
    assert cell_of(norcia, "novelty", hours).auc == pytest.approx(auc, abs=0.01)


def test_event_rate_of_24_h_has_the_critical_values_of_the_protocol(norcia):
    cell = cell_of(norcia, "event_rate", 24.0)
    assert cell.bates(0.05)["k"] == pytest.approx(0.777, abs=0.001)
    assert cell.bates(0.05)["k_effective"] == pytest.approx(0.851, abs=0.001)
    assert cell.critical(0.05) == pytest.approx(0.834, abs=0.01)
    assert np.quantile(cell.shift_null, 0.95) == pytest.approx(0.90, abs=0.02)


def test_the_matched_set_of_visso_fails_and_says_so(norcia):
    for hours in HOURS:
        cell = cell_of(norcia, "event_rate", hours, "matched")
        assert cell.auc is None
        assert cell.p_pseudo is None
        assert cell.why_null["auc"].startswith("Visso: no 50 candidates from 3 different M ≥ 5")
        assert np.isnan(cell.u).tolist() == [False, True, False]


def test_quiet_has_an_auc_and_no_p(norcia):
    cell = cell_of(norcia, "event_rate", 24.0, "quiet")
    assert cell.auc is not None
    assert (cell.p_pseudo, cell.p_shift, cell.null) == (None, None, None)


def test_the_hour_after_each_mainshock_is_above_all_but_a_few(norcia):
    assert norcia[3].post_event_auc == pytest.approx(np.mean([1.000, 0.9997, 1.000]), abs=2e-4)


def test_two_blocks_are_too_few_for_anything_but_inconclusive(norcia):
    words = {verdict.word for verdict in norcia[3].verdicts.values()}
    assert words == {"INCONCLUSIVE"}
    assert norcia[3].verdicts[norcia[3].primary].rule == 9


def test_the_result_of_the_real_study_is_strict_json_with_a_why_beside_every_null(norcia):
    study, (catalog, source), plan, evaluation = norcia
    planned = (plan.mainshocks, plan.windows, plan.backgrounds)
    result = result_of(study, source, catalog, planned, {}, evaluation, [])
    text = strict_json(result)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert result["k"] == 3
    assert result["k_effective"] == 2
    assert result["catalog"]["n_events"] == 4067
    assert result["windows"]["background"]["matched"]["24"].keys() == {"Amatrice", "Norcia"}
