"""Sweeps beside other questions, where there are few sequences: each waits for its own, and nobody takes them away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tiny_files import TinyFiles

from mata_cpp import Answer, Audio, AudioModel, Cancel, CancelledError, ContextFullError, Mata
from mata_cpp.conversation import Conversation
from mata_cpp.turns import Turn

CHOICES = ["the thing", "and"]
SETTINGS = [None, *(Mata(0.4 * number, layers=":") for number in range(1, 5))]
NAMES = pytest.mark.parametrize("name", ["llama", "lfm2", "falcon_h1"])


def sound(seed: int = 0, seconds: float = 0.6) -> Audio:
    samples = np.random.default_rng(seed).standard_normal(round(16000 * seconds)) * 0.1
    return Audio((samples.astype(np.float32), 16000), name=f"noise {seed}")


def load(tiny: TinyFiles, name: str, n_seq_max: int) -> AudioModel:
    return AudioModel(
        tiny.model(name),
        mmproj=tiny.projector(name),
        n_ctx=1024,
        n_threads=1,
        n_seq_max=n_seq_max,
        cache_type="f32",
        flash_attn=False,
    )


@pytest.fixture(scope="module")
def wanted(tiny: TinyFiles) -> Iterator[Any]:
    """wanted(name): what each kind of question gives, alone and with many sequences."""
    known: dict[str, dict[str, Any]] = {}

    def of(name: str) -> dict[str, Any]:
        if name not in known:
            with load(tiny, name, 64) as model:
                known[name] = {kind: ask(model, kind) for kind in ("choices", "answers", "rows", "ask")}
        return known[name]

    yield of


def ask(model: AudioModel, kind: str) -> Any:
    """Numbers or texts of a question of this kind."""
    if kind == "choices":
        return [found.scores for found in model.sweep_choices(sound(1), "Which?", CHOICES, SETTINGS)]
    if kind == "answers":
        return [found.text for found in model.sweep(sound(2), "What?", SETTINGS, max_tokens=4)]
    if kind == "rows":
        return [found.logprobs for found in model.sweep_first_rows(sound(3), "What?", SETTINGS)]
    return [model.ask(sound(4), "What?", mata=SETTINGS[2], max_tokens=4).text]


def assert_same(got: Any, known: Any) -> None:
    if isinstance(known[0], str):
        assert got == known
    else:
        assert np.abs(np.array(got) - np.array(known)).max() <= 1e-3


@NAMES
@pytest.mark.parametrize("n_seq_max", [4, 5, 6, 9])
def test_few_sequences(tiny: TinyFiles, wanted: Any, name: str, n_seq_max: int) -> None:
    with load(tiny, name, n_seq_max) as model:
        for kind, known in wanted(name).items():
            assert_same(ask(model, kind), known)


@NAMES
def test_too_few_sequences_are_one_line(tiny: TinyFiles, name: str) -> None:
    """And nothing waits for what will never be."""
    for n_seq_max in (1, 2):
        with load(tiny, name, n_seq_max) as model:
            with pytest.raises(ContextFullError, match="raise n_seq_max"):
                ask(model, "choices")
            assert isinstance(ask(model, "ask")[0], str)


@NAMES
@pytest.mark.parametrize("n_seq_max", [4, 7])
def test_many_at_once(tiny: TinyFiles, wanted: Any, name: str, n_seq_max: int) -> None:
    kinds = ["choices", "answers", "ask", "rows"] * 6
    with load(tiny, name, n_seq_max) as model, ThreadPoolExecutor(4) as threads:
        for kind, got in zip(kinds, threads.map(lambda kind: ask(model, kind), kinds), strict=True):
            assert_same(got, wanted(name)[kind])
        model.forget()
        assert model.engine.n_used == 0


@NAMES
def test_a_sweep_keeps_its_prompt_between_groups(
    tiny: TinyFiles, monkeypatch: pytest.MonkeyPatch, wanted: Any, name: str
) -> None:
    """Others that look for a sequence while answers of a group have ended do not get the one that the rest needs."""
    result = Turn.result

    def taken(*arguments: Any, **options: Any) -> Answer:
        held = []
        with pytest.raises(ContextFullError):
            while True:
                held.append(model.session())
        for session in held:
            session.close()
        return result(*arguments, **options)

    with load(tiny, name, 4) as model:
        known = wanted(name)["answers"]
        monkeypatch.setattr(Turn, "result", taken)
        assert ask(model, "answers") == known


@pytest.mark.parametrize("can_cut", [True, False])
def test_no_more_sequences_are_used_than_claimed(
    make_model: Any, monkeypatch: pytest.MonkeyPatch, can_cut: bool
) -> None:
    under, seen = Conversation.under, []

    def watched(self: Conversation, *arguments: Any, **options: Any) -> Any:
        found = under(self, *arguments, **options)
        seen.append((sum(not session.closed for session in self._engine.sessions), 1 + self.image.forks))  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(Conversation, "under", watched)
    for n_seq_max in range(4, 16):
        for count in (1, 2, 5):
            model = make_model({"can_cut": can_cut}, n_seq_max=n_seq_max)
            settings = [Mata(0.1 * number) for number in range(1, count + 1)]
            model.sweep(sound(), "What?", settings, max_tokens=4)
            model.forget()
            model.sweep_first_rows(sound(), "What?", settings)
            model.forget()
            model.sweep_choices(sound(), "Which?", CHOICES, settings, contrast=False)
            assert seen and all(used <= claimed <= n_seq_max for used, claimed in seen), (n_seq_max, count, seen)
            seen.clear()
            model.close()


@NAMES
def test_cancelled_in_the_middle(tiny: TinyFiles, name: str) -> None:
    """From another thread, after some groups; what comes then is as ever."""
    many = [Mata(0.1 * number, layers=":") for number in range(1, 60)]
    with load(tiny, name, 4) as model:
        before = model.sweep(sound(5), "What?", many[:2], max_tokens=3)
        for kind in (model.sweep, model.sweep_first_rows):
            cancel = Cancel()
            timer = threading.Timer(0.15, cancel.cancel)
            timer.start()
            started = time.perf_counter()
            options = {"max_tokens": 200} if kind == model.sweep else {}
            try:
                found: Any = kind(sound(6), "What?", many, cancel=cancel, **options)  # type: ignore[operator]
            except CancelledError:
                pass
            else:  # so quick that the cancel came too late, or it came while an answer was made
                assert len(found) == len(many)
            assert time.perf_counter() - started < 20
            timer.join()
        after = model.sweep(sound(5), "What?", many[:2], max_tokens=3)
        assert [answer.text for answer in after] == [answer.text for answer in before]
        model.forget()
        assert model.engine.n_used == 0


def test_closing_the_model_ends_a_sweep(tiny: TinyFiles) -> None:
    many = [Mata(0.01 * number, layers=":") for number in range(1, 400)]
    model = load(tiny, "llama", 4)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(model.sweep_choices, sound(7), "Which?", CHOICES, many)
        time.sleep(0.3)
        model.close()
        with pytest.raises(CancelledError):
            asked.result(20)
