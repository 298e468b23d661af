"""Features against loops over events and windows, and ties that stay ties."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.catalog import b_positive, b_value, select_events, times_us
from seisprobe.etas import EtasParameters, rate
from seisprobe.mainshocks import plan_mainshocks
from seisprobe.modalities import MODALITIES
from seisprobe.modalities.waveforms import _rarity
from seisprobe.setting import Rates, Setting, etas_days
from seisprobe.windows import plan_windows
from support.studies import World

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MC = 2.5
CIRCLES = {"radius_km": 25}


def setting_of(world: World, most: int = 400) -> Setting:
    """Return a setting of some of a world's windows: all positives and posts, and others by seed."""
    study = world.study()
    events = select_events(
        world.events(), end=pd.Timestamp(study.study.end), region=study.study.region.model_dump(), min_magnitude=MC
    )
    windows = plan_windows(study, plan_mainshocks(study, events))
    kept = windows["kind"].isin(["positive", "post"])
    others = windows.loc[~kept]
    others = others.sample(min(most, len(others)), random_state=world.seed)
    return Setting(study, pd.concat([windows.loc[kept], others]).sort_index().reset_index(drop=True), events)


def inside(setting: Setting, row: object) -> pd.DataFrame:
    """Return the events M ≥ Mc of a window's place, all times, by a loop."""
    if math.isnan(row.radius_km):  # type: ignore[attr-defined]
        return setting.events.loc[setting.events["magnitude"] >= setting.study.mc - 1e-9]
    kept = []
    for event in setting.events.itertuples():
        a, b = (
            (math.radians(p.latitude), math.radians(p.longitude))
            for p in (event, row)  # type: ignore[attr-defined]
        )
        h = math.sin((a[0] - b[0]) / 2) ** 2 + math.cos(a[0]) * math.cos(b[0]) * math.sin((a[1] - b[1]) / 2) ** 2
        near = 2 * 6371.0 * math.asin(math.sqrt(h)) <= row.radius_km  # type: ignore[attr-defined]
        kept.append(near and event.magnitude >= setting.study.mc - 1e-9)
    return setting.events.loc[kept]


def mc_at(time: int, events: pd.DataFrame, mc: float) -> float:
    highest = mc
    for t, m in zip(times_us(events["time"]), events["magnitude"], strict=True):
        if t < time and m >= mc + 2 - 1e-9:
            highest = max(highest, m - 4.5 - 0.75 * math.log10(max(int(time - t), 60_000_000) / DAY_US))
    return highest


def complete_events(events: pd.DataFrame, mc: float) -> list[tuple[int, float, float]]:
    """Return (time, magnitude, lowest complete magnitude, in steps of 0.1) of the events M ≥ Mc(t)."""
    found = []
    for t, m in zip(times_us(events["time"]).tolist(), events["magnitude"].tolist(), strict=True):
        threshold = mc_at(t, events, mc)
        if m >= threshold - 1e-9:
            found.append((t, m, math.ceil(threshold / 0.1 - 1e-6) * 0.1))
    return found


def by_hand(row: object, events: pd.DataFrame, complete: list[tuple[int, float, float]], reach: int, mc: float) -> dict:
    """Return the protocol's features of one window, by loops."""
    start, end = (int(times_us([t])[0]) for t in (row.start, row.end))  # type: ignore[attr-defined]
    times = times_us(events["time"])
    within = events.loc[(times >= start) & (times < end)]
    n, hours = len(within), (end - start) / HOUR_US
    n7 = sum(start - 168 * HOUR_US <= t < start for t in times.tolist())
    moment = math.fsum(10 ** (1.5 * m + 9.1) for m in within["magnitude"]) if n else 10 ** (1.5 * (mc - 0.1) + 9.1)
    depth = within["depth_km"].tolist()
    unit = [
        (
            math.cos(math.radians(e.latitude)) * math.cos(math.radians(e.longitude)),
            math.cos(math.radians(e.latitude)) * math.sin(math.radians(e.longitude)),
            math.sin(math.radians(e.latitude)),
        )
        for e in within.itertuples()
    ]
    centre = [math.fsum(u[i] for u in unit) / n for i in range(3)] if n else []
    spread = math.sqrt(math.fsum(math.dist(u, centre) ** 2 for u in unit) / n) * 6371.0 if n >= 2 else math.nan
    hundred = [c for c in complete if c[0] < end][-100:]
    rises = np.diff([m for _, m, _ in hundred])
    enough = len(hundred) == 100
    mine = [c for c in complete if start <= c[0] < end]
    excess = [m - lowest for _, m, lowest in hundred]
    return {
        "event_rate": n / hours,
        "event_rate_complete": len(mine) / hours,
        "max_magnitude": max(within["magnitude"], default=mc - 0.1),
        "cumulative_moment": math.log10(moment),
        "rate_ratio": math.log((n + 0.5) / (n7 * hours / 168 + 0.5)) if start - 168 * HOUR_US >= reach else math.nan,
        "mean_depth": sum(depth) / n if n >= 2 else math.nan,
        "depth_spread": float(np.std(depth)) if n >= 2 else math.nan,
        "spatial_spread": spread,
        "b_value": b_positive(np.array([m for _, m, _ in hundred]), 0.1)
        if enough and (rises > 0.05).sum() >= 25
        else math.nan,
        "b_value_classic": b_value(np.array(excess), 0.0, 0.1) if enough else math.nan,
        "b_value_window": b_value(np.array([m - c for _, m, c in mine]), 0.0, 0.1) if len(mine) >= 50 else math.nan,
    }


