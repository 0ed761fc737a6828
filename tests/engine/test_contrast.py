"""Answers by contrast on the real engine: each token is the one that the formula gives over two sequences that are
computed by themselves."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from parity.audio import models
from parity.prompts import templates
from parity.prompts.vocabulary import add_tokenizer

from mata_cpp import (
    Answer,
    Audio,
    AudioError,
    AudioModel,
    Cancel,
    CancelledError,
    ContextFullError,
    Contrast,
    Mata,
    Session,
)
from mata_cpp.adaptive import adaptive_setting, ask_adaptively
from mata_cpp.decoding.contrast import noise, silence, smooth, text, yesno
from mata_cpp.decoding.contrast.pair import NO, YES, _first_tokens
from mata_cpp.decoding.contrast.rule import Step
from mata_cpp.permuted import choose_permuted, orders

RATE = 16000
QUESTION = "w1 w2 w3"
MISLED = "w9 w8 w1 w2 w3"
ENDLESS = 'root ::= ("w1" | "w2" | "w3" | "w4"){900}'
STRONG = Mata(0.8, layers=":", mode="abs")
CLOSE = 5e-3
"""Of logits: flash attention rounds otherwise in batches of another size."""

CONTRASTS = [
    Contrast("silence", 0.5),
    Contrast("noise"),
    Contrast("smooth", 1.5),
    Contrast("yesno"),
    Contrast("guidance", 1.0),
    Contrast("text", text="w9 w8"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("contrast")
    tokenizer = partial(add_tokenizer, arch="qwen2_audio", template=templates.TEXT["qwen2_audio"])
    text = models.write_text("qwen2_audio", folder / "text.gguf", tokenizer)
    return text, models.write_mmproj("qwen2_audio", folder / "mmproj.gguf")


@pytest.fixture(scope="module")
def model(files: tuple[Path, Path]) -> Iterator[AudioModel]:
    with AudioModel(files[0], mmproj=files[1], n_ctx=4096, n_threads=1, cache_type="f32") as opened:
        yield opened


def sound(seed: int, seconds: float = 2.0) -> Audio:
    samples = np.random.RandomState(seed).standard_normal(round(seconds * RATE)) * 0.1
    return Audio((samples.astype(np.float32), RATE), name=f"noise {seed}")


def question_of(contrast: Contrast) -> str:
    return MISLED if contrast.name == "text" else QUESTION


def other_prompt(model: AudioModel, clip: Audio, contrast: Contrast) -> list[Any]:
    """What the other side is fed, made without the code that is tested."""
    samples = clip.samples(RATE)
    name = contrast.name
    if name == "text":
        return list(model.prompt(clip, text.without(MISLED, "w9 w8")))
    if name == "guidance":
        with model.chat() as chat:
            messages = chat._conversation.proposed(QUESTION, [], None)
        return [part for part in model._prompts.fresh().parts(messages) if part]
    if name == "noise":
        return list(model.prompt((noise.noised(samples, 0.0, 0), RATE), QUESTION))
    if name == "smooth":
        return list(model.prompt((smooth.smoothed(samples, RATE), RATE), QUESTION))
    return list(model.prompt(silence.silence(clip.seconds, RATE), QUESTION))


def reliance_of(session: Session) -> float:
    """The audio's share of attention of the last row in the last four layers."""
    [(start, end)] = session.audio_spans
    rows = [after[-1, :, start:end].sum(axis=1).mean() for _, after in session.attention().values()]
    return float(np.mean(rows))


