"""Whether one modality scores above another: the difference of AUC over the same pseudo-mainshocks (PROTOCOL 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seisprobe.catalog import Floats
from seisprobe.evaluation.cells import Cell
from seisprobe.evaluation.nulls import null_auc, one_sided_p
from seisprobe.evaluation.verdict import adds_word
from seisprobe.modalities import Modality
from seisprobe.study import Study

__all__ = ["Comparison", "compare"]

RANDOM = "random_encoder"
SCORES = ("novelty", "log_rate")


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


def compare(
    study: Study, cells: Sequence[Cell], headline: str, modalities: Mapping[str, Modality]
) -> Iterator[Comparison]:
    """Yield what modalities add to others, at the headline, by novelty.

    Every modality is compared with the controls that are modalities, one of waveforms with the catalog and with the
    baselines, ``a+b`` with its parts too. The networks of random weights count as one: the mean of their AUC.

    Parameters
    ----------
    study : Study
    cells : sequence of Cell
    headline : str
    modalities : mapping of str to Modality
    """
    at = [c for c in cells if c.background == headline and c.score in SCORES and c.auc is not None]
    for a in at:
        if modalities[a.modality].control:
            continue
        alike = [b for b in at if (b.hours, b.layout) == (a.hours, a.layout) and b is not a]
        networks = [b for b in alike if b.modality.startswith(RANDOM)]
        for b in alike:
            if b not in networks and _compared(a.modality, b.modality, modalities):
                yield _difference(study, a, [b], b.modality)
        if networks and modalities[a.modality].sampled:
            yield _difference(study, a, networks, RANDOM)


def _compared(a: str, b: str, modalities: Mapping[str, Modality]) -> bool:
    if modalities[b].control:
        return b == "etas_rate" or not modalities[a].sampled
    if b in modalities[a].parts:
        return True
    return modalities[a].sampled and (b == "catalog" or modalities[b].baseline) and a != b


def _difference(study: Study, a: Cell, others: Sequence[Cell], name: str) -> Comparison:
    """Return ΔAUC over the mainshocks that all cells have, with its p over the same draws."""
    both = np.all([a.used, *(b.used for b in others)], axis=0)
    delta = float(np.mean(a.u[both] - _mean([b.u for b in others])[both])) if both.any() else float("nan")
    p, word, null = None, "CANNOT SAY", None
    drawn = [b.drawn for b in others if b.drawn is not None]
    if both.any() and a.drawn is not None and len(drawn) == len(others):
        null = null_auc(a.drawn, both) - _mean([null_auc(d, both) for d in drawn])
        null = null[np.isfinite(null)]
    if null is not None and len(null):
        p, own_p = one_sided_p(delta, null), 1.0 if a.p_pseudo is None else a.p_pseudo
        word = adds_word(p, own_p, float(np.quantile(null, 0.95)), float(null.std()), study.evaluation.alpha)
    return Comparison(a.modality, name, a.score, a.hours, a.background, delta, p, word)


def _mean(values: Sequence[Floats]) -> Floats:
    return np.asarray(np.mean(np.stack(list(values)), axis=0))
