"""From a study and its catalog to tables: checks, plan, features. No waveform and no result is touched here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from pydantic import ValidationError

from seisprobe.backgrounds import BACKGROUNDS, Background
from seisprobe.catalog import Catalog
from seisprobe.embedding.components import Segmenting
from seisprobe.errors import InputError, StudyError, nearest
from seisprobe.evaluation.judgement import Tables
from seisprobe.evaluation.splits import safe_split
from seisprobe.modalities import MODALITIES, Modality
from seisprobe.options import explain
from seisprobe.setting import Rates, Setting, fit_places
from seisprobe.sources.centre import checked_service
from seisprobe.sources.waveforms import WAVEFORM_SOURCES, Query
from seisprobe.study import Study
from seisprobe.windows import check_mainshocks, check_period, places, plan_mainshocks, plan_windows

__all__ = ["Plan", "background_table", "check", "compute_features", "make_plan", "modalities_of", "tables_of"]

log = logging.getLogger("seisprobe")
MULTIVARIATE_SCORES = ("novelty", "logistic", "logistic_forward")


@dataclass(frozen=True)
class Plan:
    """What is known before any feature is computed: the plan's tables, and the ETAS rate of each place."""

    mainshocks: pd.DataFrame
    windows: pd.DataFrame
    setting: Setting
    backgrounds: Mapping[str, Background]


# --- checking --------------------------------------------------------------------------------------------------------


def modalities_of(study: Study) -> dict[str, Modality]:
    """Return the modalities of a study: those it names (by default `catalog`), and the controls that are modalities."""
    named = [m.name for m in study.modality] or ["catalog"]
    controls = [name for name, modality in MODALITIES.items() if modality.control]
    return {name: MODALITIES[name] for name in dict.fromkeys([*named, *controls])}


def check(study: Study) -> None:
    """Refuse a study that names what does not exist, before any work.

    Raises
    ------
    StudyError
        Naming section, key and value, and the nearest that is known.
    """
    if study.catalog is None:
        raise StudyError(
            "[catalog] is missing: the study has nothing to look at; add source = 'file:PATH' or 'fdsn:NAME'"
        )
    for entry in study.modality:
        if entry.name not in MODALITIES:
            raise StudyError(f"[[modality]] name = '{entry.name}': {nearest(entry.name, MODALITIES)}")
        options = entry.model_extra or {}
        try:
            MODALITIES[entry.name].options.model_validate(options)
        except ValidationError as error:
            where = f"[[modality]] {entry.name}"
            raise StudyError(explain(error, MODALITIES[entry.name].options, options, where)) from None
    for name in study.evaluation.backgrounds:
        if name not in BACKGROUNDS:
            raise StudyError(f"[evaluation] backgrounds names '{name}'; {nearest(name, BACKGROUNDS)}")
    if study.evaluation.headline == "quiet":
        raise StudyError(
            "[evaluation] headline = 'quiet': chosen by what follows it, it has no p; name another background"
        )
    safe_split(study.evaluation.split, allow_unsafe=study.evaluation.allow_unsafe_split)
    _check_primary(study)
    _check_waveforms(study)
    check_period(study)


def _check_primary(study: Study) -> None:
    primary = study.evaluation.primary
    known = modalities_of(study)
    name = primary.modality or "catalog"
    if name not in known or known[name].control:
        declared = [n for n, m in known.items() if not m.control]
        raise StudyError(f"[evaluation] primary.modality = '{name}' is not in this study; {nearest(name, declared)}")
    scores = [*known[name].scores, *MULTIVARIATE_SCORES]
    if primary.score is not None and primary.score not in scores:
        raise StudyError(f"[evaluation] primary.score = '{primary.score}'; {nearest(primary.score, scores)}")
    if primary.hours is not None and primary.hours not in study.windows.hours:
        hours = [f"{h:g}" for h in study.windows.hours]
        raise StudyError(
            f"[evaluation] primary.hours = {primary.hours:g} is not among [windows] hours = {', '.join(hours)}"
        )


def _check_waveforms(study: Study) -> None:
    """Refuse a source, stations, channels or segments that cannot be; nothing is opened yet."""
    if study.waveforms is None or study.segments is None:
        return
    source = study.waveforms.source
    scheme, _, rest = source.partition(":")
    if scheme == "fdsn":
        checked_service(rest)
    elif scheme not in WAVEFORM_SOURCES:
        raise StudyError(
            f"[waveforms] source = '{source}': no such scheme; {nearest(scheme, ['fdsn', *WAVEFORM_SOURCES])}"
        )
    try:
        Query(stations=study.waveforms.stations, channels=study.waveforms.channels)
        Segmenting(study.segments.hop_s, study.segments.max_gap_s)
    except InputError as error:
        raise StudyError(f"[waveforms] {error}") from None


# --- planning --------------------------------------------------------------------------------------------------------


def make_plan(study: Study, catalog: Catalog, rates: Rates | None = None, left_out: str = "") -> Plan:
    """Plan windows and backgrounds from times and the catalog alone.

    Parameters
    ----------
    study : Study
    catalog : Catalog
    rates : Rates, optional
        ETAS rates known before; by default they are fitted where the study asks for the background `etas`.
    left_out : str
        A mainshock that is no positive though its zone stays.
    """
    check_period(study)
    check_mainshocks(study, catalog.events)
    mainshocks = plan_mainshocks(study, catalog.events, left_out)
    windows = plan_windows(study, mainshocks)
    if rates is None:
        rates = Rates(why_none="the study does not ask for it")
        if "etas" in study.evaluation.backgrounds:
            log.info("etas: fitting the rate of %d events", len(catalog.events))
            rates = fit_places(study, places(study, mainshocks), catalog.events)
            if rates.why_none and not rates.fits:
                log.warning("%s", rates.why_none)
    setting = Setting(study, windows, catalog.events, rates)
    backgrounds = {name: BACKGROUNDS[name](setting) for name in study.evaluation.backgrounds}
    return Plan(mainshocks, windows, setting, backgrounds)


def background_table(backgrounds: Mapping[str, Background]) -> pd.DataFrame:
    """Return the weights of all backgrounds as one table, a column `background` added."""
    tables = [b.weights.assign(background=name) for name, b in backgrounds.items()]
    return pd.concat(tables, ignore_index=True)[["window_id", "background", "mainshock", "weight"]]


def tables_of(study: Study, plan: Plan, features: Mapping[str, pd.DataFrame]) -> Tables:
    """Return what an evaluation reads."""
    caveats = []
    for place, fit in plan.setting.rates.fits.items():
        if fit.residuals.ks_p < 0.01:
            where = f" of {place}" if place else ""
            caveats.append(f"the ETAS residuals{where} fail (KS p = {fit.residuals.ks_p:.1g})")
    return Tables(
        mainshocks=plan.mainshocks,
        windows=plan.windows,
        backgrounds=background_table(plan.backgrounds),
        why_none={name: b.reasons for name, b in plan.backgrounds.items()},
        features=features,
        modalities={name: m for name, m in modalities_of(study).items() if name in features},
        caveats=tuple(caveats),
    )


def compute_features(study: Study, plan: Plan) -> dict[str, pd.DataFrame]:
    """Return one feature table a modality; one that needs an ETAS fit is left out where there is none."""
    return {
        name: modality.features(plan.setting)
        for name, modality in modalities_of(study).items()
        if modality.needs != "etas" or plan.setting.rates.parameters
    }
