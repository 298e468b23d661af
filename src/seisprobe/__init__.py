"""seisprobe tests whether seismic data change before large earthquakes, with controls, nulls and power.

Names are loaded when they are first used, so that ``import seisprobe`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seisprobe.errors import SeisprobeError
    from seisprobe.evaluation.scores import auc_percentile, delong, delong_paired
    from seisprobe.pipeline import plan, run
    from seisprobe.seisclip import load_model, spectrogram
    from seisprobe.study import Study, load_study

__version__ = "0.1.0"

_HOMES = {
    "SeisprobeError": "seisprobe.errors",
    "Study": "seisprobe.study",
    "auc_percentile": "seisprobe.evaluation.scores",
    "delong": "seisprobe.evaluation.scores",
    "delong_paired": "seisprobe.evaluation.scores",
    "load_model": "seisprobe.seisclip",
    "load_study": "seisprobe.study",
    "plan": "seisprobe.pipeline",
    "run": "seisprobe.pipeline",
    "spectrogram": "seisprobe.seisclip",
}

__all__ = [
    "SeisprobeError",
    "Study",
    "__version__",
    "auc_percentile",
    "delong",
    "delong_paired",
    "load_model",
    "load_study",
    "plan",
    "run",
    "spectrogram",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'seisprobe' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
