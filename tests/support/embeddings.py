"""Tiny encoders in files, what a store holds as bytes, and a process that is killed while it embeds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.seisclip import golden_state

ROOT = Path(__file__).resolve().parents[2]


def tiny_encoder(folder: Path, *, seed: int = 0, batch: int = 16) -> dict[str, object]:
    """Return the arguments of make_encoder for a SeisCLIP of width 64 and depth 1, written as a checkpoint."""
    torch = pytest.importorskip("torch")
    state = golden_state(width=64, depth=1)
    if seed:
        state = {key: value + 0.01 * seed for key, value in state.items()}
    path = folder / f"tiny-{seed}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return {"name": str(path), "batch": batch, "threads": 1}


def part_bytes(folder: Path) -> dict[str, bytes]:
    """Return every part below a folder: name and bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def seconds(text: str) -> int:
    """Return a UTC time as seconds since 1970."""
    return int(pd.Timestamp(text, tz="UTC").timestamp())


def starts(text: str, count: int, hop_s: int = 60) -> np.ndarray:
    """Return the starts of `count` segments from a UTC time on."""
    return seconds(text) + hop_s * np.arange(count)


# Everything heavy is imported once; each run is forked from there, so that a kill costs milliseconds, not imports.
NURSERY = """
import os, sys, time
from pathlib import Path
import numpy, pandas, pyarrow.parquet, scipy.signal, obspy, torch, filelock
import obspy.clients.filesystem.sds
import seisprobe.embedding.embed, seisprobe.sources.sds, seisprobe.seisclip.engine, seisprobe.seisclip.baselines
from seisprobe.embedding.embed import embed
from seisprobe.embedding.work import Recipe
from seisprobe.sources.waveforms import Query
print("ready", flush=True)
for line in sys.stdin:
    source, out, weights = line.rstrip("\\n").split("|")
    child = os.fork()
    if child == 0:
        recipe = Recipe({"name": weights, "batch": 16, "threads": 1})
        night = Query(pandas.Timestamp("2016-10-29T23:54Z"), pandas.Timestamp("2016-10-30T00:06Z"))
        embed(source, night, Path(out), recipe, progress=lambda share, key: print("done", key, flush=True))
        os._exit(0)
    print("child", child, flush=True)
    print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """A process from which runs of embed are forked, to be killed."""

    def __init__(self) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        assert self._line() == "ready"

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def _line(self) -> str:
        return self.process.stdout.readline().strip()

    def embed(self, source: str, out: Path, weights: str, *, kill_after_s: float | None = None) -> tuple[int, int]:
        """Run embed, SIGKILL it after some seconds; return its exit status and the number of units it reported."""
        self.process.stdin.write(f"{source}|{out}|{weights}\n")
        self.process.stdin.flush()
        child = int(self._line().split()[1])
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        done = 0
        while (line := self._line()).startswith("done"):
            done += 1
        return int(line.split()[1]), done
