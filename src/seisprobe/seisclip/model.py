"""The SeisCLIP network in plain torch, with the parameter names of the authors' checkpoints.

Two encoders share one space: a spectrum encoder (a distilled DeiT over 16 × 16 patches, stride 10, of a
three-component spectrogram) and a metadata encoder (three dense layers over eight numbers). Source: Si et al.,
SeisCLIP, IEEE TGRS 2024, 10.1109/TGRS.2024.3354456 (arXiv 2309.02320), and the authors' code, GitHub sixu0/SeisCLIP.

This module imports torch; the rest of the package imports it where it is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seisprobe.errors import InputError

__all__ = [
    "ModelConfig",
    "SeisClip",
    "SpectrumEncoder",
    "config_from_state",
    "contrastive_loss",
    "interpolate_positions",
    "load_state",
    "strip_module",
]

_PATCH, _STRIDE, _FREQUENCY_PATCHES, _HEAD_WIDTH, _EXTRA_TOKENS = 16, 10, 4, 64, 2
_MAX_SCALE = 100.0


@dataclass(frozen=True)
class ModelConfig:
    """What a checkpoint's shapes say about the network.

    Parameters
    ----------
    frames : int
        Time frames of the input spectrogram: 120 or 600 in the published files.
    width, depth : int
        Token width (a multiple of 64: one head each) and number of blocks.
    conv1 : {"5x5", "3x5"}
        First convolution: the published weights (5 × 5, valid) or the authors' Pretrain folder (3 × 5, padded).
    info_width : int
        Width of the metadata encoder.

    Examples
    --------
    >>> ModelConfig().tokens, ModelConfig(frames=600).tokens, ModelConfig(frames=240).time_patches
    (46, 238, 23)
    """

    frames: int = 120
    width: int = 384
    depth: int = 12
    conv1: str = "5x5"
    info_width: int = 512

    @property
    def time_patches(self) -> int:
        """Patches along time."""
        return self.frames // _STRIDE - 1

    @property
    def tokens(self) -> int:
        """Tokens of a block: class, distillation, patches."""
        return _EXTRA_TOKENS + _FREQUENCY_PATCHES * self.time_patches


class Attention(nn.Module):  # type: ignore[misc]
    """Multi-head self-attention with one fused projection to queries, keys and values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // _HEAD_WIDTH
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) → the same shape."""
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, _HEAD_WIDTH).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))


class Mlp(nn.Module):  # type: ignore[misc]
    """Two dense layers with the exact (erf) GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) → the same shape."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):  # type: ignore[misc]
    """Pre-norm transformer block; LayerNorm eps 1e-6."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) → the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):  # type: ignore[misc]
    """16 × 16 patches, stride 10, in the order frequency, then time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, _PATCH, stride=_STRIDE)

    def forward(self, image: Tensor) -> Tensor:
        """(n, 1, frequency, time) → (n, patches, width)."""
        return self.proj(image).flatten(2).transpose(1, 2)


class Vit(nn.Module):  # type: ignore[misc]
    """The distilled vision transformer; `head` and `head_dist` are in the checkpoints and never used."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embed = PatchEmbed(width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 1000)
        self.head_dist = nn.Linear(width, 1000)

    def tokens(self, image: Tensor) -> Tensor:
        """(n, 1, frequency, time) → (n, tokens, width): class, distillation, patches, with positions added."""
        n = len(image)
        patches = self.patch_embed(image)
        return torch.cat((self.cls_token.expand(n, -1, -1), self.dist_token.expand(n, -1, -1), patches), 1) + (
            self.pos_embed
        )


class SpectrumEncoder(nn.Module):  # type: ignore[misc]
    """Spectrogram → vector: one convolution over the three components, then the transformer.

    Parameters
    ----------
    config : ModelConfig
        Shapes. `mlp_head` is in the checkpoints and never used.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.frames = config.frames
        kernel, padding = ((5, 5), 0) if config.conv1 == "5x5" else ((3, 5), (1, 2))
        self.v = Vit(config)
        self.mlp_head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, 527))
        self.conv1 = nn.Conv2d(3, 1, kernel, padding=padding, bias=False)

    def tokens(self, spectra: Tensor) -> Tensor:
        """(n, 3, frames, 50) → (n, tokens, width) before the first block."""
        return self.v.tokens(self.conv1(self.cut(spectra)).transpose(2, 3))

    def cut(self, spectra: Tensor) -> Tensor:
        """Leave out what the patches would not see, as the authors' model does (up to 9 frames and 9 bins)."""
        frames, bins = spectra.shape[-2:]
        if not (self.frames <= frames < self.frames + _STRIDE and 50 <= bins < 50 + _STRIDE):
            raise InputError(
                f"spectra of {frames} frames × {bins} bins: this model takes {self.frames} × 50 (see spectrogram)"
            )
        return spectra[..., : self.frames, :50]

    def total_feature(self, spectra: Tensor) -> Tensor:
        """(n, 3, frames, 50) → (n, tokens, width): all tokens after the final LayerNorm."""
        return self.v.norm(self.v.blocks(self.tokens(spectra)))

    def forward(self, spectra: Tensor) -> Tensor:
        """(n, 3, frames, 50) → (n, width): mean of the class and the distillation token, not normalised."""
        return self.total_feature(spectra)[:, :_EXTRA_TOKENS].mean(1)


