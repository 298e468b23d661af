"""Waveforms into vectors on disk: `segments` cuts, `work` encodes, `store` keeps, `embed` plans and shares out.

Names load where they are first used; importing this package imports nothing heavy. The function `embed` is in the
module of that name.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = [
    "Embedded",
    "Recipe",
    "Segmenting",
    "Store",
    "choose_executor",
    "cut_segments",
    "epoch_edges",
    "open_store",
    "scan",
    "scan_unit",
]

_ROOMS = {
    "embed": ("Embedded", "epoch_edges", "scan", "scan_unit"),
    "executors": ("choose_executor",),
    "components": ("Segmenting",),
    "segments": ("cut_segments",),
    "store": ("Store", "open_store"),
    "work": ("Recipe",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
