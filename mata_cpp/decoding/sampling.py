"""How the next token is chosen: the options of llama.cpp's sampler chain, as one record."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import checks, extension
from ..warn import warn

if TYPE_CHECKING:
    from .._core import Cancel, Engine, Sampler

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

FLOAT32_MAX = 3e38


@dataclass(frozen=True)
class Sampling:
    """Options of sampling, applied in this order; the defaults are those of the engine's SamplerParams.

    grammar: GBNF with a rule "root".  json_schema: a JSON schema as a dictionary or a text; the answer is JSON that
    fits it.  repeat_penalty (1: none), frequency_penalty and presence_penalty (0: none) act on the last
    penalty_last_n tokens of the answer (0: none, -1: all).  temperature 0 is greedy: the likeliest token, and what
    follows does not matter.  top_k (0: all), top_p and min_p (0: all) leave out unlikely tokens.  seed: of the draw.

    Raises ValueError for a value that cannot be.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    seed: int = 0
    grammar: str = ""
    json_schema: str | Mapping[str, Json] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty"):
            value = checks.number(getattr(self, name), name)
            if abs(value) > FLOAT32_MAX:
                raise ValueError(f"{name} is too large: {checks.short_repr(value)}")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "top_k", checks.integer(self.top_k, "top_k", -checks.INT32))
        object.__setattr__(self, "penalty_last_n", checks.integer(self.penalty_last_n, "penalty_last_n", -1))
        object.__setattr__(self, "seed", checks.seed(self.seed))
        if "\0" in checks.text(self.grammar, "grammar"):
            raise ValueError("grammar must not hold null characters")
        if self.json_schema is not None:
            if self.grammar:
                raise ValueError("grammar and json_schema exclude each other")
            object.__setattr__(self, "json_schema", _schema_text(self.json_schema))

    def sampler(self, engine: Engine, cancel: Cancel | None = None) -> Sampler:
        """A fresh sampler.  Raises ValueError for a number out of range, a grammar or a schema that cannot be used,
        CancelledError."""
        from ..audio import stderr  # with it comes NumPy, which a command's --help does without

        core = extension.load()
        lines: list[str] = []
        grammar = self.grammar
        if self.json_schema is not None:
            with stderr.caught() as lines:
                grammar = core.json_schema_to_grammar(self.json_schema)
            for line in lines:
                warn(f"json_schema: {line[:200]}")
        try:
            with stderr.caught() if grammar else contextlib.nullcontext(lines) as lines:
                made: Sampler = core.Sampler(
                    engine,
                    temperature=self.temperature,
                    top_k=self.top_k,
                    top_p=self.top_p,
                    min_p=self.min_p,
                    repeat_penalty=self.repeat_penalty,
                    frequency_penalty=self.frequency_penalty,
                    presence_penalty=self.presence_penalty,
                    penalty_last_n=self.penalty_last_n,
                    seed=self.seed,
                    grammar=grammar,
                    cancel=cancel,
                )
                return made
        except ValueError as error:  # llama.cpp's parser says what is wrong on descriptor 2
            reason = next((line.rpartition("error parsing grammar:")[2] for line in lines if line.strip()), "")
            raise ValueError(f"{error}: {reason.strip()}" if reason else str(error)) from None


def _schema_text(schema: object) -> str:
    """A JSON schema as text.  Raises ValueError."""
    if isinstance(schema, Mapping):
        try:
            return json.dumps(dict(schema))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"json_schema must hold plain JSON values: {error}") from None
    text = checks.text(schema, "json_schema")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"json_schema is not valid JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"json_schema must be a JSON object, not {checks.short_repr(text)}")
    return text
