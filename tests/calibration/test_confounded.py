"""Worlds of waveforms without waveforms: each has its trap, is judged the same again, and what is caught is caught."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from seisprobe import planning
from seisprobe.calibration import Request, calibrate, judge_world, summarise
from seisprobe.calibration.confounded import PER_WINDOW, HeldVectors, _segments, confounded_study, observe_world
from seisprobe.catalog import Catalog, times_us
from seisprobe.embedding.waves import ALL
from seisprobe.evaluation.verdict import WORDS
from seisprobe.modalities.waveforms import amplitude, seisclip, station_state
from seisprobe.setting import Rates
from seisprobe.simulation.vector_worlds import VECTOR_KINDS, StationHistory, vector_world
from seisprobe.simulation.worlds import START_US

DAY_US, HOUR_US, MINUTE_US = 86_400_000_000, 3_600_000_000, 60_000_000
SLOW_WORLDS = 100


@cache
def observed(kind: str, seed: int = 0):
    """Return world, plan with waves, and the waves: at `uniform` alone, which needs no fit."""
    world = vector_world(kind, 6, np.random.default_rng(seed))
    study = confounded_study(world, seed)
    study = study.model_copy(
        update={"evaluation": study.evaluation.model_copy(update={"backgrounds": ("uniform",), "headline": "uniform"})}
    )
    plan = planning.make_plan(study, Catalog(world.catalog.events), Rates())
    rows, counts = planning.waveform_rows(study, plan)
    waves = observe_world(world, study, rows, counts, np.random.default_rng(seed))
    return world, replace(plan, setting=replace(plan.setting, waves=waves)), waves


def before(plan: planning.Plan, table: pd.DataFrame, station: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column before the mainshocks, and in the uniform sample."""
    own = table.loc[table["station"].eq(station)].set_index("window_id")[column]
    two = plan.windows.loc[plan.windows["hours"].eq(2.0)]
    positive = two.loc[two["kind"].eq("positive"), "window_id"]
    background = two.loc[two["kind"].eq("background"), "window_id"]
    return own[own.index.isin(positive)].to_numpy(), own[own.index.isin(background)].to_numpy()


