"""The same network, arranged for speed: spectrograms in torch, and a forward pass of fused operations.

What is arranged, and why it changes nothing but rounding:

- The spectrogram is one matrix product on the model's device, so waveforms and not spectra travel there.
- Only the class and distillation tokens leave the network: the last block computes keys and values for all tokens and
  everything else for those two (1.82 instead of 1.96 GFLOP a window).
- Weights are laid out once for oneDNN; GELU and the residual additions ride in the matrix product that makes their
  input, on its float32 sums.
- In bfloat16 tokens are made, softmax is taken and the last LayerNorm is computed in float32: torch's bfloat16 softmax
  on a CPU takes more time than converting to float32 and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from seisprobe.seisclip.model import Block, SeisClip
from seisprobe.seisclip.spectra import BINS, dft_matrix, frame_length

__all__ = ["FusedEncoder", "PooledEncoder", "TorchSpectra", "fused_operations_available"]

_BLOCK = 8  # windows a time in the spectrogram: frames are copied twice over, and should stay in cache
_POOLED = 2  # class and distillation token


class TorchSpectra:
    """`spectra.spectrogram` on a torch device, without checks.

    Parameters
    ----------
    samples, frames : int
        As in `spectrogram`: 6000 with 120 or 600; 12000 with 240 or 1200.
    device : str
        Where the matrix lives, and the waveforms must be.

    Examples
    --------
    >>> tuple(TorchSpectra(6000, 120)(torch.zeros(2, 3, 6000)).shape)
    (2, 3, 120, 50)
    """

    def __init__(self, samples: int, frames: int, device: str = "cpu") -> None:
        self.frames = frames
        self.length = frame_length(samples, frames)
        self.matrix = torch.from_numpy(dft_matrix(self.length).copy()).to(device)
        self.block = _BLOCK if torch.device(device).type == "cpu" else 4096

    def __call__(self, counts: Tensor) -> Tensor:
        """(n, 3, samples) float32 → (n, 3, frames, 50) float32."""
        spectra = torch.empty(len(counts), 3, self.frames, BINS, device=counts.device)
        for part, out in zip(counts.split(self.block), spectra.split(self.block), strict=True):
            self._magnitudes(part, out)
        return spectra

    def _magnitudes(self, counts: Tensor, out: Tensor) -> None:
        normed = counts - counts.mean(-1, keepdim=True)
        std = torch.linalg.vector_norm(normed, dim=-1, keepdim=True) / math.sqrt(counts.shape[-1])
        normed /= std + 1e-3
        framed = functional.pad(normed, (0, self.length // 2)).unfold(-1, self.length, self.length // 2)
        parts = (framed.reshape(-1, self.length) @ self.matrix).square_()
        torch.add(parts[:, :BINS], parts[:, BINS:], out=out.view(-1, BINS)).sqrt_()


class PooledEncoder(nn.Module):  # type: ignore[misc]
    """Spectra → vector in plain torch, with the short last block: what torch.compile and OpenVINO are given.

    Parameters
    ----------
    model : SeisClip
        Its parameters are shared where `dtype` is theirs, else copied.
    dtype : torch.dtype
        Of the blocks; tokens and the final LayerNorm stay float32.

    Examples
    --------
    >>> from seisprobe.seisclip.model import ModelConfig
    >>> model = SeisClip(ModelConfig(width=64, depth=2)).eval()
    >>> spectra = torch.rand(2, 3, 120, 50)
    >>> torch.allclose(PooledEncoder(model)(spectra), model.encode_audio(spectra), atol=1e-5)
    True
    """

    def __init__(self, model: SeisClip, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.spec = model.spec
        self.dtype = dtype
        blocks = [_copy_block(block, dtype) for block in model.spec.v.blocks]
        self.blocks, self.last = nn.ModuleList(blocks[:-1]), blocks[-1]

    def forward(self, spectra: Tensor) -> Tensor:
        """(n, 3, frames, 50) → (n, width) float32."""
        x = self.spec.tokens(spectra).to(self.dtype)
        for block in self.blocks:
            x = block(x)
        return self.spec.v.norm(self.short(x).float()).mean(1)

    def short(self, x: Tensor) -> Tensor:
        """The last block, for the first two tokens alone."""
        block = self.last
        n, _, width = x.shape
        query, key_value = block.attn.qkv.weight.split((width, 2 * width))
        query_bias, key_value_bias = block.attn.qkv.bias.split((width, 2 * width))
        normed = block.norm1(x)
        q = (
            functional.linear(normed[:, :_POOLED], query, query_bias)
            .unflatten(-1, (block.attn.heads, -1))
            .transpose(1, 2)
        )
        both = functional.linear(normed, key_value, key_value_bias).unflatten(-1, (2, block.attn.heads, -1))
        k, v = both.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, _POOLED, width)
        x = x[:, :_POOLED] + block.attn.proj(mixed)
        return x + block.mlp(block.norm2(x))


def _copy_block(block: Block, dtype: torch.dtype) -> Block:
    if dtype == torch.float32:
        return block
    copy: Block = Block(block.norm1.weight.numel()).to(dtype)
    copy.load_state_dict(block.state_dict())
    copy.eval()
    return copy


def fused_operations_available() -> bool:
    """Whether this build of torch has oneDNN and its fused linear operations."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class _Linear:
    """One dense layer with its weights laid out for oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, rows: int) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous(), rows)
        self.bias = bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")


class _Norm:
    """LayerNorm with float32 parameters, whatever the type of its input."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self.weight, self.bias, self.eps = norm.weight.detach(), norm.bias.detach(), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class _FusedBlock:
    """One block; `short`: the last one, which makes queries for the first two tokens only."""

    def __init__(self, block: Block, dtype: torch.dtype, rows: int, short: bool) -> None:
        width, self.heads = block.attn.proj.weight.shape[0], block.attn.heads
        factor = torch.ones(3 * width, 1)
        factor[:width] = (width // self.heads) ** -0.5  # 1/8: scaling the queries' weights by it is exact
        weight, bias = block.attn.qkv.weight * factor, block.attn.qkv.bias * factor[:, 0]
        start = width if short else 0
        self.query = _Linear(weight[:width], bias[:width], dtype, rows) if short else None
        self.qkv = _Linear(weight[start:], bias[start:], dtype, rows)
        layers = (block.attn.proj, block.mlp.fc1, block.mlp.fc2)
        self.proj, self.fc1, self.fc2 = (_Linear(layer.weight, layer.bias, dtype, rows) for layer in layers)
        self.norm1, self.norm2 = _Norm(block.norm1), _Norm(block.norm2)

    def split(self, x: Tensor, n: int, parts: int) -> Tensor:
        """(n · tokens, parts · width) → (parts, n · heads, tokens, 64), contiguous."""
        return x.view(n, len(x) // n, parts, self.heads, -1).permute(2, 0, 3, 1, 4).contiguous().flatten(1, 2)

    def attention(self, x: Tensor, n: int) -> Tensor:
        """Softmax by batched matrix products: faster on a CPU than torch's fused kernel at 46 tokens."""
        if self.query is None:
            q, k, v = self.split(self.qkv(x), n, 3).unbind(0)
        else:
            (q,) = self.split(self.query(_first_tokens(x, n)), n, 1)
            k, v = self.split(self.qkv(x), n, 2).unbind(0)
        weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)).float(), -1).to(v.dtype)
        mixed = torch.bmm(weights, v).unflatten(0, (n, self.heads))
        return mixed.transpose(1, 2).reshape(n * q.shape[1], -1)

    def __call__(self, x: Tensor, n: int) -> Tensor:
        mixed = self.attention(self.norm1(x), n)
        x = self.proj.plus(mixed, x if self.query is None else _first_tokens(x, n))
        return self.fc2.plus(self.fc1.gelu(self.norm2(x)), x)


