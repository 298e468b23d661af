"""Worlds with waveforms, small enough for tests: catalog, noise and bursts at two stations, only where windows look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from obspy import Stream, Trace, UTCDateTime

from seisprobe.catalog import times_us
from seisprobe.embedding.masking import coda_s, shaken_spans
from seisprobe.intake import read_catalog
from seisprobe.planning import Plan, make_plan, waveform_rows
from seisprobe.study import Study, load_study, study_from_dict
from support.catalog_files import fdsn_text
from support.studies import World
from support.waveforms import write_sds

RATE_HZ = 20.0
PLACES = {"IV.AAA": (42.0, 13.0), "IV.BBB": (42.1, 13.0)}  # as `inventory_of` puts them
MARGIN_US = 120_000_000
NOISE = 60.0
Change = Callable[[str, np.ndarray, np.ndarray], np.ndarray]
SHOCKS = (("Alfa", 40.3, 6.0), ("Beta", 80.1, 5.8), ("Gamma", 100.6, 5.9))


def unchanged(station: str, times_us: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return samples as they are."""
    return samples


@dataclass(frozen=True)
class Seen:
    """A small study of waveforms.

    `change` takes a station, times (UTC microseconds, shape (n,)) and the three components' samples, (3, n); a sample
    that it makes NaN is not recorded. Longer stretches than `piece_h` are made in pieces.
    """

    seed: int = 0
    background_count: int = 16
    per_window: int = 10
    modalities: tuple[str, ...] = ("catalog", "seisclip", "catalog+seisclip", "amplitude")
    encoder: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    segments: dict[str, Any] = field(default_factory=dict)
    windows: dict[str, Any] = field(default_factory=dict)
    days: float = 120.0
    shocks: tuple[tuple[str, float, float], ...] = SHOCKS
    per_day: float = 3.0
    change: Change = unchanged
    piece_h: float = 1e6

    @property
    def world(self) -> World:
        return World(seed=self.seed, days=self.days, shocks=self.shocks, per_day=self.per_day)

    def raw(self, source: str) -> dict[str, Any]:
        """Return the study as nested tables."""
        raw = self.world.raw() | {
            "windows": {"hours": [2], "background_count": self.background_count, **self.windows},
            "waveforms": {"source": source, "stations": list(PLACES)},
            "segments": {"per_window": self.per_window, **self.segments},
            "encoder": {"precision": "float32", "backend": "torch", "threads": 1, "batch": 16, **self.encoder},
            "modality": [{"name": name} for name in self.modalities],
        }
        raw["evaluation"] = {
            "backgrounds": ["uniform", "etas"], "headline": "etas", "draws": 199, "synthetic_catalogs": 0,
            **self.evaluation,
        }  # fmt: skip
        return raw

    def study(self) -> Study:
        return study_from_dict(self.raw("sds:held"))

    def plan(self, folder: Path) -> Plan:
        """Return the plan of a study that `write` wrote into a folder."""
        study = load_study(folder / "study.toml")
        return make_plan(study, read_catalog(study, None)[0])

    def write(self, folder: Path, source: str) -> Path:
        """Write catalog.txt and study.toml; return the study file."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "catalog.txt").write_bytes(fdsn_text(self.world.events(), place="somewhere"))
        path = folder / "study.toml"
        path.write_text(tomli_w.dumps(self.raw(source)), encoding="utf-8")
        return path

    def write_archive(self, folder: Path, root: Path) -> Stream:
        """Write the waveforms that the windows of the study in a folder need; return a trace of each channel."""
        rows, _ = waveform_rows(self.study(), self.plan(folder))
        events = self.world.events()
        told = Stream()
        for station, place in PLACES.items():
            whole = Stream()
            for number, (begin, end) in enumerate(_pieces(_spans(rows), self.piece_h)):
                whole += self._record(station, place, events, begin, end, number)
            write_sds(root, whole)
            told += Stream({trace.id: trace for trace in reversed(whole)}.values()).sort()
        return told

    def _record(
        self, station: str, place: tuple[float, float], events: pd.DataFrame, begin: int, end: int, number: int
    ) -> Stream:
        """Return noise with a burst for each event."""
        rng = np.random.default_rng([self.seed, *station.encode(), number])
        step = round(1e6 / RATE_HZ)
        times = np.arange(begin, end, step)
        samples = rng.standard_normal((3, len(times)), dtype=np.float32) * np.float32(NOISE)
        samples[:, 1:] += 0.7 * samples[:, :-1]
        first, _ = shaken_spans(events, *place)
        near = (first < end) & (first + 600e6 > begin)
        for start, magnitude in zip(first[near], events["magnitude"].to_numpy()[near], strict=True):
            after_s = (times - start) / 1e6
            envelope = np.where(after_s > 0, np.exp(-np.maximum(after_s, 0) / (0.2 * coda_s(magnitude))), 0.0)
            burst = rng.standard_normal((3, len(times)), dtype=np.float32) * envelope * NOISE * 10 ** (magnitude - 1.5)
            samples += burst.astype(np.float32)
        samples = self.change(station, times, samples)
        network, name = station.split(".")
        header = {"network": network, "station": name, "location": "", "sampling_rate": RATE_HZ}
        return Stream(
            Trace(
                np.clip(samples[i, first:last], -2e8, 2e8).astype(np.int32),
                {**header, "channel": f"HH{letter}", "starttime": UTCDateTime((begin + first * step) / 1e6)},
            )
            for i, letter in enumerate("ENZ")
            for first, last in _recorded(samples[i])
        )


def _recorded(samples: np.ndarray) -> list[tuple[int, int]]:
    """Return [first, last) of each run of samples that are not NaN."""
    there = np.concatenate([[False], np.isfinite(samples), [False]])
    edges = np.flatnonzero(there[1:] != there[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _pieces(spans: Iterable[tuple[int, int]], hours: float) -> Iterator[tuple[int, int]]:
    """Yield spans cut into pieces: each event costs as much as the piece that it falls into is long."""
    for begin, end in spans:
        step = round(min(hours * 3.6e9, end - begin))
        yield from ((a, min(a + step, end)) for a in range(begin, end, step))


def _spans(rows: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield spans of time that hold all windows with a margin, on whole seconds, apart from each other."""
    begin, end = times_us(rows["start"]) - MARGIN_US, times_us(rows["end"]) + MARGIN_US
    order = np.argsort(begin)
    low, high = int(begin[order[0]]), int(end[order[0]])
    for a, b in zip(begin[order[1:]], end[order[1:]], strict=True):
        if a > high:
            yield _whole(low, high)
            low, high = int(a), int(b)
        high = max(high, int(b))
    yield _whole(low, high)


def _whole(low: int, high: int) -> tuple[int, int]:
    return low // 1_000_000 * 1_000_000, -(-high // 1_000_000) * 1_000_000


def small(**changes: Any) -> Seen:
    """Return the smallest world that has every modality."""
    return replace(Seen(), **changes)
