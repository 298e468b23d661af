"""Which modality carries the signal: shares that add up, subsets on the same windows, noise that is taken for noise."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import permutations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, kstest

from seisprobe.catalog import times_us
from seisprobe.errors import StudyError
from seisprobe.evaluation.ablation import ablate, ablate_columns, check_ablation, shapley_shares
from seisprobe.evaluation.board import fitted_windows, make_board
from seisprobe.evaluation.grid import align
from seisprobe.evaluation.judgement import evaluate
from seisprobe.evaluation.multivariate import ManyColumns
from seisprobe.evaluation.nulls import adjusted_p, one_sided_p
from seisprobe.evaluation.shared_draws import make_grids, make_nulls
from seisprobe.evaluation.shared_windows import residual_on_others, share_windows
from seisprobe.evaluation.verdict import adds_word
from seisprobe.modalities import MODALITIES, join
from seisprobe.samples import draw_samples, sample_weights, waveform_windows
from seisprobe.sections import AblationOptions
from support.worlds import ar1, hour_of, modality_of, planned, series_table, study_of, tables_of

DAYS = (12.0, 31.0, 34.6, 60.0, 75.0, 90.0)  # the second and third are one block
RECORD_D = 110
HOURS = RECORD_D * 24 + 1


def asking(study, modalities=(), hours=None):
    return study.model_copy(update={"ablation": AblationOptions(modalities=modalities, hours=hours)})


def whole(columns, **options):
    return modality_of(columns, needs="catalog", scores={}, **options)


def made(tables, modalities=None, days=DAYS, chosen=(), **study):
    """Return study and tables of named series (hours, d), each a modality."""
    asked = asking(study_of(days, RECORD_D, **study), chosen)
    plan, _ = planned(asked)
    features = {name: series_table(plan.windows, series) for name, series in tables.items()}
    own = {name: whole(series.shape[1]) for name, series in tables.items()} | dict(modalities or {})
    return asked, tables_of(plan, features, own)


def series(seed, columns=2, memory=6.0):
    return ar1(HOURS, memory, np.random.default_rng(seed), columns)


def ablation_of(study, tables):
    found = ablate(make_board(study, tables), "uniform", 6.0)
    assert found is not None
    return found


def cells_of(study, tables):
    """Return the novelty cell of each modality against `uniform`."""
    return {c.modality: c for c in evaluate(study, tables, label_free=True).cells
            if c.score == "novelty" and c.background == "uniform"}  # fmt: skip


# --- shares ----------------------------------------------------------------------------------------------------------

values_of_games = st.integers(1, 6).flatmap(
    lambda m: st.lists(st.floats(-1, 1, allow_nan=False), min_size=2**m, max_size=2**m)
)


@given(values_of_games)
def test_shares_sum_to_what_all_have_over_none(values):
    game = np.array(values)
    assert abs(shapley_shares(game).sum() - (game[-1] - game[0])) <= 1e-12


@given(values_of_games)
def test_a_share_is_the_mean_of_what_a_player_brings_over_all_orders(values):
    game = np.array(values)
    m = len(game).bit_length() - 1
    brought = np.zeros(m)
    for order in permutations(range(m)):
        mask = 0
        for player in order:
            brought[player] += game[mask | 1 << player] - game[mask]
            mask |= 1 << player
    np.testing.assert_allclose(shapley_shares(game), brought / factorial(m), atol=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=5), st.integers(0, 3), st.integers(0, 3))
def test_players_that_are_alike_share_alike_and_one_that_adds_nothing_gets_nothing(by_size, i, dummy):
    alike = np.array([by_size[mask.bit_count()] for mask in range(16)])
    shares = shapley_shares(alike)
    np.testing.assert_allclose(shares, shares[i], atol=1e-12)
    without = np.array([alike[mask & ~(1 << dummy)] for mask in range(16)])
    assert abs(shapley_shares(without)[dummy]) <= 1e-12


def test_shares_of_many_games_at_once_are_those_of_each():
    games = np.random.default_rng(0).random((8, 5))
    together = shapley_shares(games)
    for j in range(5):
        np.testing.assert_allclose(together[:, j], shapley_shares(games[:, j]), atol=1e-15)


# --- the answer of a study -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three():
    study, tables = made({"a": series(1), "b": series(2, 3), "c": series(3, 24)})
    both = {"a+b": join("a+b", tables.modalities), "b+c": join("b+c", tables.modalities)}
    cells = cells_of(study, replace(tables, modalities={**tables.modalities, **both}))
    return study, tables, cells, ablation_of(study, tables)


def test_a_subsets_auc_and_p_are_those_of_its_own_cell(three):
    _, _, cells, ablation = three
    found = {s.modalities: s for s in ablation.subsets}
    assert list(found) == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    for names in (("a",), ("b",), ("c",), ("a", "b"), ("b", "c")):
        cell = cells["+".join(names)]
        assert found[names].auc == pytest.approx(cell.auc, abs=1e-12)
        assert found[names].p_pseudo == cell.p_pseudo


def test_shares_of_a_study_sum_to_its_auc_over_chance(three):
    _, _, cells, ablation = three
    assert abs(sum(s.share for s in ablation.shapley) - (ablation.auc - 0.5)) <= 1e-12
    assert (ablation.k_used, ablation.k_effective, ablation.n_missing) == (6, 5, 0)
    assert ablation.n_background == cells["a"].n_background
    assert (ablation.n_draws, ablation.tests, ablation.why_null) == (199, 9, {})


def test_every_figure_is_recounted_from_the_cells_own_draws(three):
    """Two modalities: leave-one-out, shares and the family's p, from the drawn percentiles of three ordinary cells."""
    study, tables, cells, _ = three
    ablation = ablation_of(asking(study, ("a", "b")), tables)
    v = {name: c.auc for name, c in cells.items()}
    n = {name: c.drawn.mean(axis=1) for name, c in cells.items()}
    by_name = {row.modality: row for row in ablation.leave_one_out}
    shares = {row.modality: row for row in ablation.shapley}
    for i, other in (("a", "b"), ("b", "a")):
        null = n["a+b"] - n[other]
        assert by_name[i].delta_auc == pytest.approx(v["a+b"] - v[other], abs=1e-12)
        assert by_name[i].auc_without == pytest.approx(v[other], abs=1e-12)
        assert by_name[i].p == one_sided_p(v["a+b"] - v[other], null)
        p_all = one_sided_p(v["a+b"], n["a+b"])
        spread = float(np.quantile(null, 0.95)), float(null.std())
        assert by_name[i].word == adds_word(by_name[i].p_adjusted, p_all, *spread, 0.05)
        share_null = ((n[i] - 0.5) + (n["a+b"] - n[other])) / 2
        assert shares[i].share == pytest.approx(((v[i] - 0.5) + (v["a+b"] - v[other])) / 2, abs=1e-12)
        assert shares[i].p == one_sided_p(shares[i].share, share_null)
        np.testing.assert_allclose(shares[i].null95, np.quantile(share_null, [0.025, 0.975]), atol=1e-12)
    assert ablation.tests == 6
    left = {row.modality: row for row in ablation.conditional}
    assert all(row.p_adjusted >= row.p for rows in (by_name, shares, left) for row in rows.values())
    deltas = [n["a+b"] - n["b"], n["a+b"] - n["a"]]
    few = adjusted_p([v["a+b"] - v["b"], v["a+b"] - v["a"]], deltas)
    assert by_name["a"].p_adjusted >= few[0]  # a larger family can only be harder


