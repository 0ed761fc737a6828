"""The conversations that are compared, and how their tokens are stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCES = Path(__file__).parent / "references.json"
RATE = 16000
SECONDS = {"first": 0.5, "second": 0.9}

QUESTION, OTHER, ANSWER, SYSTEM = "What sound is this?", "And which is louder?", "Rain.", "You are terse."

Turn = tuple[str, str, tuple[str, ...]]
"""Role, text, names of clips."""

CASES: dict[str, list[Turn]] = {
    "one clip": [("user", QUESTION, ("first",))],
    "two clips": [("user", QUESTION, ("first", "second"))],
    "system": [("system", SYSTEM, ()), ("user", QUESTION, ("first",))],
    "space around": [("user", "\nWhat?\n", ("first",))],  # joins what the template has there
    "follow-up": [("user", QUESTION, ("first",)), ("assistant", ANSWER, ()), ("user", OTHER, ())],
    "follow-up with a clip": [
        ("user", QUESTION, ("first",)),
        ("assistant", ANSWER, ()),
        ("user", OTHER, ("second",)),
    ],
    "three turns, system": [
        ("system", SYSTEM, ()),
        ("user", QUESTION, ("first", "second")),
        ("assistant", ANSWER, ()),
        ("user", OTHER, ("first",)),
        ("assistant", ANSWER, ()),
        ("user", OTHER, ()),
    ],
}


def samples(name: str) -> NDArray[np.float32]:
    """mono, at RATE"""
    time = np.arange(round(SECONDS[name] * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * (300 if name == "first" else 700) * time)).astype(np.float32)


Runs = list[int | list[int]]
"""Tokens; [n] stands for n audio tokens."""


def runs_of(ids: list[int], audio: int) -> Runs:
    made: Runs = []
    for token in ids:
        if token != audio:
            made.append(token)
        elif made and isinstance(made[-1], list):
            made[-1][0] += 1
        else:
            made.append([1])
    return made


def load() -> dict[str, Any]:
    return json.loads(REFERENCES.read_text())
