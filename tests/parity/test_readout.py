"""The attention read-out against the reference's softmax rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from parity import reference
from parity.scenario import ARCHS, MODES, Prompt, Setting, alphas, play_answer
from tiny_models import CONFIGS

Engines = Callable[..., Any]
Heard = Callable[..., Any]

# Without flash attention and with an F32 cache; else keys are halves.
TOLERANCE = {"off": 1e-4, "on": 2e-2, "portable": 2e-2}
FLASH = pytest.mark.parametrize(("flash_attn", "cache"), [("off", "f32"), ("on", "f16"), ("portable", "f16")])

Rows = dict[int, tuple[np.ndarray, np.ndarray]]


def _compare(measured: Rows, wanted: Rows, layers: list[int], tolerance: float) -> None:
    assert sorted(measured) == sorted(layers)
    for il in layers:
        for got, want in zip(measured[il], wanted[il], strict=True):
            assert got.shape == want.shape
            assert np.abs(got.sum(axis=-1) - 1.0).max() <= 1e-3
            difference = np.abs(got - want).max()
            print(f"layer {il}: {difference:.1e}")
            assert difference <= tolerance


@FLASH
@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize("name", ARCHS)
def test_prompt_and_steps(
    engines: Engines, heard: Heard, name: str, mode: str | None, flash_attn: str, cache: str
) -> None:
    prompt, setting = Prompt(name), Setting(mode, alphas(name))
    reference_session, clips = heard(prompt)
    fork = reference_session.fork()
    session = engines(name, flash_attn, cache).session()
    prompt.feed_audio(session)
    layers = list(range(CONFIGS[name].n_layer))
    session.set_attention_readout(layers)
    for either in (session, fork):
        setting.apply(either, clips)
    for tokens in (prompt.question, prompt.answer[:1], prompt.answer[1:2]):
        for either in (session, fork):
            either.feed_tokens(tokens)
        _compare(session.attention(), fork.attention(), layers, TOLERANCE[flash_attn])
    session.close()


@FLASH
@pytest.mark.parametrize("name", ARCHS)
def test_reading_changes_nothing(engines: Engines, name: str, flash_attn: str, cache: str) -> None:
    prompt, setting = Prompt(name), Setting("scale", alphas(name))
    rows = []
    for layers in (None, [0, 3]):
        session = engines(name, flash_attn, cache).session()
        setting.apply(session, prompt.feed_audio(session))
        session.set_attention_readout(layers)
        rows.append(play_answer(session, prompt))
        session.close()
    assert np.array_equal(*rows)


@FLASH
@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen2vl"])
def test_every_scored_row(engines: Engines, heard: Heard, name: str, flash_attn: str, cache: str) -> None:
    prompt, setting = Prompt(name), Setting("abs", alphas(name))
    reference_session, clips = heard(prompt)
    fork = reference_session.fork()
    session = engines(name, flash_attn, cache).session()
    prompt.feed_audio(session)
    session.set_attention_readout([0, 2, 3])
    for either in (session, fork):
        setting.apply(either, clips)
        either.feed_tokens(prompt.question)
        either.feed_tokens(prompt.answer, all_logits=True)
    measured = session.attention()
    assert measured[0][0].shape == (len(prompt.answer), CONFIGS[name].n_head, session.n_past)
    _compare(measured, fork.attention(), [0, 2, 3], TOLERANCE[flash_attn])
    session.close()


@FLASH
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_several_sequences(engines: Engines, heard: Heard, name: str, flash_attn: str, cache: str) -> None:
    """Two read different layers, one reads none; cells of the three lie between each other."""
    engine, prompts = engines(name, flash_attn, cache), [Prompt(name, seed=i, n_text=4 + i) for i in range(3)]
    settings = [Setting("scale", alphas(name)), Setting(None), Setting("add", alphas(name, "inner"))]
    layers = [[0, 3], [], [2]]
    sessions = [engine.session() for _ in prompts]
    forks: list[reference.Session] = []
    for session, prompt, setting, read in zip(sessions, prompts, settings, layers, strict=True):
        reference_session, clips = heard(prompt)
        forks.append(reference_session.fork())
        prompt.feed_audio(session)
        session.set_attention_readout(read or None)
        for either in (session, forks[-1]):
            setting.apply(either, clips)
    for step in range(3):
        tokens = [p.question if step == 0 else [p.answer[step - 1]] for p in prompts]
        engine.decode([(s, t, False) for s, t in zip(sessions, tokens, strict=True)])
        for fork, fed in zip(forks, tokens, strict=True):
            fork.feed_tokens(fed)
    for session, fork, read in zip(sessions, forks, layers, strict=True):
        _compare(session.attention(), fork.attention(), read, TOLERANCE[flash_attn])
        session.close()


def test_stops(engines: Engines) -> None:
    prompt = Prompt("llama")
    session = engines("llama").session()
    prompt.feed_audio(session)
    session.set_attention_readout([1])
    session.feed_tokens(prompt.question)
    assert list(session.attention()) == [1]
    session.set_attention_readout(None)
    session.feed_tokens(prompt.answer)
    assert session.attention() == {}
    session.close()
