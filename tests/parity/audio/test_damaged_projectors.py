"""Projector files whose tensors do not fit each other are refused when loaded; llama.cpp would end the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from parity.audio import models

DAMAGE: dict[str, Callable[[NDArray], NDArray | None]] = {
    "missing": lambda x: None,
    "fewer rows": lambda x: x[: max(1, len(x) // 2)],
    "other width": lambda x: x[..., : x.shape[-1] // 2] if x.ndim > 1 and x.shape[-1] > 1 else x.repeat(2),
    "doubles": lambda x: x.astype(np.float64),
}


def kinds(arch: str) -> list[str]:
    """One tensor of each name; of the layers, the second."""
    return [name for name, _ in models.audio_tensors(arch) if "blk" not in name or "blk.1." in name]


OPTIONAL = (".bias", "a.post_ln.weight")  # the loader takes their absence for a model without them


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("arch", models.ARCHS)
def test_damaged_projector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, damage: str) -> None:
    from mata_cpp import _core
    from mata_cpp.errors import ModelError

    text = models.write_text(arch, tmp_path / "text.gguf")
    sound = list(models.audio_tensors(arch))
    for broken in kinds(arch):
        if damage == "missing" and broken.endswith(OPTIONAL):
            continue
        if damage == "fewer rows" and broken == "a.position_embd.weight" and arch.endswith("omni"):
            continue  # positions restart long before their end
        made = [(name, DAMAGE[damage](x) if name == broken else x) for name, x in sound]
        monkeypatch.setattr(models, "audio_tensors", lambda _, made=made: (t for t in made if t[1] is not None))
        projector = models.write_mmproj(arch, tmp_path / "mmproj.gguf")
        with pytest.raises(ModelError):
            _core.Engine(str(text), str(projector), n_ctx=256, n_threads=1).close()
            pytest.fail(f"{broken} ({damage}) was loaded")
