"""What a plan says beforehand: power for one test and the family, windows, tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from seisprobe import pipeline
from seisprobe.foretell import foretell, number_of_tests, plan_lines
from seisprobe.study import load_study
from support.studies import World

SHOCKS = (("Alfa", 20.3, 6.0), ("Beta", 60.1, 5.8), ("Gamma", 65.4, 5.2))


def test_a_plan_foretells_the_power_of_k_and_of_its_blocks(tmp_path: Path) -> None:
    path = World(shocks=SHOCKS, windows={"hours": [2, 6, 12, 24]}).write(tmp_path)
    study = load_study(path)
    plan = pipeline.plan(study)
    modalities = pipeline.modalities_of(study)
    foretold = foretell(study, plan, modalities)
    assert (foretold["k"], foretold["k_effective"]) == (3, 2)
    assert foretold["critical_auc"]["k"]["one"] == pytest.approx(0.777, abs=5e-4)  # Bates, K = 3
    assert foretold["detectable_auc"]["k"]["one"] == pytest.approx(0.860, abs=2e-3)
    assert foretold["critical_auc"]["k_effective"]["one"] == pytest.approx(0.851, abs=5e-4)  # blocks of 1 and 2
    for law in ("k", "k_effective"):
        assert foretold["critical_auc"][law]["all"] > foretold["critical_auc"][law]["one"]
        assert foretold["detectable_auc"][law]["all"] > foretold["critical_auc"][law]["all"]
    assert foretold["windows"] == len(plan.windows)
    assert foretold["station_days"] == 0
    lines = plan_lines(study, plan, foretold)
    text = "\n".join(lines)
    for name, _, _ in SHOCKS:
        assert f"  {name}" in text
    assert "chosen after the fact" in text
    assert "background quiet" in text


def test_the_tests_foretold_are_the_tests_of_the_result(tmp_path: Path) -> None:
    path = World(shocks=SHOCKS).write(tmp_path)
    study = load_study(path)
    result = pipeline.run(study, out=tmp_path / "out")
    tests = number_of_tests(study, pipeline.modalities_of(study), result["k_effective"])
    in_family = [c for c in result["cells"] if c["background"] == "uniform" and c["p_adjusted"] is not None]
    assert result["tests"]["uniform"] == len(in_family)
    assert tests >= len(in_family)
    assert tests == sum(c["background"] == "uniform" and c["modality"] == "catalog" and c["score"] != "logistic"
                        and c["score"] != "logistic_forward" for c in result["cells"])  # fmt: skip
