"""The plan: windows half-open, zones closed, the same candidate ends for every length, a reason for what is out."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.catalog import times_us
from seisprobe.errors import StudyError
from seisprobe.mainshocks import (
    block_sizes,
    check_mainshocks,
    check_period,
    plan_mainshocks,
    positive_distance_h,
    unlisted_events,
)
from seisprobe.windows import WINDOW_COLUMNS, candidate_ends, meets_zone, places, plan_windows
from support.studies import World, utc

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NO_EVENTS = World(per_day=0.001, shocks=(("Alfa", 40.3, 6.0),)).events()

hours = st.lists(st.sampled_from([0.5, 1, 2, 3.5, 6, 12, 24, 50]), min_size=1, max_size=3, unique=True)
worlds = st.builds(
    World,
    start=st.datetimes(utc("1969-12-30").replace(tzinfo=None), utc("2020-03-01").replace(tzinfo=None)).map(
        lambda t: utc(t.replace(microsecond=t.microsecond // 1000 * 1000).isoformat())
    ),
    days=st.floats(30, 60),
    shocks=st.lists(st.floats(0.0, 29.9), min_size=1, max_size=4, unique_by=lambda d: round(d, 4)).map(
        lambda days: tuple((f"S{i}", d, 5.5) for i, d in enumerate(days))
    ),
    windows=st.fixed_dictionaries(
        {
            "hours": hours,
            "step_h": st.sampled_from([0.25, 0.5, 1, 1.5, 3, 5, 7]),
            "gap_s": st.sampled_from([0, 60, 120, 599.5]),
            "embargo_h": st.sampled_from([0, 1, 24]),
            "layouts": st.sampled_from([["until-event"], ["at-lead"], ["until-event", "at-lead"]]),
            "lead_window_h": st.sampled_from([0.5, 1, 3]),
            "post_h": st.sampled_from([[1, 2], [0, 0.5], [3.1, 4.1]]),
        },
        optional={"radius_km": st.just(20)},
    ),
)


def planned(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    study = world.study()
    mainshocks = plan_mainshocks(study, NO_EVENTS)
    return mainshocks, plan_windows(study, mainshocks)


@settings(max_examples=12)
@given(worlds)
def test_every_window_has_its_length_and_every_row_left_out_has_a_reason(world: World) -> None:
    _, windows = planned(world)
    options = world.study().windows
    assert list(windows.columns) == list(WINDOW_COLUMNS)
    assert windows["window_id"].is_unique
    assert set(windows["kind"]) <= {"positive", "post", "placebo", "background", "excluded"}
    assert (windows["reason"].ne("") == windows["kind"].eq("excluded")).all()
    assert set(windows["reason"]) <= {"", "zone", "too_close", "before_start", "after_end"}
    lead = windows["layout"].eq("at-lead")
    length_h = (times_us(windows["end"]) - times_us(windows["start"])) / HOUR_US
    assert np.allclose(length_h, np.where(lead, options.lead_window_h, windows["hours"]), atol=1e-6)
    assert str(windows["start"].dtype) == str(windows["end"].dtype) == "datetime64[us, UTC]"


@settings(max_examples=12)
@given(worlds)
def test_candidate_ends_are_whole_steps_from_midnight_and_the_same_for_every_length(world: World) -> None:
    study = world.study()
    _, windows = planned(world)
    options = study.windows
    midnight = pd.Timestamp(study.study.start).normalize()
    step = timedelta(hours=options.step_h)
    expected = []
    moment = midnight
    while moment <= pd.Timestamp(study.study.end):
        if moment >= pd.Timestamp(study.study.start) + timedelta(hours=max(options.hours)):
            expected.append(moment)
        moment += step
    candidates = windows.loc[windows["window_id"].str.startswith("bg-")]
    assert len(expected)
    place = candidates["window_id"].str.extract(r"h-(S\d)$")[0].fillna("")
    for _, rows in candidates.groupby(["layout", "hours", place]):
        assert list(rows["end"]) == expected
    until = candidates["layout"].eq("until-event") & candidates["hours"].isin(options.hours)
    assert (candidates.loc[until, "start"] >= study.study.start).all()
    assert (candidates["end"] <= study.study.end).all()


@settings(max_examples=12)
@given(worlds)
def test_no_candidate_meets_a_zone_and_every_excluded_candidate_does(world: World) -> None:
    study = world.study()
    _, windows = planned(world)
    options = study.windows
    candidates = windows.loc[windows["window_id"].str.startswith("bg-")]
    zones = [  # of all mainshocks, too close or not
        (
            m.time - timedelta(hours=max(options.hours) + options.embargo_h),
            m.time + timedelta(hours=2 + options.embargo_h),
        )
        for m in study.mainshock
    ]
    for kind, start, end in candidates[["kind", "start", "end"]].drop_duplicates().itertuples(index=False):
        assert kind == ("excluded" if any(end > a and start <= b for a, b in zones) else "background")


@settings(max_examples=12)
@given(worlds)
def test_positives_end_a_gap_or_a_lead_before_their_mainshock_and_lie_more_than_d_apart(world: World) -> None:
    study = world.study()
    mainshocks, windows = planned(world)
    options = study.windows
    last, expected = None, []
    for mainshock in study.mainshock:
        apart = timedelta(hours=max(options.hours) + 2 * options.embargo_h + 2)
        expected.append(last is None or mainshock.time - last > apart)
        last = mainshock.time if expected[-1] else last
    assert list(mainshocks["reason"]) == ["" if e else "too_close" for e in expected]
    assert positive_distance_h(study) == max(options.hours) + 2 * options.embargo_h + 2
    assert (mainshocks["block"].gt(0) == mainshocks["reason"].eq("")).all()
    near = windows.loc[windows["window_id"].str.startswith("positive-")]
    assert len(near) == len(study.mainshock) * len(options.layouts) * len(options.hours)
    for row in near.itertuples():
        mainshock = next(m for m in study.mainshock if m.name == row.mainshock)
        before = timedelta(hours=row.hours) if row.layout == "at-lead" else timedelta(seconds=options.gap_s)
        assert row.end == mainshock.time - before
        inside = row.start >= study.study.start
        close = mainshocks.set_index("name").at[row.mainshock, "reason"]
        assert row.reason == (close or ("" if inside else "before_start"))
    post = windows.loc[windows["window_id"].str.startswith("post-")]
    for row in post.itertuples():
        mainshock = next(m for m in study.mainshock if m.name == row.mainshock)
        assert row.start == mainshock.time + timedelta(hours=options.post_h[0])
        assert row.end == mainshock.time + timedelta(hours=options.post_h[1])


@settings(max_examples=12)
@given(worlds)
def test_post_event_candidates_exist_whatever_the_lengths_and_layouts(world: World) -> None:
    _, windows = planned(world)
    length = round(world.windows["post_h"][1] - world.windows["post_h"][0], 9)
    same = windows["kind"].eq("background") & windows["layout"].eq("until-event") & windows["hours"].eq(length)
    assert same.any()


def test_a_window_meets_a_zone_at_its_end_but_not_at_its_beginning() -> None:
    low, high = 100, 200
    starts, ends = np.array([40, 41, 200, 201]), np.array([100, 101, 260, 261])
    assert meets_zone(starts, ends, low, high).tolist() == [False, True, True, False]


def test_the_end_of_the_record_itself_ends_a_candidate() -> None:
    study = World(days=40, shocks=(("Alfa", 20.3, 6.0),), windows={"hours": [24]}).study()
    ends = candidate_ends(study)
    start, end = (int(t) for t in times_us([study.study.start, study.study.end]))
    assert (ends[0], ends[-1]) == (start + DAY_US, end)


def test_a_step_that_does_not_divide_the_day_counts_from_midnight_of_the_first_day() -> None:
    study = World(start=utc("2016-03-01T10:30"), days=40, windows={"hours": [2], "step_h": 7}).study()
    first = pd.Timestamp(int(candidate_ends(study)[0]), unit="us", tz="UTC")
    assert first == pd.Timestamp("2016-03-01T14:00Z")  # 0, 7, 14 h; 12:30 is the earliest


def test_a_mainshock_just_d_after_the_last_positive_is_too_close_and_a_microsecond_later_is_not() -> None:
    d_days = (6 + 48 + 2) / 24
    shocks = (("Alfa", 40.0, 6.0), ("Beta", 40.0 + d_days, 6.0))
    mainshocks, windows = planned(World(shocks=shocks))
    assert list(mainshocks["reason"]) == ["", "too_close"]
    assert list(mainshocks["block"]) == [1, 0]
    assert windows.loc[windows["mainshock"].eq("Beta") & windows["reason"].eq("zone")].shape[0] > 0  # its zone stays
    assert not windows.loc[windows["mainshock"].eq("Beta"), "kind"].isin(["positive", "post", "placebo"]).any()
    later = (("Alfa", 40.0, 6.0), ("Beta", 40.0 + d_days + 1e-7, 6.0))  # 8.64 ms
    assert list(planned(World(shocks=later))[0]["reason"]) == ["", ""]


def test_the_distance_counts_from_the_last_positive_not_from_one_that_was_too_close() -> None:
    shocks = (("A", 40.0, 6.0), ("B", 42.0, 6.0), ("C", 43.0, 6.0))  # D = 2.33 days; B is no positive, C is 3 after A
    assert list(planned(World(shocks=shocks))[0]["reason"]) == ["", "too_close", ""]


@pytest.mark.parametrize(
    ("days", "sizes"),
    [
        ((10.0, 20.0, 30.0), (3,)),  # gaps of exactly block_days join, and chain
        ((10.0, 20.01, 30.01), (1, 2)),
        ((10.0, 25.0, 40.0), (1, 1, 1)),
    ],
)
def test_blocks_join_over_gaps_of_at_most_block_days(days: tuple[float, ...], sizes: tuple[int, ...]) -> None:
    shocks = tuple((f"S{i}", d, 6.0) for i, d in enumerate(days))
    mainshocks, _ = planned(World(shocks=shocks))
    assert block_sizes(mainshocks) == sizes


def test_blocks_need_nearness_in_space_as_well() -> None:
    world = World(shocks=(("A", 10.0, 6.0), ("B", 15.0, 6.0), ("C", 18.0, 6.0)))
    raw = world.raw()
    raw["mainshock"][1] |= {"latitude": 44.5, "longitude": 13.0}  # some 200 km from A and C, which are one block
    from seisprobe.study import study_from_dict

    mainshocks = plan_mainshocks(study_from_dict(raw), NO_EVENTS)
    assert list(mainshocks["block"]) == [1, 2, 1]


def test_blocks_of_mainshocks_without_a_place_join_by_time_alone() -> None:
    raw = World(shocks=(("A", 10.0, 6.0), ("B", 15.0, 6.0))).raw()
    for mainshock in raw["mainshock"]:
        del mainshock["latitude"], mainshock["longitude"]
    from seisprobe.study import study_from_dict

    assert list(plan_mainshocks(study_from_dict(raw), NO_EVENTS)["block"]) == [1, 1]


def test_a_place_that_the_study_leaves_out_is_taken_from_the_catalog() -> None:
    world = World()
    raw = world.raw()
    for mainshock in raw["mainshock"]:
        del mainshock["latitude"], mainshock["longitude"]
    from seisprobe.study import study_from_dict

    mainshocks = plan_mainshocks(study_from_dict(raw), world.events())
    assert list(zip(mainshocks["latitude"], mainshocks["longitude"], strict=True)) == world.places()


def test_each_positive_has_its_own_circle_and_candidates_where_a_radius_is_given() -> None:
    world = World(shocks=(("A", 40.0, 6.0), ("B", 41.0, 6.0), ("C", 80.0, 6.0)), windows={"radius_km": 30})
    study = world.study()
    mainshocks, windows = planned(world)
    assert [p.mainshock for p in places(study, mainshocks)] == ["A", "C"]  # B is too close
    counts = windows.loc[windows["kind"].eq("background")].groupby(["hours", "mainshock"]).size()
    assert set(counts.index.get_level_values("mainshock")) == {"A", "C"}
    assert counts.loc[2.0].nunique() == 1
    assert windows["radius_km"].eq(30).all()


# --- the check against the catalog -----------------------------------------------------------------------------------


def moved(seconds: float, magnitude: float = 0.0) -> World:
    """Return a world whose study gives the first mainshock another time or magnitude than its catalog."""
    return World(shocks=(("Norcia", 40.3 + seconds / 86_400, 6.0 + magnitude), ("Beta", 80.1, 5.8)))


CATALOG = World(shocks=(("Norcia", 40.3, 6.0), ("Beta", 80.1, 5.8))).events()


@pytest.mark.parametrize(("seconds", "magnitude"), [(0, 0), (5, 0), (-5, 0), (0, 0.3), (4.9, -0.3)])
def test_a_mainshock_within_5_s_and_three_tenths_is_known(seconds: float, magnitude: float) -> None:
    check_mainshocks(moved(seconds, magnitude).study(), CATALOG)


@pytest.mark.parametrize(("seconds", "magnitude"), [(5.1, 0), (-6, 0), (0, 0.31), (0, -0.4)])
def test_a_mainshock_that_differs_more_is_refused(seconds: float, magnitude: float) -> None:
    with pytest.raises(StudyError, match=r"Norcia: the catalog has no event within 5 s and 0.3 magnitude units"):
        check_mainshocks(moved(seconds, magnitude).study(), CATALOG)


@pytest.mark.parametrize("hours", [1, 2, -5])
def test_a_mainshock_in_local_time_is_refused_with_the_hours_named(hours: int) -> None:
    with pytest.raises(StudyError) as refusal:
        check_mainshocks(moved(3600 * hours).study(), CATALOG)
    message = str(refusal.value)
    assert "[[mainshock]] Norcia" in message
    assert "2016-02-10T07:12:00Z M 6" in message  # the catalog's event of that magnitude
    assert f"{abs(hours)} h away, so the time looks local; give it in UTC" in message
    assert "its nearest event is 2016-02-" in message


def test_a_catalog_without_any_event_of_that_size_says_so() -> None:
    with pytest.raises(StudyError, match="no event of about that magnitude is in the catalog"):
        check_mainshocks(moved(0, 2.0).study(), CATALOG)
    with pytest.raises(StudyError, match="its nearest event is none"):
        check_mainshocks(moved(0).study(), CATALOG.iloc[:0])


def test_mainshocks_outside_the_period_and_windows_longer_than_the_record_are_refused_before_any_catalog() -> None:
    raw = World().raw()
    from seisprobe.study import study_from_dict

    late = study_from_dict(raw | {"study": raw["study"] | {"start": utc("2016-02-11")}})
    with pytest.raises(StudyError, match="Alfa: 2016-02-10T07:12:00Z lies outside the study's period"):
        check_period(late)
    long = study_from_dict(raw | {"windows": {"hours": [2, 24 * 121]}})
    with pytest.raises(StudyError, match="hours = 2904: longer than the record of 2880 h"):
        check_period(long)
    fine = study_from_dict(
        {**raw, "study": raw["study"] | {"start": utc("1900-01-01")}, "windows": {"hours": [2], "step_h": 1 / 60}}
    )
    with pytest.raises(StudyError, match="more than 1000000 windows of each length"):
        check_period(fine)


def test_zones_that_cover_the_record_are_refused() -> None:
    study = World(days=40, shocks=(("Alfa", 20.3, 6.0),), windows={"embargo_h": 600}).study()
    with pytest.raises(StudyError, match="hours = 2, until-event: no window is left for a background"):
        plan_windows(study, plan_mainshocks(study, NO_EVENTS))


def test_large_events_that_are_not_listed_are_named() -> None:
    world = World(shocks=(("Alfa", 40.3, 6.0), ("Beta", 80.1, 5.0), ("Gamma", 90.1, 5.2)))
    raw = world.raw()
    raw["mainshock"] = raw["mainshock"][:2]
    from seisprobe.study import study_from_dict

    study = study_from_dict(raw)
    events = world.events()
    unlisted = unlisted_events(study, plan_mainshocks(study, events), events)
    expected = events.loc[
        events["magnitude"].ge(5.0)
        & events["latitude"].between(41.5, 44.0)
        & events["longitude"].between(11.5, 14.5)
        & events["time"].between(study.study.start, study.study.end, inclusive="left")
        & ~events["time"].isin([pd.Timestamp(m.time) for m in study.mainshock])
    ]
    assert list(unlisted["event_id"]) == list(expected["event_id"])
    assert unlisted["time"].eq(pd.Timestamp(world.time_of(90.1))).any()
