"""Answers that are known from other runs, by content: the same question about the same sound, by the same model in the
same way, is not asked again, whatever the data set or the file is called."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..checks import short_name
from ..errors import MataError
from .answerer import Answerer, Outcome
from .items import Item, sha256_of
from .jobs import Job
from .settings import Setting


class CachedAnswerer:
    """An answerer behind a file of what is known.  method: how answers come about, which the key needs too.

    Raises MataError for a file that is no such cache.
    """

    def __init__(self, answerer: Answerer, method: str, path: Path) -> None:
        self._answerer, self._method, self._path = answerer, method, path
        self._lock = threading.Lock()
        self.found = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, outcome TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise MataError(f"{short_name(path)} cannot be used as a cache: {error}") from None

    @property
    def parallel(self) -> int:
        return self._answerer.parallel

    @property
    def facts(self) -> Mapping[str, Any]:
        return self._answerer.facts

    def prompt(self, job: Job) -> str:
        return self._answerer.prompt(job)

    def answer(self, job: Job, settings: Sequence[Setting]) -> list[Outcome]:
        keys = [self._key(job, setting) for setting in settings]
        known = [self._get(key) for key in keys]
        missing = [number for number, outcome in enumerate(known) if outcome is None]
        with self._lock:
            self.found += len(settings) - len(missing)
        if missing:
            computed = self._answerer.answer(job, [settings[number] for number in missing])
            for number, outcome in zip(missing, computed, strict=True):
                known[number] = outcome
                if outcome.error is None and outcome.finish_reason != "cancelled":
                    self._put(keys[number], outcome)
        return [outcome for outcome in known if outcome is not None]

    def cancel(self) -> None:
        self._answerer.cancel()

    def close(self) -> None:
        self._file.close()

    # -------------------------------------------------------------------------------------------

    def _key(self, job: Job, setting: Setting) -> str:
        item: Item = job.item
        parts = {
            "facts": dict(self.facts),
            "method": self._method,
            "prompt": self.prompt(job),
            "choices": job.choices,
            "audio": [] if job.sound == "none" else [sha256_of(part).hex() for part in job.audio],
            "silence": job.sound == "silence",
            "setting": setting.name,
            "context": item.groups.get("context", "") if setting.contrast else "",
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _get(self, key: str) -> Outcome | None:
        with self._lock:
            row = self._file.execute("SELECT outcome FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        values = json.loads(row[0])
        for name in ("scores", "effect"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        return Outcome(**values)

    def _put(self, key: str, outcome: Outcome) -> None:
        text = json.dumps({**asdict(outcome), "timings": dict(outcome.timings)})
        with self._lock:
            self._file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, text))
