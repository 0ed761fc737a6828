"""What is trained between the frozen encoder and the language model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper import WIDTH, Encoder
from yamnet import WIDTH as EVENTS

STACK = 10
"""Encoder frames (20 ms each) in one audio token."""


class Rms(nn.Module):
    def __init__(self, width: int, start: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Projector(nn.Module):
    """The encoder's last blocks and norm, then Ultravox's projector: stack, norm, linear, SwiGLU, norm, linear.

    YAMNet comes in at two places: its rows before the SwiGLU, and behind everything the names of its classes, each as
    probable as it finds it, which tells the language model also of sounds that nothing was trained on.
    """

    def __init__(
        self, encoder: Encoder, hidden: int, spread: float, classes: tuple[Tensor, Tensor], names: Tensor
    ) -> None:
        """classes: YAMNet's last matrix [1024, 521] and bias; names [521, out]: what its classes are called."""
        super().__init__()
        out = names.shape[1]
        self.blocks, self.norm = encoder.rest, encoder.norm
        self.pre = Rms(WIDTH * STACK, 0.4)
        self.first = nn.Linear(WIDTH * STACK, 2 * hidden, bias=False)
        self.mid = Rms(hidden)
        self.second = nn.Linear(hidden, out, bias=False)
        nn.init.normal_(self.second.weight, std=spread / hidden**0.5)
        self.events_norm = Rms(EVENTS)
        self.events = nn.Linear(EVENTS, 2 * hidden, bias=False)
        self.gain = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("classes", classes[0])
        self.register_buffer("classes_bias", classes[1])
        self.register_buffer("names", names)

    def heard(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """The encoder's output [B, T, 384] from what goes into its last blocks; zeros behind lengths."""
        real = torch.arange(frames.shape[1])[None] < lengths[:, None]
        for block in self.blocks:
            frames = block(frames, real)
        return self.norm(frames) * real[..., None]

    def project(
        self, x: Tensor, lengths: Tensor, rows: Tensor, nearest: Tensor, drop: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """The encoder's output and YAMNet's rows -> tokens [B, N, out] and which of them are real [B, N]."""
        x = F.pad(x, (0, 0, 0, -x.shape[1] % STACK)).reshape(len(x), -1, WIDTH * STACK)
        real = torch.arange(x.shape[1])[None] < (-(-lengths // STACK))[:, None]
        nearest = nearest[:, : x.shape[1]]
        seen = self.events(F.dropout(self.events_norm(rows), 2 * drop))
        said = torch.sigmoid(rows @ self.classes + self.classes_bias) @ self.names * self.gain
        one, two = (self.first(self.pre(F.dropout(x, drop))) + seen[nearest]).chunk(2, -1)
        return self.second(self.mid(one * F.silu(two))) + said[nearest], real

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """(what is the projector's own, what was the encoder's): they learn at different rates."""
        last = [*self.blocks.parameters(), *self.norm.parameters()]
        return [p for p in self.parameters() if all(p is not q for q in last)], last
