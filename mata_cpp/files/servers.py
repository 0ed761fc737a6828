"""The addresses of RPC servers, which hold layers of a model on other machines."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from .. import checks
from ..errors import ModelError

MOST = 16
"""Servers that llama.cpp takes."""

PATIENCE_S = 5.0
DEFAULT_PORT = 50052


def server_list(rpc: str | Sequence[str] | None) -> list[str]:
    """None, "host:port,host:port", or a list of "host:port" -> a list.  Raises ValueError."""
    if rpc is None:
        return []
    items = rpc.split(",") if isinstance(rpc, str) else rpc
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError(f'rpc must be "host:port", or a list of them, not {checks.short_repr(rpc)}')
    servers = [_checked(item.strip()) for item in items]
    if len(set(servers)) < len(servers):
        raise ValueError("rpc names a server twice")
    if len(servers) > MOST:
        raise ValueError(f"rpc takes up to {MOST} servers, not {len(servers)}")
    return servers


def check_reachable(servers: Sequence[str]) -> None:
    """Raises ModelError for one that does not answer: llama.cpp itself would wait for minutes."""
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
        except TimeoutError:
            raise ModelError(f"the RPC server {server} does not answer within {PATIENCE_S:g} s") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise ModelError(f"the RPC server {server} cannot be reached: {reason}") from None


def _checked(server: str) -> str:
    host, colon, port = server.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or ":" in host:
        raise ValueError(f"an RPC server is HOST:PORT, as in 10.0.0.2:{DEFAULT_PORT}, not {checks.short_repr(server)}")
    return server
