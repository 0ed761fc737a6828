"""Random sequences of everything a session can do, mirrored on the reference after every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from parity import reference
from parity.scenario import ARCHS, MODES, distance
from tiny_models import CONFIGS, audio_embeddings

Engines = Callable[..., Any]
References = Callable[..., reference.Model]

MAX_SESSIONS = 5
MAX_PAST = 90


class Player:
    """Sessions of the engine and their mirrors, and the moves to choose from."""

    def __init__(self, engine: Any, model: reference.Model, name: str, seed: int, tolerance: dict[str, float]) -> None:
        self.engine, self.model, self.name = engine, model, name
        self.rng = np.random.default_rng(seed)
        self.tolerance = tolerance
        self.pairs: list[tuple[Any, reference.Session]] = []
        self.log: list[str] = []  # what happened, for a failure's message

    def run(self, n_moves: int) -> None:
        used_before = self.engine.n_used
        moves = [self.feed, self.feed, self.feed_several, self.feed_several, self.hear, self.hear]
        moves += [self.set_mata, self.set_mata, self.read, self.fork, self.truncate, self.open, self.clear, self.close]
        try:
            self.open()
            self.hear()
            for _ in range(n_moves):
                if not self.pairs:
                    self.open()
                moves[self.rng.integers(len(moves))]()
        except Exception as error:
            raise AssertionError("\n".join([*self.log, repr(error)])) from error
        finally:
            for session, _ in self.pairs:
                session.close()
        assert self.engine.n_used == used_before

    # --- moves

    def open(self) -> None:
        if len(self.pairs) < MAX_SESSIONS:
            self.log.append("open")
            self.pairs.append((self.engine.session(), self.model.session()))

    def close(self) -> None:
        i, session, _ = self.choose()
        if len(self.pairs) > 2:
            self.log.append(f"close {i}")
            session.close()
            del self.pairs[i]

    def fork(self) -> None:
        i, session, mirror = self.choose()
        if len(self.pairs) < MAX_SESSIONS:
            self.log.append(f"fork {i}")
            self.pairs.append((session.fork(), mirror.fork()))

    def hear(self) -> None:
        i, session, mirror = self.choose()
        clip = audio_embeddings(self.name, int(self.rng.integers(1, 14)), seed=int(self.rng.integers(100)))
        if mirror.n_past + len(clip) <= MAX_PAST:
            self.log.append(f"hear {i} {len(clip)}")
            assert session.feed_embeddings(clip) == mirror.feed_embeddings(clip)

    def feed(self) -> None:
        i, session, mirror = self.choose()
        tokens, all_logits = self.tokens(), bool(self.rng.random() < 0.3)
        if mirror.n_past + len(tokens) <= MAX_PAST:
            self.log.append(f"feed {i} {len(tokens)} {all_logits}")
            for either in (session, mirror):
                either.feed_tokens(tokens, all_logits=all_logits)
            self.compare(session, mirror)

    def feed_several(self) -> None:
        order = self.rng.permutation(len(self.pairs))[: self.rng.integers(1, MAX_SESSIONS + 1)]
        items = []
        for i in order:
            session, mirror = self.pairs[i]
            tokens = self.tokens()
            if mirror.n_past + len(tokens) <= MAX_PAST:
                items.append((session, mirror, tokens, bool(self.rng.random() < 0.3)))
        if items:
            self.log.append(f"feed together {[(len(t), a) for _, _, t, a in items]} of {order.tolist()}")
            self.engine.decode([(session, tokens, all_logits) for session, _, tokens, all_logits in items])
            for session, mirror, tokens, all_logits in items:
                mirror.feed_tokens(tokens, all_logits=all_logits)
                self.compare(session, mirror)

    def set_mata(self) -> None:
        i, session, mirror = self.choose()
        n_layer = CONFIGS[self.name].n_layer
        mode = MODES[self.rng.integers(3)]
        alpha = np.where(self.rng.random(n_layer) < 0.5, self.rng.uniform(-0.5, 1.0, n_layer), 0.0).tolist()
        if self.rng.random() < 0.2:
            alpha = [alpha[-1]] * n_layer  # all layers alike
        spans = []
        for _ in range(self.rng.integers(0, 4)):
            start = int(self.rng.integers(0, MAX_PAST))
            weight = float(self.rng.choice([0.0, 0.5, 1.0, 1.5]))
            spans.append((start, start + int(self.rng.integers(0, 20)), weight))
        self.log.append(f"set {i} {mode} {[round(a, 2) for a in alpha]} {spans}")
        for either in (session, mirror):
            either.set_mata(mode, alpha, spans)

    def clear(self) -> None:
        i, session, mirror = self.choose()
        self.log.append(f"clear {i}")
        for either in (session, mirror):
            either.clear_mata()

    def read(self) -> None:
        """Start or stop reading some layers; what is read is compared at the next feed."""
        i, session, mirror = self.choose()
        n_layer = CONFIGS[self.name].n_layer
        layers = sorted(self.rng.permutation(n_layer)[: self.rng.integers(0, 3)].tolist())
        self.log.append(f"read {i} {layers}")
        session.set_attention_readout(layers or None)
        mirror.read_layers = layers  # type: ignore[attr-defined]

    def truncate(self) -> None:
        i, session, mirror = self.choose()
        n_past = int(self.rng.integers(mirror.n_past // 2, mirror.n_past + 1))
        self.log.append(f"truncate {i} {mirror.n_past} -> {n_past}")
        for either in (session, mirror):
            either.truncate(n_past)

    # --- helpers

    def choose(self) -> tuple[int, Any, reference.Session]:
        i = int(self.rng.integers(len(self.pairs)))
        return (i, *self.pairs[i])

    def tokens(self) -> list[int]:
        n = 1 if self.rng.random() < 0.6 else int(self.rng.integers(2, 12))
        return self.rng.integers(10, 300, n).tolist()

    def compare(self, session: Any, mirror: reference.Session) -> None:
        assert session.n_past == mirror.n_past
        assert distance(session.logits_all(), mirror.logits_all()) <= self.tolerance["logits"]
        layers = getattr(mirror, "read_layers", [])
        measured, wanted = session.attention(), mirror.attention()
        assert sorted(measured) == layers
        for il in layers:
            for got, want in zip(measured[il], wanted[il], strict=True):
                assert distance(got, want) <= self.tolerance["attention"], f"attention of layer {il}"


FLASH_TOLERANCE = {"logits": 1e-1, "attention": 3e-2}
TOLERANCE = {"off": {"logits": 2e-4, "attention": 1e-4}, "on": FLASH_TOLERANCE, "portable": FLASH_TOLERANCE}
FLASH = pytest.mark.parametrize(("flash_attn", "cache"), [("off", "f32"), ("on", "f16"), ("portable", "f16")])


@FLASH
@pytest.mark.parametrize("name", ARCHS)
def test_random_play(engines: Engines, references: References, name: str, flash_attn: str, cache: str) -> None:
    Player(engines(name, flash_attn, cache), references(name), name, 0, TOLERANCE[flash_attn]).run(40)


@pytest.mark.slow
@FLASH
@pytest.mark.parametrize("seed", range(1, 21))
@pytest.mark.parametrize("name", ARCHS)
def test_more_random_play(
    engines: Engines, references: References, name: str, seed: int, flash_attn: str, cache: str
) -> None:
    Player(engines(name, flash_attn, cache), references(name), name, seed, TOLERANCE[flash_attn]).run(60)


@pytest.mark.slow
@FLASH
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_random_play_in_small_batches(
    engines: Engines, references: References, name: str, seed: int, flash_attn: str, cache: str
) -> None:
    engine = engines(name, flash_attn, cache, n_batch=8, n_ubatch=4, n_seq_max=MAX_SESSIONS)
    Player(engine, references(name), name, seed, TOLERANCE[flash_attn]).run(60)
