"""What mata-chat does with a question: an answer, a comparison, a choice, one answer for each window or file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..checks import short_name
from ..errors import MataError
from ..records import Choice
from . import options, output
from .command import fail
from .spinner import showing

if TYPE_CHECKING:
    from ..audio import Audio
    from ..audio.encoder import EncodedClip
    from ..model import AudioModel
    from ..options import AskOptions, ChooseOptions
    from ..records import Answer
    from .chat import Output

PARALLEL = 8
"""Files asked about at once; their answers are generated in one batch."""


def answer(model: AudioModel, clips: list[EncodedClip], question: str, wanted: Output, asked: AskOptions) -> None:
    if wanted.json:
        with showing("thinking", quiet=wanted.quiet):
            answer = model.ask(clips, question, **asked)
        output.write(output.as_json(model, answer) + "\n")
    else:
        answer = output.stream(model.stream(clips, question, **asked), quiet=wanted.quiet)
    output.note_length(answer, quiet=wanted.quiet)
    output.note_effect(answer, quiet=wanted.quiet)


def windows(model: AudioModel, clip: Audio, question: str, wanted: Output, asked: AskOptions) -> None:
    from ..audio.windows import clock

    output.say(output.windows_facts(model, clip), quiet=wanted.quiet)
    for line in output.model_notes(model):
        output.say(line, quiet=wanted.quiet)
    with showing("listening", quiet=wanted.quiet) as shown:
        for window in model.ask_windows(clip, question, wanted.every or 0.0, **asked):
            shown.text = f"listening from {clock(window.end)} on"
            if wanted.json:
                output.write(output.json_text(window.to_dict()) + "\n")
            else:
                output.write(f"[{clock(window.start)}-{clock(window.end)}] {window}\n")
            if window.answer is not None:
                output.note_length(window.answer, quiet=wanted.quiet)


def compare(model: AudioModel, clips: list[EncodedClip], question: str, wanted: Output, asked: AskOptions) -> None:
    with showing("thinking", quiet=wanted.quiet):
        boosted, plain = model.compare(clips, question, **asked)
    _print_pair(model, boosted, plain, wanted)
    for answer in (boosted, plain):
        output.note_length(answer, quiet=wanted.quiet)


def choose(model: AudioModel, clips: list[EncodedClip], question: str, wanted: Output) -> None:
    assert wanted.choices is not None
    with showing("thinking", quiet=wanted.quiet):
        choice = model.choose(clips, question, wanted.choices, **wanted.form)
    if wanted.compare:
        without: ChooseOptions = {**wanted.form, "mata": None}
        plain = model.choose(clips, question, wanted.choices, **without)
        _print_pair(model, choice, plain, wanted)
    elif wanted.json:
        output.write(output.as_json(model, choice) + "\n")
    else:
        output.write(choice.text + "\n")
        for line in output.shares(choice):
            output.say(line, quiet=wanted.quiet)


def _print_pair(model: AudioModel, boosted: Answer | Choice, plain: Answer | Choice, wanted: Output) -> None:
    if wanted.json:
        output.write(output.as_json(model, boosted, plain) + "\n")
    else:
        assert boosted.mata is not None
        output.write(output.compared((boosted, plain), boosted.mata) + "\n")


# File by file --------------------------------------------------------------------------------------


def each(
    model: AudioModel, files: Sequence[str], question: str, wanted: Output, asked: AskOptions, channel: int | str | None
) -> int:
    """A line for each file, in order: its answer, or on standard error what is wrong with it; the exit status."""
    output.say(
        f"{model.name}: {len(files)} {'file' if len(files) == 1 else 'files'}, one by one; {model.describe_mata()}",
        quiet=wanted.quiet,
    )
    for line in output.model_notes(model):
        output.say(line, quiet=wanted.quiet)
    status = 0
    outcomes = _outcomes(model, files, question, wanted, asked, channel)
    with showing("listening", quiet=wanted.quiet) as shown:
        for number, (file, outcome) in enumerate(zip(files, outcomes, strict=True), 1):
            shown.text = f"listening ({number} of {len(files)} done)"
            if isinstance(outcome, Exception):
                status = fail(_about(file, outcome))
                continue
            if wanted.json:
                output.write(output.as_json(model, outcome, file=file) + "\n")
            else:
                output.write(f"{file}: {' '.join(outcome.text.split())}\n")
            if not isinstance(outcome, Choice):
                output.note_length(outcome, name=file, quiet=wanted.quiet)
    return status


def _outcomes(
    model: AudioModel, files: Sequence[str], question: str, wanted: Output, asked: AskOptions, channel: int | str | None
) -> Iterator[Answer | Choice | Exception]:
    """Of each file what was answered, or what went wrong."""
    waiting: deque[Exception | None] = deque()  # the files whose answer is still to come; an Exception has none

    def clips() -> Iterator[Audio]:
        for file in files:
            try:
                clip = options.read_clip(file, channel)
            except (MataError, ValueError) as error:
                waiting.append(error)
                continue
            waiting.append(None)
            yield clip

    for outcome in _answered(model, clips(), question, wanted, asked):
        while (error := waiting.popleft()) is not None:
            yield error
        yield outcome
    yield from (error for error in waiting if error is not None)


def _answered(
    model: AudioModel, clips: Iterator[Audio], question: str, wanted: Output, asked: AskOptions
) -> Iterator[Answer | Choice | Exception]:
    if wanted.choices is None:
        items = ((clip, question, asked) for clip in clips)
        yield from model.ask_many(items, parallel=min(PARALLEL, model.engine.n_seq_max), return_exceptions=True)
        return
    for clip in clips:
        try:
            yield model.choose(clip, question, wanted.choices, **wanted.form)
        except (MataError, ValueError) as error:
            yield error


def _about(file: str, error: Exception) -> str:
    """What is wrong, with the name of the file."""
    known = isinstance(error, MataError | ValueError)
    message = str(error) if known else f"unexpected {type(error).__name__}: {error}"
    name = short_name(file)
    return message if name in message else f"{name}: {message}"