def test_what_is_left_of_a_modality_is_its_residual_on_the_others_columns(three):
    study, tables, _, _ = three
    a, b = (
        tables.features[name].set_index("window_id")[[f"x{j}" for j in range(d)]] for name, d in (("a", 2), ("b", 3))
    )
    board = make_board(study, tables)
    grid = board.whole.grids["until-event", 6.0]
    rows = np.concatenate([grid.positive_rows, grid.candidate_rows[0][grid.candidate[0]]])
    ids = tables.windows["window_id"].to_numpy()
    design, values = np.column_stack([np.ones(len(ids)), b.loc[ids].to_numpy()]), a.loc[ids].to_numpy()
    ends, (low, high) = times_us(tables.windows["end"]), grid.zone_us
    by_hand = np.full(values.shape, np.nan)
    for i in rows:  # each window by a regression of its own, from which those near it are left out
        later = ends[rows] - ends[i]
        apart = rows[~((later > low) & (later <= high)) | (rows == i)]
        by_hand[i] = values[i] - design[i] @ np.linalg.lstsq(design[apart], values[apart], rcond=None)[0]
    residual = {"window_id": ids, "station": "", "x0": by_hand[:, 0], "x1": by_hand[:, 1]}
    other = replace(tables, features={**tables.features, "r": pd.DataFrame(residual)},
                    modalities={**tables.modalities, "r": replace(whole(2), needs="table")})  # fmt: skip
    cell = cells_of(study.model_copy(update={"ablation": None}), other)["r"]
    left = next(row for row in ablation_of(asking(study, ("a", "b")), other).conditional if row.modality == "a")
    assert left.auc == pytest.approx(cell.auc, abs=1e-9)
    assert left.p == cell.p_pseudo


