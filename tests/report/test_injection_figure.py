"""P(detected) against size: shown where a precursor was put in, and nothing changed where none was."""

from __future__ import annotations

import base64
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from seisprobe.calibration.catalogs import binomial_interval
from seisprobe.report import write_report
from seisprobe.report.injection import injection_pictures
from seisprobe.report.inputs import read_folder
from seisprobe.storage import strict_json
from support.results import Shape, write_folder


def point(size: float, k: int, n: int = 200) -> dict[str, Any]:
    low, high = binomial_interval(k, n)
    return {"size": size, "k": k, "n": n, "rate": k / n, "low": low, "high": high, "mean_auc": 0.5 + k / n / 2}


def entry(folder: Path, kind: str = "tremor", **more: Any) -> dict[str, Any]:
    result = json.loads((folder / "result.json").read_text())
    of = {"study": result["study"]["fingerprint"], "catalog": result["catalog"]["sha256"],
          "seisprobe": result["seisprobe"]}  # fmt: skip
    cell = {"modality": "seisclip", "score": "novelty", "hours": 24.0, "background": "etas", "layout": "until-event"}
    return {
        "kind": kind, "cell": cell, "k": 3, "trials": 200, "draws": 199, "seed": 0, "alpha": 0.05,
        "unit": {"tremor": "dB", "embedding": "sd"}[kind], "band_hz": [2.0, 8.0] if kind == "tremor" else None,
        "of": of,
        "curves": [point(0, 9), point(3, 80), point(6, 199)], "size_50": 3.5, "size_99": None, **more,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "study", Shape())


def written(folder: Path, entries: Any) -> str:
    (folder / "injection.json").write_text(entries if isinstance(entries, str) else strict_json(entries))
    return write_report(folder).read_text(encoding="utf-8")


def test_the_figure_says_what_was_put_in_and_how_much_is_needed(folder: Path) -> None:
    (made,) = injection_pictures(read_folder_with(folder, [entry(folder)]))
    assert "0\N{NO-BREAK SPACE}dB: 4.50% (2.08% to 8.37%)" in made.alt
    assert "6\N{NO-BREAK SPACE}dB: 99.5%" in made.alt
    assert "α = 5%" in made.alt
    assert "200 trials a size" in made.caption
    assert "tremor was put into the waveforms" in made.caption
    assert "Half of them are detected at 3.5\N{NO-BREAK SPACE}dB." in made.caption
    assert "99% of them" not in made.caption  # no size reached it
    assert "With nothing put in, 4.50% are" in made.caption
    svg = base64.b64decode(made.uri.partition("base64,")[2])
    assert ET.fromstring(svg).tag.endswith("svg")


def read_folder_with(folder: Path, entries: Any) -> Any:
    (folder / "injection.json").write_text(strict_json(entries))
    return read_folder(folder)


def test_bars_and_the_line_of_alpha_stand_where_the_numbers_are(folder: Path) -> None:
    from seisprobe.report.injection import _draw, _points

    made = entry(folder)
    figure = _draw(made, _points(made))
    (axis,) = figure.axes
    bars = axis.collections[0].get_segments()
    assert [[b[0][0], b[0][1], b[1][1]] for b in bars] == [[p["size"], p["low"], p["high"]] for p in made["curves"]]
    assert 0.05 in [line.get_ydata()[0] for line in axis.lines if len(set(line.get_ydata())) == 1]
    marks = next(line for line in axis.lines if line.get_marker() == "o")
    assert list(marks.get_ydata()) == [p["rate"] for p in made["curves"]]
    assert "2–8 Hz" in axis.get_xlabel()


def test_a_page_has_one_figure_a_kind_the_same_bytes_every_time(folder: Path) -> None:
    plain = write_report(folder).read_text(encoding="utf-8")
    both = written(folder, [entry(folder, "embedding"), entry(folder)])
    assert both.count("P(detected) against size") == 4  # title and alternative text of two figures
    assert "Could a precursor have been seen?" in both
    assert both.count("<img") == plain.count("<img") + 2
    assert written(folder, [entry(folder, "embedding"), entry(folder)]) == both
    (folder / "injection.json").unlink()
    assert write_report(folder).read_text(encoding="utf-8") == plain
    assert "precursor have been seen" not in plain


def test_what_is_of_another_result_or_no_curve_is_not_shown(folder: Path) -> None:
    plain = write_report(folder).read_text(encoding="utf-8")
    stale = entry(folder)
    stale["of"] = stale["of"] | {"seisprobe": "0.0.1"}
    for entries in ([stale], [], {"kind": "tremor"}, [3], [entry(folder, curves=[])],
                    [entry(folder, curves=[{"size": 0}])]):  # fmt: skip
        assert injection_pictures(read_folder_with(folder, entries)) == []
    assert written(folder, "[3, {}") == plain


def test_a_curve_that_never_or_always_finds_says_so(folder: Path) -> None:
    never = entry(folder, curves=[point(0, 9), point(3, 12)], size_50=None)
    always = entry(folder, curves=[point(3, 180), point(6, 200)], size_50=None)
    page = written(folder, [never])
    assert "No size tried was detected in half of its trials." in page
    page = written(folder, [always])
    assert "Every size tried was detected in half of its trials." in page
    assert "With nothing put in" not in page
    assert "more than α" not in page
    page = written(folder, [entry(folder, curves=[point(0, 30), point(3, 180)])])
    assert "With nothing put in, 15.0% are: false alarms, of which α are expected. That is more than α" in page
