"""Every figure of a result as tables: cells, comparisons, controls, sensitivity, fits, windows, what was dropped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from seisprobe.report.inputs import (
    Cell,
    background_names,
    control_modalities,
    mainshock_names,
    part,
    primary_cell,
    shown_modality,
    sibling,
)
from seisprobe.report.numbers import (
    Column,
    Table,
    auc_text,
    count_text,
    finite,
    hours_text,
    interval_text,
    make_table,
    number_text,
    p_text,
    share_text,
    signed_text,
    text,
)

__all__ = [
    "all_cells",
    "backgrounds_of_primary",
    "comparisons",
    "controls",
    "dropped",
    "etas_parameters",
    "headline_cells",
    "left_out_columns",
    "mainshocks",
    "matched_levels",
    "matched_reasons",
    "percentiles",
    "placebo",
    "reasons_of_words",
    "sensitivity",
    "silent_backgrounds",
    "stations",
    "unlisted",
    "window_counts",
]

MOST_PERCENTILE_COLUMNS = 6
NAMED = (
    Column("modality", "modality", text, numeric=False),
    Column("score", "score", text, numeric=False),
    Column("hours", "length", hours_text),
)
SHOWN = (Column("shown", "modality", text, numeric=False), *NAMED[1:])
LAYOUT = Column("layout", "layout", text, numeric=False)
BACKGROUND = Column("background", "background", text, numeric=False)
AUC = Column("auc", "AUC", auc_text, "mean percentile of the mainshocks' windows")
INTERVAL = Column("ci95", "95% interval", interval_text)
P_SHIFT = Column("p_shift", "p_shift", p_text, "all mainshocks shifted together, at uniform")
P_PSEUDO = Column("p_pseudo", "p_pseudo", p_text, "pseudo-mainshocks drawn block by block")
P_ADJUSTED = Column("p_adjusted", "p_adjusted", p_text, "p_pseudo over the whole family of cells (maxT)")
CRITICAL = Column("critical_auc", "critical", auc_text, "95% quantile of the cell's own null")
DETECTABLE = Column("detectable_auc", "detectable", auc_text, "true AUC found with 80% power")
PRECISION = Column(
    "precision_at_recall_80", "precision", share_text, "share of alarm time before a mainshock, at recall 80%"
)
FALSE_ALARMS = Column("false_alarms_per_year", "false alarms a year", number_text, "runs of alarmed windows")
WORD = Column("verdict", "word", text, numeric=False)
MORE = (
    Column("k_used", "K", count_text, "mainshocks with a percentile"),
    Column("n_background", "windows", count_text, "background windows"),
    Column("n_days", "days", count_text, "calendar days of the background"),
    Column("n_effective", "n_eff", number_text, "(ΣW)²/ΣW²"),
    Column("n_independent", "n_ind", number_text, "independent windows by the score's autocorrelation"),
    Column("train_positives", "trained on", count_text, "positives in training"),
)
ALARM = (
    Column("recall", "recall", share_text),
    PRECISION,
    Column("fpr_at_recall_80", "FPR", share_text, "false positive rate at recall 80%"),
    Column("alarm_fraction", "alarm fraction", share_text),
    Column("gain", "gain", number_text, "recall over alarm fraction"),
    FALSE_ALARMS,
    Column("information_gain", "information gain", number_text, "nats a mainshock over etas"),
)
POWER = (
    CRITICAL,
    Column("bates_k", "Bates K", auc_text, "critical AUC of K independent mainshocks"),
    Column("bates_k_effective", "Bates K_eff", auc_text, "the same, blocks taken as one"),
    DETECTABLE,
    Column("detectable_auc_tests", "detectable in all tests", auc_text, "at alpha over the number of tests"),
)
STATIONS = Column("station_list", "stations", text, "AUC by station", numeric=False)
CONTROL_WORDS = {
    "clock": "hour of day and day of week alone",
    "drift": "slow change of instruments and data (±15 days)",
    "completeness": "how complete the catalog is at the time",
    "station_state": "gaps and state of the stations",
    "etas_rate": "the fitted ETAS rate alone",
    "post_event": "plumbing: the time after the mainshocks must stand out",
    "day_night of seisclip": "plumbing: vectors of single minutes tell day from night, above 0.6",
}
DROP_WORDS = {
    "outside_rule": "the rule would take no mainshock then",
    "zone": "window meets the zone around a mainshock",
    "too_close": "mainshock too soon after the one before: no positive",
    "left_out": "mainshock left out",
    "before_start": "window begins before the record",
    "after_end": "window ends after the record",
    "not_an_earthquake": "catalog row is no earthquake",
    "duplicate": "catalog row stands twice",
    "no_magnitude": "catalog row has no magnitude",
    "bad_time": "catalog row has no readable time",
    "out_of_range": "catalog row has an impossible value",
}


def _flats(result: Mapping[str, Any], cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Return cells with their nested figures side by side, and a reason for each that is missing."""
    names = mainshock_names(result)
    return [{**_flat(cell, names), "shown": shown_modality(result, str(cell.get("modality")))} for cell in cells]


