"""report.html: one file, the same bytes, whatever shape the result has; every gap says why it is one."""

from __future__ import annotations

import base64
import random
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from seisprobe.errors import FolderError, StudyError
from seisprobe.report import write_report
from support.results import Shape, make_result, write_folder

SAMPLE = Shape(hours=(6.0, 24.0))
VOID = {"meta", "img", "br", "link", "input", "hr"}
SHAPES = {
    "three mainshocks": Shape(),
    "one mainshock": Shape(mainshocks=1),
    "thirty mainshocks": Shape(mainshocks=30),
    "stations": Shape(stations=("IV.NRCA", "IV.ARRO")),
    "several modalities": Shape(modalities=("catalog", "seisclip", "catalog+seisclip")),
    "two layouts": Shape(layouts=("until-event", "at-lead")),
    "at-lead alone": Shape(layouts=("at-lead",)),
    "a radius around each mainshock": Shape(radius_km=50.0),
    "no ETAS fit": Shape(backgrounds=("uniform",), headline="uniform", fits=False),
    "no tables": Shape(tables=False),
    "no AUC anywhere": Shape(auc=False, rule=1),
    "one length of an odd number of hours": Shape(hours=(1.5,)),
}


class Page(HTMLParser):
    """A page taken apart: every tag with its attributes, the text, and whether tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


def page_of(folder: Path) -> Page:
    path = folder / "report.html"
    page = Page((path if path.exists() else write_report(folder)).read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_folder(tmp_path_factory.mktemp("sample") / "study", SAMPLE)
    write_report(folder)
    return folder


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_any_shape_of_result_gives_a_whole_page(tmp_path: Path, shape: Shape) -> None:
    page = page_of(write_folder(tmp_path / "s", shape))
    assert shape.word in page.text
    for heading in ("Questions readers ask", "Cells", "Events and windows", "Dropped", "Study"):
        assert heading in page.text
    assert "None" not in page.text
    assert "nan" not in page.text.split()
    for image in page.images():
        assert len(image["alt"] or "") > 40
        assert (image["src"] or "").startswith("data:image/svg+xml;base64,")
        ET.fromstring(base64.b64decode((image["src"] or "").split(",")[1]))


def test_the_same_folder_gives_the_same_bytes_wherever_it_lies(sample: Path, tmp_path: Path) -> None:
    first = (sample / "report.html").read_bytes()
    elsewhere = tmp_path / "another" / "place"
    shutil.copytree(sample, elsewhere)
    (elsewhere / "report.html").unlink()
    assert write_report(elsewhere).read_bytes() == first


def test_nothing_is_taken_from_outside_and_nothing_runs(sample: Path) -> None:
    page = page_of(sample)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert (value or "").startswith("data:")
    assert "url(" not in (sample / "report.html").read_text(encoding="utf-8")


def test_no_folder_of_the_machine_is_in_the_page(sample: Path) -> None:
    text = (sample / "report.html").read_text(encoding="utf-8")
    assert "/somewhere/private" not in text
    assert str(sample.parent) not in text
    assert "file:events.csv" in text


def test_what_a_result_says_is_text_and_never_markup(sample: Path) -> None:
    text = (sample / "report.html").read_text(encoding="utf-8")
    assert "no &lt;windows&gt; of that kind" in text
    assert "<windows>" not in text
    assert "as the test &lt;made&gt; it" in text


def test_the_first_screen_holds_word_effect_and_what_chance_reaches(sample: Path) -> None:
    primary = next(c for c in make_result(SAMPLE)["cells"] if c["primary"])
    said = page_of(sample).text.split("Questions readers ask")[0]
    for figure in (f"{primary['auc']:.3f}", "0.20–0.80", "0.625", "0.780 (K = 3)", "0.850 (K_eff = 3)", "0.62"):
        assert figure in said
    assert "Mainshocks chosen after the fact" in said
    assert "62.5% of all time spent in alarm" in said


def test_every_figure_of_every_cell_is_in_the_tables(sample: Path) -> None:
    text = page_of(sample).text
    for cell in make_result(SAMPLE)["cells"]:
        for value in (cell["auc"], *cell["percentiles"].values()):
            assert value is None or f"{value:.3f}" in text


def test_with_thirty_mainshocks_every_percentile_is_still_there(tmp_path: Path) -> None:
    shape = Shape(mainshocks=30)
    text = page_of(write_folder(tmp_path / "s", shape)).text
    for cell in make_result(shape)["cells"]:
        assert all(u is None or f"{u:.3f}" in text for u in cell["percentiles"].values())


def test_a_gap_says_why_on_hover_and_in_the_notes(sample: Path) -> None:
    page = page_of(sample)
    hover = [a.get("title") for tag, a in page.tags if tag == "td" and (a.get("class") or "").startswith("x")]
    assert hover
    assert all(hover)
    assert "no <windows> of that kind" in hover
    for why in set(hover):
        assert str(why).replace("`", "") in page.text


def test_why_matched_fails_is_said_beside_the_windows(sample: Path) -> None:
    said = page_of(sample).text.split("Background windows by length")[1]
    assert "No AUC at matched : no <windows> of that kind (6 h, 24 h)" in said


KEPT = frozenset(
    ("modality", "score", "hours", "background", "layout", "name", "time", "magnitude", "change", "day", "a", "b")
)  # what names a row; everything else may be null


def with_holes(value: Any, rng: random.Random, share: float) -> Any:
    """Return a result with a share of its leaves and branches replaced by null."""
    if isinstance(value, dict):
        return {
            k: None if k not in KEPT and rng.random() < share else with_holes(v, rng, share) for k, v in value.items()
        }
    return [with_holes(v, rng, share) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(6))
def test_nulls_anywhere_in_a_result_break_nothing(tmp_path: Path, seed: int) -> None:
    shape = Shape(modalities=("catalog", "seisclip"), backgrounds=("uniform", "etas"), seed=seed)
    result = with_holes(make_result(shape), random.Random(seed), (0.02, 0.1, 0.3)[seed % 3])
    assert "None" not in page_of(write_folder(tmp_path / "s", shape, result)).text


def test_a_folder_without_a_readable_result_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "s", Shape(tables=False))
    (folder / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(FolderError, match=r"result\.json: cannot be read"):
        write_report(folder)
    (folder / "result.json").unlink()
    with pytest.raises(FolderError, match="run the study to its end"):
        write_report(folder)
    with pytest.raises(StudyError, match="no such study file"):
        write_report(tmp_path / "nowhere")
    assert not (folder / "report.html").exists()
