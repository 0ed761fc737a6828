"""The options of questions: what ask, stream, compare and choose take by keyword."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, BinaryIO, TypedDict

import numpy as np
from numpy.typing import NDArray

from . import checks, extension
from .audio.clip import Audio
from .audio.encoder import Clip, EncodedClip
from .decoding import MAX_TOKENS
from .decoding.contrast.rules import Contrast, contrast_of
from .decoding.plain import check_logprobs, check_max_tokens, check_stop
from .decoding.sampling import Json, Sampling
from .decoding.scoring import ChoiceForm
from .mata import Mata
from .readout.record import Reading
from .session import KEEP, Keep
from .turns import Request

if TYPE_CHECKING:
    from ._core import Cancel, Engine

Samples = NDArray[np.floating[Any]] | NDArray[np.integer[Any]] | Sequence[float]
AudioSource = (
    Audio | EncodedClip | str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | tuple[Samples, int]
)
"""One clip: an Audio, or anything that Audio takes."""

AudioLike = AudioSource | Sequence[AudioSource] | None
"""A clip, a list of clips, or None for a question about what was heard before."""

Choices = list[str] | tuple[str, ...]
"""Not every Sequence[str], since a single text is one too."""


class QuestionOptions(TypedDict, total=False):
    """Of every question.

    system: the system message of the conversation from now on.  mata: the setting of this question; None turns MATA
    off, left out it is the chat's or the model's.  cancel: ends this question, from any thread.
    """

    system: str | None
    mata: Mata | None
    cancel: Cancel


class SamplingOptions(TypedDict, total=False):
    """The fields of Sampling by name; sampling stands for all of them, and those given beside it replace its own."""

    sampling: Sampling
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    penalty_last_n: int
    seed: int | None
    grammar: str
    json_schema: str | Mapping[str, Json] | None


class AskOptions(QuestionOptions, SamplingOptions, total=False):
    """Of ask, stream and compare.

    max_tokens: of the answer, 256 unless given.  stop: texts at which the answer ends.  logprobs: True or a number, to
    have ``answer.logprobs`` give each token's log-probability and so many alternatives.  attention: True, or a Reading,
    to have ``answer.attention`` tell where the answer listened.  contrast: a rule as "silence:1", or a Contrast, to
    choose each token by what another prompt says too; then tokens are made as they are taken.  Sampling: see Sampling.
    """

    max_tokens: int
    stop: Sequence[str] | str | None
    logprobs: int | bool | None
    attention: bool | Reading
    contrast: str | Contrast | None


class ChooseOptions(QuestionOptions, total=False):
    """Of choose.

    contrast: score options by twice their log-likelihood minus that after near silence (the default), else by
    log-likelihood; or by a rule as "silence:1", or a Contrast, at each token.  listed: name the options in the question
    (the default).  letters: name them as A, B, C, and score the letters.  attention: as in ask; the Choice's is a list,
    one for each option.
    """

    contrast: bool | str | Contrast
    listed: bool
    letters: bool
    attention: bool | Reading


_SAMPLING = {field.name for field in fields(Sampling)}
QUESTION_NAMES = frozenset(QuestionOptions.__annotations__)
ASK_NAMES = frozenset(AskOptions.__annotations__)
CHOOSE_NAMES = frozenset(ChooseOptions.__annotations__)
NOT_SWEPT = frozenset({"mata", "attention"})
"""Options that a sweep over settings does not take."""
NOT_SWEPT_ASKING = NOT_SWEPT | {"contrast"}
"""And one that generates answers."""
FORM = ("contrast", "listed", "letters")


def check_names(options: Mapping[str, object], method: str, allowed: frozenset[str]) -> None:
    """Raises TypeError for an option that does not exist, as Python does for an argument."""
    for name in options:
        if name not in allowed:
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")


def beside_form(options: Mapping[str, Any], form: ChoiceForm) -> dict[str, Any]:
    """The options of choose that are no part of its form; a rule of contrast is checked with them."""
    rest = {name: value for name, value in options.items() if name not in FORM}
    return {**rest, "contrast": form.contrast} if isinstance(form.contrast, Contrast) else rest


def sampling_of(options: Mapping[str, Any], seed: int) -> Sampling:
    """The Sampling that options describe.  seed: where none is given.  Raises ValueError."""
    base = options.get("sampling")
    given = {name: options[name] for name in options if name in _SAMPLING}
    if given.get("seed", seed) is None:
        del given["seed"]
    if base is None:
        return Sampling(**{"seed": seed, **given})
    if not isinstance(base, Sampling):
        raise ValueError(f"sampling must be a Sampling(...), not {checks.short_repr(base)}")
    return Sampling(**{**{name: getattr(base, name) for name in _SAMPLING}, **given})


def split_question(audio: AudioLike, question: str | None) -> tuple[AudioLike, str]:
    """(audio or None, question) of ask(audio, question) or ask(question).  Raises ValueError."""
    if question is None:
        if not isinstance(audio, str):
            raise ValueError("a question is missing: ask(audio, question), or ask(question) to go on")
        if audio.strip() and os.path.isfile(audio):
            shown = checks.short_repr(audio)
            raise ValueError(f"{shown} is a file, and a question about it is missing: ask(audio, question)")
        audio, question = None, audio
    if not isinstance(question, str) or not question.strip():
        raise ValueError("the question must be a text that is not empty")
    return audio, checks.text(question, "the question")


def request_of(
    audio: AudioLike,
    question: str,
    options: Mapping[str, Any],
    *,
    engine: Engine,
    mata: Mata | None,
    system: str | None,
    seed: int,
    cancel: Cancel,
) -> Request:
    """Checks everything before anything is computed, and decodes the clips.

    mata, system, seed: where options have none.  Raises AudioError, MataError, ValueError.
    """
    from .mata import boost_of
    from .readout.reader import Reader

    setting = options.get("mata", KEEP)
    setting = mata if isinstance(setting, Keep) else setting
    boost_of(engine, setting)
    reading = Reading.of(options.get("attention", False))
    if reading is not None:
        Reader(engine, reading, ())
    contrast = contrast_of(options.get("contrast"))
    if contrast is not None:
        _check_contrast(contrast, question, reading)
    own = options.get("system")
    return Request(
        question=question,
        system=system if own is None else checks.text(own, "the system message"),
        mata=setting,
        cancel=cancel,
        max_tokens=check_max_tokens(options.get("max_tokens", MAX_TOKENS)),
        stop=check_stop(options.get("stop")),
        sampling=sampling_of(options, seed),
        logprobs=check_logprobs(options.get("logprobs")),
        reading=reading,
        contrast=contrast,
        clips=as_clips(audio),  # last: it may take long
    )


def _check_contrast(contrast: Contrast, question: str, reading: Reading | None) -> None:
    """Raises ValueError where a contrast does not go with a question."""
    from .decoding.contrast.registry import READ_RELIANCE
    from .decoding.contrast.text import without

    if contrast.text is not None:
        without(question, contrast.text)
    if reading is not None and contrast.name in READ_RELIANCE:
        raise ValueError(f"contrast {contrast.name} reads the attention itself: ask without attention")


def cancel_of(options: Mapping[str, Any]) -> Cancel:
    """The request's Cancel: the one given, or a new one.  Raises ValueError."""
    kind = extension.load().Cancel
    given = options.get("cancel")
    if given is not None and not isinstance(given, kind):
        raise ValueError(f"cancel must be a Cancel(), not {checks.short_repr(given)}")
    made: Cancel = kind() if given is None else given
    return made


def as_clips(audio: AudioLike) -> list[Clip]:
    """None, one clip or a list of clips -> Audio objects and encoded clips.  Raises AudioError."""
    if audio is None:
        return []
    if isinstance(audio, list):
        return [_as_clip(clip) for clip in audio]
    return [_as_clip(audio)]


def _as_clip(source: Any) -> Clip:
    return source if isinstance(source, Audio | EncodedClip) else Audio(source)
