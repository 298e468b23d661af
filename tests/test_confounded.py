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
from seisprobe.intake import read_catalog
from seisprobe.observing import observe_study, settle
from seisprobe.planning import iter_features, make_plan, tables_of
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
    """Return outages of minutes to an hour, ten times as many from some days before the first mainshock on.

    In every other world the sensor swings for two minutes when it comes back.
    """
    rng = np.random.default_rng([seed, 2])
    shocks = late_shocks(rng)
    often = shocks[0][1] - rng.uniform(0.5, 6.0)
    begins = np.sort(np.concatenate([rng.uniform(0, 120, 40), rng.uniform(often, 120, round(10 * (120 - often)))]))
    lengths = np.exp(rng.uniform(np.log(3.0), np.log(60.0), len(begins))) / 1440
    return shocks, outages(begins, lengths, swings=bool(seed % 2))


def failing_world(seed: int) -> tuple[Shocks, Change]:
    """Return a few outages any day and some more in the hour before each mainshock; the sensor swings after each."""
    rng = np.random.default_rng([seed, 5])
    shocks = shocks_at(np.array([40.3, 80.1, 100.6]) + rng.uniform(-9.0, 9.0, 3) * [1, 1, 0])
    before = [day - minutes / 1440 for _, day, _ in shocks for minutes in rng.uniform(8.0, 58.0, 3)]
    begins = np.sort(np.concatenate([rng.uniform(0, 120, 500), before]))
    return shocks, outages(begins, rng.uniform(1.0, 6.0, len(begins)) / 1440, swings=True)


def outages(begins: np.ndarray, lengths: np.ndarray, *, swings: bool) -> Change:
    """Return what drops samples of the bad station, times and lengths in days."""
    out = [(day_us(b), day_us(b + length)) for b, length in zip(begins, lengths, strict=True)]

    def change(station: str, times: np.ndarray, samples: np.ndarray) -> np.ndarray:
        if station != BAD:
            return samples
        near = [(a, b) for a, b in out if b + 5 * MINUTE_US > times[0] and a < times[-1]]
        for _, end in near if swings else ():
            after_s = np.clip((times - end) / 1e6, 0, 900)
            samples += (2e4 * np.exp(-after_s / 30) * np.sin(after_s) * (after_s < 900)).astype(np.float32)
        for begin, end in near:
            samples[:, (times >= begin) & (times < end)] = np.nan
        return samples

    return change


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
    "failing": failing_world,
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


def word_of(evaluation: Evaluation, modality: str) -> str:
    return evaluation.verdicts[modality, "novelty", 1.0, "etas", "until-event"].word


def cell_of(evaluation: Evaluation, modality: str) -> Cell:
    """Return the novelty of a modality at `etas`."""
    return next(c for c in evaluation.cells if c.key == (modality, "novelty", 1.0, "etas", "until-event"))


def adds(evaluation: Evaluation, b: str) -> str:
    """Return whether SeisCLIP adds to another modality."""
    return next(c.word for c in evaluation.comparisons if (c.a, c.b) == ("seisclip", b))


def nothing_found(evaluation: Evaluation) -> bool:
    """Return whether no cell that reads waveforms has a word that says something was found."""
    assert evaluation.primary[0] == BOTH
    return not {word_of(evaluation, "seisclip"), word_of(evaluation, BOTH)} & set(FOUND)


def expected_power(evaluation: Evaluation) -> float:
    """Return how often SeisCLIP, with the AUC that it has, adds to a catalog that knows nothing: its AUC as drawn."""
    own, other = cell_of(evaluation, "seisclip"), cell_of(evaluation, "catalog")
    assert own.null is not None
    assert other.null is not None
    assert own.auc is not None
    return float(np.mean(own.auc - other.null >= np.quantile(own.null - other.null, 0.95)))


# --- one bad station -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "seed", "control"),
    [
        ("failing", 3, "station_state"),
        pytest.param("midnight", 9, "clock", marks=pytest.mark.slow),
        pytest.param("gain", 0, "", marks=pytest.mark.slow),
    ],
)
def test_what_is_wrong_with_one_station_is_not_found(kind: str, seed: int, control: str, tmp_path: Path) -> None:
    """Two of these worlds are significant; one control each takes the word away, alone."""
    evaluation = judged(world_of(WORLDS[kind], seed, str(tiny_encoder(tmp_path)["name"])), tmp_path)
    assert nothing_found(evaluation)
    if control:
        verdict = evaluation.verdicts[evaluation.primary]
        assert (verdict.word, verdict.rule) == ("CONFOUNDED", 2)
        assert f"but {control} alone" in verdict.why


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORLDS)
def test_what_is_wrong_with_one_station_is_caught_in_18_of_20_worlds(kind: str, tmp_path: Path) -> None:
    encoder = str(tiny_encoder(tmp_path)["name"])
    caught, words = 0, Counter()
    for seed in range(SEEDS):
        evaluation = judged(world_of(WORLDS[kind], seed, encoder), tmp_path / str(seed))
        caught += nothing_found(evaluation)
        words.update([word_of(evaluation, BOTH)])
    assert caught >= LEAST_CAUGHT, words


# --- a change that waveforms see -------------------------------------------------------------------------------------


def hidden(seed: int, folder: Path, background_count: int = 30) -> Evaluation:
    encoder = str(tiny_encoder(folder)["name"])
    modalities = ("catalog", "seisclip", BOTH, "amplitude")
    world = world_of(hidden_world, seed, encoder, background_count=background_count, modalities=modalities)
    return judged(world, folder)


def test_seisclip_adds_to_the_catalog_what_amplitude_sees_as_well(tmp_path: Path) -> None:
    evaluation = hidden(1, tmp_path, background_count=16)
    assert adds(evaluation, "catalog") == "ADDS"
    assert adds(evaluation, "amplitude") in ("DOES NOT ADD", "CANNOT SAY")


@pytest.mark.slow
def test_seisclip_adds_to_the_catalog_at_its_power_and_not_to_amplitude(tmp_path: Path) -> None:
    made = [hidden(seed, tmp_path / str(seed)) for seed in range(SEEDS)]
    over = {b: sum(adds(evaluation, b) == "ADDS" for evaluation in made) for b in ("catalog", "amplitude")}
    expected = sum(expected_power(evaluation) for evaluation in made)
    spread = np.sqrt(expected * (1 - expected / SEEDS))
    assert over["catalog"] >= expected - max(2.0 * spread, 2.0), (over, expected)
    assert over["amplitude"] <= 3, over  # 5% of 20 is one; four or more of 20 is 2%
    assert all((cell_of(evaluation, "amplitude").auc or 0) > 0.8 for evaluation in made)
