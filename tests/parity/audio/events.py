"""A tiny random event network and what an Ultravox projector makes of it, in NumPy.

The network in C++: csrc/llama/audio/mtmd-audio-events.h.

Whisper's encoder needs no second implementation here: with a last norm of weight 0 its rows are that norm's bias,
whatever the clip, and the projector behind them is written out below.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from . import models

CHANNELS = (8, 12, 16, 9, 24, 16, 32, 17, 20, 24, 12, 16, 32, 24)
"""Of the first convolution and of the 13 pointwise ones; vectors of 8 leave some over."""
CHANNELS_IN_BLOCKS = (32,) * 14
"""Quantized weights come in blocks of 32."""
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
N_CLASSES, BANDS, WINDOW, HOP = 5, 64, 400, 160
PATCH, STEP = 96, 48  # frames in what makes a row, and from one to the next
BLOCK = 3000  # frames of 30 s, which the encoder takes at once

Array = NDArray[np.floating]
Tensors = dict[str, Array]


def event_tensors(channels: tuple[int, ...] = CHANNELS) -> Tensors:
    """name -> array of the file, as NumPy sees it (the first axis is the slowest)."""
    shapes: dict[str, tuple[int, ...]] = {"a.events.conv": (channels[0], 9)}
    for i, (n, n_next) in enumerate(zip(channels, channels[1:], strict=False), 1):
        shapes[f"a.events.dw.{i}"] = (3, 3, n)
        shapes[f"a.events.pw.{i}"] = (n_next, n)
    shapes["a.events.head"] = (N_CLASSES, channels[-1])
    made: Tensors = {}
    for name, shape in shapes.items():
        n_in = 9 if "dw" in name else shape[1]
        n_out = shape[-1] if "dw" in name else shape[0]
        made[f"{name}.weight"] = _random(f"{name}.weight", shape) * np.float32((2 / n_in) ** 0.5)
        made[f"{name}.bias"] = _random(f"{name}.bias", (n_out,)) * np.float32(0.1)
    made["a.events.conv.weight"] /= 4  # logarithms down to -7 go into it
    made["mm.a.events.norm.weight"] = 1 + _random("norm", (channels[-1],)) * np.float32(0.1)
    mlp = _random("mlp", (models.ULTRAVOX_MID, channels[-1]))
    made["mm.a.events.mlp.weight"] = mlp / np.float32(channels[-1] ** 0.5)
    made["mm.a.events.names.weight"] = _random("names", (models.N_EMBD, N_CLASSES))
    return made


def _random(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)


def projector_tensors(stack: int) -> Tensors:
    """The small Ultravox model's, for any stack factor, with an encoder whose rows do not depend on the clip."""
    made = dict(models.audio_tensors("ultravox"))
    d = models.AUDIO_EMBD * stack
    made["a.post_ln.weight"] = np.zeros_like(made["a.post_ln.weight"])
    made["a.post_ln.bias"] = _random("rows", (models.AUDIO_EMBD,))
    made["mm.a.norm_pre.weight"] = 1 + _random("norm_pre", (d,)) * np.float32(0.1)
    made["mm.a.mlp.1.weight"] = _random("mlp.1", (models.ULTRAVOX_MID, d)) / np.float32(d**0.5)
    return made


def write(
    path: Path, tensors: Tensors, *, stack: int = models.ULTRAVOX_STACK, kind: str = "F32", name: str | int = "yamnet"
) -> Path:
    """kind: of the event network's matrices; tensors are changed to what the file holds."""
    stored: dict[str, NDArray] = {}
    types: dict[str, gguf.GGMLQuantizationType] = {}
    for key, x in tensors.items():
        stored[key] = x
        if kind != "F32" and "events" in key and key.endswith("weight") and x.ndim == 2 and ".conv." not in key:
            if kind == "F16" or x.shape[1] % 32:
                stored[key] = x.astype(np.float16)
                tensors[key] = stored[key].astype(np.float32)
            else:
                types[key] = gguf.GGMLQuantizationType[kind]
                stored[key] = gguf.quants.quantize(x, types[key])
                tensors[key] = gguf.quants.dequantize(stored[key], types[key])

    def add_name(writer: gguf.GGUFWriter) -> None:
        if isinstance(name, str):
            writer.add_string("mata.audio.events", name)
        else:
            writer.add_uint32("mata.audio.events", name)

    return models.write_mmproj("ultravox", path, tensors=stored.items(), types=types, stack=stack, more=add_name)


# --- what is to come out -----------------------------------------------------------------------------


