"""Which models are here, which of the catalogue could be, and how one is removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from . import choose, download, hub, remote, store, web
from .catalogue import ENTRIES
from .entry import Entry, HubModel, WheelModel
from .spec import HubSpec, NamedSpec, PathSpec, UrlSpec, parse
from .store import Record


@dataclass(frozen=True)
class Here:
    """A model that was fetched: its files, as the first part of the model and the projector.  size: in bytes."""

    model: Path
    mmproj: Path | None
    size: int
    quantization: str | None
    revision: str
    sha256: str


@dataclass(frozen=True)
class Item:
    """A line of the list.  name: as it can be typed.  entry: None for what is not of the catalogue."""

    name: str
    entry: Entry | None
    here: Here | None
    licence: str


def items() -> list[Item]:
    """The catalogue, and after it what else was fetched."""
    records = [record for record in store.all_records() if record.is_there]
    found, of_catalogue = [], list[Record]()
    for entry in ENTRIES:
        here = locate(NamedSpec(entry))
        if here is not None and isinstance(entry.source, HubModel):
            of_catalogue += [record for record in records if _here(record) == here]
        found.append(Item(entry.name, entry, here, entry.licence.name))
    for record in records:
        if record not in of_catalogue:
            found.append(Item(remote.typed(record), None, _here(record), record.licence))
    return found


def locate(spec: NamedSpec | HubSpec | UrlSpec) -> Here | None:
    """Where a model is, if it was fetched and is whole; asks no network and reads no model.  Raises ModelError."""
    if isinstance(spec, NamedSpec) and isinstance(spec.entry.source, WheelModel):
        return _from_wheel(spec.entry, spec.entry.source)
    record = _record(spec)
    return None if record is None else _here(record)


def remove(spec: NamedSpec | HubSpec | UrlSpec) -> int:
    """Delete what was fetched of a model; the bytes that it had.  Raises ModelError, OSError."""
    if isinstance(spec, NamedSpec) and isinstance(spec.entry.source, WheelModel):
        path = download.stored(spec.entry.source.file, spec.entry.name)
        size = 0 if path is None else path.stat().st_size
        download.remove(spec.entry.name)
        return size
    record = _record(spec)
    if record is None:
        return 0 if isinstance(spec, UrlSpec) else hub.remove_parts(_repository(spec))
    if not record.revision:
        web.remove(record)
        store.forget(record)
        return record.size
    files = store.not_shared(record)
    hub.remove(record.origin, files)
    store.forget(record)
    return sum(file.size for file in files) + hub.remove_parts(record.origin)


def wanted(text: str) -> NamedSpec | HubSpec | UrlSpec:
    """What a name means for the commands that fetch and remove: anything but a file here.  Raises ModelError."""
    from .resolve import unknown

    spec = parse(text)
    if isinstance(spec, PathSpec):
        if Path(text).exists():
            raise ModelError(f"{text} is a file or folder here, which needs no fetching: give it to --model")
        raise ModelError(f"{text} is not there" if "/" in text or "\\" in text else unknown(text))
    if isinstance(spec, NamedSpec) and isinstance(source := spec.entry.source, WheelModel):
        have = choose.quantization(source.file.name)
        if spec.quantization not in (None, have):
            raise ModelError(f"{spec.entry.name} has no {spec.quantization}: it has {have}")
    return spec


def _record(spec: NamedSpec | HubSpec | UrlSpec) -> Record | None:
    if isinstance(spec, NamedSpec):
        spec = remote.hub_spec(spec.entry, spec.quantization)
    return remote.stored(spec) or remote.stored(spec, projector=False)


def _repository(spec: NamedSpec | HubSpec) -> str:
    return spec.repository if isinstance(spec, HubSpec) else remote.hub_spec(spec.entry).repository


def _here(record: Record) -> Here:
    first, projector = record.model[0], record.projector
    return Here(
        Path(first.path),
        None if projector is None else Path(projector.path),
        record.size,
        record.quantization,
        record.revision,
        first.sha256,
    )


def _from_wheel(entry: Entry, source: WheelModel) -> Here | None:
    path = download.stored(source.file, entry.name)
    if path is None:
        return None
    mmproj = download.own_file(source.projector)
    quantization = choose.quantization(source.file.name)
    return Here(path, mmproj, entry.size, quantization, source.file.requirement, source.file.sha256)
