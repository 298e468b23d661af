"""Cost of the plan and of the features against the size of the catalog, and of a whole small study.

Run by hand: ``pytest benchmarks/bench_pipeline.py --benchmark-only -o addopts=""``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seisprobe import pipeline
from seisprobe.catalog import EVENT_COLUMNS, Catalog
from seisprobe.sources.files import write_fdsn_text
from seisprobe.study import Study, study_from_dict

START, END = datetime(2016, 1, 1, tzinfo=UTC), datetime(2018, 1, 1, tzinfo=UTC)
REGION = {"min_latitude": 41.5, "max_latitude": 44.0, "min_longitude": 11.5, "max_longitude": 14.5}
MAINSHOCKS = (("Alfa", 230.3, 6.0), ("Beta", 400.1, 5.9), ("Gamma", 600.5, 6.5))


def events_of(n: int) -> pd.DataFrame:
    """Return `n` scattered events over three years and the mainshocks."""
    rng = np.random.default_rng(n)
    start_us, day_us = round(START.timestamp() * 1e6), 86_400_000_000
    times = np.append(start_us + rng.integers(-365 * day_us, 731 * day_us, n), _origins(start_us, day_us))
    table = pd.DataFrame({"time": pd.to_datetime(times, unit="us", utc=True).as_unit("us")})
    table["latitude"] = np.append(rng.uniform(41.5, 44.0, n), [42.8] * 3)
    table["longitude"] = np.append(rng.uniform(11.5, 14.5, n), [13.1] * 3)
    table["depth_km"] = 9.0
    table["magnitude"] = np.append(
        np.round(2.5 + rng.exponential(0.43, n).clip(max=2.4), 1), [m for *_, m in MAINSHOCKS]
    )
    table = table.sort_values("time", ignore_index=True)
    table["event_id"] = [f"b{i:07d}" for i in range(len(table))]
    for column in ("magnitude_type", "event_type", "evaluation_mode", "evaluation_status"):
        table[column] = ""
    return table[list(EVENT_COLUMNS)]


def _origins(start_us: int, day_us: int) -> list[int]:
    return [start_us + round(day * day_us) for _, day, _ in MAINSHOCKS]


def study_of(source: str) -> Study:
    start_us = round(START.timestamp() * 1e6)
    return study_from_dict(
        {
            "study": {"name": "bench", "start": START, "end": END, "region": REGION},
            "catalog": {"source": source},
            "mainshock": [
                {
                    "name": name, "time": datetime.fromtimestamp(round(start_us / 1e6 + day * 86_400, 6), UTC),
                    "magnitude": magnitude, "latitude": 42.8, "longitude": 13.1,
                }
                for name, day, magnitude in MAINSHOCKS
            ],
            "evaluation": {"backgrounds": ["quiet", "uniform", "matched"], "headline": "uniform"},
        }
    )  # fmt: skip


@pytest.mark.parametrize("n", [4_000, 40_000, 230_000])
def test_plan_and_features(benchmark: Any, n: int) -> None:
    study, catalog = study_of("file:none"), Catalog(events_of(n))

    def work() -> int:
        plan = pipeline.make_plan(study, catalog)
        return sum(len(table) for table in pipeline.compute_features(study, plan).values())

    assert benchmark.pedantic(work, rounds=3, warmup_rounds=1) > 100_000


def test_whole_study(benchmark: Any, tmp_path: Path) -> None:
    write_fdsn_text(events_of(4_000), tmp_path / "catalog.txt")
    study = study_of(f"file:{tmp_path / 'catalog.txt'}")
    rounds = iter(range(100))
    result = benchmark.pedantic(lambda: pipeline.run(study, out=tmp_path / f"out{next(rounds)}"), rounds=2)
    assert result["k"] == 3
