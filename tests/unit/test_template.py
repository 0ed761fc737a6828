"""Chat templates that would run for ever or fill the memory end soon; all others are rendered as jinja2 does."""

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

import jinja2.filters
import jinja2.sandbox
import pytest

from mata_cpp import CancelledError, ModelError
from mata_cpp.prompts import prices, template
from mata_cpp.prompts.template import ChatTemplate

MESSAGES = [
    {"role": "system", "content": "Be <nice>."},
    {"role": "user", "content": " What is it?\n"},
    {"role": "assistant", "content": "<think>rain</think>\n\nRain."},
]
BIG = "{% for i in range(99999) %}"
END = "{% endfor %}"
KEPT = "{% set ns = namespace(x='ab' * 30, y=[1], z=()) %}"
DOUBLED = (
    KEPT
    + "{% set other = namespace(z=()) %}{% for i in range(40) %}{% set ns.z = (ns.z, ns.z) %}"
    + ("{% set other.z = (other.z, other.z) %}{% endfor %}")
)
"""Tuples of two that look like 2**40 of them."""


@contextmanager
def a_limit_of(seconds, gigabytes):
    """Stops what takes longer, and denies it more memory, where the system can."""
    if sys.platform != "linux":
        yield
        return
    import resource

    def stop(*_):
        raise TimeoutError

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + int(gigabytes * (1 << 30)), hard))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


LONG = {
    "loops in loops": BIG * 5 + END * 5,
    "loops over text": "{% for c in messages[1].content * 99 %}" * 9 + END * 9,
    "loops that select nothing": BIG + "{% for j in range(99999) if j is none %}{% endfor %}" + END,
    "loops that call themselves": "{% for i in range(99) recursive %}{% if loop.depth < 40 %}{{ loop(range(99)) }}"
    "{% endif %}{% endfor %}",
    "macros that call themselves": "{% macro f(n) %}{% for i in range(9) %}{{ f(n - 1) if n else '' }}{% endfor %}"
    "{% endmacro %}{{ f(30) }}",
    "callers": "{% macro f() %}{% for i in range(99) %}{{ caller() }}{% endfor %}{% endmacro %}"
    + "{% call f() %}" * 10
    + "{% endcall %}" * 10,
    "blocks": "{% block a %}{% for i in range(99) %}{{ self.b() }}{% endfor %}{% endblock %}{% block b %}"
    "{% for i in range(99) %}{{ self.c() }}{% endfor %}{% endblock %}{% block c %}{% for i in range(999) %}x"
    "{% endfor %}{% endblock %}",
    "counting": "{% set c = cycler(1, 2) %}" + BIG * 3 + "{{ c.next() }}" + END * 3,
    "range to list": BIG + "{% set x = range(99999) | list %}" + END,
    "range in filters": "{{ range(99999)" + " | map('string')" * 60 + " | list | length }}",
    "a selection of nothing": "{% set l = [0] * 99999 %}" + BIG + "{{ l | select | first }}" + END,
    "a test of nothing": "{% set l = [0] * 99999 %}" + BIG + "{{ l | select('none') | first }}" + END,
    "a search in a list": "{% set l = range(9999) | list %}" + BIG + "{% if 'a' in l %}{% endif %}" + END,
    "a search in a range": BIG + "{% if 'a' not in range(99999) %}{% endif %}" + END,
    "a search in text": "{% set s = 'a' * 999999 %}" + BIG + "{% if 'b' in s %}{% endif %}" + END,
    "comparisons": "{% set s, t = 'a' * 999999, 'a' * 999999 %}" + BIG + "{% if s == t %}{% endif %}" + END,
    "slices": "{% set s = [1] * 99999 %}" + BIG + "{% set x = s[1:] %}" + END,
    "the rest of a loop": "{% set l = [0] * 9999 %}"
    + BIG
    + "{% for x in l %}{% set y = loop | list %}{% endfor %}"
    + END,
    "the length of a loop": "{% for i in [1] | slice(9999999999) %}{{ loop.length }}{% endfor %}",
    "arguments": "{% macro f() %}{{ varargs | length }}{% endmacro %}{% set l = [0] * 9999 %}"
    + BIG
    + "{{ f(*l) }}"
    + END,
    "sorting": BIG + "{{ range(9999) | sort(reverse=true) | first }}" + END,
    "a test in a list": "{% set t = range(9999) | list %}"
    + BIG
    + "{{ t is in(([range(9999) | list] * 99) | reverse) }}"
    + END,
    "stripping": BIG + "{{ ('a' * 9999).strip('b' * 9999 + 'a') }}" + END,
    "searching from the end": BIG + "{{ ('a' * 9999).rfind('b' + 'a' * 5000) }}" + END,
    "a path of attributes": "{{ range(99999) | map(attribute='a.' * 50000) | list }}",
}

