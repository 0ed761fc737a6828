"""AudioModel on the stand-in: questions without a conversation, many conversations, streams that nobody reads."""

import threading
import time

import pytest

from mata_cpp import Answer, Audio, AudioChat, AudioError, CancelledError, EncodedClip, Mata, MataError

QUESTION = "What sound is this?"
OFF = [None, Mata(0), Mata(layers=range(0)), Mata(0, layers=[])]


@pytest.fixture
def sounds(make_tone):
    """sounds(n) -> n different clips of one second, 5 tokens each."""
    return lambda n: [Audio((make_tone(hertz=200 + 5 * i), 16000), name=f"clip {i}") for i in range(n)]


def last_question(prompt, mata):
    """A script: the number of the question "Q<number>" that was asked last."""
    return prompt.rpartition("Q")[2][:1]


def in_thread(function, *arguments):
    """The result of a call in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*arguments)))
    thread.start()
    thread.join(20)
    assert found, "the call did not come back"
    return found[0]


def n_taken(model):
    """Images of the cache that questions hold."""
    return len(model._loaded.pool._taken)


# One question ----------------------------------------------------------------------------------


def test_ask(make_model, clip):
    answer = make_model().ask(clip, QUESTION)
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish_reason, answer.mata) == ("rain", "stop", Mata())


def test_ask_leaves_nothing_behind(make_model, clip):
    prompts = []
    model = make_model({"script": lambda prompt, mata: prompts.append(prompt) or "rain"})
    model.ask(clip, "One?", system="Short.")
    first = prompts[-1]
    model.ask(clip, "Two?")
    assert "Short." in first and "One?" in first
    assert "Short." not in prompts[-1] and "One?" not in prompts[-1] and "rain" not in prompts[-1]
    assert n_taken(model) == 0


def test_ask_reaches_no_chat(make_model, clip):
    model = make_model()
    chat = model.chat()
    model.ask(clip, QUESTION)
    assert chat.messages == []


def test_ask_needs_a_clip(make_model):
    model = make_model()
    for none in (None, []):
        with pytest.raises(ValueError, match="a clip is missing"):
            model.ask(none, QUESTION)


def test_ask_in_many_threads(make_model, sounds):
    model = make_model({"script": last_question})
    clips, answers = sounds(8), {}

    def ask(i):
        answers[i] = model.ask(clips[i], f"Q{i}").text

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: str(i) for i in range(8)}


def test_stream(make_model, clip):
    pieces = list(make_model().stream(clip, QUESTION))
    assert [str(piece) for piece in pieces] == ["r", "a", "i", "n", ""]
    assert pieces[-1].answer.text == "rain"


def test_compare(make_model, clip):
    on, off = make_model({"script": lambda p, mata: "loud" if mata else "soft"}).compare(clip, QUESTION)
    assert (on.text, off.text) == ("loud", "soft") and (on.mata, off.mata) == (Mata(), None)


def test_choose(make_model, clip):
    choice = make_model({"script": lambda p, m: "dog"}).choose(clip, "Which?", ["cat", "dog"])
    assert (choice.text, choice.index) == ("dog", 1)


def test_the_setting_of_one_question(make_model, clip):
    model = make_model({"script": lambda p, mata: "on" if mata else "off"})
    assert model.ask(clip, QUESTION, mata=None).text == "off"
    assert model.ask(clip, QUESTION).text == "on"
    model.mata = None
    assert model.ask(clip, QUESTION).text == "off"
    assert model.ask(clip, QUESTION, mata=Mata(0.5)).mata == Mata(0.5)


def test_describe(make_model, fake_model):
    facts = make_model().describe()
    assert facts["path"] == str(fake_model) and facts["n_layer"] == 30 and facts["mata_refusal"] is None


def test_describe_names_the_layers_with_attention(make_model):
    layers = list(range(3, 30, 4))
    model = make_model({"attention_layers": layers})
    assert model.describe()["attention_layers"] == layers
    assert model.describe_mata() == "MATA on (alpha 0.1, layers 11,15,19 of 30, mode scale)"


# What is off is off everywhere -------------------------------------------------------------------


@pytest.mark.parametrize("mata", OFF, ids=repr)
def test_off_is_said_alike(make_model, clip, mata):
    model = make_model(mata=mata)
    assert model.describe_mata(mata) == model.chat(mata=mata).describe_mata() == "MATA off"
    assert repr(model).endswith("MATA off)")
    answer = model.ask(clip, QUESTION)
    assert (answer.mata, answer.layers) == (None, ())
    assert answer.to_dict()["mata"] is None


@pytest.mark.parametrize("mata", OFF, ids=repr)
def test_off_has_nothing_to_compare(make_model, clip, mata):
    model = make_model()
    for asked in (model, model.chat(mata=mata)):
        with pytest.raises(ValueError, match="there is nothing to compare: MATA is off"):
            asked.compare(clip, QUESTION, mata=mata)


@pytest.mark.parametrize("mata", OFF, ids=repr)
def test_off_of_a_choice(make_model, clip, mata):
    choice = make_model().choose(clip, "Which?", ["a", "b"], mata=mata)
    assert (choice.mata, choice.layers) == (None, ())


@pytest.mark.parametrize("mata", OFF, ids=repr)
def test_off_works_where_mata_cannot(make_model, clip, mata):
    model = make_model({"mata_refusal": "it has no attention layers"}, mata=mata)
    assert model.ask(clip, QUESTION).text == "rain"
    with pytest.raises(MataError, match="MATA cannot work here"):
        model.ask(clip, QUESTION, mata=Mata())


# Many questions ------------------------------------------------------------------------------------


def test_ask_many_answers_in_order(make_model, sounds):
    model = make_model({"script": last_question})
    items = [(clip, f"Q{i}") for i, clip in enumerate(sounds(9))]
    assert [answer.text for answer in model.ask_many(items, parallel=3)] == [str(i) for i in range(9)]


def test_ask_many_takes_options(make_model, clip):
    items = [(clip, QUESTION, {"max_tokens": 2}), (clip, QUESTION)]
    assert [answer.text for answer in make_model().ask_many(items)] == ["ra", "rain"]


def test_ask_many_takes_items_as_needed(make_model, sounds):
    taken = []
    clips = sounds(20)
    answers = make_model().ask_many(((taken.append(i) or clips[i]), QUESTION) for i in range(20))
    assert taken == []
    next(answers)
    assert len(taken) <= 10
    answers.close()
    assert len(taken) <= 10


def test_ask_many_raises_in_the_place_of_the_question(make_model, clip):
    answers = make_model().ask_many([(clip, QUESTION), ("none.wav", QUESTION), (clip, QUESTION)], parallel=1)
    assert next(answers).text == "rain"
    with pytest.raises(AudioError, match="no such file"):
        next(answers)
    assert list(answers) == []


@pytest.mark.parametrize("item", [5, "clip.wav", ("a",), ("a", "b", {}, 1), None])
def test_ask_many_refuses_what_is_no_question(make_model, item):
    with pytest.raises(ValueError, match=r"an item must be \(audio, question\) or"):
        list(make_model().ask_many([item]))


@pytest.mark.parametrize("parallel", [0, 33, "2", True])
def test_ask_many_refuses_other_numbers(make_model, parallel):
    with pytest.raises(ValueError, match="parallel must be a whole number from 1 to 32"):
        list(make_model().ask_many([], parallel=parallel))


def test_closing_ask_many_cancels_what_runs(make_model, sounds):
    running, stopped = threading.Event(), []

    def slow():
        if threading.current_thread().name != "MainThread" and stopped == [None]:
            running.set()
            time.sleep(0.01)

    model = make_model({"script": lambda p, m: "".join(map(str, range(400)))}, n_ctx=1 << 16)
    answers = model.ask_many(
        [(clip, QUESTION, {"max_tokens": 20 if i == 0 else 1000}) for i, clip in enumerate(sounds(4))]
    )
    assert next(answers).finish_reason == "length"
    stopped.append(None)
    model.engine.slow = slow
    assert running.wait(10)
    started = time.monotonic()
    answers.close()
    assert time.monotonic() - started < 3
    assert n_taken(model) == 0


# Many conversations --------------------------------------------------------------------------------


def test_two_chats_do_not_mix(make_model, clip, make_tone):
    model = make_model({"script": lambda prompt, mata: f"{prompt.count('[audio 5]')} {prompt.count('[audio 10]')}"})
    one, two = model.chat(), model.chat()
    assert one.ask(clip, QUESTION).text == "1 0"
    assert two.ask((make_tone(2.0), 16000), QUESTION).text == "0 1"
    assert one.ask("And?").text == "1 0" and two.ask("And?").text == "0 1"
    assert len(one.messages) == len(two.messages) == 4


def test_chats_answer_at_the_same_time(make_model, clip):
    """Pieces of two streams are taken in turns, in one thread."""
    model = make_model({"script": lambda prompt, mata: "one" if "One?" in prompt else "two"})
    streams = [model.chat().stream(clip, question) for question in ("One?", "Two?")]
    assert ["".join(pair) for pair in zip(*streams, strict=True)] == ["ot", "nw", "eo", ""]


def test_a_chat_has_its_own_setting_and_system_message(make_model, clip):
    prompts = []
    model = make_model({"script": lambda p, mata: prompts.append(p) or ("on" if mata else "off")})
    chat = model.chat(system="Short.", mata=None)
    assert chat.ask(clip, QUESTION).text == "off" and "Short." in prompts[-1]
    assert model.chat().ask(clip, QUESTION).text == "on" and "Short." not in prompts[-1]


def test_a_chat_of_a_model_leaves_it_open(make_model, clip):
    model = make_model()
    with AudioChat(model) as chat:
        chat.ask(clip, QUESTION)
    assert chat.closed and not model.closed
    assert model.ask(clip, QUESTION).text == "rain"


def test_a_chat_of_its_own_closes_its_model(make_chat):
    chat = make_chat()
    chat.close()
    assert chat.model.closed


def test_a_second_chat_finds_the_clip_in_the_cache(make_model, clip):
    model = make_model()
    first, second = model.chat(), model.chat()
    assert first.ask(clip, QUESTION).usage.cached_tokens == 0
    usage = second.ask(clip, "How loud is it?").usage
    assert usage.cached_tokens >= 5 + len("\nbe nice\n")
    assert model.engine.encoded == 1


def test_the_cache_holds_the_shared_prefix_once(make_model, clip):
    model = make_model()
    first, second = model.chat(), model.chat()
    first.ask(clip, QUESTION)
    before = model.engine.n_used
    usage = second.ask(clip, "How loud is it?").usage
    assert model.engine.n_used - before == usage.prompt_tokens + usage.completion_tokens - usage.cached_tokens


def test_a_prefix_under_mata_is_not_shared(make_model, clip):
    """The row that predicts was computed under the setting: the next question has to compute its own."""
    rows = []
    model = make_model({"script": lambda prompt, mata: rows.append(mata) or "rain"})
    first = model.ask(clip, QUESTION)
    rows.clear()
    second = model.ask(clip, QUESTION, mata=None)
    assert second.usage.cached_tokens < first.usage.prompt_tokens
    assert rows and not any(rows)


def test_more_chats_than_sequences(make_model, clip):
    model = make_model(n_seq_max=3)
    chats = [model.chat() for _ in range(6)]
    for _ in range(2):
        assert [chat.ask(clip, QUESTION).text for chat in chats] == ["rain"] * 6
    assert [len(chat.messages) for chat in chats] == [4] * 6


def test_a_chat_whose_room_was_needed_goes_on(make_model, clip, make_tone):
    prompts = []
    model = make_model({"script": lambda p, m: prompts.append(p) or "rain"}, n_ctx=256)
    chat = model.chat()
    chat.ask(clip, "One?", max_tokens=8)
    for i in range(4):
        model.ask((make_tone(8.0, hertz=300 + i), 16000), "x" * 100, max_tokens=8)
    assert chat.ask("Two?", max_tokens=8).text == "rain"
    assert "One?" in prompts[-1] and "rain" in prompts[-1] and prompts[-1].count("[audio 5]") == 1


# Clips that are encoded --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [16, 17, 60])
def test_a_question_about_many_clips_encodes_each_once(make_model, sounds, n):
    model = make_model(n_ctx=1 << 14)
    answer = model.ask(sounds(n), QUESTION)
    assert len(answer.audio) == n and model.engine.encoded == model._loaded.encoder.n_runs == n


def test_chats_share_encoded_clips(make_model, sounds):
    model = make_model(n_ctx=1 << 14)
    clips = sounds(20)
    for _ in range(2):
        with model.chat() as chat:
            chat.ask(clips, QUESTION)
    assert model.engine.encoded == 20


def test_a_clip_that_threads_want_at_once_is_encoded_once(make_model, clip):
    model = make_model()
    encode = model.engine.encode_audio
    model.engine.encode_audio = lambda *arguments, **options: time.sleep(0.1) or encode(*arguments, **options)
    answers = list(model.ask_many([(clip, QUESTION)] * 6))
    assert len(answers) == 6 and model.engine.encoded == 1


def test_encode(make_model, clip):
    model = make_model()
    (heard,) = model.encode(clip)
    assert isinstance(heard, EncodedClip)
    assert (heard.name, heard.seconds, heard.heard_seconds, heard.tokens, heard.windows) == (str(clip), 1.0, 1.0, 5, 1)
    assert heard.nbytes == 5 * 8 * 4 and heard.embeddings.shape == (5, 8) and heard.positions == 5


def test_an_encoded_clip_needs_no_encoder(make_model, clip):
    model = make_model()
    heard = model.encode(clip)
    model.forget()
    assert model.ask(heard, QUESTION).audio[0].tokens == 5
    with model.session() as session:
        session.feed([*heard, "x"])
        assert session.audio_spans == [(0, 5)]
    assert model.engine.encoded == 1


def test_a_clip_that_another_model_encoded_is_encoded_again(make_model, clip):
    one, two = make_model(), make_model()
    assert two.ask(one.encode(clip), QUESTION).text == "rain"
    assert two.engine.encoded == 1


def test_embeddings_are_kept_up_to_a_number_of_bytes(make_model, sounds):
    from mata_cpp.audio.encoder import AudioEncoder

    encoder = AudioEncoder(make_model().engine, max_bytes=3 * 160)
    clips = sounds(5)
    for sound in clips:
        encoder.encode(sound)
    assert encoder.nbytes == 3 * 160
    assert [encoder.is_known(sound) for sound in clips] == [False, False, True, True, True]


def test_a_prompt_by_parts(make_model, clip):
    """session.feed(model.prompt(...)) is what ask feeds."""
    model = make_model()
    with model.session(Mata()) as session:
        session.feed(model.prompt(clip, QUESTION))
        assert session.n_past == model.ask(clip, QUESTION).usage.prompt_tokens
        assert session.core.text().endswith(f"[audio 5]\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n")


def test_forget(make_model, clip):
    model = make_model()
    model.ask(clip, QUESTION)
    model.forget()
    assert model.engine.n_used == 0
    model.ask(clip, QUESTION)
    assert model.engine.encoded == 2


# Streams in other threads, and those that nobody reads -------------------------------------------


def test_a_stream_taken_in_another_thread(make_model, clip):
    for asked in (make_model(), make_model().chat()):
        stream = asked.stream(clip, QUESTION)
        first = next(stream)
        rest = in_thread(lambda stream=stream: list(stream))
        assert str(first) + "".join(rest) == "rain" and rest[-1].answer.text == "rain"


def test_a_stream_begun_in_another_thread(make_model, clip):
    chat = make_model().chat()
    stream = chat.stream(clip, QUESTION)
    assert in_thread(next, stream) == "r"
    assert "".join(stream) == "ain"
    assert chat.ask("And?").text == "rain"


@pytest.mark.parametrize("eager", [False, True])
def test_a_stream_that_nobody_reads_does_not_hold_up_close(make_model, clip, eager):
    model = make_model({"eager": eager})
    stream = model.stream(clip, QUESTION)
    next(stream)
    in_thread(model.close)
    assert model.closed and model.engine.closed
    assert [piece.answer.finish_reason for piece in stream if piece.answer] in ([], ["cancelled"], ["stop"])


def test_a_stream_that_nobody_reads_does_not_hold_up_its_chats_close(make_model, clip):
    model = make_model()
    chat = model.chat()
    stream = chat.stream(clip, QUESTION)
    next(stream)
    in_thread(chat.close)
    assert chat.closed and not model.closed
    assert model.ask(clip, QUESTION).text == "rain"
    rest = list(stream)
    assert rest[-1].answer.finish_reason == "cancelled"


def test_a_stream_that_nobody_reads_does_not_hold_up_other_chats(make_model, clip):
    model = make_model({"eager": True, "script": lambda p, m: "".join(map(str, range(50)))}, n_ctx=512)
    waiting = [model.chat().stream(clip, f"{i}?") for i in range(3)]
    for stream in waiting:
        next(stream)
    for i in range(3):
        assert in_thread(lambda i=i: model.chat().ask(clip, f"Again {i}?").finish_reason) == "stop"
    assert [list(stream)[-1].answer.finish_reason for stream in waiting] == ["stop"] * 3


def test_a_stream_that_is_forgotten_gives_its_room_back(make_model, clip):
    model = make_model()
    stream = model.stream(clip, QUESTION)
    next(stream)
    del stream
    assert n_taken(model) == 0


def test_a_question_waits_for_room_and_can_be_cancelled(make_model, fake, clip):
    model = make_model({"script": lambda p, m: "".join(map(str, range(200)))}, n_ctx=256)
    running = model.stream(clip, QUESTION)
    next(running)
    cancel = fake.Cancel()
    threading.Timer(0.2, cancel.cancel).start()
    answer = in_thread(lambda: model.ask(clip, "x" * 100, max_tokens=100, cancel=cancel))
    assert (answer.text, answer.finish_reason) == ("", "cancelled")
    assert "".join(running).startswith("1")


# Cancel objects ----------------------------------------------------------------------------------


@pytest.fixture
def cancelled(fake):
    cancel = fake.Cancel()
    cancel.cancel()
    return cancel


def test_a_cancel_ends_its_question_only(make_model, fake, clip):
    model = make_model({"script": lambda p, m: "a long answer"})
    cancel = fake.Cancel()
    one, two = model.stream(clip, "One?", cancel=cancel), model.stream(clip, "Two?")
    next(one), next(two)
    cancel.cancel()
    assert list(one)[-1].answer.finish_reason == "cancelled"
    assert list(two)[-1].answer.finish_reason == "stop"


def test_one_cancel_for_many_questions(make_model, fake, clip):
    model = make_model()
    cancel = fake.Cancel()
    streams = [model.stream(clip, question, cancel=cancel) for question in ("One?", "Two?")]
    for stream in streams:
        next(stream)
    cancel.cancel()
    assert [list(stream)[-1].answer.finish_reason for stream in streams] == ["cancelled"] * 2


def test_a_cancel_that_is_set_before_the_question(make_model, cancelled, clip):
    model = make_model()
    answer = model.ask(clip, QUESTION, cancel=cancelled)
    assert (answer.text, answer.finish_reason, answer.confidence) == ("", "cancelled", None)
    assert model.engine.encoded == 0


@pytest.mark.parametrize("call", ["compare", "choose", "encode"])
def test_what_has_no_cancelled_answer_raises(make_model, cancelled, clip, call):
    model = make_model()
    words = {"compare": [QUESTION], "choose": [QUESTION, ["a", "b"]], "encode": []}[call]
    with pytest.raises(CancelledError):
        getattr(model, call)(clip, *words, cancel=cancelled)
    assert n_taken(model) == 0


def test_ask_many_with_a_cancel(make_model, cancelled, clip):
    items = [(clip, QUESTION), (clip, QUESTION, {"cancel": cancelled}), (clip, QUESTION)]
    answers = make_model().ask_many(items, parallel=1)
    assert [answer.finish_reason for answer in answers] == ["stop", "cancelled", "stop"]


def test_cancelling_a_chat_reaches_no_other(make_model, clip):
    model = make_model()
    chats = [model.chat(), model.chat()]
    streams = [chat.stream(clip, QUESTION) for chat in chats]
    for stream in streams:
        next(stream)
    chats[0].cancel()
    assert [list(stream)[-1].answer.finish_reason for stream in streams] == ["cancelled", "stop"]


@pytest.mark.parametrize("cancel", [True, 5, "now", threading.Event()])
def test_what_is_no_cancel(make_model, clip, cancel):
    with pytest.raises(ValueError, match=r"cancel must be a Cancel\(\), not"):
        make_model().ask(clip, QUESTION, cancel=cancel)


def test_close_cancels_what_runs_in_other_threads(make_model, clip):
    model = make_model({"script": lambda p, m: "".join(map(str, range(400)))})
    begun = threading.Event()
    model.engine.slow = lambda: (begun.set(), time.sleep(0.01))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(model.ask(clip, QUESTION, max_tokens=1000)))
    thread.start()
    assert begun.wait(10)
    model.close()
    thread.join(10)
    assert model.engine.closed and [answer.finish_reason for answer in answers] == ["cancelled"]


def test_a_closed_model(make_model, clip):
    model = make_model()
    model.close()
    for use in (model.ask, model.choose, model.compare):
        with pytest.raises(MataError, match="this model is closed"):
            use(clip, QUESTION, *([["a", "b"]] if use == model.choose else []))
    for use in (model.session, model.chat, model.forget, lambda: model.encode(clip)):
        with pytest.raises(MataError, match="closed"):
            use()


# What chats take over from their model -----------------------------------------------------------


def test_a_new_chat_has_the_models_setting(make_model):
    model = make_model(mata=Mata(0.3))
    assert model.chat().mata == Mata(0.3) and model.chat(mata=None).mata is None
    model.mata = None
    assert model.chat().mata is None and model.describe_mata() == "MATA off"


def test_a_new_chat_has_the_models_seed(make_model, fake, clip):
    make_model(seed=7).chat().ask(clip, QUESTION)
    assert fake.Sampler.last.settings["seed"] == 7


def test_ask_many_goes_on_after_a_failure(make_model, clip):
    items = [(clip, QUESTION), ("none.wav", QUESTION), (clip, QUESTION)]
    found = list(make_model().ask_many(items, parallel=2, return_exceptions=True))
    assert [str(one) for one in found] == ["rain", "no such file: none.wav", "rain"]
    assert isinstance(found[1], AudioError)
