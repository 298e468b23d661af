"""Which modality carries the signal: every subset of modalities by novelty, in the same windows and the same draws.

The AUC of a subset is the value of a cooperative game whose players are the modalities; the empty subset is worth 0.5.
Three questions are asked of each modality: what is lost without it, what is left of it beyond the others, and its fair
share of what all have together (Shapley 1953). Every figure has its null over the same pseudo-mainshocks, and all three
questions of all modalities are one family of tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import factorial

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats
from seisprobe.errors import StudyError, nearest
from seisprobe.evaluation.board import Board, fitted_windows
from seisprobe.evaluation.cells import Nulls, sizes_of
from seisprobe.evaluation.grid import Grid, median_over_stations, rank_positives, read_scores
from seisprobe.evaluation.multivariate import ManyColumns, novelty_features, shared_stations
from seisprobe.evaluation.nulls import adjusted_p, drawn_percentiles, null_auc, one_sided_p
from seisprobe.evaluation.shared_windows import Shared, residual_on_others, share_windows
from seisprobe.evaluation.verdict import adds_word
from seisprobe.modalities import Modality
from seisprobe.study import Study

__all__ = [
    "Ablation",
    "Conditional",
    "LeftOut",
    "Share",
    "Subset",
    "ablate",
    "ablate_columns",
    "check_ablation",
    "shapley_shares",
]

MOST_MODALITIES = 6
LEAST_MAINSHOCKS = 2
CHANCE = 0.5
NULL_BAND = (0.025, 0.975)
NOTHING_LEFT = "nothing is left of it: the others determine its columns"


@dataclass(frozen=True)
class Subset:
    """Novelty of some of the modalities together."""

    modalities: tuple[str, ...]
    auc: float
    p_pseudo: float | None


@dataclass(frozen=True)
class LeftOut:
    """What is lost without one modality: ΔAUC of all against all others, and whether it adds."""

    modality: str
    auc_without: float
    auc: float
    delta_auc: float
    p: float | None
    p_adjusted: float | None
    word: str


@dataclass(frozen=True)
class Conditional:
    """What is left of one modality when all others are regressed out of it.

    `suppressed`: that is significant though nothing is lost without it. It may then be a change of the others, seen
    through what they share with it: b − β a carries −β times what changed in a.
    """

    modality: str
    auc: float | None
    p: float | None
    p_adjusted: float | None
    why_null: Mapping[str, str]
    suppressed: bool = False


@dataclass(frozen=True)
class Share:
    """Shapley share of one modality, with the interval in which it lies by chance."""

    modality: str
    share: float
    null95: tuple[float, float] | None
    p: float | None
    p_adjusted: float | None


@dataclass(frozen=True)
class Ablation:
    """What each modality contributes, all on the same mainshocks, windows and draws.

    Parameters
    ----------
    modalities : tuple of str
    score : str
    hours : float
    background, layout : str
    k_used, k_effective : int
        Mainshocks, and their blocks, for which every modality has data.
    n_background, n_missing : int or None
        Windows of the background that all modalities have, and those that some lack.
    n_draws : int
        Pseudo-mainshock draws in which all subsets have a score.
    auc, p_pseudo : float or None
        Of all modalities together.
    tests : int
        Size of the family.
    subsets : tuple of Subset
        By size, then in the order of the modalities.
    leave_one_out : tuple of LeftOut
    conditional : tuple of Conditional
    shapley : tuple of Share
        They sum to ``auc`` − 0.5.
    left_out_columns : tuple of str
    reduced : tuple of str
        Modalities of so many columns that "beyond" them means beyond their components (`Shared.reduced`).
    why_null : mapping of str to str
        ``auc``: why there is nothing; ``p_pseudo``: why nothing has a p.
    """

    modalities: tuple[str, ...]
    score: str
    hours: float
    background: str
    layout: str
    k_used: int = 0
    k_effective: int = 0
    n_background: int | None = None
    n_missing: int | None = None
    n_draws: int = 0
    auc: float | None = None
    p_pseudo: float | None = None
    tests: int = 0
    subsets: tuple[Subset, ...] = ()
    leave_one_out: tuple[LeftOut, ...] = ()
    conditional: tuple[Conditional, ...] = ()
    shapley: tuple[Share, ...] = ()
    left_out_columns: tuple[str, ...] = ()
    reduced: tuple[str, ...] = ()
    why_null: Mapping[str, str] = field(default_factory=dict)


# --- what is asked ---------------------------------------------------------------------------------------------------


def check_ablation(study: Study, modalities: Mapping[str, Modality]) -> tuple[str, ...]:
    """Return the modalities that a study's ``[ablation]`` asks about, () where it asks nothing.

    Controls, ``a+b`` and residuals of another modality's table do not stand by themselves.

    Parameters
    ----------
    study : Study
    modalities : mapping of str to Modality
        Those of the study.

    Raises
    ------
    StudyError
        A name that does not stand by itself, fewer than two or more than six modalities, or a length that is not the
        study's.
    """
    if study.ablation is None:
        return ()
    known = [name for name, m in modalities.items() if not (m.control or m.parts or m.residual_on)]
    for name in study.ablation.modalities:
        if name not in known:
            said = f"[ablation] modalities names '{name}', which is none that stands by itself in this study"
            raise StudyError(f"{said}; {nearest(name, known)}")
    chosen = study.ablation.modalities or tuple(known)
    listed = ", ".join(chosen)
    if len(chosen) > MOST_MODALITIES:
        raise StudyError(
            f"[ablation] would compare {len(chosen)} modalities in {2 ** len(chosen) - 1} subsets; name at most"
            f" {MOST_MODALITIES} of them as modalities: {listed}"
        )
    if len(chosen) < LEAST_MAINSHOCKS:
        raise StudyError(f"[ablation] compares two modalities or more; add [[modality]] or [[table]] to {listed}")
    hours = study.ablation.hours
    if hours is not None and hours not in study.windows.hours:
        lengths = ", ".join(f"{h:g}" for h in study.windows.hours)
        raise StudyError(f"[ablation] hours = {hours:g} is not among [windows] hours = {lengths}")
    return chosen


def ablate(board: Board, background: str, hours: float) -> Ablation | None:
    """Return what each modality of a study contributes, None where the study does not ask.

    Where any of them has rows for sampled windows alone, all are asked about those. By default a modality of one column
    is not among them (it has no novelty of its own); one that the study names is.

    Parameters
    ----------
    board : Board
    background : str
        The headline.
    hours : float
        Of the primary cell: the length where ``[ablation]`` names none.
    """
    study, tables = board.study, board.tables
    if study.ablation is None:
        return None
    names = check_ablation(study, tables.modalities)
    found = {name: board.columns(name)[0] for name in names}
    columns = {name: many for name, many in found.items() if study.ablation.modalities or len(many.columns) > 1}
    ground = board.sampled if any(tables.modalities[name].sampled for name in columns) else board.whole
    where = (study.windows.layouts[0], study.ablation.hours or hours)
    fitted = fitted_windows(tables, ground.grids)
    return ablate_columns(study, tables.windows, ground.grids[where], ground.nulls[where], fitted, columns, background)


# --- answers ---------------------------------------------------------------------------------------------------------


def ablate_columns(
    study: Study,
    windows: pd.DataFrame,
    grid: Grid,
    nulls: Nulls,
    fitted: np.ndarray,
    columns: Mapping[str, ManyColumns],
    background: str,
) -> Ablation:
    """Return what each modality contributes on one grid.

    Parameters
    ----------
    study : Study
    windows : DataFrame
        The plan.
    grid : Grid
    nulls : Nulls
    fitted : ndarray of bool, shape (windows,)
        What novelty is fitted on.
    columns : mapping of str to ManyColumns
    background : str
    """
    empty = Ablation(tuple(columns), "novelty", grid.hours, background, grid.layout)
    why = _why_none(grid, columns, background)
    if why:
        return replace(empty, why_null={"auc": why})
    shared = share_windows(grid, fitted, columns)
    useless = [name for name, many in shared.columns.items() if not many.columns]
    if useless:
        return replace(empty, why_null={"auc": f"no column of {', '.join(useless)} can be used"})
    game = _Game(windows, grid, nulls, fitted, background)
    whole = game.scored(list(shared.columns.values()))
    used = np.isfinite(whole.u)
    empty = replace(
        empty,
        k_used=int(used.sum()),
        k_effective=len(sizes_of(grid.blocks[used])),
        n_background=whole.n_background,
        n_missing=_smallest(grid.weights[background] > 0) - whole.n_background,
        left_out_columns=shared.left_out,
        reduced=shared.reduced,
    )
    if empty.k_used < LEAST_MAINSHOCKS:
        lost = ", ".join(name for name, ok in zip(grid.names, used, strict=True) if not ok)
        said = f"; without data of all modalities: {lost}" if lost else ""
        return replace(empty, why_null={"auc": f"{empty.k_used} mainshock(s), and two are needed{said}"})
    return _answered(empty, study, game, shared, used)


def _why_none(grid: Grid, columns: Mapping[str, ManyColumns], background: str) -> str:
    """Return why there can be no comparison, "" for no reason."""
    if len(columns) < LEAST_MAINSHOCKS:
        return "fewer than two modalities have the two columns that novelty needs"
    if not grid.names:
        return "no mainshock has a window of this length inside the record"
    if background not in grid.weights or background in grid.why_none:
        return grid.why_none.get(background, "no candidate belongs to this background")
    return "" if shared_stations(list(columns.values())) else "the modalities have no station in common"


@dataclass(frozen=True)
class _Scored:
    """Percentile of each mainshock (K,), of each pseudo-mainshock (r, K), and windows of the background scored."""

    u: Floats
    drawn: Floats
    n_background: int


@dataclass(frozen=True)
class _Game:
    """What a set of columns is scored and ranked in."""

    windows: pd.DataFrame
    grid: Grid
    nulls: Nulls
    fitted: np.ndarray
    background: str

    def scored(self, columns: Sequence[ManyColumns]) -> _Scored:
        """Return novelty of columns, ranked as cells are."""
        grid, weights = self.grid, self.grid.weights[self.background]
        scores = read_scores(grid, novelty_features(self.windows, grid, self.fitted, columns)[0], "novelty")
        draws = self.nulls.draws.get(self.background)
        drawn = np.empty((0, len(grid.names)))
        if draws is not None and len(draws):
            drawn = drawn_percentiles(scores, weights, draws, self.nulls.own_zone, grid.near)
        known = np.isfinite(scores.candidates).any(axis=0)
        u = median_over_stations(rank_positives(grid, scores, self.background))
        return _Scored(u, drawn, _smallest(known & (weights > 0)))


def _smallest(counted: np.ndarray) -> int:
    return int(counted.sum(axis=1).min())


def _answered(empty: Ablation, study: Study, game: _Game, shared: Shared, used: np.ndarray) -> Ablation:
    """Return an ablation with all its figures: values and nulls of subsets and residuals, then what follows of them."""
    names = list(shared.columns)
    m = len(names)

    def valued(columns: Sequence[ManyColumns]) -> tuple[float, Floats]:
        made = game.scored(columns)
        return float(np.mean(made.u[used])), null_auc(made.drawn[:, used], np.ones(int(used.sum()), dtype=bool))

    subsets = [[names[i] for i in range(m) if mask >> i & 1] for mask in range(1, 2**m)]
    valuations = [valued([shared.columns[name] for name in subset]) for subset in subsets]
    residuals = {name: residual_on_others(shared, name) for name in names}
    left = {name: valued([many]) for name, many in residuals.items() if many is not None}
    values = np.array([CHANCE, *(value for value, _ in valuations)])
    null = np.stack([null for _, null in [*valuations, *left.values()]])
    null = null[:, np.isfinite(null).all(axis=0)]
    nulls = np.concatenate([np.full((1, null.shape[1]), CHANCE), null])
    p = [_p(value, row) for value, row in zip(values, nulls, strict=False)]
    order = sorted(
        range(1, 2**m), key=lambda mask: (len(subsets[mask - 1]), [n not in subsets[mask - 1] for n in names])
    )
    figures = _Figures(names, values, nulls[: 2**m], {n: v for n, (v, _) in left.items()}, nulls[2**m :])
    return replace(
        _judged(empty, figures, study.evaluation.alpha),
        n_draws=null.shape[1],
        auc=float(values[-1]),
        p_pseudo=p[-1],
        subsets=tuple(Subset(tuple(subsets[mask - 1]), float(values[mask]), p[mask]) for mask in order),
        why_null={} if null.shape[1] else {"p_pseudo": "no room for pseudo-mainshocks, or none has data"},
    )


def _p(value: float, null: Floats) -> float | None:
    return one_sided_p(value, null) if len(null) else None


@dataclass(frozen=True)
class _Figures:
    """AUC of subsets (2^m,) with nulls (2^m, r), and of what is left of some modalities beyond the others."""

    names: Sequence[str]
    aucs: Floats
    nulls: Floats
    left: Mapping[str, float]
    left_nulls: Floats


def _judged(empty: Ablation, figures: _Figures, alpha: float) -> Ablation:
    """Return an ablation with leave-one-out, conditional contribution and share of each modality, under one family."""
    names, values, nulls = figures.names, figures.aucs, figures.nulls
    full = len(values) - 1
    without = [full ^ (1 << i) for i in range(len(names))]
    delta, delta_null = values[full] - values[without], nulls[full] - nulls[without]
    share, share_null = shapley_shares(values), shapley_shares(nulls)
    deltas = _tests("delta", names, delta, delta_null)
    lefts = _tests("left", list(figures.left), list(figures.left.values()), figures.left_nulls)
    p = _with_p([*deltas, *lefts, *_tests("share", names, share, share_null)])
    own_p = _p(float(values[full]), nulls[full])
    return replace(
        empty,
        tests=len(p),
        leave_one_out=tuple(
            LeftOut(name, float(values[without[i]]), float(values[full]), float(delta[i]), *p["delta", name],
                    word=_word(p["delta", name][1], own_p, delta_null[i], alpha))
            for i, name in enumerate(names)
        ),
        conditional=tuple(
            Conditional(name, figures.left[name], *p["left", name], {},
                        _below(p["left", name][1], alpha) and not _below(p["delta", name][1], alpha))
            if name in figures.left
            else Conditional(name, None, None, None, dict.fromkeys(("auc", "p", "p_adjusted"), NOTHING_LEFT))
            for name in names
        ),
        shapley=tuple(
            Share(name, float(share[i]), _band(share_null[i]), *p["share", name]) for i, name in enumerate(names)
        ),
    )  # fmt: skip


_Test = tuple[tuple[str, str], float, Floats]


def _tests(kind: str, names: Sequence[str], observed: Sequence[float] | Floats, nulls: Floats) -> list[_Test]:
    return [((kind, name), float(o), row) for name, o, row in zip(names, observed, nulls, strict=True)]


def _with_p(tests: Sequence[_Test]) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    """Return p of each test, alone and among all of them; None where there are no draws."""
    if not len(tests[0][2]):
        return {key: (None, None) for key, _, _ in tests}
    adjusted = adjusted_p([observed for _, observed, _ in tests], [null for _, _, null in tests])
    return {key: (_p(observed, null), p) for (key, observed, null), p in zip(tests, adjusted, strict=True)}


def _below(p: float | None, alpha: float) -> bool:
    return p is not None and p <= alpha


def _band(null: Floats) -> tuple[float, float] | None:
    """Return the interval in which 95% of a null lies."""
    if not len(null):
        return None
    low, high = np.quantile(null, NULL_BAND)
    return float(low), float(high)


def _word(p: float | None, own_p: float | None, null: Floats, alpha: float) -> str:
    """Return whether a modality adds: by the p of what is lost without it, among all, and the p of all together."""
    if p is None or own_p is None:
        return "CANNOT SAY"
    return adds_word(p, own_p, float(np.quantile(null, 0.95)), float(null.std()), alpha)


def shapley_shares(values: Floats) -> Floats:
    """Return the Shapley share of each player of a game.

    φ_i = Σ over subsets S without i of |S|! (m − |S| − 1)! / m! · (v(S + i) − v(S)); they sum to v(all) − v(none).

    Parameters
    ----------
    values : ndarray, shape (2^m, …)
        Value of every subset; bit i of the index says whether player i is in it.

    Returns
    -------
    ndarray, shape (m, …)

    References
    ----------
    Shapley 1953, A value for n-person games, in Contributions to the Theory of Games II, Princeton, 307–317.

    Examples
    --------
    >>> shapley_shares(np.array([0.5, 0.7, 0.6, 0.9])).round(6).tolist()
    [0.25, 0.15]
    """
    m = len(values).bit_length() - 1
    shares = []
    for i in range(m):
        without = np.array([mask for mask in range(len(values)) if not mask >> i & 1])
        sizes = [mask.bit_count() for mask in without.tolist()]
        weights = np.array([factorial(s) * factorial(m - s - 1) / factorial(m) for s in sizes])
        shares.append(np.tensordot(weights, values[without | (1 << i)] - values[without], axes=1))
    return np.stack(shares)
