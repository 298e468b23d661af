"""All cells of a study under one judgement: common draws, families, controls, words, comparisons (PROTOCOL 5 to 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seisprobe.evaluation.cells import Cell, Nulls, empty_cell, rank_cell
from seisprobe.evaluation.controls import clock_scores, drift_scores
from seisprobe.evaluation.grid import Features, Grid, Scores, align, median_over_stations, rank_positives, read_scores
from seisprobe.evaluation.multivariate import ManyColumns, logistic_cell, novelty_features
from seisprobe.evaluation.nulls import adjusted_p, null_auc, one_sided_p
from seisprobe.evaluation.sanity import label_shuffle, placebo_curve, post_event_auc
from seisprobe.evaluation.shared_draws import WhyNone, make_grids, make_nulls
from seisprobe.evaluation.splits import forward_chaining, safe_split
from seisprobe.evaluation.verdict import Evidence, Verdict, adds_word, judge
from seisprobe.modalities import Modality
from seisprobe.study import Study

__all__ = [
    "Comparison",
    "Evaluation",
    "Key",
    "Tables",
    "evaluate",
    "headline_of",
    "primary_cell",
    "primary_key",
    "rank_only",
]

Key = tuple[str, str, float, str, str]
CATALOG_CLAIMS = ("beyond this ETAS fit", "from revised magnitudes and locations")


@dataclass(frozen=True)
class Tables:
    """What an evaluation reads.

    Parameters
    ----------
    mainshocks, windows, backgrounds : DataFrame
        The plan.
    why_none : mapping of background to {(layout, hours, mainshock): reason}
    features : mapping of modality to DataFrame
    modalities : mapping of modality to Modality
    caveats : tuple of str
        Said with every word that is read at `etas`.
    """

    mainshocks: pd.DataFrame
    windows: pd.DataFrame
    backgrounds: pd.DataFrame
    why_none: WhyNone
    features: Mapping[str, pd.DataFrame]
    modalities: Mapping[str, Modality]
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Whether modality a scores above modality b, over the same draws."""

    a: str
    b: str
    score: str
    hours: float
    background: str
    delta_auc: float
    p: float | None
    word: str


@dataclass(frozen=True)
class Evaluation:
    """Everything that a result says, before it is written.

    Parameters
    ----------
    cells : tuple of Cell
    p_adjusted : mapping of cell key to float
    tests : mapping of background to int
        Size of its family.
    headline : str
    primary : cell key
    verdicts : mapping of cell key to Verdict
        Of the cells at the headline background.
    controls : mapping of cell key to {control: Cell}
    comparisons : tuple of Comparison
    post_event_auc : float or None
    label_shuffle : (mean AUC, p) or None
        Of the primary cell.
    placebo : DataFrame
        ``day, auc, meets_zone`` of the primary cell.
    left_out : mapping of (modality, layout, hours) to tuple of str
        Columns that novelty could not use.
    """

    cells: tuple[Cell, ...]
    p_adjusted: Mapping[Key, float]
    tests: Mapping[str, int]
    headline: str
    primary: Key
    verdicts: Mapping[Key, Verdict]
    controls: Mapping[Key, Mapping[str, Cell]]
    comparisons: tuple[Comparison, ...]
    post_event_auc: float | None
    label_shuffle: tuple[float, float] | None
    placebo: pd.DataFrame
    left_out: Mapping[tuple[str, str, float], tuple[str, ...]]

    @property
    def primary_cell(self) -> Cell:
        """The one cell that is tested by itself."""
        return next(cell for cell in self.cells if cell.key == self.primary)


def headline_of(study: Study, backgrounds: pd.DataFrame) -> str:
    """Return the headline background: the study's, or `uniform` where that has no windows."""
    wanted = study.evaluation.headline
    return wanted if backgrounds["background"].eq(wanted).any() else "uniform"


def primary_key(study: Study, headline: str) -> Key:
    """Return the key of the primary cell: what the study declares, the protocol's defaults for the rest."""
    chosen = study.evaluation.primary
    hours = study.windows.hours
    longest = 24.0 if 24.0 in hours else max(hours)
    return (
        chosen.modality or "catalog",
        chosen.score or "novelty",
        chosen.hours or longest,
        headline,
        study.windows.layouts[0],
    )


