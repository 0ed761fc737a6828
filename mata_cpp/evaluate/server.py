"""Servers with OpenAI's chat API as the model: each question goes to the one with the least to do."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import soundfile

from .. import __version__
from ..audio.clip import Audio
from ..checks import short_repr
from ..decoding.contrast.silence import silence
from ..errors import CancelledError, MataError
from .answerer import Outcome
from .items import AudioPart
from .jobs import Job
from .prompts import render
from .settings import OFF, Setting

TRIES = 4
FIRST_WAIT_S = 0.5
"""Before the second try; each later one waits twice as long."""

TIMEOUT_S = 600.0
MAX_REPLY = 16 << 20
SILENCE_RATE = 16000

_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class ServerModel:
    """urls: of the servers ("http://host:port", also with /v1).  model: its name there, None for the first one.
    parallel: questions at a time in all.

    Raises ValueError for an address that is none, MataError where no server answers.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str | None = None,
        key: str | None = None,
        max_tokens: int = 256,
        parallel: int = 2,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._urls = [_checked(url) for url in urls]
        if not self._urls:
            raise ValueError("no server is given")
        self.parallel = parallel
        self._key, self._max_tokens, self._timeout_s = key, max_tokens, timeout_s
        self._busy = dict.fromkeys(self._urls, 0)
        self._changed = threading.Lock()
        self._cancelled = threading.Event()
        self._model = model or self._listed()

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"model": self._model, "server": True, "max_tokens": self._max_tokens, "mata_cpp": __version__}

    def prompt(self, job: Job) -> str:
        return render(job.form, job.item.question, job.choices)

    def answer(self, job: Job, settings: Sequence[Setting]) -> list[Outcome]:
        """Raises ValueError for settings of MATA: a server of another kind knows none."""
        for setting in settings:
            if setting.name != OFF:
                raise ValueError(f"a server answers as it does: there is only the setting {OFF}, not {setting.name!r}")
        parts: list[dict[str, Any]] = [
            {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}} for data in self._sounds(job)
        ]
        request = {
            "model": self._model,
            "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": self.prompt(job)}]}],
            "max_tokens": self._max_tokens,
            "temperature": 0,
            "seed": 0,
        }
        started = time.perf_counter()
        reply = self._post(request)
        try:
            choice = reply["choices"][0]
            text = choice["message"]["content"] or ""
        except (KeyError, IndexError, TypeError):
            raise MataError(f"a reply without an answer: {short_repr(reply)}") from None
        timings = {"seconds": round(time.perf_counter() - started, 4)}
        return [Outcome(raw=text, finish_reason=choice.get("finish_reason"), timings=timings)] * len(settings)

    def cancel(self) -> None:
        self._cancelled.set()

    # -------------------------------------------------------------------------------------------

    def _sounds(self, job: Job) -> list[str]:
        if job.sound == "none":
            return []
        clips = [_clip(part, job.item.id) for part in job.audio]
        if job.sound == "silence":
            clips = [silence(clip.seconds, SILENCE_RATE) for clip in clips]
        return [_as_wav(clip) for clip in clips]

    def _listed(self) -> str:
        for url in self._urls:
            try:
                found = self._call(url, "models", None)
                return str(found["data"][0]["id"])
            except (KeyError, IndexError, TypeError):
                continue
            except (MataError, *_BROKEN):
                continue
        raise MataError(f"no server lists a model at {', '.join(self._urls)}")

    def _post(self, request: Mapping[str, Any]) -> Any:
        """From the server with the least to do; another one, later, where it breaks."""
        tried: dict[str, int] = {}
        wait = FIRST_WAIT_S
        for number in range(TRIES):
            if self._cancelled.is_set():
                raise CancelledError("cancelled")
            with self._taken(tried) as url:
                try:
                    return self._call(url, "chat/completions", request)
                except urllib.error.HTTPError as error:
                    reason = _reason(error)
                    if error.code not in (408, 429) and error.code < 500:
                        raise MataError(f"{url} refused the question ({error.code}): {reason}") from None
                except _BROKEN as error:
                    reason = str(getattr(error, "reason", error)) or type(error).__name__
                tried[url] = tried.get(url, 0) + 1
            if number == TRIES - 1:
                break
            self._cancelled.wait(wait)
            wait *= 2
        raise MataError(f"no answer from {', '.join(tried)} after {TRIES} tries: {reason}")

    @contextmanager
    def _taken(self, tried: Mapping[str, int]) -> Iterator[str]:
        with self._changed:
            url = min(self._urls, key=lambda one: (tried.get(one, 0), self._busy[one]))
            self._busy[url] += 1
        try:
            yield url
        finally:
            with self._changed:
                self._busy[url] -= 1

    def _call(self, url: str, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{url}/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=self._timeout_s) as reply:
            text = reply.read(MAX_REPLY + 1)
        if len(text) > MAX_REPLY:
            raise MataError(f"{url} answers with more than {MAX_REPLY >> 20} MB")
        try:
            return json.loads(text)
        except ValueError:
            raise MataError(f"{url} does not answer with JSON: {short_repr(text[:60])}") from None


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"a server is http://HOST:PORT, not {short_repr(url)}")
    base = url.rstrip("/")
    return base if base.endswith("/v1") else f"{base}/v1"


def _reason(error: urllib.error.HTTPError) -> str:
    """What the server says, in one line."""
    text = error.read(4096).decode("utf-8", "replace")
    try:
        found = json.loads(text)["error"]
        text = found["message"] if isinstance(found, dict) else str(found)
    except (ValueError, KeyError, TypeError):
        pass
    return " ".join(str(text).split())[:200] or error.reason


def _clip(part: AudioPart, name: str) -> Audio:
    return Audio(part, name=name if isinstance(part, bytes) else part.name)


def _as_wav(clip: Audio) -> str:
    """Mono, 16 bits, at the clip's own rate: what every server reads, whatever the file was."""
    data = io.BytesIO()
    soundfile.write(data, clip.samples(), clip.sample_rate, format="WAV", subtype="PCM_16")
    return base64.b64encode(data.getvalue()).decode()