def test_a_modality_that_repeats_another_adds_nothing_and_nothing_is_left_of_it():
    a = series(1, 2)
    study, tables = made({"a": a, "twin": a @ np.array([[2.0, 1.0], [-1.0, 3.0]]) + 7.0, "c": series(2)})
    ablation = ablation_of(study, tables)
    left = {row.modality: row for row in ablation.conditional}
    for name in ("a", "twin"):
        assert left[name].auc is None
        assert "the others determine" in left[name].why_null["auc"]
    assert left["c"].auc is not None
    assert ablation.tests == 7
    a_share, twin_share, _ = (row.share for row in ablation.shapley)
    assert a_share == pytest.approx(twin_share, abs=0.02)


def test_nothing_is_left_of_a_copy_of_a_wide_modality_whose_windows_are_many():
    wide = series(1, 12)
    wide[:, 0] += 3.0 * (np.arange(len(wide)) % 97 < 4)
    study, tables = made({"wide": wide, "copy": wide[:, ::-1]})
    ablation = ablation_of(study, tables)
    assert ablation.reduced == ()
    assert [row.auc for row in ablation.conditional] == [None, None]


def signal(study, plan_windows, values, size):
    """Add `size` standard deviations to all columns in the hours in which windows before mainshocks end."""
    rows = hour_of(plan_windows.loc[plan_windows["kind"].eq("positive")])
    changed = values.copy()
    changed[rows] += size
    return changed


def test_the_primary_length_and_the_headline_are_asked_about_unless_the_study_names_a_length():
    study, tables = made({"a": series(1), "b": series(2)}, hours=(2.0, 6.0))
    chosen = study.evaluation.primary.model_copy(update={"modality": "a", "hours": 2.0})
    study = study.model_copy(update={"evaluation": study.evaluation.model_copy(update={"primary": chosen})})
    found = evaluate(study, tables)
    assert (found.ablation.hours, found.ablation.background) == (2.0, found.headline)
    assert found.ablation.layout == "until-event"
    assert evaluate(asking(study, hours=6.0), tables).ablation.hours == 6.0


def test_the_modality_that_was_changed_before_mainshocks_gets_the_share():
    study, tables = made({"a": series(1), "b": series(2), "c": series(3)})
    changed = series_table(tables.windows, signal(study, tables.windows, series(2), 4.0))
    ablation = ablation_of(study, replace(tables, features={**tables.features, "b": changed}))
    shares = {row.modality: row for row in ablation.shapley}
    assert shares["b"].share > 0.3
    assert shares["b"].p_adjusted <= 0.05
    assert all(row.p > 0.05 for name, row in shares.items() if name != "b")
    words = {row.modality: row.word for row in ablation.leave_one_out}
    assert words["b"] == "ADDS"
    assert "ADDS" not in (words["a"], words["c"])