LARGE = {
    "~": KEPT + BIG + "{% set ns.x = ns.x ~ ns.x %}" + END,
    "+ of texts": KEPT + BIG + "{% set ns.x = ns.x + ns.x %}" + END,
    "+ of lists": KEPT + BIG + "{% set ns.y = ns.y + ns.y %}" + END,
    "+ of marked text": KEPT + BIG + "{% set ns.x = (ns.x + ns.x) | safe %}" + END,
    "* of texts": "{{ 'a' * 20000000000 }}",
    "* of lists": "{{ [1] * 20000000000 }}",
    "* of numbers": "{% set ns = namespace(x=9) %}" + BIG + "{% set ns.x = ns.x * ns.x %}" + END,
    "**": "{{ 10 ** 10 ** 10 }}",
    "set": KEPT + BIG + "{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}" + END,
    "a filtered block": KEPT
    + BIG
    + "{% set ns.x %}{% filter replace('a', 'bb') %}{{ ns.x }}a{% endfilter %}{% endset %}"
    "{% set ns.x = ns.x | replace('b', 'aa') %}" + END,
    "ljust": "{{ 'a'.ljust(20000000000) }}",
    "zfill": "{{ 'a'.zfill(20000000000) }}",
    "center": "{{ 'a' | center(20000000000) }}",
    "center by map": "{{ ['a'] | map('center', 20000000000) | list }}",
    "format": "{{ '{:>20000000000}'.format('a') }}",
    "format by argument": "{{ '{:{}}'.format('a', 20000000000) }}",
    "format by name": "{{ '{:>{w}}'.format('a', w=20000000000) }}",
    "format again and again": "{{ ('{_a}' * 9999).format(_a='a' * 999999) }}",
    "format_map": "{{ '{a:>20000000000}'.format_map({'a': 1}) }}",
    "format found by a filter": "{{ (['{:>20000000000}'] | map(attribute='format') | first)('a') }}",
    "% format": "{{ '%20000000000d' % 1 }}",
    "% format as a filter": "{{ '%20000000000d' | format(1) }}",
    "% format by argument": "{{ '%*d' | format(20000000000, 1) }}",
    "% format as a test": "{{ '%20000000000d' is odd }}",
    "% format as a selection": "{{ ['%20000000000d'] | select('divisibleby', 1) | list }}",
    "lipsum": "{{ lipsum(n=10000000) }}",
    "tojson": "{{ [[1]] | tojson(indent=2000000000) }}",
    "tojson by text": "{{ [[1]] | tojson(indent='a' * 999999) }}",
    "tojson by separator": "{{ range(9999) | list | tojson(separators=('a' * 99999, 'b')) }}",
    "tojson at depth": "{{ ([" + "[" * 50 + "1" + "]" * 50 + "] * 9999) | tojson(indent=32) }}",
    "slice": "{{ [1] | slice(20000000000) | list }}",
    "batch": "{{ [1] | batch(20000000000, 'x') | list }}",
    "batch by name": "{{ [1] | batch(linecount=20000000000, fill_with='x') | list }}",
    "encode": "{{ 'a'.encode() * 20000000000 }}",
    "replace": "{{ ('a' * 999999) | replace('a', 'b' * 999999) }}",
    "replace of nothing": "{{ ('a' * 999999).replace('', 'b' * 999999) }}",
    "join": "{{ range(99999) | join('b' * 999999) }}",
    "join of a generator": "{{ range(99999) | map('string') | join('b' * 999999) }}",
    "join of the same": "{{ (['b' * 999999] * 99999) | select | join }}",
    "join backwards": "{{ (['b' * 999999] * 99999) | reverse | join }}",
    "join as a method": "{{ ('b' * 999999).join([''] * 99999) }}",
    "join as a method of a generator": "{{ ''.join((['b' * 999999] * 99999) | select) }}",
    "indent": "{{ ('\\n' * 99999) | indent(1000000) }}",
    "indent by text": "{{ ('a\\n' * 99999) | indent(width='x' * 999999) }}",
    "expandtabs": "{{ '\\t'.expandtabs(2000000000) }}",
    "translate": "{{ 'aaa'.translate({97: 'b' * 99999999}) }}",
    "to_bytes": "{{ (1).to_bytes(20000000000, 'big') }}",
    "round": "{{ 1 | round(1000000000, 'ceil') }}",
    "int": "{{ ('f' * 999999) | int(base=16) }}",
    "strftime_now": BIG + "{{ strftime_now('%c' * 99999) }}" + END,
    "a list in itself": DOUBLED + "{{ ns.z }}",
    "a list in itself, joined": DOUBLED + "{{ (ns.z ~ '') | length }}",
    "a list in itself, as a text": DOUBLED + "{{ ns.z | string | length }}",
    "a list in itself, compared": DOUBLED + "{{ ns.z == other.z }}",
    "a list in itself, tested": DOUBLED + "{{ [ns.z] | select('eq', other.z) | list }}",
    "a list in itself, found": DOUBLED + "{{ ns.z in [other.z] }}",
    "a list in itself, searched for": DOUBLED + "{{ [ns.z].index(other.z) }}",
    "a list in itself, as a key": DOUBLED + "{{ {ns.z: 1} }}",
    "a list in itself, looked up": DOUBLED + "{{ {}[ns.z] }}",
    "a list in itself, got": DOUBLED + "{{ {}.get(ns.z) }}",
    "a list in itself, in a dictionary": DOUBLED + "{{ dict([(ns.z, 1)]) }}",
    "a list in itself, in a namespace": DOUBLED + "{% set x = namespace([(ns.z, 1)]) %}",
    "a list in itself, unique": DOUBLED + "{{ [ns.z] | unique | list }}",
    "a list in itself, formatted": DOUBLED + "{{ '{}'.format(ns.z) }}",
    "a list in itself, raised": DOUBLED + "{{ raise_exception(ns.z) }}",
    "a list in itself, changed": DOUBLED
    + "{% for i in [0, 1] %}{{ loop.changed(ns.z if i else other.z) }}{% endfor %}",
    "a deep list as a key": KEPT + BIG + "{% set ns.z = (ns.z,) %}" + END + "{{ {ns.z: 1} }}",
    "a deep list": KEPT + "{% for i in range(200) %}{% set ns.z = (ns.z,) %}" + END + "{{ ns.z }}",
    "namespaces in namespaces": "{% set n0 = namespace() %}"
    + "".join(f"{{% set n{i + 1} = namespace(a=n{i}, b=n{i}) %}}" for i in range(40))
    + "{{ n40 }}",
}


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(template, "STEPS", 200_000)


