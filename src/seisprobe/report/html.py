"""The page: everything that the template writes, put together from a folder's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from seisprobe.report import ablation, answers, curves, figures, injection, reliability, tables, timed_tables
from seisprobe.report.inputs import Folder, primary_cell
from seisprobe.report.numbers import count_text, hours_text, number_text, p_text

__all__ = ["page"]

TEMPLATE = "template.html.j2"


def page(folder: Folder) -> str:
    """Return the report of a study as one HTML document.

    Parameters
    ----------
    folder : Folder
        From `read_folder`.
    """
    source = resources.files("seisprobe.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["code"] = code
    return environment.from_string(source).render(_context(folder))


def code(said: str) -> Markup:
    """Return text with what stands between backticks as code, everything escaped.

    Examples
    --------
    >>> str(code("against `etas` <now>"))
    'against <code>etas</code> &lt;now&gt;'
    """
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(said))))  # noqa: S704  (escaped just before)


def _context(folder: Folder) -> dict[str, Any]:
    result = folder.result
    return {
        "study": _study(result),
        "version": result.get("seisprobe") or "unknown",
        **_first_screen(folder),
        "known": answers.known_answer(folder),
        "questions": answers.questions(folder),
        "percentile_pictures": figures.percentile_pictures(folder),
        "tables": _tables(result),
        "pictures": _pictures(folder),
        "injections": injection.injection_pictures(folder),
        "ablation": ablation.ablation_section(result),
        "timed_tables": timed_tables.tables_section(result),
        "fits": _fits(result),
        "matched_reasons": tables.matched_reasons(result),
        "notes": list((result.get("catalog") or {}).get("notes") or []),
        "catalog": _catalog(result),
        "windows": {key: _count((result.get("windows") or {}).get(key)) for key in ("positive", "post")},
        "silent": tables.silent_backgrounds(result),
        "study_text": folder.study_text,
        "alpha": f"{folder.study.evaluation.alpha:.0%}",
    }


def _study(result: Mapping[str, Any]) -> dict[str, str]:
    study = result.get("study") or {}
    return {key: str("unknown" if study.get(key) is None else study[key]) for key in ("name", "fingerprint", "seed")}


def _first_screen(folder: Folder) -> dict[str, Any]:
    result = folder.result
    verdict = result.get("verdict") or {}
    cell = primary_cell(result)
    style, sign = answers.word_mark(verdict.get("word"))
    return {
        "word": verdict.get("word") or "NO WORD",
        "word_style": style,
        "word_sign": sign,
        "meaning": answers.meaning(verdict.get("word")),
        "plain_why": answers.plain_why(folder),
        "why": verdict.get("why") or "the result gives no reason",
        "rule": verdict.get("rule"),
        "adds": verdict.get("adds"),
        "stamps": answers.stamps(folder),
        "facts": answers.facts(folder),
        "effect": figures.effect_picture(folder),
        "primary": _primary(cell),
        "k": result.get("k"),
        "k_effective": result.get("k_effective"),
        "headline": result.get("headline"),
    }


def _primary(cell: Mapping[str, Any]) -> str:
    if not cell:
        return "none"
    declared = "named by the study" if cell.get("declared") else "by default"
    length = hours_text(cell["hours"])
    return (
        f"{cell['score']} of {cell['modality']}, {length} {cell['layout']}, against `{cell['background']}` ({declared})"
    )


def _tables(result: Mapping[str, Any]) -> dict[str, Any]:
    make = ("headline_cells", "all_cells", "percentiles", "backgrounds_of_primary", "reasons_of_words", "comparisons",
            "controls", "sensitivity", "placebo", "window_counts", "matched_levels", "dropped", "stations",
            "left_out_columns", "mainshocks", "unlisted")  # fmt: skip
    return {name: getattr(tables, name)(result) for name in make}


def _pictures(folder: Folder) -> dict[str, Any]:
    return {
        "roc": curves.roc_picture(folder),
        "molchan": curves.molchan_picture(folder),
        "nulls": figures.null_picture(folder),
        "placebo": figures.placebo_picture(folder),
        "reliability": reliability.reliability_picture(folder),
        "residuals": curves.residual_picture(folder),
        "timeline": curves.timeline_picture(folder),
        "leads": curves.lead_picture(folder),
    }


def _fits(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"table": tables.etas_parameters(place, fit), "place": place, "notes": fit.get("notes") or [],
         "said": _fit_words(fit)}
        for place, fit in (result.get("etas") or {}).items() if fit
    ]  # fmt: skip


def _fit_words(fit: Mapping[str, Any]) -> str:
    said = [f"{_count(fit.get('n_events'))} target events"]
    ratio, error = fit.get("branching_ratio"), fit.get("branching_se")
    if ratio is not None:
        said.append(f"branching ratio {number_text(ratio)}" + (f" ± {p_text(error)}" if error is not None else ""))
    if fit.get("ks_p") is not None:
        verdict = "the residuals fail" if fit["ks_p"] < 0.01 else "the residuals hold"
        said.append(f"Kolmogorov–Smirnov p = {p_text(fit['ks_p'])}: {verdict}")
    if fit.get("left_out_events") is not None:
        hours = f" in {number_text(fit['left_out_hours'])} h" if fit.get("left_out_hours") is not None else ""
        said.append(f"{_count(fit['left_out_events'])} events{hours} after large ones are no targets")
    return "; ".join(said) + "."


def _count(value: Any) -> str:
    return count_text(value) if isinstance(value, int | float) else "unknown"


def _catalog(result: Mapping[str, Any]) -> dict[str, str]:
    catalog = result.get("catalog") or {}
    return {
        "source": str(catalog.get("source") or "none"),
        "n_events": _count(catalog.get("n_events")),
        "sha256": str(catalog.get("sha256") or "none"),
    }
