"""The rule of its prompts that a projector's file names (mata.audio.prompt)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_files import TinyFiles
from tiny_models import write_mmproj

from mata_cpp import _core
from mata_cpp.errors import ModelError
from mata_cpp.files.entry import ModelFiles
from mata_cpp.files.headers import check_files
from mata_cpp.prompts.rules import PLAIN, RULES, rule_of


@pytest.mark.parametrize(
    ("named", "rule"), [(None, RULES["ultravox"]), ("plain", PLAIN), ("ultravox", RULES["ultravox"])]
)
def test_the_file_names_it(tiny: TinyFiles, tmp_path: Path, named: str | None, rule: object) -> None:
    mmproj = write_mmproj(tmp_path / "mmproj.gguf", prompt=named)
    check_files(ModelFiles("tiny", tiny.model("llama"), mmproj), _core)
    engine = _core.Engine(str(tiny.model("llama")), str(mmproj), n_ctx=256, n_threads=1)
    assert engine.prompt_rule == (named or "")
    assert rule_of(engine.audio_prompt, engine.prompt_rule) is rule
    engine.close()


@pytest.mark.parametrize("named", ["spoken", "qwen2a"])
def test_another_name_is_refused_before_loading(tiny: TinyFiles, tmp_path: Path, named: str) -> None:
    """Another type's has other markers than those that the engine feeds."""
    mmproj = write_mmproj(tmp_path / "mmproj.gguf", prompt=named)
    with pytest.raises(ModelError, match=f'mmproj.gguf: it wants prompts by the rule "{named}"'):
        check_files(ModelFiles("tiny", tiny.model("llama"), mmproj), _core)
