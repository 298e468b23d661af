"""Simulated noise lies where Peterson's models have it, and changes when it is told to."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from seisprobe.simulation.noise import (
    BLOCK,
    DAY_US,
    HOUR_US,
    MONDAY_US,
    Band,
    NoiseModel,
    acceleration_psd,
    bands_of,
    daily_ratio,
    gap_intervals,
    generator,
    noise_velocity,
    storm_ratio,
)

STEADY = NoiseModel(day_night_ratio=1.0, storm_db=0.0, glitches_per_day=0.0)
MONDAY = MONDAY_US + 2400 * 7 * DAY_US  # of 2015
HOUR = 360_000


def steady_with(**more: float) -> NoiseModel:
    return NoiseModel(**({"day_night_ratio": 1.0, "storm_db": 0.0, "glitches_per_day": 0.0} | more))


def rms(velocity: np.ndarray, low_hz: float, high_hz: float) -> float:
    band = signal.butter(4, [low_hz, high_hz], "bandpass", fs=100.0, output="sos")
    return float(np.std(signal.sosfilt(band, velocity.astype(np.float64), axis=-1)[..., 2000:]))


def test_the_probabilistic_density_of_a_day_lies_between_the_models() -> None:
    from obspy import Trace
    from obspy.signal import PPSD
    from obspy.signal.spectral_estimation import get_nhnm, get_nlnm

    gain = 5e8
    counts = np.rint(gain * noise_velocity(MONDAY, 8 * HOUR, "IV.NRCA", 0, NoiseModel())[2]).astype(np.int32)
    trace = Trace(counts, {"sampling_rate": 100.0, "network": "IV", "station": "NRCA", "channel": "HHZ"})
    density = PPSD(trace.stats, {"sensitivity": gain, "gain": 1.0, "poles": [], "zeros": []})
    assert density.add(trace)
    period, median = density.get_percentile(50)
    inside = (period > 0.1) & (period < 50.0)
    low, high = (np.interp(np.log(period), np.log(p[::-1]), db[::-1]) for p, db in (get_nlnm(), get_nhnm()))
    assert inside.sum() > 60
    assert (median > low + 3.0)[inside].all()
    assert (median < high - 3.0)[inside].all()


@pytest.mark.parametrize("level", [0.1, 0.8])
def test_the_spectrum_is_the_level_asked_for_with_the_microseism_in_it(level: float) -> None:
    velocity = noise_velocity(MONDAY, 4 * HOUR, "IV.NRCA", 1, steady_with(level=level))
    f, density = signal.welch(velocity, fs=100.0, nperseg=32_768, axis=1)
    made = 10 * np.log10(density.mean(axis=0)[1:] * (2 * np.pi * f[1:]) ** 2)
    asked = 10 * np.log10(acceleration_psd(f[1:], level))
    f = f[1:]
    edges = np.geomspace(0.03, 45.0, 40)  # a filter of 164 s fills the trough at 20 s by a decibel or two
    for low, high in pairwise(edges):
        band = (f >= low) & (f < high)
        assert np.mean(made[band]) == pytest.approx(np.mean(asked[band]), abs=1.0 if low > 0.1 else 2.0)
    around = (f > 0.05) & (f < 1.0)
    assert 4.0 < 1.0 / f[around][np.argmax(made[around])] < 8.0


def test_the_ends_of_the_level_are_petersons_models() -> None:
    # A + B log10 P, USGS OFR 93-322, tables 3 and 4: low noise at 0.8 s and at 4.5 s, high noise at 0.8 s
    low, high = (10 * np.log10(acceleration_psd(1.0 / np.array([0.8, 4.5]), level)) for level in (0.0, 1.0))
    assert low.tolist() == pytest.approx([-166.4 + 28.9 * np.log10(0.8), -141.1], abs=0.1)
    assert high[0] == pytest.approx(-116.85 + 32.51 * np.log10(0.8), abs=0.1)


@pytest.mark.parametrize("ratio", [1.5, 4.0])
def test_a_working_day_is_louder_than_night_by_the_ratio_asked_for_and_a_weekend_by_its_share(ratio: float) -> None:
    model = steady_with(day_night_ratio=ratio, weekend_share=0.5, utc_offset_h=0.0)

    def loud(hour: int) -> float:
        return rms(noise_velocity(MONDAY + hour * HOUR_US, HOUR // 2, "IV.NRCA", 0, model), 2.0, 15.0)

    night = loud(2)
    assert loud(12) / night == pytest.approx(ratio, rel=0.03)
    assert loud(5 * 24 + 12) / night == pytest.approx(1.0 + 0.5 * (ratio - 1.0), rel=0.03)
    slow = [rms(noise_velocity(MONDAY + h * HOUR_US, HOUR, "IV.NRCA", 0, model), 0.1, 0.4) for h in (2, 12)]
    assert slow[0] == pytest.approx(slow[1], rel=0.1)


def test_the_day_follows_local_time_without_a_step() -> None:
    minutes = MONDAY + np.arange(0, 7 * 1440) * 60_000_000
    model = NoiseModel(day_night_ratio=3.0, utc_offset_h=2.0, weekend_share=0.25)
    ratio = daily_ratio(model, minutes)
    assert np.abs(np.diff(ratio)).max() < 0.02
    assert ratio[7 * 60] == pytest.approx(3.0)  # 9 local
    assert ratio[3 * 60 - 1] == pytest.approx(1.0, abs=1e-3)  # before 5 local
    assert ratio[5 * 1440 + 600] == pytest.approx(1.5)  # Saturday


def test_storms_change_the_microseism_alone_and_alike_at_all_stations() -> None:
    model = steady_with(storm_db=10.0)
    hours = MONDAY + np.arange(0, 60 * 24) * HOUR_US
    ratio = storm_ratio(model, 0, hours)
    times = [int(hours[np.argmin(ratio)]), int(hours[np.argmax(ratio)])]
    for station in ("IV.NRCA", "IV.CAMP"):
        calm, storm = (noise_velocity(at, HOUR, station, 0, model) for at in times)
        assert rms(storm, 0.15, 0.3) / rms(calm, 0.15, 0.3) == pytest.approx(ratio.max() / ratio.min(), rel=0.2)
        assert rms(storm, 2.0, 10.0) == pytest.approx(rms(calm, 2.0, 10.0), rel=0.03)


def test_noise_is_the_same_however_it_is_cut() -> None:
    model = NoiseModel(glitches_per_day=100.0)
    start = MONDAY + HOUR_US - 300 * 1_000_000
    whole = noise_velocity(start, 60_000, "IV.NRCA", 0, model)
    for begin, end in ((0, 30_000), (30_000, 60_000), (21_807, 21_809), (38_191, 38_193)):
        part = noise_velocity(start + begin * 10_000, end - begin, "IV.NRCA", 0, model)
        assert np.array_equal(part, whole[:, begin:end])


def test_the_seams_between_blocks_are_as_loud_as_the_rest() -> None:
    hours = noise_velocity(MONDAY, 6 * HOUR, "IV.NRCA", 0, STEADY).astype(np.float64)
    high_pass = signal.butter(6, 2.0, "highpass", fs=100.0, output="sos")
    power = np.mean(signal.sosfilt(high_pass, hours, axis=1).reshape(3, -1, BLOCK)[:, 1:] ** 2, axis=(0, 1))
    assert np.mean(power[:200]) == pytest.approx(np.mean(power), rel=0.1)
    assert np.mean(power[-200:]) == pytest.approx(np.mean(power), rel=0.1)
    assert np.mean(power[BLOCK // 2 - 200 :][:400]) == pytest.approx(np.mean(power), rel=0.1)


def test_stations_seeds_and_components_are_independent() -> None:
    records = [
        noise_velocity(MONDAY, 60_000, station, seed, STEADY)
        for station, seed in (("IV.NRCA", 0), ("IV.CAMP", 0), ("IV.NRCA", 1))
    ]
    high_pass = signal.butter(6, 2.0, "highpass", fs=100.0, output="sos")  # the microseism has few cycles
    rows = signal.sosfilt(high_pass, np.concatenate(records).astype(np.float64), axis=1)[:, 1000:]
    off = np.corrcoef(rows) - np.eye(9)
    assert np.abs(off).max() < 0.08


def test_a_band_of_ones_changes_nothing_and_a_tremor_its_band_and_minutes() -> None:
    begin, end = MONDAY + 3900_000_000, MONDAY + 7500_000_000  # not where blocks begin

    def during(times_us: np.ndarray) -> np.ndarray:
        return np.where((times_us >= begin) & (times_us < end), 2.0, 1.0)

    quiet = noise_velocity(MONDAY, 3 * HOUR, "IV.NRCA", 0, STEADY)
    same = noise_velocity(MONDAY, 3 * HOUR, "IV.NRCA", 0, STEADY, [Band(2.0, 8.0, lambda t: np.ones(len(t)))])
    assert np.array_equal(quiet, same)
    tremor = noise_velocity(MONDAY, 3 * HOUR, "IV.NRCA", 0, STEADY, [Band(2.0, 8.0, during)])
    for begin_s, end_s, ratio in (
        (3660, 3880, 1.0),
        (3920, 4140, 2.0),
        (4200, 7190, 2.0),
        (7220, 7480, 2.0),
        (7520, 9000, 1.0),
    ):
        stretch = slice(begin_s * 100, end_s * 100)
        inside, above = (rms(tremor[:, stretch], *f) / rms(quiet[:, stretch], *f) for f in ((2.5, 6.5), (14.0, 30.0)))
        assert inside == pytest.approx(ratio, rel=0.02)
        assert above == pytest.approx(1.0, rel=0.02)


def test_glitches_are_as_many_as_asked_and_decay() -> None:
    model = steady_with(glitches_per_day=240.0, level=0.0)
    pulses = noise_velocity(MONDAY, 6 * HOUR, "IV.NRCA", 0, model)
    smooth = noise_velocity(MONDAY, 6 * HOUR, "IV.NRCA", 0, steady_with(level=0.0))
    height = np.abs(pulses - smooth)
    onsets = np.diff(height, axis=1) > 2e-7
    assert 35 < onsets.sum() < 85  # sixty expected
    after = np.array([height[c, i + 1 : i + 2001] for c, i in zip(*np.nonzero(onsets), strict=True) if i < 2_000_000])
    assert (np.median(after[:, 1500:], axis=1) < 0.1 * after[:, 0]).mean() > 0.9


def test_gaps_are_as_many_and_as_long_as_asked_and_do_not_depend_on_the_cut() -> None:
    model = NoiseModel(gaps_per_day=2.0, gap_s=30.0, outages_per_year=0.0)
    gaps = gap_intervals(MONDAY, MONDAY + 200 * DAY_US, "IV.NRCA", 0, model)
    lengths_s = (gaps[:, 1] - gaps[:, 0]) / 1e6
    assert len(gaps) == pytest.approx(400, abs=80)
    assert lengths_s.mean() == pytest.approx(30.0, rel=0.2)
    assert not (gaps % 10_000).any()
    middle = int(gaps[100, 0] + gaps[100, 1]) // 2
    first, second = (gap_intervals(a, b, "IV.NRCA", 0, model) for a, b in ((MONDAY, middle), (middle, gaps[-1, 1])))
    assert first[-1].tolist() == [gaps[100, 0], middle]
    assert second[0].tolist() == [middle, gaps[100, 1]]
    assert np.array_equal(np.concatenate([first[:-1], second[1:]]), np.delete(gaps, 100, axis=0))
    assert (
        len(gap_intervals(MONDAY, MONDAY + DAY_US, "IV.NRCA", 0, steady_with(gaps_per_day=0.0, outages_per_year=0.0)))
        == 0
    )


def test_gaps_that_overlap_are_one() -> None:
    model = NoiseModel(gaps_per_day=300.0, gap_s=300.0, outages_per_year=0.0)
    gaps = gap_intervals(MONDAY, MONDAY + 30 * DAY_US, "IV.NRCA", 0, model)
    assert (gaps[1:, 0] > gaps[:-1, 1]).all()
    assert (gaps[:, 1] > gaps[:, 0]).all()
    lost = (gaps[:, 1] - gaps[:, 0]).sum() / (30 * DAY_US)
    assert lost == pytest.approx(1.0 - np.exp(-300.0 * 300.0 / 86_400.0), abs=0.02)


def test_outages_last_hours_and_take_the_share_of_time_that_was_asked() -> None:
    model = NoiseModel(gaps_per_day=0.0, outages_per_year=36.0, outage_h=24.0)
    gaps = gap_intervals(MONDAY, MONDAY + 3652 * DAY_US, "IV.NRCA", 0, model)
    down = (gaps[:, 1] - gaps[:, 0]).sum() / (3652 * DAY_US)
    assert down == pytest.approx(1.0 - np.exp(-36.0 / 365.25), rel=0.15)  # of times covered by Poisson intervals


def test_what_is_switched_off_is_off() -> None:
    assert bands_of(STEADY, 0) == ()
    assert generator(0, "ab", "c").random() != generator(0, "a", "bc").random()
