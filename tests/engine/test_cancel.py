"""cancel() from another thread reaches an encoder in the middle of a clip, and the model is usable afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from parity.audio import models
from parity.prompts import templates
from parity.prompts.vocabulary import add_tokenizer

from mata_cpp import Audio, AudioChat, CancelledError

N_LAYERS = 100
"""So that one window takes long enough to be stopped in its middle; a graph holds few more."""

RATE, SECONDS = 16000, 20


def noise(seed: int, seconds: float = SECONDS) -> Audio:
    samples = np.random.RandomState(seed).standard_normal(round(seconds * RATE)) * 0.1
    return Audio((samples.astype(np.float32), RATE))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AudioChat]:
    folder = tmp_path_factory.mktemp("cancel")
    tokenizer = partial(add_tokenizer, arch="qwen2_audio", template=templates.TEXT["qwen2_audio"])
    text = models.write_text("qwen2_audio", folder / "text.gguf", tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "AUDIO_LAYERS", N_LAYERS)
        mmproj = models.write_mmproj("qwen2_audio", folder / "mmproj.gguf")
    with AudioChat(text, mmproj=mmproj, n_ctx=2048, n_threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def soon(chat: AudioChat) -> float:
    """A fifth of the seconds that a whole clip takes."""
    return chat._encoder.encode(noise(0)).embedding.encode_s / 5


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
    assert not chat._encoder.is_cached(clip)
    assert chat.messages == []

    again = chat.ask(clip, "w1", max_tokens=2)
    assert again.finish_reason != "cancelled"
    assert again.audio[0].tokens == SECONDS * 25
    assert chat.engine.encode_audio(clip.samples(RATE)).embeddings == pytest.approx(
        chat._encoder.encode(clip).embedding.embeddings
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
        assert not chat._encoder.is_cached(clip)


def test_a_session_stops_its_own_encoding_only(chat: AudioChat, soon: float) -> None:
    with chat.session() as session, chat.session() as other:
        clip = noise(20)
        timer = cancelled_after(soon, other.cancel)
        session.feed(clip)
        timer.join()
        assert session.n_past == session.clips[0].tokens

        clip = noise(21)
        before = session.n_past
        timer = cancelled_after(soon, session.cancel)
        with pytest.raises(CancelledError):
            session.feed(clip)
        timer.join()
        assert session.n_past == before and not chat._encoder.is_cached(clip)
        with pytest.raises(CancelledError):
            session.feed(clip)
        session.clear_cancel()
        session.feed(clip)
        assert session.n_past == 2 * before


def test_a_session_of_another_engine_is_refused(chat: AudioChat, tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        AudioChat(chat.model_path, mmproj=chat.mmproj_path, n_ctx=256, n_threads=1) as other,
        other.session() as session,
        pytest.raises(ValueError, match="another engine"),
    ):
        chat.engine.encode_audio(noise(30, 0.5).samples(RATE), session=session.core)
