"""mata-chat: a question about sound, or a conversation."""

from __future__ import annotations

import sys

try:
    from dataclasses import dataclass
    from typing import TYPE_CHECKING, Any

    import click

    from .. import __version__
    from . import options
    from .command import CONTEXT, EPILOG, OneLineCommand, prepare_streams
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from ..audio import Audio
    from ..audio.encoder import EncodedClip
    from ..model import AudioModel
    from ..options import AskOptions, ChooseOptions
    from ..records import Answer, Choice


MICROPHONE = "<microphone>"


@dataclass(frozen=True)
class Output:
    """How to answer: the options that choose what is printed."""

    compare: bool
    choices: list[str] | None
    form: ChooseOptions
    json: bool
    quiet: bool
    logprobs: int | None
    every: float | None


@click.command("mata-chat", cls=OneLineCommand, context_settings=CONTEXT, epilog=EPILOG)
@click.argument("words", nargs=-1, metavar='FILE... ["QUESTION"]')
@options.shared_options(
    options.option("--compare", is_flag=True, help="The answers with and without MATA, side by side."),
    options.option("--choices", metavar='"A|B|C"', help="Choose the answer that the sound speaks for most."),
    options.option("--no-contrast", is_flag=True, help="Score --choices without comparing with silence."),
    options.option("--unlisted", is_flag=True, help="Do not name --choices in the question."),
    options.option("--letters", is_flag=True, help="Name --choices as A, B, C, and score the letters."),
    options.option(
        "--mic",
        metavar="SECONDS",
        type=click.FloatRange(0, 3600, min_open=True),
        help="Record from the microphone; Enter ends it.",
    ),
    options.option(
        "--every",
        metavar="SECONDS",
        type=click.FloatRange(1),
        help="Ask about each window of so many seconds, cut at pauses.",
    ),
    options.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
    options.option(
        "--logprobs",
        metavar="NUMBER",
        type=click.IntRange(0),
        help="With --json: each token's log-probability, and so many alternatives.",
    ),
)
@click.version_option(__version__, prog_name="mata-chat", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    /,
    words: tuple[str, ...],
    compare: bool,
    choices: str | None,
    no_contrast: bool,
    unlisted: bool,
    letters: bool,
    mic: float | None,
    every: float | None,
    as_json: bool,
    logprobs: int | None,
    quiet: bool,
    **given: Any,
) -> None:
    """Ask a question about sound.

    FILE is an audio file (wav, flac, mp3, m4a, ogg, webm, ...), a video, or - for standard input. Without a QUESTION
    a conversation begins; /help lists its commands.

    The answer goes to standard output, everything else to standard error.
    """
    files, question = options.split(words, recorded=mic is not None)
    mata = options.mata_setting(given)
    form: ChooseOptions = {"contrast": not no_contrast, "listed": not unlisted, "letters": letters}
    wanted = Output(compare, options.choices(choices), form, as_json, quiet, logprobs, every)
    _check_usage(context, files if mic is None else [*files, MICROPHONE], question, wanted, given)
    asked = options.answering(given)
    clips = [options.read_clip(word, options.channel(given)) for word in files]
    if mic is not None:
        from .recording import record

        clips.append(record(mic, quiet=quiet))

    from .output import facts, model_notes, notes, say

    with options.open_model(given, mata) as model:
        if compare:
            options.need_mata(model, mata)
        if every is not None:
            asked["system"], asked["logprobs"] = options.system(given), logprobs
            _windows(model, clips[0], question or "", wanted, asked)
            return
        heard = model.encode(clips)
        say(facts(model, heard, mata), quiet=quiet)
        for line in [*notes(heard), *model_notes(model)]:
            say(line, quiet=quiet)
        if question is None:
            from .repl import Repl

            Repl(model.chat(options.system(given), mata), heard, quiet=quiet, options=asked).run()
            return
        asked["system"] = form["system"] = options.system(given)
        asked["logprobs"] = logprobs
        if wanted.choices is not None:
            _choose(model, heard, question, wanted)
        elif compare:
            _compare(model, heard, question, wanted, asked)
        else:
            _answer(model, heard, question, wanted, asked)


