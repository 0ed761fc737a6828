"""Two sequences that are fed the same tokens, in one batch: an answer a token at a time, and the scores of options."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import extension
from ...errors import CancelledError, ContextFullError
from ..repetition import Repetition
from ..scoring import MAX_BATCH, log_softmax
from .formula import FAR, Logits
from .registry import RULES, SCORES
from .reliance import Reliance
from .rule import Step
from .rules import Contrast

if TYPE_CHECKING:
    from ..._core import Cancel, Engine, Sampler
    from ...session import Session

YES, NO = (("Yes", "yes", "YES", " Yes", " yes"), ("No", "no", "NO", " No", " no"))

SumsRow = tuple[Any, Any, Any, Any]


class Pair:
    """heard: the question's own sequence, other: the one it is contrasted with; both have logits.

    reliance: reads heard, where the rule needs it.
    """

    def __init__(
        self, engine: Engine, heard: Session, other: Session, contrast: Contrast, reliance: Reliance | None = None
    ) -> None:
        self.engine, self.heard, self.other, self.contrast = engine, heard, other, contrast
        self._rule, self._reliance = RULES[contrast.name], reliance
        self._step = Step(yes=_first_tokens(engine, YES), no=_first_tokens(engine, NO))

    def logits(self, *, first: bool) -> Logits:
        """What the next token is chosen from, [n_vocab].  first: it begins the answer."""
        reliance = 0.0 if self._reliance is None else float(self._reliance.of(self.heard)[-1])
        step = replace(self._step, first=first, reliance=reliance)
        return self._rule.combined(self.heard.logits(), self.other.logits(), self.contrast, step)

    def feed(self, token: int, cancel: Cancel | None = None) -> None:
        """To both.  Raises as Engine.decode does."""
        self.engine.decode([(one.core, [token], False) for one in (self.heard, self.other)], cancel=cancel)

    def begin(self, sampler: Sampler, **options: Any) -> Steps:
        """An answer; options as of the engine's Generation."""
        return Steps(self, sampler, **options)

    def scores(
        self, rows: Sequence[list[int]], end: int | None, *, forks: int, cancel: Cancel | None = None
    ) -> tuple[list[float], list[float]]:
        """(the scores of rows of tokens as whole answers, their log-likelihoods in heard).

        The scores are log-likelihoods under what the rule makes of both, without its cut: an option may be unlikely.
        The rows are decoded in forks of both sessions, so many of each at most in a batch.
        """
        scores: list[float] = []
        likelihoods: list[float] = []
        others: list[float] = []
        while len(scores) < len(rows):
            batch = _fitting(rows[len(scores) : len(scores) + forks])
            for score, heard, other in self._scored(batch, end, cancel):
                scores.append(score)
                likelihoods.append(heard)
                others.append(other)
        whole = SCORES.get(self.contrast.name)
        return (scores if whole is None else whole(likelihoods, others, self.contrast)), likelihoods

    # -------------------------------------------------------------------------------------------

    def _scored(
        self, rows: Sequence[list[int]], end: int | None, cancel: Cancel | None
    ) -> list[tuple[float, float, float]]:
        """Of each row: its score, and its log-likelihoods in both sequences."""
        twins: list[Session] = []
        try:
            for _ in rows:
                twins.append(self.heard.fork())
                twins.append(self.other.fork())
            fed = [tokens for tokens in rows for _ in range(2)]
            self.engine.decode(
                [(twin.core, tokens, True) for twin, tokens in zip(twins, fed, strict=True)], cancel=cancel
            )
            return [
                self._score(twins[2 * number], twins[2 * number + 1], tokens, end) for number, tokens in enumerate(rows)
            ]
        finally:
            for twin in twins:
                twin.close()

    def _score(self, heard: Session, other: Session, tokens: list[int], end: int | None) -> tuple[float, float, float]:
        both = [  # [n_tokens + 1, n_vocab] of each
            np.concatenate([before.logits()[None], after.core.logits_all()])
            for before, after in ((self.heard, heard), (self.other, other))
        ]
        reliance = np.zeros(len(tokens) + 1)
        if self._reliance is not None:
            reliance = np.concatenate([self._reliance.of(self.heard)[-1:], self._reliance.of(heard)])
        uncut = replace(self.contrast, cut=0.0)
        found = np.zeros(3)
        for place, token in enumerate(tokens + ([] if end is None else [end])):
            step = replace(self._step, first=place == 0, reliance=float(reliance[place]))
            combined = self._rule.combined(both[0][place], both[1][place], uncut, step)
            found += [float(log_softmax(row)[token]) for row in (combined, both[0][place], both[1][place])]
        return float(found[0]), float(found[1]), float(found[2])


