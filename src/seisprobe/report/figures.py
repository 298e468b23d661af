"""Figures of percentiles and nulls: the effect against chance, every score of every background, nulls, placebo."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seisprobe.report.drawing import COLOURS, CRITICAL, GREY, INK, MARKERS, Picture, heading, panels, picture
from seisprobe.report.inputs import (
    Cell,
    Folder,
    background_names,
    control_modalities,
    mainshock_names,
    part,
    primary_cell,
    shown_modality,
    sibling,
    used_numbers,
)
from seisprobe.report.numbers import auc_text, finite, hours_text, p_text

__all__ = ["effect_picture", "null_picture", "percentile_pictures", "placebo_picture"]

MOST_NAMED = 8  # mainshocks told apart by marker; more share one
ROW_IN = 0.19  # height of a score's row, inches
LETTER_IN = 0.062  # width of a letter of its label


def _values(cell: Cell) -> dict[str, float]:
    return {name: u for name, u in (cell.get("percentiles") or {}).items() if finite(u)}


def _handle(marker: str, colour: str, label: str, **style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker, color=colour, label=label, **{"linestyle": "none", "markersize": 5, **style})


def _marker_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return marker and colour of each mainshock; one for all where they are too many to tell apart."""
    if len(names) > MOST_NAMED:
        return dict.fromkeys(names, (MARKERS[0], COLOURS[0]))
    return {name: (MARKERS[i], COLOURS[i]) for i, name in enumerate(names)}


def _mainshock_handles(names: Sequence[str]) -> list[Any]:
    if len(names) > MOST_NAMED:
        return [_handle(MARKERS[0], COLOURS[0], f"each of {len(names)} mainshocks", alpha=0.6)]
    return [_handle(*_marker_of(names)[name], name) for name in names]


def _dots(axis: Any, rows: Sequence[Mapping[str, float]], names: Sequence[str], size: float = 5.0) -> None:
    """Draw percentiles, one row each; where marks are few they are set apart a little, so that equal ones are seen."""
    many = len(names) > MOST_NAMED
    for i, (name, (marker, colour)) in enumerate(_marker_of(names).items()):
        points = [(values[name], y) for y, values in enumerate(rows) if name in values]
        if not points:
            continue
        apart = 0.0 if many else (i - (len(names) - 1) / 2) * min(0.2, 0.6 / len(names))
        axis.plot(
            [u for u, _ in points], [y + apart for _, y in points], marker=marker, color=colour, linestyle="none",
            markersize=3.6 if many else size, zorder=4, alpha=0.55 if many else 0.95, markeredgecolor="white",
            markeredgewidth=0.4, clip_on=False,
        )  # fmt: skip


# --- the effect against chance ----------------------------------------------------------------------------------------


def effect_picture(folder: Folder) -> Picture | None:
    """Return the primary cell against everything that it is to be held against, None where it has no AUC."""
    cell = primary_cell(folder.result)
    if not finite(cell.get("auc")):
        return None
    rows = _chance_rows(folder, cell)
    said = "; ".join(f"{label}: {text}" for label, text, _, _ in rows)
    values = ", ".join(f"{name} {auc_text(u)}" for name, u in _values(cell).items())
    alt = f"Primary cell on a scale from 0 to 1. Percentiles: {values}. AUC {auc_text(cell['auc'])}. {said}."
    caption = (
        "The primary cell. Marks: where each mainshock's window stands among its background windows (0 = least, 1 ="
        " most anomalous). Their mean is the AUC. It means something only to the right of the grey bars; only a true"
        " AUC in the hatched range is found reliably."
    )
    return picture(lambda: _draw_effect(folder.result, cell, rows), alt, caption)


def _chance_rows(folder: Folder, cell: Cell) -> list[tuple[str, str, tuple[float, float], str]]:
    """Return label, text, span and kind of the bars below the AUC."""
    alpha = folder.study.evaluation.alpha
    rows = []
    critical = cell.get("critical_auc")
    if finite(critical):
        own = _null_of(folder, str(cell.get("background")), "pseudo")
        low = float(np.quantile(own, alpha)) if len(own) else 1 - critical
        rows.append((f"Chance, own null ({1 - 2 * alpha:.0%})", f"up to {auc_text(critical)}", (low, critical), "own"))
    for key, many in used_numbers(folder.result, cell).items():
        value = part(cell, "critical_auc_bates", key)
        if finite(value):
            name = "K" if key == "k" else "K_eff"
            rows.append((f"Chance, Bates {name} = {many}", f"up to {auc_text(value)}", (1 - value, value), "bates"))
    if finite(cell.get("detectable_auc")):
        detectable = cell["detectable_auc"]
        rows.append(("Detectable, 80% power", f"from {auc_text(detectable)}", (detectable, 1.0), "power"))
    return rows


