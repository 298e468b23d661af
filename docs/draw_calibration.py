"""Draw docs/calibration.png and print the tables of docs/calibration.md, from docs/calibration/*.json.

Each of these is the calibration.json of one `seisprobe calibrate`. Run it as ``python docs/draw_calibration.py``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
KINDS = ("stationary", "daily", "drift", "confounder")
WAVEFORM_KINDS = ("clean", "gain-listed", "gain-unlisted", "outages", "hours", "slow-drift")
WAVEFORM_ROWS = {
    "naive": "naive: AUC above Bates",
    "p_pseudo_uniform": "p_pseudo at uniform",
    "p_pseudo": "p_pseudo, primary cell",
    "word_detected": "word DETECTED",
}
ROWS = {
    "naive_label_shuffle": "naive: labels shuffled",
    "naive_delong": "naive: DeLong",
    "p_shift": "p_shift at uniform",
    "p_pseudo_uniform": "p_pseudo at uniform",
    "p_shift_etas": "p_shift at etas (not used)",
    "p_independent_etas": "independent draws at etas (not used)",
    "p_pseudo": "p_pseudo, primary cell",
    "p_adjusted": "p_adjusted, primary cell",
    "p_adjusted_of_any_cell": "p_adjusted, any cell",
    "word_detected_or_suggestive": "word DETECTED or SUGGESTIVE",
}
DRAWN = ("naive_label_shuffle", "naive_delong", "p_shift", "p_pseudo", "p_adjusted_of_any_cell",
         "word_detected_or_suggestive")  # fmt: skip
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"
COLOURS = {name: ORANGE if name.startswith("naive") else BLUE for name in DRAWN} | {"p_shift": GREY}


def percent(rate: dict[str, float]) -> str:
    """Return a rate and its 95% interval in per cent."""
    if not rate["n"]:
        return "–"
    return f"{100 * rate['k'] / rate['n']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def table(found: dict[str, dict[str, object]], part: str = "") -> list[str]:
    """Return a Markdown table of rates, one column a kind."""
    groups = {kind: (rates[part] if part else rates) for kind, rates in found.items()}
    lines = ["| % of worlds at p ≤ 0.05 | " + " | ".join(f"{k} ({g['worlds']})" for k, g in groups.items()) + " |"]
    lines.append("| --- |" + " --- |" * len(groups))
    for name, said in ROWS.items():
        lines.append(f"| {said} | " + " | ".join(percent(g["rates"][name]) for g in groups.values()) + " |")
    return lines


def waveform_table(found: dict[str, dict[str, object]]) -> list[str]:
    """Return a Markdown table of worlds of waveforms, one line a kind: rates, then the words of significant cells."""
    heads = ["kind", *WAVEFORM_ROWS.values(), "significant cells, by word"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " --- |" * (len(heads) - 1)]
    for kind, rates in found.items():
        words = ", ".join(f"{n} {word}" for word, n in rates["significant"].items())
        cells = [percent(rates["rates"][name]) for name in WAVEFORM_ROWS]
        lines.append(f"| {kind} ({rates['worlds']}) | " + " | ".join(cells) + f" | {words} |")
    return lines


def draw(found: dict[str, dict[str, object]]) -> None:
    """Draw the rates with their intervals, naive against ours."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True)
    for axis, (kind, rates) in zip(axes, found.items(), strict=True):
        for row, name in enumerate(DRAWN):
            rate = rates["rates"][name]
            share = 100 * rate["k"] / rate["n"]
            error = [[share - 100 * rate["low"]], [100 * rate["high"] - share]]
            axis.errorbar(share, row, xerr=error, fmt="o", color=COLOURS[name], capsize=3, markersize=5)
        axis.axvline(5, color="0.4", linestyle="--", linewidth=1)
        axis.set_title(f"{kind}, {rates['worlds']} worlds", fontsize=9)
        axis.set_xlim(-1, 26)
        axis.set_yticks(range(len(DRAWN)), [ROWS[name] for name in DRAWN])
        axis.grid(axis="x", color="0.9")
    axes[0].invert_yaxis()
    figure.supxlabel("null worlds called significant, % (dashed: the 5% that was asked for)", fontsize=9)
    figure.savefig(HERE / "calibration.png", dpi=130, metadata={"Software": None})


def main() -> None:
    """Draw and print."""
    read = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "calibration").glob("*.json"))}
    found = {kind: read[kind] for kind in KINDS if kind in read}
    draw(found)
    lines = ["all", *table(found), "", "blocks apart", *table(found, "blocks_apart"), "", "merged"]
    lines += [*table(found, "blocks_merged"), "", "waveforms"]
    lines += [*waveform_table({kind: read[kind] for kind in WAVEFORM_KINDS if kind in read}), "", "power"]
    for name, rates in read.items():
        if "blocks_apart" not in rates:
            continue
        power = rates["blocks_apart"]["power_uniform"]
        size = f"{name}: K {rates['mainshocks']}, size {rates['size']:g}"
        lines.append(f"{size}: {power}; at etas {percent(rates['rates']['p_pseudo'])}; {rates['words']}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
