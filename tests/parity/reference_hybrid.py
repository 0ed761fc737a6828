"""The parts of hybrid models that are neither attention nor gated: plain NumPy, one position at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .reference import Model

Array = NDArray[np.float64]
State = tuple[Array, Array]
"""After a position: what went into the convolution there [n_conv], and the memory [n_head, head_dim, n_state]."""


def mamba2(model: Model, x: Array, il: int, past: list[State]) -> Array:
    """Mamba-2 over x [n, n_embd]; past holds the states of the positions before, and gets those of x.

    Per head, with the step d = softplus(dt + bias), keys B and queries C of the head's group, and a < 0:

        memory <- exp(d a) memory + d v B^T,    y = memory C + D v
    """
    b, weights = f"blk.{il}.", model.weights
    a, skip = weights[b + "ssm_a"][:, 0], weights[b + "ssm_d"][:, 0]
    kernel, scale = weights[b + "ssm_conv1d.weight"], weights[b + "ssm_norm.weight"]
    n_head, (n_group, group_size) = len(a), scale.shape
    n_inner, width = n_group * group_size, kernel.shape[1]
    n_state = (len(kernel) - n_inner) // (2 * n_group)
    gate, entered, dt = np.split(x @ weights[b + "ssm_in.weight"].T, [n_inner, n_inner + len(kernel)], axis=1)
    step = np.logaddexp(0.0, dt + weights[b + "ssm_dt.bias"])
    memory = past[-1][1] if past else np.zeros((n_head, n_inner // n_head, n_state))
    out = np.empty((len(x), n_inner))
    for i in range(len(x)):
        last = [*(before for before, _ in past[1 - width :]), entered[i]]  # the newest comes last
        mixed = sum(kernel[:, width - len(last) + t] * row for t, row in enumerate(last))
        mixed = silu(mixed + weights[b + "ssm_conv1d.bias"])
        v = mixed[:n_inner].reshape(n_head, -1)
        key, query = (
            np.repeat(part.reshape(n_group, n_state), n_head // n_group, axis=0)
            for part in np.split(mixed[n_inner:], 2)
        )
        memory = np.exp(step[i] * a)[:, None, None] * memory + (step[i, :, None] * v)[:, :, None] * key[:, None, :]
        past.append((entered[i], memory))
        y = np.einsum("hdn,hn->hd", memory, query) + skip[:, None] * v
        out[i] = y.ravel() * silu(gate[i])
    grouped = out.reshape(len(x), n_group, group_size)
    normed = grouped / np.sqrt(np.mean(grouped**2, axis=-1, keepdims=True) + model.eps) * scale
    return normed.reshape(len(x), n_inner) @ weights[b + "ssm_out.weight"].T


def squared_relu(model: Model, x: Array, il: int) -> Array:
    """Nemotron-H's feed-forward part over x [n, n_embd]; of its experts one is shared, and the two best are used."""
    b, weights = f"blk.{il}.ffn_", model.weights

    def part(up: Array, down: Array) -> Array:
        return np.maximum(x @ up.T, 0.0) ** 2 @ down.T

    if b + "gate_inp.weight" not in weights:
        return part(weights[b + "up.weight"], weights[b + "down.weight"])
    share = 1.0 / (1.0 + np.exp(-x @ weights[b + "gate_inp.weight"].T))  # [n, n_expert]
    rank = np.argsort(-(share + weights[f"blk.{il}.exp_probs_b.bias"]), axis=1)
    np.put_along_axis(share, rank[:, model.n_expert_used :], 0.0, axis=1)
    share *= model.expert_scale / share.sum(axis=1, keepdims=True)
    experts = zip(weights[b + "up_exps.weight"], weights[b + "down_exps.weight"], strict=True)
    used = sum(share[:, i, None] * part(up, down) for i, (up, down) in enumerate(experts))
    return used + part(weights[b + "up_shexp.weight"], weights[b + "down_shexp.weight"])


def silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))
