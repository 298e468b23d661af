"""What the timed tables of a study cover: mainshocks, windows, and what was left out of them and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seisprobe.report.numbers import Column, Table, count_text, hours_text, make_table, number_text, text

__all__ = ["TablesSection", "tables_section"]

MOST_NOTES = 20
MOST_NAMED = 20
COLUMNS = (
    Column("name", "table", text, numeric=False),
    Column("start", "from", text, numeric=False),
    Column("end", "to", text, numeric=False),
    Column("rows", "rows", count_text),
    Column("sampling_s", "one each", lambda s: f"{number_text(s)} s"),
    Column("columns", "columns", text, numeric=False),
    Column("groups", "groups", text, numeric=False),
    Column("positive", "windows before mainshocks", text),
    Column("background", "background windows", text),
    Column("why", "windows without a row", text, numeric=False),
)
REASONS = {
    "before_table": "before the table begins",
    "after_table": "after it ends",
    "low_coverage": "too few of its samples",
    "short_history": "too few days before that say what is usual",
}


@dataclass(frozen=True)
class TablesSection:
    """What the page says: one line a table, a table of all, notes of the readers."""

    lines: tuple[str, ...]
    table: Table
    notes: tuple[str, ...]


def tables_section(result: Mapping[str, Any]) -> TablesSection | None:
    """Return the section of a result, None where the study has no table.

    Examples
    --------
    >>> tables_section({"tables": []}) is None
    True
    """
    made = result.get("tables") or []
    if not made:
        return None
    notes = [note for seen in made for note in seen.get("notes") or []]
    more = [f"and {len(notes) - MOST_NOTES} more lines of that kind"] if len(notes) > MOST_NOTES else []
    return TablesSection(
        lines=tuple(_line(seen) for seen in made),
        table=make_table("Timed tables", COLUMNS, [_record(seen) for seen in made]),
        notes=(*notes[:MOST_NOTES], *more),
    )


def _line(seen: Mapping[str, Any]) -> str:
    """Return how many mainshocks a table covers, which, and what that is worth."""
    covered, lost, early = (list(seen.get(key) or ()) for key in ("covered", "uncovered", "without_history"))
    k, n = len(covered), len(covered) + len(lost)
    named = f" ({', '.join(covered)})" if 0 < k <= MOST_NAMED and lost else ""
    missing = f"; without it: {', '.join(lost)}" if 0 < len(lost) <= MOST_NAMED else ""
    length = hours_text(seen["hours"])
    said = f"`table:{seen.get('name')}` covers the {length} before {k} of {n} mainshocks{named}{missing}."
    if early:
        said += f" Too few covered days are before {', '.join(early[:MOST_NAMED])} to say what is usual: no row."
    if k - len(early) > 1:
        return said
    return (
        f"{said} Of so few nothing can be said; the way out is smaller mainshocks of the table's own time, by"
        " `[mainshocks] rule`."
    )


def _record(seen: Mapping[str, Any]) -> dict[str, Any]:
    windows, dropped = seen.get("windows") or {}, seen.get("dropped") or {}
    columns, groups = list(seen.get("columns") or ()), list(seen.get("groups") or ())
    lost: dict[str, int] = {}
    for reasons in dropped.values():
        for reason, count in reasons.items():
            lost[reason] = lost.get(reason, 0) + count
    own = {}
    for kind in ("positive", "background"):
        kept, gone = windows.get(kind, 0), sum(dropped.get(kind, {}).values())
        own[kind] = f"{count_text(kept)} of {count_text(kept + gone)}"
    why = "; ".join(f"{REASONS.get(reason, reason)}: {count_text(count)}" for reason, count in lost.items())
    return {
        **{key: seen.get(key) for key in ("name", "start", "end", "rows", "sampling_s")},
        "columns": _some(columns),
        "groups": _some(groups) or "none",
        **own,
        "why": why or "none",
    }


def _some(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
