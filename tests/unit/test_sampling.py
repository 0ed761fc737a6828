"""How tokens are chosen: the record of sampling, schemas, and what an answer says of its tokens' probabilities."""

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest

from mata_cpp import RepetitionWarning, Sampling
from mata_cpp.decoding import MAX_TOKENS

QUESTION = "What sound is this?"
SCHEMA = {"type": "object", "properties": {"sound": {"type": "string"}}}


def hit(engine):
    """The log-probability of a scripted token, whose logit is 10 where all others are 0."""
    return 10 - math.log(math.exp(10) + engine.n_vocab - 1)


# The record ------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_extension():
    core = pytest.importorskip("mata_cpp._core", reason="the extension is not built")
    ours = {field.name: field.default for field in dataclasses.fields(Sampling) if field.name != "json_schema"}
    theirs = dict(core.SAMPLING_DEFAULTS)
    assert ours.pop("grammar") == theirs.pop("grammar") == ""
    assert ours == pytest.approx(theirs, rel=1e-6)  # theirs are float32


def test_the_stand_in_has_the_defaults_of_the_extension(fake):
    ours = {field.name: field.default for field in dataclasses.fields(Sampling) if field.name != "json_schema"}
    assert ours == fake.SAMPLING_DEFAULTS


def test_max_tokens_is_one_number():
    from mata_cpp.turns import Request

    assert {field.name: field.default for field in dataclasses.fields(Request)}["max_tokens"] == MAX_TOKENS


def test_a_record_is_frozen_hashable_and_equal_by_value():
    assert Sampling(top_k=3) == Sampling(top_k=np.int64(3)) and hash(Sampling()) == hash(Sampling())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sampling().seed = 1


def test_fields_given_beside_a_record_replace_its_own(make_model, fake, clip):
    record = Sampling(temperature=0.5, top_k=3, seed=9)
    make_model().ask(clip, QUESTION, sampling=record, top_k=5)
    assert fake.Sampler.last.settings == {**fake.SAMPLING_DEFAULTS, "temperature": 0.5, "top_k": 5, "seed": 9}


def test_the_models_seed_is_that_of_questions_without_one(make_model, fake, clip):
    model = make_model(seed=4)
    for options, seed in (({}, 4), ({"seed": None}, 4), ({"seed": 5}, 5), ({"top_k": 1}, 4)):
        model.ask(clip, QUESTION, **options)
        assert fake.Sampler.last.settings["seed"] == seed


@pytest.mark.parametrize("sampling", [{"temperature": 1.0}, 0.5, "greedy"])
def test_what_is_no_record(make_model, clip, sampling):
    with pytest.raises(ValueError, match=r"sampling must be a Sampling\(...\), not"):
        make_model().ask(clip, QUESTION, sampling=sampling)


# JSON schemas -----------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA)])
def test_a_schema_becomes_a_grammar(make_model, fake, clip, schema):
    make_model().ask(clip, QUESTION, json_schema=schema)
    assert fake.Sampler.last.settings["grammar"] == f"root ::= {json.dumps(SCHEMA)}"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "json_schema is not valid JSON"),
        ("[1]", "json_schema must be a JSON object"),
        ({"a": {1, 2}}, "json_schema must hold plain JSON values"),
        (5, "json_schema must be a text"),
    ],
)
def test_schemas_that_are_none(schema, message):
    with pytest.raises(ValueError, match=message) as error:
        Sampling(json_schema=schema)
    assert "\n" not in str(error.value)


def test_a_schema_and_a_grammar_exclude_each_other():
    with pytest.raises(ValueError, match="grammar and json_schema exclude each other"):
        Sampling(grammar="root ::= [a-z]", json_schema={})


# Log-probabilities -------------------------------------------------------------------------------


def test_confidence_is_the_probability_of_the_first_token(make_model, clip):
    model = make_model()
    assert model.ask(clip, QUESTION).confidence == pytest.approx(math.exp(hit(model.engine)), rel=1e-5)