def evaluate(study: Study, tables: Tables, *, label_free: bool = False) -> Evaluation:
    """Judge every cell of a study.

    Parameters
    ----------
    study : Study
    tables : Tables
    label_free : bool
        Leave out the classifiers, and the checks that change no word: for calibration over many worlds.

    Returns
    -------
    Evaluation
    """
    headline = headline_of(study, tables.backgrounds)
    primary = primary_key(study, headline)
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    nulls = make_nulls(study, grids)
    features = {name: align(tables.windows, table) for name, table in tables.features.items()}
    fitted = _fitted(tables, grids)
    cells: list[Cell] = []
    left_out = {}
    novelties = {}
    for where, grid in grids.items():
        for name in tables.modalities:
            made, table, gone = _modality_cells(study, tables, grid, nulls[where], name, features[name], fitted)
            cells += made
            if not label_free:
                cells += _logistic(study, tables, grid, nulls[where], name, features[name])
            if table is not None:
                novelties[name, *where] = table
            if gone:
                left_out[name, *where] = gone
    cells.sort(key=lambda c: c.key)
    p_adjusted, tests = _adjust(study, cells)
    at_headline = [c for c in cells if c.background == headline and not tables.modalities[c.modality].control]
    judged = [c for c in at_headline if c.key == primary or "verdict" not in c.why_null]
    controls = {c.key: _controls_of(study, c, grids, nulls, cells, tables) for c in judged}
    post = post_event_auc(study, tables.windows, features.get("catalog"))
    evidence = _Judging(study, tables, headline, primary, p_adjusted, tests, post, {c.key: c for c in cells})
    verdicts = {c.key: judge(_evidence(evidence, c, controls[c.key])) for c in judged}
    chosen = next((c for c in cells if c.key == primary), None)
    grid = grids[primary[4], primary[2]]
    column = _column_of(tables, features, primary, novelties)
    return Evaluation(
        cells=tuple(cells),
        p_adjusted=p_adjusted,
        tests=tests,
        headline=headline,
        primary=primary,
        verdicts=verdicts,
        controls=controls,
        comparisons=tuple(_comparisons(study, cells, headline, tables)),
        post_event_auc=post,
        label_shuffle=None if label_free else label_shuffle(study, chosen, grid),
        placebo=placebo_curve(study, tables.windows, None if label_free else chosen, grid, column),
        left_out=left_out,
    )


def _column_of(
    tables: Tables, features: Mapping[str, Features], key: Key, novelties: Mapping[tuple[str, str, float], Features]
) -> tuple[Features, str, float]:
    """Return table, column and sign of a label-free score."""
    modality, score, hours, _, layout = key
    if score in tables.modalities[modality].scores:
        return (features[modality], *tables.modalities[modality].scores[score])
    return novelties[modality, layout, hours], "novelty", 1.0


def primary_cell(study: Study, tables: Tables, key: Key) -> Cell:
    """Return one label-free cell by itself, with its own null: what a change of the study would have made of it.

    Parameters
    ----------
    study : Study
    tables : Tables
        With the features of the cell's modality.
    key : cell key
    """
    modality, score, hours, background, layout = key
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    grid, nulls = grids[layout, hours], make_nulls(study, grids)[layout, hours]
    features, spec = align(tables.windows, tables.features[modality]), tables.modalities[modality]
    if score in spec.scores:
        scores = read_scores(grid, features, *spec.scores[score])
    elif score == "novelty":
        many = ManyColumns(features, spec.multivariate or features.columns, spec.by_deviation)
        scores = read_scores(grid, novelty_features(tables.windows, grid, _fitted(tables, grids), [many])[0], "novelty")
    else:
        return empty_cell(grid, modality, score, background, "a classifier is not refitted under changes")
    return _cell(study, grid, nulls, scores, (modality, score), background, family=True)


def rank_only(study: Study, tables: Tables, keys: Sequence[Key]) -> dict[Key, float]:
    """Return the AUC of label-free cells and nothing else, NaN where a mainshock has no percentile.

    Parameters
    ----------
    study : Study
    tables : Tables
        With the features of every modality among the keys.
    keys : sequence of cell keys
    """
    grids = make_grids(study, tables.windows, tables.backgrounds, tables.why_none)
    features = {name: align(tables.windows, table) for name, table in tables.features.items()}
    fitted = _fitted(tables, grids)
    novelties: dict[tuple[str, str, float], Features] = {}
    found = {}
    for key in keys:
        modality, score, hours, background, layout = key
        grid, spec = grids[layout, hours], tables.modalities[modality]
        where = (modality, layout, hours)
        if score not in spec.scores and where not in novelties:
            many = ManyColumns(features[modality], spec.multivariate or features[modality].columns, spec.by_deviation)
            novelties[where] = novelty_features(tables.windows, grid, fitted, [many])[0]
        scores = read_scores(grid, *_column_of(tables, features, key, novelties))
        found[key] = float(np.mean(median_over_stations(rank_positives(grid, scores, background))))
    return found


