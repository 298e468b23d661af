"""One component of one segment: exactly 6,000 samples at 100 Hz from a channel's grid, or the reason why not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seisprobe.embedding.grid import ABSENT, PRESENT, Track, runs_of
from seisprobe.errors import InputError
from seisprobe.seisclip.spectra import SAMPLING_RATE_HZ, SEGMENT_SAMPLES

__all__ = ["DAY_S", "LENGTH_S", "Part", "Segmenting", "find_component"]

LENGTH_S, DAY_S = 60, 86400
_REVISION = 1  # raise it when a change moves a sample of a segment
_MARGIN_S = 2  # more than half the resampling filter of any rate from 20 Hz on
_CLIP_SAMPLES, _CLIP_RUN, _CLIP_RANGE = 10, 3, 1e4
_HALF_FILTER, _KAISER, _CUTOFF = 30, 8.0, 0.92
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Segmenting:
    """How segments are cut.

    Parameters
    ----------
    hop_s : int
        Seconds from one segment's start to the next one's, from 00:00:00 UTC on; divides a day, 1 to 60.
    max_gap_s : float
        Longest gap that is bridged, s.

    Raises
    ------
    InputError
        Another hop, or a gap that is negative or not under 60 s.

    Examples
    --------
    >>> Segmenting(hop_s=7)
    Traceback (most recent call last):
    ...
    seisprobe.errors.InputError: hop_s = 7: give whole seconds from 1 to 60 that divide a day, such as 60, 30, 10
    """

    hop_s: int = 60
    max_gap_s: float = 0.0

    def __post_init__(self) -> None:
        if self.hop_s not in range(1, 61) or DAY_S % self.hop_s:
            raise InputError(
                f"hop_s = {self.hop_s}: give whole seconds from 1 to 60 that divide a day, such as 60, 30, 10"
            )
        if not 0 <= self.max_gap_s < LENGTH_S:
            raise InputError(f"max_gap_s = {self.max_gap_s}: give seconds from 0 to under {LENGTH_S}")

    @property
    def margin_s(self) -> int:
        """Seconds before and after a segment that may have a say in it."""
        return _MARGIN_S + math.ceil(self.max_gap_s)

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides a segment's samples once its start is known: part of a store's fingerprint."""
        length = {"length_s": LENGTH_S, "rate_hz": SAMPLING_RATE_HZ, "revision": _REVISION}
        return {**length, "max_gap_s": float(self.max_gap_s)}


@dataclass
class Part:
    """One component of one segment; `samples` (6000,) where `reason` is empty, made when they are asked for."""

    channel: str = ""
    reason: str = ""
    gap_s: float = 0.0
    offset_s: float = 0.0
    rate_hz: float = math.nan
    filled_samples: int = 0
    overlap_samples: int = 0
    make: Callable[[], Floats] | None = None

    @property
    def samples(self) -> Floats | None:
        """The component at 100 Hz."""
        return None if self.make is None else self.make()


def find_component(tracks: Mapping[str, Sequence[Track]], letter: str, start_s: int, settings: Segmenting) -> Part:
    """Return one component of a segment, from the channel whose code ends with a letter.

    Parameters
    ----------
    tracks : mapping of str to sequence of Track
        By channel code.
    letter : str
    start_s : int
        UTC second (since 1970) at which the segment starts.
    settings : Segmenting

    Returns
    -------
    Part
        With its samples where it has no reason.

    Examples
    --------
    >>> from obspy import Trace
    >>> from seisprobe.embedding.grid import place
    >>> noise = np.random.default_rng(0).normal(0, 100, 6000)
    >>> tracks = place([Trace(noise, {"sampling_rate": 100.0, "starttime": 60.0, "channel": "HHZ"})], 0, 180)
    >>> vertical, east = (find_component(tracks, letter, 60, Segmenting()) for letter in "ZE")
    >>> vertical.samples.shape, east.reason
    ((6000,), 'missing_component')
    """
    for channel in sorted(code for code in tracks if code.endswith(letter)):
        found = []
        for track in tracks[channel]:
            begin, end = track.index(start_s), track.index(start_s + LENGTH_S)
            if track.holds_any(begin, end):
                found.append((track, begin, end))
        if len(found) > 1:
            return Part(channel, "rate_change")
        if found:
            return _cut(channel, *found[0], start_s, settings)
    return Part(reason="missing_component")


