"""A session with the model's LoRA adapters, and one without, on one engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_files import TinyFiles

from mata_cpp import _core
from mata_cpp.decoding.sampling import Sampling

TOKENS = [1, 7, 3, 11, 5]
OPTIONS = {"n_ctx": 256, "n_threads": 1, "cache_type_k": "f32", "cache_type_v": "f32", "flash_attn": "off"}


@pytest.fixture
def engine(tiny: TinyFiles) -> Iterator[_core.Engine]:
    made = _core.Engine(str(tiny.model("llama")), lora=[(str(tiny.lora), 1.0)], **OPTIONS)
    yield made
    made.close()


def session(engine: _core.Engine, adapters: bool) -> _core.Session:
    made = engine.session()
    made.use_adapters(adapters)
    return made


def logits(engine: _core.Engine, adapters: bool) -> NDArray[np.float32]:
    made = session(engine, adapters)
    made.feed_tokens(TOKENS)
    rows = made.logits()
    made.close()
    return rows


def test_without_is_the_model_without(engine: _core.Engine, tiny: TinyFiles) -> None:
    bare = _core.Engine(str(tiny.model("llama")), **OPTIONS)
    wanted = logits(bare, True)
    assert np.array_equal(logits(bare, False), wanted)  # there are none to switch
    with_them = logits(engine, True)
    assert np.abs(with_them - wanted).max() > 0.01
    for adapters in (False, True, False, True):
        assert np.array_equal(logits(engine, adapters), with_them if adapters else wanted)
    bare.close()


def test_forks_inherit_it(engine: _core.Engine) -> None:
    parent = session(engine, False)
    parent.feed_tokens(TOKENS)
    for child in (parent.fork(), parent.share(3)):
        with pytest.raises(ValueError, match="before anything is fed"):
            child.use_adapters(True)
        child.feed_tokens([9])
    parent.feed_tokens([9])
    forked = session(engine, False)
    forked.feed_tokens([*TOKENS, 9])
    assert np.abs(parent.logits() - forked.logits()).max() < 1e-4


def test_both_are_generated_at_once(engine: _core.Engine) -> None:
    """Each as alone; they take turns."""

    def run(*kinds: bool) -> list[list[int]]:
        sessions = [session(engine, adapters) for adapters in kinds]
        for made in sessions:
            made.feed_tokens(TOKENS)
        running = [
            _core.Generation(made, Sampling().sampler(engine), max_tokens=20,
                             repeat_limit=0, ignore_end=True)
            for made in sessions
        ]  # fmt: skip
        answers = []
        for generation in running:
            tokens = []
            while some := generation.take():
                tokens += [token.id for token in some]
            answers.append(tokens)
        for made in sessions:
            made.close()
        return answers

    [on], [off] = run(True), run(False)
    assert len(on) == len(off) == 20 and on != off
    assert run(True, False, False, True) == [on, off, off, on]


def test_not_in_one_batch(engine: _core.Engine) -> None:
    with pytest.raises(ValueError, match="cannot be in one batch"):
        engine.decode([(session(engine, True), [1], False), (session(engine, False), [1], False)])
