"""The first screen in words: what the verdict means, whether the AUC means anything, and the readers' own questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seisprobe.evaluation.verdict import post_event_needed
from seisprobe.report.inputs import Cell, Folder, control_modalities, part, primary_cell, sibling, used_numbers
from seisprobe.report.numbers import (
    auc_text,
    finite,
    hours_text,
    interval_text,
    number_text,
    p_text,
    share_text,
    signed_text,
)

__all__ = ["Answer", "Fact", "Stamp", "facts", "meaning", "plain_why", "questions", "stamps", "word_mark"]

INTERESTING = 0.7
CHANCE_BAND = (0.45, 0.55)
WORDS = {
    "DETECTED": ("found", "●", "The windows before the mainshocks differ from the background beyond clustering."),
    "SUGGESTIVE": ("hint", "◐", "They differ beyond clustering, on too few independent blocks to call it a finding."),
    "CONFOUNDED": ("other", "⊘", "They differ, but a control that is no precursor does as well."),
    "EXPLAINED BY CLUSTERING": ("other", "⊘", "They differ no more than ordinary earthquake clustering makes them."),
    "NOT DETECTED": ("none", "○", "They do not differ, and an effect of the size of interest would have been found."),
    "INCONCLUSIVE": ("open", "?", "These data cannot decide whether the windows before the mainshocks differ."),
}


@dataclass(frozen=True)
class Answer:
    """A question, its short answer, and the numbers behind it; `tone` is good, bad or open."""

    question: str
    short: str
    text: str
    tone: str = "open"


@dataclass(frozen=True)
class Fact:
    """One line beside the word: what, the value, and what it is to be held against."""

    label: str
    value: str
    hint: str = ""


@dataclass(frozen=True)
class Stamp:
    """A warning that belongs to the whole study."""

    label: str
    text: str


def word_mark(word: str | None) -> tuple[str, str]:
    """Return the style and the sign of a word, so that colour alone never carries it."""
    style, sign, _ = WORDS.get(word or "", ("open", "?", ""))
    return style, sign


def meaning(word: str | None) -> str:
    """Return what a word says about the windows before the mainshocks."""
    return WORDS.get(word or "", ("", "", "The result carries no word."))[2]


def _p(cell: Cell) -> str:
    return f"p = {p_text(cell['p_pseudo'])}" if finite(cell.get("p_pseudo")) else "no p"


# --- why --------------------------------------------------------------------------------------------------------------


def plain_why(folder: Folder) -> str:
    """Return why the word is what it is, in words that need no protocol beside them."""
    result = folder.result
    cell = primary_cell(result)
    rule = part(result, "verdict", "rule")
    writer = _REASONS.get(rule) if isinstance(rule, int) else None
    if writer is None or not (finite(cell.get("auc")) or rule == 1):
        return ""
    return writer(folder, cell)


def _no_auc(folder: Folder, _: Cell) -> str:
    post = part(folder.result, "sanity", "post_event_auc")
    if finite(post) and post <= post_event_needed(folder.result["k_effective"]):
        return (
            f"Even the time after the mainshocks, full of aftershocks, scores only {auc_text(post)}: the data or their"
            " reading do not work, so nothing can be said about the hours before."
        )
    return "The primary cell has no AUC that can be tested; its reason stands below."


def _not_alone(_: Folder, cell: Cell) -> str:
    return (
        f"The score stands out from its background ({_p(cell)}), but something that is no precursor does as well, so"
        " it cannot be told apart from that."
    )


def _no_etas(folder: Folder, cell: Cell) -> str:
    return (
        f"The score stands out against `{folder.result.get('headline')}` ({_p(cell)}), but that background does not"
        " hold clustering fixed: earthquakes follow earthquakes, and this may be no more."
    )


def _one_piece(_: Folder, cell: Cell) -> str:
    return f"The score stands out ({_p(cell)}), but only thanks to one mainshock, one block or a few stations."


def _beyond(_: Folder, cell: Cell) -> str:
    return f"The score stands out from times of the same ETAS rate ({_p(cell)}): clustering alone does not make it."


def _clustering(folder: Folder, cell: Cell) -> str:
    uniform = sibling(folder.result, cell, background="uniform")
    seen = f" (AUC {auc_text(uniform['auc'])}, {_p(uniform)})" if finite(uniform.get("auc")) else ""
    return (
        f"Against any time of the record the windows stand out{seen}; against times at which as many earthquakes were"
        f" to be expected they do not (AUC {auc_text(cell['auc'])}, {_p(cell)})."
    )


def _absent(folder: Folder, cell: Cell) -> str:
    effect = folder.study.evaluation.effect_of_interest
    return f"The score looks like chance ({_p(cell)}), and a true AUC of {effect:g} would have shown itself."


def _undecided(folder: Folder, cell: Cell) -> str:
    blocks = used_numbers(folder.result, cell)["k_effective"]
    many = "1 independent block" if blocks == 1 else f"{blocks} independent blocks"
    power = cell.get("detectable_auc_tests")
    reach = f"only an effect as strong as a true AUC of {auc_text(power)} would show" if finite(power) else (
        "it is not known what would show"
    )  # fmt: skip
    return (
        f"The score looks like chance ({_p(cell)}). But with {many} of mainshocks {reach}: a weaker precursor can"
        " neither be seen nor be ruled out here."
    )


_REASONS = {1: _no_auc, 2: _not_alone, 3: _not_alone, 4: _no_etas, 5: _one_piece, 6: _beyond, 7: _clustering,
            8: _absent, 9: _undecided}  # fmt: skip


# --- a world with a known answer --------------------------------------------------------------------------------------


def known_answer(folder: Folder) -> dict[str, Any] | None:
    """Return what is true of a simulated world, and whether the word is right; None for real data."""
    if folder.truth is None:
        return None
    right = [str(word) for word in folder.truth.get("right_words") or ()]
    word = part(folder.result, "verdict", "word")
    said = "" if not right else "The word is right." if word in right else "The word is wrong."
    return {
        "answer": folder.truth["answer"],
        "right": " or ".join(right),
        "said": said,
        "style": "bad" if right and word not in right else "good",
        "power": _known_power(folder.truth.get("power")),
        "encoder": _encoder_words(folder.result),
        "seen": _what_each_saw(folder.result),
    }


def _known_power(power: Any) -> str:
    if not isinstance(power, dict) or not power.get("tried"):
        return ""
    return (
        f"Of {power['tried']} times that a tremor of this size was put before other times of such a world,"
        f" {power['detected']} were detected."
    )


def _encoder_words(result: Mapping[str, Any]) -> str:
    said = {
        "random_encoder": "The embeddings are those of SeisCLIP's network with random weights: it learned nothing.",
        "band_energy": "Band energies stand for embeddings here.",
    }
    return said.get(str(part(result, "waveforms", "encoders", "seisclip", "encoder")), "")


def _what_each_saw(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the primary score, length and background of every modality that the study looks at."""
    primary = primary_cell(result)
    controls = control_modalities(result) - set(result.get("baselines") or ())
    alike = [
        cell for cell in result.get("cells") or ()
        if all(cell.get(key) == primary.get(key) for key in ("score", "hours", "background", "layout"))
        and cell.get("modality") not in controls
    ]  # fmt: skip
    return [
        {
            "modality": str(cell["modality"]),
            "auc": auc_text(cell["auc"]) if finite(cell.get("auc")) else "none",
            "p": _p(cell) if finite(cell.get("p_pseudo")) else "no p",
            "word": str(cell.get("verdict") or "none: a baseline"),
        }
        for cell in alike
    ]


