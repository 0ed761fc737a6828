"""Off is stock: with MATA off the patched llama.cpp gives the logits of the unpatched one, bit for bit.

Slow, because it builds the unpatched source once.  stock_logits.cpp plays the same feeds on it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from parity.scenario import ARCHS, LORA_SCALE, Prompt
from tiny_files import TinyFiles
from tiny_models import CONFIGS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

Script = Callable[[Any], None]
Items = Sequence[tuple[Any, Sequence[int], bool]]


class Recorder:
    """Writes feeds down as a script for stock_logits instead of computing them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.n_sessions = 0

    def session(self) -> RecordedSession:
        self.n_sessions += 1
        return RecordedSession(self, self.n_sessions - 1)

    def decode(self, items: Items) -> None:
        self.lines.append(f"batch {len(items)}")
        for session, tokens, all_logits in items:
            session.feed_tokens(tokens, all_logits=all_logits)


class RecordedSession:
    def __init__(self, recorder: Recorder, seq: int) -> None:
        self.recorder, self.seq = recorder, seq

    def feed_tokens(self, tokens: Sequence[int], *, all_logits: bool = False) -> None:
        rows = "all" if all_logits else "last"
        self.recorder.lines.append(f"tokens {self.seq} {rows} {' '.join(map(str, tokens))}")

    def feed_embeddings(self, embeddings: NDArray[np.float32]) -> tuple[int, int]:
        path = self.recorder.folder / f"{len(self.recorder.lines)}.f32"
        path.write_bytes(embeddings.tobytes())
        self.recorder.lines.append(f"embeddings {self.seq} {len(embeddings)} {path}")
        return (0, 0)

    def fork(self) -> RecordedSession:
        other = self.recorder.session()
        self.recorder.lines.append(f"fork {self.seq} {other.seq}")
        return other

    def truncate(self, n_past: int) -> None:
        self.recorder.lines.append(f"truncate {self.seq} {n_past}")


class Tap:
    """An engine that keeps every row of logits it gives, in the order in which stock_logits writes them."""

    def __init__(self, engine: Any, prepare: Callable[[Any], None]) -> None:
        self.engine, self.prepare = engine, prepare
        self.rows: list[NDArray[np.float32]] = []
        self.open: list[Any] = []

    def session(self) -> TappedSession:
        session = self.engine.session()
        self.prepare(session)
        return TappedSession(self, session)

    def decode(self, items: Items) -> None:
        self.engine.decode([(tapped.session, tokens, all_logits) for tapped, tokens, all_logits in items])
        for tapped, _, _ in items:
            self.rows.extend(tapped.session.logits_all())


class TappedSession:
    def __init__(self, tap: Tap, session: Any) -> None:
        self.tap, self.session = tap, session
        tap.open.append(session)

    def feed_tokens(self, tokens: Sequence[int], *, all_logits: bool = False) -> None:
        self.session.feed_tokens(tokens, all_logits=all_logits)
        self.tap.rows.extend(self.session.logits_all())

    def feed_embeddings(self, embeddings: NDArray[np.float32]) -> tuple[int, int]:
        span: tuple[int, int] = self.session.feed_embeddings(embeddings)
        return span

    def fork(self) -> TappedSession:
        return TappedSession(self.tap, self.session.fork())

    def truncate(self, n_past: int) -> None:
        self.session.truncate(n_past)


def one_after_the_other(name: str) -> Script:
    prompt = Prompt(name)

    def script(engine: Any) -> None:
        session = engine.session()
        prompt.feed_audio(session)
        session.feed_tokens(prompt.question, all_logits=True)
        for token in prompt.answer:
            session.feed_tokens([token])

    return script


def several_at_once(name: str) -> Script:
    prompts = [Prompt(name, seed=seed, n_text=3 + seed) for seed in range(3)]

    def script(engine: Any) -> None:
        sessions = [engine.session() for _ in prompts]
        for session, prompt in zip(sessions, prompts, strict=True):
            prompt.feed_audio(session)
        engine.decode([(s, p.question, i == 1) for i, (s, p) in enumerate(zip(sessions, prompts, strict=True))])
        engine.decode([(s, p.answer[:1], False) for s, p in zip(sessions, prompts, strict=True)])
        fork = sessions[1].fork()
        engine.decode([(s, prompts[0].answer[1:2], False) for s in (*sessions, fork)])
        sessions[0].truncate(20)
        sessions[0].feed_tokens(prompts[0].question * 3)

    return script


