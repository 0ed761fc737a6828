"""The commands of a conversation: lines that begin with a slash."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..checks import short_name, short_repr
from ..mata import Mata, parse_focus
from . import output
from .options import DEFAULTS
from .paths import new_path, typed_path, typed_paths
from .recording import record
from .settings import NAMES, SAMPLING, check_name

if TYPE_CHECKING:
    from .dialogue import Dialogue

RECORDED_S = 30.0
"""What /record takes unless Enter ends it."""


@dataclass(frozen=True)
class Command:
    """run gets the conversation, and the rest of the line.  Raises MataError, ValueError."""

    arguments: str
    help: str
    run: Callable[[Dialogue, str], None]


def help_text() -> str:
    """What /help prints."""
    rows = [(f"{name} {command.arguments}".rstrip(), command.help) for name, command in COMMANDS.items()]
    rows += [("/exit", "leave, as Ctrl-D does, and Ctrl-C twice")]
    width = max(len(left) for left, _ in rows)
    lines = [f"{left:<{width}}  {right}" for left, right in rows]
    return "\n".join([*lines, "", *NOTES])


NOTES = (
    "A line that is only the path of a sound file means /audio; drop files here to",
    "type their paths. Tab completes commands and paths. Alt-Enter begins another",
    'line of a question, and so does Enter after """ until the closing """.',
    "Ctrl-C stops an answer.",
)


def run(dialogue: Dialogue, line: str) -> None:
    """Do what a line that begins with a slash says.  Raises MataError, ValueError."""
    name, _, rest = line.partition(" ")
    command = COMMANDS.get(ALIASES.get(name, name))
    if command is None:
        raise ValueError(f"no command {short_name(name)}; /help lists them")
    command.run(dialogue, rest.strip())


# Clips -------------------------------------------------------------------------------------------


def _audio(dialogue: Dialogue, rest: str) -> None:
    if not rest:
        raise ValueError("/audio needs a path")
    dialogue.hear(typed_paths(rest))


def _record(dialogue: Dialogue, rest: str) -> None:
    try:
        seconds = float(rest) if rest else RECORDED_S
    except ValueError:
        raise ValueError(f"/record takes a number of seconds, not {short_repr(rest)}") from None
    dialogue.hear_recording(record(seconds, quiet=dialogue.quiet))


def _drop(dialogue: Dialogue, rest: str) -> None:
    if rest and not (rest.isascii() and rest.isdigit()):
        raise ValueError(f"/drop takes the number of a clip, as /show lists them, not {short_repr(rest)}")
    dialogue.say(dialogue.drop(int(rest[:9]) if rest else None))


# Questions ---------------------------------------------------------------------------------------


def _retry(dialogue: Dialogue, rest: str) -> None:
    if rest:
        raise ValueError("/retry asks the last question again, and takes no other")
    dialogue.retry()


def _compare(dialogue: Dialogue, rest: str) -> None:
    if not rest:
        raise ValueError("/compare needs a question")
    dialogue.compare(rest)


def _choices(dialogue: Dialogue, rest: str) -> None:
    from ..decoding.scoring import check_options

    quoted = re.match(r"""(["'])(.*?)\1\s+(.*)""", rest, re.DOTALL)
    choices, question = quoted.group(2, 3) if quoted else (rest.partition(" ")[0], rest.partition(" ")[2])
    question = question.strip()
    try:
        texts = check_options([choice.strip() for choice in choices.split("|")])
    except ValueError as error:
        raise ValueError(f'/choices: {error}, as in /choices "a cat|a dog" What is it?') from None
    if not question:
        raise ValueError('/choices needs a question after the choices, as in /choices "a cat|a dog" What is it?')
    choice = dialogue.choose(texts, question)
    output.write(choice.text + "\n")
    for line in output.shares(choice):
        dialogue.say(line)


# Settings ----------------------------------------------------------------------------------------


def _mata(dialogue: Dialogue, rest: str) -> None:
    settings, chat = dialogue.settings, dialogue.chat
    if not rest:
        output.say(chat.describe_mata())
    elif rest in ("on", "off"):
        dialogue.say(settings.switch_mata(on=rest == "on"))
    else:
        try:
            alpha = float(rest)
        except ValueError:
            raise ValueError(f"/mata takes on, off or a number, not {short_repr(rest)}") from None
        dialogue.say(settings.set_mata(replace(settings.mata, alpha=alpha), on=True))


def _focus(dialogue: Dialogue, rest: str) -> None:
    if not rest:
        raise ValueError("/focus takes START:END in seconds, or off")
    mata: Mata = replace(dialogue.settings.mata, focus=None if rest == "off" else parse_focus(rest))
    dialogue.say(dialogue.settings.set_mata(mata, on=dialogue.chat.mata is not None))


def _set(dialogue: Dialogue, rest: str) -> None:
    name, _, text = rest.partition(" ")
    if not name:
        for one in NAMES:
            output.say(dialogue.settings.shown(one))
    elif not text.strip():
        output.say(dialogue.settings.shown(check_name(name)))
    else:
        dialogue.say(dialogue.settings.set(name, text.strip()))


def _show(dialogue: Dialogue, rest: str) -> None:
    for left, right in _facts(dialogue):
        output.say(f"{left:<9} {right}".rstrip())


def _facts(dialogue: Dialogue) -> Iterator[tuple[str, str]]:
    chat, settings = dialogue.chat, dialogue.settings
    engine = chat.engine
    turns = sum(message.role == "assistant" for message in chat.messages)
    yield "model", f"{chat.model_name}: {engine.description}"
    yield "", short_name(chat.model_path)
    yield "context", f"{chat.positions} of {engine.n_ctx} tokens, {turns} question{'' if turns == 1 else 's'}"
    mata = chat.describe_mata()
    yield "MATA", mata.removeprefix("MATA ")
    if dialogue.effect is not None:
        yield "", f"attention to the audio at the last answer: {dialogue.effect}"
    yield "system", settings.shown("system").removeprefix("system ")
    changed = [settings.shown(name) for name in SAMPLING if _is_changed(dialogue, name)]
    if settings.choosing:
        changed.append(settings.shown("contrast"))
    yield "sampling", ", ".join(["greedy"] * (settings.sampling.temperature == 0) + changed)
    yield "answer", f"at most {settings.shown('max_tokens').removeprefix('max_tokens ')} tokens"
    sounds = dialogue.sounds()
    n_heard = len(sounds) - len(dialogue.waiting)
    for number, sound in enumerate(sounds, 1):
        waits = "" if number <= n_heard else ", waiting"
        facts = f"{sound.clip.seconds:.1f} s, {sound.clip.tokens} tokens{waits}"
        yield (
            "clips" if number == 1 else "",
            f"{number:>{len(str(len(sounds)))}}  {short_name(sound.clip.name)}  {facts}",
        )
    if not sounds:
        yield "clips", "none; /audio PATH adds one"


def _is_changed(dialogue: Dialogue, name: str) -> bool:
    return bool(getattr(dialogue.settings.sampling, name) != DEFAULTS[name])


# The conversation --------------------------------------------------------------------------------


def _save(dialogue: Dialogue, rest: str) -> None:
    dialogue.say(dialogue.save(new_path(_needed(rest, "/save"))))


def _load(dialogue: Dialogue, rest: str) -> None:
    dialogue.say(dialogue.load(typed_path(_needed(rest, "/load"))))


def _needed(rest: str, command: str) -> str:
    if not rest:
        raise ValueError(f"{command} needs the name of a file, as {command} talk.json")
    return rest


def _clear(dialogue: Dialogue, rest: str) -> None:
    dialogue.clear()
    dialogue.say("the conversation is forgotten; /audio PATH gives it a clip")


def _help(dialogue: Dialogue, rest: str) -> None:
    output.say(help_text())


COMMANDS = {
    "/audio": Command("PATH...", "hear clips with the next question", _audio),
    "/record": Command("[SECONDS]", "hear the microphone with it; Enter ends the recording", _record),
    "/drop": Command("[N]", "take away clip N, or the last one, or the question", _drop),
    "/retry": Command("", "ask the last question again", _retry),
    "/compare": Command("QUESTION", "the answers with and without MATA, side by side", _compare),
    "/choices": Command("A|B|C QUESTION", 'one of these; with spaces: /choices "a cat|a dog" ...', _choices),
    "/mata": Command("on|off|ALPHA", "turn MATA on or off, or set its strength", _mata),
    "/focus": Command("START:END|off", "MATA on these seconds of the clips only", _focus),
    "/set": Command("NAME VALUE", "change a setting, as temperature; /set lists them", _set),
    "/show": Command("", "the model, settings, clips, and what the context holds", _show),
    "/save": Command("FILE", "write the conversation to a file (JSON)", _save),
    "/load": Command("FILE", "go on with a conversation of a file", _load),
    "/clear": Command("", "forget the conversation and its clips", _clear),
    "/help": Command("", "this list", _help),
}
ALIASES = {"/?": "/help", "/regenerate": "/retry"}
LEAVING = ("/exit", "/quit", "/bye")
