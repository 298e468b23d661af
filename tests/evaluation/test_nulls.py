"""Is it chance? Every null AUC derived again by plain loops; draws and shifts that keep what they must keep."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from seisprobe.evaluation.grid import Grid, Scores, rank
from seisprobe.evaluation.nulls import (
    adjusted_p,
    drawn_percentiles,
    independent_number,
    joint_shifts,
    null_auc,
    one_sided_p,
    pseudo_draws,
    shifted_auc,
)
from seisprobe.evaluation.scores import delong, percentiles
from seisprobe.evaluation.shared_draws import _aftermath
from support.worlds import ar1

HOUR = 3_600_000_000
DAY = 24 * HOUR
NAN = float("nan")


def grid_of(n: int, positives: list[int], weights: np.ndarray, places: int = 1) -> Grid:
    rows = np.arange(n * places).reshape(places, n)
    return Grid(
        "until-event", 2.0, tuple(f"M{k}" for k in range(len(positives))), np.arange(len(positives)),
        np.arange(len(positives)), np.array(positives) * HOUR + 77, np.arange(n) * HOUR, rows,
        np.ones((places, n), dtype=bool), {"b": weights}, {},
        np.ones((places, len(positives)), dtype=bool),
    )  # fmt: skip


def scores_of(candidates: np.ndarray, positives: np.ndarray) -> Scores:
    names = tuple(f"S{s}" for s in range(len(candidates)))
    return Scores(names, candidates, positives, np.isnan(positives), np.isnan(candidates))


# --- by hand: no package code below this line but the object tested ---------------------------------------------------


def hand_percentile(x: float, values: list[float], weights: list[float]) -> float:
    below = total = 0.0
    for v, w in zip(values, weights, strict=True):
        if not math.isnan(v):
            total += w
            below += w * (1.0 if v < x else 0.5 if v == x else 0.0)
    return below / total if total > 0 and not math.isnan(x) else NAN


def hand_auc(u: list[list[float]], used: list[bool]) -> float:
    """Mean over mainshocks of the median over stations; what is NaN is left out."""
    medians = []
    for k, ok in enumerate(used):
        known = [station[k] for station in u if not math.isnan(station[k])]
        if ok and known:
            medians.append(statistics.median(known))
    return sum(medians) / len(medians) if medians else NAN


def a_case(seed: int, places: int, stations: int, own_sets: bool):
    """Scores in halves (many ties), some NaN, weights with zeros; two or three mainshocks."""
    rng = np.random.default_rng(seed)
    n, k = 40, int(rng.integers(2, 4))
    candidates = rng.integers(0, 8, (stations, places if places == 1 else k, n)) / 2.0
    candidates[rng.random(candidates.shape) < 0.15] = NAN
    positives = rng.integers(0, 8, (stations, k)) / 2.0
    positives[rng.random(positives.shape) < 0.2] = NAN
    weights = rng.integers(0, 4, (k if own_sets or places > 1 else 1, n)).astype(float)
    grid = grid_of(n, list(range(10, 10 + k)), weights, candidates.shape[1])
    return rng, grid, scores_of(candidates, positives), weights


@given(st.integers(0, 10**6), st.sampled_from([1, 2]), st.integers(1, 3), st.booleans(), st.sampled_from([0, 5]))
def test_every_pseudo_draw_equals_plain_loops_without_the_zones_of_its_draw(seed, places, stations, own_sets, reach):
    rng, grid, scores, weights = a_case(seed, places, stations, own_sets)
    n, k = len(grid.ends), len(grid.names)
    draws = rng.integers(0, n, (6, k))
    used = rng.random(k) < 0.8
    zone = np.arange(-reach, reach + 2) if reach else np.empty(0, dtype=np.int64)
    near = (rng.random((scores.candidates.shape[1], k)) < 0.5) | np.eye(k, dtype=bool)[: scores.candidates.shape[1]]
    near = near if places > 1 else np.ones((1, k), dtype=bool)
    found = null_auc(drawn_percentiles(scores, weights, draws, zone, near), used)
    for row, auc in zip(draws, found, strict=True):
        u = []
        for s in range(stations):
            u.append([])
            for m in range(k):
                values = scores.candidates[s, m if places > 1 else 0].tolist()
                own = weights[m % len(weights)].tolist()
                barring = [c for c, there in zip(row, near[m if places > 1 else 0], strict=True) if there]
                outside = [0.0 if any(i - c in zone.tolist() for c in barring) else w for i, w in enumerate(own)]
                u[-1].append(hand_percentile(values[row[m]], values, outside))
        assert auc == pytest.approx(hand_auc(u, used.tolist()), abs=1e-12, nan_ok=True)


@given(st.integers(0, 10**6), st.sampled_from([1, 2]), st.integers(1, 3))
def test_the_percentiles_of_mainshocks_equal_plain_loops(seed, places, stations):
    _, grid, scores, weights = a_case(seed, places, stations, own_sets=False)
    found = rank(grid, scores, "b").u
    for m in range(len(grid.names)):
        by_station = [
            hand_percentile(float(scores.positives[s, m]), scores.candidates[s, m if places > 1 else 0].tolist(),
                            weights[m % len(weights)].tolist())
            for s in range(stations)
        ]  # fmt: skip
        known = [u for u in by_station if not math.isnan(u)]
        assert found[m] == pytest.approx(statistics.median(known) if known else NAN, abs=1e-12, nan_ok=True)


@given(st.integers(0, 10**6), st.sampled_from([1, 2]), st.integers(1, 3))
def test_every_joint_shift_equals_plain_loops_with_zones_that_move_along(seed, places, stations):
    rng, grid, scores, _ = a_case(seed, places, stations, own_sets=False)
    n, k, around = len(grid.ends), len(grid.names), 45  # five steps more than candidates: the first window's length
    positives = np.sort(rng.choice(n, k, replace=False)) * HOUR + 1000
    scores.positives[np.isnan(scores.positives).all(axis=0)[None, :].repeat(stations, 0)] = 1.0
    shifts = joint_shifts(positives, grid.ends, (-5 * HOUR, 40 * HOUR), 6 * HOUR, 10**6, rng)
    in_zone = sorted({int(p // HOUR) + d for p in positives for d in (-1, 0, 1)} & set(range(n)))
    first = int(positives[0] // HOUR)
    found = shifted_auc(scores, shifts, [np.array(in_zone) - first] * scores.candidates.shape[1], around)
    expected = {}
    for moved in range(1, around):  # every whole number of steps
        if min(moved, around - moved) < 6:
            continue
        places_of = [(int(p // HOUR) + moved) % around for p in positives]
        if any(p >= n for p in places_of):
            continue  # a window crosses the seam
        zone = {(z + moved) % around for z in in_zone}
        u = []
        for s in range(stations):
            u.append([])
            for m in range(k):
                values = scores.candidates[s, m if places > 1 else 0].tolist()
                outside = [0.0 if i in zone else 1.0 for i in range(n)]
                u[-1].append(hand_percentile(values[places_of[m]], values, outside))
        expected[tuple(places_of)] = hand_auc(u, [True] * k)
    assert {tuple(row) for row in shifts.tolist()} == set(expected)
    for row, auc in zip(shifts.tolist(), found, strict=True):
        assert auc == pytest.approx(expected[tuple(row)], abs=1e-12, nan_ok=True)


# --- pseudo-mainshocks -----------------------------------------------------------------------------------------------


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 20),
    st.integers(21, 80),
)
def test_draws_keep_the_blocks_and_their_distances(seed, sizes, distance, reach):
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.integers(1, 4, 300)) * HOUR
    weights = rng.gamma(0.5, size=(1, 300)) * (rng.random(300) < 0.8)
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    draws = pseudo_draws(ends, weights, blocks, distance * HOUR, reach * HOUR, 50, rng)
    assert draws.shape == (50, len(blocks))
    assert (weights[0][draws] > 0).all()
    gaps = np.diff(ends[draws], axis=1)[:, np.diff(blocks) == 0]
    assert (gaps > distance * HOUR).all()  # D or less apart is no positive
    assert (gaps <= reach * HOUR).all()


def test_members_are_drawn_in_proportion_to_weight_among_what_is_allowed():
    rng = np.random.default_rng(8)
    n = 12
    ends = np.arange(n) * HOUR
    weights = rng.gamma(1.0, size=(1, n))
    weights[0, 4] = 0.0
    draws = pseudo_draws(ends, weights, [1, 1], 2 * HOUR, 5 * HOUR, 60_000, rng)
    expected = np.zeros((n, n))
    for i in range(n):
        after = [j for j in range(n) if 2 < j - i <= 5]
        room = sum(weights[0, j] for j in after)
        for j in after:
            expected[i, j] = weights[0, i] * weights[0, j] / room if room else 0.0
    expected /= expected.sum()  # a draw without room is made again as a whole
    counts = np.zeros((n, n))
    np.add.at(counts, (draws[:, 0], draws[:, 1]), 1)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert chisquare(counts[possible], expected[possible] * len(draws)).pvalue > 1e-3


def test_first_members_fall_wherever_the_others_fell_by_weight():
    rng = np.random.default_rng(9)
    weights = rng.gamma(1.0, size=(1, 30))
    draws = pseudo_draws(np.arange(30) * HOUR, weights, [1, 2, 3], DAY, 10 * DAY, 20_000, rng)
    for k in range(3):
        counts = np.bincount(draws[:, k], minlength=30)
        assert chisquare(counts, weights[0] / weights.sum() * 20_000).pvalue > 1e-3
    assert np.mean(draws[:, 0] == draws[:, 1]) > 0  # no distance between blocks


def test_each_mainshock_is_drawn_from_its_own_set():
    weights = np.zeros((3, 30))
    weights[0, :5], weights[1, 10:15], weights[2, 20] = 1.0, 1.0, 1.0
    draws = pseudo_draws(np.arange(30) * HOUR, weights, [0, 1, 2], DAY, 10 * DAY, 200, np.random.default_rng(0))
    assert (draws[:, 0] < 5).all()
    assert ((draws[:, 1] >= 10) & (draws[:, 1] < 15)).all()
    assert (draws[:, 2] == 20).all()


def test_further_members_come_from_the_aftermath_in_proportion_to_weight():
    rng = np.random.default_rng(11)
    ends, weights = np.arange(30) * HOUR, rng.gamma(1.0, size=(1, 30))
    aftermath = np.stack([np.isin(np.arange(30), rows) for rows in ([1], [4, 5, 6, 20], [2])])
    draws = pseudo_draws(ends, weights, [1, 1, 2], 2 * HOUR, 5 * HOUR, 20_000, rng, aftermath)
    for k, allowed in ((0, np.ones(30, bool)), (1, aftermath[1]), (2, np.ones(30, bool))):
        counts = np.bincount(draws[:, k], minlength=30)
        assert counts[~allowed].sum() == 0
        expected = weights[0, allowed] / weights[0, allowed].sum() * 20_000
        assert chisquare(counts[allowed], expected).pvalue > 1e-3
    empty = pseudo_draws(ends, weights * ~aftermath[1], [1, 1], 2 * HOUR, 5 * HOUR, 50, rng, aftermath[:2])
    assert (np.diff(ends[empty], axis=1) <= 5 * HOUR).all()  # nothing there: after the pseudo-mainshock before it


def test_a_record_without_room_for_the_blocks_ends_with_no_draw():
    ends = np.arange(40) * HOUR
    args = (2 * DAY, 10 * DAY, 30, np.random.default_rng(0))
    assert pseudo_draws(ends, np.ones((1, 40)), [1, 1], *args).shape == (0, 2)
    assert pseudo_draws(ends, np.zeros((1, 40)), [1, 2], *args).shape == (0, 2)
    hardly = np.r_[np.ones(4000), np.zeros(49), 1e-3]  # only pairs with the last one fit: most tries find none
    draws = pseudo_draws(np.arange(4050) * HOUR, hardly[None], [1, 1], 4001 * HOUR, 4060 * HOUR, 30, args[-1])
    assert len(draws) <= 30
    assert (draws[:, 1] == 4049).all()


def test_the_same_seed_gives_the_same_draws():
    def made():
        return pseudo_draws(np.arange(99) * HOUR, np.ones((1, 99)), [1, 1], HOUR, DAY, 9, np.random.default_rng(3))

    assert made().tolist() == made().tolist()


# --- p ---------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1, width=16), max_size=30), st.floats(0, 1, width=16))
def test_p_counts_ties_and_is_never_zero(null, observed):
    p = one_sided_p(observed, np.array(null))
    assert p == (1 + sum(x >= observed for x in null)) / (1 + len(null))
    assert 0 < p <= 1
    assert one_sided_p(observed, np.array([*null, NAN])) == p
    assert one_sided_p(observed + 1e-14, np.array(null)) == p  # rounding of sums breaks no tie


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_adjusted_p_is_a_loop_over_draws_and_cells(seed, cells):
    rng = np.random.default_rng(seed)
    nulls = [rng.random(25) * rng.uniform(0.1, 1) for _ in range(cells)]
    observed = rng.random(cells)
    if seed % 3 == 0:
        nulls[0] = np.full(25, 0.5)  # a cell that never varies can win nothing
    expected = []
    for c in range(cells):
        sd = float(np.std(nulls[c]))
        z = (observed[c] - float(np.mean(nulls[c]))) / sd if sd else 0.0
        wins = 0
        for r in range(25):
            largest = -math.inf
            for null in nulls:
                spread = float(np.std(null))
                largest = max(largest, (null[r] - float(np.mean(null))) / spread if spread else 0.0)
            wins += largest >= z - 1e-12
        expected.append((1 + wins) / 26)
    assert adjusted_p(list(observed), nulls) == pytest.approx(expected, abs=1e-12)


def test_adjusted_p_is_at_least_the_cells_own_and_level_over_the_family():
    rng = np.random.default_rng(4)
    refused = own = 0
    for _ in range(300):
        common = rng.standard_normal((200, 1))
        nulls = list((0.7 * common + rng.standard_normal((200, 8))).T)
        observed = [null[0] for null in nulls]  # exchangeable with the draws
        rest = [null[1:] for null in nulls]
        p = adjusted_p(observed, rest)
        refused += min(p) <= 0.05
        own += min(one_sided_p(o, r) for o, r in zip(observed, rest, strict=True)) <= 0.05
    assert refused / 300 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert own / 300 > 0.15  # what not adjusting would do


def test_adjusted_p_of_no_cells_and_of_draws_without_a_score():
    assert adjusted_p([], []) == []
    assert adjusted_p([0.9], [np.array([0.1, NAN, 0.2])]) == [pytest.approx(1 / 3)]


# --- N_ind and the published rejection rates -------------------------------------------------------------------------


def test_n_independent_is_the_length_over_the_correlation_time():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(4000)
    slow = ar1(4000, 20.0, rng)[:, 0]

    def number(*rows):
        candidates = np.array(rows)[None]
        return independent_number(scores_of(candidates, candidates[:, 0, :2]))

    assert number(noise) == pytest.approx(4000, rel=0.1)
    assert number(slow) == pytest.approx(4000 / 41, rel=0.4)
    assert number(noise, slow) == number(slow)  # the least over places
    assert number(np.ones(50)) == 1.0
    holed = noise.copy()
    holed[::2] = NAN
    assert number(holed) == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize(("memory", "rates"), [(6.0, (26.5, 27.5, 5)), (24.0, (30.5, 32, 5))])
def test_rates_at_which_a_null_ar1_score_is_refused(memory, rates):
    # 90 days hourly, mainshocks at days 20, 70 and 83 h later, 12 windows before each, one-sided 5%: shuffled labels
    # (Mann–Whitney), DeLong, joint shift. Rates of 2,500 to 4,000 worlds; as the memory grows they end at 33 and 35.
    rng = np.random.default_rng(11)
    n, worlds = 90 * 24, 800
    last = np.array([20 * 24, 70 * 24, 70 * 24 + 83])
    rows = np.concatenate([np.arange(end - 12, end) for end in last])
    labels = np.isin(np.arange(n), rows)
    ends = np.arange(n) * HOUR
    shifts = joint_shifts(rows * HOUR, ends, (0, n * HOUR), 24 * HOUR, 199, rng)
    series = ar1(n, memory, rng, worlds).T
    refused = np.zeros(3)
    error = math.sqrt((n + 1) / (12 * len(rows) * (n - len(rows))))  # of a Mann–Whitney AUC of independent values
    for x in series:
        tested = delong(x, labels)
        scores = scores_of(x[None, None], x[None, rows])
        shifted = shifted_auc(scores, shifts, [rows - rows[0]], n)
        auc = percentiles(x[rows], x[~labels]).mean()
        assert auc == pytest.approx(tested.auc)
        refused += [(auc - 0.5) / error > 1.645, tested.z > 1.645, one_sided_p(auc, shifted) <= 0.05]
    assert (100 * refused / worlds).tolist() == pytest.approx(rates, abs=4)


def test_a_station_without_any_score_has_no_percentile_and_hides_no_other():
    rng = np.random.default_rng(0)
    candidates = rng.normal(size=(2, 1, 50))
    candidates[0] = np.nan
    scores = scores_of(candidates, rng.normal(size=(2, 3)))
    draws = rng.integers(50, size=(20, 3))
    both = drawn_percentiles(scores, np.ones((1, 50)), draws, np.arange(-2, 3))
    one = drawn_percentiles(scores_of(candidates[1:], scores.positives[1:]), np.ones((1, 50)), draws, np.arange(-2, 3))
    np.testing.assert_array_equal(both, one)


def test_further_members_of_a_block_follow_mainshocks_on_their_own_ground():
    grid = grid_of(40, [5, 20, 30], np.ones((3, 40)), places=3)
    elsewhere = replace(grid, near=np.eye(3, dtype=bool) | np.eye(3, k=-1, dtype=bool) | np.eye(3, k=1, dtype=bool))
    after = {k: set(range(p + 3, p + 9)) for k, p in enumerate((5, 20, 30))}  # more than 2 h, at most 8 h later
    found = _aftermath(elsewhere, 2 * HOUR, 8 * HOUR)
    for k, near in ((0, [1]), (1, [0, 2]), (2, [1])):
        own = set(range((5, 20, 30)[k] + 1, (5, 20, 30)[k] + 9))
        assert set(np.flatnonzero(found[k])) == set().union(*(after[j] for j in near)) - own