class ByHand:
    """Two sessions, fed a token at a time, each by itself."""

    def __init__(self, model: AudioModel, clip: Audio, contrast: Contrast, mata: Mata | None) -> None:
        self.contrast, self.first = contrast, True
        self.heard, self.other = model.session(mata), model.session()
        if contrast.name == "smooth":
            self.heard.read_attention(list(range(model.engine.n_layer))[-4:])
        self.heard.feed(model.prompt(clip, question_of(contrast)))
        self.other.feed(other_prompt(model, clip, contrast))
        self.words = (_first_tokens(model.engine, YES), _first_tokens(model.engine, NO))

    def logits(self) -> NDArray[np.float32]:
        heard, other = self.heard.logits(), self.other.logits()
        name, amount = self.contrast.name, self.contrast.amount
        if name == "text":
            joint, audio = log_p(heard), log_p(other)
            return text.interpolated(joint, audio, amount).astype(np.float32)
        if name == "smooth":
            return smooth.pushed(heard, other, amount * smooth.gate(reliance_of(self.heard), heard))
        if name == "yesno":
            step = Step(first=self.first, yes=self.words[0], no=self.words[1])
            return yesno.combined(heard, other, self.contrast, step)
        found = (1 + amount) * heard - amount * other
        if name in ("noise", "guidance"):
            found[log_p(heard) < log_p(heard).max() + math.log(0.1)] = -np.inf
        return found

    def feed(self, token: int) -> None:
        self.first = False
        for session in (self.heard, self.other):
            session.feed([[token]])

    def close(self) -> None:
        self.heard.close()
        self.other.close()


