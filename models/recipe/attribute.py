"""The list of what a model was trained on, as Markdown: package, licence and authors, recordings.

python attribute.py --work WORK > ../tiny/SOURCES.md
"""

from __future__ import annotations

import argparse
import collections
from pathlib import Path

import sources
from clips import Store
from more_sources import MORE

OTHERS = {
    "esc10": (
        'ESC-10, K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015; folds 1-4, '
        "without the clips under CC Sampling+",
        "CC BY 3.0; its clips, from freesound.org, CC0 or CC BY",
    ),
    "fsdd": ("Free Spoken Digit Dataset, Zohar Jackson and its speakers; four of six speakers", "CC BY-SA 4.0"),
    "speech": ("phrases spoken by flite (kal16, awb, rms, slt) and espeak-ng voices", "renders, our own"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    trained: collections.Counter[str] = collections.Counter()
    for name in ("recordings", "rendered", "spoken"):
        for clip in Store.load(arguments.work / name).clips:
            if clip.use == "train":
                trained[
                    clip.source.rsplit(":", 1)[0]
                    if clip.source.startswith(("pypi:", "npm:"))
                    else clip.source.split(":")[0]
                ] += 1
    licences: dict[str, list[str]] = collections.defaultdict(list)
    for package in (*sources.PACKAGES, *MORE):
        if package.use == "train" and package.licence not in licences[package.name]:
            licences[package.name].append(package.licence)
    for name, (language, licence) in sources.SPEECH.items():
        licences[name] = [f"{licence} (recorded prompts, {language})"]
    for name, (_, licence) in sources.SOUNDFONTS.items():
        licences[name] = [f"{licence} (renders with this soundfont)"]
    print("| source | licence, authors | clips trained on |\n|---|---|---|")
    for name, n in sorted(trained.items(), key=lambda item: -item[1]):
        if name in OTHERS:
            print(f"| {OTHERS[name][0]} | {OTHERS[name][1]} | {n} |")
        else:
            print(f"| `{name}` | {'; '.join(licences[name])} | {n} |")


if __name__ == "__main__":
    main()
