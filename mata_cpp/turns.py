"""One question, from its messages to its answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .audio.encoder import Clip
from .branch import Branch
from .conversation import Conversation, Prefill
from .decoding import MAX_TOKENS
from .decoding.contrast.rules import Contrast
from .decoding.plain import Generation, finish
from .decoding.sampling import Sampling
from .errors import AudioError, CancelledError, ModelError
from .loaded import Loaded
from .mata import Mata, boost_of
from .prompts.builder import Message
from .readout.effect import effect_of, watch
from .readout.reader import PromptRegions, Reader
from .readout.record import Reading
from .records import Answer, Piece, Timings, TokenLogprob, Usage
from .session import Session

if TYPE_CHECKING:
    from ._core import Cancel, Sampler


@dataclass(frozen=True)
class Request:
    """A checked question, and how it is to be answered."""

    clips: Sequence[Clip]
    question: str
    system: str | None
    mata: Mata | None
    cancel: Cancel
    max_tokens: int = MAX_TOKENS
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    logprobs: int | None = None
    reading: Reading | None = None
    contrast: Contrast | None = None


class Turn:
    """Answers questions in one conversation, one at a time."""

    def __init__(self, loaded: Loaded, conversation: Conversation) -> None:
        self._loaded, self._conversation = loaded, conversation
        self._engine = loaded.engine

    def sampler(self, request: Request) -> Sampler | None:
        """A sampler for answer; None if the request was cancelled.  Raises ValueError as Sampling.sampler does."""
        try:
            return request.sampling.sampler(self._engine, request.cancel)
        except CancelledError:
            return None

    def answer(self, request: Request, sampler: Sampler | None) -> Iterator[Piece]:
        """The answer in pieces; the last carries the record.  The turn is kept once it has text."""
        if sampler is None:
            yield Piece("", self.nothing(request))
            return
        computing = self._loaded.computing
        computing.enter()
        try:
            started = time.perf_counter()
            messages = self.messages(request)
            with self.reader(request) as reader, self.branch(request.contrast, messages) as branch:
                try:
                    prefill = self.prefill(request, messages, reader, request.max_tokens, branch=branch)
                except CancelledError:
                    yield from self._outside(Piece("", self.nothing(request)))
                    return
                generation = self.generation(request, self._conversation.session, sampler, reader, branch)
                self._conversation.image.generations = [generation.core]
                shown = 0
                try:
                    for text in generation:
                        logprobs = tuple((generation.logprobs or [])[shown:])
                        shown += len(logprobs)
                        yield from self._outside(Piece(text, logprobs=logprobs))
                finally:
                    if not self._loaded.forked:
                        self._record(messages, generation, branch)
                result = self.result(request, generation, prefill, started, request.mata, reader)
                rest = tuple((generation.logprobs or [])[shown:])
                yield from self._outside(Piece("", result, logprobs=rest))
        finally:
            if not self._loaded.forked:
                self._conversation.release()
                computing.leave()

    def compare(self, request: Request) -> tuple[Answer, Answer]:
        """(with MATA, without) from one prefill, both generated at once; the conversation goes on with the first."""
        with self._loaded.computing():
            try:
                return self._compare(request)
            finally:
                self._conversation.release()

    def nothing(self, request: Request) -> Answer:
        """The answer that was cancelled before it began."""
        timings = Timings(self._loaded.load_s, 0.0, 0.0, 0.0, 0.0)
        boost = boost_of(self._engine, request.mata)
        return Answer(
            "",
            "cancelled",
            [],
            Usage(0, 0, 0),
            timings,
            None if boost is None else boost.mata,
            () if boost is None else boost.layers,
            contrast=request.contrast,
        )

    # -------------------------------------------------------------------------------------------

    def _outside(self, piece: Piece) -> Iterator[Piece]:
        """Hand a piece out: nothing is computed here until the next one is asked for, in whichever thread."""
        self._loaded.computing.leave()
        try:
            yield piece
        finally:
            if not self._loaded.forked:
                self._loaded.computing.enter()

    def _compare(self, request: Request) -> tuple[Answer, Answer]:
        started = time.perf_counter()
        messages = self.messages(request)
        if not _with_clips(messages):
            raise ValueError("there is nothing to compare: there is no audio in this conversation yet")
        conversation = self._conversation
        with self.reader(request) as reader:
            prefill = self.prefill(request, messages, reader, 2 * request.max_tokens, forks=1, twin=True)
            session = conversation.session
            with conversation.under([None])[0][0] as twin:
                twin_reader = None if reader is None else reader.twin(twin)
                runs = [
                    self.generation(request, one, request.sampling.sampler(self._engine, request.cancel), reading)
                    for one, reading in ((session, reader), (twin, twin_reader))
                ]
                conversation.image.generations = [run.core for run in runs]
                try:
                    finish(runs)
                finally:
                    self._record(messages, runs[0])
                boosted = self.result(request, runs[0], prefill, started, request.mata, reader)
                return boosted, self.result(request, runs[1], prefill, started, None, twin_reader)

    def messages(self, request: Request) -> list[Message]:
        """Raises AudioError where attention is asked for and there is nothing to hear."""
        messages = self._conversation.proposed(request.question, request.clips, request.system)
        if request.reading is not None and not _with_clips(messages):
            raise AudioError("there is no audio in this conversation yet, and attention is read where it is heard")
        return messages

    @contextmanager
    def reader(self, request: Request) -> Iterator[Reader | None]:
        """A reader of this turn's attention if it is asked for; nothing is read afterwards."""
        if request.reading is None:
            yield None
            return
        boost = boost_of(self._engine, request.mata)
        reader = Reader(self._engine, request.reading, () if boost is None else boost.layers)
        try:
            yield reader
        finally:
            if not self._engine.closed:
                reader.stop()

    @contextmanager
    def branch(self, contrast: Contrast | None, messages: Sequence[Message]) -> Iterator[Branch | None]:
        """The other side of the contrast, if there is one."""
        if contrast is None:
            yield None
            return
        branch = Branch(self._loaded, self._conversation, contrast, messages)
        try:
            yield branch
        finally:
            if not self._loaded.forked and not self._engine.closed:
                branch.release()

    def texts(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text."""
        return [self._engine.token_bytes(token, special=True).decode("utf-8", "replace") for token in tokens]

    def prefill(
        self,
        request: Request,
        messages: list[Message],
        reader: Reader | None,
        answer: int,
        forks: int = 0,
        twin: bool = False,
        branch: Branch | None = None,
    ) -> Prefill:
        """Logits for the first token, under the request's setting, and in branch."""
        if request.cancel.cancelled:
            raise CancelledError("cancelled")
        boost = boost_of(self._engine, request.mata)
        if boost is not None:
            encoder = self._loaded.encoder
            heard = [encoder.audible_seconds(clip) for message in messages for clip in message.clips]
            boost.mata.check_focus(heard)

        def before_last(session: Session, regions: PromptRegions) -> None:
            if reader is not None:
                reader.start(session, regions)
            elif branch is not None and branch.reads_attention:
                branch.watch(session, boost)
            elif boost is not None and session.clips:
                watch(session, boost.layers)

        prefill = self._conversation.prefill(
            messages,
            request.mata,
            answer=answer,
            cancel=request.cancel,
            forks=forks,
            twin=twin,
            before_last=before_last,
            beside=None if branch is None else branch.beside(request.cancel),
        )
        if np.isnan(self._conversation.session.logits()).any():
            self._conversation.drop_cache()
            fault = "the model computed NaN: its file or the GPU backend is at fault; try n_gpu_layers=0"
            raise ModelError(self._loaded.find_damage() or fault)
        session = self._conversation.session
        effect = None
        if reader is not None:
            effect = reader.effect(session)
        elif branch is not None and branch.reads_attention:
            effect = None if boost is None else branch.effect(session, boost)
        elif boost is not None and session.clips:
            effect = effect_of(session)
            session.read_with(None)
        if branch is not None:
            prefill = branch.prefill(prefill, self._conversation.image, forks, request.cancel)
        return replace(prefill, effect=effect)

    def generation(
        self,
        request: Request,
        session: Session,
        sampler: Sampler,
        reader: Reader | None = None,
        branch: Branch | None = None,
    ) -> Generation:
        """The request's answer, begun from a session that has logits."""
        generation = Generation(
            self._engine,
            session,
            sampler,
            max_tokens=request.max_tokens,
            stop=request.stop,
            logprobs=request.logprobs,
            cancel=request.cancel,
            attention=reader is not None,
            on_token=None if reader is None else reader.take,
            begin=None if branch is None else branch.begin(session),
        )
        if branch is not None:
            branch.running(generation)
        return generation

    def _record(self, messages: list[Message], generation: Generation, branch: Branch | None = None) -> None:
        """Keep the turn in the conversation, unless it was stopped before it said anything."""
        generation.settle()
        if not self._engine.closed:
            self._conversation.record(generation)
            if branch is not None:
                branch.record(generation)
        if generation.text or generation.finish_reason != "cancelled":
            self._conversation.messages = [*messages, Message("assistant", generation.text)]

    def result(
        self,
        request: Request,
        generation: Generation,
        prefill: Prefill,
        started: float,
        mata: Mata | None,
        reader: Reader | None = None,
    ) -> Answer:
        """The record of an answer that was generated under mata."""
        first = generation.first_token_at or time.perf_counter()
        boost = boost_of(self._engine, mata) if generation.clips else None
        logprobs: list[TokenLogprob] | None = generation.logprobs
        return Answer(
            text=generation.text,
            finish_reason=generation.finish_reason,
            audio=generation.clips,
            usage=usage_of(prefill, len(generation.tokens)),
            timings=Timings(
                load_s=self._loaded.load_s,
                encode_s=prefill.encode_s,
                prefill_s=prefill.prefill_s,
                first_token_s=first - started,
                decode_tokens_per_s=generation.tokens_per_second,
            ),
            mata=None if boost is None else boost.mata,
            layers=() if boost is None else boost.layers,
            mata_effect=None if boost is None else prefill.effect,
            confidence=generation.confidence,
            attention=None if reader is None else reader.report(self.texts(generation.tokens)),
            logprobs=logprobs,
            contrast=request.contrast,
        )


def _with_clips(messages: Sequence[Message]) -> bool:
    return any(message.clips for message in messages)


def usage_of(prefill: Prefill, completion_tokens: int) -> Usage:
    return Usage(prefill.prompt_tokens, prefill.audio_tokens, completion_tokens, prefill.cached_tokens)
