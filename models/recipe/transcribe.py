"""Step 2: the words of the recorded English prompts, as the whole of whisper-tiny.en writes them.

    python transcribe.py --work WORK

The package has no transcript file.  The decoder of the same model hears what was said well (short sentences, one
speaker, a studio); its slips are corrected by hand (prompts.py).  What it is unsure of is left out, but for clips to
train on of a word or two that are in the file's name.  Writes WORK/transcripts.json: source of the clip -> text.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import ctranslate2
import numpy as np
import packages
import phrases
import prompts
import timing
import torch
from clips import RATE, Store
from torch import Tensor
from whisper import log_mel, scaled

START = ["<|startoftranscript|>", "<|notimestamps|>"]
SURE = -0.45
"""Mean log probability of a token, at least."""
NUMBERS = [prompts.NUMBERS[str(n)] for n in range(13)]
ALONE = re.compile(r"(?<![\w.,$:-])\d+(?![\w%:-]|[.,]\d)")
"""Numbers read as such: not those of 1.5, $5 and 12:30."""


def spoken(tokens: list[str]) -> str:
    """Lower-case words without punctuation, small numbers as words, from byte-level tokens of GPT-2's vocabulary."""
    text = "".join(token for token in tokens if not token.startswith("<|")).replace("\u0120", " ")
    text = ALONE.sub(lambda n: NUMBERS[int(n[0])] if int(n[0]) < len(NUMBERS) else n[0], text)
    return re.sub(r"[^a-z0-9' ]+", " ", text.lower()).strip()


def understood(model: ctranslate2.models.Whisper, level: Tensor, beams: int) -> tuple[str, float]:
    """What is said in 30 s (whisper.log_mel, [80, 3000]), and its mean log probability of a token."""
    mel = scaled(level[None], torch.ones(1, 3000, dtype=torch.bool))
    given = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel.numpy(), np.float32))
    (heard,) = model.generate(given, [START], beam_size=beams, return_scores=True, max_length=100)
    return " ".join(spoken(heard.sequences[0]).split()), heard.scores[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--debs", type=Path)
    arguments = parser.parse_args()
    known = packages.words(arguments.debs or arguments.work / "deb") | phrases.SHORT
    store = Store.load(arguments.work / "recordings")
    clips = [clip for clip in store.clips if clip.what.get("language") == "English" and "digit" not in clip.what]
    found: dict[str, str] = {}
    model = timing.whisper(arguments.work / "wheels", 2)
    for clip in clips:
        samples = np.pad(store.audio(clip)[: 30 * RATE], (0, max(0, 30 * RATE - clip.length)))
        text, score = understood(model, log_mel(samples), 5)
        if score >= SURE and text and not re.search(r"\d", text):
            found[clip.source] = prompts.CORRECTED.get(prompts.name(clip.source), text)
        elif clip.use == "train":
            named = prompts.CORRECTED.get(prompts.name(clip.source)) or prompts.named(clip.source, known)
            if named and clip.length < prompts.WORD_SECONDS * RATE * len(named.split()):
                found[clip.source] = named
    (arguments.work / "transcripts.json").write_text(json.dumps(found, indent=0))
    print(len(found), "of", len(clips))


if __name__ == "__main__":
    main()
