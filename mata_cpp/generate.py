"""Generation in three layers, each usable alone.

``token_steps`` yields token ids; ``Generation`` turns them into pieces of text and knows why it
ended; ``generate_text`` gives one string.
"""

from __future__ import annotations

import codecs
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from . import checks
from .errors import CancelledError, ContextFullError
from .session import Session

if TYPE_CHECKING:
    from ._core import Engine, Sampler

REPEAT_LIMIT = 32
"""So many equal tokens in a row are a fault of the model or the backend (the "@@@@" case), not an answer."""


class RepetitionWarning(RuntimeWarning):
    """An answer was ended because the model repeated one token over and over."""


def token_steps(session: Session, sampler: Sampler) -> Iterator[int]:
    """Sample a token, yield it, feed it, and so on without end; ends of turn are yielded as well.

    Needs logits (the last thing fed was text).  Who stops iterating leaves the last token unfed.
    """
    while True:
        token = sampler.sample(session.core)
        yield token
        session.step(token)


class Generation:
    """One answer being written: iterate over its pieces of text, once.

    Pieces never end within a character or within a stop string.  Afterwards finish_reason is "stop",
    "length" (max_tokens, or the context is full) or "cancelled"; text is all pieces together.
    cancelled() is asked before every token; on_token() is called for each one that counts, while the last
    feed is still that of the row that predicted it.  tokens are the sampled ones without the end of turn;
    unfed is the last of them if the engine has not computed it.  raw_text also holds what a stop
    string cut off.
    """

    def __init__(
        self,
        engine: Engine,
        session: Session,
        sampler: Sampler,
        *,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        cancelled: Callable[[], bool] | None = None,
        repeat_limit: int = REPEAT_LIMIT,
        on_token: Callable[[], None] | None = None,
    ) -> None:
        self._stop = check_stop(stop)
        self._engine, self._session, self._sampler = engine, session, sampler
        self._max_tokens, self._repeat_limit = check_max_tokens(max_tokens), repeat_limit
        self._start = session.n_past
        self._cancelled = cancelled or (lambda: False)
        self._on_token = on_token or (lambda: None)
        self.tokens: list[int] = []
        self.text = ""
        self.raw_text = ""
        self.finish_reason = "cancelled"
        self.first_token_at = 0.0
        self.last_token_at = 0.0

    @property
    def unfed(self) -> list[int]:
        return self.tokens[self._session.n_past - self._start :]

    @property
    def tokens_per_second(self) -> float:
        elapsed = self.last_token_at - self.first_token_at
        return (len(self.tokens) - 1) / elapsed if len(self.tokens) > 1 and elapsed > 0 else 0.0

    def __iter__(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        held = ""
        try:
            for token in self._tokens():
                held += self._decode(decoder, token)
                ready, held, stopped = split_at_stop(held, self._stop)
                if stopped:
                    self.finish_reason = "stop"
                    yield from self._emit(ready)
                    return
                yield from self._emit(ready)
        except CancelledError:
            self.finish_reason = "cancelled"
        rest = decoder.decode(b"", final=True)
        self.raw_text += rest
        ready, held, stopped = split_at_stop(held + rest, self._stop)
        yield from self._emit(ready if stopped else ready + held)

    # -------------------------------------------------------------------------------------------

    def _tokens(self) -> Iterator[int]:
        """The answer's tokens; sets finish_reason at the end."""
        repeats = 0
        steps = token_steps(self._session, self._sampler)
        while True:
            if self._cancelled():
                raise CancelledError("cancelled")
            try:
                token = next(steps)
            except ContextFullError:
                self.finish_reason = "length"
                return
            self.last_token_at = time.perf_counter()
            self.first_token_at = self.first_token_at or self.last_token_at
            if self._engine.is_eog(token):
                self.finish_reason = "stop"
                return
            repeats = repeats + 1 if self.tokens and token == self.tokens[-1] else 1
            self._on_token()
            self.tokens.append(token)
            yield token
            if repeats >= self._repeat_limit:
                self.finish_reason = "stop"
                shown = self._engine.token_bytes(token, special=True).decode("utf-8", "replace")
                warnings.warn(
                    f"stopped: the model repeated {shown!r} {repeats} times; the model file or the GPU backend may be "
                    "at fault (try n_gpu_layers=0)",
                    RepetitionWarning,
                    stacklevel=4,
                )
                return
            if len(self.tokens) >= self._max_tokens:
                self.finish_reason = "length"
                return

    def _decode(self, decoder: codecs.IncrementalDecoder, token: int) -> str:
        text = decoder.decode(self._engine.token_bytes(token))
        self.raw_text += text
        return text

    def _emit(self, text: str) -> Iterator[str]:
        if text:
            self.text += text
            yield text


def generate_text(
    engine: Engine, session: Session, sampler: Sampler, *, max_tokens: int = 256, stop: Sequence[str] = ()
) -> str:
    """The whole answer as one string."""
    return "".join(Generation(engine, session, sampler, max_tokens=max_tokens, stop=stop))


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
    return tuple(strings)


def check_max_tokens(max_tokens: int) -> int:
    """max_tokens, or ValueError."""
    return checks.integer(max_tokens, "max_tokens", 1)
