"""Windows into feature rows, one file a modality.

A modality is a function ``features(setting) -> DataFrame``: one row a window of the setting (and station),
``window_id`` and ``station`` ("" where there is none) first, then float64 columns. To add one, write it in a file of
its own and name it in `MODALITIES`; nothing else changes. ``a+b`` is two or more of them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from seisprobe.errors import StudyError
from seisprobe.modalities import catalog, completeness, etas_rate, table, trace_metadata, waveforms
from seisprobe.options import Options
from seisprobe.sections import TableOptions
from seisprobe.setting import Setting

__all__ = ["MODALITIES", "WIDTH", "Modality", "NoOptions", "SeedOptions", "join", "networks", "of_tables"]

Features = Callable[[Setting], pd.DataFrame]
WIDTH = 384  # numbers of one SeisCLIP vector


class NoOptions(Options):
    """Of a modality that has none."""


class SeedOptions(Options):
    """Of `random_encoder`: how many networks of random weights."""

    seeds: Annotated[int, Field(ge=1, le=20)] = 5


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
        What it cannot be computed without: ``catalog``, ``etas`` (a fit), ``waveforms``, ``traces`` (of events),
        ``table``.
    options : type of Options
    encoder : str
        Whose vectors it reads: ``seisclip`` ([encoder] of the study), ``amplitude``, ``random``; "" for none.
    table : str
        The modality whose feature table it reads, where that is not its own.
    parts : tuple of str
        Of ``a+b``: a and b.
    residual_on : str
        The modality whose columns are regressed out first.
    baseline : bool
        Other modalities are compared with it; its own cells are no discovery.
    """

    features: Features
    scores: Mapping[str, tuple[str, float]]
    multivariate: tuple[str, ...] = ()
    by_deviation: bool = False
    control: bool = False
    needs: str = "catalog"
    options: type[Options] = NoOptions
    encoder: str = ""
    table: str = ""
    parts: tuple[str, ...] = ()
    residual_on: str = ""
    baseline: bool = False

    @property
    def sampled(self) -> bool:
        """Whether it has rows for the sampled background windows only."""
        return self.needs in ("waveforms", "traces")


def _never(setting: Setting) -> pd.DataFrame:  # noqa: ARG001 — the shape of all features
    raise AssertionError("made of the tables of other modalities")


MODALITIES = {
    "catalog": Modality(catalog.features, catalog.SCORES, catalog.MULTIVARIATE, by_deviation=True),
    "completeness": Modality(completeness.features, {}, by_deviation=True, control=True),
    "etas_rate": Modality(etas_rate.features, etas_rate.SCORES, control=True, needs="etas"),
    "seisclip": Modality(waveforms.seisclip, {}, needs="waveforms", encoder="seisclip"),
    "seisclip_masked": Modality(waveforms.seisclip_masked, {}, needs="waveforms", encoder="seisclip"),
    "seisclip_residual": Modality(
        _never, {}, needs="waveforms", encoder="seisclip", table="seisclip", residual_on="catalog"
    ),
    "seisclip_metadata": Modality(waveforms.seisclip_metadata, {}, needs="traces", encoder="metadata"),
    "trace_metadata": Modality(trace_metadata.features, {}, needs="traces"),
    "amplitude": Modality(waveforms.amplitude, {}, needs="waveforms", encoder="amplitude", baseline=True),
    "random_encoder": Modality(
        _never, {}, needs="waveforms", encoder="random", control=True, options=SeedOptions, baseline=True
    ),
    "station_state": Modality(waveforms.station_state, {}, control=True, needs="waveforms"),
}


def of_tables(tables: Sequence[TableOptions]) -> dict[str, Modality]:
    """Return the modality of each timed table, ``table:NAME``.

    Examples
    --------
    >>> list(of_tables([TableOptions(name="animals", path="animals.csv")]))
    ['table:animals']
    """
    return {f"table:{t.name}": Modality(partial(table.features, options=t), {}, needs="table") for t in tables}


def networks(options: Mapping[str, Any]) -> dict[str, Modality]:
    """Return `random_encoder` as one modality for each of its networks.

    Examples
    --------
    >>> list(networks({"seeds": 2}))
    ['random_encoder_0', 'random_encoder_1']
    """
    seeds = SeedOptions.model_validate(dict(options)).seeds
    made = {}
    for seed in range(seeds):
        part = slice(seed * WIDTH, (seed + 1) * WIDTH)
        features = partial(waveforms.seisclip, use="random", part=part)
        made[f"random_encoder_{seed}"] = replace(MODALITIES["random_encoder"], features=features)
    return made


def join(name: str, known: Mapping[str, Modality]) -> Modality:
    """Return the modality ``a+b`` of modalities that are known.

    Raises
    ------
    StudyError
        A part that stands twice, is a control, or is itself made of another's table.

    Examples
    --------
    >>> join("catalog+seisclip", MODALITIES).parts
    ('catalog', 'seisclip')
    """
    parts = tuple(name.split("+"))
    for part in parts:
        if parts.count(part) > 1 or known[part].control or known[part].residual_on:
            raise StudyError(f"[[modality]] name = '{name}': '{part}' cannot be part of it; name each modality once")
    sampled = [known[part].needs for part in parts if known[part].sampled]
    others = [known[part].needs for part in parts if known[part].needs == "table"]
    needs = next(iter([*sampled, *others]), "catalog")
    return Modality(_never, {}, needs=needs, parts=parts)
