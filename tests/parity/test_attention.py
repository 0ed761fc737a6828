"""The read-out against the attention weights of transformers (attention.npz), and what must hold of its sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from parity import attention_file as kept
from parity.scenario import MODES, Prompt, Setting, Span, alphas
from tiny_models import CONFIGS

Engines = Callable[..., Any]
Array = np.ndarray

FLASH = pytest.mark.parametrize("flash_attn", ["off", "on"])
AUDIO, BEFORE, AFTER = 0, 1, 2

# llama.cpp casts keys and values to halves for flash attention, also those of an F32 cache.
TOLERANCE = {"off": 1e-4, "on": 5e-3}


@pytest.fixture(scope="module")
def reference() -> Any:
    with np.load(kept.PATH) as data:
        yield data


def play(session: Any, prompt: Prompt, setting: Setting, read: Callable[[], Any]) -> list[Any]:
    """Feed the clips, the question and steps of the answer; what read() gives after each predicting row."""
    setting.apply(session, prompt.feed_audio(session))
    rows = []
    for tokens in (prompt.question, *([token] for token in prompt.answer[: kept.N_STEPS])):
        session.feed_tokens(tokens)
        rows.append(read())
    return rows


@FLASH
@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize("name", kept.NAMES)
def test_transformers(engines: Engines, reference: Any, name: str, mode: str | None, flash_attn: str) -> None:
    session, layers = engines(name, flash_attn, "f32").session(), kept.layers(CONFIGS[name].n_layer)
    session.set_attention_readout(layers)
    rows = play(session, Prompt(name), Setting(mode, alphas(name)), session.attention)
    session.close()
    for index, when in enumerate(("before", "after")):
        wanted = reference[f"{name}/{mode or 'off'}/{when if mode else 'before'}"]
        for r, weights in enumerate(rows):
            for i, layer in enumerate(layers):
                got = weights[layer][index][0]
                want = wanted[i, :, r]
                difference = float(np.abs(got - want[:, : got.shape[1]]).max())
                print(f"{name} {mode} {when} FA {flash_attn} layer {layer} row {r}: {difference:.1e}")
                assert not want[:, got.shape[1] :].any()
                assert difference <= TOLERANCE[flash_attn]


def ranges(prompt: Prompt, spans: list[Span]) -> list[tuple[int, int, int]]:
    return [*((start, end, AUDIO) for start, end, _ in spans), (0, spans[0][0], BEFORE), (spans[0][1], 1 << 30, AFTER)]


@FLASH
@pytest.mark.parametrize("name", [*kept.NAMES, "mha", "groups_of_three"])
def test_sums_are_those_of_the_rows(engines: Engines, name: str, flash_attn: str) -> None:
    setting = Setting("scale", alphas(name) if name in kept.NAMES else (0.5,) * 4)
    prompt = Prompt(name)
    engine = engines(name, flash_attn, "f32")
    session, layers = engine.session(), list(range(CONFIGS[name].n_layer))
    session.set_attention_readout(layers)
    rows = play(session, prompt, setting, session.attention)
    twin = engine.session()
    spans = prompt.feed_audio(twin)
    twin.truncate(0)
    twin.set_attention_sums(layers, ranges(prompt, spans), [1, 3])
    sums = play(twin, prompt, setting, twin.attention_sums)
    listened = [p for start, end, _ in spans for p in range(start, end)]
    for weights, made in zip(rows, sums, strict=True):
        n_past = weights[0][0].shape[2]
        group = np.full(n_past, AFTER)
        for start, end, number in reversed(ranges(prompt, spans)):
            group[start:end] = number
        for when in (0, 1):
            whole = np.stack([weights[layer][when][0] for layer in layers])  # [L, H, n_past]
            want = np.stack([whole[:, :, group == g].sum(axis=2) for g in range(3)], axis=2)
            np.testing.assert_allclose(made[when][0], want, atol=5e-6)
            np.testing.assert_allclose(made[when][0].sum(axis=-1), 1.0, atol=1e-5)
            np.testing.assert_allclose(made[2 + when][0], whole[[1, 3]].mean(axis=(0, 1))[listened], atol=5e-6)
    session.close()
    twin.close()


@FLASH
@pytest.mark.parametrize("mode", ["abs", "add"])
@pytest.mark.parametrize("name", kept.NAMES)
def test_the_audios_share_rises_with_alpha(engines: Engines, name: str, mode: str, flash_attn: str) -> None:
    """On every head of a chosen layer whose rows see audio; each layer alone, so that what enters it stays the same."""
    prompt, engine = Prompt(name), engines(name, flash_attn, "f32")
    session = engine.session()
    spans = prompt.feed_audio(session)
    session.set_attention_sums([3], ranges(prompt, spans), [])
    session.feed_tokens(prompt.question[:-1])
    shares = []
    for alpha in (0.0, 0.05, 0.2, 0.6):
        session.set_mata(mode, [alpha if il == 3 else 0.0 for il in range(CONFIGS[name].n_layer)], spans)
        session.feed_tokens(prompt.question[-1:])
        before, after, _, _ = session.attention_sums()
        np.testing.assert_allclose(after.sum(axis=-1), 1.0, atol=1e-5)
        shares.append(after[0, 0, :, AUDIO])
        np.testing.assert_allclose(before[0, 0, :, AUDIO], shares[0], atol=1e-6)
        session.truncate(session.n_past - 1)
    session.close()
    assert (shares[0] > 0).all()
    assert (np.diff(shares, axis=0) > 0).all()


def test_nothing_is_built_when_nothing_is_read(engines: Engines) -> None:
    """Off, the graph is the stock one; on, one graph serves all steps; switched off again, it is the stock one."""
    engine, prompt = engines("llama", "on", "f32"), Prompt("llama", seed=5)
    session = engine.session()
    spans = prompt.feed_audio(session)
    built, ops = engine.n_graph_builds(), engine.graph_ops()
    session.feed_tokens(prompt.question)
    for token in prompt.answer[:3]:
        session.feed_tokens([token])
    assert engine.n_graph_builds() == built and engine.graph_ops() == ops
    session.set_attention_sums([0, 3], ranges(prompt, spans), [3])
    for token in prompt.answer[3:6]:
        session.feed_tokens([token])
        assert session.attention_sums()[0].shape == (1, 2, CONFIGS["llama"].n_head, 3)
    assert engine.n_graph_builds() == built + 1
    session.set_attention_readout(None)
    for token in prompt.answer[6:]:
        session.feed_tokens([token])
    assert engine.n_graph_builds() == built + 1
    session.close()


def test_several_rows_and_several_sequences(engines: Engines) -> None:
    """Rows fed at once, beside a sequence that reads otherwise, are those that are fed one by one."""
    engine = engines("qwen2", "on", "f32")
    prompts = [Prompt("qwen2", seed=i) for i in (1, 2)]
    batched, stepped = [], []
    for prompt in prompts:
        for sessions in (batched, stepped):
            session = engine.session()
            spans = prompt.feed_audio(session)
            session.set_attention_sums([0, 2, 3] if prompt is prompts[0] else [1], ranges(prompt, spans), [])
            session.set_mata("scale", alphas("qwen2"), spans)
            session.feed_tokens(prompt.question)
            sessions.append(session)
    engine.decode([(session, prompt.answer, True) for session, prompt in zip(batched, prompts, strict=True)])
    for prompt, one, other in zip(prompts, batched, stepped, strict=True):
        rows = one.attention_sums()
        assert len(rows[0]) == len(prompt.answer)
        for r, token in enumerate(prompt.answer):
            other.feed_tokens([token])
            for made, want in zip(rows, other.attention_sums(), strict=True):
                np.testing.assert_allclose(made[r], want[0], atol=2e-3)
    for session in (*batched, *stepped):
        session.close()


@pytest.mark.parametrize(
    ("layers", "groups", "time_layers", "message"),
    [
        ([], [(0, 9, 0)], [], "at least one layer and one group"),
        ([0], [], [], "at least one layer and one group"),
        ([99], [(0, 9, 0)], [], "layer 99 has no attention to read"),
        ([0], [(9, 0, 0)], [], "group 0 is not 0 <= start <= end"),
        ([0], [(0, 9, 64)], [], "below 64"),
        ([0], [(0, 9, 0)], [1], "layer 1 is not among the layers"),
        ([0], [(0, 1 << 30, 0)], [], "more positions than the context"),
    ],
)
def test_bad_requests(engines: Engines, layers: Any, groups: Any, time_layers: Any, message: str) -> None:
    session = engines("llama").session()
    with pytest.raises(ValueError, match=message):
        session.set_attention_sums(layers, groups, time_layers)
    with pytest.raises(ValueError, match="no sums of attention are kept"):
        session.attention_sums()
    session.close()


def test_layers_without_attention(engines: Engines) -> None:
    engine = engines("lfm2")
    assert engine.attention_layers == [2, 5]
    session = engine.session()
    with pytest.raises(ValueError, match="layer 0 has no attention to read"):
        session.set_attention_sums([0], [(0, 9, 0)], [])
    session.close()
