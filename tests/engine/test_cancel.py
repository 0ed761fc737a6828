"""A Cancel that another thread sets reaches an encoder in the middle of a clip, and the model is usable afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from parity.audio import models
from parity.prompts import templates
from parity.prompts.vocabulary import add_tokenizer

from mata_cpp import Audio, AudioChat, AudioModel, Cancel, CancelledError
from mata_cpp.audio.encoder import AudioEncoder

N_LAYERS = 100
"""So that one window takes long enough to be stopped in its middle; a graph holds few more."""

RATE, SECONDS = 16000, 20


def encoder(chat: AudioChat) -> AudioEncoder:
    return chat.model._loaded.encoder


def noise(seed: int, seconds: float = SECONDS) -> Audio:
    samples = np.random.RandomState(seed).standard_normal(round(seconds * RATE)) * 0.1
    return Audio((samples.astype(np.float32), RATE))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AudioChat]:
    folder = tmp_path_factory.mktemp("cancel")
    tokenizer = partial(add_tokenizer, arch="qwen2_audio", template=templates.TEXT["qwen2_audio"])
    text = models.write_text("qwen2_audio", folder / "text.gguf", tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.ARCHS, "qwen2_audio", replace(models.ARCHS["qwen2_audio"], layers=N_LAYERS))
        mmproj = models.write_mmproj("qwen2_audio", folder / "mmproj.gguf")
    with AudioChat(text, mmproj=mmproj, n_ctx=2048, n_threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def soon(chat: AudioChat) -> float:
    """A fifth of the seconds that a whole clip takes."""
    return encoder(chat).encode(noise(0)).encoding.embedding.encode_s / 5


def cancelled_after(seconds: float, cancel: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, cancel)
    timer.start()
    return timer


def test_ask_ends_as_cancelled_and_the_next_question_works(chat: AudioChat, soon: float) -> None:
    clip = noise(1)
    timer = cancelled_after(soon, chat.cancel)
    answer = chat.ask(clip, "w1", max_tokens=2)
    timer.join()
    assert (answer.text, answer.finish_reason, answer.usage.prompt_tokens) == ("", "cancelled", 0)
    assert not encoder(chat).is_known(clip)
    assert chat.messages == []

    again = chat.ask(clip, "w1", max_tokens=2)
    assert again.finish_reason != "cancelled"
    assert again.audio[0].tokens == SECONDS * 25
    assert chat.engine.encode_audio(clip.samples(RATE)).embeddings == pytest.approx(
        encoder(chat).encode(clip).embeddings
    )
    chat.reset()


def test_what_has_no_cancelled_answer_raises(chat: AudioChat, soon: float) -> None:
    for seed, call in enumerate(
        (
            lambda clip: chat.encode(clip),
            lambda clip: chat.choose(clip, "w1", ["w2", "w3"]),
            lambda clip: chat.compare(clip, "w1", max_tokens=2),
        )
    ):
        clip = noise(10 + seed)
        timer = cancelled_after(soon, chat.cancel)
        with pytest.raises(CancelledError):
            call(clip)
        timer.join()
        assert not encoder(chat).is_known(clip)


def test_a_cancel_stops_the_encoding_that_it_was_given_to(chat: AudioChat, soon: float) -> None:
    with chat.session() as session:
        other, clip = Cancel(), noise(20)
        timer = cancelled_after(soon, other.cancel)
        session.feed(clip, cancel=Cancel())
        timer.join()
        assert other.cancelled and session.n_past == session.clips[0].tokens


def test_a_cancelled_feed_leaves_the_session_as_it_was(chat: AudioChat, soon: float) -> None:
    with chat.session() as session:
        session.feed([1])
        cancel, clip = Cancel(), noise(21)
        timer = cancelled_after(soon, cancel.cancel)
        with pytest.raises(CancelledError):
            session.feed(clip, cancel=cancel)
        timer.join()
        assert session.n_past == 1 and not encoder(chat).is_known(clip)
        session.feed(clip)
        assert session.n_past == 1 + session.clips[0].tokens


def test_a_cancel_that_is_set_stops_everything(chat: AudioChat) -> None:
    cancel = Cancel()
    cancel.cancel()
    clip = noise(22)
    assert chat.ask(clip, "w1", cancel=cancel).finish_reason == "cancelled"
    with pytest.raises(CancelledError):
        chat.choose(clip, "w1", ["w2", "w3"], cancel=cancel)
    with pytest.raises(CancelledError):
        chat.model.encode(clip, cancel=cancel)
    assert not encoder(chat).is_known(clip)


def test_a_cancel_stops_loading(chat: AudioChat) -> None:
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(CancelledError):
        AudioModel(chat.model_path, mmproj=chat.mmproj_path, cancel=cancel)
