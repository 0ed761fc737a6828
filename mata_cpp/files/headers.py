"""What the headers of model files tell before anything is loaded, with errors that name the file at fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..prompts.rules import rule_of
from .entry import ModelFiles


def check_files(files: ModelFiles, core: Any) -> None:
    """Look at both headers before anything is loaded: swapped files, a projector that cannot hear."""
    model = core.probe_gguf(str(files.model))
    projector = core.probe_gguf(str(files.mmproj))
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


def check_model(path: Path, core: Any) -> None:
    """Look at the header of what should be a language model.  Raises ModelError."""
    _check_header(path, core.probe_gguf(str(path)))


def _check_header(path: Path, header: dict[str, Any]) -> None:
    if _is_projector(header):
        raise ModelError(f"{path} is a projector (mmproj), not a language model")
    if header["type"] == "adapter":
        raise ModelError(f"{path} is a LoRA adapter, not a model: give it with lora (--lora)")


def _is_projector(header: dict[str, Any]) -> bool:
    return bool(header["architecture"] == "clip" or header["type"] == "mmproj")
