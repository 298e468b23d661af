"""SeisCLIP on this machine: windows/s by backend, precision, threads and batch, beside its own matrix-product rate.

    python benchmarks/bench_seisclip.py [--rounds 5] [--windows 128] [--compiled] [--stream 20000] [--json FILE]

Everything is measured in turn, round after round, in one run, and medians are given. Beside windows a second of the
clock stand windows a second of processor time (one core's), which other load on the machine disturbs far less; shares
of the limit are of processor time on both sides. Weights are seeded random ones of the published shapes: speed
does not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.signal
import scipy.stats
import torch
from scipy.spatial.distance import pdist

from seisprobe.seisclip.backends import Options, why_not
from seisprobe.seisclip.baselines import random_values
from seisprobe.seisclip.check import synthetic_windows
from seisprobe.seisclip.engine import Encoder
from seisprobe.seisclip.fast import FusedEncoder, TorchSpectra
from seisprobe.seisclip.model import ModelConfig, SeisClip
from seisprobe.seisclip.spectra import spectrogram

GFLOP_A_WINDOW = 1.96  # linear layers of the full network at 46 tokens; the last block cut short needs 1.82
TOKENS = 46
LAYERS = ((384, 1152), (384, 384), (384, 1536), (1536, 384))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def say(line=""):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def network():
    model = SeisClip(ModelConfig())
    values = {key: random_values(key, tuple(value.shape), 0) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(value) for key, value in values.items()})
    return model.eval().requires_grad_(False)


def encoder(model, **options):
    return Encoder([model], Options(**options), {}, 6000)


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return {
        "processor": names[0] if names else platform.processor(),
        "processors": len(names) or os.cpu_count(),
        "instructions": [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16", "avx512_vnni") if flag in flags],
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def matrix_rate(precision, threads, rows=TOKENS * 64, seconds=0.3):
    """GFLOP/s of the network's dense layers, every thread on its own matrices: by the clock, and of one core's time."""
    dtype = DTYPES[precision]
    pairs = [(torch.randn(rows, k).to(dtype), torch.randn(n, k).to(dtype)) for k, n in LAYERS]
    flop = sum(2 * rows * k * n for k, n in LAYERS)

    def work(_):
        torch.set_num_threads(1)
        with torch.inference_mode():
            for a, b in pairs:
                torch.nn.functional.linear(a, b)
            done, start, used = 0, time.perf_counter(), time.thread_time()
            while time.thread_time() - used < seconds:
                for a, b in pairs:
                    torch.nn.functional.linear(a, b)
                done += 1
        gflop = done * flop / 1e9
        return gflop / (time.perf_counter() - start), gflop / (time.thread_time() - used)

    with ThreadPoolExecutor(threads) as pool:
        rates = list(pool.map(work, range(threads)))
    return sum(rate for rate, _ in rates), statistics.mean(rate for _, rate in rates)


def plain_float32(model, threads, batch=64):
    """What a user writes first: spectra, then the model, a batch at a time, torch's own threads."""
    spectra = TorchSpectra(6000, 120)

    def run(windows):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            for start in range(0, len(windows), batch):
                model.encode_audio(spectra(torch.from_numpy(windows[start : start + batch])))

    return run


def authors_spectra(windows):
    """z-norm and scipy.signal.stft, channel by channel, as the authors' loader does."""
    for window in windows:
        for channel in window:
            normed = (channel - channel.mean()) / (channel.std() + 1e-3)
            _, _, z = scipy.signal.stft(normed, fs=100, nperseg=100, noverlap=50, nfft=100)
            np.abs(z)[1:, 1:]


def torch_spectra(threads):
    spectra = TorchSpectra(6000, 120)

    def work(part):
        torch.set_num_threads(1)
        with torch.inference_mode():
            spectra(torch.from_numpy(part))

    def run(windows):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, np.array_split(windows, threads)))

    return run


class Int8Linear:
    """Dense layer in int8 (weights by output, activations by tensor, scale of each call): measured, not offered."""

    def __init__(self, weight, bias, rows):
        self.scale = weight.abs().amax(1) / 127
        quantised = (weight / self.scale[:, None]).round().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(quantised, [rows, weight.shape[1]])
        self.zero = torch.zeros(len(weight), dtype=torch.int32)
        self.bias = bias

    def run(self, x, after, how):
        step = float(x.abs().amax()) / 127
        q = x.mul(1 / step).add_(128.5).clamp_(1, 255).to(torch.uint8)
        given = (q, step, 128, self.packed, self.scale, self.zero, self.bias, 1.0, 0, torch.float32, after, [], how)
        return torch.ops.onednn.qlinear_pointwise(*given)

    def __call__(self, x):
        return self.run(x, "none", "")

    def gelu(self, x):
        return self.run(x, "gelu", "none")

    def plus(self, x, residual):
        return self.run(x, "none", "").add_(residual)


