"""Temporal ETAS (Ogata 1988): exact likelihood, fit, rate, residual analysis, branching ratio, simulation.

Arrays in, arrays and small frozen records out; times are days from any origin, magnitudes those of one catalog.
Importing this room loads numpy and pandas; scipy is loaded when a fit or a residual test runs.
"""

from seisprobe.etas.fit import EVENTS_PER_PARAMETER, EtasFit, FitOptions, fit_etas, fit_own_share, is_within
from seisprobe.etas.likelihood import (
    Observations,
    incomplete_intervals,
    log_likelihood,
    log_likelihood_gradient,
    observe,
    rate,
)
from seisprobe.etas.model import (
    PARAMETER_NAMES,
    EtasParameters,
    branching_ratio,
    expected_events,
    omori_integral,
    with_expected_events,
)
from seisprobe.etas.residuals import Residuals, residuals
from seisprobe.etas.simulate import SyntheticCatalog, draw_magnitudes, simulate

__all__ = [
    "EVENTS_PER_PARAMETER",
    "PARAMETER_NAMES",
    "EtasFit",
    "EtasParameters",
    "FitOptions",
    "Observations",
    "Residuals",
    "SyntheticCatalog",
    "branching_ratio",
    "draw_magnitudes",
    "expected_events",
    "fit_etas",
    "fit_own_share",
    "incomplete_intervals",
    "is_within",
    "log_likelihood",
    "log_likelihood_gradient",
    "observe",
    "omori_integral",
    "rate",
    "residuals",
    "simulate",
    "with_expected_events",
]
