"""The tolerances of the parity tests tell the reference from itself with one thing wrong in its encoder.

Both are stored (write_references.py, write_mistakes.py): no engine is needed here.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from parity.audio import models, scenario
from parity.audio.test_audio_parity import gate, off_by, off_by_embeddings, reference

Arrays = dict[str, NDArray[np.float32]]


@cache
def mistakes(arch: str) -> Arrays:
    with np.load(scenario.MISTAKES / f"{arch}.npz") as stored:
        return dict(stored)


ALL = [
    (path.stem, name.removesuffix("/case"))
    for path in sorted(scenario.MISTAKES.glob("*.npz"))
    for name in mistakes(path.stem)
    if name.endswith("/case")
]


@pytest.mark.parametrize(("arch", "name"), ALL, ids=lambda x: x.replace(" ", "-"))
def test_a_mistake_is_seen(arch: str, name: str) -> None:
    wrong, right = mistakes(arch), reference(arch)
    case = str(wrong[f"{name}/case"])
    assert wrong[f"{name}/sums"].shape == right[f"{case}/sums"].shape  # else it would be the count that shows it
    embeddings = max(np.abs(wrong[f"{name}/{part}"] - right[f"{case}/{part}"]).max() for part in ("embeddings", "sums"))
    print(f"max|d embedding| {embeddings:.1e}, of {off_by_embeddings(arch):.0e}")
    assert embeddings > 2 * off_by_embeddings(arch)
    if models.ARCHS[arch].answers:
        greatest, kl = off_by(wrong[f"{name}/logits"], right[f"{case}/logits"][0])
        print(f"max|dlogit| {greatest:.1e}, KL {kl:.1e}")
        assert greatest > gate(arch)[0] or kl > gate(arch)[1]
