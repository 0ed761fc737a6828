"""What must hold bit for bit: off is off, and only the chosen layers of rows that predict are touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from parity.scenario import ARCHS, MODES, OFF, Prompt, Setting, alphas, distance, play, play_answer
from tiny_models import CONFIGS

Engines = Callable[..., Any]

FLASH = pytest.mark.parametrize(("flash_attn", "cache"), [("off", "f32"), ("on", "f16"), ("portable", "f16")])


@FLASH
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ARCHS)
def test_without_effect_is_off(engines: Engines, name: str, mode: str, flash_attn: str, cache: str) -> None:
    """alpha 0, no span, an empty one, weights of 0: as if MATA had never been set."""
    engine, prompt, n_layer = engines(name, flash_attn, cache), Prompt(name), CONFIGS[name].n_layer
    session = engine.session()
    clips = prompt.feed_audio(session)
    stock = play_answer(session, prompt)
    session.close()
    for alpha, spans in (
        ([0.0] * n_layer, clips),
        ([0.5] * n_layer, []),
        ([0.5] * n_layer, [(a, b, 0.0) for a, b, _ in clips]),
        ([0.5] * n_layer, [(a, a, 1.0) for a, _, _ in clips]),
        ([0.5] * n_layer, [(3000, 3010, 1.0)]),
    ):
        session = engine.session()
        prompt.feed_audio(session)
        session.set_mata(mode, alpha, spans)
        assert np.array_equal(play_answer(session, prompt), stock), (alpha, spans)
        session.close()


@FLASH
@pytest.mark.parametrize("name", ARCHS)
def test_cleared_is_off(engines: Engines, name: str, flash_attn: str, cache: str) -> None:
    engine, prompt = engines(name, flash_attn, cache), Prompt(name)
    session = engine.session()
    stock = play(session, prompt, OFF)
    session.close()
    session = engine.session()
    Setting("abs", alphas(name)).apply(session, prompt.feed_audio(session))
    session.clear_mata()
    assert np.array_equal(play_answer(session, prompt), stock)
    session.close()


@FLASH
@pytest.mark.parametrize("name", ARCHS)
def test_other_sequences_are_untouched(engines: Engines, name: str, flash_attn: str, cache: str) -> None:
    """A sequence that is off gets the same logits whatever the others of its batch do."""
    engine, prompts = engines(name, flash_attn, cache), [Prompt(name), Prompt(name, seed=1)]
    rows = []
    for setting in (OFF, Setting("scale", alphas(name))):
        sessions = [engine.session() for _ in prompts]
        for i, session in enumerate(sessions):
            (OFF if i == 0 else setting).apply(session, prompts[i].feed_audio(session))
        got = []
        for step in range(4):
            tokens = [p.question if step == 0 else [p.answer[step - 1]] for p in prompts]
            engine.decode([(s, t, False) for s, t in zip(sessions, tokens, strict=True)])
            got.append([s.logits() for s in sessions])
        rows.append(np.array(got))
        for session in sessions:
            session.close()
    off, on = rows
    # Not bit for bit with flash attention: the rows that predict go through a kernel of another shape.
    if flash_attn == "off":
        assert np.array_equal(off[:, 0], on[:, 0])
    else:
        assert distance(off[:, 0], on[:, 0]) < 5e-2
    assert distance(off[:, 1], on[:, 1]) > 0.1


@FLASH
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ARCHS)
def test_earlier_tokens_keep_their_keys_and_values(
    engines: Engines, name: str, mode: str, flash_attn: str, cache: str
) -> None:
    """The prompt is fed with MATA on, its last row cut off and fed again with MATA off: as if it had never been on."""
    engine, prompt = engines(name, flash_attn, cache), Prompt(name)
    rows = []
    for factor in (0.0, 1.0, 3.0):
        session = engine.session()
        clips = prompt.feed_audio(session)
        Setting(mode, alphas(name)).times(factor).apply(session, clips)
        session.feed_tokens(prompt.question)
        with_mata = session.logits()
        session.truncate(session.n_past - 1)
        session.clear_mata()
        session.feed_tokens(prompt.question[-1:])
        rows.append((with_mata, session.logits()))
        session.close()
    for with_mata, without in rows[1:]:
        assert np.array_equal(without, rows[0][1])
        assert distance(with_mata, rows[0][0]) > 0.05


@FLASH
@pytest.mark.parametrize("name", ARCHS)
def test_layers_before_the_first_chosen_are_untouched(engines: Engines, name: str, flash_attn: str, cache: str) -> None:
    """Attention of all layers up to the chosen one, before the boost, is the same bit for bit; later ones differ."""
    engine, prompt, n_layer, chosen = engines(name, flash_attn, cache), Prompt(name), CONFIGS[name].n_layer, 2
    read = []
    for alpha in (0.0, 0.7):
        session = engine.session()
        clips = prompt.feed_audio(session)
        session.set_attention_readout(range(n_layer))
        session.set_mata("scale", [alpha if il == chosen else 0.0 for il in range(n_layer)], clips)
        session.feed_tokens(prompt.question)
        read.append(session.attention())
        session.close()
    off, on = read
    for il in range(n_layer):
        same = np.array_equal(off[il][0], on[il][0])
        assert same == (il <= chosen), il
        assert np.array_equal(off[il][0], off[il][1])
        assert np.array_equal(on[il][0], on[il][1]) == (il != chosen)


@FLASH
def test_same_feeds_same_bits(engines: Engines, flash_attn: str, cache: str) -> None:
    engine, prompt, setting = engines("llama", flash_attn, cache), Prompt("llama"), Setting("abs", alphas("llama"))
    rows = []
    for _ in range(2):
        session = engine.session()
        rows.append(play(session, prompt, setting))
        session.close()
    assert np.array_equal(*rows)


@FLASH
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen2vl"])
def test_new_alpha_and_spans_reuse_the_graph(
    engines: Engines, name: str, mode: str, flash_attn: str, cache: str
) -> None:
    engine, prompt, setting = engines(name, flash_attn, cache), Prompt(name, n_answer=6), Setting(mode, alphas(name))
    session = engine.session()
    clips = prompt.feed_audio(session)
    setting.apply(session, clips)
    session.feed_tokens(prompt.question)
    session.feed_tokens(prompt.answer[:1])
    n_builds = engine.n_graph_builds()
    for step, token in enumerate(prompt.answer[1:]):
        setting.times(1.0 + step).apply(session, [(a + step, b, 1.0 + step) for a, b, _ in clips])
        session.feed_tokens([token])
    assert engine.n_graph_builds() == n_builds
    session.close()


@pytest.mark.parametrize(
    ("mode", "alpha", "spans"),
    [
        ("louder", [0.1] * 6, [(0, 4, 1.0)]),
        ("", [0.1] * 6, [(0, 4, 1.0)]),
        ("scale", [0.1] * 5, [(0, 4, 1.0)]),
        ("scale", [0.1] * 7, [(0, 4, 1.0)]),
        ("scale", [], [(0, 4, 1.0)]),
        ("scale", [0.1] * 5 + [float("nan")], [(0, 4, 1.0)]),
        ("scale", [0.1] * 5 + [float("inf")], [(0, 4, 1.0)]),
        ("scale", [0.1] * 6, [(4, 2, 1.0)]),
        ("scale", [0.1] * 6, [(-1, 2, 1.0)]),
        ("scale", [0.1] * 6, [(0, 2, float("nan"))]),
    ],
)
def test_bad_setting_is_refused(engines: Engines, mode: str, alpha: list[float], spans: list[Any]) -> None:
    engine, prompt, good = engines("llama"), Prompt("llama"), Setting("scale", alphas("llama"))
    session = engine.session()
    wanted = play(session, prompt, good)
    session.close()
    session = engine.session()
    good.apply(session, prompt.feed_audio(session))
    with pytest.raises(ValueError):
        session.set_mata(mode, alpha, spans)
    assert np.array_equal(play_answer(session, prompt), wanted)  # the former setting stays
    session.close()


@pytest.mark.parametrize("layers", [[-1], [6], [0, 99]])
def test_bad_readout_is_refused(engines: Engines, layers: list[int]) -> None:
    session = engines("llama").session()
    with pytest.raises(ValueError):
        session.set_attention_readout(layers)
    session.close()


@FLASH
@pytest.mark.parametrize("alpha", [100.0, -100.0, 1e4, -1e4, 1e38])
@pytest.mark.parametrize("mode", MODES)
def test_extreme_alpha_stays_finite(engines: Engines, mode: str, alpha: float, flash_attn: str, cache: str) -> None:
    """Attention may collapse, but into numbers: a NaN would stay in the cache for sessions to come.

    An alpha that cannot be computed with has to be refused.
    """
    # An engine of its own, not to spoil the other tests'.
    engine, prompt = engines("llama", flash_attn, cache, n_ctx=256), Prompt("llama")
    session = engine.session()
    spans = [(start, end, 2.0) for start, end, _ in prompt.feed_audio(session)]
    try:
        session.set_mata(mode, [0.0, *[alpha] * 5], spans)
    except ValueError:
        assert abs(alpha) > 100.0
    else:
        assert np.isfinite(play_answer(session, prompt)).all()
    session.close()


@FLASH
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embeddings_have_to_be_numbers(engines: Engines, value: float, flash_attn: str, cache: str) -> None:
    engine, prompt = engines("llama", flash_attn, cache, n_ctx=256), Prompt("llama")
    session, clip = engine.session(), prompt.clip(0)
    clip[3, 5] = value
    with pytest.raises(ValueError):
        session.feed_embeddings(clip)
    assert session.n_past == 0
    session.close()


@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3"])
def test_truncate_reaches_back_beyond_the_window(engines: Engines, name: str) -> None:
    """Positions that have left a sliding window come back into it when the session is cut: they must still be there.

    llama.cpp gives their cells to other sequences when it needs some.
    """
    engine = engines(name, n_ctx=512)
    tokens = np.random.default_rng(0).integers(10, 300, 400).tolist()
    session = engine.session()
    session.feed_tokens(tokens[:30])
    session.feed_tokens([7])
    wanted = session.logits()
    session.close()

    before = engine.session()
    before.feed_tokens(tokens[:100])  # takes the first cells
    session = engine.session()
    session.feed_tokens(tokens[:60])
    before.close()
    other = engine.session()
    for start in range(0, 300, 12):
        other.feed_tokens(tokens[start : start + 12])
    session.truncate(30)
    session.feed_tokens([7])
    assert distance(session.logits(), wanted) <= 2e-4
    session.close()
    other.close()


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_cancelling_leaves_the_session_as_it_was(engines: Engines, name: str) -> None:
    """The same for a feed that is cancelled half way, whose tokens may have taken cells of the session itself."""
    from mata_cpp._core import Cancel
    from mata_cpp.errors import CancelledError

    engine = engines(name, n_ctx=512, n_batch=64, n_ubatch=64)
    tokens = np.random.default_rng(0).integers(10, 300, 450).tolist()
    session = engine.session()
    session.feed_tokens(tokens[:30])
    session.feed_tokens([7])
    wanted = session.logits()
    session.close()

    n_cancelled = 0
    for milliseconds in range(0, 60, 3):
        before, session = engine.session(), engine.session()
        before.feed_tokens(tokens[:60])
        session.feed_tokens(tokens[:30])
        before.close()
        cancel = Cancel()
        timer = threading.Timer(milliseconds / 1000, cancel.cancel)
        timer.start()
        try:
            session.feed_tokens(tokens[30:], cancel=cancel)
        except CancelledError:
            n_cancelled += 1
            assert session.n_past == 30
            session.feed_tokens([7])
            assert distance(session.logits(), wanted) <= 2e-4
        finally:
            timer.cancel()
            timer.join()
            session.close()
    assert n_cancelled > 0
