"""Projector files whose tensors do not fit each other are refused when loaded; llama.cpp would end the process."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from parity.audio import events, models

DAMAGE: dict[str, Callable[[NDArray], NDArray | None]] = {
    "missing": lambda x: None,
    "fewer rows": lambda x: x[: max(1, len(x) // 2)],
    "other width": lambda x: x[..., : x.shape[-1] // 2] if x.ndim > 1 and x.shape[-1] > 1 else x.repeat(2),
    "doubles": lambda x: x.astype(np.float64),
}


def kinds(arch: str) -> list[str]:
    """One tensor of each name; of the layers, the second."""
    return [name for name, _ in models.audio_tensors(arch) if "blk" not in name or "blk.1." in name]


# the loader takes their absence for a model without them
OPTIONAL = (".bias", "a.post_ln.weight", ".input_min", ".input_max", ".output_min", ".output_max")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("arch", models.ARCHS)
def test_damaged_projector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, damage: str) -> None:
    from mata_cpp import _core
    from mata_cpp.errors import ModelError

    text = models.write_text(arch, tmp_path / "text.gguf")
    sound = list(models.audio_tensors(arch))
    engine = _core.Engine(str(text), str(models.write_mmproj(arch, tmp_path / "sound.gguf")), n_ctx=256, n_threads=1)
    checked = engine.projector_checked
    engine.close()
    if not checked:
        pytest.skip("not checked")  # which test_audio_parity.py does not let pass
    for broken in kinds(arch):
        if damage == "missing" and broken.endswith(OPTIONAL):
            continue
        if damage == "fewer rows" and broken == "a.position_embd.weight" and arch in models.FORMULA:
            continue  # positions restart long before their end
        if arch == "glmasr" and broken in ("a.position_embd.weight", "v.boi", "v.eoi"):
            continue  # stored for nothing
        if broken.startswith("mm.model."):
            continue  # of the encoder for pictures
        changed = DAMAGE[damage](dict(sound)[broken])
        if changed is not None and changed.shape == dict(sound)[broken].shape and changed.dtype != np.float64:
            continue  # it has a single row
        made = [(name, DAMAGE[damage](x) if name == broken else x) for name, x in sound]
        monkeypatch.setattr(models, "audio_tensors", lambda _, made=made: (t for t in made if t[1] is not None))
        projector = models.write_mmproj(arch, tmp_path / "mmproj.gguf")
        with pytest.raises(ModelError):
            _core.Engine(str(text), str(projector), n_ctx=256, n_threads=1).close()
            pytest.fail(f"{broken} ({damage}) was loaded")


EVENT_DAMAGE = {**DAMAGE, "halves": lambda x: x.astype(np.float16)}


def taken_in_halves(name: str) -> bool:
    return name.endswith("weight") and not any(part in name for part in (".conv.", ".dw.", ".norm."))


def refused(text: Path, projector: Path, broken: str) -> str:
    """What is said about a projector that must not be loaded."""
    from mata_cpp import _core
    from mata_cpp.errors import ModelError

    with pytest.raises(ModelError) as error:
        _core.Engine(str(text), str(projector), n_ctx=256, n_threads=1).close()
        pytest.fail(f"{broken} was loaded")
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("damage", EVENT_DAMAGE)
def test_damaged_event_network(tmp_path: Path, damage: str) -> None:
    text = models.write_text("ultravox", tmp_path / "text.gguf")
    sound = events.projector_tensors(models.ULTRAVOX_STACK) | events.event_tensors()
    for broken, x in sound.items():
        if "events" not in broken or re.search(r"\.([3-9]|1[0-2])\.", broken):  # of the layers, three
            continue
        if damage == "halves" and taken_in_halves(broken):
            continue
        tensors = dict(sound)
        made = EVENT_DAMAGE[damage](x)
        if made is None:
            del tensors[broken]
        else:
            tensors[broken] = made
        refused(text, events.write(tmp_path / "mmproj.gguf", tensors), f"{broken} ({damage})")


@pytest.mark.parametrize("name", ["vggish", "YAMNet", 1])
def test_unknown_event_network(tmp_path: Path, name: str | int) -> None:
    tensors = events.projector_tensors(models.ULTRAVOX_STACK) | events.event_tensors()
    text = models.write_text("ultravox", tmp_path / "text.gguf")
    message = refused(text, events.write(tmp_path / "mmproj.gguf", tensors, name=name), f"network {name!r}")
    assert "mata.audio.events" in message


@pytest.mark.parametrize("place", [0, 1, 6])
def test_one_channel(tmp_path: Path, place: int) -> None:
    """ggml would take it for another layout and end the process."""
    channels = list(events.CHANNELS)
    channels[place] = 1
    tensors = events.projector_tensors(models.ULTRAVOX_STACK) | events.event_tensors(tuple(channels))
    text = models.write_text("ultravox", tmp_path / "text.gguf")
    assert "depthwise" in refused(text, events.write(tmp_path / "mmproj.gguf", tensors), f"one channel at {place}")


@pytest.mark.parametrize(("kind", "taken"), [("Q8_K", False), ("Q6_K", True)])
def test_weights_that_nothing_multiplies_by(tmp_path: Path, kind: str, taken: bool) -> None:
    """Q8_K holds activations, in blocks of 256: there is no product with it, as there is with Q6_K."""
    from mata_cpp import _core

    stack = 256 // math.gcd(256, models.AUDIO_EMBD)
    tensors: dict[str, NDArray] = dict(events.projector_tensors(stack))
    out, width = tensors["mm.a.mlp.1.weight"].shape
    of_type = gguf.GGMLQuantizationType[kind]
    tensors["mm.a.mlp.1.weight"] = np.zeros((out, width // 256 * gguf.GGML_QUANT_SIZES[of_type][1]), np.uint8)
    text = models.write_text("ultravox", tmp_path / "text.gguf")
    projector = models.write_mmproj(
        "ultravox", tmp_path / "mmproj.gguf", tensors=tensors.items(), types={"mm.a.mlp.1.weight": of_type}, stack=stack
    )
    if taken:
        _core.Engine(str(text), str(projector), n_ctx=256, n_threads=1).close()
    else:
        refused(text, projector, kind)


@pytest.mark.parametrize("name", ["mm.a.norm_pre.weight", "a.blk.0.ln1.weight", "a.blk.0.attn_q.bias"])
def test_a_column_is_no_row(tmp_path: Path, name: str) -> None:
    tensors = dict(models.audio_tensors("ultravox"))
    tensors[name] = tensors[name][:, None]
    text = models.write_text("ultravox", tmp_path / "text.gguf")
    refused(text, models.write_mmproj("ultravox", tmp_path / "mmproj.gguf", tensors=tensors.items()), name)
