"""Mutated sound files and GGUF files: no signal, no hang, no exception but the package's own.

    python tests/fuzz/fuzz.py audio|gguf [--count N] [--seed S] [--memory GIB]

Inputs are made from good files (benchmarks/sound_kinds.py, the tiny models of the tests) by seeded mutation, and tried
in a child process, which is started again when it ends.  Prints what came of them; the exit status is 1 if anything
went wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(ROOT / "tests")]  # behind the installed package

LIMIT_S = 5.0
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


# Mutation ------------------------------------------------------------------------------------------


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to four changes; most of them near the beginning, where headers are."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if len(changed) < 16:
            break
        rng.choice((_bytes, _bits, _number, _number, _cut, _repeat, _remove, _splice))(changed, rng, others)
    return bytes(changed)


def _place(changed: bytearray, rng: random.Random, size: int = 1) -> int:
    end = max(1, len(changed) - size)
    return rng.randrange(min(end, 256) if rng.random() < 0.6 else end)


def _bytes(changed: bytearray, rng: random.Random, _: list[bytes]) -> None:
    for _ in range(rng.choice((1, 2, 8, 40))):
        changed[_place(changed, rng)] = rng.randrange(256)


def _bits(changed: bytearray, rng: random.Random, _: list[bytes]) -> None:
    changed[_place(changed, rng)] ^= 1 << rng.randrange(8)


def _number(changed: bytearray, rng: random.Random, _: list[bytes]) -> None:
    form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    value = rng.choice(INTERESTING) if rng.random() < 0.7 else rng.randrange(1 << 32)
    struct.pack_into(form, changed, _place(changed, rng, size), value & ((1 << 8 * size) - 1))


def _cut(changed: bytearray, rng: random.Random, _: list[bytes]) -> None:
    del changed[rng.randrange(1, len(changed)) :]


def _repeat(changed: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at, size = _place(changed, rng), rng.randrange(1, 2000)
    changed[at:at] = changed[at : at + size]


def _remove(changed: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = _place(changed, rng)
    del changed[at : at + rng.choice((1, 2, 4, 100, 3000))]


def _splice(changed: bytearray, rng: random.Random, others: list[bytes]) -> None:
    other = rng.choice(others)
    at, start = _place(changed, rng), rng.randrange(len(other))
    changed[at : at + rng.randrange(500)] = other[start : start + rng.randrange(1, 4000)]


# What is tried -------------------------------------------------------------------------------------


def sound_files() -> list[bytes]:
    from benchmarks.sound_kinds import kinds

    return [data for kind in kinds() if 16 < len(data := kind.make()) < 400_000]


ARCHITECTURES = ("gemma4", "glmasr", "granite_speech", "musicflamingo", "qwen3_asr", "voxtral")
"""Of tests/parity/audio: each projector is tried with its own language model."""


def audio_models(folder: Path) -> list[Path]:
    """Their projectors; the language models lie beside them."""
    from parity.audio import models

    for arch in ARCHITECTURES:
        models.write_text(arch, folder / f"{arch}.gguf")
    return [models.write_mmproj(arch, folder / f"mmproj-{arch}.gguf") for arch in ARCHITECTURES]


def partner(data: bytes, folder: Path) -> Path:
    """The language model that a projector fits."""
    from parity.audio import models

    for arch in ARCHITECTURES:
        if models.ARCHS[arch].projector.encode() in data[:2000]:
            return folder / f"{arch}.gguf"
    return folder / "model.gguf"


def model_files(folder: Path) -> list[bytes]:
    import tiny_models
    from tiny_files import TinyFiles

    tiny = TinyFiles(folder)
    names = [name for name in ("llama", "qwen2", "gemma3") if name in tiny_models.CONFIGS]
    projectors = [path.read_bytes() for path in audio_models(folder)]
    own = [tiny.model(name).read_bytes() for name in names]
    return [*own, *projectors, tiny.mmproj.read_bytes(), tiny.lora.read_bytes()]


def try_sound(data: bytes, _: Path) -> str:
    from mata_cpp import Audio, AudioError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Audio(data).samples(16000)
        except AudioError as error:
            return "silent" if "silent" in str(error) else "refused"
    return "heard"


def try_model(data: bytes, folder: Path) -> str:
    import numpy as np

    from mata_cpp import MataError, _core

    path = folder / "input.gguf"
    path.write_bytes(data)
    good = {name: str(folder / f"{name}.gguf") for name in ("model", "mmproj")}
    projector, adapter = b"clip" in data[:400], b"adapter" in data[:400]
    options = {"n_ctx": 256, "n_threads": 1, "n_batch": 64, "n_seq_max": 2}
    try:
        if projector:
            engine = _core.Engine(str(partner(data, folder)), str(path), **options)
        elif adapter:
            engine = _core.Engine(good["model"], lora=[(str(path), 1.0)], **options)
        else:
            engine = _core.Engine(str(path), good["mmproj"] if len(data) % 3 == 0 else None, **options)
        session = engine.session()
        if engine.has_audio:
            session.feed_audio(engine.encode_audio(np.sin(np.arange(24000, dtype=np.float32) / 10)))
        session.feed_tokens([1, 2, 3])
        session.logits()
        str(engine.metadata()), engine.chat_template
        engine.tokenize("hello hear you", parse_special=True)
        engine.close()
    except (MataError, ValueError) as error:
        assert "\n" not in str(error), error
        return "refused"
    return "used"


# The child ------------------------------------------------------------------------------------------


def child(what: str, seed: int, memory: float) -> None:
    """Tries the inputs whose numbers come in, and says what came of each."""
    resource.setrlimit(resource.RLIMIT_AS, (int(memory * (1 << 30)),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(tempfile.mkdtemp(prefix="mata-fuzz-"))
    bases = sound_files() if what == "audio" else model_files(folder)
    if what == "gguf":
        (folder / "model.gguf").write_bytes(bases[0])
        (folder / "mmproj.gguf").write_bytes(bases[-2])
    attempt: Callable[[bytes, Path], str] = try_sound if what == "audio" else try_model
    print("ready", flush=True)
    for line in sys.stdin:
        number = int(line)
        rng = random.Random(f"{what} {seed} {number}")
        data = mutated(rng.choice(bases), rng, bases)
        try:
            result = attempt(data, folder)
        except MemoryError:
            result = "MemoryError"
        except Exception as error:
            result = f"{type(error).__name__}: {str(error)[:120]}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([number, result, round(peak)]), flush=True)


class Child:
    """A running child, and the lines that it gives."""

    def __init__(self, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.line(120)

    def line(self, seconds: float) -> str:
        """The next line; "" if none comes in time, or the child has ended."""
        assert self.process.stdout is not None
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        try:
            return self.process.stdout.readline()
        finally:
            timer.cancel()

    def send(self, number: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()


def run(what: str, count: int, seed: int, memory: float) -> bool:
    """Tries count inputs and prints what came of them; whether nothing went wrong."""
    arguments = [what, "--seed", str(seed), "--memory", str(memory)]
    found: Counter[str] = Counter()
    wrong: list[str] = []
    peak, slowest, one = 0, 0.0, Child(arguments)
    for number in range(count):
        started = time.monotonic()
        one.send(number)
        line = one.line(LIMIT_S)
        if line and not line.startswith("["):
            wrong.append(f"input {number} printed {line.strip()!r}")
            line = one.line(LIMIT_S)
        seconds = time.monotonic() - started
        slowest = max(slowest, seconds)
        if not line:
            status = one.process.wait()
            result = f"over {LIMIT_S:g} s" if seconds >= LIMIT_S else f"ended with status {status}"
            one = Child(arguments)
        else:
            _, result, used = json.loads(line)
            peak = max(peak, used)
        if result not in ("heard", "silent", "refused", "used"):
            wrong.append(f"input {number}: {result}")
            result = "wrong"
        found[result] += 1
        if (number + 1) % 10_000 == 0 and number + 1 < count:
            print(f"{number + 1}: {dict(sorted(found.items()))}", flush=True)
    one.process.kill()
    print(f"{count} inputs, seed {seed}: {dict(sorted(found.items()))}; peak {peak} MB, slowest {slowest:.2f} s")
    for line in wrong[:50]:
        print(line)
    return not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["audio", "gguf"])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=float, default=4.0, help="the child's address space in GiB")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.what, given.seed, given.memory)
    else:
        sys.exit(not run(given.what, given.count, given.seed, given.memory))


if __name__ == "__main__":
    main()
