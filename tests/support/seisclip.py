"""Published-formula weights, golden vectors and an independent float64 model for the SeisCLIP tests."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
import pytest
from scipy.special import erf

from support.shared import shared_file


def golden(frames):
    return np.load(shared_file(f"reference/seisclip/golden_{frames}.npz"))


def golden_value(key, shape):
    """The parameter formula that the golden vectors were made with: any implementation can make the same weights."""
    if key == "logit_scale_at":
        return np.float32(np.log(100.0)).reshape(())
    z = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith(".weight") and len(shape) == 1:
        value = 1.0 + 0.02 * z
    elif key.endswith(".weight"):
        value = z / np.sqrt(float(np.prod(shape[1:])))
    else:
        value = 0.02 * z
    return value.astype(np.float32)


def golden_state(**config):
    torch = pytest.importorskip("torch")
    from seisprobe.seisclip.model import ModelConfig, SeisClip

    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in SeisClip(ModelConfig(**config)).state_dict().items()}
    return {key: torch.from_numpy(np.array(golden_value(key, shape))) for key, shape in shapes.items()}


@cache
def golden_model(frames=120, conv1="5x5", width=384, depth=12):
    """The network with formula weights; shared between tests, so: eval mode, no gradients, not to be changed."""
    from seisprobe.seisclip.model import ModelConfig, SeisClip, load_state

    config = {"frames": frames, "conv1": conv1, "width": width, "depth": depth}
    model = load_state(SeisClip(ModelConfig(**config)), golden_state(**config))
    return model.eval().requires_grad_(False)


def real_windows(events=16, noise=8):
    """Real minutes: local earthquakes (California), the Pieve Torina earthquake, and continuous noise."""
    obspy = pytest.importorskip("obspy")
    parts = [np.load(shared_file("data/waveforms/ncedc_events_100hz.npz"))["waveform"][:events]]
    for name, count in (("IV.CESI_2018-04-04_PieveTorina.mseed", 1), ("AM.RAC84_100hz_B.mseed", noise)):
        stream = obspy.read(shared_file(f"data/waveforms/{name}"))
        start = max(trace.stats.starttime for trace in stream)
        by_component = {}
        for trace in stream.slice(start + 0.05):
            by_component.setdefault(trace.stats.channel[-1], trace.data)
        order = "ENZ" if "E" in by_component else sorted(by_component)
        channels = [by_component[component][: 6000 * count] for component in order][:3]
        whole = min(len(channel) for channel in channels) // 6000
        parts.append(np.stack([c[: whole * 6000] for c in channels]).reshape(3, whole, 6000).swapaxes(0, 1))
    return np.concatenate(parts).astype(np.float32)


def varied_windows(n=24, seed=0):
    """Made minutes as unlike each other as real ones: noise of any colour, bursts of any onset, band and size."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(6000) / 100.0
    frequency = np.fft.rfftfreq(6000, 0.01)
    windows = np.empty((n, 3, 6000))
    for window in windows:
        colour = np.maximum(frequency, 0.1) ** rng.uniform(-1.5, 1.0)
        onset, hertz, decay_s = rng.uniform(2, 50), rng.uniform(1, 30), rng.uniform(0.5, 20)
        burst = np.where(seconds > onset, np.exp(-(seconds - onset) / decay_s), 0.0)
        for channel in window:
            noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(6000)) * colour, 6000)
            shaken = burst * np.sin(2 * np.pi * hertz * seconds + rng.uniform(0, 6)) * rng.lognormal(0.5, 1.5)
            channel[:] = rng.lognormal(5, 1) * (noise / noise.std() + shaken)
    return windows.astype(np.float32)


def cosines(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def _layer_norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


class NumpyModel:
    """SeisCLIP in float64 numpy, written from the description alone: loops where torch has layers."""

    def __init__(self, state):
        self.p = {key: np.asarray(value, np.float64) for key, value in state.items()}

    def linear(self, x, name):
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def conv1(self, spectra):
        kernel = self.p["spec.conv1.weight"][0]
        if kernel.shape[1:] == (3, 5):
            spectra = np.pad(spectra, ((0, 0), (1, 1), (2, 2)))
        view = np.lib.stride_tricks.sliding_window_view(spectra, kernel.shape[1:], axis=(1, 2))
        return np.einsum("ctfij,cij->tf", view, kernel)

    def tokens(self, spectra):
        image = self.conv1(spectra).T
        kernel = self.p["spec.v.patch_embed.proj.weight"][:, 0]
        bias = self.p["spec.v.patch_embed.proj.bias"]
        patches = [
            (kernel * image[f : f + 16, t : t + 16]).sum((1, 2)) + bias
            for f in range(0, image.shape[0] - 15, 10)
            for t in range(0, image.shape[1] - 15, 10)
        ]
        first = [self.p["spec.v.cls_token"][0, 0], self.p["spec.v.dist_token"][0, 0]]
        return np.array(first + patches) + self.p["spec.v.pos_embed"][0]

    def block(self, x, name):
        p = self.p
        normed = _layer_norm(x, p[f"{name}.norm1.weight"], p[f"{name}.norm1.bias"], 1e-6)
        q, k, v = np.split(self.linear(normed, f"{name}.attn.qkv"), 3, axis=-1)
        heads = []
        for start in range(0, x.shape[-1], 64):
            head = slice(start, start + 64)
            scores = q[:, head] @ k[:, head].T / 8.0
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, head])
        x = x + self.linear(np.concatenate(heads, -1), f"{name}.attn.proj")
        normed = _layer_norm(x, p[f"{name}.norm2.weight"], p[f"{name}.norm2.bias"], 1e-6)
        hidden = self.linear(normed, f"{name}.mlp.fc1")
        return x + self.linear(hidden * 0.5 * (1 + erf(hidden / np.sqrt(2))), f"{name}.mlp.fc2")

    def total(self, spectra):
        x = self.tokens(np.asarray(spectra, np.float64))
        depth = len({key.split(".")[3] for key in self.p if key.startswith("spec.v.blocks.")})
        for index in range(depth):
            x = self.block(x, f"spec.v.blocks.{index}")
        return _layer_norm(x, self.p["spec.v.norm.weight"], self.p["spec.v.norm.bias"], 1e-6)

    def audio(self, spectra):
        return self.total(spectra)[:2].mean(0)

    def text(self, features):
        x = np.asarray(features, np.float64)
        for name in ("info.FCN_input", "info.FCN.0", "info.FCN.1"):
            norm = (self.p[f"{name}.batchnorm.weight"], self.p[f"{name}.batchnorm.bias"])
            x = _layer_norm(self.linear(x, f"{name}.linear"), *norm, 1e-5)
            x = x / (1 + np.exp(-1.702 * x))
        return x @ self.p["info.proj"]
