"""The frozen language model in PyTorch, read from its GGUF file, with low-rank adapters beside its matrices.

The arithmetic follows llama.cpp's graph of the architecture "llama" (rotary pairs are neighbours, as the file has
them), so that adapters trained here can be stored as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fused
import gguf
import numpy as np
import torch
import torch.nn.functional as F
from gguf import quants
from torch import Tensor, nn

MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
ADAPTED = tuple(name for name in MATRICES if name != "ffn_gate")
"""Those with an adapter: what the gate's would weigh is spent elsewhere."""


class Beside(torch.autograd.Function):
    """x W' where W holds the adapter already; the gradient goes to the adapter's matrices, through their low rank."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, merged: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, merged, a, b)
        ctx.scale = scale
        return F.linear(x, merged)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
        x, merged, a, b = ctx.saved_tensors
        low, back = F.linear(x, a.to(x.dtype)), grad @ b.to(grad.dtype)
        to_a, to_b = back.T @ x, grad.T @ low
        return grad @ merged, None, to_a.float() * ctx.scale, to_b.float() * ctx.scale, None


class Adapted(nn.Module):
    """A frozen matrix [out, in] and what is learnt beside it: x W' + scale * (x A') B', as x (W + scale B A)', with
    the sum rounded to the matrix's type.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        out, width = weight.shape
        self.scale, self.on = scale, True
        self.a = nn.Parameter(torch.randn(rank, width) / width**0.5) if rank else None
        self.b = nn.Parameter(torch.zeros(out, rank)) if rank else None
        self.merged = weight

    @torch.no_grad()
    def merge(self) -> None:
        """To be called whenever the adapter has changed."""
        if self.a is not None and self.b is not None:
            like = self.weight.dtype
            self.merged = torch.addmm(self.weight, self.b.to(like), self.a.to(like), alpha=self.scale)

    def forward(self, x: Tensor) -> Tensor:
        if self.a is None or self.b is None or not self.on:
            return F.linear(x, self.weight)
        return Beside.apply(x, self.merged, self.a, self.b, self.scale)


@dataclass
class Layout:
    """Sequences that begin with the same tokens, packed: those once, then what each sequence has of its own.

    head: tokens that all begin with; place [B, L]: where in the packed tokens a sequence's are (0 for padding);
    back [T]: where in B * L a packed token is; own [B, L]: neither padding nor, behind the first row, the shared head;
    mask [B, L, L]: True where a row sees a column.
    """

    head: int
    place: Tensor
    back: Tensor
    own: Tensor
    mask: Tensor


class Spread(torch.autograd.Function):
    """Packed [T, ...] -> sequences [B, L, ...].  (index_select alone would add up its gradient token by token.)"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return x[layout.place]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        layout: Layout = ctx.layout
        packed = grad.flatten(0, 1)[layout.back]
        packed[: layout.head] = grad[:, : layout.head].sum(0)
        return packed, None


class Packed(torch.autograd.Function):
    """Sequences [B, L, ...] -> packed [T, ...]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return x.flatten(0, 1)[layout.back]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        layout: Layout = ctx.layout
        return grad[layout.place] * layout.own[..., None].to(grad.dtype), None


class LanguageModel(nn.Module):
    """forward: packed embeddings [T, 576] -> last hidden states; logits: hidden [N, 576] -> [N, vocabulary]."""

    def __init__(self, path: Path, rank: int, alpha: float, dtype: torch.dtype) -> None:
        super().__init__()
        reader = gguf.GGUFReader(path)

        def number(key: str) -> float:
            return float(reader.fields[key].parts[-1][0])

        tensors = {tensor.name: tensor for tensor in reader.tensors}

        def matrix(name: str) -> Tensor:
            tensor = tensors[name]
            values = quants.dequantize(tensor.data, tensor.tensor_type)
            return torch.tensor(np.asarray(values, dtype=np.float32))

        self.heads, self.kv_heads = (
            int(number("llama.attention.head_count")),
            int(number("llama.attention.head_count_kv")),
        )
        self.base, self.eps = number("llama.rope.freq_base"), number("llama.attention.layer_norm_rms_epsilon")
        self.register_buffer("table", matrix("token_embd.weight").to(dtype), persistent=False)
        self.width = self.table.shape[1]
        scale = alpha / rank if rank else 0.0
        self.layers = nn.ModuleList()
        self.norms: list[tuple[Tensor, Tensor]] = []
        for index in range(int(number("llama.block_count"))):
            name = f"blk.{index}."
            self.layers.append(
                nn.ModuleDict(
                    {
                        m: Adapted(matrix(f"{name}{m}.weight").to(dtype), rank if m in ADAPTED else 0, scale)
                        for m in MATRICES
                    }
                )
            )
            self.norms.append((matrix(f"{name}attn_norm.weight"), matrix(f"{name}ffn_norm.weight")))
        self.last_norm = matrix("output_norm.weight")

    def embed(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.table)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.table).float()

    def merge(self) -> None:
        """To be called whenever the adapters have changed."""
        for module in self.modules():
            if isinstance(module, Adapted):
                module.merge()

    @contextlib.contextmanager
    def bare(self) -> Iterator[None]:
        """Without the adapters."""
        adapted = [module for module in self.modules() if isinstance(module, Adapted)]
        for module in adapted:
            module.on = False
        try:
            yield
        finally:
            for module in adapted:
                module.on = True

    def forward(self, x: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        """x [T, 576], positions [T]."""
        size, dtype = self.width // self.heads, self.table.dtype
        angle = positions[:, None] * self.base ** (-torch.arange(0, size, 2) / size)
        cos, sin = (f(angle)[:, None, :].to(dtype) for f in (torch.cos, torch.sin))
        batch, length = layout.place.shape
        times = self.heads // self.kv_heads
        hidden = torch.zeros(layout.mask.shape).masked_fill(~layout.mask, -1e4)[:, None, None]
        x = x.float()
        for layer, (attention_norm, ffn_norm) in zip(self.layers, self.norms, strict=True):
            y = fused.norm(x, attention_norm, self.eps, dtype)
            q = fused.rotated(layer["attn_q"](y).unflatten(-1, (self.heads, size)), cos * size**-0.5, sin * size**-0.5)
            k = fused.rotated(layer["attn_k"](y).unflatten(-1, (self.kv_heads, size)), cos, sin)
            v = layer["attn_v"](y).unflatten(-1, (self.kv_heads, size))
            q, k, v = (Spread.apply(y, layout).transpose(1, 2) for y in (q, k, v))
            q = q.reshape(batch, self.kv_heads, times * length, size)  # the heads that share keys, one behind another
            scores = (q @ k.transpose(2, 3)).view(batch, self.kv_heads, times, length, length)
            y = fused.weights(scores, hidden).view(batch, self.kv_heads, times * length, length) @ v
            y = y.reshape(batch, self.heads, length, size).transpose(1, 2).reshape(batch, length, self.width)
            x = x + layer["attn_output"](Packed.apply(y, layout))
            y = fused.norm(x, ffn_norm, self.eps, dtype)
            x = x + layer["ffn_down"](fused.swiglu(layer["ffn_gate"](y), layer["ffn_up"](y)))
        return fused.norm(x, self.last_norm, self.eps, dtype)
