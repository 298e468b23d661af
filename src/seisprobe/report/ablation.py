"""Which modality carries the signal, in plain words, a figure and two tables; nothing where the study did not ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seisprobe.report.drawing import COLOURS, INK, PALE, Picture, heading, panels, picture
from seisprobe.report.inputs import part
from seisprobe.report.numbers import (
    Column,
    Table,
    auc_text,
    count_text,
    finite,
    hours_text,
    make_table,
    p_text,
    signed_text,
    text,
)

__all__ = ["AblationSection", "ablation_section"]

MODALITY = Column("modality", "modality", text, numeric=False)
CONTRIBUTIONS = (
    MODALITY,
    Column("alone", "alone", auc_text, "AUC of its own novelty"),
    Column("auc_without", "all but it", auc_text, "AUC of all other modalities together"),
    Column("delta_auc", "ΔAUC", signed_text, "what is lost without it"),
    Column("delta_p", "p", p_text, "of ΔAUC, over the same draws"),
    Column("delta_p_adjusted", "p_adjusted", p_text, "among all contributions of all modalities (maxT)"),
    Column("left", "beyond the others", auc_text, "AUC of what the others' columns do not determine"),
    Column("left_p", "p", p_text),
    Column("left_p_adjusted", "p_adjusted", p_text),
    Column("share", "share", signed_text, "Shapley share of AUC − 0.5"),
    Column("null95", "by chance", lambda band: _band_text(band), "95% of the draws give a share in here"),
    Column("share_p", "p", p_text),
    Column("share_p_adjusted", "p_adjusted", p_text),
    Column("word", "word", text, numeric=False),
)
SUBSETS = (
    Column("names", "modalities together", text, numeric=False),
    Column("auc", "AUC", auc_text),
    Column("p_pseudo", "p_pseudo", p_text, "of this subset alone, unadjusted"),
)


@dataclass(frozen=True)
class AblationSection:
    """What the page says: a lead, one line a modality, a figure, two tables; `why` where there is nothing to say."""

    lead: str
    why: str
    lines: tuple[str, ...]
    picture: Picture | None
    contributions: Table
    subsets: Table


def ablation_section(result: Mapping[str, Any]) -> AblationSection | None:
    """Return the section of a result, None where it has no ablation.

    Examples
    --------
    >>> ablation_section({"ablation": None}) is None
    True
    """
    made = result.get("ablation")
    if not isinstance(made, Mapping):
        return None
    why = str(part(made, "why_null", "auc") or "") or ("" if finite(made.get("auc")) else "the result gives no reason")
    records = [] if why else _records(made)
    subsets = [{**s, "names": " + ".join(s.get("modalities") or ()), "why_null": made.get("why_null")}
               for s in made.get("subsets") or []]  # fmt: skip
    return AblationSection(
        lead=_lead(made, why),
        why=why,
        lines=() if why else (*(_line(made, row) for row in made.get("leave_one_out") or []), *_suppressed(made)),
        picture=_picture(made) if not why and made.get("shapley") else None,
        contributions=make_table("What each modality contributes", CONTRIBUTIONS, records),
        subsets=make_table("Every subset of the modalities, by novelty", SUBSETS, subsets),
    )


def _lead(made: Mapping[str, Any], why: str) -> str:
    names = ", ".join(made.get("modalities") or ())
    length = hours_text(made["hours"]) if finite(made.get("hours")) else "an unknown length"
    asked = f"Asked of {names}: novelty, {length}, against `{made.get('background')}`."
    if why:
        return asked
    blocks = made.get("k_effective")
    missing = made.get("n_missing")
    left = f" ({count_text(missing)} more that some modality lacks are left out)" if finite(missing) and missing else ""
    windows = f"{count_text(made['n_background'])} background windows{left}" if finite(made.get("n_background")) else (
        "background windows"
    )  # fmt: skip
    return (
        f"{asked} Every subset is asked about the same {made.get('k_used')} mainshocks in {blocks}"
        f" block{'' if blocks == 1 else 's'}, the same {windows} and the same"
        f" {count_text(made.get('n_draws') or 0)} pseudo-mainshock draws.{_reduced_text(made.get('reduced') or ())}"
    )


def _reduced_text(names: Sequence[str]) -> str:
    """Return what "beyond the others" means where some of them have too many columns."""
    if not names:
        return ""
    have = "has" if len(names) == 1 else "have"
    said = f" {', '.join(names)} {have} too many columns for these windows"
    return f"{said}: “beyond” means beyond the five widest components."


def _line(made: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return whether one modality adds to all others, as one line."""
    others = " + ".join(name for name in made.get("modalities") or () if name != row.get("modality"))
    p = f"p = {p_text(row['p'])}" if finite(row.get("p")) else "no p"
    return (
        f"{others}: AUC {auc_text(row['auc_without'])}; with {row.get('modality')}: AUC {auc_text(row['auc'])}"
        f" (ΔAUC {signed_text(row['delta_auc'])}, {p}): {row.get('word')}"
    )


