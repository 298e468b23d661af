"""Batched encoding: waveforms in, vectors out, in bounded memory, by any backend.

Windows are shared out to threads that each work alone on whole batches: with small matrices this is faster than all
threads on one batch, and a vector does not depend on how many threads there were.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from seisprobe.errors import InputError
from seisprobe.seisclip.backends import Options, build_program, resolve
from seisprobe.seisclip.fast import TorchSpectra
from seisprobe.seisclip.model import SeisClip, config_from_state, interpolate_positions, load_state
from seisprobe.seisclip.spectra import BINS, SAMPLING_RATE_HZ, Quality, check_waveforms, cut_windows
from seisprobe.seisclip.weights import Weights, read_weights

__all__ = ["Encoder", "load_model", "make_encoder"]

_LOG = logging.getLogger(__name__)
_REVISION = 1  # of what the vectors mean; raise it when a change moves them by more than rounding
_LEAST_CHUNK = 8
Floats = NDArray[np.float32]


class Encoder:
    """Waveforms, spectra or metadata → vectors, by one network or several of one shape.

    Made by `load_model` and `random_encoder`.

    Parameters
    ----------
    models : sequence of SeisClip
        Networks of one shape; their vectors stand side by side, and spectra are made once for all.
    options : Options
        How to run; "auto" is resolved here, by a short timing of the first model.
    identity : dict
        What the weights are: part of the fingerprint.
    samples : int
        Samples of a window at 100 Hz.

    Attributes
    ----------
    segment_samples, dimension : int
        Samples a window, numbers a vector.
    settings : dict
        All that decides the vectors; `fingerprint` is 16 hexadecimal digits of its SHA-256.
    seen : Quality
        Windows encoded so far, with all-zero channels and windows that look like m/s counted.

    Examples
    --------
    >>> from seisprobe.seisclip.model import ModelConfig
    >>> model = SeisClip(ModelConfig(width=64, depth=1))
    >>> encoder = Encoder([model], Options(threads=1), {"weights": "random"}, 6000)
    >>> encoder.encode(np.random.default_rng(0).normal(0, 100, (2, 3, 6000))).shape
    (2, 64)
    """

    def __init__(self, models: Sequence[SeisClip], options: Options, identity: dict[str, Any], samples: int) -> None:
        placed = [model.eval().requires_grad_(False) for model in models]
        config = placed[0].config
        self.options = resolve(options, placed[0])
        self.models = [model.to(self.options.device) for model in placed]
        self.programs = [build_program(model, self.options) for model in self.models]
        self.spectra = TorchSpectra(samples, config.frames, self.options.device)
        self.segment_samples, self.dimension = samples, config.width * len(placed)
        self.frames = config.frames
        self.settings = {**identity, **asdict(self.options), "frames": config.frames, "revision": _REVISION}
        self.settings["device"] = torch.device(self.options.device).type
        self.fingerprint = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]
        self.seen = Quality(0, 0, 0)

    def encode(self, waveforms: ArrayLike) -> Floats:
        """Encode windows of exactly `segment_samples`.

        Parameters
        ----------
        waveforms : array_like
            (n, 3, segment_samples), counts at 100 Hz, order E, N, Z; not changed.

        Returns
        -------
        ndarray
            (n, dimension) float32, not normalised.

        Raises
        ------
        InputError
            Wrong shape, NaN or infinite samples.
        """
        return self._encode_array(self._checked(waveforms), self._from_waveforms)

    def encode_waveforms(self, counts: ArrayLike, sampling_rate_hz: float = SAMPLING_RATE_HZ) -> Floats:
        """Encode windows of `segment_samples`, or longer ones cut into k whole segments.

        Parameters
        ----------
        counts : array_like
            (n, 3, k · segment_samples), order E, N, Z; not changed.
        sampling_rate_hz : float
            What the caller knows; anything but 100 is refused.

        Returns
        -------
        ndarray
            (n, dimension) for k = 1, else (n, k, dimension): 120 s give two vectors.

        Raises
        ------
        InputError
            Wrong rate or shape, NaN or infinite samples.
        """
        shape = np.shape(counts)
        if len(shape) != 3 or shape[2] <= self.segment_samples or shape[2] % self.segment_samples:
            check_waveforms(np.empty((0, 3, self.segment_samples)), None, sampling_rate_hz)
            return self.encode(counts)
        given, _ = check_waveforms(counts, None, sampling_rate_hz)
        segments = cut_windows(given, self.segment_samples)
        return self.encode(segments.reshape(-1, 3, self.segment_samples)).reshape(*segments.shape[:2], -1)

    def encode_spectrum(self, spectra: ArrayLike) -> Floats:
        """Encode spectrograms made by `spectrogram`.

        Parameters
        ----------
        spectra : array_like
            (n, 3, frames, 50); up to 9 further frames and bins are ignored, as by the authors' model.

        Returns
        -------
        ndarray
            (n, dimension) float32, not normalised.

        Raises
        ------
        InputError
            Wrong shape, NaN or infinite values.
        """
        given = np.asarray(spectra, np.float32)
        frames, bins = given.shape[2:] if given.ndim == 4 else (0, 0)
        if not (given.ndim == 4 and given.shape[1] == 3 and 0 <= frames - self.frames < 10 and 0 <= bins - BINS < 10):
            raise InputError(f"spectra of shape {given.shape}: give (n, 3, {self.frames}, {BINS}), see spectrogram")
        if not np.isfinite(given).all():
            raise InputError("spectra hold NaN or infinite values; drop these windows first")
        return self._encode_array(np.ascontiguousarray(given[:, :, : self.frames, :BINS]), self._from_spectra)

    def encode_metadata(self, features: ArrayLike) -> Floats:
        """Encode the eight normalised features of `normalise_features`.

        Parameters
        ----------
        features : array_like
            (n, 8), no NaN.

        Returns
        -------
        ndarray
            (n, dimension) float32, not normalised.

        Raises
        ------
        InputError
            Wrong shape, NaN or infinite values.
        """
        given = np.asarray(features, np.float32)
        if given.ndim != 2 or given.shape[1] != 8:
            raise InputError(f"metadata of shape {given.shape}: give (n, 8), see normalise_features")
        if not np.isfinite(given).all():
            raise InputError("metadata hold NaN or infinite values; normalise_features puts 0 for what is missing")
        with torch.inference_mode():
            tensor = torch.from_numpy(given.copy()).to(self.options.device)
            vectors = torch.cat([model.encode_text(tensor) for model in self.models], 1)
        array: Floats = vectors.cpu().numpy()
        return array

    def encode_stream(self, windows: Iterable[NDArray[Any]]) -> Iterator[Floats]:
        """Encode an iterator of any length, holding a few batches at a time.

        Parameters
        ----------
        windows : iterable of ndarray
            Single windows (3, segment_samples) or blocks of them (n, 3, segment_samples).

        Yields
        ------
        ndarray
            (batch, dimension) float32, in order; the last may be shorter. How the windows were blocked does not matter.

        Raises
        ------
        InputError
            As `encode`, when the bad window is reached.
        """
        batches = _rebatch((self._checked(_block(window)) for window in windows), self.options.batch)
        return self._map(self._from_waveforms, batches)

    def _checked(self, waveforms: ArrayLike) -> Floats:
        given, quality = check_waveforms(waveforms, self.segment_samples)
        small = self.seen.small_windows
        if quality.small_windows and not small:
            _LOG.warning(
                "%d of %d windows have no sample over 0.01: data in m/s? SeisCLIP takes counts and squashes these to "
                "almost nothing; scale them first (embed --scale 1e9)",
                quality.small_windows,
                quality.windows,
            )
        if quality.zero_channels and not self.seen.zero_channels:
            _LOG.warning("%d all-zero channels: encoded as zeros, and counted", quality.zero_channels)
        self.seen = Quality(
            self.seen.windows + quality.windows,
            self.seen.zero_channels + quality.zero_channels,
            small + quality.small_windows,
        )
        return given

    def _encode_array(self, given: Floats, run: Callable[[Floats], Floats]) -> Floats:
        chunk = self.options.batch
        if self.options.backend != "compiled":  # which pads every batch to the full one
            chunk = min(chunk, max(_LEAST_CHUNK, -(-len(given) // self.options.threads)))
        chunks = (given[start : start + chunk] for start in range(0, len(given), chunk))
        return np.concatenate([np.empty((0, self.dimension), np.float32), *self._map(run, chunks)])

    def _map(self, run: Callable[[Floats], Floats], batches: Iterable[Floats]) -> Iterator[Floats]:
        """Results in order; never more than threads + 2 batches alive."""
        waiting: deque[Future[Floats]] = deque()
        with ThreadPoolExecutor(self.options.threads, "encode", _work_alone) as pool:
            for batch in batches:
                waiting.append(pool.submit(run, batch))
                if len(waiting) > self.options.threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _from_waveforms(self, counts: Floats) -> Floats:
        with torch.inference_mode():
            return self._run(self.spectra(_tensor(counts).to(self.options.device)))

    def _from_spectra(self, spectra: Floats) -> Floats:
        return self._run(_tensor(spectra).to(self.options.device))

    def _run(self, spectra: torch.Tensor) -> Floats:
        vectors: Floats = torch.cat([program(spectra) for program in self.programs], 1).float().cpu().numpy()
        return vectors


def _work_alone() -> None:
    """One thread a worker: torch's number of threads belongs to the thread that sets it."""
    torch.set_num_threads(1)


