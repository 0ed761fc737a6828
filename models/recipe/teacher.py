"""Step 4: what a network that was trained on libraries of sound effects makes of each training recording.

    python teacher.py --work WORK

Writes WORK/teacher.npy (float16, one row of 512 for each clip) and .json (the clips' sources).  Stage 1 of the training
has the audio tokens tell these numbers as well: recordings of a few hundred things do not show what sounds are alike,
and the network has heard far more of them.

The network is "X-Sequential-CE" of A. B. Ma and A. Lerch, "Representation Learning for the Automatic Indexing of Sound
Effects Libraries", ISMIR 2022 (weights CC BY 4.0): four blocks of two convolutions over a spectrogram of 96 mel bands,
100 frames (2.3 s) at a time.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import packages
import soxr
import torch
import torch.nn.functional as F
from clips import RATE, everything
from torch import Tensor
from whisper import triangles

WHEEL = "aisfx==0.1.2"
HERTZ, WINDOW, HOP, BANDS, BLOCK = 44100, 2048, 1024, 96, 100
TOP = 9.457798957824707
"""What its authors divide the spectrograms by."""
LONGEST = 16
"""Seconds of a clip that are looked at."""


def filters() -> Tensor:
    """Mel filters [96, 1025], 0-22050 Hz, each of sum 1 (HTK's scale)."""
    top = 2595 * np.log10(1 + HERTZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    weight = triangles(edges, np.linspace(0, HERTZ / 2, WINDOW // 2 + 1))
    return torch.tensor(weight / weight.sum(1, keepdims=True).clip(1e-9), dtype=torch.float32)


class Teacher:
    def __init__(self, wheels: Path) -> None:
        with zipfile.ZipFile(packages.wheel(WHEEL, wheels)) as archive:
            content = archive.read("aisfx/models/checkpoint.pth")
        scalar = type(np.int64(0)).__reduce__(np.int64(0))[0]  # beside the weights lie NumPy's integers, pickled
        known = [(scalar, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType]
        with torch.serialization.safe_globals(known):
            weights, _ = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        self.weights = {name.removeprefix("embedding_net."): value for name, value in weights.items()}
        self.filters, self.window = filters(), torch.hann_window(WINDOW)

    def spectrogram(self, samples: np.ndarray) -> Tensor:
        """16 kHz samples -> [frames, 96]."""
        x = torch.tensor(soxr.resample(samples, RATE, HERTZ), dtype=torch.float32)
        power = torch.stft(x, WINDOW, HOP, window=self.window, pad_mode="constant", return_complex=True).abs().square()
        return ((self.filters @ power * 1e4 + 1).log10() / TOP).T

    def _convolved(self, x: Tensor, name: str) -> Tensor:
        w = self.weights
        x = F.conv2d(x, w[f"{name[:-1]}.conv{name[-1]}.weight"], padding=1)
        norm = f"{name[:-1]}.bn{name[-1]}."
        means, spreads = w[norm + "running_mean"], w[norm + "running_var"]
        return F.relu(F.batch_norm(x, means, spreads, w[norm + "weight"], w[norm + "bias"]))

    @torch.no_grad()
    def __call__(self, samples: np.ndarray) -> Tensor:
        """Mean of the blocks' embeddings [512]; blocks overlap by half."""
        levels = self.spectrogram(samples[: LONGEST * RATE])
        levels = F.pad(levels, (0, 0, 0, max(0, BLOCK - len(levels))))
        x = torch.stack([levels[i : i + BLOCK] for i in range(0, len(levels) - BLOCK + 1, BLOCK // 2)])[:, None]
        with torch.autocast("cpu", torch.bfloat16):
            for block in (1, 2, 3, 4):
                for part in "12":
                    x = self._convolved(x, f"conv_block{block}{part}")
                if block < 4:
                    x = F.max_pool2d(x, 2)
        return x.float().mean(3).amax(2).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    teacher, begun = Teacher(arguments.work / "wheels"), time.monotonic()
    rows, names = [], []
    for store, clip in everything(arguments.work, ("recordings", "rendered")):
        if clip.use == "train" and "sound" in clip.what:
            rows.append(teacher(store.audio(clip)).to(torch.float16).numpy())
            names.append(clip.source)
            if len(names) % 500 == 0:
                print(len(names), f"{time.monotonic() - begun:.0f} s", flush=True)
    np.save(arguments.work / "teacher.npy", np.stack(rows))
    (arguments.work / "teacher.json").write_text(json.dumps(names))


if __name__ == "__main__":
    main()
