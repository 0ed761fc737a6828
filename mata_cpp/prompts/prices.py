"""What filters, tests and methods cost in a chat template.

Every filter and method that a template may use is named here; the others have no simple bound, and no chat template
needs them.  Most cost what it takes to look at what they are given.  The functions here find what some cost beyond
that, before they are done; their parameters have the names that a template may give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any, Literal

from jinja2.exceptions import SecurityError

from .meter import KEYS, MAX_DEPTH, STEP, Meter

Price = Callable[..., int]
"""Of the meter, the filter's value or the method's owner, and the arguments: steps.  May raise SecurityError."""

Reach = Literal["nothing", "items", "all"]
"""What a filter looks at of its value: nothing but its length or an end, its items, all that these contain."""

MAX_WIDTH, MAX_INDENT = 999, 32
"""Of a number that is formatted, and of a level of JSON, in characters."""

MAX_PATH = 200
"""Of an attribute like "a.b.c"."""

MAX_DIGITS = 1000


def free(meter: Meter, *args: Any, **kwargs: Any) -> int:
    return 0


# Lists -------------------------------------------------------------------------------------------


def compare(meter: Meter, left: Any, right: Any) -> int:
    """left == right, left < right, ..."""
    if isinstance(left, str) and isinstance(right, str):
        return 1 + min(len(left), len(right)) // STEP
    return meter.weigh(left) + meter.weigh(right)


def contain(meter: Meter, item: Any, container: Any) -> int:
    """item in container"""
    if isinstance(container, str | bytes):
        return meter.weigh(item) + meter.weigh(container)
    if isinstance(container, dict | KEYS) or not hasattr(container, "__len__"):
        return meter.weigh(item)
    return find(meter, container, item)


def find(meter: Meter, items: Any, item: Any, *bounds: Any) -> int:
    return 0 if isinstance(items, str) else meter.weigh(item) * (1 + len(items))


def order(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> int:
    _check_paths(*args, *kwargs.values())
    found = meter.weigh(value)
    return found * found.bit_length()


def look_up(meter: Meter, value: Any, *args: Any, attribute: Any = None, **kwargs: Any) -> int:
    """An attribute of each item, or a filter or a test for it by its name."""
    _check_paths(*args[:1], attribute)
    return 0


def add(meter: Meter, value: Any, attribute: Any = None, start: Any = 0) -> int:
    """The filter sum.  Lists would be copied again and again."""
    _check_paths(attribute)
    if not isinstance(start, int | float):
        raise SecurityError("only numbers are summed up")
    return 0


def batch(meter: Meter, value: Any, linecount: Any, fill_with: Any = None) -> int:
    """The last list is filled."""
    return int(linecount)


def cut(meter: Meter, value: Any, slices: Any, fill_with: Any = None) -> int:
    return int(slices)


# Texts -------------------------------------------------------------------------------------------


def pad(meter: Meter, value: Any, width: Any = 80, *rest: Any) -> int:
    return int(width) // STEP


def strip(meter: Meter, value: Any, chars: Any = None) -> int:
    """Each character may be compared with each."""
    return len(str(value)) * len(chars) // STEP if isinstance(chars, str) else 0


def split(meter: Meter, text: str, sep: Any = None, *rest: Any, **kwargs: Any) -> int:
    return 2 * text.count(sep) if isinstance(sep, str) and sep else words(meter, text)


def from_end(meter: Meter, text: str, sep: Any = None, *rest: Any, **kwargs: Any) -> int:
    """A search from the end may compare each character with each."""
    return split(meter, text, sep) + (len(text) * len(sep) // STEP if isinstance(sep, str) else 0)


def words(meter: Meter, value: Any, *rest: Any, **kwargs: Any) -> int:
    """It makes a text of each word."""
    return len(str(value)) // 2


def replace(meter: Meter, s: Any, old: Any, new: Any, *rest: Any, **kwargs: Any) -> int:
    return str(s).count(str(old)) * len(str(new)) // STEP


def join(meter: Meter, value: Any, d: Any = "", attribute: Any = None) -> int:
    _check_paths(attribute)
    return len(value) * len(str(d)) // STEP


def join_with(meter: Meter, between: str, items: Any) -> int:
    """The method join."""
    return join(meter, items, between)


def indent(meter: Meter, s: Any, width: Any = 4, *rest: Any, **kwargs: Any) -> int:
    return words(meter, s) + (1 + len(str(s).splitlines())) * (len(width) if isinstance(width, str) else width) // STEP


def json(
    meter: Meter, value: Any, ensure_ascii: Any = False, indent: Any = None, separators: Any = None, **rest: Any
) -> int:
    """Each item may be indented by as many levels as there are above it."""
    for text in (indent, *(separators or ())):
        if (len(text) if isinstance(text, str) else text or 0) > MAX_INDENT:
            raise SecurityError(f"JSON is indented by at most {MAX_INDENT}")
    items = meter.weigh(value)
    return items * (1 + (0 if indent is None else min(items, MAX_DEPTH) * MAX_INDENT // STEP))


def percent_format(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> int:
    if re.search(r"\*|\d{4}", str(value)):
        raise SecurityError("a format that wide is not allowed")
    return str(value).count("%") * _field(meter, args, kwargs)


def brace_format(meter: Meter, text: str, *args: Any, **kwargs: Any) -> int:
    fields = [form or "" for _, name, form, _ in Formatter().parse(text) if name is not None]
    if any(re.search(r"\{|\d{4}", form) for form in fields):
        raise SecurityError("a format that wide is not allowed")
    return len(fields) * _field(meter, args, kwargs)


def _field(meter: Meter, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """What is written for a field of a format, at most."""
    return MAX_WIDTH // STEP + sum(map(meter.weigh, (*args, *kwargs.values())))


# Numbers -----------------------------------------------------------------------------------------


def number(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> int:
    """Of a text, value % 2 is a format."""
    if isinstance(value, str | bytes):
        raise SecurityError("a text is not a number")
    return 0


def parse_number(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> int:
    if isinstance(value, str) and len(value) > MAX_DIGITS:
        raise SecurityError("a number that long is not allowed")
    return 0


def round_off(meter: Meter, value: Any, precision: Any = 0, method: Any = "common") -> int:
    if not isinstance(precision, int) or not -MAX_WIDTH < precision < MAX_WIDTH:
        raise SecurityError("a precision that large is not allowed")
    return number(meter, value)


def _check_paths(*paths: Any) -> None:
    for path in paths:
        if isinstance(path, str) and len(path) > MAX_PATH:
            raise SecurityError("the name of an attribute is absurdly long")


# Names -------------------------------------------------------------------------------------------

FILTERS: dict[str, tuple[Reach, Price]] = {
    **dict.fromkeys(("count", "d", "default", "first", "items", "last", "length", "random"), ("nothing", free)),
    **dict.fromkeys(("list", "reverse"), ("items", free)),
    **dict.fromkeys(("map", "reject", "rejectattr", "select", "selectattr"), ("items", look_up)),
    "batch": ("items", batch),
    "slice": ("items", cut),
    **dict.fromkeys(("dictsort", "groupby", "max", "min", "sort", "unique"), ("all", order)),
    "sum": ("all", add),
    **dict.fromkeys(("capitalize", "e", "escape", "forceescape", "lower"), ("all", free)),
    **dict.fromkeys(("safe", "string", "truncate", "upper"), ("all", free)),
    **dict.fromkeys(("title", "wordcount"), ("all", words)),
    "center": ("all", pad),
    "format": ("all", percent_format),
    "indent": ("all", indent),
    "join": ("all", join),
    "replace": ("all", replace),
    "tojson": ("all", json),
    "trim": ("all", strip),
    **dict.fromkeys(("float", "int"), ("all", parse_number)),
    "abs": ("all", number),
    "round": ("all", round_off),
}

TESTS: dict[str, Price] = {
    **dict.fromkeys(("==", "eq", "equalto", "!=", "ne", "<", "lt", "lessthan", "<=", "le"), compare),
    **dict.fromkeys((">", "gt", "greaterthan", ">=", "ge"), compare),
    "in": contain,
    **dict.fromkeys(("odd", "even", "divisibleby"), number),
    **dict.fromkeys(("lower", "upper"), lambda meter, value: meter.weigh(value)),
}
"""Of those that cost more than a step."""

_TEXT = (
    "capitalize casefold endswith isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable "
    "isspace istitle isupper lower partition removeprefix removesuffix startswith swapcase upper find index count"
)
METHODS: tuple[tuple[type | tuple[type, ...], dict[str, Price]], ...] = (
    (
        str,
        {
            **dict.fromkeys(_TEXT.split(), free),
            **dict.fromkeys(("center", "ljust", "rjust", "zfill"), pad),
            **dict.fromkeys(("lstrip", "rstrip", "strip"), strip),
            **dict.fromkeys(("rfind", "rindex", "rpartition", "rsplit"), from_end),
            **dict.fromkeys(("splitlines", "title"), words),
            "format": brace_format,
            "join": join_with,
            "replace": replace,
            "split": split,
        },
    ),
    ((list, tuple), {"copy": lambda meter, items: len(items), "count": find, "index": find}),
    (dict, dict.fromkeys(("copy", "get", "items", "keys", "values"), free)),
)
"""By the owner's type."""


def method(owner: Any, name: str) -> Price:
    """Raises SecurityError for one that a template may not call."""
    for kind, named in METHODS:
        if isinstance(owner, kind) and name in named:
            return named[name]
    raise SecurityError(f"the method {type(owner).__name__}.{name} is not allowed")
