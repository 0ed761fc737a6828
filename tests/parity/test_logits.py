"""Logits of the engine against the reference: all modes and kinds of model, one and several sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from parity import reference
from parity.scenario import ARCHS, MODES, OFF, Prompt, Setting, Span, alphas, distance, play, play_answer
from tiny_files import TinyFiles

Engines = Callable[..., Any]
References = Callable[..., reference.Model]
Expected = Callable[..., Any]

# F32 throughout.  The promise is 2e-3; rounding leaves 1e-5, and halves in the CPU's GELU a few 1e-4 at worst.
TOLERANCE = 2e-4
# With flash attention keys and values are halves: no further off than twice what stock flash attention is.
# The floor keeps luck with the stock error from deciding.
FLASH_FLOOR = 5e-3


def _close(measured: Any, wanted: Any, tolerance: float = TOLERANCE) -> None:
    difference = distance(measured, wanted)
    print(f"max|dlogit| {difference:.2e}")
    assert difference <= tolerance


@pytest.mark.parametrize("name", ARCHS)
def test_off(engines: Engines, expected: Expected, name: str) -> None:
    prompt = Prompt(name)
    with_closing = engines(name).session()
    _close(play(with_closing, prompt, OFF), expected(prompt))
    with_closing.close()


# with flash attention: as the CPU runs it, and as GPU backends do
GRAPHS = pytest.mark.parametrize("graph", ["on", "portable"])


@pytest.mark.parametrize("layers", ["inner", "ends", "every"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ARCHS)
def test_flash_off(engines: Engines, expected: Expected, name: str, mode: str, layers: str) -> None:
    prompt, setting = Prompt(name), Setting(mode, alphas(name, layers))
    session = engines(name).session()
    _close(play(session, prompt, setting), expected(prompt, setting))
    session.close()
    assert distance(expected(prompt, setting), expected(prompt)) > 0.1  # the boost does something


@GRAPHS
@pytest.mark.parametrize("layers", ["ends", "every"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ARCHS)
def test_flash_on(engines: Engines, expected: Expected, name: str, mode: str, layers: str, graph: str) -> None:
    engine, prompt, setting = engines(name, graph, "f16"), Prompt(name), Setting(mode, alphas(name, layers))
    errors = {}
    for which in (OFF, setting):
        session = engine.session()
        errors[which] = distance(play(session, prompt, which), expected(prompt, which))
        session.close()
    print(f"stock {errors[OFF]:.2e}, MATA {errors[setting]:.2e}")
    assert errors[setting] <= 2 * max(errors[OFF], FLASH_FLOOR)


@GRAPHS
@pytest.mark.parametrize("name", ARCHS)
def test_flash_on_with_f32_cache(engines: Engines, expected: Expected, name: str, graph: str) -> None:
    engine, prompt, setting = engines(name, graph, "f32"), Prompt(name), Setting("scale", alphas(name))
    errors = {}
    for which in (OFF, setting):
        session = engine.session()
        errors[which] = distance(play(session, prompt, which), expected(prompt, which))
        session.close()
    assert errors[setting] <= 2 * max(errors[OFF], FLASH_FLOOR)


@pytest.mark.parametrize(("flash_attn", "cache"), [("off", "f32"), ("on", "f16"), ("portable", "f16")])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["mha", "groups_of_three"])
def test_head_groups(engines: Engines, expected: Expected, name: str, mode: str, flash_attn: str, cache: str) -> None:
    prompt, setting = Prompt(name), Setting(mode, alphas(name))
    session = engines(name, flash_attn, cache).session()
    _close(play(session, prompt, setting), expected(prompt, setting), _tolerance(flash_attn))
    session.close()


def _tolerance(flash_attn: str) -> float:
    """Where several sequences are compared one by one: F32, or the error of halves as measured above."""
    return TOLERANCE if flash_attn == "off" else 5e-2


FLASH = pytest.mark.parametrize(("flash_attn", "cache"), [("off", "f32"), ("on", "f16"), ("portable", "f16")])


def _feed_together(engine: Any, sessions: Sequence[Any], tokens: Sequence[Sequence[int]]) -> list[Any]:
    engine.decode([(s, t, False) for s, t in zip(sessions, tokens, strict=True)])
    return [s.logits() for s in sessions]


@FLASH
@pytest.mark.parametrize("name", ARCHS)
def test_one_batch_of_all_modes(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    """Sequences with different prompts, modes, layers and spans, one of them off, decoded in the same batches."""
    engine = engines(name, flash_attn, cache)
    settings = [
        Setting("scale", alphas(name, "ends")),
        OFF,
        Setting("abs", alphas(name, "inner")),
        Setting("add", alphas(name, "ends")).times(2.0),
        Setting("scale", alphas(name, "inner")).times(-0.5),
    ]
    prompts = [Prompt(name, seed=i, n_text=3 + i, n_clip=(12 - i, 8), n_question=9 - i) for i in range(len(settings))]
    sessions = [engine.session() for _ in settings]
    for session, prompt, setting in zip(sessions, prompts, settings, strict=True):
        setting.apply(session, prompt.feed_audio(session))
    rows = [_feed_together(engine, sessions, [p.question for p in prompts])]
    for step in range(prompts[0].n_answer):
        rows.append(_feed_together(engine, sessions, [[p.answer[step]] for p in prompts]))
    for i, (prompt, setting) in enumerate(zip(prompts, settings, strict=True)):
        _close(np.array([r[i] for r in rows]), expected(prompt, setting), _tolerance(flash_attn))
        sessions[i].close()


@FLASH
@pytest.mark.parametrize("name", ARCHS)
def test_forks_share_the_prompt(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    """A sweep over alpha: the clips are heard once, each fork answers with its own setting."""
    engine, prompt = engines(name, flash_attn, cache), Prompt(name)
    used_before = engine.n_used
    first = engine.session()
    clips = prompt.feed_audio(first)
    settings = [Setting("scale", alphas(name)).times(f) for f in (0.0, 0.5, 1.0, 2.0)]
    used = engine.n_used
    forks = [first.fork() for _ in settings]
    assert engine.n_used == used
    for fork, setting in zip(forks, settings, strict=True):
        setting.apply(fork, clips)
    rows = [_feed_together(engine, forks, [prompt.question] * len(forks))]
    for token in prompt.answer:
        rows.append(_feed_together(engine, forks, [[token]] * len(forks)))
    for i, setting in enumerate(settings):
        _close(np.array([r[i] for r in rows]), expected(prompt, setting), _tolerance(flash_attn))
    for session in [first, *forks]:
        session.close()
    assert engine.n_used == used_before


@FLASH
def test_fork_takes_setting_and_logits_along(engines: Engines, flash_attn: str, cache: str) -> None:
    engine, prompt, setting = engines("llama", flash_attn, cache), Prompt("llama"), Setting("scale", alphas("llama"))
    first = engine.session()
    setting.apply(first, prompt.feed_audio(first))
    first.feed_tokens(prompt.question)
    fork = first.fork()
    assert np.array_equal(fork.logits(), first.logits())
    assert fork.n_past == first.n_past
    first.clear_mata()
    for session in (first, fork):
        session.feed_tokens(prompt.answer[:1])
    assert distance(fork.logits(), first.logits()) > 0.1
    first.close()
    fork.close()


@FLASH
@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen2vl"])
def test_interleaved_cells(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    """Cells of a sequence are not next to each other, and some were another's before."""
    engine, prompts = engines(name, flash_attn, cache), [Prompt(name), Prompt(name, seed=1)]
    setting = Setting("abs", alphas(name), whole=True)
    gone = engine.session()
    gone.feed_tokens(prompts[0].before * 5)
    sessions = [engine.session() for _ in prompts]
    clips: list[list[Span]] = [[], []]
    for step in range(4):
        for session, prompt, spans in zip(sessions, prompts, clips, strict=True):
            part = prompt.parts()[step]
            if isinstance(part, list):
                for token in part:
                    session.feed_tokens([token])
            else:
                halves = [session.feed_embeddings(half) for half in np.array_split(part, 2)]
                spans.append((halves[0][0], halves[1][1], 1.0))
        if step == 1:
            gone.close()
    rows: list[list[Any]] = [[], []]
    for session, spans in zip(sessions, clips, strict=True):
        setting.apply(session, spans)
    for step in range(1 + prompts[0].n_answer):
        for session, prompt, kept in zip(sessions, prompts, rows, strict=True):
            session.feed_tokens(prompt.question if step == 0 else [prompt.answer[step - 1]])
            kept.append(session.logits())
    for session, prompt, kept in zip(sessions, prompts, rows, strict=True):
        _close(np.array(kept), expected(prompt, setting), _tolerance(flash_attn))
        session.close()


