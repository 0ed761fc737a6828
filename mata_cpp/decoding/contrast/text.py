"""Towards the question without a text that misleads: Gated Audio Counterfactual Logit Correction (GACL), 2606.05161.

    s     = s_joint + alpha * (s_audio - s_joint)
    alpha = clip(lambda * R * N, 0, 1)
    R     = clip((s_audio of its best - s_audio of its second) / 0.5, 0, 1),   N = 1 if their best differ, else 0

s_joint: scores after the whole question; s_audio: after the same clip and the question without that text.  In the paper
s are the scores of candidate answers, as here when options are scored; while an answer is generated they are the
log-probabilities of the next token.  lambda, the strength, is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...prompts.builder import Message
from ..scoring import log_softmax
from .formula import Logits
from .rule import Hearing, Step
from .rules import Contrast

MARGIN = 0.5


def interpolated(joint: NDArray[Any], audio: NDArray[Any], strength: float) -> NDArray[Any]:
    """The scores s."""
    second, best = np.sort(audio)[-2:]
    reliability = min(max((best - second) / MARGIN, 0.0), 1.0)
    differ = int(np.argmax(joint)) != int(np.argmax(audio))
    alpha = min(max(strength * reliability * differ, 0.0), 1.0)
    result: NDArray[Any] = joint + alpha * (audio - joint)
    return result


def without(question: str, text: str) -> str:
    """The question without its first mention of text.  Raises ValueError where there is none, or nothing is left."""
    before, found, after = question.partition(text)
    if not found:
        raise ValueError("contrast text: the text that misleads must stand in the question as it is written")
    rest = f"{before.rstrip()} {after.lstrip()}".strip() if before.strip() else after.lstrip()
    if not rest.strip():
        raise ValueError("contrast text: without the text that misleads nothing is left of the question")
    return rest


def other(messages: Sequence[Message], contrast: Contrast, hearing: Hearing) -> list[Message]:
    assert contrast.text is not None
    *earlier, question = messages
    return [*earlier, replace(question, text=without(question.text, contrast.text))]


def combined(heard: Logits, other: Logits, contrast: Contrast, step: Step) -> Logits:
    return interpolated(log_softmax(heard), log_softmax(other), contrast.amount).astype(np.float32)


def scores(heard: Sequence[float], other: Sequence[float], contrast: Contrast) -> list[float]:
    """Of options, from their log-likelihoods after both questions."""
    found: list[float] = interpolated(np.array(heard), np.array(other), contrast.amount).tolist()
    return found
