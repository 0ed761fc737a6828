"""What attention.npz holds, for the script that writes it and the test that reads it."""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).parent / "attention.npz"
NAMES = ("llama", "qwen2", "qwen2vl", "gemma2", "gemma3")
N_STEPS = 1
"""Tokens of the answer that are fed after the question; a row for each, and one for the question's last token."""


def layers(n_layer: int) -> list[int]:
    """The kept ones: the first, one boosted in the middle, the one after it, the last."""
    return [0, 3, 4, n_layer - 1]
