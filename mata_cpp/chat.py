"""AudioChat: a model that hears, a conversation with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checks
from .audio import Audio
from .audio.encoder import AudioEncoder
from .errors import MataError
from .files import load
from .files.catalogue import DEFAULT_MODEL
from .files.download import Report
from .files.resolve import explain_damage, find_damage, resolve
from .generate import check_max_tokens, check_stop
from .mata import Mata, acting_layers
from .prompts.builder import Message, PromptBuilder
from .readout.reader import Reader
from .readout.record import Reading
from .records import Answer, Choice, ClipInfo, Piece
from .session import Session
from .talk import Request, Talk

if TYPE_CHECKING:
    from ._core import Engine

AudioLike = Any
"""An Audio, anything that Audio takes, or a list of these."""


class AudioChat:
    """A language model with ears, and one conversation with it.

    model: a catalogue name or the path of a GGUF file; mmproj: its audio projector (None: the one
    beside it).  lora: path, (path, scale) or a list of them.  mata: None turns it off; the property
    may be changed between turns.  system: the system message (None: what the model's reference or chat
    template says by itself).  n_ctx: tokens of context, 0 for the model's own length.  n_threads None:
    the physical cores.  n_gpu_layers -1: all.  flash_attn: "auto", True, False.  cache_type: of the KV
    cache, "f16", "f32", "q8_0"..., or a pair for keys and values.  seed: for sampling.  verbose:
    llama.cpp's log on stderr.  report: gets the lines about downloads instead of stderr.  progress: gets
    0..1 while loading.  template_variables: more values for the chat template.

    One thread at a time talks; another one waits for its turn.  Raises ModelError, MataError, ValueError.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        mmproj: str | os.PathLike[str] | None = None,
        lora: load.Lora | Sequence[load.Lora] | None = None,
        mata: Mata | None = Mata(),  # noqa: B008 - frozen
        system: str | None = None,
        n_ctx: int = 4096,
        n_batch: int = 2048,
        n_ubatch: int = 512,
        n_threads: int | None = None,
        n_gpu_layers: int = -1,
        flash_attn: str | bool = "auto",
        cache_type: str | tuple[str, str] = "f16",
        n_seq_max: int = 32,
        seed: int = 0,
        verbose: bool = False,
        report: Report | None = None,
        progress: Callable[[float], None] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> None:
        self._closed = True  # until loaded
        if mata is not None and not isinstance(mata, Mata):
            raise ValueError(f"mata must be a Mata(...) or None, not {mata!r}")
        for function, name in ((report, "report"), (progress, "progress")):
            if function is not None and not callable(function):
                raise ValueError(f"{name} must be a function or None, not {checks.short_repr(function)}")
        if template_variables is not None and not isinstance(template_variables, Mapping):
            raise ValueError(f"template_variables must be a dictionary, not {checks.short_repr(template_variables)}")
        self.system = None if system is None else checks.text(system, "the system message")
        self._seed = checks.seed(seed)
        options = load.EngineOptions(
            lora, n_ctx, n_batch, n_ubatch, n_threads, n_gpu_layers, flash_attn, cache_type, n_seq_max, verbose
        )
        load.engine_arguments(options)
        files = resolve(model, mmproj, report)
        self._files = files
        with explain_damage(files):
            self._engine, self.load_s = load.open_engine(files, options, progress)
            try:
                acting_layers(self._engine, mata)
                self._encoder = AudioEncoder(self._engine)
                prompts = PromptBuilder.for_engine(self._engine, template_variables)
            except BaseException:
                self._engine.close()
                raise
        self._talk = Talk(self._engine, self._encoder, prompts, self.load_s, lambda: find_damage(files))
        self._talk.mata = mata
        self._closed = False

    # Facts -----------------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        return self._files.name

    @property
    def model_path(self) -> Path:
        return self._files.model

    @property
    def mmproj_path(self) -> Path:
        return self._files.mmproj

    @property
    def engine(self) -> Engine:
        """The engine below, for what is not offered here."""
        return self._engine

    @property
    def mata(self) -> Mata | None:
        """The setting of the next turns; None is off.  Raises MataError, ValueError when set."""
        return self._talk.mata

    @mata.setter
    def mata(self, mata: Mata | None) -> None:
        acting_layers(self._engine, mata)
        self._talk.mata = mata

    @property
    def messages(self) -> list[Message]:
        """The conversation so far."""
        return list(self._talk.conversation.messages)

    def describe_mata(self) -> str:
        """E.g. "MATA on (alpha 0.1, layers 10:21 of 30, mode scale)" or "MATA off"."""
        if self.mata is None or not self.mata.alpha or not self._talk.layers:
            return "MATA off"
        return f"MATA on ({self.mata.describe(self._engine.n_layer)})"

    # Talking ---------------------------------------------------------------------------------

    def ask(self, audio: AudioLike = None, question: str | None = None, **options: Any) -> Answer:
        """Ask about one or more clips; ``ask("...")`` alone goes on with the conversation.

        Options are those of stream.  A cancelled answer comes back with finish_reason "cancelled".
        """
        answer = None
        for piece in self.stream(audio, question, **options):
            answer = piece.answer or answer
        assert answer is not None
        return answer

    def stream(
        self,
        audio: AudioLike = None,
        question: str | None = None,
        *,
        system: str | None = None,
        max_tokens: int = 256,
        stop: Sequence[str] | str | None = None,
        temperature: float = 0.0,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        seed: int | None = None,
        grammar: str = "",
        attention: bool | Reading = False,
    ) -> Iterator[Piece]:
        """Like ask, piece by piece; the last piece carries the Answer as ``.answer``.

        The clips are decoded at once, the rest happens while iterating.  temperature 0 is greedy.
        seed None: the chat's.  grammar: GBNF.  attention: True, or a Reading, to have ``answer.attention``
        tell where the answer listened; MataError where that cannot be read.  An interrupt, or closing
        the iterator, keeps what was said so far as the answer; cancel() also ends it before its first
        piece is taken.  Raises AudioError, ContextFullError,
        ModelError, ValueError.
        """
        sampling = {
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repeat_penalty": repeat_penalty,
            "frequency_penalty": frequency_penalty,
            "presence_penalty": presence_penalty,
            "seed": self._seed if seed is None else seed,
            "grammar": grammar,
        }
        sampling = checks.sampling(sampling)
        reading = self._reading(attention)
        request = self._request(
            audio, question, system, check_max_tokens(max_tokens), check_stop(stop), sampling, reading
        )
        return self._talk.answer(request, self._talk.sampler(request))

    def compare(
        self,
        audio: AudioLike = None,
        question: str | None = None,
        *,
        system: str | None = None,
        max_tokens: int = 256,
        stop: Sequence[str] | str | None = None,
        seed: int | None = None,
        attention: bool | Reading = False,
        **sampling: Any,
    ) -> tuple[Answer, Answer]:
        """(answer with MATA, answer without), from one prefill; the conversation goes on with the first.

        Options are those of stream.  Raises ValueError when MATA is off, and what stream raises.
        """
        if self.mata is None:
            raise ValueError("there is nothing to compare: MATA is off")
        sampling = checks.sampling({**sampling, "seed": self._seed if seed is None else seed})
        reading = self._reading(attention)
        request = self._request(
            audio, question, system, check_max_tokens(max_tokens), check_stop(stop), sampling, reading
        )
        return self._talk.compare(request)

    def choose(
        self,
        audio: AudioLike,
        question: str,
        options: Sequence[str],
        *,
        system: str | None = None,
        attention: bool | Reading = False,
    ) -> Choice:
        """The option that the model gives the highest likelihood as its whole answer.

        The question is asked in the conversation so far but not added to it.  audio may be None.
        attention: as in stream; the Choice's is a list, one for each option.
        Raises CancelledError, and what stream raises.
        """
        reading = self._reading(attention)
        return self._talk.choose(self._request(audio, question, system, reading=reading), options)

    def encode(self, audio: AudioLike) -> list[ClipInfo]:
        """Decode and encode clips ahead of a question, which then finds them ready.

        Their span is (0, 0), since they are in no prompt yet.  Raises AudioError, CancelledError.
        """
        self._check_open()
        ticket = self._talk.coming()
        return self._talk.encode(as_clips(audio), ticket)

    def cancel(self) -> None:
        """From any thread: end soon what has been asked, a clip's encoding included.

        A file is read to its end first; what waits for another answer ends when that one has ended.
        ask and stream then answer with finish_reason "cancelled"; compare, choose and encode raise CancelledError.
        """
        self._talk.cancel()

    # The conversation and below -----------------------------------------------------------------

    def session(self, mata: Mata | None = None) -> Session:
        """A plain session with its own KV; several may live side by side."""
        self._check_open()
        return Session(self._engine, self._encoder, mata)

    def reset(self) -> None:
        """Forget the conversation; encoded clips stay at hand."""
        self._check_open()
        self._talk.reset()

    def close(self) -> None:
        """Free the model.  A running answer in another thread is ended first."""
        if not self._closed:
            self._closed = True
            self._talk.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> AudioChat:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.describe_mata()
        return f"AudioChat({self._files.name!r}, {state})"

    # -------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise MataError("this chat is closed")

    def _request(
        self,
        audio: AudioLike,
        question: str | None,
        system: str | None,
        max_tokens: int = 1,
        stop: tuple[str, ...] = (),
        sampling: dict[str, Any] | None = None,
        reading: Reading | None = None,
    ) -> Request:
        """Checks the question and decodes the clips.  Raises AudioError, MataError, ValueError."""
        self._check_open()
        if question is None:
            if not isinstance(audio, str):
                raise ValueError("a question is missing: ask(audio, question), or ask(question) to go on")
            audio, question = None, audio
        if not isinstance(question, str) or not question.strip():
            raise ValueError("the question must be a text that is not empty")
        checks.text(question, "the question")
        chosen = self.system if system is None else checks.text(system, "the system message")
        ticket = self._talk.coming()
        return Request(as_clips(audio), question, chosen, max_tokens, stop, sampling or {}, reading, ticket)

    def _reading(self, attention: bool | Reading) -> Reading | None:
        """Checked against the model before anything is computed.  Raises MataError, ValueError."""
        reading = Reading.of(attention)
        if reading is not None:
            self._check_open()
            Reader(self._engine, reading, ())
        return reading


def as_clips(audio: AudioLike) -> list[Audio]:
    """None, one clip or a list of clips -> Audio objects.  Raises AudioError."""
    if audio is None:
        return []
    if isinstance(audio, list):
        return [clip if isinstance(clip, Audio) else Audio(clip) for clip in audio]
    return [audio if isinstance(audio, Audio) else Audio(audio)]
