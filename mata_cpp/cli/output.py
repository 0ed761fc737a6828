"""What is printed: answers on standard output, everything else on standard error."""

from __future__ import annotations

import codecs
import contextlib
import json
import shutil
import sys
import textwrap
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..mata import Mata, format_layers
from ..records import Answer, Choice, Piece
from . import spinner
from .command import OutputError
from .wrapping import Flow, columns_of, fitted

if TYPE_CHECKING:
    from ..audio import Audio
    from ..audio.encoder import EncodedClip
    from ..model import AudioModel

GAP = " | "


def facts(model: AudioModel, clips: Sequence[EncodedClip], mata: Mata | None) -> str:
    """The line that comes first: the model, what it hears, whether MATA is on."""
    if not clips:
        heard = "no audio yet"
    else:
        count = "" if len(clips) == 1 else f"{len(clips)} clips, "
        seconds, tokens = sum(clip.seconds for clip in clips), sum(clip.tokens for clip in clips)
        heard = f"{count}{seconds:.1f} s of audio, {tokens} audio token{'' if tokens == 1 else 's'}"
    return f"{model.name}: {heard}; {model.describe_mata(mata)}"


def windows_facts(model: AudioModel, clip: Audio) -> str:
    """The line that a run over windows starts with."""
    return f"{model.name}: {clip.seconds:.1f} s of audio, window by window; {model.describe_mata()}"


def notes(clips: Sequence[EncodedClip]) -> list[str]:
    """What the user should know about how the clips are heard."""
    lines = []
    for clip in clips:
        if clip.windows > 1:
            lines.append(
                f"note: {clip.name} is longer than the model's window and is heard in {clip.windows} windows; "
                "--every 30 asks about each part, mata-listen --find tells when something is heard"
            )
        if clip.seconds - clip.heard_seconds > 0.01:
            lines.append(
                f"note: only the first {clip.heard_seconds:g} s of {clip.name} are heard: the model takes no more"
            )
    return lines


def model_notes(model: AudioModel) -> list[str]:
    """What the user should know about the model."""
    engine, found = model.engine, []
    if not engine.projector_checked:
        found.append(
            f"note: this model has not been checked against its reference implementation (projector type "
            f"{engine.projector})"
        )
    if 0 < engine.n_ctx_train < engine.n_ctx:
        found.append(f"note: a context of {engine.n_ctx} was asked for, and the model has learned {engine.n_ctx_train}")
    return found


def say(line: str, *, quiet: bool = False) -> None:
    """A line on standard error."""
    if not quiet:
        with spinner.cleared():
            click.echo(fitted(line, sys.stderr), err=True)


def note_length(answer: Answer, *, name: str | None = None, quiet: bool = False) -> None:
    """Tell of an answer that came to no end; name: of the file that it is about, where there are several."""
    if answer.finish_reason == "length":
        about = "" if name is None else f"{name}: "
        say(f"note: {about}cut off after {answer.usage.completion_tokens} tokens", quiet=quiet)


def lowered(answer: Answer) -> bool:
    """Whether MATA did the opposite of what was asked for: mode scale does where scores are negative."""
    effect, mata = answer.mata_effect, answer.mata
    return effect is not None and mata is not None and effect.lowered and mata.alpha > 0 and mata.mode == "scale"


def note_effect(answer: Answer, *, quiet: bool = False) -> None:
    """Tell what MATA did to the attention of the row that predicted an answer."""
    if lowered(answer):
        line = f"note: MATA lowered the attention to the audio, from {answer.mata_effect}; --mode abs raises it"
        say(line, quiet=quiet)
    elif answer.mata_effect is not None:
        layers = format_layers(answer.layers)
        say(f"MATA: attention to the audio in layers {layers} from {answer.mata_effect}", quiet=quiet)


def write(text: str) -> None:
    """Text on standard output, at once.  Raises OutputError."""
    try:
        with spinner.cleared():
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write the answer: {error.strerror or error}") from None


