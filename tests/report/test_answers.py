"""What the first screen says: the readers' own questions, the plain reason of a word, the stamps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seisprobe.report import write_report
from seisprobe.report.answers import facts, known_answer, meaning, plain_why, questions, stamps, word_mark
from seisprobe.report.inputs import Folder, read_folder
from support.results import Shape, make_result, write_folder

BARE = Shape(tables=False)
SEVENTY = "would 0.7 mean anything here?"
CHANCE = "indistinguishable from chance?"
BEATS = "Does one modality beat another?"
SHUFFLE = "Do shuffled labels give 0.5?"
AFTER = "after the mainshocks score high?"


def folder_of(path: Path, result: dict[str, Any], shape: Shape = BARE) -> Folder:
    return read_folder(write_folder(path / "s", shape, result))


def primary(**changes: Any) -> dict[str, Any]:
    """Return a result whose primary cell is changed."""
    result = make_result(BARE)
    next(c for c in result["cells"] if c["primary"]).update(changes)
    return result


def sanity(**figures: float) -> dict[str, Any]:
    return {**make_result(BARE), "sanity": figures}


@pytest.mark.parametrize(
    ("result", "question", "answer"),
    [
        (primary(auc=0.91, critical_auc=0.65), SEVENTY, "Yes The primary AUC is 0.910. 0.7 would be significant"),
        (primary(auc=0.55, critical_auc=0.74), SEVENTY, "No The primary AUC is 0.550. 0.7 would mean little"),
        (primary(auc=0.7, critical_auc=None), SEVENTY, "No The primary AUC is 0.700. Whether 0.7 would mean anything"),
        (primary(auc=None), SEVENTY, "No AUC"),
        (primary(auc=0.55, p_pseudo=0.4), CHANCE, "Yes 0.550 lies inside"),
        (primary(auc=0.55, p_pseudo=0.04), CHANCE, "No 0.550 lies inside"),
        (primary(auc=0.93, p_pseudo=0.01), CHANCE, "No 0.930 lies above"),
        (primary(auc=0.31, p_pseudo=0.9), CHANCE, "Chance, though not 0.5 to 0.6 0.310 lies below"),
        (make_result(BARE), BEATS, "Only one modality"),
        (make_result(Shape(modalities=("catalog", "b"))), BEATS, "Yes b over catalog: ADDS (ΔAUC +0.125, p = 0.012)"),
        (sanity(label_shuffle_auc=0.62), SHUFFLE, "NO Mean AUC 0.620, outside"),
        (sanity(label_shuffle_auc=0.55), SHUFFLE, "Yes Mean AUC 0.550, inside"),
        (sanity(post_event_auc=0.8), AFTER, "NO AUC 0.800"),
        (sanity(post_event_auc=0.95), AFTER, "Yes AUC 0.950"),
        (sanity(), AFTER, "Not computed"),
    ],
)
def test_the_readers_questions_are_answered_from_the_numbers(
    tmp_path: Path, result: dict[str, Any], question: str, answer: str
) -> None:
    said = [f"{a.question} {a.short} {a.text}" for a in questions(folder_of(tmp_path, result))]
    assert sum(f"{question} {answer}" in line for line in said) == 1


@pytest.mark.parametrize(
    ("word", "rule", "said"),
    [
        ("DETECTED", 6, "clustering alone does not make it"),
        ("SUGGESTIVE", 6, "clustering alone does not make it"),
        ("CONFOUNDED", 2, "something that is no precursor does as well"),
        ("EXPLAINED BY CLUSTERING", 3, "something that is no precursor does as well"),
        ("EXPLAINED BY CLUSTERING", 7, "as many earthquakes were to be expected"),
        ("NOT DETECTED", 8, "a true AUC of 0.75 would have shown itself"),
        ("INCONCLUSIVE", 9, "can neither be seen nor be ruled out"),
        ("INCONCLUSIVE", 5, "only thanks to one mainshock"),
        ("INCONCLUSIVE", 4, "does not hold clustering fixed"),
    ],
)
def test_every_word_has_a_plain_reason(tmp_path: Path, word: str, rule: int, said: str) -> None:
    shape = Shape(word=word, rule=rule, tables=False)
    assert said in plain_why(folder_of(tmp_path, make_result(shape), shape))


def test_no_two_kinds_of_word_differ_by_colour_alone() -> None:
    from seisprobe.evaluation.verdict import WORDS

    assert all(meaning(word) for word in WORDS)
    styles = {word_mark(word) for word in WORDS}
    assert len({sign for _, sign in styles}) == len(styles) == len({style for style, _ in styles})


def test_a_post_event_check_that_fails_is_the_plain_reason(tmp_path: Path) -> None:
    result = {**sanity(post_event_auc=0.6), "verdict": {"word": "INCONCLUSIVE", "why": "x", "rule": 1}}
    assert "Even the time after the mainshocks" in plain_why(folder_of(tmp_path, result))


def test_a_later_change_of_the_primary_cell_and_the_number_of_analyses_are_told(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "s", BARE)
    times = [m["time"] for m in make_result(BARE)["mainshocks"]]
    other = {"modality": "catalog", "score": "event_rate", "hours": 2.0, "background": "etas", "layout": "until-event"}
    runs = [{"fingerprint": f, "mainshocks": times, "primary": other} for f in ("a", "b", "a")]
    runs.append({"fingerprint": "elsewhere", "mainshocks": ["1999-01-01T00:00:00Z"], "primary": other})
    (path / "runs.jsonl").write_text("\n".join(map(json.dumps, runs)) + "\n{torn", encoding="utf-8")
    folder = read_folder(path)
    assert [fact.value for fact in facts(folder) if fact.label == "Analyses"] == ["2"]
    told = {stamp.label: stamp.text for stamp in stamps(folder)}
    assert told["Primary cell changed after the first run"].startswith("it was catalog · event_rate · 2")


def test_a_primary_cell_that_never_changed_has_no_stamp(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "s", BARE)
    result = make_result(BARE)
    keys = ("modality", "score", "hours", "background", "layout")
    own = {key: next(c for c in result["cells"] if c["primary"])[key] for key in keys}
    run = {"fingerprint": "a", "mainshocks": [m["time"] for m in result["mainshocks"]], "primary": own}
    (path / "runs.jsonl").write_text(json.dumps(run) + "\n", encoding="utf-8")
    assert [stamp.label for stamp in stamps(read_folder(path))] == ["Mainshocks chosen after the fact"]


def test_an_unsafe_split_is_stamped(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {**make_result(BARE), "unsafe_split": "shuffled-5-fold"})
    assert "Unsafe split" in [stamp.label for stamp in stamps(folder)]


def test_of_a_simulated_world_the_truth_stands_beside_the_word(tmp_path: Path) -> None:
    shape = Shape(modalities=("catalog", "seisclip"), word="INCONCLUSIVE")
    folder = write_folder(tmp_path / "study", shape)
    assert "the answer is known" not in write_report(folder).read_text(encoding="utf-8")
    truth = {"answer": "a tremor of 10 dB", "right_words": ["SUGGESTIVE"], "power": {"tried": 200, "detected": 199}}
    for right, said in ((["SUGGESTIVE"], "The word is wrong."), (["INCONCLUSIVE"], "The word is right."), (None, "")):
        (folder / "truth.json").write_text(json.dumps(truth | {"right_words": right}))
        page = write_report(folder).read_text(encoding="utf-8")
        assert "A simulated world: the answer is known" in page
        assert "a tremor of 10 dB" in page
        assert [s for s in ("The word is wrong.", "The word is right.") if s in page] == ([said] if said else [])
        assert "199 were detected" in page
    known = known_answer(read_folder(folder))
    assert known is not None
    assert [row["modality"] for row in known["seen"]] == ["catalog", "seisclip"]
    for damaged in ("{", "[]", '{"answer": 3}'):
        (folder / "truth.json").write_text(damaged)
        assert "the answer is known" not in write_report(folder).read_text(encoding="utf-8")
