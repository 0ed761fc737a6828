"""What the text after --model means: a path, a name of the catalogue, a repository of the hub, a URL."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ..checks import short_name, short_repr
from ..errors import ModelError
from .catalogue import BY_ANY_NAME
from .entry import Entry

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
QUANTIZATION = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
REVISION = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")


@dataclass(frozen=True)
class HubSpec:
    """A model of the hub.  file: its name there, else quantization picks it, and without both the usual one is taken.

    projector: the name of its projector there; None: picked.
    """

    repository: str
    file: str | None = None
    quantization: str | None = None
    projector: str | None = None
    revision: str = "main"

    def __str__(self) -> str:
        """As it can be typed."""
        file = f"/{self.file}" if self.file else ""
        quantization = f":{self.quantization}" if self.quantization else ""
        return f"{'hf:' if file else ''}{self.repository}{file}{quantization}"


@dataclass(frozen=True)
class UrlSpec:
    """A GGUF file somewhere on the web."""

    url: str

    @property
    def name(self) -> str:
        """Of the file, safe to be one here."""
        last = unquote(urlsplit(self.url).path).replace("\\", "/").rsplit("/", 1)[-1]
        return re.sub(r"[^\w.-]", "_", last, flags=re.ASCII).lstrip(".")[-150:] or "model.gguf"


@dataclass(frozen=True)
class NamedSpec:
    """A model of the catalogue; quantization None: its usual one."""

    entry: Entry
    quantization: str | None = None


@dataclass(frozen=True)
class PathSpec:
    """A file or a folder here."""

    path: str


Spec = HubSpec | UrlSpec | NamedSpec | PathSpec


def parse(text: str) -> Spec:
    """What text means.  A path that is there comes first, but for a folder with the name of a model.

    Raises ModelError for a repository or a URL that cannot be one.
    """
    if os.path.isfile(text):
        return PathSpec(text)
    name, colon, quantization = text.partition(":")
    if (entry := BY_ANY_NAME.get(name)) is not None:
        return NamedSpec(entry, _quantization(quantization, text) if colon else None)
    if os.path.exists(text):
        return PathSpec(text)
    lower = text.lower()
    if lower.startswith("hf:"):
        return _hub(text[3:].removeprefix("//"), text)
    if lower.startswith(("http://", "https://")):
        return _url(text)
    for host in HUB_HOSTS:
        if lower.startswith(f"{host}/"):
            return _hub(text[len(host) + 1 :], text)
    if "://" in text:
        raise ModelError(f"{short_name(text)}: only http and https URLs can be fetched")
    if lower.endswith(".gguf"):
        return PathSpec(text)
    repository, colon, quantization = text.partition(":")
    if REPOSITORY.fullmatch(repository) and not os.path.isdir(repository.partition("/")[0]):
        return _hub(text, text)
    return PathSpec(text)


def safe_name(name: str) -> bool:
    """Whether a name of a file in a repository stays within a folder it is put into, on any system."""
    parts = name.split("/")
    return (
        0 < len(name) <= 300
        and name.isprintable()
        and not re.search(r'[\\:*?"<>|]', name)
        and all(part.strip(". ") and not part.startswith("..") for part in parts)
    )


def _hub(text: str, given: str) -> HubSpec:
    """OWNER/REPO[/FILE][:QUANTIZATION]"""
    path, colon, quantization = text.partition(":")
    owner, _, rest = path.partition("/")
    repository, _, file = rest.partition("/")
    name = f"{owner}/{repository}"
    if not REPOSITORY.fullmatch(name) or ".." in name or (file and not safe_name(file)):
        raise ModelError(
            f"{short_repr(given)} is no name of a model on the hub: owner/repo, or hf:owner/repo/file.gguf"
        )
    if file and colon:
        raise ModelError(f"{short_repr(given)} names a file and a quantization: give one of them")
    return HubSpec(name, file or None, _quantization(quantization, given) if colon else None)


def _quantization(text: str, given: str) -> str:
    if not QUANTIZATION.fullmatch(text):
        raise ModelError(
            f"{short_repr(given)}: what comes after the colon must be a quantization, as in {_example(given)}"
        )
    return text.upper()


def _example(given: str) -> str:
    return f"{short_name(given.partition(':')[0])}:Q8_0"


def _url(text: str) -> HubSpec | UrlSpec:
    try:
        found = urlsplit(text)
        host = found.hostname
    except ValueError:
        host = None
    if not host or not text.isprintable() or " " in text:
        raise ModelError(f"{short_repr(text)} is not a URL")
    if host.lower() not in HUB_HOSTS:
        return UrlSpec(text)
    parts = unquote(found.path).strip("/").split("/")
    if len(parts) >= 5 and parts[2] in ("resolve", "blob", "raw"):
        spec = _hub("/".join([*parts[:2], *parts[4:]]), text)
        if not REVISION.fullmatch(parts[3]) or ".." in parts[3]:
            raise ModelError(f"{short_repr(text)}: {short_repr(parts[3])} is not a revision")
        return HubSpec(spec.repository, spec.file, revision=parts[3])
    if len(parts) == 2 or (len(parts) == 4 and parts[2] == "tree"):
        return _hub("/".join(parts[:2]), text)
    raise ModelError(f"{short_name(text)} is neither a repository nor a file of one")
