"""Times of an evaluation: against draws, windows and mainshocks (pytest benchmarks/bench_evaluation.py)."""

from __future__ import annotations

import numpy as np
import pytest

from seisprobe.catalog import Catalog
from seisprobe.evaluation.classifier import held_out_percentiles
from seisprobe.evaluation.grid import Grid, Scores, rank
from seisprobe.evaluation.judgement import evaluate
from seisprobe.evaluation.novelty import Columns, novelty
from seisprobe.evaluation.nulls import joint_shifts, null_auc, pseudo_draws, shifted_auc
from seisprobe.evaluation.splits import leave_one_block_out
from seisprobe.planning import compute_features, make_plan, tables_of
from seisprobe.simulation.catalog import CatalogWorld, SimulatedMainshock, simulate_catalog
from seisprobe.study import study_from_dict

HOUR = 3_600_000_000
DAY = 24 * HOUR
YEAR = 365 * 24  # windows


def record(windows, mainshocks):
    """A random score on an hourly grid, its mainshocks' places and the steps to every candidate in a zone."""
    rng = np.random.default_rng(0)
    ends = np.arange(windows) * HOUR
    first = np.linspace(300, windows - 300, mainshocks).astype(int)
    zones = np.concatenate([np.arange(p - 48, p + 50) for p in first])
    candidate = ~np.isin(np.arange(windows), zones)
    rows = np.arange(windows)[None]
    names = tuple(f"M{k}" for k in range(mainshocks))
    blocks = np.arange(mainshocks)
    weights = {"uniform": candidate[None].astype(float)}
    grid = Grid("until-event", 24.0, names, blocks, blocks, first * HOUR, ends, rows, candidate[None], weights, {})
    values, own = rng.standard_normal((1, 1, windows)), rng.standard_normal((1, mainshocks))
    return grid, Scores(("",), values, own, own < -99, values < -99), zones - first[0], rng


@pytest.mark.parametrize("draws", [200, 2000, 20_000])
def test_pseudo_mainshocks_against_draws(benchmark, draws):
    grid, scores, _, rng = record(2 * YEAR, 3)
    ranked, used = rank(grid, scores, "uniform"), np.ones(3, dtype=bool)

    def null():
        made = pseudo_draws(grid.ends, grid.weights["uniform"], [1, 2, 2], 3 * DAY, 10 * DAY, draws, rng)
        return null_auc(ranked, made, used)

    benchmark(null)


@pytest.mark.parametrize(("years", "mainshocks"), [(1, 3), (2, 3), (10, 3), (10, 40)])
def test_ranking_a_score_against_windows(benchmark, years, mainshocks):
    grid, scores, _, _ = record(years * YEAR, mainshocks)
    benchmark(rank, grid, scores, "uniform")


@pytest.mark.parametrize(("years", "mainshocks"), [(1, 3), (2, 3), (10, 3), (10, 40)])
def test_2000_joint_shifts_against_windows_and_mainshocks(benchmark, years, mainshocks):
    grid, scores, zones, rng = record(years * YEAR, mainshocks)
    n = years * YEAR
    shifts = joint_shifts(grid.positive_ends, grid.ends, (0, n * HOUR), 2 * DAY, 2000, rng)
    benchmark(shifted_auc, scores, shifts, zones, n)


@pytest.mark.parametrize(("windows", "columns"), [(2 * YEAR, 4), (400, 1152)])
def test_novelty_against_columns(benchmark, windows, columns):
    table = np.random.default_rng(0).standard_normal((windows, columns))
    names = tuple(f"x{j}" for j in range(columns))
    benchmark(novelty, [Columns(table, names)], np.ones(windows, dtype=bool))


@pytest.mark.parametrize(("years", "mainshocks"), [(2, 6), (10, 40)])
def test_one_refit_of_all_folds_against_mainshocks(benchmark, years, mainshocks):
    grid, _, _, rng = record(years * YEAR, mainshocks)
    x, p = rng.standard_normal((years * YEAR, 4)), rng.standard_normal((mainshocks, 4))

    def refit():
        folds = leave_one_block_out(grid.ends, grid.positive_ends, grid.blocks, 2 * DAY, rng)
        return held_out_percentiles(x, p, [4], grid.weights["uniform"][0], folds, rng)

    benchmark(refit)


def study_and_tables(years, mainshocks):
    """A simulated study of all lengths, with the backgrounds quiet, uniform and matched."""
    region = {"min_latitude": 41.5, "max_latitude": 44.0, "min_longitude": 11.5, "max_longitude": 14.5}
    days = np.linspace(60, 365 * years - 60, mainshocks)
    shocks = [SimulatedMainshock(f"M{k}", int(d * DAY), 6.0, 42.7, 13.1) for k, d in enumerate(days)]
    world = CatalogWorld(-30 * DAY, 365 * years * DAY, tuple(region.values()), shocks, productivity=0.2)
    study = study_from_dict(
        {
            "study": {"name": "bench", "start": "1970-01-01T00:00:00Z", "end": f"{1970 + years}-01-01T00:00:00Z",
                      "region": region},
            "catalog": {"source": "file:nowhere.csv"},
            "mainshock": [{"name": s.name, "time": str(np.datetime64(s.time_us, "us")) + "Z", "magnitude": 6.0,
                           "latitude": 42.7, "longitude": 13.1} for s in shocks],
            "evaluation": {"backgrounds": ["quiet", "uniform", "matched"], "headline": "uniform"},
        }
    )  # fmt: skip
    plan = make_plan(study, Catalog(simulate_catalog(world, np.random.default_rng(0))))
    return study, tables_of(study, plan, compute_features(study, plan))


@pytest.mark.parametrize(("years", "mainshocks"), [(2, 3), (10, 40)])
def test_a_whole_study(benchmark, years, mainshocks):
    study, tables = study_and_tables(years, mainshocks)
    benchmark.pedantic(lambda: evaluate(study, tables), rounds=1)
