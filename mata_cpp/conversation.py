"""A conversation and its image in the KV cache.

The list of messages is the truth; the cache holds some rendering of it.  A turn is planned by
comparing what should be in the cache with what is: usually only the new turn's text has to be fed.
Where a template rewrites history, or a turn was stopped or undone, what differs is fed again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .audio import Audio
from .audio.encoder import AudioEncoder, EncodedClip
from .errors import AudioError, ContextFullError, ModelError
from .generate import Generation
from .mata import Mata
from .prompts.builder import Message, PromptBuilder, Unit
from .readout.reader import PromptRegions
from .session import Session

MIN_ANSWER = 1
"""Positions that must be left for an answer."""


@dataclass(frozen=True)
class Plan:
    """What a turn needs: the rendered conversation, how many cached units stay, and those to feed."""

    rendered: str
    keep: int
    new: list[Unit]
    messages: Sequence[Message] = ()


@dataclass(frozen=True)
class Prefill:
    """Seconds spent, and tokens of the prompt: in all, of audio, and found in the cache."""

    encode_s: float
    prefill_s: float
    prompt_tokens: int
    audio_tokens: int
    cached_tokens: int


class Conversation:
    """Messages, and one session that mirrors them.

    n_used() gives the KV cells that all sessions of the engine hold, of n_ctx.
    """

    def __init__(
        self,
        prompts: PromptBuilder,
        encoder: AudioEncoder,
        new_session: Callable[[], Session],
        n_ctx: int,
        n_used: Callable[[], int],
    ) -> None:
        self.messages: list[Message] = []
        self._prompts = prompts
        self._encoder = encoder
        self._new_session = new_session
        self._n_ctx, self._n_used = n_ctx, n_used
        self._session: Session | None = None
        self._fed: list[Unit] = []  # what the cache holds
        self._ends: list[int] = []  # the position after each of them
        self._text: str | None = None  # what it is as rendered text, where known
        self._pending: list[Unit] = []  # tokens of that text which were sampled and not fed
        self._kept = 0

    @property
    def started(self) -> Session | None:
        """The session if there is one by now."""
        return self._session

    @property
    def session(self) -> Session:
        if self._session is None or self._session.closed:
            self._session = self._new_session()
            self._forget_cache()
        return self._session

    def proposed(self, question: str, clips: Sequence[Audio], system: str | None) -> list[Message]:
        """The messages with a question added; nothing is changed yet.  system, unless None, is the system message."""
        messages = list(self.messages)
        if system is not None:
            messages = [Message("system", system), *(m for m in messages if m.role != "system")]
        return [*messages, Message("user", question, tuple(clips))]

    def plan(self, messages: Sequence[Message]) -> Plan:
        """Raises ModelError where the template fails, AudioError where there is nothing to hear."""
        if not any(message.clips for message in messages):
            raise AudioError("there is no audio in this conversation yet: pass a clip with the question")
        rendered = self._prompts.render(messages)
        self._reconcile()
        if self._text is not None and rendered.startswith(self._text):
            new = self._pending + self._prompts.units(rendered[len(self._text) :], start=False)
            if new and not isinstance(new[-1], Audio):
                return Plan(rendered, len(self._fed), new, messages)
        units = self._prompts.units(rendered)
        if not units or isinstance(units[-1], Audio):
            raise ModelError("the model's chat template ends with the audio: there is no text to answer to")
        keep = _common(self._fed, units[:-1])
        return Plan(rendered, keep, units[keep:], messages)

    def check_length(self, clip: Audio) -> None:
        """Raises ContextFullError for a clip that no empty context could hold, before it is encoded."""
        self._check_room(0, self._encoder.estimate_tokens(clip), at_least=True)

    def encode(self, clip: Audio, check: Callable[[], None]) -> EncodedClip:
        """Encode a clip, or find it encoded; cancelling the session stops it.  Raises CancelledError."""
        session = self.session.core  # there before the check, so that a cancel that comes after it is seen
        check()
        return self._encoder.encode(clip, session)

    def _encode(self, plan: Plan, check: Callable[[], None]) -> float:
        """Encode the clips that are new; the seconds it took, now or ahead of the question."""
        seconds = 0.0
        for unit in plan.new:
            if isinstance(unit, Audio):
                check()
                self.check_length(unit)
                seconds += self.encode(unit, check).embedding.encode_s
        return seconds

    def prefill(
        self,
        plan: Plan,
        mata: Mata | None,
        *,
        check: Callable[[], None],
        before_last: Callable[[Session, PromptRegions], None] | None = None,
    ) -> Prefill:
        """Bring the cache to the planned state, logits ready under mata.

        check is called between pieces of work and may raise.  ContextFullError comes before anything
        is changed; a stop in the middle leaves a cache that the next plan can build on.  before_last
        is called when only the last run of tokens, whose last row predicts, is still to be fed.
        """
        encode_s = self._encode(plan, check)
        started = time.perf_counter()
        check()
        self._check_room(plan.keep, self._new_tokens(plan.new))
        session = self._cut(plan)
        session.mata = mata
        self._text = None
        self._pending = []
        runs = _runs(plan.new)
        for number, run in enumerate(runs):
            check()
            last = number == len(runs) - 1
            if last and before_last is not None:
                before_last(session, self._parts(plan, run))
            session.append([run], markers=True, final=last)
            for unit in run if isinstance(run, list) else [run]:
                self._fed.append(unit)
            self._note_ends(session, run)
        self._text = plan.rendered
        audio = sum(clip.tokens for clip in session.clips)
        return Prefill(
            encode_s=encode_s,
            prefill_s=time.perf_counter() - started,
            prompt_tokens=session.n_past,
            audio_tokens=audio,
            cached_tokens=self._kept,
        )

    def record(self, generation: Generation) -> None:
        """Note in the cache's image what a generation fed."""
        fed = generation.tokens[: len(generation.tokens) - len(generation.unfed)]
        for token in fed:
            self._fed.append(token)
            self._ends.append((self._ends[-1] if self._ends else 0) + 1)
        if self._text is not None:
            self._text += generation.raw_text
            self._pending = list(generation.unfed)

    def reset(self) -> None:
        """Forget everything."""
        self.messages = []
        self.drop_cache()
        self._prompts.forget()

    def drop_cache(self) -> None:
        """Forget the cache, not the messages."""
        if self._session is not None:
            self._session.close()
        self._session = None
        self._forget_cache()

    # -------------------------------------------------------------------------------------------

    def _parts(self, plan: Plan, run: list[int] | Audio) -> PromptRegions:
        """Where the parts of the prompt lie, with the last run about to be fed.

        Told from the template's texts around the first question and this one.  Tokens are compared with what was
        fed, as earlier answers were sampled and not tokenised, and a token may reach over a part's border.
        """
        assert not isinstance(run, Audio)
        units = [*self._fed, *run]
        first = self._ends[-1] if self._ends else 0
        ends = [0, *self._ends, *range(first + 1, first + len(run) + 1)]
        questions = [i for i, message in enumerate(plan.messages) if message.role == "user"]
        head, tail = (self._prompts.text_before(plan.messages, i) for i in (questions[0], questions[-1]))
        n_head = _common(units, self._prompts.units(head)) if plan.rendered.startswith(head) else 0
        n_turn = len(units) - n_head
        if len(questions) > 1 and plan.rendered.startswith(tail):
            turn = self._prompts.units(plan.rendered[len(tail) :], start=False)
            n_turn = min(n_turn, _common(units[::-1], turn[::-1]))
        return PromptRegions(ends[n_head], ends[len(units) - n_turn], ends[-1])

    def _forget_cache(self) -> None:
        self._fed, self._ends = [], []
        self._text, self._pending = None, []
        self._kept = 0

    def _reconcile(self) -> None:
        """Drop the cache when an interrupt came between a feed and its entry here."""
        session = self._session
        if session is None or session.closed or session.n_past != (self._ends[-1] if self._ends else 0):
            self.drop_cache()

    def _cut(self, plan: Plan) -> Session:
        """The session, cut back to what the plan keeps; a fresh one where it cannot be cut."""
        session = self.session
        keep = min(plan.keep, len(self._fed))
        position = self._ends[keep - 1] if keep else 0
        if position < session.n_past:
            try:
                session.truncate(position)
            except ValueError:
                plan.new[:0] = self._fed[:keep]
                self.drop_cache()
                session, keep, position = self.session, 0, 0
        self._fed, self._ends = self._fed[:keep], self._ends[:keep]
        self._kept = position
        return session

    def _note_ends(self, session: Session, run: list[int] | Audio) -> None:
        if isinstance(run, Audio):
            self._ends.append(session.n_past)
        else:
            start = session.n_past - len(run)
            self._ends.extend(range(start + 1, session.n_past + 1))

    def _new_tokens(self, units: Sequence[Unit]) -> int:
        total = 0
        for unit in units:
            if isinstance(unit, Audio):
                heard = self._encoder.encode(unit)
                total += len(heard.embedding.begin) + heard.n_tokens + len(heard.embedding.end)
            else:
                total += 1
        return total

    def _check_room(self, keep: int, needed: int, *, at_least: bool = False) -> None:
        kept = self._ends[keep - 1] if keep else 0
        held = self._session.n_past if self._session is not None and not self._session.closed else 0
        others = max(0, self._n_used() - held)
        total = kept + needed + MIN_ANSWER
        if total + others <= self._n_ctx:
            return
        about = "at least " if at_least else ""
        shared = f" and other sessions hold {others}" if others else ""
        enough = 1 << math.ceil(math.log2(total + others + 256))
        raise ContextFullError(
            f"the context is full: the conversation needs {about}{total} tokens{shared}, n_ctx is {self._n_ctx}; "
            f"shorten the audio, start over (reset, /clear) or load with n_ctx={enough} (--ctx {enough})"
        )


def _same(a: Unit, b: Unit) -> bool:
    if isinstance(a, Audio) or isinstance(b, Audio):
        return isinstance(a, Audio) and isinstance(b, Audio) and a.content_id == b.content_id
    return a == b


def _common(a: Sequence[Unit], b: Sequence[Unit]) -> int:
    """How many units are the same from the start."""
    count = 0
    for one, other in zip(a, b, strict=False):
        if not _same(one, other):
            break
        count += 1
    return count


def _runs(units: Sequence[Unit]) -> list[list[int] | Audio]:
    """Neighbouring tokens joined."""
    runs: list[list[int] | Audio] = []
    for unit in units:
        if isinstance(unit, Audio):
            runs.append(unit)
        elif runs and isinstance(runs[-1], list):
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs
