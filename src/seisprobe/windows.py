"""The windows of a study: which there are, which count and why the others do not. From times alone.

A window is half-open, [start, end). Positives end a gap before a mainshock; candidates for the background end on whole
steps from midnight UTC of the study's first day; a zone around each mainshock holds neither. Every window that is left
out keeps its row and its reason. (PROTOCOL 1; reasons in the documentation of the method.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from seisprobe.catalog import Integers, distance_km, times_us
from seisprobe.errors import StudyError
from seisprobe.mainshocks import sharing_ground
from seisprobe.study import Study

__all__ = [
    "GRID_REASONS",
    "PLACE_COLUMNS",
    "WINDOW_COLUMNS",
    "Place",
    "candidate_ends",
    "meets_zone",
    "places",
    "plan_windows",
    "pointed_ahead_us",
    "rows_of",
    "window_length_h",
    "zone_around",
    "zone_reach_us",
    "zone_steps",
]

WINDOW_COLUMNS = (
    "window_id",
    "kind",
    "layout",
    "mainshock",
    "block",
    "hours",
    "start",
    "end",
    "latitude",
    "longitude",
    "radius_km",
    "reason",
)
PLACE_COLUMNS = ("mainshock", "latitude", "longitude", "radius_km")
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
GRID_REASONS = ("zone", "outside_rule")  # of candidates that are no background and keep their place on the grid
PLACEBO_DAYS = tuple(day for day in range(-10, 11) if day)

Spans = Mapping[str, tuple[Integers, Integers]]


@dataclass(frozen=True)
class Place:
    """Where a window looks: the whole region (mainshock ""), or a circle around one mainshock."""

    mainshock: str
    latitude: float
    longitude: float
    radius_km: float

    def contains(self, events: pd.DataFrame) -> np.ndarray:
        """Return which events lie in this place, as booleans."""
        if np.isnan(self.radius_km):
            return np.ones(len(events), dtype=bool)
        away = distance_km(events["latitude"].to_numpy(), events["longitude"].to_numpy(), self.latitude, self.longitude)
        return np.asarray(away <= self.radius_km)


REGION = Place("", float("nan"), float("nan"), float("nan"))


# --- windows ---------------------------------------------------------------------------------------------------------


def window_length_h(study: Study, layout: str, hours: float) -> float:
    """Return how long a window is: L itself, or the short window that ends L before (``at-lead``)."""
    return study.windows.lead_window_h if layout == "at-lead" else hours


def pointed_ahead_us(study: Study, layout: str, hours: float) -> int:
    """Return how long after a window's end the time lies that it points at, microseconds: gap, or L (``at-lead``)."""
    return round(hours * HOUR_US) if layout == "at-lead" else round(study.windows.gap_s * 1e6)


def rows_of(windows: pd.DataFrame, window_ids: pd.Series) -> Integers:
    """Return the row of a plan at which each window stands, −1 where it has none."""
    if len(window_ids) == len(windows) and window_ids.array.equals(windows["window_id"].array):
        return np.arange(len(windows))
    plan, asked = (pa.array(ids, type=pa.large_string()) for ids in (windows["window_id"], window_ids))
    found = compute.index_in(asked, value_set=plan)
    return np.asarray(found.fill_null(-1).to_numpy(), dtype=np.int64)


def places(study: Study, mainshocks: pd.DataFrame) -> tuple[Place, ...]:
    """Return the places that windows look at: the region, or a circle around each positive mainshock."""
    if study.windows.radius_km is None:
        return (REGION,)
    positive = mainshocks.loc[mainshocks["block"] > 0]
    radius_km = study.windows.radius_km
    return tuple(Place(m["name"], m["latitude"], m["longitude"], radius_km) for m in positive.to_dict("records"))


