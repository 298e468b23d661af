"""A score as an alarm: recall, alarm fraction, precision at the true prevalence, Molchan curve, false alarms a year.

All on percentiles of the cell's own background, so that stations and mainshocks share one threshold (PROTOCOL 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seisprobe.catalog import Floats, Integers

__all__ = ["Alarm", "alarm_figures", "area_skill_score", "false_alarm_runs", "information_gain", "molchan_curve"]

HOURS_A_YEAR = 365.25 * 24


@dataclass(frozen=True)
class Alarm:
    """What alarming at the highest threshold that still reaches the recall asked for would cost.

    Parameters
    ----------
    threshold : float
        Percentile c from which on a window alarms.
    recall, false_positive_rate, alarm_fraction, precision, gain : float
        Shares; alarm fraction τ = π r + (1 − π) FPR, precision = π r / τ, gain = r / τ, with π = K L / record hours.
    false_alarms_per_year : float
        Runs of consecutive alarmed candidates, each counted once.
    """

    threshold: float
    recall: float
    false_positive_rate: float
    alarm_fraction: float
    precision: float
    gain: float
    false_alarms_per_year: float


def alarm_figures(
    u: Floats,
    background: Floats,
    weights: Floats,
    ends: Integers,
    *,
    recall: float,
    length_h: float,
    record_h: float,
) -> Alarm:
    """Return the alarm figures of a cell.

    Parameters
    ----------
    u : ndarray, shape (K,)
        Percentiles of the mainshocks' windows.
    background : ndarray, shape (P or K, n)
        Percentiles of candidates, NaN where there is none.
    weights : ndarray, shape (P or K, n)
        0 where a candidate is not in the background.
    ends : ndarray of int64, shape (n,)
        Candidate ends in microseconds.
    recall : float
        Share of mainshocks to alarm before; fewer than five must all be.
    length_h, record_h : float
        Length of a window and of the record, hours; of several places each has a record, and the same mass.
    """
    k = len(u)
    m = k if k < 5 else int(np.ceil(recall * k - 1e-9))
    threshold = float(np.sort(u)[::-1][m - 1])
    reached = float(np.mean(u >= threshold))
    counted = (weights > 0) & np.isfinite(background)
    alarmed = counted & (background >= threshold)
    mass = np.where(counted, weights, 0.0).sum(axis=1)
    alarmed_mass = np.where(alarmed, weights, 0.0).sum(axis=1)
    fpr = float(np.mean(alarmed_mass[mass > 0] / mass[mass > 0]))
    prevalence = min(1.0, k * length_h / record_h)
    fraction = prevalence * reached + (1 - prevalence) * fpr
    step = int(ends[1] - ends[0]) if len(ends) > 1 else 1
    years = counted.sum(axis=1) * (step / 3.6e9) / HOURS_A_YEAR
    runs = np.array([false_alarm_runs(row) for row in alarmed])
    return Alarm(
        threshold=threshold,
        recall=reached,
        false_positive_rate=fpr,
        alarm_fraction=fraction,
        precision=prevalence * reached / fraction,
        gain=reached / fraction,
        false_alarms_per_year=float(np.mean(runs / years)),
    )


def false_alarm_runs(alarmed: np.ndarray) -> int:
    """Return how many runs of consecutive True a row holds.

    Examples
    --------
    >>> false_alarm_runs(np.array([True, True, False, True]))
    2
    """
    return int(alarmed[0]) + int(np.sum(alarmed[1:] & ~alarmed[:-1]))


def molchan_curve(u: Floats) -> tuple[Floats, Floats]:
    """Return alarm fraction τ and miss rate ν of a Molchan diagram, the background as measure (Molchan 1991).

    Parameters
    ----------
    u : ndarray, shape (K,)
        Percentiles of the mainshocks.

    Returns
    -------
    tau, nu : ndarray, shape (2 K + 2,)
        Corners of the step function, from (0, 1) to (1, 0).
    """
    tau = np.sort(1.0 - u)
    levels = 1.0 - np.arange(len(u) + 1) / len(u)
    return np.concatenate([[0.0], np.repeat(tau, 2), [1.0]]), np.repeat(levels, 2)


def area_skill_score(auc: float, prevalence: float) -> float:
    """Return the area skill score on time bins, π/2 + (1 − π) AUC (Zechar & Jordan 2008; not clipped at 0.5).

    Examples
    --------
    >>> area_skill_score(0.75, 0.0)
    0.75
    """
    return prevalence / 2 + (1 - prevalence) * auc


def information_gain(u: Floats, blocks: Integers) -> float:
    """Return the mean log density ratio of the mainshocks' percentiles, each under the AUC of the other blocks.

    The density of u = Φ(z + d) relative to chance is exp(d x − d²/2), x = Φ⁻¹(u), d = √2 Φ⁻¹(AUC); in nats a mainshock.

    Returns
    -------
    float
        NaN below three blocks.
    """
    from scipy.special import ndtri

    if len(np.unique(blocks)) < 3:
        return float("nan")
    inside = np.clip(u, 1e-6, 1 - 1e-6)
    others = np.array([inside[blocks != block].mean() for block in blocks])
    d = np.sqrt(2.0) * ndtri(others)
    return float(np.mean(d * ndtri(inside) - d**2 / 2))
