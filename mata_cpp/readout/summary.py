"""Attention by layer, averaged over clips: where a model neglects the audio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import Answer
from .record import AUDIO, GROUPS


@dataclass
class Summary:
    """Shares by layer, each clip's own mean over its tokens counted once.

    off, on: for every clip float32 [L, G] (groups of record.GROUPS); on is empty where MATA was off.  even: for
    every clip, the fraction of the prompt's positions that hold audio, which an even spread would give it.  differing:
    the clips whose two answers differ, so that other rows are averaged.
    """

    layers: tuple[int, ...] = ()
    boosted: tuple[int, ...] = ()
    off: list[NDArray[np.float32]] = field(default_factory=list)
    on: list[NDArray[np.float32]] = field(default_factory=list)
    even: list[float] = field(default_factory=list)
    differing: int = 0

    def add(self, off: Answer, on: Answer | None = None) -> bool:
        """Count one clip's answers, with MATA off and on; False if one of them says nothing."""
        read = [answer.attention for answer in (off, on) if answer is not None]
        if any(attention is None or not attention.tokens for attention in read):
            return False
        for kept, attention in zip((self.off, self.on), read, strict=False):
            assert attention is not None
            kept.append(attention.by_layer())
            self.layers, self.boosted = attention.layers, attention.boosted
        if on is not None:
            self.differing += len({tuple(attention.tokens) for attention in read if attention is not None}) > 1
        self.even.append(off.usage.audio_tokens / max(1, off.usage.prompt_tokens))
        return True

    def __len__(self) -> int:
        return len(self.off)

    def mean(self, *, boosted: bool = False) -> NDArray[np.float32]:
        """[L, G], over the clips, with MATA off or on.  Raises ValueError where there is none."""
        kept = self.on if boosted else self.off
        if not kept:
            raise ValueError("no clip was counted")
        found: NDArray[np.float32] = np.mean(kept, axis=0)
        return found

    def per_token(self, *, boosted: bool = False) -> NDArray[np.float32]:
        """[L]: the attention to an audio token over that to another token of the prompt, on average."""
        audio = self.mean(boosted=boosted)[:, AUDIO]
        even = float(np.mean(self.even))
        return np.asarray(audio / even / np.maximum((1 - audio) / (1 - even), 1e-9), np.float32)

    def table(self) -> str:
        """Lines of text: a layer each, shares in percent; * marks the layers that MATA acted on."""
        off, on = self.mean(), self.mean(boosted=True) if self.on else None
        names = ["audio", "instruction", "system", "generated"]
        head = ["layer", *(f"{name}" for name in names), "per token"]
        if on is not None:
            head[1:2] = ["audio off", "audio on"]
        lines = [head]
        for i, layer in enumerate(self.layers):
            cells = [100 * off[i, GROUPS.index(name)] for name in names]
            if on is not None:
                cells.insert(1, 100 * on[i, AUDIO])
            mark = "*" if layer in self.boosted else " "
            lines.append([f"{layer}{mark}", *(f"{cell:.1f}" for cell in cells), f"{self.per_token()[i]:.2f}"])
        widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
        return "\n".join(
            "  ".join(f"{cell:>{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        record: dict[str, Any] = {
            "clips": len(self),
            "even_share": round(float(np.mean(self.even)), 6),
            "groups": list(GROUPS),
            "layers": list(self.layers),
            "boosted": list(self.boosted),
            "off": np.round(self.mean().astype(float), 6).tolist(),
            "on": np.round(self.mean(boosted=True).astype(float), 6).tolist() if self.on else None,
            "per_token": np.round(self.per_token().astype(float), 4).tolist(),
        }
        return record