@pytest.mark.parametrize("source", LONG.values(), ids=LONG)
def test_what_takes_long_is_stopped(source, few_steps):
    found = ChatTemplate(source)
    with a_limit_of(10, 1), pytest.raises(ModelError, match="takes too long|too large|absurdly long") as caught:
        found.render(MESSAGES)
    assert str(caught.value).startswith("the chat template of the model ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE)
def test_what_is_large_is_never_made(source, few_steps):
    found = ChatTemplate(source)  # nothing is computed yet, constants included
    with a_limit_of(10, 0.5), pytest.raises(ModelError) as caught:
        found.render(MESSAGES)
    assert "MemoryError" not in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith("the chat template of the model ") and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ a }}" * 9999, "is absurdly long (69,993 characters)"),
        ("{{a}}" * 12000, "fails: it is absurdly long"),
        ("{% if a %}" + "{% elif a %}" * 5000 + "{% endif %}", "fails: it is absurdly long"),
        ("{{ " + "(" * 30000 + ")" * 30000 + " }}", "calls itself too deeply"),
        ("{{ a" + "+a" * 30000 + " }}", "calls itself too deeply"),
        ("{{ " + "9" * 4000 + " }}", "a number that large is not allowed"),
    ],
)
def test_what_is_hard_to_compile(source, reason):
    with a_limit_of(20, 1), pytest.raises(ModelError) as caught:
        ChatTemplate(source)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_the_limit_itself_is_a_matter_of_seconds():
    found = ChatTemplate(LONG["counting"])
    with a_limit_of(20, 1), pytest.raises(ModelError) as caught:
        found.render(MESSAGES)
    assert str(caught.value) == "the chat template of the model takes too long; use another GGUF"


# Stopping -----------------------------------------------------------------------------------------------


class Later:
    """A Cancel that is set when it is looked at for the fifth time."""

    looks = 0

    @property
    def cancelled(self):
        self.looks += 1
        return self.looks >= 5


@pytest.fixture
def endless(monkeypatch):
    monkeypatch.setattr(template, "STEPS", 1 << 60)
    return BIG * 5 + END * 5


def test_cancel(endless):
    with a_limit_of(10, 1), pytest.raises(CancelledError):
        ChatTemplate(endless).render(MESSAGES, cancel=Later())


def test_an_interrupt(endless):
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with a_limit_of(10, 1), pytest.raises(KeyboardInterrupt):
        ChatTemplate(endless).render(MESSAGES)
    timer.join()


