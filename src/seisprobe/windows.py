"""The plan of a study: which windows there are, which count and why the others do not. Times and the catalog only.

A window is half-open, [start, end). Positives end a gap before a mainshock; candidates for the background end on whole
steps from midnight UTC of the study's first day; a zone around each mainshock holds neither. Every window that is left
out keeps its row and its reason. (PROTOCOL 1; reasons in the documentation of the method.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seisprobe.catalog import Integers, distance_km, nearest_event, select_events, times_us
from seisprobe.errors import StudyError
from seisprobe.sections import Mainshock
from seisprobe.study import Study

__all__ = [
    "WINDOW_COLUMNS",
    "Place",
    "block_sizes",
    "check_mainshocks",
    "check_period",
    "places",
    "plan_mainshocks",
    "plan_windows",
    "positive_distance_h",
    "unlisted_events",
    "window_length_h",
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
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MATCH_S, MATCH_MAGNITUDE = 5.0, 0.3
MOST_CANDIDATES = 1_000_000
PLACEBO_DAYS = tuple(day for day in range(-10, 11) if day)


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


# --- mainshocks ------------------------------------------------------------------------------------------------------


def positive_distance_h(study: Study) -> float:
    """Return D = max(L) + 2 E + 2 h, the least distance of two positives in hours.

    Nearer than that, no background window fits between them, and a background that has no windows there makes half of
    all clustered worlds significant.
    """
    return max(study.windows.hours) + 2 * study.windows.embargo_h + 2.0


def check_mainshocks(study: Study, events: pd.DataFrame) -> None:
    """Refuse a mainshock that the catalog does not know at its time: local time given as UTC is the usual cause.

    Raises
    ------
    StudyError
        Naming the mainshock and the catalog's nearest event.
    """
    for mainshock in study.mainshock:
        found = nearest_event(events, pd.Timestamp(mainshock.time), mainshock.magnitude, MATCH_MAGNITUDE)
        if found is None or abs(found["offset_s"]) > MATCH_S:
            raise StudyError(_not_in_catalog(mainshock, events, found))


def _not_in_catalog(mainshock: Mainshock, events: pd.DataFrame, similar: pd.Series | None) -> str:
    time = pd.Timestamp(mainshock.time)
    nearest = nearest_event(events, time)
    message = (
        f"[[mainshock]] {mainshock.name}: the catalog has no event within {MATCH_S:g} s and {MATCH_MAGNITUDE} magnitude"
        f" units of {_stamp(time)} M {mainshock.magnitude:g}; its nearest event is {_described(nearest)}"
    )
    if similar is None:
        return f"{message}; no event of about that magnitude is in the catalog: check magnitude, region and catalog"
    hours = similar["offset_s"] / 3600
    message += f", the nearest of about that magnitude {_described(similar)}"
    if abs(hours - round(hours)) < 0.01 and 1 <= abs(round(hours)) <= 14:
        return f"{message}: {abs(round(hours))} h away, so the time looks local; give it in UTC"
    return f"{message}; correct the time (UTC) or the magnitude"


def _described(event: pd.Series | None) -> str:
    if event is None:
        return "none"
    return f"{_stamp(event['time'])} M {event['magnitude']:g} ({event['offset_s']:+.0f} s)"


def _stamp(time: pd.Timestamp) -> str:
    return str(time.strftime("%Y-%m-%dT%H:%M:%S.%f")).rstrip("0").rstrip(".") + "Z"


def plan_mainshocks(study: Study, events: pd.DataFrame, left_out: str = "") -> pd.DataFrame:
    """Return the mainshocks in order of time, with place, block and the reason why one is no positive.

    Parameters
    ----------
    study : Study
    events : DataFrame
        Event table; gives the place of a mainshock that has none in the study.
    left_out : str
        Name of a mainshock that is to be no positive; its row and zone stay.

    Returns
    -------
    DataFrame
        ``name, time, magnitude, latitude, longitude, block (1, 2, …; 0 for no positive), reason``: "",
        ``too_close`` or ``left_out``.

    Raises
    ------
    StudyError
        When a mainshock lies outside the study's period or a window is longer than the record.
    """
    check_period(study)
    rows = []
    for mainshock in study.mainshock:
        latitude, longitude = _place_of(mainshock, events)
        time = pd.Timestamp(mainshock.time).as_unit("us")
        rows.append((mainshock.name, time, mainshock.magnitude, latitude, longitude))
    table = pd.DataFrame(rows, columns=["name", "time", "magnitude", "latitude", "longitude"])
    table["reason"] = _too_close(times_us(table["time"]), positive_distance_h(study))
    table.loc[table["name"].eq(left_out), "reason"] = "left_out"
    table["block"] = _blocks(table, study.windows.block_days, study.windows.block_km)
    return table


def check_period(study: Study) -> None:
    """Refuse a study whose mainshocks or windows do not fit into its period, before any catalog is read.

    Raises
    ------
    StudyError
        Naming the mainshock, or the length.
    """
    start, end = pd.Timestamp(study.study.start), pd.Timestamp(study.study.end)
    for mainshock in study.mainshock:
        if not start <= pd.Timestamp(mainshock.time) < end:
            raise StudyError(
                f"[[mainshock]] {mainshock.name}: {_stamp(pd.Timestamp(mainshock.time))} lies outside the study's"
                f" period {_stamp(start)} to {_stamp(end)}; move start or end, or leave it out"
            )
    longest = max(study.windows.hours)
    record_h = (end - start).total_seconds() / 3600
    if longest > record_h:
        raise StudyError(f"[windows] hours = {longest:g}: longer than the record of {record_h:g} h; shorten it")
    if record_h / study.windows.step_h > MOST_CANDIDATES:
        raise StudyError(
            f"[windows] step_h = {study.windows.step_h:g}: the record of {record_h:g} h would have more than"
            f" {MOST_CANDIDATES} windows of each length; widen the step or shorten the record"
        )


def _place_of(mainshock: Mainshock, events: pd.DataFrame) -> tuple[float, float]:
    if mainshock.latitude is not None and mainshock.longitude is not None:
        return mainshock.latitude, mainshock.longitude
    event = nearest_event(events, pd.Timestamp(mainshock.time), mainshock.magnitude, MATCH_MAGNITUDE)
    if event is None or abs(event["offset_s"]) > MATCH_S:
        return float("nan"), float("nan")
    return float(event["latitude"]), float(event["longitude"])


def _too_close(times: Integers, distance_h: float) -> list[str]:
    """Going forward in time, a mainshock that comes `distance_h` or less after the last positive is none."""
    reasons: list[str] = []
    last: int | None = None
    for time in times:
        close = last is not None and time - last <= distance_h * HOUR_US
        reasons.append("too_close" if close else "")
        last = last if close else int(time)
    return reasons


def _blocks(table: pd.DataFrame, block_days: float, block_km: float) -> list[int]:
    """Number the blocks: positives near each other in time and space, directly or through others, are one block."""
    positive = [i for i, reason in enumerate(table["reason"]) if not reason]
    times = times_us(table["time"])
    block = [0] * len(table)
    for i in positive:
        joined = {block[j] for j in positive if j < i and _near(table, times, i, j, block_days, block_km)}
        block[i] = min(joined) if joined else max(block) + 1
        block = [block[i] if b in joined else b for b in block]
    order = {number: rank for rank, number in enumerate(sorted(set(block) - {0}), start=1)}
    return [order.get(number, 0) for number in block]


def _near(table: pd.DataFrame, times: Integers, i: int, j: int, block_days: float, block_km: float) -> bool:
    if abs(times[i] - times[j]) > block_days * DAY_US:
        return False
    row = table.loc[i]
    away = distance_km(
        table["latitude"].to_numpy()[[j]], table["longitude"].to_numpy()[[j]], row["latitude"], row["longitude"]
    )[0]
    return bool(np.isnan(away) or away <= block_km)  # where a place is not known, nearness in time decides


def block_sizes(mainshocks: pd.DataFrame) -> tuple[int, ...]:
    """Return how many positives each block holds, in the order of time.

    Examples
    --------
    >>> block_sizes(pd.DataFrame({"block": [1, 2, 2, 0]}))
    (1, 2)
    """
    counts = mainshocks.loc[mainshocks["block"] > 0, "block"].value_counts().sort_index()
    return tuple(int(n) for n in counts)


def unlisted_events(study: Study, events: pd.DataFrame) -> pd.DataFrame:
    """Return the study's events at least as large as its smallest mainshock that are not on its list."""
    region = study.study.region.model_dump()
    smallest = min(m.magnitude for m in study.mainshock)
    start, end = pd.Timestamp(study.study.start), pd.Timestamp(study.study.end)
    large = select_events(events, start=start, end=end, region=region, min_magnitude=smallest)
    listed = np.zeros(len(large), dtype=bool)
    for mainshock in study.mainshock:
        offset_s = (large["time"] - pd.Timestamp(mainshock.time)).dt.total_seconds().abs()
        alike = (large["magnitude"] - mainshock.magnitude).abs() <= MATCH_MAGNITUDE + 1e-9
        listed |= (alike & (offset_s <= MATCH_S)).to_numpy()
    return large.loc[~listed].reset_index(drop=True)


