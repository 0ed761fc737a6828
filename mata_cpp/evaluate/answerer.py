"""What answers the questions of a run: a model here, a server, or workers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .jobs import Job
from .settings import Setting


@dataclass(frozen=True)
class Outcome:
    """What a question gave under one setting: see Record."""

    raw: str | None = None
    chosen: int | None = None
    error: str | None = None
    scores: tuple[float, ...] | None = None
    confidence: float | None = None
    finish_reason: str | None = None
    effect: tuple[float, float] | None = None
    timings: Mapping[str, float] = field(default_factory=dict)


class Answerer(Protocol):
    """Answers questions; may be asked from several threads, up to parallel at once."""

    @property
    def parallel(self) -> int: ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the answers depend on: names and hashes of files, versions, options."""
        ...

    def prompt(self, job: Job) -> str:
        """What is asked, for the log."""
        ...

    def answer(self, job: Job, settings: Sequence[Setting]) -> list[Outcome]:
        """An outcome for each setting.  Raises MataError, ValueError and the like where the whole job fails."""
        ...

    def cancel(self) -> None:
        """End what runs, soon."""
        ...
