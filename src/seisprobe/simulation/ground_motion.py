"""Ground motion of an earthquake by the stochastic method: spectra, arrivals, envelopes and time histories.

An omega-squared source (Brune 1970) is followed through a layered crust, geometrical spreading 1/r, Q(f), the
amplification of rock and kappa to an amplitude spectrum at a station; random noise under the envelope of a phase is
given that spectrum (Boore 2003, Pure appl. geophys. 160, 635–676). P is one train polarised along its ray, S is
independent on the three components, and the coda follows S.

The sources of constants stand beside them. Radiation, partition, free surface, spreading, rock amplification and path
durations were checked against published tables; the velocity layers, stress drop, Q, kappa, the corner ratio of P, the
vertical share and the coda's Q are quoted from memory of the papers named and are still to be checked against them.
What follows from all of them is compared with the peak accelerations of Bindi et al. (2011).

Frequencies in Hz, distances and depths in km, magnitudes Mw. Samples at 100 Hz, components in the order E, N, Z.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import fft, ndimage

from seisprobe.catalog import Floats

__all__ = [
    "LAYERS",
    "Arrivals",
    "Medium",
    "acceleration_spectrum",
    "arrivals",
    "corner_frequency",
    "envelopes",
    "event_velocity",
    "phase_duration_s",
    "seismic_moment_nm",
    "window_lengths",
]

SAMPLING_HZ = 100
PAD_S = 1.0  # of the window before P: the filters of Q and kappa have a short forerunner

# Thickness in km, Vp and Vs in km/s; the last is a half-space. Central Italy Apennines model (CIA) of Herrmann,
# Malagnini & Munafò (2011), BSSA 101, 975–993.
LAYERS = (
    (1.5, 3.75, 2.14),
    (3.0, 4.94, 2.82),
    (3.0, 6.01, 3.43),
    (7.0, 5.55, 3.15),
    (15.0, 5.88, 3.36),
    (6.0, 7.11, 4.01),
    (8.0, 7.10, 3.99),
    (np.inf, 7.90, 4.40),
)
DEPTHS_KM = np.concatenate([[0.1], np.arange(1.0, 60.0), np.arange(60.0, 701.0, 20.0)])
LARGEST_KM = 600.0  # of the table of travel times; further on, the slowness of the mantle

RADIATION = {"P": (4 / 15) ** 0.5, "S": 0.55}  # P: rms over the sphere (Aki & Richards 2002); S: Boore 2003
FREE_SURFACE = 2.0  # Boore 2003
HORIZONTAL_SHARE = 0.5**0.5  # of S on each of two horizontal components: Boore 2003
VERTICAL_TO_HORIZONTAL = 2.0 / 3.0  # of S: Newmark, Blume & Kapur (1973)
CORNER_RATIO = 0.32 / 0.21  # of P to S: Madariaga (1976), BSSA 66, 639–666, table 1
# Rock of Vs30 = 760 m/s under a source at 3.5 km/s and 2.72 g/cm³, kappa apart: Boore (2016), BSSA 106, 316–320.
ROCK_HZ = (0.010, 0.021, 0.045, 0.095, 0.200, 0.423, 0.894, 1.892, 4.000, 8.459, 17.889, 37.830, 80.000)
ROCK_AMPLIFICATION = (1.00, 1.02, 1.04, 1.09, 1.18, 1.32, 1.51, 1.80, 2.18, 2.56, 2.95, 3.42, 3.96)
# Path duration in active crust: Boore & Thompson (2014), BSSA 104, 2541–2552, table 1; then 0.156 s/km.
PATH_KM = (0.0, 7.0, 45.0, 125.0, 175.0, 270.0)
PATH_S = (0.0, 2.4, 8.4, 10.9, 17.4, 34.2)
PATH_SLOPE_S_KM = 0.156
# Shape of the window of Saragoni & Hart (1974) as in Boore 2003: peak at epsilon of its length, eta left at its end,
# its length twice the duration.
EPSILON, ETA, LENGTHS = 0.2, 0.05, 2.0
# Coda: amplitude t^-1 exp(-pi f t / Qc) of lapse time t (Aki & Chouet 1975). With Qc = 80 f^1.1 (Console & Rovelli
# 1981) f / Qc hardly depends on f, so one envelope serves all frequencies. CODA_SHARE of the peak of S is a choice.
CODA_Q_S, CODA_SHARE = 80.0, 0.1
AUDIBLE_M_S = 3e-9  # rms velocity at which a coda ends, under the noise of a good station; a tenth of it is nothing
LONGEST_S = 1200.0


@dataclass(frozen=True)
class Medium:
    """Source and path of the simulated crust.

    Parameters
    ----------
    stress_drop_mpa : float
        Brune's stress drop. 20 MPa: Malagnini & Herrmann (2000), BSSA 90, 1041–1051 (Umbria–Marche).
    q0, q_exponent : float
        Q(f) = q0 f^exponent, of S and of P: the same authors.
    kappa_s : float
        High-frequency decay exp(−π κ f) (Anderson & Hough 1984): the same authors.
    s_velocity_km_s, p_velocity_km_s, density_g_cm3 : float
        At the source, and of the path: 3.5 km/s as above; Vp/Vs 1.75 as in `LAYERS`; density of Boore (2016).
    """

    stress_drop_mpa: float = 20.0
    q0: float = 130.0
    q_exponent: float = 0.10
    kappa_s: float = 0.04
    s_velocity_km_s: float = 3.5
    p_velocity_km_s: float = 6.1
    density_g_cm3: float = 2.72


@dataclass(frozen=True)
class Arrivals:
    """First P and S after the origin time (s), and the angle of P from the vertical at the surface (radians)."""

    p_s: Floats
    s_s: Floats
    p_angle: Floats


# --- spectra --------------------------------------------------------------------------------------------------------


def seismic_moment_nm(magnitude: Floats | float) -> Floats:
    """Return the seismic moment in N m of a moment magnitude (Hanks & Kanamori 1979).

    Examples
    --------
    >>> float(seismic_moment_nm(6.0).round(-16))
    1.12e+18
    """
    return np.asarray(10.0 ** (1.5 * np.asarray(magnitude, dtype=np.float64) + 9.05))


def corner_frequency(magnitude: Floats | float, medium: Medium, phase: Literal["P", "S"] = "S") -> Floats:
    """Return the corner frequency in Hz of a circular source (Brune 1970; in these units Boore 2003).

    Examples
    --------
    >>> float(corner_frequency(4.0, Medium()).round(2))
    4.49
    """
    stress_pa, velocity_m_s = 1e6 * medium.stress_drop_mpa, 1e3 * medium.s_velocity_km_s
    corner = 0.4906 * velocity_m_s * np.cbrt(stress_pa / seismic_moment_nm(magnitude))
    return np.asarray(corner * (CORNER_RATIO if phase == "P" else 1.0))


def acceleration_spectrum(
    frequency_hz: Floats,
    magnitude: Floats | float,
    distance_km: Floats | float,
    medium: Medium,
    phase: Literal["P", "S"] = "S",
) -> Floats:
    """Return the Fourier amplitude of ground acceleration at the surface, in m/s.

    Parameters
    ----------
    frequency_hz, magnitude, distance_km : array_like
        Broadcast together; distance is hypocentral.
    medium : Medium
    phase : "P" or "S"
        S is that of one horizontal component, P that along the ray.

    Examples
    --------
    >>> float(acceleration_spectrum(np.array([5.0]), 4.0, 20.0, Medium())[0].round(4))
    0.0089
    """
    frequency_hz, r_km = np.asarray(frequency_hz, dtype=np.float64), np.asarray(distance_km, dtype=np.float64)
    velocity_km_s = medium.p_velocity_km_s if phase == "P" else medium.s_velocity_km_s
    shape, slow = _fixed(frequency_hz, medium)
    source = _plateau(magnitude, r_km, medium, phase) / (
        1.0 + (frequency_hz / corner_frequency(magnitude, medium, phase)) ** 2
    )
    return np.asarray(source * shape * np.exp(-(r_km / velocity_km_s) * slow))


def _plateau(magnitude: Floats | float, r_km: Floats | float, medium: Medium, phase: str) -> Floats:
    """Return the displacement spectrum below the corner, in m s, geometrical spreading 1/r in it."""
    velocity_km_s = medium.p_velocity_km_s if phase == "P" else medium.s_velocity_km_s
    share = 1.0 if phase == "P" else HORIZONTAL_SHARE
    stiffness = 4.0 * np.pi * 1e3 * medium.density_g_cm3 * (1e3 * velocity_km_s) ** 3
    return np.asarray(RADIATION[phase] * FREE_SURFACE * share * seismic_moment_nm(magnitude) / (stiffness * 1e3 * r_km))


def _fixed(frequency_hz: Floats, medium: Medium) -> tuple[Floats, Floats]:
    """Return what no event changes: (2 pi f)² times rock and kappa; and pi f / Q(f), in 1/s."""
    safe = np.maximum(frequency_hz, 1e-6)
    rock = np.interp(np.log(safe), np.log(ROCK_HZ), ROCK_AMPLIFICATION)
    shape = (2.0 * np.pi * frequency_hz) ** 2 * rock * np.exp(-np.pi * medium.kappa_s * frequency_hz)
    return shape, np.pi * safe ** (1.0 - medium.q_exponent) / medium.q0


# --- arrivals -------------------------------------------------------------------------------------------------------


def arrivals(epicentral_km: Floats, depth_km: Floats) -> Arrivals:
    """Return the first P and S of sources in the layered crust `LAYERS`, direct or refracted.

    Parameters
    ----------
    epicentral_km, depth_km : array_like, shape (n,)
        Depth from 0 to 700 km. Beyond 600 km waves go on at the velocity of the half-space.

    Examples
    --------
    >>> first = arrivals(np.array([0.0, 100.0]), np.array([10.0, 10.0]))
    >>> first.p_s.round(1).tolist(), first.s_s.round(1).tolist()
    ([2.0, 17.5], [3.4, 30.6])
    """
    x = np.abs(np.asarray(epicentral_km, dtype=np.float64))
    row = np.interp(depth_km, DEPTHS_KM, np.arange(len(DEPTHS_KM)))
    near = np.clip(x, 0.5, LARGEST_KM - 0.5)
    p_table, s_table = _travel_tables()
    slowness = _looked_up(p_table, row, near + 0.5) - _looked_up(p_table, row, near - 0.5)
    sine = np.minimum(slowness * LAYERS[0][1], 1.0) * np.minimum(x / 0.5, 1.0)
    beyond = np.maximum(x - LARGEST_KM, 0.0)
    p_s, s_s = (
        _looked_up(table, row, np.minimum(x, LARGEST_KM)) + beyond / LAYERS[-1][column]
        for table, column in ((p_table, 1), (s_table, 2))
    )
    return Arrivals(p_s, s_s, np.arcsin(sine))


def _looked_up(table: Floats, row: Floats, x_km: Floats) -> Floats:
    return np.asarray(ndimage.map_coordinates(table, np.vstack([row, x_km]), order=1, mode="nearest"))


@lru_cache(maxsize=1)
def _travel_tables() -> tuple[Floats, Floats]:
    """Return times in s of P and of S, shape (depths, kilometres 0 to 600)."""
    x = np.arange(LARGEST_KM + 1.0)
    tables = []
    for column in (1, 2):
        velocity = np.array([layer[column] for layer in LAYERS])
        tables.append(np.array([_first_arrival(x, depth, velocity) for depth in DEPTHS_KM]))
    return tables[0], tables[1]


def _first_arrival(x: Floats, depth: float, velocity: Floats) -> Floats:
    """Return the earlier of the direct ray and the head waves of a source at a depth."""
    tops = np.concatenate([[0.0], np.cumsum([layer[0] for layer in LAYERS[:-1]])])
    bottoms = np.append(tops[1:], np.inf)
    above = np.clip(np.minimum(bottoms, depth) - tops, 0.0, None)
    first = _direct(x, above[above > 0], velocity[above > 0])
    for top, refractor in zip(tops, velocity, strict=True):
        between = np.clip(np.minimum(bottoms, top) - tops, 0.0, None)
        if top > depth and refractor > velocity[between > 0].max():
            path = 2.0 * between - above  # once from the surface, once from the source
            used = path > 0
            cosine = np.sqrt(1.0 - (velocity[used] / refractor) ** 2)
            head = x / refractor + np.sum(path[used] * cosine / velocity[used])
            critical = np.sum(path[used] * velocity[used] / refractor / cosine)
            first = np.where(x >= critical, np.minimum(first, head), first)
    return first


def _direct(x: Floats, thickness: Floats, velocity: Floats) -> Floats:
    """Return times of the ray straight up through layers, from a fan of rays ever nearer the horizontal."""
    steepness = np.concatenate([[0.0], np.geomspace(1e-3, 1e8, 4000)])[:, None]
    sine = steepness / np.hypot(1.0, steepness) * velocity / velocity.max()
    cosine = np.sqrt(1.0 - sine**2)
    cosine[:, velocity == velocity.max()] = 1.0 / np.hypot(1.0, steepness)  # 1 − sine² loses all digits there
    distance, time = np.sum(thickness * sine / cosine, axis=1), np.sum(thickness / velocity / cosine, axis=1)
    return np.asarray(np.interp(x, distance, time))


# --- envelopes ------------------------------------------------------------------------------------------------------


def phase_duration_s(magnitude: Floats | float, distance_km: Floats | float, medium: Medium) -> Floats:
    """Return the duration of S in s: 1/fc of the source and that of the path (Boore & Thompson 2014).

    Examples
    --------
    >>> float(phase_duration_s(4.0, 45.0, Medium()).round(2))
    8.62
    """
    r_km = np.asarray(distance_km, dtype=np.float64)
    path_s = np.interp(r_km, PATH_KM, PATH_S) + PATH_SLOPE_S_KM * np.maximum(r_km - PATH_KM[-1], 0.0)
    return np.asarray(1.0 / corner_frequency(magnitude, medium) + path_s)


def envelopes(n: int, p_s: float, s_s: float, duration_s: float) -> tuple[Floats, Floats]:
    """Return the envelopes of P and of S with its coda, each with a direct part of unit energy.

    Parameters
    ----------
    n : int
        Samples, the first `PAD_S` before P.
    p_s, s_s : float
        Travel times in s: their difference places S, the lapse time of S scales the coda.
    duration_s : float
        Of either phase.

    Returns
    -------
    P, S : ndarray of float32, shape (n,)
        White noise of unit variance under one has a spectrum of unit mean square; the coda is on top of that.

    Examples
    --------
    >>> p, s = envelopes(6000, 5.0, 9.0, 4.0)
    >>> float(np.sum(p**2).round(3)), int(np.argmax(p)), int(np.argmax(s)) - int(np.argmax(p))
    (1.0, 260, 400)
    """
    t = np.arange(n, dtype=np.float32) / SAMPLING_HZ - np.float32(PAD_S)
    p, s = _window(t, duration_s), _window(t - np.float32(s_s - p_s), duration_s)
    after_s = np.maximum(t - np.float32(s_s - p_s), 0.0)
    rise = 1.0 - np.exp(-after_s / np.float32(EPSILON * LENGTHS * duration_s))
    coda = CODA_SHARE * s.max() * rise * np.exp(-np.pi * after_s / CODA_Q_S) / (1.0 + after_s / np.float32(s_s))
    coda *= np.clip((n - np.arange(n)) / (0.1 * n), 0.0, 1.0)  # to nothing where the window ends
    return p, np.sqrt(s**2 + coda**2, dtype=np.float32)


def _window(t: Floats, duration_s: float) -> Floats:
    """Return the window of Saragoni & Hart from t = 0, of unit energy in samples."""
    b = -EPSILON * np.log(ETA) / (1.0 + EPSILON * (np.log(EPSILON) - 1.0))
    share = np.maximum(t, 0.0) / np.float32(LENGTHS * duration_s)
    window = share ** np.float32(b) * np.exp(np.float32(-b / EPSILON) * share)
    return np.asarray(window / np.sqrt(np.sum(window**2)), dtype=np.float32)


def window_lengths(magnitude: Floats, distance_km: Floats, first: Arrivals, medium: Medium) -> np.ndarray:
    """Return how many samples each event lasts, 0 where it is too weak to be seen by any station.

    A window ends when the coda is down to 3e-9 m/s, not before S has passed, nor after 20 minutes. An event lasts 0
    samples where the rms velocity of S is below a tenth of that.

    Examples
    --------
    >>> first = arrivals(np.array([10.0, 10.0, 500.0]), np.full(3, 9.0))
    >>> window_lengths(np.array([5.0, 1.0, -1.0]), np.array([13.5, 13.5, 500.0]), first, Medium()).tolist()
    [24576, 1024, 0]
    """
    f = np.geomspace(0.05, 50.0, 60)
    amplitude = acceleration_spectrum(f, magnitude[:, None], distance_km[:, None], medium) / (2.0 * np.pi * f)
    duration_s = phase_duration_s(magnitude, distance_km, medium)
    power = 2.0 * np.sum(amplitude**2 * np.gradient(f), axis=1) / duration_s
    rms_m_s = np.sqrt(power)
    quiet = np.log(np.maximum(CODA_SHARE * rms_m_s / AUDIBLE_M_S, 1.0))
    coda_s = np.zeros(len(rms_m_s))
    for _ in range(20):  # fixed point of: spreading and absorption take `quiet` nepers
        coda_s = CODA_Q_S / np.pi * np.maximum(quiet - np.log1p(coda_s / first.s_s), 0.0)
    wanted_s = (
        PAD_S
        + first.s_s
        - first.p_s
        + np.maximum(LENGTHS * duration_s, coda_s)
        + 2.0 / corner_frequency(magnitude, medium)
    )
    steps = np.minimum(wanted_s, LONGEST_S) * SAMPLING_HZ / 1024.0
    octave = np.maximum(np.ceil(np.log2(steps)) - 3.0, 0.0)  # four to eight lengths an octave: fast, few, cacheable
    lengths = 1024 * (np.ceil(steps / 2.0**octave) * 2.0**octave).astype(np.int64)
    return np.where(rms_m_s < AUDIBLE_M_S / 10.0, 0, lengths)


# --- time histories -------------------------------------------------------------------------------------------------


def event_velocity(
    magnitude: float,
    distance_km: float,
    first: tuple[float, float, float],
    azimuth: float,
    n: int,
    medium: Medium,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return one event's ground velocity at a station.

    Parameters
    ----------
    magnitude, distance_km : float
        Mw and hypocentral distance.
    first : (p_s, s_s, p_angle)
        Of `arrivals`.
    azimuth : float
        From the event to the station, radians from north.
    n : int
        Samples, from 1 s before P (`window_lengths`).
    medium : Medium
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (3, n)
        m/s, components E, N, Z, nothing earlier than `PAD_S` before P.

    Examples
    --------
    >>> v = event_velocity(4.0, 22.0, (3.9, 6.8, 0.6), 1.0, 6144, Medium(), np.random.default_rng(0))
    >>> v.shape, bool(1e-4 < np.abs(v).max() < 1e-2)
    ((3, 6144), True)
    """
    p_s, s_s, angle = first
    p_window, s_window = envelopes(n, p_s, s_s, float(phase_duration_s(magnitude, distance_km, medium)))
    noise = rng.standard_normal((4, n), dtype=np.float32)
    noise[0] *= p_window
    noise[1:] *= s_window
    spectra = fft.rfft(noise, axis=1)
    spectra[0] *= _velocity_filter(n, magnitude, distance_km, medium, "P")
    spectra[1:] *= _velocity_filter(n, magnitude, distance_km, medium, "S")
    spectra[3] *= np.float32(VERTICAL_TO_HORIZONTAL)
    along = (np.sin(angle) * np.sin(azimuth), np.sin(angle) * np.cos(azimuth), np.cos(angle))
    spectra[1:] += np.array(along, dtype=np.float32)[:, None] * spectra[0]
    velocity = fft.irfft(spectra[1:], n=n, axis=1)
    pad = round(PAD_S * SAMPLING_HZ)
    velocity[:, :pad] *= np.sin(np.linspace(0.0, np.pi / 2.0, pad, dtype=np.float32)) ** 2
    return np.asarray(velocity)


