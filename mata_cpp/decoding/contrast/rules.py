"""What is asked for: a rule by its name, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ... import checks

STRENGTHS = {"silence": 1.0, "noise": 1.0, "smooth": 0.9, "yesno": 1.0, "guidance": 0.1, "text": 1.0}
"""The rules by name, and the strength of each unless told otherwise; 0 is no contrast."""

CUTS = {"noise": 0.1, "guidance": 0.1}
"""Rules that leave out what the question's own prompt finds unlikely: below this share of its likeliest token."""

SNR_DB = 0.0
MAX_STRENGTH = 100


@dataclass(frozen=True)
class Contrast:
    """How the tokens of an answer are chosen from what two prompts say.

    name: "silence", "noise", "smooth", "yesno", "guidance" or "text"; see mata_cpp/decoding/contrast, where each has a
    file with its source and formula.  strength: None is the rule's own; 0 is no contrast.  cut: tokens below this share
    of the probability of the likeliest one are left out, 0 none; None is the rule's own.  snr, seed: of "noise", in dB.
    text: of "text", the words of the question that mislead.

    Raises ValueError.
    """

    name: str
    strength: float | None = None
    cut: float | None = None
    snr: float | None = None
    seed: int = 0
    text: str | None = None

    def __post_init__(self) -> None:
        if self.name not in STRENGTHS:
            raise ValueError(f"contrast must be one of {', '.join(STRENGTHS)}, not {checks.short_repr(self.name)}")
        strength = STRENGTHS[self.name] if self.strength is None else checks.number(self.strength, "strength")
        if not 0 <= strength <= MAX_STRENGTH:
            raise ValueError(f"strength must lie between 0 and {MAX_STRENGTH}, not {strength:g}")
        cut = CUTS.get(self.name, 0.0) if self.cut is None else checks.number(self.cut, "cut")
        if not 0 <= cut < 1:
            raise ValueError(f"cut must be at least 0 and less than 1, not {cut:g}")
        object.__setattr__(self, "strength", strength)
        object.__setattr__(self, "cut", cut)
        if self.snr is not None and self.name != "noise":
            raise ValueError(f"snr is for contrast with noise, not for {self.name}")
        if self.name == "noise":
            object.__setattr__(self, "snr", SNR_DB if self.snr is None else checks.number(self.snr, "snr"))
        object.__setattr__(self, "seed", checks.seed(self.seed))
        if (self.text is None) == (self.name == "text"):
            raise ValueError(
                'contrast text needs the words that mislead: Contrast("text", text="...")'
                if self.text is None
                else f"text is for contrast with a text left out, not for {self.name}"
            )
        if self.text is not None and not checks.text(self.text, "text").strip():
            raise ValueError("text must not be empty")

    @property
    def amount(self) -> float:
        """strength, which is a number once this is made."""
        assert self.strength is not None
        return self.strength

    @property
    def share(self) -> float:
        """cut, likewise."""
        assert self.cut is not None
        return self.cut

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        record: dict[str, Any] = {"name": self.name, "strength": self.strength, "cut": self.cut}
        if self.name == "noise":
            record.update(snr=self.snr, seed=self.seed)
        if self.text is not None:
            record["text"] = self.text
        return record

    def __str__(self) -> str:
        """What parse takes: "silence:1"."""
        return f"{self.name}:{self.amount:g}"


def parse(text: str) -> Contrast:
    """ "silence" or "silence:0.5".  Raises ValueError."""
    name, colon, strength = text.strip().partition(":")
    if name not in STRENGTHS:
        raise ValueError(f"contrast must be one of {', '.join(STRENGTHS)}, not {checks.short_repr(text)}")
    if not colon:
        return Contrast(name)
    try:
        amount = float(strength)
    except ValueError:
        raise ValueError(
            f"the strength of contrast {name} must be a number, as in {name}:{STRENGTHS[name]:g}, "
            f"not {checks.short_repr(strength)}"
        ) from None
    return Contrast(name, amount)


def contrast_of(value: Any) -> Contrast | None:
    """What the option contrast means: a Contrast, its text, or None.  Raises ValueError."""
    if value is None or isinstance(value, Contrast):
        return value
    if isinstance(value, str):
        return parse(value)
    raise ValueError(f'contrast must be a rule as "silence:1", a Contrast(...) or None, not {checks.short_repr(value)}')