def _flat(cell: Cell, names: Sequence[str]) -> dict[str, Any]:
    reasons = dict(cell.get("why_null") or {})
    general = reasons.get("auc")
    flat = dict(cell)
    for name in ("k", "k_effective"):
        flat[f"bates_{name}"] = part(cell, "critical_auc_bates", name)
        reasons.setdefault(f"bates_{name}", general or "no mainshocks to count")
    for name in names:
        flat[f"u:{name}"] = part(cell, "percentiles", name)
        reasons.setdefault(f"u:{name}", general or "no window or no value for this mainshock")
    flat["u:range"] = _range(cell)
    stations = cell.get("stations") or {}
    flat["station_list"] = ", ".join(f"{name} {auc_text(v)}" for name, v in stations.items() if v is not None) or None
    reasons.setdefault("station_list", "the modality has no stations" if not stations else "no station has an AUC")
    interval = cell.get("ci95")
    flat["ci95"] = interval if interval and all(finite(v) for v in interval) else None
    flat["why_null"] = reasons
    return flat


def _range(cell: Cell) -> str | None:
    values = sorted(u for u in (cell.get("percentiles") or {}).values() if finite(u))
    if not values:
        return None
    return f"{auc_text(values[0])} … {auc_text(values[len(values) // 2])} … {auc_text(values[-1])}"


def _percentile_columns(result: Mapping[str, Any]) -> tuple[Column, ...]:
    names = mainshock_names(result)
    if len(names) > MOST_PERCENTILE_COLUMNS:
        return (Column("u:range", "u: lowest … median … highest", text, "percentiles of the mainshocks"),)
    return tuple(Column(f"u:{name}", f"u {name}", auc_text, f"percentile of {name}") for name in names)


def _layout_columns(result: Mapping[str, Any]) -> tuple[Column, ...]:
    return (LAYOUT,) if len({c.get("layout") for c in result.get("cells") or []}) > 1 else ()


def _marker(result: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], str]:
    """Return what tells the class of a cell's row."""
    known = control_modalities(result)
    return lambda r: "primary" if r.get("primary") else "control" if r.get("modality") in known else ""


def _ordered(result: Mapping[str, Any], cells: Iterable[Cell]) -> list[Cell]:
    controls = control_modalities(result)
    return sorted(cells, key=lambda c: (not c.get("primary"), c.get("modality") in controls))


def headline_cells(result: Mapping[str, Any]) -> Table:
    """Return the cells at the headline background, the primary first, controls last."""
    headline = result.get("headline")
    records = []
    own = _ordered(result, (c for c in result.get("cells") or [] if c.get("background") == headline))
    for flat in _flats(result, own):
        uniform = sibling(result, flat, background="uniform")
        flat["p_shift"] = uniform.get("p_shift")
        flat["why_null"]["p_shift"] = part(uniform, "why_null", "p_shift") or "there is no such cell at uniform"
        records.append(flat)
    columns = (*SHOWN, *_layout_columns(result), AUC, INTERVAL, *_percentile_columns(result), P_PSEUDO, P_ADJUSTED,
               Column("p_shift", "p_shift (uniform)", p_text, P_SHIFT.title), CRITICAL, DETECTABLE, PRECISION,
               FALSE_ALARMS, WORD)  # fmt: skip
    family = part(result, "tests", str(headline)) or 0
    caption = f"Cells at the headline background {headline}; p_adjusted over {family} of them"
    return make_table(caption, columns, records, _marker(result))


