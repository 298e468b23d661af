"""Simulated ground motion has the spectrum, the peaks and the arrival times that others give it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy import fft, optimize

from seisprobe.simulation.ground_motion import (
    LAYERS,
    PAD_S,
    Medium,
    acceleration_spectrum,
    arrivals,
    corner_frequency,
    envelopes,
    event_velocity,
    phase_duration_s,
    seismic_moment_nm,
    window_lengths,
)

MEDIUM = Medium()
DEPTH_KM = 9.0
DRAWS = 60


def motion(magnitude: float, epicentral_km: float, seed: int, medium: Medium = MEDIUM) -> np.ndarray:
    """Return an event's velocity, components E, N, Z."""
    first = arrivals(np.array([epicentral_km]), np.array([DEPTH_KM]))
    distance = np.hypot(epicentral_km, DEPTH_KM)
    n = int(window_lengths(np.array([magnitude]), np.array([distance]), first, medium)[0])
    times = (first.p_s[0], first.s_s[0], first.p_angle[0])
    return event_velocity(magnitude, distance, times, 0.7, n, medium, np.random.default_rng(seed))


def acceleration(velocity: np.ndarray) -> np.ndarray:
    n = velocity.shape[1]
    spectrum = fft.rfft(velocity.astype(np.float64), axis=1) * 2j * np.pi * fft.rfftfreq(n, 0.01)
    return fft.irfft(spectrum, n=n, axis=1)


@lru_cache(maxsize=256)
def median_pga(magnitude: float, epicentral_km: float) -> float:
    """Return the median geometric mean of both horizontal peak accelerations, m/s²."""
    peaks = [np.abs(acceleration(motion(magnitude, epicentral_km, seed)[:2])).max(axis=1) for seed in range(DRAWS)]
    return float(np.exp(np.median(np.mean(np.log(peaks), axis=1))))


def bindi_2011_pga(magnitude: float, joyner_boore_km: float) -> float:
    """Return the median PGA in m/s² on class A, normal faulting: ITA10, Bull. Earthq. Eng. 9, 1899–1920, table 1."""
    e1, c1, c2, h, c3, b1, b2, normal = 3.672, -1.940, 0.413, 10.322, 0.000134, -0.262, -0.0707, -0.0503
    r, m = np.hypot(joyner_boore_km, h), magnitude - 6.75
    near = (c1 + c2 * (magnitude - 5.0)) * np.log10(r) - c3 * (r - 1.0)
    return float(10.0 ** (e1 + near + b1 * m + b2 * m**2 + normal)) / 100.0


def random_vibration_pga(magnitude: float, epicentral_km: float) -> float:
    """Return the expected peak of a Gaussian process of S's spectrum and duration (Cartwright & Longuet-Higgins 1956).

    The integral over the peak's distribution is their equation 6.8 as in Boore (2003), equation 21.
    """
    r, f = np.hypot(epicentral_km, DEPTH_KM), np.linspace(0.01, 50.0, 5000)
    duration = float(phase_duration_s(magnitude, r, MEDIUM))
    power, omega = acceleration_spectrum(f, magnitude, r, MEDIUM) ** 2, 2.0 * np.pi * f
    m0, m2, m4 = (2.0 * np.trapezoid(omega**k * power, f) for k in (0, 2, 4))
    maxima = max(2.0, duration / np.pi * np.sqrt(m4 / m2))
    z = np.linspace(0.0, 10.0, 5000)
    factor = np.sqrt(2.0) * np.trapezoid(1.0 - (1.0 - m2 / np.sqrt(m0 * m4) * np.exp(-(z**2))) ** maxima, z)
    return float(factor * np.sqrt(m0 / duration))


def slope(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.polyfit(x, y, 1)[0])


@pytest.mark.parametrize("magnitude", [4.0, 5.0, 6.0])
@pytest.mark.parametrize("epicentral_km", [10.0, 30.0, 60.0, 100.0])
def test_median_peak_acceleration_is_that_of_italian_records_within_a_factor_of_two(
    magnitude: float, epicentral_km: float
) -> None:
    assert 0.5 < median_pga(magnitude, epicentral_km) / bindi_2011_pga(magnitude, epicentral_km) < 2.0


def test_the_slopes_of_small_events_peaks_are_those_of_random_vibration_theory() -> None:
    magnitudes, distances = np.array([2.0, 2.5, 3.0, 3.5, 4.0]), np.array([10.0, 20.0, 40.0, 80.0])
    made, expected = (
        np.log10([[of(m, x) for x in distances] for m in magnitudes]) for of in (median_pga, random_vibration_pga)
    )
    for column in range(len(distances)):
        assert slope(magnitudes, made[:, column]) == pytest.approx(slope(magnitudes, expected[:, column]), abs=0.1)
    far = np.log10(np.hypot(distances, DEPTH_KM))
    for row in range(len(magnitudes)):
        assert slope(far, made[row]) == pytest.approx(slope(far, expected[row]), abs=0.1)
    assert np.abs(made - expected).max() < 0.1


def test_a_record_has_the_spectrum_of_its_event() -> None:
    n, first = 8192, (5.0, 5.0, 0.0)  # P comes up vertically: the horizontals are S alone
    power = 0.0
    for seed in range(100):
        velocity = event_velocity(4.0, 30.0, first, 0.0, n, MEDIUM, np.random.default_rng(seed))
        power = power + np.abs(fft.rfft(acceleration(velocity[:2]), axis=1) * 0.01) ** 2 / 200.0
    power, f = power.sum(axis=0), fft.rfftfreq(n, 0.01)
    target = acceleration_spectrum(f, 4.0, 30.0, MEDIUM) ** 2
    for low, high in ((0.5, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32)):
        band = (f >= low) & (f < high)
        # The coda comes on top of the direct wave: a few per cent of energy more, never less.
        assert 0.93 < np.sum(power[band]) / np.sum(target[band]) < 1.2


