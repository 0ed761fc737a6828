"""How much a token relies on the audio: its share of attention in the last layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...readout.layers import readable_layers

if TYPE_CHECKING:
    from ..._core import Engine
    from ...session import Session

N_LAYERS = 4
AUDIO = 0
EVERYWHERE = (1 << 31) - 1


class Reliance:
    """Reads it from a session and its forks.  Raises MataError where no attention can be read."""

    def __init__(self, engine: Engine) -> None:
        self._layers = readable_layers(engine, ":")[-N_LAYERS:]
        self._read: list[int] = []

    def start(self, session: Session, also: Sequence[int] = ()) -> None:
        """From the session's next feed on; its clips must be in it.  also: layers that someone else wants to read."""
        ranges = [(*clip.span, AUDIO) for clip in session.clips] + [(0, EVERYWHERE, AUDIO + 1)]
        self._read = layers = sorted({*self._layers, *also})
        session.read_with(lambda core: core.set_attention_sums(layers, ranges, []))

    def rows_of(self, layers: Sequence[int]) -> list[int]:
        """Where these layers are among those that are read."""
        return [self._read.index(layer) for layer in layers]

    def of(self, session: Session) -> NDArray[np.float64]:
        """Of the rows of the last feed, [n_rows]."""
        _, after, _, _ = session.core.attention_sums()  # [rows, layers, heads, groups]
        shares = after[..., AUDIO][:, self.rows_of(self._layers)]  # [rows, layers, heads]
        found: NDArray[np.float64] = shares.mean(axis=(1, 2), dtype=np.float64)
        return found
