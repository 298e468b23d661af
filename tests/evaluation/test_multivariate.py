"""Logistic regression where every mainshock has a place of its own: who trains, who is ranked, and chance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import kstest

from seisprobe.evaluation import classifier, multivariate
from seisprobe.evaluation.cells import Nulls
from seisprobe.evaluation.classifier import Decided, Held, make_classifier
from seisprobe.evaluation.grid import Features, Grid
from seisprobe.evaluation.multivariate import ManyColumns, logistic_cell
from seisprobe.evaluation.scores import percentiles
from seisprobe.evaluation.splits import forward_chaining, leave_one_block_out
from seisprobe.windows import HOUR_US
from support.worlds import ar1, study_of

STEP_H, ZONE = 12, np.arange(-4, 7)
SPLITS = {"logistic": leave_one_block_out, "logistic_forward": forward_chaining}
NAMES = ("a", "b", "c", "d")


@dataclass(frozen=True)
class World:
    grid: Grid
    nulls: Nulls
    many: ManyColumns
    study: object

    def cell(self, score="logistic", background="uniform"):
        labels = ("noise", score)
        return logistic_cell(self.study, self.grid, self.nulls, [self.many], labels, background, SPLITS[score])


def world(seed=0, *, k=12, n=900, blocks=None, draws=19, shift=0.0, level=0.0, region=False, columns=4):
    """Mainshocks at random in the record, each in a series of its own (or all in one) with a level of its own.

    Zones around every mainshock hold no candidate of any place. `shift` raises the first column before mainshocks.
    """
    rng = np.random.default_rng(seed)
    places = 1 if region else k
    at = np.sort(rng.choice(np.arange(5, n - 7), k, replace=False))
    series = np.stack([ar1(n, 4.0, rng, columns) + level * rng.standard_normal(columns) for _ in range(places)])
    positives = series[np.arange(k) % places, at].copy()
    positives[:, 0] += shift
    table = np.concatenate([series.reshape(-1, columns), positives])
    candidate = np.ones((places, n), dtype=bool)
    candidate[:, np.unique(np.clip(at[:, None] + ZONE, 0, n - 1))] = False
    rate = rng.gamma(0.5, size=(places, n))
    weights = {"uniform": candidate * 1.0, "etas": candidate * rate}
    ends = np.arange(n, dtype=np.int64) * STEP_H * HOUR_US
    own = np.arange(1, k + 1) if blocks is None else np.asarray(blocks)
    grid = Grid(
        "until-event", 24.0, tuple(f"M{i}" for i in range(k)), own, places * n + np.arange(k), ends[at] + 1234,
        ends, np.arange(places * n).reshape(places, n), candidate, weights, {}, np.ones((places, k), dtype=bool),
    )  # fmt: skip
    free = np.flatnonzero(candidate[0])
    pseudo = {"uniform": rng.choice(free, (draws, k))}
    pseudo["etas"] = np.stack(
        [rng.choice(free, draws, p=w[free] / w[free].sum()) for w in np.resize(weights["etas"], (k, n))], axis=1
    )
    features = Features(("",), NAMES[:columns], table, np.arange(len(table))[None, :])
    study = study_of((10.0, 20.0), n * STEP_H / 24, hours=(24.0,), windows={"step_h": STEP_H},
                     evaluation={"logistic_draws": max(1, draws)})  # fmt: skip
    nulls = Nulls(pseudo, None, (), ZONE, n)
    return World(grid, nulls, ManyColumns(features, NAMES[:columns], True), study)


def thinned(grid):
    """Return a grid with weight on every third candidate: all of few candidates train."""
    every = np.arange(len(grid.ends)) % 3 == 0
    return replace(grid, weights={name: weights * every for name, weights in grid.weights.items()})


def by_hand(made: World, background: str) -> np.ndarray:
    """Percentiles of logistic regression, one fold and one place at a time; for few candidates, which all train."""
    grid, table = made.grid, made.many.features.values
    times, apart = grid.positive_ends, (24 + 24) * HOUR_US
    weights, u = grid.weights[background], np.full(len(times), np.nan)
    nearest = np.abs(grid.ends[:, None] - times[None, :]).argmin(axis=1)
    for block in np.unique(grid.blocks):
        inside = grid.blocks[nearest] == block
        mine = np.abs(grid.ends[:, None] - times[None, grid.blocks == block]).min(axis=1)
        inside |= mine <= 10 * 24 * HOUR_US  # block_days, however soon the next one comes elsewhere
        if not inside.any():
            continue
        away = np.abs(grid.ends[:, None] - grid.ends[inside][None, :]).min(axis=1) > apart
        edges = np.flatnonzero(np.diff(inside, prepend=False, append=False)).reshape(-1, 2)
        runs = [(grid.ends[a] - apart, grid.ends[b - 1] + apart) for a, b in edges]
        far = np.array([not any(low <= t <= high for low, high in runs) for t in times]) & (grid.blocks != block)
        train = grid.candidate_rows[away[None, :] & (weights > 0)]
        x = table[np.concatenate([train, grid.positive_rows[far]])]
        model = make_classifier([x.shape[1]], len(x)).fit(x, np.repeat([0, 1], [len(train), far.sum()]))
        for k in np.flatnonzero(grid.blocks == block):
            mine = inside & (weights[k] > 0)
            if mine.any():
                own = model.decision_function(table[grid.candidate_rows[k, mine]])
                u[k] = percentiles(model.decision_function(table[grid.positive_rows[[k]]]), own, weights[k, mine])[0]
    return u


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("background", ["uniform", "etas"])
def test_a_mainshock_is_ranked_at_its_own_place_by_what_all_places_trained(seed, background):
    made = world(seed, k=5, n=240, blocks=[1, 2, 2, 3, 4], level=2.0)
    made = replace(made, grid=thinned(made.grid))
    assert (made.grid.weights[background] > 0).sum() < 500
    expected = by_hand(made, background)
    assert np.isfinite(expected).sum() >= 3
    np.testing.assert_allclose(made.cell("logistic", background).u, expected, atol=1e-12)


def trained_samples(made: World, monkeypatch) -> list[tuple[bytes, np.ndarray]]:
    seen = []

    def watched(tasks, background, positives):
        decisions = list(original(tasks, background, positives))
        for t, decide in zip(tasks, decisions, strict=True):
            rows = background[t.train].tobytes() + positives[t.train_positive].tobytes()
            seen.append((rows, decide(np.eye(background.shape[1]))))
        return decisions

    original = classifier._together
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "_together", watched)
        made.cell()
    return seen


def test_what_happens_in_the_held_out_time_at_any_place_trains_nothing(monkeypatch):
    made = world(3, k=8, n=500, draws=0)
    clean = trained_samples(made, monkeypatch)
    grid = made.grid
    away = np.abs(grid.ends[:, None] - grid.positive_ends[None, :])
    held = (away == away.min(axis=1, keepdims=True)) | (away <= 10 * 24 * HOUR_US)
    assert len(clean) == 8
    for fold in (0, 4, 7):
        poisoned = made.many.features.values.copy()
        poisoned[grid.candidate_rows[:, held[:, fold]]] += 1e6
        features = replace(made.many.features, values=poisoned)
        dirty = trained_samples(replace(made, many=replace(made.many, features=features)), monkeypatch)
        assert dirty[fold][0] == clean[fold][0]
        np.testing.assert_allclose(dirty[fold][1], clean[fold][1], rtol=0, atol=1e-6)
        assert (
            sum(a != b for (a, _), (b, _) in zip(clean, dirty, strict=True)) >= 6
        )  # and the test itself: others see it


def test_every_place_trains_with_the_same_mass_and_without_the_zones_on_its_ground():
    made = world(1, k=4, n=300)
    grid = replace(made.grid, near=np.eye(4, dtype=bool))
    pairs = multivariate._pairs(grid)
    heavy = grid.weights["uniform"] * np.array([[1.0], [50.0], [1.0], [0.01]])
    index = np.array([40, 100, 160, 295])
    zones = pairs.zones(index, ZONE, grid).reshape(4, -1)
    assert [np.flatnonzero(row).tolist() for row in zones] == [[t for t in i + ZONE if t < 300] for i in index]
    weights = pairs.weights(heavy, zones.ravel()).reshape(4, -1)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert not weights[zones].any()
    assert (weights > 0).tolist() == ((heavy > 0) & ~zones).tolist()
    assert pairs.rows(index).tolist() == (index + 300 * np.arange(4)).tolist()


def test_of_places_with_samples_only_the_sampled_windows_are_laid_out():
    made = world(2, k=3, n=200)
    rng = np.random.default_rng(0)
    weights = {name: w * (rng.random(w.shape) < 0.2) for name, w in made.grid.weights.items()}
    grid = replace(made.grid, weights=weights, sampled=True)
    pairs = multivariate._pairs(grid)
    sampled = (weights["uniform"] > 0) | (weights["etas"] > 0)
    assert len(pairs.index) == sampled.sum()
    assert pairs.spread(grid.candidate_rows).tolist() == grid.candidate_rows[sampled].tolist()
    index = np.array([np.flatnonzero(row)[7] for row in sampled])
    assert (
        pairs.spread(grid.candidate_rows)[pairs.rows(index)].tolist() == grid.candidate_rows[range(3), index].tolist()
    )
    cell = replace(made, grid=grid).cell()
    assert np.isfinite(cell.u).all()


def test_what_all_places_share_is_found_although_their_levels_differ():
    found = world(5, k=20, n=900, shift=2.5, level=3.0)
    assert found.cell().auc > 0.85
    assert found.cell().p_pseudo == pytest.approx(1 / 20)
    assert found.cell("logistic_forward").auc > 0.75


def test_forward_chaining_has_a_p_from_ten_blocks_on():
    few, many = (world(0, k=k).cell("logistic_forward") for k in (9, 10))
    assert few.auc is not None
    assert few.p_pseudo is None
    assert few.null is None
    assert not few.family
    assert "from 10 blocks on" in few.why_null["p_pseudo"]
    assert few.why_null["verdict"] == few.why_null["p_adjusted"] == few.why_null["p_pseudo"]
    assert many.p_pseudo is not None
    assert many.family
    assert np.isnan(many.u[0])  # nothing came before the first
    assert world(0, k=9).cell("logistic").p_pseudo is not None


def test_one_background_for_each_mainshock_of_a_region_is_refused():
    made = world(0, region=True)
    grid = replace(made.grid, weights={"matched": np.repeat(made.grid.weights["uniform"], 12, axis=0)})
    assert "one background for all" in replace(made, grid=grid).cell("logistic", "matched").why_null["auc"]


# --- probabilities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", [False, True])
def test_probabilities_are_looked_at_from_thirty_held_out_mainshocks_on(region):
    cell = world(4, k=36, n=1500, draws=0, region=region, blocks=[*range(30), *range(6)]).cell()
    found = cell.reliability
    used = int(cell.used.sum())
    assert used >= 30
    assert "reliability" not in cell.why_null
    assert found["balanced"]["base_rate"] == pytest.approx(0.5)
    places = len(cell.names) if not region else 1  # each has a record of its own
    assert found["record"]["base_rate"] == pytest.approx(used * 24 / (1500 * STEP_H) / places)
    for made in found.values():
        assert sum(made["events"]) == used
        assert made["brier"] > 0
    assert found["balanced"]["skill"] < 0.1  # there is nothing to be seen in noise
    few = world(4, k=20, draws=0).cell()
    assert few.reliability is None
    assert few.why_null["reliability"] == "20 held-out mainshocks: probabilities are looked at from 30 on"


def test_the_background_of_every_mainshock_counts_the_same_in_its_calibration():
    held = Held(np.array([0.5, 0.5, np.nan]), 1, (
        Decided(0, np.array([0]), np.array([0.1]), np.array([3, 4]), np.array([-1.0, 1.0])),
        Decided(1, np.array([1]), np.array([0.2]), np.array([0]), np.array([2.0])),
    ))  # fmt: skip
    decision, background, mass = multivariate._decisions([held], np.array([7.0, 1.0, 1.0, 1.0, 3.0]))
    assert (decision.tolist(), background.tolist(), mass.tolist()) == ([0.1, 0.2], [2.0, -1.0, 1.0], [1.0, 0.25, 0.75])
    other = replace(held, decided=(replace(held.decided[0], decision=np.array([0.5])),))
    assert multivariate._decisions([held, other], np.ones(5))[0].tolist() == pytest.approx(
        [0.3, 0.2]
    )  # of two stations


# --- chance -----------------------------------------------------------------------------------------------------------


def null_worlds(number: int, draws: int, **options):
    """AUC and p of logistic and logistic_forward on worlds of noise, (number, 2) each."""
    worlds = (world(seed, draws=draws, **options) for seed in range(number))
    cells = [[made.cell(score) for score in SPLITS] for made in worlds]
    p = [[c.p_pseudo if c.p_pseudo is not None else np.nan for c in row] for row in cells]
    return np.array([[c.auc for c in row] for row in cells]), np.array(p)


def test_on_noise_at_forty_places_both_splits_are_at_chance():
    auc, _ = null_worlds(40, 0, k=40, n=600, level=1.0)
    assert 0.47 <= auc[:, 0].mean() <= 0.53
    assert 0.47 <= auc[:, 1].mean() <= 0.53


@pytest.mark.slow
def test_on_noise_at_forty_places_p_is_uniform():
    auc, p = null_worlds(200, 39, k=40, n=600, level=1.0)
    assert np.all(np.abs(auc.mean(axis=0) - 0.5) <= 0.03)
    spread = p - np.random.default_rng(0).random(p.shape) / 40  # p comes in fortieths
    assert min(kstest(column, "uniform").pvalue for column in spread.T) > 0.01
    assert np.all(np.mean(p <= 0.05, axis=0) <= 0.09)
