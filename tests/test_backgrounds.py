"""Backgrounds against loops over candidates: who is quiet, who is alike, how ETAS weighs them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seisprobe.backgrounds import BACKGROUNDS, near_hour, weekend
from seisprobe.catalog import distance_km, select_events, times_us
from seisprobe.etas import EtasParameters, rate
from seisprobe.mainshocks import plan_mainshocks
from seisprobe.setting import Rates, Setting, etas_days
from seisprobe.windows import plan_windows
from support.studies import World

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MOMENTS = st.integers(-5_000_000_000_000_000, 5_000_000_000_000_000)


def setting_of(world: World) -> Setting:
    study = world.study()
    events = select_events(
        world.events(), end=pd.Timestamp(study.study.end), region=study.study.region.model_dump(), min_magnitude=2.5
    )
    return Setting(study, plan_windows(study, plan_mainshocks(study, events)), events)


WORLDS = [
    World(seed=21, windows={"hours": [2, 24], "layouts": ["until-event", "at-lead"]}),
    World(seed=22, windows={"hours": [6], "radius_km": 40, "step_h": 0.5}),
]


@pytest.mark.parametrize("world", WORLDS, ids=["region", "circles"])
def test_quiet_holds_the_candidates_without_m4_from_48_h_before_to_48_h_after(world: World) -> None:
    setting = setting_of(world)
    candidates = setting.windows.loc[setting.windows["kind"].eq("background")]
    large = setting.events.loc[setting.events["magnitude"] >= 4.0 - 1e-9]
    expected = []
    for (latitude, longitude, radius_km), rows in candidates.groupby(
        ["latitude", "longitude", "radius_km"], dropna=False
    ):
        near = large
        if not np.isnan(radius_km):
            away = distance_km(large["latitude"].to_numpy(), large["longitude"].to_numpy(), latitude, longitude)
            near = large.loc[away <= radius_km]
        times = times_us(near["time"]).tolist()
        limits = zip(rows["window_id"], times_us(rows["start"]).tolist(), times_us(rows["end"]).tolist(), strict=True)
        for name, start, end in limits:
            if not any(start - 48 * HOUR_US <= t < end + 48 * HOUR_US for t in times):
                expected.append(name)
    weights = BACKGROUNDS["quiet"](setting).weights
    assert sorted(weights["window_id"]) == sorted(expected)
    assert 0 < len(expected) < len(candidates)
    assert weights["weight"].eq(1).all()
    uniform = BACKGROUNDS["uniform"](setting).weights
    assert sorted(uniform["window_id"]) == sorted(candidates["window_id"])


def test_a_large_event_exactly_48_h_before_a_start_disturbs_and_48_h_after_an_end_does_not() -> None:
    setting = setting_of(World(seed=23, windows={"hours": [2]}))
    row = setting.windows.loc[setting.windows["kind"].eq("background") & setting.windows["hours"].eq(2)].iloc[[100]]
    for column, hours, disturbed in (("start", -48, True), ("end", 48, False)):
        for microseconds in (0, -1):
            event = setting.events.iloc[[0]].assign(magnitude=4.0)
            moved = row[column].iloc[0] + pd.Timedelta(hours=hours, microseconds=microseconds)
            event["time"] = pd.DatetimeIndex([moved]).as_unit("us")
            kept = BACKGROUNDS["quiet"](replace(setting, windows=row, events=event)).weights
            assert (len(kept) == 0) == (disturbed if microseconds == 0 else not disturbed), (column, microseconds)


def by_hand(setting: Setting, name: str, hours: float, layout: str) -> tuple[set[str], set[str], set[str], set[str]]:
    """Return the candidates of a mainshock's matched set at each level of conditions."""
    windows = setting.windows
    own = windows.loc[windows["kind"].eq("positive") & windows["mainshock"].eq(name) & windows["layout"].eq(layout)]
    own = own.loc[own["hours"].eq(hours)].iloc[0]
    large = [(t, m) for t, m in zip(setting.events["time"], setting.events["magnitude"], strict=True) if m >= 5 - 1e-9]

    def last(moment: pd.Timestamp) -> tuple[pd.Timestamp, float] | None:
        before = [(t, m) for t, m in large if t < moment]
        return before[-1] if before else None

    mine = last(own["end"])
    levels: tuple[set[str], set[str], set[str], set[str]] = (set(), set(), set(), set())
    rows = windows.loc[windows["kind"].eq("background") & windows["hours"].eq(hours) & windows["layout"].eq(layout)]
    for row in rows.itertuples():
        its = last(row.end)
        if (mine is None) != (its is None):
            continue
        magnitude = True
        if mine is not None and its is not None:
            ratio = (row.end - its[0]) / (own["end"] - mine[0])
            if not 0.5 <= ratio <= 2:
                continue
            magnitude = abs(its[1] - mine[1]) <= 0.5 + 1e-9
        apart = abs((row.end - row.end.normalize()) - (own["end"] - own["end"].normalize()))
        hour = min(apart, pd.Timedelta(days=1) - apart) <= pd.Timedelta(hours=1)
        week = (row.end.day_of_week >= 5) == (own["end"].day_of_week >= 5)
        for level, holds in enumerate((week and hour and magnitude, hour and magnitude, magnitude, True)):
            if holds:
                levels[level].add(row.window_id)
    return levels


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_matched_holds_the_candidates_in_the_same_state_or_says_why_not(seed: int) -> None:
    shocks = (
        ("Alfa", 20.3, 6.0),
        ("Beta", 60.1, 5.8),
        ("Gamma", 130.4, 5.2),
        ("Delta", 131.0, 5.2),
        ("Eps", 170.7, 5.6),
    )
    setting = setting_of(World(seed=seed, days=200, shocks=shocks, windows={"hours": [6]}))
    background = BACKGROUNDS["matched"](setting)
    sets = dict(iter(background.weights.groupby("mainshock")["window_id"]))
    positives = setting.windows.loc[setting.windows["kind"].eq("positive")]
    for row in positives.itertuples():
        levels = by_hand(setting, row.mainshock, row.hours, row.layout)
        key = (row.layout, row.hours, row.mainshock)
        assert (key in background.reasons) != (key in background.levels)
        if key in background.reasons:
            assert row.mainshock not in sets
            continue
        names = ("weekday, hour, magnitude", "hour, magnitude", "magnitude", "time since the last M 5 alone")
        level = names.index(background.levels[key])
        assert set(sets[row.mainshock]) == levels[level]
        assert len(levels[level]) >= 50
        ends = setting.windows.set_index("window_id").loc[list(levels[level]), "end"]
        large = setting.events.loc[setting.events["magnitude"] >= 5 - 1e-9, "time"]
        before = np.searchsorted(times_us(large), times_us(ends))
        if (before == 0).all():
            assert ends.dt.floor("D").nunique() >= 30
        else:
            assert len(set(before)) >= 3
    assert background.levels or background.reasons