def int8_encoder(model, batch=64):
    """All blocks but the last, short one in int8; the rest in float32."""
    fused = FusedEncoder(model, torch.float32, batch)
    factor = torch.cat((torch.full((384, 1), 0.125), torch.ones(768, 1)))  # FusedEncoder scales the queries' weights
    for block, source in zip(fused.blocks[:-1], model.spec.v.blocks, strict=False):
        qkv = source.attn.qkv
        block.qkv = Int8Linear(qkv.weight * factor, qkv.bias * factor[:, 0], batch * TOKENS)
        for name, layer in (("proj", source.attn.proj), ("fc1", source.mlp.fc1), ("fc2", source.mlp.fc2)):
            setattr(block, name, Int8Linear(layer.weight, layer.bias, batch * TOKENS))
    made = encoder(model, backend="fused")
    made.programs = [lambda spectra: fused(spectra)]
    return made


def variants(model, threads, compiled):
    """Names → functions of windows; those that cannot run here are left out."""
    found = {"plain float32": plain_float32(model, threads)}
    for backend in ("torch", "fused", "openvino", *(["compiled"] if compiled else [])):
        for precision in DTYPES:
            if why_not(backend) is None:
                made = encoder(model, backend=backend, precision=precision, threads=threads)
                found[f"{backend} {precision}"] = made.encode
    made = int8_encoder(model)
    made.options = replace(made.options, threads=threads)
    found["fused int8"] = made.encode
    return found


def measure(functions, windows, rounds):
    """Windows/s by the clock, and of one core's time, of each in turn, `rounds` times; first calls do not count."""
    rates = defaultdict(list)
    for turn in range(rounds + 1):
        for name, function in functions.items():
            start, used = time.perf_counter(), time.process_time()
            function(windows[:8] if turn == 0 else windows)
            spent = time.perf_counter() - start, time.process_time() - used
            if turn:
                rates[name].append([len(windows) / seconds for seconds in spent])
    return {name: np.median(values, 0).tolist() for name, values in rates.items()}


def by_backend(model, windows, arguments):
    table = {}
    for threads in (1, 2):
        functions = variants(model, threads, arguments.compiled)
        functions["spectra torch"] = torch_spectra(threads)
        limits = {precision: [] for precision in DTYPES}
        rates = defaultdict(list)
        for _ in range(arguments.rounds):
            for precision, values in limits.items():
                values.append(matrix_rate(precision, threads))
            for name, rate in measure(functions, windows, 1).items():
                rates[name].append(rate)
        table[threads] = {name: np.median(values, 0).tolist() for name, values in rates.items()}
        table[threads]["GFLOP/s"] = {name: np.median(values, 0).tolist() for name, values in limits.items()}
        report(table[threads], threads)
    return table


def report(row, threads):
    rates = ", ".join(f"{name} {wall:.0f} ({core:.0f} a core)" for name, (wall, core) in row["GFLOP/s"].items())
    say(f"\n{threads} thread(s); matrix products, GFLOP/s: {rates}")
    say(f"{'whole chain':20}{'windows/s':>10}{'x plain':>9}{'a core-s':>10}{'x plain':>9}{'of limit':>10}")
    plain = row["plain float32"]
    for name, (wall, core) in row.items():
        if name in ("GFLOP/s", "spectra torch"):
            continue
        limit = row["GFLOP/s"]["bfloat16" if name.endswith("bfloat16") else "float32"][1] / GFLOP_A_WINDOW
        share = "" if name.endswith("int8") else f"{core / limit:10.0%}"
        say(f"{name:20}{wall:10.1f}{wall / plain[0]:9.2f}{core:10.1f}{core / plain[1]:9.2f}{share}")
    spectra, chain = row["spectra torch"][1], row["fused bfloat16"][1]
    say(f"z-norm + spectrogram: {spectra:.0f} windows a core-second, {chain / spectra:.1%} of the chain in bfloat16")


def by_batch(model, windows, rounds, threads=2):
    found = {}
    for precision in DTYPES:
        functions = {
            batch: encoder(model, backend="fused", precision=precision, threads=threads, batch=batch).encode
            for batch in (8, 16, 32, 64)
        }
        found[precision] = measure(functions, windows, rounds)
    say(
        "\nfused, 2 threads, windows a core-second by batch: "
        + json.dumps({p: {b: round(r[1], 1) for b, r in v.items()} for p, v in found.items()})
    )
    return found


