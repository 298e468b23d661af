"""SeisCLIP, a pretrained seismic foundation model: three-component minutes to vectors.

Arrays in, arrays out. Importing this package imports neither torch nor scipy; names load where they are first used,
and where torch is missing one line says how to get it.
"""

from __future__ import annotations

import importlib
from typing import Any

from seisprobe.errors import SeisprobeError

__all__ = [
    "BandEnergy",
    "Encoder",
    "MetadataFeatures",
    "ModelConfig",
    "Quality",
    "SeisClip",
    "add_weights",
    "band_energy",
    "check_waveforms",
    "check_weights",
    "contrastive_loss",
    "cut_windows",
    "features_from_instance",
    "features_from_stead",
    "fetch_weights",
    "list_weights",
    "load_model",
    "make_encoder",
    "normalise_features",
    "random_encoder",
    "spectrogram",
    "weights_folder",
    "weights_info",
    "z_norm",
]

_ROOMS = {
    "baselines": ("BandEnergy", "band_energy", "random_encoder"),
    "check": ("check_weights",),
    "engine": ("Encoder", "load_model", "make_encoder"),
    "metadata": ("MetadataFeatures", "features_from_instance", "features_from_stead", "normalise_features"),
    "model": ("ModelConfig", "SeisClip", "contrastive_loss"),
    "spectra": ("Quality", "check_waveforms", "cut_windows", "spectrogram", "z_norm"),
    "fetch": ("fetch_weights",),
    "weights": ("add_weights", "list_weights", "weights_folder", "weights_info"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOME[name] in ("check", "engine", "model"):
        require("torch", "waveforms")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def require(module: str, extra: str) -> Any:
    """Import an optional dependency, or say in one line how to install it.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of seisprobe that brings it.

    Raises
    ------
    SeisprobeError
        It is not installed.

    Examples
    --------
    >>> require("json", "waveforms").dumps(1)
    '1'
    >>> require("no_such_module", "waveforms")
    Traceback (most recent call last):
    ...
    seisprobe.errors.SeisprobeError: no_such_module is not installed: pip install "seisprobe[waveforms]"
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise SeisprobeError(f'{module} is not installed: pip install "seisprobe[{extra}]"') from None
