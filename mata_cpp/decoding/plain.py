"""An answer as pieces of text: the engine's decode loop makes tokens, this turns them into text as they are taken."""

from __future__ import annotations

import builtins
import codecs
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .. import checks, extension
from ..records import TokenLogprob
from ..session import Session
from ..warn import warn
from . import MAX_TOKENS

if TYPE_CHECKING:
    from .._core import Cancel, Engine, Sampler

_log = logging.getLogger(__name__)

REPEAT_LIMIT = 32
"""So many tokens in a row that only repeat what stands before them are a fault of the model, not an answer."""

MAX_LOGPROBS = 100


class Token(Protocol):
    """As _core.Token."""

    @property
    def id(self) -> int: ...
    @property
    def bytes(self) -> builtins.bytes: ...
    @property
    def logprob(self) -> float: ...
    @property
    def top(self) -> list[tuple[int, float]]: ...
    @property
    def at(self) -> float: ...
    @property
    def attention(self) -> tuple[Any, Any, Any, Any] | None: ...


class Tokens(Protocol):
    """Where the tokens of an answer come from: a _core.Generation, or what does the same."""

    def take(self) -> Sequence[Token]: ...
    def cancel(self) -> None: ...
    @property
    def finished(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def n_fed(self) -> int: ...
    @property
    def n_repeated(self) -> int: ...
    @property
    def n_in_phrase(self) -> int: ...


class RepetitionWarning(RuntimeWarning):
    """An answer was ended because the model repeated a token or a phrase over and over."""


class Generation:
    """One answer being generated from a session that has logits: iterate over its pieces of text, once.

    The tokens are made by the engine, in one batch with all other generations, whether or not anyone iterates.
    Pieces never end within a character or within a stop string.  Afterwards finish_reason is "stop", "length"
    (max_tokens, or the context is full) or "cancelled"; text is all pieces together.  tokens are the sampled ones
    without the end of turn; unfed is the last of them if the engine has not computed it.  raw_text also holds what a
    stop string cut off.  logprobs: how many alternatives to keep for each token, None to keep nothing but the first
    token's probability.  on_token(token) is called for each token taken, in order.  begin(sampler, **options) makes the
    tokens in place of the engine's loop, with the options of _core.Generation.
    """

    def __init__(
        self,
        engine: Engine,
        session: Session,
        sampler: Sampler,
        *,
        max_tokens: int = MAX_TOKENS,
        stop: Sequence[str] = (),
        logprobs: int | None = None,
        cancel: Cancel | None = None,
        repeat_limit: int = REPEAT_LIMIT,
        attention: bool = False,
        on_token: Callable[[Token], None] | None = None,
        begin: Callable[..., Tokens] | None = None,
    ) -> None:
        self._engine = engine
        self._stop = check_stop(stop)
        self._on_token = on_token
        self._n_logprobs = check_logprobs(logprobs)
        self._started = time.perf_counter()
        if begin is None:
            begin = partial(extension.load().Generation, session.core)
        self.core: Tokens = begin(
            sampler,
            max_tokens=check_max_tokens(max_tokens),
            stop=list(self._stop),
            logprobs=-1 if self._n_logprobs is None else self._n_logprobs,
            repeat_limit=repeat_limit,
            attention=attention,
            cancel=cancel,
        )
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.clips = session.clips
        self.tokens: list[int] = []
        self.logprobs: list[TokenLogprob] | None = None if self._n_logprobs is None else []
        self.confidence: float | None = None
        self.text = ""
        self.raw_text = ""
        self.finish_reason = "cancelled"
        self.first_token_at = 0.0
        self.last_token_at = 0.0

    @property
    def unfed(self) -> list[int]:
        return self.tokens[self.core.n_fed :]

    @property
    def tokens_per_second(self) -> float:
        elapsed = self.last_token_at - self.first_token_at
        return (len(self.tokens) - 1) / elapsed if len(self.tokens) > 1 and elapsed > 0 else 0.0

    def cancel(self) -> None:
        """End it soon."""
        self.core.cancel()

    def settle(self) -> None:
        """End it, wait until the session is free again, and note the tokens that are left; no piece shows them."""
        self.core.cancel()
        try:
            while tokens := self.core.take():
                for token in tokens:
                    self._note(token)
        except Exception as error:  # of the computation: who iterates has met it, or does not care any more
            _log.debug("a generation ended with an error: %s", error)

    def __iter__(self) -> Iterator[str]:
        held = ""
        while tokens := self.core.take():
            for token in tokens:
                text = self._note(token)
                ready, held, stopped = split_at_stop(held + text, self._stop)
                yield from self._emit(ready)
                if stopped:
                    self.settle()
                    self.finish_reason = "stop"
                    return
        self.finish_reason = self.core.reason
        if self.finish_reason == "repetition":
            self.finish_reason = "stop"
            self._warn_of_repetition()
        rest = self._decoder.decode(b"", final=True)
        self.raw_text += rest
        ready, held, stopped = split_at_stop(held + rest, self._stop)
        yield from self._emit(ready if stopped else ready + held)

    # -------------------------------------------------------------------------------------------

    def _note(self, token: Token) -> str:
        """Keep a token; its text, as far as its last character is whole."""
        at = self._started + token.at
        self.first_token_at = self.first_token_at or at
        self.last_token_at = at
        if not self.tokens:
            self.confidence = math.exp(token.logprob)
        self.tokens.append(token.id)
        if self.logprobs is not None:
            self.logprobs.append(self._with_alternatives(token))
        if self._on_token is not None:
            self._on_token(token)
        text = self._decoder.decode(token.bytes)
        self.raw_text += text
        return text

    def _with_alternatives(self, token: Token) -> TokenLogprob:
        top = [TokenLogprob(self._text_of(other), other, logprob) for other, logprob in token.top]
        return TokenLogprob(self._text_of(token.id), token.id, token.logprob, tuple(top))

    def _text_of(self, token: int) -> str:
        return self._engine.token_bytes(token, special=True).decode("utf-8", "replace")

    def _warn_of_repetition(self) -> None:
        times = self.core.n_repeated
        length = self.core.n_in_phrase
        if length == 1:
            what = f"the token {self._text_of(self.tokens[-1])!r}"
            hint = "; the sound may be too long for the model, or the model's file damaged"
        else:
            phrase = b"".join(map(self._engine.token_bytes, self.tokens[-length:])).decode("utf-8", "replace")
            what, hint = checks.short_repr(phrase.strip()), "; a repeat_penalty of 1.1 may help"
        warn(f"stopped: the model repeated {what} {times} times{hint}", RepetitionWarning)

    def _emit(self, text: str) -> Iterator[str]:
        if text:
            self.text += text
            yield text


def finish(runs: Sequence[Generation]) -> None:
    """Let all come to their end; whatever happens, their sessions are free then."""
    try:
        for run in runs:
            for _ in run:
                pass
    finally:
        for run in runs:
            run.settle()


def split_at_stop(text: str, stop: Sequence[str]) -> tuple[str, str, bool]:
    """(what may be shown, what must wait since a stop string may begin there, whether one was found)."""
    found = [at for at in (text.find(string) for string in stop) if at >= 0]
    if found:
        return text[: min(found)], "", True
    hold = 0
    for string in stop:
        for length in range(min(len(string) - 1, len(text)), hold, -1):
            if text.endswith(string[:length]):
                hold = length
                break
    return text[: len(text) - hold], text[len(text) - hold :], False


def check_stop(stop: Sequence[str] | str | None) -> tuple[str, ...]:
    """Stop strings as a tuple; ValueError for anything else."""
    strings = () if stop is None else (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, Sequence) or not all(isinstance(string, str) and string for string in strings):
        raise ValueError(f"stop must be one or more non-empty strings, not {checks.short_repr(stop)}")
    return tuple(checks.text(string, "a stop string") for string in strings)


def check_max_tokens(max_tokens: int) -> int:
    """max_tokens, or ValueError."""
    return checks.integer(max_tokens, "max_tokens", 1)


def check_logprobs(logprobs: int | bool | None) -> int | None:
    """How many alternatives to give with each token; None or False: no log-probabilities.  Raises ValueError."""
    if logprobs is None or logprobs is False:
        return None
    return 0 if logprobs is True else checks.integer(logprobs, "logprobs", 0, MAX_LOGPROBS)
