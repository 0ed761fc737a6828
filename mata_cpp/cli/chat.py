"""mata-chat: a question about sound, or a conversation."""

from __future__ import annotations

import sys

try:
    import os
    from dataclasses import dataclass
    from typing import TYPE_CHECKING, Any

    import click

    from .. import __version__
    from . import options as arguments
    from .command import OneLineCommand
    from .options import as_utf8
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from ..audio import Audio
    from ..chat import AudioChat
    from ..records import Answer, Choice

EPILOG = "Exit status: 0, 1 for a failure, 2 for a wrong usage, 130 for an interrupt."


@dataclass(frozen=True)
class Output:
    """How to answer: the options that choose what is printed."""

    compare: bool
    choices: list[str] | None
    json: bool
    quiet: bool


@click.command("mata-chat", cls=OneLineCommand, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.argument("words", nargs=-1, metavar='FILE... ["QUESTION"]')
@click.option(
    "--model", default="tiny", metavar="NAME|FILE", show_default=True, help="A GGUF file, or a name of the catalogue."
)
@click.option("--mmproj", metavar="FILE", help="Its audio projector.  [default: the one beside the model]")
@click.option("--lora", metavar="FILE[:SCALE]", multiple=True, help="A LoRA adapter; may be repeated.")
@click.option("--system", metavar="TEXT", help="The system message.  [default: the chat template's own]")
@click.option("--alpha", type=float, metavar="NUMBER", help="MATA's strength.  [default: 0.1]")
@click.option("--layers", metavar="LAYERS", help='"auto", "10:20" or "3,7,9".  [default: auto, the middle third]')
@click.option("--mode", type=click.Choice(["scale", "abs", "add"]), help="MATA's form.  [default: scale]")
@click.option("--focus", metavar="START:END", help="Only this window of the clip, in seconds, as 3.2:7.5.")
@click.option("--no-mata", is_flag=True, help="Without MATA.")
@click.option("--compare", is_flag=True, help="The answers with and without MATA, side by side.")
@click.option("--choices", metavar='"A|B|C"', help="Choose the likeliest of these answers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option(
    "--max-tokens", metavar="NUMBER", type=click.IntRange(1), default=256, help="Of an answer, at most.  [default: 256]"
)
@click.option(
    "--temperature", metavar="NUMBER", type=click.FloatRange(0), default=0.0, help="0 is greedy.  [default: 0]"
)
@click.option(
    "--top-p", metavar="NUMBER", type=click.FloatRange(0, 1), default=0.95, help="Of sampling.  [default: 0.95]"
)
@click.option("--seed", metavar="NUMBER", type=int, default=0, help="Of sampling.  [default: 0]")
@click.option("--threads", metavar="NUMBER", type=int, help="Threads.  [default: the physical cores]")
@click.option("--gpu-layers", metavar="NUMBER", type=int, default=-1, help="On the GPU.  [default: -1, all]")
@click.option(
    "--ctx",
    metavar="TOKENS",
    type=int,
    default=4096,
    help="Context; 0: the model's own.  [default: 4096]",
)
@click.option(
    "--flash-attn", type=click.Choice(["auto", "on", "off"]), default="auto", help="Flash attention.  [default: auto]"
)
@click.option("--cache-type", default="f16", show_default=True, metavar="TYPE", help="Of the KV cache: f32, q8_0, ...")
@click.option("-v", "--verbose", is_flag=True, help="llama.cpp's log on standard error.")
@click.option("-q", "--quiet", is_flag=True, help="Only the answer, and errors.")
@click.version_option(__version__, prog_name="mata-chat", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    /,
    words: tuple[str, ...],
    model: str,
    mmproj: str | None,
    lora: tuple[str, ...],
    system: str | None,
    alpha: float | None,
    layers: str | None,
    mode: str | None,
    focus: str | None,
    no_mata: bool,
    compare: bool,
    choices: str | None,
    as_json: bool,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    threads: int | None,
    gpu_layers: int,
    ctx: int,
    flash_attn: str,
    cache_type: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Ask a question about sound.

    FILE is an audio file (wav, flac, mp3, ogg, opus, aiff, ...), or - for standard input. Without a QUESTION a
    conversation begins; /help lists its commands.

    The answer goes to standard output, everything else to standard error.
    """
    files, question = arguments.split(words)
    mata = arguments.mata_setting(no_mata, alpha, layers, mode, focus)
    output = Output(compare, arguments.choices(choices), as_json, quiet)
    _check_usage(context, files, question, output, no_mata)
    clips = [arguments.read_clip(word) for word in files]

    from ..chat import AudioChat
    from .output import facts, model_notes, notes, say

    with AudioChat(
        model,
        mmproj=mmproj,
        lora=[_lora(text) for text in lora] or None,
        mata=mata,
        system=None if system is None else as_utf8(system),
        n_ctx=ctx,
        n_threads=threads,
        n_gpu_layers=gpu_layers,
        flash_attn=flash_attn,
        cache_type=cache_type,
        seed=seed,
        verbose=verbose,
    ) as chat:
        heard = chat.encode(clips)
        say(facts(chat, heard), quiet=quiet)
        for line in [*notes(heard), *model_notes(chat)]:
            say(line, quiet=quiet)
        options = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
        if question is None:
            from .repl import Repl

            Repl(chat, clips, quiet=quiet, options=options).run()
        elif output.choices is not None:
            _choose(chat, clips, question, output)
        elif compare:
            _compare(chat, clips, question, output, options)
        else:
            _answer(chat, clips, question, output, options)


def _check_usage(context: click.Context, files: list[str], question: str | None, output: Output, no_mata: bool) -> None:
    """What the options demand of each other.  Raises UsageError."""
    if question is None:
        if arguments.STDIN in files:
            raise click.UsageError("audio from standard input (-) needs a question", context)
        for name, given in (("--json", output.json), ("--choices", output.choices), ("--compare", output.compare)):
            if given:
                raise click.UsageError(f"{name} needs a question", context)
    elif not files:
        raise click.UsageError("a question needs at least one audio file", context)
    if output.compare and no_mata:
        raise click.UsageError("--compare and --no-mata exclude each other", context)


def _lora(text: str) -> tuple[str, float]:
    """ "FILE" or "FILE:SCALE"."""
    path, colon, scale = text.rpartition(":")
    try:
        return (path, float(scale)) if colon and path else (text, 1.0)
    except ValueError:
        return text, 1.0


def _answer(chat: AudioChat, clips: list[Audio], question: str, output: Output, options: dict[str, Any]) -> None:
    from . import output as render

    if output.json:
        answer = chat.ask(clips, question, **options)
        render.write(render.as_json(chat, answer) + "\n")
    else:
        answer = render.stream(chat.stream(clips, question, **options))
    _note_length(answer, output)


def _compare(chat: AudioChat, clips: list[Audio], question: str, output: Output, options: dict[str, Any]) -> None:
    boosted, plain = chat.compare(clips, question, **options)
    _print_pair(chat, boosted, plain, output)
    for answer in (boosted, plain):
        _note_length(answer, output)


def _choose(chat: AudioChat, clips: list[Audio], question: str, output: Output) -> None:
    from . import output as render

    assert output.choices is not None
    choice = chat.choose(clips, question, output.choices)
    if output.compare:
        setting, chat.mata = chat.mata, None
        plain = chat.choose(clips, question, output.choices)
        chat.mata = setting
        _print_pair(chat, choice, plain, output)
    elif output.json:
        render.write(render.as_json(chat, choice) + "\n")
    else:
        render.write(choice.text + "\n")
        for line in render.shares(choice):
            render.say(line, quiet=output.quiet)


def _print_pair(chat: AudioChat, boosted: Answer | Choice, plain: Answer | Choice, output: Output) -> None:
    from . import output as render

    if output.json:
        render.write(render.as_json(chat, boosted, plain) + "\n")
    else:
        assert boosted.mata is not None
        render.write(render.compared((boosted, plain), boosted.mata) + "\n")


def _note_length(answer: Answer, output: Output) -> None:
    from .output import say

    if answer.finish_reason == "length":
        say(f"note: cut off after {answer.usage.completion_tokens} tokens", quiet=output.quiet)


def prepare_streams() -> None:
    """Make the standard streams take whatever comes."""
    for file in (sys.stdout, sys.stderr):
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="replace")  # a terminal that cannot show a character shows a mark
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")  # see options.as_utf8
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - keeps files that are opened later off descriptor 2


def main() -> None:
    """The entry point of mata-chat."""
    prepare_streams()
    cli.main(prog_name="mata-chat")


if __name__ == "__main__":
    main()