# --- making cells ----------------------------------------------------------------------------------------------------


def _fitted(tables: Tables, grids: Mapping[tuple[str, float], Grid]) -> np.ndarray:
    """Return which windows novelty is fitted on: positives and the windows of all backgrounds, each once."""
    fitted = np.zeros(len(tables.windows), dtype=bool)
    for grid in grids.values():
        fitted[grid.positive_rows] = True
        for weights in grid.weights.values():
            used = weights if len(weights) == len(grid.candidate_rows) else weights.max(axis=0, keepdims=True)
            fitted[grid.candidate_rows[used > 0]] = True
    return fitted


def _modality_cells(
    study: Study, tables: Tables, grid: Grid, nulls: Nulls, name: str, features: Features, fitted: np.ndarray
) -> tuple[list[Cell], Features | None, tuple[str, ...]]:
    """Return all cells of a modality on one grid, its novelty, and the columns that novelty left out."""
    modality = tables.modalities[name]
    scores = {score: read_scores(grid, features, column, sign) for score, (column, sign) in modality.scores.items()}
    many = ManyColumns(features, modality.multivariate or features.columns, modality.by_deviation)
    novel: Features | None = None
    gone: tuple[str, ...] = ()
    if len(many.columns) > 1:
        novel, gone = novelty_features(tables.windows, grid, fitted, [many])
        scores["novelty"] = read_scores(grid, novel, "novelty")
    cells = [
        _cell(study, grid, nulls, made, (name, score), background, family=not modality.control)
        for score, made in scores.items()
        for background in study.evaluation.backgrounds
    ]
    return cells, novel, gone


def _cell(
    study: Study, grid: Grid, nulls: Nulls, scores: Scores, labels: tuple[str, str], background: str, *, family: bool
) -> Cell:
    if background not in grid.weights:
        why = grid.why_none.get(background, "no candidate belongs to this background")
        return empty_cell(grid, *labels, background, why, family=family)
    return rank_cell(study, grid, nulls, scores, labels, background, family=family)


def _logistic(study: Study, tables: Tables, grid: Grid, nulls: Nulls, name: str, features: Features) -> Iterator[Cell]:
    modality = tables.modalities[name]
    many = ManyColumns(features, modality.multivariate or features.columns, modality.by_deviation)
    if modality.control or len(many.columns) < 2:
        return
    split = safe_split(study.evaluation.split, allow_unsafe=study.evaluation.allow_unsafe_split)
    for score, chosen in (("logistic", split), ("logistic_forward", forward_chaining)):
        for background in study.evaluation.backgrounds:
            if background in grid.weights and background not in grid.why_none:
                yield logistic_cell(study, grid, nulls, [many], (name, score), background, chosen)
            else:
                why = grid.why_none.get(background, "no candidate belongs to this background")
                yield empty_cell(grid, name, score, background, why, family=False)


# --- families, controls, words ---------------------------------------------------------------------------------------


def _adjust(study: Study, cells: Sequence[Cell]) -> tuple[dict[Key, float], dict[str, int]]:
    """Return p adjusted within each background's family, and the sizes of the families."""
    adjusted: dict[Key, float] = {}
    tests = {}
    for background in study.evaluation.backgrounds:
        in_family = [c for c in cells if c.family and c.background == background and c.auc is not None]
        tests[background] = len(in_family)
        testable = [(c, c.auc, c.null) for c in in_family if c.null is not None and c.auc is not None]
        testable = [(c, auc, null) for c, auc, null in testable if np.isfinite(null).any()]
        # classifiers are refitted for the first of the common draws only: a family is compared on what all of it has
        length = min((len(null) for _, _, null in testable), default=0)
        p = adjusted_p([auc for _, auc, _ in testable], [null[:length] for _, _, null in testable])
        adjusted |= {c.key: value for (c, _, _), value in zip(testable, p, strict=True)}
    return adjusted, tests


