"""What the comparison can tell apart: wrong readings of MATA differ from the right one far beyond its tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from parity import reference
from parity.scenario import ARCHS, MODES, Prompt, Setting, Span, alphas, distance, play_answer

TOLERANCE = 2e-3  # of the parity tests with flash attention off; they assert a tenth of it


class StartsOneLate(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, alpha, [(start + 1, end, weight) for start, end, weight in spans])


class EndsOneEarly(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, alpha, [(start, end - 1, weight) for start, end, weight in spans])


class EndsOneLate(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, alpha, [(start, end + 1, weight) for start, end, weight in spans])


class SpansJoined(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, alpha, [(spans[0][0], spans[-1][1], 1.0)])


class WeightsIgnored(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, alpha, [(start, end, 1.0) for start, end, _ in spans])


class LayersOneUp(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, [alpha[-1], *alpha[:-1]], spans)


class LayersOneDown(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, [*alpha[1:], alpha[0]], spans)


class AllLayers(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, [max(alpha)] * len(alpha), spans)


class AllRows(reference.Session):
    def row_is_boosted(self, predicts: bool) -> bool:
        return True


class PromptOnly(reference.Session):
    """The last row of a feed of several tokens, but no row of a feed of one."""

    def _feed(self, x: reference.Array, predicts: Sequence[bool]) -> reference.Array:
        self.n_rows_fed = len(predicts)
        return super()._feed(x, predicts)

    def row_is_boosted(self, predicts: bool) -> bool:
        return predicts and self.n_rows_fed > 1


class DecodingOnly(PromptOnly):
    def row_is_boosted(self, predicts: bool) -> bool:
        return predicts and self.n_rows_fed == 1


class BeforeScaling(reference.Session):
    """alpha added to q.k, before it is divided by sqrt(d)."""

    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata(mode, [a / np.sqrt(self.model.head_dim) for a in alpha], spans)


class BeforeSoftcap(reference.Session):
    def boosted(self, score: reference.Array, il: int) -> reference.Array:
        cap = self.model.attn_softcap
        return cap * np.tanh(super().boosted(cap * np.arctanh(score / cap), il) / cap)


class ScaleForAbs(reference.Session):
    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[Span]) -> None:
        super().set_mata({"scale": "abs", "abs": "scale"}[mode], alpha, spans)


MUTANTS = (
    StartsOneLate, EndsOneEarly, EndsOneLate, SpansJoined, WeightsIgnored, LayersOneUp, LayersOneDown, AllLayers,
    AllRows, PromptOnly, DecodingOnly, BeforeScaling, BeforeSoftcap, ScaleForAbs,
)  # fmt: skip


def _cases() -> Iterator[Any]:
    """Llama in every run; the other architectures only add to it."""
    for name in ARCHS:
        for mode in MODES:
            for kind in MUTANTS:
                if kind is BeforeScaling and mode != "add":
                    continue  # it commutes with the other two
                if kind is BeforeSoftcap and name != "gemma2":
                    continue
                if kind is ScaleForAbs and mode == "add":
                    continue
                quick = name == "llama" or kind is BeforeSoftcap
                marks = () if quick else (pytest.mark.slow,)
                yield pytest.param(kind, name, mode, id=f"{kind.__name__}-{name}-{mode}", marks=marks)


@pytest.mark.parametrize(("kind", "name", "mode"), list(_cases()))
def test_wrong_reading_is_seen(
    heard: Callable[..., tuple[reference.Session, list[Span]]],
    kind: type[reference.Session],
    name: str,
    mode: str,
) -> None:
    prompt = Prompt(name, n_answer=3)
    whole = kind not in (SpansJoined, WeightsIgnored)
    setting = Setting(mode, alphas(name, "inner" if kind is AllLayers else "ends"), whole)
    session, clips = heard(prompt)
    rows = []
    for reading in (reference.Session, kind):
        fork = reading.of(session)
        setting.apply(fork, clips)
        rows.append(play_answer(fork, prompt))
    effect = distance(*rows)
    print(f"{kind.__name__} {name} {mode}: {effect:.3f}")
    assert effect >= 5 * TOLERANCE
