"""A conversation in a file: JSON with messages, settings, and the clips by their paths and content.

Nothing in it is executed, and no sound is in it: where a clip came from a microphone, its samples are written beside.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..audio import Audio
from ..checks import short_name, short_repr
from ..decoding.sampling import Json
from ..errors import AudioError, MataError

FORMAT, VERSION = "mata-cpp conversation", 1
MAX_BYTES = 64 << 20
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class SavedClip:
    """path: absolute.  content_id: of the decoded sound.  channel: as Audio takes it."""

    path: str
    content_id: str
    channel: int | str | None = None


@dataclass(frozen=True)
class SavedMessage:
    role: str
    text: str
    clips: tuple[SavedClip, ...] = ()


@dataclass(frozen=True)
class Saved:
    """waiting: clips for the next question.  model: the name of the one that answered."""

    model: str
    messages: tuple[SavedMessage, ...]
    waiting: tuple[SavedClip, ...] = ()
    settings: Mapping[str, Json] = field(default_factory=dict)


def write(file: Path, saved: Saved) -> None:
    """Replaces the file at once, or leaves it as it is.  Raises MataError."""
    record = {
        "format": FORMAT,
        "version": VERSION,
        "model": saved.model,
        "settings": dict(saved.settings),
        "messages": [
            {
                "role": message.role,
                "text": message.text,
                **({"clips": [_written(clip) for clip in message.clips]} if message.clips else {}),
            }
            for message in saved.messages
        ],
        "waiting": [_written(clip) for clip in saved.waiting],
    }
    data = json.dumps(record, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass") + b"\n"
    try:
        handle, scratch = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:50]}.")
        try:
            with open(handle, "wb") as out:
                out.write(data)
            os.chmod(scratch, 0o666 & ~_umask())
            os.replace(scratch, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(scratch)
            raise
    except (OSError, ValueError) as error:
        raise MataError(f"cannot write {short_name(file)}: {getattr(error, 'strerror', None) or error}") from None


def read(file: Path) -> Saved:
    """Raises MataError for what is no saved conversation: one line that says what is wrong where."""
    shown = short_name(file)
    try:
        with open(file, "rb") as source:
            data = source.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise MataError(f"no such file: {shown}") from None
    except (OSError, ValueError) as error:
        raise MataError(f"cannot read {shown}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise MataError(f"{shown} is no saved conversation: it has more than {MAX_BYTES >> 20} MiB")
    try:
        record = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise MataError(f"{shown} is no saved conversation: it is not JSON") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise MataError(f"{shown} is no saved conversation: /save FILE writes one")
    if record.get("version") != VERSION:
        raise MataError(
            f"{shown} is of version {short_repr(record.get('version'))} of the format, and this program reads {VERSION}"
        )
    try:
        return Saved(
            model=_text(record.get("model", ""), "model"),
            messages=tuple(
                _message(one, f"message {number}") for number, one in enumerate(_list(record, "messages"), 1)
            ),
            waiting=_clips(record, "waiting", "waiting"),
            settings=_mapping(record.get("settings", {}), "settings"),
        )
    except ValueError as error:
        raise MataError(f"{shown}: {error}") from None


def open_clip(clip: SavedClip, folder: Path) -> tuple[Audio, str]:
    """The clip, and where it was found: at its path, or in the folder of the saved conversation under its name.

    Raises AudioError where it is missing, or sounds otherwise than when it was saved.
    """
    path = next((place for place in (clip.path, str(folder / Path(clip.path).name)) if os.path.exists(place)), None)
    if path is None:
        raise AudioError(f"no such file: {short_name(clip.path)}, which the conversation is about")
    audio = Audio(path, channel=clip.channel)
    if audio.content_id != clip.content_id:
        raise AudioError(f"{short_name(path)} is not the sound that the conversation is about: it was changed")
    return audio, path


def write_clip(file: Path, audio: Audio) -> None:
    """The samples of a clip that is in no file; reading it gives the same content_id.  Raises MataError."""
    import soundfile

    try:
        with open(file, "xb") as out:
            soundfile.write(out, audio.samples(), audio.sample_rate, format="WAV", subtype="FLOAT")
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        raise MataError(f"cannot write {short_name(file)}: {getattr(error, 'strerror', None) or error}") from None


# -----------------------------------------------------------------------------------------------


def _written(clip: SavedClip) -> dict[str, Json]:
    channel: dict[str, Json] = {} if clip.channel is None else {"channel": clip.channel}
    return {"path": clip.path, "content_id": clip.content_id, **channel}


def _message(record: Any, where: str) -> SavedMessage:
    record = _mapping(record, where)
    role = record.get("role")
    if role not in ROLES:
        raise ValueError(f"{where}: role must be one of {', '.join(ROLES)}, not {short_repr(role)}")
    return SavedMessage(str(role), _text(record.get("text"), f"{where}: text"), _clips(record, "clips", where))


def _clips(record: Mapping[str, Any], key: str, where: str) -> tuple[SavedClip, ...]:
    found = []
    for one in _list(record, key):
        clip = _mapping(one, f"{where}: a clip")
        channel = clip.get("channel")
        if channel is not None and (isinstance(channel, bool) or not isinstance(channel, int | str)):
            raise ValueError(f"{where}: channel must be a number or a text, not {short_repr(channel)}")
        path = _text(clip.get("path"), f"{where}: path")
        if not path or "\0" in path:
            raise ValueError(f"{where}: path must name a file, not {short_repr(path)}")
        found.append(SavedClip(path, _text(clip.get("content_id"), f"{where}: content_id"), channel))
    return tuple(found)


def _list(record: Mapping[str, Any], key: str) -> list[Any]:
    value = record.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list, not {short_repr(value)}")
    return value


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, not {short_repr(value)}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} must be a text, not {short_repr(value)}")
    return value


def _umask() -> int:
    """The mask of new files, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
