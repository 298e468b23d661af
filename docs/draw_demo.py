"""Draw the pictures of docs/demo.md from two finished demos, with the tremor and without, preset norcia.

Run it as ``python docs/draw_demo.py WITH WITHOUT``, the folders of ``seisprobe demo`` and ``seisprobe demo --null``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from obspy import UTCDateTime, read

HERE = Path(__file__).parent
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"
MODALITIES = ("catalog", "amplitude", "seisclip", "catalog+seisclip")
SHOCK = "Norcia"


def two_hours(folder: Path, end: UTCDateTime) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times (minutes before the end), frequencies (Hz) and velocity power (dB) of a station's vertical."""
    from scipy.signal import spectrogram

    traces = read(str(next((folder / "waveforms").rglob(f"*SIM01..HHZ.D.{end.year}.{end.julday:03d}"))))
    trace = traces.slice(end - 7200, end).merge(fill_value=0)[0]
    frequency, seconds, power = spectrogram(trace.data.astype(float), 100.0, nperseg=2048, noverlap=0)
    return seconds / 60 - 120, frequency, 10 * np.log10(power + 1e-3)


def draw_waveforms(with_it: Path, without: Path) -> None:
    """Draw the two hours before Norcia as the station records them in either world."""
    truth = json.loads((with_it / "truth.json").read_text())
    end = UTCDateTime(next(m["time"] for m in truth["mainshocks"] if m["name"] == SHOCK)) - 1
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    made = [two_hours(folder, end) for folder in (without, with_it)]
    keep = (made[0][1] > 0.5) & (made[0][1] < 30)
    low, high = np.percentile([power[keep] for _, _, power in made], (2, 99))
    for axes, (minutes, frequency, power), said in zip(panels, made, ("without the tremor", "with it"), strict=True):
        mesh = axes.pcolormesh(
            minutes, frequency[keep], power[keep], cmap="magma", vmin=low, vmax=high, rasterized=True
        )
        axes.set_yscale("log")
        axes.set_yticks([1, 2, 8, 20], ["1", "2", "8", "20"])
        axes.set_title(f"{said}", fontsize=10)
        axes.set_xlabel(f"minutes before {SHOCK}")
    panels[0].set_ylabel("Hz")
    figure.colorbar(mesh, ax=panels, label="dB (counts²/Hz)")
    figure.savefig(HERE / "demo-waveforms.png", dpi=110, metadata={"Software": None})


def primary_cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the novelty of each modality at the primary cell's length and background."""
    result = json.loads((folder / "result.json").read_text())
    primary = next(cell for cell in result["cells"] if cell["primary"])
    keys = ("score", "hours", "background", "layout")
    return {cell["modality"]: cell for cell in result["cells"] if all(cell[k] == primary[k] for k in keys)}


def draw_percentiles(with_it: Path, without: Path) -> None:
    """Draw where the hours before each mainshock lie among hours of the same ETAS rate, for each modality."""
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, folder, said in zip(panels, (without, with_it), ("without the tremor", "with it"), strict=True):
        cells = primary_cells(folder)
        for row, name in enumerate(MODALITIES):
            cell = cells[name]
            axes.plot(list(cell["percentiles"].values()), [row] * 3, "o", color=BLUE, alpha=0.7)
            axes.plot(cell["auc"], row, "D", color=ORANGE, markersize=7)
            axes.plot([cell["critical_auc"]] * 2, [row - 0.35, row + 0.35], color=GREY)
        axes.set_yticks(range(len(MODALITIES)), MODALITIES)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("percentile; diamond: AUC; bar: what chance reaches")
        axes.set_title(said, fontsize=10)
    panels[0].invert_yaxis()
    figure.savefig(HERE / "demo-percentiles.png", dpi=110, metadata={"Software": None})


def main(with_it: Path, without: Path) -> None:
    """Draw both, and print what the page quotes."""
    draw_waveforms(with_it, without)
    draw_percentiles(with_it, without)
    for folder in (without, with_it):
        result = json.loads((folder / "result.json").read_text())
        sys.stdout.write(f"{result['verdict']['word']}: {result['verdict']['why']}\n")
        for name, cell in primary_cells(folder).items():
            sys.stdout.write(f"  {name}: AUC {cell['auc']:.2f}, p {cell['p_pseudo']:.4f}, {cell['verdict']}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