class Dense(nn.Module):  # type: ignore[misc]
    """Linear, LayerNorm (eps 1e-5, called `batchnorm` in the checkpoints), QuickGELU x·σ(1.702 x)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.batchnorm = nn.LayerNorm(outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) → (n, outputs)."""
        x = self.batchnorm(self.linear(x))
        return x * torch.sigmoid(1.702 * x)


class MetadataEncoder(nn.Module):  # type: ignore[misc]
    """Eight normalised features → vector."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.FCN_input = Dense(8, config.info_width)
        self.FCN = nn.Sequential(*(Dense(config.info_width, config.info_width) for _ in range(2)))
        self.proj = nn.Parameter(torch.zeros(config.info_width, config.width))

    def forward(self, features: Tensor) -> Tensor:
        """(n, 8) → (n, width), not normalised."""
        return self.FCN(self.FCN_input(features)) @ self.proj


class SeisClip(nn.Module):  # type: ignore[misc]
    """Both encoders and the contrastive head, under the checkpoints' 174 names.

    Parameters
    ----------
    config : ModelConfig, optional
        Shapes; the default is the published model of 120 frames.
    learn_scale : bool
        The authors clamp exp(logit_scale) at 100, where it starts, so that its gradient is 0 and it never moves.
        True keeps the value and lets the gradient pass.

    Examples
    --------
    >>> model = SeisClip(ModelConfig(width=64, depth=1))
    >>> logits, audio, text = model(torch.rand(2, 3, 120, 50), torch.rand(2, 8))
    >>> tuple(logits.shape), tuple(audio.shape)
    ((2, 2), (2, 64))
    """

    def __init__(self, config: ModelConfig | None = None, *, learn_scale: bool = False) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        self.learn_scale = learn_scale
        self.logit_scale_at = nn.Parameter(torch.tensor(math.log(_MAX_SCALE)))
        self.info = MetadataEncoder(self.config)
        self.spec = SpectrumEncoder(self.config)
        for values in (self.spec.v.cls_token, self.spec.v.dist_token, self.spec.v.pos_embed, self.info.proj):
            nn.init.trunc_normal_(values, std=0.02)

    def encode_audio(self, spectra: Tensor) -> Tensor:
        """(n, 3, frames, 50) → (n, width)."""
        return self.spec(spectra.to(self.spec.conv1.weight.dtype))

    def encode_text(self, features: Tensor) -> Tensor:
        """(n, 8) → (n, width)."""
        return self.info(features.to(self.info.proj.dtype))

    def scale(self) -> Tensor:
        """Temperature of the logits: exp(logit_scale_at), at most 100."""
        free = self.logit_scale_at.exp()
        clamped = free.clamp(max=_MAX_SCALE)
        return free - (free - clamped).detach() if self.learn_scale else clamped

    def forward(self, spectra: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (n, n) with spectra in rows, and both vectors (n, width) at unit length."""
        audio = functional.normalize(self.encode_audio(spectra), dim=-1)
        text = functional.normalize(self.encode_text(features), dim=-1)
        return self.scale() * audio @ text.T, audio, text


def contrastive_loss(logits: Tensor) -> Tensor:
    """Cross entropy over rows plus over columns (not halved: the authors' loss).

    Parameters
    ----------
    logits : Tensor
        (n, n), the pairs on the diagonal.

    Examples
    --------
    >>> round(float(contrastive_loss(torch.zeros(4, 4))), 4)  # 2 ln 4
    2.7726
    """
    pairs = torch.arange(len(logits), device=logits.device)
    return functional.cross_entropy(logits, pairs) + functional.cross_entropy(logits.T, pairs)


def strip_module(state: Mapping[str, Any]) -> dict[str, Any]:
    """Take the `module.` of distributed training off every key that has it.

    Examples
    --------
    >>> strip_module({"module.info.proj": 1, "logit_scale_at": 2})
    {'info.proj': 1, 'logit_scale_at': 2}
    """
    return {key.removeprefix("module."): value for key, value in state.items()}


