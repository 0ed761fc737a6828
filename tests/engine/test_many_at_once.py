"""One loaded model, many conversations in many threads: every answer is the one that is given alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from parity.audio import models
from parity.prompts import templates
from parity.prompts.vocabulary import add_tokenizer

from mata_cpp import Answer, Audio, AudioChat, AudioModel, Cancel, ContextFullError, Mata

RATE = 16000
N_THREADS, N_ROUNDS, N_ROUNDS_SLOW = 8, 12, 200
MAX_TOKENS = 12
CLOSE_CALL = 1e-2
"""Two logits so near to each other may change places with the size of the batch."""

SETTINGS = (None, Mata(), Mata(2.0, mode="add"), Mata(0.5, layers=":", mode="abs"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("many")
    tokenizer = partial(add_tokenizer, arch="qwen2_audio", template=templates.TEXT["qwen2_audio"])
    text = models.write_text("qwen2_audio", folder / "text.gguf", tokenizer)
    return text, models.write_mmproj("qwen2_audio", folder / "mmproj.gguf")


@pytest.fixture(scope="module")
def model(files: tuple[Path, Path]) -> Iterator[AudioModel]:
    with AudioModel(files[0], mmproj=files[1], n_ctx=4096, n_threads=1, cache_type="f32") as opened:
        yield opened


def noise(seed: int, seconds: float = 2.0) -> Audio:
    samples = np.random.RandomState(seed).standard_normal(round(seconds * RATE)) * 0.1
    return Audio((samples.astype(np.float32), RATE), name=f"noise {seed}")


def questions(n: int) -> list[tuple[Audio, str, Mata | None]]:
    """Different clips, questions and settings."""
    return [(noise(i % 8, 1 + i % 3), f"w{i} w{3 * i % 70}", SETTINGS[i % len(SETTINGS)]) for i in range(n)]


def alone(model: AudioModel, question: tuple[Audio, str, Mata | None]) -> Answer:
    clip, text, mata = question
    return model.ask(clip, text, mata=mata, max_tokens=MAX_TOKENS, logprobs=2)


def same(answer: Answer, wanted: Answer) -> bool:
    """Whether the answers are equal, but for a step whose two best logits lie close together."""
    assert answer.logprobs is not None and wanted.logprobs is not None
    for one, other in zip(answer.logprobs, wanted.logprobs, strict=False):
        if one.id != other.id:
            best, second = other.top[:2]
            return best.logprob - second.logprob < CLOSE_CALL
    return len(answer.logprobs) == len(wanted.logprobs)


def talk(model: AudioModel, asked: list[tuple[Audio, str, Mata | None]], known: list[Answer], seed: int, n: int) -> int:
    """A thread's rounds: questions in chats of its own, some cancelled, some left half way; how many were whole."""
    rng = random.Random(seed)
    whole = 0
    for _ in range(n):
        i = rng.randrange(len(asked))
        clip, text, mata = asked[i]
        chat = model.chat(mata=mata)
        way = rng.random()
        if way < 0.15:
            cancel = Cancel()
            timer = threading.Timer(rng.uniform(0, 0.02), cancel.cancel)
            timer.start()
            answer = chat.ask(clip, text, max_tokens=MAX_TOKENS, logprobs=2, cancel=cancel)
            timer.join()
            if answer.finish_reason == "cancelled":
                chat.close()
                continue
        elif way < 0.3:
            stream = chat.stream(clip, text, max_tokens=MAX_TOKENS)
            next(stream)
            if rng.random() < 0.5:
                stream.close()
            chat.close()
            continue
        elif way < 0.6:
            answer = model.ask(clip, text, mata=mata, max_tokens=MAX_TOKENS, logprobs=2)
        else:
            answer = chat.ask(clip, text, max_tokens=MAX_TOKENS, logprobs=2)
        assert same(answer, known[i]), (i, answer.text, known[i].text)
        whole += 1
        if rng.random() < 0.7:
            chat.close()
    return whole


def play(model: AudioModel, n_rounds: int) -> None:
    asked = questions(24)
    known = [alone(model, question) for question in asked]
    with ThreadPoolExecutor(N_THREADS) as threads:
        runs = [threads.submit(talk, model, asked, known, seed, n_rounds) for seed in range(N_THREADS)]
        assert sum(run.result() for run in runs) > N_THREADS * n_rounds / 3


def test_eight_threads(model: AudioModel) -> None:
    play(model, N_ROUNDS)


@pytest.mark.slow
def test_eight_threads_for_long(model: AudioModel) -> None:
    play(model, N_ROUNDS_SLOW)


def test_one_sequence_after_the_other(files: tuple[Path, Path]) -> None:
    """Fewer sequences and positions than questions: they wait for each other."""
    with AudioModel(files[0], mmproj=files[1], n_ctx=256, n_threads=1, cache_type="f32", n_seq_max=2) as small:
        play(small, 3)


@pytest.mark.parametrize("parallel", [1, 8])
def test_ask_many_answers_in_order(model: AudioModel, parallel: int) -> None:
    asked = questions(20)
    known = [alone(model, question) for question in asked]
    items = [(clip, text, {"mata": mata, "max_tokens": MAX_TOKENS, "logprobs": 2}) for clip, text, mata in asked]
    answers = list(model.ask_many(items, parallel=parallel))
    assert len(answers) == len(known)
    assert all(map(same, answers, known))