# --- the effect, beside the word --------------------------------------------------------------------------------------


def facts(folder: Folder) -> list[Fact]:
    """Return the effect and what it is held against, for the first screen."""
    cell = primary_cell(folder.result)
    made = [_auc_fact(cell), _p_fact(folder, cell), *_chance_facts(folder, cell), *_alarm_facts(cell)]
    return [*made, _runs_fact(folder)]


def _auc_fact(cell: Cell) -> Fact:
    if not finite(cell.get("auc")):
        return Fact("AUC", "none", str(part(cell, "why_null", "auc") or "the result gives no reason"))
    interval = cell.get("ci95")
    hint = f"95% interval {interval_text(interval)}" if interval and all(map(finite, interval)) else (
        f"no interval: {part(cell, 'why_null', 'ci95') or 'no reason given'}"
    )  # fmt: skip
    return Fact("AUC", auc_text(cell["auc"]), f"{hint}; 0.5 is chance")


def _p_fact(folder: Folder, cell: Cell) -> Fact:
    label = f"p against {folder.result.get('headline')}"
    if not finite(cell.get("p_pseudo")):
        return Fact(label, "none", str(part(cell, "why_null", "p_pseudo") or part(cell, "why_null", "auc") or ""))
    return Fact(label, p_text(cell["p_pseudo"]), "one-sided, pseudo-mainshocks block by block")