def all_cells(result: Mapping[str, Any]) -> Table:
    """Return every cell of every background with every figure."""
    order = {name: i for i, name in enumerate(background_names(result))}
    cells = sorted(result.get("cells") or [], key=lambda c: order.get(str(c.get("background")), 99))
    columns = (BACKGROUND, *SHOWN, *_layout_columns(result), AUC, INTERVAL, *_percentile_columns(result), P_PSEUDO,
               P_SHIFT,
               Column("p_etas", "p_etas", p_text, "synthetic catalogs"), P_ADJUSTED, *POWER, *ALARM, *MORE, STATIONS,
               WORD)  # fmt: skip
    return make_table(
        f"All {len(cells)} cells", columns, _flats(result, cells),
        _marker(result),
    )  # fmt: skip


def percentiles(result: Mapping[str, Any]) -> Table | None:
    """Return the percentile of every mainshock in every cell, where they are too many for the table of cells."""
    names = mainshock_names(result)
    if len(names) <= MOST_PERCENTILE_COLUMNS:
        return None
    columns = (BACKGROUND, *SHOWN, *_layout_columns(result), AUC,
               *(Column(f"u:{name}", name, auc_text) for name in names))  # fmt: skip
    cells = _flats(result, result.get("cells") or [])
    return make_table("Percentile of every mainshock in every cell", columns, cells)


def backgrounds_of_primary(result: Mapping[str, Any]) -> Table:
    """Return the primary score and length against each background."""
    cell = primary_cell(result)
    cells = [sibling(result, cell, background=name) for name in background_names(result)] if cell else []
    columns = (
        BACKGROUND,
        AUC,
        INTERVAL,
        *_percentile_columns(result),
        P_PSEUDO,
        P_SHIFT,
        CRITICAL,
        DETECTABLE,
        *MORE[1:5],
    )
    return make_table(
        "The primary score and length against each background", columns, _flats(result, (c for c in cells if c)),
        lambda r: "primary" if r.get("primary") else "",
    )  # fmt: skip


def reasons_of_words(result: Mapping[str, Any]) -> Table:
    """Return why each cell at the headline has its word."""
    cells = [c for c in _ordered(result, result.get("cells") or []) if c.get("verdict")]
    columns = (*NAMED, *_layout_columns(result), WORD, Column("why", "why", text, numeric=False))
    return make_table("Why each word", columns, cells, lambda r: "primary" if r.get("primary") else "")


def comparisons(result: Mapping[str, Any]) -> Table:
    """Return the differences between modalities."""
    columns = (Column("a", "modality", text, numeric=False), Column("b", "over", text, numeric=False), *NAMED[1:],
               BACKGROUND, Column("delta_auc", "ΔAUC", signed_text), Column("p", "p", p_text),
               Column("word", "word", text, numeric=False))  # fmt: skip
    return make_table(
        "What one modality adds to another", columns, _reasoned(result.get("comparisons"), "no AUC of both")
    )


def _reasoned(records: Any, why: str) -> list[dict[str, Any]]:
    """Return records that carry a reason for whatever they lack."""
    return [{**r, "why_null": r.get("why_null") or {"auc": why}} for r in records or []]


def controls(result: Mapping[str, Any]) -> Table:
    """Return the controls of the primary cell."""
    records = [
        {**c, "what": CONTROL_WORDS.get(str(c.get("name"))), "said": _passed(c.get("passed")),
         "why_null": {"auc": "not computed", "what": "a control of this study",
                      "p": "not computed" if c.get("p") is not None else "a check of the data, not a test"}}
        for c in result.get("controls") or []
    ]  # fmt: skip
    columns = (Column("name", "control", text, numeric=False), Column("what", "knows only", text, numeric=False), AUC,
               Column("p", "p", p_text), Column("said", "passed?", text, numeric=False))  # fmt: skip
    return make_table(
        "Controls of the primary cell", columns, records, lambda r: "" if r["passed"] is not False else "failed"
    )


def _passed(value: Any) -> str:
    return {True: "✓ passed", False: "✗ FAILED"}.get(value, "not computed")


