"""The background windows for which waveforms are embedded: two samples of ends, shared by all lengths (PROTOCOL 1).

`uniform`: without replacement, at least max(L) apart. `etas`: with replacement in proportion to the ETAS rate and with
no spacing, which would flatten the rate (an honest draw then scores above 0.50, the more the stronger events cluster).
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import numpy as np
import pandas as pd

from seisprobe.backgrounds import Background
from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.study import Study
from seisprobe.windows import DAY_US, HOUR_US

__all__ = ["draw_samples", "sample_weights", "touched_days", "waveform_windows"]

SAMPLED = ("uniform", "etas")


def draw_samples(study: Study, windows: pd.DataFrame, backgrounds: Mapping[str, Background]) -> pd.DataFrame:
    """Draw `background_count` ends of each background that is sampled, for each place.

    Parameters
    ----------
    study : Study
    windows : DataFrame
        The plan.
    backgrounds : mapping of str to Background
        Weights of all candidates.

    Returns
    -------
    DataFrame
        ``background, mainshock ("" for the region), end, drawn``: how often an end was drawn, 1 or more.
    """
    longest = max(study.windows.hours)
    alike = windows["layout"].eq(study.windows.layouts[0]) & windows["hours"].eq(longest)
    candidates = windows.loc[alike & windows["kind"].eq("background"), ["window_id", "end", "radius_km", "mainshock"]]
    tables = []
    for name in SAMPLED:
        if name not in backgrounds:
            continue
        weighted = candidates.merge(backgrounds[name].weights[["window_id", "weight"]], on="window_id")
        places = weighted["mainshock"].where(weighted["radius_km"].notna(), "")
        for place, rows in weighted.groupby(places, sort=True):
            rng = np.random.default_rng([study.study.seed, crc32(f"sample {name} {place}".encode())])
            ends, weights = times_us(rows["end"]), rows["weight"].to_numpy()
            drawn = _draw(name, ends, weights, study.windows.background_count, round(longest * HOUR_US), rng)
            taken = np.flatnonzero(drawn)
            tables.append(
                pd.DataFrame(
                    {
                        "background": name,
                        "mainshock": place,
                        "end": rows["end"].iloc[taken].reset_index(drop=True),
                        "drawn": drawn[taken],
                    }
                )
            )
    if not tables:
        return pd.DataFrame({"background": [], "mainshock": [], "end": windows["end"].iloc[:0], "drawn": []})
    return pd.concat(tables, ignore_index=True)


def _draw(name: str, ends: Integers, weights: Floats, count: int, apart_us: int, rng: np.random.Generator) -> Integers:
    """Return how often each end is drawn."""
    if name == "etas":
        return np.bincount(rng.choice(len(ends), count, p=weights / weights.sum()), minlength=len(ends))
    drawn = np.zeros(len(ends), dtype=np.int64)
    free = np.ones(len(ends), dtype=bool)
    for i in rng.permutation(len(ends)):
        if free[i]:
            drawn[i] = 1
            free[np.searchsorted(ends, ends[i] - apart_us, "right") : np.searchsorted(ends, ends[i] + apart_us)] = False
            if drawn.sum() == count:
                break
    return drawn


def waveform_windows(study: Study, windows: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a plan that need waveforms: positives, the hours after, and what was drawn of the background.

    With an end, background windows of every length and layout are drawn; those of the hour after, which the study has
    for the check of the hours after alone, of the uniform sample only.
    """
    uniform = samples.loc[samples["background"].eq("uniform")]
    asked = windows["hours"].isin(study.windows.hours)
    drawn = np.where(asked, _drawn_in(windows, samples), _drawn_in(windows, uniform))
    return windows.loc[windows["kind"].isin(("positive", "post")) | (windows["kind"].eq("background") & drawn)]


def _drawn_in(windows: pd.DataFrame, samples: pd.DataFrame) -> np.ndarray:
    ends = pd.MultiIndex.from_arrays([samples["mainshock"], samples["end"]])
    return np.asarray(pd.MultiIndex.from_arrays([_place(windows), windows["end"]]).isin(ends))


def _place(windows: pd.DataFrame) -> pd.Series:
    return windows["mainshock"].where(windows["radius_km"].notna(), "")


def sample_weights(windows: pd.DataFrame, samples: pd.DataFrame, backgrounds: Mapping[str, Background]) -> pd.DataFrame:
    """Return the sampled backgrounds as `planning.background_table` does, weights being how often a window was drawn.

    `quiet` becomes what is quiet of the uniform sample.

    Returns
    -------
    DataFrame
        ``window_id, background, mainshock, weight``.
    """
    own = windows.loc[windows["kind"].eq("background"), ["window_id", "end", "mainshock"]]
    own = own.assign(place=_place(windows.loc[own.index]))
    tables = [own.merge(samples, left_on=["place", "end"], right_on=["mainshock", "end"], suffixes=("", "_of"))]
    if "quiet" in backgrounds:
        uniform = tables[0].loc[tables[0]["background"].eq("uniform")]
        quiet = uniform["window_id"].isin(backgrounds["quiet"].weights["window_id"])
        tables.append(uniform.loc[quiet].assign(background="quiet"))
    table = pd.concat(tables, ignore_index=True).rename(columns={"drawn": "weight"})
    return table[["window_id", "background", "mainshock", "weight"]].astype({"weight": "float64"})


def touched_days(windows: pd.DataFrame) -> list[str]:
    """Return the UTC days that windows touch, in order.

    Examples
    --------
    >>> times = pd.to_datetime(["2016-10-29T23:00:00Z", "2016-10-30T00:00:00Z"]).as_unit("us")
    >>> touched_days(pd.DataFrame({"start": times[:1], "end": times[1:]}))  # the end is not included
    ['2016-10-29']
    """
    first, last = times_us(windows["start"]) // DAY_US, (times_us(windows["end"]) - 1) // DAY_US
    days = sorted({int(d) for a, b in zip(first, last, strict=True) for d in range(a, b + 1)})
    return [str(np.datetime64(day, "D")) for day in days]
