"""All cells of a study under one judgement: common draws, families, controls, words, comparisons (PROTOCOL 5 to 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seisprobe.evaluation.ablation import Ablation, ablate
from seisprobe.evaluation.board import Board, Tables, make_board
from seisprobe.evaluation.cells import Cell, Nulls, empty_cell, rank_cell
from seisprobe.evaluation.comparisons import Comparison, compare
from seisprobe.evaluation.controls import controls_of
from seisprobe.evaluation.grid import Features, Grid, Scores, median_over_stations, read_scores
from seisprobe.evaluation.multivariate import ManyColumns, logistic_cell, novelty_features
from seisprobe.evaluation.nulls import adjusted_p
from seisprobe.evaluation.sanity import day_night_auc, label_shuffle, placebo_curve, post_event_auc, post_event_novelty
from seisprobe.evaluation.splits import forward_chaining, safe_split
from seisprobe.evaluation.verdict import Evidence, Verdict, judge
from seisprobe.modalities import Modality
from seisprobe.study import Study

__all__ = [
    "Evaluation",
    "Key",
    "Tables",
    "default_modality",
    "evaluate",
    "headline_of",
    "make_board",
    "primary_cell",
    "primary_key",
]

Key = tuple[str, str, float, str, str]
CATALOG_CLAIMS = ("beyond this ETAS fit", "from revised magnitudes and locations")
EVENTS_SEEN = "catalogued events are in these waveforms: see seisclip_masked and seisclip_residual"
WITHOUT_EVENTS = ("seisclip_masked", "seisclip_residual")


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
    post_event : mapping of modality to float or None
        AUC of the hours after the mainshocks.
    day_night : mapping of modality to float or None
        AUC of day against night, where vectors are known.
    label_shuffle : (mean AUC, p) or None
        Of the primary cell.
    placebo : DataFrame
        ``day, auc, meets_zone`` of the primary cell.
    left_out : mapping of (modality, layout, hours) to tuple of str
        Columns that novelty could not use.
    ablation : Ablation or None
        Which modality carries the signal, where the study asks.
    """

    cells: tuple[Cell, ...]
    p_adjusted: Mapping[Key, float]
    tests: Mapping[str, int]
    headline: str
    primary: Key
    verdicts: Mapping[Key, Verdict]
    controls: Mapping[Key, Mapping[str, Cell]]
    comparisons: tuple[Comparison, ...]
    post_event: Mapping[str, float | None]
    day_night: Mapping[str, float | None]
    label_shuffle: tuple[float, float] | None
    placebo: pd.DataFrame
    left_out: Mapping[tuple[str, str, float], tuple[str, ...]]
    ablation: Ablation | None = None

    @property
    def post_event_auc(self) -> float | None:
        """AUC of the hours after the mainshocks by the primary cell's modality."""
        return self.post_event.get(self.primary[0])

    @property
    def primary_cell(self) -> Cell:
        """The one cell that is tested by itself."""
        return next(cell for cell in self.cells if cell.key == self.primary)


def headline_of(study: Study, backgrounds: pd.DataFrame) -> str:
    """Return the headline background: the study's, or `uniform` where that has no windows."""
    wanted = study.evaluation.headline
    return wanted if backgrounds["background"].eq(wanted).any() else "uniform"


def default_modality(study: Study) -> str:
    """Return the modality of the primary cell where the study names none: both, where it has both.

    A study of tables alone has its first modality, by default that of its first table.
    """
    both = "catalog+seisclip"
    named = [m.name for m in study.modality]
    if study.catalog is None:
        return next(iter([*named, *(f"table:{t.name}" for t in study.table)]), "catalog")
    return both if both in named or (not named and study.waveforms is not None) else "catalog"