@pytest.mark.parametrize(
    "world",
    [
        World(seed=11, per_day=6.0),
        World(seed=12, per_day=8.0, windows=CIRCLES | {"layouts": ["until-event", "at-lead"]}),
        World(seed=13, per_day=45.0, days=60, shocks=(("Alfa", 30.3, 6.5),), windows={"hours": [1, 60], "step_h": 0.5}),
        World(seed=14, per_day=6.0, catalog={"mc": 2.8}),
    ],
    ids=["region", "circles", "dense", "higher Mc"],
)
def test_every_feature_is_that_of_a_loop_over_the_windows_own_events(world: World) -> None:
    setting = setting_of(world, 150)
    features = MODALITIES["catalog"].features(setting)
    assert list(features["window_id"]) == list(setting.windows["window_id"])
    mc, reach = setting.study.mc, int(times_us(setting.events["time"])[0])
    known: dict[tuple[float, float], tuple[pd.DataFrame, list[tuple[int, float, float]]]] = {}
    seen = dict.fromkeys(features.columns[2:], 0)
    for row, found in zip(setting.windows.itertuples(), features.to_dict("records"), strict=True):
        place = (row.latitude, row.longitude) if not math.isnan(row.radius_km) else (0.0, 0.0)
        if place not in known:
            events = inside(setting, row)
            known[place] = events, complete_events(events, mc)
        expected = by_hand(row, *known[place], reach, mc)
        for column, value in expected.items():
            assert found[column] == pytest.approx(value, rel=1e-9, abs=1e-6, nan_ok=True), (row.window_id, column)
            seen[column] += not math.isnan(value)
    assert set(expected) == set(features.columns[2:])
    assert all(seen[c] for c in ("event_rate", "rate_ratio", "spatial_spread", "mean_depth"))
    if world.seed == 13:
        assert seen["b_value"]
        assert seen["b_value_window"]


