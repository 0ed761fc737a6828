"""An Ultravox projector with an event network: its tokens are what events.py computes, and Whisper's part stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity.audio import clips, events, models

# What multiplies a matrix is rounded as the matrix is; embeddings have a deviation of about 1.
OFF_BY = {"F32": 6e-6, "F16": 4e-3, "Q8_0": 0.08}

# 0.96, 0.9601 and 1.44 s are one patch, one sample more, and two
SECONDS = (0.02, 0.33, 0.96, 15361 / 16000, 1.0, 1.44, 5.0, 31.0)

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_text("ultravox", tmp_path_factory.mktemp("text") / "text.gguf")


@pytest.fixture
def open_engine(text: Path) -> Iterator[Open]:
    from mata_cpp import _core

    opened: list[Any] = []

    def engine(mmproj: Path) -> Any:
        opened.append(_core.Engine(str(text), str(mmproj), n_ctx=2048, n_threads=1, flash_attn="off"))
        return opened[-1]

    yield engine
    for each in opened:
        each.close()


def check(engine: Any, tensors: events.Tensors, stack: int, seconds: float, tolerance: float) -> None:
    clip = clips.clip(seconds)
    wanted = events.embeddings(tensors, clip, stack)
    measured = engine.encode_audio(clip).embeddings
    assert measured.shape == wanted.shape
    difference = np.abs(measured - wanted).max()
    print(f"{seconds} s: max|d embedding| {difference:.1e}, deviation of embeddings {wanted.std():.2f}")
    assert difference <= tolerance


# 48 frames from one patch to the next: tokens of 2 and 16 frames divide them, one of 96 is two; 14, 20 and 62 do not
@pytest.mark.parametrize("stack", [1, 7, 8, 10, 31, 48])
def test_tokens(tmp_path: Path, open_engine: Open, stack: int) -> None:
    tensors = events.projector_tensors(stack) | events.event_tensors()
    engine = open_engine(events.write(tmp_path / "mmproj.gguf", tensors, stack=stack))
    for seconds in SECONDS:
        check(engine, tensors, stack, seconds, OFF_BY["F32"])


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
def test_smaller_matrices(tmp_path: Path, open_engine: Open, kind: str) -> None:
    stack = models.ULTRAVOX_STACK
    tensors = events.projector_tensors(stack) | events.event_tensors(events.CHANNELS_IN_BLOCKS)
    engine = open_engine(events.write(tmp_path / "mmproj.gguf", tensors, kind=kind))
    for seconds in SECONDS[1:]:  # two frames differ from silence by less than the rounding
        check(engine, tensors, stack, seconds, OFF_BY[kind])


@pytest.mark.parametrize("part", ["mm.a.events.mlp.weight", "mm.a.events.names.weight", "mm.a.mlp.1.weight"])
def test_each_part_alone(tmp_path: Path, open_engine: Open, part: str) -> None:
    """Without the middle, without the names, and without Whisper."""
    stack = 10
    tensors = events.projector_tensors(stack) | events.event_tensors()
    tensors[part] = np.zeros_like(tensors[part])
    engine = open_engine(events.write(tmp_path / "mmproj.gguf", tensors, stack=stack))
    check(engine, tensors, stack, 3.3, OFF_BY["F32"])


def test_whisper_is_as_without(tmp_path: Path, open_engine: Open) -> None:
    """A network that adds nothing changes nothing."""
    tensors = dict(models.audio_tensors("ultravox")) | events.event_tensors()
    for name in ("mm.a.events.mlp.weight", "mm.a.events.names.weight"):
        tensors[name] = np.zeros_like(tensors[name])
    plain = open_engine(models.write_mmproj("ultravox", tmp_path / "plain.gguf"))
    with_network = open_engine(events.write(tmp_path / "mmproj.gguf", tensors))
    for seconds in SECONDS:
        clip = clips.clip(seconds)
        wanted = plain.encode_audio(clip).embeddings
        np.testing.assert_array_equal(with_network.encode_audio(clip).embeddings, wanted)


def test_tensors_without_the_key_are_left_alone(tmp_path: Path, open_engine: Open) -> None:
    tensors = dict(models.audio_tensors("ultravox"))
    both = [*tensors.items(), *events.event_tensors().items()]
    engines = [
        open_engine(models.write_mmproj("ultravox", tmp_path / name, tensors=made))
        for name, made in (("plain.gguf", tensors.items()), ("more.gguf", both))
    ]
    plain, more = (engine.encode_audio(clips.clip(1.7)).embeddings for engine in engines)
    np.testing.assert_array_equal(more, plain)


def test_silence_is_padding(tmp_path: Path, open_engine: Open) -> None:
    """Silence at the end is what the last patch is filled up with."""
    stack = 12
    tensors = events.projector_tensors(stack) | events.event_tensors()
    tensors["mm.a.mlp.1.weight"] = np.zeros_like(tensors["mm.a.mlp.1.weight"])  # rows of Whisper, silent or not
    engine = open_engine(events.write(tmp_path / "mmproj.gguf", tensors, stack=stack))
    clip = clips.clip(1.0)
    longer = np.pad(clip, (0, 144 * events.HOP - len(clip)))
    short, long = (engine.encode_audio(x).embeddings for x in (clip, longer))
    assert (len(short), len(long)) == (5, 6)
    np.testing.assert_allclose(short, long[:5], atol=1e-5)
