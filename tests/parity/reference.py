"""A plain reading of MATA: float64 NumPy, one query row and one head at a time, nothing of llama.cpp.

For a row i that predicts a token, every head and the chosen layers, on the columns j that hold audio:

    s_ij = softcap(q_i . k_j / sqrt(d))

    scale:  s_ij <- (1 + alpha * w_j) * s_ij
    abs:    s_ij <- s_ij + alpha * w_j * |s_ij|
    add:    s_ij <- s_ij + alpha * w_j

then mask and softmax.  w_j is the weight of the span that column j lies in, 0 outside.  A session here has the
methods of the engine's, so one script of feeds can be played on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from .reference_hybrid import State, mamba2, silu, squared_relu

Array = NDArray[np.float64]
Span = tuple[int, int, float]


def boost(mode: str, score: Array, amount: Array) -> Array:
    """The formula: one row of scores, and alpha * w_j per column (0 where there is no audio)."""
    if mode == "scale":
        return (1.0 + amount) * score
    if mode == "abs":
        return score + amount * np.abs(score)
    if mode == "add":
        return score + amount
    raise ValueError(mode)


@dataclass(frozen=True)
class Mata:
    """A session's setting."""

    mode: str
    alpha: tuple[float, ...]  # per layer
    spans: tuple[Span, ...]  # positions [start, end) and a weight


