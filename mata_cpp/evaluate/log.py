"""The log of a run: JSON lines that are only ever added to, so that a kill loses only what was not finished."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ..checks import short_name, short_repr
from ..errors import MataError
from ..files.telling import try_lock
from .record import Place, Record

HEADER = "run"
"""The field of the first line, which says what the log is of."""


class Log:
    """An open log.  facts: what all its records have in common; a log that has others is refused.

    records are those that it holds, by place and setting.  Raises MataError for a log of another run, for one that
    another process writes to, for a file that is no log, and where it cannot be written.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise MataError(f"cannot write {short_name(path)}: {error.strerror or error}") from None
        try:
            if not try_lock(self._file):
                raise MataError(f"{short_name(path)} is being written by another process: wait, or use another --out")
            self._cut_tail()
            known, self.records = read(path) if path.stat().st_size else (None, {})
            if known is None:
                self._write([json.dumps({HEADER: facts}, ensure_ascii=False)])
            else:
                _check_same(path, known, facts)
        except BaseException:
            self._file.close()
            raise

    def add(self, records: Iterable[Record]) -> None:
        """Append records, in one write."""
        new = list(records)
        self._write([record.to_json() for record in new])
        self.records.update({(record.place, record.setting): record for record in new})

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, lines: list[str]) -> None:
        data = memoryview("".join(line + "\n" for line in lines).encode())
        while data:
            data = data[self._file.write(data) :]

    def _cut_tail(self) -> None:
        """Drop a last line that a kill left unfinished."""
        size = self._file.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - (1 << 16))
            self._file.seek(start)
            block = self._file.read(end - start)
            at = block.rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        if end != size:
            self._file.truncate(end)


def read(path: Path) -> tuple[dict[str, Any], dict[tuple[Place, str], Record]]:
    """(facts, records) of a log, in its order; an unfinished last line is left out.  Raises MataError."""
    shown = short_name(path)
    records: dict[tuple[Place, str], Record] = {}
    facts: dict[str, Any] | None = None
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    values = json.loads(line)
                    if facts is None:
                        facts = dict(values[HEADER])
                        continue
                    record = Record.from_dict(values)
                except (ValueError, KeyError, TypeError, RecursionError):
                    raise MataError(f"{shown}, line {number}: not a line of a log of mata-eval run") from None
                records[record.place, record.setting] = record
    except OSError as error:
        raise MataError(f"cannot read {shown}: {error.strerror or error}") from None
    if facts is None:
        raise MataError(f"{shown} is not a log of mata-eval run")
    return facts, records


def merge(paths: Iterable[Path]) -> tuple[dict[str, Any], dict[tuple[Place, str], Record]]:
    """(facts, records) of several logs of one run.  Raises MataError where they are of different ones."""
    facts: dict[str, Any] | None = None
    records: dict[tuple[Place, str], Record] = {}
    for path in paths:
        other, found = read(path)
        if facts is None:
            facts = other
        else:
            _check_same(path, other, facts)
        records.update({key: record for key, record in found.items() if key not in records})
    if facts is None:
        raise MataError("no log is given")
    return facts, records


def write(path: Path, facts: Mapping[str, Any], records: Iterable[Record]) -> None:
    """A log in one piece; path must not be there.  Raises MataError."""
    try:
        with open(path, "x", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({HEADER: facts}, ensure_ascii=False) + "\n")
            file.writelines(record.to_json() + "\n" for record in records)
    except FileExistsError:
        raise MataError(f"{short_name(path)} is there already") from None
    except OSError as error:
        raise MataError(f"cannot write {short_name(path)}: {error.strerror or error}") from None


def _check_same(path: Path, known: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    for name in sorted({*known, *facts}):
        if known.get(name) != facts.get(name):
            raise MataError(
                f"{short_name(path)} is of another run: its {name} is {short_repr(known.get(name))}, "
                f"not {short_repr(facts.get(name))}; use another --out"
            )