# --- the same windows for all ----------------------------------------------------------------------------------------


def test_windows_that_one_modality_lacks_are_left_out_of_all_alike():
    study, tables = made({"a": series(1), "b": series(2)})
    rng = np.random.default_rng(5)
    b = tables.features["b"]
    kind = tables.windows["kind"].to_numpy()
    gone = (kind == "background") & (rng.random(len(b)) < 0.2)
    gone |= tables.windows["window_id"].eq("positive-M4-6h").to_numpy()
    lacking = replace(tables, features={**tables.features, "b": b.loc[~gone]})
    a_too = replace(lacking, features={"a": tables.features["a"].loc[~gone], "b": b.loc[~gone]})
    first, second = ablation_of(study, lacking), ablation_of(study, a_too)
    assert first == second
    assert (first.k_used, first.k_effective) == (5, 4)
    six = tables.windows["hours"].eq(6.0).to_numpy() & (kind == "background")
    assert first.n_missing == int((gone & six).sum())
    assert first.n_background == int((six & ~gone).sum())


def test_a_value_that_is_missing_takes_its_window_and_a_column_often_missing_goes_instead():
    study, tables = made({"a": series(1, 3), "b": series(2)})
    a = tables.features["a"].copy()
    hole = np.zeros(len(a), dtype=bool)
    hole[np.flatnonzero(tables.windows["kind"].eq("background"))[::50]] = True
    a.loc[hole, "x0"] = np.nan
    a.loc[np.arange(len(a)) % 3 == 0, "x2"] = np.nan
    found = ablation_of(study, replace(tables, features={**tables.features, "a": a}))
    without = {**tables.features, "a": a.loc[~hole].drop(columns="x2")}
    narrow = replace(tables, features=without, modalities={**tables.modalities, "a": whole(2)})
    assert found.left_out_columns == ("a: x2",)
    assert replace(found, left_out_columns=()) == ablation_of(study, narrow)
    assert found.n_missing > 0


def test_a_sampled_modality_takes_all_others_to_the_sample():
    days = (20.0, 45.0, 70.0)
    study = asking(study_of(days, RECORD_D, windows={"background_count": 40}), ("seen", "all"))
    plan, _ = planned(study)
    samples = draw_samples(study, plan.windows, plan.backgrounds)
    seen = series_table(waveform_windows(study, plan.windows, samples), series(1, 3), "S1")
    features = {"seen": seen, "all": series_table(plan.windows, series(2))}
    tables = tables_of(plan, features, {"seen": modality_of(3, scores={}), "all": whole(2)})
    tables = replace(tables, samples=sample_weights(plan.windows, samples, plan.backgrounds))
    tables = replace(tables, modalities={**tables.modalities, "all+seen": replace(
        join("all+seen", tables.modalities), parts=("all", "seen"))})  # fmt: skip
    cells, ablation = cells_of(study, tables), ablation_of(study, tables)
    by = {s.modalities: s for s in ablation.subsets}
    assert ablation.n_background == cells["seen"].n_background < cells["all"].n_background
    assert by["seen",].auc == pytest.approx(cells["seen"].auc, abs=1e-12)
    assert by["seen", "all"].auc == pytest.approx(cells["all+seen"].auc, abs=1e-12)
    assert by["seen", "all"].p_pseudo == cells["all+seen"].p_pseudo


def test_stations_and_a_radius_are_ranked_each_by_themselves():
    places = [(42.2, 12.3), (43.6, 14.1), (42.2, 12.3)]
    study = asking(study_of((12.0, 31.0, 60.0), RECORD_D, windows={"radius_km": 30.0}, places=places), ("net", "b"))
    plan, _ = planned(study)
    net = pd.concat([series_table(plan.windows, series(i, 3), f"S{i}") for i in (1, 2)], ignore_index=True)
    features = {"net": net, "b": series_table(plan.windows, series(9))}
    tables = tables_of(plan, features, {"net": whole(3), "b": whole(2)})
    tables = replace(tables, modalities={**tables.modalities, "net+b": join("net+b", tables.modalities)})
    cell, ablation = cells_of(study, tables)["net+b"], ablation_of(study, tables)
    assert ablation.auc == pytest.approx(cell.auc, abs=1e-12)
    assert ablation.p_pseudo == cell.p_pseudo
    assert all(row.auc is not None for row in ablation.conditional)


