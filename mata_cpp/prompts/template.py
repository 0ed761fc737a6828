"""Chat templates: Jinja source out of a GGUF, which is untrusted input.

Rendered in a sandbox that counts what they do, with the functions that the templates of the field expect
(those of transformers' ``apply_chat_template``).  Whatever goes wrong in one is a ModelError.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import jinja2

from ..errors import CancelledError, ModelError
from .meter import LimitError, Meter, weight
from .sandbox import METER, MeteredSandbox

if TYPE_CHECKING:
    from .._core import Cancel

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

MAX_TEMPLATE = 1 << 16
"""Characters; the longest in the field have 17,000."""

MAX_DATE = 200
"""Of the form of a date."""

STEPS, STEPS_OF_MESSAGE, STEPS_OF_INPUT = 2_000_000, 1000, 20
"""What a template may do: so many steps, so many more for a message, and so many times what it takes to look at what it
is given.  The templates of the field need 90 to 1,200 for a message."""


class ChatTemplate:
    """A compiled chat template.

    source: Jinja text, "" for the documented fallback.  name: of the file it is from, for messages.  Raises ModelError
    when it does not compile.
    """

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "", name: str = "the model") -> None:
        self.called = f"the chat template of {name}"
        self.source = source if source.strip() else FALLBACK_TEMPLATE
        if len(source) > MAX_TEMPLATE:
            raise ModelError(f"{self.called} is absurdly long ({len(source):,} characters)")
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        environment = MeteredSandbox({"tojson": _tojson})
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.compiled(self.source)
        except Exception as error:  # jinja2 raises more than TemplateError on hostile sources
            raise self._broken(error) from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
        cancel: Cancel | None = None,
    ) -> str:
        """The conversation as text, special tokens written out.  Raises ModelError, CancelledError.

        TemplateLimitError is raised where the template does too much.
        """
        values: dict[str, Any] = {"tools": None, "documents": None, **self._tokens, **(variables or {})}
        values.update(messages=list(messages), add_generation_prompt=add_generation_prompt)
        try:
            limit = STEPS + STEPS_OF_MESSAGE * len(messages) + STEPS_OF_INPUT * weight(values, sys.maxsize)
            return "".join(self._template.generate({**values, METER: Meter(limit, cancel)}))
        except CancelledError:
            raise
        except LimitError as error:
            raise TemplateLimitError(f"{self.called} {error}; use another GGUF") from None
        except Exception as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> ModelError:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, RecursionError):
            reason = "it calls itself too deeply"
        if isinstance(error, _RefusedError):
            return ModelError(f"{self.called} refuses this conversation: {reason}")
        if isinstance(error, jinja2.TemplateSyntaxError):
            return ModelError(f"{self.called} is broken (line {error.lineno}: {reason}); use another GGUF")
        return ModelError(f"{self.called} fails: {reason}; use another GGUF")


class TemplateLimitError(ModelError):
    """A chat template does too much: another form of the messages would not help."""


class _RefusedError(Exception):
    """A template called raise_exception."""


def _raise_exception(message: Any = "") -> NoReturn:
    raise _RefusedError(str(message))


def _strftime_now(format: str) -> str:
    return datetime.datetime.now().strftime(str(format)[:MAX_DATE])


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """Plain JSON, as transformers has it: jinja2's own filter escapes < and > for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)
