"""A whole study under one judgement: stations, places, families, comparisons, and input that is not as it should be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from seisprobe.catalog import times_us
from seisprobe.errors import StudyError
from seisprobe.evaluation.grid import align, rank, read_scores
from seisprobe.evaluation.judgement import _claims, evaluate, primary_key
from seisprobe.evaluation.nulls import one_sided_p
from seisprobe.evaluation.shared_draws import make_grids, make_nulls
from seisprobe.modalities import MODALITIES, join
from seisprobe.planning import compute_features
from seisprobe.windows import HOUR_US
from support.worlds import ar1, hour_of, modality_of, planned, series_table, study_of, tables_of, window_table

DAYS = (12.0, 31.0, 34.6, 60.0)  # the second and third are one block


def catalog_tables(study, seed=0, rate_per_day=2.0):
    plan, _ = planned(study, seed, rate_per_day)
    return tables_of(plan, compute_features(study, plan), {})


def cell_of(result, modality, score, hours, background="uniform"):
    return next(c for c in result.cells if c.key[:4] == (modality, score, hours, background))


def three_stations(plan, seed=0, columns=1):
    """Three series, a station each; station S2 has no row before M2, and misses a tenth of all other windows."""
    rng = np.random.default_rng(seed)
    n = int(hour_of(plan.windows).max()) + 1
    tables = [series_table(plan.windows, ar1(n, 8.0, rng, columns), f"S{s}") for s in (1, 2, 3)]
    lost = plan.windows["window_id"].str.startswith("positive-M2")
    outage = plan.windows["kind"].isin(("background", "excluded")) & (rng.random(len(plan.windows)) < 0.1)
    tables[1] = tables[1].loc[~(lost | outage).to_numpy()]
    return pd.concat(tables, ignore_index=True)


# --- stations ---------------------------------------------------------------------------------------------------------


def outside_zones(ends_h, drawn):
    """Which 6 h windows meet no zone [T − 30 h, T + 26 h] of mainshocks 120 s after the ends drawn."""
    zones = [(ends_h[i] + 120 / 3600 - 30, ends_h[i] + 120 / 3600 + 26) for i in drawn]
    return [not any(end > low and end - 6 <= high for low, high in zones) for end in ends_h]


def by_hand(grid, windows, table, used_background):
    """Percentile of each mainshock at each station by plain loops; and of a candidate in a part of the background."""
    ids = windows["window_id"].to_numpy()
    stations = sorted(table["station"].unique())
    value = {(r.window_id, r.station): r.x0 for r in table.itertuples()}
    found = {}
    for s in stations:
        scores = {i: value.get((ids[row], s), math.nan) for i, row in enumerate(grid.candidate_rows[0])}
        counted = [scores[i] for i in scores if used_background[i] and not math.isnan(scores[i])]

        def percentile(x, counted):
            if math.isnan(x):
                return math.nan
            return (sum(c < x for c in counted) + 0.5 * sum(c == x for c in counted)) / len(counted)

        def drawn(i, outside, scores=scores):
            left = [x for j, x in scores.items() if outside[j] and used_background[j] and not math.isnan(x)]
            return percentile(scores[i], left)

        found[s] = ([percentile(value.get((ids[row], s), math.nan), counted) for row in grid.positive_rows], drawn)
    return found


def test_a_station_that_misses_a_mainshock_and_a_tenth_of_the_record_is_judged_on_what_it_has():
    study = study_of(DAYS, 80, hours=(6.0,), evaluation={"draws": 60})
    plan, _ = planned(study)
    table = three_stations(plan)
    tables = tables_of(plan, {"net": table}, {"net": modality_of()})
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    grid = grids["until-event", 6.0]
    draws = make_nulls(study, grids)["until-event", 6.0].draws["uniform"]
    cell = cell_of(evaluate(replace_primary(study, "net", "x0"), tables), "net", "x0", 6.0)
    hand = by_hand(grid, plan.windows, table, grid.candidate[0])
    assert math.isnan(hand["S2"][0][1])  # the mainshock that S2 missed
    expected = [np.nanmedian([hand[s][0][k] for s in hand]) for k in range(4)]
    np.testing.assert_allclose(cell.u, expected, atol=1e-12)
    assert set(cell.stations) == {"S1", "S2", "S3"}
    assert cell.stations["S2"] == pytest.approx(np.nanmean(hand["S2"][0]), abs=1e-12)
    null = []
    for row in draws:
        outside = outside_zones(grid.ends / HOUR_US, row)
        u = [np.nanmedian([hand[s][1](int(i), outside) for s in hand]) for i in row]
        null.append(np.mean(u))
    np.testing.assert_allclose(cell.null, null, atol=1e-12)
    assert cell.p_pseudo == one_sided_p(float(np.mean(expected)), np.array(null))
    assert cell.shift_null is not None
    assert len(draws) == 60


def replace_primary(study, modality, score, hours=None):
    primary = study.evaluation.primary.model_copy(update={"modality": modality, "score": score, "hours": hours})
    return study.model_copy(update={"evaluation": study.evaluation.model_copy(update={"primary": primary})})


def test_novelty_of_stations_survives_an_outage_and_reads_a_word():
    study = replace_primary(study_of(DAYS, 80, hours=(6.0,)), "net", "novelty")
    plan, _ = planned(study)
    tables = tables_of(plan, {"net": three_stations(plan, columns=24)}, {"net": modality_of(24)})
    result = evaluate(study, tables)
    cell = result.primary_cell
    assert not result.left_out
    assert cell.auc is not None
    assert np.isfinite(cell.u).all()
    assert np.isnan(cell.scores.positives[1]).tolist() == [False, True, False, False]
    assert 0.4 < cell.null.mean() < 0.6
    assert result.verdicts[result.primary].word in ("INCONCLUSIVE", "NOT DETECTED")


def test_a_mainshock_that_every_station_missed_lowers_the_cells_k():
    study = replace_primary(study_of(DAYS, 80), "net", "x0")
    plan, _ = planned(study)
    table = three_stations(plan)
    lost = plan.windows.loc[plan.windows["kind"].eq("positive"), "window_id"]
    cell = evaluate(
        study, tables_of(plan, {"net": table.loc[table["window_id"] != lost.iloc[0]]}, {"net": modality_of()})
    ).primary_cell
    assert cell.used.tolist() == [False, True, True, True]
    assert cell.sizes == (1, 2)
    assert cell.auc == pytest.approx(cell.u[1:].mean())
    only = evaluate(study, tables_of(plan, {"net": table.loc[~table["window_id"].isin(lost.iloc[1:])]},
                                     {"net": modality_of()})).primary_cell  # fmt: skip
    assert only.auc is None
    assert only.why_null["auc"] == "mainshocks without data: M2, M3, M4"


def test_a_value_that_is_missing_is_not_an_outage():
    study = replace_primary(study_of(DAYS, 80), "net", "x0")
    plan, _ = planned(study)
    table = three_stations(plan)
    table.loc[table["window_id"].eq("positive-M3-6h") & table["station"].eq("S3"), "x0"] = np.nan
    cell = evaluate(study, tables_of(plan, {"net": table}, {"net": modality_of()})).primary_cell
    assert cell.why_null["auc"] == "no value before M3 at S3"
    table = three_stations(plan)
    table.loc[table["station"].eq("S1") & table["window_id"].str.startswith("bg-") & (np.arange(len(table)) % 12 == 0),
              "x0"] = np.nan  # fmt: skip
    cell = evaluate(study, tables_of(plan, {"net": table}, {"net": modality_of()})).primary_cell
    assert "no value in 8% of the background at S1" in cell.why_null["auc"]


# --- a place per mainshock --------------------------------------------------------------------------------------------


def test_with_a_radius_each_mainshock_is_ranked_among_windows_of_its_own_place():
    study = study_of(DAYS, 80, hours=(6.0,), windows={"radius_km": 30}, evaluation={"draws": 50},
                     places=[(42.0, 12.0), (42.7, 13.1), (42.72, 13.12), (43.5, 14.0)])  # fmt: skip
    tables = catalog_tables(study, rate_per_day=60.0)
    grid = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)["until-event", 6.0]
    assert grid.candidate_rows.shape[0] == 4
    cell = cell_of(evaluate(study, tables), "catalog", "event_rate", 6.0)
    rates = tables.features["catalog"]["event_rate"].to_numpy()
    ranked = []
    for k, name in enumerate(grid.names):
        own = tables.windows["kind"].eq("background") & tables.windows["mainshock"].eq(name)
        own &= tables.windows["hours"].eq(6.0)
        values = rates[own.to_numpy()]
        x = rates[grid.positive_rows[k]]
        ranked.append(np.mean(values < x) + 0.5 * np.mean(values == x))
    np.testing.assert_allclose(cell.u, ranked, atol=1e-12)
    assert len({rates[r].tobytes() for r in grid.candidate_rows}) == 4  # four different places, four records
    assert 0.4 < cell.null.mean() < 0.6
    assert cell.p_shift is not None
    novelty = cell_of(evaluate(study, tables), "catalog", "novelty", 6.0)
    assert np.isfinite(novelty.u).all()


# --- draws ------------------------------------------------------------------------------------------------------------


def test_all_lengths_and_layouts_share_the_same_pseudo_mainshocks():
    study = study_of(DAYS, 80, hours=(2.0, 12.0), windows={"layouts": ["until-event", "at-lead"]})
    plan, _ = planned(study)
    tables = tables_of(plan, {}, {})
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    nulls = make_nulls(study, grids)
    first = nulls["until-event", 12.0].draws["uniform"]
    times = grids["until-event", 12.0].ends[first] + 120_000_000  # what these windows point at
    for (layout, hours), grid in grids.items():
        draws = nulls[layout, hours].draws["uniform"]
        assert grid.candidate[0][draws].all()
        wanted = times - (round(hours * 3.6e9) if layout == "at-lead" else 120_000_000)
        off = grid.ends[draws] - wanted  # the nearest candidate to where the window of that time ends
        assert (np.abs(off) <= 1_800_000_000).all()


@pytest.mark.parametrize("day", [0.5, 0.02])
def test_a_mainshock_soon_after_the_start_has_short_windows_only(day):
    study = study_of((day, 31.0, 34.6, 60.0), 80, hours=(2.0, 24.0))
    result = evaluate(study, catalog_tables(study))
    long, short = (cell_of(result, "catalog", "max_magnitude", h) for h in (24.0, 2.0))
    assert long.names == ("M2", "M3", "M4")
    assert short.names == (("M1", "M2", "M3", "M4") if day == 0.5 else long.names)
    assert long.p_pseudo is not None
    assert short.p_pseudo is not None
    assert len(short.null) == len(long.null)
    assert len(result.placebo) > 1


def test_no_mainshock_with_a_window_in_the_record_gives_reasons():
    study = study_of((0.3,), 20, hours=(24.0,))
    result = evaluate(study, catalog_tables(study))
    assert result.primary_cell.auc is None
    assert "no mainshock has a window" in result.primary_cell.why_null["auc"]
    assert result.verdicts[result.primary].word == "INCONCLUSIVE"


# --- families and words -----------------------------------------------------------------------------------------------


def test_p_adjusted_is_at_least_p_and_the_family_holds_neither_controls_nor_empty_cells():
    study = study_of(DAYS, 80, hours=(6.0, 24.0))
    result = evaluate(study, catalog_tables(study))
    family = [c for c in result.cells if c.key in result.p_adjusted]
    assert {c.modality for c in family} == {"catalog"}
    assert len(family) == result.tests["uniform"]
    assert all(c.auc is not None for c in family)
    assert not [c for c in family if c.score.startswith("logistic")]  # three blocks: too few
    largest = np.max([(c.null - c.null.mean()) / c.null.std() if c.null.std() else 0 * c.null for c in family], axis=0)
    for c in family:
        z = (c.auc - c.null.mean()) / c.null.std() if c.null.std() else 0.0
        assert result.p_adjusted[c.key] == pytest.approx((1 + np.sum(largest >= z - 1e-12)) / (1 + len(largest)))


def test_a_classifier_with_few_blocks_is_shown_without_p_and_without_a_word():
    study = study_of(DAYS, 80)
    result = evaluate(study, catalog_tables(study))
    cell = cell_of(result, "catalog", "logistic", 6.0)
    assert cell.auc is not None
    assert cell.p_pseudo is None
    assert cell.why_null["verdict"] == "too few blocks to train on; values far below 0.5 are usual"
    assert cell.key not in result.verdicts
    chosen = evaluate(replace_primary(study, "catalog", "logistic"), catalog_tables(study))
    assert chosen.verdicts[chosen.primary].word == "INCONCLUSIVE"  # but a study has its word
    assert chosen.placebo.empty


def test_classifiers_of_five_blocks_join_the_family_over_the_draws_that_all_have():
    study = study_of((12.0, 31.0, 50.0, 70.0, 90.0, 110.0), 130, evaluation={"logistic_draws": 19})
    result = evaluate(study, catalog_tables(study))
    logistic = cell_of(result, "catalog", "logistic", 6.0)
    assert logistic.train_positives == 5
    assert len(logistic.null) == 19
    assert logistic.p_pseudo * 20 == pytest.approx(round(logistic.p_pseudo * 20))
    assert cell_of(result, "catalog", "logistic_forward", 6.0).train_positives == 1
    for key in result.p_adjusted:
        assert result.p_adjusted[key] * 20 == pytest.approx(round(result.p_adjusted[key] * 20))
    assert result.verdicts[logistic.key].word


def test_the_primary_cell_is_the_protocols_unless_the_study_names_one():
    study = study_of(DAYS, 80, hours=(2.0, 6.0))
    assert primary_key(study, "uniform") == ("catalog", "novelty", 6.0, "uniform", "until-event")
    assert primary_key(study_of(DAYS, 80, hours=(6.0, 24.0, 48.0)), "etas")[2] == 24.0
    assert primary_key(replace_primary(study, "net", "x0", 2.0), "etas") == ("net", "x0", 2.0, "etas", "until-event")


def test_the_primary_cell_is_read_at_its_own_p_and_every_other_at_the_adjusted_one():
    study = study_of(DAYS, 80, hours=(6.0, 24.0))
    result = evaluate(study, catalog_tables(study))
    for cell in result.cells:
        if cell.key in result.verdicts and cell.auc is not None and cell.family:
            p = cell.p_pseudo if cell.key == result.primary else result.p_adjusted[cell.key]
            assert result.verdicts[cell.key].why.startswith(f"p = {p:.3g}")
            assert result.p_adjusted[cell.key] >= cell.p_pseudo - 0.02
    assert result.p_adjusted[result.primary] > result.primary_cell.p_pseudo


def test_a_comparison_is_made_over_the_mainshocks_that_both_have():
    study = study_of(DAYS, 80)
    plan, _ = planned(study)
    both = {name: three_stations(plan, seed, 3).query("station == 'S1'").assign(station="")
            for seed, name in enumerate(("a", "b"))}  # fmt: skip
    both["b"] = both["b"].loc[both["b"]["window_id"] != "positive-M1-6h"]
    modalities = {name: modality_of(3, baseline=name == "a") for name in both}
    result = evaluate(replace_primary(study, "a", "novelty"), tables_of(plan, both, modalities))
    (comparison,) = result.comparisons
    a, b = (cell_of(result, name, "novelty", 6.0) for name in ("a", "b"))
    assert (comparison.a, comparison.b) == ("b", "a")
    assert comparison.delta_auc == pytest.approx(np.mean(b.u[1:] - a.u[1:]))
    assert 0 < comparison.p <= 1
    assert comparison.word in ("ADDS", "CANNOT SAY", "DOES NOT ADD")


def test_a_strong_precursor_is_found_and_noise_is_not():
    study = replace_primary(study_of(DAYS, 80), "net", "x0")
    plan, _ = planned(study)
    noise = ar1(80 * 24, 5.0, np.random.default_rng(0))[:, 0]
    raised = noise.copy()
    for day in DAYS:
        raised[int(day * 24) - 6 : int(day * 24) + 1] += 8.0
    cells = [
        evaluate(study, tables_of(plan, {"net": series_table(plan.windows, x)}, {"net": modality_of()})).primary_cell
        for x in (raised, noise)
    ]
    assert cells[0].auc > 0.97
    assert cells[0].p_pseudo <= 0.02
    assert cells[0].p_shift >= 1 / (1 + cells[0].n_independent)  # the floor
    assert cells[1].p_pseudo > 0.05


# --- input that is not as it should be --------------------------------------------------------------------------------


def test_one_mainshock_has_an_auc_but_no_interval_and_no_classifier():
    study = study_of((20.0,), 60)
    result = evaluate(study, catalog_tables(study))
    cell = result.primary_cell
    assert cell.auc is not None
    assert cell.p_pseudo is not None
    assert cell.interval is None
    assert cell.why_null["ci95"] == "one mainshock has no interval"
    assert "one block" in cell_of(result, "catalog", "logistic", 6.0).why_null["auc"]
    assert result.verdicts[result.primary].word == "INCONCLUSIVE"


def test_one_block_of_two_mainshocks_has_nothing_to_train_on():
    study = study_of((20.0, 24.0), 90)
    result = evaluate(study, catalog_tables(study))
    assert result.primary_cell.sizes == (2,)
    assert result.primary_cell.interval is not None
    assert "one block" in cell_of(result, "catalog", "logistic", 6.0).why_null["auc"]


def test_mainshocks_closer_than_a_window_are_one_positive():
    study = study_of((20.0, 20.1, 40.0), 60)
    tables = catalog_tables(study)
    assert tables.mainshocks["reason"].tolist() == ["", "too_close", ""]
    cell = evaluate(study, tables).primary_cell
    assert cell.names == ("M1", "M3")


def test_a_constant_modality_has_nothing_to_rank():
    study = replace_primary(study_of(DAYS, 80), "flat", "x0")
    plan, _ = planned(study)
    n = len(plan.windows)
    table = window_table(plan.windows, {"x0": np.ones(n), "x1": np.ones(n)})
    result = evaluate(study, tables_of(plan, {"flat": table}, {"flat": modality_of(2)}))
    cell = result.primary_cell
    assert (cell.auc, cell.p_pseudo) == (None, None)
    assert cell.why_null["auc"] == "the same value in all windows: there is nothing to rank"
    assert result.verdicts[cell.key].word == "INCONCLUSIVE"  # power to find nothing is no power
    novelty = cell_of(result, "flat", "novelty", 6.0)
    assert novelty.auc is None
    assert result.left_out["flat", "until-event", 6.0] == ("x0 (constant)", "x1 (constant)")
    assert cell_of(result, "flat", "logistic", 6.0).auc is None


def test_a_score_with_many_ties_has_no_more_power_than_the_best_case():
    days = tuple(np.arange(12) * 14.0 + 10)
    study = replace_primary(study_of(days, 190), "rare", "x0")
    plan, _ = planned(study)
    rare = (np.random.default_rng(0).random(190 * 24) < 0.01).astype(float)  # one value in all but 1% of windows
    cell = evaluate(
        study, tables_of(plan, {"rare": series_table(plan.windows, rare)}, {"rare": modality_of()})
    ).primary_cell
    assert cell.critical(0.05) < cell.bates(0.05)["k"]
    assert cell.detectable(0.05) == pytest.approx(0.700, abs=0.0015)  # of twelve mainshocks, PROTOCOL 8


def test_columns_that_are_all_nan_are_left_out_of_novelty_and_of_the_classifier():
    study = replace_primary(study_of(DAYS, 80), "net", "novelty")
    plan, _ = planned(study)
    rng = np.random.default_rng(0)
    table = series_table(plan.windows, ar1(80 * 24, 8.0, rng, 3))
    holed = table.assign(x1=np.nan)
    result = evaluate(study, tables_of(plan, {"net": holed}, {"net": modality_of(3)}))
    assert result.left_out["net", "until-event", 6.0] == ("x1 (missing in 100% of windows)",)
    assert result.primary_cell.auc is not None
    without = table.rename(columns={"x1": "gone"}).assign(x1=table["x2"])[["window_id", "station", "x0", "x1"]]
    other = evaluate(study, tables_of(plan, {"net": without}, {"net": modality_of(2)}))
    for score in ("novelty", "logistic"):
        assert cell_of(result, "net", score, 6.0).auc == cell_of(other, "net", score, 6.0).auc
    nothing = table.assign(x0=np.nan, x1=np.nan, x2=np.nan)
    empty = evaluate(study, tables_of(plan, {"net": nothing}, {"net": modality_of(3)}))
    assert {c.auc for c in empty.cells} == {None}
    assert all(c.why_null["auc"] for c in empty.cells)


def test_a_record_with_no_room_for_pseudo_mainshocks_says_so():
    study = study_of((1.25, 3.7), 6)  # a block of two, and less than a day of candidates after their zones
    cell = evaluate(study, catalog_tables(study)).primary_cell
    assert cell.auc is not None
    assert cell.p_pseudo is None
    assert cell.why_null["p_pseudo"] == "no room for pseudo-mainshocks"


def test_a_record_that_is_all_zone_is_refused_in_one_line_or_has_reasons():
    with pytest.raises(StudyError, match="no window is left for a background"):
        catalog_tables(study_of((1.25,), 2.5))
    study = study_of((20.0,), 60)
    tables = catalog_tables(study)
    nothing = replace(tables, backgrounds=tables.backgrounds.iloc[:0])
    result = evaluate(study, nothing)
    assert result.primary_cell.why_null["auc"] == "no candidate belongs to this background"
    assert result.verdicts[result.primary].why.startswith("there is no AUC with a p: no candidate")


def test_no_draws_are_refused_in_one_line():
    with pytest.raises(StudyError) as error:
        study_of(DAYS, 80, evaluation={"draws": 0})
    assert "draws" in str(error.value)
    assert "\n" not in str(error.value)


# --- level ------------------------------------------------------------------------------------------------------------


def test_p_is_uniform_on_noise_without_memory_of_the_mainshocks():
    # 120 worlds: a slow score, four mainshocks in three blocks anywhere in the record; p_pseudo and p_shift
    rng = np.random.default_rng(5)
    days = sorted(rng.uniform(10, 75, 2))
    study = study_of((days[0], days[0] + 4.0, days[1] + 14), 100, evaluation={"draws": 99, "shifts": 300})
    plan, _ = planned(study)
    tables = tables_of(plan, {}, {})
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    grid, nulls = grids["until-event", 6.0], make_nulls(study, grids)["until-event", 6.0]
    from seisprobe.evaluation.nulls import drawn_percentiles, null_auc, shifted_auc

    pseudo, shift = [], []
    for world in range(300):
        x = ar1(100 * 24, 12.0, np.random.default_rng(world))[:, 0]
        scores = read_scores(grid, align(plan.windows, series_table(plan.windows, x)), "x0")
        ranked = rank(grid, scores, "uniform")
        auc = float(ranked.u.mean())
        drawn = drawn_percentiles(scores, grid.weights["uniform"], nulls.draws["uniform"], nulls.own_zone)
        pseudo.append(one_sided_p(auc, null_auc(drawn, np.ones(3, bool))))
        shift.append(one_sided_p(auc, shifted_auc(scores, nulls.shifts, nulls.zones, nulls.around)))
    assert kstest(pseudo, "uniform").pvalue > 1e-3
    assert kstest(shift, "uniform").pvalue > 1e-3
    assert np.mean(np.array(pseudo) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.slow
def test_p_of_poisson_worlds_is_uniform_through_the_whole_judgement():
    p = []
    for world in range(60):
        rng = np.random.default_rng(world)
        study = study_of(np.sort(rng.choice(np.arange(5, 115, 12), 3, replace=False)) + rng.uniform(0, 6), 120,
                         evaluation={"draws": 99, "shifts": 99})  # fmt: skip
        p.append(evaluate(study, catalog_tables(study, world, 6.0), label_free=True).primary_cell.p_pseudo)
    assert kstest(p, "uniform").pvalue > 1e-3


def test_the_placebo_curve_moves_all_mainshocks_together():
    study = replace_primary(study_of(DAYS, 80), "net", "x0")
    plan, _ = planned(study)
    x = ar1(80 * 24, 5.0, np.random.default_rng(1))[:, 0]
    tables = tables_of(plan, {"net": series_table(plan.windows, x)}, {"net": modality_of()})
    result = evaluate(study, tables)
    grid = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)["until-event", 6.0]
    x = np.append(x, x[-1])  # the last window ends with the record
    background = x[hour_of(plan.windows)[grid.candidate_rows[0][grid.candidate[0]]]]
    day = result.placebo.set_index("day")
    assert day.loc[0, "auc"] == result.primary_cell.auc
    for moved in (-7, 3):
        ends = grid.positive_ends + moved * 24 * 3_600_000_000
        values = x[(ends - times_us([study.study.start])[0]) // 3_600_000_000]
        expected = np.mean([np.mean(background < v) + 0.5 * np.mean(background == v) for v in values])
        assert day.loc[moved, "auc"] == pytest.approx(expected, abs=1e-12)
        zone = grid.ends[~grid.candidate[0]]
        meets = any(
            (zone == (end - grid.ends[0]) // 3_600_000_000 * 3_600_000_000 + grid.ends[0]).any() for end in ends
        )
        assert bool(day.loc[moved, "meets_zone"]) == meets


def test_the_label_shuffle_is_centred_on_chance():
    study = study_of(DAYS, 80)
    mean, p = evaluate(study, catalog_tables(study)).label_shuffle
    assert 0.45 < mean < 0.55
    assert 0 < p <= 1


def test_modalities_known_to_the_pipeline_go_through_the_same_judgement():
    study = study_of(DAYS, 80)
    result = evaluate(study, catalog_tables(study))
    assert {c.modality for c in result.cells} == {n for n, m in MODALITIES.items() if m.needs == "catalog"}
    assert set(result.controls[result.primary]) == {"clock"}  # Mc(t) never rises here: that control has no score
    assert result.left_out["completeness", "until-event", 6.0]


# --- draws shared by all cells ---------------------------------------------------------------------------------------


def test_at_etas_further_members_of_a_block_follow_another_real_mainshock_by_days():
    study = study_of((20.0, 50.0, 54.0), 90, evaluation={"draws": 300})  # the last two: one block, 96 h apart
    plan, _ = planned(study)
    tables = tables_of(plan, {}, {})
    both = pd.concat([tables.backgrounds, tables.backgrounds.assign(background="etas")], ignore_index=True)
    grids = make_grids(study, tables.windows, both, tables.why_none)
    grid, nulls = grids["until-event", 6.0], make_nulls(study, grids)["until-event", 6.0]
    assert sorted(nulls.draws) == ["etas", "uniform"]
    drawn = {name: grid.ends[rows] / HOUR_US for name, rows in nulls.draws.items()}
    shocks = grid.positive_ends / HOUR_US
    since = drawn["etas"][:, 2, None] - shocks[None, :]
    distance = 6 + 2 * 24 + 2
    assert ((since > distance) & (since <= 240))[:, :2].any(axis=1).all()
    assert ((since[:, 2] < 0) | (since[:, 2] > 240)).all()  # not among its own aftershocks
    assert len(np.unique(drawn["etas"][:, 2])) > 50
    apart = np.diff(drawn["uniform"], axis=1)[:, 1]
    assert ((apart > distance) & (apart <= 240)).all()
    far = np.abs(drawn["etas"][:, 0, None] - shocks[None, :]).min(axis=1)
    assert far.max() > 240  # first members fall anywhere


@pytest.mark.parametrize(
    ("name", "catalog", "events"),
    [("catalog", True, False), ("catalog+seisclip", True, True), ("seisclip", False, True),
     ("catalog+seisclip_masked", True, False), ("seisclip_residual", False, False), ("amplitude", False, True)],
)  # fmt: skip
def test_a_discovery_says_what_it_rests_on(name, catalog, events):
    claims = "; ".join(_claims(join(name, MODALITIES) if "+" in name else MODALITIES[name], name))
    assert ("beyond this ETAS fit" in claims) == catalog
    assert ("seisclip_masked and seisclip_residual" in claims) == events
