"""AudioModel: a loaded model that answers questions, for any number of conversations and threads."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from . import checks, finding, many, options
from .audio.encoder import EncodedClip
from .audio.windows import windows
from .choosing import Chooser
from .conversation import Conversation
from .decoding.scoring import ChoiceForm
from .errors import MataError
from .files import DEFAULT_MODEL
from .finding import Found
from .loaded import Loaded
from .many import Item
from .mata import Mata, boost_of
from .options import AskOptions, AudioLike, Choices, ChooseOptions, QuestionOptions
from .prompts.builder import PromptBuilder
from .records import Answer, Choice, Piece, WindowAnswer
from .session import KEEP, Keep, Session
from .sweep import FirstRow, Sweep
from .turns import Request, Turn

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._core import Cancel, Engine
    from .audio.clip import Audio
    from .chat import AudioChat
    from .files.load import Lora
    from .files.telling import Report

DEFAULT_MATA = Mata()
"""What stands in signatures; the model's own measured setting takes its place, where the catalogue has one."""


class AudioModel:
    """A language model with ears, loaded once.

    model: a name of the catalogue (or NAME:QUANTIZATION), owner/repo[:QUANTIZATION] of the Hugging Face hub, a URL, a
    folder, or a GGUF file; what is elsewhere is fetched once.  mmproj: its audio projector (None: the model's own, or
    the one beside a file).  lora: path, (path, scale) or a list of them.  mata: the setting of questions that give
    none, by default the one that was measured for the model, else the paper's; None turns MATA off.  n_ctx: positions
    that all conversations share, 0 for the model's own length.  n_threads None: the physical cores.  n_gpu_layers -1:
    all.  flash_attn: "auto", True, False.  cache_type: of the KV cache, "f16", "f32", "q8_0"..., or a pair for keys and
    values.  n_seq_max: conversations and answers at a time; more wait in order.  rpc: "host:port" of an RPC server that
    layers go to, several with commas or as a list (docs/rpc.md).  seed: for sampling.  verbose: llama.cpp's log on
    stderr.  report: gets the lines about downloads instead of stderr.  progress: gets 0..1 while loading.
    template_variables: more values for the chat template.  cancel: a Cancel that stops loading.

    All methods may be called from any thread, and from several at once: answers are generated in one batch.
    Raises ModelError, MataError, ValueError, CancelledError.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        mmproj: str | os.PathLike[str] | None = None,
        lora: Lora | Sequence[Lora] | None = None,
        mata: Mata | None = DEFAULT_MATA,
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
        cancel: Cancel | None = None,
    ) -> None:
        from .files import resolve  # with all that knows the catalogue, for whoever loads a model
        from .files.load import EngineOptions, engine_arguments, open_engine

        self._closed = True  # until loaded
        if mata is not None and not isinstance(mata, Mata):
            raise ValueError(f"mata must be a Mata(...) or None, not {checks.short_repr(mata)}")
        for function, name in ((report, "report"), (progress, "progress")):
            if function is not None and not callable(function):
                raise ValueError(f"{name} must be a function or None, not {checks.short_repr(function)}")
        if template_variables is not None and not isinstance(template_variables, Mapping):
            raise ValueError(f"template_variables must be a dictionary, not {checks.short_repr(template_variables)}")
        self._seed = checks.seed(seed)
        wanted = EngineOptions(
            lora, n_ctx, n_batch, n_ubatch, n_threads, n_gpu_layers, flash_attn, cache_type, n_seq_max, rpc, verbose
        )
        adapters = engine_arguments(wanted)["lora"]
        files = resolve.resolve(model, mmproj, report)
        self._files = files
        own = [] if files.lora is None else [(str(files.lora), 1.0)]
        self._adapters = [(Path(path), scale) for path, scale in (*own, *adapters)]
        with resolve.explain_damage(files):
            engine, load_s = open_engine(files, wanted, progress, cancel)
            try:
                boost_of(engine, resolve.default_mata(model) if mata is DEFAULT_MATA else mata)
                self._prompts = PromptBuilder.for_engine(
                    engine, template_variables, name=checks.short_name(files.model.name)
                )
            except BaseException:
                engine.close()
                raise
        adapters_hear = engine.adapters_hear or files.lora is not None
        self._loaded = Loaded(engine, load_s, lambda: resolve.find_damage(files), adapters_hear=adapters_hear)
        self._mata = resolve.default_mata(model) if mata is DEFAULT_MATA else mata
        self._requests: weakref.WeakSet[Cancel] = weakref.WeakSet()
        self._lock = threading.RLock()  # a signal handler may come while its thread holds it
        self._closed = False

    # Facts -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._files.name

    @property
    def model_path(self) -> Path:
        return self._files.model

    @property
    def mmproj_path(self) -> Path:
        return self._files.mmproj

    @property
    def adapters(self) -> list[tuple[Path, float]]:
        """The LoRA adapters and their scales, the model's own first."""
        return list(self._adapters)

    @property
    def load_s(self) -> float:
        """Seconds that loading took."""
        return self._loaded.load_s

    @property
    def engine(self) -> Engine:
        """The engine below, for what is not offered here."""
        return self._loaded.engine

    @property
    def mata(self) -> Mata | None:
        """The setting of questions that give none, and of new chats; None is off.

        Raises MataError, ValueError when set.
        """
        return self._mata

    @mata.setter
    def mata(self, mata: Mata | None) -> None:
        boost_of(self.engine, mata)
        self._mata = mata

    def describe(self) -> dict[str, Any]:
        """Plain facts for JSON: the files, the architecture, sizes, and what is known of the audio path."""
        engine = self.engine
        return {
            "name": self.name,
            "path": str(self.model_path),
            "mmproj": str(self.mmproj_path),
            "description": engine.description,
            "architecture": engine.architecture,
            "projector": engine.projector,
            "projector_checked": engine.projector_checked,
            "n_params": engine.n_params,
            "n_layer": engine.n_layer,
            "attention_layers": list(engine.attention_layers),
            "n_ctx": engine.n_ctx,
            "n_ctx_train": engine.n_ctx_train,
            "n_seq_max": engine.n_seq_max,
            "n_threads": engine.n_threads,
            "sample_rate": engine.sample_rate,
            "mata_refusal": engine.mata_refusal or None,
        }

    def describe_mata(self, mata: Mata | Keep | None = KEEP) -> str:
        """E.g. "MATA on (alpha 0.1, layers 10:21 of 30, mode scale)" or "MATA off", for the model's own or another."""
        boost = boost_of(self.engine, self._mata if isinstance(mata, Keep) else mata)
        return "MATA off" if boost is None else f"MATA on ({boost.describe()})"

    # Questions -------------------------------------------------------------------------------

    def ask(self, audio: AudioLike, question: str, **given: Unpack[AskOptions]) -> Answer:
        """One question about one or more clips, without a conversation: nothing of it reaches another question.

        Options: see AskOptions.  A cancelled answer comes back with finish_reason "cancelled".
        Raises AudioError, ContextFullError, ModelError, ValueError.
        """
        return last_answer(self._stream("ask", audio, question, given))

    def stream(self, audio: AudioLike, question: str, **given: Unpack[AskOptions]) -> Iterator[Piece]:
        """Like ask, piece by piece; the last piece carries the Answer as ``.answer``.

        The clips are decoded at once, the rest begins with the first piece that is taken; from then on the answer is
        generated whether pieces are taken or not, and they may be taken in any thread.
        """
        return self._stream("stream", audio, question, given)

    @overload
    def ask_many(
        self, items: Iterable[Item], *, parallel: int = 8, return_exceptions: Literal[False] = False
    ) -> Iterator[Answer]: ...
    @overload
    def ask_many(
        self, items: Iterable[Item], *, parallel: int = 8, return_exceptions: bool
    ) -> Iterator[Answer | Exception]: ...
    def ask_many(
        self, items: Iterable[Item], *, parallel: int = 8, return_exceptions: bool = False
    ) -> Iterator[Answer] | Iterator[Answer | Exception]:
        """The answers to many questions, in order; up to parallel of them are generated in one batch.

        items: (audio, question) or (audio, question, options) each; they are taken as needed.  An exception of a
        question is raised in its place, and ends the iteration; with return_exceptions it stands in the place of the
        answer, and the others go on.  Closing the iterator cancels what runs.
        """
        self._check_open()
        run = many.outcomes if return_exceptions else many.in_order
        return run(self._answer, items, self._parallel(parallel))

    def ask_windows(
        self, audio: AudioLike, question: str, every: float = 30.0, *, parallel: int = 4, **given: Unpack[AskOptions]
    ) -> Iterator[WindowAnswer]:
        """The question asked of each window of a clip, in order: for clips that are longer than the context, or to know
        when something is heard.

        every: seconds of a window, at most; it is cut at a pause in its last third, if there is one.  The windows are
        independent questions, up to parallel of them in one batch.  Options are those of ask; what it raises is raised.
        """
        options.check_names(given, "AudioModel.ask_windows", options.ASK_NAMES)
        self._check_open()
        clips = options.as_clips(audio)
        if len(clips) != 1:
            raise ValueError(f"ask_windows hears one clip, not {len(clips)}")
        cut = windows(clips[0], checks.number(every, "every"), self.engine.sample_rate)
        return many.of_windows(self._answer, cut, question, self._parallel(parallel), given)

    def find(
        self, audio: AudioLike, what: str, *, threshold: float = finding.THRESHOLD, cancel: Cancel | None = None
    ) -> Found:
        """When what ("dog barking") is heard in a clip: "Is there dog barking?" of overlapping windows of 5 s, as the
        likelihood of "Yes" against "No".

        threshold: the probability that a stretch needs.  Raises CancelledError, and what ask raises.
        """
        self._check_open()
        what, threshold = finding.check(what, threshold)
        request = options.cancel_of({"cancel": cancel})
        clips = options.as_clips(audio)
        if len(clips) != 1:
            raise ValueError(f"find hears one clip, not {len(clips)}")

        def log_odds(clip: Audio) -> float:
            question = finding.QUESTION.format(what)
            yes, no = self.choose(
                clip, question, finding.ANSWERS, contrast=False, listed=False, cancel=request
            ).logprobs
            return yes - no

        return finding.search(clips[0], what, threshold, self.engine.sample_rate, log_odds)

    def choose(self, audio: AudioLike, question: str, choices: Choices, **given: Unpack[ChooseOptions]) -> Choice:
        """The one of several answers that the sound speaks for most: see Choice for how they are scored.

        Options: see ChooseOptions.  Raises CancelledError, and what ask raises.
        """
        form = choice_form(given)
        rest = options.beside_form(given, form)
        request = self._request("choose", audio, question, rest, options.CHOOSE_NAMES)
        return self._chooser(self._conversation()).choose(request, choices, form)

    def compare(self, audio: AudioLike, question: str, **given: Unpack[AskOptions]) -> tuple[Answer, Answer]:
        """(answer with MATA, answer without), from one prefill and in one batch.

        Options are those of ask.  Raises ValueError when MATA is off, CancelledError, and what ask raises.
        """
        request = self._request("compare", audio, question, given, options.ASK_NAMES)
        self._check_comparison(request)
        return self._turn(self._conversation()).compare(request)

    def sweep(
        self, audio: AudioLike, question: str, settings: Sequence[Mata | None], **given: Unpack[AskOptions]
    ) -> list[Answer]:
        """The answer under each of many settings of MATA, from one prefill, as many as fit in one batch.

        settings: None turns MATA off.  Options are those of ask, without mata, attention and contrast.
        Raises CancelledError, and what ask raises.
        """
        names = options.ASK_NAMES - options.NOT_SWEPT_ASKING
        request, swept = self._sweep("sweep", audio, question, settings, given, names)
        return swept.answers(request)

    def sweep_first_rows(
        self, audio: AudioLike, question: str, settings: Sequence[Mata | None], **given: Unpack[QuestionOptions]
    ) -> list[FirstRow]:
        """The distribution of the first answering token under each of many settings of MATA, and what each of them did.

        Options are those of every question, without mata.  Raises CancelledError, and what ask raises.
        """
        names = options.QUESTION_NAMES - options.NOT_SWEPT
        request, swept = self._sweep("sweep_first_rows", audio, question, settings, given, names)
        return swept.first_rows(request)

    def sweep_choices(
        self,
        audio: AudioLike,
        question: str,
        choices: Choices,
        settings: Sequence[Mata | None],
        **given: Unpack[ChooseOptions],
    ) -> list[Choice]:
        """What choose gives under each of many settings of MATA, from one prefill.

        settings: None turns MATA off.  Options are those of choose, without mata and attention, and with contrast
        True or False.  Raises CancelledError, and what ask raises.
        """
        form = choice_form(given)
        if not isinstance(form.contrast, bool):
            raise ValueError("the contrast of a sweep over settings is True or False")
        names = options.CHOOSE_NAMES - options.NOT_SWEPT
        rest = options.beside_form(given, form)
        request, swept = self._sweep("sweep_choices", audio, question, settings, rest, names)
        return swept.choices(request, choices, form)

    def chat(self, system: str | None = None, mata: Mata | Keep | None = KEEP) -> AudioChat:
        """A conversation; any number may go on at once, in any threads.  mata: the model's setting unless given.

        Raises ValueError, MataError.
        """
        from .chat import AudioChat

        setting = self._mata if isinstance(mata, Keep) else mata
        return AudioChat(self, system=system, mata=setting, seed=self._seed)

    # Below questions -------------------------------------------------------------------------

    def encode(self, audio: AudioLike, *, cancel: Cancel | None = None) -> list[EncodedClip]:
        """Clips as the model hears them; they can be given wherever audio is taken, and need no encoder then.

        Raises AudioError, ContextFullError, CancelledError.
        """
        self._check_open()
        request = self._register(options.cancel_of({"cancel": cancel}))
        clips = options.as_clips(audio)
        conversation = self._conversation()
        with self._loaded.computing():
            for clip in clips:
                conversation.check_length(clip)
            return [self._loaded.encoder.encode(clip, request) for clip in clips]

    def prompt(self, audio: AudioLike, question: str, *, system: str | None = None) -> list[list[int] | EncodedClip]:
        """What ask feeds for a question, for ``session.feed``: token ids and clips, the model's markers included."""
        self._check_open()
        conversation = self._conversation()
        audio, question = options.split_question(audio, question)
        messages = conversation.proposed(question, self.encode(audio), system)
        parts: list[list[int] | EncodedClip] = []
        for unit in self._prompts.fresh().parts(messages):
            if isinstance(unit, list):
                parts.append(unit)
                continue
            clip = self._loaded.encoder.encode(unit)
            embedding = clip.encoding.embedding
            parts += [part for part in (embedding.begin, clip, embedding.end) if part]
        return parts

    def session(self, mata: Mata | None = None) -> Session:
        """A plain session with its own KV; several may live side by side.  Raises ContextFullError, MataError."""
        self._check_open()
        return self._loaded.pool.new_session(mata)

    def forget(self) -> None:
        """Free what is kept for later questions: encoded clips, and what the KV cache holds of questions that ended."""
        self._check_open()
        self._loaded.encoder.forget()
        self._loaded.pool.forget()

    # Ending ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Free the model.  Running answers in other threads are cancelled first, by their Cancel if they were given
        one; streams that nobody reads are not waited for."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            running = list(self._requests)
        for request in running:
            request.cancel()
        self._loaded.computing.when_idle(self.engine.close)

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> AudioModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.describe_mata(self._mata)
        return f"AudioModel({self._files.name!r}, {state})"

    # For AudioChat -----------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise MataError("this model is closed")

    def _conversation(self) -> Conversation:
        """An empty conversation."""
        loaded = self._loaded
        return Conversation(loaded.engine, loaded.encoder, loaded.pool, self._prompts.fresh())

    def _turn(self, conversation: Conversation) -> Turn:
        return Turn(self._loaded, conversation)

    def _chooser(self, conversation: Conversation) -> Chooser:
        return Chooser(self._loaded, conversation)

    def _make_request(
        self,
        audio: AudioLike,
        question: str,
        given: Mapping[str, Any],
        *,
        mata: Mata | None,
        system: str | None = None,
        seed: int | None = None,
        cancel: Cancel | None = None,
    ) -> Request:
        """A checked question that close() cancels.  Raises AudioError, MataError, ValueError."""
        self._check_open()
        return options.request_of(
            audio,
            question,
            given,
            engine=self.engine,
            mata=mata,
            system=system,
            seed=self._seed if seed is None else seed,
            cancel=self._register(options.cancel_of(given) if cancel is None else cancel),
        )

    def _check_comparison(self, request: Request) -> None:
        """Raises ValueError where there is nothing to compare, or something else would differ as well."""
        if request.contrast is not None:
            raise ValueError("compare shows the answers with MATA and without: it takes no contrast")
        if boost_of(self.engine, request.mata) is None:
            raise ValueError("there is nothing to compare: MATA is off")

    def _stream(self, method: str, audio: AudioLike, question: str, given: Mapping[str, Any]) -> Iterator[Piece]:
        request = self._request(method, audio, question, given, options.ASK_NAMES)
        turn = self._turn(self._conversation())
        return turn.answer(request, turn.sampler(request))

    def _sweep(
        self,
        method: str,
        audio: AudioLike,
        question: str,
        settings: Sequence[Mata | None],
        given: Mapping[str, Any],
        allowed: frozenset[str],
    ) -> tuple[Request, Sweep]:
        request = self._request(method, audio, question, given, allowed)
        wanted = list(settings)
        if not wanted:
            raise ValueError("settings must be at least one Mata(...) or None")
        for setting in wanted:
            boost_of(self.engine, setting)
        return request, Sweep(self._loaded, self._conversation(), wanted)

    def _answer(self, audio: AudioLike, question: str, given: AskOptions) -> Answer:
        return self.ask(audio, question, **given)

    def _parallel(self, parallel: int) -> int:
        return checks.integer(parallel, "parallel", 1, self.engine.n_seq_max)

    def _request(
        self, method: str, audio: AudioLike, question: str, given: Mapping[str, Any], allowed: frozenset[str]
    ) -> Request:
        options.check_names(given, f"AudioModel.{method}", allowed)
        self._check_open()
        audio, question = options.split_question(audio, question)
        if audio is None or audio == []:
            raise ValueError("a clip is missing: ask(audio, question); a conversation (chat) can go without")
        return self._make_request(audio, question, given, mata=self._mata)

    def _register(self, cancel: Cancel) -> Cancel:
        with self._lock:
            self._requests.add(cancel)
            if self._closed:
                cancel.cancel()
        return cancel


def choice_form(given: Mapping[str, Any]) -> ChoiceForm:
    """How options are put to the model, by the options of choose.  Raises ValueError."""
    return ChoiceForm(**{name: given[name] for name in options.FORM if name in given})


def last_answer(pieces: Iterator[Piece]) -> Answer:
    """The answer of a stream, taken to its end."""
    answer = None
    for piece in pieces:
        answer = piece.answer or answer
    assert answer is not None
    return answer
