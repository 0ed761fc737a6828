"""The encoder of whisper-tiny.en in PyTorch, read from CTranslate2's file, fed as the shipped runtime feeds it.

The runtime pads a clip to whole frames only (no 30 s of silence), so that L = ceil(samples / 160) mel frames make
ceil(L / 2) encoder frames.  The last blocks are apart: they are trained on, what is before them stays as it is.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, HEADS, BLOCKS, MELS, HOP = 384, 6, 4, 80, 160
FROZEN = 2
"""Blocks that stay as they are.  A linear probe on the second block's output tells sounds of unknown recordings apart
better than one on the last block's, which is about words."""
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_ctranslate2(data: bytes) -> dict[str, np.ndarray]:
    """name -> array of a CTranslate2 model.bin."""
    place = 0

    def take(kind: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from("<" + kind, data, place)
        place += struct.calcsize(kind)
        return value

    def text() -> str:
        nonlocal place
        length = take("H")
        value = data[place : place + length].rstrip(b"\0").decode()
        place += length
        return value

    take("I"), text(), take("I")
    arrays = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind, size = np.dtype(_TYPES[take("B")]), take("I")
        arrays[name] = np.frombuffer(data, kind, size // kind.itemsize, place).reshape(shape)
        place += size
    return arrays


def triangles(edges: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Filters of height 1 [len(edges) - 2, len(bins)]: each rises from one edge to the next and falls to the third."""
    lower = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    upper = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(lower, upper))


def mel_filters() -> np.ndarray:
    """Slaney's mel filters, [80, 201], 0-8000 Hz."""

    def to_mel(hertz: np.ndarray) -> np.ndarray:
        return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1) / 1000) * 27 / math.log(6.4))

    def to_hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * math.log(6.4) / 27))

    edges = to_hertz(np.linspace(0, float(to_mel(np.array(8000.0))), MELS + 2))
    bins = np.linspace(0, 8000, 201)
    return triangles(edges, bins) * (2 / (edges[2:] - edges[:-2]))[:, None]


_FILTERS = torch.tensor(mel_filters(), dtype=torch.float32)
_WINDOW = torch.hann_window(400)


def log_mel(samples: np.ndarray) -> Tensor:
    """log10 of the mel powers [80, L] of a clip: whole frames, reflected ends."""
    n = max(320, -(-len(samples) // HOP) * HOP)
    sound = torch.tensor(np.pad(samples, (0, n - len(samples))), dtype=torch.float32)
    spectrum = torch.stft(sound, 400, HOP, window=_WINDOW, center=True, pad_mode="reflect", return_complex=True)
    return (_FILTERS @ spectrum[:, :-1].abs().square()).clamp_min(1e-10).log10()


def scaled(level: Tensor, real: Tensor) -> Tensor:
    """What the encoder takes [B, 80, L] of log_mel: eight decades below its maximum, 0 where not real [B, L]."""
    top = level.masked_fill(~real[:, None], -10).amax((1, 2), keepdim=True)
    return ((torch.maximum(level, top - 8) + 4) / 4) * real[:, None]


class Block(nn.Module):
    """One transformer block; forward takes [B, T, 384] and the mask of real frames [B, T] or None."""

    def __init__(self) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def load(self, arrays: dict[str, np.ndarray], index: int) -> None:
        prefix = f"encoder/layer_{index}/"
        for module, name in (
            (self.ln1, "self_attention/layer_norm"),
            (self.ln2, "ffn/layer_norm"),
            (self.qkv, "self_attention/linear_0"),
            (self.out, "self_attention/linear_1"),
            (self.up, "ffn/linear_0"),
            (self.down, "ffn/linear_1"),
        ):
            weight, bias = ("gamma", "beta") if isinstance(module, nn.LayerNorm) else ("weight", "bias")
            module.weight.data = torch.tensor(arrays[f"{prefix}{name}/{weight}"].astype(np.float32))
            module.bias.data = torch.tensor(arrays[f"{prefix}{name}/{bias}"].astype(np.float32))

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        batch, frames, width = x.shape
        q, k, v = (
            part.view(batch, frames, HEADS, width // HEADS).transpose(1, 2)
            for part in self.qkv(self.ln1(x)).chunk(3, -1)
        )
        mask = None if real is None else real[:, None, None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(batch, frames, width))
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class Encoder(nn.Module):
    """Convolutions, positions and the frozen blocks; `rest` and `norm` are what is trained on."""

    def __init__(self, model: bytes) -> None:
        super().__init__()
        arrays = read_ctranslate2(model)

        def tensor(name: str) -> Tensor:
            return torch.tensor(arrays["encoder/" + name].astype(np.float32))

        self.conv1, self.conv1_bias = tensor("conv1/weight"), tensor("conv1/bias")
        self.conv2, self.conv2_bias = tensor("conv2/weight"), tensor("conv2/bias")
        self.positions = tensor("position_encodings/encodings")
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        for index, block in enumerate(self.blocks):
            block.load(arrays, index)
        self.norm = nn.LayerNorm(WIDTH)
        self.norm.weight.data, self.norm.bias.data = tensor("layer_norm/gamma"), tensor("layer_norm/beta")

    @property
    def rest(self) -> nn.ModuleList:
        return self.blocks[FROZEN:]

    @torch.no_grad()
    def before(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """mel [B, 80, L] (scaled), lengths in mel frames -> what goes into `rest` [B, T, 384] and its lengths."""
        real = torch.arange(mel.shape[2])[None] < lengths[:, None]
        x = F.gelu(F.conv1d(mel, self.conv1, self.conv1_bias, padding=1)) * real[:, None]
        x = F.gelu(F.conv1d(x, self.conv2, self.conv2_bias, stride=2, padding=1)).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        lengths = (lengths + 1) // 2
        real = torch.arange(x.shape[1])[None] < lengths[:, None]
        for block in self.blocks[:FROZEN]:
            x = block(x, real)
        return x * real[..., None], lengths
