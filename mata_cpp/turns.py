"""One question, from its messages to its answer."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .audio.encoder import AudioEncoder, Clip
from .branch import Branch
from .cache import CachePool
from .conversation import Conversation, Prefill
from .decoding import MAX_TOKENS, scoring
from .decoding.contrast.rule import with_clips
from .decoding.contrast.rules import Contrast
from .decoding.contrast.silence import silence
from .decoding.plain import Generation
from .decoding.sampling import Sampling
from .errors import AudioError, CancelledError, ModelError
from .mata import Mata, boost_of
from .prompts.builder import Message
from .readout.effect import effect_of, watch
from .readout.reader import PromptRegions, Reader
from .readout.record import Reading
from .records import Answer, Choice, Piece, Timings, TokenLogprob, Usage
from .session import Session

if TYPE_CHECKING:
    from ._core import Cancel, Engine, Sampler

MAX_KNOWN_SILENCES = 256


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


class Activity:
    """Which threads are computing: closing a model waits for them, but not for who holds a stream and reads nothing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: dict[int, int] = {}
        self._then: Callable[[], None] | None = None

    def enter(self) -> None:
        own = threading.get_ident()
        with self._changed:
            self._threads[own] = self._threads.get(own, 0) + 1

    def leave(self) -> None:
        own = threading.get_ident()
        with self._changed:
            self._threads[own] -= 1
            if not self._threads[own]:
                del self._threads[own]
            then = self._then if not self._threads else None
            self._changed.notify_all()
        if then is not None:
            then()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call then once nobody computes: now, after waiting, or at the end of what this thread itself is computing."""
        own = threading.get_ident()
        with self._changed:
            while self._threads and own not in self._threads:
                self._changed.wait()
            if self._threads:
                self._then = then
                return
        then()


class Silences:
    """Scores of options after silence, by everything that they depend on; the latest are kept."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, list[float]] = OrderedDict()

    def get(self, key: Hashable) -> list[float] | None:
        return self._known.get(key)

    def put(self, key: Hashable, scores: list[float]) -> None:
        self._known[key] = scores
        while len(self._known) > MAX_KNOWN_SILENCES:
            self._known.popitem(last=False)

    def __len__(self) -> int:
        return len(self._known)


