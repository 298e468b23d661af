"""What probabilities are worth: parts that add up, a recount by loops, a calibrated forecaster and an overconfident."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seisprobe.evaluation.reliability import BINS, calibration, calibration_of, probabilities

forecasts = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.sampled_from([0.0, 0.3, 1.0, 7.5])), min_size=2, max_size=60
).filter(lambda rows: {e for _, e, w in rows if w > 0} == {True, False})


def arrays(rows):
    f, e, w = zip(*rows, strict=True)
    return np.array(f), np.array(e), np.array(w)


@given(forecasts)
def test_every_figure_is_that_of_a_recount(rows):
    made = calibration(*arrays(rows))
    total = sum(w for _, _, w in rows)
    rate = sum(w for _, e, w in rows if e) / total
    brier = sum(w * (f - e) ** 2 for f, e, w in rows) / total
    reliability = resolution = 0.0
    curve = []
    for j in range(BINS):
        inside = [(f, e, w) for f, e, w in rows if w > 0 and min(int(f * BINS), BINS - 1) == j]
        if inside:
            mass = sum(w for _, _, w in inside)
            mean, seen = (sum(w * x for x, w in zip(xs, [w for *_, w in inside], strict=True)) / mass
                          for xs in ([f for f, *_ in inside], [e for _, e, _ in inside]))  # fmt: skip
            events = sum(e for _, e, _ in inside)
            curve.append((mean, seen, events, len(inside) - events, mass / total))
            reliability += mass / total * (mean - seen) ** 2
            resolution += mass / total * (seen - rate) ** 2
    assert made.base_rate == pytest.approx(rate, abs=1e-12)
    assert made.brier == pytest.approx(brier, abs=1e-12)
    assert made.skill == pytest.approx(1 - brier / (rate * (1 - rate)), abs=1e-9)
    assert (made.reliability, made.resolution) == pytest.approx((reliability, resolution), abs=1e-12)
    assert made.uncertainty == pytest.approx(rate * (1 - rate), abs=1e-12)
    assert made.forecast == pytest.approx([c[0] for c in curve], abs=1e-12)
    assert made.observed == pytest.approx([c[1] for c in curve], abs=1e-12)
    assert made.share == pytest.approx([c[4] for c in curve], abs=1e-12)
    assert (made.events, made.others) == (tuple(c[2] for c in curve), tuple(c[3] for c in curve))


@given(forecasts)
def test_of_binned_forecasts_the_parts_add_up(rows):
    f, e, w = arrays(rows)
    binned = (np.minimum((f * BINS).astype(int), BINS - 1) + 0.5) / BINS
    made = calibration(binned, e, w)
    assert abs(made.reliability - made.resolution + made.uncertainty - made.brier) < 1e-12


def test_four_windows_by_hand():
    # bins 0.2 (one event of two) and 0.7 (both): 2/4·(0.3² + 0.3²) = 0.09; 2/4·(0.25² + 0.25²) = 0.0625; 3/4·1/4
    made = calibration(np.array([0.2, 0.2, 0.7, 0.7]), np.array([True, False, True, True]), np.ones(4))
    assert (made.reliability, made.resolution, made.uncertainty) == pytest.approx((0.09, 0.0625, 0.1875))
    assert made.brier == pytest.approx((0.64 + 0.04 + 0.09 + 0.09) / 4)
    assert made.skill == pytest.approx(1 - 0.215 / 0.1875)


def test_always_saying_the_base_rate_has_neither_skill_nor_a_fault():
    for rate in (0.5, 0.03):
        made = calibration_of(np.zeros(40), np.zeros(900), np.random.default_rng(0).random(900), rate)
        assert made["brier"] == pytest.approx(rate * (1 - rate))
        assert (made["skill"], made["reliability"], made["resolution"]) == pytest.approx((0, 0, 0), abs=1e-12)
        assert made["base_rate"] == pytest.approx(rate)
    assert json.loads(json.dumps(made)) == made


def test_odds_change_by_the_odds_of_the_base_rate():
    decision = np.linspace(-6, 6, 25)
    for rate in (0.5, 0.2, 0.001):
        p = probabilities(decision, rate)
        np.testing.assert_allclose(p / (1 - p), np.exp(decision) * rate / (1 - rate), rtol=1e-12)


def two_normals(seed: int, k: int, sharpened: float = 1.0, rate: float = 0.5):
    """The true log odds of a window with x ~ N(1, 1) before mainshocks and N(0, 1) elsewhere are x − 1/2."""
    rng = np.random.default_rng(seed)
    decision, background = (sharpened * (rng.normal(mean, 1, n) - 0.5) for mean, n in ((1, k), (0, 2000)))
    return calibration_of(decision, background, np.ones(2000), rate)


def expected_by_chance(k: int, rate: float) -> float:
    """Reliability term of true probabilities: in a bin of forecast f, k f' events are a Poisson number.

    Σ mass · var(observed) = π/k · Σ f (1 − f)², over bins, by the delta method with much background.
    """
    f = np.array(two_normals(0, 100_000, rate=rate)["forecast"])
    return rate / k * float((f * (1 - f) ** 2).sum())


@pytest.mark.parametrize("rate", [0.5, 0.02])
def test_true_probabilities_are_reliable_within_sampling_error_and_overconfident_ones_are_not(rate):
    k, worlds = 60, 200
    true, over = ([two_normals(seed, k, sharpened, rate) for seed in range(worlds)] for sharpened in (1.0, 3.0))
    chance = expected_by_chance(k, rate)
    found, wrong = (np.array([made["reliability"] for made in worlds]) for worlds in (true, over))
    assert 0.4 * chance < found.mean() < 1.6 * chance
    assert wrong.mean() > 3 * chance
    assert np.mean(wrong > np.quantile(found, 0.95)) > 0.9
    assert np.mean([made["skill"] for made in true]) > np.mean([made["skill"] for made in over])


def test_of_many_windows_true_probabilities_lie_on_the_diagonal():
    made = two_normals(0, 200_000)
    heavy = np.array(made["others"]) > 30
    np.testing.assert_allclose(np.array(made["observed"])[heavy], np.array(made["forecast"])[heavy], atol=0.08)
