"""The reliability curve: drawn where a classifier has one, with its figures in words, and nowhere else."""

from __future__ import annotations

import base64
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seisprobe.evaluation.reliability import calibration_of
from seisprobe.report.inputs import read_folder
from seisprobe.report.reliability import chance_of_observed, reliability_picture
from seisprobe.storage import strict_json
from support.results import Shape, write_folder


def made(seed: int = 0, k: int = 40) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    decision, background = rng.normal(0.5, 1, k), rng.normal(-0.5, 1, 900)
    return {
        name: calibration_of(decision, background, np.ones(900), b) for name, b in (("balanced", 0.5), ("record", 0.01))
    }


def shown(tmp_path: Path, change: Any) -> Any:
    """Return the picture of a made folder after a change of its cells."""
    folder = write_folder(tmp_path / "study", Shape())
    result = json.loads((folder / "result.json").read_text())
    change(result["cells"])
    (folder / "result.json").write_text(strict_json(result))
    return reliability_picture(read_folder(folder))


def classifiers(cells: list[dict[str, Any]], **other: Any) -> None:
    primary = next(c for c in cells if c["primary"])
    for seed, score in enumerate(("logistic", "logistic_forward")):
        cells.append({**primary, "primary": False, "score": score, "reliability": made(seed), **other})


def test_curves_of_both_splits_are_drawn_with_their_figures_in_words(tmp_path: Path) -> None:
    found = shown(tmp_path, classifiers)
    brier = made(0)["balanced"]["brier"]
    assert f"catalog logistic: Brier score {brier:.3f} of 0.250 (reliability" in found.alt
    assert "catalog forward: Brier score" in found.alt
    assert "before 40 mainshocks" in found.alt
    assert "at the record's 0.0100" in found.caption
    svg = base64.b64decode(found.uri.partition("base64,")[2])
    assert ET.fromstring(svg).tag.endswith("svg")


@pytest.mark.parametrize("other", [{"background": "uniform"}, {"reliability": None}, {"hours": 2.0}])
def test_nothing_is_drawn_where_no_cell_beside_the_primary_one_has_a_curve(tmp_path: Path, other: Any) -> None:
    assert shown(tmp_path, lambda cells: classifiers(cells, **other)) is None


@pytest.mark.parametrize("key", ["brier", "forecast", "share"])
def test_a_curve_with_a_figure_missing_is_not_drawn(tmp_path: Path, key: str) -> None:
    def change(cells: list[dict[str, Any]]) -> None:
        classifiers(cells)
        for cell in cells:
            if cell.get("reliability"):
                del cell["reliability"]["balanced"][key]

    assert shown(tmp_path, change) is None


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    assert shown(tmp_path / "a", classifiers).uri == shown(tmp_path / "b", classifiers).uri


def test_true_probabilities_lie_inside_the_bars_in_95_of_100() -> None:
    rng = np.random.default_rng(0)
    inside = total = 0
    for _ in range(200):
        decision, background = rng.normal(1, 1, 200) - 0.5, rng.normal(0, 1, 20_000) - 0.5
        even = calibration_of(decision, background, np.ones(20_000), 0.5)
        forecast, observed, share = (np.array(even[key]) for key in ("forecast", "observed", "share"))
        low, high = chance_of_observed(forecast, observed, share, 0.5 / 200)
        expected = share * (1 - observed) * forecast / (1 - forecast) / (0.5 / 200)
        many = expected > 5
        inside += int(np.sum((observed >= low - 1e-12) & (observed <= high + 1e-12) & many))
        total += int(many.sum())
    assert 0.93 <= inside / total <= 0.985  # a whole number of events: a little more than 95%
