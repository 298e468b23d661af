"""Waveforms to vectors: how much of the engine's speed is left, memory against length, and what a second worker adds.

    python benchmarks/bench_embed.py [--days 10] [--precision bfloat16] [--backend fused] [--json FILE]

Days are noise in Steim-2 miniSEED, an SDS archive of as many stations; weights are seeded random ones of the published
shape. Each measurement runs in a process of its own. The engine's own rate is measured before and after in the same
process, on windows that are in memory, and the better one counts. Beside windows a second of the clock stand windows a
second of processor time, which other load on the machine disturbs far less.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from obspy import Stream, Trace, UTCDateTime

from seisprobe.embedding.components import Segmenting
from seisprobe.embedding.embed import embed
from seisprobe.embedding.executors import processes
from seisprobe.embedding.work import Recipe
from seisprobe.seisclip import make_encoder
from seisprobe.seisclip.baselines import random_values
from seisprobe.seisclip.model import ModelConfig, SeisClip
from seisprobe.sources.waveforms import Query

DAY = UTCDateTime("2016-10-30")
RECORD = 512
MARK = "result: "


def say(line=""):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write_days(root, days):
    """One station's day of noise, and copies of it under other station codes (bytes 8 to 12 of each record)."""
    for component in "ENZ":
        noise = np.random.default_rng(ord(component)).standard_normal(8_640_000, np.float32) * 300
        head = {"network": "IV", "station": "S000", "channel": f"HH{component}", "starttime": DAY, "sampling_rate": 100}
        path = root / "one.mseed"
        Stream([Trace(noise.astype(np.int32), head)]).write(str(path), format="MSEED", encoding="STEIM2", reclen=RECORD)
        records = np.fromfile(path, np.uint8).reshape(-1, RECORD)
        path.unlink()
        for number in range(days):
            station = f"S{number:03d}"
            records[:, 8:13] = np.frombuffer(f"{station:5}".encode(), np.uint8)
            folder = root / f"{DAY.year}" / "IV" / station / f"HH{component}.D"
            folder.mkdir(parents=True)
            records.tofile(folder / f"IV.{station}..HH{component}.D.{DAY.year}.{DAY.julday:03d}")


def write_weights(path, **shape):
    model = SeisClip(ModelConfig(**shape))
    values = {key: random_values(key, tuple(value.shape), 0) for key, value in model.state_dict().items()}
    torch.save({key: torch.from_numpy(np.array(value)) for key, value in values.items()}, path)
    return str(path)


def engine_rate(encoder, seconds=6.0):
    windows = np.random.default_rng(0).normal(0, 300, (256, 3, 6000)).astype(np.float32)
    encoder.encode(windows)
    done, begun, used = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - begun) < seconds:
        encoder.encode(windows)
        done += len(windows)
    return done / passed, done / (time.process_time() - used)


def processor_s():
    """Processor time of this process and of those that it waited for."""
    return sum(os.times()[:4])


def peak_mb():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text()).group(1)) / 1024


def stations(count):
    return tuple(f"S{number:03d}" for number in range(count))


def measure(plan):
    """Embed as a plan says; return times at which units were done, the engine's rates and peak memory."""
    recipe = Recipe(plan["encoder"], Segmenting())
    end = (
        None
        if plan["minutes"] is None
        else pd.Timestamp(DAY.timestamp, unit="s", tz="UTC") + pd.Timedelta(minutes=plan["minutes"])
    )
    query = Query(stations=stations(plan["days"]), end=end)
    rates = []
    if plan["engine"]:
        encoder = make_encoder(**plan["encoder"])
        rates.append(engine_rate(encoder))
    options = {"executor": processes(plan["workers"])} if plan["workers"] else {}
    times = []
    begun, used = time.perf_counter(), processor_s()
    out = Path(tempfile.mkdtemp(dir=plan["folder"]))
    done = embed(
        f"sds:{plan['archive']}",
        query,
        out,
        recipe,
        progress=lambda share, key: times.append(time.perf_counter() - begun),
        **options,
    )
    used = processor_s() - used
    if plan["engine"]:
        rates.append(engine_rate(encoder))
    shutil.rmtree(out)
    return {
        "times": times,
        "windows": done.counts["embedded"],
        "engine": rates,
        "peak_mb": peak_mb(),
        "processor_s": used,
    }


