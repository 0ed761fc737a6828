"""Multiple choice by likelihood."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import ContextFullError
from ..prompts.builder import AnswerFrame
from ..session import Session
from .contrast.rules import STRENGTHS, Contrast, parse

if TYPE_CHECKING:
    from .._core import Cancel, Engine

MAX_BATCH = 512
"""Tokens scored in one batch; each keeps a row of logits over the vocabulary."""


MAX_LETTERS = 26


@dataclass(frozen=True)
class ChoiceForm:
    """How options are put to the model.

    contrast: the score is twice an option's log-likelihood minus the one after near silence, else the log-likelihood;
    or a rule (or its text, as "silence:1"), which is applied at each token.  listed: the question names the options.
    letters: it names them as A, B, C ..., and the letters are the answers.
    Raises ValueError.
    """

    contrast: bool | str | Contrast = True
    listed: bool = True
    letters: bool = False

    def __post_init__(self) -> None:
        for name in ("listed", "letters"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, not {checks.short_repr(getattr(self, name))}")
        contrast = self.contrast
        if isinstance(contrast, str) and contrast.partition(":")[0] in STRENGTHS:
            object.__setattr__(self, "contrast", parse(contrast))
        elif not isinstance(contrast, bool | Contrast):
            raise ValueError(
                f"contrast must be True or False, or a rule of {', '.join(STRENGTHS)}, "
                f"not {checks.short_repr(contrast)}"
            )

    def question(self, question: str, options: Sequence[str]) -> str:
        """The question as the model gets it.  Raises ValueError for more options than letters."""
        if self.letters:
            if len(options) > MAX_LETTERS:
                raise ValueError(f"there are letters for {MAX_LETTERS} options, not for {len(options)}")
            lines = [f"{letter}. {option}" for letter, option in zip(self.answers(options), options, strict=True)]
            return "\n".join([question, *lines, "Answer with the letter of the right option."])
        return f"{question} Choose one: {', '.join(options)}." if self.listed else question

    def answers(self, options: Sequence[str]) -> list[str]:
        """What is scored for each option."""
        return [chr(ord("A") + i) for i in range(len(options))] if self.letters else list(options)


def contrasted(logprobs: Sequence[float], silence: Sequence[float] | None) -> list[float]:
    """The scores: 2 log p(option | sound) - log p(option | silence), or the log-likelihoods where silence is None."""
    if silence is None:
        return list(logprobs)
    return [2 * heard - unheard for heard, unheard in zip(logprobs, silence, strict=True)]


def check_options(options: Sequence[str]) -> list[str]:
    """At least two different texts, or ValueError."""
    if isinstance(options, str):
        raise ValueError("options must be a list of texts, not one text")
    if not isinstance(options, Iterable):
        raise ValueError(f"options must be a list of texts, not {checks.short_repr(options)}")
    texts = list(options)
    if len(texts) < 2:
        raise ValueError("options must be at least two texts")
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"an option must be a text that is not empty, not {checks.short_repr(text)}")
        checks.text(text, "an option")
    if len(set(texts)) != len(texts):
        raise ValueError("options must differ from each other")
    return texts


def option_tokens(engine: Engine, frame: AnswerFrame, options: Sequence[str]) -> list[list[int]]:
    """Tokens of each option as an answer, with the template's text before it; special tokens are not parsed."""
    rows = []
    for option in options:
        if frame.before.strip():
            head = engine.tokenize(frame.before, add_special=False, parse_special=True)
            rows.append(head + engine.tokenize(option, add_special=False, parse_special=False))
        else:
            rows.append(engine.tokenize(frame.before + option, add_special=False, parse_special=False))
    return rows


def end_token(engine: Engine, frame: AnswerFrame) -> int | None:
    """The token by which the template ends an answer, the model's end token otherwise, or None."""
    for text in (frame.after, engine.eos_token):
        tokens = engine.tokenize(text, add_special=False, parse_special=True) if text else []
        if tokens and engine.is_eog(tokens[0]):
            return tokens[0]
    return None


def score_options(
    engine: Engine,
    session: Session,
    rows: Sequence[list[int]],
    end: int | None,
    observe: Callable[[Session], None] | None = None,
    *,
    forks: int = 8,
    cancel: Cancel | None = None,
) -> list[float]:
    """log P(tokens, end of turn | session) of each row, natural logarithm.

    session must have logits; it is left as it was.  The rows are decoded in forks of it, so many at most in
    one batch; observe gets each fork after that.  Raises ContextFullError, CancelledError.
    """
    return score_each(engine, [session], rows, end, observe, forks=forks, cancel=cancel)[0]


def score_each(
    engine: Engine,
    sessions: Sequence[Session],
    rows: Sequence[list[int]],
    end: int | None,
    observe: Callable[[Session], None] | None = None,
    *,
    forks: int = 8,
    cancel: Cancel | None = None,
) -> list[list[float]]:
    """The same for several sessions, whose forks share batches: [sessions][rows]."""
    firsts = [log_softmax(session.logits()) for session in sessions]
    pairs = [(number, row) for number in range(len(sessions)) for row in rows]
    scores: list[list[float]] = [[] for _ in sessions]
    done = 0
    while done < len(pairs):
        twins: list[Session] = []
        try:
            batch = _fork_for(sessions, pairs[done : done + forks], twins)
            engine.decode(
                [(fork.core, tokens, True) for fork, (_, tokens) in zip(twins, batch, strict=True)], cancel=cancel
            )
            for fork, (number, tokens) in zip(twins, batch, strict=True):
                after = log_softmax(fork.core.logits_all())  # [n_tokens, n_vocab]
                followers = tokens[1:] + ([] if end is None else [end])
                steps = sum(float(after[i, token]) for i, token in enumerate(followers))
                scores[number].append(float(firsts[number][tokens[0]]) + steps)
                if observe is not None:
                    observe(fork)
            done += len(batch)
        finally:
            for fork in twins:
                fork.close()
    return scores


def _fork_for(
    sessions: Sequence[Session], pairs: Sequence[tuple[int, list[int]]], forks: list[Session]
) -> list[tuple[int, list[int]]]:
    """Forks for as many rows as fit one batch and the sequences left; at least one."""
    batch: list[tuple[int, list[int]]] = []
    total = 0
    for number, tokens in pairs:
        if batch and total + len(tokens) > MAX_BATCH:
            break
        try:
            forks.append(sessions[number].fork())
        except ContextFullError:
            if not batch:
                raise
            break
        batch.append((number, tokens))
        total += len(tokens)
    return batch


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Over the last axis, in float64."""
    shifted = logits.astype(np.float64) - np.max(logits, axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
