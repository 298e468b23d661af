"""Tremor put into segments: band-limited noise of a known power, for injection and recovery (PROTOCOL 6).

Its power is the same in every segment of an instrument and a component, so many decibels above the median of what the
instrument records there; a segment in which the ground was quiet rises more than one in which it was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.errors import InputError
from seisprobe.seisclip.spectra import SAMPLING_RATE_HZ, SEGMENT_SAMPLES

__all__ = ["Tremor", "band_noise", "band_power", "check_band", "instrument_of"]

Floats = NDArray[np.float64]
Band = tuple[float, float]
_LEAST_WIDTH_HZ = 0.5  # 30 frequencies of a segment
_AT_ONCE = 64


def check_band(band_hz: Band) -> None:
    """Refuse a band that a segment at 100 Hz does not hold.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_band((8.0, 2.0))
    Traceback (most recent call last):
    ...
    seisprobe.errors.InputError: band 8 to 2 Hz: give two frequencies from 0.1 to 42 Hz, at least 0.5 Hz apart
    """
    low, high = band_hz
    if not (low >= 0.1 and high <= 42.0 and high - low >= _LEAST_WIDTH_HZ):
        raise InputError(f"band {low:g} to {high:g} Hz: give two frequencies from 0.1 to 42 Hz, at least 0.5 Hz apart")


def _in_band(band_hz: Band) -> NDArray[np.bool_]:
    frequency = np.fft.rfftfreq(SEGMENT_SAMPLES, 1 / SAMPLING_RATE_HZ)
    return np.asarray((frequency >= band_hz[0]) & (frequency <= band_hz[1]))


def band_power(waveforms: NDArray[Any], band_hz: Band) -> Floats:
    """Return the power of segments in a band: Hann-windowed, demeaned, mean square by frequency (Parseval).

    Parameters
    ----------
    waveforms : ndarray, shape (v, 3, 6000)
    band_hz : (low, high)

    Returns
    -------
    ndarray, shape (v, 3)
        In squared units of the waveforms.

    Examples
    --------
    >>> second = np.arange(6000) / 100
    >>> band_power(np.tile(3 * np.sin(2 * np.pi * 5 * second), (1, 3, 1)), (2.0, 8.0)).round(3).tolist()
    [[4.5, 4.5, 4.5]]
    """
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SEGMENT_SAMPLES) / SEGMENT_SAMPLES)
    wanted = _in_band(band_hz)
    power = np.empty(waveforms.shape[:2])
    for first in range(0, len(waveforms), _AT_ONCE):
        some = waveforms[first : first + _AT_ONCE].astype(np.float64)
        some -= some.mean(axis=-1, keepdims=True)
        squares = np.abs(np.fft.rfft(some * hann)[..., wanted]) ** 2
        power[first : first + _AT_ONCE] = 2 * squares.sum(axis=-1) / (SEGMENT_SAMPLES**2 * np.mean(hann**2))
    return power


def band_noise(seed: int, station: str, start_s: int, band_hz: Band) -> Floats:
    """Return Gaussian noise of a band, (3, 6000), mean square 1 in expectation; station, start and seed decide it.

    Examples
    --------
    >>> noise = band_noise(0, "IV.NRCA", 60, (2.0, 8.0))
    >>> noise.shape, bool(np.all(np.abs((noise**2).mean(axis=1) - 1) < 0.3))
    ((3, 6000), True)
    """
    rng = np.random.default_rng([seed, crc32(f"tremor {station}".encode()), start_s])
    wanted = _in_band(band_hz)
    spectrum = np.zeros((3, len(wanted)), dtype=np.complex128)
    drawn = rng.standard_normal((2, 3, int(wanted.sum())))
    spectrum[:, wanted] = (drawn[0] + 1j * drawn[1]) * SEGMENT_SAMPLES / (2 * np.sqrt(wanted.sum()))
    return np.asarray(np.fft.irfft(spectrum, SEGMENT_SAMPLES))


def instrument_of(table: pd.DataFrame) -> pd.Series:
    """Return the instrument of segments, ``"NET.STA.LOC.BAND"``."""
    return table["network"] + "." + table["station"] + "." + table["location"] + "." + table["channels"].str[:2]


@dataclass(frozen=True)
class Tremor:
    """Adds tremor to segments: a `seisprobe.embedding.work.Change`.

    Parameters
    ----------
    size_db : float
        The band's power of a median segment with tremor, above that without, 10 log10; 0 adds nothing.
    band_hz : (low, high)
    seed : int
    levels : mapping of instrument to three numbers
        Median band power of E, N and Z.

    Examples
    --------
    >>> tremor = Tremor(10.0, (2.0, 8.0), 0, {"IV.NRCA..HH": (1.0, 1.0, 4.0)})
    >>> row = {"network": "IV", "station": "NRCA", "location": "", "channels": "HHE,HHN,HHZ"}
    >>> table = pd.DataFrame([row | {"start": pd.Timestamp(60, unit="s", tz="UTC")}])
    >>> changed = tremor(np.zeros((1, 3, 6000), np.float32), table)
    >>> (changed**2).mean(axis=2).round(0).tolist()  # nine times the median is added, less or more by chance
    [[9.0, 9.0, 37.0]]
    """

    size_db: float
    band_hz: Band
    seed: int
    levels: Mapping[str, tuple[float, float, float]]

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides what is added."""
        levels = {name: list(level) for name, level in sorted(self.levels.items())}
        return {"tremor_db": self.size_db, "band_hz": list(self.band_hz), "seed": self.seed, "levels": levels}

    def __call__(self, waveforms: NDArray[np.float32], table: pd.DataFrame) -> NDArray[np.float32]:
        """Return segments with tremor.

        Parameters
        ----------
        waveforms : ndarray, shape (v, 3, 6000)
        table : DataFrame
            Their rows: network, station, location, channels, start.
        """
        changed = waveforms.copy()
        stations = table["network"] + "." + table["station"]
        seconds = table["start"].astype("datetime64[s, UTC]").astype("int64")
        for row, (name, station, start_s) in enumerate(zip(instrument_of(table), stations, seconds, strict=True)):
            added = np.asarray(self.levels[name]) * (10 ** (self.size_db / 10) - 1)
            changed[row] += np.sqrt(added)[:, None] * band_noise(self.seed, station, start_s, self.band_hz)
        return changed
