"""What a rule is: a module with two functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...audio.encoder import Clip
from ...prompts.builder import Message
from .formula import Logits
from .rules import Contrast


@dataclass(frozen=True)
class Hearing:
    """How the model hears clips: at which rate (Hz), and how many seconds of each."""

    sample_rate: int
    audible_seconds: Callable[[Clip], float]


@dataclass(frozen=True)
class Step:
    """Which token is predicted.

    first: the answer's first one.  yes, no: tokens with which such an answer begins.  reliance: the share of attention
    that the audio has in the last layers, where the rule reads it.
    """

    first: bool = True
    yes: tuple[int, ...] = ()
    no: tuple[int, ...] = ()
    reliance: float = 0.0


class Rule(Protocol):
    def other(self, messages: Sequence[Message], contrast: Contrast, hearing: Hearing) -> list[Message]:
        """The other prompt, from the question's own."""
        ...

    def combined(self, heard: Logits, other: Logits, contrast: Contrast, step: Step) -> Logits:
        """What the next token is chosen from: heard is of the question's own prompt, other of the other."""
        ...


def with_clips(messages: Sequence[Message], change: Callable[[Clip], Clip]) -> list[Message]:
    """The messages with every clip changed."""
    return [replace(message, clips=tuple(map(change, message.clips))) for message in messages]