def more_than_a_ubatch(name: str) -> Script:
    prompt = Prompt(name, n_text=540, n_question=400)

    def script(engine: Any) -> None:
        session = engine.session()
        prompt.feed_audio(session)
        session.feed_tokens(prompt.question)
        session.feed_tokens(prompt.answer)

    return script


SCRIPTS = {f.__name__: f for f in (one_after_the_other, several_at_once, more_than_a_ubatch)}


def never_set(_: Any) -> None:
    """A session that has never heard of MATA."""


def without_effect(name: str) -> dict[str, Callable[[Any], None]]:
    """Settings that must be as good as none."""
    half, none = [0.5] * CONFIGS[name].n_layer, [0.0] * CONFIGS[name].n_layer
    return {
        "never set": never_set,
        "alpha 0": lambda session: session.set_mata("scale", none, [(0, 4000, 1.0)]),
        "no span": lambda session: session.set_mata("abs", half, []),
        "weight 0": lambda session: session.set_mata("add", half, [(0, 4000, 0.0)]),
        "span not reached": lambda session: session.set_mata("scale", half, [(4000, 4010, 1.0)]),
    }


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., NDArray[np.float32]]:
    """stock(script, model, settings, n_vocab): all rows of logits that the unpatched source gives."""
    sys.path.append(str(ROOT))  # at the end: an installed mata_cpp comes before the tree's
    from benchmarks.stock import program

    stock_logits = program(Path(__file__).with_name("stock_logits.cpp"))
    folder = tmp_path_factory.mktemp("stock")

    def play(script: Script, header: Sequence[str], n_vocab: int) -> NDArray[np.float32]:
        recorder = Recorder(folder)
        script(recorder)
        text = "\n".join([*header, *recorder.lines, ""])
        output = subprocess.run([stock_logits], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
        return np.frombuffer(output, dtype=np.float32).reshape(-1, n_vocab)

    return play


@pytest.mark.parametrize(("flash_attn", "cache"), [("off", "f32"), ("off", "f16"), ("on", "f16"), ("on", "q8_0")])
@pytest.mark.parametrize("script", list(SCRIPTS))
@pytest.mark.parametrize("name", [*ARCHS, "llama with lora"])
def test_off_is_stock(
    tiny: TinyFiles, engines: Callable[..., Any], stock: Any, name: str, script: str, flash_attn: str, cache: str
) -> None:
    name, _, lora = name.partition(" with ")
    n_threads, n_ctx = 1, 1024
    cache_v = "f16" if flash_attn == "off" else cache  # a quantized V needs flash attention
    feeds = SCRIPTS[script](name)
    header = [f"model {tiny.model(name)}"]
    if lora:
        header.append(f"lora {tiny.lora} {LORA_SCALE}")
    settings = {
        "flash_attn": flash_attn, "cache_type_k": cache, "cache_type_v": cache_v,
        "n_threads": n_threads, "n_ctx": n_ctx,
    }  # fmt: skip
    header += [f"set {key} {value}" for key, value in settings.items()]
    engine = engines(
        name, flash_attn, lora=bool(lora), cache_type_k=cache, cache_type_v=cache_v, n_ctx=n_ctx, n_threads=n_threads
    )
    wanted = stock(feeds, header, engine.n_vocab)
    assert np.isfinite(wanted).all()
    ways = without_effect(name) if script != "more_than_a_ubatch" else {"never set": never_set}
    for way, prepare in ways.items():
        tap = Tap(engine, prepare)
        feeds(tap)
        for session in tap.open:
            session.close()
        rows = np.array(tap.rows)
        if name.startswith("gemma") and script == "several_at_once" and flash_attn == "off":
            # 0002-swa-full-keeps-cells.patch: several sequences then lie in other cells than in stock, and sums over
            # the cells are taken in another order
            assert np.abs(rows - wanted).max() <= (1e-3 if cache == "f32" else 1e-2), way
        else:
            assert np.array_equal(rows, wanted), way