def _cut(channel: str, track: Track, begin: int, end: int, start_s: int, settings: Segmenting) -> Part:
    """One component of one segment from the only track that has samples in it."""
    part = Part(channel, offset_s=track.offset_s(begin, end, start_s), rate_hz=track.rate_hz)
    whole = track.holds_all(begin, end)
    if whole and track.rate_hz == SAMPLING_RATE_HZ:
        inside = track.window(begin, end)[0]
        part.make = partial(np.asarray, inside)
    else:
        around = track.index(start_s - settings.margin_s), track.index(start_s + LENGTH_S + settings.margin_s)
        values, state = track.window(*around)
        part.offset_s = track.offset_s(*around, start_s - settings.margin_s)
        here = slice(begin - around[0], end - around[0])
        _measure_gaps(part, state, here, settings.max_gap_s)
        if part.reason:
            return part
        values = _bridge(values, state)
        inside = values[here]
        same = track.rate_hz == SAMPLING_RATE_HZ
        part.make = partial(np.asarray, inside) if same else partial(_resample, values, track, settings.margin_s)
    part.reason = _judge(inside)
    return part


def _measure_gaps(part: Part, state: NDArray[np.uint8], here: slice, max_gap_s: float) -> None:
    """Write gap, filled and overlapping samples, and whether the gap is too long."""
    part.overlap_samples = int(np.count_nonzero(state[here] > PRESENT))
    part.filled_samples = int(np.count_nonzero(state[here] != PRESENT))
    longest = _longest(state != PRESENT, here)
    part.gap_s = longest / part.rate_hz
    if part.gap_s > max_gap_s:
        part.filled_samples = 0
        part.reason = "gap" if _longest(state == ABSENT, here) / part.rate_hz > max_gap_s else "overlap"


def _longest(mask: NDArray[np.bool_], here: slice) -> int:
    """Length of the longest run that touches [start, stop), however far it goes on outside."""
    runs = runs_of(mask)
    touching = runs[(runs[:, 0] < here.stop) & (runs[:, 1] > here.start)]
    return int((touching[:, 1] - touching[:, 0]).max(initial=0))


def _bridge(values: Floats, state: NDArray[np.uint8]) -> Floats:
    """Straight lines across gaps; beyond the first and last sample, their values (of the margin alone)."""
    good = state == PRESENT
    if good.all():
        return values
    places = np.arange(len(values))
    bridged: Floats = np.interp(places, places[good], values[good]).astype(np.float32)
    return bridged


@cache
def _filter(rate_hz: float) -> tuple[int, int, NDArray[np.float64]]:
    """Up, down and the low-pass filter between them: Kaiser-windowed sinc, 80 dB down at the lower Nyquist frequency.

    Length and cutoff by Kaiser's formula, A − 7.95 = 2.285 · Δω · length (Oppenheim & Schafer, Discrete-Time Signal
    Processing, section 7.6.1), here Δω = 0.16 of the Nyquist frequency.
    """
    from scipy.signal import firwin

    ratio = Fraction(int(SAMPLING_RATE_HZ)) / Fraction(rate_hz).limit_denominator(1000)
    up, down = ratio.numerator, ratio.denominator
    most = max(up, down)
    taps = firwin(2 * _HALF_FILTER * most + 1, _CUTOFF / most, window=("kaiser", _KAISER)) if most > 1 else np.ones(1)
    return up, down, taps


def _resample(values: Floats, track: Track, margin_s: int) -> Floats:
    from scipy.signal import resample_poly

    up, down, taps = _filter(track.rate_hz)
    first = round(margin_s * SAMPLING_RATE_HZ)
    exact = values.astype(np.float64)
    level = exact.mean()  # an offset of 10⁶ counts would come back as a tone 80 dB below it
    out = resample_poly(exact - level, up, down, window=taps)
    segment: Floats = (out[first : first + SEGMENT_SAMPLES] + level).astype(np.float32)
    return segment


def _judge(values: Floats) -> str:
    low, high = values.min(), values.max()
    if low == high:
        return "dead_channel"
    return "clipped" if any(_stands_at(values, level, float(high - low)) for level in (low, high)) else ""


def _stands_at(values: Floats, level: np.float32, extent: float) -> bool:
    at = values == level
    if np.count_nonzero(at) < _CLIP_SAMPLES:
        return False
    lengths = np.diff(runs_of(at), axis=1)
    if lengths[lengths >= _CLIP_RUN].sum() < _CLIP_SAMPLES:
        return False
    steps = np.abs(np.diff(values))
    return bool(extent >= _CLIP_RANGE * steps[steps > 0].min())
