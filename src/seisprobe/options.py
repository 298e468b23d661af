"""The base of every options model, and what a user reads when an option is wrong: one line, section, key and value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from seisprobe.errors import nearest

__all__ = ["Options", "explain"]

LONGEST_SHOWN = 80


class Options(BaseModel):
    """Base of all options: frozen, unknown keys refused, infinities refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def explain(error: ValidationError, model: type[BaseModel], raw: Any, section: str = "") -> str:
    """Return the first error of a validation as one line: section, key, value, what to do.

    Parameters
    ----------
    error : ValidationError
    model : type
        The model that was validated, for the names it knows.
    raw : mapping
        What was validated, for the names of list items.
    section : str
        Where `raw` stands in the study, for example ``[[modality]] catalog``.
    """
    first = error.errors()[0]
    place, key = _place(first["loc"], raw, section)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1])
        return f"{place}unknown key '{key}'; {nearest(str(key), owner.model_fields)}{more}"
    if first["type"] == "missing":
        return f"{place}'{key}' is missing; add it{more}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:] if first["type"] != "value_error" else message
    if isinstance(first["input"], dict | BaseModel):
        return f"{place}{key}: {message}{more}" if key else f"{place}{message}{more}"
    return f"{place}{key} = {_shown(first['input'])}: {message}{more}" if key else f"{place}{message}{more}"


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _place(loc: tuple[int | str, ...], raw: Any, section: str) -> tuple[str, str]:
    """Return the section as it is written in TOML, and the key."""
    parts: list[str] = []
    value = raw
    for step in loc:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
        if isinstance(step, int) and len(parts) == 1 and isinstance(value, dict):
            parts[0] = f"[[{parts[0]}]] {str(value.get('name', step + 1))[:LONGEST_SHOWN]}"
        else:
            parts.append(str(step))
    if not parts:
        return (f"{section}: " if section else ""), ""
    if section:
        return f"{section}: ", ".".join(parts)
    if len(parts) == 1:
        return ("", parts[0]) if not parts[0].startswith("[[") else (f"{parts[0]} ", "")
    head = parts[0] if parts[0].startswith("[[") else f"[{parts[0]}]"
    return f"{head} ", ".".join(parts[1:])


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the options model that a location in an error belongs to."""
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            found = [t for t in _types(model.model_fields[step].annotation) if issubclass(t, BaseModel)]
            model = found[0] if found else model
    return model


def _types(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _types(inner)
