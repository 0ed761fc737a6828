"""AudioChat on the stand-in: turns, follow-ups, stops, choices."""

import threading
import time
import warnings

import numpy as np
import pytest

from mata_cpp import Audio, AudioChat, AudioError, CancelledError, ContextFullError, Mata, MataError, ModelError
from mata_cpp.decoding.plain import RepetitionWarning, split_at_stop

QUESTION = "What sound is this?"


def core(chat):
    """The stand-in's session behind the conversation."""
    return chat._conversation.session.core


def test_ask(make_chat, clip):
    chat = make_chat()
    answer = chat.ask(clip, QUESTION)
    assert (answer.text, answer.finish_reason, str(answer)) == ("rain", "stop", "rain")
    fact = answer.audio[0]
    assert (fact.seconds, fact.tokens, fact.span[1] - fact.span[0], fact.windows) == (1.0, 5, 5, 1)
    assert answer.usage.audio_tokens == 5 and answer.usage.completion_tokens == 4
    assert answer.usage.prompt_tokens == core(chat).n_past - 4
    assert answer.mata == Mata() and answer.layers == tuple(range(10, 21))
    assert answer.timings.first_token_s > 0 and answer.timings.load_s >= 0
    assert (
        core(chat).text().startswith("<|im_start|>system\nBe nice<|im_end|>\n<|im_start|>user\n[audio 5]\n" + QUESTION)
    )
    assert core(chat).text().endswith("<|im_start|>assistant\nrain")


def test_mata_is_on_for_the_predicting_rows_only(make_chat, clip):
    chat = make_chat(mata=Mata(0.2, focus=(0.4, 0.6)))
    start = chat.ask([clip, clip], QUESTION).audio[0].span[0]
    calls = core(chat).calls
    assert [mata is None for _, mata in calls] == [True, True] + [False] * (len(calls) - 2)
    mode, alpha, spans = calls[2][1]
    assert mode == "scale" and alpha[9:11] == (0.0, 0.2) and alpha[20:22] == (0.2, 0.0)
    assert spans == ((start + 2, start + 3, 1.0), (start + 8, start + 9, 1.0))


def test_off_never_touches_the_engine(make_chat, clip):
    for setting in (None, Mata(0)):
        chat = make_chat(mata=setting)
        chat.ask(clip, QUESTION)
        assert all(mata is None for _, mata in core(chat).calls)


def test_stream(make_chat, clip):
    chat = make_chat({"script": lambda prompt, mata: "Üben 🎹!"})
    pieces = list(chat.stream(clip, QUESTION))
    assert [str(piece) for piece in pieces] == ["Ü", "b", "e", "n", " ", "🎹", "!", ""]
    assert [piece.answer for piece in pieces[:-1]] == [None] * 7
    assert pieces[-1].answer.text == "Üben 🎹!"


def test_nothing_runs_until_iterated(make_chat, clip):
    chat = make_chat()
    stream = chat.stream(clip, QUESTION)
    assert chat.engine.encoded == 0
    next(stream)
    assert chat.engine.encoded == 1


def test_follow_up_feeds_only_what_is_new(make_chat, clip):
    chat = make_chat({"script": lambda prompt, mata: "dog" if "often" not in prompt else "twice"})
    chat.ask(clip, QUESTION)
    before = core(chat).n_past
    session = core(chat)
    assert chat.ask("How often?").text == "twice"
    assert core(chat) is session
    assert bytes(t for t in session.calls[-6][0] if t < 256) == b"\nuser\nHow often?\nassistant\n"
    assert session.text().endswith(
        "[audio 5]\nWhat sound is this?<|im_end|>\n<|im_start|>assistant\ndog<|im_end|>\n"
        "<|im_start|>user\nHow often?<|im_end|>\n<|im_start|>assistant\ntwice"
    )
    assert chat.engine.encoded == 1
    answer = chat.ask("Sure?")
    assert answer.usage.cached_tokens > before and len(answer.audio) == 1
    assert [m.role for m in chat.messages] == ["user", "assistant"] * 3


def test_follow_up_with_another_clip(make_chat, clip, make_tone):
    chat = make_chat()
    chat.ask(clip, QUESTION)
    answer = chat.ask((make_tone(2.0), 16000), "And this?")
    assert [fact.tokens for fact in answer.audio] == [5, 10]
    assert core(chat).text().count("[audio") == 2


