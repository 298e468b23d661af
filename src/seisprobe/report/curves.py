"""Figures of curves: ROC and Molchan diagram with their chance bands, ETAS residuals, the events of the study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.evaluation.alarms import molchan_curve
from seisprobe.evaluation.power import critical_auc
from seisprobe.report.drawing import COLOURS, GREY, INK, PALE, Picture, heading, panels, picture
from seisprobe.report.inputs import Folder, block_sizes, primary_cell
from seisprobe.report.numbers import auc_text, count_text, hours_text, p_text

__all__ = ["chance_hits", "lead_picture", "molchan_picture", "residual_picture", "roc_picture", "timeline_picture"]

Floats = NDArray[np.float64]
MOST_PLACES = 8
MOST_LEADS = 6
BEFORE_H, AFTER_H = 6.0, 3.0
KS_95 = 1.3581  # 95% point of Kolmogorov's limit law of √n D


def chance_hits(sizes: Sequence[int], tau: Floats, tail: float = 0.05) -> tuple[Floats, Floats]:
    """Return the band of the share of mainshocks that chance catches at each alarm fraction.

    Members of a block are caught together: hits = Σ n_b B_b, B_b one with probability τ (binomial for blocks of one).

    Parameters
    ----------
    sizes : sequence of int
        Members of each block.
    tau : ndarray, shape (n,)
        Alarm fractions.
    tail : float
        Probability left out on either side.

    Returns
    -------
    low, high : ndarray, shape (n,)
        Shares of mainshocks.

    Examples
    --------
    >>> low, high = chance_hits((1, 1, 1), np.array([0.01, 0.3, 0.99]))
    >>> high.round(2).tolist(), low.round(2).tolist()
    ([0.0, 0.67, 1.0], [0.0, 0.0, 1.0])
    """
    total = sum(sizes)
    mass = np.zeros((len(tau), total + 1))
    mass[:, 0] = 1.0
    for size in sizes:
        caught = np.zeros_like(mass)
        caught[:, size:] = mass[:, : total + 1 - size]
        mass = mass * (1 - tau[:, None]) + caught * tau[:, None]
    cdf = np.cumsum(mass, axis=1)
    low = np.argmax(cdf > tail, axis=1)
    high = np.argmax(cdf >= 1 - tail - 1e-12, axis=1)
    return low / total, high / total


def _primary_u(folder: Folder) -> tuple[Floats, tuple[int, ...]]:
    cell = primary_cell(folder.result)
    values = [u for u in (cell.get("percentiles") or {}).values() if isinstance(u, int | float) and math.isfinite(u)]
    return np.array(values, dtype=np.float64), block_sizes(folder.result, cell)


def _band_words(sizes: Sequence[int]) -> str:
    return "Band: 90% of chance, point by point; mainshocks of one block are caught together" + (
        "" if max(sizes) > 1 else " (here each stands alone: binomial)"
    )


def roc_picture(folder: Folder) -> Picture | None:
    """Return the ROC curve of the primary cell, read on percentiles of its background."""
    u, sizes = _primary_u(folder)
    if not len(u) or not sizes:
        return None
    alt = (
        f"ROC curve of the primary cell, AUC {auc_text(float(u.mean()))}, over {len(u)} mainshocks in {len(sizes)}"
        " blocks, with the 90% band of chance around the diagonal."
    )
    caption = f"ROC of the primary cell. {_band_words(sizes)}."
    return picture(lambda: _draw_roc(u, sizes), alt, caption)


def _draw_roc(u: Floats, sizes: Sequence[int]) -> Any:
    tau, nu = molchan_curve(u)
    figure, (axis,) = panels(5.2, 3.9, (0.6, 0.15, 0.5, 0.45))
    grid = np.linspace(0, 1, 201)
    low, high = chance_hits(sizes, grid)
    axis.fill_between(grid, low, high, step="mid", color=PALE, linewidth=0)
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    axis.plot(tau, 1 - nu, color=COLOURS[0], linewidth=1.8)
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="false positive rate (share of background)")
    axis.set_ylabel("true positive rate (share of mainshocks)")
    axis.text(0.97, 0.05, f"AUC {auc_text(float(u.mean()))}", ha="right", transform=axis.transAxes, fontweight="bold")
    heading(figure, _curve_handles(), 3)
    return figure


def _curve_handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [Line2D([], [], color=COLOURS[0], label="primary cell", linewidth=1.8),
            Patch(facecolor=PALE, label="90% of chance"),
            Line2D([], [], color=GREY, linestyle=(0, (1, 2)), linewidth=1, label="expected by chance")]  # fmt: skip


def molchan_picture(folder: Folder) -> Picture | None:
    """Return the Molchan diagram of the primary cell, the background as measure of time."""
    u, sizes = _primary_u(folder)
    if not len(u) or not sizes:
        return None
    alpha = folder.study.evaluation.alpha
    critical = critical_auc(sizes, alpha)
    skill = float(u.mean())
    alt = (
        f"Molchan diagram of the primary cell: miss rate against alarm fraction. Area skill score {auc_text(skill)};"
        f" chance reaches {auc_text(critical)} in {alpha:.0%} (Bates, by block)."
    )
    caption = (
        f"Molchan diagram; time is measured by the background. Area above the curve (area skill score)"
        f" {auc_text(skill)}; chance reaches {auc_text(critical)} in {alpha:.0%} (Bates, blocks taken as one)."
        f" {_band_words(sizes)}."
    )
    return picture(lambda: _draw_molchan(u, sizes), alt, caption)


def _draw_molchan(u: Floats, sizes: Sequence[int]) -> Any:
    tau, nu = molchan_curve(u)
    figure, (axis,) = panels(5.2, 3.9, (0.6, 0.15, 0.5, 0.45))
    grid = np.linspace(0, 1, 201)
    low, high = chance_hits(sizes, grid)
    axis.fill_between(grid, 1 - high, 1 - low, step="mid", color=PALE, linewidth=0)
    axis.plot([0, 1], [1, 0], color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    axis.plot(tau, nu, color=COLOURS[0], linewidth=1.8)
    axis.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="alarm fraction τ (share of background)")
    axis.set_ylabel("miss rate ν (share of mainshocks)")
    axis.text(
        0.97, 0.93, f"area skill {auc_text(float(u.mean()))}", ha="right", transform=axis.transAxes, fontweight="bold"
    )
    heading(figure, _curve_handles(), 3)
    return figure


# --- ETAS -------------------------------------------------------------------------------------------------------------


def residual_picture(folder: Folder) -> Picture | None:
    """Return the residual analysis of every ETAS fit: events against transformed time, and the deviation."""
    table = folder.residuals
    places = [str(place) for place in dict.fromkeys(table["place"])]
    curves = {p or "region": rows for p in places if len(rows := _residuals(table.loc[table["place"].eq(p)])[0]) > 1}
    if not curves:
        return None
    fits = folder.result.get("etas") or {}
    worst = {place: _deviation(t) for place, t in curves.items()}
    said = "; ".join(
        f"{place}: {len(t)} events, largest deviation {worst[place]:.2f} (band ±{KS_95:.2f})" + _ks(fits.get(place))
        for place, t in list(curves.items())[:MOST_PLACES]
    )
    alt = f"ETAS residuals: events against transformed time beside the diagonal, and their deviation. {said}."
    caption = (
        "Under the fitted ETAS the events are evenly spaced in transformed time. Left: their cumulative share against"
        " the diagonal. Right: the deviation times √n; outside the band the Kolmogorov–Smirnov test (5%)"
        " rejects the fit."
    )
    return picture(lambda: _draw_residuals(curves), alt, caption)


def _residuals(rows: pd.DataFrame) -> tuple[Floats]:
    expected = rows["expected"].to_numpy(dtype=np.float64)
    good = np.isfinite(expected) & (expected > 0) & rows["transformed"].notna().to_numpy()
    return (np.sort(rows["transformed"].to_numpy(dtype=np.float64)[good] / expected[good]),)


def _deviation(uniform: Floats) -> float:
    steps = np.arange(1, len(uniform) + 1) / len(uniform)
    both = np.maximum(np.abs(steps - uniform), np.abs(steps - 1 / len(uniform) - uniform))
    return float(both.max() * math.sqrt(len(uniform)))


def _ks(fit: Mapping[str, Any] | None) -> str:
    p = (fit or {}).get("ks_p")
    return f", KS p = {p_text(p)}" if isinstance(p, int | float) else ""


def _draw_residuals(curves: Mapping[str, Floats]) -> Any:
    figure, (left, right) = panels(10.0, 3.3, (0.65, 0.15, 0.5, 0.45), 2, 0.75)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    right.axhspan(-KS_95, KS_95, color=PALE, linewidth=0, label="95% KS band")
    right.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    several = len(curves) > MOST_PLACES
    for i, (place, times) in enumerate(curves.items()):
        n = len(times)
        steps = np.arange(1, n + 1) / n
        kept = np.unique(np.linspace(0, n - 1, min(n, 500)).astype(int))  # more than the pixels show
        look = {"color": COLOURS[0] if several else COLOURS[i % len(COLOURS)], "linewidth": 0.8 if several else 1.3}
        if n > 60:
            left.fill_between([0, 1], np.array([0, 1]) - KS_95 / math.sqrt(n), np.array([0, 1]) + KS_95 / math.sqrt(n),
                              color=PALE, linewidth=0, zorder=0)  # fmt: skip
        left.plot(times[kept], steps[kept], **look)
        right.plot(
            times[kept], (steps - times)[kept] * math.sqrt(n), label=None if several else f"{place} (n = {n:,})", **look
        )
    left.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="transformed time (share of its total)", ylabel="event number (share of all)"
    )
    right.set(xlim=(0, 1), xlabel="transformed time (share of its total)", ylabel="deviation × √n")
    heading(figure, right.get_legend_handles_labels()[0], 6)
    return figure


# --- the events -------------------------------------------------------------------------------------------------------


def _stamp(time: Any) -> pd.Timestamp:
    return pd.Timestamp(time).tz_convert(None)


def _naive(events: pd.DataFrame) -> pd.Series:
    return events["time"].dt.tz_convert(None)


def timeline_picture(folder: Folder) -> Picture | None:
    """Return the events of the study in time, with mainshocks and the zones left out of every background."""
    if folder.events is None or folder.events.empty:
        return None
    events = folder.events
    shocks = folder.result.get("mainshocks") or []
    named = ", ".join(f"{m['name']} M {m['magnitude']}" for m in shocks[:MOST_PLACES])
    many = count_text(len(events))
    alt = f"{many} events in time and magnitude, and events a day, with {len(shocks)} mainshocks: {named}."
    caption = (
        f"{many} events of the catalog with its history. Orange: zones around the mainshocks, left out"
        " of every background. Grey: before the study's period. Stars: mainshocks."
    )
    return picture(lambda: _draw_timeline(folder, events), alt, caption)


def _draw_timeline(folder: Folder, events: pd.DataFrame) -> Any:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 3.9))
    top = figure.add_axes((0.055, 0.42, 0.93, 0.53))
    low = figure.add_axes((0.055, 0.12, 0.93, 0.24), sharex=top)
    times = _naive(events)
    start, end = _stamp(folder.study.study.start), _stamp(folder.study.study.end)
    top.scatter(times, events["magnitude"], s=4, color=COLOURS[0], alpha=0.5, linewidths=0, rasterized=True)
    days = times.dt.floor("D").value_counts().sort_index()
    low.vlines(days.index, 0.5, days.to_numpy(), color=COLOURS[0], linewidth=0.7, rasterized=True)
    for axis in (top, low):
        _shade(axis, folder, min(times.min(), start), start)
    _draw_mainshocks(top, folder)
    low.set(yscale="log", ylim=(0.7, None), ylabel="events a day", xlabel="time, UTC")
    top.set(xlim=(min(times.min(), start), end), ylabel="magnitude")
    locator = AutoDateLocator()
    low.xaxis.set_major_locator(locator)
    low.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    low.xaxis.get_offset_text().set_visible(False)
    top.tick_params(labelbottom=False)
    return figure


def _shade(axis: Any, folder: Folder, first: pd.Timestamp, start: pd.Timestamp) -> None:
    windows = folder.study.windows
    before = pd.Timedelta(hours=max(windows.hours) + windows.embargo_h)
    after = pd.Timedelta(hours=2 + windows.embargo_h)
    axis.axvspan(first, start, color="#f1f3f5", linewidth=0, zorder=0)
    for shock in folder.result.get("mainshocks") or []:
        time = _stamp(shock["time"])
        axis.axvspan(time - before, time + after, color="#f6c68f", linewidth=0, zorder=0.5)


def _draw_mainshocks(axis: Any, folder: Folder) -> None:
    shocks = folder.result.get("mainshocks") or []
    for shock in shocks:
        axis.plot([_stamp(shock["time"])], [shock["magnitude"]], marker="*", markersize=12, color=COLOURS[1],
                  markeredgecolor="white", linestyle="none", zorder=5, clip_on=False)  # fmt: skip
    if len(shocks) > MOST_PLACES:
        return
    for i, shock in enumerate(shocks):
        axis.annotate(shock["name"], (_stamp(shock["time"]), shock["magnitude"]), xytext=(-8 if i % 2 == 0 else 8, 4),
                      textcoords="offset points", ha="right" if i % 2 == 0 else "left", fontsize=7.5)  # fmt: skip


def lead_picture(folder: Folder) -> Picture | None:
    """Return the last hours before each mainshock: events and the windows that are scored; None where they are many."""
    shocks = [m for m in folder.result.get("mainshocks") or [] if m.get("block")]
    if folder.events is None or folder.events.empty or not 0 < len(shocks) <= MOST_LEADS:
        return None
    longest = max(folder.study.windows.hours)
    counts = [f"{m['name']}: {len(_around(folder.events, m, longest, 0.0))}" for m in shocks]
    said = ", ".join(counts)
    alt = f"Events in the {hours_text(longest)} before each mainshock and the windows that are scored. {said}."
    caption = (
        "The windows that are scored (bars, by length) and the events in them. The vertical line is the mainshock; the"
        " bar after it is the post-event window of the plumbing check."
        + (
            " Events of the whole region; the features use those within the radius."
            if folder.study.windows.radius_km
            else ""
        )
    )
    return picture(lambda: _draw_leads(folder, shocks), alt, caption)


def _around(events: pd.DataFrame, shock: Mapping[str, Any], before_h: float, after_h: float) -> pd.DataFrame:
    hours = (_naive(events) - _stamp(shock["time"])).dt.total_seconds() / 3600
    near = hours.between(-before_h, after_h) & (hours.abs() > 1 / 3600)
    return events.assign(hours=hours).loc[near, ["hours", "magnitude"]]


def _draw_leads(folder: Folder, shocks: Sequence[Mapping[str, Any]]) -> Any:
    assert folder.events is not None
    options = folder.study.windows
    reach = max(options.hours) + BEFORE_H
    rows = len(options.hours)
    figure, axes = panels(10.0, 2.5 + 0.13 * rows, (0.55, 0.15, 0.5, 0.3), len(shocks), 0.3)
    floor = float(folder.events["magnitude"].min())
    bottom = floor - 0.45 * rows - 0.3
    for axis, shock in zip(axes, shocks, strict=True):
        near = _around(folder.events, shock, reach, AFTER_H)
        axis.vlines(near["hours"], floor, near["magnitude"], color=COLOURS[0], linewidth=0.8, rasterized=True)
        axis.plot(near["hours"], near["magnitude"], "o", color=COLOURS[0], markersize=2.4, rasterized=True)
        axis.axvline(0, color=COLOURS[1], linewidth=1.2)
        axis.plot([0], [shock["magnitude"]], "*", color=COLOURS[1], markersize=11, clip_on=False)
        _draw_windows(axis, folder, floor, bottom)
        axis.set(xlim=(-reach, AFTER_H), ylim=(bottom, max(7.0, float(shock["magnitude"]) + 0.3)))
        axis.set_title(str(shock["name"]), loc="left", pad=4)
        axis.set_yticks([m for m in range(1, 10) if floor <= m <= axis.get_ylim()[1]])
        axis.set_xlabel("hours from the mainshock")
        axis.set_xticks(np.arange(0, -reach - 0.1, -6 * math.ceil(reach / 36)))
    axes[0].set_ylabel("magnitude")
    return figure


def _draw_windows(axis: Any, folder: Folder, floor: float, bottom: float) -> None:
    options = folder.study.windows
    lead = primary_cell(folder.result).get("layout") == "at-lead"
    end = -options.lead_window_h if lead else -options.gap_s / 3600
    step = (floor - bottom) / (len(options.hours) + 0.6)
    for i, length in enumerate(options.hours):
        y = floor - step * (i + 0.7)
        axis.barh([y], [length], left=[end - length], height=step * 0.6, color=INK, alpha=0.75)
        axis.text(end - length, y, f"{hours_text(length)} ", ha="right", va="center", fontsize=6.5)
    post = options.post_h
    axis.barh([floor - step * 0.7], [post[1] - post[0]], left=[post[0]], height=step * 0.6, color=COLOURS[3])