def sensitivity(result: Mapping[str, Any]) -> Table:
    """Return the primary cell under other choices, the study's own first."""
    primary = primary_cell(result)
    own = {"change": "the study's own choices", "auc": primary.get("auc"), "p": primary.get("p_pseudo"),
           "primary": True,
           "why_null": primary.get("why_null")}  # fmt: skip
    columns = (Column("change", "changed", text, numeric=False), AUC, Column("p", "p_pseudo", p_text))
    records = [own, *_reasoned(result.get("sensitivity"), "could not be computed")]
    return make_table(
        "The primary cell under other choices", columns, records, lambda r: "primary" if r.get("primary") else ""
    )


def placebo(result: Mapping[str, Any]) -> Table:
    """Return the placebo curve as numbers."""
    records = [
        {
            **p,
            "meets": "meets a zone" if p.get("meets_zone") else "free",
            "why_null": {"auc": "no windows at this shift"},
        }
        for p in result.get("placebo") or []
    ]
    columns = (Column("day", "moved by (days)", lambda v: f"{v:+g}".replace("-", "−")), AUC,
               Column("meets", "zones", text, numeric=False))  # fmt: skip
    return make_table("Placebo curve", columns, records)


# --- fits and windows -------------------------------------------------------------------------------------------------

HELD = "held fixed, or not estimated"
PARAMETERS = (
    ("mu_per_day", "μ", "events a day"), ("k", "K", "days^(p−1)"), ("alpha", "α", "per unit of magnitude (e-based)"),
    ("c_days", "c", "days"), ("p", "p", "none"),
)  # fmt: skip


def _range_95(value: Any, error_of_ln: Any) -> str | None:
    if not finite(value) or not finite(error_of_ln):
        return None
    spread = math.exp(min(700.0, 1.96 * error_of_ln))
    return f"{number_text(value / spread)} to {number_text(value * spread)}"


def etas_parameters(place: str, fit: Mapping[str, Any]) -> Table:
    """Return the parameters of one ETAS fit with standard errors (of their logarithms) and 95% ranges."""
    errors = fit.get("standard_errors_log") or {}
    records = []
    for key, symbol, unit in PARAMETERS:
        value, error = part(fit, "parameters", key), errors.get(key)
        records.append({
            "symbol": symbol, "unit": unit, "value": value, "error": error if finite(error) else None,
            "range": _range_95(value, error),
            "why_null": {"value": "not fitted", "error": HELD, "range": HELD},
        })  # fmt: skip
    columns = (Column("symbol", "parameter", text, numeric=False), Column("unit", "unit", text, numeric=False),
               Column("value", "estimate", number_text),
               Column("error", "standard error of ln", number_text), Column("range", "95% range", text))  # fmt: skip
    return make_table(f"ETAS parameters, {place}", columns, records)


def window_counts(result: Mapping[str, Any]) -> Table:
    """Return how many windows each background has for each length, and for each mainshock where sets differ."""
    counts = part(result, "windows", "background") or {}
    lengths = sorted({h for by in counts.values() for h in by or {}}, key=float)
    records = []
    for name in background_names(result):
        by = counts.get(name) or {}
        sets = sorted({m for n in by.values() if isinstance(n, Mapping) for m in n})
        for mainshock in sets or [""]:
            row = {h: (n.get(mainshock) if isinstance(n, Mapping) else n) for h, n in by.items()}
            records.append({"background": name, "for": mainshock or "all mainshocks", **row,
                            "why_null": {"auc": "no window of this length"}})  # fmt: skip
    columns = (BACKGROUND, Column("for", "for", text, numeric=False),
               *(Column(h, hours_text(float(h)), count_text) for h in lengths))  # fmt: skip
    return make_table("Background windows by length", columns, records)


def matched_levels(result: Mapping[str, Any]) -> Table:
    """Return which conditions each matched set keeps."""
    levels = part(result, "windows", "levels") or {}
    records = [
        {"background": name, "hours": float(hours), "mainshock": mainshock, "level": level}
        for name, by in levels.items() for hours, of in sorted((by or {}).items(), key=lambda item: float(item[0]))
        for mainshock, level in (of or {}).items()
    ]  # fmt: skip
    columns = (BACKGROUND, NAMED[2], Column("mainshock", "mainshock", text, numeric=False),
               Column("level", "conditions held", text, numeric=False))  # fmt: skip
    return make_table("Conditions that the matched sets keep", columns, records)


def matched_reasons(result: Mapping[str, Any]) -> list[str]:
    """Return why there is no AUC at `matched`, each reason once with the lengths that it concerns."""
    return [f"{why} ({hours})" for why, hours in _reasons(result, "matched") if not why.startswith("no value in")]


