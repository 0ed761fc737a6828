"""The prompt that the parity tests play on the engine and on the reference, and the settings they try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tiny_models import CONFIGS, audio_embeddings

Span = tuple[int, int, float]

MODES = ("scale", "abs", "add")
ARCHS = ("llama", "qwen2", "qwen2vl", "gemma2", "gemma3")
LORA_SCALE = 0.7


class AnySession(Protocol):
    """What the engine's session and the reference's have in common."""

    @property
    def n_past(self) -> int: ...
    def feed_tokens(self, tokens: Sequence[int], *, all_logits: bool = False) -> None: ...
    def feed_embeddings(self, embeddings: NDArray[np.float32]) -> tuple[int, int]: ...
    def logits(self) -> NDArray[Any]: ...
    def logits_all(self) -> NDArray[Any]: ...
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None: ...
    def clear_mata(self) -> None: ...
    def fork(self) -> AnySession: ...
    def truncate(self, n_past: int) -> None: ...


@dataclass(frozen=True)
class Prompt:
    """Text, a clip, text, a second clip, a question; then the answer, one token at a time."""

    name: str
    seed: int = 0
    n_text: int = 6
    n_clip: tuple[int, int] = (12, 8)
    n_question: int = 9
    n_answer: int = 8
    before: list[int] = field(init=False, compare=False)
    between: list[int] = field(init=False, compare=False)
    question: list[int] = field(init=False, compare=False)
    answer: list[int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(500 + self.seed)
        lengths = {"before": self.n_text, "between": 4, "question": self.n_question, "answer": self.n_answer}
        for part, n in lengths.items():
            object.__setattr__(self, part, rng.integers(10, 300, n).tolist())

    def clip(self, index: int) -> NDArray[np.float32]:
        return audio_embeddings(self.name, self.n_clip[index], seed=10 * self.seed + index)

    def parts(self) -> list[list[int] | NDArray[np.float32]]:
        """All that comes before the question."""
        return [self.before, self.clip(0), self.between, self.clip(1)]

    def feed_audio(self, session: AnySession) -> list[Span]:
        """Feed the parts; the positions of the two clips as two spans of weight 1."""
        spans: list[Span] = []
        for part in self.parts():
            if isinstance(part, list):
                session.feed_tokens(part)
            else:
                spans.append((*session.feed_embeddings(part), 1.0))
        return spans


def pieces(clips: Sequence[Span]) -> list[Span]:
    """Of two clips: two pieces each, with a gap, with weights, and one that weighs nothing."""
    (a, a_end, _), (b, b_end, _) = clips
    return [(a, a + 4, 1.0), (a + 7, a_end, 0.5), (b, b_end - 2, 2.0), (b_end - 2, b_end, 0.0)]


@dataclass(frozen=True)
class Setting:
    """A MATA setting without positions; no mode is off."""

    mode: str | None
    alpha: tuple[float, ...] = ()
    whole: bool = False  # both clips as they are, else in pieces

    def apply(self, session: AnySession, clips: Sequence[Span]) -> None:
        if self.mode is None:
            session.clear_mata()
        else:
            session.set_mata(self.mode, self.alpha, list(clips) if self.whole else pieces(clips))

    def times(self, factor: float) -> Setting:
        return replace(self, alpha=tuple(a * factor for a in self.alpha))


OFF = Setting(None)


def alphas(name: str, layers: str = "ends") -> tuple[float, ...]:
    """Per-layer alpha.  "inner": layers 2 and 3; "ends": the first, the last (whose graph has only the rows that
    predict after attention) and one between; "every": all, no two alike."""
    n = CONFIGS[name].n_layer
    chosen = {
        "inner": {2: 0.5, 3: 0.8},
        "ends": {0: 0.6, 3: 0.4, n - 1: 0.9},
        "every": {il: 0.1 + 0.05 * il for il in range(n)},
    }
    return tuple(chosen[layers].get(il, 0.0) for il in range(n))


def play(session: AnySession, prompt: Prompt, setting: Setting) -> NDArray[np.float64]:
    """Feed the whole prompt and the answer; the logits of the last row of the question and of each answer token."""
    setting.apply(session, prompt.feed_audio(session))
    return play_answer(session, prompt)


def play_answer(session: AnySession, prompt: Prompt) -> NDArray[np.float64]:
    """The question and the answer, fed to a session that has heard the clips and has its setting."""
    session.feed_tokens(prompt.question)
    rows = [session.logits()]
    for token in prompt.answer:
        session.feed_tokens([token])
        rows.append(session.logits())
    return np.array(rows, dtype=np.float64)


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Greatest difference of two sets of logits; it must have the same rows and be finite."""
    assert a.shape == b.shape, (a.shape, b.shape)
    assert np.isfinite(a).all() and np.isfinite(b).all()
    return float(np.abs(np.asarray(a, dtype=np.float64) - b).max())