def n_frames(n_samples: int) -> int:
    return max(2, -(-n_samples // HOP))


def features(samples: NDArray[np.float32]) -> Array:
    """[frames, 64]; silence is 0."""
    mel_of = lambda hertz: 1127 * np.log(1 + np.asarray(hertz) / 700)  # noqa: E731
    edges = np.linspace(mel_of(125), mel_of(7500), BANDS + 2)
    filters = np.array([
        np.interp(mel_of(np.arange(257) * 31.25), edges[i : i + 3], (0, 1, 0), left=0, right=0) for i in range(BANDS)
    ])  # fmt: skip
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    n = n_frames(len(samples))
    sound = np.zeros(n * HOP + WINDOW)
    sound[: len(samples)] = samples
    frames = np.array([sound[HOP * t : HOP * t + WINDOW] * window for t in range(n)])
    return np.log((np.abs(np.fft.rfft(frames, 512)) @ filters.T + 0.001) / 0.001)


def taps(x: Array, stride: int) -> Iterator[tuple[int, int, Array]]:
    """(frame, band, what that tap of a 3 x 3 convolution sees) of x [N, frames, bands, C], padded as in TensorFlow."""
    pad = (0, 1) if stride == 2 else (1, 1)
    x = np.pad(x, ((0, 0), pad, pad, (0, 0)))
    n, m = (size - 2 for size in x.shape[1:3])
    for frame in range(3):
        for band in range(3):
            yield frame, band, x[:, frame : frame + n : stride, band : band + m : stride]


def rows(tensors: Tensors, heard: Array) -> Array:
    """features [frames, 64] -> [patches, channels]"""
    starts = range(0, max(1, len(heard) - PATCH + STEP), STEP)
    heard = np.pad(heard, ((0, starts[-1] + PATCH - len(heard)), (0, 0)))
    x = np.array([heard[start : start + PATCH] for start in starts])[..., None] + np.log(0.001)
    kernel = tensors["a.events.conv.weight"].reshape(-1, 3, 3)
    x = sum(part * kernel[:, frame, band] for frame, band, part in taps(x, 2)) + tensors["a.events.conv.bias"]
    x = np.maximum(x, 0)
    for i, stride in enumerate(STRIDES, 1):
        kernel = tensors[f"a.events.dw.{i}.weight"]
        x = sum(part * kernel[frame, band] for frame, band, part in taps(x, stride))
        x = np.maximum(x + tensors[f"a.events.dw.{i}.bias"], 0)
        x = np.maximum(x @ tensors[f"a.events.pw.{i}.weight"].T + tensors[f"a.events.pw.{i}.bias"], 0)
    return x.mean((1, 2))


def normed(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weight


def embeddings(tensors: Tensors, samples: NDArray[np.float32], stack: int) -> Array:
    """Of the clip's audio tokens, for the tensors of projector_tensors and event_tensors."""
    whole = features(samples)
    made = []
    for start in range(0, len(whole), BLOCK):
        heard = whole[start : start + BLOCK]
        n_tokens = -(-len(heard) // (2 * stack))
        n_rows = -(-len(heard) // 2)
        if start > 0:  # filled up with frames of zeros
            n_rows = min(n_tokens * stack, BLOCK // 2)
            heard = np.pad(heard, ((0, max(0, 2 * n_rows - len(heard))), (0, 0)))

        encoded = np.zeros((n_tokens * stack, models.AUDIO_EMBD))
        encoded[:n_rows] = tensors["a.post_ln.bias"]
        x = normed(encoded.reshape(n_tokens, -1), tensors["mm.a.norm_pre.weight"]) @ tensors["mm.a.mlp.1.weight"].T

        events = rows(tensors, heard)
        scores = events @ tensors["a.events.head.weight"].T + tensors["a.events.head.bias"]
        middle = normed(events, tensors["mm.a.events.norm.weight"]) @ tensors["mm.a.events.mlp.weight"].T
        names = 1 / (1 + np.exp(-scores)) @ tensors["mm.a.events.names.weight"].T
        middles = STEP * np.arange(len(events)) + PATCH // 2
        # of two that are as near, the later one
        row_of = [len(events) - 1 - abs(middles - (2 * t + 1) * stack)[::-1].argmin() for t in range(n_tokens)]

        value, gate = np.split(x + middle[row_of], 2, axis=1)
        x = normed(gate / (1 + np.exp(-gate)) * value, tensors["mm.a.norm_mid.weight"])
        made.append(x @ tensors["mm.a.mlp.2.weight"].T + names[row_of])
    return np.concatenate(made)
