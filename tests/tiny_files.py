"""The tiny models, good and broken, as files that are written when first asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import tiny_models
from broken_models import BROKEN_ADAPTERS, BROKEN_MODELS, BROKEN_PROJECTORS, write_broken


class TinyFiles:
    """Paths of tiny GGUF files; each is written when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = cache(self._model)
        self.projector = cache(self._projector)
        self.broken_model = cache(lambda name: self._broken("models", name))
        self.broken_projector = cache(lambda name: self._broken("projectors", name))
        self.broken_adapter = cache(lambda name: self._broken("adapters", name))

    def _model(self, name: str) -> Path:
        """A model of tiny_models.CONFIGS."""
        return tiny_models.write_model(self.folder / f"{name}.gguf", tiny_models.CONFIGS[name])

    def _projector(self, name: str) -> Path:
        """An audio projector for the model called name."""
        n_embd = tiny_models.CONFIGS[name].n_embd
        path = self.folder / f"mmproj-{name}.gguf"
        return tiny_models.write_mmproj(path, tiny_models.ProjectorConfig(n_embd_text=n_embd))

    def _broken(self, kind: str, name: str) -> Path:
        folder = self.folder / kind
        folder.mkdir(exist_ok=True)
        writers = {"models": BROKEN_MODELS, "projectors": BROKEN_PROJECTORS, "adapters": BROKEN_ADAPTERS}[kind]
        return write_broken(folder, writers, name)

    @property
    def lora(self) -> Path:
        """An adapter for the Llama model."""
        path = self.folder / "lora.gguf"
        return path if path.exists() else tiny_models.write_lora(path, tiny_models.CONFIGS["llama"])

    @property
    def mmproj(self) -> Path:
        """An audio projector for the Llama, Qwen2 and Qwen2-VL models."""
        path = self.folder / "mmproj.gguf"
        return path if path.exists() else tiny_models.write_mmproj(path)
