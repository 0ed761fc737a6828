"""What whisper-tiny.en's blocks and YAMNet tell of sounds: a linear probe on each, judged on the development clips.

    python probe.py --work WORK

Not a step of the recipe; it is where "the last two blocks are trained" comes from, and YAMNet.  The probe sees mean,
maximum and spread over time (of YAMNet the mean of the roots) of the training recordings as they are.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import features
import numpy as np
import packages
import torch
import torch.nn.functional as F
import yamnet
from clips import everything
from labels import LABELS, close
from torch import Tensor
from whisper import Encoder, log_mel, scaled


@torch.no_grad()
def summaries(encoder: Encoder, samples: np.ndarray) -> list[Tensor]:
    """For the convolutions, each block and the norm: mean, maximum and spread over time [3 * 384]."""
    mel = log_mel(features.rounded(samples[: 6 * features.RATE]))[None]
    x = scaled(mel, torch.ones(1, mel.shape[2], dtype=torch.bool))
    x = F.gelu(F.conv1d(x, encoder.conv1, encoder.conv1_bias, padding=1))
    x = F.gelu(F.conv1d(x, encoder.conv2, encoder.conv2_bias, stride=2, padding=1)).transpose(1, 2)
    outputs = [x + encoder.positions[: x.shape[1]]]
    for block in encoder.blocks:
        outputs.append(block(outputs[-1]))
    outputs.append(encoder.norm(outputs[-1]))
    return [torch.cat([y[0].mean(0), y[0].amax(0), y[0].std(0, correction=0)]) for y in outputs]


def probe(x: Tensor, y: Tensor, train: Tensor, epochs: int = 60) -> Tensor:
    """Scores [N, labels] of a linear classifier fitted to the rows in train, rare labels counting more."""
    x = (x - x[train].mean(0)) / (x[train].std(0) + 1e-3)
    weight = y[train].bincount(minlength=len(LABELS)).clip(1) ** -0.5
    torch.manual_seed(0)
    linear = torch.nn.Linear(x.shape[1], len(LABELS))
    opt = torch.optim.AdamW(linear.parameters(), lr=1e-3, weight_decay=0.3)
    for _ in range(epochs):
        for part in train[torch.randperm(len(train))].split(128):
            logits = linear(F.dropout(x[part], 0.5))
            loss = F.cross_entropy(logits, y[part], weight=weight, label_smoothing=0.1)
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        return linear(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    encoder = Encoder(packages.whisper_file(arguments.work / "wheels"))
    items = [(s, c) for s, c in everything(arguments.work) if "sound" in c.what and c.use in ("train", "dev")]
    events = yamnet.Yamnet(arguments.work / "wheels")
    rows = []
    for store, clip in items:
        samples = features.heard(store.audio(clip))[: 6 * features.RATE]
        heard = events(yamnet.log_mel(samples)).sqrt().mean(0)
        rows.append([*summaries(encoder, samples), heard])
    y = torch.tensor([LABELS.index(clip.what["sound"]) for _, clip in items])
    train = torch.tensor([i for i, (_, clip) in enumerate(items) if clip.use == "train"])
    held = [i for i, (_, clip) in enumerate(items) if clip.use == "dev"]
    for number, name in enumerate(("convolutions", "block 1", "block 2", "block 3", "block 4", "final norm", "YAMNet")):
        scores, rng, hits = probe(torch.stack([row[number] for row in rows]), y, train), random.Random(1), []
        for i in held:
            label = LABELS[int(y[i])]
            others = [other for other in LABELS if other != label and other not in close(label)]
            for _ in range(5):
                offered = [int(y[i]), *(LABELS.index(other) for other in rng.sample(others, 3))]
                hits.append(int(scores[i, offered].argmax()) == 0)
        best = float((scores[held].argmax(1) == y[held]).float().mean())
        print(f"{name:12} four options {np.mean(hits):.3f}, one of {len(LABELS)} {best:.3f}", flush=True)


if __name__ == "__main__":
    main()
