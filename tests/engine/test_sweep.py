"""Many settings from one prefill, on the real engine: each gives what it gives alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tiny_files import TinyFiles

from mata_cpp import Audio, AudioModel, Cancel, CancelledError, Mata

SETTINGS = [
    None,
    Mata(),
    Mata(2.0, layers=":"),
    Mata(1.5, layers=":", mode="abs"),
    Mata(3.0, layers=":", mode="add"),
    Mata(-1.0, layers=":", mode="add"),
]
CHOICES = ["the thing", "and", "something else entirely"]


def sound(seed: int = 0, seconds: float = 1.0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal(round(16000 * seconds)) * 0.1
    return Audio((samples.astype(np.float32), 16000), name=f"noise {seed}")


def load(tiny: TinyFiles, name: str, **options: object) -> AudioModel:
    given = {"n_ctx": 2048, "n_threads": 1, "cache_type": "f32", "flash_attn": False, **options}
    return AudioModel(tiny.model(name), mmproj=tiny.projector(name), **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["llama", "qwen2", "lfm2", "nemotron_h"])
def model(tiny: TinyFiles, request: pytest.FixtureRequest) -> Iterator[AudioModel]:
    with load(tiny, request.param) as opened:
        yield opened


def test_choices(model: AudioModel) -> None:
    for contrast in (False, True):
        swept = model.sweep_choices(sound(1), "Which?", CHOICES, SETTINGS, contrast=contrast)
        for setting, found in zip(SETTINGS, swept, strict=True):
            model.forget()
            alone = model.choose(sound(1), "Which?", CHOICES, mata=setting, contrast=contrast)
            assert found.scores == pytest.approx(alone.scores, abs=1e-3)
            assert (found.text, found.layers, found.mata) == (alone.text, alone.layers, alone.mata)
            assert found.scored_by == alone.scored_by
    assert len({tuple(np.round(found.scores, 3)) for found in swept}) == len(SETTINGS)  # they do differ


def test_answers(model: AudioModel) -> None:
    swept = model.sweep(sound(2), "What?", SETTINGS, max_tokens=6, logprobs=2)
    for setting, found in zip(SETTINGS, swept, strict=True):
        alone = model.ask(sound(2), "What?", mata=setting, max_tokens=6, logprobs=2)
        assert found.text == alone.text and found.finish_reason == alone.finish_reason
        assert [token.logprob for token in found.logprobs or []] == pytest.approx(
            [token.logprob for token in alone.logprobs or []], abs=1e-3
        )
        assert found.usage.prompt_tokens == alone.usage.prompt_tokens


def test_first_rows(model: AudioModel) -> None:
    swept = model.sweep_first_rows(sound(3), "What?", SETTINGS)
    for setting, found in zip(SETTINGS, swept, strict=True):
        with model.session(setting) as session:
            session.feed(model.prompt(sound(3), "What?"))
            logits = session.logits().astype(np.float64)
        assert found.logprobs == pytest.approx(logits - np.logaddexp.reduce(logits), abs=1e-3)
        assert (found.effect is None) == (setting is None)


def test_more_settings_than_sequences(tiny: TinyFiles) -> None:
    many = [Mata(0.1 * number, layers=":") for number in range(1, 12)]
    with load(tiny, "llama", n_seq_max=4) as small, load(tiny, "llama") as large:
        one = small.sweep_choices(sound(4), "Which?", CHOICES, many)
        other = large.sweep_choices(sound(4), "Which?", CHOICES, many)
        for found, wanted in zip(one, other, strict=True):
            assert found.scores == pytest.approx(wanted.scores, abs=1e-3)


def test_nothing_is_left_behind(model: AudioModel) -> None:
    model.sweep_choices(sound(5), "Which?", CHOICES, SETTINGS)
    model.forget()
    assert model.engine.n_used == 0
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(CancelledError):
        model.sweep(sound(5), "What?", SETTINGS, cancel=cancel)
    model.forget()
    assert model.engine.n_used == 0


def test_what_a_sweep_does_not_take(model: AudioModel) -> None:
    with pytest.raises(ValueError, match="at least one"):
        model.sweep(sound(), "What?", [])
    with pytest.raises(TypeError, match="mata"):
        model.sweep(sound(), "What?", SETTINGS, mata=None)
    with pytest.raises(ValueError, match="must be a Mata"):
        model.sweep(sound(), "What?", [0.1])  # type: ignore[list-item]


# What MATA did ---------------------------------------------------------------------------------


def test_the_effect_is_that_of_the_attention_report(model: AudioModel) -> None:
    for setting in SETTINGS[1:]:
        plain = model.ask(sound(6), "What?", mata=setting, max_tokens=1)
        told = model.ask(sound(6), "What?", mata=setting, max_tokens=1, attention=True)
        assert plain.mata_effect is not None and told.mata_effect is not None and told.attention is not None
        rows = [told.attention.layers.index(layer) for layer in told.layers]
        for share, part in ((plain.mata_effect.before, "before"), (plain.mata_effect.after, "after")):
            wanted = getattr(told.attention, part)[0, rows, 0].mean()  # [tokens, layers, groups]
            assert share == pytest.approx(wanted, abs=1e-5)
        assert told.mata_effect.after == pytest.approx(plain.mata_effect.after, abs=1e-5)


def test_abs_and_add_raise_it_and_less_than_nothing_lowers_it(model: AudioModel) -> None:
    for seed in range(4):
        effects = [found.effect for found in model.sweep_first_rows(sound(seed, 0.7), "What?", SETTINGS)]
        assert effects[3] is not None and effects[4] is not None and effects[5] is not None
        assert effects[3].after > effects[3].before and effects[4].after > effects[4].before
        assert effects[5].lowered


def test_no_effect_where_mata_is_off(model: AudioModel) -> None:
    assert model.ask(sound(), "What?", mata=None, max_tokens=1).mata_effect is None
    on, off = model.compare(sound(), "What?", mata=SETTINGS[2], max_tokens=1)
    assert on.mata_effect is not None and off.mata_effect is None
    assert on.to_dict()["mata_effect"] == on.mata_effect.to_dict() and off.to_dict()["mata_effect"] is None
