"""Contrast with the prompt without the clip: the guidance of PAI, arXiv 2407.21771, made for images.

    log p = gamma * (log p_audio - log p_without) + log p_without, among the tokens with p_audio >= 0.1 * max p_audio

gamma is 1 + the strength, so that 0 is no contrast here too; the paper's 1.1 is a strength of 0.1.  PAI also raises the
attention to the image: here that is MATA in mode "abs".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...prompts.builder import Message
from .formula import Logits
from .noise import combined as combined
from .rule import Hearing
from .rules import Contrast


def guided(log_p: Logits, log_p_without: Logits, gamma: float) -> Logits:
    """gamma * (log p - log p_without) + log p_without: the contrast of formula.py with strength gamma - 1."""
    return gamma * (log_p - log_p_without) + log_p_without


def other(messages: Sequence[Message], contrast: Contrast, hearing: Hearing) -> list[Message]:
    return [replace(message, clips=()) for message in messages]
