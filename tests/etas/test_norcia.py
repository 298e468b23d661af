"""The fit on the real catalog of Central Italy, 2016 and 2017, with the year before as history."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seisprobe.etas import FitOptions, branching_ratio, fit_etas, rate

CATALOG = Path(os.environ.get("SEISPROBE_SHARED", "../shared")) / "data/catalogues/ingv_italy_m2.5_2015-2026.txt"
pytestmark = pytest.mark.skipif(not CATALOG.exists(), reason=f"the real catalog is not at {CATALOG}")

DAYS = 731.0
GAP_DAYS = 120 / 86400
MAINSHOCKS = ("2016-08-24T01:36:32Z", "2016-10-26T19:18:07.42Z", "2016-10-30T06:40:17.32Z")
HOURS = (2, 6, 12, 24)


def days_since_2016(times):
    start = pd.Timestamp("2016-01-01", tz="UTC")
    return ((pd.to_datetime(times, utc=True, format="ISO8601") - start) / pd.Timedelta("1D")).to_numpy()


@pytest.fixture(scope="module")
def events():
    table = pd.read_csv(CATALOG, sep="|", usecols=["Time", "Latitude", "Longitude", "Magnitude"])
    box = table["Latitude"].between(41.5, 44.0) & table["Longitude"].between(11.5, 14.5)
    times, sizes = days_since_2016(table["Time"][box]), table["Magnitude"][box].to_numpy()
    keep = np.flatnonzero(times < DAYS)
    keep = keep[np.argsort(times[keep])]
    return times[keep], sizes[keep]


@pytest.fixture(scope="module")
def fit(events):
    return fit_etas(*events, 2.5, 0.0, DAYS, options=FitOptions(starts=1))


def percentiles(parameters, events):
    """Return the mean percentile of event counts before the mainshocks, background weighted by the rate, by window."""
    times, sizes = events
    mainshocks = days_since_2016(list(MAINSHOCKS))
    ends = np.arange(24, 24 * DAYS + 1) / 24
    weights = rate(parameters, ends + GAP_DAYS, times, sizes)
    result = []
    for hours in HOURS:
        length = hours / 24
        free = np.ones(len(ends), dtype=bool)
        for time in mainshocks:
            free &= (ends <= time - 2.0) | (ends - length > time + 26 / 24)
        # A tenth of a millisecond earlier, so that rounding moves no event across the edge of a half-open window.
        stops = np.concatenate([mainshocks - GAP_DAYS, ends[free]]) - 1e-9
        counts = np.searchsorted(times, stops) - np.searchsorted(times, stops - length)
        background = counts[3:]
        shares = [(background < c) + 0.5 * (background == c) for c in counts[:3]]
        result.append(float(np.average(shares, axis=1, weights=weights[free]).mean()))
    return result


def test_targets_history_and_left_out_events_add_up(events, fit):
    assert fit.n_events + fit.left_out_events == 4067
    assert fit.n_history == 75
    assert 5 < fit.left_out_hours < 12


def test_the_free_fit_is_supercritical_and_its_residuals_fail_and_both_are_said(fit):
    assert 1.3 < branching_ratio(fit.parameters, 1.0, 7.0) < 2.5
    assert fit.branching_ratio > 1
    assert any("is 1 or more" in note for note in fit.notes)
    assert fit.residuals.ks_p < 0.01
    assert any("residuals fail" in note for note in fit.notes)


def test_with_every_event_a_target_the_branching_ratio_is_near_1_41(events):
    options = FitOptions(b=1.0, max_magnitude=7.0, leave_out_incomplete=False, starts=1)
    fit = fit_etas(*events, 2.5, 0.0, DAYS, options=options)
    assert fit.branching_ratio == pytest.approx(1.41, abs=0.03)
    assert fit.branching_se < 0.1


def test_weighted_by_the_rate_counts_before_the_mainshocks_are_ordinary(events, fit):
    assert percentiles(fit.parameters, events) == pytest.approx([0.59, 0.52, 0.49, 0.48], abs=0.03)


@pytest.mark.slow
def test_all_starts_reach_one_maximum_free_and_constrained(events):
    for limit in (None, 0.95):
        fit = fit_etas(*events, 2.5, 0.0, DAYS, max_branching=limit)
        assert np.ptp(fit.maxima) < 1e-6