def test_an_answer_cut_by_length_goes_on_cleanly(make_chat, clip):
    chat = make_chat()
    assert chat.ask(clip, QUESTION, max_tokens=2).finish_reason == "length"
    assert chat.ask("Go on").finish_reason == "stop"
    assert "assistant\nra<|im_end|>\n<|im_start|>user\nGo on" in core(chat).text()


def test_stop_strings(make_chat, clip):
    chat = make_chat({"script": lambda prompt, mata: "a dog. And more"})
    answer = chat.ask(clip, QUESTION, stop=[". A"])
    assert (answer.text, answer.finish_reason) == ("a dog", "stop")
    chat.ask("Next", stop="zzz")
    assert "assistant\na dog<|im_end|>" in core(chat).text()
    assert split_at_stop("abc<", ["<end>"]) == ("abc", "<", False)
    for stop in ("", [""], [1], 5):
        with pytest.raises((ValueError, TypeError)):
            chat.ask(clip, QUESTION, stop=stop)


def test_a_template_that_rewrites_history(make_chat, clip):
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' %}{{ m['content'].split('|')[1] }}"
        "{% else %}{{ m['content'] }}{% endif %}<|im_end|>{% endfor %}{{ '<|im_start|>assistant\n' }}"
    )
    for can_cut in (True, False):
        chat = make_chat({"script": lambda p, m: "thinking|dog", "chat_template": template, "can_cut": can_cut})
        chat.ask(clip, QUESTION)
        chat.ask("Sure?")
        text = core(chat).text()
        assert text.count("thinking") == 1 and text.count("[audio 5]") == 1
        assert "assistant\ndog<|im_end|><|im_start|>user\nSure?" in text
        assert chat.engine.encoded == 1
        assert sum(not s.closed for s in chat.engine.sessions) == 1


def test_system(make_chat, clip):
    chat = make_chat(system="Short.")
    chat.ask(clip, QUESTION)
    assert core(chat).text().startswith("<|im_start|>system\nShort.<|im_end|>\n<|im_start|>user")
    chat.ask("And?", system="Long.")
    assert core(chat).text().startswith("<|im_start|>system\nLong.<|im_end|>\n<|im_start|>user\n[audio 5]")


def test_reset(make_chat, clip):
    chat = make_chat()
    chat.ask(clip, QUESTION)
    chat.reset()
    assert chat.messages == [] and chat.engine.n_used == 0
    chat.ask(clip, QUESTION)
    assert chat.engine.encoded == 1


def test_changing_the_setting_between_turns(make_chat, clip):
    chat = make_chat({"script": lambda p, mata: "on" if mata else "off"})
    assert chat.describe_mata() == "MATA on (alpha 0.1, layers 10:21 of 30, mode scale)"
    assert chat.ask(clip, QUESTION).text == "on"
    chat.mata = None
    assert chat.describe_mata() == "MATA off"
    answer = chat.ask("Again?")
    assert (answer.text, answer.mata, answer.layers) == ("off", None, ())
    chat.mata = Mata(0.5)
    assert chat.ask("Again?").text == "on"
    with pytest.raises(ValueError, match="layers 0 to 29"):
        chat.mata = Mata(layers="0:31")
    with pytest.raises(ValueError, match="must be a Mata"):
        chat.mata = 0.1
    assert chat.mata == Mata(0.5)


def test_to_dict(make_chat, clip):
    import json

    record = make_chat().ask(clip, QUESTION).to_dict()
    json.dumps(record)
    assert list(record) == [
        *("answer", "finish_reason", "confidence", "audio", "mata", "mata_effect", "usage", "timings")
    ]
    assert record["mata"] == {"alpha": 0.1, "layers": list(range(10, 21)), "mode": "scale", "focus": None}


# Choosing and comparing ------------------------------------------------------------------------