def config_from_state(state: Mapping[str, Tensor], source: str = "checkpoint") -> ModelConfig:
    """Read the network's shapes from a state dict.

    Parameters
    ----------
    state : mapping of str to Tensor
        Parameters by the authors' names, without `module.`.
    source : str
        Name for messages.

    Raises
    ------
    InputError
        A key that decides the shape is missing, or its shape fits no SeisCLIP network.

    Examples
    --------
    >>> config_from_state(SeisClip(ModelConfig(frames=600, width=64, depth=2)).state_dict()).frames
    600
    """
    positions = _shape(state, "spec.v.pos_embed", 3, source)
    kernel = _shape(state, "spec.conv1.weight", 4, source)
    info = _shape(state, "info.proj", 2, source)
    patches, odd = divmod(positions[1] - _EXTRA_TOKENS, _FREQUENCY_PATCHES)
    variants = {(1, 3, 5, 5): "5x5", (1, 3, 3, 5): "3x5"}
    if odd or patches < 1 or kernel not in variants or positions[2] % _HEAD_WIDTH or positions[2] < _HEAD_WIDTH:
        raise InputError(
            f"{source}: spec.v.pos_embed {positions} with spec.conv1.weight {kernel} is no SeisCLIP network; "
            "give a file of the authors' class AUDIO_CLIP"
        )
    depth = len({match[1] for key in state if (match := re.match(r"spec\.v\.blocks\.(\d+)\.", key))})
    return ModelConfig((patches + 1) * _STRIDE, positions[2], depth, variants[kernel], info[0])


def _shape(state: Mapping[str, Tensor], key: str, dimensions: int, source: str) -> tuple[int, ...]:
    shape = tuple(getattr(state.get(key), "shape", ()))
    if len(shape) != dimensions:
        first = next(iter(state), "nothing")
        raise InputError(
            f"{source}: no {key} (its first key is {first!r}): not a SeisCLIP checkpoint; give another file"
        )
    return shape


def load_state(model: SeisClip, state: Mapping[str, Tensor], source: str = "checkpoint") -> SeisClip:
    """Load strictly: every key, no other, every shape.

    Parameters
    ----------
    model : SeisClip
        Changed in place and returned.
    state : mapping of str to Tensor
        Parameters by the authors' names, without `module.`.
    source : str
        Name for messages.

    Raises
    ------
    InputError
        Names the first missing, the first unexpected and the first mis-shaped key.

    Examples
    --------
    >>> model = SeisClip(ModelConfig(width=64, depth=1))
    >>> load_state(model, model.state_dict()) is model
    True
    """
    own = model.state_dict()
    shaped = [key for key in own if key in state and own[key].shape != state[key].shape]
    found = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "mis-shaped": [f"{key} {tuple(state[key].shape)}, not {tuple(own[key].shape)}" for key in shaped],
    }
    if any(found.values()):
        said = "; ".join(f"{len(keys)} {word}, first {keys[0]}" for word, keys in found.items() if keys)
        raise InputError(f"{source}: does not fit this SeisCLIP network: {said}; give a file of that network")
    model.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})
    return model


def interpolate_positions(state: Mapping[str, Tensor], frames: int) -> dict[str, Tensor]:
    """Stretch the position embeddings linearly in time, for windows longer than the weights were trained on.

    Parameters
    ----------
    state : mapping of str to Tensor
        Parameters by the authors' names.
    frames : int
        Wanted time frames, a multiple of 10, at least 20 (120 s at the 1 s window: 240).

    Examples
    --------
    >>> state = SeisClip(ModelConfig(width=64, depth=1)).state_dict()
    >>> tuple(interpolate_positions(state, 240)["spec.v.pos_embed"].shape)
    (1, 94, 64)
    """
    if frames < 2 * _STRIDE or frames % _STRIDE:
        raise InputError(
            f"frames = {frames}: position embeddings exist for multiples of 10 from 20 on; give 240 or 1200"
        )
    positions = state["spec.v.pos_embed"]
    extra, grid = positions[:, :_EXTRA_TOKENS], positions[0, _EXTRA_TOKENS:]
    grid = grid.reshape(_FREQUENCY_PATCHES, -1, positions.shape[-1]).transpose(1, 2)  # frequency, width, time
    longer = functional.interpolate(grid.float(), frames // _STRIDE - 1, mode="linear", align_corners=False)
    longer = longer.transpose(1, 2).reshape(1, -1, positions.shape[-1]).to(positions.dtype)
    return {**state, "spec.v.pos_embed": torch.cat((extra, longer), 1)}