def test_an_event_at_a_windows_start_is_inside_and_one_at_its_end_is_not() -> None:
    setting = setting_of(World(seed=1))
    row = setting.windows.loc[setting.windows["kind"] == "background"].iloc[[5]]
    one = setting.events.iloc[[0]]
    for offset_us, n in ((0, 1), (-1, 0)):
        at_start = one.assign(time=row["start"].to_numpy() + pd.Timedelta(microseconds=offset_us))
        at_end = one.assign(time=row["end"].to_numpy() + pd.Timedelta(microseconds=offset_us))
        for events, count in ((at_start, n), (at_end, 1 - n)):
            table = events.assign(time=pd.to_datetime(events["time"], utc=True).dt.as_unit("us"))
            features = MODALITIES["catalog"].features(replace(setting, windows=row, events=table))
            assert features["event_rate"].iloc[0] * float(row["hours"].iloc[0]) == count


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_windows_with_the_same_events_get_the_same_bits_wherever_they_start(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    setting = setting_of(World(seed=3))
    magnitudes = np.round(2.5 + rng.exponential(0.5, n), 1)
    rows = setting.windows.loc[setting.windows["hours"].eq(6) & setting.windows["kind"].eq("background")].iloc[::40]
    rows = rows.loc[rows["start"].diff().isna() | rows["start"].diff().gt(pd.Timedelta(hours=6))]
    parts = []
    for start in rows["start"]:  # the same little sequence in every window
        part = setting.events.iloc[:n].assign(magnitude=magnitudes, latitude=42.7, longitude=13.0, depth_km=7.3)
        part["time"] = start + pd.to_timedelta(np.sort(rng.choice(6 * 3600, n, replace=False)), unit="s")
        parts.append(part)
    events = pd.concat(parts, ignore_index=True).sort_values("time", ignore_index=True)
    events["time"] = events["time"].dt.as_unit("us")
    features = MODALITIES["catalog"].features(replace(setting, windows=rows, events=events))
    for column in ("event_rate", "max_magnitude", "cumulative_moment", "mean_depth"):
        assert features[column].nunique() == 1, column


def test_without_the_largest_event_a_window_has_one_event_less_and_others_keep_theirs() -> None:
    setting = setting_of(World(seed=5), 100_000)
    plain = MODALITIES["catalog"].features(setting)
    less = MODALITIES["catalog"].features(replace(setting, without_largest=5.0))
    hours = (times_us(setting.windows["end"]) - times_us(setting.windows["start"])) / HOUR_US
    lost = np.round((plain["event_rate"] - less["event_rate"]) * hours)
    assert lost.tolist() == (plain["max_magnitude"] >= 5.0 - 1e-9).astype(float).tolist()
    assert lost.sum() > 0


def test_an_empty_catalog_gives_empty_windows_and_no_error() -> None:
    setting = setting_of(World(seed=6))
    features = MODALITIES["catalog"].features(replace(setting, events=setting.events.iloc[:0]))
    assert features["event_rate"].eq(0).all()
    assert features["max_magnitude"].eq(2.4).all()
    assert features["cumulative_moment"].round(9).eq(round(1.5 * 2.4 + 9.1, 9)).all()
    control = MODALITIES["completeness"].features(replace(setting, events=setting.events.iloc[:0]))
    assert control[["mc_at_end", "mc_mean"]].eq(2.5).all().all()


@pytest.mark.parametrize("windows", [{}, CIRCLES], ids=["region", "circles"])
def test_the_completeness_control_is_mc_at_the_end_and_its_mean(windows: dict[str, float]) -> None:
    setting = setting_of(World(seed=8, shocks=(("Alfa", 40.3, 6.8), ("Beta", 80.1, 5.8)), windows=windows), 150)
    control = MODALITIES["completeness"].features(setting)
    raised, checked = 0, 0
    for row, found in zip(setting.windows.itertuples(), control.to_dict("records"), strict=True):
        events = inside(setting, row) if row.Index < 60 or not windows else None
        if events is None:
            continue
        start, end = (int(times_us([t])[0]) for t in (row.start, row.end))
        assert found["mc_at_end"] == pytest.approx(mc_at(end, events, 2.5), abs=1e-9)
        large = events.loc[events["magnitude"] >= 4.5 - 1e-9]
        if ((times_us(large["time"]) < end) & (times_us(large["time"]) > start - 5 * DAY_US)).any():
            if checked < 12 or "Alfa" in row.window_id:
                checked += 1
                fine = np.mean([mc_at(t, large, 2.5) for t in np.linspace(start, end, 1201).astype(np.int64).tolist()])
                assert found["mc_mean"] == pytest.approx(fine, abs=0.01)
                raised += fine > 2.5
        else:
            assert found["mc_mean"] == pytest.approx(2.5, abs=1e-9)
    assert raised


def test_the_etas_control_is_the_log_of_the_rate_at_the_windows_end() -> None:
    setting = setting_of(World(seed=9))
    parameters = EtasParameters(mu_per_day=0.5, k=0.1, alpha=1.5, c_days=0.01, p=1.1, mc=2.5)
    control = MODALITIES["etas_rate"].features(replace(setting, rates=Rates(parameters={"": parameters})))
    days = etas_days(setting.study, times_us(setting.events["time"]))
    at = etas_days(setting.study, times_us(setting.windows["end"]))
    order = np.argsort(at, kind="stable")
    expected = np.empty(len(at))
    expected[order] = rate(parameters, at[order], days, setting.events["magnitude"].to_numpy())
    assert control["log_rate"].to_numpy() == pytest.approx(np.log(expected), rel=1e-12)


def test_an_epoch_between_two_others_is_as_rare_as_its_share():
    codes = pd.Series([0.0] * 6 + [1.0] * 2 + [2.0] * 2 + [np.nan] * 2)
    found = _rarity(codes, np.array([True] * 10 + [False] * 2))
    assert found[:10].tolist() == pytest.approx([-np.log(0.6)] * 6 + [-np.log(0.2)] * 4)
    assert found[10:].tolist() == [0.0, 0.0]
    assert _rarity(codes[:6], np.ones(6, dtype=bool)).tolist() == [0.0] * 6
