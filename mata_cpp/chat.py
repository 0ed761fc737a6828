"""AudioChat: a conversation about sound."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checks, options
from .audio import Audio
from .audio.encoder import EncodedClip
from .errors import CancelledError, MataError
from .files import DEFAULT_MODEL
from .mata import Mata, boost_of
from .model import DEFAULT_MATA, AudioModel, choice_form, last_answer
from .options import AskOptions, AudioLike, Choices, ChooseOptions
from .prompts.builder import Message
from .records import Answer, Choice, ClipInfo, Piece
from .session import Session
from .turns import Request

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._core import Cancel, Engine
    from .files.load import Lora
    from .files.telling import Report

WAIT_S = 0.05
"""How often a question that waits for its turn looks whether it was cancelled."""


class AudioChat:
    """A conversation with a model: earlier clips, questions and answers stay in its context.

    model: an AudioModel, which may have any number of chats (``model.chat()`` is shorter), or what AudioModel takes:
    then the chat loads a model of its own, with the other arguments as there, and closes it.  mata: None turns it off;
    the property may be changed between turns.  system: the system message (None: what the model's reference or chat
    template says by itself).

    One question at a time: a question from another thread waits for its turn, and one from a thread that is in the
    middle of a stream of this chat is refused.  Raises ModelError, MataError, ValueError.
    """

    def __init__(
        self,
        model: AudioModel | str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        mmproj: str | os.PathLike[str] | None = None,
        lora: Lora | Sequence[Lora] | None = None,
        mata: Mata | None = DEFAULT_MATA,
        system: str | None = None,
        n_ctx: int = 4096,
        n_batch: int = 2048,
        n_ubatch: int = 512,
        n_threads: int | None = None,
        n_gpu_layers: int = -1,
        flash_attn: str | bool = "auto",
        cache_type: str | tuple[str, str] = "f16",
        n_seq_max: int = 32,
        rpc: str | Sequence[str] | None = None,
        seed: int = 0,
        verbose: bool = False,
        report: Report | None = None,
        progress: Callable[[float], None] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> None:
        self._closed = True  # until loaded
        self.system = system
        self._seed = checks.seed(seed)
        self._owns = not isinstance(model, AudioModel)
        if isinstance(model, AudioModel):
            model._check_open()
            boost_of(model.engine, model.mata if mata is DEFAULT_MATA else mata)
            self._model = model
        else:
            self._model = AudioModel(
                model,
                mmproj=mmproj,
                lora=lora,
                mata=mata,
                n_ctx=n_ctx,
                n_batch=n_batch,
                n_ubatch=n_ubatch,
                n_threads=n_threads,
                n_gpu_layers=n_gpu_layers,
                flash_attn=flash_attn,
                cache_type=cache_type,
                n_seq_max=n_seq_max,
                rpc=rpc,
                seed=seed,
                verbose=verbose,
                report=report,
                progress=progress,
                template_variables=template_variables,
            )
        self._mata = self._model.mata if mata is DEFAULT_MATA else mata
        self._conversation = self._model._conversation()
        self._turn = self._model._turn(self._conversation)
        self._chooser = self._model._chooser(self._conversation)
        self._lock = threading.Lock()
        self._owner: threading.Thread | None = None  # not its number, which a later thread may get
        self._requests: weakref.WeakSet[Cancel] = weakref.WeakSet()
        self._requests_lock = threading.RLock()  # a signal handler may cancel in a thread that holds it
        self._closed = False

    # Facts -----------------------------------------------------------------------------------

    @property
    def model(self) -> AudioModel:
        """The model that this chat talks to."""
        return self._model

    @property
    def model_name(self) -> str:
        return self._model.name

    @property
    def model_path(self) -> Path:
        return self._model.model_path

    @property
    def mmproj_path(self) -> Path:
        return self._model.mmproj_path

    @property
    def load_s(self) -> float:
        """Seconds that loading took."""
        return self._model.load_s

    @property
    def engine(self) -> Engine:
        """The engine below, for what is not offered here."""
        return self._model.engine

    @property
    def mata(self) -> Mata | None:
        """The setting of the next turns; None is off.  Raises MataError, ValueError when set."""
        return self._mata

    @mata.setter
    def mata(self, mata: Mata | None) -> None:
        boost_of(self.engine, mata)
        self._mata = mata

    @property
    def system(self) -> str | None:
        """The system message of the next turns; None is the model's own.  Raises ValueError when set."""
        return self._system

    @system.setter
    def system(self, system: str | None) -> None:
        self._system = None if system is None else checks.text(system, "the system message")

    @property
    def messages(self) -> list[Message]:
        """The conversation so far.

        It may be set between turns, to take turns away or to go on with an earlier conversation; what the cache holds
        of it is used again.  Raises ValueError, and MataError in the middle of a stream of this thread.
        """
        return list(self._conversation.messages)

    @messages.setter
    def messages(self, messages: Sequence[Message]) -> None:
        checked = _checked(messages)
        self._check_open()
        with self._waited(None):
            self._conversation.messages = checked

    @property
    def positions(self) -> int:
        """Tokens of the context that the conversation takes, of audio and text.  Raises ModelError, AudioError."""
        self._check_open()
        with self._waited(None):
            return self._conversation.positions()

    def describe_mata(self) -> str:
        """E.g. "MATA on (alpha 0.1, layers 10:21 of 30, mode scale)" or "MATA off"."""
        return self._model.describe_mata(self._mata)

    # Talking ---------------------------------------------------------------------------------

    def ask(self, audio: AudioLike = None, question: str | None = None, **given: Unpack[AskOptions]) -> Answer:
        """Ask about one or more clips; ``ask("...")`` alone goes on with the conversation, or begins one without sound.

        Options: see AskOptions.  A cancelled answer comes back with finish_reason "cancelled".
        Raises AudioError, ContextFullError, ModelError, ValueError.
        """
        return last_answer(self._stream("ask", audio, question, given))

    def stream(
        self, audio: AudioLike = None, question: str | None = None, **given: Unpack[AskOptions]
    ) -> Iterator[Piece]:
        """Like ask, piece by piece; the last piece carries the Answer as ``.answer``.

        The clips are decoded at once, the rest begins with the first piece that is taken; from then on the answer is
        generated whether pieces are taken or not, and they may be taken in any thread.  An interrupt, or closing
        the iterator, keeps what was said so far as the answer; cancel() also ends it before its first
        piece is taken.
        """
        return self._stream("stream", audio, question, given)

    def compare(
        self, audio: AudioLike = None, question: str | None = None, **given: Unpack[AskOptions]
    ) -> tuple[Answer, Answer]:
        """(answer with MATA, answer without), from one prefill; the conversation goes on with the first.

        Options are those of ask.  Raises ValueError when MATA is off, CancelledError, and what ask raises.
        """
        request = self._request("compare", audio, question, given, options.ASK_NAMES)
        self._model._check_comparison(request)
        request.sampling.sampler(self.engine, request.cancel)
        with self._waited(request):
            return self._turn.compare(request)

    def choose(self, audio: AudioLike, question: str, choices: Choices, **given: Unpack[ChooseOptions]) -> Choice:
        """The one of several answers that the sound speaks for most: see Choice for how they are scored.

        The question is asked in the conversation so far but not added to it.  audio may be None.
        Options: see ChooseOptions.  Raises CancelledError, and what ask raises.
        """
        form = choice_form(given)
        rest = options.beside_form(given, form)
        request = self._request("choose", audio, question, rest, options.CHOOSE_NAMES)
        with self._waited(request):
            return self._chooser.choose(request, choices, form)

    def encode(self, audio: AudioLike) -> list[ClipInfo]:
        """Decode and encode clips ahead of a question, which then finds them ready.

        Their span is (0, 0), since they are in no prompt yet.  Raises AudioError, ContextFullError, CancelledError.
        """
        self._check_open()
        cancel = self._register(options.cancel_of({}))
        return [ClipInfo.of(clip, (0, 0)) for clip in self._model.encode(audio, cancel=cancel)]

    def cancel(self) -> None:
        """From any thread: end soon what has been asked, a clip's encoding included.

        A file is read to its end first.  ask and stream then answer with finish_reason "cancelled"; compare, choose and
        encode raise CancelledError.
        """
        with self._requests_lock:
            running = list(self._requests)
        for request in running:
            request.cancel()

    # The conversation and below -----------------------------------------------------------------

    def session(self, mata: Mata | None = None) -> Session:
        """A plain session with its own KV; several may live side by side."""
        self._check_open()
        return self._model.session(mata)

    def reset(self) -> None:
        """Forget the conversation; encoded clips stay at hand."""
        self._check_open()
        with self._waited(None):
            self._conversation.reset()

    def close(self) -> None:
        """End the conversation, and free the model if it is the chat's own.  A running answer in another thread is
        cancelled first; a stream that nobody reads is not waited for."""
        if self._closed:
            return
        self._closed = True
        self.cancel()
        if self._owns:
            self._model.close()
        elif not self._model.closed and self._lock.acquire(blocking=False):
            try:  # else the answer that runs gives the cache back when it ends
                self._conversation.drop_cache()
            finally:
                self._lock.release()

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> AudioChat:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.describe_mata()
        return f"AudioChat({self.model_name!r}, {state})"

    # -------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed or self._model.closed:
            raise MataError("this chat is closed")

    def _register(self, cancel: Cancel) -> Cancel:
        with self._requests_lock:
            self._requests.add(cancel)
        return cancel

    def _request(
        self, method: str, audio: AudioLike, question: str | None, given: Mapping[str, Any], allowed: frozenset[str]
    ) -> Request:
        """Checks the question and decodes the clips.  Raises AudioError, MataError, ValueError."""
        options.check_names(given, f"AudioChat.{method}", allowed)
        self._check_open()
        audio, question = options.split_question(audio, question)
        cancel = self._register(options.cancel_of(given))  # before the clips are read
        return self._model._make_request(
            audio, question, given, mata=self._mata, system=self._system, seed=self._seed, cancel=cancel
        )

    def _stream(self, method: str, audio: AudioLike, question: str | None, given: Mapping[str, Any]) -> Iterator[Piece]:
        request = self._request(method, audio, question, given, options.ASK_NAMES)
        return self._answer(request, self._turn.sampler(request))

    def _answer(self, request: Request, sampler: Any) -> Iterator[Piece]:
        try:
            with self._waited(request):
                for piece in self._turn.answer(request, sampler):
                    yield piece
                    self._owner = threading.current_thread()  # the pieces may be taken in any thread
        except CancelledError:
            yield Piece("", self._turn.nothing(request))

    @contextmanager
    def _waited(self, request: Request | None) -> Iterator[None]:
        """The turn of this thread.  Raises MataError in a thread that is itself answering, CancelledError."""
        if self._owner is threading.current_thread():
            raise MataError("this chat is still answering in this thread: finish or close that stream first")
        while not self._lock.acquire(timeout=WAIT_S):
            if request is not None and request.cancel.cancelled:
                raise CancelledError("cancelled")
        try:
            self._owner = threading.current_thread()
            self._check_open()
            yield
        finally:
            self._owner = None
            if self._closed and not self._model.closed:
                self._conversation.drop_cache()
            self._lock.release()


def _checked(messages: Sequence[Message]) -> list[Message]:
    """Messages as a conversation has them: perhaps a system message, then questions and answers in turn.

    Raises ValueError.
    """
    found = list(messages)
    if not all(isinstance(message, Message) for message in found):
        raise ValueError("messages must be a list of Message(role, text, clips)")
    talk = found[1:] if found and found[0].role == "system" else found
    for number, message in enumerate(talk):
        wanted = ("user", "assistant")[number % 2]
        if message.role != wanted:
            raise ValueError(
                f"questions and answers must take turns: message {number + 1} must be of role {wanted!r}, "
                f"not {checks.short_repr(message.role)}"
            )
    if len(talk) % 2:
        raise ValueError("the last question has no answer: ask it instead")
    for message in found:
        checks.text(message.text, "the text of a message")
        if message.clips and message.role != "user":
            raise ValueError(f"a message of role {message.role!r} has no clips")
        if not all(isinstance(clip, Audio | EncodedClip) for clip in message.clips):
            raise ValueError("the clips of a message must be Audio or EncodedClip")
    return found