def log_p(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    values = logits.astype(np.float64)
    return values - values.max() - np.log(np.exp(values - values.max()).sum())


def ids(answer: Answer) -> list[int]:
    assert answer.logprobs is not None
    return [token.id for token in answer.logprobs]


# The formula -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mata", [None, STRONG], ids=["plain", "mata"])
@pytest.mark.parametrize("contrast", CONTRASTS, ids=lambda contrast: contrast.name)
def test_tokens_are_those_of_the_formula(model: AudioModel, contrast: Contrast, mata: Mata | None) -> None:
    clip = sound(1)
    answer = model.ask(clip, question_of(contrast), contrast=contrast, mata=mata, logprobs=3, max_tokens=10)
    assert answer.contrast == contrast and answer.logprobs
    by_hand = ByHand(model, clip, contrast, mata)
    for token in answer.logprobs:
        wanted = log_p(by_hand.logits())
        assert token.logprob == pytest.approx(wanted[token.id], abs=CLOSE)
        for other in token.top:
            assert other.logprob == pytest.approx(wanted[other.id], abs=CLOSE)
        assert wanted[token.id] > wanted.max() - CLOSE
        by_hand.feed(token.id)
    by_hand.close()
    assert answer.confidence == pytest.approx(math.exp(answer.logprobs[0].logprob))


def test_the_contrast_makes_a_difference(model: AudioModel) -> None:
    """Else the test above could not fail."""
    plain = model.ask(sound(1), MISLED, logprobs=0, mata=None, max_tokens=1)
    for contrast in CONTRASTS:
        question = MISLED if contrast.text else QUESTION
        base = plain if contrast.text else model.ask(sound(1), QUESTION, logprobs=0, mata=None, max_tokens=1)
        found = model.ask(sound(1), question, contrast=contrast, logprobs=0, mata=None, max_tokens=1)
        assert base.confidence is not None and found.confidence is not None
        assert abs(base.confidence - found.confidence) > 1e-4, contrast


@pytest.mark.parametrize("name", ["silence", "noise", "smooth", "guidance"])
@pytest.mark.parametrize("mata", [None, STRONG], ids=["plain", "mata"])
def test_no_strength_is_the_plain_answer(model: AudioModel, name: str, mata: Mata | None) -> None:
    given: dict[str, Any] = {"mata": mata, "logprobs": 2, "max_tokens": 30}
    plain = model.ask(sound(2), QUESTION, **given)
    found = model.ask(sound(2), QUESTION, contrast=Contrast(name, 0, cut=0), **given)
    assert ids(found) == ids(plain) and found.text == plain.text
    assert (found.finish_reason, found.audio, found.mata) == (plain.finish_reason, plain.audio, plain.mata)
    if name != "smooth":  # which reads the audio of other layers in the same pass
        assert (found.mata_effect is None) == (plain.mata_effect is None)
    assert found.confidence == pytest.approx(plain.confidence, abs=1e-3)


def test_the_effect_of_mata_is_told_as_without_contrast(model: AudioModel) -> None:
    plain = model.ask(sound(2), QUESTION, mata=STRONG, max_tokens=1)
    for name in ("silence", "smooth"):
        found = model.ask(sound(2), QUESTION, mata=STRONG, max_tokens=1, contrast=name)
        assert found.mata_effect is not None and plain.mata_effect is not None
        assert found.mata_effect.before == pytest.approx(plain.mata_effect.before, abs=1e-3)
        assert found.mata_effect.after == pytest.approx(plain.mata_effect.after, abs=1e-3)


# As any other answer -----------------------------------------------------------------------------


def test_streaming_stop_and_length(model: AudioModel) -> None:
    whole = model.ask(sound(3), QUESTION, contrast="silence", max_tokens=20)
    pieces = list(model.stream(sound(3), QUESTION, contrast="silence", max_tokens=20, logprobs=0))
    assert "".join(pieces) == whole.text and pieces[-1].answer is not None
    assert sum(len(piece.logprobs) for piece in pieces) == whole.usage.completion_tokens
    assert whole.timings.prefill_s > 0 and whole.timings.decode_tokens_per_s > 0
    if len(whole.text) > 4:
        stop = whole.text[2:4]
        cut = model.ask(sound(3), QUESTION, contrast="silence", max_tokens=20, stop=stop)
        assert cut.text == whole.text[: whole.text.index(stop)] and cut.finish_reason == "stop"


def test_sampling_and_grammar(model: AudioModel) -> None:
    given: dict[str, Any] = {"contrast": "noise", "temperature": 1.0, "top_k": 0, "max_tokens": 12}
    one, same = (model.ask(sound(3), QUESTION, seed=3, **given).text for _ in range(2))
    assert one == same
    for word in ("w1", "w20", "w33"):  # of which most are left out by the cut
        answer = model.ask(sound(3), QUESTION, contrast="noise", grammar=f'root ::= "{word}"', logprobs=3)
        assert answer.text == word
        json.dumps(answer.to_dict(), allow_nan=False)


def test_attention_is_read_on_the_side_of_the_question(model: AudioModel) -> None:
    given: dict[str, Any] = {"attention": True, "mata": STRONG, "max_tokens": 6, "logprobs": 0}
    plain = model.ask(sound(4), QUESTION, **given).attention
    found = model.ask(sound(4), QUESTION, contrast=Contrast("silence", 0), **given).attention
    assert plain is not None and found is not None
    assert found.tokens == plain.tokens
    assert np.allclose(found.share("audio"), plain.share("audio"), atol=1e-3)
    with pytest.raises(ValueError, match="contrast smooth reads the attention itself"):
        model.ask(sound(4), QUESTION, contrast="smooth", attention=True)


def test_a_chat_goes_on_after_it(model: AudioModel) -> None:
    """The question's own side is what the conversation keeps; the next question finds it in the cache."""
    chat, plain = model.chat(mata=None), model.chat(mata=None)
    first = chat.ask(sound(5), QUESTION, contrast="silence:0", max_tokens=8)
    follow = chat.ask("w4 w5", max_tokens=8, logprobs=0)
    assert follow.usage.cached_tokens >= first.usage.prompt_tokens
    assert plain.ask(sound(5), QUESTION, max_tokens=8).text == first.text
    assert ids(plain.ask("w4 w5", max_tokens=8, logprobs=0)) == ids(follow)
    assert [message.role for message in chat.messages] == ["user", "assistant"] * 2
    later = chat.ask("w6", contrast="guidance", max_tokens=4)  # of a clip that was heard before
    assert later.contrast is not None and len(later.audio) == 1


def test_the_other_side_is_found_in_the_cache(model: AudioModel) -> None:
    model.ask(sound(6), QUESTION, contrast="silence", max_tokens=2)
    runs = model._loaded.encoder.n_runs
    model.ask(sound(6), "w7 w8", contrast="silence", max_tokens=2)
    model.ask(sound(7), "w7 w8", contrast="silence", max_tokens=2)  # as long: the same silence
    assert model._loaded.encoder.n_runs == runs + 1


# Choices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("contrast", CONTRASTS[:-1], ids=lambda contrast: contrast.name)
def test_options_are_scored_token_by_token(model: AudioModel, contrast: Contrast) -> None:
    """Without the cut, of which an option would seldom be left."""
    clip, options = sound(8), ["w1 w2", "w7", "w3 w3 w3"]
    choice = model.choose(clip, QUESTION, options, contrast=contrast, listed=False, mata=STRONG)
    frame = model._prompts.fresh()
    assert (
        choice.contrast == contrast and choice.scored_by == f"contrast {contrast}" and choice.silence_logprobs is None
    )
    plain = model.choose(clip, QUESTION, options, contrast=False, listed=False, mata=STRONG)
    assert choice.logprobs == pytest.approx(plain.logprobs, abs=2e-2)
    end = model.engine.tokenize(model.engine.eos_token)[0]
    uncut = Contrast(contrast.name, contrast.strength, cut=0)
    for option, score in zip(options, choice.scores, strict=True):
        by_hand = ByHand(model, clip, uncut, STRONG)
        if uncut.name in ("noise", "guidance"):
            by_hand.contrast = Contrast("silence", contrast.strength)  # the same formula, uncut
        tokens = [*model.engine.tokenize(option, parse_special=False), end]
        total = 0.0
        for token in tokens:
            total += log_p(by_hand.logits())[token]
            by_hand.feed(token)
        by_hand.close()
        assert score == pytest.approx(total, abs=5e-2)
    assert choice.index == int(np.argmax(choice.scores))
    assert frame is not None


def test_options_after_a_text_that_misleads(model: AudioModel) -> None:
    clip, options = sound(8), ["w1 w2", "w7", "w3"]
    given: dict[str, Any] = {"listed": False, "mata": None}
    joint = model.choose(clip, MISLED, options, contrast=False, **given).scores
    audio = model.choose(clip, QUESTION, options, contrast=False, **given).scores
    found = model.choose(clip, MISLED, options, contrast=Contrast("text", text="w9 w8"), **given)
    assert found.scores == pytest.approx(text.interpolated(np.array(joint), np.array(audio), 1.0), abs=5e-2)


def test_the_default_contrast_of_options_stays(model: AudioModel) -> None:
    choice = model.choose(sound(8), QUESTION, ["w1", "w2"])
    assert choice.contrast is None and choice.silence_logprobs is not None
    assert "contrast" not in choice.to_dict()


# Endings -----------------------------------------------------------------------------------------


def idle(model: AudioModel) -> bool:
    pool = model._loaded.pool
    return not any(image.target and not image.lost for image in pool._taken.values())


@pytest.mark.parametrize("when", ["before", "in the middle", "by a timer", "closing"])
def test_cancelling_gives_the_room_back(model: AudioModel, when: str) -> None:
    cancel = Cancel()
    if when == "before":
        cancel.cancel()
        answer = model.ask(sound(9), QUESTION, contrast="silence", cancel=cancel)
        assert (answer.finish_reason, answer.text, answer.contrast) == ("cancelled", "", Contrast("silence"))
    elif when == "by a timer":
        timer = threading.Timer(0.01, cancel.cancel)
        timer.start()
        model.ask(sound(10, 8.0), QUESTION, contrast="noise", cancel=cancel, max_tokens=2000)
        timer.join()
    else:
        stream = model.stream(sound(9), QUESTION, contrast="silence", max_tokens=400, cancel=cancel)
        next(stream)
        if when == "closing":
            stream.close()  # type: ignore[attr-defined]
        else:
            cancel.cancel()
            last = list(stream)[-1].answer
            assert last is not None and last.finish_reason == "cancelled" and last.text
    assert idle(model)


def test_a_cancelled_choice(model: AudioModel) -> None:
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(CancelledError):
        model.choose(sound(9), QUESTION, ["w1", "w2"], contrast="silence", cancel=cancel)
    assert idle(model)


def test_an_error_gives_the_room_back(model: AudioModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(silence, "combined", broken)
    with pytest.raises(RuntimeError, match="broken"):
        model.ask(sound(9), QUESTION, contrast="silence")
    assert idle(model)


def test_closing_the_model_ends_a_stream(files: tuple[Path, Path]) -> None:
    opened = AudioModel(files[0], mmproj=files[1], n_ctx=512, n_threads=1)
    stream = opened.stream(sound(11), QUESTION, contrast="silence", max_tokens=300)
    next(stream)
    opened.close()
    last = list(stream)[-1]
    assert last.answer is not None and last.answer.finish_reason == "cancelled"


def test_the_context_is_full(files: tuple[Path, Path]) -> None:
    """Both prompts must fit; the answer may be as long as what is left for both."""
    with AudioModel(files[0], mmproj=files[1], n_ctx=256, n_threads=1, cache_type="f32") as small:
        clip = sound(12)
        needed = small.ask(clip, QUESTION, max_tokens=1).usage.prompt_tokens
        answer = small.ask(clip, QUESTION, contrast="silence", max_tokens=1000, temperature=1, grammar=ENDLESS)
        assert answer.finish_reason == "length"
        assert 2 * (needed + answer.usage.completion_tokens) <= 256 + 2 * 24
        assert 2 * (needed + answer.usage.completion_tokens) >= 256 - 4
        with pytest.raises(ContextFullError, match="the context is full"):
            small.ask(sound(12, 8.0), QUESTION, contrast="silence")
        assert small.ask(clip, QUESTION, max_tokens=1).text
        assert idle(small)


def test_a_single_sequence_does_not_suffice(files: tuple[Path, Path]) -> None:
    with AudioModel(files[0], mmproj=files[1], n_ctx=1024, n_threads=1, n_seq_max=1) as small:
        with pytest.raises(ContextFullError, match="no sequence is left for the other prompt"):
            small.ask(sound(12), QUESTION, contrast="silence")
        assert small.ask(sound(12), QUESTION, max_tokens=1).text is not None


def test_there_must_be_sound(model: AudioModel) -> None:
    chat = model.chat()
    with pytest.raises(AudioError, match="contrast silence: there is no audio in this conversation yet"):
        chat.ask("w1", contrast="silence")
    assert chat.ask("w1 w2", contrast=Contrast("text", text="w2"), max_tokens=2).text is not None


def test_what_takes_no_contrast(model: AudioModel) -> None:
    with pytest.raises(ValueError, match="it takes no contrast"):
        model.compare(sound(1), QUESTION, contrast="silence")
    with pytest.raises(ValueError, match="contrast must be a rule"):
        model.ask(sound(1), QUESTION, contrast=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must stand in the question"):
        model.ask(sound(1), QUESTION, contrast=Contrast("text", text="nowhere"))
    with pytest.raises(TypeError, match="unexpected keyword argument 'contrast'"):
        model.sweep(sound(1), QUESTION, [None], contrast="silence")
    with pytest.raises(ValueError, match="contrast of a sweep"):
        model.sweep_choices(sound(1), QUESTION, ["w1", "w2"], [None], contrast="silence")


# Many at once ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_ctx", [320, 4096])
def test_threads(files: tuple[Path, Path], n_ctx: int) -> None:
    """Contrasts beside plain answers; in the small context each needs more than half of it, and they wait in turn.

    Without a cut: a token at its edge is in or out by rounding.
    """
    with AudioModel(files[0], mmproj=files[1], n_ctx=n_ctx, n_threads=1, cache_type="f32", n_seq_max=6) as small:
        rules = [Contrast(one.name, one.strength, cut=0) for one in CONTRASTS[:5]]
        asked = [(sound(20 + i % 3), rules[i % 5] if i % 3 else None) for i in range(12)]
        given: dict[str, Any] = {"max_tokens": 12, "logprobs": 1}
        alone = [small.ask(clip, QUESTION, contrast=contrast, **given) for clip, contrast in asked]
        with ThreadPoolExecutor(4) as threads:
            runs = [threads.submit(small.ask, clip, QUESTION, contrast=contrast, **given) for clip, contrast in asked]
            found = [run.result(120) for run in runs]
        for answer, wanted in zip(found, alone, strict=True):
            assert answer.logprobs is not None and wanted.logprobs is not None
            assert answer.logprobs[0].logprob == pytest.approx(wanted.logprobs[0].logprob, abs=2e-2)
        assert idle(small)


def test_ask_many(model: AudioModel) -> None:
    items = [(sound(30 + i), QUESTION, {"contrast": "silence", "max_tokens": 6}) for i in range(6)]
    known = [model.ask(clip, text, **given).text for clip, text, given in items]  # type: ignore[arg-type]
    assert [answer.text for answer in model.ask_many(items, parallel=3)] == known  # type: ignore[arg-type]


# Rules on MATA itself ----------------------------------------------------------------------------


def test_the_strength_follows_the_confidence(model: AudioModel) -> None:
    clip = sound(40)
    confidence = model.ask(clip, QUESTION, mata=None, max_tokens=1).confidence
    assert confidence is not None
    limits = {"low": -0.5, "high": 0.5}
    assert adaptive_setting(model, clip, QUESTION, threshold=confidence - 1e-3, **limits) == Mata(0.5, layers=":")
    assert adaptive_setting(model, clip, QUESTION, threshold=confidence + 1e-3, **limits) == Mata(-0.5, layers=":")
    like = Mata(mode="add")
    answer = ask_adaptively(model, clip, QUESTION, threshold=1.0, like=like, max_tokens=2, **limits)
    assert answer.mata == Mata(-0.5, mode="add")
    with pytest.raises(ValueError, match="threshold must lie between 0 and 1"):
        adaptive_setting(model, clip, QUESTION, threshold=2, **limits)


def test_rows_of_keywords(model: AudioModel) -> None:
    """As fed by hand: up to each keyword's last token with MATA on its row, the rest as ever."""
    *parts, last = model.prompt(sound(41), QUESTION)
    assert isinstance(last, list)
    pieces = [model.engine.token_bytes(token, special=True) for token in last]
    places = [i for i, piece in enumerate(pieces) if b"w2" in piece or piece.strip() == b"w2"]
    with model.session(STRONG) as found, model.session(STRONG) as by_hand, model.session(STRONG) as plain:
        found.feed([*parts, last], keywords=["w2"])
        plain.feed([*parts, last])
        assert np.abs(found.logits() - plain.logits()).max() > 1e-3
        if len(places) == 1:
            by_hand.feed([*parts, last[: places[0] + 1]])
            by_hand.feed([last[places[0] + 1 :]])
            assert found.logits() == pytest.approx(by_hand.logits(), abs=CLOSE)
    with model.session() as off, model.session() as same:
        off.feed([*parts, last], keywords=["w2", "w3"])
        same.feed([*parts, last])
        assert off.logits() == pytest.approx(same.logits(), abs=CLOSE)
        with pytest.raises(ValueError, match="the keyword 'w99' is not in what is fed"):
            off.feed("w1", keywords=["w99"])


def test_orders() -> None:
    assert orders(3, 100, 0)[0] == (0, 1, 2) and len(set(orders(3, 100, 0))) == 6
    assert len(set(orders(5, 7, 1))) == 7 and orders(5, 7, 1) == orders(5, 7, 1)


def test_a_vote_over_orders(model: AudioModel) -> None:
    clips = [sound(50), sound(51), sound(52)]
    vote = choose_permuted(model, clips, QUESTION, ["w1", "w2"], k=4, contrast=False)
    singles = [model.choose([clips[i] for i in order], QUESTION, ["w1", "w2"], contrast=False) for order in vote.orders]
    assert [choice.index for choice in vote.choices] == [choice.index for choice in singles]
    assert vote.votes == [sum(choice.index == i for choice in singles) for i in (0, 1)]
    assert vote.scores == pytest.approx([sum(c.scores[i] for c in singles) for i in (0, 1)], abs=1e-2)
    assert str(vote) == vote.text == ["w1", "w2"][vote.index]


def test_a_vote_about_the_clips(model: AudioModel) -> None:
    """ "The first" of one order is another clip in the next."""
    clips = [sound(50), sound(51)]
    vote = choose_permuted(model, clips, QUESTION, ["w1", "w2"], k=2, of_clips=True, contrast=False)
    assert vote.orders == [(0, 1), (1, 0)]
    meant = [order[choice.index] for order, choice in zip(vote.orders, vote.choices, strict=True)]
    assert vote.votes == [meant.count(0), meant.count(1)]
    for bad in ({"clips": clips[:1], "choices": ["w1", "w2"]}, {"clips": clips, "choices": ["w1", "w2", "w3"]}):
        with pytest.raises(ValueError):
            choose_permuted(model, question=QUESTION, of_clips=True, **bad)  # type: ignore[arg-type]