def _chance_facts(folder: Folder, cell: Cell) -> list[Fact]:
    alpha = folder.study.evaluation.alpha
    made = []
    if finite(cell.get("critical_auc")):
        made.append(
            Fact("Critical AUC", auc_text(cell["critical_auc"]), f"chance exceeds it in {alpha:.0%} of its own draws")
        )
    bates = [("k", "K"), ("k_effective", "K_eff")]
    many = used_numbers(folder.result, cell)
    values = [(part(cell, "critical_auc_bates", key), f"{name} = {many[key]}") for key, name in bates]
    said = [f"{auc_text(value)} ({name})" for value, name in values if finite(value)]
    if said:
        made.append(
            Fact("Chance by Bates' law", " · ".join(said), "mainshocks apart, or blocks as one; unlimited background")
        )
    if finite(cell.get("detectable_auc")):
        made.append(Fact("Detectable AUC", auc_text(cell["detectable_auc"]), "true AUC found with 80% power"))
    return made


def _alarm_facts(cell: Cell) -> list[Fact]:
    made = []
    if finite(cell.get("false_alarms_per_year")):
        caught = f"with {share_text(cell['recall'])} of the mainshocks caught" if finite(cell.get("recall")) else ""
        made.append(Fact("False alarms", f"{number_text(cell['false_alarms_per_year'])} a year", caught))
    if finite(cell.get("alarm_fraction")):
        made.append(Fact("Alarm fraction", share_text(cell["alarm_fraction"]), "of all time spent in alarm"))
    return made


def _runs_of(folder: Folder) -> list[Mapping[str, Any]]:
    times = [m.get("time") for m in folder.result.get("mainshocks") or []]
    return [run for run in folder.runs if run.get("mainshocks") == times]


def _runs_fact(folder: Folder) -> Fact:
    analyses = {run.get("fingerprint") for run in _runs_of(folder)}
    hint = "of these mainshocks, on record in this folder"
    return Fact("Analyses", str(max(1, len(analyses))), hint)


def stamps(folder: Folder) -> list[Stamp]:
    """Return the warnings that belong to the whole study."""
    result = folder.result
    made = []
    if result.get("mainshock_list") == "chosen after the fact":
        made.append(Stamp("Mainshocks chosen after the fact", "the list was made by hand, knowing what happened"))
    if result.get("unsafe_split"):
        made.append(Stamp("Unsafe split", f"`{result['unsafe_split']}` lets windows of one time train and test"))
    runs = _runs_of(folder)
    primary = {key: primary_cell(result).get(key) for key in ("modality", "score", "hours", "background", "layout")}
    if runs and part(runs[0], "primary") not in (None, primary):
        made.append(Stamp("Primary cell changed after the first run", f"it was {_cell_name(runs[0]['primary'])}"))
    return made


def _cell_name(cell: Cell) -> str:
    hours = cell.get("hours")
    length = hours_text(hours) if finite(hours) else "?"
    return f"{cell.get('modality')} · {cell.get('score')} · {length} · {cell.get('background')}"


# --- the questions ----------------------------------------------------------------------------------------------------


def questions(folder: Folder) -> list[Answer]:
    """Return the questions that readers bring, answered from the numbers of the primary cell."""
    cell = primary_cell(folder.result)
    return [
        _above_seventy(folder, cell), _near_chance(folder, cell), _better_modality(folder, cell),
        _shuffled(folder), _after(folder),
    ]  # fmt: skip


def _above_seventy(folder: Folder, cell: Cell) -> Answer:
    asked = f"Is the AUC above {INTERESTING:g}, and would {INTERESTING:g} mean anything here?"
    if not finite(cell.get("auc")):
        return Answer(asked, "No AUC", str(part(cell, "why_null", "auc") or "The primary cell has none."))
    above = cell["auc"] > INTERESTING
    seen = f"The primary AUC is {auc_text(cell['auc'])}. {_would_mean(folder, cell)}"
    others = [c for c in folder.result["cells"] if c.get("background") == folder.result.get("headline")]
    others = [c for c in others if c.get("verdict") and finite(c.get("auc"))]
    high = sum(c["auc"] > INTERESTING for c in others)
    return Answer(
        asked, "Yes" if above else "No",
        f"{seen} Of the {len(others)} cells with an AUC at `{folder.result.get('headline')}`, {high} lie above it.",
    )  # fmt: skip


def _would_mean(folder: Folder, cell: Cell) -> str:
    critical, detectable = cell.get("critical_auc"), cell.get("detectable_auc")
    if not finite(critical):
        return f"Whether {INTERESTING:g} would mean anything cannot be said: the cell has no null."
    alpha = f"{folder.study.evaluation.alpha:.0%}"
    power = f", and a true AUC must be {auc_text(detectable)} to be found with 80% power" if finite(detectable) else ""
    if critical > INTERESTING:
        return (
            f"{INTERESTING:g} would mean little here: chance alone exceeds {auc_text(critical)} in {alpha} of its"
            f" draws{power}."
        )
    return f"{INTERESTING:g} would be significant here: chance exceeds {auc_text(critical)} in only {alpha}{power}."


