"""Models and clips for compare.py, made in a process of their own so that the one that measures stays small.

    python -m benchmarks.prepare FOLDER '{"models": [...], "seconds": [...], "audio": null}'

prints a line of JSON: "models": {name: {"model", "mmproj", "lora", "catalogue", "shape"}}, "clips": {seconds: path},
"threads".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import audio_models, sounds


def files(name: str, folder: Path) -> dict[str, Any]:
    """catalogue: what AudioChat is given, so that a catalogue model is run as users run it."""
    if name in audio_models.SHAPES:
        text, mmproj = audio_models.write(name, folder)
        return {
            "model": str(text),
            "mmproj": str(mmproj),
            "lora": None,
            "catalogue": None,
            "shape": audio_models.sizes(name),
        }
    from mata_cpp.files.resolve import resolve

    found = resolve(name)
    return {
        "model": str(found.model),
        "mmproj": str(found.mmproj),
        "lora": found.lora and str(found.lora),
        "catalogue": name,
        "shape": audio_models.sizes(name),
    }


def main() -> None:
    folder, wanted = Path(sys.argv[1]), json.loads(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    models = {name: files(name, folder) for name in wanted["models"]}
    clips = {}
    for seconds in wanted["seconds"]:
        samples = sounds.repeated(Path(wanted["audio"]), seconds) if wanted["audio"] else sounds.mixed(seconds)
        clips[f"{seconds:g}"] = str(sounds.write_wav(folder / f"clip-{seconds:g}s.wav", samples))
    from mata_cpp import _core

    engine = _core.Engine(next(iter(models.values()))["model"], n_ctx=32)
    print(json.dumps({"models": models, "clips": clips, "threads": engine.n_threads}))


if __name__ == "__main__":
    main()
