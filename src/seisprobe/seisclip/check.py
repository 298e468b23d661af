"""A self-test of installed weights: one built-in synthetic minute through every backend."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seisprobe.seisclip.backends import BACKENDS, PRECISIONS, why_not
from seisprobe.seisclip.engine import load_model
from seisprobe.seisclip.spectra import SAMPLING_RATE_HZ

__all__ = ["check_weights", "synthetic_windows"]

Floats = NDArray[np.float32]


def synthetic_windows(n: int = 1, samples: int = 6000) -> Floats:
    """A made-up small earthquake in noise: P at a quarter of the window, S 5 s later, in counts; seeded by number.

    Examples
    --------
    >>> synthetic_windows(2).shape
    (2, 3, 6000)
    """
    seconds = np.arange(samples) / SAMPLING_RATE_HZ
    p_s = seconds[-1] / 4
    windows = np.empty((n, 3, samples), np.float32)
    for index in range(n):
        random = np.random.default_rng([20240101, index])
        signal = random.normal(0, 40, (3, samples))
        for onset_s, frequency_hz, sizes in ((p_s, 8.0, (300, 300, 900)), (p_s + 5, 4.0, (1500, 1200, 600))):
            since = np.clip(seconds - onset_s, 0, None)
            shape = np.exp(-since / 4) * (1 - np.exp(-since / 0.05)) * np.sin(2 * np.pi * frequency_hz * since)
            signal += np.array(sizes)[:, None] * shape * (1 + random.normal(0, 0.3, (3, samples)))
        windows[index] = signal
    return windows


def check_weights(
    name: str, weights: str | Path | None = None, *, threads: int = 0, compiled: bool = False, windows: int = 64
) -> list[dict[str, Any]]:
    """Encode a built-in minute with every backend and precision that runs here.

    Parameters
    ----------
    name : str
        As in `load_model`.
    weights : path, optional
        As in `load_model`.
    threads : int
        Threads of the timing; 0: one a processor.
    compiled : bool
        Also torch.compile, which takes half a minute for each precision.
    windows : int
        Windows of the timing.

    Returns
    -------
    list of dict
        backend, precision, shape, norm, cosine (to float32 by torch), windows_per_s; or backend, precision and
        skipped: why.

    Raises
    ------
    InputError
        As `load_model`.
    """
    rows = []
    reference: Floats | None = None
    for backend in BACKENDS:
        reason = why_not(backend) or (
            "takes half a minute; ask for it" if backend == "compiled" and not compiled else None
        )
        for precision in PRECISIONS:
            row: dict[str, Any] = {"backend": backend, "precision": precision}
            if reason:
                rows.append({**row, "skipped": reason})
                continue
            encoder = load_model(name, weights, backend=backend, precision=precision, threads=threads)
            minute = synthetic_windows(windows, encoder.segment_samples)
            vector = encoder.encode(minute[:1])[0]
            reference = vector if reference is None else reference
            rows.append({**row, **_measure(encoder, minute, vector, reference)})
    return rows


def _measure(encoder: Any, minute: Floats, vector: Floats, reference: Floats) -> dict[str, Any]:
    encoder.encode(minute[:8])
    start = time.perf_counter()
    encoder.encode(minute)
    elapsed_s = time.perf_counter() - start
    norms = np.linalg.norm(vector), np.linalg.norm(reference)
    return {
        "shape": list(vector.shape),
        "norm": float(norms[0]),
        "cosine": float(vector.astype(np.float64) @ reference / (norms[0] * norms[1])),
        "windows_per_s": len(minute) / elapsed_s,
    }
