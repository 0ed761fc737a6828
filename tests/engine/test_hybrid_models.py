"""Tiny models with other layers than those of attention: which layers MATA acts on, and conversations.

What a recurrent layer remembers cannot be cut back to an earlier position, so a question finds a sequence in the cache
useful only from its very end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_files import TinyFiles
from tiny_models import CONFIGS, HYBRIDS

from mata_cpp import Answer, Audio, AudioChat, AudioModel, Mata
from mata_cpp.cli import chat as mata_chat
from mata_cpp.cli import listen as mata_listen

AUTO = {
    "lfm2": ([2, 5], (2,), "2:3 of 6"),
    "granite_hybrid": ([2, 4, 8], (4,), "4:5 of 9"),
    "nemotron_h": ([3, 5, 8, 10], (5, 8), "5,8 of 12"),
    "nemotron_h_moe": ([1, 5, 6], (5,), "5:6 of 7"),
    "falcon_h1": ([0, 1, 2, 3], (1, 2), "1:3 of 4"),
}
"""The layers that have attention, the middle third of them, and how that is told."""

STRONG = Mata(2.0, layers=":")
SETTINGS = pytest.mark.parametrize("mata", [None, Mata(), STRONG], ids=["off", "auto", "strong"])
OPTIONS = {"max_tokens": 6, "logprobs": 3}


def sound(seed: int = 0, seconds: float = 1.0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal(round(16000 * seconds)) * 0.1
    return Audio((samples.astype(np.float32), 16000), name=f"noise {seed}")


def load(tiny: TinyFiles, name: str) -> AudioModel:
    return AudioModel(
        tiny.model(name), mmproj=tiny.projector(name), n_ctx=1024, n_threads=1, cache_type="f32", flash_attn=False
    )


@pytest.fixture(scope="module", params=HYBRIDS)
def model(tiny: TinyFiles, request: pytest.FixtureRequest) -> Iterator[AudioModel]:
    with load(tiny, request.param) as opened:
        yield opened


def assert_same(answer: Answer, wanted: Answer, tolerance: float = 1e-4) -> None:
    assert answer.logprobs and wanted.logprobs
    assert [token.id for token in answer.logprobs] == [token.id for token in wanted.logprobs]
    for one, other in zip(answer.logprobs, wanted.logprobs, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=tolerance)


# Which layers ----------------------------------------------------------------------------------


def test_auto_is_the_middle_third_of_the_layers_with_attention(model: AudioModel) -> None:
    attend, auto, told = AUTO[model.name]
    facts = model.describe()
    assert facts["attention_layers"] == attend == CONFIGS[model.name].attention_layers
    assert facts["n_layer"] == CONFIGS[model.name].n_layer and facts["mata_refusal"] is None
    assert Mata().resolve_layers(model.engine.n_layer, model.engine.attention_layers) == auto
    assert model.describe_mata() == model.chat().describe_mata() == f"MATA on (alpha 0.1, layers {told}, mode scale)"


def test_answers_name_the_layers(model: AudioModel) -> None:
    attend, auto, _ = AUTO[model.name]
    on, every, off = (model.ask(sound(), "What?", max_tokens=1, mata=mata) for mata in (Mata(), STRONG, None))
    assert on.layers == auto and on.to_dict()["mata"]["layers"] == list(auto)
    assert every.layers == tuple(attend)
    assert off.layers == () and off.to_dict()["mata"] is None


def test_attention_is_read_where_there_is_any(model: AudioModel) -> None:
    attend, auto, _ = AUTO[model.name]
    attention = model.ask(sound(), "What?", max_tokens=2, attention=True).attention
    assert attention is not None
    assert attention.layers == tuple(attend) and attention.boosted == auto
    assert np.sum(attention.before, axis=-1) == pytest.approx(1.0, abs=1e-3)


def test_layers_without_attention(model: AudioModel) -> None:
    """Named one by one they are an error; a slice leaves them out."""
    attend, _, _ = AUTO[model.name]
    for layer in set(range(model.engine.n_layer)) - set(attend):
        with pytest.raises(ValueError, match=f"^layer {layer} of this model has no attention$"):
            model.ask(sound(), "What?", mata=Mata(layers=[layer, attend[0]]))
    assert model.describe_mata(Mata(layers=f"{attend[0]}:")).count(" of ") == 1
    if attend[0] > 0:
        with pytest.raises(ValueError, match=f"^layers 0:{attend[0]} of this model have no attention$"):
            model.ask(sound(), "What?", mata=Mata(layers=f"0:{attend[0]}"))


@pytest.mark.parametrize("name", HYBRIDS)
def test_the_commands_name_the_layers(tiny: TinyFiles, tmp_path: Path, name: str) -> None:
    import soundfile

    soundfile.write(tmp_path / "clip.wav", np.random.default_rng(0).standard_normal(16000) * 0.1, 16000)
    clip = str(tmp_path / "clip.wav")
    words = ["--model", str(tiny.model(name)), "--mmproj", str(tiny.projector(name)), "--threads", "1"]
    _, auto, told = AUTO[name]
    on = f"MATA on (alpha 0.1, layers {told}, mode scale)\n"

    asked = CliRunner().invoke(mata_chat.cli, [*words, "--max-tokens", "2", clip, "What is it?"])
    assert asked.exit_code == 0 and asked.stderr.startswith(f"{name}: 1.0 s of audio, ") and on in asked.stderr
    status = CliRunner().invoke(mata_chat.cli, words, input="/status\n")
    assert status.exit_code == 0 and on.removeprefix("MATA ") in status.stderr
    summed = CliRunner().invoke(mata_listen.cli, [*words, "--summary", clip, "What is it?"])
    assert summed.exit_code == 0 and on in summed.stderr
    rows = [line.split()[0] for line in summed.stdout.splitlines()[1:]]
    assert rows == [f"{layer}{'*' * (layer in auto)}" for layer in AUTO[name][0]]


# Answers ---------------------------------------------------------------------------------------


def test_on_differs_from_off(model: AudioModel) -> None:
    on, off = (model.ask(sound(), "What?", mata=mata, **OPTIONS) for mata in (STRONG, None))
    assert on.logprobs and off.logprobs
    assert abs(on.logprobs[0].logprob - off.logprobs[0].logprob) > 1e-3
    assert_same(model.ask(sound(), "What?", mata=Mata(0), **OPTIONS), off)


def turns(chat: AudioChat) -> list[Answer]:
    """A clip, a question about it after its answer, a second clip, and one about both."""
    return [
        chat.ask(sound(1), "What do you hear?", **OPTIONS),
        chat.ask(None, "And what else?", **OPTIONS),
        chat.ask(sound(2, 1.5), "And here?", **OPTIONS),
        chat.ask(None, "Which was longer?", **OPTIONS),
    ]


@SETTINGS
def test_a_conversation(tiny: TinyFiles, model: AudioModel, mata: Mata | None) -> None:
    """In a cache that holds other conversations it goes as in an empty one."""
    with load(tiny, model.name) as fresh:
        wanted = turns(fresh.chat(mata=mata))
    for other in (None, STRONG):
        turns(model.chat(mata=other))
    got = turns(model.chat(mata=mata))
    for answer, known in zip(got, wanted, strict=True):
        assert_same(answer, known)
    assert [len(answer.audio) for answer in got] == [1, 1, 2, 2]


def test_a_follow_up_feeds_only_what_is_new(model: AudioModel) -> None:
    first, second, _, last = turns(model.chat(mata=STRONG))
    assert second.usage.cached_tokens >= first.usage.prompt_tokens
    assert last.usage.cached_tokens > second.usage.prompt_tokens


@SETTINGS
def test_a_second_question_about_the_same_clip(model: AudioModel, mata: Mata | None) -> None:
    model.forget()
    wanted = model.ask(sound(3), "Is it loud?", mata=mata, **OPTIONS)
    model.forget()
    model.ask(sound(3), "What is it?", mata=STRONG, **OPTIONS)
    assert_same(model.ask(sound(3), "Is it loud?", mata=mata, **OPTIONS), wanted)
    assert_same(model.ask(sound(3), "Is it loud?", mata=mata, **OPTIONS), wanted)  # its very words are in the cache


def test_history_that_is_read_anew(model: AudioModel) -> None:
    """A conversation whose sequence is gone goes on as before; a choice's words are in it as they were scored."""

    def follow_up(chat: AudioChat) -> list[float]:
        return chat.choose(None, "And who?", ["you", "he and you"], contrast=False).logprobs

    chat = model.chat(mata=None)
    chat.choose(sound(4), "What do you hear?", ["the thing", "and"], contrast=False)
    again = model.chat(mata=None)
    again.messages = chat.messages
    wanted = follow_up(chat)
    model.forget()
    assert follow_up(again) == pytest.approx(wanted, abs=1e-3)


