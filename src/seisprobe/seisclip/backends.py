"""Ways to run the network: torch (eager), fused (oneDNN operations), compiled (torch.compile) and OpenVINO.

A program is a function from spectra (n, 3, frames, 50), float32, on the model's device, to vectors (n, width) float32.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seisprobe.errors import InputError
from seisprobe.seisclip.fast import FusedEncoder, PooledEncoder, fused_operations_available
from seisprobe.seisclip.model import SeisClip

__all__ = ["BACKENDS", "PRECISIONS", "Options", "build_program", "has_fast_bfloat16", "resolve", "why_not"]

BACKENDS = ("torch", "fused", "compiled", "openvino")
PRECISIONS = ("float32", "bfloat16")
Program = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Options:
    """How to run: all of it is in the encoder's fingerprint.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "auto"}
        auto: bfloat16 where `has_fast_bfloat16`, else float32.
    backend : {"torch", "fused", "compiled", "openvino", "auto"}
        torch is the reference; auto takes the fastest of torch, fused and openvino by a short timing.
    device : str
        cpu, cuda, cuda:1 …
    batch : int
        Windows a forward pass.
    threads : int
        Windows are shared out to this many threads, each of which works alone; 0: one for each processor.

    Examples
    --------
    >>> Options().backend
    'torch'
    """

    precision: str = "float32"
    backend: str = "torch"
    device: str = "cpu"
    batch: int = 64
    threads: int = 0


def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Whether bfloat16 is faster than float32 here: AMX tiles on a CPU, compute capability 8 on a GPU.

    Processors with AVX512-BF16 alone do have the instructions, at half the rate of float32 (measured).
    """
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 8)
    return bool(torch.cpu._is_amx_tile_supported())


def why_not(backend: str, device: str = "cpu") -> str | None:
    """Why a backend cannot run here, in a few words with what to do; None where it can.

    Examples
    --------
    >>> why_not("torch") is None
    True
    """
    on_cpu = torch.device(device).type == "cpu"
    if backend in ("fused", "openvino") and not on_cpu:
        return f"runs on a CPU only, not {device}; use torch or compiled there"
    if backend == "fused" and not fused_operations_available():
        return "this build of torch has no oneDNN linear operations; use torch"
    if backend == "openvino" and importlib.util.find_spec("openvino") is None:
        return 'not installed: pip install "seisprobe[openvino]"'
    if backend == "compiled" and on_cpu and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        return "torch.compile needs a C++ compiler (g++); install one or use fused"
    return None


def check_options(options: Options) -> None:
    """Refuse what is misspelt or cannot run here.

    Raises
    ------
    InputError
        Names the option, its value and what it may be.
    """
    for word, value, allowed in (
        ("precision", options.precision, PRECISIONS),
        ("backend", options.backend, BACKENDS),
    ):
        if value not in (*allowed, "auto"):
            raise InputError(f"{word} = {value!r}: give one of {', '.join(allowed)} or auto")
    if options.batch < 1 or options.threads < 0:
        raise InputError(f"batch = {options.batch}, threads = {options.threads}: give batch ≥ 1, threads ≥ 0")
    _check_device(options.device)
    reason = why_not(options.backend, options.device)
    if reason:
        raise InputError(f"backend = {options.backend!r}: {reason}")


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = "unknown"
    if kind not in ("cpu", "cuda"):
        raise InputError(f"device = {device!r}: give cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device = {device!r}: torch sees no CUDA device here; give cpu")


def resolve(options: Options, model: SeisClip) -> Options:
    """Turn every "auto" and 0 into what it means on this machine, once.

    Parameters
    ----------
    options : Options
        As given.
    model : SeisClip
        Timed with each backend if that is to be chosen.

    Returns
    -------
    Options
        Without "auto"; threads ≥ 1.

    Examples
    --------
    >>> from seisprobe.seisclip.model import ModelConfig
    >>> resolve(Options(threads=1), SeisClip(ModelConfig(width=64, depth=1))).precision
    'float32'
    """
    check_options(options)
    on_cpu = torch.device(options.device).type == "cpu"
    threads = (options.threads or _processors()) if on_cpu else 1
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(options.device) else "float32"
    known = replace(options, threads=threads, precision=precision)
    return replace(known, backend=_fastest(known, model)) if options.backend == "auto" else known


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def _fastest(options: Options, model: SeisClip) -> str:
    """Best of three, interleaved, over the backends that start at once (compiling takes half a minute)."""
    names = [name for name in ("torch", "fused", "openvino") if why_not(name, options.device) is None]
    if len(names) == 1:
        return names[0]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    one = replace(options, threads=1)
    spectra = torch.rand(min(options.batch, 8), 3, model.config.frames, 50, device=options.device)
    programs = {name: build_program(model, replace(one, backend=name)) for name in names}
    times = dict.fromkeys(names, float("inf"))
    for turn in range(4):
        for name, program in programs.items():
            start = time.perf_counter()
            program(spectra)
            if turn:  # the first call warms up
                times[name] = min(times[name], time.perf_counter() - start)
    torch.set_num_threads(before)
    return min(times, key=lambda name: times[name])


