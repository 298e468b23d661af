"""What an embedding has to beat: the same network with random weights, and plain band energies.

Both have the encoder's shape: `encode(waveforms)`, `segment_samples`, `dimension`, `fingerprint`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seisprobe.errors import InputError
from seisprobe.seisclip import require
from seisprobe.seisclip.spectra import SAMPLING_RATE_HZ, SEGMENT_SAMPLES, Quality, check_waveforms

if TYPE_CHECKING:
    from seisprobe.seisclip.engine import Encoder

__all__ = ["BandEnergy", "band_energy", "random_encoder", "random_values"]

_BANDS, _LOW_HZ = 8, 0.5
_BLOCK = 16
_FLOOR = 1e-30  # log10 of the power of silence


def random_values(key: str, shape: Sequence[int], seed: int) -> NDArray[np.float32]:
    """Seeded random parameters, by name: any order of names gives the same values.

    LayerNorm weights 1, biases 0, dense and convolution weights of variance 1 / inputs, tokens and positions of
    standard deviation 0.02.

    Examples
    --------
    >>> random_values("norm.weight", (2,), 0), random_values("proj.bias", (2,), 0)
    (array([1., 1.], dtype=float32), array([0., 0.], dtype=float32))
    """
    if key == "logit_scale_at":
        return np.array(np.log(100.0), np.float32)
    if key.endswith((".weight", ".bias")) and len(shape) == 1:
        return np.full(shape, float(key.endswith(".weight")), np.float32)
    scale = float(np.prod(shape[1:])) ** -0.5 if key.endswith(".weight") else 0.02
    draws = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(tuple(shape), np.float32)
    return draws * np.float32(scale)


def random_encoder(
    seeds: Sequence[int] = (0,),
    *,
    frames: int = 120,
    width: int = 384,
    precision: str = "float32",
    device: str = "cpu",
    backend: str = "torch",
    batch: int = 64,
    threads: int = 0,
) -> Encoder:
    """SeisCLIP's architecture with seeded random weights.

    Parameters
    ----------
    seeds : sequence of int
        One network each; windows are read, and spectra made, once for all.
    frames, width : int
        Shape of the networks.
    precision, device, backend, batch, threads
        As in `load_model`.

    Returns
    -------
    Encoder
        `encode` gives (n, len(seeds) · width): reshape to (n, len(seeds), width) for one vector a seed.

    Raises
    ------
    InputError
        No seed, a negative or repeated one, or an unknown option.

    Examples
    --------
    >>> encoder = random_encoder((0, 1), width=64, threads=1)
    >>> encoder.dimension, encoder.segment_samples
    (128, 6000)
    """
    torch = require("torch", "waveforms")
    from seisprobe.seisclip.backends import Options
    from seisprobe.seisclip.engine import Encoder
    from seisprobe.seisclip.model import ModelConfig, SeisClip

    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InputError(f"seeds = {list(seeds)}: give different whole numbers ≥ 0")
    if frames not in (120, 600) or width < 64 or width % 64:
        raise InputError(f"frames = {frames}, width = {width}: give 120 or 600 frames and a multiple of 64")
    models = []
    for seed in seeds:
        with torch.device("meta"):
            model = SeisClip(ModelConfig(frames=frames, width=width))
        values = {key: random_values(key, tuple(value.shape), seed) for key, value in model.state_dict().items()}
        model.load_state_dict({key: torch.from_numpy(value) for key, value in values.items()}, assign=True)
        models.append(model)
    identity = {"encoder": "random_encoder", "seeds": list(seeds), "width": width}
    return Encoder(models, Options(precision, backend, device, batch, threads), identity, SEGMENT_SAMPLES)


class BandEnergy:
    """Eleven numbers a component: log10 power in 8 bands, log10 RSAM, kurtosis, spectral centroid (Hz).

    The bands are equally wide in the logarithm from 0.5 to 50 Hz; powers are means of the squared, Hann-windowed,
    demeaned samples by frequency (Parseval); RSAM is the mean absolute amplitude after the mean is taken off; kurtosis
    is m4 / m2² − 3. Powers and RSAM are in counts, with 1e-30 under the logarithm.

    Examples
    --------
    >>> encoder = BandEnergy()
    >>> seconds = np.arange(6000) / 100
    >>> vector = encoder.encode(np.tile(100 * np.sin(2 * np.pi * 8 * seconds), (1, 3, 1)))[0]
    >>> int(vector[:8].argmax()), round(float(vector[10]), 2)  # 8 Hz is in the fifth band
    (4, 8.0)
    """

    def __init__(self) -> None:
        self.segment_samples = SEGMENT_SAMPLES
        self.dimension = 3 * (_BANDS + 3)
        self.settings: dict[str, Any] = {"encoder": "band_energy", "bands": _BANDS, "low_hz": _LOW_HZ, "revision": 1}
        self.fingerprint = hashlib.sha256(repr(sorted(self.settings.items())).encode()).hexdigest()[:16]
        self.seen = Quality(0, 0, 0)
        self._frequency = np.fft.rfftfreq(SEGMENT_SAMPLES, 1 / SAMPLING_RATE_HZ)
        edges = np.geomspace(_LOW_HZ, SAMPLING_RATE_HZ / 2, _BANDS + 1)
        self._edges = np.searchsorted(self._frequency, edges)
        self._edges[-1] = len(self._frequency)
        self._hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SEGMENT_SAMPLES) / SEGMENT_SAMPLES)

    def encode(self, waveforms: ArrayLike) -> NDArray[np.float32]:
        """Describe windows.

        Parameters
        ----------
        waveforms : array_like
            (n, 3, 6000), counts at 100 Hz, order E, N, Z; not changed.

        Returns
        -------
        ndarray
            (n, 33) float32: eleven numbers for E, for N, for Z.

        Raises
        ------
        InputError
            Wrong shape, NaN or infinite samples.
        """
        given, quality = check_waveforms(waveforms)
        self.seen = Quality(*(a + b for a, b in zip(vars(self.seen).values(), vars(quality).values(), strict=True)))
        vectors = np.empty((len(given), self.dimension), np.float32)
        for start in range(0, len(given), _BLOCK):
            block = given[start : start + _BLOCK].astype(np.float64)
            vectors[start : start + _BLOCK] = self._describe(block).reshape(len(block), -1)
        return vectors

    def _describe(self, block: NDArray[np.float64]) -> NDArray[np.float64]:
        block = block - block.mean(-1, keepdims=True)
        power = np.abs(np.fft.rfft(block * self._hann)) ** 2
        power[..., 1:-1] *= 2  # the negative frequencies
        power /= SEGMENT_SAMPLES**2 * np.mean(self._hann**2)
        bands = np.add.reduceat(power, self._edges[:-1], axis=-1)
        second, fourth = np.mean(block**2, -1), np.mean(block**4, -1)
        alive = second > 0
        kurtosis = np.where(alive, fourth / np.where(alive, second, 1) ** 2 - 3, 0)
        total = power.sum(-1)
        centroid = np.where(alive, (power * self._frequency).sum(-1) / np.where(alive, total, 1), 0)
        rsam = np.mean(np.abs(block), -1)
        logs = np.log10(np.concatenate((bands, rsam[..., None]), -1) + _FLOOR)
        return np.concatenate((logs, kurtosis[..., None], centroid[..., None]), -1)


def band_energy() -> BandEnergy:
    """Make the band-energy baseline (see `BandEnergy`).

    Examples
    --------
    >>> band_energy().dimension
    33
    """
    return BandEnergy()
