"""What whisper-tiny.en understands of phrases put together in the recorded voice, and of what they were made of.

python check_alike.py --work WORK [--most 60]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import features
import numpy as np
import timing
import torch.nn.functional as F
import transcribe
import yamnet
from clips import everything
from edit_distance import edit_distance


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
    for number, text in enumerate(texts[features.TOLD :][: arguments.most]):  # what comes before told the voice's mean
        rng = np.random.default_rng((1, number))
        said = voice.said(text, rng)
        if said is not None:
            words += len(text.split())
            for name, level in (("spoken", said), ("put together", voice.alike(said, rng))):
                level = F.pad(level, (0, 3000 - level.shape[1]), value=-10.0)
                heard, _ = transcribe.understood(model, level, 1)
                errors[name] += edit_distance(heard.split(), text.split())
    if not words:
        raise SystemExit("nothing could be spoken: is the command flite there?")
    print({name: round(n / words, 3) for name, n in errors.items()}, "errors a word, of", words)


if __name__ == "__main__":
    main()
