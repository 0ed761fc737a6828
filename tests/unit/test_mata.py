"""The setting: layers, windows, refusals."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from mata_cpp import Mata, MataError
from mata_cpp.mata import Boost, auto_layers, boost_of, format_layers, parse_focus, parse_layers


def engine(n_layer, attention_layers=None, refusal=""):
    layers = list(range(n_layer)) if attention_layers is None else attention_layers
    return SimpleNamespace(n_layer=n_layer, attention_layers=layers, mata_refusal=refusal)


def clip(start, end, seconds, heard=None):
    return SimpleNamespace(span=(start, end), seconds=seconds, heard_seconds=heard or seconds)


@pytest.mark.parametrize(
    ("n_layer", "first", "last"),
    [(28, 10, 20), (30, 10, 21), (32, 11, 23), (16, 5, 11), (18, 6, 13), (4, 1, 3), (2, 0, 1), (1, 0, 1)],
)
def test_auto_is_the_middle_third(n_layer, first, last):
    assert auto_layers(n_layer) == range(first, last)
    assert Mata().resolve_layers(n_layer) == tuple(range(first, last))


def test_auto_is_never_empty():
    assert all(len(auto_layers(n)) for n in range(1, 200))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("10:20", range(10, 20)),
        ("10:", range(10, 28)),
        (":3", range(3)),
        (":", range(28)),
        ("-3:", range(25, 28)),
        (" 2 : 4 ", range(2, 4)),
        (range(10, 20), range(10, 20)),
        (range(0, 28, 9), (0, 9, 18, 27)),
        ([3, 1, 3], (1, 3)),
        ((-1,), (27,)),
        (5, (5,)),
        (np.arange(2, 4), (2, 3)),
        ({7}, (7,)),
        ([], ()),
    ],
)
def test_layers(layers, expected):
    mata = Mata(layers=layers)
    assert mata.resolve_layers(28) == tuple(expected)
    hash(mata)


@pytest.mark.parametrize("layers", ["10:29", "0:40", "-40:3", "20:10", "5:5", [28], range(20, 30), -29, [0, 99]])
def test_layers_out_of_range_name_the_model(layers):
    with pytest.raises(ValueError, match=r"layers 0 to 27"):
        Mata(layers=layers).resolve_layers(28)


@pytest.mark.parametrize("layers", ["", "all", "1:2:3", "a:b", "5", None, 1.5, [1.5], [True], True, ["1"], b"1:2"])
def test_layers_that_fit_no_model(layers):
    if layers == b"1:2":  # bytes are a sequence of numbers, and far out of range
        with pytest.raises(ValueError):
            Mata(layers=layers).resolve_layers(28)
        return
    with pytest.raises(ValueError, match="layers must be"):
        Mata(layers=layers)


@pytest.mark.parametrize("alpha", [math.nan, math.inf, "0.1", None, True, 1j])
def test_alpha_must_be_a_number(alpha):
    with pytest.raises(ValueError, match="alpha"):
        Mata(alpha=alpha)


def test_alpha_may_be_negative_or_zero():
    assert boost_of(engine(4), Mata(-0.5)).alphas == [0.0, -0.5, -0.5, 0.0]
    assert Mata(0).alpha == 0.0
    assert Mata(np.float32(0.5)).alpha == 0.5


@pytest.mark.parametrize("mata", [None, Mata(0), Mata(layers=range(0)), Mata(0, layers=[])])
def test_off(mata):
    assert boost_of(engine(28), mata) is None
    assert boost_of(engine(28, refusal="no attention"), mata) is None


def test_boost():
    boost = boost_of(engine(28), Mata(0.2))
    assert boost == Boost(Mata(0.2), tuple(range(10, 20)), 28)
    assert [layer for layer, alpha in enumerate(boost.alphas) if alpha == 0.2] == list(range(10, 20))


def test_boost_is_refused_where_mata_cannot_work():
    with pytest.raises(MataError, match=r"MATA cannot work here: no attention; use mata=None \(--no-mata\)"):
        boost_of(engine(28, refusal="no attention"), Mata())
    for refusal in ("no attention", ""):
        with pytest.raises(MataError, match="MATA cannot work here: no"):
            boost_of(engine(28, [], refusal), Mata())
    with pytest.raises(ValueError, match="layers 0 to 27"):
        boost_of(engine(28), Mata(0, layers=[28]))
    with pytest.raises(ValueError, match="must be a Mata"):
        boost_of(engine(28), 0.1)


# Models whose layers are of two kinds ------------------------------------------------------------

HYBRID = range(3, 36, 4)
"""Layers 3, 7, ... 35 of 36 have attention."""


def test_auto_is_the_middle_third_of_the_layers_with_attention():
    assert Mata().resolve_layers(36, HYBRID) == (15, 19, 23)
    assert boost_of(engine(36, list(HYBRID)), Mata()).layers == (15, 19, 23)


def test_a_slice_leaves_out_layers_without_attention():
    assert Mata(layers="10:20").resolve_layers(36, HYBRID) == (11, 15, 19)
    with pytest.raises(ValueError, match="layers 8:11 of this model have no attention"):
        Mata(layers="8:11").resolve_layers(36, HYBRID)


def test_a_named_layer_without_attention_is_refused():
    assert Mata(layers=[-1, 7]).resolve_layers(36, HYBRID) == (7, 35)
    with pytest.raises(ValueError, match="layer 8 of this model has no attention"):
        Mata(layers=[7, 8]).resolve_layers(36, HYBRID)


def test_mode():
    with pytest.raises(ValueError, match="scale, abs, add"):
        Mata(mode="mul")


def test_is_frozen_and_equal_by_value():
    assert Mata(layers=[1, 2]) == Mata(layers=(1, 2))
    with pytest.raises(AttributeError):
        Mata().alpha = 1


def test_spans():
    clips = [clip(10, 35, 5.0), clip(40, 50, 2.0)]
    assert Mata().spans(clips) == [(10, 35, 1.0), (40, 50, 1.0)]
    assert Mata().spans([]) == []
    assert Mata(focus=(1, 2)).spans(clips) == [(15, 20, 1.0), (45, 50, 1.0)]
    assert Mata(focus=(3, 100)).spans(clips) == [(25, 35, 1.0)]
    assert Mata(focus=(0, math.inf)).spans(clips) == [(10, 35, 1.0), (40, 50, 1.0)]
    assert Mata(focus=(0.31, 0.32)).spans(clips[:1]) == [(11, 12, 1.0)]
    assert Mata(focus=(4.999, 5.5)).spans(clips[:1]) == [(34, 35, 1.0)]


def test_silence_after_a_short_clip_is_not_its_sound():
    short = clip(10, 20, 0.5, heard=1.0)
    assert Mata(focus=(0.1, 5)).spans([short]) == [(11, 15, 1.0)]
    assert Mata().spans([short]) == [(10, 20, 1.0)]
    with pytest.raises(ValueError, match=r"is heard up to 0.50 s"):
        Mata(focus=(0.6, 0.8)).spans([short])


def test_focus_behind_the_clip():
    with pytest.raises(ValueError, match=r"focus 5:6 s holds no audio: the clip is heard up to 5.00 s"):
        Mata(focus=(5, 6)).spans([clip(0, 25, 5.0)])
    with pytest.raises(ValueError, match=r"longest clip is heard up to 5.00 s"):
        Mata(focus=(5, 6)).check_focus([5.0, 2.0])


@pytest.mark.parametrize(
    "focus", [(2, 1), (1, 1), (-1, 2), (math.nan, 1), (0, math.nan), (1,), 5, "1:2:3", (math.inf, math.inf)]
)
def test_bad_focus(focus):
    with pytest.raises(ValueError, match="focus must be"):
        Mata(focus=focus)


def test_texts():
    assert boost_of(engine(30), Mata()).describe() == "alpha 0.1, layers 10:21 of 30, mode scale"
    focused = boost_of(engine(4), Mata(0.25, [1, 3], "abs", (1, 2.5)))
    assert focused.describe() == "alpha 0.25, layers 1,3 of 4, mode abs, focus 1:2.5 s"
    assert format_layers([]) == "none"


def test_to_dict():
    assert Mata(layers=range(2), focus=(0, 1)).to_dict() == {
        "alpha": 0.1,
        "layers": [0, 1],
        "mode": "scale",
        "focus": [0.0, 1.0],
    }
    assert Mata(focus=(0, math.inf)).to_dict()["focus"] == [0.0, None]
    assert Mata().to_dict()["layers"] == "auto"


def test_parsing():
    assert parse_focus("3.2:7.5") == (3.2, 7.5)
    assert parse_focus(":2") == (0.0, 2.0)
    assert parse_focus("2:") == (2.0, math.inf)
    for text in ("", "3", "a:b", "5:2", "nan:1"):
        with pytest.raises(ValueError, match="focus must be"):
            parse_focus(text)
    assert parse_layers("auto") == "auto" and parse_layers("3,7") == (3, 7) and parse_layers("10:20") == "10:20"
    assert parse_layers("5") == (5,)
    with pytest.raises(ValueError, match="layers must be"):
        parse_layers("middle")
