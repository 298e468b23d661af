"""Eight numbers about a trace, as SeisCLIP's metadata encoder takes them, from STEAD rows and INSTANCE columns.

Order and divisors are those of the authors' `norm_text`: P sample / 6000, P weight / 1, P travel time / 60, S sample /
6000, S weight / 1, distance / 300, back azimuth / 360, coda end / 6000; what is missing is 0; nothing is clipped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seisprobe.errors import InputError

__all__ = [
    "FEATURES",
    "MetadataFeatures",
    "features_from_instance",
    "features_from_stead",
    "normalise_features",
    "parse_number",
]

FEATURES = (
    "p_arrival_sample",
    "p_weight",
    "p_travel_sec",
    "s_arrival_sample",
    "s_weight",
    "source_distance_km",
    "back_azimuth_deg",
    "coda_end_sample",
)
_DIVISORS = np.array([6000.0, 1.0, 60.0, 6000.0, 1.0, 300.0, 360.0, 6000.0])
_SAMPLES, _WEIGHTS = (0, 3, 7), (1, 4)
_SEGMENT = 6000
_INSTANCE = (
    "trace_P_arrival_sample",
    "path_weight_phase_location_P",
    "path_travel_time_P_s",
    "trace_S_arrival_sample",
    "path_weight_phase_location_S",
    "path_ep_distance_km",
    "path_backazimuth_deg",
    None,  # INSTANCE has no coda end
)
_NUMBER = re.compile(r"[\s\[\](),]*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[\s\[\](),]*")
_MISSING = {"", "nan", "none", "null", "na", "<na>"}


@dataclass(frozen=True)
class MetadataFeatures:
    """Normalised features, and what had to be done to get them.

    Parameters
    ----------
    features : ndarray
        (n, 8) float64, 0 where missing: the input of `encode_metadata`.
    counts : dict of str to int
        rows; missing (values absent: 0); unreadable (texts that are no number: 0); percent_weights (taken as percent);
        outside (sample positions not in the 60 s that were cut: 0).
    """

    features: NDArray[np.float64]
    counts: dict[str, int]


def parse_number(value: Any) -> float:
    """A number from a number or its text; NaN where there is none.

    STEAD writes the coda end as "[[5000.]]"; the authors' parser takes only that, reads "5000.0" as 0 and breaks on
    "[[5000]]".

    Examples
    --------
    >>> [parse_number(value) for value in ("[[5000.]]", "[[5000]]", "5000.0", 5000, np.array([[5000.0]]))]
    [5000.0, 5000.0, 5000.0, 5000.0, 5000.0]
    >>> parse_number("late"), parse_number(None)
    (nan, nan)
    """
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        return float(match[1]) if match else math.nan
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return math.nan
    number = float(array.reshape(-1)[0]) if array.size == 1 else math.nan
    return number if math.isfinite(number) else math.nan


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().strip("[]").lower() in _MISSING
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def _column(values: Iterable[Any]) -> tuple[NDArray[np.float64], int]:
    """Numbers of one column, and how many of its values are neither number nor missing."""
    given = list(values)
    numbers = np.array([parse_number(value) for value in given], dtype=np.float64).reshape(-1)
    unreadable = sum(not _is_missing(given[row]) for row in np.flatnonzero(np.isnan(numbers)))
    return numbers, unreadable


def _table(rows: Any, columns: Sequence[str | None], required: Sequence[str]) -> tuple[NDArray[np.float64], int]:
    """(n, 8) numbers from a DataFrame, a mapping of columns, or a sequence of mappings."""
    if isinstance(rows, Mapping) or hasattr(rows, "columns"):
        table = {key: list(rows[key]) for key in columns if key is not None and key in rows}
    else:
        listed = list(rows)
        names = set().union(*listed) if listed else set(required)
        table = {key: [row.get(key) for row in listed] for key in columns if key is not None and key in names}
    missing = [key for key in required if key not in table]
    if missing:
        raise InputError(
            f"metadata without the column {missing[0]} ({len(missing)} missing); needed: {', '.join(required)}"
        )
    lengths = {len(values) for values in table.values()}
    if len(lengths) != 1:
        raise InputError(f"metadata columns of unequal lengths {sorted(lengths)}; give one value a trace in each")
    numbers = np.full((lengths.pop(), 8), np.nan)
    unreadable = 0
    for index, key in enumerate(columns):
        if key in table:
            numbers[:, index], bad = _column(table[key])
            unreadable += bad
    return numbers, unreadable


def features_from_stead(rows: Any, start_sample: ArrayLike = 0) -> MetadataFeatures:
    """Features from rows in STEAD's layout.

    Parameters
    ----------
    rows : DataFrame, mapping of columns, or sequence of mappings
        The columns of `FEATURES`; STEAD's receiver/source names are those. Weights over 1 are taken as percent.
    start_sample : array_like of int
        Where the 60 s that are encoded start in the trace, one number or one a row.

    Returns
    -------
    MetadataFeatures
        Features and counts.

    Raises
    ------
    InputError
        A column is missing, or columns differ in length.

    Examples
    --------
    >>> row = dict(zip(FEATURES, (600, 0.54, 11.0, 1266, 45, 65.35, 180.0, "[[3417.]]")))
    >>> found = features_from_stead([row])
    >>> found.features[0, [0, 4, 6, 7]], found.counts["percent_weights"]
    (array([0.1   , 0.45  , 0.5   , 0.5695]), 1)
    """
    numbers, unreadable = _table(rows, FEATURES, FEATURES)
    weights = numbers[:, _WEIGHTS]
    percent = weights > 1
    numbers[:, _WEIGHTS] = np.where(percent, weights / 100, weights)
    return _finish(numbers, start_sample, unreadable, int(percent.sum()))


def features_from_instance(rows: Any, start_sample: ArrayLike = 0) -> MetadataFeatures:
    """Features from INSTANCE's metadata columns (weights are percent there, and the coda end is missing).

    Parameters
    ----------
    rows : DataFrame, mapping of columns, or sequence of mappings
        trace_P_arrival_sample, path_weight_phase_location_P, path_travel_time_P_s, trace_S_arrival_sample,
        path_weight_phase_location_S, path_ep_distance_km, path_backazimuth_deg; numbers, or numbers as text.
    start_sample : array_like of int
        Where the 60 s that are encoded start in the trace of 120 s, one number or one a row.

    Returns
    -------
    MetadataFeatures
        Features and counts.

    Raises
    ------
    InputError
        A column is missing, or columns differ in length.

    Examples
    --------
    >>> row = dict(zip((key for key in _INSTANCE if key), (2600, 80, 3.0, "2900", "50", 30.0, 90.0)))
    >>> features_from_instance([row], start_sample=2000).features[0].round(2)
    array([0.1 , 0.8 , 0.05, 0.15, 0.5 , 0.1 , 0.25, 0.  ])
    """
    required = [key for key in _INSTANCE if key is not None]
    numbers, unreadable = _table(rows, _INSTANCE, required)
    numbers[:, _WEIGHTS] /= 100
    return _finish(numbers, start_sample, unreadable, 0)


def _finish(numbers: NDArray[np.float64], start_sample: ArrayLike, unreadable: int, percent: int) -> MetadataFeatures:
    absent = int(np.isnan(numbers).sum()) - unreadable
    start = np.asarray(start_sample, np.float64)
    if start.shape not in ((), (len(numbers),)) or not np.isfinite(start).all():
        raise InputError(
            f"start_sample of shape {start.shape} for {len(numbers)} traces: give one number, or one a trace"
        )
    cut = np.zeros(numbers.shape, bool)
    if start.any():
        numbers[:, _SAMPLES] -= start.reshape(-1, 1)
        positions = numbers[:, _SAMPLES]
        cut[:, _SAMPLES] = (positions < 0) | (positions >= _SEGMENT)
        numbers[cut] = np.nan
    counts = {
        "rows": len(numbers),
        "missing": absent,
        "unreadable": unreadable,
        "percent_weights": percent,
        "outside": int(cut.sum()),
    }
    return MetadataFeatures(normalise_features(numbers), counts)


def normalise_features(numbers: ArrayLike) -> NDArray[np.float64]:
    """The authors' `norm_text`: divide each feature by its constant, put 0 for NaN; nothing is clipped.

    Parameters
    ----------
    numbers : array_like
        (n, 8) in the order of `FEATURES`, weights 0–1, NaN where missing; not changed.

    Returns
    -------
    ndarray
        (n, 8) float64.

    Raises
    ------
    InputError
        Another shape.

    Examples
    --------
    >>> normalise_features([[600, 1, 6, 1200, 0.5, 30, 36, np.nan]])
    array([[0.1, 1. , 0.1, 0.2, 0.5, 0.1, 0.1, 0. ]])
    """
    given = np.asarray(numbers, np.float64)
    if given.ndim != 2 or given.shape[1] != 8:
        raise InputError(f"metadata of shape {given.shape}: give (n, 8) in the order {', '.join(FEATURES)}")
    normed: NDArray[np.float64] = np.nan_to_num(given / _DIVISORS, nan=0.0, posinf=0.0, neginf=0.0)
    return normed
