"""Windows into feature rows, one file a modality.

A modality is a function ``features(setting) -> DataFrame``: one row a window of the setting, ``window_id`` and
``station`` ("" where there is none) first, then float64 columns. To add one, write it in a file of its own and name
it in `MODALITIES`; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from seisprobe.modalities import catalog, completeness, etas_rate
from seisprobe.options import Options
from seisprobe.setting import Setting

__all__ = ["MODALITIES", "Modality", "NoOptions"]

Features = Callable[[Setting], pd.DataFrame]


class NoOptions(Options):
    """Of a modality that has none."""


@dataclass(frozen=True)
class Modality:
    """What the pipeline must know of a modality.

    Parameters
    ----------
    features : callable
        Setting to feature rows.
    scores : mapping of str to (column, sign)
        Single-feature scores: the column and the sign that makes higher more anomalous.
    multivariate : tuple of str
        Columns of novelty and logistic; empty means all.
    by_deviation : bool
        Novelty scales its columns by the standard deviation (counts, whose MAD is 0), not the MAD.
    control : bool
        A control has no cells of its own in the family of tests.
    needs : str
        What it cannot be computed without: ``catalog``, or ``etas``, a fit.
    """

    features: Features
    scores: dict[str, tuple[str, float]]
    multivariate: tuple[str, ...] = ()
    by_deviation: bool = False
    control: bool = False
    needs: str = "catalog"
    options: type[Options] = NoOptions


MODALITIES = {
    "catalog": Modality(catalog.features, catalog.SCORES, catalog.MULTIVARIATE, by_deviation=True),
    "completeness": Modality(completeness.features, {}, by_deviation=True, control=True),
    "etas_rate": Modality(etas_rate.features, etas_rate.SCORES, control=True, needs="etas"),
}
