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
    from ..chat import AudioChat
    from ..records import Answer, Choice


@dataclass(frozen=True)
class Output:
    """How to answer: the options that choose what is printed."""

    compare: bool
    choices: list[str] | None
    json: bool
    quiet: bool


@click.command("mata-chat", cls=OneLineCommand, context_settings=CONTEXT, epilog=EPILOG)
@click.argument("words", nargs=-1, metavar='FILE... ["QUESTION"]')
@options.shared_options(
    click.option("--compare", is_flag=True, help="The answers with and without MATA, side by side."),
    click.option("--choices", metavar='"A|B|C"', help="Choose the likeliest of these answers."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
)
@click.version_option(__version__, prog_name="mata-chat", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    /,
    words: tuple[str, ...],
    compare: bool,
    choices: str | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Ask a question about sound.

    FILE is an audio file (wav, flac, mp3, ogg, opus, aiff, ...), or - for standard input. Without a QUESTION a
    conversation begins; /help lists its commands.

    The answer goes to standard output, everything else to standard error.
    """
    files, question = options.split(words)
    mata = options.mata_setting(given)
    wanted = Output(compare, options.choices(choices), as_json, quiet)
    _check_usage(context, files, question, wanted, given["no_mata"])
    clips = [options.read_clip(word) for word in files]

    from .output import facts, model_notes, notes, say

    with options.open_chat(given, mata) as chat:
        heard = chat.encode(clips)
        say(facts(chat, heard), quiet=quiet)
        for line in [*notes(heard), *model_notes(chat)]:
            say(line, quiet=quiet)
        sampling = options.sampling(given)
        if question is None:
            from .repl import Repl

            Repl(chat, clips, quiet=quiet, options=sampling).run()
        elif wanted.choices is not None:
            _choose(chat, clips, question, wanted)
        elif compare:
            _compare(chat, clips, question, wanted, sampling)
        else:
            _answer(chat, clips, question, wanted, sampling)


def _check_usage(context: click.Context, files: list[str], question: str | None, wanted: Output, no_mata: bool) -> None:
    """What the options demand of each other.  Raises UsageError."""
    if question is None:
        if options.STDIN in files:
            raise click.UsageError("audio from standard input (-) needs a question", context)
        for name, given in (("--json", wanted.json), ("--choices", wanted.choices), ("--compare", wanted.compare)):
            if given:
                raise click.UsageError(f"{name} needs a question", context)
    elif not files:
        raise click.UsageError("a question needs at least one audio file", context)
    if wanted.compare and no_mata:
        raise click.UsageError("--compare and --no-mata exclude each other", context)


def _answer(chat: AudioChat, clips: list[Audio], question: str, wanted: Output, sampling: dict[str, Any]) -> None:
    from . import output

    if wanted.json:
        answer = chat.ask(clips, question, **sampling)
        output.write(output.as_json(chat, answer) + "\n")
    else:
        answer = output.stream(chat.stream(clips, question, **sampling))
    output.note_length(answer, quiet=wanted.quiet)


def _compare(chat: AudioChat, clips: list[Audio], question: str, wanted: Output, sampling: dict[str, Any]) -> None:
    from . import output

    boosted, plain = chat.compare(clips, question, **sampling)
    _print_pair(chat, boosted, plain, wanted)
    for answer in (boosted, plain):
        output.note_length(answer, quiet=wanted.quiet)


def _choose(chat: AudioChat, clips: list[Audio], question: str, wanted: Output) -> None:
    from . import output

    assert wanted.choices is not None
    choice = chat.choose(clips, question, wanted.choices)
    if wanted.compare:
        setting, chat.mata = chat.mata, None
        plain = chat.choose(clips, question, wanted.choices)
        chat.mata = setting
        _print_pair(chat, choice, plain, wanted)
    elif wanted.json:
        output.write(output.as_json(chat, choice) + "\n")
    else:
        output.write(choice.text + "\n")
        for line in output.shares(choice):
            output.say(line, quiet=wanted.quiet)


def _print_pair(chat: AudioChat, boosted: Answer | Choice, plain: Answer | Choice, wanted: Output) -> None:
    from . import output

    if wanted.json:
        output.write(output.as_json(chat, boosted, plain) + "\n")
    else:
        assert boosted.mata is not None
        output.write(output.compared((boosted, plain), boosted.mata) + "\n")


def main() -> None:
    """The entry point of mata-chat."""
    prepare_streams()
    cli.main(prog_name="mata-chat")


if __name__ == "__main__":
    main()