def _tensor(array: Floats) -> torch.Tensor:
    """Share memory where torch can: it warns of read-only arrays, and wants native byte order and positive strides."""
    return torch.from_numpy(np.require(array, np.float32, ["C", "W"]))


def _block(windows: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(windows)
    return array[None] if array.ndim == 2 else array


def _rebatch(blocks: Iterable[Floats], batch: int) -> Iterator[Floats]:
    """Blocks of any length → blocks of `batch`, the last shorter."""
    held: list[Floats] = []
    count = 0
    for block in blocks:
        held.append(block.copy())  # the caller may fill the same buffer again
        count += len(block)
        if count < batch:
            continue
        joined = np.concatenate(held)
        whole = count - count % batch
        yield from np.split(joined[:whole], whole // batch)
        held, count = [joined[whole:].copy()], count - whole
    if count:
        yield np.concatenate(held)


def load_model(
    name: str = "seisclip-120",
    weights: str | Path | None = None,
    *,
    precision: str = "float32",
    device: str = "cpu",
    backend: str = "torch",
    batch: int = 64,
    threads: int = 0,
    frames: int | None = None,
) -> Encoder:
    """Load a SeisCLIP encoder.

    Parameters
    ----------
    name : str
        A name of `seisprobe weights list`, or the path of a checkpoint.
    weights : path, optional
        An official .pt, a .safetensors file, or a folder of weights; default: the user's weights folder.
    precision : {"float32", "bfloat16", "auto"}
        float32 is the reference; auto is bfloat16 where the processor or GPU is faster with it.
    device : str
        cpu or cuda.
    backend : {"torch", "fused", "compiled", "openvino", "auto"}
        torch is the reference; auto takes the fastest of torch, fused and openvino by a short timing.
    batch, threads : int
        Windows a forward pass; threads, 0 for one a processor.
    frames : int, optional
        Another number of time frames than the weights': position embeddings are stretched linearly in time (240 for
        120 s with seisclip-120). The default cuts longer windows into 60 s segments instead.

    Returns
    -------
    Encoder
        With `encode`, `encode_waveforms`, `encode_spectrum`, `encode_metadata`, `encode_stream`.

    Raises
    ------
    InputError
        No such weights, a checkpoint of another model, a truncated or unsafe file, an unknown option.

    Examples
    --------
    >>> load_model("no-such-model", weights="nowhere.pt")
    Traceback (most recent call last):
    ...
    seisprobe.errors.DataFileError: nowhere.pt: no such file; give the path of a checkpoint, or the folder of weights
    """
    found = read_weights(name, weights)
    config = config_from_state(found.state, found.source)
    options = Options(precision, backend, device, batch, threads)
    native = config.frames
    hop = 50 if native < 600 else 10  # samples between frames: 0.5 s, or 0.1 s for the 600-frame weights
    state: dict[str, Any] = dict(found.state)
    if frames is not None and frames != native:
        state = interpolate_positions(state, frames)
        config = replace(config, frames=frames)
    model = load_state(SeisClip(config), state, found.source)
    return Encoder([model], options, _identity(found, native), config.frames * hop)


def _identity(found: Weights, native_frames: int) -> dict[str, Any]:
    return {"encoder": found.name, "weights": found.digest, "native_frames": native_frames}


def make_encoder(name: str, weights: str | Path | None = None, **options: Any) -> Any:
    """Make the encoder that a study names: SeisCLIP by its weights' name, or a baseline.

    Parameters
    ----------
    name : str
        "random_encoder", "band_energy", a name of `seisprobe weights list`, or the path of a checkpoint.
    weights : path, optional
        As in `load_model`; the baselines have none.
    **options
        precision, device, backend, batch, threads, frames (and seeds for random_encoder).

    Returns
    -------
    object
        With `encode(waveforms)`, `segment_samples`, `dimension`, `fingerprint`.

    Examples
    --------
    >>> make_encoder("band_energy").dimension
    33
    """
    from seisprobe.seisclip.baselines import band_energy, random_encoder

    if name == "band_energy":
        return band_energy()
    if name == "random_encoder":
        return random_encoder(**options)
    return load_model(name, weights, **options)