@SETTINGS
def test_a_turn_that_is_taken_back(model: AudioModel, mata: Mata | None) -> None:
    chat = model.chat(mata=mata)
    wanted = chat.ask(sound(5), "What do you hear?", **OPTIONS)
    chat.messages = []
    assert_same(chat.ask(sound(5), "What do you hear?", **OPTIONS), wanted)


def test_many_at_once(model: AudioModel) -> None:
    """Different clips, questions and settings in the same batches."""
    asked = [(sound(i, 1 + i % 2), f"What is {i}?", [None, Mata(), STRONG][i % 3]) for i in range(6)]
    wanted = [model.ask(clip, text, mata=mata, **OPTIONS) for clip, text, mata in asked]
    items = [(clip, text, {"mata": mata, **OPTIONS}) for clip, text, mata in asked]
    for answer, known in zip(model.ask_many(items, parallel=6), wanted, strict=True):
        assert_same(answer, known)


def test_compare(model: AudioModel) -> None:
    """Both answers are those to questions of their own, at first and in a conversation that goes on with the first."""
    chat, same = model.chat(mata=STRONG), model.chat(mata=STRONG)
    for clip, question in ((sound(6), "What do you hear?"), (None, "And what else?")):
        aside = model.chat(mata=None)
        aside.messages = chat.messages
        on, off = chat.compare(clip, question, attention=True, **OPTIONS)
        assert_same(on, same.ask(clip, question, **OPTIONS))
        if clip is not None:
            assert_same(off, aside.ask(clip, question, **OPTIONS))
        assert on.attention is not None and off.attention is not None
        assert on.attention.boosted == tuple(AUTO[model.name][0]) and off.attention.boosted == ()
        assert np.array_equal(off.attention.before, off.attention.after)
        assert np.abs(on.attention.before - on.attention.after).max() > 1e-3
    with model.session() as alone:  # no sequence was left behind
        assert alone.n_past == 0