def test_etas_weighs_candidates_by_the_rate_at_the_time_they_point_at() -> None:
    setting = setting_of(World(seed=41, windows={"hours": [2, 6], "layouts": ["until-event", "at-lead"], "gap_s": 600}))
    parameters = EtasParameters(mu_per_day=0.5, k=0.1, alpha=1.5, c_days=0.01, p=1.1, mc=2.5)
    weights = BACKGROUNDS["etas"](replace(setting, rates=Rates(parameters={"": parameters}))).weights
    rows = setting.windows.set_index("window_id").loc[weights["window_id"]]
    days = etas_days(setting.study, times_us(setting.events["time"]))
    magnitudes = setting.events["magnitude"].to_numpy()
    for layout, hours in (("until-event", 2), ("until-event", 6), ("at-lead", 2), ("at-lead", 6)):
        mine = (rows["layout"].eq(layout) & rows["hours"].eq(hours)).to_numpy()
        ahead = pd.Timedelta(hours=hours) if layout == "at-lead" else pd.Timedelta(seconds=600)
        at = etas_days(setting.study, times_us(rows.loc[mine, "end"] + ahead))
        expected = rate(parameters, at, days, magnitudes)
        assert weights.loc[mine, "weight"].to_numpy() == pytest.approx(expected, rel=1e-9)
        events = list(zip(days, magnitudes, strict=True))
        direct = [  # the formula itself, at a few
            0.5 + sum(0.1 * np.exp(1.5 * (m - 2.5)) * (t - d + 0.01) ** -1.1 for d, m in events if d < t)
            for t in at[:: len(at) // 5]
        ]
        assert weights.loc[mine, "weight"].to_numpy()[:: len(at) // 5] == pytest.approx(direct, rel=1e-9)


def test_without_a_rate_etas_is_empty_and_says_why() -> None:
    background = BACKGROUNDS["etas"](setting_of(World(seed=42)))
    assert background.weights.empty
    assert list(background.reasons.values()) == ["no ETAS rate was asked for"]


@given(MOMENTS, MOMENTS)
def test_nearness_of_hours_is_circular_and_symmetric(a: int, b: int) -> None:
    day = pd.Timedelta(days=1)
    clock = [pd.Timestamp(t, unit="us") - pd.Timestamp(t, unit="us").normalize() for t in (a, b)]
    apart = min((clock[0] - clock[1]) % day, (clock[1] - clock[0]) % day)
    assert near_hour(np.array([a]), b)[0] == (apart <= pd.Timedelta(hours=1))
    assert near_hour(np.array([a]), b)[0] == near_hour(np.array([b]), a)[0]


@given(MOMENTS)
def test_weekends_are_those_of_the_calendar(time: int) -> None:
    assert weekend(np.array([time]))[0] == (pd.Timestamp(time, unit="us").day_of_week >= 5)
