"""What mata-models prints of a model: a table, lines for people, records for JSON."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ModelError
from ..files import choose, download, hub, store
from ..files.catalogue import ENTRIES
from ..files.entry import Entry, HubModel, WheelModel, memory_needed
from ..files.inventory import Here, Item, locate
from ..files.spec import HubSpec, NamedSpec, UrlSpec
from ..files.telling import in_words

Facts = dict[str, object]


def table(items: Sequence[Item]) -> list[str]:
    """A line of at most 80 columns for each model of the catalogue, and after them what else is here."""
    lines, others = [_row(" ", "model", "disk", "memory", "licence", "hears")], list[str]()
    for item in items:
        if item.entry is not None:
            lines.append(_entry_row(item.name, item.entry, item.here))
        elif item.here is not None:
            size, memory = in_words(item.here.size), in_words(memory_needed(item.here.size))
            others += [f"* {item.name}", f"{'':26} {size:>8} {memory:>8} {item.licence}".rstrip()]
    if others:
        lines += ["", "not of the catalogue:", *others]
    return [*lines, "", "* is here   ~ an estimate   ? not verified   (mata-models show MODEL: more)"]


def readme_table() -> list[str]:
    """The catalogue as a table of Markdown."""
    lines = ["| `--model` | hears | disk | memory | licence |", "|---|---|---|---|---|"]
    for found in ENTRIES:
        about = "about " if found.is_estimate else ""
        licence = f"[{found.licence.name}]({found.licence.url})" + ("" if found.licence.sure else " (not verified)")
        sizes = f"{about}{in_words(found.size)} | {in_words(found.memory)}"
        lines.append(f"| `{found.name}` | {', '.join(found.hears)} | {sizes} | {licence} |")
    return lines


def _entry_row(name: str, found: Entry, place: Here | None) -> str:
    licence = found.licence.name + ("" if found.licence.sure else "?")
    size = found.size if place is None else place.size
    disk = f"{'~' if found.is_estimate and place is None else ''}{in_words(size)}"
    mark = " " if place is None else "*"
    return _row(mark, name, disk, in_words(memory_needed(size)), licence, ", ".join(found.hears))


def _row(mark: str, name: str, size: str, memory: str, licence: str, hears: str) -> str:
    return f"{mark} {name:<24} {size:>8} {memory:>8} {licence:<14} {hears}".rstrip()


def here(found: Here) -> Facts:
    """A model that was fetched."""
    return {
        "model": str(found.model),
        "mmproj": None if found.mmproj is None else str(found.mmproj),
        "size": found.size,
        "quantization": found.quantization,
        "revision": found.revision,
        "sha256": found.sha256,
    }


def item(found: Item) -> Facts:
    """A line of the list; sizes in bytes."""
    facts: Facts = {"name": found.name}
    if found.entry is not None:
        facts |= entry(found.entry)
    else:
        facts["licence"] = found.licence
    return facts | {"here": None if found.here is None else here(found.here)}


def entry(found: Entry) -> Facts:
    """A model of the catalogue; sizes in bytes."""
    source = found.source
    facts: Facts = {
        "name": found.name,
        "aliases": list(found.aliases),
        "about": found.about,
        "hears": list(found.hears),
        "size": found.size,
        "memory": found.memory,
        "licence": {"name": found.licence.name, "terms": found.licence.terms, "url": found.licence.url},
    }
    if isinstance(source, HubModel):
        facts["repository"] = source.repository
        facts["default"] = source.default
        facts["quantizations"] = {tag: {"file": file.name, "size": file.size} for tag, file in source.files.items()}
        facts["mmproj"] = {"file": source.projector.name, "size": source.projector.size}
    facts["results"] = [vars(result) for result in found.results]
    facts["notes"] = list(found.notes)
    facts["unverified"] = found.unsure
    facts["here"] = {tag: here(place) for tag, place in _places(found)}
    return facts


def entry_lines(found: Entry) -> list[str]:
    """The same for people."""
    source, places = found.source, dict(_places(found))
    lines = [f"{found.name}: {found.about}", ""]
    lines += [f"hears     {', '.join(found.hears)}"]
    lines += [f"memory    about {in_words(found.memory)}"]
    lines += [f"licence   {found.licence.terms}", f"          {found.licence.url}"]
    if isinstance(source, HubModel):
        lines += [f"from      {source.repository}"]
        label = "files"
        for tag, file in source.files.items():
            marks = [mark for mark, is_so in (("here", tag in places), ("usual", tag == source.default)) if is_so]
            size = f"{'~' if file.unsure else ''}{in_words(file.size)}"
            lines += [f"{label:<9} {tag:<8} {size:>8}  {file.name}" + (f"  ({', '.join(marks)})" if marks else "")]
            label = ""
        size = f"{'~' if source.projector.unsure else ''}{in_words(source.projector.size)}"
        lines += [f"          {'mmproj':<8} {size:>8}  {source.projector.name}"]
    else:
        lines += [f"from      the wheel {source.file.requirement}, {in_words(source.file.download_size)}"]
    if found.results:
        lines += ["", "The authors of MATA report, in percent right, without MATA and with it:"]
        width = max(len(result.benchmark) for result in found.results)
        lines += [f"  {r.benchmark:<{width}}  {r.without:.1f}  {r.boosted:.1f}" for r in found.results]
        lines += ["This has not been reproduced here."]
    if found.notes or found.unsure:
        lines += ["", *found.notes]
    if found.unsure:
        lines += ["Not verified:", *(f"  {what}" for what in found.unsure)]
    for place in places.values():
        lines += ["", *_place_lines(place)]
    return lines


def repository(spec: HubSpec) -> tuple[Facts, list[str]]:
    """What a repository of the hub holds; the hub is asked.  Raises ModelError."""
    listed = hub.listing(spec.repository, spec.revision)
    names, place = listed.names, locate(spec)
    found = choose.models(names)
    if not found:
        choose.choose_model(names, None, spec.repository)
    usual = choose.choose_model(names, None, spec.repository)
    projector = choose.choose_projector(names, usual, spec.repository)
    sizes = {name: sum(listed.file(part).size for part in choose.parts(name) if part in names) for name in found}
    projectors = [name for name in names if choose.is_projector(name)]
    facts: Facts = {
        "name": spec.repository,
        "revision": listed.revision,
        "licence": listed.licence,
        "default": usual,
        "models": [{"file": n, "quantization": choose.quantization(n), "size": sizes[n]} for n in found],
        "mmproj": [{"file": name, "size": listed.file(name).size} for name in projectors],
        "here": None if place is None else here(place),
    }
    lines = [spec.repository, "", f"licence   {listed.licence or 'not named'}", f"revision  {listed.revision}"]
    for label, listing in (("models", [(n, sizes[n]) for n in found]), ("mmproj", [(n, 0) for n in projectors])):
        for name, size in listing:
            mark = "  (usual)" if name in (usual, projector) else ""
            lines += [f"{label:<9} {in_words(size or listed.file(name).size):>8}  {name}{mark}"]
            label = ""
    if projector is None:
        lines += ["", "No audio projector (mmproj*.gguf): give one with --mmproj."]
    return facts, lines if place is None else [*lines, "", *_place_lines(place)]


def url(spec: UrlSpec) -> tuple[Facts, list[str]]:
    """A file on the web that was fetched.  Raises ModelError where it was not."""
    place = locate(spec)
    if place is None:
        raise ModelError(f"{spec.url} is not here: mata-models pull fetches it")
    return {"name": spec.url, "here": here(place)}, [spec.url, "", *_place_lines(place)]


def folders() -> dict[str, str]:
    """Where models are kept."""
    return {"own": str(download.cache_dir()), "hub": str(hub.cache_folder())}


def _places(found: Entry) -> list[tuple[str, Here]]:
    """What of a model is here, by quantization."""
    if isinstance(found.source, WheelModel):
        tags = [choose.quantization(found.source.file.name) or ""]
    else:
        known = [record.quantization or "" for record in store.of_origin(found.source.repository)]
        tags = list(dict.fromkeys([*found.source.files, *filter(None, known)]))
    located = [(tag, locate(NamedSpec(found, tag))) for tag in tags]
    return [(tag, place) for tag, place in located if place is not None]


def _place_lines(place: Here) -> list[str]:
    lines = [f"here      {place.model}"]
    if place.mmproj is not None:
        lines += [f"          {place.mmproj}"]
    return [*lines, f"          sha256 {place.sha256}", f"          revision {place.revision or 'none: a URL'}"]