def plan_windows(study: Study, mainshocks: pd.DataFrame, outside_rule: Spans | None = None) -> pd.DataFrame:
    """Return every window of the study, one row each, with kind and reason.

    Parameters
    ----------
    study : Study
    mainshocks : DataFrame
        From `plan_mainshocks`.
    outside_rule : mapping of mainshock to (starts, ends), optional
        Times at which the rule would have taken no mainshock there: windows that point at them are no background.

    Returns
    -------
    DataFrame
        The columns of `WINDOW_COLUMNS`; times ``datetime64[us, UTC]``. Kinds: ``positive``, ``post``, ``placebo``,
        ``background`` and ``excluded``, the last with its reason.

    Raises
    ------
    StudyError
        When the zones leave no candidate of some length.
    """
    tables = [_near_mainshocks(study, mainshocks)]
    ends = candidate_ends(study)
    stamps = _stamps(study, ends)
    post_length, barred = study.windows.post_length_h, outside_rule or {}
    shared = sharing_ground(study, mainshocks)
    for place in places(study, mainshocks):
        own = mainshocks["name"].eq(place.mainshock).to_numpy()
        zone = _zone_of(study, mainshocks.loc[shared[own].any(axis=0)] if place.mainshock else mainshocks)
        tables += [
            _candidates(study, zone, ends, stamps, layout, hours, place, barred.get(place.mainshock))
            for layout in study.windows.layouts
            for hours in study.windows.hours
        ]
        if post_length not in study.windows.hours or "until-event" not in study.windows.layouts:
            tables.append(_candidates(study, zone, ends, stamps, "until-event", post_length, place, None))
    table = pd.concat(tables, ignore_index=True)
    _check_candidates(study, table)
    for column in ("start", "end"):
        table[column] = pd.to_datetime(table[column], unit="us", utc=True).dt.as_unit("us")
    return table[list(WINDOW_COLUMNS)]


def _check_candidates(study: Study, windows: pd.DataFrame) -> None:
    """Refuse a study in which some length has no candidate at all."""
    left = windows.loc[windows["kind"].eq("background"), ["layout", "hours"]].drop_duplicates()
    have = set(left.itertuples(index=False, name=None))
    for layout in study.windows.layouts:
        for hours in study.windows.hours:
            if (layout, hours) not in have:
                raise StudyError(
                    f"[windows] hours = {hours:g}, {layout}: no window is left for a background, the mainshocks' zones"
                    " cover the record; lengthen the record, or shorten hours or embargo_h"
                )


