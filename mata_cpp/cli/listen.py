"""mata-listen: an answer, and a picture of where in the clip the model listened for it."""

from __future__ import annotations

import os
import sys

try:
    import warnings
    from dataclasses import dataclass, field
    from pathlib import Path
    from typing import TYPE_CHECKING, Any

    import click

    from .. import __version__, finding
    from ..checks import short_repr
    from ..mata import boost_of
    from . import options
    from .command import CONTEXT, EPILOG, OneLineCommand, prepare_streams
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from ..audio import Audio
    from ..mata import Mata
    from ..model import AudioModel
    from ..options import AskOptions, AudioLike
    from ..readout.record import Reading
    from ..records import Answer

ARRAYS = ".npz"


@dataclass
class Output:
    """What is printed and written."""

    json: bool
    quiet: bool
    compare: bool
    files: list[Path] = field(default_factory=list)


@click.command("mata-listen", cls=OneLineCommand, context_settings=CONTEXT, epilog=EPILOG)
@click.argument("words", nargs=-1, metavar='FILE... "QUESTION"', shell_complete=options.complete_files)
@options.option(
    "-o",
    "--output",
    metavar="FILE",
    multiple=True,
    help="The picture: .png, .svg or .pdf; .npz for the numbers; may be repeated.",
    default="the clip's name with .listen.png, here; nothing with --json",
)
@options.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.option("--compare", is_flag=True, help="Answers and maps with MATA off and on, from one prefill.")
@options.option("--summary", is_flag=True, help="The mean by layer over many clips: FILEs and folders of them.")
@options.option("--find", metavar="TEXT", help='Find when TEXT is heard, for example "dog barking"; takes no QUESTION.')
@options.option(
    "--threshold",
    metavar="NUMBER",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The probability that --find needs.",
    default=f"{finding.THRESHOLD:g}",
)
@options.option("--average", metavar="LAYERS", help="Layers whose maps are averaged.", default="auto, the last third")
@options.shared_options()
@click.version_option(__version__, prog_name="mata-listen", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    /,
    words: tuple[str, ...],
    output: tuple[str, ...],
    as_json: bool,
    compare: bool,
    summary: bool,
    find: str | None,
    threshold: float | None,
    average: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    """Show where in a clip a model listens for its answer.

    FILE is an audio file (wav, flac, mp3, ogg, opus, aiff, ...), or - for standard input. The picture has the sound,
    under it a map of time by token, and beside it the attention by layer with MATA off and on.

    The answer goes to standard output, everything else to standard error.
    """
    files, question = options.split(words)
    mata = options.mata_setting(given)
    if find is not None:
        for name, other in (("--compare", compare), ("--summary", summary), ("--average", average is not None)):
            if other:
                raise click.UsageError(f"--find and {name} exclude each other", context)
        if question is not None or len(files) != 1:
            raise click.UsageError("--find needs one audio file and no question", context)
        out = Output(as_json, quiet, compare, _outputs(output, files, as_json, summary, "find"))
        clip = options.read_clip(files[0], options.channel(given))
        with options.open_model(given, mata, quiet=quiet) as model:
            _find(model, clip, find, threshold or finding.THRESHOLD, out)
        return
    if threshold is not None:
        raise click.UsageError("--threshold needs --find", context)
    if question is None:
        raise click.UsageError("a question is missing", context)
    if not files:
        raise click.UsageError("a question needs at least one audio file", context)
    if compare and given["no_mata"]:
        raise click.UsageError("--compare and --no-mata exclude each other", context)
    if summary and (compare or average is not None):
        raise click.UsageError(f"--summary and {'--compare' if compare else '--average'} exclude each other", context)
    reading = _reading(context, average)
    out = Output(as_json, quiet, compare, _outputs(output, files, as_json, summary))
    sounds = _sounds(files) if summary else []
    channel = options.channel(given)
    clips = [] if summary else [options.read_clip(word, channel) for word in files]
    asked = options.answering(given)
    asked["system"] = options.system(given)
    with options.open_model(given, mata, quiet=quiet) as model:
        if compare:
            options.need_mata(model, mata)
        if summary:
            context.exit(_summarise(model, sounds, question, mata, out, asked))
        _listen(model, clips, question, mata, reading, out, asked)


# Something in a long clip --------------------------------------------------------------------------


def _find(model: AudioModel, clip: Audio, what: str, threshold: float, out: Output) -> None:
    from ..pictures import curve, style
    from . import output
    from .spinner import showing

    for line in (output.windows_facts(model, clip), *output.model_notes(model)):
        output.say(line, quiet=out.quiet)
    with showing(f"listening for {what}", quiet=out.quiet):
        found = model.find(clip, what, threshold=threshold)
    if out.json:
        output.write(output.json_text(found.to_dict()) + "\n")
    elif found.stretches:
        output.write(f"{found}\n")
    else:
        output.say(f"note: {what}: nowhere above {threshold:g}", quiet=out.quiet)
    for path in out.files:
        style.write(path, lambda: curve.draw(found, clip, model.engine.sample_rate, model.name))
        output.say(f"wrote {path}", quiet=out.quiet)


# One answer --------------------------------------------------------------------------------------


def _listen(
    model: AudioModel,
    clips: list[Audio],
    question: str,
    mata: Mata | None,
    reading: Reading,
    out: Output,
    asked: AskOptions,
) -> None:
    from . import output
    from .spinner import showing

    heard = output.encoded(model, clips, quiet=out.quiet)
    for line in (output.facts(model, heard, mata), *output.notes(heard), *output.model_notes(model)):
        output.say(line, quiet=out.quiet)
    with showing("thinking", quiet=out.quiet):
        answer, without = _ask(model, heard, question, mata, reading, asked)
    other = without if out.compare else None
    if out.json:
        output.write(output.as_json(model, answer, without, question=question) + "\n")
    elif other is not None:
        assert answer.mata is not None
        output.write(output.compared((answer, other), answer.mata) + "\n")
    else:
        output.write(answer.text.strip() + "\n")
    for said in (answer, other):
        if said is not None:
            output.note_length(said, quiet=out.quiet)
    _write(model, clips, question, answer, without, out)


def _ask(
    model: AudioModel,
    clips: AudioLike,
    question: str,
    mata: Mata | None,
    reading: Reading | bool,
    asked: AskOptions,
) -> tuple[Answer, Answer | None]:
    """The answer, and with MATA on also the one without it, from the same prefill."""
    watched: AskOptions = {**asked, "attention": reading}
    if boost_of(model.engine, mata) is None:
        return model.ask(clips, question, **watched), None
    return model.compare(clips, question, **watched)


def _write(
    model: AudioModel, clips: list[Audio], question: str, answer: Answer, without: Answer | None, out: Output
) -> None:
    from ..pictures import map as picture
    from .output import say

    assert answer.attention is not None
    for path in out.files:
        if path.suffix.lower() == ARRAYS:
            answer.attention.save(path)
        else:
            scene = picture.Scene(model.name, question, clips, answer, without, out.compare)
            picture.save(scene, path)
        say(f"wrote {path}", quiet=out.quiet)


# Many clips --------------------------------------------------------------------------------------


def _summarise(
    model: AudioModel, sounds: list[Path], question: str, mata: Mata | None, out: Output, asked: AskOptions
) -> int:
    """The exit status: a failure only if no clip could be heard."""
    from ..audio import Audio
    from ..errors import AudioError, ContextFullError
    from ..pictures import style
    from ..pictures.summary import draw
    from ..readout.record import Reading
    from ..readout.summary import Summary
    from . import output

    total, skipped = Summary(), []
    output.say(f"{model.name}: {len(sounds)} clips; {model.describe_mata(mata)}", quiet=out.quiet)
    for path in sounds:
        try:
            answer, without = _ask(model, [Audio(path)], question, mata, Reading(), asked)
            if answer.finish_reason == "cancelled":
                raise KeyboardInterrupt
            if not total.add(without or answer, answer if without else None):
                raise AudioError(f"{path}: nothing was said")
        except (AudioError, ContextFullError) as error:
            reason = " ".join(str(error).split())
            skipped.append({"file": str(path), "reason": reason})
            warnings.warn(f"left out: {reason}", RuntimeWarning, stacklevel=1)
    if skipped:
        output.say(f"note: {len(skipped)} of {len(sounds)} clips were left out", quiet=out.quiet)
    if not len(total):
        raise AudioError(f"none of {len(sounds)} clips could be heard")
    if out.json:
        record = {"question": question, "model": output.model_facts(model), **total.to_dict(), "left_out": skipped}
        boost = boost_of(model.engine, mata)
        record["mata"] = None if boost is None else {**boost.mata.to_dict(), "layers": list(boost.layers)}
        output.write(output.json_text(record) + "\n")
    else:
        output.write(total.table() + "\n")
    for path in out.files:
        style.write(path, lambda: draw(total, model.name, question))
        output.say(f"wrote {path}", quiet=out.quiet)
    return 0


def _sounds(words: list[str]) -> list[Path]:
    """Files as they are, and the sound in folders, by name.  Raises AudioError, UsageError."""
    from ..audio import AUDIO_SUFFIXES
    from ..errors import AudioError

    found: list[Path] = []
    for word in words:
        if word == options.STDIN:
            raise click.UsageError("--summary takes files and folders, not standard input (-)")
        path = Path(word)
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in AUDIO_SUFFIXES and entry.is_file())
        if not inside:
            raise AudioError(f"{path} holds no audio files")
        found += inside
    return found


