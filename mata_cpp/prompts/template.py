"""Chat templates: Jinja source out of a GGUF, which is untrusted input.

Rendered in jinja2's immutable sandbox with the functions that the templates of the field expect
(those of transformers' ``apply_chat_template``).  Whatever goes wrong in one is a ModelError.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2.exceptions import SecurityError

from ..errors import ModelError

FALLBACK_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}{{ message['content'] }}{{ '\\n\\n' }}
{%- elif message['role'] == 'user' -%}USER: {{ message['content'] }}{{ '\\n' }}
{%- else -%}ASSISTANT: {{ message['content'] }}{{ eos_token }}{{ '\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}ASSISTANT:{%- endif -%}
"""
"""For models whose GGUF holds no template: base models, mostly, which know no chat format at all."""

MAX_TEMPLATE = 1 << 20
MAX_OUTPUT = 1 << 24
"""Characters.  A template that writes more than this is broken or hostile."""


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """jinja2's sandbox, and no products that fill the memory."""

    intercepted_binops = frozenset(["*", "**", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (abs(right) > 64 or abs(left) > 1 << 32):
            raise SecurityError("a power that large is not allowed")
        if operator == "*":
            for sequence, count in ((left, right), (right, left)):
                if isinstance(sequence, str | list | tuple) and len(sequence) * count > MAX_TEMPLATE:
                    raise SecurityError("a repetition that long is not allowed")
        if operator == "%" and isinstance(left, str):
            raise SecurityError("the % format is not allowed")
        return super().call_binop(context, operator, left, right)


class ChatTemplate:
    """A compiled chat template.

    source: Jinja text, "" for the documented fallback.  Raises ModelError when it does not compile.
    """

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        self.source = source if source.strip() else FALLBACK_TEMPLATE
        if len(source) > MAX_TEMPLATE:
            raise ModelError(f"the model's chat template is absurdly long ({len(source):,} characters)")
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        environment = _Sandbox(
            trim_blocks=True, lstrip_blocks=True, autoescape=False, extensions=[jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(self.source)
        except Exception as error:  # jinja2 raises more than TemplateError on hostile sources
            raise _broken(error) from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The conversation as text, special tokens written out.  Raises ModelError."""
        pieces, length = [], 0
        values: dict[str, Any] = {"tools": None, "documents": None, **self._tokens, **(variables or {})}
        try:
            for piece in self._template.generate(
                messages=list(messages), add_generation_prompt=add_generation_prompt, **values
            ):
                pieces.append(piece)
                length += len(piece)
                if length > MAX_OUTPUT:
                    raise SecurityError("its output never ends")
        except Exception as error:
            raise _broken(error) from None
        return "".join(pieces)


class _RefusedError(Exception):
    """A template called raise_exception."""


def _raise_exception(message: Any = "") -> NoReturn:
    raise _RefusedError(str(message))


def _strftime_now(format: str) -> str:
    return datetime.datetime.now().strftime(str(format))


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """Plain JSON, as transformers has it: jinja2's own filter escapes < and > for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _broken(error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, _RefusedError):
        return ModelError(f"the model's chat template refuses this conversation: {reason}")
    if isinstance(error, jinja2.TemplateSyntaxError):
        return ModelError(f"the model's chat template is broken (line {error.lineno}: {reason}); use another GGUF")
    return ModelError(f"the model's chat template fails: {reason}; use another GGUF")
