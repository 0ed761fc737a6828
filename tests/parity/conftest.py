"""Engines and reference models of the parity tests, kept for the whole run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from parity import reference
from parity.scenario import LORA_SCALE, OFF, Prompt, Setting, Span, play_answer
from tiny_files import TinyFiles


@pytest.fixture(scope="session")
def engines(tiny: TinyFiles) -> Any:
    """engines(name, flash_attn="off", cache="f32", **options): a loaded engine, the same one for the same arguments.

    flash_attn "portable" is flash attention with the graph of GPU backends.
    """
    from mata_cpp import _core

    loaded: dict[Any, Any] = {}

    def engine(name: str, flash_attn: str = "off", cache: str = "f32", *, lora: bool = False, **options: Any) -> Any:
        key = (name, flash_attn, cache, lora, tuple(sorted(options.items())))
        if key not in loaded:
            arguments: dict[str, Any] = {
                "n_ctx": 512, "n_threads": 1, "flash_attn": flash_attn.replace("portable", "on"),
                "cache_type_k": cache, "cache_type_v": cache,
                "lora": [(str(tiny.lora), LORA_SCALE)] if lora else [],
            }  # fmt: skip
            loaded[key] = _core.Engine(str(tiny.model(name)), **(arguments | options))
            loaded[key].use_portable_graph(flash_attn == "portable")
        return loaded[key]

    yield engine
    for opened in loaded.values():
        opened.close()


@pytest.fixture(scope="session")
def references(tiny: TinyFiles) -> Callable[..., reference.Model]:
    """references(name, lora=False): the reference model."""

    @cache
    def model(name: str, lora: bool = False) -> reference.Model:
        return reference.Model(tiny.model(name), [(tiny.lora, LORA_SCALE)] if lora else [])

    return model


@pytest.fixture(scope="session")
def heard(references: Callable[..., reference.Model]) -> Callable[..., tuple[reference.Session, list[Span]]]:
    """heard(prompt, lora=False): a reference session that has heard the prompt's clips, to fork, and the spans."""

    @cache
    def session(prompt: Prompt, lora: bool = False) -> tuple[reference.Session, list[Span]]:
        fresh = references(prompt.name, lora).session()
        return fresh, prompt.feed_audio(fresh)

    return session


@pytest.fixture(scope="session")
def expected(heard: Callable[..., tuple[reference.Session, list[Span]]]) -> Callable[..., Any]:
    """expected(prompt, setting, lora=False): what scenario.play must give."""

    @cache
    def logits(prompt: Prompt, setting: Setting = OFF, lora: bool = False) -> Any:
        session, spans = heard(prompt, lora)
        fork = session.fork()
        setting.apply(fork, spans)
        return play_answer(fork, prompt)

    return logits
