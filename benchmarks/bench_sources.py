"""How long catalogs take to load, and how much memory: ``pytest benchmarks/bench_sources.py``.

Each load is timed in a process of its own as well, imports and all, because that is what a user waits for and what
peak memory means.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from seisprobe.sources.reading import read_catalog
from support import instance_metadata
from support.catalog_files import horus_csv
from support.event_tables import random_events
from support.shared import shared_file

CHILD = """
import json, re, sys, time
began = time.perf_counter()
from pathlib import Path
from seisprobe.sources.reading import read_catalog
events = len(read_catalog(Path(sys.argv[1])).events)
seconds = time.perf_counter() - began
# Not getrusage: its maximum counts what the parent held before this process began.
peak_kib = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
print(json.dumps([events, seconds, peak_kib / 1024]))
"""


def in_own_process(path: Path) -> tuple[int, float, float]:
    """Return the number of events, seconds (imports included) and peak memory in MiB of loading a file."""
    out = subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True, capture_output=True, text=True)
    events, seconds, peak_mib = json.loads(out.stdout)
    return events, seconds, peak_mib


def measure(benchmark: BenchmarkFixture, path: Path, limit_s: float, limit_mib: float) -> int:
    """Time a file's load here and in its own process, hold it against the limits, return the number of events."""
    catalog = benchmark.pedantic(read_catalog, args=(path,), rounds=3, warmup_rounds=1)
    events, seconds, peak_mib = in_own_process(path)
    benchmark.extra_info.update(
        events=events, process_seconds=round(seconds, 2), peak_mib=round(peak_mib), file_mib=path.stat().st_size >> 20
    )
    assert events == len(catalog.events)
    assert seconds <= limit_s
    assert peak_mib <= limit_mib
    return events


def test_instance_metadata_in_parquet(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    events = random_events(1, 14_000, start="2005-01-01", end="2020-01-01")
    instance_metadata.write_parquet(instance_metadata.traces(events, 300_206), tmp_path / "metadata.parquet")
    assert measure(benchmark, tmp_path / "metadata.parquet", limit_s=5.0, limit_mib=1024) == 14_000


def test_instance_metadata_in_csv_with_numbers_as_text(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    events = random_events(1, 14_000, start="2005-01-01", end="2020-01-01")
    table = instance_metadata.traces(events, 300_206, text_numbers=True)
    (tmp_path / "metadata.csv").write_bytes(instance_metadata.as_csv(table))
    assert measure(benchmark, tmp_path / "metadata.csv", limit_s=30.0, limit_mib=1024) == 14_000


def test_the_real_horus_catalog(benchmark: BenchmarkFixture) -> None:
    path = shared_file("data/catalogues/horus_norcia_box_2005-2019.csv.gz")
    assert measure(benchmark, path, limit_s=5.0, limit_mib=1024) == 230_027


def test_the_real_ingv_catalog(benchmark: BenchmarkFixture) -> None:
    path = shared_file("data/catalogues/ingv_italy_m2.5_2015-2026.txt")
    assert measure(benchmark, path, limit_s=5.0, limit_mib=1024) == 11_428


@pytest.mark.parametrize("n", [1_000, 10_000, 100_000])
def test_cost_against_catalog_size(benchmark: BenchmarkFixture, n: int, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(horus_csv(random_events(1, n, start="1990-01-01", end="2024-12-31")))
    benchmark.extra_info["cores"] = os.cpu_count()
    assert len(benchmark(read_catalog, tmp_path / "c.csv").events) == n
