"""Counts to spectrograms, as the authors of SeisCLIP make them, and the checks on what comes in.

The authors normalise each channel and take the magnitude of scipy's short-time Fourier transform: periodic Hann
window, hop of half a window, 100-point transform, divided by the sum of the window, without the zero frequency and
without the frame centred on the first sample. All of that is one product with a (window, 100) matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seisprobe.errors import InputError

__all__ = [
    "BINS",
    "SAMPLING_RATE_HZ",
    "SEGMENT_SAMPLES",
    "Quality",
    "check_waveforms",
    "cut_windows",
    "dft_matrix",
    "frame_length",
    "spectrogram",
    "z_norm",
]

SAMPLING_RATE_HZ = 100.0
SEGMENT_SAMPLES = 6000
BINS = 50
_COMPONENTS = "ENZ"
_SMALL = 1e-2
_BLOCK = 8  # windows worked on at a time, so that temporaries stay in cache and memory stays bounded


@dataclass(frozen=True)
class Quality:
    """What `check_waveforms` saw and let pass.

    Parameters
    ----------
    windows : int
        Windows looked at.
    zero_channels : int
        Channels in which every sample is 0; their spectrogram is 0, as with the authors.
    small_windows : int
        Windows that are not all zero with a largest sample under 1e-2: probably m/s, not counts.
    """

    windows: int
    zero_channels: int
    small_windows: int


def check_waveforms(
    waveforms: ArrayLike, samples: int | None = SEGMENT_SAMPLES, sampling_rate_hz: float = SAMPLING_RATE_HZ
) -> tuple[NDArray[np.float32], Quality]:
    """Waveforms as float32, or one line on what is wrong with them.

    Parameters
    ----------
    waveforms : array_like
        (n, 3, samples) in the order E, N, Z; any real type.
    samples : int, optional
        Samples a window must have; None: any number.
    sampling_rate_hz : float
        The rate that the caller knows his data to have.

    Returns
    -------
    waveforms : ndarray
        The input itself if it was float32, else a copy.
    quality : Quality
        Counts of what is allowed but worth saying.

    Raises
    ------
    InputError
        Another rate than 100 Hz, another shape, a type that is no number, a NaN or infinite sample.

    Examples
    --------
    >>> _, quality = check_waveforms(np.zeros((2, 3, 6000)))
    >>> quality
    Quality(windows=2, zero_channels=6, small_windows=0)
    """
    if sampling_rate_hz != SAMPLING_RATE_HZ:
        raise InputError(f"sampling rate {sampling_rate_hz:g} Hz: SeisCLIP takes 100 Hz; resample the data first")
    given = np.asarray(waveforms)
    if given.dtype.kind not in "fiu":
        raise InputError(f"waveforms of type {given.dtype}: give real numbers (counts)")
    wanted = "samples" if samples is None else samples
    if given.ndim != 3 or given.shape[1] != 3 or samples not in (None, given.shape[2]) or not given.shape[2]:
        raise InputError(f"waveforms of shape {given.shape}: give (n, 3, {wanted}), 100 Hz, components E, N, Z")
    with np.errstate(over="ignore"):
        counts = given.astype(np.float32, copy=False)
    return counts, _quality(counts)


def _quality(counts: NDArray[np.float32]) -> Quality:
    if not len(counts):
        return Quality(0, 0, 0)
    largest = np.maximum(counts.max(-1), -counts.min(-1))  # NaN and infinity survive both
    bad = np.argwhere(~np.isfinite(largest))
    if len(bad):
        window, channel = map(int, bad[0])
        raise InputError(
            f"window {window}, component {_COMPONENTS[channel]}: NaN or infinite samples "
            f"({len(bad)} channels in all); fill or drop these windows first"
        )
    windows = largest.max(1)
    small = int(np.count_nonzero((windows > 0) & (windows < _SMALL)))
    return Quality(len(counts), int(np.count_nonzero(largest == 0)), small)


def cut_windows(waveforms: NDArray[Any], samples: int = SEGMENT_SAMPLES) -> NDArray[Any]:
    """Cut longer windows into whole segments: 120 s are two of 60 s.

    Parameters
    ----------
    waveforms : ndarray
        (n, 3, k · samples).
    samples : int
        Samples a segment.

    Returns
    -------
    ndarray
        (n, k, 3, samples), in time order.

    Raises
    ------
    InputError
        The length is no multiple of `samples`.

    Examples
    --------
    >>> cut_windows(np.zeros((5, 3, 12000))).shape
    (5, 2, 3, 6000)
    """
    if waveforms.ndim != 3 or waveforms.shape[2] < samples or waveforms.shape[2] % samples:
        raise InputError(f"waveforms of shape {waveforms.shape}: give (n, 3, k · {samples})")
    n, components, length = waveforms.shape
    return waveforms.reshape(n, components, length // samples, samples).swapaxes(1, 2)


def z_norm(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """(x − mean) / (std + 1e-3) a channel, population std, as the authors' `z_norm`, on a copy.

    Parameters
    ----------
    counts : ndarray
        (..., samples).

    Returns
    -------
    ndarray
        float32, the same shape. A channel of zeros stays zero.

    Examples
    --------
    >>> z_norm(np.array([[1.0, 3.0]], np.float32)).round(3)
    array([[-0.999,  0.999]], dtype=float32)
    """
    centred = counts - counts.mean(-1, keepdims=True)
    std = np.sqrt(np.mean(np.square(centred), -1, keepdims=True))
    normed: NDArray[np.float32] = centred / (std + np.float32(1e-3))
    return normed


def frame_length(samples: int, frames: int) -> int:
    """Samples of one frame: 100 (1 s) or 20 (0.2 s), from the number of half-overlapping frames.

    Raises
    ------
    InputError
        The frames are neither samples / 50 nor samples / 10.

    Examples
    --------
    >>> frame_length(6000, 120), frame_length(6000, 600), frame_length(12000, 240)
    (100, 20, 100)
    """
    for length in (100, 20):
        if frames > 0 and samples == frames * (length // 2):
            return length
    raise InputError(
        f"frames = {frames} for {samples} samples: give samples / 50 (1 s frames) or samples / 10 (0.2 s frames); "
        "6000 samples take 120 or 600"
    )


@cache
def dft_matrix(length: int) -> NDArray[np.float32]:
    """Hann window times discrete Fourier transform, bins 1 to 50 of 100 points: (length, 100), cosines then sines.

    Periodic Hann, divided by its sum (scipy's scaling="spectrum"); a shorter frame is padded with zeros to 100.

    Examples
    --------
    >>> dft_matrix(20).shape
    (20, 100)
    """
    sample = np.arange(length)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * sample / length)
    phase = 2 * np.pi * np.outer(sample, np.arange(1, BINS + 1)) / 100
    both = np.concatenate((np.cos(phase), np.sin(phase)), 1) * (hann / hann.sum())[:, None]
    matrix: NDArray[np.float32] = both.astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def spectrogram(counts: ArrayLike, frames: int = 120) -> NDArray[np.float32]:
    """Spectrograms as SeisCLIP takes them: z-norm, Hann, magnitude of frequencies 1 to 50 Hz.

    Equal to the authors' `z_norm` and `cal_norm_spectrogram` (scipy.signal.stft) within 2e-6.

    Parameters
    ----------
    counts : array_like
        (n, 3, samples), 100 Hz, order E, N, Z; not changed.
    frames : int
        120 (1 s frames) or 600 (0.2 s frames) for 6,000 samples; 240 or 1200 for 12,000.

    Returns
    -------
    ndarray
        (n, 3, frames, 50) float32: time, then frequency.

    Raises
    ------
    InputError
        Wrong shape, NaN or infinite samples, or a number of frames that does not fit.

    Examples
    --------
    >>> seconds = np.arange(6000) / 100
    >>> spectra = spectrogram(np.tile(1000 * np.sin(2 * np.pi * 5 * seconds), (1, 3, 1)))
    >>> spectra.shape, int(spectra[0, 2, 60].argmax()) + 1  # Hz
    ((1, 3, 120, 50), 5)
    """
    given, _ = check_waveforms(counts, None)
    n, _, samples = given.shape
    length = frame_length(samples, frames)
    spectra = np.empty((n, 3, frames, BINS), np.float32)
    for start in range(0, n, _BLOCK):
        spectra[start : start + _BLOCK] = _magnitudes(z_norm(given[start : start + _BLOCK]), length)
    return spectra


def _magnitudes(normed: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    padded = np.pad(normed, ((0, 0), (0, 0), (0, length // 2)))  # the last frame ends in zeros, as scipy pads
    framed = np.lib.stride_tricks.sliding_window_view(padded, length, axis=-1)[..., :: length // 2, :]
    parts = np.ascontiguousarray(framed).reshape(-1, length) @ dft_matrix(length)
    np.square(parts, out=parts)
    return np.sqrt(parts[:, :BINS] + parts[:, BINS:]).reshape(*framed.shape[:-1], BINS)
