"""Granite Speech's files load under the name that the pin's loader reads and under the one its converter writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from parity.audio import models, scenario

CASE = next(case for case in scenario.cases() if case.name == "1.7s-loud")


def test_either_name_of_the_batch_norm(tmp_path: Path) -> None:
    from mata_cpp import _core

    text = models.write_text("granite_speech", tmp_path / "text.gguf")
    made = []
    for as_converted in (False, True):
        tensors = list(models.audio_tensors("granite_speech", as_converted))
        assert any(name.endswith("conv_norm_var.weight" if as_converted else "conv_norm.weight") for name, _ in tensors)
        mmproj = models.write_mmproj("granite_speech", tmp_path / f"{as_converted}.gguf", tensors=tensors)
        engine = _core.Engine(str(text), str(mmproj), n_ctx=256, n_threads=1)
        made.append(engine.encode_audio(CASE.clip).embeddings)
        engine.close()
    np.testing.assert_array_equal(*made)
