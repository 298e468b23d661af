"""What of a study is planned, done, dropped and left to do, read from its files alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from seisprobe.folder import stored_study
from seisprobe.planning import modalities_of, tabled
from seisprobe.storage import feature_file, read_table

__all__ = ["folder_status", "status_lines"]

STEPS = ("catalog.parquet", "windows.parquet", "backgrounds.parquet", "result.json", "report.html")


def folder_status(folder: Path) -> dict[str, Any]:
    """Return how far a study is.

    Parameters
    ----------
    folder : Path
        A study folder.

    Returns
    -------
    dict
        ``planned`` windows that count, those ``done`` (with features of every modality that has a table),
        ``remaining``, ``dropped`` by reason, ``bytes`` of the folder, and ``files``: which steps have written theirs.

    Raises
    ------
    FolderError
        When it is no study folder.
    """
    study = stored_study(folder)
    windows = _table(folder / "windows.parquet")
    counted = (
        windows.loc[windows["kind"].ne("excluded"), "window_id"] if len(windows) else pd.Series([], dtype="string")
    )
    done = set(counted)
    for name, modality in tabled(modalities_of(study)).items():
        if modality.sampled:  # a station or a window may lack segments, and is reported with the result
            continue
        table = _table(folder / "features" / feature_file(name))
        if len(table) or modality.needs != "etas":
            done &= set(table["window_id"]) if len(table) else set()
    dropped = windows.loc[windows["kind"].eq("excluded"), "reason"].value_counts() if len(windows) else {}
    return {
        "planned": len(counted),
        "done": len(done),
        "remaining": len(counted) - len(done),
        "dropped": {str(reason): int(n) for reason, n in sorted(dropped.items())},
        "bytes": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
        "files": {name: (folder / name).is_file() for name in STEPS},
    }


def _table(path: Path) -> pd.DataFrame:
    found = read_table(path)
    return found[0] if found else pd.DataFrame()


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """Return a status for a person."""
    lines = [f"{name:<20} {'done' if there else 'to do'}" for name, there in status["files"].items()]
    lines.append(f"windows: {status['planned']} planned, {status['done']} done, {status['remaining']} remaining")
    lines += [f"  dropped, {reason}: {n}" for reason, n in status["dropped"].items()]
    lines.append(f"size: {status['bytes'] / 1e6:.1f} MB")
    return lines
