"""The folder of real data that tests may read, and skip without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared_file(name: str) -> Path:
    """Return a file of the shared folder (environment variable SEISPROBE_SHARED, default ../shared), or skip."""
    folder = Path(os.environ.get("SEISPROBE_SHARED", "../shared"))
    path = (folder if folder.is_absolute() else ROOT / folder) / name
    if not path.is_file():
        pytest.skip(f"no real data here: {path} is absent (SEISPROBE_SHARED names the folder)")
    return path
