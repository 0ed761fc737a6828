"""Where an answer listened: groups, rows and clips on the stand-in, whose weights can be written down."""

import json

import numpy as np
import pytest

from mata_cpp import Attention, Audio, Mata, MataError, Reading
from mata_cpp.readout.record import GROUPS

QUESTION = "What sound is this?"
BEFORE = len("<|im_start|>system\nBe nice<|im_end|>\n<|im_start|>user\n") - len("<|im_start|>" * 2 + "<|im_end|>") + 3
"""Tokens before the clip: a character each, and three special ones."""


def positions(answer, group):
    """How many positions each row sees in a group, told from the weights of layer 0, head 0: 1 for each."""
    attention = answer.attention
    heads = attention.heads_before[:, 0, 0]
    return np.rint(heads[:, GROUPS.index(group)] * row_lengths(answer)).astype(int).tolist()


def row_lengths(answer):
    """Positions that each row sees: the prompt, and the tokens before the predicted one."""
    return answer.usage.prompt_tokens + np.arange(len(answer.attention.tokens))


ALL = Reading(heads=True)


def test_not_asked_for(make_chat, clip):
    chat = make_chat()
    answer = chat.ask(clip, QUESTION)
    assert answer.attention is None and "attention" not in answer.to_dict()
    assert chat._conversation.session.core.reading is None


def test_shapes_and_sums(make_chat, clip):
    attention = make_chat().ask(clip, QUESTION, attention=True).attention
    assert attention.tokens == ["r", "a", "i", "n"]
    assert attention.layers == tuple(range(30)) and attention.boosted == tuple(range(10, 21))
    assert attention.averaged == tuple(range(20, 30))
    assert attention.before.shape == attention.after.shape == (4, 30, 5)
    assert attention.heads_before is None and attention.groups == GROUPS
    for shares in (attention.before, attention.after):
        np.testing.assert_allclose(shares.sum(axis=-1), 1.0, atol=1e-6)
    assert (attention.share("audio") >= attention.share("audio", boosted=False)).all()
    inside = list(attention.boosted)
    assert (attention.share()[:, inside] > attention.share(boosted=False)[:, inside]).all()
    np.testing.assert_allclose(attention.by_layer(), attention.after.mean(axis=0))
    assert repr(attention) == "Attention(4 tokens, 30 layers, 1 clip(s))"
    with pytest.raises(ValueError, match="group must be one of audio, system"):
        attention.share("video")


def test_each_position_belongs_to_one_group(make_chat, clip):
    answer = make_chat().ask(clip, QUESTION, attention=ALL)
    assert positions(answer, "audio") == [5] * 4
    assert positions(answer, "system") == [BEFORE] * 4
    assert positions(answer, "instruction") == [answer.usage.prompt_tokens - BEFORE - 5] * 4
    assert positions(answer, "earlier") == [0] * 4
    assert positions(answer, "generated") == [0, 1, 2, 3]


def test_without_a_system_message_the_first_marker_is_the_systems(make_chat, clip):
    template = "{% for m in messages %}<|im_start|>{{ m['role'] }}:{{ m['content'] }}{% endfor %}"
    template += "{{ '<|im_start|>assistant\\n' }}"
    answer = make_chat({"chat_template": template, "add_bos": True}).ask(clip, QUESTION, attention=ALL)
    assert positions(answer, "system")[0] == 1 + len("Xuser:")


def test_earlier_turns(make_chat, clip, make_tone):
    chat = make_chat()
    first = chat.ask(clip, QUESTION, attention=ALL)
    second = chat.ask("And?", attention=ALL)
    assert positions(second, "audio")[0] == 5 and positions(second, "system")[0] == BEFORE
    turn = len("And?") + len("X\nXassistant\n")
    assert positions(second, "instruction")[0] == turn
    assert positions(second, "earlier")[0] == second.usage.prompt_tokens - 5 - BEFORE - turn
    assert positions(second, "generated") == [0, 1, 2, 3]
    assert len(first.attention.clips) == len(second.attention.clips) == 1
    third = chat.ask((make_tone(2.0), 16000), "Again?", attention=ALL)
    assert positions(third, "audio")[0] == 15 and [len(c.edges) for c in third.attention.clips] == [6, 11]
    assert positions(third, "instruction")[0] == len("\nAgain?") + len("X\nXassistant\n")
    np.testing.assert_allclose(third.attention.heads_after.sum(axis=-1), 1.0, atol=1e-6)


