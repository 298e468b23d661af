"""Samples of background ends: spaced where uniform, by weight where etas, the same for all lengths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from seisprobe.backgrounds import Background
from seisprobe.catalog import Catalog, largest_apart, times_us
from seisprobe.etas import EtasParameters, branching_ratio, simulate
from seisprobe.evaluation.scores import percentiles
from seisprobe.planning import make_plan
from seisprobe.samples import draw_samples, sample_weights, touched_days, waveform_windows
from seisprobe.setting import Rates
from seisprobe.study import study_from_dict
from support.event_tables import event_table
from support.worlds import REGION, START, planned, study_of

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


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


# --- an honest draw scores 0.50 against the sample of its own kind ---------------------------------------------------

HOURS = (2.0, 24.0)
WORLD_DAYS, LEAD_IN_DAYS = 365.0, 100.0
MC, LARGEST, B = 2.5, 7.0, 1.0
APART_DAYS = (max(HOURS) + 2 * 24.0 + 2.0) / 24.0  # D
HONEST = 10  # draws for each catalog; their mean is one value
UNIT = EtasParameters(1.0, 1.0, 1.8, 0.005, 1.12, mc=MC)
PARAMETERS = replace(UNIT, k=0.7 / branching_ratio(UNIT, B, LARGEST))


def an_etas_world(world):
    """Return the study and the plan of a pure ETAS catalog, its three largest events D apart being the mainshocks."""
    rng = np.random.default_rng([world, 1])
    made = simulate(PARAMETERS, WORLD_DAYS, rng, b=B, max_magnitude=LARGEST, lead_in_days=LEAD_IN_DAYS)
    days, magnitudes = made.times_days, made.magnitudes
    eligible = (days > APART_DAYS) & (days < WORLD_DAYS - 2.0)
    chosen = largest_apart(days, magnitudes, eligible, 3, APART_DAYS)
    times = times_us([START])[0] + np.round(days * DAY_US).astype(np.int64)
    rows = [
        {"event_id": f"e{i}", "time": int(time), "latitude": 42.7, "longitude": 13.1, "depth_km": 9.0,
         "magnitude": float(magnitude), "magnitude_type": "Mw", "event_type": "earthquake"}
        for i, (time, magnitude) in enumerate(zip(times, magnitudes, strict=True))
    ]  # fmt: skip
    stamps = pd.to_datetime(times[chosen], unit="us", utc=True)
    study = study_from_dict(
        {
            "study": {"name": "world", "start": START.isoformat(), "seed": world, "region": REGION,
                      "end": (START + pd.Timedelta(days=WORLD_DAYS)).isoformat()},
            "catalog": {"source": "file:nowhere.csv", "min_magnitude": MC},
            "mainshock": [
                {"name": f"M{k}", "time": stamp.isoformat(), "magnitude": float(magnitudes[i]),
                 "latitude": 42.7, "longitude": 13.1}
                for k, (i, stamp) in enumerate(zip(chosen, stamps, strict=True))
            ],
            "windows": {"hours": list(HOURS), "post_h": [1.0, 3.0]},  # as long as HOURS[0]: saves a third length
            "evaluation": {"backgrounds": ["uniform", "etas"], "headline": "etas"},
        }
    )  # fmt: skip
    return study, make_plan(study, Catalog(event_table(rows)), Rates(parameters={"": PARAMETERS}))


def drawn_with_spacing(ends, weights, count, apart_us, rng):
    """Return ends drawn by weight one after the other, none nearer than `apart_us` to another: what must not be."""
    left, kept = ends[np.argsort(rng.exponential(size=len(ends)) / weights)], []
    while len(left) and len(kept) < count:
        kept.append(left[0])
        left = left[np.abs(left - left[0]) >= apart_us]
    return np.array(kept)


def honest_percentiles(world):
    """Return (draw, sample, hours) -> mean percentile of honest draws by their number of events, in one catalog."""
    study, plan = an_etas_world(world)
    longest = plan.windows.loc[plan.windows["kind"].eq("background") & plan.windows["hours"].eq(max(HOURS))]
    ends = times_us(longest["end"])
    weights = plan.backgrounds["etas"].weights.set_index("window_id").loc[longest["window_id"], "weight"].to_numpy()
    rng = np.random.default_rng([world, 2])
    honest = {
        "etas": ends[rng.choice(len(ends), HONEST, p=weights / weights.sum())],
        "uniform": ends[rng.choice(len(ends), HONEST)],
    }
    drawn = draw_samples(study, plan.windows, plan.backgrounds)
    samples = {
        name: (times_us(rows["end"]), rows["drawn"].to_numpy(dtype=float)) for name, rows in drawn.groupby("background")
    }
    spaced = drawn_with_spacing(ends, weights, 200, 24 * HOUR_US, rng)
    samples["spaced etas"] = (spaced, np.ones(len(spaced)))
    events = times_us(plan.setting.events["time"])

    def count(until, hours):
        return np.searchsorted(events, until) - np.searchsorted(events, until - round(hours * HOUR_US))

    pairs = (("etas", "etas"), ("uniform", "uniform"), ("etas", "spaced etas"), ("etas", "uniform"))
    return {
        (draw, sample, hours): percentiles(
            count(honest[draw], hours), count(samples[sample][0], hours), samples[sample][1]
        ).mean()
        for draw, sample in pairs
        for hours in HOURS
    }


def means_and_errors(catalogs):
    """Return, by (draw, sample, hours), the mean percentile over catalogs and its standard error."""
    table = pd.DataFrame([honest_percentiles(world) for world in range(catalogs)])
    return {key: (table[key].mean(), table[key].sem()) for key in table}


def check_honest_draws(found, bound):
    """See that draws of a sample's own kind score 0.50, and that λ-weighted ones are above any other sample."""
    for kind in ("etas", "uniform"):
        for hours in HOURS:
            mean, error = found[kind, kind, hours]
            assert abs(mean - 0.5) <= bound(error), (kind, hours, mean, error)
            other, error = found["etas", "spaced etas" if kind == "etas" else "uniform", hours]
            assert other - 1.96 * error > 0.5, (kind, hours, other, error)


def test_an_honest_draw_scores_a_half_against_its_sample():
    check_honest_draws(means_and_errors(60), lambda error: 0.04)


@pytest.mark.slow
def test_an_honest_draw_scores_a_half_against_its_sample_over_a_thousand_catalogs():
    check_honest_draws(means_and_errors(1000), lambda error: 1.96 * error)


def test_a_window_counts_as_often_as_its_end_was_drawn_at_every_length():
    study, plan, backgrounds, _ = a_plan(count=400)
    samples = draw_samples(study, plan.windows, backgrounds)
    table = sample_weights(plan.windows, samples, backgrounds)
    assert set(table["background"]) == {"uniform", "etas"}
    windows = plan.windows.set_index("window_id").loc[table["window_id"]]
    drawn = samples.set_index(["background", "end"])["drawn"]
    keys = list(zip(table["background"], windows["end"], strict=True))
    assert (table["weight"].to_numpy() == drawn.loc[keys].to_numpy()).all()
    assert drawn.loc["etas"].max() > 1
    for hours in study.windows.hours:
        here = table.loc[(windows["hours"] == hours).to_numpy()]
        assert here.loc[here["background"].eq("etas"), "weight"].sum() == 400