def _null_of(folder: Folder, background: str, kind: str) -> np.ndarray:
    table = folder.nulls
    chosen = table.loc[table["background"].eq(background) & table["null"].eq(kind), "auc"]
    return np.asarray(chosen.dropna(), dtype=np.float64)


def _draw_effect(
    result: Mapping[str, Any], cell: Cell, rows: Sequence[tuple[str, str, tuple[float, float], str]]
) -> Any:
    names = mainshock_names(result)
    handles = _mainshock_handles(names)
    widest = max((len(handle.get_label()) for handle in handles), default=0)
    abreast = max(1, min(8, round(10.0 / (LETTER_IN * (widest + 8)))))
    more = 0.2 * (math.ceil(len(handles) / abreast) - 1)
    height = 1.05 + 0.27 * (len(rows) + 2) + more
    figure, (axis,) = panels(10.0, height, (1.95, 1.35, 0.45, 0.3 + more))
    heading(figure, handles, abreast)
    labels = ["Mainshocks", "AUC, 95% interval", *(label for label, _, _, _ in rows)]
    axis.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    _dots(axis, [_values(cell)], names, 7.0)
    _draw_auc(axis, cell)
    for y, (_, text, (low, high), kind) in enumerate(rows, start=2):
        look = {"own": {"color": "#9aa3ad"}, "bates": {"color": "#c9cfd6"},
                "power": {"facecolor": "white", "edgecolor": COLOURS[2], "hatch": "////"}}[kind]  # fmt: skip
        axis.barh([y], [high - low], left=[low], height=0.5, **look)
        axis.text(1.02, y, text, va="center", fontsize=8)
    axis.set(xlim=(0, 1), ylim=(len(labels) - 0.4, -0.6), yticks=range(len(labels)), yticklabels=labels)
    axis.set_xlabel("percentile in the background; AUC (dotted: 0.5, chance)")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    return figure


def _draw_auc(axis: Any, cell: Cell) -> None:
    interval = cell.get("ci95")
    if interval and all(map(finite, interval)):
        axis.plot(interval, [1, 1], color=INK, linewidth=2.2, solid_capstyle="butt")
    axis.plot([cell["auc"]], [1], marker="D", color=INK, markersize=6, markeredgecolor="white", linestyle="none")
    axis.text(1.02, 1, f"AUC {auc_text(cell['auc'])}", va="center", fontsize=8, fontweight="bold")


# --- every score, every length, every background ----------------------------------------------------------------------


def percentile_pictures(folder: Folder) -> list[Picture]:
    """Return one figure for each layout and background, the headline of the primary layout first."""
    result = folder.result
    cells = result.get("cells") or []
    first = str(primary_cell(result).get("layout"))
    layouts = sorted({str(c.get("layout")) for c in cells}, key=lambda name: (name != first, name))
    made = []
    for layout in layouts:
        for background in background_names(result):
            own = [c for c in cells if c.get("layout") == layout and c.get("background") == background]
            if any(finite(c.get("auc")) for c in own):
                made.append(_percentile_picture(folder, own, background, layout if len(layouts) > 1 else ""))
    return made


def _percentile_picture(folder: Folder, cells: Sequence[Cell], background: str, layout: str) -> Picture:
    result = folder.result
    above = [
        c for c in cells if finite(c.get("auc")) and finite(c.get("critical_auc")) and c["auc"] > c["critical_auc"]
    ]
    tested = sum(finite(c.get("critical_auc")) for c in cells)
    title = f"Background {background}" + (f", layout {layout}" if layout else "")
    if background == result.get("headline"):
        title += " (headline)"
    alt = (
        f"Percentile of each mainshock for every score and window length against {title}. {len(above)} of {tested}"
        " cells with a null lie above their critical AUC. The same numbers stand in the table of all cells."
    )
    caption = f"{len(above)} of the {tested} cells with a null lie above their own critical AUC, before any adjustment."
    if not tested:
        caption = "No cell has a null here: these AUCs have no critical value and no p."
    return picture(lambda: _draw_percentiles(folder, cells), alt, caption, title)


