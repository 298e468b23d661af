"""Cells of features that sampled windows alone have: ranked in the sample, drawn from it, compared draw by draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from seisprobe import planning
from seisprobe.calibration import world_study
from seisprobe.catalog import Catalog, times_us
from seisprobe.etas import FitOptions
from seisprobe.evaluation.cells import NO_SHIFTS
from seisprobe.evaluation.comparisons import Comparison, compare
from seisprobe.evaluation.grid import align
from seisprobe.evaluation.judgement import Tables, evaluate
from seisprobe.evaluation.multivariate import ManyColumns
from seisprobe.evaluation.novelty import regress_out
from seisprobe.evaluation.sanity import day_night_auc, post_event_novelty
from seisprobe.evaluation.scores import percentiles
from seisprobe.evaluation.shared_draws import make_grounds
from seisprobe.mainshocks import plan_mainshocks
from seisprobe.modalities import MODALITIES, join
from seisprobe.planning import compute_features, make_plan
from seisprobe.samples import draw_samples, sample_weights, waveform_windows
from seisprobe.setting import fit_places
from seisprobe.simulation.worlds import null_world
from seisprobe.windows import places
from support.worlds import START, ar1, modality_of, planned, series_table, study_of, tables_of, window_table

DAYS = (20.0, 45.0, 70.0)


def sampled(hours=(6.0,), count=40, seed=0, **evaluation):
    """Return study, plan, tables with one sampled modality "seen" of three columns at one station."""
    study = study_of(DAYS, 100, hours=hours, windows={"background_count": count}, evaluation=evaluation)
    plan, _ = planned(study)
    samples = draw_samples(study, plan.windows, plan.backgrounds)
    rows = waveform_windows(study, plan.windows, samples)
    table = series_table(rows, ar1(100 * 24, 6.0, np.random.default_rng(seed), 3), "S1")
    tables = tables_of(plan, {"seen": table}, {"seen": modality_of(3, scores={"x0": ("x0", 1.0)})})
    weights = sample_weights(plan.windows, samples, plan.backgrounds)
    return study, plan, replace(tables, samples=weights), samples


def primary(study, modality, score="novelty"):
    chosen = study.evaluation.primary.model_copy(update={"modality": modality, "score": score})
    return study.model_copy(update={"evaluation": study.evaluation.model_copy(update={"primary": chosen})})


def test_a_percentile_is_among_the_windows_drawn_each_as_often_as_it_was_drawn():
    study, plan, tables, samples = sampled()
    cell = evaluate(primary(study, "seen", "x0"), tables).primary_cell
    own = tables.features["seen"].set_index("window_id")["x0"]
    drawn = samples.loc[samples["background"].eq("uniform")]
    windows = plan.windows.loc[plan.windows["kind"].eq("background") & plan.windows["hours"].eq(6.0)]
    ids = windows.set_index("end").loc[drawn["end"], "window_id"]
    for name, u in zip(cell.names, cell.u, strict=True):
        assert u == pytest.approx(percentiles([own[f"positive-{name}-6h"]], own[ids], drawn["drawn"])[0])
    assert cell.n_background == len(drawn)
    assert cell.p_shift is None
    assert cell.why_null["p_shift"] == NO_SHIFTS


def test_pseudo_mainshocks_are_sampled_windows_for_all_modalities():
    study, plan, tables, samples = sampled(draws=199)
    table = series_table(plan.windows, ar1(100 * 24, 6.0, np.random.default_rng(5), 3))
    both = replace(tables, features={**tables.features, "all": table},
                   modalities={**tables.modalities, "all": modality_of(3, needs="catalog")})  # fmt: skip
    whole, some = make_grounds(study, both.windows, both.backgrounds, both.why_none, both.samples)
    where = ("until-event", 6.0)
    ends = set(times_us(samples["end"]).tolist())
    drawn = whole.nulls[where].draws["uniform"]
    assert np.array_equal(drawn, some.nulls[where].draws["uniform"])
    assert set(whole.grids[where].ends[np.unique(drawn)].tolist()) <= ends
    assert whole.nulls[where].shifts is not None
    assert some.nulls[where].shifts is None
    result = evaluate(primary(study, "seen", "x0"), both)
    assert all(c.p_pseudo is not None for c in result.cells if c.background == "uniform" and c.score == "x0")


@pytest.mark.parametrize("layouts", [["until-event", "at-lead"], ["at-lead"]])
def test_every_layout_has_draws_among_its_own_windows(layouts):
    study = study_of(DAYS, 100, windows={"background_count": 40, "layouts": layouts, "lead_window_h": 3})
    plan, _ = planned(study)
    samples = draw_samples(study, plan.windows, plan.backgrounds)
    rows = waveform_windows(study, plan.windows, samples)
    table = series_table(rows, ar1(100 * 24, 6.0, np.random.default_rng(0), 3), "S1")
    tables = tables_of(plan, {"seen": table}, {"seen": modality_of(3)})
    tables = replace(tables, samples=sample_weights(plan.windows, samples, plan.backgrounds))
    cells = evaluate(primary(study, "seen", "x0"), tables).cells
    found = {c.layout: c.p_pseudo for c in cells if c.score == "x0" and c.background == "uniform"}
    assert set(found) == set(layouts)
    assert all(p is not None for p in found.values())


def test_the_quiet_part_of_the_sample_is_a_background_and_matched_sets_are_not_sampled():
    backgrounds = {"backgrounds": ["quiet", "uniform", "matched"]}
    study, _, tables, samples = sampled(**backgrounds)
    counted = tables.samples.groupby("background").size()
    assert counted["uniform"] > counted["quiet"] > 0
    assert set(tables.samples["background"]) == {"uniform", "quiet"}
    cells = {c.background: c for c in evaluate(primary(study, "seen", "x0"), tables).cells if c.score == "x0"}
    assert cells["quiet"].auc is not None
    assert cells["quiet"].p_pseudo is None
    assert "samples of `uniform` and `etas` alone" in cells["matched"].why_null["auc"]
    assert len(samples)


def test_a_sum_of_modalities_has_the_rows_of_both_and_is_compared_with_its_parts():
    study, plan, tables, _ = sampled(draws=99)
    table = series_table(plan.windows, ar1(100 * 24, 6.0, np.random.default_rng(5), 3))
    specs = {**tables.modalities, "all": modality_of(3, needs="catalog")}
    specs["all+seen"] = join("all+seen", specs)
    both = replace(tables, features={**tables.features, "all": table}, modalities=specs)
    result = evaluate(primary(study, "all+seen"), both)
    cell = result.primary_cell
    assert cell.auc is not None
    assert set(cell.stations) == {"S1"}
    assert cell.n_background == 40
    pairs = {(c.a, c.b): c for c in result.comparisons}
    assert set(pairs) == {("all+seen", "all"), ("all+seen", "seen")}
    one = next(c for c in result.cells if (c.modality, c.score, c.background) == ("all", "novelty", "uniform"))
    assert pairs["all+seen", "all"].delta_auc == pytest.approx(cell.auc - one.auc)


def test_the_networks_of_random_weights_count_as_one():
    study, _, tables, _ = sampled(draws=99)
    spec = replace(MODALITIES["random_encoder"], multivariate=("x0", "x1", "x2"))
    table = tables.features["seen"]
    rng = np.random.default_rng(1)
    noise = {f"random_encoder_{i}": table.assign(x0=rng.normal(size=len(table)), x1=rng.normal(size=len(table)))
             for i in range(3)}  # fmt: skip
    every = replace(tables, features={**tables.features, **noise},
                    modalities={**tables.modalities, **dict.fromkeys(noise, spec)})  # fmt: skip
    result = evaluate(primary(study, "seen"), every)
    (comparison,) = result.comparisons
    assert isinstance(comparison, Comparison)
    assert comparison.b == "random_encoder"
    cells = {c.modality: c for c in result.cells if c.score == "novelty" and c.background == "uniform"}
    assert comparison.delta_auc == pytest.approx(cells["seen"].auc - np.mean([cells[n].auc for n in noise]))
    null = {n: cells[n].drawn.mean(axis=1) for n in ("seen", *noise)}
    delta = null["seen"] - np.mean([null[n] for n in noise], axis=0)
    assert comparison.p == pytest.approx((1 + np.sum(delta >= comparison.delta_auc - 1e-12)) / (1 + len(delta)))
    assert not {f"random_encoder_{i}" for i in range(3)} & {name for own in result.controls.values() for name in own}
    assert all(cells[n].key not in result.p_adjusted for n in noise)


def test_what_the_catalog_explains_is_taken_out_of_the_residual():
    study, plan, tables, _ = sampled(draws=99)
    rng = np.random.default_rng(3)
    base = tables.features["seen"]
    all_rows = series_table(plan.windows, ar1(100 * 24, 6.0, rng, 2))
    of = all_rows.set_index("window_id").loc[base["window_id"]]
    seen = base.assign(x0=3 * of["x0"].to_numpy() + 0.1 * base["x0"], x1=2 * of["x1"].to_numpy() + 0.1 * base["x1"])
    specs = {
        "known": modality_of(2, needs="catalog"),
        "seen": modality_of(3, scores={}),
        "left": modality_of(3, scores={}, table="seen", residual_on="known"),
        "noise": modality_of(3, scores={}),
    }
    features = {"known": all_rows, "seen": seen, "noise": base}
    result = evaluate(primary(study, "left"), replace(tables, features=features, modalities=specs))
    u = {c.modality: c.u for c in result.cells if c.score == "novelty" and c.background == "uniform"}
    assert np.abs(u["left"] - u["noise"]).max() < 0.25
    assert np.abs(u["left"] - u["noise"]).max() < np.abs(u["seen"] - u["noise"]).max()


def test_regress_out_equals_the_residuals_of_numpys_own_fit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 2)), rng.normal(size=(50, 3))
    fitted = np.arange(50) < 40
    design = np.column_stack([np.ones(50), x])
    solution = np.linalg.solve(design[:40].T @ design[:40], design[:40].T @ y[:40])
    assert regress_out(y, x, fitted) == pytest.approx(y - design @ solution)
    x[3, 0] = np.nan
    assert np.isnan(regress_out(y, x, fitted)[3]).all()


def test_the_hours_after_are_judged_by_the_novelty_of_what_was_seen():
    study, plan, tables, samples = sampled(hours=(6.0,), count=30)
    rows = waveform_windows(study, plan.windows, samples)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(rows), 3))
    values[rows["kind"].eq("post").to_numpy()] += 8.0
    table = window_table(rows, {f"x{j}": values[:, j] for j in range(3)}, "S1")
    spec = modality_of(3, table="seen")
    for shown, expected in ((table, 1.0), (table.loc[~table["window_id"].str.startswith("post-M1")], None)):
        found = evaluate(primary(study, "seen"), replace(tables, features={"seen": shown}, modalities={"seen": spec}))
        assert found.post_event_auc == (pytest.approx(expected, abs=0.02) if expected else None)
        assert found.verdicts[found.primary].rule != 1


def test_the_hours_after_are_ranked_among_hours_of_the_uniform_sample_alone():
    study = study_of(DAYS, 100, hours=(1.0,), windows={"background_count": 40})
    plan, _ = planned(study)
    hours = plan.windows.loc[plan.windows["kind"].isin(("background", "post"))].reset_index(drop=True)
    ids = hours.loc[hours["kind"].eq("background"), "window_id"].to_numpy()
    uniform, etas = ids[:40], ids[200:240]
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=3) for name in (*uniform, *etas)}
    values |= {name: rng.normal(size=3) + 6 for name in hours.loc[hours["kind"].eq("post"), "window_id"]}
    values |= {name: rng.normal(size=3) + 60 * rng.choice([-1, 1]) for name in etas}  # far out, and not asked
    table = pd.DataFrame(
        [{"window_id": n, "station": "S1", **dict(zip("xyz", v, strict=True))} for n, v in values.items()]
    )
    samples = pd.DataFrame({"window_id": [*uniform, *etas], "background": ["uniform"] * 40 + ["etas"] * 40,
                            "mainshock": "", "weight": 1.0})  # fmt: skip
    many = [ManyColumns(align(hours, table), ("x", "y", "z"), by_deviation=False)]
    assert post_event_novelty(study, hours, samples, many) == pytest.approx(1.0)


def test_a_comparison_without_any_draw_has_no_p():
    study, _, tables, _ = sampled(draws=99)
    specs = {**tables.modalities, "base": modality_of(3, baseline=True)}
    features = {"seen": tables.features["seen"], "base": tables.features["seen"]}
    result = evaluate(primary(study, "seen"), replace(tables, features=features, modalities=specs))
    cells = [replace(c, drawn=np.full((9, 3), np.nan)) for c in result.cells]
    (found,) = compare(study, cells, result.headline, specs)
    assert (found.p, found.word, found.delta_auc) == (None, "CANNOT SAY", 0.0)


@pytest.mark.parametrize(("effect", "low", "high"), [(0.0, 0.35, 0.65), (3.0, 0.95, 1.0)])
def test_day_is_told_from_night_by_the_sun_of_the_region(effect, low, high):
    study = study_of(DAYS, 100)
    rng = np.random.default_rng(0)
    minutes = np.sort(rng.choice(100 * 1440, 1500, replace=False))
    start = START + pd.to_timedelta(minutes, unit="min")
    local_h = (minutes / 60 + 13.0 / 15) % 24
    values = rng.normal(size=(1500, 5))  # as many as are told apart without principal components
    values[:, 2] += effect * ((local_h >= 9) & (local_h < 17))
    table = pd.DataFrame(values).add_prefix("v")
    table.insert(0, "station", np.where(np.arange(1500) % 2, "A", "B"))
    table.insert(1, "start", start)
    assert low <= day_night_auc(study, table) <= high
    assert day_night_auc(study, table.loc[(local_h >= 10) & (local_h < 16)]) is None


def test_tables_without_samples_are_judged_as_before():
    study = study_of(DAYS, 100)
    plan, _ = planned(study)
    table = series_table(plan.windows, ar1(100 * 24, 6.0, np.random.default_rng(0), 3))
    tables = tables_of(plan, {"seen": table}, {"seen": modality_of(3)})
    assert isinstance(tables, Tables)
    cell = evaluate(primary(study, "seen", "x0"), tables).primary_cell
    assert cell.p_shift is not None
    assert cell.n_background > 500


@pytest.mark.slow
def test_null_worlds_are_significant_as_often_as_asked_by_samples_too():
    """300 ETAS worlds without precursor; 5% of 300 is 15, and 26 is exceeded by chance in 0.3%."""
    counts = {"seen": 0, "difference": 0}
    for index in range(300):
        world = null_world("stationary", 3, 74.0, np.random.default_rng([9, index]))
        if world is None:
            continue
        study = world_study(world, index, "stationary")
        where = places(study, plan_mainshocks(study, world.events))
        rates = fit_places(study, where, world.events, {"options": FitOptions(starts=1)})
        plan = make_plan(study, Catalog(world.events), rates)
        features = compute_features(study, plan)
        samples = draw_samples(study, plan.windows, plan.backgrounds)
        seen = replace(MODALITIES["catalog"], needs="waveforms")
        tables = replace(
            planning.tables_of(study, plan, features),
            samples=sample_weights(plan.windows, samples, plan.backgrounds),
            features={**features, "seen": features["catalog"]},
            modalities={"catalog": MODALITIES["catalog"], "seen": seen},
        )
        result = evaluate(primary(study, "seen"), tables, label_free=True)
        counts["seen"] += result.primary_cell.p_pseudo <= 0.05
        here = (c for c in result.comparisons if (c.a, c.b, c.hours) == ("seen", "catalog", result.primary[2]))
        counts["difference"] += next(here).p <= 0.05
    assert max(counts.values()) <= 26
