"""mata-chat: a question about sound, or a conversation."""

from __future__ import annotations

import sys

try:
    from dataclasses import dataclass
    from typing import TYPE_CHECKING, Any

    import click

    from .. import __version__
    from . import config, keyboard, options
    from .command import CONTEXT, EPILOG, OneLineCommand, prepare_streams
    from .spinner import showing
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from ..audio import Audio
    from ..audio.encoder import EncodedClip
    from ..mata import Mata
    from ..model import AudioModel
    from ..options import AskOptions, ChooseOptions


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
    each: bool


@click.command("mata-chat", cls=OneLineCommand, context_settings=CONTEXT, epilog=EPILOG)
@click.argument("words", nargs=-1, metavar='[FILE...] ["QUESTION"]', shell_complete=options.complete_files)
@options.shared_options(
    options.option("--compare", is_flag=True, help="Show the answers with and without MATA, side by side."),
    options.option("--choices", metavar='"A|B|C"', help="Choose the answer that the sound speaks for most."),
    options.option("--no-contrast", is_flag=True, help="Score --choices without comparing with silence."),
    options.option(
        "--contrast",
        metavar="RULE[:STRENGTH]",
        help=f"Choose each word, or score --choices, by contrast with another prompt: {', '.join(options.CONTRASTS)}.",
        default="off",
    ),
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
        help="Ask about each window of at most SECONDS, cut at pauses.",
    ),
    options.option("--each", is_flag=True, help="Ask about each FILE by itself, and answer in a line for each."),
    options.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    options.option(
        "--logprobs",
        metavar="NUMBER",
        type=click.IntRange(0),
        help="With --json: each token's log-probability, and NUMBER alternatives.",
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
    contrast: str | None,
    unlisted: bool,
    letters: bool,
    mic: float | None,
    every: float | None,
    each: bool,
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
    _check_there_is_work(context, words, mic)
    files, question = options.split(words, recorded=mic is not None, each=each)
    mata = options.mata_setting(given)
    rule = options.contrast(contrast, compare=compare, no_contrast=no_contrast)
    form: ChooseOptions = {"contrast": rule or not no_contrast, "listed": not unlisted, "letters": letters}
    wanted = Output(compare, options.choices(choices), form, as_json, quiet, logprobs, every, each)
    _check_usage(context, files if mic is None else [*files, MICROPHONE], question, wanted, given)
    asked = options.answering(given)
    asked["contrast"] = rule
    channel = options.channel(given)
    if question is None:
        with keyboard.kept(on=True):
            _converse(files, mic, mata, asked, given, quiet=quiet)
        return
    asked["system"] = form["system"] = options.system(given)
    asked["logprobs"] = logprobs
    clips = [] if each else _clips(files, mic, channel, quiet=quiet)

    from . import answers

    with options.open_model(given, mata, quiet=quiet) as model:
        if compare:
            options.need_mata(model, mata)
        if each:
            context.exit(answers.each(model, files, question, wanted, asked, channel))
        if every is not None:
            answers.windows(model, clips[0], question, wanted, asked)
            return
        heard = _heard(model, clips, mata, quiet=quiet)
        if wanted.choices is not None:
            answers.choose(model, heard, question, wanted)
        elif compare:
            answers.compare(model, heard, question, wanted, asked)
        else:
            answers.answer(model, heard, question, wanted, asked)


def _converse(
    files: list[str], mic: float | None, mata: Mata | None, asked: AskOptions, given: dict[str, Any], *, quiet: bool
) -> None:
    channel = options.channel(given)
    clips = _clips(files, mic, channel, quiet=quiet)
    with options.open_model(given, mata, quiet=quiet) as model:
        heard = _heard(model, clips, mata, quiet=quiet)

        from .dialogue import Dialogue, Sound
        from .repl import Repl

        paths = files if mic is None else [*files, None]
        sounds = [Sound(clip, path, channel) for clip, path in zip(heard, paths, strict=True)]
        chat = model.chat(options.system(given), mata)
        dialogue = Dialogue(chat, sounds, quiet=quiet, options=asked, channel=channel)
        Repl(dialogue, history=config.of(click.get_current_context()).history).run()


def _clips(files: list[str], mic: float | None, channel: int | str | None, *, quiet: bool) -> list[Audio]:
    """The files, and what is recorded.  Raises AudioError."""
    with showing("reading", quiet=quiet):
        clips = [options.read_clip(word, channel) for word in files]
    if mic is not None:
        from .recording import record

        clips.append(record(mic, quiet=quiet))
    return clips


def _heard(model: AudioModel, clips: list[Audio], mata: Mata | None, *, quiet: bool) -> list[EncodedClip]:
    """The clips encoded, and told of."""
    from . import output

    heard = output.encoded(model, clips, quiet=quiet)
    for line in [output.facts(model, heard, mata), *output.notes(heard), *output.model_notes(model)]:
        output.say(line, quiet=quiet)
    return heard


def _check_there_is_work(context: click.Context, words: tuple[str, ...], mic: float | None) -> None:
    """Without any words a conversation begins, if there is somebody to type, or something to read.

    Raises UsageError, before a model is loaded, where standard input is closed or at its end.
    """
    if words or mic is not None:
        return
    if options.at_end(sys.stdin):
        raise click.UsageError(
            'nothing to do: try mata-chat clip.wav "What sound is this?", or for a conversation mata-chat clip.wav '
            "on a terminal",
            context,
        )


def _check_usage(
    context: click.Context, files: list[str], question: str | None, wanted: Output, given: dict[str, Any]
) -> None:
    """What the options demand of each other.  Raises UsageError."""
    if wanted.each:
        if question is None or not files:
            raise click.UsageError("--each needs audio files and a question", context)
        if options.STDIN in files or MICROPHONE in files:
            raise click.UsageError("--each takes files, not standard input (-) or --mic", context)
        for name, found in (("--compare", wanted.compare), ("--every", wanted.every is not None)):
            if found:
                raise click.UsageError(f"--each and {name} exclude each other", context)
    if question is None:
        if options.STDIN in files:
            raise click.UsageError("audio from standard input (-) needs a question", context)
        for name, found in (
            ("--json", wanted.json),
            ("--choices", bool(wanted.choices)),
            ("--compare", wanted.compare),
        ):
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
        "--no-contrast": wanted.form["contrast"] is False,
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


def main() -> None:
    """The entry point of mata-chat."""
    prepare_streams()
    cli.main(prog_name="mata-chat")


if __name__ == "__main__":
    main()