def spectra_rates(windows, rounds):
    functions = {
        "authors (scipy, by channel)": authors_spectra,
        "numpy": spectrogram,
        "torch, 1 thread": torch_spectra(1),
        "torch, 2 threads": torch_spectra(2),
    }
    found = measure(functions, windows, rounds)
    say(
        "\nz-norm + spectrogram, windows a core-second: "
        + ", ".join(f"{name} {rate[1]:.0f}" for name, rate in found.items())
    )
    return found


GROUPS = {
    "_linear_pointwise": "dense layers, GELU, residuals",
    "addmm": "dense layers",
    "aten::mm": "spectrogram",
    "bmm": "attention products",
    "softmax": "softmax",
    "layer_norm": "LayerNorm",
    "convolution": "first convolution and patches",
    "scaled_dot": "attention",
    "gelu": "GELU",
    "copy_": "copies and conversions",
    "clone": "copies and conversions",
}


def profile(model, windows, precision, backend):
    """Shares of time by kind of operation, one thread, waveform to vector."""
    torch.set_num_threads(1)
    made = encoder(model, backend=backend, precision=precision, threads=1)
    made._from_waveforms(windows[:64])
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as found:
        for _ in range(3):
            made._from_waveforms(windows[:64])
    shares = defaultdict(float)
    for event in found.key_averages():
        group = next((name for key, name in GROUPS.items() if key in event.key), "other")
        shares[group] += event.self_cpu_time_total
    total = sum(shares.values())
    ordered = {name: share / total for name, share in sorted(shares.items(), key=lambda item: -item[1])}
    say(f"profile of {backend} {precision}: " + ", ".join(f"{name} {share:.1%}" for name, share in ordered.items()))
    return ordered


def agreement(model, windows):
    """Smallest cosine and Spearman of pairwise distances to float32 by torch."""
    reference = encoder(model).encode(windows)
    found = {}
    made = {
        f"{b} bfloat16": encoder(model, backend=b, precision="bfloat16")
        for b in ("torch", "fused", "openvino")
        if not why_not(b)
    }
    for name, one in {**made, "fused int8": int8_encoder(model)}.items():
        vectors = one.encode(windows)
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
        rank = scipy.stats.spearmanr(pdist(vectors), pdist(reference)).statistic
        found[name] = {"cosine": float(((vectors * reference).sum(1) / norms).min()), "spearman": float(rank)}
        say(f"{name}: smallest cosine {found[name]['cosine']:.6f}, Spearman of distances {rank:.6f}")
    return found


def real_or_made(windows):
    """The 53 local earthquakes of SEISPROBE_SHARED, and the made-up windows."""
    path = Path(os.environ.get("SEISPROBE_SHARED", "../shared")) / "data/waveforms/ncedc_events_100hz.npz"
    return np.concatenate((np.load(path)["waveform"], windows[:16])) if path.exists() else windows


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def stream(model, windows, total):
    """Resident memory after 2,000 windows and after all."""
    made = encoder(model, backend="fused")
    done, early, start = 0, None, time.perf_counter()
    for vectors in made.encode_stream(windows[index % len(windows)] for index in range(total)):
        done += len(vectors)
        if early is None and done >= 2000:
            early = resident_mb()
    late = resident_mb()
    rate = done / (time.perf_counter() - start)
    say(f"\n{done} windows streamed at {rate:.0f}/s: RSS {early:.0f} MB after 2,000, {late:.0f} MB after all")
    return {"windows": done, "rss_2000_mb": early, "rss_all_mb": late}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--stream", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = {"machine": machine(), "load_before": os.getloadavg()}
    say(json.dumps(result))
    model, windows = network(), synthetic_windows(arguments.windows)
    result["spectra"] = spectra_rates(windows, arguments.rounds)
    result["backends"] = by_backend(model, windows, arguments)
    result["batch"] = by_batch(model, windows, arguments.rounds)
    say()
    result["profile"] = {
        f"{backend} {precision}": profile(model, windows, precision, backend)
        for backend in ("torch", "fused")
        for precision in DTYPES
    }
    say()
    result["agreement"] = agreement(model, real_or_made(windows))
    if arguments.stream:
        result["stream"] = stream(model, windows, arguments.stream)
    result["load_after"] = os.getloadavg()
    say(f"\nload {result['load_before'][0]:.1f} before, {result['load_after'][0]:.1f} after")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