def _near_chance(folder: Folder, cell: Cell) -> Answer:
    asked = "Is it 0.5 to 0.6, indistinguishable from chance?"
    if not finite(cell.get("auc")):
        return Answer(asked, "No AUC", "Nothing to compare.")
    value, interval = cell["auc"], cell.get("ci95")
    where = "inside" if 0.5 <= value <= 0.6 else "above" if value > 0.6 else "below"
    p = cell.get("p_pseudo")
    chance = not finite(p) or p > folder.study.evaluation.alpha
    short = "Yes" if where == "inside" and chance else "Chance, though not 0.5 to 0.6" if chance else "No"
    if interval and all(map(finite, interval)):
        held = "holds 0.5" if interval[0] <= 0.5 <= interval[1] else "does not hold 0.5"
        reach = f"its 95% interval, {interval_text(interval)}, {held}"
    else:
        reach = "it has no interval"
    verdict = "it cannot be told from chance" if chance else "chance seldom reaches it"
    return Answer(asked, short, f"{auc_text(value)} lies {where} 0.5 to 0.6; {reach}; {_p(cell)}: {verdict}.")


def _better_modality(folder: Folder, cell: Cell) -> Answer:
    asked = "Does one modality beat another?"
    result = folder.result
    controls = control_modalities(result)
    rows = [
        c for c in result.get("comparisons") or []
        if c.get("hours") == cell.get("hours") and c.get("background") == result.get("headline")
    ]  # fmt: skip
    between = [c for c in rows if c.get("a") not in controls and c.get("b") not in controls]
    against = [c for c in rows if c not in between]
    said = "; ".join(_difference(c) for c in between or against)
    if not between:
        beside = f" Against the controls: {said}." if said else ""
        return Answer(asked, "Only one modality", f"There is nothing to compare it with but controls.{beside}")
    adds = [c for c in between if c.get("word") == "ADDS"]
    short = "Yes" if adds else "Cannot say" if any(c.get("word") != "DOES NOT ADD" for c in between) else "No"
    return Answer(asked, short, f"{said}.")


def _difference(row: Mapping[str, Any]) -> str:
    delta = f"ΔAUC {signed_text(row['delta_auc'])}" if finite(row.get("delta_auc")) else "no ΔAUC"
    p = f", p = {p_text(row['p'])}" if finite(row.get("p")) else ""
    return f"{row.get('a')} over {row.get('b')}: {row.get('word') or 'no word'} ({delta}{p})"


def _shuffled(folder: Folder) -> Answer:
    asked = "Do shuffled labels give 0.5?"
    value = part(folder.result, "sanity", "label_shuffle_auc")
    if not finite(value):
        return Answer(asked, "Not computed", "The primary cell gives no scores to shuffle.")
    good = CHANCE_BAND[0] <= value <= CHANCE_BAND[1]
    p = part(folder.result, "sanity", "label_shuffle_p")
    beside = f"; by this shuffle, which ignores blocks, p would be {p_text(p)}" if finite(p) else ""
    band = f"{CHANCE_BAND[0]:g} to {CHANCE_BAND[1]:g}"
    sense = f"inside {band}, as it must" if good else f"outside {band}: the evaluation itself is biased"
    return Answer(asked, "Yes" if good else "NO", f"Mean AUC {auc_text(value)}, {sense}{beside}.", _tone(good))


def _after(folder: Folder) -> Answer:
    asked = "Do the windows after the mainshocks score high?"
    value = part(folder.result, "sanity", "post_event_auc")
    if not finite(value):
        alone = str(primary_cell(folder.result).get("modality")).startswith("table:")
        why = (
            "A timed table alone is not asked: aftershocks say nothing of whether its clock is right."
            if alone
            else "There are no windows after the mainshocks to score."
        )
        return Answer(asked, "Not computed", why)
    needed = post_event_needed(folder.result["k_effective"])
    good = value > needed
    sense = (
        "the data and the plumbing work. Aftershocks are no discovery."
        if good
        else f"it must pass {auc_text(needed)}; the data do not work, and no word is read from them."
    )
    return Answer(asked, "Yes" if good else "NO", f"AUC {auc_text(value)}: {sense}", _tone(good))


def _tone(good: bool) -> str:
    return "good" if good else "bad"