def test_choose(make_chat, clip):
    chat = make_chat({"script": lambda p, m: "dog"})
    choice = chat.choose(clip, "Which?", ["cat", "dog", "dogs"], contrast=False)
    assert (choice.text, choice.index, str(choice)) == ("dog", 1, "dog")
    assert choice.tokens == [4, 4, 5]
    assert choice.logprobs[1] > choice.logprobs[2] > choice.logprobs[0]
    assert sum(choice.probabilities) == pytest.approx(1) and choice.probabilities[1] > 0.99
    assert chat.messages == [] and choice.usage.audio_tokens == 5
    assert sum(not s.closed for s in chat.engine.sessions) == 1
    assert choice.to_dict()["index"] == 1


def test_choose_is_the_likelihood_of_the_whole_answer(make_chat, clip):
    """Logits are 10 for the scripted token and 0 for the others, so the sums can be written down."""
    chat = make_chat({"script": lambda p, m: "ab"})
    hit = 10 - np.log(np.exp(10) + chat.engine.n_vocab - 1)
    miss = hit - 10
    choice = chat.choose(clip, "Which?", ["ab", "ax", "abc"], contrast=False)
    assert choice.scores == choice.logprobs == pytest.approx([3 * hit, 2 * hit + miss, 3 * hit + miss], abs=1e-5)


def test_choose_then_ask_reuses_the_audio(make_chat, clip):
    chat = make_chat()
    for question in ("One?", "Two?"):
        chat.choose(clip, question, ["a", "b"], contrast=False)
    answer = chat.ask(clip, "Three?")
    assert answer.text == "rain" and answer.usage.cached_tokens > 5
    assert core(chat).text().count("[audio") == 1 and "One" not in core(chat).text()


def test_another_clip_with_the_same_question_is_heard(make_chat, clip, make_tone):
    chat = make_chat()
    first = chat.choose(clip, "Which?", ["a", "b"])
    second = chat.choose((make_tone(2.0), 16000), "Which?", ["a", "b"])
    assert (first.audio[0].tokens, second.audio[0].tokens) == (5, 10)
    assert core(chat).text().count("[audio 10]") == 1


def test_choose_with_few_sequences(make_chat, clip):
    chat = make_chat({"script": lambda p, m: "o7", "n_seq_max": 3})
    assert chat.choose(clip, "Which?", [f"o{i}" for i in range(9)]).index == 7
    chat = make_chat({"n_seq_max": 1})
    with pytest.raises(ContextFullError):
        chat.choose(clip, "Which?", ["a", "b"])


@pytest.mark.parametrize("options", [[], ["a"], "ab", ["a", "a"], ["a", ""], ["a", " "], ["a", 1]])
def test_bad_options(make_chat, clip, options):
    with pytest.raises(ValueError, match="option"):
        make_chat().choose(clip, "Which?", options)


@pytest.mark.parametrize("can_cut", [True, False])
def test_compare(make_chat, clip, can_cut):
    chat = make_chat({"script": lambda p, mata: "loud" if mata else "soft", "can_cut": can_cut})
    boosted, plain = chat.compare(clip, QUESTION)
    assert (boosted.text, plain.text) == ("loud", "soft")
    assert boosted.mata == Mata() and plain.mata is None
    assert chat.messages[-1].text == "loud"
    assert sum(not s.closed for s in chat.engine.sessions) == 1
    assert chat.ask("And?").text == "loud"
    chat.mata = None
    with pytest.raises(ValueError, match="nothing to compare"):
        chat.compare(clip, QUESTION)


# Stopping --------------------------------------------------------------------------------------


def test_cancel_from_another_thread(make_chat, clip):
    reached, go = threading.Event(), threading.Event()

    def slow():
        if chat._conversation.session.n_past > 100:
            reached.set()
            go.wait(10)

    chat = make_chat({"script": lambda p, m: "a long answer " * 20})
    chat.cancel()  # nothing runs: nothing happens
    chat.engine.slow = slow
    thread = threading.Thread(target=lambda: (reached.wait(10), chat.cancel(), go.set()))
    thread.start()
    answer = chat.ask(clip, QUESTION)
    thread.join()
    assert answer.finish_reason == "cancelled" and answer.text.startswith("a")
    chat.engine.slow = None
    assert chat.ask("Go on", max_tokens=3).text == "a l"
    assert f"assistant\n{answer.text}<|im_end|>" in core(chat).text()


