"""Layers on other machines: two servers on loopback compute what the processor here computes."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_files import TinyFiles

from mata_cpp import AudioModel, Mata, MataError, ModelError, _core

pytestmark = pytest.mark.skipif(not _core.has_rpc, reason="built without RPC")

SERVER = "import sys; from mata_cpp import _core; _core.rpc_serve(sys.argv[1], n_threads=1)"

MATA = Mata(alpha=0.5)


class Server:
    def __init__(self, port: int = 0) -> None:
        if not port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, self.address], stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir()
        )
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", int(self.address.split(":")[1])), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server does not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    running = [Server(), Server()]
    yield running
    for server in running:
        server.kill()


def sound() -> tuple[NDArray[np.float32], int]:
    time_s = np.arange(16000) / 16000
    return (0.4 * np.sin(2 * np.pi * (300 + 200 * time_s) * time_s)).astype(np.float32), 16000


def answers(model: AudioModel, mata: Mata | None) -> NDArray[np.float32]:
    """Logits of the prompt's last token, and of three tokens after it."""
    with model.session(mata) as session:
        session.feed(model.prompt(sound(), "What sound is this?"))
        rows = [session.logits()]
        for token in (5, 9, 11):
            session.feed([[token]])
            rows.append(session.logits())
    return np.array(rows)


@pytest.mark.parametrize("arch", ["llama", "qwen2"])
@pytest.mark.parametrize(
    ("cache_type", "flash_attn", "off_by"),
    [("f32", False, 1e-4), ("f16", False, 1e-2), ("f16", True, 1e-2)],
)
def test_two_servers_compute_what_the_processor_computes(
    servers: list[Server], tiny: TinyFiles, arch: str, cache_type: str, flash_attn: bool, off_by: float
) -> None:
    options = {"mmproj": tiny.mmproj, "n_ctx": 512, "n_threads": 1, "cache_type": cache_type, "flash_attn": flash_attn}
    with AudioModel(tiny.model(arch), **options) as here:
        wanted = {mata: answers(here, mata) for mata in (None, MATA)}
    assert np.abs(wanted[MATA] - wanted[None]).max() > 10 * off_by  # MATA does something
    with AudioModel(tiny.model(arch), rpc=[server.address for server in servers], **options) as there:
        for mata, rows in wanted.items():
            assert np.abs(answers(there, mata) - rows).max() <= off_by, mata
        attention = there.ask(sound(), "What?", max_tokens=2, attention=True).attention
    assert attention is not None


def test_a_server_that_dies_ends_the_answer(servers: list[Server], tiny: TinyFiles) -> None:
    options = {"mmproj": tiny.mmproj, "n_ctx": 512, "n_threads": 2}
    model = AudioModel(tiny.model("llama"), rpc=[server.address for server in servers], **options)
    model.ask(sound(), "What?", max_tokens=2)
    servers[1].kill()
    with pytest.raises(MataError, match="RPC server was lost.*load the model again") as caught:
        model.ask(sound(), "What else?", max_tokens=2)
    assert "\n" not in str(caught.value)
    with pytest.raises(MataError, match="load the model again"):
        model.ask(sound(), "And now?", max_tokens=2)
    model.close()
    with AudioModel(tiny.model("llama"), rpc=servers[0].address, **options) as again:
        assert again.ask(sound(), "What?", max_tokens=2).usage.completion_tokens


def test_a_server_that_was_started_again(servers: list[Server], tiny: TinyFiles) -> None:
    """While a model that knows nothing of it is open: it learns of it, and ends; another one is loaded at once."""
    options = {"mmproj": tiny.mmproj, "n_ctx": 512, "n_threads": 2, "rpc": [server.address for server in servers]}
    old = AudioModel(tiny.model("llama"), **options)
    old.ask(sound(), "What?", max_tokens=2)
    port = int(servers[1].address.split(":")[1])
    servers[1].kill()
    servers[0].kill()
    servers[:] = [Server(int(servers[0].address.split(":")[1])), Server(port)]
    with AudioModel(tiny.model("llama"), **options) as new:
        assert new.ask(sound(), "What?", max_tokens=2).usage.completion_tokens
        with pytest.raises(MataError, match="RPC server was lost"):
            old.ask(sound(), "What?", max_tokens=2)
        assert new.ask(sound(), "What else?", max_tokens=2).usage.completion_tokens
    servers[1].kill()
    old.close()


def test_addresses() -> None:
    for bad in ("host", "host:", ":1", "host:0", "host:99999", "host:x", "a:1,a:1", "", [3]):
        with pytest.raises(ValueError, match="rpc|RPC"):
            AudioModel("none.gguf", rpc=bad)  # type: ignore[arg-type]


def test_nobody_answers(tiny: TinyFiles) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(ModelError, match=f"the RPC server {address} cannot be reached: Connection refused"):
        AudioModel(tiny.model("llama"), mmproj=tiny.mmproj, rpc=address)


def test_something_else_answers(tiny: TinyFiles) -> None:
    """A web server, for one, which closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        script = "import socket, sys\ns = socket.socket(fileno=int(sys.argv[1]))\nwhile True: s.accept()[0].close()"
        with subprocess.Popen(
            [sys.executable, "-c", script, str(listening.fileno())], pass_fds=[listening.fileno()]
        ) as other:
            with pytest.raises(ModelError, match=f"the RPC server {address} cannot be used"):
                AudioModel(tiny.model("llama"), mmproj=tiny.mmproj, rpc=address)
            other.kill()
