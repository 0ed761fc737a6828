"""Threads that compute: fork() meanwhile, and a system that grants no more of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from parity.audio import models
from parity.prompts import templates
from parity.prompts.vocabulary import add_tokenizer
from tiny_files import TinyFiles

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="neither fork() nor a limit on processes")

N_FORKS = 20

FORKS = """
import os, signal, sys, threading, time, warnings
from mata_cpp import MataError, _core
warnings.simplefilter("ignore", DeprecationWarning) # Python 3.12: fork() with several threads

engine = _core.Engine(sys.argv[1], n_ctx=512, n_threads=2)
session = engine.session()
session.feed_tokens([1, 2, 3])
n_fed = 0
done = False

def compute():
    global n_fed
    while not done:
        session.feed_tokens([4] * 32)
        session.truncate(3)
        n_fed += 1

thread = threading.Thread(target=compute)
thread.start()
for i in range(int(sys.argv[2])):
    seen = n_fed
    while n_fed == seen:
        time.sleep(0.0003 * (i % 7))
    pid = os.fork()
    if pid == 0:
        if i % 4 == 0:
            os._exit(0)
        if i % 4 == 1:
            try:
                engine.tokenize("a")
            except MataError as error:
                assert "fork" in str(error), error
            engine.close()
            session.close()
        if i % 4 == 2:
            engine = session = None
            own = _core.Engine(sys.argv[1], n_ctx=64, n_threads=2)
            own.session().feed_tokens([1, 2, 3])
        sys.exit(0)
    end = time.monotonic() + 30
    status = None
    while status is None:
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = code
        elif time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            status = "a kill, it hung"
        else:
            time.sleep(0.002)
    if status:
        print(f"child {i} ended with {status}")
        break
else:
    print("all ended")
done = True
thread.join()
"""

REFUSED = """
import json, os, resource, sys, threading
import numpy as np
from mata_cpp import _core

if os.getuid() == 0:
    try:
        os.setuid(65534) # there is no limit for root
    except OSError:
        pass
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    threading.Thread(target=int).start()
    print(json.dumps(None))
    sys.exit()
except RuntimeError:
    pass
engine = _core.Engine(sys.argv[1], sys.argv[2], n_ctx=256, n_threads=4)
session = engine.session()
session.feed_audio(engine.encode_audio(np.sin(np.arange(160000, dtype=np.float32) / 10)))
session.feed_tokens([1, 2, 3])
print(json.dumps([engine.n_threads, bool(np.isfinite(session.logits()).all())]))
"""


CLOSED = """
import sys, threading, time
from mata_cpp import _core

engine = _core.Engine(sys.argv[1], n_ctx=8192, n_batch=64, n_ubatch=32, n_threads=1)
session = engine.session()
said = []

def feed():
    try:
        session.feed_tokens([4] * 6000)
    except Exception as error:
        said.append(str(error))

thread = threading.Thread(target=feed)
thread.start()
time.sleep(0.03)
engine.close()
thread.join()
print(said)
"""

FORK_IN_STREAM = """
import os, sys
import numpy as np
from mata_cpp import AudioModel

model = AudioModel(sys.argv[1], mmproj=sys.argv[2], n_ctx=4096, n_threads=1)
noise = np.random.RandomState(0).standard_normal(32000).astype(np.float32) / 10
for piece in model.stream((noise, 16000), "w1", max_tokens=300):
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    print(os.waitpid(pid, 0)[1])
    break
"""


def run(program: str, *words: str | Path) -> str:
    child = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(words[0]).parent,  # in the repository, its sources would hide the installed package
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return child.stdout.strip()


def test_children_of_a_process_that_computes_end(tiny: TinyFiles) -> None:
    assert run(FORKS, tiny.model("llama"), str(N_FORKS)) == "all ended"


def test_refused_threads_are_done_without(tiny: TinyFiles) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # the child gives up root's rights
        copies = [Path(shutil.copy(path, folder)) for path in (tiny.model("llama"), tiny.mmproj)]
        for copy in copies:
            copy.chmod(0o644)
        result = json.loads(run(REFUSED, *copies))
    if result is None:
        pytest.skip("this user is granted threads without limit")
    assert result == [1, True]


def test_an_engine_is_closed_while_it_is_fed(tiny: TinyFiles) -> None:
    assert run(CLOSED, tiny.model("llama")) == "['the engine is closed']"


def test_a_child_that_forks_within_a_stream_ends(tmp_path: Path) -> None:
    tokenizer = partial(add_tokenizer, arch="qwen2_audio", template=templates.TEXT["qwen2_audio"])
    text = models.write_text("qwen2_audio", tmp_path / "text.gguf", tokenizer)
    mmproj = models.write_mmproj("qwen2_audio", tmp_path / "mmproj.gguf")
    assert run(FORK_IN_STREAM, text, mmproj) == "0"