def test_the_same_question_again_reads_the_same(make_chat, clip):
    chat = make_chat()
    records = []
    for _ in range(2):
        chat.choose(clip, QUESTION, ["a", "b"])
        records.append(chat.ask(clip, QUESTION, attention=True).attention)
        chat.reset()
    assert np.array_equal(records[0].after, records[1].after)


def test_time(make_chat, clip, make_tone):
    chat = make_chat()
    long = Audio((make_tone(2.0), 16000), name="long")
    attention = chat.ask([clip, long], QUESTION, attention=True).attention
    one, two = attention.clips
    assert (one.name, two.name) == (str(clip), "long")
    assert one.edges == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0]) and two.edges[-1] == two.heard_seconds == 2.0
    assert one.after.shape == (4, 5) and two.before.shape == (4, 10)
    inside = list(attention.averaged)
    total = one.after.sum(axis=1) + two.after.sum(axis=1)
    np.testing.assert_allclose(total, attention.share()[:, inside].mean(axis=1), rtol=1e-5)
    assert one.peak(0) == pytest.approx(0.1)


def test_layers_and_heads(make_chat, clip):
    chat = make_chat()
    attention = chat.ask(clip, QUESTION, attention=Reading("3:6", heads=True)).attention
    assert attention.layers == (3, 4, 5) and attention.boosted == () and attention.averaged == (3, 4, 5)
    assert attention.heads_after.shape == (4, 3, 4, 5)
    np.testing.assert_allclose(attention.heads_after.mean(axis=2), attention.after, atol=1e-6)
    attention = chat.ask(clip, QUESTION, attention=Reading([12, 2], average=2)).attention
    assert attention.layers == (2, 12) and attention.boosted == (12,) and attention.averaged == (2,)
    attention = chat.ask(clip, QUESTION, attention=Reading("5:21")).attention
    assert attention.averaged == (20,)


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        ("yes", "attention must be True, False or a Reading, not 'yes'"),
        (Reading(30), "layer 30 does not exist: this model has layers 0 to 29"),
        (Reading("3:6", average=9), "layer 9 is to be averaged but is not among the layers that are read"),
        (Reading([0, 2]), "layer 0 of this model has no attention"),
    ],
)
def test_what_cannot_be_read(make_chat, clip, attention, message):
    chat = make_chat({"attention_layers": list(range(1, 30))})
    with pytest.raises(ValueError) as error:
        chat.ask(clip, QUESTION, attention=attention)
    assert str(error.value) == message
    assert chat.ask(clip, QUESTION, attention=True).attention.layers == tuple(range(1, 30))


def test_bad_readings():
    for bad in ({"layers": "x"}, {"average": "1-2"}, {"heads": 1}):
        with pytest.raises(ValueError):
            Reading(**bad)


def test_refused(make_chat, clip):
    chat = make_chat({"mata_refusal": "MATA needs a model with an ordinary attention cache"}, mata=None)
    with pytest.raises(MataError) as error:
        chat.ask(clip, QUESTION, attention=True)
    assert str(error.value) == (
        "attention cannot be read here: the attention report needs a model with an ordinary attention cache"
    )
    assert chat.ask(clip, QUESTION).text == "rain"


def test_length_stop_and_cancel(make_chat, clip):
    chat = make_chat({"script": lambda p, m: "a long answer " * 20})
    assert chat.ask(clip, QUESTION, max_tokens=3, attention=True).attention.tokens == ["a", " ", "l"]
    cut = chat.ask(clip, QUESTION, stop="ng", attention=True)
    assert cut.text == "a lo" and "".join(cut.attention.tokens) == "a long"
    pieces = []
    for piece in chat.stream(clip, QUESTION, attention=True):
        pieces.append(piece)
        if len(pieces) == 3:
            chat.cancel()
    answer = pieces[-1].answer
    assert answer.finish_reason == "cancelled"
    assert "".join(answer.attention.tokens) == answer.text == "a l" and len(answer.attention.after) == 3
    assert chat._conversation.session.core.reading is None


