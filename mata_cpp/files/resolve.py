"""How a name or a path becomes the files to load, and what to say of files that were damaged since."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from .. import extension
from ..errors import ModelError
from . import download, headers
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
        raise ModelError(f"mmproj must be the path of a GGUF file, not {mmproj!r}")
    projector = None if mmproj is None else _existing(Path(mmproj), "the projector (mmproj)")
    entry = BY_NAME.get(text)
    if entry is not None and not Path(text).is_file():
        adapter = None
        if projector is None:
            projector = download.obtain(entry.mmproj, entry, report)
            adapter = None if entry.lora is None else download.obtain(entry.lora, entry, report)
        wheel = entry.model if isinstance(entry.model, WheelFile) else None
        model = download.obtain(entry.model, entry, report)
        return ModelFiles(entry.name, model, projector, wheel, adapter)
    path = Path(text)
    if not path.exists() and _looks_like_name(text):
        raise ModelError(_unknown(text))
    path = _existing(path, "the model")
    if projector is None:
        try:
            projector = _projector_beside(path)
        except ModelError:
            headers.check_model(path, extension.load())  # what is wrong with the file itself comes first
            raise
    return ModelFiles(path.stem, path, projector)


def find_damage(files: ModelFiles) -> str | None:
    """What to say of a fetched model that is no longer what was fetched; reads all of it."""
    if files.wheel is None or download.sha256(files.model) == files.wheel.sha256:
        return None
    return f"{files.model} is damaged: delete it, and it is fetched again"


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
    return f"no model {name!r}: it is neither a file nor one of {', '.join(BY_NAME)}{hint}"


def _existing(path: Path, what: str) -> Path:
    try:
        if path.is_dir():
            raise ModelError(f"{what} {path} is a directory: name the .gguf file in it")
        if not path.exists():
            raise ModelError(f"{what} {path} does not exist")
    except (OSError, ValueError) as error:
        raise ModelError(f"{what} {str(path)!r} cannot be read: {error}") from None
    return path


def _projector_beside(model: Path) -> Path:
    folder = model.parent
    found = sorted(
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(".gguf") and "mmproj" in path.name.lower() and not path.samefile(model)
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelError(
            f"{model.name} needs its audio projector, and no mmproj*.gguf is beside it: name one with mmproj (--mmproj)"
        )
    names = ", ".join(path.name for path in found)
    raise ModelError(f"{model.name} has several projectors beside it ({names}): choose one with mmproj (--mmproj)")
