"""What whisper-tiny.en understands of phrases put together in the recorded voice, and of what they were made of.

python check_alike.py --work WORK [--most 60]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ctranslate2
import features
import numpy as np
import timing
import torch
import torch.nn.functional as F
import transcribe
import yamnet
from clips import everything
from edit_distance import edit_distance
from torch import Tensor
from whisper import scaled


def understood(model: ctranslate2.models.Whisper, level: Tensor) -> list[str]:
    """The words in a spectrogram (whisper.log_mel), beam 1."""
    level = F.pad(level, (0, 3000 - level.shape[1]), value=-10.0)[None]
    mel = scaled(level, torch.ones(1, 3000, dtype=torch.bool))
    given = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel.numpy(), np.float32))
    (heard,) = model.generate(given, [transcribe.START], beam_size=1, max_length=100)
    return transcribe.spoken(heard.sequences[0]).split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--debs", type=Path)
    parser.add_argument("--most", type=int, default=60)
    arguments = parser.parse_args()
    wheels = arguments.work / "wheels"
    debs = arguments.debs or arguments.work / "deb"
    plan = features.Plan(everything(arguments.work), ("train",))
    voice, texts = plan.voice(4, wheels, debs, yamnet.Yamnet(wheels), plan.common(wheels, debs))
    model = timing.whisper(wheels, 2)
    errors, words = {"spoken": 0, "put together": 0}, 0
    for number, text in enumerate(texts[60:][: arguments.most]):  # what comes before told the voice's mean
        rng = np.random.default_rng((1, number))
        said = voice.said(text, rng)
        if said is not None:
            words += len(text.split())
            for name, level in (("spoken", said), ("put together", voice.alike(said, rng))):
                errors[name] += edit_distance(understood(model, level), text.split())
    if not words:
        raise SystemExit("nothing could be spoken: is the command flite there?")
    print({name: round(n / words, 3) for name, n in errors.items()}, "errors a word, of", words)


if __name__ == "__main__":
    main()
