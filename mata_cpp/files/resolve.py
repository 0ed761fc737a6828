"""How what is typed after --model becomes the files to load, and what to say of files that were damaged since."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .. import extension
from ..checks import short_name, short_repr
from ..errors import ModelError
from ..mata import Mata
from . import DEFAULT_MODEL, choose, download, headers, integrity
from .catalogue import BY_ANY_NAME
from .entry import Entry, Fetched, ModelFiles, WheelModel
from .spec import HubSpec, NamedSpec, PathSpec, UrlSpec, parse
from .store import Record
from .telling import Report

if TYPE_CHECKING:
    from . import remote

PathLike = str | os.PathLike[str]

Projector = tuple[Path, tuple[Fetched, ...]]
"""A projector that was asked for by its own name, and how to check it."""


def resolve(
    model: PathLike = DEFAULT_MODEL, mmproj: PathLike | None = None, report: Report | None = None
) -> ModelFiles:
    """The files of a model, fetched on first use.

    model: a name of the catalogue or NAME:QUANTIZATION, owner/repo[:QUANTIZATION] or hf:owner/repo/file.gguf of the
    Hugging Face hub, a URL, a folder, or a file.  mmproj: a file, a URL or hf:owner/repo/file.gguf; None: the model's
    own in the catalogue and on the hub, the one ``*mmproj*.gguf`` beside a file.  Raises ModelError.
    """
    text = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise ModelError("model must be the path of a GGUF file or a name of the catalogue")
    if mmproj is not None and not isinstance(mmproj, str | os.PathLike):
        raise ModelError(f"mmproj must be the path of a GGUF file, not {short_repr(mmproj)}")
    given = None if mmproj is None else _projector(os.fspath(mmproj), report)
    spec = parse(text) if isinstance(model, str) else PathSpec(text)
    if isinstance(spec, NamedSpec) and isinstance(spec.entry.source, WheelModel):
        return _from_wheel(spec, spec.entry.source, given, report)
    if isinstance(spec, PathSpec):
        return _from_path(spec.path, given)
    from . import remote  # what talks to a hub is slow to import

    if isinstance(spec, NamedSpec):
        record = remote.obtain(remote.hub_spec(spec.entry, spec.quantization), spec.entry, _wanted(given), report)
        return _fetched(spec.entry.name, record, given)
    record = remote.obtain(spec, None, _wanted(given), report)
    return _fetched(_stem(Path(record.model[0].path)), record, given)


QUICKLY_READ = 1_000_000_000
"""Bytes of a file that may be read to explain an error; those of a hub were looked at when they were resolved."""


def find_damage(files: ModelFiles, up_to: int | None = None) -> str | None:
    """What to say of a fetched model that is no longer what was fetched; reads all of it.

    up_to: leave out files of more bytes.
    """
    for file in files.fetched:
        with contextlib.suppress(OSError):
            if up_to is not None and file.path.stat().st_size > up_to:
                continue
            if integrity.sha256(file.path) != file.sha256:
                return integrity.damage(file.path, file.remedy)
    return None


@contextlib.contextmanager
def explain_damage(files: ModelFiles) -> Iterator[None]:
    """Where the block fails because of the model, say so if the file is damaged.  Raises ModelError."""
    try:
        yield
    except ModelError:
        damage = find_damage(files, QUICKLY_READ)
        if damage is None:
            raise
        raise ModelError(damage) from None


def default_mata(model: PathLike) -> Mata:
    """The setting of MATA that a model has unasked: the catalogue's, where it was measured, or the paper's."""
    entry = BY_ANY_NAME.get(os.fspath(model).lower().partition(":")[0]) if isinstance(model, str) else None
    return Mata() if entry is None or entry.mata is None else entry.mata


def unknown(name: str) -> str:
    """What to say of a name that the catalogue does not have."""
    import difflib

    close = difflib.get_close_matches(name.lower().partition(":")[0], BY_ANY_NAME, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"no model {short_repr(name)}: it is neither a file nor a name that mata-models list shows{hint}"


def existing_file(path: PathLike, what: str) -> Path:
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


def _wanted(given: Projector | None) -> remote.Wanted:
    from . import remote

    return remote.Wanted(projector=given is None)


def _projector(text: str, report: Report | None) -> Projector:
    """A projector that was asked for, fetched where it is elsewhere."""
    spec = parse(text)
    if isinstance(spec, UrlSpec) or (isinstance(spec, HubSpec) and spec.file is not None):
        from . import remote

        record = remote.obtain(spec, None, remote.Wanted(projector=False), report)
        return Path(record.model[0].path), _checks(record)
    if isinstance(spec, HubSpec) and not os.path.exists(text):
        raise ModelError(f"mmproj (--mmproj) {short_name(text)} names no file: give hf:owner/repo/file.gguf")
    return existing_file(text, "the projector (mmproj)"), ()


def _from_wheel(spec: NamedSpec, source: WheelModel, given: Projector | None, report: Report | None) -> ModelFiles:
    entry, adapter = spec.entry, None
    _check_quantization(entry, spec.quantization, source)
    if given is None:
        projector = download.own_file(source.projector)
        adapter = None if source.lora is None else download.own_file(source.lora)
    else:
        projector = given[0]
    path = download.obtain(source.file, entry.name, report)
    fetched = Fetched(path, source.file.sha256, "delete it, and it is fetched again")
    return ModelFiles(entry.name, path, projector, (fetched, *(given[1] if given else ())), adapter)


def _check_quantization(entry: Entry, quantization: str | None, source: WheelModel) -> None:
    have = choose.quantization(source.file.name)
    if quantization not in (None, have):
        raise ModelError(f"{entry.name} has no {quantization}: it has {have}")


def _fetched(name: str, record: Record, given: Projector | None) -> ModelFiles:
    if given is not None:
        projector, checks = given
    elif record.projector is not None:
        projector, checks = Path(record.projector.path), ()
    else:
        raise ModelError(
            f"{record.model[0].name} needs its audio projector: give one with mmproj (--mmproj), as a file or a URL"
        )
    return ModelFiles(name, Path(record.model[0].path), projector, (*_checks(record), *checks))


def _checks(record: Record) -> tuple[Fetched, ...]:
    from . import remote

    remedy = remote.remedy(record)
    return tuple(Fetched(Path(file.path), file.sha256, remedy) for file in record.files)


def _from_path(text: str, given: Projector | None) -> ModelFiles:
    if not os.path.exists(text) and _looks_like_name(text):
        raise ModelError(unknown(text))
    path = _model_in(Path(text)) if os.path.isdir(text) else existing_file(text, "the model")
    path = _first_part(path)
    if given is not None:
        return ModelFiles(_stem(path), path, *given)
    try:
        return ModelFiles(_stem(path), path, _projector_beside(path))
    except ModelError:
        headers.check_model(path, extension.load())  # what is wrong with the file itself comes first
        raise


def _looks_like_name(text: str) -> bool:
    return not text.lower().endswith(".gguf") and os.sep not in text and "/" not in text and not text.startswith(".")


def _model_in(folder: Path) -> Path:
    """The one model in a folder."""
    try:
        names = [path.name for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise ModelError(f"cannot read the folder {short_name(folder)}: {error.strerror or error}") from None
    found = choose.models(names)
    if len(found) == 1:
        return folder / found[0]
    have = f"has several models ({short_name(', '.join(found))}): name one of them" if found else "has no GGUF model"
    raise ModelError(f"the folder {short_name(folder)} {have}")


def _first_part(path: Path) -> Path:
    """path, or the first part of the split model that it belongs to.  Raises ModelError where a part is missing."""
    parts = [path.with_name(name) for name in choose.parts(path.name)]
    for part in parts:
        if not part.exists():
            raise ModelError(f"{short_name(path)} is one of {len(parts)} parts, and {short_name(part.name)} is missing")
    return parts[0]


def _stem(path: Path) -> str:
    return Path(choose.SPLIT.sub("", path.name)).stem