def _velocity_filter(n: int, magnitude: float, r_km: float, medium: Medium, phase: Literal["P", "S"]) -> np.ndarray:
    """Return the spectrum of velocity times the sampling rate, with the phase of Brune's pulse: nothing before it.

    The pulse t exp(−2π fc t) has the transform 1/(1 + i f/fc)², whose modulus is that of `acceleration_spectrum`.
    """
    frequency, shape, slow = _grid(n, medium)
    velocity_km_s = medium.p_velocity_km_s if phase == "P" else medium.s_velocity_km_s
    corner = np.float32(corner_frequency(magnitude, medium, phase))
    level = np.float32(SAMPLING_HZ * _plateau(magnitude, r_km, medium, phase))
    path = level * shape * np.exp(np.float32(-r_km / velocity_km_s) * slow)
    pulse = np.empty(len(frequency), dtype=np.complex64)
    pulse.real, pulse.imag = 1.0, frequency / corner
    return np.asarray(path / (pulse * pulse))


@lru_cache(maxsize=32)
def _grid(n: int, medium: Medium) -> tuple[Floats, np.ndarray, Floats]:
    """Return frequencies of a transform of n samples, i 2 pi f times rock and kappa, and pi f / Q: float32."""
    frequency = fft.rfftfreq(n, 1.0 / SAMPLING_HZ)
    shape, slow = _fixed(frequency, medium)
    shape = np.divide(shape, 2.0 * np.pi * frequency, out=np.zeros_like(shape), where=frequency > 0)
    return frequency.astype(np.float32), (1j * shape).astype(np.complex64), slow.astype(np.float32)
