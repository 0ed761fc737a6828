"""Models that have attention in some layers only: LFM2, whose other layers are short convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from parity.scenario import MODES, OFF, Prompt, Setting, distance, play, play_answer
from tiny_models import CONFIGS

Engines = Callable[..., Any]
Expected = Callable[..., Any]

NAME = "lfm2"
N_LAYER = CONFIGS[NAME].n_layer
ATTENTION = [il for il in range(N_LAYER) if il not in CONFIGS[NAME].conv_layers]
TOLERANCE = {"off": 2e-4, "on": 5e-2, "portable": 5e-2}
FLASH = pytest.mark.parametrize(("flash_attn", "cache"), [("off", "f32"), ("on", "f16"), ("portable", "f16")])


def _alphas(value: float = 0.8) -> tuple[float, ...]:
    return tuple(value if il in ATTENTION else 0.0 for il in range(N_LAYER))


@FLASH
@pytest.mark.parametrize("mode", [None, *MODES])
def test_logits(engines: Engines, expected: Expected, mode: str | None, flash_attn: str, cache: str) -> None:
    prompt, setting = Prompt(NAME), Setting(mode, _alphas())
    session = engines(NAME, flash_attn, cache).session()
    difference = distance(play(session, prompt, setting), expected(prompt, setting))
    session.close()
    print(f"max|dlogit| {difference:.2e}")
    assert difference <= TOLERANCE[flash_attn]
    assert mode is None or distance(expected(prompt, setting), expected(prompt)) > 0.1


@FLASH
def test_several_sequences(engines: Engines, expected: Expected, flash_attn: str, cache: str) -> None:
    engine = engines(NAME, flash_attn, cache)
    prompts = [Prompt(NAME, seed=i, n_question=5 + i) for i in range(3)]
    settings = [Setting("scale", _alphas()), OFF, Setting("add", _alphas(1.5))]
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
def test_fork(engines: Engines, expected: Expected, flash_attn: str, cache: str) -> None:
    engine, prompt = engines(NAME, flash_attn, cache), Prompt(NAME)
    first = engine.session()
    clips = prompt.feed_audio(first)
    for factor in (0.5, 1.0):
        fork, setting = first.fork(), Setting("abs", _alphas()).times(factor)
        setting.apply(fork, clips)
        assert distance(play_answer(fork, prompt), expected(prompt, setting)) <= TOLERANCE[flash_attn]
        fork.close()
    first.close()


@FLASH
def test_readout(engines: Engines, heard: Any, flash_attn: str, cache: str) -> None:
    prompt, setting = Prompt(NAME), Setting("scale", _alphas())
    mirror, clips = heard(prompt)
    mirror = mirror.fork()
    session = engines(NAME, flash_attn, cache).session()
    prompt.feed_audio(session)
    session.set_attention_readout(ATTENTION)
    for either in (session, mirror):
        setting.apply(either, clips)
        either.feed_tokens(prompt.question)
    measured, wanted = session.attention(), mirror.attention()
    assert sorted(measured) == ATTENTION
    for il in ATTENTION:
        for got, want in zip(measured[il], wanted[il], strict=True):
            assert np.abs(got - want).max() <= (1e-4 if flash_attn == "off" else 2e-2)
    session.close()


def test_layers_without_attention_are_refused(engines: Engines) -> None:
    session = engines(NAME).session()
    for il in CONFIGS[NAME].conv_layers:
        alpha = [0.1 if layer == il else 0.0 for layer in range(N_LAYER)]
        with pytest.raises(ValueError, match=str(il)):
            session.set_mata("scale", alpha, [(0, 4, 1.0)])
        with pytest.raises(ValueError, match=str(il)):
            session.set_attention_readout([il])
    session.close()
