"""The store of clips: mono 16 kHz float16 samples in one file, what they are in another."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16000
SHORTEST, LONGEST = 0.08, 60.0


@dataclass
class Clip:
    """what: the task's truth, e.g. {"sound": "rain"}; use: train, dev or test; source: package and path."""

    what: dict
    use: str
    source: str
    start: int = 0
    length: int = 0


@dataclass
class Store:
    """Clips and their samples; written and read as PATH.npy and PATH.json."""

    clips: list[Clip] = field(default_factory=list)
    parts: list[np.ndarray] = field(default_factory=list)
    samples: np.ndarray | None = None

    def add(self, samples: np.ndarray, what: dict, use: str, source: str) -> None:
        start = self.clips[-1].start + self.clips[-1].length if self.clips else 0
        self.clips.append(Clip(what, use, source, start, len(samples)))
        self.parts.append(samples.astype(np.float16))

    def audio(self, clip: Clip) -> np.ndarray:
        assert self.samples is not None
        return np.asarray(self.samples[clip.start : clip.start + clip.length], dtype=np.float32)

    def save(self, path: Path) -> None:
        np.save(path.with_suffix(".npy"), np.concatenate(self.parts))
        path.with_suffix(".json").write_text(json.dumps([asdict(clip) for clip in self.clips]))

    @classmethod
    def load(cls, path: Path) -> Store:
        clips = [Clip(**item) for item in json.loads(path.with_suffix(".json").read_text())]
        return cls(clips, [], np.load(path.with_suffix(".npy"), mmap_mode="r"))


STORES = ("recordings", "rendered", "spoken", "neural")


def everything(work: Path, names: tuple[str, ...] = STORES) -> list[tuple[Store, Clip]]:
    """All clips of WORK, the English prompts with their words where transcribe.py is sure of them."""
    stores = [Store.load(work / name) for name in names]
    written = work / "transcripts.json"
    words: dict[str, str] = json.loads(written.read_text()) if written.exists() else {}
    for clip in stores[0].clips:
        if clip.source in words:
            clip.what["text"] = words[clip.source]
    return [(store, clip) for store in stores for clip in store.clips]


def decode(content: bytes | Path, keep_silence: bool = False) -> np.ndarray | None:
    """Mono float32 samples at 16 kHz, silent ends cut, peak at most 1; None for what is no usable sound."""
    try:
        data, rate = soundfile.read(io.BytesIO(content) if isinstance(content, bytes) else content, dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    if data.ndim > 1:
        data = data.mean(axis=1)
    data = data[: int(LONGEST * rate)]
    if rate != RATE:
        data = soxr.resample(data, rate, RATE)
    return _usable(data) if keep_silence else trimmed(data)


def trimmed(data: np.ndarray) -> np.ndarray | None:
    """The same of samples at RATE."""
    loud = np.flatnonzero(np.abs(data) > 10 ** (-50 / 20) * max(1e-4, float(np.abs(data).max(initial=0))))
    return _usable(data[max(0, loud[0] - 160) : loud[-1] + 800] if len(loud) else data[:0])


def _usable(data: np.ndarray) -> np.ndarray | None:
    peak = float(np.abs(data).max(initial=0))
    if len(data) < SHORTEST * RATE or peak < 1e-4:
        return None
    return (data / max(1.0, peak)).astype(np.float32)
