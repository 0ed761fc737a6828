"""The frozen language model in PyTorch, read from its GGUF file, with low-rank adapters beside its matrices.

The arithmetic follows llama.cpp's graph of the architecture "llama" (rotary pairs are neighbours, as the file has
them), so that adapters trained here can be stored as they are.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from gguf import quants
from torch import Tensor, nn

MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


class Adapted(nn.Module):
    """A frozen matrix [out, in] and what is learnt beside it: x W' + scale * (x A') B'."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        out, width = weight.shape
        self.scale = scale
        self.a = nn.Parameter(torch.randn(rank, width) / width**0.5) if rank else None
        self.b = nn.Parameter(torch.zeros(out, rank)) if rank else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight)
        if self.a is None or self.b is None or not self.scale:
            return y
        return y + F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype)) * self.scale


class LanguageModel(nn.Module):
    """forward: embeddings [B, T, 576] -> last hidden states; logits: hidden [N, 576] -> [N, vocabulary]."""

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
                nn.ModuleDict({m: Adapted(matrix(f"{name}{m}.weight").to(dtype), rank, scale) for m in MATRICES})
            )
            self.norms.append((matrix(f"{name}attn_norm.weight"), matrix(f"{name}ffn_norm.weight")))
        self.last_norm = matrix("output_norm.weight")

    def embed(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.table)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.table).float()

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps) * weight).to(self.table.dtype)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """positions: [B, T]; mask: [B, 1, T, T], True where a row sees a column."""
        batch, length, _ = x.shape
        size = self.width // self.heads
        angle = positions[..., None] * self.base ** (-torch.arange(0, size, 2) / size)
        cos, sin = (f(angle)[:, :, None, :].to(self.table.dtype) for f in (torch.cos, torch.sin))

        def rotate(y: Tensor) -> Tensor:
            one, two = y[..., 0::2], y[..., 1::2]
            return torch.stack((one * cos - two * sin, one * sin + two * cos), -1).flatten(-2)

        x = x.float()
        for layer, (attention_norm, ffn_norm) in zip(self.layers, self.norms, strict=True):
            y = self._norm(x, attention_norm)
            q = rotate(layer["attn_q"](y).view(batch, length, self.heads, size)).transpose(1, 2)
            k = rotate(layer["attn_k"](y).view(batch, length, self.kv_heads, size)).transpose(1, 2)
            v = layer["attn_v"](y).view(batch, length, self.kv_heads, size).transpose(1, 2)
            times = self.heads // self.kv_heads
            k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            x = x + layer["attn_output"](y.transpose(1, 2).reshape(batch, length, self.width))
            y = self._norm(x, ffn_norm)
            x = x + layer["ffn_down"](F.silu(layer["ffn_gate"](y)) * layer["ffn_up"](y))
        return self._norm(x, self.last_norm)
