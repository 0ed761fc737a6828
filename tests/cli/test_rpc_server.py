"""mata-models rpc-server: what it refuses, and that it serves until Ctrl-C."""

import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest
from click.testing import CliRunner

from mata_cpp import _core
from mata_cpp.cli.models import cli

pytestmark = pytest.mark.skipif(not _core.has_rpc, reason="built without RPC")


def run(*words):
    result = CliRunner().invoke(cli, ["rpc-server", *words], prog_name="mata-models")
    return result.exit_code, result.stdout, result.stderr


def test_an_address_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = run("--port", str(port))
    assert (status, out, err) == (1, "", f"error: 127.0.0.1:{port} cannot be used: Address already in use\n")


def test_an_address_of_another_machine():
    status, out, err = run("--host", "192.0.2.1")
    assert (status, out) == (1, "") and err.startswith("error: 192.0.2.1:50052 cannot be used: ")


def test_a_port_that_is_none():
    assert run("--port", "70000")[0] == 2


def test_it_serves_until_it_is_interrupted():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "mata_cpp.cli.models", "rpc-server", "--port", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tempfile.gettempdir())
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    assert server.poll() is None
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=30)
    assert server.returncode == -signal.SIGINT