def primary_key(study: Study, headline: str) -> Key:
    """Return the key of the primary cell: what the study declares, the protocol's defaults for the rest."""
    chosen = study.evaluation.primary
    hours = study.windows.hours
    longest = 24.0 if 24.0 in hours else max(hours)
    return (
        chosen.modality or default_modality(study),
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
    board = make_board(study, tables)
    cells: list[Cell] = []
    left_out = {}
    column: tuple[Features, str, float] | None = None
    post: dict[str, float | None] = {}
    for name, modality in tables.modalities.items():
        many = board.columns(name)
        ground = board.ground(name)
        for where, grid in ground.grids.items():
            made, novel, gone = _modality_cells(board, grid, ground.nulls[where], name, many)
            cells += made
            if not label_free:
                cells += _logistic(study, tables, grid, ground.nulls[where], name, many)
            if (name, *where) == (primary[0], primary[4], primary[2]):
                column = _column_of(modality, many, primary[1], novel)
            if gone:
                left_out[name, *where] = gone
        if not modality.control:
            post[name] = _post_event(board, name, many)
    cells.sort(key=lambda c: c.key)
    p_adjusted, tests = _adjust(study, cells)
    judged = [c for c in cells if c.background == headline and _has_word(tables.modalities[c.modality], c, primary)]
    controls = {c.key: controls_of(study, board.on(c), c, cells, tables.modalities) for c in judged}
    evidence = _Judging(study, tables, headline, primary, p_adjusted, tests, post, {c.key: c for c in cells})
    verdicts = {c.key: judge(_evidence(evidence, c, controls[c.key])) for c in judged}
    chosen = next((c for c in cells if c.key == primary), None)
    ground = board.sampled if chosen is not None and tables.modalities[primary[0]].sampled else board.whole
    grid = ground.grids[primary[4], primary[2]]
    return Evaluation(
        cells=tuple(cells),
        p_adjusted=p_adjusted,
        tests=tests,
        headline=headline,
        primary=primary,
        verdicts=verdicts,
        controls=controls,
        comparisons=tuple(compare(study, cells, headline, tables.modalities)),
        post_event=post,
        day_night={name: day_night_auc(study, table) for name, table in tables.segments.items()},
        label_shuffle=None if label_free else label_shuffle(study, chosen, grid),
        placebo=placebo_curve(study, tables.windows, None if label_free else chosen, grid, column),
        left_out=left_out,
        ablation=None if label_free else ablate(board, headline, primary[2]),
    )


def _has_word(modality: Modality, cell: Cell, primary: Key) -> bool:
    if cell.key == primary:
        return True
    return not modality.control and not modality.baseline and "verdict" not in cell.why_null


def _column_of(
    modality: Modality, many: Sequence[ManyColumns], score: str, novel: Features | None
) -> tuple[Features, str, float] | None:
    """Return table, column and sign of a label-free score, None of a classifier."""
    if score in modality.scores:
        return (many[0].features, *modality.scores[score])
    return (novel, "novelty", 1.0) if score == "novelty" and novel is not None else None


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
    board = make_board(study, tables)
    ground, many = board.ground(modality), board.columns(modality)
    grid, nulls = ground.grids[layout, hours], ground.nulls[layout, hours]
    novel = None
    if score == "novelty":
        novel = novelty_features(tables.windows, grid, board.fitted(modality), many)[0]
    column = _column_of(tables.modalities[modality], many, score, novel)
    if column is None:
        return empty_cell(grid, modality, score, background, "a classifier is not refitted under changes")
    return _cell(study, grid, nulls, read_scores(grid, *column), (modality, score), background, family=True)


def _post_event(board: Board, name: str, many: Sequence[ManyColumns]) -> float | None:
    """Return the AUC of the hours after: event rate of the catalog, novelty of what waveforms are part of.

    None of a table alone: aftershocks say nothing of whether its clock is right.
    """
    study, tables, modality = board.study, board.tables, board.tables.modalities[name]
    if modality.needs == "table" and "catalog" not in modality.parts:
        return None
    if not modality.sampled:
        return post_event_auc(study, tables.windows, board.align("catalog") if "catalog" in tables.features else None)
    if modality.parts or modality.table or name == "seisclip":
        return post_event_novelty(study, tables.windows, tables.samples, many)
    return None


# --- making cells ----------------------------------------------------------------------------------------------------


def _modality_cells(
    board: Board, grid: Grid, nulls: Nulls, name: str, many: Sequence[ManyColumns]
) -> tuple[list[Cell], Features | None, tuple[str, ...]]:
    """Return all cells of a modality on one grid, its novelty, and the columns that novelty left out."""
    study, modality = board.study, board.tables.modalities[name]
    single = many[0].features
    scores = {score: read_scores(grid, single, column, sign) for score, (column, sign) in modality.scores.items()}
    novel: Features | None = None
    gone: tuple[str, ...] = ()
    if sum(len(m.columns) for m in many) > 1:
        novel, gone = novelty_features(board.tables.windows, grid, board.fitted(name), many)
        scores["novelty"] = read_scores(grid, novel, "novelty")
    family = not modality.control and not modality.baseline
    cells = [
        _cell(study, grid, nulls, made, (name, score), background, family=family)
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


def _logistic(
    study: Study, tables: Tables, grid: Grid, nulls: Nulls, name: str, many: Sequence[ManyColumns]
) -> Iterator[Cell]:
    if tables.modalities[name].control or sum(len(m.columns) for m in many) < 2:
        return
    split = safe_split(study.evaluation.split, allow_unsafe=study.evaluation.allow_unsafe_split)
    for score, chosen in (("logistic", split), ("logistic_forward", forward_chaining)):
        for background in study.evaluation.backgrounds:
            if background in grid.weights and background not in grid.why_none:
                yield logistic_cell(study, grid, nulls, many, (name, score), background, chosen)
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


@dataclass(frozen=True)
class _Judging:
    """What the evidence of any cell is gathered from."""

    study: Study
    tables: Tables
    headline: str
    primary: Key
    p_adjusted: Mapping[Key, float]
    tests: Mapping[str, int]
    post_event: Mapping[str, float | None]
    cells: Mapping[Key, Cell]


def _without_station(cell: Cell) -> dict[str, float]:
    """Return the AUC of a cell's mainshocks with each of its stations left out, where two or more are there."""
    if cell.ranked is None or len(cell.ranked.stations) < 2:
        return {}
    found = {}
    for s, station in enumerate(cell.ranked.stations):
        u = median_over_stations(np.delete(cell.ranked.positives, s, axis=0))[cell.used]
        found[station] = float(np.mean(u[np.isfinite(u)])) if np.isfinite(u).any() else 0.0
    return found


def _claims(modality: Modality, name: str) -> tuple[str, ...]:
    """Return what a discovery by a modality would rest on."""
    parts = modality.parts or (name,)
    seen = modality.sampled and not set(parts) & set(WITHOUT_EVENTS)
    return (*(CATALOG_CLAIMS if "catalog" in parts else ()), *((EVENTS_SEEN,) if seen else ()))


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
        without_station=_without_station(cell),
        post_event_auc=judging.post_event.get(cell.modality),
        controls={n: (c.auc, c.p_pseudo) for n, c in controls.items()},  # type: ignore[misc]
        uniform=uniform,
        detectable=cell.detectable(options.alpha / tests),
        why_no_auc=cell.why_null.get("auc") or cell.why_null.get("p_pseudo", ""),
        claims=_claims(judging.tables.modalities[cell.modality], cell.modality),
        caveats=judging.tables.caveats if judging.headline == "etas" else (),
        catalog=judging.study.catalog is not None,
        own_p=cell.p_pseudo,
    )
