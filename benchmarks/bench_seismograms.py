"""Time and memory of a simulated day of a station, on one core: ``pytest benchmarks/bench_seismograms.py``.

The day is one of an aftershock sequence: 2,000 events of M ≥ 0.5, b = 1, within some 50 km of the station.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from pytest_benchmark.fixture import BenchmarkFixture

from seisprobe.simulation.noise import NoiseModel, noise_velocity
from seisprobe.simulation.seismograms import DAY_US, Recording, Station, station_day

START_US = 17_000 * DAY_US
STATION = Station("IV", "NRCA", 42.83, 13.11)
RECORDING = Recording(START_US, START_US + DAY_US)


def sequence(n: int) -> pd.DataFrame:
    """Return n events of a day."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "event_id": [f"e{number}" for number in range(n)],
            "time": pd.to_datetime(np.sort(START_US + rng.integers(0, DAY_US, n)), unit="us", utc=True),
            "latitude": 42.8 + 0.15 * rng.standard_normal(n),
            "longitude": 13.1 + 0.2 * rng.standard_normal(n),
            "depth_km": rng.gamma(9.0, 1.0, n),
            "magnitude": np.minimum(0.5 - np.log10(rng.random(n)), 6.0),
        }
    )


def peak_mib(n: int) -> float:
    """Return the peak memory of a process that makes one day, imports and all, in MiB."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import bench_seismograms as b, json, pathlib\n"
        f"b.station_day(b.sequence({n}), b.STATION, b.START_US, b.RECORDING)\n"
        "print(json.dumps(pathlib.Path('/proc/self/status').read_text()))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(re.search(r"VmHWM:\s+(\d+)", json.loads(out.stdout)).group(1)) / 1024


def test_a_day_of_2000_events(benchmark: BenchmarkFixture) -> None:
    events = sequence(2000)
    record = benchmark.pedantic(station_day, args=(events, STATION, START_US, RECORDING), rounds=3, warmup_rounds=1)
    assert record.counts.shape == (3, 8_640_000)
    benchmark.extra_info["peak_mib"] = round(peak_mib(2000))
    assert benchmark.stats.stats.min <= 5.0
    assert benchmark.extra_info["peak_mib"] <= 1024


def test_a_day_of_noise(benchmark: BenchmarkFixture) -> None:
    arguments = (START_US, 8_640_000, STATION.name, 0, NoiseModel())
    benchmark.pedantic(noise_velocity, args=arguments, rounds=3, warmup_rounds=1)


def test_an_hour_without_events(benchmark: BenchmarkFixture) -> None:
    arguments = (START_US, 360_000, STATION.name, 0, NoiseModel())
    benchmark.pedantic(noise_velocity, args=arguments, rounds=5, warmup_rounds=1)
