"""Reading the attention of a session: which positions belong to what, and one row for each generated token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..mata import LayerSpec
from ..records import ClipInfo
from .effect import MataEffect, effect_of
from .layers import readable_layers
from .record import AUDIO, GROUPS, Attention, ClipAttention, Reading

if TYPE_CHECKING:
    from .. import _core
    from ..session import Session

ALL_POSITIONS = (1 << 31) - 1

Row = tuple[NDArray[np.float32], ...]
"""Of one predicting row: shares before and after [L, H, G], weights over the audio before and after [n_audio]."""


class HasAttention(Protocol):
    """A generated token, as _core.Token."""

    @property
    def attention(self) -> tuple[Any, Any, Any, Any] | None: ...


@dataclass(frozen=True)
class PromptRegions:
    """Where the kinds of text of a prompt lie: positions up to system_end are the system's, up to turn_start earlier
    turns', up to prompt_end this turn's; what follows is generated."""

    system_end: int
    turn_start: int
    prompt_end: int

    def ranges(self, clips: Sequence[ClipInfo]) -> list[tuple[int, int, int]]:
        """(start, end, group) for _core.Session.set_attention_sums: the first range that holds a position counts."""
        number = {name: i for i, name in enumerate(GROUPS)}
        return [
            *((*clip.span, AUDIO) for clip in clips),
            (0, self.system_end, number["system"]),
            (self.system_end, self.turn_start, number["earlier"]),
            (self.turn_start, self.prompt_end, number["instruction"]),
            (self.prompt_end, ALL_POSITIONS, number["generated"]),
        ]


class Reader:
    """Reads one answer's rows.  Raises MataError where attention cannot be read, ValueError for bad layers.

    acts_on: the layers that MATA acts on, () when it is off.
    """

    def __init__(self, engine: _core.Engine, reading: Reading, acts_on: Sequence[int]) -> None:
        self.layers = readable_layers(engine, reading.layers)
        self.averaged = self._averaged(engine, reading.average)
        self._heads = reading.heads
        self._n_head = engine.n_head
        self.acts_on = acts_on
        self._session: Session | None = None
        self._clips: list[ClipInfo] = []
        self._rows: list[Row] = []

    def start(self, session: Session, regions: PromptRegions) -> None:
        """From the session's next feed on; its clips must be in it."""
        self._session, self._clips, self._rows = session, session.clips, []
        ranges = regions.ranges(self._clips)
        session.read_with(lambda core: core.set_attention_sums(self.layers, ranges, self.averaged))

    def twin(self, session: Session, acts_on: Sequence[int] = ()) -> Reader:
        """The same for a fork of the session that is read, which reads already."""
        other = object.__new__(Reader)
        other.__dict__.update(self.__dict__)
        other._session, other._rows, other.acts_on = session, [], acts_on
        return other

    def effect(self, session: Session) -> MataEffect | None:
        """What MATA does to the row of the last token that was fed; None where boosted layers are not read."""
        if not self.acts_on or not set(self.acts_on) <= set(self.layers):
            return None
        return effect_of(session, [self.layers.index(layer) for layer in self.acts_on])

    def take(self, token: HasAttention) -> None:
        """Keep the row that predicted a generated token."""
        assert token.attention is not None
        self._keep(token.attention)

    def take_last(self, session: Session) -> None:
        """Keep the row of the last token that was fed, which predicts the next one."""
        rows = session.core.attention_sums()
        self._keep(tuple(part[-1] for part in rows))

    def take_all(self, session: Session) -> None:
        """Keep all rows of the last feed of a fork: those after the first token of an answer that was fed at once."""
        rows = session.core.attention_sums()
        for index in range(len(rows[0])):
            self._keep(tuple(part[index] for part in rows))

    def stop(self) -> None:
        """Read no more."""
        if self._session is not None and not self._session.closed:
            self._session.read_with(None)

    def report(self, tokens: Sequence[str]) -> Attention:
        """The record of the first len(tokens) rows."""
        rows = self._rows[: len(tokens)]
        shape = (0, len(self.layers), self._n_head, len(GROUPS))
        heads = [np.stack([row[i] for row in rows]) if rows else np.zeros(shape, np.float32) for i in (0, 1)]
        n_audio = sum(clip.tokens for clip in self._clips)
        times = [np.stack([row[i] for row in rows]) if rows else np.zeros((0, n_audio), np.float32) for i in (2, 3)]
        return Attention(
            tokens=list(tokens),
            layers=tuple(self.layers),
            boosted=tuple(layer for layer in self.layers if layer in self.acts_on),
            before=heads[0].mean(axis=2),
            after=heads[1].mean(axis=2),
            averaged=tuple(self.averaged),
            clips=_by_clip(self._clips, times[0], times[1]),
            heads_before=heads[0] if self._heads else None,
            heads_after=heads[1] if self._heads else None,
        )

    # -------------------------------------------------------------------------------------------

    def _keep(self, row: Row) -> None:
        before, after, time_before, time_after = row
        if not self._heads:  # a long answer keeps no more than it reports
            before, after = before.mean(axis=1, keepdims=True), after.mean(axis=1, keepdims=True)
        self._rows.append((before, after, time_before, time_after))

    def _averaged(self, engine: _core.Engine, average: LayerSpec) -> list[int]:
        if average != "auto":
            chosen = readable_layers(engine, average)
            for layer in chosen:
                if layer not in self.layers:
                    raise ValueError(f"layer {layer} is to be averaged but is not among the layers that are read")
            return chosen
        last_third = range(engine.n_layer * 2 // 3, engine.n_layer)
        return [layer for layer in self.layers if layer in last_third] or self.layers


def _by_clip(clips: Sequence[ClipInfo], before: NDArray[np.float32], after: NDArray[np.float32]) -> list[ClipAttention]:
    found, start = [], 0
    for clip in clips:
        here = slice(start, start + clip.tokens)
        start += clip.tokens
        found.append(
            ClipAttention(
                name=clip.name,
                seconds=clip.seconds,
                heard_seconds=clip.heard_seconds,
                edges=np.linspace(0.0, clip.heard_seconds, clip.tokens + 1),
                before=before[:, here],
                after=after[:, here],
            )
        )
    return found
