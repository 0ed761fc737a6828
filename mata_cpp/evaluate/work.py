"""From what is asked for to a run: data, model, log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import short_name
from ..errors import MataError
from ..files import integrity
from ..model import AudioModel
from . import datasets
from .items import Item
from .jobs import CHOICE_FORMS, METHODS, Shard
from .prompts import FORMS
from .record import SOUNDS
from .settings import Setting


@dataclass(frozen=True)
class Plan:
    """What a run asks.  Raises ValueError for what does not fit together."""

    method: str = METHODS[0]
    forms: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()
    sounds: tuple[str, ...] = SOUNDS[:1]
    positions: int = 1
    limit: int | None = None
    shard: Shard = Shard()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"the method must be one of {', '.join(METHODS)}, not {self.method!r}")
        known = list(FORMS) if self.method == "generate" else list(CHOICE_FORMS)
        for form in self.forms:
            if form not in known:
                raise ValueError(f"a prompt form of {self.method} is one of {', '.join(known)}, not {form!r}")
        if not self.forms:
            object.__setattr__(self, "forms", (known[0],))
        for sound in self.sounds:
            if sound not in SOUNDS:
                raise ValueError(f"a baseline is one of {', '.join(SOUNDS[1:])}, not {sound!r}")


@dataclass(frozen=True)
class Data:
    """A data set as it was asked for, and its items."""

    name: str
    file: Path
    audio: Path | None
    items: tuple[Item, ...]

    @classmethod
    def load(
        cls, name: str, file: Path, audio: Path | None, columns: Mapping[str, str], *, need_audio: bool = True
    ) -> Data:
        """need_audio: sound files must be there.  Raises MataError, ValueError."""
        found = datasets.load(name, file, audio, columns=columns, need_audio=need_audio)
        if not found:
            raise MataError(f"{short_name(file)} holds no question")
        return cls(name, file, audio, tuple(found))

    def facts(self) -> dict[str, Any]:
        """What the log says of it: names, and a hash of the questions, which tells other questions apart."""
        digest = hashlib.sha256()
        for item in self.items:
            for text in (item.id, item.question, item.answer, *item.choices):
                digest.update(text.encode() + b"\0")
        return {"dataset": self.name, "questions": len(self.items), "questions_sha256": digest.hexdigest()}


def model_hashes(model: AudioModel) -> dict[str, str]:
    """sha256 of the files of a model, by what they are."""
    found = {"model_sha256": integrity.sha256(model.model_path), "mmproj_sha256": integrity.sha256(model.mmproj_path)}
    for number, (path, scale) in enumerate(model.adapters, 1):
        found[f"lora{number}_sha256"] = f"{integrity.sha256(path)} * {scale:g}"
    return found


def run_facts(data: Data, plan: Plan, answerer: Mapping[str, Any]) -> dict[str, Any]:
    """What all records of a log have in common."""
    return {**data.facts(), "method": plan.method, **answerer}