@pytest.mark.parametrize("kind", VECTOR_KINDS)
def test_mainshocks_are_blocks_of_their_own_and_three_stations_see_them(kind):
    world, plan, waves = observed(kind)
    assert plan.mainshocks["block"].nunique() == 6
    assert waves.stations == ("XX.FAR", "XX.MIDDLE", "XX.NEAR")
    assert (world.changed_station != "") == (kind in ("gain-listed", "gain-unlisted", "outages"))
    for station in waves.stations:
        drawn = waves.drawn[ALL, station]
        assert len(drawn.rows) > 0.9 * len(waves.windows)
        assert {len(s) for s in drawn.segments} == {PER_WINDOW, PER_WINDOW // 2}
        table = waves.segments[station]
        assert table["reason"].iloc[drawn.used].eq("").all()
    features = seisclip(plan.setting)
    assert features.shape[1] == 2 + 4 * 33
    assert np.isfinite(features.iloc[:, 2:].to_numpy()).all()


def test_real_features_read_what_is_held():
    """The vector of a drawn segment is the one that was made for it, whatever the order."""
    _, plan, waves = observed("clean")
    station = waves.stations[1]
    drawn = waves.drawn[ALL, station]
    vectors, at = waves.vectors("seisclip", station)
    assert (at[drawn.used] == np.arange(len(drawn.used))).all()
    assert (at >= 0).sum() == len(drawn.used) == len(vectors)
    table = amplitude(replace(plan.setting, waves=replace(waves, stores={"amplitude": waves.stores["seisclip"]})))
    row = table.loc[table["station"].eq(station)].iloc[3]
    mine = vectors[at[drawn.segments[3]]]
    assert row["mean_8"] == pytest.approx(mine[:, 8].astype(float).mean())
    assert row["max_30"] == pytest.approx(mine[:, 30].max())
    names = np.array(["b", "a"], dtype=object)
    both = HeldVectors({"X.B": (names, np.ones((2, 33), np.float32)), "X.A": (names, np.zeros((2, 33), np.float32))})
    assert both.units() == ["X.A", "X.B"]
    assert both.read(["X.B"])[1].min() == 1.0


@pytest.mark.parametrize("kind", ["gain-listed", "gain-unlisted"])
def test_a_gain_changes_at_one_station_and_its_metadata_know_it_or_not(kind):
    for seed in range(2):
        world, plan, _ = observed(kind, seed)
        changed = next(s for s in world.stations if s.name == world.changed_station)
        shocks = times_us(world.catalog.events["time"].iloc[world.catalog.mainshocks])
        inside = changed.factor(shocks) != 1.0
        assert inside.sum() >= 5
        assert len(changed.toggles) in (2, 3)
        grid = np.arange(world.catalog.start_us, world.catalog.end_us, HOUR_US)
        assert 0.10 < (changed.factor(grid) != 1.0).mean() < 0.16
        assert 2.0 <= max(changed.gain, 1 / changed.gain) <= 5.0
        power, usual = before(plan, seisclip(plan.setting), changed.name, "mean_3")
        assert np.sign(np.median(power) - np.median(usual)) == np.sign(np.log(changed.gain))
        state = station_state(plan.setting)
        rare = state.loc[state["station"].eq(changed.name), "epoch"]
        assert rare.max() > 1.0 if kind == "gain-listed" else (rare == 0.0).all()
        assert state.loc[~state["station"].eq(changed.name), "epoch"].eq(0).all()


def test_a_station_fails_before_mainshocks_and_swings_afterwards():
    world, plan, waves = observed("outages")
    state, features = station_state(plan.setting), seisclip(plan.setting)
    positive, background = before(plan, state, world.changed_station, "gap_fraction")
    assert np.median(positive) > 0.08
    assert np.median(background) < 0.03
    positive, background = before(plan, features, world.changed_station, "max_8")
    assert np.median(positive) > np.quantile(background, 0.8)
    other = next(s for s in waves.stations if s != world.changed_station)
    assert np.median(before(plan, state, other, "gap_fraction")[0]) == 0.0


def test_some_hours_are_loud_at_all_stations_and_mainshocks_follow_them():
    world, plan, waves = observed("hours")
    shocks = times_us(world.catalog.events["time"].iloc[world.catalog.mainshocks])
    after_h = (shocks / HOUR_US - world.loud_hour) % 24.0
    assert ((after_h >= 2.0) & (after_h < 3.0)).all()
    bands = [f"mean_{band}" for band in range(8)]
    table = seisclip(plan.setting)
    for station in waves.stations:
        louder = [np.median(a) - np.median(b) for a, b in (before(plan, table, station, band) for band in bands)]
        assert max(louder) > 0.3


def test_noise_drifts_and_mainshocks_are_late():
    world, plan, waves = observed("slow-drift")
    shocks = times_us(world.catalog.events["time"].iloc[world.catalog.mainshocks])
    assert (shocks > START_US + 0.85 * 720 * DAY_US).all()
    for station in waves.stations:
        late, usual = before(plan, seisclip(plan.setting), station, "mean_4")
        assert np.median(late) > np.median(usual) + 0.2


def test_a_gap_takes_the_segments_that_it_meets_and_no_other():
    _, _, waves = observed("clean")
    world = vector_world("clean", 6, np.random.default_rng(0))
    for station in world.stations:
        table = waves.segments[station.name]
        starts = times_us(table["start"])
        meets = np.zeros(len(starts), dtype=bool)
        for begin, end in station.gaps:
            meets |= (starts < end) & (starts + MINUTE_US > begin)
        assert meets.any()
        np.testing.assert_array_equal(table["reason"].ne("").to_numpy(), meets)


def test_a_segment_in_which_listed_metadata_change_is_dropped():
    starts = START_US + MINUTE_US * np.arange(4)
    days, priority = np.full(4, "2020-01-01"), np.arange(4, dtype=np.uint64)
    toggles, gaps = np.array([starts[1] + 1, starts[3]]), np.array([[starts[2] - 5, starts[3] + 5]])
    station = StationHistory("XX.A", 30.0, toggles=toggles, gain=2.0, listed=True, gaps=gaps)
    table = _segments(station, starts, days, priority)
    assert table["reason"].tolist() == ["", "metadata_epoch", "no_data", "gap"]
    assert table["epoch"].tolist() == [0, 0, 1, 2]
    unlisted = _segments(replace(station, listed=False), starts, days, priority)
    assert unlisted["reason"].tolist() == ["", "gap", "no_data", "gap"]
    assert unlisted["epoch"].tolist() == [0, 0, 0, 0]
    assert unlisted["unit"].tolist() == ["XX.A..HH.2020-01-01"] * 4


# --- judged ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VECTOR_KINDS)
def test_a_world_is_judged_and_says_why(kind):
    """Two of these are significant by the clock or the season alone: the control that knows it takes the word away."""
    row = judge_world(Request(kind, 1), 3)
    json.dumps(row, allow_nan=False)
    assert row["word"] in WORDS
    assert not row["merged"]
    assert row["fitted"]
    assert row["post_event_auc"] > 0.9
    assert {"clock", "drift", "station_state", "etas_rate"} <= row["controls"].keys()
    assert len(row["u"]) == 6
    assert (row["p_pseudo"] <= 0.05) == ("without" in row)
    if kind in ("hours", "slow-drift"):
        assert (row["word"], row["rule"]) == ("CONFOUNDED", 2)
        assert ("clock" if kind == "hours" else "drift") in row["why"]


def test_a_run_of_worlds_is_written_as_any_other_and_is_the_same_again(tmp_path):
    one, two = (calibrate(Request("clean", 1), tmp_path / name) for name in ("one", "two"))
    assert one == two
    held = json.loads((tmp_path / "one" / "calibration.json").read_text())
    assert (held["kind"], held["worlds"], held["words"]) == ("clean", 1, one["words"])
    assert held["rates"].keys() == one["rates"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", VECTOR_KINDS)
def test_few_confounded_worlds_are_detected(kind):
    """5% of 100 is 5; more than 10 comes by chance in 1%, and means that a control does not see its confounder."""
    rows = [judge_world(Request(kind, SLOW_WORLDS), index) for index in range(SLOW_WORLDS)]
    found = summarise(Request(kind, SLOW_WORLDS), [row for row in rows if row is not None])
    assert found["rates"]["word_detected"]["k"] <= 10, found
    if kind in ("hours", "slow-drift"):
        assert found["rates"]["caught_of_significant"]["k"] >= 0.9 * found["rates"]["caught_of_significant"]["n"]