def test_others_of_many_columns_leave_something_of_a_modality():
    """Sixty columns in the place of the others, and eighty windows: as they are, they would leave nothing."""
    study = study_of((20.0, 45.0, 70.0), RECORD_D, windows={"step_h": 24})
    plan, _ = planned(study)
    columns = {name: ManyColumns(align(plan.windows, series_table(plan.windows, made)), names, False)
               for name, made in (("a", series(1)), ("wide", series(2, 120)))
               for names in [tuple(f"x{j}" for j in range(made.shape[1]))]}  # fmt: skip
    tables = tables_of(plan, {}, {})
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    fitted = fitted_windows(tables, grids)
    shared = share_windows(grids["until-event", 6.0], fitted, columns)
    assert sum(int(known.sum()) for _, known in shared.blocks) < 120
    left = residual_on_others(shared, "a")
    assert left.columns == ("x0", "x1")
    assert shared.reduced == ("wide",)
    assert len(left.residual_on.columns) == 6


# --- what is refused, and what is null -------------------------------------------------------------------------------


def test_without_ablation_in_the_study_there_is_none():
    study, tables = made({"a": series(1), "b": series(2)})
    assert ablate(make_board(study.model_copy(update={"ablation": None}), tables), "uniform", 6.0) is None
    assert evaluate(study, tables, label_free=True).ablation is None  # many worlds are asked other things


