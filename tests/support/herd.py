"""A simulated herd: daily cycle, feeding times, weekdays, animals of their own temper, and a response of known size.

The truth is known: `herd` gives the published layout of 15-minute activity, `e_obs_text` bursts as Movebank exports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["E_OBS_COLUMNS", "Herd", "e_obs_text", "herd"]

SLOT = pd.Timedelta(minutes=15)
E_OBS_COLUMNS = (
    "event-id", "visible", "timestamp", "eobs:acceleration-axes", "eobs:acceleration-sampling-frequency-per-axis",
    "eobs:accelerations-raw", "eobs:start-timestamp", "sensor-type", "individual-taxon-canonical-name",
    "tag-local-identifier", "individual-local-identifier",
)  # fmt: skip
TAXON = {"cow": "Bos taurus", "dog": "Canis familiaris", "sheep": "Ovis aries"}


@dataclass(frozen=True)
class Herd:
    """What the herd is like; sizes are in standard deviations of the noise, unless said otherwise.

    Parameters
    ----------
    animals : mapping of str to int
        Species and how many of each.
    feeding_h : sequence of float
        Local hours at which they are fed, for half an hour of high activity.
    response, response_h : float
        How much the activity of all rises in the last hours before each of `events`.
    persistence : float
        Correlation of the noise from one slot to the next (AR(1)).
    """

    animals: dict[str, int] = field(default_factory=lambda: {"cow": 6, "dog": 2, "sheep": 5})
    daily: float = 1.5
    feeding: float = 2.0
    feeding_h: Sequence[float] = (7.0, 17.0)
    weekend: float = -0.5
    temper: float = 1.0
    persistence: float = 0.6
    response: float = 0.0
    response_h: float = 12.0
    zone: str = "Europe/Rome"


def activity(
    kind: Herd, times: pd.DatetimeIndex, events: Sequence[pd.Timestamp], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the activity of each animal, (slots, animals of the species), by species, in standard deviations."""
    local = times.tz_convert(kind.zone)
    hour = local.hour + local.minute / 60.0
    shared = kind.daily * np.cos(2 * np.pi * (np.asarray(hour) - 13.0) / 24.0)
    shared += kind.feeding * np.any([(hour >= h) & (hour < h + 0.5) for h in kind.feeding_h], axis=0)
    shared += kind.weekend * (np.asarray(local.day_of_week) >= 5)
    before = np.zeros(len(times), dtype=bool)
    for event in events:
        before |= np.asarray((times + SLOT > event - pd.Timedelta(hours=kind.response_h)) & (times + SLOT <= event))
    shared += kind.response * before
    made = {}
    for species, count in kind.animals.items():
        noise = rng.normal(size=(len(times), count))
        noise[1:] *= np.sqrt(1 - kind.persistence**2)
        for row in range(1, len(times)):
            noise[row] += kind.persistence * noise[row - 1]
        made[species] = shared[:, None] + kind.temper * rng.normal(size=count) + noise
    return made


def herd(
    start: str,
    days: float,
    *,
    seed: int = 0,
    events: Sequence[pd.Timestamp] = (),
    local: bool = True,
    **kind: Any,
) -> pd.DataFrame:
    """Return the published layout: ``datetime`` (text, without zone), a column a species, and ``animal`` over all.

    Parameters
    ----------
    start : str
        With its zone.
    events : sequence of Timestamp
        What the herd answers to, if it does.
    local : bool
        Write local times of the herd's zone, else UTC.
    kind
        Fields of `Herd`.
    """
    chosen = Herd(**kind)
    times = pd.date_range(pd.Timestamp(start).tz_convert("UTC"), periods=round(days * 96), freq=SLOT)
    made = activity(chosen, times, events, np.random.default_rng(seed))
    written = times.tz_convert(chosen.zone if local else "UTC").tz_localize(None)
    table = pd.DataFrame({"datetime": written.strftime("%Y-%m-%d %H:%M:%S")})
    for species, values in made.items():
        table[species] = np.round(np.exp(0.2 * values.mean(axis=1)), 6)
    table["animal"] = np.round(np.exp(0.2 * np.hstack(list(made.values())).mean(axis=1)), 6)
    return table


def e_obs_text(
    start: str,
    bursts: int,
    *,
    samples: int = 40,
    axes: str = "XYZ",
    every_s: float = 60.0,
    animals: Sequence[tuple[str, str]] = (
        ("cow-1", "cow"),
        ("cow-2", "cow"),
        ("sheep-1", "sheep"),
        ("sheep-2", "sheep"),
    ),
    scale: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[str, np.ndarray]:
    """Return a Movebank export as text, and the numbers in it, (bursts, samples, axes).

    Parameters
    ----------
    every_s : float
        From one burst to the next; animals take turns.
    scale : ndarray, shape (bursts,), optional
        How strongly each burst shakes, in counts; 40 by default.
    """
    rng = np.random.default_rng(seed)
    size = np.full(bursts, 40.0) if scale is None else scale
    raw = np.rint(2048 + rng.normal(size=(bursts, samples, len(axes))) * size[:, None, None]).astype(int)
    times = pd.Timestamp(start).tz_convert("UTC") + pd.to_timedelta(np.arange(bursts) * every_s, unit="s")
    stamps = times.strftime("%Y-%m-%d %H:%M:%S.%f").str[:-3]
    lines = [",".join(E_OBS_COLUMNS)]
    for i, (stamp, numbers) in enumerate(zip(stamps, raw.reshape(bursts, -1).tolist(), strict=True)):
        name, species = animals[i % len(animals)]
        text = " ".join(map(str, numbers))
        taxon = TAXON.get(species, species)
        lines.append(f'{i},true,{stamp},{axes},20.0,"{text}",{stamp},acceleration,"{taxon}",{name}-tag,{name}')
    return "\n".join(lines) + "\n", raw