def stream(pieces: Iterator[Piece], *, quiet: bool = False) -> Answer:
    """Write an answer as it comes; when it is interrupted, the line is ended, and what generates it too."""
    answer, wrote, line_open = None, False, False
    columns = columns_of(sys.stdout)
    flow = None if columns is None else Flow(columns)
    thinking = spinner.Spinner("thinking", quiet=quiet)

    def put(text: str) -> None:
        nonlocal wrote, line_open
        if text:
            thinking.stop()
            wrote = line_open = True  # before writing: an interrupt may come in between
            write(text)
            line_open = not text.endswith("\n")

    try:
        thinking.start()
        begun = False
        for piece in pieces:
            answer = piece.answer or answer
            text = str(piece) if begun else piece.lstrip()
            begun = begun or bool(text)
            put(flow.feed(text) if flow else text)
    finally:
        thinking.stop()
        if isinstance(pieces, Generator):
            pieces.close()
        if flow:
            put(flow.rest())
        if line_open or (answer is not None and not wrote):
            write("\n")
    assert answer is not None
    return answer


def encoded(model: AudioModel, clips: Sequence[Audio], *, quiet: bool = False) -> list[EncodedClip]:
    """Clips as the model hears them, with a line that tells which one it is at.  Raises what model.encode raises."""
    found: list[EncodedClip] = []
    with spinner.showing("encoding", quiet=quiet) as line:
        for number, clip in enumerate(clips, 1):
            count = f" ({number} of {len(clips)})" if len(clips) > 1 else ""
            line.text = f"encoding {clip.name}{count}"
            found += model.encode(clip)
    return found


def as_json(
    model: AudioModel,
    answer: Answer | Choice,
    without: Answer | Choice | None = None,
    *,
    question: str | None = None,
    file: str | None = None,
) -> str:
    """One JSON object; the answer without MATA, if there is one, is under "without".

    question: is put in front, and all is one line also on a terminal, as the attention that comes with it is thousands
    of numbers.  file: likewise, where there is a line for each file.
    """
    record = answer.to_dict()
    ordered: dict[str, Any] = {} if question is None else {"question": question}
    if file is not None:
        ordered["file"] = file
    ordered.update(answer=record.pop("answer"), model=model_facts(model))
    if question is None:
        record["finish_reason"] = record.pop("finish_reason")  # to the end
    ordered.update(record)
    if without is not None:
        other = without.to_dict()
        del other["audio"]
        ordered["without"] = other
    return json_text(ordered, pretty=question is None and file is None and sys.stdout.isatty())


def json_text(record: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, pretty: bool = False) -> str:
    """JSON in one line, unless pretty; with escapes where standard output does not take its characters."""
    text = json.dumps(record, ensure_ascii=False, indent=2 if pretty else None)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with contextlib.suppress(UnicodeEncodeError, LookupError):
        if codecs.lookup(encoding).name.startswith("utf"):
            text.encode(encoding)
            return text
    return json.dumps(record, indent=2 if pretty else None)


def model_facts(model: AudioModel) -> dict[str, str]:
    return {"name": model.name, "path": str(model.model_path), "mmproj": str(model.mmproj_path)}


def side_by_side(left: str, right: str, titles: tuple[str, str], width: int | None = None) -> str:
    """Two texts in columns; width: of both (None: the terminal's)."""
    total = width or min(shutil.get_terminal_size((80, 24)).columns, 160)
    column = max(10, (total - len(GAP)) // 2)
    columns = [
        [*_wrapped(title, column), "-" * column, *_wrapped(text, column)]
        for title, text in zip(titles, (left, right), strict=True)
    ]
    height = max(map(len, columns))
    padded = [lines + [""] * (height - len(lines)) for lines in columns]
    rows = zip(*padded, strict=True)
    return "\n".join(f"{a:<{column}}{GAP}{b}".rstrip() for a, b in rows)


def compared(answers: tuple[Answer | Choice, Answer | Choice], mata: Mata) -> str:
    texts = [_with_share(answer) for answer in answers]
    return side_by_side(texts[0], texts[1], (f"with MATA (alpha {mata.alpha:g})", "without"))


def shares(choice: Choice) -> list[str]:
    """What the numbers are, and a line for each option with its share, the chosen one first."""
    found = choice.probabilities
    order = sorted(range(len(choice.options)), key=lambda i: -found[i])
    return [
        f"shares among the options, by {choice.scored_by}:",
        *(f"  {found[i]:.3f}  {choice.options[i]}" for i in order),
    ]


def _with_share(answer: Answer | Choice) -> str:
    if isinstance(answer, Choice):
        return f"{answer.text} ({answer.confidence:.3f})"
    return answer.text.strip()


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, width) or [""]
    return lines