def test_cancel_before_the_first_token_drops_the_turn(make_chat, clip):
    chat = make_chat()
    chat.ask(clip, QUESTION)
    chat.engine.slow = lambda: chat.cancel()
    answer = chat.ask("And?")
    chat.engine.slow = None
    assert (answer.text, answer.finish_reason) == ("", "cancelled")
    assert len(chat.messages) == 2
    assert chat.ask("Really?").text == "rain"
    assert "And?" not in core(chat).text()
    chat.engine.slow = lambda: chat.cancel()
    with pytest.raises(CancelledError):
        chat.choose(None, "Which?", ["a", "b"])


def test_cancel_while_a_clip_is_encoded(make_chat, clip):
    chat = make_chat()
    encode = chat.engine.encode_audio
    chat.engine.encode_audio = lambda samples, **options: chat.cancel() or encode(samples, **options)
    answer = chat.ask(clip, QUESTION)
    assert (answer.text, answer.finish_reason) == ("", "cancelled")
    with pytest.raises(CancelledError):
        chat.encode(clip)
    with pytest.raises(CancelledError):
        chat.choose(clip, "Which?", ["a", "b"])
    assert chat.messages == []
    chat.engine.encode_audio = encode
    assert chat.ask(clip, QUESTION).text == "rain"


def test_cancel_while_a_file_is_read(make_chat, clip, monkeypatch):
    from mata_cpp import options

    chat = make_chat()
    read = options.as_clips
    with monkeypatch.context() as patch:
        patch.setattr(options, "as_clips", lambda audio: chat.cancel() or read(audio))
        answer = chat.ask(clip, QUESTION)
        assert (answer.text, answer.finish_reason) == ("", "cancelled")
        for call in (
            lambda: chat.encode(clip),
            lambda: chat.choose(clip, "Which?", ["a", "b"]),
            lambda: chat.compare(clip, QUESTION),
        ):
            with pytest.raises(CancelledError):
                call()
    assert chat.messages == []
    assert chat.ask(clip, QUESTION).text == "rain"


def test_cancel_reaches_a_question_that_waits_for_its_turn(make_chat, clip):
    chat = make_chat()
    waiting = chat.stream(clip, QUESTION)
    assert chat.ask(clip, "First?").text == "rain"
    chat.cancel()
    assert [piece.answer.finish_reason for piece in waiting] == ["cancelled"]
    first, finish_reasons = chat.stream(clip, QUESTION), []
    next(first)  # this thread is in the middle of an answer
    thread = threading.Thread(target=lambda: finish_reasons.append(chat.ask(clip, "Second?").finish_reason))
    thread.start()
    while len(chat._requests) < 2:
        time.sleep(0.01)
    chat.cancel()
    assert list(first)[-1].answer.finish_reason == "cancelled"
    thread.join(10)
    assert finish_reasons == ["cancelled"]
    forgotten = chat.stream(clip, QUESTION)
    del forgotten
    chat.cancel()
    assert chat.ask(clip, QUESTION).text == "rain"


def test_encoding_ahead_keeps_no_sequence(make_chat, clip):
    chat = make_chat(n_seq_max=1)
    chat.encode(clip)
    chat.session().close()


@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_interrupt_keeps_the_conversation_usable(make_chat, clip, at):
    chat = make_chat()
    chat.ask(clip, QUESTION)
    calls = iter(range(100))

    def interrupt():
        if next(calls) == at:
            raise KeyboardInterrupt

    chat.engine.slow = interrupt
    with pytest.raises(KeyboardInterrupt):
        chat.ask("And?")
    chat.engine.slow = None
    assert chat.ask("Once more?").text == "rain"
    text = core(chat).text()
    assert text.endswith("Once more?<|im_end|>\n<|im_start|>assistant\nrain")
    assert ("And?" in text) == (at > 0)


def test_a_stream_that_is_dropped_keeps_what_was_said(make_chat, clip):
    chat = make_chat()
    stream = chat.stream(clip, QUESTION)
    assert next(stream) == "r"
    with pytest.raises(MataError, match="still answering"):
        chat.ask("And?")
    stream.close()
    assert chat.messages[-1].text == "r"
    chat.ask("And?")
    assert "assistant\nr<|im_end|>" in core(chat).text()


