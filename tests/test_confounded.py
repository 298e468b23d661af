"""What one bad station does to a word, and what waveforms add: worlds in which the answer is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seisprobe.evaluation.cells import Cell
from seisprobe.evaluation.judgement import Evaluation, evaluate
from seisprobe.observing import observe_study, settle
from seisprobe.planning import iter_features, make_plan, tables_of
from seisprobe.intake import read_catalog
from seisprobe.study import load_study
from support.embeddings import tiny_encoder
from support.seen import Change, Seen, small
from support.studies import NEW_YEAR

pytest.importorskip("torch")

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
START_US = int(NEW_YEAR.timestamp()) * 1_000_000
BAD = "IV.AAA"
SEEDS = 20
LEAST_CAUGHT = 18
FOUND = ("SUGGESTIVE", "DETECTED")
Shocks = tuple[tuple[str, float, float], ...]
BOTH = "catalog+seisclip"


# --- worlds ----------------------------------------------------------------------------------------------------------


def day_us(day: float) -> int:
    return START_US + round(day * DAY_US)


def shocks_at(days: np.ndarray) -> Shocks:
    return tuple((f"Shock{k}", float(day), 5.8 + 0.05 * k) for k, day in enumerate(days))


def late_shocks(rng: np.random.Generator) -> Shocks:
    """Return three mainshocks, more than ten days apart, all in the last part of 120 days."""
    first = rng.uniform(62.0, 90.0)
    return shocks_at(first + np.array([0.0, rng.uniform(11.0, 13.0), rng.uniform(24.0, 26.0)]))


def gain_world(seed: int) -> tuple[Shocks, Change]:
    """Return a gain of three times from some days before the first mainshock on.

    SeisCLIP norms each segment and so cannot see a gain; in every other world a new sensor comes with it, which records
    less of the high frequencies.
    """
    rng = np.random.default_rng([seed, 1])
    shocks = late_shocks(rng)
    since = day_us(shocks[0][1] - rng.uniform(0.5, 6.0))

    def change(station: str, times: np.ndarray, samples: np.ndarray) -> np.ndarray:
        if station != BAD:
            return samples
        smooth = samples.copy()
        if seed % 2:
            smooth[:, 1:] += samples[:, :-1]
            smooth[:, 2:] += samples[:, :-2]
        return np.where(times >= since, 3.0 * smooth, samples).astype(np.float32)

    return shocks, change


def outage_world(seed: int) -> tuple[Shocks, Change]:
    """Return outages of minutes to hours, ten times as many from some days before the first mainshock on.

    In every other world the sensor swings for two minutes when it comes back.
    """
    rng = np.random.default_rng([seed, 2])
    shocks = late_shocks(rng)
    often = shocks[0][1] - rng.uniform(0.5, 6.0)
    begins = np.sort(np.concatenate([rng.uniform(0, 120, 40), rng.uniform(often, 120, round(10 * (120 - often)))]))
    lengths = np.exp(rng.uniform(np.log(3.0), np.log(60.0), len(begins))) / 1440
    out = [(day_us(b), day_us(b + length)) for b, length in zip(begins, lengths, strict=True)]

    def change(station: str, times: np.ndarray, samples: np.ndarray) -> np.ndarray:
        if station != BAD:
            return samples
        samples = samples.astype(np.float32)
        near = [(a, b) for a, b in out if b + 2 * MINUTE_US > times[0] and a < times[-1]]
        for _, end in near if seed % 2 else ():
            after_s = (times - end) / 1e6
            samples += np.where(after_s >= 0, 2e4 * np.exp(-np.clip(after_s, 0, 900) / 30) * np.sin(after_s), 0)
        for begin, end in near:
            samples[:, (times >= begin) & (times < end)] = np.nan
        return samples

    return shocks, change


def midnight_world(seed: int) -> tuple[Shocks, Change]:
    """Return pulses from 23:55 to 00:05 UTC every day, and mainshocks soon after midnight."""
    rng = np.random.default_rng([seed, 3])
    days = np.array([40, 80, 100]) + rng.integers(-9, 9, 3) * [1, 1, 0]
    shocks = shocks_at(days + rng.uniform(10.0, 50.0, 3) / 1440)

    def change(station: str, times: np.ndarray, samples: np.ndarray) -> np.ndarray:
        if station != BAD:
            return samples
        after = (times + 5 * MINUTE_US) % DAY_US
        pulse = 1500.0 * np.sign(np.sin(2 * np.pi * times / 8e6))
        return (samples + np.where(after < 10 * MINUTE_US, pulse, 0.0)).astype(np.float32)

    return shocks, change


def hidden_world(seed: int) -> tuple[Shocks, Change]:
    """Return a strong hum in the hour before each of six mainshocks, at both stations, of a frequency of its own."""
    rng = np.random.default_rng([seed, 4])
    shocks = shocks_at(20.0 + 17.0 * np.arange(6) + rng.uniform(-2.5, 2.5, 6))
    hums = [(day_us(day) - 62 * MINUTE_US, day_us(day), rng.uniform(1.5, 8.0)) for _, day, _ in shocks]

    def change(station: str, times: np.ndarray, samples: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng([seed, *station.encode(), int(times[0] // 1_000_000)])
        for begin, end, hertz in hums:
            inside = (times >= begin) & (times < end)
            if inside.any():
                swing = 1.0 + 0.3 * noise.standard_normal((3, int(inside.sum()) // 20 + 1)).repeat(20, axis=1)
                wave = np.sin(2 * np.pi * hertz * (times[inside] - begin) / 1e6)
                samples[:, inside] += (240.0 * swing[:, : wave.size] * wave).astype(np.float32)
        return samples

    return shocks, change


WORLDS: dict[str, Callable[[int], tuple[Shocks, Change]]] = {
    "gain": gain_world,
    "outages": outage_world,
    "midnight": midnight_world,
}


def world_of(kind: Callable[[int], tuple[Shocks, Change]], seed: int, encoder: str, **others: object) -> Seen:
    shocks, change = kind(seed)
    settings = {
        "background_count": 20, "windows": {"hours": [1]}, "modalities": ("catalog", "seisclip", BOTH),
        "evaluation": {"draws": 499}, "encoder": {"name": encoder},
    }  # fmt: skip
    return small(seed=seed, shocks=shocks, change=change, **(settings | others))


def judged(world: Seen, folder: Path) -> Evaluation:
    """Write a world, and judge it as `pipeline.run` does, without classifiers, changes and report."""
    path = world.write(folder / "user", f"sds:{folder / 'held'}")
    world.write_archive(folder / "user", folder / "held")
    study = settle(load_study(path))
    plan = make_plan(study, read_catalog(study, None)[0])
    waves = observe_study(study, plan, folder / "out")
    seen = replace(plan, setting=replace(plan.setting, waves=waves))
    return evaluate(study, tables_of(study, seen, dict(iter_features(study, seen))), label_free=True)