@pytest.mark.parametrize("method", ["ask", "choose", "compare", "attention"])
def test_a_question_is_cancelled_in_its_template(endless, method, make_chat, fake, clip):
    """Every way to the template has the request's Cancel."""

    class Soon(fake.Cancel):
        looks = 0

        @property
        def cancelled(self):
            self.looks += 1
            return self.looks >= 20

        @cancelled.setter
        def cancelled(self, value):
            pass

    chat = make_chat({"chat_template": endless})
    options = {"cancel": Soon()}
    with a_limit_of(10, 1):
        if method in ("ask", "attention"):
            answer = chat.ask(clip, "Q?", **options, attention=method == "attention")
            assert answer.finish_reason == "cancelled"
        else:
            arguments = (["a", "b"],) if method == "choose" else ()
            with pytest.raises(CancelledError):
                getattr(chat, method)(clip, "Q?", *arguments, **options)


def test_other_forms_of_the_messages_are_not_tried(make_chat, clip, monkeypatch):
    source = "{# <P> #}" + BIG * 2 + END * 2
    chat = make_chat({"chat_template": source})
    rendered = []
    render = ChatTemplate.render
    monkeypatch.setattr(ChatTemplate, "render", lambda self, *a, **k: rendered.append(1) or render(self, *a, **k))
    with pytest.raises(ModelError, match="takes too long"):
        chat.ask(clip, "Q?")
    assert len(rendered) == 1


def test_threads_share_a_template():
    good = ChatTemplate("{% for m in messages %}{{ m.content }}{% for i in range(2000) %}.{% endfor %}{% endfor %}")
    wanted = good.render(MESSAGES)
    found = []
    threads = [threading.Thread(target=lambda: found.append(good.render(MESSAGES))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 4


# What is usual ------------------------------------------------------------------------------------------

FILTERS = {
    "abs": "-3",
    "batch": "[1, 2, 3] | batch(2, 0) | list",
    "center": "'a' | center(5)",
    "default": "nothing | default('x')",
    "dictsort": "{'b': 1, 'a': 2} | dictsort",
    "first": "messages | map(attribute='role') | first",
    "float": "'1.5' | float",
    "format": "'%s: %03d' | format('a', 7)",
    "groupby": "messages | groupby('role') | map('first') | list",
    "indent": "'a\\nb' | indent(2, true)",
    "int": "'12' | int + 1",
    "items": "messages[0] | items | list",
    "join": "messages | join(', ', attribute='role')",
    "list": "'abc' | list",
    "map": "messages | map(attribute='content') | map('trim') | list",
    "max": "[1, 3, 2] | max",
    "min": "['b', 'a'] | min",
    "reject": "[0, 1] | reject | list",
    "rejectattr": "messages | rejectattr('role', 'equalto', 'user') | list",
    "replace": "messages[0].content | replace('nice', 'kind')",
    "reverse": "'abc' | reverse",
    "round": "2.567 | round(1)",
    "select": "[1, 2, 3] | select('odd') | list",
    "selectattr": "messages | selectattr('role', 'in', ['user', 'system']) | list | length",
    "slice": "[1, 2, 3] | slice(2) | list",
    "sort": "messages | sort(attribute='role', reverse=true)",
    "string": "[1, none, 2.5] | string",
    "sum": "[1, 2] | sum",
    "title": "'a nice day' | title",
    "tojson": "messages | tojson(indent=2)",
    "trim": "messages[1].content | trim",
    "truncate": "messages[2].content | truncate(9)",
    "unique": "['a', 'A', 'b'] | unique | list",
    "wordcount": "messages[0].content | wordcount",
}
SAME = {"count": "length", "d": "default", "e": "escape", "last": "first", "length": "length"}
METHODS = {
    "capitalize": "",
    "center": "9",
    "count": "'a'",
    "endswith": "'.'",
    "find": "'i'",
    "index": "'i'",
    "join": "['a', 'b']",
    "ljust": "9",
    "lstrip": "",
    "partition": "' '",
    "removeprefix": "'<'",
    "removesuffix": "'.'",
    "replace": "'i', 'ii'",
    "rfind": "'i'",
    "rindex": "'i'",
    "rjust": "20",
    "rpartition": "' '",
    "rsplit": "' ', 1",
    "rstrip": "'.n'",
    "split": "'i'",
    "splitlines": "",
    "startswith": "'<'",
    "strip": "",
    "title": "",
    "zfill": "9",
}
EXPRESSIONS = [
    *FILTERS.values(),
    *(f"'1 a.\\n' | {name}" for name in prices.FILTERS if name not in FILTERS and name != "random"),
    *(f"messages[0].content.{name}({arguments})" for name, arguments in METHODS.items()),
    *(f"messages[2].content.{name}()" for name in ("upper", "isalpha", "swapcase", "casefold", "isspace", "istitle")),
    "messages[2].content.split('</think>')[-1].lstrip('\\n')",
    "messages[0].get('name', 'x') ~ messages[0].keys() | list | length",
    "'{} {a:>4} {0[0]}'.format('ab', a=1)",
    "messages[0].items() | list ~ messages[::-1][0].role ~ messages[1:] | length",
    "[1] + [2, 3] + (messages | list)[:1]",
    "[1, 2, 1].count(1) ~ [1, 2].index(2)",
    "1 < 2 < 3, 1 == 1.0, 'a' < 'b' > 'c', 'x' not in 'abc', 'a' in {'a': 1}, 2 in range(5), [1] == [1]",
    "7 // 2, 7 % 4, 2 ** 8, 7 / 2, -3, +3, not true, 3 * 'ab', [0] * 2",
    "messages[0]['role'] if messages[0]['role'] is string else 'no'",
    "dict(a=1, b=[2]), namespace(a=5).a, joiner(',')(), cycler(1, 2).next()",
    "messages[0].nothing is defined, nothing is none, 3 is odd, 4 is divisibleby(2), 'a' is eq('a'), [] is iterable",
    "{'a': 1, (1, 2): 3}[(1, 2)], messages[-1]['role'], 'abc'[1], (1, 2)[0]",
    "nothing, nothing ~ 'x', nothing | length",
]
BLOCKS = [
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ loop.last }} {{ loop.revindex0 }}{% endfor %}",
    "{% for m in messages if m.role != 'user' %}{{ m.role }}{% else %}none{% endfor %}",
    "{% for m in messages if m.role == 'x' %}{{ m.role }}{% else %}none{% endfor %}",
    "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
    "{% for i in [1, [2, [3]]] recursive %}{{ loop.depth }}{{ loop(i) if i is not number else i }}{% endfor %}",
    "{% macro say(a, b='!') %}{{ a ~ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ say(1) }}{{ say(*[1, 2, 3], c=4) }}",
    "{% macro twice() %}{{ caller(1) }}{{ caller(2) }}{% endmacro %}{% call(n) twice() %}<{{ n }}>{% endcall %}",
    "{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s + m.content %}{% endfor %}{{ ns.s }}",
    "{% set x %}{{ messages[0].content }}{% endset %}{{ x | length }}{% set a, b = 'cd' %}{{ b }}",
    "{% filter upper %}{{ messages[0].content }}{% endfilter %}{% with a=1 %}{{ a }}{% endwith %}",
    "{% block a %}x{% endblock %}{{ self.a() }}{% raw %}{{ }}{% endraw %}{# no #}\n  {% if true %}\n yes\n{% endif %}",
]


