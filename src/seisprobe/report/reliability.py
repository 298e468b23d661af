"""The reliability curve: how often a mainshock followed where a classifier gave it some probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seisprobe.report.drawing import COLOURS, GREY, MARKERS, PALE, Picture, heading, panels, picture
from seisprobe.report.inputs import Folder, primary_cell
from seisprobe.report.numbers import finite, hours_text, number_text

__all__ = ["chance_of_observed", "reliability_picture"]

Floats = NDArray[np.float64]
MOST_CURVES = 4
LISTS = ("forecast", "observed", "share", "events")
FIGURES = ("base_rate", "brier", "skill", "reliability", "resolution", "uncertainty")


def reliability_picture(folder: Folder) -> Picture | None:
    """Return the reliability curves of the classifiers of the primary length at the headline, None without any.

    At most four are drawn, those of the primary cell's modality first; the text beside it has the figures of all drawn.
    """
    cells = _cells(folder.result)
    if not cells:
        return None
    said = "; ".join(f"{_label(c)}: {_figures(c['reliability'])}" for c in cells)
    length = hours_text(cells[0].get("hours") or 0)
    alt = f"Reliability curves of held-out probabilities, {length} before {_events(cells[0])} mainshocks. {said}."
    caption = (
        f"Held-out windows of {length} against `{cells[0].get('background')}`, as many before mainshocks as not, by the"
        " probability that the classifier gave them: how many were before a mainshock. On the diagonal probabilities"
        " are true; on the flat line they say nothing. Pale bars: where 95% of true ones would lie."
        f" {said}."
    )
    return picture(lambda: _draw(cells), alt, caption, "Reliability of the probabilities")


def _cells(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the cells whose curves are drawn."""
    primary = primary_cell(result)
    like = {key: primary.get(key) for key in ("hours", "layout")} | {"background": result.get("headline")}
    there = [
        cell
        for cell in result.get("cells") or []
        if all(cell.get(key) == value for key, value in like.items()) and _whole(cell.get("reliability"))
    ]
    return sorted(there, key=lambda c: c.get("modality") != primary.get("modality"))[:MOST_CURVES]


def _whole(made: Any) -> bool:
    even = made.get("balanced") if isinstance(made, Mapping) else None
    if not isinstance(even, Mapping) or not all(finite(even.get(key)) for key in FIGURES):
        return False
    lists = [x for key in LISTS if isinstance(x := even.get(key), list) and x and all(finite(v) for v in x)]
    return len(lists) == len(LISTS) and len({len(x) for x in lists}) == 1


def _label(cell: Mapping[str, Any]) -> str:
    score = "forward" if cell.get("score") == "logistic_forward" else str(cell.get("score"))
    return f"{cell.get('modality')} {score}"


def _events(cell: Mapping[str, Any]) -> int:
    return int(sum(cell["reliability"]["balanced"]["events"]))


def _figures(made: Mapping[str, Any]) -> str:
    even, record = made["balanced"], made.get("record")
    said = (
        f"Brier score {number_text(even['brier'])} of {number_text(even['uncertainty'])}"
        f" (reliability {number_text(even['reliability'])}, resolution {number_text(even['resolution'])})"
    )
    if isinstance(record, Mapping) and finite(record.get("skill")) and finite(record.get("base_rate")):
        said += f", skill {number_text(record['skill'])} at the record's {number_text(record['base_rate'])}"
    return said


def chance_of_observed(forecast: Floats, observed: Floats, share: Floats, each: float) -> tuple[Floats, Floats]:
    """Return where 95% of the observed shares would lie if forecasts were true, background as it is.

    The events of a bin are a Poisson number with the mean that its forecast and its background ask for (consistency
    bars, Bröcker & Smith 2007, Weather and Forecasting 22, doi:10.1175/WAF993.1).

    Parameters
    ----------
    forecast, observed, share : ndarray, shape (bins,)
        Mean forecast, share of events, and share of all weight.
    each : float
        Share of all weight that one event has.

    Returns
    -------
    low, high : ndarray, shape (bins,)

    Examples
    --------
    >>> low, high = chance_of_observed(np.array([0.5]), np.array([0.5]), np.array([1.0]), 0.5 / 50)
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.43], [0.56])
    """
    from scipy.stats import poisson

    others = share * (1 - observed)
    expected = others * forecast / np.maximum(1 - forecast, 1e-12) / each
    low, high = (np.asarray(poisson.ppf(tail, expected)) * each for tail in (0.025, 0.975))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(low / (low + others), nan=1.0), np.nan_to_num(high / (high + others), nan=1.0)


def _draw(cells: Sequence[Mapping[str, Any]]) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure, (axis,) = panels(5.2, 3.9, (0.6, 0.15, 0.5, 0.45))
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    axis.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    handles = []
    for number, cell in enumerate(cells):
        even = cell["reliability"]["balanced"]
        forecast, observed, share, events = (np.array(even[key], dtype=np.float64) for key in LISTS)
        low, high = chance_of_observed(forecast, observed, share, even["base_rate"] / events.sum())
        look: dict[str, Any] = {
            "color": COLOURS[number],
            "marker": MARKERS[number],
            "markersize": 4.5,
            "linewidth": 1.3,
        }
        axis.vlines(forecast, low, high, color=PALE, linewidth=5, zorder=0.5)
        axis.plot(forecast, observed, **look, markeredgecolor="white", clip_on=False)
        handles.append(Line2D([], [], **look, label=_label(cell)))
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability given (one window in two is before a mainshock)")
    axis.set_ylabel("share that was before a mainshock")
    heading(figure, [*handles, Patch(facecolor=PALE, label="95% of true ones")], 3)
    return figure
