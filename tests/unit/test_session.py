"""Plain sessions: fed exactly what one says."""

import numpy as np
import pytest

from mata_cpp import Audio, Mata


@pytest.fixture
def sound(make_tone):
    return Audio((make_tone(), 16000))


def test_feed(make_chat, sound):
    with make_chat().session() as session:
        session.feed(["ab<|im_end|>", [1, 2], np.array([3]), sound, "c"])
        assert session.core.items == [97, 98, 257, 1, 2, 3, None, None, None, None, None, 99]
        assert [tokens for tokens, _ in session.core.calls] == [[97, 98, 257, 1, 2, 3], [99]]
        assert session.n_past == 12 and session.audio_spans == [(6, 11)]
        assert session.logits().shape == (session.core.engine.n_vocab,)
        session.feed("d")
        session.feed([100, 101])
        session.feed([])
        session.feed("")
        assert session.n_past == 15
        session.feed(sound)
        assert session.audio_spans == [(6, 11), (15, 20)]
        with pytest.raises(ValueError):
            session.logits()


def test_mata_is_on_for_the_last_run(make_chat, sound):
    session = make_chat().session(mata=Mata(0.5, layers=[3]))
    session.feed(["a", sound, "b", sound, "c"])
    session.feed("d")
    session.step(5)
    assert [mata and mata[2] for _, mata in session.core.calls] == [None, None] + [((1, 6, 1.0), (7, 12, 1.0))] * 3
    session.mata = None
    session.feed("e")
    assert session.core.calls[-1][1] is None


def test_fork_redoes_the_last_token(make_chat, sound):
    session = make_chat().session()
    session.feed(["a", sound, "bc"])
    twin = session.fork(mata=Mata())
    assert twin.n_past == session.n_past == 8 and twin.audio_spans == session.audio_spans
    assert [tokens for tokens, _ in twin.core.calls] == [[99]] and twin.core.calls[0][1] is not None
    same = twin.fork()
    assert same.core.calls == [] and same.mata == Mata() and same.core.mata is not None
    off = twin.fork(mata=None)
    assert off.core.calls == [([99], None)]
    twin.close()
    assert twin.closed and repr(twin) == "Session(closed)" and not session.closed


def test_fork_where_memory_cannot_be_cut(make_chat, sound):
    session = make_chat({"can_cut": False}).session(mata=Mata())
    session.feed([sound, "x"])
    with pytest.raises(ValueError, match="fork before the last token, and feed it to both"):
        session.fork(mata=None)
    assert session.fork().mata == Mata()
    assert sum(not other.closed for other in session.core.engine.sessions) == 2


def test_truncate_forgets_clips(make_chat, sound):
    session = make_chat().session(mata=Mata())
    session.feed(["a", sound, "b", sound, "c"])
    session.truncate(7)
    assert session.audio_spans == [(1, 6)]
    session.feed("x")
    assert session.core.calls[-1][1][2] == ((1, 6, 1.0),)
    session.truncate(3)
    assert session.audio_spans == []
    session.feed("x")
    assert session.core.calls[-1][1] is None


def test_refusals(make_chat, sound):
    chat = make_chat()
    with pytest.raises(ValueError, match="Mata"):
        chat.session(mata=1)
    with pytest.raises(ValueError, match="layers"):
        chat.session(mata=Mata(layers=[30]))
    session = chat.session(mata=Mata(focus=(5, 6)))
    with pytest.raises(ValueError, match="focus"):
        session.feed([sound, "x"])
    assert session.n_past == 0
    for parts in ([1.5], [[1.5]], [None], 5, [True]):
        with pytest.raises((ValueError, TypeError)):
            session.feed(parts)


def test_sessions_live_side_by_side(make_chat, sound):
    chat = make_chat()
    sessions = [chat.session() for _ in range(3)]
    for session in sessions:
        session.feed([sound, "x"])
    assert chat.engine.encoded == 1
    assert chat.ask(sound, "What?").text == "rain"
