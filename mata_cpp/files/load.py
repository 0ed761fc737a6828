"""From model files and options to an engine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import checks, extension
from ..errors import ModelError
from .entry import ModelFiles
from .headers import check_files
from .resolve import existing_file
from .servers import check_reachable, server_list

if TYPE_CHECKING:
    from .._core import Cancel, Engine

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
    rpc: str | Sequence[str] | None = None
    verbose: bool = False


MAX_CONTEXT = 1 << 24
"""No model was trained for more tokens, and no memory holds them."""


def open_engine(
    files: ModelFiles,
    options: EngineOptions,
    progress: Callable[[float], None] | None = None,
    cancel: Cancel | None = None,
) -> tuple[Engine, float]:
    """The engine and the seconds that loading took.  Raises ModelError, CancelledError, ValueError."""
    core = extension.load()
    arguments = engine_arguments(options)
    if files.lora is not None:
        arguments["lora"] = [(str(files.lora), 1.0), *arguments["lora"]]
    extension.show_log(options.verbose)
    started = time.perf_counter()
    check_files(files, core)
    check_reachable(arguments["rpc"])
    engine = core.Engine(str(files.model), str(files.mmproj), progress=progress, cancel=cancel, **arguments)
    if not engine.has_audio:
        engine.close()
        raise ModelError(f"{files.mmproj} gives {files.model.name} no ears: it holds no audio encoder")
    return engine, time.perf_counter() - started


def engine_arguments(options: EngineOptions) -> dict[str, Any]:
    """Keyword arguments of _core.Engine.  Raises ValueError, one line, naming the option."""
    numbers = {
        name: checks.integer(getattr(options, name), name, low)
        for name, low in (("n_batch", 1), ("n_ubatch", 1), ("n_gpu_layers", -1), ("n_seq_max", 1))
    }
    n_ctx = checks.integer(options.n_ctx, "n_ctx", 0, MAX_CONTEXT)
    threads = 0 if options.n_threads is None else checks.integer(options.n_threads, "n_threads", 0, 1024)
    flash = options.flash_attn
    if isinstance(flash, bool):
        flash = "on" if flash else "off"
    if flash not in ("auto", "on", "off"):
        raise ValueError(f'flash_attn must be "auto", True or False, not {checks.short_repr(options.flash_attn)}')
    types = options.cache_type
    pair = (types, types) if isinstance(types, str) else types
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
        raise ValueError(f'cache_type must be a type like "f16", or a pair of them, not {checks.short_repr(types)}')
    return {
        "lora": lora_list(options.lora),
        "n_ctx": n_ctx,
        **numbers,
        "n_threads": threads,
        "flash_attn": flash,
        "cache_type_k": pair[0],
        "cache_type_v": pair[1],
        "rpc": server_list(options.rpc),
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
        raise ValueError(f"lora must be a path, (path, scale) or a list of them, not {checks.short_repr(lora)}")
    adapters = []
    for item in lora:
        pair = (item, 1.0) if isinstance(item, str | os.PathLike) else item
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str | os.PathLike):
            raise ValueError(f"lora must be a path, (path, scale) or a list of them, not {checks.short_repr(item)}")
        path, scale = pair[0], checks.number(pair[1], "the scale of a LoRA adapter")
        adapters.append((str(existing_file(path, "the LoRA adapter")), scale))
    return adapters