def plain(source):
    """What jinja2's own sandbox makes of it."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = template._tojson
    return environment.from_string(source).render(messages=MESSAGES)


@pytest.mark.parametrize("source", [*("{{ " + text + " }}" for text in EXPRESSIONS), *BLOCKS])
def test_usual_templates_are_rendered_as_by_jinja2(source):
    assert ChatTemplate(source).render(MESSAGES) == plain(source)


def test_every_filter_has_a_price_or_is_refused():
    refused = {"attr", "filesizeformat", "pprint", "striptags", "urlencode", "urlize", "wordwrap", "xmlattr"}
    assert set(jinja2.filters.FILTERS) - set(prices.FILTERS) == refused
    for name in refused:
        with pytest.raises(ModelError, match=f"the filter {name} is not allowed"):
            ChatTemplate("{{ 'a' | " + name + " }}").render(MESSAGES)
        assert ChatTemplate("{% if false %}{{ 'a' | " + name + " }}{% endif %}x").render(MESSAGES) == "x"


def test_long_conversations_are_within_the_limit():
    source = (
        "{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}{% if m.role == 'user' %}{% set ns.n = loop.index %}"
        "{% endif %}{% endfor %}{% for m in messages %}{% set content = m.content.split('</think>')[-1] | trim %}"
        "{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('who?') }}{% endif %}"
        "{{ '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>\\n' }}{% endfor %}{{ ns.n }}"
    )
    said = [{"role": role, "content": "words and words " * 20} for role in ("user", "assistant")] * 1000
    for messages in (said, [{"role": "user", "content": "word " * 2_000_000}]):
        started = time.process_time()
        assert ChatTemplate(source).render(messages).count("<|im_start|>") == len(messages)
        assert time.process_time() - started < 2