class Model:
    """Weights and shape of a GGUF file of one of the architectures that tiny_models.CONFIGS has."""

    def __init__(self, path: Path, lora: Sequence[tuple[Path, float]] = ()) -> None:
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items() if field.types[0] != 9}
        self.arch: str = fields["general.architecture"]

        def value(key: str, default: Any = None) -> Any:
            return fields.get(f"{self.arch}.{key}", default)

        self.weights = {t.name: np.array(t.data, dtype=np.float64) for t in reader.tensors}
        for name in [name for name in self.weights if name.endswith(".ffn_norm")]:  # as Falcon-H1's files have it
            self.weights[name + ".weight"] = self.weights.pop(name)
        for adapter, scale in lora:
            self._merge(adapter, scale)
        self.n_layer = int(value("block_count"))
        self.n_embd = int(value("embedding_length"))
        self.n_head = int(value("attention.head_count"))
        kv_heads = reader.fields[f"{self.arch}.attention.head_count_kv"].contents()
        self.n_head_kv = max(kv_heads) if isinstance(kv_heads, list) else int(kv_heads)  # a list has 0 for no attention
        self.head_dim = int(value("attention.key_length", self.n_embd // self.n_head))
        self.eps = float(value("attention.layer_norm_rms_epsilon"))
        self.rope_base = float(value("rope.freq_base", 10000.0))
        self.attn_softcap = float(value("attn_logit_softcapping", 0.0))
        self.final_softcap = float(value("final_logit_softcapping", 0.0))
        self.attn_scale = float(value("attention.scale", self.head_dim**-0.5))
        self.embd_scale = float(value("embedding_scale", self.n_embd**0.5 if self.arch.startswith("gemma") else 1.0))
        self.residual_scale = float(value("residual_scale", 1.0))
        self.logit_scale = float(value("logit_scale", 1.0))
        self.n_expert_used = int(value("expert_used_count", 0))
        self.expert_scale = float(value("expert_weights_scale", 1.0))
        self.window = int(value("attention.sliding_window", 0))
        sections = reader.fields.get(f"{self.arch}.rope.dimension_sections")
        self.rope_sections: list[int] = sections.contents() if sections else []
        self.gemma = self.arch in ("gemma2", "gemma3")
        self.n_vocab = self.weights["token_embd.weight"].shape[0]

    def _merge(self, adapter: Path, scale: float) -> None:
        """W <- W + scale * alpha / rank * B A."""
        reader = gguf.GGUFReader(adapter)
        alpha = float(reader.fields["adapter.lora.alpha"].contents())
        parts = {t.name: np.array(t.data, dtype=np.float64) for t in reader.tensors}
        for name in [n.removesuffix(".lora_a") for n in parts if n.endswith(".lora_a")]:
            a, b = parts[name + ".lora_a"], parts[name + ".lora_b"]
            self.weights[name] = self.weights[name] + scale * alpha / a.shape[0] * (b @ a)

    def is_windowed(self, il: int) -> bool:
        """Gemma-2: every other layer, the first included; Gemma-3: five of six."""
        period = {"gemma2": 2, "gemma3": 6}.get(self.arch, 1)
        return self.window > 0 and il % period < period - 1

    def rope_base_of(self, il: int) -> float:
        """Gemma-3's windowed layers turn with base 10000, its global ones with the file's."""
        return 10000.0 if self.arch == "gemma3" and self.is_windowed(il) else self.rope_base

    def rotate(self, x: Array, position: int, il: int) -> Array:
        """Rotary position embedding of heads [n, head_dim] at a text position."""
        if self.arch.startswith("nemotron_h"):
            return x
        half = self.head_dim // 2
        theta = position * self.rope_base_of(il) ** (-np.arange(half) / half)
        if self.rope_sections:
            # M-RoPE: pair p turns by the position of its axis; for text and audio time, height and width agree
            # and the fourth axis stays at 0.
            axes = np.repeat(np.arange(4), self.rope_sections)
            theta = np.where(axes == 3, 0.0, theta)
        cos, sin = np.cos(theta), np.sin(theta)
        out = np.empty_like(x)
        # Llama and Granite files keep a pair side by side, all others half a head apart.
        interleaved = self.arch in ("llama", "granitehybrid")
        first = np.s_[..., 0::2] if interleaved else np.s_[..., :half]
        second = np.s_[..., 1::2] if interleaved else np.s_[..., half:]
        out[first] = x[first] * cos - x[second] * sin
        out[second] = x[first] * sin + x[second] * cos
        return out

    def norm(self, x: Array, name: str) -> Array:
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.weights[name]

    def linear(self, x: Array, name: str) -> Array:
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def feed_forward(self, x: Array, il: int) -> Array:
        if f"blk.{il}.ffn_gate.weight" not in self.weights:
            return squared_relu(self, x, il)
        gate = self.linear(x, f"blk.{il}.ffn_gate")
        active = _gelu(gate) if self.gemma else silu(gate)
        return self.linear(active * self.linear(x, f"blk.{il}.ffn_up"), f"blk.{il}.ffn_down")

    def logits(self, x: Array) -> Array:
        head = "output.weight" if "output.weight" in self.weights else "token_embd.weight"
        norm = "token_embd_norm.weight" if self.arch == "lfm2" else "output_norm.weight"
        z = self.norm(x, norm) @ self.weights[head].T / self.logit_scale
        return _softcap(z, self.final_softcap)

    def session(self) -> Session:
        return Session(self)


class Session:
    """One sequence.  Keys and values are kept per layer; nothing is shared, forks copy."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.keys: list[list[Array]] = [[] for _ in range(model.n_layer)]  # per position [n_head_kv, head_dim]
        self.values: list[list[Array]] = [[] for _ in range(model.n_layer)]
        self.states: list[list[State]] = [[] for _ in range(model.n_layer)]  # per position, of Mamba-2
        self.mata: Mata | None = None
        self.rows = np.empty((0, model.n_vocab))
        self.readout: dict[int, tuple[list[Array], list[Array]]] = {}  # layer -> rows before, rows after

    @property
    def n_past(self) -> int:
        return max(map(len, self.keys))  # some layers have none

    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        self.mata = Mata(mode, tuple(alpha), tuple(spans))

    def clear_mata(self) -> None:
        self.mata = None

    def fork(self) -> Session:
        return type(self).of(self)

    @classmethod
    def of(cls, other: Session) -> Session:
        """A copy of another session that goes on in this class's way."""
        copy = cls(other.model)
        copy.keys = [list(k) for k in other.keys]
        copy.values = [list(v) for v in other.values]
        copy.states = [list(s) for s in other.states]
        copy.mata, copy.rows = other.mata, other.rows
        return copy

    def truncate(self, n_past: int) -> None:
        for cells in (*self.keys, *self.values, *self.states):
            del cells[n_past:]

    def feed_tokens(self, tokens: Sequence[int], *, all_logits: bool = False) -> None:
        x = self.model.weights["token_embd.weight"][list(tokens)] * self.model.embd_scale
        predicts = [all_logits or i == len(tokens) - 1 for i in range(len(tokens))]
        self.rows = self._feed(x, predicts)

    def feed_embeddings(self, embeddings: NDArray[np.float32]) -> tuple[int, int]:
        x = embeddings.astype(np.float64)
        if self.model.arch != "gemma3":  # its graph scales tokens only, all others' whatever comes in
            x = x * self.model.embd_scale
        start = self.n_past
        self._feed(x, [False] * len(x))
        return start, self.n_past

    def logits(self) -> Array:
        return self.rows[-1]

    def logits_all(self) -> Array:
        return self.rows

    def attention(self) -> dict[int, tuple[Array, Array]]:
        """layer -> (before, after) the boost, [n_rows, n_head, n_past], of the rows that predicted last.

        Rows of a feed see differently many positions; what a row cannot see is 0.
        """
        n_past = self.n_past

        def stack(rows: list[Array]) -> Array:
            return np.stack([np.pad(r, ((0, 0), (0, n_past - r.shape[1]))) for r in rows])

        return {il: (stack(before), stack(after)) for il, (before, after) in self.readout.items()}

    def _feed(self, x: Array, predicts: Sequence[bool]) -> Array:
        """Run the layers over x [n, n_embd] at the next positions; logits of the rows that predict."""
        m = self.model
        position = self.n_past
        self.readout = {}
        for il in range(m.n_layer):
            b = f"blk.{il}."
            y = m.norm(x, b + "attn_norm.weight")
            y = self._mixed(y, il, position, predicts)
            if m.gemma:
                y = m.norm(y, b + "post_attention_norm.weight")
            x = x + m.residual_scale * y
            if b + "ffn_norm.weight" not in m.weights:
                continue
            y = m.feed_forward(m.norm(x, b + "ffn_norm.weight"), il)
            if m.gemma:
                y = m.norm(y, b + "post_ffw_norm.weight")
            x = x + m.residual_scale * y
        return m.logits(x[np.array(predicts, dtype=bool)])

    def _mixed(self, x: Array, il: int, first: int, predicts: Sequence[bool]) -> Array:
        """What layer il has before its feed-forward part, which in Nemotron-H is a layer of its own."""
        has = {
            name for name in ("shortconv.conv", "ssm_in", "attn_q") if f"blk.{il}.{name}.weight" in self.model.weights
        }
        if not has:
            return self.model.feed_forward(x, il)
        out = np.zeros_like(x)
        if "shortconv.conv" in has:
            out += self._convolution(x, il)
        if "ssm_in" in has:
            out += mamba2(self.model, x, il, self.states[il])
        if "attn_q" in has:
            out += self._attention(x, il, first, predicts)
        return out

    def _attention(self, x: Array, il: int, first: int, predicts: Sequence[bool]) -> Array:
        m = self.model
        b = f"blk.{il}."
        q = m.linear(x, b + "attn_q").reshape(len(x), m.n_head, m.head_dim)
        k = m.linear(x, b + "attn_k").reshape(len(x), m.n_head_kv, m.head_dim)
        v = m.linear(x, b + "attn_v").reshape(len(x), m.n_head_kv, m.head_dim)
        if b + "attn_q_norm.weight" in m.weights:
            q, k = m.norm(q, b + "attn_q_norm.weight"), m.norm(k, b + "attn_k_norm.weight")
        rotate = partial(m.rotate, il=il)
        for i in range(len(x)):
            self.keys[il].append(rotate(k[i], first + i))
            self.values[il].append(v[i])
        keys, values = np.stack(self.keys[il]), np.stack(self.values[il])  # [n_kv, n_head_kv, head_dim]

        group = m.n_head // m.n_head_kv
        out = np.empty((len(x), m.n_head, m.head_dim))
        for i in range(len(x)):
            position = first + i
            q_i = rotate(q[i], position)
            rows_before, rows_after = [], []
            for h in range(m.n_head):
                score = _softcap(keys[:, h // group] @ q_i[h] * m.attn_scale, m.attn_softcap)
                boosted = self.boosted(score, il) if self.row_is_boosted(predicts[i]) else score
                visible = self._visible(position, il, len(score))
                before, after = _softmax(score, visible), _softmax(boosted, visible)
                out[i, h] = after @ values[:, h // group]
                rows_before.append(before)
                rows_after.append(after)
            if predicts[i]:
                before_after = self.readout.setdefault(il, ([], []))
                before_after[0].append(np.stack(rows_before))
                before_after[1].append(np.stack(rows_after))
        return m.linear(out.reshape(len(x), -1), b + "attn_output")

    def _convolution(self, x: Array, il: int) -> Array:
        """LFM2's gated short convolution; its inputs are kept where attention has keys."""
        m = self.model
        b = f"blk.{il}.shortconv."
        gate_in, gate_out, value = np.split(m.linear(x, b + "in_proj"), 3, axis=1)
        first = len(self.keys[il])
        self.keys[il].extend(gate_in * value)
        self.values[il].extend(gate_in * value)
        kernel = m.weights[b + "conv.weight"]  # [n_embd, width], the newest position last
        width = kernel.shape[1]
        out = np.empty_like(x)
        for i in range(len(x)):
            last = self.keys[il][max(0, first + i + 1 - width) : first + i + 1]
            out[i] = sum(kernel[:, width - len(last) + t] * row for t, row in enumerate(last))
        return m.linear(gate_out * out, b + "out_proj")

    def row_is_boosted(self, predicts: bool) -> bool:
        """Only rows that predict a token."""
        return predicts

    def boosted(self, score: Array, il: int) -> Array:
        """One row's scores of layer il with the boost on the audio columns."""
        if self.mata is None:
            return score
        amount = np.zeros(len(score))
        for start, end, weight in reversed(self.mata.spans):  # where spans overlap, the first one counts
            amount[start:end] = self.mata.alpha[il] * weight
        return np.where(amount != 0.0, boost(self.mata.mode, score, amount), score)

    def _visible(self, position: int, il: int, n_kv: int) -> NDArray[np.bool_]:
        columns = np.arange(n_kv)
        visible = columns <= position
        if self.model.is_windowed(il):
            visible &= position - columns < self.model.window
        return visible


def _softcap(x: Array, cap: float) -> Array:
    return cap * np.tanh(x / cap) if cap else x


def _softmax(score: Array, visible: NDArray[np.bool_]) -> Array:
    e = np.where(visible, np.exp(score - score[visible].max()), 0.0)
    return e / e.sum()


def _gelu(x: Array) -> Array:
    """The tanh form, through half precision: ggml's CPU backend looks it up in a table of halves.

    Without this the comparison would show the table's error (1e-3) and nothing else.
    """
    h = x.astype(np.float16).astype(np.float64)
    y = 0.5 * h * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (h + 0.044715 * h**3)))
    y = y.astype(np.float32).astype(np.float16).astype(np.float64)
    return np.where(x <= -10.0, 0.0, np.where(x >= 10.0, x, y))