def _draw_percentiles(folder: Folder, cells: Sequence[Cell]) -> Any:
    result = folder.result
    rows = _score_rows(result, cells)
    hours = sorted({c["hours"] for c in cells})
    names = mainshock_names(result)
    handles = [*_mainshock_handles(names), _handle("|", INK, "AUC", markersize=9, markeredgewidth=2),
               _handle("|", CRITICAL, f"critical AUC ({folder.study.evaluation.alpha:.0%})", markersize=9)]  # fmt: skip
    legend_rows = -(-len(handles) // 6)
    top = 0.3 + 0.17 * legend_rows
    height = 0.5 + top + ROW_IN * len(rows)
    labels = [f"{shown_modality(result, m)} · {s}" for m, s in rows]
    left = max(2.05, 0.15 + LETTER_IN * max(len(label) for label in labels))
    figure, axes = panels(10.0, height, (left, 0.15, 0.45, top), len(hours), 0.18)
    heading(figure, handles, 6)
    for axis, length in zip(axes, hours, strict=True):
        here = {(c["modality"], c["score"]): c for c in cells if c["hours"] == length}
        _frame(axis, len(rows), hours_text(length))
        _draw_cells(axis, [here.get(row, {}) for row in rows], names)
    for y, label in enumerate(labels):
        axes[0].text(-0.04, y, label, ha="right", va="center", fontsize=7)
    figure.text(0.6, 0.08 / height, "percentile in the background", ha="center", va="bottom", fontsize=8)
    return figure


def _score_rows(result: Mapping[str, Any], cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Return modality and score of each row: the primary first, controls last."""
    primary, controls = primary_cell(result), control_modalities(result)
    first = (primary.get("modality"), primary.get("score"))
    rows = {(str(c["modality"]), str(c["score"])) for c in cells}
    return sorted(rows, key=lambda row: (row != first, row[0] in controls, row))


def _frame(axis: Any, rows: int, title: str) -> None:
    axis.set(xlim=(0, 1), ylim=(rows - 0.5, -0.5), yticks=[])
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.set_title(title, loc="left", pad=4)
    axis.spines["left"].set_visible(False)
    axis.hlines(range(0, rows, 2), 0, 1, color="#f4f6f8", linewidth=72 * ROW_IN, capstyle="butt", zorder=0)
    axis.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)


def _draw_cells(axis: Any, cells: Sequence[Cell], names: Sequence[str]) -> None:
    with_auc = [(y, c) for y, c in enumerate(cells) if finite(c.get("auc"))]
    for y, cell in enumerate(cells):
        if cell.get("primary"):
            axis.axhspan(y - 0.5, y + 0.5, facecolor="#fff3cd", edgecolor=COLOURS[4], linewidth=0.8, zorder=0.5)
        if not finite(cell.get("auc")):
            axis.text(0.53, y, "no AUC", ha="left", va="center", fontsize=6.5, color=GREY)
    _dots(axis, [_values(c) if finite(c.get("auc")) else {} for c in cells], names)
    _bars(axis, [(y, c["auc"]) for y, c in with_auc], INK, 2.0)
    _bars(axis, [(y, c["critical_auc"]) for y, c in with_auc if finite(c.get("critical_auc"))], CRITICAL, 1.1)


def _bars(axis: Any, points: Sequence[tuple[int, float]], colour: str, width: float) -> None:
    if points:
        rows = np.array([y for y, _ in points])
        axis.vlines([x for _, x in points], rows - 0.42, rows + 0.42, color=colour, linewidth=width, zorder=3)


# --- nulls and placebo ------------------------------------------------------------------------------------------------


def null_picture(folder: Folder) -> Picture | None:
    """Return the null AUCs of the primary score in each background, with the observed line."""
    cell = primary_cell(folder.result)
    shown = [name for name in background_names(folder.result) if folder.nulls["background"].eq(name).any()]
    if not shown or not cell:
        return None
    cells = {name: sibling(folder.result, cell, background=name) for name in shown}
    said = "; ".join(_null_words(name, c) for name, c in cells.items())
    alt = f"Histograms of AUC under chance for {cell['modality']} {cell['score']}, {hours_text(cell['hours'])}. {said}."
    caption = (
        "What chance gives for the same score. Filled: pseudo-mainshocks drawn block by block; outline: all mainshocks"
        " shifted together. Dashed: observed. Red: critical AUC, the upper quantile of the first."
    )
    return picture(lambda: _draw_nulls(folder, cells), alt, caption)


def _null_words(name: str, cell: Cell) -> str:
    words = [f"{label} {write(cell[key])}" for key, label, write in (
        ("auc", "observed AUC", auc_text), ("critical_auc", "95% quantile", auc_text),
        ("p_pseudo", "p_pseudo", p_text), ("p_shift", "p_shift", p_text)) if finite(cell.get(key))]  # fmt: skip
    return f"{name}: {', '.join(words) or 'no figures'}"


def _draw_nulls(folder: Folder, cells: Mapping[str, Cell]) -> Any:
    figure, axes = panels(10.0, 2.7, (0.55, 0.15, 0.45, 0.55), len(cells), 0.55)
    bins = np.linspace(0, 1, 41)
    for axis, (name, cell) in zip(axes, cells.items(), strict=True):
        pseudo, shift = (_null_of(folder, name, kind) for kind in ("pseudo", "shift"))
        if len(pseudo):
            axis.stairs(np.histogram(pseudo, bins)[0] / len(pseudo), bins, fill=True, color="#a9c6de")
        if len(shift):
            axis.stairs(np.histogram(shift, bins)[0] / len(shift), bins, color=COLOURS[1])
        if finite(cell.get("critical_auc")):
            axis.axvline(cell["critical_auc"], color=CRITICAL, linewidth=1)
        if finite(cell.get("auc")):
            axis.axvline(cell["auc"], color=INK, linewidth=1.8, linestyle="--")
        axis.set(xlim=(0, 1), xlabel="AUC under chance")
        axis.set_title(_null_title(name, cell), loc="left", pad=4, fontsize=8)
    axes[0].set_ylabel("share of draws")
    handles = [_handle("s", "#a9c6de", "pseudo-mainshocks"), _handle("", COLOURS[1], "shifted", linestyle="-"),
               _handle("", INK, "observed AUC", linestyle="--"),
               _handle("", CRITICAL, "critical AUC", linestyle="-")]  # fmt: skip
    heading(figure, handles, 4)
    return figure


def _null_title(name: str, cell: Cell) -> str:
    ps = [f"{label} {p_text(cell[key])}" for key, label in (("p_pseudo", "p_pseudo"), ("p_shift", "p_shift"))
          if finite(cell.get(key))]  # fmt: skip
    return f"{name}   {', '.join(ps)}"


def placebo_picture(folder: Folder) -> Picture | None:
    """Return the AUC with all mainshocks moved together by whole days."""
    points = [p for p in folder.result.get("placebo") or [] if finite(p.get("auc")) and finite(p.get("day"))]
    cell = primary_cell(folder.result)
    if len(points) < 2:
        return None
    best = max(points, key=lambda p: float(p["auc"]))
    alt = (
        f"AUC of the primary cell with all mainshocks moved together by {points[0]['day']:g} to {points[-1]['day']:g}"
        f" days. Highest {auc_text(best['auc'])} at {best['day']:+g} days."
    )
    caption = (
        "All mainshocks moved together by whole days. A precursor stands out at day 0 alone. Hollow: a moved window"
        " meets the zone around a real mainshock (after day 0 it holds aftershocks)."
    )
    return picture(lambda: _draw_placebo(points, cell), alt, caption)


def _draw_placebo(points: Sequence[Mapping[str, Any]], cell: Cell) -> Any:
    figure, (axis,) = panels(5.2, 3.1, (0.6, 0.15, 0.5, 0.45))
    days, aucs = ([float(p[key]) for p in points] for key in ("day", "auc"))
    axis.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    if finite(cell.get("critical_auc")):
        axis.axhline(cell["critical_auc"], color=CRITICAL, linewidth=1)
    axis.plot(days, aucs, color="#b8c2cc", linewidth=1, zorder=1)
    for day, auc, point in zip(days, aucs, points, strict=True):
        real = day == 0
        face = "white" if point.get("meets_zone") and not real else INK if real else COLOURS[0]
        axis.plot([day], [auc], marker="D" if real else "o", markersize=7 if real else 5, markerfacecolor=face,
                  markeredgecolor=INK if real else COLOURS[0], linestyle="none", zorder=3, clip_on=False)  # fmt: skip
    axis.set(ylim=(0, 1), xlabel="all mainshocks moved by (days)", ylabel="AUC")
    axis.xaxis.get_major_locator().set_params(integer=True)
    handles = [_handle("D", INK, "day 0"), _handle("o", COLOURS[0], "moved"),
               _handle("o", COLOURS[0], "meets a zone", markerfacecolor="white"),
               _handle("", CRITICAL, "critical AUC", linestyle="-")]  # fmt: skip
    heading(figure, handles, 4)
    return figure