# --- windows ---------------------------------------------------------------------------------------------------------


def window_length_h(study: Study, layout: str, hours: float) -> float:
    """Return how long a window is: L itself, or the short window that ends L before (``at-lead``)."""
    return study.windows.lead_window_h if layout == "at-lead" else hours


def places(study: Study, mainshocks: pd.DataFrame) -> tuple[Place, ...]:
    """Return the places that windows look at: the region, or a circle around each positive mainshock."""
    if study.windows.radius_km is None:
        return (REGION,)
    positive = mainshocks.loc[mainshocks["block"] > 0]
    radius_km = study.windows.radius_km
    return tuple(Place(m["name"], m["latitude"], m["longitude"], radius_km) for m in positive.to_dict("records"))


def plan_windows(study: Study, mainshocks: pd.DataFrame) -> pd.DataFrame:
    """Return every window of the study, one row each, with kind and reason.

    Parameters
    ----------
    study : Study
    mainshocks : DataFrame
        From `plan_mainshocks`.

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
    zone = _zone_of(study, mainshocks)
    post_length = study.windows.post_length_h
    for place in places(study, mainshocks):
        tables += [
            _candidates(study, zone, ends, layout, hours, place)
            for layout in study.windows.layouts
            for hours in study.windows.hours
        ]
        if post_length not in study.windows.hours or "until-event" not in study.windows.layouts:
            tables.append(_candidates(study, zone, ends, "until-event", post_length, place))
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
    before, after = _zone_reach(study)
    times = times_us(mainshocks["time"])
    return [(str(n), int(t) - before, int(t) + after) for n, t in zip(mainshocks["name"], times, strict=True)]


def _zone_reach(study: Study) -> tuple[int, int]:
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
    before, after = _zone_reach(study)
    step = round(study.windows.step_h * HOUR_US)
    ahead = round(hours * HOUR_US) if layout == "at-lead" else round(study.windows.gap_s * 1e6)
    low, high = ahead - before, ahead + after + round(window_length_h(study, layout, hours) * HOUR_US)
    return np.arange(low // step + 1, high // step + 1, dtype=np.int64)


def meets_zone(starts: Integers, ends: Integers, low: int, high: int) -> np.ndarray:
    """Return which windows [start, end) meet a zone [low, high]: end > low and start ≤ high."""
    return np.asarray((ends > low) & (starts <= high))


def _candidates(
    study: Study, zones: Iterable[tuple[str, int, int]], ends: Integers, layout: str, hours: float, place: Place
) -> pd.DataFrame:
    starts = ends - round(window_length_h(study, layout, hours) * HOUR_US)
    mainshock = np.full(len(ends), place.mainshock, dtype=object)
    reason = np.full(len(ends), "", dtype=object)
    for name, low, high in zones:
        met = meets_zone(starts, ends, low, high)
        reason[met] = "zone"
        mainshock[met] = place.mainshock or name
    stamp = "%Y%m%dT%HZ" if study.windows.step_h == int(study.windows.step_h) else "%Y%m%dT%H%M%SZ"
    stamps = pd.to_datetime(ends, unit="us", utc=True).strftime(stamp)
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
    gap = round(study.windows.gap_s * 1e6)
    for layout in study.windows.layouts:
        for hours in study.windows.hours:
            length = round(window_length_h(study, layout, hours) * HOUR_US)
            end = time - (round(hours * HOUR_US) if layout == "at-lead" else gap)
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
