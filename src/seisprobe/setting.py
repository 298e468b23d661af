"""What backgrounds and modalities may look at: the study, its plan, its events, and the ETAS rate of each place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, select_events, times_us
from seisprobe.embedding.waves import Waves
from seisprobe.errors import SeisprobeError
from seisprobe.etas import EtasFit, EtasParameters, fit_etas, rate
from seisprobe.study import Study
from seisprobe.windows import DAY_US, Place

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
    study: Study, places: tuple[Place, ...], events: pd.DataFrame, how: Mapping[str, Any] | None = None
) -> Rates:
    """Fit temporal ETAS to the events of each place; events before the study are parents only.

    Parameters
    ----------
    study : Study
    places : tuple of Place
    events : DataFrame
        Event table with history.
    how : mapping, optional
        Further arguments of `seisprobe.etas.fit_etas`.

    Returns
    -------
    Rates
        Empty, with the reason, where any place cannot be fitted.
    """
    fits = {}
    end = float(etas_days(study, times_us([study.study.end]))[0])
    usable = select_events(events, min_magnitude=study.mc)
    for place in places:
        inside = usable.loc[place.contains(usable)]
        days = etas_days(study, times_us(inside["time"]))
        try:
            fits[place.mainshock] = fit_etas(days, inside["magnitude"].to_numpy(), study.mc, 0.0, end, **(how or {}))
        except SeisprobeError as error:
            where = f" within {place.radius_km:g} km of {place.mainshock}" if place.mainshock else ""
            return Rates(why_none=f"ETAS cannot be fitted{where}: {error}")
    return Rates({name: fit.parameters for name, fit in fits.items()}, fits)


def intensity(setting: Setting, place: Place, times: Integers) -> Floats:
    """Return the fitted total rate per day at `times` (microseconds), from all earlier events M ≥ Mc of a place."""
    usable = select_events(setting.events, min_magnitude=setting.study.mc)
    inside = usable.loc[place.contains(usable)]
    days = etas_days(setting.study, times_us(inside["time"]))
    parameters = setting.rates.parameters[place.mainshock]
    return np.asarray(rate(parameters, etas_days(setting.study, times), days, inside["magnitude"].to_numpy()))
