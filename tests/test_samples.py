"""Samples of background ends: spaced where uniform, by weight where etas, the same for all lengths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from seisprobe.backgrounds import Background
from seisprobe.catalog import times_us
from seisprobe.samples import draw_samples, touched_days, waveform_windows
from support.worlds import planned, study_of

HOUR_US = 3_600_000_000


def a_plan(count=40, days=90, radius=None):
    windows = {"background_count": count} | ({"radius_km": radius} if radius else {})
    study = study_of((20.0, 60.0), days, hours=(2.0, 6.0), windows=windows)
    plan, _ = planned(study)
    longest = plan.windows.loc[plan.windows["kind"].eq("background") & plan.windows["hours"].eq(6.0)]
    uniform = pd.DataFrame({"window_id": longest["window_id"], "mainshock": "", "weight": 1.0})
    weights = uniform.assign(weight=np.where(np.arange(len(uniform)) < 100, 9.0, 1.0))
    return study, plan, {"uniform": Background(uniform), "etas": Background(weights)}, weights


def test_the_uniform_sample_is_spaced_and_drawn_once():
    study, plan, backgrounds, _ = a_plan()
    samples = draw_samples(study, plan.windows, backgrounds)
    uniform = samples.loc[samples["background"].eq("uniform")]
    assert len(uniform) == 40
    assert (uniform["drawn"] == 1).all()
    assert np.diff(times_us(uniform["end"])).min() >= 6 * HOUR_US
    again = draw_samples(study, plan.windows, backgrounds)
    pd.testing.assert_frame_equal(samples, again)


def test_a_record_too_short_for_the_count_gives_all_that_fit():
    study, plan, backgrounds, _ = a_plan(count=5000)
    uniform = draw_samples(study, plan.windows, backgrounds).query("background == 'uniform'")
    ends = times_us(uniform["end"])
    every = times_us(plan.windows.loc[plan.windows["kind"].eq("background") & plan.windows["hours"].eq(6.0), "end"])
    assert 150 < len(uniform) < 360
    apart = np.abs(every[:, None] - ends[None, :]).min(axis=1)
    assert (apart < 6 * HOUR_US).all()  # nothing more would fit


def test_the_etas_sample_follows_the_weights_with_replacement():
    study, plan, backgrounds, weights = a_plan(count=20_000)
    etas = draw_samples(study, plan.windows, backgrounds).query("background == 'etas'")
    assert etas["drawn"].sum() == 20_000
    ends = plan.windows.set_index("window_id").loc[weights["window_id"], "end"]
    drawn = pd.Series(etas["drawn"].to_numpy(), etas["end"]).reindex(ends).fillna(0).to_numpy()
    expected = weights["weight"].to_numpy() / weights["weight"].sum() * 20_000
    assert chisquare(drawn, expected).pvalue > 0.001


def test_windows_of_every_length_are_taken_with_their_end():
    study, plan, backgrounds, _ = a_plan()
    samples = draw_samples(study, plan.windows, backgrounds)
    rows = waveform_windows(study, plan.windows, samples)
    background = rows.loc[rows["kind"].eq("background")]
    assert set(rows["kind"]) == {"positive", "post", "background"}
    assert set(background["end"]) == set(samples["end"])
    for hours in (2.0, 6.0):
        assert set(background.loc[background["hours"].eq(hours), "end"]) == set(samples["end"])
    by_hand = {
        str(day.date()) for start, end in zip(rows["start"], rows["end"], strict=True)
        for day in pd.date_range(start.floor("D"), end - pd.Timedelta("1us"), freq="D")
    }  # fmt: skip
    assert touched_days(rows) == sorted(by_hand)


def test_each_place_has_its_own_samples():
    study = study_of((20.0, 60.0), 90, hours=(2.0, 6.0), windows={"background_count": 30, "radius_km": 50.0})
    plan, _ = planned(study)
    longest = plan.windows.loc[plan.windows["kind"].eq("background") & plan.windows["hours"].eq(6.0)]
    weights = longest[["window_id", "mainshock"]].assign(weight=1.0)
    samples = draw_samples(study, plan.windows, {"uniform": Background(weights)})
    assert samples.groupby("mainshock").size().to_dict() == {"M1": 30, "M2": 30}
    first, second = (set(rows["end"]) for _, rows in samples.groupby("mainshock"))
    assert first != second
    rows = waveform_windows(study, plan.windows, samples)
    background = rows.loc[rows["kind"].eq("background")]
    for place, ends in (("M1", first), ("M2", second)):
        assert set(background.loc[background["mainshock"].eq(place), "end"]) == ends


@pytest.mark.parametrize(("start", "end", "days"), [("T23:59", "T24:00", 1), ("T23:59", "T24:01", 2)])
def test_the_end_of_a_window_touches_no_day(start, end, days):
    base = pd.Timestamp("2016-02-28T00:00Z")
    times = [base + pd.Timedelta(text[1:] + ":00") for text in (start, end)]
    table = pd.DataFrame({"start": pd.to_datetime(times[:1]), "end": pd.to_datetime(times[1:])})
    assert len(touched_days(table)) == days