def test_moment_corner_and_spectrum_are_those_of_the_formulas() -> None:
    assert seismic_moment_nm(6.0) == pytest.approx(1.122e18, rel=1e-3)  # Hanks & Kanamori 1979
    # Boore 2003: fc = 4.9e6 beta (stress in bars / moment in dyne cm)^(1/3), beta in km/s
    assert corner_frequency(4.0, MEDIUM) == pytest.approx(
        4.9e6 * 3.5 * (200.0 / 10 ** (1.5 * 14.7)) ** (1 / 3), rel=0.01
    )
    bare = Medium(kappa_s=0.0, q0=1e9)
    low, high = acceleration_spectrum(np.array([0.01, 20.0]), 3.0, 10.0, bare)
    plateau = 0.55 * 2 * 0.5**0.5 * 10**13.55 / (4 * np.pi * 2720 * 3500**3 * 1e4)
    assert low == pytest.approx(plateau * (2 * np.pi * 0.01) ** 2, rel=0.01)
    fc = float(corner_frequency(3.0, bare))
    assert high == pytest.approx(plateau * (2 * np.pi * 20.0) ** 2 / (1 + (20.0 / fc) ** 2) * 3.0, rel=0.02)  # rock: 3
    near, far = acceleration_spectrum(np.array([5.0]), 3.0, np.array([10.0, 40.0]), MEDIUM)
    q = 130.0 * 5.0**0.1
    assert near / far == pytest.approx(4.0 * np.exp(np.pi * 5.0 * 30.0 / (q * 3.5)), rel=1e-6)


def test_arrival_times_are_shortest_paths_through_the_layers() -> None:
    def path_s(offsets: np.ndarray, column: int, x: float) -> float:
        thick, speed = np.array([1.5, 3.0, 3.0, 1.5]), np.array([layer[column] for layer in LAYERS[:4]])
        steps = np.append(offsets, x - offsets.sum())
        return float(np.sum(np.hypot(thick, steps) / speed))

    for x in (0.0, 5.0, 15.0):
        first = arrivals(np.array([x]), np.array([9.0]))
        for column, found in ((1, first.p_s[0]), (2, first.s_s[0])):
            best = optimize.minimize(path_s, np.full(3, x / 4), (column, x), method="Nelder-Mead").fun
            assert found == pytest.approx(best, abs=0.02)


def test_far_arrivals_travel_along_the_mantle_and_none_comes_before_a_nearer_one() -> None:
    x = np.arange(0.0, 800.0)
    first = arrivals(x, np.full(len(x), 10.0))
    for times, mantle in ((first.p_s, 7.9), (first.s_s, 4.4)):
        assert (np.diff(times) > 0).all()
        assert np.diff(times)[250:].mean() == pytest.approx(1.0 / mantle, rel=1e-3)
    assert (first.s_s > first.p_s).all()
    steep, flat = first.p_angle[1], first.p_angle[300]
    assert steep < 0.1
    assert np.sin(flat) == pytest.approx(3.75 / 7.9, rel=0.02)


def test_envelopes_peak_in_turn_and_the_coda_dies_to_nothing() -> None:
    p, s = envelopes(20_000, 10.0, 17.0, 6.0)
    assert np.sum(p.astype(np.float64) ** 2) == pytest.approx(1.0, rel=1e-3)
    assert (np.argmax(s) - np.argmax(p)) / 100 == pytest.approx(7.0, abs=0.02)
    assert not p[: int(100 * PAD_S)].any()
    assert not s[: int(100 * (PAD_S + 7.0))].any()
    coda = s[6000:18_000].astype(np.float64)
    assert (np.diff(coda) < 0).all()
    lapse = 17.0 + np.arange(6000, 18_000) / 100 - PAD_S - 7.0
    rate = np.polyfit(lapse, np.log(coda * lapse), 1)[0]  # t^-1 exp(-pi t / 80): Aki & Chouet 1975
    assert rate == pytest.approx(-np.pi / 80.0, rel=0.02)
    assert s[-1] < 1e-3 * s[-3000]


@pytest.mark.parametrize("magnitude", [1.0, 4.0, 6.5])
def test_nothing_moves_before_p(magnitude: float) -> None:
    for seed in range(5):
        velocity = motion(magnitude, 60.0, seed)
        before = np.abs(velocity[:, : int(100 * (PAD_S - 0.3))]).max()
        assert before < 1e-3 * np.abs(velocity).max()
        assert not velocity[:, 0].any()


def test_p_comes_along_its_ray_and_s_shakes_the_horizontals_more() -> None:
    first = arrivals(np.array([60.0]), np.array([9.0]))
    p = motion(4.0, 60.0, 3)[:, 105:500].astype(np.float64)
    north, up = np.cos(0.7) * np.sin(first.p_angle[0]), np.cos(first.p_angle[0])
    assert np.corrcoef(p[1], p[2])[0, 1] > 0.999
    assert np.std(p[1]) / np.std(p[2]) == pytest.approx(north / up, rel=0.01)
    rms = np.mean([np.std(motion(4.0, 20.0, seed)[:, 600:], axis=1) for seed in range(30)], axis=0)
    assert rms[2] / rms[0] == pytest.approx(2 / 3, rel=0.1)


def test_the_same_generator_gives_the_same_motion() -> None:
    assert np.array_equal(motion(3.0, 20.0, 1), motion(3.0, 20.0, 1))
    assert not np.array_equal(motion(3.0, 20.0, 1), motion(3.0, 20.0, 2))
