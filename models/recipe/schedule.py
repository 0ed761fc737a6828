"""The optimizer and its learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Clock:
    """Learning rate by what is spent of the steps or the minutes: a short rise, then half a cosine."""

    minutes: float
    steps: int
    begun: float = 0.0
    step: int = 0

    def share(self) -> float:
        if self.steps:
            return self.step / self.steps
        return (time.monotonic() - self.begun) / 60 / self.minutes

    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / 60)
        return warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.share()))))


def optimizer(groups: list[tuple[list[torch.nn.Parameter], float, float]]) -> torch.optim.AdamW:
    """groups: parameters, learning rate, weight decay."""
    settings = [{"params": list(p), "lr": lr, "base": lr, "weight_decay": decay} for p, lr, decay in groups]
    return torch.optim.AdamW(settings, betas=(0.9, 0.98))


def advance(opt: torch.optim.AdamW, clock: Clock, loss: Tensor, parameters: Sequence[torch.nn.Parameter]) -> None:
    for group in opt.param_groups:
        group["lr"] = group["base"] * clock.rate()
    opt.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    opt.step()
    clock.step += 1
