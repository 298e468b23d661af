"""Parameters, the Omori–Utsu integral, branching ratios and expected numbers of events."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from seisprobe.errors import InputError
from seisprobe.etas import (
    EtasParameters,
    branching_ratio,
    draw_magnitudes,
    expected_events,
    omori_integral,
    simulate,
    with_expected_events,
)
from seisprobe.etas.model import mean_productivity, mean_productivity_gradient, omori_integral_gradient

PARAMETERS = EtasParameters(1.0, 0.01, 1.8, 0.005, 1.12, mc=2.0)


@given(st.floats(0.6, 2.5), st.floats(1e-4, 1.0), st.floats(1e-3, 1e3))
def test_omori_integral_equals_quadrature(p, c, days):
    # Integrated over ln(s + c), so that the quadrature sees the peak at 0.
    direct = quad(lambda y: np.exp((1 - p) * y), np.log(c), np.log(c + days), epsabs=0, epsrel=1e-11)[0]
    assert float(omori_integral(days, c, p)) == pytest.approx(direct, rel=1e-9)


def test_omori_integral_is_smooth_through_p_equal_one():
    values = [float(omori_integral(100.0, 0.01, p)) for p in (1 - 1e-9, 1.0, 1 + 1e-9)]
    assert values == pytest.approx([np.log(1e4 + 1)] * 3, rel=1e-7)


@pytest.mark.parametrize("p", [0.7, 0.999, 1.0, 1.0001, 1.12, 2.0])
@pytest.mark.parametrize("days", [1e-5, 0.1, 500.0])
def test_omori_integral_gradient_equals_finite_differences(p, days):
    c, step = 0.01, 1e-6
    value, by_c, by_p = (float(x) for x in omori_integral_gradient(np.array(days), c, p))
    assert value == pytest.approx(float(omori_integral(days, c, p)), rel=1e-12)
    slope_c = omori_integral(days, c * (1 + step), p) - omori_integral(days, c * (1 - step), p)
    slope_p = omori_integral(days, c, p + step) - omori_integral(days, c, p - step)
    assert by_c == pytest.approx(float(slope_c) / (2 * step * c), rel=2e-6)
    assert by_p == pytest.approx(float(slope_p) / (2 * step), rel=2e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0, np.log(10), 2.6])
def test_mean_productivity_equals_quadrature_and_its_gradient_differences(alpha):
    beta, span, step = np.log(10), 5.0, 1e-6
    density = quad(lambda x: beta * np.exp((alpha - beta) * x), 0, span)[0] / (1 - np.exp(-beta * span))
    value, slope = mean_productivity_gradient(alpha, beta, span)
    assert value == pytest.approx(density, rel=1e-10)
    difference = mean_productivity(alpha + step, beta, span) - mean_productivity(alpha - step, beta, span)
    assert slope == pytest.approx(difference / (2 * step), rel=1e-6)


@pytest.mark.parametrize("delta_m", [0.0, 0.1])
def test_mean_productivity_without_largest_magnitude_is_the_limit(delta_m):
    far = mean_productivity(1.8, np.log(10), 60.0, delta_m)
    assert mean_productivity(1.8, np.log(10), np.inf, delta_m) == pytest.approx(far, rel=1e-10)
    assert mean_productivity(2.4, np.log(10), np.inf, delta_m) == np.inf


def test_branching_ratio_is_the_mean_number_of_direct_aftershocks():
    rng = np.random.default_rng(8)
    quiet = replace(PARAMETERS, mu_per_day=1e-9, k=0.004, p=1.5)
    n_parents = 20_000
    parents = draw_magnitudes(n_parents, rng, mc=2.0, b=1.0, max_magnitude=5.0)
    catalog = simulate(quiet, 100.0, rng, b=1.0, max_magnitude=5.0, history=(np.zeros(n_parents), parents))
    direct = int((catalog.generation == 1).sum())
    expected = branching_ratio(quiet, 1.0, 5.0, window_days=100.0)
    assert direct / n_parents == pytest.approx(expected, rel=0.04)


def test_branching_ratio_over_infinite_time_is_infinite_unless_p_exceeds_one():
    for p in (0.9, 1.0):
        assert branching_ratio(replace(PARAMETERS, p=p), 1.0, 7.0) == np.inf
        assert 0 < branching_ratio(replace(PARAMETERS, p=p), 1.0, 7.0, window_days=365.0) < np.inf
    assert branching_ratio(PARAMETERS, 1.0, np.inf) < np.inf
    assert branching_ratio(replace(PARAMETERS, alpha=2.4), 1.0, np.inf) == np.inf


@pytest.mark.parametrize(("ratio", "lead_in_days"), [(0.5, 0.0), (0.8, 200.0), (1.1, 0.0)])
def test_expected_events_equals_the_mean_of_simulations(ratio, lead_in_days):
    parameters = EtasParameters(2.0, 1.0, 1.0, 0.01, 1.2, mc=2.0)
    parameters = replace(parameters, k=ratio / branching_ratio(parameters, 1.0, 5.0))
    rng = np.random.default_rng(11)
    counts = []
    for _ in range(200):
        world = simulate(parameters, 300.0, rng, b=1.0, max_magnitude=5.0, lead_in_days=lead_in_days)
        counts.append(int((world.times_days >= 0).sum()))
    expected = expected_events(parameters, 300.0, b=1.0, max_magnitude=5.0, lead_in_days=lead_in_days)
    error = np.std(counts) / np.sqrt(len(counts))
    assert abs(np.mean(counts) - expected) < 3 * error
    assert error < 0.04 * expected


def test_mu_is_set_so_that_the_wanted_number_is_expected_after_a_lead_in():
    law = {"b": 1.0, "max_magnitude": 7.0, "lead_in_days": 365.0}
    new = with_expected_events(PARAMETERS, 1234.0, 731.0, **law)
    assert expected_events(new, 731.0, **law) == pytest.approx(1234.0, rel=1e-9)
    assert replace(new, mu_per_day=PARAMETERS.mu_per_day) == PARAMETERS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mu_per_day": -1.0}, "mu_per_day = -1: must be zero or more"),
        ({"c_days": 0.0}, "c_days = 0: must be a positive number"),
        ({"p": np.nan}, "p = nan: must be a positive number"),
        ({"mc": np.inf}, "mc = inf: must be a finite number"),
    ],
)
def test_impossible_parameters_are_refused_by_name(change, words):
    with pytest.raises(InputError, match=words):
        replace(PARAMETERS, **change)


def test_impossible_magnitude_laws_are_refused():
    with pytest.raises(InputError, match="b-value -1"):
        branching_ratio(PARAMETERS, -1.0, 7.0)
    with pytest.raises(InputError, match="above the magnitude of completeness 2"):
        branching_ratio(PARAMETERS, 1.0, 2.0)
    with pytest.raises(InputError, match="window_days = 0"):
        branching_ratio(PARAMETERS, 1.0, 7.0, window_days=0.0)


def test_importing_the_room_does_not_load_scipy():
    code = "import sys, seisprobe.etas; print([m for m in ('scipy', 'obspy', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
