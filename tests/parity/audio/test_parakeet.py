"""Parakeet's encoder, without its language model: each clip in a process of its own, which unpatched it may end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from parity.audio import clips, models, scenario
from parity.audio.scenario import Case
from parity.audio.test_audio_parity import off_by_embeddings, reference

Encode = Callable[..., list[NDArray[np.float32]]]
facts: list[str] = []


@pytest.fixture(scope="module")
def encode(tmp_path_factory: pytest.TempPathFactory) -> Encode:
    """encode((n_samples, amplitude), ...): embeddings of each clip."""
    folder = tmp_path_factory.mktemp("parakeet")
    text = models.write_text("parakeet", folder / "text.gguf")
    mmproj = models.write_mmproj("parakeet", folder / "mmproj.gguf")

    @cache
    def run(*clips_: tuple[int, float]) -> list[NDArray[np.float32]]:
        out = folder / str(len(list(folder.iterdir())))
        out.mkdir()
        script = Path(__file__).with_name("encode_alone.py")
        given = "".join(f"{n} {amplitude}\n" for n, amplitude in clips_)
        child = subprocess.run(
            [sys.executable, script, text, mmproj, out], input=given, capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, child.stderr[-500:] or f"ended by signal {-child.returncode}"
        facts.append(child.stdout)
        return [np.load(out / f"{i}.npy") for i in range(len(clips_))]

    return run


@pytest.mark.parametrize("case", list(scenario.cases()), ids=lambda case: case.name)
def test_embeddings(encode: Encode, case: Case) -> None:
    (made,) = encode((round(case.seconds * clips.RATE), clips.AMPLITUDES[case.loudness]))
    stored = reference("parakeet")
    sums, rows = stored[f"{case.name}/sums"], stored[f"{case.name}/embeddings"]
    assert len(made) == len(sums)
    difference = np.abs(made[scenario.kept_rows(len(sums))] - rows).max()
    difference_of_sums = np.abs(made @ scenario.SUM - sums).max()
    print(f"max|d embedding| {difference:.1e}, of all rows' sums {difference_of_sums:.1e}")
    assert max(difference, difference_of_sums) <= off_by_embeddings("parakeet")


def test_lengths(encode: Encode) -> None:
    """Also those that the reference makes nothing of (below 320 samples) and those longer than 30 s."""
    lengths = (1, 100, 319, 320, 1600, 3201, 16160, 400000, 479840, 480000, 480001, 496000)
    for n, made in zip(lengths, encode(*((n, 1.0) for n in lengths)), strict=True):
        assert len(made) == -(-(n // 160 + 1) // 8), n
        assert np.isfinite(made).all(), n


def test_silence(encode: Encode) -> None:
    (made,) = encode((8000, 0.0))
    assert np.isfinite(made).all()


def test_projector_is_checked(encode: Encode) -> None:
    encode((8000, 1.0))
    assert facts[-1] == "parakeet True 0\n"
