"""The figure "P(detected) against size", where a precursor was put into the study's own record (injection.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seisprobe.report.drawing import COLOURS, CRITICAL, GREY, Picture, heading, panels, picture
from seisprobe.report.inputs import Folder, part
from seisprobe.report.numbers import finite, hours_text, share_text

__all__ = ["injection_pictures"]

POINT = ("size", "rate", "low", "high")
WHAT = {
    "embedding": ("shifted vectors", "shift of every segment vector, in standard deviations"),
    "tremor": ("tremor in the waveforms", "rise of the power at {low:g}–{high:g} Hz, dB"),
}
MEANS = {
    "embedding": "every segment vector was shifted along a random direction",
    "tremor": "tremor was put into the waveforms",
}


def injection_pictures(folder: Folder) -> list[Picture]:
    """Return one figure for each kind of precursor that was put in; none where none was, or into another result."""
    result = folder.result
    now = {"study": part(result, "study", "fingerprint"), "catalog": part(result, "catalog", "sha256"),
           "seisprobe": result.get("seisprobe")}  # fmt: skip
    shown = [entry for entry in folder.injection if entry.get("of") == now and entry.get("kind") in WHAT]
    return [_picture(entry, points) for entry in shown if (points := _points(entry))]


def _points(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [p for p in entry.get("curves") or [] if isinstance(p, Mapping) and all(finite(p.get(k)) for k in POINT)]


def _picture(entry: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> Picture:
    title = f"P(detected) against size: {WHAT[entry['kind']][0]}"
    said = "; ".join(
        f"{_size(entry, p['size'])}: {share_text(p['rate'])} ({share_text(p['low'])} to {share_text(p['high'])})"
        for p in points
    )
    alt = f"{title}, with exact 95% intervals. {said}. Dashed line: α = {entry['alpha']:.0%}."
    return picture(lambda: _draw(entry, points), alt, _caption(entry, points), title)


def _size(entry: Mapping[str, Any], size: float) -> str:
    return f"{size:.3g}\N{NO-BREAK SPACE}{entry['unit']}"


def _caption(entry: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> str:
    cell = entry.get("cell") or {}
    caption = (
        f"In each of {entry['trials']} trials a size, {entry.get('k')} times of this record's background took the place"
        f" of the mainshocks, and in the windows before them {MEANS[entry['kind']]}; then {cell.get('score')} of"
        f" {cell.get('modality')} ({hours_text(cell.get('hours') or 0)}, against `{cell.get('background')}`) was fitted"
        f" and tested again. Detected: p ≤ {entry['alpha']:g}."
    )
    reached = [(what, entry.get(key)) for what, key in (("Half", "size_50"), ("99%", "size_99"))]
    words = [f"{what} of them are detected at {_size(entry, size)}." for what, size in reached if finite(size)]
    if not words:
        least = min(p["rate"] for p in points)
        words = [f"{'Every' if least >= 0.5 else 'No'} size tried was detected in half of its trials."]
    false = next((p for p in points if p["size"] == 0), None)
    if false is not None:
        words.append(f"With nothing put in, {share_text(false['rate'])} are: false alarms, of which α are expected.")
        if false["low"] > entry["alpha"]:
            words.append("That is more than α: in this record p is smaller than it should be.")
    return " ".join([caption, *words, "Bars: exact 95% intervals."])


def _draw(entry: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> Any:
    from matplotlib.lines import Line2D

    figure, (axis,) = panels(5.2, 3.1, (0.6, 0.15, 0.5, 0.45))
    size, rate, low, high = ([float(p[key]) for p in points] for key in POINT)
    axis.axhline(entry["alpha"], color=CRITICAL, linewidth=1, linestyle=(0, (4, 2)))
    axis.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    axis.plot(size, rate, color="#b8c2cc", linewidth=1, zorder=1)
    axis.vlines(size, low, high, color=COLOURS[0], linewidth=1.6, zorder=2)
    axis.plot(size, rate, "o", color=COLOURS[0], markersize=5, markeredgecolor="white", zorder=3, clip_on=False)
    band = entry.get("band_hz") or [0, 0]
    axis.set(ylim=(0, 1), ylabel="P(detected)", xlabel=WHAT[entry["kind"]][1].format(low=band[0], high=band[1]))
    handles = [
        Line2D([], [], marker="o", color=COLOURS[0], linestyle="none", markersize=5, label="detected, 95% interval"),
        Line2D([], [], color=CRITICAL, linewidth=1, linestyle=(0, (4, 2)), label=f"α = {entry['alpha']:.0%}"),
    ]
    heading(figure, handles, 2)
    return figure
