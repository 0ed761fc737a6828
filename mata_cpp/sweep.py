"""One question under many settings of MATA, from one prefill: every row but the last is the same for all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .choosing import Scored, after_silence
from .conversation import Conversation, Prefill
from .decoding import scoring
from .decoding.plain import finish
from .loaded import Loaded
from .mata import Mata, boost_of
from .readout.effect import MataEffect
from .records import Answer, Choice, Timings
from .session import Session
from .turns import Request, Turn

if TYPE_CHECKING:
    from ._core import Cancel
    from .decoding.plain import Generation
    from .prompts.builder import Message


@dataclass(frozen=True)
class FirstRow:
    """logprobs: natural logarithms [n_vocab] of the first answering token.  effect: None where MATA is off."""

    logprobs: NDArray[np.float64]
    effect: MataEffect | None


class Sweep:
    """Answers one question of a conversation under each of many settings; the conversation stays as it is."""

    def __init__(self, loaded: Loaded, conversation: Conversation, settings: Sequence[Mata | None]) -> None:
        self._loaded, self._conversation, self._settings = loaded, conversation, list(settings)
        self._engine = loaded.engine
        self._turn = Turn(loaded, conversation)

    def choices(self, request: Request, options: Sequence[str], form: scoring.ChoiceForm) -> list[Choice]:
        """What choose gives under each setting, in their order."""
        with self._loaded.computing():
            try:
                return self._choices(request, scoring.check_options(options), form)
            finally:
                self._conversation.release()

    def answers(self, request: Request) -> list[Answer]:
        """What ask gives under each setting, in their order."""
        with self._loaded.computing():
            try:
                return self._answers(request)
            finally:
                self._conversation.release()

    def first_rows(self, request: Request) -> list[FirstRow]:
        """The distribution of the first answering token under each setting, in their order."""
        with self._loaded.computing():
            try:
                return self._first_rows(request)
            finally:
                self._conversation.release()

    # -------------------------------------------------------------------------------------------

    def _choices(self, request: Request, texts: list[str], form: scoring.ChoiceForm) -> list[Choice]:
        started = time.perf_counter()
        request = replace(request, question=form.question(request.question, texts), mata=None)
        messages = self._turn.messages(request)
        frame = self._conversation.prompts.answer_frame(messages, request.cancel)
        rows = scoring.option_tokens(self._engine, frame, form.answers(texts))
        end = scoring.end_token(self._engine, frame)
        prefill, found, effects = self._scores(self._conversation, messages, rows, end, request.cancel)
        took = time.perf_counter() - started
        clips = self._conversation.session.clips
        silence: list[list[float]] | None = None
        if form.contrast and clips:
            self._conversation.release()

            def score(other: Conversation, quiet: list[Message], missing: Sequence[Mata | None]) -> list[list[float]]:
                return Sweep(self._loaded, other, missing)._scores(other, quiet, rows, end, request.cancel)[1]

            asked = self._conversation, messages, rows, end
            silence = after_silence(self._loaded, *asked, self._settings, score, request.cancel)
        timings = Timings(self._loaded.load_s, prefill.encode_s, prefill.prefill_s, took, 0.0)
        scored = Scored(texts, [len(row) + (end is not None) for row in rows], clips, prefill, timings)
        chosen = []
        for number, (setting, logprobs) in enumerate(zip(self._settings, found, strict=True)):
            unheard = None if silence is None else silence[number]
            boost = boost_of(self._engine, setting) if clips else None
            scores = scoring.contrasted(logprobs, unheard)
            chosen.append(scored.choice(scores, logprobs, unheard, boost, effects[number]))
        return chosen

    def _scores(
        self,
        conversation: Conversation,
        messages: list[Message],
        rows: list[list[int]],
        end: int | None,
        cancel: Cancel,
    ) -> tuple[Prefill, list[list[float]], list[MataEffect | None]]:
        """Log-likelihoods of rows under each setting, [settings][rows], and what each setting did."""
        n_seq_max = self._engine.n_seq_max
        group = max(1, min(len(self._settings), n_seq_max // 4))
        held = group + self._spare
        forks = max(1, min(len(rows) * group, n_seq_max // 2, n_seq_max - 1 - held))
        room = group + min(scoring.MAX_BATCH, group * sum(map(len, rows)))
        prefill = conversation.prefill(messages, None, answer=room, forks=held + forks, twin=True, cancel=cancel)
        scores: list[list[float]] = []
        effects: list[MataEffect | None] = []
        for start in range(0, len(self._settings), group):
            with ExitStack() as stack:
                pairs = conversation.under(
                    self._settings[start : start + group], cancel, more=start + group < len(self._settings)
                )
                twins = [stack.enter_context(twin) for twin, _ in pairs]
                effects += [effect for _, effect in pairs]
                scores += scoring.score_each(self._engine, twins, rows, end, forks=forks, cancel=cancel)
        return prefill, scores, effects

    def _first_rows(self, request: Request) -> list[FirstRow]:
        messages = self._turn.messages(request)
        group = max(1, min(len(self._settings), self._engine.n_seq_max // 2))
        forks = group + self._spare
        self._conversation.prefill(messages, None, answer=group, forks=forks, twin=True, cancel=request.cancel)
        found: list[FirstRow] = []
        for start in range(0, len(self._settings), group):
            with ExitStack() as stack:
                for twin, effect in self._conversation.under(
                    self._settings[start : start + group], request.cancel, more=start + group < len(self._settings)
                ):
                    stack.enter_context(twin)
                    found.append(FirstRow(scoring.log_softmax(twin.logits()), effect))
        return found

    def _answers(self, request: Request) -> list[Answer]:
        started = time.perf_counter()
        messages = self._turn.messages(request)
        n_seq_max = self._engine.n_seq_max
        group = max(1, min(len(self._settings), n_seq_max // 2))
        room, forks = group * (1 + request.max_tokens), group + self._spare
        prefill = self._conversation.prefill(messages, None, answer=room, forks=forks, twin=True, cancel=request.cancel)
        found: list[Answer] = []
        for start in range(0, len(self._settings), group):
            settings = self._settings[start : start + group]
            with ExitStack() as stack:
                pairs = self._conversation.under(settings, request.cancel, more=start + group < len(self._settings))
                runs = [self._run(request, stack.enter_context(twin)) for twin, _ in pairs]
                finish(runs)
                found += [
                    self._turn.result(request, run, replace(prefill, effect=effect), started, setting)
                    for run, setting, (_, effect) in zip(runs, settings, pairs, strict=True)
                ]
        return found

    @property
    def _spare(self) -> int:
        """Sequences that are kept from before the last token, where a model's memory cannot be cut."""
        return 0 if self._engine.can_cut or len(self._settings) == 1 else 1

    def _run(self, request: Request, session: Session) -> Generation:
        return self._turn.generation(request, session, request.sampling.sampler(self._engine, request.cancel))