def test_an_empty_answer_has_no_confidence(make_model, clip):
    assert make_model({"script": lambda p, m: ""}).ask(clip, QUESTION).confidence is None


def test_logprobs(make_model, clip):
    model = make_model()
    tokens = model.ask(clip, QUESTION, logprobs=3).logprobs
    assert [(token.token, token.id) for token in tokens] == [(c, ord(c)) for c in "rain"]
    assert [token.logprob for token in tokens] == pytest.approx([hit(model.engine)] * 4, rel=1e-5)
    assert [len(token.top) for token in tokens] == [3] * 4
    assert [token.top[0].token for token in tokens] == list("rain")


def test_logprobs_without_alternatives(make_model, clip):
    for wanted in (True, 0):
        tokens = make_model().ask(clip, QUESTION, logprobs=wanted).logprobs
        assert [token.top for token in tokens] == [()] * 4


@pytest.mark.parametrize("wanted", [None, False])
def test_no_logprobs_unless_asked_for(make_model, clip, wanted):
    answer = make_model().ask(clip, QUESTION, logprobs=wanted)
    assert answer.logprobs is None and "logprobs" not in answer.to_dict()


@pytest.mark.parametrize("wanted", [-1, 101, "2", 1.0])
def test_logprobs_that_cannot_be(make_model, clip, wanted):
    with pytest.raises(ValueError, match="logprobs must be a whole number from 0 to 100"):
        make_model().ask(clip, QUESTION, logprobs=wanted)


def test_pieces_carry_the_logprobs_of_their_tokens(make_model, clip):
    model = make_model({"script": lambda p, m: "aü!"})
    pieces = list(model.stream(clip, QUESTION, logprobs=0))
    assert [(str(piece), len(piece.logprobs)) for piece in pieces] == [("a", 1), ("ü", 2), ("!", 1), ("", 0)]
    assert [token for piece in pieces for token in piece.logprobs] == pieces[-1].answer.logprobs


def test_pieces_carry_the_logprobs_of_a_stop_string_last(make_model, clip):
    pieces = list(make_model().stream(clip, QUESTION, logprobs=0, stop="in"))
    assert [(str(piece), len(piece.logprobs)) for piece in pieces] == [("r", 1), ("a", 1), ("", 2)]


def test_logprobs_as_json(make_model, clip):
    record = make_model().ask(clip, QUESTION, logprobs=2).to_dict()["logprobs"]
    assert list(record[0]) == ["token", "id", "logprob", "top_logprobs"]
    assert [entry["token"] for entry in record[0]["top_logprobs"]][0] == "r"
    json.dumps(record)


# Repetition --------------------------------------------------------------------------------------


def said(make_model, clip, text, **options):
    return make_model({"script": lambda p, m: text}).ask(clip, QUESTION, max_tokens=500, **options)


def test_one_token_over_and_over(make_model, clip):
    with pytest.warns(RepetitionWarning, match=r"repeated the token '@' 32 times; the sound may be too long"):
        answer = said(make_model, clip, "@" * 300)
    assert (answer.text, answer.finish_reason) == ("@" * 32, "stop")


def test_a_phrase_over_and_over(make_model, clip):
    with pytest.warns(RepetitionWarning, match=r"repeated 'ain r' 6 times; a repeat_penalty of 1.1 may help") as seen:
        answer = said(make_model, clip, "I hear" + " rain" * 100)
    assert (answer.text, answer.finish_reason) == ("I hear" + " rain" * 6 + " r", "stop")
    assert seen[0].filename == __file__


@pytest.mark.parametrize("text", ["@" * 31 + ".", "ab" * 15 + ".", "0123456789abcdef" * 3 + "."])
def test_a_little_repetition_is_no_fault(make_model, clip, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert said(make_model, clip, text).text == text


def test_a_repeated_answer_goes_on_cleanly(make_model, clip):
    model = make_model({"script": lambda p, m: "@" * 300 if p.count("user") == 1 else "rain"})
    chat = model.chat()
    with pytest.warns(RepetitionWarning):
        chat.ask(clip, QUESTION)
    assert chat.ask("And?").text == "rain"
