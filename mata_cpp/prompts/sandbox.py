"""A jinja2 sandbox in which a template can neither run for ever nor fill the memory.

jinja2's own sandbox keeps a template away from Python.  Here every operation whose cost depends on what it is given
is also paid for, to the Meter of the rendering, before it is done; what has no price is refused.

Operators, calls and filters are paid for where jinja2 lets them be intercepted.  The rest (loops, joined texts,
comparisons, slices) is rewritten in the template's tree: each becomes a filter with a space in its name, which no
template can spell.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jinja2.ext
import jinja2.filters
import jinja2.sandbox
import jinja2.tests
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from . import prices
from .meter import CONTAINERS, STEP, Meter

MAX_NODES = 10_000
"""Of a template; the largest in the field have 1,300."""

MAX_BITS = 4096
"""Of a whole number."""

CALL = 10
"""Steps of a call, a filter or a turn of a loop beyond what it looks at: they take longer than other nodes."""

METER = " meter"
"""The variable that holds the Meter; no template can spell it."""

DATA: tuple[type, ...] = (str, bytes, int, float, complex, range, *CONTAINERS)

Function = Callable[..., Any]


class _Context(Context):
    """Knows the meter of its rendering."""

    def __init__(self, environment: jinja2.Environment, parent: dict[str, Any], *rest: Any, **options: Any) -> None:
        super().__init__(environment, parent, *rest, **options)
        self.meter: Meter = parent[METER]


class MeteredSandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, metered.  filters are put in place of jinja2's own, at their price.

    A template is made with compiled() and rendered with a Meter as the variable METER.
    """

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])
    context_class = _Context

    def __init__(self, filters: Mapping[str, Function]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            optimized=False,  # this, and a finalize that wants the context: nothing is computed while compiling
            finalize=_shown,
            extensions=[jinja2.ext.loopcontrols],
        )
        own = {**jinja2.filters.FILTERS, **filters}
        self.filters = {name: _filter(name, function) for name, function in own.items()} | _OPERATIONS
        tests: Mapping[str, Any] = jinja2.tests.TESTS
        self.tests = {name: _test(name, function) for name, function in tests.items()}
        del self.globals["lipsum"]

    def compiled(self, source: str) -> jinja2.Template:
        """Raises TemplateError, RecursionError."""
        tree = self.parse(source)
        if sum(1 for _ in tree.find_all(nodes.Node)) > MAX_NODES:
            raise SecurityError("it is absurdly long")
        _Rewriter().visit(tree)
        return self.from_string(tree)

    # What jinja2 calls -----------------------------------------------------------------------------

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        meter = _meter(context)
        if operator == "+" and type(left) is str and type(right) is str:  # most often
            meter.spend((len(left) + len(right)) // STEP)
            return left + right
        if operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            meter.spend(_length(left) + _length(right))
        elif operator == "*":
            for sequence, count in ((left, right), (right, left)):
                if isinstance(sequence, str | bytes | list | tuple) and isinstance(count, int):
                    meter.spend(_length(sequence) * count)
        elif operator == "**" and (abs(right) > 64 or abs(left) > 1 << 32):
            raise SecurityError("a power that large is not allowed")
        elif operator == "%" and isinstance(left, str | bytes):
            raise SecurityError("the % format is not allowed")
        return _checked(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: B902, N805
        if isinstance(__obj, Macro | LoopContext) or (__obj is Namespace and not args):
            return super().call(__context, __obj, *args, **kwargs)  # they look at nothing that they are given
        meter = _meter(__context)
        args = tuple(_all_of(meter, value) for value in args)
        given = {name: value for name, value in kwargs.items() if name not in ("_loop_vars", "_block_vars")}
        meter.walk(*args, *given.values())
        method = getattr(__obj, "__wrapped__", __obj)  # jinja2 wraps str.format
        owner = getattr(method, "__self__", None)
        if isinstance(owner, DATA):
            price = prices.method(owner, method.__name__)
            meter.spend(_length(owner) if isinstance(owner, str) else 1)
            meter.spend(price(meter, owner, *args, **given))
        return super().call(__context, __obj, *args, **kwargs)


# Filters and tests -------------------------------------------------------------------------------------


def _filter(name: str, function: Function) -> Function:
    """A filter that is paid for; one without a price is refused when it is used."""
    reach, price = prices.FILTERS.get(name, ("nothing", None))
    first = _first_argument(function)

    def filtered(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        if price is None:
            raise SecurityError(f"the filter {name} is not allowed")
        meter = _meter(context)
        meter.spend(CALL)
        meter.walk(*args, *kwargs.values())
        if reach == "items":
            value = _paid_items(meter, value)
        elif reach == "all":
            value = _all_of(meter, value)
            meter.walk(value)
        meter.spend(price(meter, value, *args, **kwargs))
        return _checked(function(*first(context), value, *args, **kwargs))

    return pass_context(filtered)


def _test(name: str, function: Function) -> Function:
    price: prices.Price = prices.TESTS.get(name, prices.free)
    first = _first_argument(function)

    def tested(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        meter = _meter(context)
        args = tuple(_all_of(meter, argument) for argument in args)
        meter.spend(CALL + price(meter, value, *args, **kwargs))
        return function(*first(context), value, *args, **kwargs)

    return pass_context(tested)


def _first_argument(function: Function) -> Callable[[Context], tuple[Any, ...]]:
    """What jinja2 passes in front of a filter's value."""
    kind = getattr(getattr(function, "jinja_pass_arg", None), "name", "")
    given: dict[str, Callable[[Context], tuple[Any, ...]]] = {
        "context": lambda context: (context,),
        "eval_context": lambda context: (context.eval_ctx,),
        "environment": lambda context: (context.environment,),
    }
    return given.get(kind, lambda context: ())


# What a template is rewritten to ---------------------------------------------------------------------------


@pass_context
def _shown(context: Context, value: Any) -> Any:
    """A value that is written out."""
    meter = _meter(context)
    if type(value) is str:
        meter.spend(len(value) // STEP)
    else:
        meter.walk(value)
    return value


@pass_context
def _tick(context: Context, value: Any, steps: int) -> Any:
    """value, in what is done again and again."""
    _meter(context).spend(steps)
    return value


@pass_context
def _concat(context: Context, *values: Any) -> str:
    """values[0] ~ values[1] ~ ..."""
    _meter(context).walk(*values)
    return "".join(map(str, values))


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda item, container: item in container,
    "notin": lambda item, container: item not in container,
}


@pass_context
def _compare(context: Context, left: Any, *rest: Any) -> Any:
    """left, operator, value, operator, value, ... as Python compares them."""
    meter, result = _meter(context), True
    for name, right in zip(rest[::2], rest[1::2], strict=True):
        if name.endswith("in"):
            right = _all_of(meter, right)
            meter.spend(prices.contain(meter, left, right))
        else:
            meter.spend(prices.compare(meter, left, right))
        result = _COMPARISONS[name](left, right)
        if not result:
            break
        left = right
    return result


@pass_context
def _cut(context: Context, value: Any, *bounds: Any) -> Any:
    """value[start:stop:step]"""
    if isinstance(value, str | bytes | list | tuple):
        _meter(context).spend(_length(value))
    return value[slice(*bounds)]


@pass_context
def _walked(context: Context, value: Any) -> Any:
    """A key, or arguments that come as *value or **value."""
    meter = _meter(context)
    value = _all_of(meter, value)
    meter.walk(value)
    return value


_OPERATIONS = {f" {function.__name__}": function for function in (_tick, _concat, _compare, _cut, _walked)}


class _Rewriter(NodeTransformer):
    """Puts these operations into a template's tree."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self._repeated(node)
        if node.test is not None:
            node.test = _operation(_tick, node.test, [nodes.Const(_size([node.test]))])
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._repeated(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._repeated(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:
        return self._repeated(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _operation(_concat, node.nodes[0], node.nodes[1:])

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        first, ops = node.expr, node.ops
        if (
            len(ops) == 1
            and not ops[0].op.endswith("in")
            and any(isinstance(x, nodes.Const) for x in (first, ops[0].expr))
        ):
            return node  # it looks at no more than is in the template
        return _operation(_compare, first, [x for op in ops for x in (nodes.Const(op.op), op.expr)])

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            bounds = (node.arg.start, node.arg.stop, node.arg.step)
            return _operation(_cut, node.node, [bound or nodes.Const(None) for bound in bounds])
        if not isinstance(node.arg, nodes.Const):
            node.arg = _operation(_walked, node.arg)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = _operation(_walked, node.key)
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        _checked(node.value)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        return self._with_arguments(node)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        return self._with_arguments(node)

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        return self._with_arguments(node)

    def _repeated(self, node: nodes.For | nodes.Macro | nodes.CallBlock | nodes.Block) -> nodes.Node:
        """With a body that is paid for each time."""
        size = _size(node.body)
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_operation(_tick, nodes.Const(True), [nodes.Const(size)])))
        return node

    def _with_arguments(self, node: nodes.Call | nodes.Filter | nodes.Test) -> nodes.Node:
        self.generic_visit(node)
        if node.dyn_args is not None:
            node.dyn_args = _operation(_walked, node.dyn_args)
        if node.dyn_kwargs is not None:
            node.dyn_kwargs = _operation(_walked, node.dyn_kwargs)
        return node


def _operation(function: Function, value: nodes.Node, arguments: Sequence[nodes.Node] = ()) -> nodes.Filter:
    return nodes.Filter(value, f" {function.__name__}", list(arguments), [], None, None, lineno=value.lineno)


def _size(body: Sequence[nodes.Node]) -> int:
    """Steps of what is done once: nodes, without those in the bodies of loops and macros, and literal text."""
    total, waiting = CALL, list(body)
    while waiting:
        node = waiting.pop()
        total += CALL if isinstance(node, nodes.Call | nodes.CallBlock) else 1
        if isinstance(node, nodes.TemplateData):
            total += len(node.data) // STEP
        repeated = isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock | nodes.Block)
        waiting += node.iter_child_nodes(exclude=("body", "test") if repeated else ())
    return total


# Help ------------------------------------------------------------------------------------------------------


def _meter(context: Context) -> Meter:
    assert isinstance(context, _Context)
    return context.meter


def _all_of(meter: Meter, value: Any) -> Any:
    """value; the items of an iterator, which are paid for."""
    return list(meter.each(value, deep=True)) if isinstance(value, Iterator) else value


def _paid_items(meter: Meter, value: Any) -> Any:
    """value, whose items are paid for."""
    if isinstance(value, Iterator):
        return meter.each(value, deep=False)
    if hasattr(value, "__len__"):
        meter.spend(len(value))
    return value


def _length(value: Any) -> int:
    """Steps that a copy of value takes."""
    return 1 + (len(value) // STEP if isinstance(value, str | bytes) else len(value))


def _checked(value: Any) -> Any:
    """value unless it is an absurdly large number."""
    if type(value) is int and value.bit_length() > MAX_BITS:
        raise SecurityError("a number that large is not allowed")
    return value
