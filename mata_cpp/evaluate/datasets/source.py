"""The rows of a data set's file, and the sounds that they name."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...audio import looks_like_audio_path
from ...checks import short_name, short_repr
from ...errors import MataError
from ..items import AudioPart

LETTERED = re.compile(r"^\s*\(?([A-Za-z])[).:]\s+")
"""What marks a choice: "(A) ", "A. ", "a) "."""

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
"""Tried, in this order, for a sound that is named without one."""

_BATCH = 64
"""Rows of a parquet file that are read at a time."""


@dataclass(frozen=True)
class Row:
    """A row and where it stands, for messages."""

    source: Source
    number: int
    values: Mapping[str, Any]

    def fail(self, what: str) -> MataError:
        """The error of this row."""
        return MataError(f"{short_name(self.source.path)}, entry {self.number}: {what}")

    def get(self, *names: str) -> Any:
        """The value of the first of these fields that is there and not null; None where there is none."""
        return next((value for name in names if (value := self.values.get(name)) is not None), None)

    def text(self, *names: str) -> str:
        """The same as a text that is not empty."""
        value = self.get(*names)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            raise self.fail(f"{names[0]} is missing" if value is None else f"{names[0]} is {short_repr(value)}")
        return str(value)

    def texts(self, *names: str) -> tuple[str, ...]:
        """The same as a list of texts: a list, or a text that is one in JSON or has | between its parts."""
        value = self.get(*names)
        if isinstance(value, str):
            value = _list_of(value)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or not all(isinstance(part, str | int | float) for part in value):
            raise self.fail(f"{names[0]} is no list of texts: {short_repr(value)}")
        return tuple(str(part) for part in value)

    def group(self, name: str) -> str | None:
        """A value to tell results by; of a list its parts, sorted, with commas."""
        value = self.values.get(name)
        if isinstance(value, list | tuple):
            return ", ".join(sorted(map(str, value)))
        return None if value is None else str(value)

    def groups(self, *names: str) -> dict[str, str]:
        """Those of these that are there."""
        return {name: value for name in names if (value := self.group(name)) is not None}

    def sounds(self, *names: str) -> tuple[AudioPart, ...]:
        """The clips: a path, the bytes of a file, what the hub's sets hold ({"bytes", "path"}), or a list of these."""
        value = self.get(*names)
        if value is None:
            raise self.fail(f"{names[0]} is missing")
        found = value if isinstance(value, list | tuple) else [value]
        return tuple(self._sound(one) for one in found)

    def right(self, answer: str, choices: Sequence[str]) -> str:
        """The choice that answer names, by its text or its letter."""
        named = self.named(answer, choices)
        if named is None:
            raise self.fail(f"the answer {short_repr(answer)} is none of the choices {short_repr(bare(choices))}")
        return named

    @staticmethod
    def named(answer: str, choices: Sequence[str]) -> str | None:
        """The same; None where it names none."""
        found = bare(choices)
        folded = [choice.strip().casefold() for choice in found]
        for wanted in (answer, unlettered(answer)):
            if wanted in found:
                return wanted
            if wanted.strip().casefold() in folded:
                return found[folded.index(wanted.strip().casefold())]
        letter = answer.strip().strip("().:").upper()
        if len(letter) == 1 and 0 <= ord(letter) - ord("A") < len(found):
            return found[ord(letter) - ord("A")]
        return None

    def _sound(self, value: Any) -> AudioPart:
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes) and value:
            return value
        if not isinstance(value, str) or not value.strip():
            raise self.fail(f"no sound is named: {short_repr(value)}")
        return self.source.find(value, self)


@dataclass(frozen=True)
class Source:
    """path: of the questions.  audio: the folder of the sounds; None: that of the questions.  need_audio: they must be
    there."""

    path: Path
    audio: Path | None
    need_audio: bool = True

    def rows(self) -> Iterator[Row]:
        """Raises MataError for a file that cannot be read."""
        shown = short_name(self.path)
        try:
            found = _READERS.get(self.path.suffix.lower(), _read_json)(self.path)
        except OSError as error:
            raise MataError(f"cannot read {shown}: {error.strerror or error}") from None
        except (ValueError, RecursionError, csv.Error) as error:
            raise MataError(f"{shown} cannot be read as questions: {' '.join(str(error).split())[:200]}") from None
        for number, values in enumerate(found, 1):
            if not isinstance(values, Mapping):
                raise MataError(f"{shown}, entry {number}: not an object with fields but {short_repr(values)}")
            yield Row(self, number, values)

    def find(self, name: str, row: Row) -> Path:
        """The file that a row names: below the folder of the sounds, there with its last parts or its bare name; of a
        name without the ending of a sound, the first with one of SUFFIXES."""
        folder = self.audio or self.path.parent
        relative = Path(name.removeprefix("./"))
        tries = [folder / relative, *(folder.joinpath(*relative.parts[-count:]) for count in (2, 1))]
        endings = ("",) if looks_like_audio_path(name) else ("", *SUFFIXES)
        for path in (Path(f"{path}{ending}") for ending in endings for path in tries):
            if path.is_file():
                return path
        if self.need_audio:
            raise row.fail(f"there is no {short_name(relative)} in {short_name(folder)}")
        return folder / relative


def unlettered(choice: str) -> str:
    """ "Man" of "(A) Man"."""
    return LETTERED.sub("", choice, count=1) if LETTERED.match(choice) else choice


def bare(choices: Sequence[str]) -> tuple[str, ...]:
    """The choices without letters, where all carry theirs, in order."""
    marks = [LETTERED.match(choice) for choice in choices]
    lettered = all(mark is not None and ord(mark[1].upper()) == ord("A") + number for number, mark in enumerate(marks))
    return tuple(map(unlettered, choices)) if lettered else tuple(choices)


def _list_of(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, list):
            return value
    return [part.strip() for part in text.split("|") if part.strip()]


def _read_json(path: Path) -> Sequence[Any]:
    """A JSON list, an object whose values are the entries, or JSON lines."""
    text = path.read_text("utf-8-sig")
    if text.lstrip().startswith("["):
        found: list[Any] = json.loads(text)
        return found
    try:
        found = list(_lines(text))
    except ValueError:
        try:
            found = [json.loads(text)]  # over several lines
        except ValueError:
            found = []
        if not found:
            raise
    if len(found) == 1 and isinstance(found[0], dict) and found[0]:
        values = list(found[0].values())
        if all(isinstance(value, dict) for value in values):
            return values
    return found


def _lines(text: str) -> Iterator[Any]:
    """The value of each line.  Only a newline ends one: a text may have U+2028 and the like."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}: {error.msg}") from None


def _read_csv(path: Path) -> Sequence[Any]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        start = file.read(1 << 16)
        file.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=start.partition("\n")[0].count)
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        rows = []
        for number, values in enumerate(reader, 1):
            if None in values or None in values.values():
                raise ValueError(f"row {number} has another number of columns than the first")
            rows.append({name: value or None for name, value in values.items()})
        return rows


def _read_parquet(path: Path) -> Sequence[Any]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MataError(
            "a parquet file needs pyarrow: pip install pyarrow, or install mata-cpp with its extra [eval]"
        ) from None
    with pyarrow.parquet.ParquetFile(path) as file:  # in pieces: saves a copy of the sounds within it
        return [row for batch in file.iter_batches(_BATCH) for row in batch.to_pylist()]


_READERS = {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet}
