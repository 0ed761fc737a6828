"""Models that are elsewhere: what a request comes to, told before it is fetched, and recorded when it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..checks import short_name
from ..errors import ModelError
from . import choose, hub, integrity, room, store, web
from .download import CACHE_VARIABLE, cache_dir
from .entry import Entry, HubModel
from .spec import HubSpec, UrlSpec
from .store import Record, Stored
from .telling import Report, in_words, say


@dataclass(frozen=True)
class Wanted:
    """How to obtain a model.

    projector: whether its projector is wanted too.  refresh: ask for a newer one although it is there.
    insist: fetch it although this machine's memory is too small.
    """

    projector: bool = True
    refresh: bool = False
    insist: bool = False


PLAIN = Wanted()


def hub_spec(entry: Entry, quantization: str | None = None) -> HubSpec:
    """What a name of the catalogue stands for.  Raises ModelError where the model is not on the hub."""
    source = entry.source
    if not isinstance(source, HubModel):
        raise ModelError(f"{entry.name} comes in one quantization only")
    wanted = quantization or source.default
    file, projector = source.files.get(wanted), source.projector
    named = None if projector.unsure == "name and size" else projector.name
    if file is None or file.unsure == "name and size":
        return HubSpec(source.repository, quantization=wanted, projector=named)
    return HubSpec(source.repository, file.name, projector=named)


def stored(spec: HubSpec | UrlSpec, projector: bool = True) -> Record | None:
    """The record of a model that was fetched and is still there, whole; without a network."""
    if isinstance(spec, UrlSpec):
        record = store.find(spec.url, file=choose.parts(spec.name)[0], projector=None)
    else:
        named = (spec.projector or "") if projector else None
        record = store.find(spec.repository, spec.revision, spec.file, spec.quantization, named)
    return record if record is not None and record.is_there else None


def obtain(
    spec: HubSpec | UrlSpec, entry: Entry | None = None, wanted: Wanted = PLAIN, report: Report | None = None
) -> Record:
    """The files of a model, fetched unless they are there.  entry: of the catalogue.  Raises ModelError."""
    name = entry.name if entry is not None else str(spec) if isinstance(spec, HubSpec) else spec.name
    try:
        record = stored(spec, wanted.projector)
        if record is not None and not wanted.refresh:
            record, damaged = store.changed(record)
            if damaged is not None:
                raise ModelError(integrity.damage(Path(damaged), remedy(record)))
            return record
        if isinstance(spec, UrlSpec):
            return web.obtain(spec, wanted.insist, report)
        return _from_hub(spec, name, entry, wanted, report)
    except OSError as error:
        shown, reason = short_name(error.filename or cache_dir()), error.strerror or str(error)
        folders = f"HF_HOME and {CACHE_VARIABLE} name other folders"
        raise ModelError(f"cannot store {name} ({shown}): {reason}; {folders}") from None


def remedy(record: Record) -> str:
    """What to do where a file of a record was changed."""
    return f"mata-models pull {typed(record)} fetches it again"


def typed(record: Record) -> str:
    """The record's model as it can be typed after --model."""
    if not record.revision:
        return record.origin
    if record.asked != "main":
        return f"https://huggingface.co/{record.origin}/resolve/{record.asked}/{record.model[0].name}"
    if record.usual:
        return record.origin
    if record.quantization and not record.is_projector:
        return f"{record.origin}:{record.quantization}"
    return f"hf:{record.origin}/{record.model[0].name}"


def _from_hub(spec: HubSpec, name: str, entry: Entry | None, wanted: Wanted, report: Report | None) -> Record:
    listed = _listing(spec, name)
    model = _model(spec, listed)
    projector = _projector(spec, listed, model) if wanted.projector else None
    files = [listed.file(part) for part in choose.parts(model)]
    if projector is not None:
        files.append(listed.file(projector))
    before = _known(spec.repository)
    if not listed.cached:
        _announce(name, entry, listed, files, wanted, report)
    found = [hub.obtain(listed, file, before.get((file.name, file.sha256)), report) for file in files]
    parts = found if projector is None else found[:-1]
    record = Record(
        origin=spec.repository,
        asked=spec.revision,
        revision=listed.revision,
        usual=spec.file is None and spec.quantization is None,
        licence=listed.licence,
        model=tuple(parts),
        projector=None if projector is None else found[-1],
    )
    old = store.before(record)
    if old is not None and old.usual:
        record = replace(record, usual=True)
    store.save(record)
    if old is not None and old.revision != record.revision:
        hub.remove(spec.repository, store.not_shared(old))
    return record


def _listing(spec: HubSpec, name: str) -> hub.Listing:
    """What the repository holds, or, where it cannot be asked, what the hub's cache has of it."""
    variable = hub.offline()
    try:
        if variable is None:
            return hub.listing(spec.repository, spec.revision)
        raise ModelError(f"{name} is not there yet, and {variable} is set")
    except ModelError as error:
        cached = hub.cached_listing(spec.repository, spec.revision)
        if cached is None or ("cannot reach" not in str(error) and variable is None):
            raise
        try:  # all that is wanted must be there
            _projector(spec, cached, _model(spec, cached))
        except ModelError:
            raise error from None
        return cached


def _model(spec: HubSpec, listed: hub.Listing) -> str:
    if spec.file is not None:
        name = listed.file(spec.file).name
    else:
        name = choose.choose_model(listed.names, spec.quantization, spec.repository)
    missing = [part for part in choose.parts(name) if part not in listed.names]
    if missing:
        raise ModelError(f"{spec.repository} has not all parts of {name}: {missing[0]} is missing")
    return choose.parts(name)[0]


def _projector(spec: HubSpec, listed: hub.Listing, model: str) -> str:
    if spec.projector is not None:
        return listed.file(spec.projector).name
    found = choose.choose_projector(listed.names, model, spec.repository)
    if found is None:
        raise ModelError(
            f"{spec.repository} has no audio projector (mmproj*.gguf): give one with mmproj (--mmproj), as a file, a "
            "URL or hf:owner/repo/file.gguf"
        )
    return found


def _known(repository: str) -> dict[tuple[str, str], Stored]:
    records = store.of_origin(repository)
    return {(file.name, file.sha256): file for record in records for file in record.files}


def _announce(
    name: str,
    entry: Entry | None,
    listed: hub.Listing,
    files: Sequence[hub.RemoteFile],
    wanted: Wanted,
    report: Report | None,
) -> None:
    """Say what is fetched and under which licence, unless all is there.  Raises ModelError where there is no room."""
    size = sum(file.size for file in files)
    missing = sum(max(0, file.size - hub.partial(listed, file)) for file in files)
    if missing == 0:
        return
    room.check_disk(name, missing, hub.cache_folder(), "HF_HOME names another folder")
    room.check_memory(name, size, wanted.insist, report)
    there = "" if missing == size else f" ({in_words(size - missing)} of it are there)"
    origin = "" if entry is None else f" from {listed.repository}"
    say(report, f"fetching {name}: {in_words(size)}{there}{origin}")
    terms = entry.licence.terms if entry is not None else listed.licence or "its repository names none"
    say(report, f"licence: {terms}")