def test_two_threads_take_turns(make_chat, clip):
    chat = make_chat()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(chat.ask(clip, QUESTION).text)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["rain"] * 4 and len(chat.messages) == 8


def test_endless_repetition_is_stopped(make_chat, clip):
    chat = make_chat({"script": lambda p, m: "@" * 1000})
    with pytest.warns(RepetitionWarning, match=r"'@' 32 times"):
        answer = chat.ask(clip, QUESTION, max_tokens=500)
    assert (len(answer.text), answer.finish_reason) == (32, "stop")
    chat = make_chat({"script": lambda p, m: "@" * 31 + "."})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chat.ask(clip, QUESTION, max_tokens=500)


def test_broken_utf8_is_shown_as_such(make_chat, clip):
    chat = make_chat({"script": lambda p, m: b"a\xe2\x82"})
    assert chat.ask(clip, QUESTION).text == "a�"
    assert chat.ask("And?", max_tokens=2).text == "a�"


def test_nan_logits(make_chat, clip, fake, monkeypatch):
    chat = make_chat()
    monkeypatch.setattr(fake.Session, "logits", lambda self: np.full(10, np.nan, np.float32))
    with pytest.raises(ModelError, match="NaN"):
        chat.ask(clip, QUESTION)


# Room ------------------------------------------------------------------------------------------


def test_context_full_comes_before_anything_is_lost(make_chat, clip):
    chat = make_chat({"n_ctx": 160})
    chat.ask(clip, QUESTION)
    before = core(chat).text(), chat.messages
    with pytest.raises(ContextFullError, match=r"needs \d+ tokens, n_ctx is 160.*--ctx 512") as caught:
        chat.ask("x" * 120)
    assert "\n" not in str(caught.value)
    assert (core(chat).text(), chat.messages) == before
    assert chat.ask("y").text == "rain"


def test_context_full_while_answering_is_length(make_chat, clip):
    numbers = "".join(map(str, range(100)))
    chat = make_chat({"n_ctx": 140, "script": lambda p, m: numbers})
    answer = chat.ask(clip, QUESTION)
    assert answer.finish_reason == "length" and numbers.startswith(answer.text) and len(answer.text) > 20
    with pytest.raises(ContextFullError):
        chat.ask("And?")


def test_what_never_fits_blames_nobody_else(make_chat, clip):
    chat = make_chat({"n_ctx": 150})
    chat.ask(clip, QUESTION)  # left in the cache, for which nobody waits
    with pytest.raises(ContextFullError) as caught:
        chat.ask(clip, "x" * 200)
    assert "other sessions" not in str(caught.value)


def test_other_sessions_take_room(make_chat, clip):
    chat = make_chat({"n_ctx": 150})
    with chat.session() as session:
        session.feed("x" * 100)
        with pytest.raises(ContextFullError, match="other sessions hold 100"):
            chat.ask(clip, QUESTION)
    assert chat.ask(clip, QUESTION).text == "rain"


def test_hours_of_sound_are_refused_quickly(make_chat):
    chat = make_chat()
    sound = np.random.default_rng(0).standard_normal(1000 * 3600).astype(np.float32) * 0.1
    for ask in (lambda: chat.ask((sound, 1000), QUESTION), lambda: chat.encode((sound, 1000))):
        with pytest.raises(ContextFullError, match="at least 18"):
            ask()
    assert chat.engine.encoded == 0


def test_a_long_clip_is_encoded_once(make_chat, make_tone):
    chat = make_chat()
    chat.ask((make_tone(120.0, 8000), 8000), QUESTION)
    assert chat.engine.encoded == 1


def test_window_count(make_chat, make_tone):
    assert make_chat().encode((make_tone(65.0, 8000), 8000))[0].windows == 3


# Refusals --------------------------------------------------------------------------------------


