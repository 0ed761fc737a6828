"""The messages of a conversation, and how the next question comes into the cache.

The list of messages is the truth; an image of the cache holds some rendering of it.  A turn is planned by
comparing what should be in the cache with what is: usually only the new turn's text has to be fed.
Where a template rewrites history, or a turn was stopped or undone, what differs is fed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .audio.encoder import AudioEncoder, Clip, EncodedClip
from .cache import MIN_ANSWER, CacheImage, CachePool, Key, common_length, context_full, positions
from .decoding.plain import Generation
from .errors import CancelledError, ModelError
from .mata import Mata, boost_of
from .prompts.builder import Message, PromptBuilder, PromptUnit
from .readout.effect import MataEffect, effect_of, watch
from .readout.reader import PromptRegions
from .session import Session

if TYPE_CHECKING:
    from ._core import Cancel, Engine

BeforeLast = Callable[[Session, PromptRegions], None]


@dataclass(frozen=True)
class Plan:
    """What a turn needs: the rendered conversation, unit by unit, and how many units the own image has."""

    messages: Sequence[Message]
    rendered: str
    keys: list[Key]
    keep: int

    @property
    def clips(self) -> dict[str, Clip]:
        """The conversation's clips by their content id."""
        return {clip.content_id: clip for message in self.messages for clip in message.clips}


@dataclass(frozen=True)
class Prefill:
    """Seconds spent, and tokens of the prompt: in all, of audio, and found in the cache.  effect: of MATA where it is
    on, on the row that predicts the first token."""

    encode_s: float
    prefill_s: float
    prompt_tokens: int
    audio_tokens: int
    cached_tokens: int
    effect: MataEffect | None = None


@dataclass(frozen=True)
class Beside:
    """The prompt of a second sequence that a question needs, and its clips by their content id."""

    keys: Sequence[Key]
    encoded: Mapping[str, EncodedClip]


