"""What is put into a world stands where it should, has the size asked for, and leaves everything else as it was."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from seisprobe.catalog import b_value, times_us
from seisprobe.errors import InputError
from seisprobe.simulation import ground_motion
from seisprobe.simulation.catalog import CatalogWorld, SimulatedMainshock, simulate_catalog
from seisprobe.simulation.ground_motion import Medium
from seisprobe.simulation.noise import NoiseModel, noise_velocity
from seisprobe.simulation.precursors import (
    Precursor,
    bands_of_world,
    extra_gaps,
    gain_changes,
    moved_mainshocks,
    parse_precursor,
    repeaters,
    with_precursor,
)
from seisprobe.simulation.seismograms import Recording, Station, simulate_record

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
SHOCKS = tuple(SimulatedMainshock(f"M{k}", round((40 + 20.3 * k) * DAY_US), 5.8, 42.8, 13.1) for k in range(4))
WORLD = CatalogWorld(0, 120 * DAY_US, (41.5, 44.0, 11.5, 14.5), SHOCKS, rate_per_day=5.0)
STATION = Station("XX", "AAA", 42.9, 13.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tremmor:3", "no such precursor; did you mean 'tremor'"),
        ("tremor", "give its size, dB, as in tremor:10"),
        ("tremor:loud", "give its size"),
        ("tremor:-3", "give its size"),
        ("tremor:nan", "give its size"),
        ("b-value:0.95", "cannot be lower by that much"),
        ("", "no such precursor"),
    ],
)
def test_a_precursor_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_precursor(text)


def test_a_rate_increase_adds_events_in_the_last_hours_alone() -> None:
    events = simulate_catalog(WORLD, np.random.default_rng(0))
    more = with_precursor(WORLD, Precursor("rate", 30.0, 2.0), events, 0)
    old, new = times_us(events["time"]), times_us(more["time"])
    added = new[~np.isin(new, old)]
    assert np.isin(old, new).all()
    before_h = [min((s.time_us - t) / HOUR_US for s in SHOCKS if s.time_us > t) for t in added]
    assert all(120 / 3600 <= h <= 2.0 for h in before_h)
    expected = 4 * 30 * 2 * len(events) / (120 * 24)
    assert abs(len(added) - expected) < 4 * np.sqrt(expected)
    pd.testing.assert_frame_equal(more, with_precursor(WORLD, Precursor("rate", 30.0, 2.0), events, 0))


def test_a_lower_b_value_changes_magnitudes_of_the_last_month_alone() -> None:
    events = simulate_catalog(WORLD, np.random.default_rng(1))
    changed = with_precursor(WORLD, Precursor("b-value", 0.4), events, 0)
    times = times_us(events["time"])
    before = np.any([(times < s.time_us) & (times >= s.time_us - 30 * DAY_US) for s in SHOCKS], axis=0)
    before &= ~np.isin(times, [s.time_us for s in SHOCKS])
    assert (changed.loc[~before, "magnitude"] == events.loc[~before, "magnitude"]).all()
    found = b_value(changed.loc[before, "magnitude"].to_numpy(), 2.0, 0.1)
    assert found == pytest.approx(0.6, abs=4 * 0.6 / np.sqrt(before.sum()))
    assert changed["magnitude"].max() == 5.8
    assert len(changed) == len(events)


def spectrum_ratio(db: float) -> tuple[float, float]:
    """Return the rms ratio, 3–6 Hz and 12–20 Hz, of the hour before a mainshock over the same hour without tremor."""
    bands = bands_of_world(SHOCKS, (0, 120 * DAY_US), Precursor("tremor", db, 2.0), "")
    start, n = SHOCKS[0].time_us // 10_000 * 10_000 - HOUR_US, 120_000
    quiet, loud = (noise_velocity(start, n, "XX.AAA", 0, NoiseModel(), b) for b in ((), bands))
    frequency = np.fft.rfftfreq(n, 0.01)
    power = [np.abs(np.fft.rfft(x, axis=1)) ** 2 for x in (loud, quiet)]
    ratios = []
    for low, high in ((3.0, 6.0), (12.0, 20.0)):
        inside = (frequency >= low) & (frequency < high)
        ratios.append(float(np.sqrt(power[0][:, inside].sum() / power[1][:, inside].sum())))
    return ratios[0], ratios[1]


def test_a_tremor_is_louder_by_so_many_db_in_its_band_and_not_above_it() -> None:
    for db in (6.0, 20.0):
        inside, above = spectrum_ratio(db)
        assert 20 * np.log10(inside) == pytest.approx(db, abs=1.0)  # by day the cultural noise is in its band too
        assert above == pytest.approx(1.0, abs=0.02)


def test_repeaters_are_alike_every_five_minutes_and_as_large_as_asked() -> None:
    noise, medium = NoiseModel(glitches_per_day=0.0), Medium()
    found = repeaters(SHOCKS, Precursor("repeaters", 5.0, 2.0), [STATION], 0, noise, medium)
    assert len(found) == 4 * 24
    assert found["event_id"].is_unique
    own = found.loc[found["family"].eq("M1")]
    assert set(np.diff(times_us(own["time"]))) == {300_000_000}
    assert (SHOCKS[1].time_us - times_us(own["time"]) >= 120_000_000).all()
    recording = Recording(0, 120 * DAY_US, 0, noise=NoiseModel(level=0.4, glitches_per_day=0.0, gaps_per_day=0.0))
    begin = times_us(own["time"])[3] // 10_000 * 10_000
    both = [simulate_record(e, STATION, begin, 6000, recording).counts.astype(float) for e in (own, own.iloc[:0])]
    from scipy.signal import butter, sosfiltfilt

    band = butter(4, (2.0, 8.0), "bandpass", fs=100.0, output="sos")
    event, alone = (sosfiltfilt(band, x, axis=1) for x in (both[0] - both[1], both[1]))
    assert np.abs(event).max() / alone.std() == pytest.approx(5.0, rel=0.6)  # the noise of an hour is not the median's
    assert ground_motion.seismic_moment_nm(float(own["magnitude"].iloc[0])) < 1e13


def test_without_repeaters_there_is_an_empty_table() -> None:
    found = repeaters(SHOCKS, Precursor("tremor", 5.0), [STATION], 0, NoiseModel(), Medium())
    assert len(found) == 0
    assert "event_id" in found.columns


def test_loud_hours_precede_every_mainshock_and_come_every_day() -> None:
    moved = moved_mainshocks(SHOCKS, "hours")
    (band,) = bands_of_world(moved, (0, 120 * DAY_US), None, "hours")
    hours = np.arange(0, 120 * 24) * HOUR_US + HOUR_US // 2
    ratio = band.ratio(hours)
    assert (ratio > 1).sum() == 2 * 120
    assert all(band.ratio(np.array([s.time_us // HOUR_US * HOUR_US - 1]))[0] == pytest.approx(10**0.3) for s in moved)
    assert moved_mainshocks(SHOCKS, "") == SHOCKS


def test_drift_grows_over_the_record() -> None:
    (band,) = bands_of_world(SHOCKS, (0, 120 * DAY_US), None, "slow-drift")
    assert (20 * np.log10(band.ratio(np.array([0, 60, 120]) * DAY_US))).tolist() == pytest.approx([0.0, 6.0, 12.0])


def test_the_failing_station_fails_more_before_mainshocks() -> None:
    gaps = extra_gaps(SHOCKS, 0, 120 * DAY_US, "outages", STATION, 0, 2.0)
    assert (gaps[:, 1] - gaps[:, 0] <= 8 * 60_000_000).all()
    before = sum(((gaps[:, 0] < s.time_us) & (gaps[:, 0] >= s.time_us - 2 * HOUR_US)).sum() for s in SHOCKS)
    anywhere = len(gaps) - before
    assert before / (4 * 2) > 5 * anywhere / (120 * 24)
    part = extra_gaps(SHOCKS, 10 * DAY_US, 11 * DAY_US, "outages", STATION, 0, 2.0)
    inside = gaps[(gaps[:, 1] > 10 * DAY_US) & (gaps[:, 0] < 11 * DAY_US)]
    assert sorted(map(tuple, part)) == sorted(map(tuple, np.clip(inside, 10 * DAY_US, 11 * DAY_US)))
    assert len(extra_gaps(SHOCKS, 0, DAY_US, "", STATION, 0, 2.0)) == 0


def test_the_gain_changes_at_the_first_station_only_and_before_the_first_mainshock() -> None:
    ((at, factor),) = gain_changes(SHOCKS, "gain-unlisted", first=True)
    assert 0 < SHOCKS[0].time_us - at < 5 * DAY_US
    assert factor == 3.0
    assert gain_changes(SHOCKS, "gain-listed", first=False) == gain_changes(SHOCKS, "slow-drift", first=True) == []
