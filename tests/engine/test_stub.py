"""_core.pyi says what the extension has: the same names, and the same arguments with the same defaults."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mata_cpp
from mata_cpp import _core

STUB = ast.parse((Path(mata_cpp.__file__).parent / "_core.pyi").read_text())
Node = ast.Module | ast.ClassDef


def public(names: Any) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def functions(node: Node) -> dict[str, ast.FunctionDef]:
    return {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}


def classes() -> dict[str, ast.ClassDef]:
    return {item.name: item for item in STUB.body if isinstance(item, ast.ClassDef)}


def is_property(function: ast.FunctionDef) -> bool:
    return any(isinstance(name, ast.Name) and name.id == "property" for name in function.decorator_list)


def values(node: Node) -> set[str]:
    """Names that are not called: constants, and properties in either way of writing."""
    annotated = {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}
    return annotated | {name for name, function in functions(node).items() if is_property(function)}


def in_stub(function: ast.FunctionDef) -> list[str]:
    """The arguments as "name", "name=default" and "*"."""
    given = function.args
    defaults = [None] * (len(given.args) - len(given.defaults)) + given.defaults
    keywords = list(zip(given.kwonlyargs, given.kw_defaults, strict=True))
    pairs = [*zip(given.args, defaults, strict=True), *([("*", None)] if keywords else []), *keywords]
    return [_written(argument if argument == "*" else argument.arg, default) for argument, default in pairs]


def _written(name: str, default: ast.expr | None) -> str:
    if default is None:
        return name
    value = ast.literal_eval(default)
    return f"{name}={_short(() if value == [] else value)}"


def in_extension(function: Any) -> list[str]:
    """The same, from the line that pybind11 puts in front of a function's text."""
    line = function.__doc__.splitlines()[0]
    arguments = line[line.index("(") + 1 : line.rindex(") ->")]
    parts = [part.strip() for part in _split(arguments)]
    return [_name_and_default(part) for part in parts if part]


def _split(text: str) -> list[str]:
    """At commas outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[({") - (character in "])}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _name_and_default(part: str) -> str:
    name = re.match(r"\*|\w+", part).group()
    _, equals, default = part.partition(" = ")
    if not equals:
        return name
    value = ast.literal_eval(default)
    return f"{name}={_short(() if value == [] else value)}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def test_names_of_the_module() -> None:
    kinds = public(name for name in vars(_core) if not isinstance(getattr(_core, name), ModuleType))
    assert values(STUB) | set(functions(STUB)) | set(classes()) == kinds


@pytest.mark.parametrize("name", sorted(classes()))
def test_names_of_a_class(name: str) -> None:
    stub = classes()[name]
    assert public(values(stub) | set(functions(stub))) == public(vars(getattr(_core, name)))


@pytest.mark.parametrize("name", sorted(classes()))
def test_what_is_called_and_what_is_not(name: str) -> None:
    real = getattr(_core, name)
    properties = {key for key in public(vars(real)) if inspect.isdatadescriptor(vars(real)[key])}
    assert values(classes()[name]) == properties


@pytest.mark.parametrize("name", sorted(functions(STUB)))
def test_arguments_of_a_function(name: str) -> None:
    assert in_stub(functions(STUB)[name]) == in_extension(getattr(_core, name))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, node in sorted(classes().items())
        for name, function in functions(node).items()
        if not is_property(function)
    ],
)
def test_arguments_of_a_method(kind: str, name: str) -> None:
    assert in_stub(functions(classes()[kind])[name]) == in_extension(getattr(getattr(_core, kind), name))


def test_the_stand_in_has_the_same_methods(fake: ModuleType) -> None:
    """What the tests of the package run on."""
    for name, node in classes().items():
        stand_in = getattr(fake, name)
        missing = {method for method, f in functions(node).items() if not is_property(f)} - set(dir(stand_in))
        assert not missing, (name, missing)


@pytest.mark.parametrize("name", ["feed_tokens", "feed_audio", "feed_embeddings", "fork", "truncate"])
def test_the_stand_in_takes_the_same_arguments(fake: ModuleType, name: str) -> None:
    stub = functions(classes()["Session"])[name].args
    wanted = [argument.arg for argument in (*stub.args, *stub.kwonlyargs)]
    assert list(inspect.signature(getattr(fake.Session, name)).parameters) == wanted
