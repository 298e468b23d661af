"""The control `etas_rate`: the logarithm of the fitted ETAS rate at the end of each window, without the gap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from seisprobe.catalog import times_us
from seisprobe.setting import Setting, by_place, intensity

__all__ = ["SCORES", "features"]

SCORES = {"log_rate": ("log_rate", 1.0)}


def features(setting: Setting) -> pd.DataFrame:
    """Return log λ(e) of each window.

    Parameters
    ----------
    setting : Setting
        With an ETAS fit for every place of its windows.

    Returns
    -------
    DataFrame
        ``window_id``, ``station`` (""), ``log_rate`` (natural logarithm of events per day); NaN at the place of a
        mainshock that is no positive: nothing was fitted there.
    """
    parts = []
    for place, rows in by_place(setting.windows):
        ends, index = np.unique(times_us(rows["end"]), return_inverse=True)
        names = [place.mainshock, *rows["mainshock"].unique()]
        fitted = next((name for name in names if name in setting.rates.parameters), None)
        log_rate = np.full(len(rows), np.nan)
        if fitted is not None:
            log_rate = np.log(intensity(setting, replace(place, mainshock=fitted), ends))[index]
        parts.append(pd.DataFrame({"window_id": rows["window_id"], "station": "", "log_rate": log_rate}, rows.index))
    return pd.concat(parts).sort_index().reset_index(drop=True)
