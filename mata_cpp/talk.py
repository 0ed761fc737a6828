"""How a question is answered: prompt, prefill, generation, and who may do it when."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import extension, scoring
from .audio import Audio, stderr
from .audio.encoder import AudioEncoder
from .conversation import Conversation, Prefill
from .errors import CancelledError, MataError, ModelError
from .generate import Generation
from .mata import Mata, acting_layers
from .prompts.builder import Message, PromptBuilder
from .readout.reader import Reader
from .readout.record import Reading
from .records import Answer, Choice, ClipInfo, Piece, Timings, Usage
from .session import Session

if TYPE_CHECKING:
    from ._core import Engine


class Ticket:
    """Of a question that has been asked and has not had its turn: whether it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = False


@dataclass(frozen=True)
class Request:
    """A checked question; sampling are the arguments of _core.Sampler."""

    clips: list[Audio]
    question: str
    system: str | None
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    sampling: dict[str, Any] = field(default_factory=dict)
    reading: Reading | None = None
    ticket: Ticket = field(default_factory=Ticket)


class Talk:
    """One conversation on one engine, for one thread at a time.

    load_s: seconds that loading took, for the answers' timings.  damage() says what is wrong with the
    model's file, if anything is; it is asked when the model gives NaN.
    """

    def __init__(
        self,
        engine: Engine,
        encoder: AudioEncoder,
        prompts: PromptBuilder,
        load_s: float,
        damage: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._engine, self._encoder, self._prompts, self._load_s = engine, encoder, prompts, load_s
        self.conversation = Conversation(
            prompts, encoder, lambda: Session(engine, encoder), engine.n_ctx, lambda: engine.n_used
        )
        self.mata: Mata | None = None
        self._lock, self._owner = threading.Lock(), 0
        self._cancelled = False
        self._coming: set[weakref.ref[Ticket]] = set()
        self._coming_lock = threading.RLock()  # a signal handler may cancel in a thread that holds it
        self._damage = damage

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that the present setting acts on."""
        return acting_layers(self._engine, self.mata)

    @property
    def held_here(self) -> bool:
        """Whether this thread is in the middle of an answer."""
        return self._owner == threading.get_ident()

    def coming(self) -> Ticket:
        """Announces a question whose clips are still to be read: cancel() reaches it until its turn has come."""
        ticket = Ticket()
        with self._coming_lock:
            alive = {ref for ref in self._coming if ref() is not None}
            self._coming = {*alive, weakref.ref(ticket)}
        return ticket

    @contextmanager
    def turn(self, ticket: Ticket | None = None) -> Iterator[None]:
        """Wait until no other thread talks.  Raises MataError in a thread that is itself answering."""
        if self.held_here:
            raise MataError("this chat is still answering in this thread: finish or close that stream first")
        with self._lock:
            try:
                self._cancelled = False  # before there is an owner: what is cancelled from here on is this turn
                if self._session is not None:
                    self._session.clear_cancel()
                self._owner = threading.get_ident()
                if self._engine.closed:
                    raise MataError("this chat is closed")
                if ticket is not None:
                    with self._coming_lock:
                        self._coming.discard(weakref.ref(ticket))
                        if ticket.cancelled:
                            self._cancelled = True
                yield
            finally:
                self._owner = 0

    def cancel(self) -> None:
        """From any thread: end what is running, and what waits or reads its clips."""
        with self._coming_lock:
            for ref in tuple(self._coming):
                ticket = ref()
                if ticket is not None:
                    ticket.cancelled = True
        if self._owner:
            self._cancelled = True
            if self._session is not None:
                self._session.cancel()

    # Answers -----------------------------------------------------------------------------------

    def answer(self, request: Request, sampler: Any) -> Iterator[Piece]:
        """The answer in pieces; the last carries the record.  The turn is kept once it has text."""
        with self.turn(request.ticket):
            started = time.perf_counter()
            messages = self._messages(request)
            with self._reader(request) as reader:
                try:
                    prefill = self._prefill(messages, reader)
                except CancelledError:
                    yield Piece("", self._nothing())
                    return
                generation = self._generation(request, self.conversation.session, sampler, reader)
                try:
                    for text in generation:
                        yield Piece(text)
                finally:
                    self._record(messages, generation)
                yield Piece("", self._result(generation, prefill, started, self.mata, reader))

    def compare(self, request: Request) -> tuple[Answer, Answer]:
        """(with MATA, without) from one prefill; the conversation goes on with the first."""
        with self.turn(request.ticket):
            started = time.perf_counter()
            messages = self._messages(request)
            with self._reader(request) as reader:
                prefill = self._prefill(messages, reader)
                session = self.conversation.session
                with session.fork(mata=None) as twin:
                    generation = self._generation(request, session, self.sampler(request), reader)
                    try:
                        _exhaust(generation)
                    finally:
                        self._record(messages, generation)
                    boosted = self._result(generation, prefill, started, self.mata, reader)
                    started = time.perf_counter() - prefill.encode_s - prefill.prefill_s
                    reader = None if reader is None else reader.twin(twin)
                    generation = self._generation(request, twin, self.sampler(request), reader)
                    _exhaust(generation)
                    return boosted, self._result(generation, prefill, started, None, reader)

    def choose(self, request: Request, options: Sequence[str]) -> Choice:
        """Score options as answers to request, which is not added to the conversation."""
        texts = scoring.check_options(options)
        with self.turn(request.ticket):
            started = time.perf_counter()
            messages = self._messages(request)
            with self._reader(request) as reader:
                prefill = self._prefill(messages, reader)
                frame = self._prompts.answer_frame(messages)
                rows = scoring.option_tokens(self._engine, frame, texts)
                end = scoring.end_token(self._engine, frame)
                first_token_s = time.perf_counter() - started
                session = self.conversation.session
                readers: list[Reader] = []

                def observe(fork: Session) -> None:
                    assert reader is not None
                    twin = reader.twin(session, self._acts_on)
                    twin.take()
                    twin.take_all(fork)
                    readers.append(twin)

                logprobs = scoring.score_options(self._engine, session, rows, end, None if reader is None else observe)
            counts = [len(row) + (end is not None) for row in rows]
            index = int(np.argmax(logprobs))
            return Choice(
                text=texts[index],
                index=index,
                options=texts,
                logprobs=logprobs,
                tokens=counts,
                audio=session.clips,
                usage=_usage(prefill, sum(counts)),
                timings=Timings(self._load_s, prefill.encode_s, prefill.prefill_s, first_token_s, 0.0),
                mata=self.mata,
                layers=self.layers,
                attention=None
                if reader is None
                else [one.report(self._texts(row)) for one, row in zip(readers, rows, strict=True)],
            )

    def encode(self, clips: Sequence[Audio], ticket: Ticket) -> list[ClipInfo]:
        """Encode clips ahead of the question that needs them; their span is (0, 0) for now."""
        with self.turn(ticket):
            had_session = self._session is not None
            try:
                self._check()
                for clip in clips:
                    self.conversation.check_length(clip)
                return [ClipInfo.of(clip, self.conversation.encode(clip, self._check), (0, 0)) for clip in clips]
            finally:
                if not had_session:  # it was for being cancelled only
                    self.conversation.drop_cache()

    def reset(self) -> None:
        with self.turn():
            self.conversation.reset()

    def close(self) -> None:
        """End what runs and free the engine.  Not safe to wait for in a thread that is answering."""
        self.cancel()
        with nullcontext() if self.held_here else self._lock:
            self.conversation.drop_cache()
            self._engine.close()

    def sampler(self, request: Request) -> Any:
        """A fresh sampler.  Raises ValueError for bad numbers or a broken grammar."""
        lines: list[str] = []
        try:
            with stderr.caught() if request.sampling.get("grammar") else nullcontext(lines) as lines:
                return extension.load().Sampler(self._engine, **request.sampling)
        except ValueError as error:  # llama.cpp's parser says what is wrong on descriptor 2
            reason = next((line.rpartition("error parsing grammar:")[2] for line in lines if line.strip()), "")
            raise ValueError(f"{error}: {reason.strip()}" if reason else str(error)) from None

    # -------------------------------------------------------------------------------------------

    @property
    def _session(self) -> Session | None:
        session = self.conversation.started
        return None if session is None or session.closed else session

    def _messages(self, request: Request) -> list[Message]:
        return self.conversation.proposed(request.question, request.clips, request.system)

    @contextmanager
    def _reader(self, request: Request) -> Iterator[Reader | None]:
        """A reader of this turn's attention if it is asked for; nothing is read afterwards."""
        if request.reading is None:
            yield None
            return
        reader = Reader(self._engine, request.reading, self._acts_on)
        try:
            yield reader
        finally:
            if not self._engine.closed:
                reader.stop()

    @property
    def _acts_on(self) -> tuple[int, ...]:
        return self.layers if self.mata is not None and self.mata.alpha else ()

    def _texts(self, tokens: Sequence[int]) -> list[str]:
        return [self._engine.token_bytes(token, special=True).decode("utf-8", "replace") for token in tokens]

    def _prefill(self, messages: list[Message], reader: Reader | None = None) -> Prefill:
        """Logits for the first token, under the present setting."""
        self._check()
        if self.mata is not None:
            self.mata.check_focus([self._encoder.audible_seconds(c) for message in messages for c in message.clips])
        plan = self.conversation.plan(messages)
        begin = None if reader is None else reader.start
        prefill = self.conversation.prefill(plan, self.mata, check=self._check, before_last=begin)
        if np.isnan(self.conversation.session.logits()).any():
            self.conversation.drop_cache()
            fault = "the model computed NaN: its file or the GPU backend is at fault; try n_gpu_layers=0"
            raise ModelError(self._damage() or fault)
        return prefill

    def _check(self) -> None:
        if self._cancelled:
            raise CancelledError("cancelled")

    def _generation(self, request: Request, session: Session, sampler: Any, reader: Reader | None = None) -> Generation:
        return Generation(
            self._engine,
            session,
            sampler,
            max_tokens=request.max_tokens,
            stop=request.stop,
            cancelled=lambda: self._cancelled,
            on_token=None if reader is None else reader.take,
        )

    def _record(self, messages: list[Message], generation: Generation) -> None:
        """Keep the turn in the conversation, unless it was stopped before it said anything."""
        if not self._engine.closed:
            self.conversation.record(generation)
        if generation.text or generation.finish_reason != "cancelled":
            self.conversation.messages = [*messages, Message("assistant", generation.text)]

    def _result(
        self,
        generation: Generation,
        prefill: Prefill,
        started: float,
        mata: Mata | None,
        reader: Reader | None = None,
    ) -> Answer:
        first = generation.first_token_at or time.perf_counter()
        return Answer(
            text=generation.text,
            finish_reason=generation.finish_reason,
            audio=self.conversation.session.clips,
            usage=_usage(prefill, len(generation.tokens)),
            timings=Timings(
                load_s=self._load_s,
                encode_s=prefill.encode_s,
                prefill_s=prefill.prefill_s,
                first_token_s=first - started,
                decode_tokens_per_s=generation.tokens_per_second,
            ),
            mata=mata,
            layers=self.layers if mata is not None else (),
            attention=None if reader is None else reader.report(self._texts(generation.tokens)),
        )

    def _nothing(self) -> Answer:
        """The answer that was cancelled before it began."""
        timings = Timings(self._load_s, 0.0, 0.0, 0.0, 0.0)
        return Answer("", "cancelled", [], Usage(0, 0, 0), timings, self.mata, self.layers)


def _usage(prefill: Prefill, completion_tokens: int) -> Usage:
    return Usage(prefill.prompt_tokens, prefill.audio_tokens, completion_tokens, prefill.cached_tokens)


def _exhaust(generation: Generation) -> None:
    for _ in generation:
        pass