class Loaded:
    """What a loaded model gives to every question.

    load_s: seconds that loading took.  adapters_hear: see CachePool.  find_damage() says what is wrong with the model's
    file, if anything is; it is asked when the model gives NaN.
    """

    def __init__(
        self, engine: Engine, load_s: float, find_damage: Callable[[], str | None], *, adapters_hear: bool
    ) -> None:
        self.engine, self.load_s, self.find_damage = engine, load_s, find_damage
        self._pid = os.getpid()
        self.encoder = AudioEncoder(engine)
        self.pool = CachePool(engine, self.encoder, adapters_hear=adapters_hear)
        self.computing = Activity()
        self.silences = Silences()

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that loaded the model: its locks may be held there for good."""
        return os.getpid() != self._pid


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
            with self._reader(request) as reader, self._branch(request.contrast, messages) as branch:
                try:
                    prefill = self._prefill(request, messages, reader, request.max_tokens, branch=branch)
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

    def choose(self, request: Request, options: Sequence[str], form: scoring.ChoiceForm) -> Choice:
        """Score options as answers to request, which is not added to the conversation."""
        with self._loaded.computing():
            try:
                return self._choose(request, options, form)
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
        with self._reader(request) as reader:
            prefill = self._prefill(request, messages, reader, 2 * request.max_tokens, forks=1, twin=True)
            session = conversation.session
            with conversation.under([None])[0][0] as twin:
                twin_reader = None if reader is None else reader.twin(twin)
                runs = [
                    self.generation(request, one, request.sampling.sampler(self._engine, request.cancel), reading)
                    for one, reading in ((session, reader), (twin, twin_reader))
                ]
                conversation.image.generations = [run.core for run in runs]
                try:
                    for run in runs:
                        for _ in run:
                            pass
                finally:
                    for run in runs:
                        run.settle()
                    self._record(messages, runs[0])
                boosted = self.result(request, runs[0], prefill, started, request.mata, reader)
                return boosted, self.result(request, runs[1], prefill, started, None, twin_reader)

    def _choose(self, request: Request, options: Sequence[str], form: scoring.ChoiceForm) -> Choice:
        texts = scoring.check_options(options)
        started = time.perf_counter()
        request = replace(request, question=form.question(request.question, texts))
        answers = form.answers(texts)
        messages = self.messages(request)
        prompts = self._conversation.prompts
        frame = prompts.answer_frame(messages, request.cancel)
        rows = scoring.option_tokens(self._engine, frame, answers)
        end = scoring.end_token(self._engine, frame)
        room = min(scoring.MAX_BATCH, sum(map(len, rows)))
        forks = max(1, min(len(rows), self._engine.n_seq_max // 4))
        rule = form.contrast if isinstance(form.contrast, Contrast) else None
        if rule is not None and request.reading is not None:
            raise ValueError("attention is not read while options are scored by a rule of contrast")
        readers: list[Reader] = []
        with self._reader(request) as reader, self._branch(rule, messages) as branch:
            prefill = self._prefill(request, messages, reader, room, forks, branch=branch)
            first_token_s = time.perf_counter() - started
            session = self._conversation.session

            def observe(fork: Session) -> None:
                assert reader is not None
                twin = reader.twin(session, reader.acts_on)
                twin.take_last(session)
                twin.take_all(fork)
                readers.append(twin)

            watch = None if reader is None else observe
            if branch is not None:
                scores, logprobs = branch.pair(session).scores(rows, end, forks=forks, cancel=request.cancel)
            else:
                logprobs = scoring.score_options(
                    self._engine, session, rows, end, watch, forks=forks, cancel=request.cancel
                )
                scores = logprobs
            clips = session.clips
        unheard = None
        if rule is None and form.contrast and clips:
            self._conversation.release()
            unheard = self._after_silence(request, messages, rows, end, room, forks)
            scores = scoring.contrasted(logprobs, unheard)
        counts = [len(row) + (end is not None) for row in rows]
        index = int(np.argmax(scores))
        boost = boost_of(self._engine, request.mata) if clips else None
        return Choice(
            text=texts[index],
            index=index,
            options=texts,
            scores=scores,
            logprobs=logprobs,
            silence_logprobs=unheard,
            tokens=counts,
            audio=clips,
            usage=usage_of(prefill, sum(counts)),
            timings=Timings(self._loaded.load_s, prefill.encode_s, prefill.prefill_s, first_token_s, 0.0),
            mata=None if boost is None else boost.mata,
            layers=() if boost is None else boost.layers,
            mata_effect=None if boost is None else prefill.effect,
            attention=None
            if reader is None
            else [one.report(self._texts(row)) for one, row in zip(readers, rows, strict=True)],
            contrast=rule,
        )

    def _after_silence(
        self,
        request: Request,
        messages: Sequence[Message],
        rows: list[list[int]],
        end: int | None,
        room: int,
        forks: int,
    ) -> list[float]:
        """The options' log-likelihoods where every clip of the conversation is replaced by near silence as long."""
        loaded = self._loaded
        quiet = silent_twin(messages, loaded)
        other = Conversation(self._engine, loaded.encoder, loaded.pool, self._conversation.prompts.fresh())
        known = (tuple(other.plan(quiet, cancel=request.cancel).keys), tuple(map(tuple, rows)), end, request.mata)
        found = loaded.silences.get(known)
        if found is None:
            try:
                other.prefill(quiet, request.mata, answer=room, forks=forks, cancel=request.cancel)
                found = scoring.score_options(
                    self._engine, other.session, rows, end, forks=forks, cancel=request.cancel
                )
            finally:
                other.release()
            loaded.silences.put(known, found)
        return found

    def messages(self, request: Request) -> list[Message]:
        """Raises AudioError where attention is asked for and there is nothing to hear."""
        messages = self._conversation.proposed(request.question, request.clips, request.system)
        if request.reading is not None and not _with_clips(messages):
            raise AudioError("there is no audio in this conversation yet, and attention is read where it is heard")
        return messages

    @contextmanager
    def _reader(self, request: Request) -> Iterator[Reader | None]:
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
    def _branch(self, contrast: Contrast | None, messages: Sequence[Message]) -> Iterator[Branch | None]:
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

    def _texts(self, tokens: Sequence[int]) -> list[str]:
        return [self._engine.token_bytes(token, special=True).decode("utf-8", "replace") for token in tokens]

    def _prefill(
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
            attention=None if reader is None else reader.report(self._texts(generation.tokens)),
            logprobs=logprobs,
            contrast=request.contrast,
        )


def _with_clips(messages: Sequence[Message]) -> bool:
    return any(message.clips for message in messages)


def silent_twin(messages: Sequence[Message], loaded: Loaded) -> list[Message]:
    """The messages with every clip replaced by near silence as long."""
    rate, seconds = loaded.engine.sample_rate, loaded.encoder.audible_seconds
    return with_clips(messages, lambda clip: silence(seconds(clip), rate))


def usage_of(prefill: Prefill, completion_tokens: int) -> Usage:
    return Usage(prefill.prompt_tokens, prefill.audio_tokens, completion_tokens, prefill.cached_tokens)
