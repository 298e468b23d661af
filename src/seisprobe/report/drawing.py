"""How figures look, and how a figure becomes bytes that are the same on every run: SVG with a fixed hash salt."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

__all__ = ["COLOURS", "CRITICAL", "GREY", "INK", "MARKERS", "PALE", "Picture", "heading", "panels", "picture"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B3A8E", "#4D4D4D")  # after Okabe & Ito
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
INK, GREY, PALE, CRITICAL = "#1b1f24", "#7a828c", "#dfe3e8", "#B3261E"
STYLE = {
    "svg.hashsalt": "seisprobe", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 8.0,
    "axes.edgecolor": GREY, "axes.linewidth": 0.7, "axes.labelcolor": INK, "axes.titlesize": 8.5,
    "axes.titleweight": "bold", "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "xtick.color": GREY, "ytick.color": GREY, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "text.color": INK,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "grid.color": PALE, "grid.linewidth": 0.6,
    "legend.frameon": False, "legend.fontsize": 7.5, "lines.linewidth": 1.3, "hatch.linewidth": 0.5,
    "figure.facecolor": "white", "axes.facecolor": "white", "axes.unicode_minus": True,
}  # fmt: skip
DPI = 150  # of what is drawn as pixels inside the SVG: clouds of thousands of points


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page.

    Parameters
    ----------
    uri : str
        ``data:image/svg+xml;base64,…``.
    alt : str
        What it shows, for who cannot see it.
    caption : str
    width : int
        Natural width in CSS pixels.
    title : str
        Heading above it.
    """

    uri: str
    alt: str
    caption: str
    width: int
    title: str = ""


def picture(draw: Callable[[], Any], alt: str, caption: str, title: str = "") -> Picture:
    """Draw a figure under the house's style, whatever the user's own settings are, and encode it.

    Parameters
    ----------
    draw : callable
        Returns a ``matplotlib.figure.Figure`` made by the object interface.
    alt, caption, title : str
    """
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = draw()
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    uri = "data:image/svg+xml;base64," + base64.b64encode(_slim(buffer.getvalue())).decode("ascii")
    return Picture(uri, alt, caption, round(108 * figure.get_figwidth()), title)


def _slim(svg: bytes) -> bytes:
    r"""Return an SVG with coordinates of three decimals and without indentation; scales stay exact.

    Examples
    --------
    >>> _slim(b'<g>\n  <path d="M 1.23456 2.5 \nL 3 4" transform="scale(0.015625)"/>\n</g>')
    b'<g>\n<path d="M 1.234 2.5\nL 3 4" transform="scale(0.015625)"/>\n</g>'
    """
    return re.sub(rb"\s*\n\s*", b"\n", re.sub(rb"(?<!\(0)(\.\d{3})\d+", rb"\1", svg))


def panels(
    width: float, height: float, margins: tuple[float, float, float, float], columns: int = 1, gap: float = 0.3
) -> tuple[Any, list[Any]]:
    """Return a figure with one row of equal axes, everything in inches.

    Parameters
    ----------
    width, height : float
    margins : (left, right, bottom, top)
    columns : int
    gap : float
        Between axes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    left, right, bottom, top = margins
    each = (width - left - right - gap * (columns - 1)) / columns
    axes = [
        figure.add_axes(
            (
                (left + i * (each + gap)) / width,
                bottom / height,
                each / width,
                (height - bottom - top) / height,
            )
        )
        for i in range(columns)
    ]
    return figure, axes


def heading(figure: Any, handles: Sequence[Any], columns: int) -> None:
    """Put a legend along the top edge of a figure."""
    figure.legend(
        handles=list(handles), loc="upper left", bbox_to_anchor=(0.005, 0.995), ncols=columns, handletextpad=0.4,
        columnspacing=1.4, borderaxespad=0.2,
    )  # fmt: skip
