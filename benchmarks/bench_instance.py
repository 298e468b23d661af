"""INSTANCE at its full length: 1.2 million rows of metadata, 2,000 traces: ``pytest benchmarks/bench_instance.py``.

Each reading is done in a process of its own, because that is what peak memory means. What must show: memory does not
grow with the table (12,000 rows against 1.2 million), and only the columns needed cost anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from support.instance_files import as_csv, metadata, write_waves

ROWS, FEW_ROWS, TRACES, PIECE = 1_200_000, 12_000, 2_000, 50_000
CHILD = """
import json, re, sys, time
from pathlib import Path
import pandas as pd
from seisprobe.sources.instance import InstanceSource
from seisprobe.sources.waveforms import Query
began = time.perf_counter()
source = InstanceSource(Path(sys.argv[1]))
everything = source.units(Query())
table_s = time.perf_counter() - began
began = time.perf_counter()
start = pd.Timestamp("2016-08-24", tz="UTC")
chosen = source.units(Query(start=start, end=start + pd.Timedelta(minutes=10) * int(sys.argv[2]), stations=("IV.*",)))
query_s = time.perf_counter() - began
began = time.perf_counter()
traces = sum(len(source.read(unit, Query()).waveforms) for unit in everything[: int(sys.argv[2]) // 500])
read_s = (time.perf_counter() - began)
# Not getrusage: its maximum counts what the parent held before this process began.
peak_kib = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
rows = everything[-1].last
print(json.dumps(dict(rows=rows, chosen=len(chosen), traces=traces, table_s=round(table_s, 2),
    query_s=round(query_s, 2), ms_a_trace=round(1e3 * read_s / traces, 3), peak_mib=peak_kib // 1024)))
"""


def write_long_table(path: Path, rows: int) -> None:
    """Write a table piece by piece: the whole would not fit into a small memory."""
    with path.open("wb") as file:
        for first in range(0, rows, PIECE):
            text = as_csv(metadata(min(PIECE, rows - first), first=first, columns=115))
            file.write(text if not first else text.partition(b"\n")[2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instance")
    write_waves(folder / "traces.hdf5", TRACES)
    write_long_table(folder / "few.csv", FEW_ROWS)
    write_long_table(folder / "all.csv", ROWS)
    return folder


def in_own_process(table: Path) -> dict[str, float]:
    out = subprocess.run(
        [sys.executable, "-c", CHILD, str(table), str(TRACES)], check=True, capture_output=True, text=True
    )
    return dict(json.loads(out.stdout))


def test_memory_does_not_grow_with_the_table(benchmark: BenchmarkFixture, folder: Path) -> None:
    few = in_own_process(folder / "few.csv")
    long = benchmark.pedantic(in_own_process, args=(folder / "all.csv",), rounds=1)
    benchmark.extra_info.update(few=few, long=long, table_mib=(folder / "all.csv").stat().st_size >> 20)
    assert (few["rows"], long["rows"]) == (FEW_ROWS, ROWS)
    assert few["traces"] == long["traces"] == TRACES
    assert long["peak_mib"] - few["peak_mib"] < 100
    assert long["ms_a_trace"] < 5
