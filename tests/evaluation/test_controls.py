"""Clock and drift: a score of the time alone, the same for positives and candidates."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from seisprobe.evaluation.controls import clock_scores, drift_scores
from seisprobe.evaluation.grid import Grid, Scores, rank

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
    grid = Grid("until-event", 2.0, ("A", "B", "C"), np.arange(k), np.arange(k), positives, ends,
                rows, np.ones((places, n), dtype=bool), {"b": weights}, {})  # fmt: skip
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
