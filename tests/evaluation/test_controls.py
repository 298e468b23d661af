"""Clock and drift: a score of the time alone, the same for positives and candidates."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from seisprobe.evaluation.controls import clock_scores, drift_scores
from seisprobe.evaluation.grid import Grid, Scores, rank
from seisprobe.evaluation.judgement import evaluate
from support.worlds import ar1, modality_of, planned, series_table, study_of, tables_of

HOUR = 3_600_000_000
START = datetime(2016, 1, 1, tzinfo=UTC)


def a_world(seed: int, places: int = 1, own_sets: bool = False, n: int = 24 * 40):
    rng = np.random.default_rng(seed)
    first = int(START.timestamp() * 1e6)
    k = 3
    ends = first + np.arange(n) * HOUR
    positives = np.sort(first + rng.integers(0, n * HOUR, k))
    weights = rng.integers(0, 3, (k if own_sets or places > 1 else 1, n)).astype(float)
    values = rng.standard_normal((2, places, n))
    values[rng.random(values.shape) < 0.1] = np.nan
    rows = np.arange(n * places).reshape(places, n)
    there, before = np.ones((places, n), dtype=bool), np.ones((places, k), dtype=bool)
    which, names = np.arange(k), ("A", "B", "C")
    grid = Grid("until-event", 2.0, names, which, which, positives, ends, rows, there, {"b": weights}, {}, before)
    scores = Scores(("S", "T"), values, rng.standard_normal((2, k)), np.zeros((2, k), bool), np.isnan(values))
    return grid, rank(grid, scores, "b"), weights


def when(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(us))


def hand_mean(ranked, weights, ends, s, q, alike) -> float:
    total = mass = 0.0
    for i in range(len(ends)):
        u, w = float(ranked.candidates[s, q, i]), float(weights[q % len(weights)][i])
        if not math.isnan(u) and w > 0 and alike(int(ends[i])):
            total, mass = total + w * u, mass + w
    return total / mass if mass else math.nan


@pytest.mark.parametrize(("places", "own_sets"), [(1, False), (1, True), (3, False)])
@pytest.mark.parametrize("control", ["clock", "drift"])
def test_each_window_gets_the_mean_percentile_of_windows_alike(control, places, own_sets):
    grid, ranked, weights = a_world(3, places, own_sets)
    found = {"clock": clock_scores, "drift": drift_scores}[control](grid, ranked, "b")

    def alike(asked: int):
        def same(other: int) -> bool:
            if control == "drift":
                return abs(other - asked) <= 15 * 24 * HOUR
            a, b = when(asked), when(other)
            return (a.hour - b.hour) % 24 in (0, 1, 23) and (a.weekday() >= 5) == (b.weekday() >= 5)

        return same

    owners = ranked.candidates.shape[1]
    for s in range(2):
        for k, time in enumerate(grid.positive_ends):
            q = k if owners > 1 else 0
            expected = hand_mean(ranked, weights, grid.ends, s, q, alike(int(time)))
            assert found.positives[s, k] == pytest.approx(expected, abs=1e-12)
        for q in range(owners):
            for i in (0, 17, 200, 959):
                expected = hand_mean(ranked, weights, grid.ends, s, q, alike(int(grid.ends[i])))
                assert found.candidates[s, q, i] == pytest.approx(expected, abs=1e-12)


def test_a_score_that_only_tells_the_hour_is_what_the_clock_says():
    grid, _, _ = a_world(0)
    hour = np.array([when(t).hour for t in grid.ends], dtype=float)
    night = ((hour < 4) | (hour > 20)).astype(float)
    own = np.array([[1.0, 0.0, 1.0]])
    scores = Scores(("",), night[None, None], own, np.zeros((1, 3), bool), np.zeros((1, 1, len(hour)), bool))
    clock = clock_scores(grid, rank(grid, scores, "b"), "b").candidates[0, 0]
    assert clock[night == 1].min() >= clock[night == 0].max() - 1e-12
    assert np.ptp(drift_scores(grid, rank(grid, scores, "b"), "b").candidates) < 0.05


def test_drift_reaches_for_the_nearest_five_where_a_sample_has_fewer_within_its_days():
    grid, ranked, _ = a_world(5, n=24 * 200)
    days = np.array([3, 4, 100, 101, 103, 104, 150])
    weights = np.zeros((1, len(grid.ends)))
    weights[0, days * 24] = 2.0
    sparse = replace(grid, weights={"b": weights}, positive_ends=grid.ends[[24 * 30, 24 * 102, 24 * 190]])
    found = drift_scores(sparse, ranked, "b").positives
    for s in range(2):
        u = ranked.candidates[s, 0, days * 24]
        there = np.flatnonzero(np.isfinite(u))
        for k, day in enumerate((30, 102, 190)):
            away = np.abs(days[there] - day)
            near = there[away <= 15] if (away <= 15).sum() >= 5 else there[np.argsort(away, kind="stable")[:5]]
            assert found[s, k] == pytest.approx(u[near].mean(), abs=1e-12)


def test_one_bad_station_of_three_is_seen_by_the_state_of_each():
    study = study_of([20.0, 50.0, 80.0], 100, evaluation={"primary": {"modality": "seen", "score": "novelty"}})
    plan, _ = planned(study)
    rng = np.random.default_rng(3)
    stations = ("S1", "S2", "S3")
    seen = pd.concat([series_table(plan.windows, ar1(2400, 6.0, rng, 3), name) for name in stations])
    state = pd.concat([series_table(plan.windows, ar1(2400, 1.0, rng, 3), name) for name in stations])
    columns = ["x0", "x1", "x2"]
    spoiled = state["window_id"].str.startswith("positive").to_numpy() & state["station"].eq("S2").to_numpy()
    modalities = {"seen": modality_of(3), "station_state": modality_of(3, scores={}, control=True)}
    p = {}
    for bad in (False, True):
        changed = state.copy()
        changed.loc[spoiled & bad, columns] = 30.0
        features = {"seen": seen.reset_index(drop=True), "station_state": changed.reset_index(drop=True)}
        found = evaluate(study, tables_of(plan, features, modalities), label_free=True)
        control = found.controls[found.primary]["station_state"]
        median = next(c for c in found.cells if c.modality == "station_state" and c.background == found.headline)
        p[bad] = control.p_pseudo, median.p_pseudo, control.auc
    assert p[True][0] == pytest.approx(3 / 200)  # of 199 draws none reaches it, times three stations
    assert p[True][1] > 0.05  # the median over stations does not see it
    assert p[True][2] == pytest.approx(1.0, abs=0.01)
    assert p[False][0] > 0.05


@pytest.mark.parametrize("step", [3, 12, 24])
def test_the_clock_knows_every_hour_of_the_day_where_candidates_are_hours_apart(step):
    grid, ranked, weights = a_world(1, n=24 * 40)
    coarse = slice(0, None, step)
    few = replace(grid, ends=grid.ends[coarse], candidate_rows=grid.candidate_rows[:, coarse],
                  candidate=grid.candidate[:, coarse], weights={"b": weights[:, coarse]})  # fmt: skip
    thinned = replace(ranked, candidates=ranked.candidates[:, :, coarse])
    anywhen = replace(few, positive_ends=grid.ends[[5, 318, 700]] + HOUR // 3)
    assert np.isfinite(clock_scores(anywhen, thinned, "b").positives).all()
