"""Multiple choice in a conversation: the options scored as answers to a question."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .conversation import Conversation, Prefill
from .decoding import scoring
from .decoding.contrast.rule import with_clips
from .decoding.contrast.rules import Contrast
from .decoding.contrast.silence import silence
from .loaded import Loaded
from .mata import Boost, Mata, boost_of
from .prompts.builder import Message
from .readout.effect import MataEffect
from .readout.reader import Reader
from .records import Choice, ClipInfo, Timings
from .session import Session
from .turns import Request, Turn, usage_of

if TYPE_CHECKING:
    from ._core import Cancel


class Chooser:
    """Scores options in one conversation, to which nothing is added."""

    def __init__(self, loaded: Loaded, conversation: Conversation) -> None:
        self._loaded, self._conversation = loaded, conversation
        self._engine = loaded.engine
        self._turn = Turn(loaded, conversation)

    def choose(self, request: Request, options: Sequence[str], form: scoring.ChoiceForm) -> Choice:
        """The options as answers to request.  Raises what ask raises."""
        with self._loaded.computing():
            try:
                return self._choose(request, options, form)
            finally:
                self._conversation.release()

    # -------------------------------------------------------------------------------------------

    def _choose(self, request: Request, options: Sequence[str], form: scoring.ChoiceForm) -> Choice:
        texts = scoring.check_options(options)
        started = time.perf_counter()
        request = replace(request, question=form.question(request.question, texts))
        answers = form.answers(texts)
        messages = self._turn.messages(request)
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
        with self._turn.reader(request) as reader, self._turn.branch(rule, messages) as branch:
            prefill = self._turn.prefill(request, messages, reader, room, forks, branch=branch)
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
        attention = (
            None
            if reader is None
            else [one.report(self._turn.texts(row)) for one, row in zip(readers, rows, strict=True)]
        )
        timings = Timings(self._loaded.load_s, prefill.encode_s, prefill.prefill_s, first_token_s, 0.0)
        scored = Scored(texts, [len(row) + (end is not None) for row in rows], clips, prefill, timings)
        boost = boost_of(self._engine, request.mata) if clips else None
        return replace(
            scored.choice(scores, logprobs, unheard, boost, prefill.effect), attention=attention, contrast=rule
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

        def score(other: Conversation, quiet: list[Message], settings: Sequence[Mata | None]) -> list[list[float]]:
            (mata,) = settings
            other.prefill(quiet, mata, answer=room, forks=forks, cancel=request.cancel)
            found = scoring.score_options(self._engine, other.session, rows, end, forks=forks, cancel=request.cancel)
            return [found]

        asked = self._conversation, messages, rows, end
        return after_silence(self._loaded, *asked, [request.mata], score, request.cancel)[0]


@dataclass(frozen=True)
class Scored:
    """What choices from one prefill have in common.  counts: tokens of each option."""

    texts: list[str]
    counts: list[int]
    clips: list[ClipInfo]
    prefill: Prefill
    timings: Timings

    def choice(
        self,
        scores: list[float],
        logprobs: list[float],
        unheard: list[float] | None,
        boost: Boost | None,
        effect: MataEffect | None,
    ) -> Choice:
        """The record of one of them.  unheard: the log-likelihoods after silence."""
        index = int(np.argmax(scores))
        return Choice(
            text=self.texts[index],
            index=index,
            options=self.texts,
            scores=scores,
            logprobs=logprobs,
            silence_logprobs=unheard,
            tokens=self.counts,
            audio=self.clips,
            usage=usage_of(self.prefill, sum(self.counts)),
            timings=self.timings,
            mata=None if boost is None else boost.mata,
            layers=() if boost is None else boost.layers,
            mata_effect=None if boost is None else effect,
        )


Score = Callable[[Conversation, list[Message], Sequence["Mata | None"]], list[list[float]]]
"""Gives the rows' log-likelihoods under each setting, in a conversation with these messages."""


def after_silence(
    loaded: Loaded,
    conversation: Conversation,
    messages: Sequence[Message],
    rows: list[list[int]],
    end: int | None,
    settings: Sequence[Mata | None],
    score: Score,
    cancel: Cancel,
) -> list[list[float]]:
    """The options' log-likelihoods under each setting, with every clip of the conversation replaced by near silence as
    long.  What is known is not computed."""
    quiet = silent_twin(messages, loaded)
    other = Conversation(loaded.engine, loaded.encoder, loaded.pool, conversation.prompts.fresh())
    keys = tuple(other.plan(quiet, cancel=cancel).keys)
    known = [(keys, tuple(map(tuple, rows)), end, setting) for setting in settings]
    found = {key: scores for key in known if (scores := loaded.silences.get(key)) is not None}
    missing = [key for key in known if key not in found]
    if missing:
        try:
            computed = score(other, quiet, [key[-1] for key in missing])
        finally:
            other.release()
        for key, scores in zip(missing, computed, strict=True):
            found[key] = scores
            loaded.silences.put(key, scores)
    return [found[key] for key in known]


def silent_twin(messages: Sequence[Message], loaded: Loaded) -> list[Message]:
    """The messages with every clip replaced by near silence as long."""
    rate, seconds = loaded.engine.sample_rate, loaded.encoder.audible_seconds
    return with_clips(messages, lambda clip: silence(seconds(clip), rate))