def candidate_ends(study: Study) -> Integers:
    """Return the ends of candidates, microseconds: whole steps from midnight of the first day, the same for all L."""
    start, end = (int(t) for t in times_us([study.study.start, study.study.end]))
    step = round(study.windows.step_h * HOUR_US)
    midnight = start - start % DAY_US
    first = start + round(max(study.windows.hours) * HOUR_US)
    return np.arange(midnight + -(-(first - midnight) // step) * step, end + 1, step, dtype=np.int64)


def _zone_of(study: Study, mainshocks: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return each mainshock's zone in microseconds; one too close has one as well."""
    before, after = zone_reach_us(study)
    times = times_us(mainshocks["time"])
    return [(str(n), int(t) - before, int(t) + after) for n, t in zip(mainshocks["name"], times, strict=True)]


def zone_reach_us(study: Study) -> tuple[int, int]:
    """Return how far a zone [T − max(L) − E, T + 2 h + E] reaches before and after a mainshock, microseconds."""
    embargo_h = study.windows.embargo_h
    return round((max(study.windows.hours) + embargo_h) * HOUR_US), round((2.0 + embargo_h) * HOUR_US)


def zone_steps(study: Study, layout: str, hours: float) -> Integers:
    """Return the steps on the grid from a candidate that points at a mainshock to all that meet its zone.

    Examples
    --------
    >>> from seisprobe.study import study_from_dict
    >>> study = study_from_dict({
    ...     "study": {"name": "s", "start": "2016-01-01T00:00:00Z", "end": "2016-02-01T00:00:00Z",
    ...               "region": {"min_latitude": 40, "max_latitude": 46, "min_longitude": 10, "max_longitude": 16}},
    ...     "mainshock": [{"name": "M", "time": "2016-01-20T00:00:00Z", "magnitude": 6.0}],
    ... })
    >>> steps = zone_steps(study, "until-event", 24.0)
    >>> steps.min(), steps.max()  # from 48 h before to 26 h after, and windows of 24 h that begin inside
    (np.int64(-47), np.int64(50))
    """
    step = round(study.windows.step_h * HOUR_US)
    low, high = zone_around(study, layout, hours)
    return np.arange(low // step + 1, high // step + 1, dtype=np.int64)


def zone_around(study: Study, layout: str, hours: float) -> tuple[int, int]:
    """Return how much later, in microseconds, windows end that meet the zone of a mainshock which a window points at.

    Those that end more than the first and at most the second number later than the window itself.
    """
    before, after = zone_reach_us(study)
    ahead = pointed_ahead_us(study, layout, hours)
    return ahead - before, ahead + after + round(window_length_h(study, layout, hours) * HOUR_US)


def meets_zone(starts: Integers, ends: Integers, low: int, high: int) -> np.ndarray:
    """Return which windows [start, end) meet a zone [low, high]: end > low and start ≤ high."""
    return np.asarray((ends > low) & (starts <= high))


def _stamps(study: Study, ends: Integers) -> pd.Index:
    """Return the ends of candidates as their windows are named after them."""
    stamp = "%Y%m%dT%HZ" if study.windows.step_h == int(study.windows.step_h) else "%Y%m%dT%H%M%SZ"
    return pd.to_datetime(ends, unit="us", utc=True).strftime(stamp)


def _candidates(
    study: Study,
    zones: Iterable[tuple[str, int, int]],
    ends: Integers,
    stamps: pd.Index,
    layout: str,
    hours: float,
    place: Place,
    barred: tuple[Integers, Integers] | None,
) -> pd.DataFrame:
    starts = ends - round(window_length_h(study, layout, hours) * HOUR_US)
    mainshock = np.full(len(ends), place.mainshock, dtype=object)
    reason = np.full(len(ends), "", dtype=object)
    if barred is not None:
        reason[_inside(ends + pointed_ahead_us(study, layout, hours), *barred)] = "outside_rule"
    for name, low, high in zones:
        met = meets_zone(starts, ends, low, high)
        reason[met] = "zone"
        mainshock[met] = place.mainshock or name
    where = f"-{place.mainshock}" if place.mainshock else ""
    return pd.DataFrame(
        {
            "window_id": "bg-" + stamps + _suffix(layout, hours) + where,
            "kind": np.where(reason == "", "background", "excluded"),
            "layout": layout,
            "mainshock": mainshock,
            "block": 0,
            "hours": float(hours),
            "start": starts,
            "end": ends,
            "latitude": place.latitude,
            "longitude": place.longitude,
            "radius_km": place.radius_km,
            "reason": reason,
        }
    )


def _inside(times: Integers, starts: Integers, ends: Integers) -> np.ndarray:
    """Return which ascending times lie in any span (start, end]."""
    first, last = np.searchsorted(times, starts, side="right"), np.searchsorted(times, ends, side="right")
    entered, left = (np.bincount(at, minlength=len(times) + 1)[: len(times)] for at in (first, np.maximum(first, last)))
    return np.asarray(np.cumsum(entered - left) > 0)


def _suffix(layout: str, hours: float) -> str:
    return f"-{'lead' if layout == 'at-lead' else ''}{hours:g}h"


def _near_mainshocks(study: Study, mainshocks: pd.DataFrame) -> pd.DataFrame:
    """Return positives, post-event and placebo windows of all mainshocks."""
    first, last = (int(t) for t in times_us([study.study.start, study.study.end]))
    radius = study.windows.radius_km
    rows = []
    for shock, time in zip(mainshocks.to_dict("records"), times_us(mainshocks["time"]), strict=True):
        for name, kind, layout, hours, start, end in _windows_of(study, str(shock["name"]), int(time)):
            reason = shock["reason"] or ("before_start" if start < first else "after_end" if end > last else "")
            if kind == "placebo" and reason:
                continue  # a placebo outside the record is no window at all
            rows.append(
                {
                    "window_id": name,
                    "kind": "excluded" if reason else kind,
                    "layout": layout,
                    "mainshock": shock["name"],
                    "block": shock["block"],
                    "hours": float(hours),
                    "start": start,
                    "end": end,
                    "latitude": shock["latitude"] if radius else float("nan"),
                    "longitude": shock["longitude"] if radius else float("nan"),
                    "radius_km": radius or float("nan"),
                    "reason": reason,
                }
            )
    return pd.DataFrame(rows)


def _windows_of(study: Study, name: str, time: int) -> Iterator[tuple[str, str, str, float, int, int]]:
    """Yield (id, kind, layout, hours, start, end) of one mainshock."""
    for layout in study.windows.layouts:
        for hours in study.windows.hours:
            length = round(window_length_h(study, layout, hours) * HOUR_US)
            end = time - pointed_ahead_us(study, layout, hours)
            suffix = _suffix(layout, hours)
            yield f"positive-{name}{suffix}", "positive", layout, hours, end - length, end
            for day in PLACEBO_DAYS:
                moved = end + day * DAY_US
                yield f"placebo-{name}{suffix}{day:+03d}d", "placebo", layout, hours, moved - length, moved
    low, high = study.windows.post_h
    suffix = _suffix("until-event", study.windows.post_length_h)
    yield (
        f"post-{name}{suffix}",
        "post",
        "until-event",
        study.windows.post_length_h,
        time + round(low * HOUR_US),
        time + round(high * HOUR_US),
    )