def test_an_empty_answer(make_chat, clip):
    attention = make_chat({"script": lambda p, m: ""}).ask(clip, QUESTION, attention=ALL).attention
    assert (
        attention.tokens == [] and attention.after.shape == (0, 30, 5) and attention.heads_after.shape == (0, 30, 4, 5)
    )
    assert attention.clips[0].after.shape == (0, 5) and np.isnan(attention.by_layer()).all()
    json.dumps(attention.to_dict())


@pytest.mark.parametrize("can_cut", [True, False])
def test_compare(make_chat, clip, can_cut):
    chat = make_chat({"script": lambda p, mata: "loud" if mata else "so", "can_cut": can_cut})
    on, off = chat.compare(clip, QUESTION, attention=True)
    assert (len(on.attention.tokens), len(off.attention.tokens)) == (4, 2) and chat.engine.encoded == 1
    assert off.attention.boosted == () and np.array_equal(off.attention.before, off.attention.after)
    assert on.attention.averaged == off.attention.averaged
    np.testing.assert_allclose(on.attention.before[:2], off.attention.after, atol=1e-6)
    assert all(session.reading is None or session.closed for session in chat.engine.sessions)


def test_choose(make_chat, clip):
    chat = make_chat({"script": lambda p, m: "dog"})
    choice = chat.choose(clip, "Which?", ["cat", "dogs"], attention=True, listed=False)
    assert [a.tokens for a in choice.attention] == [list("cat"), list("dogs")]
    said = chat.ask(clip, "Which?", attention=True).attention
    np.testing.assert_allclose(choice.attention[1].after[:3], said.after, atol=1e-6)
    np.testing.assert_allclose(choice.attention[1].after.sum(axis=-1), 1.0, atol=1e-6)
    assert len(choice.to_dict()["attention"]) == 2
    assert chat.choose(clip, "Which?", ["a", "b"]).attention is None


def test_to_dict_and_save(make_chat, clip, tmp_path):
    answer = make_chat().ask(clip, QUESTION, attention=ALL)
    record = answer.to_dict()["attention"]
    assert json.loads(str(answer.attention)) == record
    assert np.array(record["after"]).shape == (4, 30, 5) and np.array(record["clips"][0]["after"]).shape == (4, 5)
    path = answer.attention.save(tmp_path / "map")
    assert path == tmp_path / "map.npz"
    with np.load(path, allow_pickle=False) as data:
        assert data["tokens"].tolist() == ["r", "a", "i", "n"] and data["clip_names"].tolist() == [str(clip)]
        assert np.array_equal(data["heads_after"], answer.attention.heads_after)
        assert np.array_equal(data["clip0_before"], answer.attention.clips[0].before)
    with pytest.raises(MataError, match="cannot write"):
        answer.attention.save(tmp_path / "no" / "map.npz")
    assert isinstance(answer.attention, Attention)


def test_sessions(make_chat, make_tone):
    sound = Audio((make_tone(), 16000))
    with make_chat().session(mata=Mata(0.5, layers=[3])) as session:
        session.read_attention("2:4")
        session.feed(["a", sound, "bc"])
        weights = session.attention()
        assert list(weights) == [2, 3] and weights[2][0].shape == (1, 4, 8)
        assert np.array_equal(*weights[2]) and not np.array_equal(*weights[3])
        off = session.fork(mata=None)
        assert np.array_equal(*off.attention()[3])
        session.read_attention(None)
        session.step(5)
        assert session.attention() == {} and session.fork().attention() == {}
        with pytest.raises(ValueError, match="layer 30"):
            session.read_attention(30)


def test_padded_windows_are_heard(make_chat, clip):
    """Voxtral hears each clip filled up to 30 s."""
    answer = make_chat({"padded_samples": 30 * 16000}).ask(clip, QUESTION, attention=True)
    assert answer.audio[0].heard_seconds == 30.0 and answer.attention.clips[0].edges[-1] == 30.0