@FLASH
@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen2vl"])
def test_truncate(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    """Asking again: a second question in the place of the first, with another setting."""
    engine, prompt = engines(name, flash_attn, cache), Prompt(name)
    first, second = Setting("scale", alphas(name)), Setting("add", alphas(name, "inner"))
    session = engine.session()
    clips = prompt.feed_audio(session)
    n_heard = session.n_past
    for setting in (first, second, first):
        setting.apply(session, clips)
        _close(play_answer(session, prompt), expected(prompt, setting), _tolerance(flash_attn))
        session.truncate(n_heard)
        with pytest.raises(ValueError):
            session.logits()
    session.close()


@FLASH
@pytest.mark.parametrize("name", ARCHS)
def test_small_batches(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    """Clip and question are cut into several batches and those into ubatches: only the very last row predicts."""
    engine = engines(name, flash_attn, cache, n_batch=8, n_ubatch=4, n_seq_max=2)
    prompt, setting = Prompt(name, n_question=21), Setting("scale", alphas(name))
    session = engine.session()
    _close(play(session, prompt, setting), expected(prompt, setting), _tolerance(flash_attn))
    session.close()


@FLASH
@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_cache_grows(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    """llama.cpp looks at the cache in steps of 256 cells; the answer crosses one."""
    prompt, setting = Prompt(name, n_text=200, n_clip=(20, 15), n_question=15), Setting("scale", alphas(name))
    session = engines(name, flash_attn, cache).session()
    _close(play(session, prompt, setting), expected(prompt, setting), _tolerance(flash_attn))
    assert session.n_past > 256
    session.close()


@FLASH
@pytest.mark.parametrize("mode", [None, *MODES])
def test_lora(engines: Engines, expected: Expected, mode: str | None, flash_attn: str, cache: str) -> None:
    prompt, setting = Prompt("llama"), Setting(mode, alphas("llama"))
    session = engines("llama", flash_attn, cache, lora=True).session()
    _close(play(session, prompt, setting), expected(prompt, setting, lora=True), _tolerance(flash_attn))
    session.close()
    assert distance(expected(prompt, setting, lora=True), expected(prompt, setting)) > 1.0


@GRAPHS
@pytest.mark.parametrize(("cache", "bits"), [("bf16", 8), ("q5_1", 5), ("q4_0", 4), ("iq4_nl", 4)])
def test_coarser_caches_run(engines: Engines, expected: Expected, cache: str, bits: int, graph: str) -> None:
    """With few bits little can be compared: MATA moves the logits the way it should."""
    engine, prompt, setting = engines("llama", graph, cache), Prompt("llama"), Setting("scale", alphas("llama"))
    rows = []
    for which in (OFF, setting):
        session = engine.session()
        session.set_attention_readout([0, 3])
        rows.append(play(session, prompt, which))
        session.close()
    effect, wanted = (rows[1] - rows[0]).ravel(), (expected(prompt, setting) - expected(prompt)).ravel()
    correlation = float(np.corrcoef(effect, wanted)[0, 1])
    print(f"{cache}: {correlation:.4f}")
    assert correlation > 1.0 - 2.0 ** (2 - bits)


@pytest.mark.parametrize(
    ("flash_attn", "cache_k", "cache_v"), [("on", "q8_0", "q8_0"), ("portable", "q8_0", "q8_0"), ("off", "q8_0", "f32")]
)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2", "gemma3"])
def test_quantized_cache(
    engines: Engines, expected: Expected, name: str, mode: str, flash_attn: str, cache_k: str, cache_v: str
) -> None:
    """MATA adds no more to the error of a quantized cache than the quantization brings by itself."""
    engine = engines(name, flash_attn, cache_type_k=cache_k, cache_type_v=cache_v)
    prompt, setting = Prompt(name), Setting(mode, alphas(name))
    measured = {}
    for which in (OFF, setting):
        session = engine.session()
        measured[which] = play(session, prompt, which)
        session.close()
    stock, boosted = (distance(measured[which], expected(prompt, which)) for which in (OFF, setting))
    effect = distance(expected(prompt, setting), expected(prompt))
    print(f"stock {stock:.2e}, MATA {boosted:.2e}, effect {effect:.2f}")
    assert boosted <= 2 * max(stock, 2e-2)
    assert boosted <= 0.1 * effect


@FLASH
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ARCHS)
def test_teacher_forcing(
    engines: Engines, expected: Expected, name: str, mode: str, flash_attn: str, cache: str
) -> None:
    """Every scored row predicts: fed at once with all_logits, an answer gets the logits of step-by-step decoding."""
    prompt, setting = Prompt(name), Setting(mode, alphas(name))
    session = engines(name, flash_attn, cache).session()
    setting.apply(session, prompt.feed_audio(session))
    session.feed_tokens(prompt.question)
    rows = [session.logits()]
    session.feed_tokens(prompt.answer, all_logits=True)
    assert np.array_equal(session.logits(), session.logits_all()[-1])
    rows.extend(session.logits_all())
    _close(np.array(rows), expected(prompt, setting), _tolerance(flash_attn))
    session.close()


@FLASH
@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_as_many_as_there_are(engines: Engines, expected: Expected, name: str, flash_attn: str, cache: str) -> None:
    """All 32 sessions in one batch, each with another mode and strength."""
    engine = engines(name, flash_attn, cache, n_ctx=2048)
    prompt = Prompt(name, n_answer=2)
    settings = [Setting(MODES[i % 3], alphas(name, "inner")).times(0.25 * (i // 6)) for i in range(engine.n_seq_max)]
    first = engine.session()
    clips = prompt.feed_audio(first)
    sessions = [first, *(first.fork() for _ in settings[1:])]
    for session, setting in zip(sessions, settings, strict=True):
        setting.apply(session, clips)
    rows = [_feed_together(engine, sessions, [prompt.question] * len(sessions))]
    for token in prompt.answer:
        rows.append(_feed_together(engine, sessions, [[token]] * len(sessions)))
    for i in (0, 1, 7, 14, 18, 30, 31):
        _close(np.array([r[i] for r in rows]), expected(prompt, settings[i]), _tolerance(flash_attn))
    for session in sessions:
        session.close()


@FLASH
def test_scored_and_last_rows_in_one_batch(engines: Engines, expected: Expected, flash_attn: str, cache: str) -> None:
    """Rows that predict with rows between them that do not, in one batch."""
    engine, prompts = engines("llama", flash_attn, cache), [Prompt("llama", seed=i) for i in range(3)]
    setting = Setting("scale", alphas("llama"))
    sessions = [engine.session() for _ in prompts]
    for session, prompt in zip(sessions, prompts, strict=True):
        setting.apply(session, prompt.feed_audio(session))
    engine.decode(
        [
            (sessions[0], prompts[0].question, False),
            (sessions[1], prompts[1].question[:1], False),
            (sessions[2], prompts[2].question, False),
        ]
    )
    assert sessions[1].logits_all().shape[0] == 1
    wanted = [expected(p, setting)[0] for p in prompts]
    _close(sessions[0].logits(), wanted[0], _tolerance(flash_attn))
    _close(sessions[2].logits(), wanted[2], _tolerance(flash_attn))
    engine.decode([(sessions[0], prompts[0].answer, True), (sessions[2], prompts[2].answer[:1], False)])
    _close(sessions[0].logits_all(), expected(prompts[0], setting)[1:], _tolerance(flash_attn))
    _close(sessions[2].logits(), expected(prompts[2], setting)[1], _tolerance(flash_attn))
    for session in sessions:
        session.close()


@FLASH
@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_overlapping_spans(engines: Engines, heard: Any, name: str, flash_attn: str, cache: str) -> None:
    """Where spans overlap, the first one's weight counts."""
    prompt, session = Prompt(name), engines(name, flash_attn, cache).session()
    reference_session, _ = heard(prompt)
    fork = reference_session.fork()
    (a, _, _), (b, b_end, _) = prompt.feed_audio(session)
    spans = [(a + 2, a + 6, 2.0), (a, b_end, 0.5), (b, b_end, 1.0), (b_end + 3, b_end + 3, 1.0)]
    for either in (session, fork):
        either.set_mata("abs", alphas(name), spans)
    _close(play_answer(session, prompt), play_answer(fork, prompt), _tolerance(flash_attn))
    session.close()


@FLASH
@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_span_over_text_to_come(engines: Engines, heard: Any, name: str, flash_attn: str, cache: str) -> None:
    """A span is positions, whatever they hold: the question itself, up to the row that predicts and beyond."""
    prompt, session = Prompt(name), engines(name, flash_attn, cache).session()
    reference_session, _ = heard(prompt)
    fork = reference_session.fork()
    prompt.feed_audio(session)
    for either in (session, fork):
        either.set_mata("scale", alphas(name), [(0, 4000, 1.0)])
    _close(play_answer(session, prompt), play_answer(fork, prompt), _tolerance(flash_attn))
    session.close()


@FLASH
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen2vl"])
def test_recorded_sound(
    engines: Engines, references: References, tiny: TinyFiles, name: str, flash_attn: str, cache: str
) -> None:
    """The way a clip really comes in: encoded by the projector, its span as feed_audio gives it."""
    engine, prompt = engines(name, flash_attn, cache, mmproj_path=str(tiny.mmproj)), Prompt(name)
    samples = np.random.default_rng(0).standard_normal(int(1.7 * engine.sample_rate)).astype(np.float32) * 0.1
    audio = engine.encode_audio(samples)
    session, mirror = engine.session(), references(name).session()
    for either in (session, mirror):
        either.feed_tokens(prompt.before)
    start, end = session.feed_audio(audio)
    assert audio.n_tokens == end - start == len(audio.embeddings)
    assert start == len(prompt.before) + len(audio.begin)
    assert session.n_past == end + len(audio.end)
    if audio.begin:
        mirror.feed_tokens(audio.begin)
    mirror.feed_embeddings(audio.embeddings)
    if audio.end:
        mirror.feed_tokens(audio.end)
    rows = []
    for either in (session, mirror):
        either.set_mata("scale", alphas(name), [(start, end, 1.0)])
        rows.append(play_answer(either, prompt))
    _close(*rows, _tolerance(flash_attn))
    session.close()
