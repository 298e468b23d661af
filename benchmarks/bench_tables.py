"""How fast Movebank's accelerations are read: ``pytest benchmarks/bench_tables.py``.

Ten million numbers and, for memory, five times as many; beside them the time that reading the bytes alone takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from seisprobe.sources.accelerations import read_bursts
from support.herd import e_obs_text

BURSTS, SAMPLES = 8_000, 1_250 // 3 + 1  # of three axes: ten million numbers
CHILD = """
import json, re, sys, time
from pathlib import Path
from seisprobe.sources.accelerations import read_bursts
import pyarrow.csv, pyarrow.compute
began = time.perf_counter()
samples = read_bursts(Path(sys.argv[1])).samples
seconds = time.perf_counter() - began
peak_kib = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
print(json.dumps([samples, seconds, peak_kib / 1024]))
"""


def in_own_process(path: Path) -> tuple[int, float, float]:
    """Return the numbers read, seconds and peak memory in MiB."""
    out = subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True, capture_output=True, text=True)
    samples, seconds, peak_mib = json.loads(out.stdout)
    return samples, seconds, peak_mib


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    path = tmp_path_factory.mktemp("movebank") / "accelerations.csv"
    text, raw = e_obs_text("2016-10-28T00:00Z", BURSTS, samples=SAMPLES)
    path.write_text(text)
    return path, raw


def test_ten_million_numbers(benchmark: BenchmarkFixture, export: tuple[Path, np.ndarray]) -> None:
    path, raw = export
    began = time.perf_counter()
    size = len(path.read_bytes())
    bytes_s = time.perf_counter() - began
    bursts = benchmark.pedantic(read_bursts, args=(path,), rounds=5, warmup_rounds=1)
    dynamic = raw - raw.mean(axis=1, keepdims=True)
    error = np.abs(bursts.odba - np.abs(dynamic).sum(axis=2).mean(axis=1)).max()
    rate = raw.size / benchmark.stats.stats.min
    benchmark.extra_info.update(
        numbers=raw.size, million_a_s=round(rate / 1e6, 1), mb=size // 10**6, bytes_alone_s=round(bytes_s, 3),
        error=float(error),
    )  # fmt: skip
    assert error <= 1e-9
    assert rate >= 10e6


def test_memory_stays_flat(benchmark: BenchmarkFixture, export: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, raw = export
    header, _, rows = path.read_text().partition("\n")
    longer = tmp_path / "longer.csv"
    with longer.open("w") as file:
        file.write(header + "\n")
        for year in range(2016, 2021):
            file.write(rows.replace("2016-1", f"{year}-1"))
    peaks = [in_own_process(p) for p in (path, longer)]
    assert peaks[1][0] == 5 * raw.size
    benchmark.extra_info.update(mib=[round(peak) for _, _, peak in peaks], seconds=[round(s, 2) for _, s, _ in peaks])
    benchmark.pedantic(lambda: None, rounds=1)
    assert peaks[1][2] - peaks[0][2] <= 64  # of 200 MB more
