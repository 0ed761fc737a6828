"""mata-models rpc-server: this machine's devices for models on other machines."""

from __future__ import annotations

import os
import signal
import socket

import click

from .. import extension
from ..errors import ModelError


def serve(host: str, port: int, threads: int, cache: str | None) -> None:
    """Serve until the process ends.  Raises ModelError where the address cannot be used, or the folder not be made."""
    core = extension.load()
    if not core.has_rpc:
        raise ModelError("this build has no RPC: build with -DMATA_RPC=ON")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        if cache is not None:
            os.makedirs(cache, exist_ok=True)
    except OSError as error:
        what = f"{host}:{port} cannot be used" if cache is None or error.filename is None else f"{cache} cannot be made"
        raise ModelError(f"{what}: {error.strerror or error}") from None
    if not host.startswith("127."):
        click.echo(
            "warning: whoever reaches this port can use this machine; only for networks that you trust", err=True
        )
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the loop below is not Python's
    core.rpc_serve(f"{host}:{port}", n_threads=threads, cache=cache or "")
    raise ModelError(f"{host}:{port}: the server ended")
