"""What MATA did: the audio's share of attention in the boosted layers, read from the one row that predicts the first
answering token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .record import AUDIO

if TYPE_CHECKING:
    from ..session import Session


@dataclass(frozen=True)
class MataEffect:
    """The audio's share of attention before the boost and after it, 0 to 1.

    The mean over the heads of the boosted layers, of the row that predicts the first token of an answer.
    """

    before: float
    after: float

    @property
    def lowered(self) -> bool:
        return self.after < self.before

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"before": self.before, "after": self.after}

    def __str__(self) -> str:
        """E.g. "6.1 % to 6.8 %"."""
        return f"{100 * self.before:.1f} % to {100 * self.after:.1f} %"


def watch(session: Session, layers: Sequence[int]) -> None:
    """From the session's next feed on, keep what effect_of reads, in forks too.  Its clips must be in it."""
    chosen = sorted(layers)
    spans = [(start, end, AUDIO) for start, end in session.audio_spans]
    session.read_with(lambda core: core.set_attention_sums(chosen, spans, []))


def effect_of(session: Session, rows: Sequence[int] | None = None) -> MataEffect:
    """Of the last row of the last feed.  rows: which of the layers that are read are boosted, None for all."""
    before, after, _, _ = session.core.attention_sums()  # [rows, layers, heads, groups]
    chosen = slice(None) if rows is None else list(rows)
    return MataEffect(*(float(np.mean(part[-1, chosen, :, AUDIO])) for part in (before, after)))