def test_settings_in_one_batch_keep_their_own_logits(model: AudioModel) -> None:
    """Four settings over one clip, generated together: log-probabilities as alone."""
    clip = noise(50)
    known = [alone(model, (clip, "w1 w2", mata)) for mata in SETTINGS]
    items = [(clip, "w1 w2", {"mata": mata, "max_tokens": MAX_TOKENS, "logprobs": 2}) for mata in SETTINGS]
    for answer, wanted in zip(model.ask_many(items, parallel=4), known, strict=True):
        assert answer.logprobs is not None and wanted.logprobs is not None
        assert same(answer, wanted)
        assert abs(answer.logprobs[0].logprob - wanted.logprobs[0].logprob) < 2e-3


def test_the_first_tokens_differ_by_setting(model: AudioModel) -> None:
    """Else the test above could not fail."""
    clip = noise(50)
    logprobs = {round(alone(model, (clip, "w1 w2", mata)).logprobs[0].logprob, 3) for mata in SETTINGS}  # type: ignore[index]
    assert len(logprobs) > 1


def test_a_stream_that_nobody_reads_holds_up_nobody(model: AudioModel) -> None:
    stream = model.stream(noise(60), "w1", max_tokens=200)
    next(stream)
    assert alone(model, (noise(61), "w2", None)).text
    rest = [piece for piece in stream]
    assert rest[-1].answer is not None


def test_close_does_not_wait_for_a_stream(files: tuple[Path, Path]) -> None:
    opened = AudioModel(files[0], mmproj=files[1], n_ctx=512, n_threads=1)
    stream = opened.stream(noise(62), "w1", max_tokens=300)
    next(stream)
    opened.close()
    assert opened.engine.closed
    last = list(stream)[-1]
    assert last.answer is not None and last.answer.finish_reason == "cancelled"


def test_a_waiting_question_is_cancelled(files: tuple[Path, Path]) -> None:
    """Its turn has not come: another one has the only sequence."""
    with AudioModel(files[0], mmproj=files[1], n_ctx=2048, n_threads=1, n_seq_max=1) as small:
        long = small.stream(noise(63), "w1", max_tokens=1500)
        next(long)
        cancel = Cancel()
        threading.Timer(0.1, cancel.cancel).start()
        answer = small.ask(noise(64), "w2", cancel=cancel)
        assert answer.finish_reason in ("cancelled", "stop", "length")
        long.close()


def test_chats_do_not_mix(model: AudioModel) -> None:
    chats = [model.chat(mata=None) for _ in range(4)]
    clips = [noise(70 + i) for i in range(4)]
    known = [model.chat(mata=None).ask(clip, "w3", max_tokens=4).text for clip in clips]
    with ThreadPoolExecutor(4) as threads:
        got = list(
            threads.map(lambda pair: pair[0].ask(pair[1], "w3", max_tokens=4).text, zip(chats, clips, strict=True))
        )
    assert got == known
    for chat, clip in zip(chats, clips, strict=True):
        assert [c.content_id for m in chat.messages for c in m.clips] == [clip.content_id]


def test_a_chat_used_by_two_threads_takes_turns(model: AudioModel) -> None:
    chat: AudioChat = model.chat()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda i: chat.ask(noise(80 + i), f"w{i}", max_tokens=4), range(6)))
    roles = [message.role for message in chat.messages]
    assert roles == ["user", "assistant"] * 6


def test_an_answer_that_nobody_takes_leaves_no_trace(files: tuple[Path, Path]) -> None:
    """Its sequence goes to the next question, and its place in the books with it."""
    with AudioModel(files[0], mmproj=files[1], n_ctx=512, n_threads=1, n_seq_max=1) as small:
        stream = small.stream(noise(1), "w1", max_tokens=4)
        next(stream)
        small.ask(noise(2), "w2", max_tokens=4)
        assert list(stream)[-1].answer is not None
        with small.session(), pytest.raises(ContextFullError, match="sessions are in use"):
            small.ask(noise(3), "w3", max_tokens=4)


def test_two_comparisons_share_few_sequences(files: tuple[Path, Path]) -> None:
    with (
        AudioModel(files[0], mmproj=files[1], n_ctx=4096, n_threads=1, n_seq_max=2) as small,
        ThreadPoolExecutor(2) as threads,
    ):
        runs = [threads.submit(small.compare, noise(i), "w1", max_tokens=20) for i in range(2)]
        assert all(len(run.result(60)) == 2 for run in runs)


def test_a_focus_in_the_second_clip(model: AudioModel) -> None:
    answer = model.ask([noise(1, 2), noise(2, 10)], "w1", mata=Mata(focus=(5, 8)), max_tokens=2)
    assert answer.mata is not None and answer.mata.focus == (5, 8)


def test_shared_prefixes_bring_no_setting(model: AudioModel) -> None:
    """A question without MATA after one with it, over the same clip and in the same words."""
    clip = noise(90)
    model.forget()
    wanted = alone(model, (clip, "w5", None))
    model.forget()
    alone(model, (clip, "w5", SETTINGS[3]))
    answer = alone(model, (clip, "w5", None))
    assert answer.usage.cached_tokens > 0 and same(answer, wanted)
    assert answer.logprobs is not None and wanted.logprobs is not None
    assert abs(answer.logprobs[0].logprob - wanted.logprobs[0].logprob) < 2e-3
