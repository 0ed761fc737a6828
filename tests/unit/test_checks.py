"""Arguments of the wrong type: one line each, before the engine sees them."""

import itertools
import weakref

import numpy as np
import pytest

from mata_cpp import AudioChat, Mata, MataError

BAD_SAMPLING = [
    ("temperature", "1"),
    ("temperature", None),
    ("temperature", float("nan")),
    ("temperature", 1e300),
    ("top_k", 1.5),
    ("top_k", 1 << 40),
    ("top_p", [1]),
    ("min_p", True),
    ("repeat_penalty", "x"),
    ("frequency_penalty", {}),
    ("presence_penalty", 10**400),
    ("seed", 1.0),
    ("seed", -1),
    ("grammar", None),
    ("grammar", "\udc00"),
    ("stop", 5),
    ("stop", [None]),
    ("stop", b"x"),
    ("max_tokens", 0),
    ("max_tokens", "5"),
    ("max_tokens", 1 << 40),
]


def one_line(error):
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    return str(error.value)


@pytest.mark.parametrize(("name", "value"), BAD_SAMPLING)
def test_sampling(make_chat, clip, name, value):
    chat = make_chat()
    for talk in (chat.ask, chat.compare):
        with pytest.raises(ValueError, match=name) as error:
            talk(clip, "Q?", **{name: value})
        one_line(error)


def test_numpy_numbers_are_numbers(make_chat, clip):
    options = {"max_tokens": np.int64(2), "top_k": np.int32(3), "temperature": np.float32(0), "seed": np.uint8(1)}
    assert make_chat(n_ctx=np.int64(500), n_threads=np.int32(2)).ask(clip, "Q?", **options).text == "ra"


def test_an_unknown_option(make_chat, clip):
    with pytest.raises(TypeError, match=r"AudioChat.compare\(\) got an unexpected keyword argument 'heat'"):
        make_chat().compare(clip, "Q?", heat=1)


@pytest.mark.parametrize("options", [None, 5, ["a", None], ["a", "\udc00"], "ab", ["a"], ["a", b"b"]])
def test_choose(make_chat, clip, options):
    with pytest.raises(ValueError, match="option") as error:
        make_chat().choose(clip, "Q?", options)
    one_line(error)


BAD_LOADING = [
    {"system": 5},
    {"system": "\udc00"},
    {"model": 5},
    {"model": b"x"},
    {"mmproj": 5},
    {"lora": 5},
    {"lora": [5]},
    {"lora": [(5, 1.0)]},
    {"lora": ("a", "b", "c")},
    {"lora": [("a", "much")]},
    {"cache_type": 5},
    {"cache_type": ("f16",)},
    {"cache_type": ("f16", None)},
    {"template_variables": 5},
    {"progress": 5},
    {"report": 5},
    {"n_ctx": 10**9},
    {"n_ctx": "4096"},
    {"n_threads": 1.5},
    {"seed": "x"},
]


@pytest.mark.parametrize("options", BAD_LOADING, ids=str)
def test_loading(fake_model, options):
    with pytest.raises((ValueError, MataError)) as error:
        AudioChat(**{"model": fake_model, **options})
    one_line(error)


@pytest.mark.parametrize(
    "parts", [5, None, [1.5], [[2**40]], [[-1]], "\udc00", ["a", "\udc00"], b"ab", [b"ab"], {1: 2}, [{1: 2}], [None]]
)
def test_feed(make_chat, parts):
    with make_chat().session() as session:
        with pytest.raises(ValueError, match="feed|token id") as error:
            session.feed(parts)
        one_line(error)
        assert session.n_past == 0


@pytest.mark.parametrize("n_past", [None, 1.0, "1", -1, 4, 2**40])
def test_truncate(make_chat, n_past):
    with make_chat().session() as session:
        session.feed("abc")
        with pytest.raises(ValueError, match="n_past must be a whole number from 0 to 3"):
            session.truncate(n_past)
        session.truncate(np.int64(2))
        assert session.n_past == 2


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": np.array([0.1])},
        {"alpha": "1"},
        {"alpha": 10**400},
        {"alpha": 100.5},
        {"alpha": -1e4},
        {"layers": range(10**12)},
        {"layers": range(-(10**30), 5)},
        {"layers": itertools.count()},
        {"layers": [0.5]},
    ],
    ids=str,
)
def test_mata(options):
    with pytest.raises(ValueError, match="alpha|layers") as error:
        Mata(**options)
    one_line(error)


def test_bounds_that_are_fine():
    assert Mata(100).alpha == 100 and Mata(np.float32(0.5)).alpha == 0.5
    assert Mata(layers=range(5, 0, -2)).resolve_layers(6) == (1, 3, 5)
    assert Mata(layers=range(0)).resolve_layers(6) == ()


def test_sequences_of_unreachable_sessions_come_back(make_chat):
    chat = make_chat({"n_seq_max": 3})
    first = chat.session()
    for _ in range(5):
        for make in (chat.session, first.fork):
            session = make()
            weakref.finalize(session, session.core.close)  # as the compiled one does
            session.itself = session
            del session