def _controls_of(
    study: Study,
    cell: Cell,
    grids: Mapping[tuple[str, float], Grid],
    nulls: Mapping[tuple[str, float], Nulls],
    cells: Sequence[Cell],
    tables: Tables,
) -> dict[str, Cell]:
    """Return the controls of a cell at its own background: those made from it, and those that are modalities."""
    where = (cell.layout, cell.hours)
    made = {}
    if cell.ranked is not None:
        kinds = {"clock": clock_scores}
        if tables.modalities[cell.modality].needs != "catalog":
            kinds["drift"] = drift_scores
        for name, function in kinds.items():
            scores = function(grids[where], cell.ranked, cell.background)
            made[name] = _cell(study, grids[where], nulls[where], scores, (name, name), cell.background, family=False)
    for other in cells:
        control = tables.modalities[other.modality].control
        if control and (other.background, other.layout, other.hours) == (cell.background, *where):
            made[other.modality] = other
    return {name: c for name, c in made.items() if c.auc is not None and c.p_pseudo is not None}


@dataclass(frozen=True)
class _Judging:
    """What the evidence of any cell is gathered from."""

    study: Study
    tables: Tables
    headline: str
    primary: Key
    p_adjusted: Mapping[Key, float]
    tests: Mapping[str, int]
    post_event_auc: float | None
    cells: Mapping[Key, Cell]


def _p_of(judging: _Judging, key: Key) -> float | None:
    """Return the p that a word is read from: p_pseudo of the primary cell, the adjusted one of any other."""
    if key == judging.primary:
        return judging.cells[key].p_pseudo
    return judging.p_adjusted.get(key)


def _evidence(judging: _Judging, cell: Cell, controls: Mapping[str, Cell]) -> Evidence:
    options = judging.study.evaluation
    tests = 1 if cell.key == judging.primary else max(1, judging.tests[cell.background])
    at_uniform = judging.cells.get((*cell.key[:3], "uniform", cell.layout))
    uniform = None
    if at_uniform is not None and at_uniform.auc is not None:
        p = at_uniform.p_pseudo if tests == 1 else judging.p_adjusted.get(at_uniform.key)
        uniform = None if p is None else (at_uniform.auc, p)
    u = cell.u[cell.used]
    return Evidence(
        auc=cell.auc,
        p=_p_of(judging, cell.key),
        alpha=options.alpha,
        effect=options.effect_of_interest,
        tests=tests,
        headline=judging.headline,
        u=tuple(float(x) for x in u),
        blocks=tuple(int(b) for b in cell.blocks[cell.used]),
        stations=cell.stations,
        post_event_auc=judging.post_event_auc,
        controls={n: (c.auc, c.p_pseudo) for n, c in controls.items()},  # type: ignore[misc]
        uniform=uniform,
        detectable=cell.detectable(options.alpha / tests),
        why_no_auc=cell.why_null.get("auc") or cell.why_null.get("p_pseudo", ""),
        claims=CATALOG_CLAIMS if cell.modality == "catalog" else (),
        caveats=judging.tables.caveats if judging.headline == "etas" else (),
    )


def _comparisons(study: Study, cells: Sequence[Cell], headline: str, tables: Tables) -> Iterator[Comparison]:
    """Yield the differences of every modality's novelty to every other's and to the controls', same draws."""
    at = [c for c in cells if c.background == headline and c.score in ("novelty", "log_rate") and c.auc is not None]
    for a in at:
        for b in at:
            if tables.modalities[a.modality].control or a is b or (a.hours, a.layout) != (b.hours, b.layout):
                continue
            if tables.modalities[b.modality].control or a.modality > b.modality:
                yield _difference(study, a, b)


def _difference(study: Study, a: Cell, b: Cell) -> Comparison:
    """Return ΔAUC over the mainshocks that both cells have, with its p over the same draws."""
    both = a.used & b.used
    delta = float(np.mean(a.u[both] - b.u[both])) if both.any() else float("nan")
    p, word = None, "CANNOT SAY"
    if both.any() and a.drawn is not None and b.drawn is not None:
        null = null_auc(a.drawn, both) - null_auc(b.drawn, both)
        null = null[np.isfinite(null)]
        p = one_sided_p(delta, null)
        word = adds_word(p, float(np.quantile(null, 0.95)), float(null.std()), study.evaluation.alpha)
    return Comparison(a.modality, b.modality, a.score, a.hours, a.background, delta, p, word)