def test_a_comparison_fits_where_its_answers_do(tiny: TinyFiles, model: AudioModel) -> None:
    """Two sequences are enough, and no more positions are needed than are asked for."""
    needed = model.ask(sound(7), "What?", mata=None, **OPTIONS).usage.prompt_tokens + 2 * 6
    with AudioModel(
        tiny.model(model.name), mmproj=tiny.projector(model.name), n_ctx=needed, n_threads=1, n_seq_max=2
    ) as small:
        on, off = small.compare(sound(7), "What?", mata=STRONG, max_tokens=6)
        assert on.finish_reason in ("length", "stop") and off.finish_reason in ("length", "stop")


def test_choose_with_silence(model: AudioModel) -> None:
    given = {"mata": STRONG, "attention": True}
    first = model.choose(sound(8), "What?", ["the thing", "and"], **given)
    model.forget()
    again = model.choose(sound(8), "What?", ["the thing", "and"], **given)
    assert again.scores == pytest.approx(first.scores, abs=1e-3)
    assert first.attention is not None and first.attention[0].boosted == tuple(AUTO[model.name][0])


def test_a_cancelled_answer(model: AudioModel) -> None:
    """What was half done is done anew."""
    chat, other = model.chat(mata=STRONG), model.chat(mata=STRONG)
    chat.ask(sound(9), "What?", **OPTIONS)
    other.messages = chat.messages
    for _ in chat.stream(None, "And?", max_tokens=200):
        chat.cancel()
    chat.messages = other.messages
    assert_same(chat.ask(None, "And?", **OPTIONS), other.ask(None, "And?", **OPTIONS))


def test_a_session_forks_before_its_last_token(model: AudioModel) -> None:
    *parts, last = model.prompt(sound(10), "What?")
    assert isinstance(last, list)
    with model.session(mata=STRONG) as on, model.session() as off, model.session() as session:
        for whole in (on, off):
            whole.feed([*parts, last])
        with pytest.raises(ValueError, match="fork before the last token"):
            on.fork(mata=None)
        session.feed([*parts, last[:-1]])
        with session.fork() as twin:
            session.mata = STRONG
            for one, wanted in ((session, on), (twin, off)):
                one.feed(last[-1:])
                assert one.logits() == pytest.approx(wanted.logits(), abs=1e-3)
        assert np.abs(on.logits() - off.logits()).max() > 0.05
