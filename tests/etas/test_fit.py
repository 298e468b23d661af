"""The fit: recovers the truth, does not depend on the start, keeps its limits, says what a reader should know."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from seisprobe.errors import DataFileError, InputError
from seisprobe.etas import (
    PARAMETER_NAMES,
    EtasParameters,
    FitOptions,
    branching_ratio,
    fit_etas,
    fit_own_share,
    is_within,
    log_likelihood,
    log_likelihood_gradient,
    observe,
    simulate,
)

TRUTH = EtasParameters(1.0, 0.0198, 1.5, 0.01, 1.2, mc=2.0)  # branching ratio 0.7 with b = 1 up to M 7
LAW = {"b": 1.0, "max_magnitude": 7.0}
KNOWN = FitOptions(b=1.0, max_magnitude=7.0, starts=1)


def make_world(seed, days, parameters=TRUTH, lead_in_days=365.0):
    return simulate(parameters, days, np.random.default_rng(seed), lead_in_days=lead_in_days, **LAW)


@pytest.fixture(scope="module")
def world():
    return make_world(21, 400.0)


@pytest.fixture(scope="module")
def fit(world):
    return fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, options=replace(KNOWN, starts=3))


def logs(parameters):
    return np.log([getattr(parameters, name) for name in PARAMETER_NAMES])


def coverage(seeds, days):
    """Return the share of seeds whose 95% interval holds each log-parameter, KS p-values, and numbers of targets."""
    inside, p_values, counts = [], [], []
    for seed in seeds:
        made = make_world(seed, days)
        fit = fit_etas(made.times_days, made.magnitudes, 2.0, 0.0, days, options=KNOWN)
        error = np.array([fit.standard_errors[name] for name in PARAMETER_NAMES])
        inside.append(np.abs(logs(fit.parameters) - logs(TRUTH)) <= 1.96 * error)
        p_values.append(fit.residuals.ks_p)
        counts.append(fit.n_events)
    return np.mean(inside, axis=0), np.array(p_values), np.array(counts)


def test_three_starts_reach_the_same_maximum(world, fit):
    assert len(fit.maxima) == 3
    assert np.ptp(fit.maxima) < 1e-6
    assert fit.log_likelihood >= max(fit.maxima) - 1e-9
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 400.0)
    assert fit.log_likelihood == log_likelihood(fit.parameters, seen)


def test_the_maximum_is_one(world, fit):
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 400.0)
    assert np.abs(log_likelihood_gradient(fit.parameters, seen)[1]).max() < 1e-4
    for name in PARAMETER_NAMES:
        for factor in (0.99, 1.01):
            other = replace(fit.parameters, **{name: getattr(fit.parameters, name) * factor})
            assert log_likelihood(other, seen) < fit.log_likelihood


def test_at_the_maximum_the_expected_number_is_the_observed_one(fit):
    assert fit.residuals.expected == pytest.approx(fit.n_events, rel=1e-6)
    assert len(fit.residuals.transformed) == fit.n_events


def test_standard_errors_are_the_inverse_of_the_curvature(world, fit):
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 400.0)
    hessian = np.empty((5, 5))
    for row, name in enumerate(PARAMETER_NAMES):
        ahead, behind = (
            log_likelihood_gradient(replace(fit.parameters, **{name: getattr(fit.parameters, name) * np.exp(h)}), seen)[
                1
            ]
            for h in (1e-4, -1e-4)
        )
        hessian[row] = (ahead - behind) / 2e-4
    error = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    assert list(fit.standard_errors.values()) == pytest.approx(error.tolist(), rel=1e-3)


def test_the_branching_ratio_and_its_error_follow_from_parameters_and_errors(world, fit):
    assert fit.branching_ratio == branching_ratio(fit.parameters, **LAW)
    assert fit.branching_window == branching_ratio(fit.parameters, **LAW, window_days=400.0)


def test_the_likelihood_drops_by_one_half_at_one_standard_error_of_the_branching_ratio(world):
    def fit(**limit):
        # With p held the ratio is close to normal; with p free and near 1 it has a long upper tail.
        return fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, fixed={"p": 1.2}, options=KNOWN, **limit)

    free = fit()
    held = fit(max_branching=free.branching_ratio - free.branching_se)
    assert held.branching_ratio == pytest.approx(free.branching_ratio - free.branching_se, rel=1e-9)
    assert free.log_likelihood - held.log_likelihood == pytest.approx(0.5, abs=0.15)


def test_a_limit_on_the_branching_ratio_is_kept_and_said():
    made = make_world(3, 300.0)
    free = fit_etas(made.times_days, made.magnitudes, 2.0, 0.0, 300.0, options=KNOWN)
    tight = fit_etas(made.times_days, made.magnitudes, 2.0, 0.0, 300.0, max_branching=0.5, options=KNOWN)
    assert free.branching_ratio > 0.5
    assert tight.branching_ratio == pytest.approx(0.5, rel=1e-9)
    assert tight.log_likelihood < free.log_likelihood
    assert any("branching ratio ended on the limit 0.5" in note for note in tight.notes)
    assert tight.branching_se == pytest.approx(0.0, abs=1e-6)  # no freedom is left in it
    assert np.isfinite(tight.standard_errors["k"])


def test_a_limit_that_does_not_bind_changes_nothing(world, fit):
    loose = fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, max_branching=5.0, options=KNOWN)
    assert logs(loose.parameters) == pytest.approx(logs(fit.parameters), abs=1e-5)
    assert list(loose.standard_errors.values()) == pytest.approx(list(fit.standard_errors.values()), rel=1e-4)


@pytest.mark.parametrize("held", [{"p": 1.1, "alpha": 1.8}, {"k": 0.02}, {"mu_per_day": 0.9, "c_days": 0.01}])
def test_held_parameters_stay_and_the_others_are_at_their_maximum(world, held):
    fit = fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, fixed=held, options=KNOWN)
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 400.0)
    gradient = log_likelihood_gradient(fit.parameters, seen)[1]
    for index, name in enumerate(PARAMETER_NAMES):
        if name in held:
            assert getattr(fit.parameters, name) == pytest.approx(held[name], rel=1e-12)
            assert np.isnan(fit.standard_errors[name])
        else:
            assert abs(gradient[index]) < 1e-3
            assert fit.standard_errors[name] > 0


def test_all_held_gives_the_likelihood_there(world):
    values = {name: getattr(TRUTH, name) for name in PARAMETER_NAMES}
    fit = fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, fixed=values, options=KNOWN)
    seen = observe(world.times_days, world.magnitudes, 2.0, 0.0, 400.0)
    assert fit.log_likelihood == pytest.approx(log_likelihood(TRUTH, seen), rel=1e-12)


def test_intervals_cover_the_truth_and_residuals_pass_on_small_catalogs():
    shares, p_values, counts = coverage(range(100, 116), 250.0)
    assert 500 < np.median(counts) < 2500
    assert shares.mean() >= 0.85
    assert shares.min() >= 0.7
    assert (p_values < 0.05).mean() <= 0.13


@pytest.mark.slow
def test_intervals_cover_the_truth_in_200_catalogs_of_3000_events():
    shares, p_values, counts = coverage(range(200), 1150.0)
    assert 2700 < np.median(counts) < 3300
    assert shares.min() >= 0.88
    assert (p_values < 0.05).mean() <= 0.08


def test_the_likelihood_ratio_of_the_truth_is_chi_square():
    values = []
    for seed in range(300, 312):
        made = make_world(seed, 250.0)
        fit = fit_etas(made.times_days, made.magnitudes, 2.0, 0.0, 250.0, options=KNOWN)
        seen = observe(made.times_days, made.magnitudes, 2.0, 0.0, 250.0)
        values.append(2 * (fit.log_likelihood - log_likelihood(TRUTH, seen)))
    assert min(values) > 0
    assert sum(values) < chi2.isf(1e-3, 5 * len(values))


def test_left_out_time_is_in_the_fit_and_its_notes(world):
    fit = fit_etas(world.times_days, world.magnitudes, 1.9, 0.0, 400.0, options=KNOWN)
    seen = observe(world.times_days, world.magnitudes, 1.9, 0.0, 400.0)
    assert fit.left_out_events == seen.left_out_events > 0
    assert fit.left_out_hours == pytest.approx(24 * seen.left_out_days) != 0
    assert any(f"{fit.left_out_events} events and {fit.left_out_hours:.1f} h" in note for note in fit.notes)
    every = fit_etas(
        world.times_days, world.magnitudes, 1.9, 0.0, 400.0, options=replace(KNOWN, leave_out_incomplete=False)
    )
    assert every.left_out_events == every.left_out_hours == 0
    assert every.n_events == fit.n_events + fit.left_out_events
    assert not any("incompleteness" in note for note in every.notes)


def test_hidden_aftershocks_bias_a_fit_that_does_not_leave_their_time_out():
    truth = replace(TRUTH, k=0.0155, c_days=0.002)
    big = (np.array([0.0]), np.array([6.8]))
    made = simulate(truth, 500.0, np.random.default_rng(47), history=big, **LAW)
    seen = made.magnitudes >= 6.8 - 4.5 - 0.75 * np.log10(made.times_days)  # what a network records after the mainshock
    times, sizes = np.append(big[0], made.times_days[seen]), np.append(big[1], made.magnitudes[seen])
    assert (~seen).sum() > 100
    leave = fit_etas(times, sizes, 2.0, -1.0, 500.0, options=KNOWN)
    naive = fit_etas(times, sizes, 2.0, -1.0, 500.0, options=replace(KNOWN, leave_out_incomplete=False))
    wrong_leave, wrong_naive = (
        (np.log(fit.parameters.alpha / truth.alpha), fit.standard_errors["alpha"]) for fit in (leave, naive)
    )
    assert abs(wrong_leave[0]) < 2 * wrong_leave[1]
    assert wrong_naive[0] < -5 * wrong_naive[1]  # large events seem to trigger less: alpha 1.1 for 1.5


def test_a_supercritical_fit_is_said_with_its_error():
    made = make_world(5, 300.0, replace(TRUTH, k=TRUTH.k * 1.5, mu_per_day=0.4), lead_in_days=0.0)
    fit = fit_etas(made.times_days, made.magnitudes, 2.0, 0.0, 300.0, options=KNOWN)
    assert fit.branching_ratio > 1
    note = next(note for note in fit.notes if "is 1 or more" in note)
    assert f"{fit.branching_ratio:.2f} ± {fit.branching_se:.2f}" in note
    assert "max_branching" in note
    assert all("\n" not in note for note in fit.notes)


def test_too_few_events_say_how_many_are_needed():
    made = make_world(1, 30.0, lead_in_days=0.0)
    few = slice(0, 20)
    with pytest.raises(DataFileError, match="a fit of 5 parameters needs at least 100") as caught:
        fit_etas(made.times_days[few], made.magnitudes[few], 2.0, 0.0, 30.0)
    assert "20 events M >= 2" in str(caught.value)
    with pytest.raises(DataFileError, match="a fit of 3 parameters needs at least 60"):
        fit_etas(made.times_days[few], made.magnitudes[few], 2.0, 0.0, 30.0, fixed={"p": 1.1, "alpha": 1.5})
    with pytest.raises(DataFileError, match="0 events"):
        fit_etas(np.empty(0), np.empty(0), 2.0, 0.0, 30.0)


def test_a_fit_to_few_events_is_called_rough(world, fit):
    early = world.times_days < 100.0
    few = fit_etas(world.times_days[early], world.magnitudes[early], 2.0, 40.0, 100.0, options=KNOWN)
    assert 100 <= few.n_events < 200
    assert any("rough below 200" in note for note in few.notes)
    assert not any("rough" in note for note in fit.notes)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"fixed": {"q": 1.0}}, "cannot hold 'q'"),
        ({"fixed": {"p": -1.0}}, "p held at -1"),
        ({"max_branching": 0.0}, "max_branching = 0"),
        ({"max_branching": 0.9, "fixed": {"k": 0.1}}, "k cannot be held together"),
        ({"max_branching": 0.9, "fixed": {"p": 1.0}}, "p held at 1 has no finite branching ratio"),
        ({"options": FitOptions(starts=4)}, "starts = 4"),
        ({"options": FitOptions(max_magnitude=np.inf)}, "max_magnitude is infinite"),
        ({"options": FitOptions(b=-1.0)}, "b-value -1"),
        ({"options": FitOptions(max_magnitude=1.0)}, "above the magnitude of completeness"),
    ],
)
def test_contradictory_requests_are_refused(world, request_, words):
    with pytest.raises(InputError, match=words):
        fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, **request_)


def test_a_magnitude_that_is_not_finite_is_refused(world):
    sizes = world.magnitudes.copy()
    sizes[7] = np.inf
    with pytest.raises(DataFileError, match="event 7 has magnitude inf"):
        fit_etas(world.times_days, sizes, 2.0, 0.0, 400.0)


def test_equal_magnitudes_have_no_b_and_say_what_to_give(world):
    sizes = np.full(len(world.times_days), 2.0)
    with pytest.raises(DataFileError, match="b=1"):
        fit_etas(world.times_days, sizes, 2.0, 0.0, 400.0)
    fit = fit_etas(world.times_days, sizes, 2.0, 0.0, 400.0, options=KNOWN)
    assert any("flat" in note for note in fit.notes)  # nothing in the data tells alpha from K
    assert np.isnan(list(fit.standard_errors.values())).all()


def test_simultaneous_events_are_counted_in_a_note_and_change_little(world, fit):
    times = world.times_days.copy()
    late = np.flatnonzero(times > 0)[10:400:10]
    times[late] = times[late - 1]
    doubled = fit_etas(times, world.magnitudes, 2.0, 0.0, 400.0, options=KNOWN)
    assert any(f"{len(late)} events at the same instant" in note for note in doubled.notes)
    assert not any("same instant" in note for note in fit.notes)
    assert np.isfinite(doubled.log_likelihood)


def test_a_start_inside_an_aftershock_sequence_is_noted():
    big = (np.array([-1.0]), np.array([7.2]))
    rng = np.random.default_rng(2)
    made = simulate(replace(TRUTH, mu_per_day=0.5, k=0.0155), 700.0, rng, **LAW, history=big)
    cut = made.times_days > 2.0  # neither the mainshock nor its first days are in the catalog
    fit = fit_etas(made.times_days[cut], made.magnitudes[cut], 2.0, 2.0, 700.0, options=KNOWN)
    assert any("start inside an aftershock sequence" in note for note in fit.notes)
    times, sizes = np.append(big[0], made.times_days), np.append(big[1], made.magnitudes)
    whole = fit_etas(times, sizes, 2.0, 2.0, 700.0, options=KNOWN)
    assert not any("start inside" in note for note in whole.notes)


def test_ordinary_catalogs_are_not_called_cut_sequences():
    noted = 0
    for seed in range(400, 410):
        made = make_world(seed, 200.0, lead_in_days=100.0)
        fit = fit_etas(made.times_days, made.magnitudes, 2.0, 0.0, 200.0, options=KNOWN)
        noted += any("start inside" in note for note in fit.notes)
    assert noted == 0


def test_a_parameter_that_ends_on_a_limit_is_named():
    times = np.sort(np.random.default_rng(2).uniform(0, 300, 300))
    sizes = 2.0 + np.random.default_rng(3).exponential(0.4, 300)
    fit = fit_etas(times, sizes, 2.0, 0.0, 300.0)
    limits = [note for note in fit.notes if "on the limit" in note]
    assert limits
    named = [name for name in PARAMETER_NAMES if any(note.startswith(name) for note in limits)]
    assert all(np.isnan(fit.standard_errors[name]) for name in named if name != "k")


def test_by_default_b_is_that_of_the_targets_and_the_largest_magnitude_is_seven_or_more(world):
    fit = fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, options=FitOptions(starts=1))
    assert fit.b == pytest.approx(1.0, abs=0.15)
    assert fit.max_magnitude == 7.0
    sizes = world.magnitudes.copy()
    sizes[np.argmax(sizes)] = 8.0
    assert fit_etas(world.times_days, sizes, 2.0, 0.0, 400.0, options=FitOptions(starts=1)).max_magnitude == 8.5


def test_mu_and_k_of_a_small_catalog_are_those_of_a_fit_with_the_rest_held(world):
    held = {"alpha": TRUTH.alpha, "c_days": TRUTH.c_days, "p": TRUTH.p}
    fit = fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, fixed=held, options=KNOWN)
    found = fit_own_share(TRUTH, world.times_days, world.magnitudes, 0.0, 400.0)
    assert found.mu_per_day == pytest.approx(fit.parameters.mu_per_day, rel=5e-3)  # half an event more is expected
    assert found.k == pytest.approx(fit.parameters.k, rel=5e-3)


@pytest.mark.parametrize("productivity", [0.1, 1.0])
def test_the_productivity_of_small_catalogs_is_their_own_not_that_of_the_places_it_is_borrowed_from(productivity):
    """The number of triggered events that 100 places expect is the number that they hold, whatever their true K."""
    truth = replace(TRUTH, mu_per_day=0.01, k=TRUTH.k * productivity)
    expected = observed = 0.0
    for seed in range(100):
        made = make_world(seed, 3000.0, truth)
        found = fit_own_share(TRUTH, made.times_days, made.magnitudes, 0.0, 3000.0)
        expected += 3000.0 * (found.mu_per_day - truth.mu_per_day)
        observed += 1.0
    assert abs(expected / observed) < 1.5  # of 30 background events a place


def test_a_place_without_events_is_quiet_and_not_impossible():
    nothing = np.empty(0)
    assert fit_own_share(TRUTH, nothing, nothing, 0.0, 100.0) == replace(TRUTH, mu_per_day=0.005, k=0.0)


def test_a_fit_within_a_limit_is_what_the_search_under_it_finds(world, fit):
    assert is_within(fit, 0.95)
    assert not is_within(fit, 0.5)
    limited = fit_etas(world.times_days, world.magnitudes, 2.0, 0.0, 400.0, max_branching=0.95, options=KNOWN)
    np.testing.assert_allclose(logs(limited.parameters), logs(fit.parameters), atol=1e-5)
