"""Models with other layers than those of attention: short convolutions (LFM2), Mamba-2, a feed-forward part alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from parity.scenario import MODES, OFF, Prompt, Setting, distance, play, play_answer
from tiny_models import CONFIGS, HYBRIDS

Engines = Callable[..., Any]
Expected = Callable[..., Any]

TOLERANCE = {"off": 2e-4, "on": 5e-2, "portable": 5e-2}
FLASH = pytest.mark.parametrize(("flash_attn", "cache"), [("off", "f32"), ("on", "f16"), ("portable", "f16")])


NAMES = pytest.mark.parametrize("name", HYBRIDS)


def _alphas(name: str, value: float = 0.8) -> tuple[float, ...]:
    config = CONFIGS[name]
    return tuple(value if il in config.attention_layers else 0.0 for il in range(config.n_layer))


@FLASH
@NAMES
@pytest.mark.parametrize("mode", [None, *MODES])
def test_logits(engines: Engines, expected: Expected, name: str, mode: str | None, flash_attn: str, cache: str) -> None:
    prompt, setting = Prompt(name), Setting(mode, _alphas(name))
    session = engines(name, flash_attn, cache).session()
    difference = distance(play(session, prompt, setting), expected(prompt, setting))
    session.close()
    print(f"max|dlogit| {difference:.2e}")
    assert difference <= TOLERANCE[flash_attn]
    assert mode is None or distance(expected(prompt, setting), expected(prompt)) > 0.1


@FLASH
@NAMES
def test_several_sequences(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    engine = engines(name, flash_attn, cache)
    prompts = [Prompt(name, seed=i, n_question=5 + i) for i in range(3)]
    settings = [Setting("scale", _alphas(name)), OFF, Setting("add", _alphas(name, 1.5))]
    sessions = [engine.session() for _ in prompts]
    for session, prompt, setting in zip(sessions, prompts, settings, strict=True):
        setting.apply(session, prompt.feed_audio(session))
    rows = []
    for step in range(5):
        tokens = [p.question if step == 0 else [p.answer[step - 1]] for p in prompts]
        engine.decode([(s, t, False) for s, t in zip(sessions, tokens, strict=True)])
        rows.append([s.logits() for s in sessions])
    for i, (prompt, setting) in enumerate(zip(prompts, settings, strict=True)):
        assert distance(np.array([r[i] for r in rows]), expected(prompt, setting)[:5]) <= TOLERANCE[flash_attn]
        sessions[i].close()


@FLASH
@NAMES
def test_fork(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    engine, prompt = engines(name, flash_attn, cache), Prompt(name)
    first = engine.session()
    clips = prompt.feed_audio(first)
    for factor in (0.5, 1.0):
        fork, setting = first.fork(), Setting("abs", _alphas(name)).times(factor)
        setting.apply(fork, clips)
        assert distance(play_answer(fork, prompt), expected(prompt, setting)) <= TOLERANCE[flash_attn]
        fork.close()
    first.close()


@FLASH
@NAMES
def test_readout(engines: Engines, heard: Any, name: str, flash_attn: str, cache: str) -> None:
    prompt, setting = Prompt(name), Setting("scale", _alphas(name))
    mirror, clips = heard(prompt)
    mirror = mirror.fork()
    session = engines(name, flash_attn, cache).session()
    prompt.feed_audio(session)
    session.set_attention_readout(CONFIGS[name].attention_layers)
    for either in (session, mirror):
        setting.apply(either, clips)
        either.feed_tokens(prompt.question)
    measured, wanted = session.attention(), mirror.attention()
    assert sorted(measured) == CONFIGS[name].attention_layers
    for il in measured:
        for got, want in zip(measured[il], wanted[il], strict=True):
            assert np.abs(got - want).max() <= (1e-4 if flash_attn == "off" else 2e-2)
    session.close()


@pytest.mark.parametrize("name", [name for name in HYBRIDS if name != "falcon_h1"])
def test_layers_without_attention_are_refused(engines: Engines, name: str) -> None:
    session, config = engines(name).session(), CONFIGS[name]
    for il in set(range(config.n_layer)) - set(config.attention_layers):
        alpha = [0.1 if layer == il else 0.0 for layer in range(config.n_layer)]
        with pytest.raises(ValueError, match=f"^layer {il} has no attention to boost$"):
            session.set_mata("scale", alpha, [(0, 4, 1.0)])
        with pytest.raises(ValueError, match=f"^layer {il} has no attention to read$"):
            session.set_attention_readout([il])
    session.close()


@FLASH
@NAMES
def test_without_effect(engines: Engines, name: str, flash_attn: str, cache: str) -> None:
    """A setting that boosts nothing gives the very logits of a session that has none."""
    engine, prompt = engines(name, flash_attn, cache), Prompt(name)
    rows = []
    for setting in (OFF, Setting("scale", _alphas(name, 0.0)), Setting("scale", _alphas(name))):
        session = engine.session()
        rows.append(play(session, prompt, setting))
        session.close()
    never_set = engine.session()
    prompt.feed_audio(never_set)
    rows.append(play_answer(never_set, prompt))
    never_set.close()
    assert np.array_equal(rows[0], rows[1]) and np.array_equal(rows[0], rows[3])
    assert distance(rows[0], rows[2]) > 0.1
