"""What Tab offers in a conversation: commands, settings, and the paths of sound files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..audio import looks_like_audio_path
from ..mata import MODES
from .options import CONTRASTS
from .paths import escaped, unescaped
from .repl_commands import COMMANDS
from .settings import NAMES

Keep = Callable[[str], bool]

_LAST_WORD = re.compile(
    r"""(?:'[^']*'?|"[^"]*"?|\\.|\S)*$""" if os.name != "nt" else r"""(?:"[^"]*"?|\S)*$""", re.DOTALL
)

VALUES = {
    "/mata": ("on", "off"),
    "/focus": ("off",),
    "/set mode": MODES,
    "/set layers": ("auto",),
    "/set focus": ("off",),
    "/set contrast": (*CONTRASTS, "off"),
}
"""Words that may stand at the end of these."""


@dataclass(frozen=True)
class Candidate:
    """text stands in place of the last n_before characters; shown is what a list of candidates has for it."""

    text: str
    n_before: int
    shown: str


def candidates(line: str) -> Iterator[Candidate]:
    """What may stand at the end of the text before the cursor."""
    line = line.lstrip()
    command, space, rest = line.partition(" ")
    if command in COMMANDS and space:
        yield from _arguments(command, rest)
        return
    if " " not in line and line.startswith("/"):
        names = [name for name in COMMANDS if name.startswith(line)]
        for name in names:
            yield Candidate(name + (" " if COMMANDS[name].arguments else ""), len(line), name)
        if names:
            return
    last = _last_word(line)
    if last.lstrip("'\"").startswith(("/", "./", "../", "~")):
        yield from _paths(last, looks_like_audio_path)


def _arguments(command: str, rest: str) -> Iterator[Candidate]:
    rest = rest.lstrip()
    if command in ("/audio", "/load", "/save"):
        yield from _paths(_last_word(rest), looks_like_audio_path if command == "/audio" else _is_saved)
        return
    words = rest.split(" ")
    known: tuple[str, ...] = ()
    if command == "/set" and len(words) == 1:
        known = tuple(f"{name} " for name in NAMES)
    elif len(words) == 1 + (command == "/set"):
        known = VALUES.get(" ".join([command, *words[:-1]]), ())
    for word in known:
        if word.startswith(words[-1]):
            yield Candidate(word, len(words[-1]), word.strip())


def _paths(word: str, keep: Keep) -> Iterator[Candidate]:
    """Folders, and the files that keep wants, whose path begins with a word that may be quoted or escaped."""
    quote = word[:1] if word[:1] in ("'", '"') else ""
    plain = word[1:] if quote else unescaped(word)
    folder, prefix = os.path.split(plain)
    before = plain[: len(plain) - len(prefix)]
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
    except (OSError, ValueError):
        return
    for name, is_folder in found:
        hidden = name.startswith(".") and not prefix.startswith(".")
        if not name.startswith(prefix) or hidden or not name.isprintable() or not (is_folder or keep(name)):
            continue
        end = "/" if is_folder else ""
        path = before + name + end
        text = f"{quote}{path}{'' if is_folder else quote}" if quote else escaped(path)
        yield Candidate(text, len(word), name + end)


def _is_saved(name: str) -> bool:
    return name.lower().endswith(".json")


def _last_word(text: str) -> str:
    match = _LAST_WORD.search(text)
    return match.group() if match else ""
