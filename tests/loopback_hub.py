"""A stand-in of the Hugging Face hub on 127.0.0.1, for the real client: the list of a repository, its files, refusals.

As at the hub, large files come from another host (localhost), to which the hub redirects.

What a file is served like is chosen by the test: cut short after some bytes, slowly, with another content.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """files: contents by name.  gated: whether only the token may read it.  card: of its README's head."""

    files: dict[str, bytes]
    gated: bool = False
    card: dict[str, str] = field(default_factory=lambda: {"license": "apache-2.0"})

    @property
    def revision(self) -> str:
        whole = b"".join(name.encode() + content for name, content in sorted(self.files.items()))
        return hashlib.sha1(whole).hexdigest()


class Hub:
    """The repositories by "owner/name", and what was asked.

    web: files under /web/.  cut: {file: bytes} after which the connection breaks, once; cut_later: each time after
    that.  swapped: {file: content} that is served in place of what the list says.  gone: files that are listed and not
    there.  pause: seconds between pieces.  ranges_known: whether it answers with parts of a file.  status, answer: to
    every question, status 0 for the right one.  requests: (method, path, Range) of each.  token: of the one account
    that may read what is gated.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.web: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.cut_later: dict[str, int] = {}
        self.swapped: dict[str, bytes] = {}
        self.gone: set[str] = set()
        self.pause = 0.0
        self.ranges_known = True
        self.status = 0
        self.answer = b"{}"
        self.token = "hf_right"
        self.requests: list[tuple[str, str, str]] = []
        self.url = ""

    def add(self, name: str, files: dict[str, bytes], **options: object) -> Repository:
        self.repositories[name] = Repository(dict(files), **options)  # type: ignore[arg-type]
        return self.repositories[name]

    def fetched(self, file: str) -> int:
        """How often a file's content was asked for."""
        return len(self.ranges(file))

    def ranges(self, file: str) -> list[str]:
        """The beginnings that were asked for, "" for the whole."""
        contents = [r for r in self.requests if r[0] == "GET" and r[1].startswith(("/cdn/", "/web/"))]
        return [asked for _, path, asked in contents if path.endswith(f"/{file}")]


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers while the block lasts."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "LoopbackHub/1"

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def log_message(self, *arguments: object) -> None:
            pass

        def _serve(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path, self.headers.get("Range", "")))
            if hub.status:
                self._answer(hub.status, hub.answer)
            elif path.startswith("/api/models/"):
                self._list(path.removeprefix("/api/models/").split("/"))
            elif path.startswith("/web/"):
                content = hub.web.get(path.removeprefix("/web/"))
                self._content(path.rsplit("/", 1)[-1], content, {})
            elif path.startswith("/cdn/"):
                self._deliver(path.removeprefix("/cdn/").split("/"))
            else:
                self._resolve(path.strip("/").split("/"))

        def _list(self, parts: list[str]) -> None:
            name = "/".join(parts[:2])
            repository = hub.repositories.get(name)
            if repository is None:
                self._answer(401, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
                return
            if parts[2:3] == ["revision"] and parts[3] not in ("main", repository.revision):
                self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                return
            siblings = []
            for file, content in repository.files.items():
                sibling: dict[str, object] = {"rfilename": file, "size": len(content), "blobId": _git(content)}
                if file.endswith(".gguf"):
                    digest = hashlib.sha256(content).hexdigest()
                    sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
                siblings.append(sibling)
            record = {
                "id": name,
                "sha": repository.revision,
                "private": False,
                "gated": "manual" if repository.gated else False,
                "tags": [],
                "cardData": repository.card,
                "siblings": siblings,
            }
            self._answer(200, json.dumps(record).encode())

        def _resolve(self, parts: list[str]) -> None:
            """/OWNER/NAME/resolve/REVISION/FILE"""
            repository = hub.repositories.get("/".join(parts[:2]))
            if repository is None or parts[2:3] != ["resolve"]:
                self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
                return
            if repository.gated and self.headers.get("Authorization") != f"Bearer {hub.token}":
                status = 403 if self.headers.get("Authorization") else 401
                message = "Access to this model is restricted"
                self._answer(status, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": message})
                return
            file = "/".join(parts[4:])
            content = None if file in hub.gone else repository.files.get(file)
            if content is None:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.revision})
                return
            headers = {"X-Repo-Commit": repository.revision, "ETag": f'"{_git(content)}"'}
            if file.endswith(".gguf"):
                headers["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
                headers["X-Linked-Size"] = str(len(content))
                there = f"{hub.url.replace('127.0.0.1', 'localhost')}/cdn/{parts[0]}/{parts[1]}/{file}"
                self._answer(302, b"", {**headers, "Location": there})
                return
            self._content(file, content, headers)

        def _deliver(self, parts: list[str]) -> None:
            """/cdn/OWNER/NAME/FILE; a token that comes here went too far."""
            file = "/".join(parts[2:])
            if self.headers.get("Authorization"):
                self._answer(400, b"")
                return
            content = hub.repositories["/".join(parts[:2])].files[file]
            self._content(file, hub.swapped.get(file, content), {})

        def _content(self, file: str, content: bytes | None, headers: dict[str, str]) -> None:
            if content is None:
                self._answer(404, b"")
                return
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()[:20]}"', "Accept-Ranges": "bytes", **headers}
            asked, start = self.headers.get("Range", ""), 0
            if asked.startswith("bytes=") and self.command == "GET" and hub.ranges_known:
                start = int(asked.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_response(206 if start else 200)
            for key, value in {**headers, "Content-Length": str(len(content) - start)}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            body = content[start:]
            limit = hub.cut.pop(file, hub.cut_later.get(file))
            try:
                for place in range(0, len(body[:limit]), 1 << 14):
                    self.wfile.write(body[:limit][place : place + (1 << 14)])
                    time.sleep(hub.pause)
            except OSError:
                self.close_connection = True
            if limit is not None and limit < len(body):
                self.close_connection = True

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
