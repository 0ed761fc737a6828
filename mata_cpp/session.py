"""A sequence in the KV cache, for tests and research: fed exactly what one says."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .audio.clip import Audio
from .audio.encoder import AudioEncoder, Clip, EncodedClip
from .errors import ContextFullError
from .mata import Boost, LayerSpec, Mata, boost_of
from .readout.layers import readable_layers
from .records import ClipInfo

if TYPE_CHECKING:
    from . import _core

FeedPart = str | Sequence[int] | Audio | EncodedClip
"""Text (special tokens parsed), token ids, or a clip."""

Make = Callable[[], "_core.Session"]

CANNOT_CUT = "this model's memory cannot be cut: fork before the last token, and feed it to both"

FEEDS = "feed takes text, lists of token ids and Audio objects"


class Keep:
    """The type of KEEP."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP = Keep()
"""fork(mata=KEEP): the setting stays as it is."""


def with_room(make: Make) -> _core.Session:
    """A new sequence; those of sessions that nobody can reach any more are freed when it is the last one."""
    try:
        return make()
    except ContextFullError:
        gc.collect()
        return make()


class Session:
    """A sequence of tokens and clips with its own MATA setting; make one with ``AudioModel.session``.

    MATA acts on the row that predicts: it is off while everything but the last run of tokens is fed,
    so that feeding in pieces within one call changes nothing.

    Any number may live side by side, up to the model's n_seq_max, and each may be used in any thread, one at a time.
    """

    def __init__(
        self,
        engine: _core.Engine,
        encoder: AudioEncoder,
        mata: Mata | None = None,
        *,
        with_room: Callable[[Make], _core.Session] = with_room,
    ) -> None:
        self._boost = boost_of(engine, mata)
        self._engine = engine
        self._encoder = encoder
        self._with_room = with_room
        self._core = with_room(engine.session)
        self._mata = mata
        self._clips: list[ClipInfo] = []
        self._last_token: int | None = None
        self._switched: tuple[Boost, int] | None = None  # what the engine was told: the boost of so many clips
        self._read: Callable[[_core.Session], None] | None = None

    def use_adapters(self, on: bool) -> None:
        """Whether the model's LoRA adapters act, as they do from the start.

        Raises ValueError once something was fed.
        """
        self._core.use_adapters(on)

    # What is in it ---------------------------------------------------------------------------

    @property
    def core(self) -> _core.Session:
        """The engine's session, for what is not offered here."""
        return self._core

    @property
    def n_past(self) -> int:
        """Positions fed so far."""
        return self._core.n_past

    @property
    def clips(self) -> list[ClipInfo]:
        """The clips fed so far."""
        return list(self._clips)

    @property
    def audio_spans(self) -> list[tuple[int, int]]:
        """[start, end) of each clip's audio tokens, in positions."""
        return [clip.span for clip in self._clips]

    @property
    def mata(self) -> Mata | None:
        return self._mata

    @mata.setter
    def mata(self, mata: Mata | None) -> None:
        """Takes effect with the next feed.  Raises ValueError, MataError."""
        self._boost = boost_of(self._engine, mata)
        self._mata = mata
        self._switch(on=True)

    @property
    def boost(self) -> Boost | None:
        """What mata does to this model; None where it is off."""
        return self._boost

    def prepare(self, mata: Mata | None) -> None:
        """Set mata for what is fed next, whose clips may not be there yet.  Raises ValueError, MataError."""
        self._boost = boost_of(self._engine, mata)
        self._mata = mata

    # Feeding ---------------------------------------------------------------------------------

    def feed(
        self,
        parts: FeedPart | Sequence[FeedPart],
        *,
        keywords: Sequence[str] = (),
        cancel: _core.Cancel | None = None,
    ) -> None:
        """Append parts: text, token ids and clips in this order, with nothing added between them.

        Neighbouring texts and ids are fed as one run.  A text that names a file is text: give Audio("clip.wav").
        keywords: texts in these parts, behind a clip, on whose rows MATA acts too, not on the last one only (last and
        key-word rows, arXiv 2606.17417).
        Raises ContextFullError, AudioError, CancelledError, ValueError.
        """
        given: Any = [parts] if isinstance(parts, str | Audio | EncodedClip) else parts
        if not _is_list(given):
            raise ValueError(f"{FEEDS}, not {checks.short_repr(given)}")
        if len(given) and all(_is_token(part) for part in given):
            given = [given]
        runs: list[list[int] | Clip] = []
        for part in given:
            if isinstance(part, Audio | EncodedClip):
                runs.append(part)
                continue
            tokens = self._tokens(part)
            if runs and isinstance(runs[-1], list):
                runs[-1] += tokens
            elif tokens:
                runs.append(tokens)
        for group in self._ending_at(keywords, runs) if keywords else [runs]:
            self.append(group, cancel=cancel)

    def append(
        self,
        runs: Sequence[list[int] | Clip],
        *,
        markers: bool = False,
        final: bool = True,
        cancel: _core.Cancel | None = None,
    ) -> None:
        """Feed runs of tokens and clips.

        markers: with the tokens that the model wants around audio.  final: nothing more follows
        before the next token is predicted, so the last run is fed with MATA on.
        """
        if self._boost is not None and not markers:  # with markers, a turn has checked all its clips
            new = [self._encoder.audible_seconds(run) for run in runs if not isinstance(run, list)]
            heard = [min(clip.seconds, clip.heard_seconds) for clip in self._clips]
            self._boost.mata.check_focus(heard + new)
        for number, run in enumerate(runs):
            last = final and number == len(runs) - 1
            self._switch(on=last and isinstance(run, list))
            if isinstance(run, list):
                self._core.feed_tokens(run, cancel=cancel)
                self._last_token = run[-1]
            else:
                self._append_audio(run, markers, cancel)

    def step(self, token: int) -> None:
        """Feed one token: append([[token]]) without its checks."""
        self._core.feed_tokens([token])
        self._last_token = token

    def logits(self) -> NDArray[np.float32]:
        """[n_vocab] after the last fed token.  Raises ValueError when the last thing fed was a clip."""
        return self._core.logits()

    # Attention -------------------------------------------------------------------------------

    def read_attention(self, layers: LayerSpec | None = ":") -> None:
        """Keep the attention of these layers (as in Mata) from the next feed on; None stops it.

        Raises ValueError for layers that do not exist or have no attention, MataError where none can be read.
        """
        if layers is None:
            self.read_with(None)
            return
        chosen = readable_layers(self._engine, layers)
        self.read_with(lambda core: core.set_attention_readout(chosen))

    def attention(self) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """layer -> (before, after) MATA's boost, each [n_rows, n_head, n_past]: softmax weights over all positions.

        n_rows is 1: the row of the last fed token, which predicts the next.  Columns are positions;
        ``audio_spans`` says which are audio.  {} when nothing is read or nothing was fed since.
        """
        return self._core.attention()

    def read_with(self, switch: Callable[[_core.Session], None] | None) -> None:
        """Let switch turn a kind of reading on in this session, and in its forks to come; None: read nothing."""
        if switch is not None:
            switch(self._core)
        elif self._read is not None:
            self._core.set_attention_readout(None)
        self._read = switch

    # Branching -------------------------------------------------------------------------------

    def fork(self, mata: Mata | Keep | None = KEEP) -> Session:
        """A session that shares the KV cache up to here.

        With a setting given, the last token is computed again under it; everything before it is the
        same for every setting.  A session whose attention is read has forks whose attention is read.
        Raises ContextFullError, and ValueError for a setting where the model's memory cannot be cut, as it has
        recurrent layers: there, feed all but the last token with MATA off, fork, set ``mata`` and feed it to both.
        """
        again = not isinstance(mata, Keep) and self._last_token is not None
        if again and not self._engine.can_cut:
            raise ValueError(CANNOT_CUT)
        setting = self._mata if isinstance(mata, Keep) else mata
        twin = self._twin(setting, self._core.fork)
        twin._clips = list(self._clips)
        twin._last_token = self._last_token
        twin._switched = self._switched
        try:
            twin.read_with(self._read)
            twin._switch(on=True)
            if again and self._last_token is not None:
                twin._core.truncate(self.n_past - 1)
                twin._core.feed_tokens([self._last_token])
        except BaseException:
            twin.close()
            raise
        return twin

    def forks(
        self, settings: Sequence[Mata | None], token: int | None = None, *, cancel: _core.Cancel | None = None
    ) -> list[Session]:
        """A fork under each setting, all fed with token in one batch; None: with the last token once more.

        Raises ContextFullError, CancelledError, and ValueError as fork does, or where the last thing fed was a clip.
        """
        last = self._last_token if token is None else token
        if last is None:
            raise ValueError("the last thing fed was a clip: there is no row to compute again")
        if token is None and not self._engine.can_cut:
            raise ValueError(CANNOT_CUT)
        twins: list[Session] = []
        try:
            for setting in settings:
                twin = self.fork()
                twins.append(twin)
                twin.prepare(setting)
                if token is None:
                    twin._core.truncate(self.n_past - 1)
                twin._switch(on=True)
                twin._last_token = last
            self._engine.decode([(twin._core, [last], False) for twin in twins], cancel=cancel)
        except BaseException:
            for twin in twins:
                twin.close()
            raise
        return twins

    def share(self, n_past: int) -> Session:
        """A session that has the first n_past positions of this one, and MATA off; it has no logits before it is fed.

        Raises ContextFullError, ValueError where the model's memory cannot be cut.
        """
        end = checks.integer(n_past, "n_past", 0, self.n_past)
        core = self._core
        twin = self._twin(None, lambda: core.share(end))
        twin._clips = [clip for clip in list(self._clips) if clip.span[1] <= end]
        return twin

    def truncate(self, n_past: int) -> None:
        """Forget positions from n_past on.  Raises ValueError when the model's memory cannot do so."""
        n_past = checks.integer(n_past, "n_past", 0, self.n_past)
        if n_past == self.n_past:
            return
        self._core.truncate(n_past)
        self._clips = [clip for clip in self._clips if clip.span[1] <= n_past]
        self._last_token = None
        self._switch(on=False)

    # Ending ----------------------------------------------------------------------------------

    def close(self) -> None:
        if not self._core.closed:
            self._core.close()

    @property
    def closed(self) -> bool:
        return self._core.closed

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "Session(closed)"
        return f"Session(n_past={self.n_past}, audio_spans={self.audio_spans}, mata={self._mata})"

    # -----------------------------------------------------------------------------------------

    def _twin(self, mata: Mata | None, make: Make) -> Session:
        twin = object.__new__(Session)
        twin._boost = boost_of(self._engine, mata)
        twin._engine, twin._encoder, twin._with_room = self._engine, self._encoder, self._with_room
        twin._core = self._with_room(make)
        twin._mata = mata
        twin._clips, twin._last_token = [], None
        twin._switched, twin._read = None, None
        return twin

    def _tokens(self, part: Any) -> list[int]:
        if isinstance(part, str):
            return self._engine.tokenize(checks.text(part, "a text to feed"), add_special=False, parse_special=True)
        if not _is_list(part) or not all(_is_token(token) for token in part):
            raise ValueError(f"{FEEDS}, not {checks.short_repr(part)}")
        return [checks.integer(token, "a token id", 0, self._engine.n_vocab - 1) for token in part]

    def _ending_at(self, keywords: Sequence[str], runs: Sequence[list[int] | Clip]) -> list[list[list[int] | Clip]]:
        """The runs in groups: each token that has a part of a keyword ends one.  Raises ValueError."""
        words = [checks.text(word, "a keyword").encode() for word in keywords]
        groups: list[list[list[int] | Clip]] = [[]]
        found: set[bytes] = set()
        for run in runs:
            if not isinstance(run, list):
                groups[-1].append(run)
                continue
            part: list[int] = []
            for token, here in zip(run, _words_of(run, words, self._engine), strict=True):
                part.append(token)
                found |= here
                if here:
                    groups[-1].append(part)
                    groups.append([])
                    part = []
            if part:
                groups[-1].append(part)
        for word in words:
            if word not in found:
                raise ValueError(f"the keyword {checks.short_repr(word.decode())} is not in what is fed")
        return [group for group in groups if group]

    def _append_audio(self, audio: Clip, markers: bool, cancel: _core.Cancel | None) -> None:
        clip = self._encoder.encode(audio, cancel)
        embedding = clip.encoding.embedding
        if markers:
            span = self._core.feed_audio(embedding, cancel=cancel)
        else:
            span = self._core.feed_embeddings(embedding.embeddings, cancel=cancel)
        self._last_token = None
        self._clips.append(ClipInfo.of(clip, span))

    def _switch(self, *, on: bool) -> None:
        """Tell the engine which spans and layers; off where there is nothing to do."""
        boost = self._boost
        wanted = (boost, len(self._clips)) if on and boost is not None and self._clips else None
        if wanted == self._switched:
            return
        if wanted is None:
            self._core.clear_mata()
        else:
            mata = wanted[0].mata
            self._core.set_mata(mata.mode, wanted[0].alphas, mata.spans(self._clips))
        self._switched = wanted


def _words_of(run: Sequence[int], words: Sequence[bytes], engine: _core.Engine) -> list[set[bytes]]:
    """Of each token, the words that it has a part of."""
    texts = [engine.token_bytes(token, special=True) for token in run]
    whole = b"".join(texts)
    ends = np.cumsum([len(text) for text in texts]).tolist()
    touched: list[set[bytes]] = [set() for _ in run]
    for word in words:
        at = whole.find(word) if word else -1
        while at >= 0:
            for number, end in enumerate(ends):
                if end - len(texts[number]) < at + len(word) and at < end:
                    touched[number].add(word)
            at = whole.find(word, at + 1)
    return touched


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes | bytearray | memoryview)


def _is_token(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