# Arguments ---------------------------------------------------------------------------------------


def _reading(context: click.Context, average: str | None) -> Reading:
    from ..mata import parse_layers
    from ..readout.record import Reading

    try:
        return Reading() if average is None else Reading(average=parse_layers(average))
    except ValueError as error:
        raise click.UsageError(f"--average: {error}", context) from None


def _outputs(
    given: tuple[str, ...], files: list[str], as_json: bool, summary: bool, kind: str = "listen"
) -> list[Path]:
    """Where pictures and numbers go, checked before anything is computed.  Raises MataError, UsageError."""
    from ..pictures import style

    suffixes = style.SUFFIXES if summary or kind == "find" else (*style.SUFFIXES, ARRAYS)
    paths = [Path(name) for name in given]
    if not given and not as_json:
        first = Path(files[0] if files[0] != options.STDIN else "stdin")
        paths = [] if summary else [Path(f"{_short(first.stem)}.{kind}.png")]
    for path in paths:
        if path.suffix.lower() not in suffixes:
            raise click.UsageError(
                f"--output must end in {', '.join(suffixes)}, not {short_repr(path.name)}", click.get_current_context()
            )
        style.check_place(path)
    if any(path.suffix.lower() != ARRAYS for path in paths):
        style.matplotlib()
    return paths


def _short(stem: str) -> str:
    """stem with room for a suffix: most file systems take names of 255 bytes."""
    name = os.fsencode(stem)
    return stem if len(name) <= 200 else name[:200].decode("utf-8", "ignore")


def main() -> None:
    """The entry point of mata-listen."""
    prepare_streams()
    cli.main(prog_name="mata-listen")


if __name__ == "__main__":
    main()
