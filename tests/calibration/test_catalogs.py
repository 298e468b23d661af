"""Worlds of catalogs are what they claim, and each is judged the same again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from seisprobe.calibration import Request, binomial_interval, catalogs
from seisprobe.calibration.catalogs import judge_catalog
from seisprobe.evaluation.scores import delong
from seisprobe.simulation.worlds import KINDS, clustered_world, null_world

DISTANCE_H = 74.0


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (117, 2000), (3, 40)])
def test_the_interval_of_a_rate_is_the_exact_one(k, n):
    exact = binomtest(k, n).proportion_ci(0.95, "exact")
    assert binomial_interval(k, n) == pytest.approx((exact.low, exact.high), abs=1e-9)


# --- worlds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_mainshocks_are_the_largest_events_apart_of_what_is_eligible(kind):
    world = null_world(kind, 3, DISTANCE_H, np.random.default_rng(1))
    table = world.events
    days = (table["time"].astype("int64").to_numpy() - world.start_us) / 86_400e6
    magnitudes = table["magnitude"].to_numpy()
    eligible = (days > DISTANCE_H / 24) & (days < 363.0)
    if kind == "confounder":
        eligible &= (days * 24) % 24 < 5.0
    chosen: list[int] = []
    for row in sorted(np.flatnonzero(eligible), key=lambda i: -magnitudes[i]):
        if all(abs(days[row] - days[other]) > DISTANCE_H / 24 for other in chosen):
            chosen.append(int(row))
        if len(chosen) == 3:
            break
    assert sorted(chosen) == world.mainshocks.tolist()
    for row in chosen:
        soon = (days > days[row]) & (days < days[row] + 20 / 24)
        assert kind == "stationary" or soon.sum() >= 40
    assert table["time"].is_monotonic_increasing
    assert 400 < (days > 0).sum() < 4000


def test_traps_of_the_worlds_are_there():
    def days_of(kind, seed):
        """Times of the events that are no aftershocks."""
        world = null_world(kind, 3, DISTANCE_H, np.random.default_rng(seed))
        days = (world.events["time"].astype("int64").to_numpy() - world.start_us) / 86_400e6
        since = days[:, None] - days[world.mainshocks][None, :]
        return days[(days > 0) & ~((since > 0) & (since < 20 / 24)).any(axis=1)]

    assert kstest(days_of("poisson", 0) / 365, "uniform").pvalue > 0.01
    drift = np.concatenate([days_of("drift", seed) for seed in range(5)])
    assert 1.2 < (drift > 182.5).mean() / (drift <= 182.5).mean() < 1.6  # rates 2 … 3: from the middle of 1 … 3 on
    daily = np.concatenate([days_of("daily", seed) for seed in range(5)])
    hour, weekday = (24 * daily) % 24, np.floor(daily + 2) % 7
    working = (hour >= 6) & (hour < 18)
    rate = {(w, d): ((working == d) & ((weekday < 5) == w)).sum() / (5 if w else 2) for w in (0, 1) for d in (0, 1)}
    assert rate[1, 1] / rate[1, 0] == pytest.approx(0.55, abs=0.08)  # half of what is below Mc + 1 (90%) is missed
    assert rate[0, 1] / rate[0, 0] == pytest.approx(1.0, abs=0.12)


def test_more_mainshocks_have_a_longer_record():
    short, long = (null_world("stationary", k, DISTANCE_H, np.random.default_rng(2)) for k in (3, 8))
    assert len(long.mainshocks) == 8
    assert (long.end_us - long.start_us) / (short.end_us - short.start_us) == pytest.approx(960 / 365)


def test_a_precursor_adds_events_to_the_last_day_alone():
    rng = np.random.default_rng(3)
    world = null_world("poisson", 3, DISTANCE_H, rng)
    strong = catalogs._with_precursor(world, 10.0, rng)
    times = world.events["time"].iloc[world.mainshocks].tolist()
    assert strong.events["time"].iloc[strong.mainshocks].tolist() == times
    added = strong.events.loc[~strong.events["event_id"].isin(world.events["event_id"])]
    assert len(added) == pytest.approx(3 * 10 * 1.6, rel=0.35)
    before = [min((t - x).total_seconds() for t in times if t > x) for x in added["time"]]
    assert min(before) >= 120
    assert max(before) <= 24 * 3600 + 120
    assert added["magnitude"].max() < strong.events["magnitude"].iloc[strong.mainshocks].max()


def test_mainshocks_are_the_largest_of_the_times_that_are_allowed():
    def late(days):
        return days > 250.0

    world = clustered_world(365.0, 4, 10.5, late, np.random.default_rng(1), elsewhere=1)
    days = (world.events["time"].astype("int64").to_numpy() - world.start_us) / 86_400e6
    chosen = days[world.mainshocks]
    assert (chosen > 250.0).sum() == 3
    assert np.diff(chosen).min() > 10.5
    inside = (days > 250.0) & (days < 363.0)
    assert world.events["magnitude"][inside].max() in world.events["magnitude"].iloc[world.mainshocks].tolist()
    assert clustered_world(365.0, 20, 10.5, late, np.random.default_rng(1)) is None


# --- one world judged ------------------------------------------------------------------------------------------------


def test_a_world_is_judged_the_same_again_and_has_all_figures():
    request = Request("stationary", 1)
    row = judge_catalog(request, 0)
    assert row == judge_catalog(request, 0)
    p = [row[name] for name in ("p_pseudo", "p_adjusted", "p_pseudo_uniform", "p_shift_uniform", "naive_shuffle",
                                "naive_delong", "p_shift_etas", "p_independent_etas")]  # fmt: skip
    assert all(0 < x <= 1 for x in p)
    assert row["p_adjusted"] >= row["p_pseudo"]
    assert row["p_adjusted_least"] <= row["p_adjusted"]
    assert row["word"] in {"INCONCLUSIVE", "SUGGESTIVE", "DETECTED", "CONFOUNDED", "EXPLAINED BY CLUSTERING",
                           "NOT DETECTED"}  # fmt: skip
    assert judge_catalog(request, 1) != row


def test_a_strong_precursor_is_seen():
    rows = [judge_catalog(Request("poisson", 4, size=20.0), index) for index in range(4)]
    assert all(row["p_pseudo_uniform"] <= 0.05 for row in rows if row)


def test_shuffled_labels_give_the_auc_that_delong_gives():
    rng = np.random.default_rng(4)
    x, labels = rng.integers(0, 5, 40).astype(float), np.arange(40) < 7
    found = catalogs._shuffled_auc(x, labels, np.random.default_rng(0))
    shuffled = np.random.default_rng(0).permuted(np.tile(labels, (len(found), 1)), axis=1)
    np.testing.assert_allclose(found, [delong(x, row).auc for row in shuffled], atol=1e-12)