def _check_usage(
    context: click.Context, files: list[str], question: str | None, wanted: Output, given: dict[str, Any]
) -> None:
    """What the options demand of each other.  Raises UsageError."""
    if question is None:
        if options.STDIN in files:
            raise click.UsageError("audio from standard input (-) needs a question", context)
        for name, found in (("--json", wanted.json), ("--choices", wanted.choices), ("--compare", wanted.compare)):
            if found:
                raise click.UsageError(f"{name} needs a question", context)
    elif not files:
        raise click.UsageError("a question needs at least one audio file", context)
    if wanted.every is not None:
        if question is None or len(files) != 1:
            raise click.UsageError("--every needs one audio file and a question", context)
        if wanted.compare or wanted.choices is not None:
            other = "--compare" if wanted.compare else "--choices"
            raise click.UsageError(f"--every and {other} exclude each other", context)
    if wanted.compare and given["no_mata"]:
        raise click.UsageError("--compare and --no-mata exclude each other", context)
    if wanted.logprobs is not None and not wanted.json:
        raise click.UsageError("--logprobs needs --json", context)
    form = {
        "--no-contrast": not wanted.form["contrast"],
        "--unlisted": not wanted.form["listed"],
        "--letters": wanted.form["letters"],
    }
    if wanted.choices is None:
        for name in (name for name, found in form.items() if found):
            raise click.UsageError(f"{name} needs --choices", context)
    if form["--unlisted"] and form["--letters"]:
        raise click.UsageError("--unlisted and --letters exclude each other", context)
    generating = {
        "--logprobs": wanted.logprobs,
        "--json-schema": given["json_schema"],
        "--grammar": given["grammar_file"],
    }
    if wanted.choices is not None:
        for name in (name for name, found in generating.items() if found is not None):
            raise click.UsageError(f"{name} and --choices exclude each other", context)


def _answer(model: AudioModel, clips: list[EncodedClip], question: str, wanted: Output, asked: AskOptions) -> None:
    from . import output

    if wanted.json:
        answer = model.ask(clips, question, **asked)
        output.write(output.as_json(model, answer) + "\n")
    else:
        answer = output.stream(model.stream(clips, question, **asked))
    output.note_length(answer, quiet=wanted.quiet)


def _windows(model: AudioModel, clip: Audio, question: str, wanted: Output, asked: AskOptions) -> None:
    from ..audio.windows import clock
    from . import output

    output.say(output.windows_facts(model, clip), quiet=wanted.quiet)
    for line in output.model_notes(model):
        output.say(line, quiet=wanted.quiet)
    for window in model.ask_windows(clip, question, wanted.every or 0.0, **asked):
        if wanted.json:
            output.write(output.json_text(window.to_dict()) + "\n")
        else:
            output.write(f"[{clock(window.start)}-{clock(window.end)}] {window}\n")
        if window.answer is not None:
            output.note_length(window.answer, quiet=wanted.quiet)


def _compare(model: AudioModel, clips: list[EncodedClip], question: str, wanted: Output, asked: AskOptions) -> None:
    from . import output

    boosted, plain = model.compare(clips, question, **asked)
    _print_pair(model, boosted, plain, wanted)
    for answer in (boosted, plain):
        output.note_length(answer, quiet=wanted.quiet)


def _choose(model: AudioModel, clips: list[EncodedClip], question: str, wanted: Output) -> None:
    from . import output

    assert wanted.choices is not None
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
    from . import output

    if wanted.json:
        output.write(output.as_json(model, boosted, plain) + "\n")
    else:
        assert boosted.mata is not None
        output.write(output.compared((boosted, plain), boosted.mata) + "\n")


def main() -> None:
    """The entry point of mata-chat."""
    prepare_streams()
    cli.main(prog_name="mata-chat")


if __name__ == "__main__":
    main()
