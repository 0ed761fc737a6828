"""Which layers of a model can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MataError
from ..mata import LayerSpec, Mata

if TYPE_CHECKING:
    from .._core import Engine


def readable_layers(engine: Engine, layers: LayerSpec) -> list[int]:
    """Layer numbers, ascending; of a slice or "auto" those that have attention.  Raises MataError, ValueError."""
    if engine.mata_refusal:
        reason = engine.mata_refusal.replace("MATA", "the attention report")
        raise MataError(f"attention cannot be read here: {reason}")
    return list(Mata(layers=layers).resolve_layers(engine.n_layer, engine.attention_layers))
