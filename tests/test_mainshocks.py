"""Mainshocks by rule: what it takes, what it refuses, and that the background follows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.catalog import Catalog, distance_km, times_us
from seisprobe.errors import StudyError
from seisprobe.mainshocks import (
    check_mainshocks,
    how_chosen,
    mainshocks_by_rule,
    outside_rule,
    plan_mainshocks,
    sharing_ground,
)
from seisprobe.planning import check, make_plan
from seisprobe.study import Study, study_from_dict
from support.studies import World

SHOCKS = (("Alfa", 40.3, 6.0), ("Beta", 43.1, 5.2), ("Gamma", 80.1, 5.8), ("Delta", 200.7, 5.6))


def by_rule(world: World, rule: dict[str, Any], *, listed: bool = False, **windows: Any) -> Study:
    raw = world.raw()
    if not listed:
        raw["mainshock"] = []
    raw["mainshocks"] = {"rule": rule}
    raw["windows"] = {**raw["windows"], **windows}
    return study_from_dict(raw)


def world_of(seed: int = 0, days: float = 240.0) -> World:
    return World(seed=seed, days=days, shocks=SHOCKS)


@settings(max_examples=40)
@given(st.integers(0, 200), st.sampled_from([0.0, 5.0, 60.0]))
def test_a_rule_takes_every_event_that_is_large_enough_and_late_enough(seed: int, gap: float) -> None:
    world = world_of(seed)
    study = by_rule(world, {"min_magnitude": 5.0, "min_gap_days": gap})
    expected: list[pd.Timestamp] = []
    for event in world.events().itertuples():
        inside = 41.5 <= event.latitude <= 44.0 and 11.5 <= event.longitude <= 14.5
        large = event.magnitude >= 5.0 - 1e-9 and event.time < study.study.end
        if inside and large and (not expected or event.time - expected[-1] >= timedelta(days=gap)):
            expected.append(event.time)
    expected = [time for time in expected if time >= study.study.start]  # a gap may begin before the study
    assert [m.time for m in mainshocks_by_rule(study, world.events())] == expected
    assert plan_mainshocks(study, world.events())["time"].tolist() == expected


def test_aftershocks_are_none_and_foreshocks_stay() -> None:
    world = world_of()
    study = by_rule(world, {"min_magnitude": 5.0, "decluster": "gardner-knopoff"}, radius_km=40)
    found = [m.time for m in mainshocks_by_rule(study, world.events())]
    assert world.time_of(43.1) not in found  # Beta, three days after Alfa
    assert world.time_of(40.3) in found
    larger = World(days=240.0, shocks=(("Alfa", 40.3, 5.1), ("Beta", 45.1, 6.0)))
    study = by_rule(larger, {"min_magnitude": 5.0, "decluster": "gardner-knopoff"}, radius_km=40)
    found = [m.time for m in mainshocks_by_rule(study, larger.events())]
    assert {larger.time_of(40.3), larger.time_of(45.1)} <= set(found)


def test_a_list_that_is_the_rules_stands_and_any_other_is_refused() -> None:
    world = World(days=240.0, shocks=(("Alfa", 40.3, 6.0), ("Gamma", 80.1, 5.8)))
    check_mainshocks(by_rule(world, {"min_magnitude": 5.6}, listed=True), world.events())
    with pytest.raises(StudyError, match=r"\[\[mainshock\]\] Gamma: is none by rule: M ≥ 5.9; leave it out, or change"):
        check_mainshocks(by_rule(world, {"min_magnitude": 5.9}, listed=True), world.events())
    fewer = World(days=240.0, shocks=world.shocks)
    raw = fewer.raw()
    raw["mainshock"], raw["mainshocks"] = raw["mainshock"][:1], {"rule": {"min_magnitude": 5.6}}
    with pytest.raises(
        StudyError, match=r"\[mainshocks\] rule: 2016-03-.*M 5.8 is a mainshock by rule.*not on the list"
    ):
        check_mainshocks(study_from_dict(raw), world.events())


def test_a_rule_that_finds_nothing_says_so() -> None:
    world = world_of()
    with pytest.raises(
        StudyError, match=r"rule.min_magnitude = 7: no event .* is as large, its largest event has M 6;"
    ):
        mainshocks_by_rule(by_rule(world, {"min_magnitude": 7.0}), world.events())
    with pytest.raises(StudyError, match="has no mainshock; add"):
        study_from_dict({**world.raw(), "mainshock": []})
    with pytest.raises(StudyError, match=r"decluster = 'gardner-knopoff' needs \[windows\] radius_km"):
        check(by_rule(world, {"min_magnitude": 5.0, "decluster": "gardner-knopoff"}))


def test_it_says_how_mainshocks_were_chosen() -> None:
    world = world_of()
    assert how_chosen(world.study()) == "chosen after the fact"
    rule = {"min_magnitude": 4.5, "min_gap_days": 30, "decluster": "gardner-knopoff"}
    assert how_chosen(by_rule(world, rule)) == (
        "by rule: M ≥ 4.5, no aftershock (gardner-knopoff), 30 days after the last"
    )


def test_names_tell_mainshocks_of_one_minute_apart() -> None:
    world = World(days=240.0, shocks=(("A", 40.3, 6.0), ("B", 40.3001, 6.0)))
    names = [m.name for m in mainshocks_by_rule(by_rule(world, {"min_magnitude": 5.9}), world.events())]
    assert len(set(names)) == len(names) == 2
    assert names[1] == f"{names[0]}-2"


@pytest.mark.parametrize("decluster", ["gardner-knopoff", "nearest-neighbour"])
def test_no_background_window_points_at_a_time_at_which_the_rule_would_take_no_mainshock(decluster: str) -> None:
    world = world_of(3)
    rule = {"min_magnitude": 5.0, "decluster": decluster, "min_gap_days": 6.0}
    study = by_rule(world, rule, radius_km=40, step_h=6)
    events = world.events()
    plan = make_plan(study, Catalog(events))
    spans = outside_rule(study, plan.mainshocks, events)
    assert spans
    on_grid = plan.windows.loc[plan.windows["window_id"].str.startswith("bg-") & plan.windows["hours"].isin([2.0, 6.0])]
    barred = on_grid["reason"].eq("outside_rule").to_numpy()
    zone = on_grid["reason"].eq("zone").to_numpy()
    for own, (name, end) in enumerate(zip(on_grid["mainshock"], times_us(on_grid["end"]), strict=True)):
        starts, ends = spans[name]
        inside = bool(((starts < end + 120e6) & (end + 120e6 <= ends)).any())
        assert zone[own] or barred[own] == inside
    assert barred.any()


def test_a_gap_that_began_before_the_study_holds_for_mainshocks_and_background() -> None:
    world = World(days=240.0, history_days=20.0, shocks=(*SHOCKS, ("Before", -2.0, 5.5), ("Within", 1.0, 5.1)))
    study = by_rule(world, {"min_magnitude": 5.5, "min_gap_days": 5.0})
    assert world.time_of(1.0) not in [m.time for m in mainshocks_by_rule(study, world.events())]
    plan = make_plan(study, Catalog(world.events()))
    early = plan.windows.loc[plan.windows["end"].le(pd.Timestamp(world.time_of(2.9))) & plan.windows["hours"].eq(2.0)]
    assert set(early["reason"]) == {"outside_rule"}


def test_places_far_apart_bar_nothing_at_each_other() -> None:
    world = World(days=120.0, shocks=(("Alfa", 40.3, 6.0), ("Beta", 41.1, 5.8)))
    raw = world.raw()
    raw["windows"] |= {"radius_km": 30.0, "step_h": 6}
    raw["mainshock"][0] |= {"latitude": 42.0, "longitude": 13.0}
    raw["mainshock"][1] |= {"latitude": 43.5, "longitude": 13.0}  # 167 km
    study = study_from_dict(raw)
    found = plan_mainshocks(study, world.events())
    assert found["reason"].tolist() == ["", ""]  # in one region Beta would be too close
    assert sharing_ground(study, found).tolist() == [[True, False], [False, True]]
    away = distance_km(np.array([42.0]), np.array([13.0]), 43.5, 13.0)[0]
    raw["windows"] |= {"radius_km": float(away) / 2 + 1}
    near = study_from_dict(raw)
    assert plan_mainshocks(near, world.events())["reason"].tolist() == ["", "too_close"]
