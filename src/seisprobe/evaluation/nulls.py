"""Is it chance? Pseudo-mainshocks, joint shifts and the largest of many cells (PROTOCOL 5).

`pseudo_draws` makes mainshock times that keep the number and sizes of the blocks; `joint_shifts` moves all real ones
together. Both give indices on the grid of candidate ends; a label-free score is then only ranked again, never refitted.
Every p is one-sided, (1 + number of null values at least as large) / (1 + number of null values).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seisprobe.catalog import Floats, Integers
from seisprobe.evaluation.grid import Scores, median_over_stations
from seisprobe.evaluation.scores import round_significant

__all__ = [
    "adjusted_p",
    "drawn_percentiles",
    "independent_number",
    "joint_shifts",
    "null_auc",
    "one_sided_p",
    "pseudo_draws",
    "shifted_auc",
]

TIE = 1e-12
MOST_TRIES = 2000
MOST_AT_ONCE = 2_000_000


def one_sided_p(observed: float, null: Floats) -> float:
    """Return (1 + #{null ≥ observed}) / (1 + n); ties to within 1e-12 count as at least as large.

    Examples
    --------
    >>> one_sided_p(0.9, np.array([0.1, 0.9, 0.95]))
    0.75
    """
    null = null[np.isfinite(null)]
    return float((1 + np.sum(null >= observed - TIE)) / (1 + len(null)))


# --- pseudo-mainshocks -----------------------------------------------------------------------------------------------


def pseudo_draws(
    ends: Integers,
    weights: Floats,
    blocks: Sequence[int],
    distance_us: int,
    block_us: int,
    draws: int,
    rng: np.random.Generator,
    aftermath: np.ndarray | None = None,
) -> Integers:
    """Draw pseudo-mainshock times, block by block.

    The first member of a block is a candidate drawn in proportion to its weight, wherever the other blocks fell; each
    further member likewise, among the candidates from `distance_us` to `block_us` after the one before, or among those
    of `aftermath`. Where none is left, the whole draw is made again.

    Parameters
    ----------
    ends : ndarray of int64, shape (n,)
        Candidate ends in microseconds, ascending.
    weights : ndarray, shape (1, n) or (K, n)
        By mainshock where they differ.
    blocks : sequence of int, length K
        Block of each mainshock, in order of time.
    distance_us, block_us : int
        D and the longest step inside a block.
    draws : int
    rng : Generator
    aftermath : ndarray of bool, shape (K, n), optional
        By mainshock, candidates that follow a real one as a further member of a block does.

    Returns
    -------
    ndarray of int64, shape (draws, K)
        Indices into `ends`; fewer rows where the record has no room for the blocks.
    """
    mass = _cumulated(weights)
    later = None if aftermath is None else _cumulated(weights * aftermath)
    before = _predecessors(blocks)
    kept: list[Integers] = []
    wanted = draws
    for _ in range(MOST_TRIES):
        chosen = np.full((wanted, len(blocks)), -1, dtype=np.int64)
        good = np.ones(wanted, dtype=bool)
        for k in range(len(blocks)):
            own = mass[k % len(mass)]
            low, high = np.zeros(wanted, dtype=np.int64), np.full(wanted, len(ends), dtype=np.int64)
            if before[k] >= 0 and later is not None and later[k, -1] > 0:
                own = later[k]
            elif before[k] >= 0:
                last = ends[chosen[:, before[k]]]
                low, high = (np.searchsorted(ends, last + far, side="right") for far in (distance_us, block_us))
            total = own[high] - own[low]
            good &= total > 0
            place = np.searchsorted(own, own[low] + rng.random(wanted) * total, side="right") - 1
            chosen[:, k] = np.clip(place, 0, len(ends) - 1)
        kept.append(chosen[good])
        if (wanted := wanted - int(good.sum())) <= 0:
            break
    return np.concatenate(kept)


def _cumulated(weights: Floats) -> Floats:
    """Return cumulative sums of rows, a leading 0 before."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)


def _predecessors(blocks: Sequence[int]) -> list[int]:
    """Return, for each mainshock, the index of the one before it in its block, −1 for a block's first."""
    last: dict[int, int] = {}
    before = []
    for k, block in enumerate(blocks):
        before.append(last.get(int(block), -1))
        last[int(block)] = k
    return before


def drawn_percentiles(
    scores: Scores, weights: Floats, draws: Integers, own_zone: Integers, near: np.ndarray | None = None
) -> Floats:
    """Return the percentile of every pseudo-mainshock in the background without the zones of its draw.

    A real mainshock is ranked among windows outside the zones of all mainshocks; so is one that is drawn. (Ranked in
    the whole background, it would meet its own neighbourhood, alike and heavy where events cluster.)

    Parameters
    ----------
    scores : Scores
    weights : ndarray, shape (P or K, n)
        Of the background.
    draws : ndarray of int64, shape (r, K)
        Indices of candidates.
    own_zone : ndarray of int64, shape (z,)
        Steps on the grid from a window that points at a mainshock to the candidates that meet its zone; empty: every
        draw is ranked in the whole background.
    near : ndarray of bool, shape (P, K), optional
        Whose zones each place stays out of; by default those of all.

    Returns
    -------
    ndarray, shape (r, K)
        Medians over stations; NaN where no station has a score.
    """
    r, k_all = draws.shape
    n = scores.candidates.shape[2]
    owners = max(len(weights), scores.candidates.shape[1])
    u = np.full((len(scores.stations), r, k_all), np.nan)
    near = np.ones((1, k_all), dtype=bool) if near is None else near
    for rows in np.array_split(np.arange(r), max(1, r * int(near.sum(axis=1).max()) * len(own_zone) // MOST_AT_ONCE)):
        zones = [_zone_steps(draws[rows][:, mine], own_zone, n) for mine in near]
        for s in range(len(scores.stations)):
            for q in range(owners):
                values = scores.candidates[s, q % scores.candidates.shape[1]]
                mine = np.arange(k_all) if owners == 1 else np.array([q])
                coded = _coded(values, weights[q % len(weights)])
                u[s, rows[:, None], mine] = _ranked_outside(coded, draws[rows][:, mine], zones[q % len(zones)])
    return median_over_stations(u)


def _zone_steps(draws: Integers, own_zone: Integers, n: int) -> Integers:
    """Return the candidates in the zones of drawn mainshocks, (r, k) to (r, k z), each once."""
    return _each_once((draws[:, :, None] + own_zone).reshape(len(draws), -1), n)


def _each_once(index: Integers, n: int) -> Integers:
    """Return indices with n in place of those outside [0, n) and of repetitions in a row."""
    index = np.sort(np.where((index >= 0) & (index < n), index, n), axis=1)
    repeated = np.zeros(index.shape, dtype=bool)
    repeated[:, 1:] = index[:, 1:] == index[:, :-1]
    return np.where(repeated, n, index)


def null_auc(drawn: Floats, used: np.ndarray) -> Floats:
    """Return the AUC of each draw: the mean over mainshocks of their percentiles.

    Parameters
    ----------
    drawn : ndarray, shape (r, K)
        From `drawn_percentiles`.
    used : ndarray of bool, shape (K,)
        Mainshocks that the cell has a score for.

    Returns
    -------
    ndarray, shape (r,)

    Examples
    --------
    >>> null_auc(np.array([[0.2, 0.4, 0.9]]), np.array([True, True, False])).round(6).tolist()
    [0.3]
    """
    return _mean_of_scored(drawn[:, used])


def adjusted_p(observed: Sequence[float], nulls: Sequence[Floats]) -> list[float]:
    """Return p-values adjusted for looking at many cells: each against the largest z of all cells in the same draws.

    z = (AUC − mean) / sd over that cell's own draws (Westfall & Young 1993, single-step maxT).

    Parameters
    ----------
    observed : sequence of float, length c
    nulls : sequence of ndarray, each shape (r,)
        Row i of every cell belongs to the same pseudo-mainshocks.

    Examples
    --------
    >>> null = np.array([0.2, 0.4, 0.6, 0.8])
    >>> adjusted_p([0.9, 0.5], [null, null])
    [0.2, 0.6]
    """
    if not observed:
        return []
    table = np.stack(list(nulls), axis=1)
    mean, sd = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
    sd = np.where(sd > 0, sd, np.inf)  # a cell that never varies can win nothing
    largest = np.nan_to_num((table - mean) / sd, nan=-np.inf).max(axis=1)
    largest = np.where(np.isneginf(largest), np.nan, largest)  # a draw in which no cell has a score
    z = (np.asarray(observed) - mean) / sd
    return [one_sided_p(float(x), largest) for x in z]


# --- joint shifts ----------------------------------------------------------------------------------------------------


def joint_shifts(
    positive_ends: Integers, ends: Integers, record: tuple[int, int], least_us: int, most: int, rng: np.random.Generator
) -> Integers:
    """Return candidate indices of all mainshocks moved together, circularly, by whole steps of the grid.

    Parameters
    ----------
    positive_ends : ndarray of int64, shape (K,)
    ends : ndarray of int64, shape (n,)
        Candidate ends, one step apart.
    record : (int, int)
        Start and end of the study in microseconds.
    least_us : int
        Smallest shift used in either direction, max(L) + E.
    most : int
        At most this many shifts, drawn at random where there are more.
    rng : Generator

    Returns
    -------
    ndarray of int64, shape (r, K)
        Index of the last candidate that ends at or before each moved window; shifts that put any window across the
        seam between the record's end and start are left out.
    """
    if len(ends) < 2:
        return np.empty((0, len(positive_ends)), dtype=np.int64)
    step = int(ends[1] - ends[0])
    around = max(1, (record[1] - record[0]) // step)
    shifts = np.arange(1, around)
    apart = np.minimum(shifts, around - shifts) * step
    shifts = shifts[apart >= least_us]
    offset = (positive_ends - ends[0]) // step
    index = (offset[None, :] + shifts[:, None]) % around  # candidate 0 ends at max(L): what is past n crosses the seam
    index = index[(index < len(ends)).all(axis=1)]
    if len(index) > most:
        index = index[np.sort(rng.choice(len(index), most, replace=False))]
    return np.asarray(index, dtype=np.int64)


def shifted_auc(scores: Scores, shifts: Integers, zones: Sequence[Integers], around: int) -> Floats:
    """Return the AUC of each joint shift; the zones move along, so that each ranks among all other candidates.

    Parameters
    ----------
    scores : Scores
    shifts : ndarray of int64, shape (r, K)
        From `joint_shifts`.
    zones : sequence of ndarray of int64, each of shape (z,)
        By place: steps on the grid from the first mainshock's own index to every candidate that meets a zone.
    around : int
        Steps in the whole record: where the circle closes.

    Returns
    -------
    ndarray, shape (r,)
    """
    r, k_all = shifts.shape
    used = np.isfinite(scores.positives).any(axis=0)
    u = np.full((len(scores.stations), r, k_all), np.nan)
    n_places, n = scores.candidates.shape[1:]
    for s in range(len(scores.stations)):
        for place in range(n_places):
            mine = np.arange(k_all) if n_places == 1 else np.array([place])
            coded = _coded(scores.candidates[s, place], np.ones(n))
            steps = zones[place]
            for rows in np.array_split(np.arange(r), max(1, r * len(steps) // MOST_AT_ONCE)):
                zone = np.minimum((shifts[rows, :1] + steps[None, :]) % around, n)  # past n the circle has no candidate
                u[s, rows[:, None], mine] = _ranked_outside(coded, shifts[rows][:, mine], zone)
    return _mean_of_scored(median_over_stations(u)[:, used])


@dataclass(frozen=True)
class _Coded:
    """A score by rank among its different values, with one place more, of the last rank, for "no candidate".

    `code` and `weight` have shape (n + 1,); `up_to` holds the weight at or below each rank, a leading 0 before.
    """

    code: Integers
    weight: Floats
    up_to: Floats


def _coded(values: Floats, weights: Floats) -> _Coded:
    values = round_significant(values)
    known = np.isfinite(values)
    different, index = np.unique(values[known], return_inverse=True)
    code = np.full(len(values) + 1, len(different), dtype=np.int64)
    code[np.flatnonzero(known)] = index
    weight = np.append(np.where(known, weights, 0.0), 0.0)
    mass = np.bincount(index, weight[:-1][known], len(different))
    return _Coded(code, weight, np.concatenate([[0.0], np.cumsum(mass)]))


def _ranked_outside(coded: _Coded, asked: Integers, zone: Integers) -> Floats:
    """Return the percentile of candidates among all but those of a zone; indices (r, k) and (r, z) to (r, k)."""
    missing = len(coded.up_to) - 1
    if not missing:  # a station that stands for no window of this place
        return np.full(asked.shape, np.nan)
    x = coded.code[asked]
    lost = _compared(coded, x, zone) if asked.shape[1] == 1 else _sorted(coded, x, zone)
    known = np.minimum(x, max(missing - 1, 0))
    below, through, total = coded.up_to[known] - lost[0], coded.up_to[known + 1] - lost[1], coded.up_to[-1] - lost[2]
    with np.errstate(invalid="ignore", divide="ignore"):
        u = (below + through) / (2 * total)
    return np.where((x < missing) & (total > TIE * coded.up_to[-1]), u, np.nan)


def _compared(coded: _Coded, x: Integers, zone: Integers) -> tuple[Floats, Floats, Floats]:
    """Return the zone's weight below, through and of all ranks, for one rank x a row: no sorting is needed for one."""
    code, weight = coded.code[zone], coded.weight[zone]
    below, through = (np.where(mask, weight, 0.0).sum(axis=1)[:, None] for mask in (code < x, code <= x))
    return below, through, weight.sum(axis=1)[:, None]


def _sorted(coded: _Coded, x: Integers, zone: Integers) -> tuple[Floats, Floats, Floats]:
    """Return the zone's weight below, through and of all ranks, for many ranks x a row.

    Sorted once a row, the ranks of a zone answer for all k; a row's number in front makes all rows one sorted list.
    """
    missing = len(coded.up_to) - 1
    order = np.argsort(coded.code[zone], axis=1)
    zone = np.take_along_axis(zone, order, axis=1)
    rows = np.arange(len(x), dtype=np.int64)[:, None] * (missing + 2)
    inside = (coded.code[zone] + rows).ravel()
    mass = np.concatenate([[0.0], np.cumsum(coded.weight[zone].ravel())])
    first = mass[np.arange(len(x)) * zone.shape[1]][:, None]
    below, through, total = (mass[np.searchsorted(inside, at + rows)] - first for at in (x, x + 1, missing))
    return below, through, total


def _mean_of_scored(u: Floats) -> Floats:
    """Return the mean of each row, NaN left out (all NaN gives NaN)."""
    scored = np.isfinite(u)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(scored, u, 0.0).sum(axis=1) / scored.sum(axis=1))


def independent_number(scores: Scores) -> float:
    """Return how many independent values a score's record holds: n / (1 + 2 Σ ρ(lag)).

    ρ is the autocorrelation of the ranks along the grid, summed until it first falls below 0.05; the least over
    stations and places.
    """
    numbers = [_independent(row) for station in scores.candidates for row in station]
    return float(min(numbers))


def _independent(values: Floats) -> float:
    from scipy.fft import next_fast_len
    from scipy.stats import rankdata

    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return float(n)
    ranks = rankdata(round_significant(values))
    ranks -= ranks.mean()
    length = next_fast_len(2 * n, real=True)
    covariance = np.fft.irfft(np.abs(np.fft.rfft(ranks, length)) ** 2, length)[:n]
    if covariance[0] <= 0:
        return 1.0  # a constant score is one value
    rho = covariance[1:] / covariance[0]
    small = np.flatnonzero(rho < 0.05)
    return float(n / (1 + 2 * rho[: small[0] if len(small) else n].sum()))