def test_a_model_that_stops_listening(make_chat, make_tone):
    chat = make_chat({"max_samples": 2 * 16000}, n_ctx=300)
    clip = chat.ask((make_tone(3.0), 16000), QUESTION).audio[0]
    assert (clip.seconds, clip.heard_seconds, clip.tokens) == (3.0, 2.0, 10)
    chat.mata = Mata(focus=(1.0, 2.5))
    chat.ask(None, QUESTION)
    assert core(chat).mata[2] == ((clip.span[0] + 5, clip.span[1], 1.0),)
    chat.mata = Mata(focus=(2.5, 3.0))
    with pytest.raises(ValueError, match=r"the clip is heard up to 2.00 s"):
        chat.ask("And?")
    chat.mata = None
    # no more of a long clip takes room than is heard
    assert chat.ask((make_tone(600.0), 16000), QUESTION).audio[1].tokens == 10


def test_voxtral_hears_the_silence_up_to_its_window(make_chat, make_tone):
    chat = make_chat({"padded_samples": 30 * 16000})
    for seconds, heard in ((2.0, 30), (30.0, 30), (31.0, 60)):
        assert chat.encode((make_tone(seconds), 16000))[0].heard_seconds == heard


def test_questions_that_are_none(make_chat, clip):
    chat = make_chat()
    for arguments in ((), (clip,), (clip, ""), (clip, "  "), (clip, 5), (clip, "\ud800")):
        with pytest.raises(ValueError):
            chat.ask(*arguments)
    with pytest.raises(AudioError, match="no such file"):
        chat.ask("none.wav", QUESTION)
    with pytest.raises(AudioError, match="no such file"):
        chat.ask([clip, "none.wav"], QUESTION)
    assert chat.ask(Audio(clip), QUESTION).text == "rain"


def test_a_file_without_a_question(make_chat, clip):
    with pytest.raises(
        ValueError, match=r"clip.wav' is a file, and a question about it is missing: ask\(audio, question\)"
    ):
        make_chat().ask(str(clip))


def test_options_of_ask(make_chat, clip):
    chat = make_chat()
    for options in (
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"seed": -1},
        {"seed": "x"},
        {"grammar": "broken"},
        {"temperature": -1},
    ):
        with pytest.raises(ValueError):
            chat.ask(clip, QUESTION, **options)
    with pytest.raises(TypeError):
        chat.ask(clip, QUESTION, unknown=1)


def test_a_clip_without_tokens(make_chat, make_tone):
    with pytest.raises(AudioError, match="no audio tokens"):
        make_chat().ask((make_tone(0.1), 16000), QUESTION)


def test_focus_behind_the_clip(make_chat, clip):
    chat = make_chat(mata=Mata(focus=(2, 3)))
    with pytest.raises(ValueError, match=r"the clip is heard up to 1.00 s"):
        chat.ask(clip, QUESTION)


def test_a_model_that_mata_cannot_work_with(make_chat):
    with pytest.raises(MataError, match=r"no attention layers; use mata=None"):
        make_chat({"mata_refusal": "no attention layers"})
    assert make_chat(mata=None).mata is None


def test_a_broken_template_stops_at_load(make_chat, fake):
    with pytest.raises(ModelError, match="chat template of model.gguf is broken"):
        make_chat({"chat_template": "{% for %}"})


@pytest.mark.parametrize(
    "options",
    [
        {"n_ctx": -1},
        {"n_ctx": 4.5},
        {"n_batch": 0},
        {"n_threads": -2},
        {"n_gpu_layers": -2},
        {"flash_attn": "maybe"},
        {"seed": -1},
        {"mata": 0.1},
        {"mata": Mata(layers="25:40")},
    ],
)
def test_bad_options_of_the_chat(make_chat, options):
    with pytest.raises(ValueError) as caught:
        make_chat(**options)
    assert "\n" not in str(caught.value)


def test_options_reach_the_engine(make_chat, tmp_path):
    lora = tmp_path / "a.gguf"
    lora.write_bytes(b"GGUF adapter")
    chat = make_chat(lora=(lora, 0.5), flash_attn=False, cache_type="f32", n_threads=2, n_gpu_layers=0)
    assert chat.engine.options == {
        "lora": [(str(lora), 0.5)],
        "n_batch": 2048,
        "n_ubatch": 512,
        "n_threads": 2,
        "n_gpu_layers": 0,
        "flash_attn": "off",
        "cache_type_k": "f32",
        "cache_type_v": "f32",
        "rpc": [],
    }
    with pytest.raises(ModelError, match=r"adapter none.gguf does not exist"):
        make_chat(lora=["none.gguf"])


