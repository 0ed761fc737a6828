"""What is trained between the frozen encoder and the language model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper import WIDTH, Encoder

STACK = 10
"""Encoder frames (20 ms each) in one audio token."""


class Rms(nn.Module):
    def __init__(self, width: int, start: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Projector(nn.Module):
    """The encoder's last blocks and norm, then Ultravox's projector: stack, norm, linear, SwiGLU, norm, linear."""

    def __init__(self, encoder: Encoder, hidden: int, out: int, spread: float) -> None:
        super().__init__()
        self.blocks, self.norm = encoder.rest, encoder.norm
        self.pre = Rms(WIDTH * STACK, 0.4)
        self.first = nn.Linear(WIDTH * STACK, 2 * hidden, bias=False)
        self.mid = Rms(hidden)
        self.second = nn.Linear(hidden, out, bias=False)
        nn.init.normal_(self.second.weight, std=spread / hidden**0.5)

    def heard(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """The encoder's output [B, T, 384] from what goes into its last blocks; zeros behind lengths."""
        real = torch.arange(frames.shape[1])[None] < lengths[:, None]
        for block in self.blocks:
            frames = block(frames, real)
        return self.norm(frames) * real[..., None]

    def project(self, x: Tensor, lengths: Tensor, drop: float = 0.0) -> tuple[Tensor, Tensor]:
        """The encoder's output -> tokens [B, N, out] and which of them are real [B, N]."""
        x = F.pad(x, (0, 0, 0, -x.shape[1] % STACK)).reshape(len(x), -1, WIDTH * STACK)
        tokens = torch.arange(x.shape[1])[None] < (-(-lengths // STACK))[:, None]
        one, two = self.first(self.pre(F.dropout(x, drop))).chunk(2, -1)
        return self.second(self.mid(one * F.silu(two))), tokens

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """(what is the projector's own, what was the encoder's): they learn at different rates."""
        last = [*self.blocks.parameters(), *self.norm.parameters()]
        return [p for p in self.parameters() if all(p is not q for q in last)], last