class Conversation:
    """Messages, and an image of the cache that mirrors them.  For one question at a time."""

    def __init__(self, engine: Engine, encoder: AudioEncoder, pool: CachePool, prompts: PromptBuilder) -> None:
        self.messages: list[Message] = []
        self._engine, self._encoder, self._pool, self._prompts = engine, encoder, pool, prompts
        self._image: CacheImage | None = None
        self._before_last: Session | None = None  # a fork from before the last token, where it cannot be made later

    @property
    def prompts(self) -> PromptBuilder:
        return self._prompts

    @property
    def image(self) -> CacheImage:
        """The image that the last prefill left."""
        assert self._image is not None
        return self._image

    @property
    def has_image(self) -> bool:
        return self._image is not None

    @property
    def session(self) -> Session:
        return self.image.session

    def proposed(self, question: str, clips: Sequence[Clip], system: str | None) -> list[Message]:
        """The messages with a question added; nothing is changed yet.  system, unless None, is the system message."""
        messages = list(self.messages)
        if system is not None:
            messages = [Message("system", system), *(m for m in messages if m.role != "system")]
        return [*messages, Message("user", question, tuple(clips))]

    def plan(self, messages: Sequence[Message], image: CacheImage | None = None, cancel: Cancel | None = None) -> Plan:
        """Raises ModelError where the template fails."""
        rendered = self._prompts.render(messages, cancel=cancel)
        if image is not None and image.text is not None and rendered.startswith(image.text):
            new = image.pending + self._prompts.units(rendered[len(image.text) :], start=False, cancel=cancel)
            if new and isinstance(new[-1], int):
                return Plan(messages, rendered, image.keys + _keys(new), len(image.keys))
        units = self._prompts.units(rendered, cancel=cancel)
        if not units or not isinstance(units[-1], int):
            raise ModelError(f"{self._prompts.called} ends with the audio: there is no text to answer to")
        keys = _keys(units)
        return Plan(messages, rendered, keys, 0 if image is None else common_length(image.keys, keys[:-1]))

    def prefill(
        self,
        messages: Sequence[Message],
        mata: Mata | None,
        *,
        answer: int,
        cancel: Cancel,
        forks: int = 0,
        twin: bool = False,
        before_last: BeforeLast | None = None,
        beside: Beside | None = None,
        of: CacheImage | None = None,
    ) -> Prefill:
        """Bring the messages into the cache, logits ready under mata, with room for answer more positions and for so
        many forks at a time.  twin: they will be ``under`` other settings.

        ContextFullError comes before anything is fed; a stop in the middle leaves a cache that the next
        prefill can build on.  before_last is called when only the last run of tokens, whose last row predicts, is
        still to be fed.

        beside: claim the room of this prompt too, with an answer and forks as here.  of: this prompt is the one that
        was claimed beside that image's, and is computed with the model's adapters where that one is.
        """
        encoded: dict[str, EncodedClip] = {}
        encode_s = 0.0
        adapters = not self._pool.adapters_hear or any(message.clips for message in messages)
        if of is not None:
            adapters = of.adapters
        while True:
            own = self._image = self._pool.claim(self._image)
            if own is not None and own.adapters != adapters:
                self._pool.drop(own)
                own = self._image = None
            try:
                plan = self.plan(messages, own, cancel)
                encode_s += self._encode(plan, encoded, cancel)
            except BaseException:
                if own is not None:
                    self._pool.release(own)
                raise
            started = time.perf_counter()
            found = self._pool.open(
                own,
                plan.keys,
                plan.keep,
                encoded,
                answer,
                forks if beside is None else 2 * forks + 1,
                cancel,
                adapters=adapters,
                beside=0 if beside is None else self._needed_beside(plan.keys, beside),
                of=of,
            )
            if found is not None:
                break
        image, keep = found
        self._image = image
        cached = image.position(keep)
        try:
            split = twin and not self._engine.can_cut
            self._feed(image, plan, keep, encoded, mata, cancel, split, before_last)
        except BaseException:
            self._pool.release(image)
            raise
        return Prefill(
            encode_s=encode_s,
            prefill_s=time.perf_counter() - started,
            prompt_tokens=image.session.n_past,
            audio_tokens=sum(clip.tokens for clip in image.session.clips),
            cached_tokens=cached,
        )

    def under(
        self, settings: Sequence[Mata | None], cancel: Cancel | None = None, *, more: bool = False
    ) -> list[tuple[Session, MataEffect | None]]:
        """After a prefill with twin: a fork of the session under each setting, the row that predicts computed anew, and
        what the setting did to that row.  more: this will be asked again."""
        boosts = [boost_of(self._engine, setting) for setting in settings]
        layers = sorted({layer for boost in boosts if boost is not None for layer in boost.layers})
        source = self._before_last or self.session
        heard = bool(source.clips) and bool(layers)
        if heard:
            watch(source, layers)
        try:
            twins = self._twins(settings, cancel, more=more)
        except BaseException:
            if heard and not source.closed:
                source.read_with(None)
            raise
        if heard and source not in twins:
            source.read_with(None)
        found: list[tuple[Session, MataEffect | None]] = []
        for twin, boost in zip(twins, boosts, strict=True):
            effect = None
            if heard and boost is not None:
                effect = effect_of(twin, [layers.index(layer) for layer in boost.layers])
            if heard:
                twin.read_with(None)
            found.append((twin, effect))
        return found

    def _twins(self, settings: Sequence[Mata | None], cancel: Cancel | None, *, more: bool) -> list[Session]:
        """Forks of the session under each setting; of one that cannot be cut, of what was kept from before the end."""
        before = self._before_last
        if before is None:
            return self.session.forks(settings, cancel=cancel)
        token = int(self.image.keys[-1])
        if len(settings) > 1 or more:
            return before.forks(settings, token, cancel=cancel)
        self._before_last = None  # it becomes the one fork: there may be no room for another
        try:
            before.mata = settings[0]
            before.append([[token]], markers=True, cancel=cancel)
        except BaseException:
            before.close()
            raise
        return [before]

    def record(self, generation: Generation) -> None:
        """Note in the image what a generation fed, once it has ended."""
        image = self._image
        if image is None:
            return
        with self._pool.held(image) as there:
            if not there:
                self._image = None
                return
            n_fed = len(generation.tokens) - len(generation.unfed)
            image.append_generated(generation.tokens[:n_fed], plain=image.session.boost is None)
            if image.text is not None:
                image.text += generation.raw_text
                image.pending = list(generation.unfed)

    def release(self) -> None:
        """The question has ended: the image may go when room is needed."""
        if self._before_last is not None:
            self._before_last.close()
            self._before_last = None
        if self._image is not None:
            self._pool.release(self._image)
        self._prompts.keep_clips(self.messages)

    def reset(self) -> None:
        """Forget everything."""
        self.messages = []
        self.drop_cache()
        self._prompts.forget()

    def drop_cache(self) -> None:
        """Forget the cache, not the messages."""
        if self._image is not None:
            self._pool.drop(self._image)
        self._image = None

    def positions(self, cancel: Cancel | None = None) -> int:
        """Positions of the context that the messages take; a clip that is not known is encoded for it.

        Raises ModelError, AudioError, CancelledError.
        """
        if not self.messages:
            return 0
        prompts = self._prompts.fresh()
        units = prompts.units(prompts.render(self.messages, add_generation_prompt=False, cancel=cancel), cancel=cancel)
        return sum(1 if isinstance(unit, int) else self._encoder.encode(unit, cancel).positions for unit in units)

    def check_length(self, clip: Clip) -> None:
        """Raises ContextFullError for a clip that no empty context could hold, before it is encoded."""
        total = self._encoder.estimate_tokens(clip) + MIN_ANSWER
        if total > self._engine.n_ctx:
            raise context_full(self._engine, total, at_least=True)

    # -------------------------------------------------------------------------------------------

    def _needed_beside(self, keys: Sequence[Key], beside: Beside) -> int:
        """Positions that another prompt takes beside this one: what both begin with is there once."""
        shared = min(common_length(keys, beside.keys), len(beside.keys) - 1) if self._engine.can_cut else 0
        return positions(beside.keys[shared:], beside.encoded)

    def _encode(self, plan: Plan, encoded: dict[str, EncodedClip], cancel: Cancel) -> float:
        """Encode the clips that the cache does not have; the seconds it took, now or ahead of the question."""
        keep = max(plan.keep, self._pool.shared_length(plan.keys))
        wanted = [key for key in plan.keys[keep:] if isinstance(key, str) and key not in encoded]
        clips, seconds = plan.clips, 0.0
        for key in dict.fromkeys(wanted):
            if cancel.cancelled:
                raise CancelledError("cancelled")
            self.check_length(clips[key])
            encoded[key] = self._encoder.encode(clips[key], cancel)
            seconds += encoded[key].encoding.embedding.encode_s
        return seconds

    def _feed(
        self,
        image: CacheImage,
        plan: Plan,
        keep: int,
        encoded: dict[str, EncodedClip],
        mata: Mata | None,
        cancel: Cancel,
        split: bool,
        before_last: BeforeLast | None,
    ) -> None:
        """split: feed the last token by itself, and keep a fork from before it."""
        session = image.session
        session.prepare(mata)
        image.text, image.pending = None, []
        runs = _runs(plan.keys[keep:], encoded)
        if split and isinstance(question := runs[-1], list) and len(question) > 1:
            runs[-1:] = [question[:-1], question[-1:]]
        for number, run in enumerate(runs):
            if cancel.cancelled:
                raise CancelledError("cancelled")
            last = number == len(runs) - 1
            if last and before_last is not None:
                before_last(session, self._regions(image, plan, run, cancel))
            if last and split:
                self._before_last = session.fork()
            session.append([run], markers=True, final=last, cancel=cancel)
            image.append(run, plain=not last or session.boost is None)
        image.text = plan.rendered

    def _regions(self, image: CacheImage, plan: Plan, run: list[int] | EncodedClip, cancel: Cancel) -> PromptRegions:
        """Where the parts of the prompt lie, with the last run about to be fed.

        Told from the template's texts around the first question and this one.  Tokens are compared with what was
        fed, as earlier answers were sampled and not tokenised, and a token may reach over a part's border.
        """
        assert isinstance(run, list)
        keys = [*image.keys, *run]
        first = image.position(len(image.keys))
        ends = [0, *image.ends, *range(first + 1, first + len(run) + 1)]
        questions = [i for i, message in enumerate(plan.messages) if message.role == "user"]
        head, tail = (self._prompts.text_before(plan.messages, i, cancel) for i in (questions[0], questions[-1]))
        n_head = common_length(keys, _keys(self._prompts.units(head))) if plan.rendered.startswith(head) else 0
        n_turn = len(keys) - n_head
        if len(questions) > 1 and plan.rendered.startswith(tail):
            turn = _keys(self._prompts.units(plan.rendered[len(tail) :], start=False))
            n_turn = min(n_turn, common_length(keys[::-1], turn[::-1]))
        return PromptRegions(ends[n_head], ends[len(keys) - n_turn], ends[-1])


def _keys(units: Sequence[PromptUnit]) -> list[Key]:
    return [unit if isinstance(unit, int) else unit.content_id for unit in units]


def _runs(keys: Sequence[Key], encoded: dict[str, EncodedClip]) -> list[list[int] | EncodedClip]:
    """Neighbouring tokens joined, and clips."""
    runs: list[list[int] | EncodedClip] = []
    for key in keys:
        if isinstance(key, str):
            runs.append(encoded[key])
        elif runs and isinstance(runs[-1], list):
            runs[-1].append(key)
        else:
            runs.append([key])
    return runs
