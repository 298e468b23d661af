"""Numbers as a reader wants them, and tables of them in which every gap says why it is one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

__all__ = [
    "MISSING",
    "Column",
    "Entry",
    "Notes",
    "Row",
    "Table",
    "auc_text",
    "count_text",
    "entry",
    "finite",
    "hours_text",
    "interval_text",
    "make_table",
    "number_text",
    "p_text",
    "share_text",
    "signed_text",
    "text",
]

MISSING = "–"
Format = Callable[[Any], str]


def finite(value: Any) -> TypeGuard[float]:
    """Return whether a value of a result is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def text(value: Any) -> str:
    """Return a value as it stands."""
    return str(value)


def auc_text(value: float) -> str:
    """Return an AUC or a percentile with three decimals."""
    return f"{value:.3f}"


def signed_text(value: float) -> str:
    """Return a difference of AUC with its sign, three decimals.

    Examples
    --------
    >>> signed_text(-0.0703)
    '−0.070'
    """
    return f"{value:+.3f}".replace("-", "−")


def p_text(value: float) -> str:
    """Return a p-value with two significant digits.

    Examples
    --------
    >>> p_text(0.4238), p_text(0.0005), p_text(1.77e-6), p_text(1.0)
    ('0.42', '0.00050', '1.8×10⁻⁶', '1.0')
    """
    return _significant(value, 2)


def number_text(value: float) -> str:
    """Return a number with three significant digits, thousands apart.

    Examples
    --------
    >>> number_text(83.8876), number_text(0.00726), number_text(17242.0)
    ('83.9', '0.00726', '17,242')
    """
    return _significant(value, 3)


def _significant(value: float, digits: int) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if power < -4:
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa}×10{raised}".replace("-", "−")
    return f"{value:,.{max(0, digits - 1 - power)}f}".replace("-", "−")


def share_text(value: float) -> str:
    """Return a share in per cent, three significant digits.

    Examples
    --------
    >>> share_text(0.95214), share_text(0.00431), share_text(1.0)
    ('95.2%', '0.431%', '100%')
    """
    return f"{_significant(100 * value, 3)}%"


def count_text(value: float) -> str:
    """Return a whole number, thousands apart."""
    return f"{value:,.0f}"


def hours_text(value: float) -> str:
    """Return a length in hours."""
    return f"{value:g}\N{NO-BREAK SPACE}h"


def interval_text(value: Sequence[float]) -> str:
    """Return an interval of AUC."""
    return f"{value[0]:.2f}–{value[1]:.2f}"


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One field of a table: its text, or a dash with why and the number of the note that says so."""

    text: str
    why: str = ""
    note: int = 0
    numeric: bool = True


@dataclass(frozen=True)
class Column:
    """A column: key in the record, heading, how to write a value, and what the heading means."""

    key: str
    label: str
    write: Format
    title: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """One row; `mark` is a class of the style sheet (``primary``, ``control``, ``failed``)."""

    entries: tuple[Entry, ...]
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready to be written, with the reasons for its gaps as numbered notes."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass
class Notes:
    """Reasons, numbered in the order in which they are met."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, why: str) -> int:
        """Return the number of a reason."""
        return self.numbers.setdefault(why, len(self.numbers) + 1)


def entry(record: Mapping[str, Any], column: Column, notes: Notes) -> Entry:
    """Return the field of a record in a column.

    A value that is None, NaN or absent becomes a dash; its reason is ``record["why_null"][key]``, or that of the AUC.
    """
    value = record.get(column.key)
    if value is not None and not (isinstance(value, float) and math.isnan(value)):
        return Entry(column.write(value), numeric=column.numeric)
    reasons = record.get("why_null") or {}
    if isinstance(reasons, str):
        reasons = {"auc": reasons}
    why = str(reasons.get(column.key) or reasons.get("auc") or "the result gives no value and no reason")
    return Entry(MISSING, why, notes.number(why), column.numeric)


def make_table(
    caption: str,
    columns: Sequence[Column],
    records: Sequence[Mapping[str, Any]],
    mark: Callable[[Mapping[str, Any]], str] = lambda _: "",
) -> Table:
    """Return a table of records, one row each.

    Examples
    --------
    >>> auc = Column("auc", "AUC", auc_text)
    >>> table = make_table("", [auc], [{"auc": 0.5}, {"auc": None, "why_null": {"auc": "no background"}}])
    >>> [row.entries[0].text for row in table.rows], table.notes
    (['0.500', '–'], ('no background',))
    """
    notes = Notes()
    rows = [Row(tuple(entry(record, column, notes) for column in columns), mark(record)) for record in records]
    return Table(caption, tuple(columns), tuple(rows), tuple(notes.numbers))
