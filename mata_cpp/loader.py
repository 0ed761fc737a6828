"""From model files to an engine, with the checks that name the file at fault."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checks
from .catalogue import ModelFiles
from .errors import ModelError
from .prompt_rules import rule_of

if TYPE_CHECKING:
    from ._core import Engine

Lora = str | os.PathLike[str] | tuple[str | os.PathLike[str], float]


@dataclass(frozen=True)
class EngineOptions:
    """How to load; the names are AudioChat's."""

    lora: Lora | Sequence[Lora] | None = None
    n_ctx: int = 4096
    n_batch: int = 2048
    n_ubatch: int = 512
    n_threads: int | None = None
    n_gpu_layers: int = -1
    flash_attn: str | bool = "auto"
    cache_type: str | tuple[str, str] = "f16"
    n_seq_max: int = 32
    verbose: bool = False


MAX_CONTEXT = 1 << 24
"""No model was trained for more tokens, and no memory holds them."""


def core() -> Any:
    """The compiled extension.  Raises ModelError where it is missing."""
    try:
        from . import _core
    except ImportError as error:
        raise ModelError(f"the compiled part of mata-cpp cannot be loaded: {error}; install it again") from None
    return _core


def open_engine(
    files: ModelFiles, options: EngineOptions, progress: Callable[[float], None] | None = None
) -> tuple[Engine, float]:
    """The engine and the seconds that loading took.  Raises ModelError, ValueError."""
    extension = core()
    arguments = engine_arguments(options)
    if files.lora is not None:
        arguments["lora"] = [(str(files.lora), 1.0), *arguments["lora"]]
    extension.set_log_callback(_print_log if options.verbose else None)
    started = time.perf_counter()
    check_files(files, extension)
    engine = extension.Engine(str(files.model), str(files.mmproj), progress=progress, **arguments)
    if not engine.has_audio:
        engine.close()
        raise ModelError(f"{files.mmproj} gives {files.model.name} no ears: it holds no audio encoder")
    return engine, time.perf_counter() - started


def check_files(files: ModelFiles, extension: Any) -> None:
    """Look at both headers before anything is loaded: swapped files, a projector that cannot hear."""
    model = extension.probe_gguf(str(files.model))
    projector = extension.probe_gguf(str(files.mmproj))
    if _is_projector(model) and not _is_projector(projector):
        raise ModelError(f"{files.model.name} is a projector and {files.mmproj.name} a model: swap them")
    _check_header(files.model, model)
    if not _is_projector(projector):
        raise ModelError(f"{files.mmproj} is not a projector (mmproj) but a {projector['architecture']} model")
    if not projector["has_audio"]:
        kind = "pictures only" if projector["has_vision"] else "no sound"
        raise ModelError(f"{files.mmproj} is a projector for {kind}: this model needs one with an audio encoder")
    try:
        rule_of(projector["projector"], projector["prompt_rule"])
    except ModelError as error:
        raise ModelError(f"{files.mmproj}: {error}") from None


def check_model(path: Path, extension: Any) -> None:
    """Look at the header of what should be a language model.  Raises ModelError."""
    _check_header(path, extension.probe_gguf(str(path)))


def _check_header(path: Path, header: dict[str, Any]) -> None:
    if _is_projector(header):
        raise ModelError(f"{path} is a projector (mmproj), not a language model")
    if header["type"] == "adapter":
        raise ModelError(f"{path} is a LoRA adapter, not a model: give it with lora (--lora)")


def _is_projector(header: dict[str, Any]) -> bool:
    return bool(header["architecture"] == "clip" or header["type"] == "mmproj")


def engine_arguments(options: EngineOptions) -> dict[str, Any]:
    """Keyword arguments of _core.Engine.  Raises ValueError, one line, naming the option."""
    numbers = {
        name: checks.whole(getattr(options, name), name, low)
        for name, low in (("n_batch", 1), ("n_ubatch", 1), ("n_gpu_layers", -1), ("n_seq_max", 1))
    }
    n_ctx = checks.whole(options.n_ctx, "n_ctx", 0, MAX_CONTEXT)
    threads = 0 if options.n_threads is None else checks.whole(options.n_threads, "n_threads", 0, 1024)
    flash = options.flash_attn
    if isinstance(flash, bool):
        flash = "on" if flash else "off"
    if flash not in ("auto", "on", "off"):
        raise ValueError(f'flash_attn must be "auto", True or False, not {options.flash_attn!r}')
    types = options.cache_type
    pair = (types, types) if isinstance(types, str) else types
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
        raise ValueError(f'cache_type must be a type like "f16", or a pair of them, not {checks.shown(types)}')
    return {
        "lora": lora_list(options.lora),
        "n_ctx": n_ctx,
        **numbers,
        "n_threads": threads,
        "flash_attn": flash,
        "cache_type_k": pair[0],
        "cache_type_v": pair[1],
    }


def lora_list(lora: Any) -> list[tuple[str, float]]:
    """None, a path, (path, scale), or a list of these -> [(path, scale)].  Raises ModelError, ValueError."""
    if lora is None:
        return []
    if isinstance(lora, str | os.PathLike):
        lora = [(lora, 1.0)]
    elif isinstance(lora, tuple) and len(lora) == 2 and isinstance(lora[1], int | float):
        lora = [lora]
    if not isinstance(lora, list | tuple):
        raise ValueError(f"lora must be a path, (path, scale) or a list of them, not {checks.shown(lora)}")
    adapters = []
    for item in lora:
        pair = (item, 1.0) if isinstance(item, str | os.PathLike) else item
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str | os.PathLike):
            raise ValueError(f"lora must be a path, (path, scale) or a list of them, not {checks.shown(item)}")
        path, scale = pair[0], checks.number(pair[1], "the scale of a LoRA adapter")
        if not os.path.isfile(path):
            raise ModelError(f"the LoRA adapter {os.fspath(path)} does not exist")
        adapters.append((os.fspath(path), scale))
    return adapters


def _print_log(level: int, text: str) -> None:
    sys.stderr.write(text if text.endswith("\n") else text + "\n")