def build_program(model: SeisClip, options: Options) -> Program:
    """Make the function that runs `model` as the resolved `options` say.

    Parameters
    ----------
    model : SeisClip
        In eval mode, on the device.
    options : Options
        Resolved.

    Returns
    -------
    callable
        Spectra (n, 3, frames, 50) → vectors (n, width) float32; safe to call from several threads.
    """
    dtype = torch.bfloat16 if options.precision == "bfloat16" else torch.float32
    if options.backend == "fused":
        return _inference(FusedEncoder(model, dtype, options.batch))
    if options.backend == "openvino":
        return _OpenVino(model, options)
    if options.backend == "compiled":
        return _compiled(model, dtype, options.batch)
    return _inference(model.encode_audio if dtype == torch.float32 else PooledEncoder(model, dtype))


def _inference(forward: Callable[[Tensor], Tensor]) -> Program:
    def program(spectra: Tensor) -> Tensor:
        with torch.inference_mode():
            return forward(spectra)

    return program


def _compiled(model: SeisClip, dtype: torch.dtype, batch: int) -> Program:
    """torch.compile with frozen weights: every batch is padded to one size, so that it compiles once."""
    with _torchs_own_warnings_off():
        forward = torch.compile(PooledEncoder(model, dtype).eval(), dynamic=False, options={"freezing": True})
    lock = threading.Lock()
    ready = threading.Event()

    def run(spectra: Tensor) -> Tensor:
        with torch.no_grad():
            vectors: Tensor = forward(_padded(spectra, batch))[: len(spectra)]
        return vectors

    def program(spectra: Tensor) -> Tensor:
        if ready.is_set():
            return run(spectra)
        with lock, _torchs_own_warnings_off():  # one thread compiles, the others wait
            vectors = run(spectra)
            ready.set()
        return vectors

    return program


@contextmanager
def _torchs_own_warnings_off() -> Iterator[None]:
    """Compiling and tracing use parts of torch that torch itself deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _padded(spectra: Tensor, batch: int) -> Tensor:
    missing = batch - len(spectra)
    return torch.cat((spectra, spectra.new_zeros(missing, *spectra.shape[1:]))) if missing > 0 else spectra


class _OpenVino:
    """The network in OpenVINO, one stream a thread."""

    def __init__(self, model: SeisClip, options: Options) -> None:
        import openvino

        shape = (2, 3, model.config.frames, 50)
        with torch.inference_mode(), _torchs_own_warnings_off():
            converted = openvino.convert_model(_Traceable(model), example_input=torch.zeros(shape))
        converted.reshape([-1, *shape[1:]])
        hints: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if options.precision == "bfloat16" else "f32",
            "NUM_STREAMS": options.threads,
            "INFERENCE_NUM_THREADS": options.threads,
        }
        self.compiled = openvino.Core().compile_model(converted, "CPU", hints)
        self.local = threading.local()

    def __call__(self, spectra: Tensor) -> Tensor:
        if not hasattr(self.local, "request"):
            self.local.request = self.compiled.create_infer_request()
        self.local.request.infer({0: spectra.numpy()})
        return torch.from_numpy(self.local.request.get_output_tensor(0).data.copy())


class _Traceable(PooledEncoder):
    """Tokens without `expand` to the batch: a traced `expand` would fix the batch size."""

    def forward(self, spectra: Tensor) -> Tensor:
        vit = self.spec.v
        patches = vit.patch_embed(self.spec.conv1(spectra).transpose(2, 3))
        first = torch.cat((vit.cls_token, vit.dist_token), 1)
        first = first + torch.zeros_like(patches[:, :2])
        x = torch.cat((first, patches), 1) + vit.pos_embed
        for block in self.blocks:
            x = block(x)
        return vit.norm(self.short(x)).mean(1)