def _first_tokens(x: Tensor, n: int) -> Tensor:
    return x.view(n, -1, x.shape[-1])[:, :_POOLED].reshape(n * _POOLED, -1)


class FusedEncoder:
    """Spectra → vector by oneDNN's fused operations, on a CPU, without gradients.

    Parameters
    ----------
    model : SeisClip
        Its weights are copied in another layout.
    dtype : torch.dtype
        float32 or bfloat16.
    batch : int
        Windows a call will usually bring; oneDNN lays the weights out for it. Any number works.

    Examples
    --------
    >>> from seisprobe.seisclip.model import ModelConfig
    >>> model = SeisClip(ModelConfig(width=64, depth=2)).eval()
    >>> spectra = torch.rand(2, 3, 120, 50)
    >>> with torch.inference_mode():
    ...     torch.allclose(FusedEncoder(model, torch.float32, 2)(spectra), model.encode_audio(spectra), atol=1e-5)
    True
    """

    def __init__(self, model: SeisClip, dtype: torch.dtype, batch: int) -> None:
        blocks = list(model.spec.v.blocks)
        rows = batch * model.config.tokens
        self.blocks = [_FusedBlock(block, dtype, rows, block is blocks[-1]) for block in blocks]
        self.tokens: Callable[[Tensor], Tensor] = model.spec.tokens
        self.norm = _Norm(model.spec.v.norm)
        self.dtype = dtype

    def __call__(self, spectra: Tensor) -> Tensor:
        """(n, 3, frames, 50) → (n, width) float32; call it under torch.inference_mode."""
        n = len(spectra)
        x = self.tokens(spectra).to(self.dtype).flatten(0, 1)
        for block in self.blocks:
            x = block(x, n)
        return self.norm(x.float()).view(n, _POOLED, -1).mean(1)
