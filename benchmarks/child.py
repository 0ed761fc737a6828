"""One measured process: when each piece of its output came, its processor time, and the most memory it held.

Only the standard library: what this process holds is a lower bound of what the kernel reports for its children
(ru_maxrss counts the time between fork and exec), so the process that measures has to stay small.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class ChildError(Exception):
    """The command could not be started, ran out of its time, or failed; the message is one line."""


@dataclass
class Child:
    """What a process did: chunks are (seconds since the start, bytes) as they arrived."""

    command: list[str]
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_rss: int = 0  # bytes
    stdout: list[tuple[float, bytes]] = field(default_factory=list)
    stderr: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def output(self) -> str:
        return b"".join(data for _, data in self.stdout).decode("utf-8", "replace")

    @property
    def log(self) -> str:
        return b"".join(data for _, data in self.stderr).decode("utf-8", "replace")

    def first_output(self) -> float | None:
        """When the first byte that is no white space came on standard output."""
        return next((at for at, data in self.stdout if data.strip()), None)

    def when(self, text: str) -> float | None:
        """When the line with text in it came, on either stream."""
        for stream in (self.stderr, self.stdout):
            seen = b""
            for at, data in stream:
                seen += data
                if text.encode() in seen:
                    return at
                seen = seen[seen.rfind(b"\n") + 1 :]
        return None


def run(command: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None) -> Child:
    """Run to the end.  Raises ChildError; a command that takes longer than timeout seconds is killed."""
    child = Child(list(command))
    started = time.perf_counter()
    try:
        process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **(env or {})},
        )
    except OSError as error:
        raise ChildError(f"{command[0]} cannot be started: {error}") from None
    try:
        _watch(process, child, started, timeout)
        # wait4 instead of Popen.wait, which gives no resource usage
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            stream.close()
    child.seconds = time.perf_counter() - started
    child.cpu_seconds = usage.ru_utime + usage.ru_stime
    child.max_rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if process.returncode:
        last = ([line for line in child.log.splitlines() if line.strip()] or ["no message"])[-1]
        raise ChildError(f"{os.path.basename(command[0])} ended with status {process.returncode}: {last.strip()}")
    return child


def _watch(process: subprocess.Popen[bytes], child: Child, started: float, timeout: float) -> None:
    """Until both streams are closed."""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, child.stdout)
        selector.register(process.stderr, selectors.EVENT_READ, child.stderr)
        while selector.get_map():
            left = started + timeout - time.perf_counter()
            if left <= 0:
                raise ChildError(f"{os.path.basename(child.command[0])} did not end within {timeout:.0f} s")
            for key, _ in selector.select(left):
                data = os.read(key.fd, 65536)
                if data:
                    key.data.append((time.perf_counter() - started, data))
                else:
                    selector.unregister(key.fileobj)