def _suppressed(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield what must be said of a modality that is significant beyond the others though nothing is lost without it."""
    for row in made.get("conditional") or []:
        if row.get("suppressed"):
            beyond = f"{row['modality']} beyond the others (AUC {auc_text(row['auc'])})"
            yield f"{beyond} may be the others' change, seen through what they share: nothing is lost without it"


def _records(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one record a modality: alone, left out, beyond the others, share."""
    alone = {s["modalities"][0]: s.get("auc") for s in made.get("subsets") or [] if len(s.get("modalities") or ()) == 1}
    found: dict[str, dict[str, Any]] = {
        name: {"modality": name, "alone": alone.get(name)} for name in made["modalities"]
    }
    keys = (("leave_one_out", "delta"), ("conditional", "left"), ("shapley", "share"))
    no_p = part(made, "why_null", "p_pseudo") or "no draws"
    for kind, prefix in keys:
        for row in made.get(kind) or []:
            own = found[row["modality"]]
            own |= {f"{prefix}_p": row.get("p"), f"{prefix}_p_adjusted": row.get("p_adjusted")}
            own |= {key: row[key] for key in ("auc_without", "delta_auc", "word", "share", "null95") if key in row}
            why = part(row, "why_null", "auc")
            reasons = dict.fromkeys((f"{prefix}_p", f"{prefix}_p_adjusted", "null95"), why or no_p)
            own["why_null"] = {**own.get("why_null", {}), **reasons, **({"left": why} if why else {})}
            if kind == "conditional":
                own["left"] = row.get("auc")
    return list(found.values())


def _band_text(band: Sequence[float]) -> str:
    return f"{signed_text(band[0])} to {signed_text(band[1])}"


def _picture(made: Mapping[str, Any]) -> Picture:
    rows = [row for row in made["shapley"] if finite(row.get("share"))]
    total = f"AUC − 0.5 = {signed_text(made['auc'] - 0.5)}"
    said = "; ".join(
        f"{row['modality']} {signed_text(row['share'])}"
        + (f" (by chance {_band_text(row['null95'])})" if row.get("null95") else "")
        for row in rows
    )
    title = "Share of the AUC, by modality"
    caption = (
        f"Shapley shares: what each modality brings on average over all orders of adding them; they sum to {total}."
        " Grey bars: where a share lies in 95% of the draws. A share inside its bar is chance; one beyond its right end"
        " is not, as far as a single test goes."
    )
    return picture(lambda: _draw(rows), f"{title}: {said}. Sum: {total}.", caption, title)


def _draw(rows: Sequence[Mapping[str, Any]]) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure, (axis,) = panels(5.2, 0.95 + 0.34 * len(rows), (1.7, 0.2, 0.5, 0.32))
    for place, row in enumerate(rows):
        if row.get("null95"):
            low, high = row["null95"]
            axis.barh(place, high - low, left=low, height=0.62, color=PALE, zorder=1)
        axis.plot(row["share"], place, "o", color=COLOURS[0], markersize=6, markeredgecolor="white", zorder=3)
    axis.axvline(0, color=INK, linewidth=0.8, zorder=2)
    axis.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6), xlabel="share of AUC − 0.5")
    axis.set_yticklabels([str(row["modality"]) for row in rows])
    handles = [
        Line2D([], [], marker="o", color=COLOURS[0], linestyle="none", markersize=5, label="share"),
        Patch(color=PALE, label="95% of draws"),
    ]
    heading(figure, handles, 2)
    return figure
