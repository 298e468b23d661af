"""A recount of the catalog's simplest cells, from the protocol's text alone: plain loops, nothing of the package.

It reads the study file and the catalog's text itself and knows no pandas and no numpy, so that it can agree with the
package only by computing the same thing. Times are whole microseconds since 1970.
"""

from __future__ import annotations

import math
import tomllib
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULTS: dict[str, Any] = {
    "hours": [2, 6, 12, 24],
    "gap_s": 120,
    "embargo_h": 24,
    "step_h": 1,
    "layouts": ["until-event"],
    "lead_window_h": 1,
    "radius_km": None,
}


@dataclass(frozen=True)
class Event:
    """An earthquake: microseconds, degrees, magnitude."""

    time: int
    latitude: float
    longitude: float
    magnitude: float


@dataclass(frozen=True)
class Cell:
    """What the recount says of one cell."""

    auc: float
    percentiles: dict[str, float]
    n_background: dict[str, int]


def microseconds(time: datetime | str) -> int:
    """Return a time, UTC where it names no zone, in whole microseconds."""
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - EPOCH) // timedelta(microseconds=1)


def read_events(path: Path) -> list[Event]:
    """Return the events of an FDSN text file, in time order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = [name.strip() for name in lines[0].lstrip("#").split("|")]
    events = []
    for line in lines[1:]:
        row = dict(zip(names, line.split("|"), strict=True))
        place = float(row["Latitude"]), float(row["Longitude"])
        events.append(Event(microseconds(row["Time"]), *place, float(row["Magnitude"])))
    return sorted(events, key=lambda event: event.time)


def kilometres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the great-circle distance of two (latitude, longitude) on a sphere of 6371 km."""
    (phi1, lambda1), (phi2, lambda2) = ([math.radians(x) for x in p] for p in (a, b))
    unit = [
        (math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi))
        for phi, lam in ((phi1, lambda1), (phi2, lambda2))
    ]
    chord = math.dist(*unit)
    return 2 * 6371.0 * math.asin(chord / 2)


class Recount:
    """One study, recounted.

    Parameters
    ----------
    study : Path
        A study.toml.
    catalog : Path
        Its catalog as FDSN text.
    """

    def __init__(self, study: Path, catalog: Path) -> None:
        raw = tomllib.loads(study.read_text(encoding="utf-8"))
        self.start, self.end = microseconds(raw["study"]["start"]), microseconds(raw["study"]["end"])
        windows = DEFAULTS | raw.get("windows", {})
        self.lengths = [round(hours * HOUR) for hours in windows["hours"]]
        self.longest = max(self.lengths)
        self.gap = round(windows["gap_s"] * SECOND)
        self.embargo = round(windows["embargo_h"] * HOUR)
        self.step = round(windows["step_h"] * HOUR)
        self.layouts = windows["layouts"]
        self.lead_window = round(windows["lead_window_h"] * HOUR)
        self.radius_km = windows["radius_km"]
        self.mc = raw["catalog"].get("mc", raw["catalog"].get("min_magnitude", 2.5))
        self.min_magnitude = raw["catalog"].get("min_magnitude", 2.5)
        self.mainshocks = sorted(raw["mainshock"], key=lambda m: microseconds(m["time"]))
        region = raw["study"]["region"]
        self.events = [
            e
            for e in read_events(catalog)
            if self.start - 365 * DAY <= e.time < self.end
            and e.magnitude >= self.min_magnitude
            and region["min_latitude"] <= e.latitude <= region["max_latitude"]
            and region["min_longitude"] <= e.longitude <= region["max_longitude"]
        ]

    @property
    def n_events(self) -> int:
        """The events of the study's own period."""
        return sum(e.time >= self.start for e in self.events)

    def positives(self) -> list[dict[str, Any]]:
        """Return the mainshocks that count: more than D after the last one that counts."""
        apart = self.longest + 2 * self.embargo + 2 * HOUR
        kept: list[dict[str, Any]] = []
        for shock in self.mainshocks:
            if not kept or microseconds(shock["time"]) - microseconds(kept[-1]["time"]) > apart:
                kept.append(shock)
        return kept

    def candidate_ends(self) -> list[int]:
        """Return the whole multiples of the step from 00:00 UTC of the first day that may end a window."""
        end = self.start // DAY * DAY
        ends = []
        while end <= self.end:
            if end >= self.start + self.longest:
                ends.append(end)
            end += self.step
        return ends

    def zones(self) -> list[tuple[int, int]]:
        """Return what is closed around every mainshock, positives or not."""
        times = [microseconds(m["time"]) for m in self.mainshocks]
        return [(t - self.longest - self.embargo, t + 2 * HOUR + self.embargo) for t in times]

    def background(self, width: int, name: str, events: list[Event]) -> list[tuple[int, int]]:
        """Return the windows [start, end) of a background."""
        large = [e.time for e in events if e.magnitude >= 4.0]
        zones = self.zones()
        kept = []
        for end in self.candidate_ends():
            if any(end > a and end - width <= b for a, b in zones):
                continue
            if name == "quiet" and any(end - width - 48 * HOUR <= t < end + 48 * HOUR for t in large):
                continue
            kept.append((end - width, end))
        return kept

    def near(self, shock: dict[str, Any]) -> list[Event]:
        """Return the events that concern a mainshock."""
        if self.radius_km is None:
            return self.events
        here = shock["latitude"], shock["longitude"]
        return [e for e in self.events if kilometres(here, (e.latitude, e.longitude)) <= self.radius_km]

    def feature(self, name: str, window: tuple[int, int], times: list[int], events: list[Event]) -> float:
        """Return event_rate or max_magnitude of one window; `times` are those of the events M >= Mc, in order."""
        start, end = window
        inside = events[bisect_left(times, start) : bisect_left(times, end)]
        if name == "event_rate":
            value = len(inside) / ((end - start) / HOUR)
        else:
            value = max((e.magnitude for e in inside), default=self.mc - 0.1)
        return float(f"{value:.8e}")

    def cell(self, feature: str, hours: float, background: str, layout: str) -> Cell:
        """Return AUC and percentiles of one cell."""
        length = round(hours * HOUR)
        percentiles, counts = {}, {}
        scores: list[float] = []
        for shock in self.positives():
            near = self.near(shock)
            countable = [e for e in near if e.magnitude >= self.mc]
            times = [e.time for e in countable]
            t = microseconds(shock["time"])
            if layout == "until-event":
                width, window = length, (t - self.gap - length, t - self.gap)
            else:
                width, window = self.lead_window, (t - length - self.lead_window, t - length)
            s = self.feature(feature, window, times, countable)
            if not scores or self.radius_km is not None:  # without circles the background is the same for all
                windows = self.background(width, background, near)
                scores = [self.feature(feature, w, times, countable) for w in windows]
            below, ties = sum(x < s for x in scores), sum(x == s for x in scores)
            percentiles[shock["name"]] = (below + ties / 2) / len(scores)
            counts[shock["name"]] = len(scores)
        return Cell(sum(percentiles.values()) / len(percentiles), percentiles, counts)
