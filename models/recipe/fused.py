"""Small operations of the language model, each compiled to one pass over memory (needs a C++ compiler).

One by one they would cost a training step on a CPU about as much as its matrix products.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Once for all lengths."""
    return torch.compile(function, dynamic=True, fullgraph=True)


@compiled
def norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """RMS norm of x [..., width], float32, as dtype."""
    return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight).to(dtype)


@compiled
def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


@compiled
def rotated(y: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions of y [T, heads, size], whose pairs are neighbours; cos, sin [T, 1, size / 2]."""
    one, two = y[..., 0::2], y[..., 1::2]
    return torch.stack((one * cos - two * sin, one * sin + two * cos), -1).flatten(-2)


@compiled
def weights(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax in float32 over the last axis of scores + mask, as the scores' type."""
    return (scores.float() + mask).softmax(-1).to(scores.dtype)
