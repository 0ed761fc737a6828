"""What an encoder has to compute for a clip: how often each of its weights is used.

A weight of a matrix or a convolution is one multiplication and addition for each position that it is applied to, so a
projector's work is the sum over its tensors of 2 x weights x positions; attention adds, for each layer, 2 x width x the
products of queries with keys, values and relative positions.  Norms, activations and the log-mel frames are left out.

Positions follow the rows of csrc/llama/audio: n samples at 16 kHz, frames of 10 ms, rows as the layers compute them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

N_MEL = 128
WINDOW_FRAMES = 3000
"""Whisper's 30 s."""


@dataclass(frozen=True)
class Use:
    """Of an encoder, for one clip."""

    frames: int  # handed to it
    rows: int  # through its layers
    tokens: int
    products: int  # of a layer's attention, each as long as the width
    positions: tuple[tuple[str, int], ...]  # of the tensors whose names begin so; the first that fits

    def of(self, name: str) -> int:
        return next((n for pattern, n in self.positions if re.match(pattern, name)), 0)


def up(n: int, by: int) -> int:
    return -(-n // by)


def halve(n: int, times: int = 1) -> int:
    """Rows that convolutions of stride 2, width 3 and padding 1 leave."""
    for _ in range(times):
        n = up(n, 2)
    return n


def _whisper(frames: int, rows: int, tokens: int, products: int | None = None) -> Use:
    positions = ((r"a\.conv1d\.1", frames), (r"a\.conv1d\.2", halve(frames)), (r"a\.blk", rows), (r"mm\.", tokens))
    return Use(frames, rows, tokens, 2 * rows * rows if products is None else products, positions)


def _truncated(n: int) -> Use:
    """Qwen2-Audio and the Flamingos: no padding, two frames more for the convolutions."""
    valid = up(n, 160)
    return _whisper((valid + 3) // 2 * 2, halve(valid), halve(valid) // 2)


def _ultravox(n: int, stack: int = 8) -> Use:
    frames = up(n, 160)
    return _whisper(frames, halve(frames), up(halve(frames), stack))


def _padded(n: int, stack: int = 4) -> Use:
    """Voxtral."""
    windows = up(up(n, 160), WINDOW_FRAMES)
    rows = windows * WINDOW_FRAMES // 2
    return _whisper(windows * WINDOW_FRAMES, rows, rows // stack, windows * 2 * (WINDOW_FRAMES // 2) ** 2)


def _glm(n: int, stack: int = 4) -> Use:
    """As _padded, but only the clip's tokens are projected."""
    padded, valid = _padded(n, stack), up(n, 160)
    tails = [min(WINDOW_FRAMES, valid - begin) for begin in range(0, valid, WINDOW_FRAMES)]
    tokens = sum(halve(frames) // stack for frames in tails)
    return _whisper(padded.frames, padded.rows, tokens, padded.products)


def _qwen25_omni(n: int) -> Use:
    """Blocks of 200 frames."""
    frames = up(n, 160)
    rows = halve(frames)
    return _whisper(frames, rows, rows // 2, 2 * (rows // 100 * 100**2 + (rows % 100) ** 2))


def _qwen3(n: int) -> Use:
    """Blocks of 100 frames, the last one filled up; attention within 8 of them."""
    valid = n // 160
    blocks, rows = up(valid, 100), valid // 100 * 13 + halve(valid % 100, 3)
    convolutions = [(rf"a\.conv2d\.{i}", blocks * halve(100, i) * halve(N_MEL, i)) for i in (1, 2, 3)]
    positions = (*convolutions, (r"a\.conv_out", blocks * 13), (r"a\.blk", rows), (r"mm\.", rows))
    return Use(100 * blocks, rows, rows, 2 * (rows // 104 * 104**2 + (rows % 104) ** 2), positions)


def _gemma4(n: int) -> Use:
    """Chunks of 12 rows, which look at 24 and at 13 distances."""
    frames = (n - 161) // 160 + 1
    rows = halve(frames, 2)
    convolutions = [(rf"a\.conv1d\.{i}", halve(frames, i + 1) * halve(N_MEL, i + 1)) for i in (0, 1)]
    positions = (*convolutions, (r"a\.blk\.\d+\.attn_k_rel", 13), (r"a\.", rows), (r"mm\.", rows))
    return Use(frames, rows, rows, up(rows, 12) * 12 * (24 + 24 + 13), positions)


def _gemma4_unified(n: int) -> Use:
    rows = up(n, 640)
    return Use(rows, rows, rows, 0, ((r"mm\.", rows),))


def _granite(n: int) -> Use:
    """Two frames a row; queries, keys and values of whole blocks of 200 rows; 3 tokens of each 15 rows."""
    rows = (n // 160 + 1) // 2
    blocked, windows = up(rows, 200) * 200, up(rows, 15)
    positions = (
        (r"a\.blk\.\d+\.attn_[qkv]", blocked), (r"a\.proj_blk\.\d+\.cross_attn_[kv]", 15 * windows),
        (r"a\.proj", 3 * windows), (r"a\.", rows),
    )  # fmt: skip
    return Use(2 * rows, rows, 3 * windows, 3 * blocked * 200, positions)


def _parakeet(n: int) -> Use:
    frames = n // 160 + 1
    rows, seen = halve(frames, 3), [halve(frames, i) * halve(N_MEL, i) for i in (1, 2, 3)]
    positions = (
        (r"a\.conv1d\.0", seen[0]), (r"a\.conv1d\.[23]", seen[1]), (r"a\.conv1d\.[56]", seen[2]),
        (r"a\.blk\.\d+\.linear_pos", 2 * rows - 1), (r"a\.(blk|pre_encode)", rows), (r"mm\.a\.", rows),
    )  # fmt: skip
    return Use(frames, rows, rows, rows * (4 * rows - 1), positions)


USES = {
    "qwen2_audio": _truncated, "qwen2_5_omni": _qwen25_omni, "qwen3_omni": _qwen3, "qwen3_asr": _qwen3,
    "ultravox": _ultravox, "voxtral": _padded, "audioflamingo3": _truncated, "musicflamingo": _truncated,
    "glmasr": _glm, "gemma4": _gemma4, "gemma4_unified": _gemma4_unified, "granite_speech": _granite,
    "parakeet": _parakeet,
}  # fmt: skip
"""By the tests' names of the architectures.  For clips of 1 to 30 s."""


def operations(use: Use, layers: int, width: int, tensors: Iterable[tuple[str, tuple[int, ...]]]) -> float:
    """Additions and multiplications.  tensors: (name, shape) of the projector file."""
    matrices = [(name, shape) for name, shape in tensors if len(shape) > 1 and name.endswith(".weight")]
    weights = sum(math.prod(shape) * use.of(name) for name, shape in matrices)
    return 2.0 * (weights + layers * use.products * width)