def silent_backgrounds(result: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each background at which no cell has an AUC."""
    said = []
    for name in background_names(result):
        own = [c for c in result.get("cells") or [] if c.get("background") == name]
        if own and all(c.get("auc") is None for c in own):
            reasons = "; ".join(f"{why} ({hours})" for why, hours in _reasons(result, name))
            said.append(f"No cell has an AUC at `{name}`: {reasons or 'no reason given'}.")
    return said


def _reasons(result: Mapping[str, Any], background: str) -> list[tuple[str, str]]:
    """Return why cells of a background have no AUC: each reason once, with the lengths that it concerns."""
    found: dict[str, set[float]] = {}
    for cell in result.get("cells") or []:
        why = part(cell, "why_null", "auc")
        if cell.get("background") == background and cell.get("auc") is None and why:
            found.setdefault(str(why), set()).add(float(cell["hours"]))
    return [(why, ", ".join(hours_text(h) for h in sorted(hours))) for why, hours in found.items()]


def dropped(result: Mapping[str, Any]) -> Table:
    """Return everything dropped, from the catalog and from the windows, with its reason."""
    records = [
        {"what": what, "reason": reason, "said": DROP_WORDS.get(reason, reason.replace("_", " ")), "n": n}
        for what, counts in (("catalog rows", part(result, "catalog", "dropped")),
                             ("windows", part(result, "windows", "dropped")))
        for reason, n in (counts or {}).items()
    ]  # fmt: skip
    columns = (Column("what", "what", text, numeric=False), Column("reason", "reason", text, numeric=False),
               Column("said", "in words", text, numeric=False), Column("n", "number", count_text))  # fmt: skip
    return make_table("Everything dropped", columns, records)


def stations(result: Mapping[str, Any]) -> Table:
    """Return what every station's record gave."""
    seen = part(result, "waveforms", "stations") or {}
    windows = part(result, "waveforms", "windows")
    records = [
        {
            "station": name, "windows": found.get("windows"), "asked": windows,
            **{key: found.get(key) for key in ("station_days", "segments", "drawn")},
            "lost": ", ".join(f"{reason.replace('_', ' ')} {n}" for reason, n in (found.get("invalid") or {}).items())
            or "none",
        }
        for name, found in seen.items()
    ]  # fmt: skip
    columns = (Column("station", "station", text, numeric=False), Column("windows", "windows", count_text),
               Column("asked", "of", count_text), Column("station_days", "days", count_text),
               Column("segments", "segments looked at", count_text), Column("drawn", "embedded", count_text),
               Column("lost", "not valid", text, numeric=False))  # fmt: skip
    return make_table("Waveforms", columns, records)


def left_out_columns(result: Mapping[str, Any]) -> Table:
    """Return the columns left out of novelty and logistic."""
    records = [{**c, "columns": ", ".join(c.get("columns") or [])} for c in result.get("left_out_columns") or []]
    columns = (NAMED[0], LAYOUT, NAMED[2], Column("columns", "columns left out", text, numeric=False))
    return make_table("Columns left out of novelty and logistic", columns, records)


def mainshocks(result: Mapping[str, Any]) -> Table:
    """Return the mainshocks with their blocks."""
    records = [
        {**m, "why_null": {"block": DROP_WORDS.get(str(m.get("reason")), "no positive"), "auc": "not given"}}
        for m in result.get("mainshocks") or []
    ]
    columns = (Column("name", "mainshock", text, numeric=False),
               Column("time", "origin time (UTC)", text, numeric=False),
               Column("magnitude", "magnitude", lambda v: f"{v:g}"), Column("block", "block", count_text))  # fmt: skip
    return make_table("Mainshocks", columns, records)


def unlisted(result: Mapping[str, Any]) -> Table:
    """Return the events as large as the smallest mainshock that the list does not hold."""
    columns = (Column("time", "time (UTC)", text, numeric=False), Column("magnitude", "magnitude", lambda v: f"{v:g}"),
               Column("latitude", "latitude (°)", lambda v: f"{v:.3f}"),
               Column("longitude", "longitude (°)", lambda v: f"{v:.3f}"))  # fmt: skip
    return make_table(
        "Large events not in the list", columns, _reasoned(result.get("unlisted_large_events"), "not given")
    )