@pytest.mark.parametrize(
    ("asked", "hours", "said"),
    [
        (("a", "bb"), None, "modalities names 'bb', which is none that stands by itself in this study; did you mean"),
        (("a", "completeness"), None, "'completeness', which is none that stands by itself"),
        (("a", "a+b"), None, "'a+b', which is none that stands by itself"),
        (("a",), None, "compares two modalities or more; add"),
        (("a", "b"), 12.0, "hours = 12 is not among [windows] hours = 6"),
        (
            (),
            None,
            "would compare 7 modalities in 127 subsets; name at most 6 of them as modalities: a, b, c, d, e, f, g",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(asked, hours, said):
    study = asking(study_of(DAYS, RECORD_D), asked, hours)
    known = {name: whole(2) for name in ("abcdefg" if not asked else "ab")}
    known |= {"completeness": MODALITIES["completeness"]} | ({"a+b": join("a+b", known)} if asked else {})
    with pytest.raises(StudyError) as error:
        check_ablation(study, known)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_modality_of_one_column_takes_part_where_it_is_named():
    study, tables = made({"a": series(1), "b": series(2), "one": series(3, 1)})
    assert ablation_of(study, tables).modalities == ("a", "b")
    named = ablation_of(asking(study, ("one", "a")), tables)
    assert named.modalities == ("one", "a")
    assert named.subsets[0].auc is not None
    assert abs(sum(row.share for row in named.shapley) - (named.auc - 0.5)) <= 1e-12


@pytest.mark.parametrize(
    ("days", "lost", "said"),
    [
        ((30.0,), (), "1 mainshock(s), and two are needed"),
        ((30.0, 60.0), ("M2",), "1 mainshock(s), and two are needed; without data of all modalities: M2"),
    ],
)
def test_fewer_than_two_mainshocks_give_none_and_say_why(days, lost, said):
    study, tables = made({"a": series(1), "b": series(2)}, days=days)
    gone = tables.windows["window_id"].isin([f"positive-{name}-6h" for name in lost]).to_numpy()
    lacking = {**tables.features, "b": tables.features["b"].loc[~gone]}
    found = ablation_of(study, replace(tables, features=lacking))
    assert found.why_null["auc"] == said
    assert found.auc is None
    assert found.k_used == 1
    assert not found.subsets


def test_one_column_each_or_no_usable_column_gives_none_and_says_why():
    study, tables = made({"a": series(1, 1), "b": series(2, 1), "c": series(3)})
    assert "fewer than two modalities have the two columns" in ablation_of(study, tables).why_null["auc"]
    study, tables = made({"a": series(1), "b": np.full((HOURS, 2), np.nan)})
    assert ablation_of(study, tables).why_null["auc"] == "no column of b can be used"


# --- noise beside something real -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def stage():
    """A plan whose windows every trial reads other series from."""
    study = study_of((12.0, 31.0, 34.6, 50.0, 62.0, 75.0), 90, evaluation={"draws": 199})
    plan, _ = planned(study)
    tables = tables_of(plan, {}, {})
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    return study, tables, grids, fitted_windows(tables, grids)


def trial(number, size, wide=2):
    """Return the row of a noise modality beside a real one, changed by `size` before mainshocks: (Δ, left, share)."""
    study, tables, grids, fitted = stage()
    study = study.model_copy(update={"study": study.study.model_copy(update={"seed": number})})
    rng = np.random.default_rng([number, 41])
    real, noise = (ar1(90 * 24 + 1, 6.0, rng, d) for d in (wide, 2))
    real = signal(study, tables.windows, real, size)
    columns = {name: ManyColumns(align(tables.windows, series_table(tables.windows, made)), names, False)
               for name, made in (("real", real), ("noise", noise))
               for names in [tuple(f"x{j}" for j in range(made.shape[1]))]}  # fmt: skip
    where = ("until-event", 6.0)
    nulls = make_nulls(study, grids)[where]
    found = ablate_columns(study, tables.windows, grids[where], nulls, fitted, columns, "uniform")
    return found.leave_one_out[1], found.conditional[1], found.shapley[1], found


def rates(trials, size, wide=2):
    rows = [trial(number, size, wide) for number in range(trials)]
    p = np.array([[delta.p, left.p, share.p] for delta, left, share, _ in rows])
    any_adjusted = np.array(
        [min(delta.p_adjusted, left.p_adjusted, share.p_adjusted) for delta, left, share, _ in rows]
    )
    added = np.array([delta.word == "ADDS" for delta, *_ in rows])
    return p, any_adjusted, added


def within(count, trials, low=True):
    """Return whether a count is one that 5% gives, in the middle 99.8% of the binomial law (or not above it)."""
    least, most = binom.ppf([0.001, 0.999], trials, 0.05)
    return count <= most and (count >= least or not low)


@pytest.mark.parametrize(
    "trials",
    [pytest.param(60, id="few"), pytest.param(2000, id="many", marks=pytest.mark.slow)],
)
def test_noise_beside_a_modality_without_a_signal_is_significant_at_its_rate(trials):
    p, adjusted, added = rates(trials, 0.0)
    counts = (p <= 0.05).sum(axis=0)
    assert all(within(count, trials) for count in counts), counts
    assert all(kstest(column, "uniform").pvalue > 0.001 for column in p.T)
    assert within(int((adjusted <= 0.05).sum()), trials, low=False)
    assert int(added.sum()) <= counts[0]  # ADDS is said by the adjusted p, and only of what is above chance


@pytest.mark.parametrize(
    "trials",
    [pytest.param(60, id="few"), pytest.param(2000, id="many", marks=pytest.mark.slow)],
)
def test_noise_beside_a_real_signal_is_no_more_often_significant(trials):
    p, adjusted, _ = rates(trials, 1.5)
    counts = (p <= 0.05).sum(axis=0)
    assert all(within(count, trials, low=False) for count in counts), counts
    assert within(int(counts[1]), trials)  # what is left of it beyond the real one is noise as before
    assert within(int((adjusted <= 0.05).sum()), trials, low=False)


@pytest.mark.parametrize(
    "trials",
    [pytest.param(30, id="few"), pytest.param(1000, id="many", marks=pytest.mark.slow)],
)
def test_what_is_left_of_noise_beyond_many_columns_is_noise(trials):
    p, _, _ = rates(trials, 0.0, wide=20)
    assert within(int((p[:, 1] <= 0.05).sum()), trials)