def test_close(make_chat, clip):
    with make_chat() as chat:
        chat.ask(clip, QUESTION)
        stream = chat.stream("And?")
        next(stream)
    assert chat.closed and chat.engine.closed and repr(chat).endswith("closed)")
    chat.close()
    for use in (lambda: chat.ask("x"), lambda: chat.session(), lambda: chat.reset(), lambda: chat.encode(clip)):
        with pytest.raises(MataError, match="closed"):
            use()


def test_module_without_its_compiled_part(monkeypatch, fake_model):
    import sys

    import mata_cpp

    monkeypatch.delattr(mata_cpp, "_core", raising=False)
    monkeypatch.setitem(sys.modules, "mata_cpp._core", None)
    with pytest.raises(ModelError, match="compiled part"):
        AudioChat(fake_model)


def test_an_interrupt_on_the_way_into_a_turn_leaves_no_lock(make_chat, clip, monkeypatch):
    chat = make_chat()
    get_ident = threading.get_ident
    with monkeypatch.context() as patch:
        calls = iter(range(9))

        def interrupt():
            if next(calls) == 0 and not chat._lock.locked():
                return get_ident()
            raise KeyboardInterrupt

        patch.setattr(threading, "get_ident", interrupt)
        with pytest.raises(KeyboardInterrupt):
            chat.ask(clip, QUESTION)
    assert not chat._lock.locked() and chat.ask(clip, QUESTION).text == "rain"


# Without audio, and other conversations ----------------------------------------------------------


def test_a_conversation_may_begin_without_audio(make_chat, clip):
    chat = make_chat({"script": lambda p, mata: f"{'on' if mata else 'off'} {p.count('[audio')}"})
    answer = chat.ask(QUESTION)
    assert (answer.text, answer.audio, answer.mata, answer.layers) == ("off 0", [], None, ())
    answer = chat.ask(clip, QUESTION)
    assert (answer.text, answer.mata) == ("on 1", Mata())
    assert [bool(message.clips) for message in chat.messages] == [False, False, True, False]


def test_what_needs_audio_says_so(make_chat, clip):
    chat = make_chat({"script": lambda p, m: "dog"})
    with pytest.raises(ValueError, match="nothing to compare: there is no audio"):
        chat.compare(QUESTION)
    with pytest.raises(AudioError, match="no audio in this conversation"):
        chat.ask(QUESTION, attention=True)
    assert chat.messages == []
    choice = chat.choose(None, QUESTION, ["cat", "dog"])
    assert (choice.text, choice.scored_by, choice.mata) == ("dog", "likelihood", None)
    assert chat.choose(clip, QUESTION, ["cat", "dog"]).scored_by == "contrast with silence"


def test_a_turn_can_be_taken_away(make_chat, clip):
    for can_cut in (True, False):
        chat = make_chat({"can_cut": can_cut})
        chat.ask(clip, QUESTION)
        before, positions = chat.messages, chat.positions
        chat.ask("And?")
        assert chat.positions > positions
        chat.messages = before
        assert (chat.messages, chat.positions) == (before, positions)
        chat.ask("Or?")
        assert "And?" not in core(chat).text() and core(chat).text().count("[audio 5]") == 1
        assert chat.engine.encoded == 1


def test_an_earlier_conversation_goes_on(make_chat, clip):
    from mata_cpp import Message

    chat = make_chat()
    chat.messages = [Message("user", QUESTION, (Audio(clip),)), Message("assistant", "A dog.")]
    chat.ask("Sure?")
    assert "[audio 5]\nWhat sound is this?<|im_end|>\n<|im_start|>assistant\nA dog.<|im_end|>" in core(chat).text()
    with pytest.raises(ValueError, match="take turns"):
        chat.messages = [Message("assistant", "A dog.")]
    with pytest.raises(ValueError, match="the last question has no answer"):
        chat.messages = [Message("user", "Q")]
    with pytest.raises(ValueError, match="has no clips"):
        chat.messages = [Message("user", "Q"), Message("assistant", "A", (Audio(clip),))]
    with pytest.raises(ValueError, match="a list of Message"):
        chat.messages = ["Q"]
    assert len(chat.messages) == 4
