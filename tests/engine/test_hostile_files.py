"""Files with one field changed, of the kinds that used to end the process: one line that names the file."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_files import TinyFiles

from mata_cpp import AudioModel, ModelError

SCRIPT = """
import json, sys
from mata_cpp import _core
for line in sys.stdin:
    what, model, adapter, text = json.loads(line)
    error = message = ""
    tokens = 0
    try:
        engine = _core.Engine(model, lora=[(adapter, 1.0)] if adapter else [], n_ctx=256, n_threads=2, n_batch=64)
        if text:
            tokens = len(engine.tokenize(text, parse_special=False))
        session = engine.session()
        session.feed_tokens([1, 2, 3])
        engine.close()
    except Exception as exception:
        error, message = type(exception).__name__, str(exception)
    print(json.dumps([what, error, message, tokens]), flush=True)
"""


def python(script: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    """In a folder where Python does not find the package's sources, which have no extension in them."""
    return subprocess.run(
        [sys.executable, "-c", script],
        input=lines,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tempfile.gettempdir(),
    )


def run(cases: list[tuple[str, Path, Path | None, str]]) -> dict[str, tuple[str, str, int]]:
    """What came of each, in one child process that must live to the end."""
    lines = [json.dumps([what, str(model), adapter and str(adapter), text]) for what, model, adapter, text in cases]
    child = python(SCRIPT, "\n".join(lines))
    rows = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, f"ended after {rows[-1:]}: {child.stderr[-2000:]}"
    return {what: (error, message, tokens) for what, error, message, tokens in rows}


def with_type(source: Path, target: Path, tensor: str, kind: gguf.GGMLQuantizationType) -> Path:
    """A copy whose tensor claims another type; the sizes are left as they are."""
    data = bytearray(source.read_bytes())
    name = tensor.encode()
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
    dimensions = struct.unpack_from("<I", data, at)[0]
    struct.pack_into("<I", data, at + 4 + 8 * dimensions, kind)
    target.write_bytes(data)
    return target


def replaced(source: Path, target: Path, old: bytes, new: bytes) -> Path:
    assert len(old) == len(new)
    data = source.read_bytes()
    assert old in data
    target.write_bytes(data.replace(old, new, 1))
    return target


TYPES = gguf.GGMLQuantizationType
BAD = [TYPES.I8, TYPES.I16, TYPES.I32, TYPES.I64, TYPES.F64, TYPES.Q8_1, TYPES.Q8_K]


def test_types_that_nothing_multiplies_by(tiny: TinyFiles, tmp_path: Path) -> None:
    model = tiny.model("llama")
    names = [tensor.name for tensor in gguf.GGUFReader(model).tensors]
    matrices = [name for name in names if name.endswith(("attn_q.weight", "ffn_up.weight", "token_embd.weight"))][:3]
    cases = []
    for kind in BAD:
        for name in (*matrices, "blk.0.attn_norm.weight"):
            path = with_type(model, tmp_path / f"{kind.name}-{name}.gguf", name, kind)
            cases.append((f"{kind.name} {name}", path, None, ""))
    adapter = tiny.lora
    for kind in BAD:
        for end in ("lora_a", "lora_b"):
            name = next(t.name for t in gguf.GGUFReader(adapter).tensors if t.name.endswith(end))
            path = with_type(adapter, tmp_path / f"{kind.name}-{end}.gguf", name, kind)
            cases.append((f"adapter {kind.name} {end}", model, path, ""))
    found = run([("good", model, adapter, "hello"), *cases])
    assert found["good"][0] == "" and found["good"][2] > 0
    for what, path, other, _ in cases:
        error, message, _ = found[what]
        assert error == "ModelError" and str(other or path) in message and "\n" not in message, (what, found[what])


