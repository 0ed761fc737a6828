"""Write references/mistakes/*.npz: what the reference implementations would make of a clip, were one thing wrong.

Run by hand like write_references.py; test_mistakes.py holds the tolerances of the parity tests to them:

    python -m tests.parity.audio.write_mistakes [ARCH ...]

A mistake is put into transformers' own code for the length of a run.  Where the encoder is right and only counts
tokens wrongly, nothing is stored: test_audio_parity.py compares counts.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers
from transformers.models.glmasr import modeling_glmasr
from transformers.models.musicflamingo import modeling_musicflamingo
from transformers.models.qwen3_asr import modeling_qwen3_asr

from . import models, scenario
from .models import ARCHS
from .reference_inputs import inputs_of
from .reference_models import load
from .scenario import Case
from .write_references import prompt, run

STOCK_FLOOR = 5.960464477539063e-08  # of the mel in libmtmd, for 1e-10

Change = Callable[[Any], contextlib.AbstractContextManager[Any]]
"""Given the model, makes the mistake while it is entered."""


def setting(find: Callable[[Any], Any], name: str, value: Any) -> Change:
    """find: the object of a model, or of none, whose attribute is set."""
    return lambda model: mock.patch.object(find(model), name, value)


@contextlib.contextmanager
def all_of(model: Any, *changes: Change) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for change in changes:
            stack.enter_context(change(model))
        yield


def together(*changes: Change) -> Change:
    return lambda model: all_of(model, *changes)


# --- the mel -----------------------------------------------------------------------------------------


def whisper_floor(_: Any) -> Any:
    plain = torch.clamp

    def clamp(x: torch.Tensor, min: Any = None, **more: Any) -> torch.Tensor:
        return plain(x, min=STOCK_FLOOR if min == 1e-10 else min, **more)

    return mock.patch.object(torch, "clamp", clamp)


def granite_floor(_: Any) -> Any:
    plain = torch.Tensor.clip_

    def clip_(x: torch.Tensor, min: float) -> torch.Tensor:
        return plain(x, min=STOCK_FLOOR)

    return mock.patch.object(torch.Tensor, "clip_", clip_)


def gemma_floor(_: Any) -> Any:
    """The greater of the mel and the floor, for their sum."""
    plain, floor = np.log, 1e-3
    return mock.patch.object(np, "log", lambda x: plain(np.maximum(x - floor, floor)))


def gemma_power(_: Any) -> Any:
    plain = np.abs
    return mock.patch.object(np, "abs", lambda x: plain(x) ** 2 if np.iscomplexobj(x) else plain(x))


def parakeet_last_frame(_: Any) -> Any:
    """The frame after the valid ones is no silence."""
    plain = torch.Tensor.__imul__
    kept = lambda x, y: x if getattr(y, "dtype", None) == torch.bool and y.ndim == 3 else plain(x, y)  # noqa: E731
    return mock.patch.object(torch.Tensor, "__imul__", kept)


# --- masks -------------------------------------------------------------------------------------------


def tower(model: Any) -> Any:
    return model.audio_tower if hasattr(model, "audio_tower") else model.model.audio_tower


def unmasked(name: str) -> Change:
    """The encoder is given no mask of this name that hides anything."""

    def change(model: Any) -> Any:
        plain = tower(model).forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            kwargs[name] = torch.ones_like(kwargs[name])
            return plain(*args, **kwargs)

        return mock.patch.object(tower(model), "forward", forward)

    return change


def granite_unmasked(model: Any) -> Any:
    """What pads the last block is attended to."""
    encoder = model.model.encoder
    plain = encoder.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(torch.Tensor, "masked_fill_", lambda x, *_: x):
            return plain(*args, **kwargs)

    return mock.patch.object(encoder, "forward", forward)


# --- rotations and positions -------------------------------------------------------------------------


def neighbours_rotated(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, **_: Any) -> Any:
    """Pairs of neighbours, in matrices whose rows are made for halves."""
    n = cos.shape[-1]
    cos, sin = (x[..., : n // 2].repeat_interleave(2, -1).unsqueeze(1) for x in (cos, sin))

    def rotate(x: torch.Tensor) -> torch.Tensor:
        a, rest = x[..., :n], x[..., n:]
        turned = torch.stack((-a[..., 1::2], a[..., ::2]), -1).flatten(-2)
        return torch.cat((a * cos + turned * sin, rest), -1)

    return rotate(q), rotate(k)


def learned_positions(model: Any) -> Any:
    """As the pin hears GLM-ASR: the stored positions are added."""
    shape = (models.N_POS, models.AUDIO_EMBD)
    x = torch.from_numpy(models.parameter("glmasr", "audio_tower.embed_positions.weight", shape))
    layer = tower(model).layers[0]
    plain = layer.forward
    return mock.patch.object(layer, "forward", lambda hidden, **more: plain(hidden + x[: hidden.shape[1]], **more))


@contextlib.contextmanager
def real_frames_only(model: Any) -> Iterator[None]:
    plain = model.forward

    def forward(input_features: torch.Tensor, input_features_mask: torch.Tensor, **more: Any) -> Any:
        n = -(-int(input_features_mask.sum()) // 8) * 8  # rows are stacked by four
        return plain(input_features=input_features[..., :n], input_features_mask=input_features_mask[..., :n], **more)

    with mock.patch.object(model, "forward", forward):
        yield


def flamingo_one_window(model: Any) -> Any:
    """Time starts again in every window."""
    plain = model.model._build_audio_timestamps
    return mock.patch.object(
        model.model, "_build_audio_timestamps", lambda *args: plain(*args)[:1].expand_as(plain(*args))
    )


def turned_back(hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    return ROTATE_TIME(hidden, cos, -sin)


# --- all of them -------------------------------------------------------------------------------------

GLM, FLAMINGO = (lambda _: modeling_glmasr), (lambda _: modeling_musicflamingo)
ROTATE_TIME = modeling_musicflamingo.apply_rotary_time_emb
NO_ROTATION = setting(GLM, "apply_rotary_pos_emb", lambda q, k, *_, **__: (q, k))

ASR_ALONE = together(
    setting(tower, "n_window", 25),
    setting(lambda _: modeling_qwen3_asr, "get_audio_cu_seqlens", lambda *_, **__: torch.tensor([0, 7])),
    setting(lambda _: transformers.Qwen3ASRProcessor, "audio_kwargs",
            transformers.Qwen3ASRProcessor.audio_kwargs | {"n_window": 25}),
    setting(lambda _: transformers.Qwen3ASRProcessor, "_get_audio_token_length", lambda *_: torch.tensor([7])),
)  # fmt: skip


def of_all(kind: str, name: str, value: Any) -> Change:
    """Of all modules of a class."""
    return lambda model: all_of(
        model, *(setting(lambda _, m=m: m, name, value) for m in model.modules() if type(m).__name__ == kind)
    )


def zero(find: Callable[[Any], torch.nn.Linear]) -> Change:
    return lambda model: mock.patch.object(
        find(model), "forward", lambda x: torch.zeros(*x.shape[:-1], models.AUDIO_EMBD)
    )


MISTAKES: dict[str, dict[str, tuple[Case, Change]]] = {
    "qwen3_asr": {
        "a short clip's chunk is not filled": (Case(0.3, "loud"), ASR_ALONE),
        "another floor": (Case(1.7, "quiet"), whisper_floor),
        "attention over the whole clip": (Case(31.0, "loud"), setting(tower, "n_window_infer", 1 << 20)),
    },
    "glmasr": {
        "no rotation": (Case(1.7, "loud"), NO_ROTATION),
        "learned positions": (Case(1.7, "loud"), together(NO_ROTATION, learned_positions)),
        "other pairs rotated": (Case(1.7, "loud"), setting(GLM, "apply_rotary_pos_emb", neighbours_rotated)),
        "only the real frames": (Case(1.7, "loud"), real_frames_only),
        "another floor": (Case(1.7, "quiet"), whisper_floor),
    },
    "musicflamingo": {
        "no rotation": (Case(1.7, "loud"), setting(FLAMINGO, "apply_rotary_time_emb", lambda x, *_: x)),
        "turned the other way": (Case(1.7, "loud"), setting(FLAMINGO, "apply_rotary_time_emb", turned_back)),
        "time starts again in every window": (Case(31.0, "loud"), flamingo_one_window),
        "no mask": (Case(1.7, "loud"), unmasked("input_features_mask")),
        "another floor": (Case(1.7, "quiet"), whisper_floor),
    },
    "granite_speech": {
        "no mask": (Case(7.0, "loud"), granite_unmasked),
        "nothing fed back": (Case(1.7, "loud"), zero(lambda model: model.model.encoder.out_mid)),
        "another floor": (Case(1.7, "quiet"), granite_floor),
    },
    "gemma4": {
        "floor instead of an addend": (Case(1.7, "quiet"), gemma_floor),
        "floor instead of an addend, loud": (Case(1.7, "loud"), gemma_floor),
        "power": (Case(1.7, "loud"), gemma_power),
        "no clamps": (Case(1.7, "loud"), of_all("Gemma4ClippableLinear", "use_clipped_linears", False)),
        "relative positions left out": (
            Case(1.7, "loud"), of_all("Gemma4AudioAttention", "_rel_shift", lambda x: torch.zeros(1)),
        ),
    },
    "gemma4_unified": {
        "no norm": (
            Case(1.7, "loud"),
            setting(lambda model: model.model.embed_audio.embedding_pre_projection_norm, "forward", lambda x: x),
        ),
        "scaled as words are": (
            Case(1.7, "loud"),
            lambda model: mock.patch.object(
                model.model.embed_audio, "forward",
                (lambda plain: lambda **x: plain(**x) * models.N_EMBD**0.5)(model.model.embed_audio.forward),
            ),
        ),
    },
    "parakeet": {
        "no mask": (Case(1.7, "loud"), unmasked("attention_mask")),
        "the frame after the last": (Case(1.7, "loud"), together(unmasked("attention_mask"), parakeet_last_frame)),
    },
}  # fmt: skip


def write(arch: str) -> None:
    model = load(arch)
    arrays: dict[str, np.ndarray] = {}
    for name, (case, change) in MISTAKES[arch].items():
        with change(model):
            inputs, n_audio = inputs_of(arch, case.clip)
            if ARCHS[arch].answers:
                tokens, _ = prompt(arch, n_audio)
                logits, embeddings = run(arch, model, inputs, tokens)
                arrays[f"{name}/logits"] = logits[-1 - len(scenario.ANSWER) :]
            else:
                embeddings = model(**inputs).numpy()
        arrays[f"{name}/case"] = np.array(case.name)
        arrays[f"{name}/embeddings"] = embeddings[scenario.kept_rows(len(embeddings))]
        arrays[f"{name}/sums"] = embeddings @ scenario.SUM
        print(f"{arch}, {name}: {len(embeddings)} tokens", flush=True)
    scenario.MISTAKES.mkdir(exist_ok=True)
    np.savez_compressed(scenario.MISTAKES / f"{arch}.npz", **arrays)


def main() -> None:
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    for arch in sys.argv[1:] or MISTAKES:
        write(arch)


if __name__ == "__main__":
    main()
