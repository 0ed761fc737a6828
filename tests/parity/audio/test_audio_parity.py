"""Clips become the reference's tokens, and the language model answers as the reference does, with MATA and without.

The references are stored (write_references.py): neither torch nor transformers is needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from parity.audio import clips, models, scenario
from parity.audio.scenario import Case

# What separates the two: the convolutions' input is rounded to F16 here (not for the two Flamingos, whose converter
# stores their weights in F32), and with flash attention also the encoder's keys and values.
EMBEDDINGS_OFF_BY, EMBEDDINGS_OFF_BY_FLASH = 4e-3, 1e-2
MORE_OR_LESS = {
    "audioflamingo3": 2e-5,
    "musicflamingo": 2e-4,  # the reference takes sines of large angles in F32
    "gemma4": 6e-3,  # both its convolutions see rounded input, over 128 channels
    "gemma4_unified": 2e-5,  # no convolution
    "parakeet": 1e-2,  # the same
}

# Cache type -> greatest difference of a logit, greatest KL divergence of a row.  Without flash attention: the CPU's
# adds up an F16 cache's values in F16, which alone costs more than this on long clips, with MATA and without.
GATES = {"f32": (1e-2, 1e-5), "f16": (3e-2, 2e-5)}
GATES_OF_GEMMA = {"f32": (2e-2, 1e-5), "f16": (3e-2, 2e-5)}  # the CPU takes the feed-forward's GELU from a table in F16

ARCHS = tuple(name for name, arch in models.ARCHS.items() if arch.answers)
CASES = tuple(scenario.cases())
SHORT = next(c for c in CASES if c.name == "1.7s-loud")

Array = NDArray[np.float32]


Engines = Callable[..., Any]
Clips = Callable[[str, Case], Any]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """engines(arch, cache type, flash_attn): the tiny model of that architecture, loaded once."""
    from mata_cpp import _core

    folder = tmp_path_factory.mktemp("audio")
    text = cache(lambda arch: models.write_text(arch, folder / f"{arch}.gguf"))
    mmproj = cache(lambda arch: models.write_mmproj(arch, folder / f"mmproj-{arch}.gguf"))
    loaded: list[Any] = []

    @cache
    def engine(arch: str, cache_type: str = "f32", flash_attn: str = "off") -> Any:
        loaded.append(
            _core.Engine(
                str(text(arch)), str(mmproj(arch)), n_ctx=2048, n_threads=1, flash_attn=flash_attn,
                cache_type_k=cache_type, cache_type_v=cache_type,
            )
        )  # fmt: skip
        return loaded[-1]

    yield engine
    for opened in loaded:
        opened.close()


@pytest.fixture(scope="module")
def heard(engines: Engines) -> Clips:
    """heard(arch, case): the clip, encoded once without flash attention."""
    return cache(lambda arch, case: engines(arch).encode_audio(case.clip))


@cache
def reference(arch: str) -> dict[str, Array]:
    with np.load(scenario.REFERENCES / f"{arch}.npz") as stored:
        return dict(stored)


def listen(engine: Any, audio: Any) -> tuple[Any, tuple[int, int]]:
    """(a session with the prompt up to the clip's end, the columns of the clip's tokens)"""
    session = engine.session()
    try:
        session.feed_tokens(scenario.BEFORE)
        return session, session.feed_audio(audio)
    except Exception:
        session.close()
        raise


def answer(session: Any) -> Array:
    """Logits of the question's last token and of the answer's, [1 + n_answer, n_vocab]."""
    session.feed_tokens(scenario.AFTER)
    rows = [session.logits()]
    for token in scenario.ANSWER:
        session.feed_tokens([token])
        rows.append(session.logits())
    return np.array(rows)


Alpha = tuple[float, ...]


def set_mata(session: Any, mode: str, span: tuple[int, int], alpha: Alpha) -> None:
    if mode != "off":
        session.set_mata(mode, alpha, [(*span, 1.0)])


def off_by(measured: Array, wanted: Array) -> tuple[float, float]:
    """(greatest difference of a logit, greatest KL divergence of a row)"""
    a, b = (x.astype(np.float64) for x in (wanted, measured))
    log_a, log_b = (x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in (a, b))
    return float(np.abs(a - b).max()), float((np.exp(log_a) * (log_a - log_b)).sum(-1).max())


def off_by_embeddings(arch: str) -> float:
    return MORE_OR_LESS.get(arch, EMBEDDINGS_OFF_BY)


def gate(arch: str, cache_type: str = "f32") -> tuple[float, float]:
    return (GATES_OF_GEMMA if arch.startswith("gemma4") else GATES)[cache_type]


# --- parity ------------------------------------------------------------------------------------------


def check_embeddings(audio: Any, arch: str, case: Case, tolerance: float) -> None:
    sums = reference(arch)[f"{case.name}/sums"]
    rows = reference(arch)[f"{case.name}/embeddings"]
    assert audio.n_tokens == len(sums)
    difference = np.abs(audio.embeddings[scenario.kept_rows(len(sums))] - rows).max()
    difference_of_sums = np.abs(audio.embeddings @ scenario.SUM - sums).max()
    print(f"max|d embedding| {difference:.1e}, of all rows' sums {difference_of_sums:.1e}")
    assert max(difference, difference_of_sums) <= tolerance


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("arch", ARCHS)
def test_embeddings(heard: Clips, arch: str, case: Case) -> None:
    audio = heard(arch, case)
    assert ([*audio.begin], [*audio.end]) == models.ARCHS[arch].markers
    check_embeddings(audio, arch, case, off_by_embeddings(arch))


@pytest.mark.parametrize("name", ["1.7s-quiet", "7s-loud", "31s-loud"])
@pytest.mark.parametrize("arch", ARCHS)
def test_embeddings_with_flash_attention(engines: Engines, arch: str, name: str) -> None:
    case = next(c for c in CASES if c.name == name)
    check_embeddings(engines(arch, "f16", "on").encode_audio(case.clip), arch, case, EMBEDDINGS_OFF_BY_FLASH)


@pytest.mark.parametrize("cache_type", GATES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("arch", ARCHS)
def test_logits(engines: Engines, heard: Clips, arch: str, case: Case, cache_type: str) -> None:
    if arch == "qwen3_omni" and cache_type == "f16":
        pytest.skip("rounding the cache sends tokens to other experts")
    greatest, kl = gate(arch, cache_type)
    before, span = listen(engines(arch, cache_type), heard(arch, case))
    n_before = len(scenario.BEFORE) + len(models.ARCHS[arch].begin)
    with closing(before):
        assert span == (n_before, n_before + len(reference(arch)[f"{case.name}/sums"]))
        for mode, wanted in zip(scenario.MODES, reference(arch)[f"{case.name}/logits"], strict=True):
            with closing(before.fork()) as session:
                set_mata(session, mode, span, models.ARCHS[arch].alpha)
                difference = off_by(answer(session), wanted)
            print(f"{mode}: max|dlogit| {difference[0]:.1e}, KL {difference[1]:.1e}")
            assert difference[0] <= greatest, mode
            assert difference[1] <= kl, mode


# --- what the comparison can tell apart ------------------------------------------------------------------


def _end_early(session: Any, mode: str, span: tuple[int, int], alpha: Alpha) -> Array:
    set_mata(session, mode, (span[0], span[1] - 1), alpha)
    return answer(session)


def _start_late(session: Any, mode: str, span: tuple[int, int], alpha: Alpha) -> Array:
    set_mata(session, mode, (span[0] + 1, span[1]), alpha)
    return answer(session)


def _layers_down(session: Any, mode: str, span: tuple[int, int], alpha: Alpha) -> Array:
    set_mata(session, mode, span, (*alpha[1:], alpha[0]))
    return answer(session)


def _layers_up(session: Any, mode: str, span: tuple[int, int], alpha: Alpha) -> Array:
    set_mata(session, mode, span, (alpha[-1], *alpha[:-1]))
    return answer(session)


def _all_rows(session: Any, mode: str, span: tuple[int, int], alpha: Alpha) -> Array:
    """Every row of the question predicts, because it is fed on its own."""
    set_mata(session, mode, span, alpha)
    for token in scenario.AFTER[:-1]:
        session.feed_tokens([token])
    rows = []
    for token in (scenario.AFTER[-1], *scenario.ANSWER):
        session.feed_tokens([token])
        rows.append(session.logits())
    return np.array(rows)


def _prefill_only(session: Any, mode: str, span: tuple[int, int], alpha: Alpha) -> Array:
    set_mata(session, mode, span, alpha)
    session.feed_tokens(scenario.AFTER)
    rows = [session.logits()]
    session.clear_mata()
    for token in scenario.ANSWER:
        session.feed_tokens([token])
        rows.append(session.logits())
    return np.array(rows)


def _decode_only(session: Any, mode: str, span: tuple[int, int], alpha: Alpha) -> Array:
    session.feed_tokens(scenario.AFTER)
    rows = [session.logits()]
    set_mata(session, mode, span, alpha)
    for token in scenario.ANSWER:
        session.feed_tokens([token])
        rows.append(session.logits())
    return np.array(rows)


MISTAKES = (_end_early, _start_late, _layers_down, _layers_up, _all_rows, _prefill_only, _decode_only)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda f: f.__name__.strip("_"))
@pytest.mark.parametrize("arch", ARCHS)
def test_mistakes_fail(engines: Engines, heard: Clips, arch: str, mistake: Callable[..., Array]) -> None:
    """MATA done wrong does not get through test_logits, in any mode, on a short clip."""
    if arch == "voxtral" and mistake is _end_early:
        pytest.skip("one of 375 tokens, of padding: too little for the logits; test_logits compares the span itself")
    before, span = listen(engines(arch), heard(arch, SHORT))
    with closing(before):
        for mode, wanted in zip(scenario.MODES, reference(arch)[f"{SHORT.name}/logits"], strict=True):
            if mode == "off":
                continue
            with closing(before.fork()) as session:
                greatest, kl = off_by(mistake(session, mode, span, models.ARCHS[arch].alpha), wanted)
            print(f"{mode}: max|dlogit| {greatest:.1e}, KL {kl:.1e}")
            assert greatest > gate(arch)[0] or kl > gate(arch)[1], mode


@pytest.mark.parametrize("arch", ARCHS)
def test_scale_is_not_abs(arch: str) -> None:
    _, scale, absolute, _ = reference(arch)[f"{SHORT.name}/logits"]
    assert off_by(scale, absolute)[0] > gate(arch)[0]


# --- lengths -----------------------------------------------------------------------------------------


def thrice_halved(frames: int) -> int:
    for _ in range(3):
        frames = (frames + 1) // 2
    return frames


def expected_tokens(arch: str, n: int) -> int:
    """Of a clip of n samples, by the formulas of the reference's processors; at least one."""
    if limit := models.ARCHS[arch].limit_s:
        n = min(n, limit * clips.RATE)
    frames = -(-n // 160)
    match arch:
        case "voxtral":
            return -(-n // 480000) * 375
        case "qwen3_omni" | "qwen3_asr":
            frames = max(n, 201 if arch == "qwen3_omni" else 8000) // 160
            return frames // 100 * 13 + thrice_halved(frames % 100)
        case "ultravox":
            frames = max(2, frames)
            return sum(-(-min(3000, frames - start) // 16) for start in range(0, frames, 3000))
        case "glmasr":
            return max(1, (frames + 1) // 2 // 4)
        case "granite_speech":
            return 3 * max(1, -(-((n // 160 + 1) // 2) // 15))
        case "gemma4":
            return max(1, (n - 161) // 640 + 1)
        case "gemma4_unified":
            return -(-n // 640)
    return max(1, ((frames + 1) // 2) // 2)


LENGTHS = (1, 100, 201, 320, 321, 1600, 3201, 16160, 32001, 127840, 479840, 480000, 480001, 480321)


@pytest.mark.parametrize("arch", ARCHS)
def test_lengths(engines: Engines, arch: str) -> None:
    """Clips at the edges of frames, blocks and windows: a token at least, none for padding."""
    engine = engines(arch)
    clip = clips.clip(31)
    for n in LENGTHS if arch != "voxtral" else (1, 480000, 480001):
        audio = engine.encode_audio(clip[:n])
        assert audio.n_tokens == expected_tokens(arch, n), n
        assert np.isfinite(audio.embeddings).all(), n


@pytest.mark.parametrize("arch", ARCHS)
def test_silence(engines: Engines, arch: str) -> None:
    audio = engines(arch).encode_audio(np.zeros(8000, np.float32))
    assert audio.n_tokens == expected_tokens(arch, 8000)
    assert np.isfinite(audio.embeddings).all()


@pytest.mark.parametrize("arch", ARCHS)
def test_projector_is_checked(engines: Engines, arch: str) -> None:
    engine = engines(arch)
    assert engine.projector == models.ARCHS[arch].projector
    assert engine.projector_checked


@pytest.mark.parametrize("arch", ARCHS)
def test_limits_are_told(engines: Engines, arch: str) -> None:
    assert engines(arch).max_samples == models.ARCHS[arch].limit_s * clips.RATE
