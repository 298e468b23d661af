"""What held-out probabilities are worth: the Brier score, where it comes from, and the reliability curve.

A classifier of balanced classes says how probable a window is to be one before a mainshock if one in two were. Weighted
accordingly, and again as often as such windows are in the record, forecasts are set against what happened.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seisprobe.catalog import Floats

__all__ = ["BINS", "LEAST_POSITIVES", "Calibration", "calibration", "calibration_of", "probabilities"]

BINS = 10
LEAST_POSITIVES = 30


@dataclass(frozen=True)
class Calibration:
    """How well forecasts agree with what happened.

    Parameters
    ----------
    base_rate : float
        Share of events, by weight.
    brier, skill : float
        Mean squared error of the forecasts; 1 − brier / (the same of always forecasting the base rate).
    reliability, resolution, uncertainty : float
        Parts of the Brier score of binned forecasts: reliability − resolution + uncertainty.
    forecast, observed, share : tuple of float
        Mean forecast, share of events, and share of all weight, of each bin that has members.
    events, others : tuple of int
        Members of each bin.
    """

    base_rate: float
    brier: float
    skill: float
    reliability: float
    resolution: float
    uncertainty: float
    forecast: tuple[float, ...]
    observed: tuple[float, ...]
    share: tuple[float, ...]
    events: tuple[int, ...]
    others: tuple[int, ...]


def probabilities(decision: Floats, base_rate: float = 0.5) -> Floats:
    """Return the probabilities of log odds that were fitted to balanced classes, where a share of all are events.

    odds' = odds · π / (1 − π).

    Parameters
    ----------
    decision : ndarray
        Log odds.
    base_rate : float
        π, more than 0 and less than 1.

    Examples
    --------
    >>> probabilities(np.array([0.0, np.log(3)])).round(6).tolist()
    [0.5, 0.75]
    >>> probabilities(np.array([0.0, np.log(3)]), 0.1).round(6).tolist()
    [0.1, 0.25]
    """
    from scipy.special import expit, logit

    return np.asarray(expit(decision + logit(base_rate)))


def calibration(forecast: Floats, event: np.ndarray, weights: Floats, by: Floats | None = None) -> Calibration:
    """Return the Brier score of forecasts, its parts, and the reliability curve over ten bins of equal width.

    Parameters
    ----------
    forecast : ndarray, shape (n,)
        Probabilities.
    event : ndarray of bool, shape (n,)
        What happened; both must have some weight.
    weights : ndarray, shape (n,)
        Not negative.
    by : ndarray, shape (n,), optional
        What is binned instead of the forecasts: where all of these are tiny, ten bins of equal width would be one.

    References
    ----------
    Brier 1950, Monthly Weather Review 78, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; Murphy 1973, J. Applied
    Meteorology 12, doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2.

    Examples
    --------
    >>> made = calibration(np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, True, True, True]), np.ones(4))
    >>> round(made.brier, 6), made.observed, round(made.reliability - made.resolution + made.uncertainty, 6)
    (0.21, (0.5, 1.0), 0.21)
    """
    share = weights / weights.sum()
    rate = float(share[event].sum())
    brier = float((share * (forecast - event) ** 2).sum())
    number = np.clip(((forecast if by is None else by) * BINS).astype(np.int64), 0, BINS - 1)
    filled, number = np.unique(number[share > 0], return_inverse=True)
    share, forecast, event = share[weights > 0], forecast[weights > 0], event[weights > 0]
    mass = np.bincount(number, share)
    mean, observed = np.bincount(number, share * forecast) / mass, np.bincount(number, share * event) / mass
    events = np.bincount(number[event], minlength=len(filled))
    uncertainty = rate * (1 - rate)
    return Calibration(
        base_rate=rate,
        brier=brier,
        skill=1 - brier / uncertainty,
        reliability=float((mass * (mean - observed) ** 2).sum()),
        resolution=float((mass * (observed - rate) ** 2).sum()),
        uncertainty=uncertainty,
        forecast=tuple(mean.tolist()),
        observed=tuple(observed.tolist()),
        share=tuple(mass.tolist()),
        events=tuple(events.tolist()),
        others=tuple((np.bincount(number) - events).tolist()),
    )


def calibration_of(decision: Floats, background: Floats, weights: Floats, base_rate: float) -> dict[str, Any]:
    """Return the calibration of log odds of mainshocks and background, each brought to its share of the record.

    Parameters
    ----------
    decision : ndarray, shape (K,)
        Of held-out mainshocks, all of the same weight.
    background, weights : ndarray, shape (m,)
        Of held-out candidates.
    base_rate : float
        Share of windows that come before a mainshock.

    Returns
    -------
    dict
        Fields of `Calibration`, as JSON can hold them.

    Examples
    --------
    >>> even = calibration_of(np.zeros(30), np.zeros(500), np.ones(500), 0.5)
    >>> round(even["brier"], 9), round(even["skill"], 9), even["events"], even["others"]
    (0.25, 0.0, [30], [500])
    """
    odds = np.concatenate([decision, background])
    forecast = probabilities(odds, base_rate)
    event = np.arange(len(forecast)) < len(decision)
    mass = np.concatenate(
        [np.full(len(decision), base_rate / len(decision)), (1 - base_rate) * weights / weights.sum()]
    )
    made = asdict(calibration(forecast, event, mass, probabilities(odds)))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in made.items()}
