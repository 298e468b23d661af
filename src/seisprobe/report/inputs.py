"""What a report is made from: the files of a finished study folder, read once, and small views of the result."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from seisprobe.errors import FolderError
from seisprobe.storage import read_table
from seisprobe.study import Study, load_study

__all__ = [
    "Cell",
    "Folder",
    "background_names",
    "block_sizes",
    "control_modalities",
    "mainshock_names",
    "part",
    "portable_text",
    "primary_cell",
    "read_folder",
    "shown_modality",
    "sibling",
    "used_numbers",
]

Cell = Mapping[str, Any]
KEY = ("modality", "score", "hours", "background", "layout")
BACKGROUND_ORDER = ("etas", "uniform", "matched", "quiet")
ABSOLUTE_PATH = re.compile(r'(?<=")([a-z]+:)?(?:/(?!/)|[A-Za-z]:\\\\|\\\\\\\\)[^"\n]*(?=")')


@dataclass(frozen=True)
class Folder:
    """The files of a study folder.

    Parameters
    ----------
    result : mapping
        ``result.json``.
    study : Study
        ``study.toml``, resolved.
    study_text : str
        The same as it stands, without the folders of its paths.
    runs : tuple of mapping
        ``runs.jsonl``, in order; lines that are no JSON are left out.
    events : DataFrame or None
        ``catalog.parquet``.
    nulls : DataFrame
        ``background, null, auc``; empty where there are none.
    residuals : DataFrame
        ``place, transformed, expected``; empty where there are none.
    truth : mapping or None
        ``truth.json`` of a simulated world: what the right answer is.
    injection : tuple of mapping
        ``injection.json``: how often a precursor put into the record is detected; empty where there is none.
    """

    result: Mapping[str, Any]
    study: Study
    study_text: str
    runs: tuple[Mapping[str, Any], ...]
    events: pd.DataFrame | None
    nulls: pd.DataFrame
    residuals: pd.DataFrame
    truth: Mapping[str, Any] | None = None
    injection: tuple[Mapping[str, Any], ...] = ()


def read_folder(folder: Path) -> Folder:
    """Read a finished study folder.

    Raises
    ------
    FolderError
        When it holds no ``result.json`` that can be read.
    StudyError
        When its ``study.toml`` cannot be read.
    """
    study = load_study(folder / "study.toml")
    text = (folder / "study.toml").read_text(encoding="utf-8")
    return Folder(
        result=_result(folder / "result.json"),
        study=study,
        study_text=portable_text(text),
        runs=_runs(folder / "runs.jsonl"),
        events=_table(folder / "catalog.parquet", ("time", "magnitude")),
        nulls=_filled(folder / "nulls.parquet", ("background", "null", "auc")),
        residuals=_filled(folder / "etas.parquet", ("place", "transformed", "expected")),
        truth=_truth(folder / "truth.json"),
        injection=_injection(folder / "injection.json"),
    )


def _result(path: Path) -> Mapping[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FolderError(f"{path}: is not there; run the study to its end first") from None
    except (OSError, ValueError) as error:
        raise FolderError(f"{path}: cannot be read ({error}); remove it and run the study again") from None
    if not isinstance(result, dict):
        raise FolderError(f"{path}: is no result of a study; remove it and run the study again")
    unknown = {key: "unknown" for key in ("headline", "k", "k_effective") if result.get(key) is None}
    return {**result, **unknown}


def _truth(path: Path) -> Mapping[str, Any] | None:
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return truth if isinstance(truth, dict) and isinstance(truth.get("answer"), str) else None


def _injection(path: Path) -> tuple[Mapping[str, Any], ...]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(entry for entry in entries if isinstance(entry, dict)) if isinstance(entries, list) else ()


def _runs(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        return ()
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return tuple(found)


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    read = read_table(path)
    return read[0] if read is not None and set(columns) <= set(read[0].columns) else None


def _filled(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = _table(path, columns)
    return pd.DataFrame({name: [] for name in columns}) if table is None else table


def portable_text(text: str) -> str:
    r"""Return TOML without the folders of absolute paths, so that it reads the same on every machine.

    Examples
    --------
    >>> portable_text('source = "file:/home/ada/events.txt"\nother = "fdsn:https://host/a"')
    'source = "file:events.txt"\nother = "fdsn:https://host/a"'
    """
    return ABSOLUTE_PATH.sub(lambda m: (m.group(1) or "") + re.split(r"[/\\]+", m.group(0).rstrip("/\\"))[-1], text)


# --- views of a result, which may lack anything -----------------------------------------------------------------------


def part(value: Any, *keys: str) -> Any:
    """Return what lies under nested keys, None where anything on the way is absent.

    Examples
    --------
    >>> part({"a": {"b": 1}}, "a", "b"), part({"a": None}, "a", "b")
    (1, None)
    """
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def primary_cell(result: Mapping[str, Any]) -> Cell:
    """Return the primary cell, an empty one where the result has none."""
    return next((cell for cell in result.get("cells") or [] if cell.get("primary")), {})


def used_numbers(result: Mapping[str, Any], cell: Cell) -> dict[str, int | None]:
    """Return K and K_eff of a cell: the study's, or fewer where some mainshocks have no data.

    Examples
    --------
    >>> shocks = [{"name": "A", "block": 1}, {"name": "B", "block": 1}, {"name": "C", "block": 2}]
    >>> result = {"k": 3, "k_effective": 2, "mainshocks": shocks}
    >>> used_numbers(result, {"percentiles": {"A": 0.5, "B": 0.7, "C": None}})
    {'k': 2, 'k_effective': 1}
    """
    used = {name for name, u in (cell.get("percentiles") or {}).items() if u is not None}
    blocks = [m.get("block") for m in result.get("mainshocks") or [] if m.get("name") in used]
    if not blocks or len(blocks) != len(used):
        return {key: result.get(key) for key in ("k", "k_effective")}
    return {"k": len(blocks), "k_effective": len(set(blocks))}


def sibling(result: Mapping[str, Any], cell: Cell, **other: Any) -> Cell:
    """Return the cell that differs from one in the keys given, an empty one where there is none."""
    wanted = {key: other.get(key, cell.get(key)) for key in KEY}
    cells = result.get("cells") or []
    return next((c for c in cells if all(c.get(key) == value for key, value in wanted.items())), {})


def background_names(result: Mapping[str, Any]) -> list[str]:
    """Return the backgrounds of a result, the headline first."""
    known = {str(cell["background"]) for cell in result.get("cells") or [] if cell.get("background")}
    known |= set(part(result, "windows", "background") or {})
    order = dict.fromkeys((str(result.get("headline")), *BACKGROUND_ORDER, *sorted(known)))
    return [name for name in order if name in known]


def control_modalities(result: Mapping[str, Any]) -> frozenset[str]:
    """Return the modalities that get no word at the headline: the controls."""
    read = [c for c in result.get("cells") or [] if c.get("background") == result.get("headline")]
    judged = {str(c.get("modality")) for c in read if c.get("verdict")}
    return frozenset(str(c.get("modality")) for c in read) - judged if judged else frozenset()


def shown_modality(result: Mapping[str, Any], name: str) -> str:
    """Return a modality's name with what it is for: nothing, (control) or (baseline)."""
    if name in (result.get("baselines") or ()):
        return f"{name} (baseline)"
    return f"{name} (control)" if name in control_modalities(result) else name


def mainshock_names(result: Mapping[str, Any]) -> list[str]:
    """Return the mainshocks that are positives somewhere, in the order of the list."""
    with_percentile = {name for cell in result.get("cells") or [] for name in cell.get("percentiles") or {}}
    return [str(m["name"]) for m in result.get("mainshocks") or [] if m.get("name") in with_percentile]


def block_sizes(result: Mapping[str, Any], cell: Cell) -> tuple[int, ...]:
    """Return how many mainshocks with a percentile in a cell lie in each block.

    Examples
    --------
    >>> shocks = [{"name": "A", "block": 1}, {"name": "B", "block": 2}, {"name": "C", "block": 2}]
    >>> block_sizes({"mainshocks": shocks}, {"percentiles": {"A": 0.2, "B": 0.9, "C": None}})
    (1, 1)
    """
    percentiles = cell.get("percentiles") or {}
    blocks = [m.get("block") for m in result.get("mainshocks") or [] if percentiles.get(m.get("name")) is not None]
    return tuple(blocks.count(block) for block in dict.fromkeys(blocks))
