"""What backgrounds and modalities may look at: the study, its plan, its events, and the ETAS rate of each place."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, select_events, times_us
from seisprobe.embedding.waves import Waves
from seisprobe.errors import SeisprobeError
from seisprobe.etas import PARAMETER_NAMES, EtasFit, EtasParameters, fit_etas, fit_own_share, is_within, rate
from seisprobe.study import Study
from seisprobe.windows import DAY_US, Place

log = logging.getLogger("seisprobe")
__all__ = ["Rates", "Setting", "by_place", "etas_days", "fit_places", "intensity"]


@dataclass(frozen=True)
class Rates:
    """The ETAS rate of each place, by mainshock ("" for the region).

    Parameters
    ----------
    parameters : mapping of place to EtasParameters
        Empty where there is no rate.
    fits : mapping of place to EtasFit
        Where the parameters were fitted.
    why_none : str
    """

    parameters: Mapping[str, EtasParameters] = field(default_factory=dict)
    fits: Mapping[str, EtasFit] = field(default_factory=dict)
    why_none: str = "no ETAS rate was asked for"


@dataclass(frozen=True)
class Setting:
    """What a background or a modality is computed from.

    Parameters
    ----------
    study : Study
    windows : DataFrame
        Rows of a plan (`seisprobe.windows.WINDOW_COLUMNS`).
    events : DataFrame
        Event table of the region, with its history before the study's start.
    rates : Rates
    without_largest : float
        Features of the catalog leave out the largest event of each window that is at least this large.
    waves : Waves, optional
        What the windows see of the waveforms, where the study has them.
    """

    study: Study
    windows: pd.DataFrame
    events: pd.DataFrame
    rates: Rates = field(default_factory=Rates)
    without_largest: float = np.inf
    waves: Waves | None = None


def by_place(windows: pd.DataFrame) -> Iterator[tuple[Place, pd.DataFrame]]:
    """Yield the windows of each place; a place's name is its mainshock, "" for the region."""
    for where, rows in windows.groupby(["latitude", "longitude", "radius_km"], sort=False, dropna=False):
        latitude, longitude, radius_km = (float(x) for x in where)
        name = "" if np.isnan(radius_km) else str(rows["mainshock"].iloc[0])
        yield Place(name, latitude, longitude, radius_km), rows


def etas_days(study: Study, times: Integers) -> Floats:
    """Return times in days from the study's start, the unit of the ETAS fit."""
    return np.asarray((times - times_us([study.study.start])[0]) / DAY_US)


def fit_places(
    study: Study,
    places: tuple[Place, ...],
    events: pd.DataFrame,
    how: Mapping[str, Any] | None = None,
    free: Mapping[str, EtasFit] | None = None,
) -> Rates:
    """Fit temporal ETAS to the events of each place; events before the study are parents only.

    A circle with too few events for a fit takes c, p and α from all circles that have enough, the median of their
    logarithms, and μ and k from its own events (`seisprobe.etas.fit_own_share`). Where none has enough there is no
    rate.

    Parameters
    ----------
    study : Study
    places : tuple of Place
    events : DataFrame
        Event table with history.
    how : mapping, optional
        Further arguments of `seisprobe.etas.fit_etas`.
    free : mapping of place to EtasFit, optional
        Fits to the same events without limits: where `how` sets one that they are within, they are taken.

    Returns
    -------
    Rates
        Empty, with the reason, where the region, or every circle, cannot be fitted.
    """
    fits, why, poor = {}, "", []
    end = float(etas_days(study, times_us([study.study.end]))[0])
    usable = select_events(events, min_magnitude=study.mc)
    for place in places:
        inside = usable.loc[place.contains(usable)]
        days = etas_days(study, times_us(inside["time"]))
        known, limit = (free or {}).get(place.mainshock), (how or {}).get("max_branching")
        if known is not None and limit is not None and is_within(known, limit):
            fits[place.mainshock] = known
            continue
        try:
            fits[place.mainshock] = fit_etas(days, inside["magnitude"].to_numpy(), study.mc, 0.0, end, **(how or {}))
        except SeisprobeError as error:
            where = f" within {place.radius_km:g} km of {place.mainshock}" if place.mainshock else ""
            why = why or f"ETAS cannot be fitted{where}: {error}"
            poor.append((place.mainshock, days, inside["magnitude"].to_numpy()))
    if not fits:
        return Rates(why_none=why)
    shape = _typical([fit.parameters for fit in fits.values()])
    borrowed = {name: fit_own_share(shape, days, magnitudes, 0.0, end) for name, days, magnitudes in poor}
    if borrowed:
        log.info("etas: %d of %d places have too few events for a fit of their own", len(borrowed), len(places))
    found = {name: fit.parameters for name, fit in fits.items()} | borrowed
    return Rates({place.mainshock: found[place.mainshock] for place in places}, fits)


def _typical(parameters: Sequence[EtasParameters]) -> EtasParameters:
    """Return the parameters whose logarithms are the medians of those given."""
    table = np.log([[getattr(p, name) for name in PARAMETER_NAMES] for p in parameters])
    values = dict(zip(PARAMETER_NAMES, np.exp(np.median(table, axis=0)).tolist(), strict=True))
    return replace(parameters[0], **values)


def intensity(setting: Setting, place: Place, times: Integers) -> Floats:
    """Return the fitted total rate per day at `times` (microseconds), from all earlier events M ≥ Mc of a place."""
    usable = select_events(setting.events, min_magnitude=setting.study.mc)
    inside = usable.loc[place.contains(usable)]
    days = etas_days(setting.study, times_us(inside["time"]))
    parameters = setting.rates.parameters[place.mainshock]
    return np.asarray(rate(parameters, etas_days(setting.study, times), days, inside["magnitude"].to_numpy()))
