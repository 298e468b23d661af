"""The control `completeness`: Mc(t) after large events, which alone can make a window look special (PROTOCOL 2)."""

from __future__ import annotations

import pandas as pd

from seisprobe.catalog import Floats, Integers, completeness_at, completeness_mean, times_us
from seisprobe.modalities.catalog import of_places
from seisprobe.setting import Setting

__all__ = ["features"]


def features(setting: Setting) -> pd.DataFrame:
    """Return Mc(t) at the end of each window and its mean over the window.

    Parameters
    ----------
    setting : Setting
        Windows, and the region's events with their history.

    Returns
    -------
    DataFrame
        ``window_id``, ``station`` (""), ``mc_at_end``, ``mc_mean``.
    """
    return of_places(setting, _features_at)


def _features_at(starts: Integers, ends: Integers, events: pd.DataFrame, mc: float, _reach: int) -> dict[str, Floats]:
    times, magnitudes = times_us(events["time"]), events["magnitude"].to_numpy()
    order = ends.argsort(kind="stable")
    at_end = ends.astype("float64")
    at_end[order] = completeness_at(ends[order], times, magnitudes, mc)
    return {"mc_at_end": at_end, "mc_mean": completeness_mean(starts, ends, times, magnitudes, mc)}
