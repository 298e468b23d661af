"""From a study and its catalog to tables: checks, plan, features. No waveform and no result is touched here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from seisprobe.backgrounds import BACKGROUNDS, Background
from seisprobe.catalog import Catalog, Integers
from seisprobe.embedding.components import LENGTH_S, Segmenting
from seisprobe.errors import FolderError, InputError, StudyError, nearest
from seisprobe.evaluation.ablation import check_ablation
from seisprobe.evaluation.judgement import Tables, default_modality
from seisprobe.evaluation.splits import safe_split
from seisprobe.mainshocks import check_mainshocks, check_period, outside_rule, plan_mainshocks
from seisprobe.modalities import MODALITIES, Modality, NoOptions, join, networks, of_tables
from seisprobe.options import explain
from seisprobe.samples import draw_samples, sample_weights, waveform_windows
from seisprobe.sections import ModalityOptions
from seisprobe.setting import Rates, Setting, fit_places
from seisprobe.sources.centre import checked_service
from seisprobe.sources.tables import check_table
from seisprobe.sources.waveforms import WAVEFORM_SOURCES, Query
from seisprobe.storage import read_table
from seisprobe.study import Study
from seisprobe.windows import places, plan_windows, window_length_h

__all__ = [
    "Plan",
    "background_table",
    "check",
    "compute_features",
    "iter_features",
    "leave_out",
    "make_plan",
    "modalities_of",
    "stored_plan",
    "tabled",
    "tables_of",
    "waveform_rows",
]

log = logging.getLogger("seisprobe")
MULTIVARIATE_SCORES = ("novelty", "logistic", "logistic_forward")
LEAST_KS_P, MOST_NAMED = 0.01, 3
NO_CATALOG = "the study has no catalog"
CONTINUOUS = ("fdsn", "sds", "mseed")  # schemes of [waveforms]; the others have traces of events


@dataclass(frozen=True)
class Plan:
    """What is known before any feature is computed: the plan's tables, and the ETAS rate of each place.

    `samples` are the background ends for which waveforms are embedded; None where there are none, or all are.
    """

    mainshocks: pd.DataFrame
    windows: pd.DataFrame
    setting: Setting
    backgrounds: Mapping[str, Background]
    samples: pd.DataFrame | None = None


# --- checking --------------------------------------------------------------------------------------------------------


def modalities_of(study: Study) -> dict[str, Modality]:
    """Return the modalities of a study: those it names (by default `catalog`), and the controls that are modalities."""
    found: dict[str, Modality] = {}
    known = {**MODALITIES, **of_tables(study.table)}
    named = {m.name: m.model_extra or {} for m in study.modality} or {name: {} for name in _default(study)}
    for name, options in named.items():
        if name == "random_encoder":
            found |= networks(options)
        else:
            found[name] = join(name, known) if "+" in name else known[name]
    sampled = any(modality.sampled for modality in found.values())
    controls = ["completeness", "etas_rate"] if study.catalog else []
    controls += ["station_state"] if sampled else []
    return found | {name: MODALITIES[name] for name in controls}


def _default(study: Study) -> tuple[str, ...]:
    tables = tuple(of_tables(study.table))
    if study.catalog is None:
        return tables
    seismic = ("catalog",) if study.waveforms is None else ("catalog", "seisclip", "catalog+seisclip", "amplitude")
    return (*seismic, *tables, *(f"catalog+{name}" for name in tables))


def leave_out(study: Study, names: Iterable[str]) -> Study:
    """Return a study without some modalities, and without those that are made of them.

    Raises
    ------
    StudyError
        A name that the study has not.
    """
    gone = set(names)
    known = [m.name for m in study.modality] or list(_default(study))
    for name in sorted(gone):
        if name not in known:
            raise StudyError(f"--without {name}: is no modality of this study; {nearest(name, known)}")
    made_of = {"seisclip_masked": "seisclip", "seisclip_residual": "seisclip"} if "seisclip" in gone else {}
    entries = {m.name: m for m in study.modality}
    kept = [n for n in known if not gone & {n, *n.split("+"), made_of.get(n, n)}]
    if not kept:
        raise StudyError(f"--without {', '.join(sorted(gone))}: no modality of this study is left")
    chosen = tuple(entries.get(n) or ModalityOptions(name=n) for n in kept)
    return study.model_copy(update={"modality": chosen}) if gone else study


def tabled(modalities: Mapping[str, Modality]) -> dict[str, Modality]:
    """Return the modalities that have a feature table of their own: those named, and those that others are made of."""
    names = [table for name, modality in modalities.items() for table in _tables_of(name, modality)]
    return {name: modalities.get(name) or MODALITIES[name] for name in dict.fromkeys(names)}


def check(study: Study) -> None:
    """Refuse a study that names what does not exist, before any work.

    Raises
    ------
    StudyError
        Naming section, key and value, and the nearest that is known.
    DataFileError
        A table that is not there, or whose header cannot be read.
    """
    if study.catalog is None:
        _check_without_catalog(study)
    _check_modalities(study)
    for name in study.evaluation.backgrounds:
        if name not in BACKGROUNDS:
            raise StudyError(f"[evaluation] backgrounds names '{name}'; {nearest(name, BACKGROUNDS)}")
    if study.evaluation.headline == "quiet":
        raise StudyError(
            "[evaluation] headline = 'quiet': chosen by what follows it, it has no p; name another background"
        )
    _check_rule(study)
    _check_step(study)
    safe_split(study.evaluation.split, allow_unsafe=study.evaluation.allow_unsafe_split)
    _check_primary(study)
    check_ablation(study, modalities_of(study))
    _check_waveforms(study)
    check_period(study)
    for options in study.table:
        check_table(options)


def _check_without_catalog(study: Study) -> None:
    """A study of tables alone has no need of events; everything else has."""
    if not study.table:
        raise StudyError(
            "[catalog] is missing: the study has nothing to look at; add source = 'file:PATH' or 'fdsn:NAME', or a"
            " [[table]]"
        )
    if study.waveforms is not None:
        raise StudyError("[waveforms] stands without [catalog]: waveforms are compared with it; add [catalog] source")
    if study.mainshocks.rule is not None:
        raise StudyError("[mainshocks] rule stands without [catalog], which it chooses from; add [catalog] source")
    if study.windows.radius_km is not None:
        raise StudyError("[windows] radius_km stands without [catalog]: a table has no places; leave it out")


def _check_modalities(study: Study) -> None:
    """Refuse modalities that do not exist, stand twice, have wrong options, or lack what they need."""
    known = {**MODALITIES, **of_tables(study.table)}
    names = [entry.name for entry in study.modality]
    for entry in study.modality:
        if names.count(entry.name) > 1:
            raise StudyError(f"[[modality]] name = '{entry.name}' stands twice; name each once")
        for part in entry.name.split("+"):
            if part not in known:
                raise StudyError(f"[[modality]] name = '{entry.name}': {nearest(part, known)}")
            if part.startswith("table:") and part not in names:
                raise StudyError(f"[[modality]] name = '{entry.name}': name '{part}' by itself as well")
        options = entry.model_extra or {}
        model = NoOptions if "+" in entry.name else known[entry.name].options
        try:
            model.model_validate(options)
        except ValidationError as error:
            raise StudyError(explain(error, model, options, f"[[modality]] {entry.name}")) from None
    _check_needs(study)


def _check_needs(study: Study) -> None:
    """Refuse a modality whose data the study does not name."""
    for name, modality in tabled(modalities_of(study)).items():
        if modality.needs in ("catalog", "etas") and study.catalog is None:
            raise StudyError(f"[[modality]] '{name}' reads the catalog; add [catalog] source, or leave it out")
        if modality.sampled and study.waveforms is None:
            raise StudyError(f"[[modality]] '{name}' reads waveforms; add [waveforms] source, or leave it out")
        if modality.needs == "traces" and study.waveforms and study.waveforms.source.partition(":")[0] in CONTINUOUS:
            said = f"[[modality]] '{name}' reads the metadata of event traces; '{study.waveforms.source}' has none"
            raise StudyError(f"{said}: name [waveforms] source = 'instance:PATH', or leave it out")


def _check_rule(study: Study) -> None:
    rule = study.mainshocks.rule
    if rule is not None and rule.decluster != "none" and study.windows.radius_km is None:
        raise StudyError(
            f"[mainshocks] rule.decluster = '{rule.decluster}' needs [windows] radius_km: background windows are held"
            " to the rule at a mainshock's own place; set it, or use 'none' with min_gap_days"
        )


def _check_step(study: Study) -> None:
    """Refuse candidates that see few hours of the day where features may follow the clock.

    Mainshocks come at any minute. Against windows that end at 0 and 12 h alone, a herd that does nothing was
    significant in 97% of worlds.
    """
    clocked = [name for name, m in modalities_of(study).items() if m.needs not in ("catalog", "etas")]
    if study.windows.step_h > 1 and clocked:
        raise StudyError(
            f"[windows] step_h = {study.windows.step_h:g}: '{clocked[0]}' may follow the time of day, and background"
            " windows would see few hours of it while mainshocks see all; set step_h = 1 or less"
        )


def _check_primary(study: Study) -> None:
    primary = study.evaluation.primary
    known = modalities_of(study)
    name = primary.modality or default_modality(study)
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
    per_window = study.segments.per_window
    shortest = min(window_length_h(study, layout, h) for layout in study.windows.layouts for h in study.windows.hours)
    most = int((3600 * shortest - LENGTH_S) // study.segments.hop_s)  # of a window that ends off the grid
    if per_window > most and scheme in CONTINUOUS:
        raise StudyError(
            f"[segments] per_window = {per_window} does not fit into windows of {shortest:g} h, which hold {most} whole"
            " segments; lower it, or leave these windows out"
        )


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
    windows = plan_windows(study, mainshocks, outside_rule(study, mainshocks, catalog.events))
    if rates is None:
        rates = Rates(why_none="the study does not ask for it" if study.catalog else NO_CATALOG)
        if study.catalog and "etas" in study.evaluation.backgrounds:
            log.info("etas: fitting the rate of %d events", len(catalog.events))
            rates = fit_places(study, places(study, mainshocks), catalog.events)
            if rates.why_none and not rates.fits:
                log.warning("%s", rates.why_none)
    setting = Setting(study, windows, catalog.events, rates)
    backgrounds = {name: _background(setting, name) for name in study.evaluation.backgrounds}
    made = Plan(mainshocks, windows, setting, backgrounds)
    if study.segments is None or study.segments.whole_record:
        return made
    return replace(made, samples=draw_samples(study, windows, backgrounds))


def _background(setting: Setting, name: str) -> Background:
    """Return a background; all but `uniform` are made from events, and a study of tables alone has none."""
    if setting.study.catalog is None and name != "uniform":
        return Background(BACKGROUNDS["uniform"](setting).weights.iloc[:0], {("", 0.0, ""): NO_CATALOG})
    return BACKGROUNDS[name](setting)


def stored_plan(folder: Path, study: Study) -> Plan:
    """Return the plan that a finished study folder holds; ETAS is not fitted again, so that it has no rates.

    Raises
    ------
    FolderError
        A table is not there or cannot be read.
    """
    tables = {}
    for name in ("windows", "backgrounds", "catalog"):
        found = read_table(folder / f"{name}.parquet")
        if found is None:
            raise FolderError(f"{folder}: {name}.parquet is not there or cannot be read; run its study again")
        tables[name] = found[0]
    windows, weighted = tables["windows"], tables["backgrounds"]
    named = weighted.groupby("background", sort=False)
    backgrounds = {str(name): Background(own.drop(columns="background")) for name, own in named}
    mainshocks = plan_mainshocks(study, tables["catalog"])
    made = Plan(mainshocks, windows, Setting(study, windows, tables["catalog"]), backgrounds)
    if study.segments is None or study.segments.whole_record:
        return made
    return replace(made, samples=draw_samples(study, windows, backgrounds))


def waveform_rows(study: Study, plan: Plan) -> tuple[pd.DataFrame, Integers]:
    """Return the windows that need waveforms, and how many segments each takes.

    Windows of a length that the study does not ask for (the hour after a mainshock, and hours like it in the uniform
    sample) take half as many.
    """
    assert study.segments is not None
    if plan.samples is None:
        kept = plan.windows["kind"].isin(("positive", "post", "background", "placebo"))
        rows = plan.windows.loc[kept | plan.windows["reason"].eq("zone")]
    else:
        rows = waveform_windows(study, plan.windows, plan.samples)
    asked = rows["hours"].isin(study.windows.hours)
    per_window = study.segments.per_window
    return rows.reset_index(drop=True), np.where(asked, per_window, max(2, per_window // 2)).astype(np.int64)


def background_table(backgrounds: Mapping[str, Background]) -> pd.DataFrame:
    """Return the weights of all backgrounds as one table, a column `background` added."""
    tables = [b.weights.assign(background=name) for name, b in backgrounds.items()]
    return pd.concat(tables, ignore_index=True)[["window_id", "background", "mainshock", "weight"]]


def tables_of(
    study: Study,
    plan: Plan,
    features: Mapping[str, pd.DataFrame],
    segments: Mapping[str, pd.DataFrame] | None = None,
) -> Tables:
    """Return what an evaluation reads: a plan, feature tables, and single segments where vectors were made."""
    return Tables(
        mainshocks=plan.mainshocks,
        windows=plan.windows,
        backgrounds=background_table(plan.backgrounds),
        why_none={name: b.reasons for name, b in plan.backgrounds.items()},
        features=features,
        modalities={name: m for name, m in modalities_of(study).items() if set(_tables_of(name, m)) <= set(features)},
        caveats=_caveats(plan.setting.rates),
        samples=None if plan.samples is None else sample_weights(plan.windows, plan.samples, plan.backgrounds),
        segments=segments or {},
    )


def _caveats(rates: Rates) -> tuple[str, ...]:
    """Return what must be said of the ETAS fits: whose residuals fail, their number where there are many."""
    failed = {place: fit.residuals.ks_p for place, fit in rates.fits.items() if fit.residuals.ks_p < LEAST_KS_P}
    if len(failed) > MOST_NAMED:
        least = min(failed.values())
        return (f"the ETAS residuals of {len(failed)} of {len(rates.fits)} places fail (least KS p = {least:.1g})",)
    said = {place: f" of {place}" if place else "" for place in failed}
    return tuple(f"the ETAS residuals{said[place]} fail (KS p = {p:.1g})" for place, p in failed.items())


def _tables_of(name: str, modality: Modality) -> tuple[str, ...]:
    """Return the feature tables that a modality is read from."""
    return modality.parts or ((modality.table or name), *((modality.residual_on,) if modality.residual_on else ()))


def compute_features(study: Study, plan: Plan) -> dict[str, pd.DataFrame]:
    """Return one feature table a modality; see `iter_features`."""
    return dict(iter_features(study, plan))


def iter_features(study: Study, plan: Plan) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield one feature table a modality; one that needs an ETAS fit is left out where there is none."""
    for name, modality in tabled(modalities_of(study)).items():
        if modality.needs != "etas" or plan.setting.rates.parameters:
            yield name, modality.features(plan.setting)
