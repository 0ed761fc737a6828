"""Another llama.cpp in the same process, as `import llama_cpp` brings one, does not meet ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_files import TinyFiles

pytestmark = pytest.mark.slow

PROGRAM = """
import ctypes, json, sys
order, folder, model = sys.argv[1:4]

def others():
    # llama-cpp-python loads its libraries so that their symbols are global: the worst case
    for name in ("libggml-base", "libggml-cpu", "libggml", "libllama", "libmtmd"):
        library = ctypes.CDLL(f"{folder}/{name}.so", mode=ctypes.RTLD_GLOBAL)
        if name == "libllama":
            library.llama_backend_init()
            library.llama_print_system_info.restype = ctypes.c_char_p
            assert library.llama_print_system_info()

def ours():
    from mata_cpp import _core
    engine = _core.Engine(model, n_ctx=256, n_threads=1, flash_attn="off", cache_type_k="f32", cache_type_v="f32")
    session = engine.session()
    session.feed_tokens([1, 2, 3])
    session.set_mata("scale", [0.5] * engine.n_layer, [(0, 2, 1.0)])
    session.feed_tokens([4])
    return session.logits().tolist()

if order == "alone":
    rows = ours()
elif order == "after":
    others()
    rows = ours()
else:
    rows = ours()
    others()
    assert rows == ours()
print(json.dumps(rows))
"""


def run(order: str, folder: Path, model: Path) -> list[float]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, order, str(folder), str(model)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=model.parent,  # in the repository, its sources would hide the installed package
    )
    assert result.returncode == 0, result.stderr
    rows: list[float] = json.loads(result.stdout)
    return rows


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of shared libraries on Linux")
def test_another_llama_in_the_process(tiny: TinyFiles) -> None:
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # at the end: an installed mata_cpp comes first
    from benchmarks import stock

    folder = stock.build()
    alone = run("alone", folder, tiny.model("llama"))
    assert run("after", folder, tiny.model("llama")) == alone
    assert run("before", folder, tiny.model("llama")) == alone
