"""Where a model listened while it answered: the record that ``ask(..., attention=True)`` gives.

What is measured is the softmax of the attention scores on the row that predicts a token, which is the row of the token
before it: the last one of the prompt for the first token of the answer.  "after" is with MATA's boost, as the model
computed; "before" is the same row of scores without the boost of this layer.  (The layers below have been boosted all
the same: what a model does with MATA off is in an answer with MATA off.)  Attention is where a layer looks, not proof
of what an answer rests on.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import MataError
from ..mata import LayerSpec, Mata

Array = NDArray[np.float32]

GROUPS = ("audio", "system", "instruction", "earlier", "generated")
"""What a row can look at; every position of the context belongs to exactly one.

audio: the audio tokens of all clips.  system: all other tokens before the first question's content: a begin token, the
system message, the template's markers up to there.  instruction: the rest of this turn's prompt, with the template's
markers and those around the audio.  earlier: turns before this one.  generated: the answer itself.
"""

AUDIO = GROUPS.index("audio")


@dataclass(frozen=True)
class Reading:
    """What is read while an answer is generated; ``attention=True`` stands for ``Reading()``.

    layers: those whose shares are kept, written as in Mata (":" is all that have attention).  average: those of them
    over which the weights over time are averaged; "auto" is the last third here, where the default model shows a
    sound's place best, though far from always (docs/attention.md).  heads: keep the shares of every head
    too.  Raises ValueError.
    """

    layers: LayerSpec = ":"
    average: LayerSpec = "auto"
    heads: bool = False

    def __post_init__(self) -> None:
        for name in ("layers", "average"):
            object.__setattr__(self, name, Mata(layers=getattr(self, name)).layers)
        if not isinstance(self.heads, bool):
            raise ValueError(f"heads must be True or False, not {checks.short_repr(self.heads)}")

    @classmethod
    def of(cls, attention: Any) -> Reading | None:
        """What the argument ``attention`` means: False or None, True, or a Reading.  Raises ValueError."""
        if attention is None or attention is False:
            return None
        if attention is True:
            return cls()
        if isinstance(attention, Reading):
            return attention
        raise ValueError(f"attention must be True, False or a Reading, not {checks.short_repr(attention)}")


@dataclass(frozen=True)
class ClipAttention:
    """The weights on the audio tokens of one clip, which is one time axis.

    edges: float64 [n + 1], seconds: audio token k stands for the time from edges[k] to edges[k + 1].  The last edge is
    heard_seconds, which lies behind the clip's end where the model is given silence after a short clip.
    before, after: float32 [n_tokens, n], one row for each generated token: the mean over the heads of the layers
    ``Attention.averaged``.  All clips' weights in a row sum to the audio's share in these layers.
    """

    name: str
    seconds: float
    heard_seconds: float
    edges: NDArray[np.float64]
    before: Array
    after: Array

    def peak(self, token: int) -> float:
        """The time in seconds at the middle of the audio token that the row of a generated token weighs most."""
        k = int(np.argmax(self.after[token]))
        return float(self.edges[k] + self.edges[k + 1]) / 2

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seconds": self.seconds,
            "heard_seconds": self.heard_seconds,
            "edges": _plain(self.edges),
            "before": _plain(self.before),
            "after": _plain(self.after),
        }


@dataclass(frozen=True)
class Attention:
    """Where the generated tokens listened.  T tokens, L layers, H heads, G = len(GROUPS) groups.

    tokens: their texts (a part of a character shows as a mark), also those that a stop string cut off the answer; the
    end of the turn is none of them.  layers: the numbers of the L layers, ascending; boosted: those of them on which
    MATA acted.  before, after: float32 [T, L, G], the share of attention on each group, the mean over the heads; a row
    sums to 1.  heads_before, heads_after: float32 [T, L, H, G], or None unless asked for.  averaged: the layers that
    the clips' weights over time are averaged over.  clips: oldest first.

    Shares are fractions, not percent.
    """

    tokens: list[str]
    layers: tuple[int, ...]
    boosted: tuple[int, ...]
    before: Array
    after: Array
    averaged: tuple[int, ...]
    clips: list[ClipAttention]
    heads_before: Array | None = field(default=None, repr=False)
    heads_after: Array | None = field(default=None, repr=False)
    groups: tuple[str, ...] = GROUPS

    def share(self, group: str = "audio", *, boosted: bool = True) -> Array:
        """[T, L]: the share of one group, after (boosted) or before the boost.  Raises ValueError."""
        if group not in self.groups:
            raise ValueError(f"group must be one of {', '.join(self.groups)}, not {checks.short_repr(group)}")
        shares = self.after if boosted else self.before
        found: Array = shares[:, :, self.groups.index(group)]
        return found

    def by_layer(self, *, boosted: bool = True) -> Array:
        """[L, G]: the shares, the mean over the tokens; NaN where there is no token."""
        shares = self.after if boosted else self.before
        if not len(shares):
            return np.full(shares.shape[1:], np.nan, np.float32)
        return cast(Array, shares.mean(axis=0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, numbers with six decimals."""
        record = {
            "tokens": list(self.tokens),
            "groups": list(self.groups),
            "layers": list(self.layers),
            "boosted": list(self.boosted),
            "before": _plain(self.before),
            "after": _plain(self.after),
            "averaged": list(self.averaged),
            "clips": [clip.to_dict() for clip in self.clips],
        }
        if self.heads_before is not None and self.heads_after is not None:
            record["heads_before"] = _plain(self.heads_before)
            record["heads_after"] = _plain(self.heads_after)
        return record

    def save(self, path: str | Path) -> Path:
        """Write everything to path, a compressed .npz without pickled objects; the path written.

        Arrays: tokens, groups, layers, boosted, before, after, averaged, heads_* as here; clip_names, and for the i-th
        clip clip{i}_edges, clip{i}_before, clip{i}_after and clip{i}_seconds, which is [seconds, heard_seconds].
        Raises MataError when it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".npz":
            path = path.with_name(path.name + ".npz")
        arrays: dict[str, Any] = {
            "tokens": np.array(self.tokens, dtype=np.str_),
            "groups": np.array(self.groups),
            "layers": np.array(self.layers, dtype=np.int64),
            "boosted": np.array(self.boosted, dtype=np.int64),
            "averaged": np.array(self.averaged, dtype=np.int64),
            "before": self.before,
            "after": self.after,
            "clip_names": np.array([clip.name for clip in self.clips], dtype=np.str_),
        }
        if self.heads_before is not None and self.heads_after is not None:
            arrays |= {"heads_before": self.heads_before, "heads_after": self.heads_after}
        for i, clip in enumerate(self.clips):
            arrays[f"clip{i}_edges"] = clip.edges
            arrays[f"clip{i}_before"], arrays[f"clip{i}_after"] = clip.before, clip.after
            arrays[f"clip{i}_seconds"] = np.array([clip.seconds, clip.heard_seconds])
        data = io.BytesIO()
        np.savez_compressed(data, **arrays)
        try:
            path.write_bytes(data.getvalue())
        except OSError as error:
            raise MataError(f"cannot write {checks.short_name(path)}: {error.strerror or error}") from None
        return path

    def __repr__(self) -> str:
        heads = "" if self.heads_after is None else f", {self.heads_after.shape[2]} heads"
        return f"Attention({len(self.tokens)} tokens, {len(self.layers)} layers{heads}, {len(self.clips)} clip(s))"

    def __str__(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False)


def _plain(values: NDArray[Any]) -> Any:
    return np.round(values.astype(np.float64), 6).tolist()
