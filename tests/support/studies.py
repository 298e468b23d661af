"""Small studies as files: a seeded catalog, a study.toml, and the command line run on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from seisprobe.study import Study, study_from_dict
from support.catalog_files import fdsn_text
from support.event_tables import event_table

DAY_US = 86_400_000_000
REGION = {"min_latitude": 41.5, "max_latitude": 44.0, "min_longitude": 11.5, "max_longitude": 14.5}


def utc(text: str) -> datetime:
    """Return a time given without a zone as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NEW_YEAR = utc("2016-01-01")


@dataclass(frozen=True)
class World:
    """A record with mainshocks at given days; everything else follows from the seed."""

    seed: int = 0
    start: datetime = NEW_YEAR
    days: float = 120.0
    shocks: tuple[tuple[str, float, float], ...] = (("Alfa", 40.3, 6.0), ("Beta", 80.1, 5.8))
    per_day: float = 3.0
    history_days: float = 20.0
    windows: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    catalog: dict[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=self.days)

    def time_of(self, day: float) -> datetime:
        return self.start + timedelta(seconds=round(day * 86_400, 3))

    def places(self) -> list[tuple[float, float]]:
        """Return a place for each mainshock, all within 60 km of each other."""
        rng, n = np.random.default_rng([self.seed, 7]), len(self.shocks)
        return [
            (round(float(a), 4), round(float(b), 4))
            for a, b in zip(rng.uniform(42.6, 42.9, n), rng.uniform(12.9, 13.3, n), strict=True)
        ]

    def events(self) -> pd.DataFrame:
        """Return the catalog: scattered events, aftershocks, and the mainshocks; also some outside of the study."""
        rng = np.random.default_rng(self.seed)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        first = (self.start - epoch) // timedelta(microseconds=1)
        span = (int(-self.history_days * DAY_US), int((self.days + 5) * DAY_US))  # five days beyond the end
        n = rng.poisson(self.per_day * (span[1] - span[0]) / DAY_US)
        times = first + rng.integers(*span, n)
        latitude, longitude = rng.uniform(41.3, 44.2, n), rng.uniform(11.3, 14.7, n)
        magnitude = 2.3 + rng.exponential(0.45, n)  # some below the study's magnitude
        rows = list(zip(times, latitude, longitude, np.minimum(magnitude, 5.4), strict=False))
        for (_name, day, size), (a, b) in zip(self.shocks, self.places(), strict=False):
            origin = (self.time_of(day) - epoch) // timedelta(microseconds=1)
            rows.append((origin, a, b, size))
            after = origin + (rng.pareto(0.6, 60) * 3e-3 * DAY_US + 1e6).clip(max=60 * DAY_US).astype(np.int64)
            rows += [
                (t, a + rng.normal(0, 0.05), b + rng.normal(0, 0.05), min(2.5 + rng.exponential(0.45), size - 0.5))
                for t in after
                if t < first + span[1]
            ]
        return event_table(
            [
                {
                    "event_id": f"ev{i:05d}", "time": int(t), "latitude": round(float(a), 4),
                    "longitude": round(float(b), 4), "depth_km": round(float(rng.gamma(4.0, 2.5)), 1),
                    "magnitude": round(float(m), 1), "magnitude_type": "ML", "event_type": "earthquake",
                    "evaluation_mode": "", "evaluation_status": "",
                }
                for i, (t, a, b, m) in enumerate(rows)
            ]
        )  # fmt: skip

    def raw(self, source: str = "file:catalog.txt") -> dict[str, Any]:
        """Return the study as nested tables."""
        return {
            "study": {"name": "small", "seed": self.seed, "start": self.start, "end": self.end, "region": REGION},
            "catalog": {"source": source, "min_magnitude": 2.5, **self.catalog},
            "mainshock": [
                {"name": name, "time": self.time_of(day), "magnitude": size, "latitude": a, "longitude": b}
                for (name, day, size), (a, b) in zip(self.shocks, self.places(), strict=False)
            ],
            "windows": {"hours": [2, 6], **self.windows},
            "evaluation": {
                "backgrounds": ["quiet", "uniform", "matched"],
                "headline": "uniform",
                "draws": 99,
                "shifts": 99,
                **self.evaluation,
            },
        }

    def study(self, source: str = "file:catalog.txt") -> Study:
        return study_from_dict(self.raw(source))

    def write(self, folder: Path) -> Path:
        """Write catalog.txt and study.toml; return the study file."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "catalog.txt").write_bytes(fdsn_text(self.events(), place="somewhere"))
        path = folder / "study.toml"
        path.write_text(tomli_w.dumps(self.raw()), encoding="utf-8")
        return path


def environment() -> dict[str, str]:
    """Return the environment of commands: one thread, no coverage of terminals."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **threads}


def command(*arguments: object) -> list[str]:
    """Return the command line of seisprobe, run by this Python."""
    obspy = "ignore:SelectableGroups dict interface is deprecated:DeprecationWarning"
    return [sys.executable, "-W", "error", "-W", obspy, "-m", "seisprobe", *(str(a) for a in arguments)]


def call(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run seisprobe in a folder and return status, standard output and standard error."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def result_bytes(folder: Path) -> bytes:
    return (folder / "result.json").read_bytes()


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads(result_bytes(folder))  # type: ignore[no-any-return]