@dataclass(frozen=True)
class SteppedToken:
    """As the engine's Token."""

    id: int
    bytes: bytes
    logprob: float
    top: list[tuple[int, float]]
    at: float
    attention: SumsRow | None


class Steps:
    """As the engine's Generation, for a pair.  A token is made when it is taken, in the thread that takes it.

    Log-probabilities are those of the tokens under what the rule makes of both sequences.
    """

    def __init__(
        self,
        pair: Pair,
        sampler: Sampler,
        *,
        max_tokens: int,
        stop: Sequence[str],
        logprobs: int,
        repeat_limit: int,
        attention: bool,
        cancel: Cancel | None,
    ) -> None:
        """stop: is looked for by whoever takes the tokens."""
        self._pair, self._sampler, self._cancel = pair, sampler, cancel
        self._max_tokens, self._logprobs, self._attention = max_tokens, logprobs, attention
        self._repetition = Repetition(repeat_limit)
        self._started = time.perf_counter()
        self._pending: int | None = None
        self._abandoned = False
        self._error: Exception | None = None
        self.reason = ""
        self.n_tokens = self.n_fed = 0

    @property
    def finished(self) -> bool:
        return self.reason != ""

    @property
    def n_repeated(self) -> int:
        return self._repetition.times

    @property
    def n_in_phrase(self) -> int:
        return self._repetition.period

    def cancel(self) -> None:
        """End it with the next token that is asked for."""
        self._abandoned = True

    def take(self, timeout_s: float = 0.0) -> list[SteppedToken]:
        """The next token, or [] when there are no more.  An error of the computation is raised."""
        if self.finished:
            return []
        pair = self._pair
        gone = pair.heard.closed or pair.other.closed or pair.engine.closed
        if self._abandoned or gone or (self._cancel is not None and self._cancel.cancelled):
            self.reason = "cancelled"
            return []
        try:
            return self._made()
        except CancelledError:
            self.reason = "cancelled"
        except ContextFullError:
            self.reason = "length"
        except Exception:
            self.reason = "cancelled" if pair.engine.closed else "error"
            if not pair.engine.closed:
                raise
        return []

    # -------------------------------------------------------------------------------------------

    def _made(self) -> list[SteppedToken]:
        pair, engine = self._pair, self._pair.engine
        if self._pending is not None:
            pair.feed(self._pending, self._cancel)
            self.n_fed += 1
            self._pending = None
        logits = pair.logits(first=self.n_tokens == 0)
        chosen = self._sampler.sample(logits)
        if engine.is_eog(chosen):
            self.reason = "stop"
            return []
        logprob, top = math.nan, list[tuple[int, float]]()
        if self.n_tokens == 0 or self._logprobs >= 0:
            logprob, found = extension.load().log_probability(logits, chosen, max(0, self._logprobs))
            top = [(token, value) for token, value in found if value > -FAR / 2]  # the others were left out
        attention = None
        if self._attention:
            before, after, time_before, time_after = pair.heard.core.attention_sums()
            attention = (before[-1], after[-1], time_before[-1], time_after[-1])
        at = time.perf_counter() - self._started
        self.n_tokens += 1
        if self._repetition.add(chosen):
            self.reason = "repetition"
        elif self.n_tokens >= self._max_tokens:
            self.reason = "length"
        else:
            self._pending = chosen
        return [SteppedToken(chosen, engine.token_bytes(chosen), logprob, top, at, attention)]


Begin = Callable[..., Steps]


def _first_tokens(engine: Engine, spellings: Sequence[str]) -> tuple[int, ...]:
    """Those of the spellings that are one token; the first token of the first spelling where none is."""
    found = [engine.tokenize(text, add_special=False, parse_special=False) for text in spellings]
    single = tuple(dict.fromkeys(tokens[0] for tokens in found if len(tokens) == 1))
    return single or (found[0][0],)


def _fitting(rows: Sequence[list[int]]) -> list[list[int]]:
    """As many of the first rows as fit a batch with both sequences; at least one."""
    chosen: list[list[int]] = []
    total = 0
    for tokens in rows:
        total += 2 * len(tokens)
        if chosen and total > MAX_BATCH:
            break
        chosen.append(tokens)
    return chosen