def in_own_process(**plan):
    plan = {"workers": 0, "minutes": None, "engine": False, **plan}
    out = subprocess.run([sys.executable, __file__, "--measure", json.dumps(plan)], stdout=subprocess.PIPE, check=True)
    line = next(line for line in out.stdout.decode().splitlines() if line.startswith(MARK))
    return json.loads(line.removeprefix(MARK))


def after_first(found, workers=1):
    """Windows a second after the first unit of each worker."""
    times, count = found["times"], len(found["times"])
    return found["windows"] * (count - workers) / count / (times[-1] - times[workers - 1])


def compare_with_engine(where, options, days):
    found = in_own_process(**where, encoder=options, days=days, engine=True)
    rate, engine = after_first(found), max(clock for clock, _ in found["engine"])
    used, alone = found["windows"] / found["processor_s"], max(used for _, used in found["engine"])
    say(f"{days} station-days, {options['precision']}, {options['backend']}: {rate:.0f} windows/s after the first;")
    rates = ", ".join(f"{clock:.0f}" for clock, _ in found["engine"])
    say(f"  engine alone {rates}; share {rate / engine:.2f} (wanted ≥ 0.85); peak {found['peak_mb']:.0f} MB;")
    say(f"  of a second of processor time {used:.1f}, engine alone {alone:.1f}: share {used / alone:.2f}")
    shares = {"share": rate / engine, "share_of_processor_time": used / alone}
    return {"windows_per_s": rate, "engine": found["engine"], **shares, "peak_mb": found["peak_mb"]}


def compare_lengths(where, options):
    found = {days: in_own_process(**where, encoder=options, days=days) for days in (5, 30)}
    a_day = {days: each["times"][-1] / days for days, each in found.items()}
    peaks = {days: each["peak_mb"] for days, each in found.items()}
    say(f"5 and 30 station-days: peak {peaks[5]:.0f} and {peaks[30]:.0f} MB (wanted: < 100 MB apart);")
    say(f"  {a_day[5]:.2f} and {a_day[30]:.2f} s a station-day")
    return {"peak_mb": peaks, "seconds_a_day": a_day}


def compare_workers(where, options, minutes):
    one, two = (
        in_own_process(**where, encoder=options, days=8, minutes=minutes, workers=workers) for workers in (1, 2)
    )
    rates = after_first(one), after_first(two, 2)
    say(f"float32, one thread a worker: {rates[0]:.1f} windows/s with one, {rates[1]:.1f} with two;")
    costs = [each["processor_s"] / each["windows"] * 1e3 for each in (one, two)]
    say(
        f"  {rates[1] / rates[0]:.2f}× (wanted ≥ 1.7×); {costs[0]:.1f} and {costs[1]:.1f} ms of processor time a window"
    )
    return {"windows_per_s": rates, "ratio": rates[1] / rates[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--backend", default="fused")
    parser.add_argument("--minutes", type=int, default=180, help="of each day, where workers are compared")
    parser.add_argument("--only", choices=("engine", "lengths", "workers"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        say(MARK + json.dumps(measure(json.loads(given.measure))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "archive").mkdir()
        write_days(folder / "archive", max(given.days, 30 if given.only in (None, "lengths") else 8))
        where = {"folder": name, "archive": str(folder / "archive")}
        full, small = write_weights(folder / "full.pt"), write_weights(folder / "small.pt", width=64, depth=1)
        fast = {"name": full, "precision": given.precision, "backend": given.backend, "threads": 0}
        found = {}
        if given.only in (None, "engine"):
            found["engine"] = compare_with_engine(where, fast, given.days)
        if given.only in (None, "lengths"):
            found["lengths"] = compare_lengths(where, {"name": small, "threads": 1})
        if given.only in (None, "workers"):
            found["workers"] = compare_workers(where, {"name": full, "threads": 1}, given.minutes)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