def test_a_chat_template_that_is_no_text(tiny: TinyFiles, tmp_path: Path) -> None:
    model = tiny.model("llama")
    start = next(f for f in gguf.GGUFReader(model).fields.values() if f.name == "tokenizer.chat_template")
    template = bytes(start.parts[start.data[0]])
    for number, bad in enumerate((b"\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xff", b"\x80")):
        path = replaced(model, tmp_path / f"template-{number}.gguf", template, bad + template[len(bad) :])
        error, message, _ = run([("it", path, None, "")])["it"]
        assert error == "ModelError" and "chat template is not text in UTF-8" in message and str(path) in message


def test_a_chat_template_that_fails_is_named_with_its_file(tiny: TinyFiles, tmp_path: Path) -> None:
    model = tiny.model("llama")
    start = next(f for f in gguf.GGUFReader(model).fields.values() if f.name == "tokenizer.chat_template")
    template = bytes(start.parts[start.data[0]])
    sources = {
        "syntax": b"{% for %}",
        "fails": b"{{ 1 // 0 }}",
        "refuses": b"{{ raise_exception('no sound') }}",
        "drops": b"{{ messages | length }}",
        "endless": b"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    }
    for what, source in sources.items():
        path = replaced(model, tmp_path / f"{what}.gguf", template, source.ljust(len(template)))
        with (
            pytest.raises(ModelError, match=rf"^the chat template of {what}\.gguf ") as caught,
            AudioModel(path, mmproj=tiny.mmproj, n_ctx=512) as loaded,
        ):
            loaded.ask((np.sin(np.arange(16000) / 9).astype(np.float32), 16000), "What is it?")
        assert "\n" not in str(caught.value), what


@pytest.mark.parametrize("pre", ["tekken", "gpt-4o", "deepseek-llm", "default"])
def test_long_runs_of_one_kind_of_character(tiny: TinyFiles, tmp_path: Path, pre: str) -> None:
    """Pre-tokenizers of std::regex recurse for each character."""
    path = tmp_path / f"{pre}.gguf"
    rewrite(gguf.GGUFReader(tiny.model("qwen2")), path, pre)
    texts = {
        "=": "=" * 100_000,
        "a": "a" * 60_000,
        " ": " " * 60_000,
        "CJK": "\u4e2d" * 40_000,
        "mixed": "ab 12, " * 20_000,
    }
    found = run([(what, path, None, text) for what, text in texts.items()])
    for what in texts:
        assert found[what][0] == "" and found[what][2] > 0, (what, found[what])
    error, message, _ = run([("long", path, None, "x" * 600_000)])["long"]
    assert error == "ValueError" and "600000 characters in a row without a space" in message


def rewrite(reader: gguf.GGUFReader, path: Path, pre: str) -> None:
    """A copy with another pre-tokenizer."""
    writer = gguf.GGUFWriter(path, "qwen2")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = field.contents()
        if field.name == "tokenizer.ggml.pre":
            value = pre
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, field.types[0], sub_type=sub)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_run_is_tokenised_as_its_parts_are(tiny: TinyFiles) -> None:
    """The large stack changes nothing: digits are tokens of their own for this pre-tokenizer."""
    from mata_cpp import _core

    engine = _core.Engine(str(tiny.model("qwen2")), n_ctx=256, n_threads=1)
    digit = engine.tokenize("7", parse_special=False)
    assert engine.tokenize("7" * 5000, parse_special=False) == digit * 5000
    engine.close()


def test_more_context_than_memory(tiny: TinyFiles) -> None:
    path = tiny.model("llama")
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from mata_cpp import _core
try:
    _core.Engine({str(path)!r}, n_ctx=1 << 26, n_threads=1)
except Exception as error:
    print(type(error).__name__, error)
"""
    out = python(script).stdout
    assert out.startswith(f"ModelError {path}: cannot make a context of 67108864 positions")
    assert "GiB are free; load with a smaller n_ctx (--ctx)" in out and out.count("\n") == 1


def test_more_threads_than_anybody_has(tiny: TinyFiles) -> None:
    from mata_cpp import _core

    engine = _core.Engine(str(tiny.model("llama")), n_ctx=256, n_threads=512)
    assert engine.n_threads <= 512
    session = engine.session()
    session.feed_tokens([1, 2, 3])
    assert session.logits().size == engine.n_vocab
    engine.close()
