"""The decode loop of the engine: what it generates, when it ends, and who may use the session meanwhile."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tiny_files import TinyFiles

from mata_cpp import _core
from mata_cpp._core import Cancel, Engine, Generation, Sampler, Session
from mata_cpp.errors import CancelledError, MataError

N_CTX = 256
PROMPT = [10, 20, 30, 40]
SAME = 'root ::= "a"{1000}'
"""A grammar of answers that end by their length only."""


@pytest.fixture(scope="module")
def engine(tiny: TinyFiles) -> Iterator[Engine]:
    opened = _core.Engine(
        str(tiny.model("llama")), n_ctx=N_CTX, n_threads=1, flash_attn="off", cache_type_k="f32", cache_type_v="f32"
    )
    yield opened
    opened.close()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    opened = engine.session()
    opened.feed_tokens(PROMPT)
    yield opened
    opened.close()


def generate(session: Session, engine: Engine, **options: Any) -> Generation:
    return Generation(session, options.pop("sampler", None) or Sampler(engine), **{"repeat_limit": 0, **options})


def take_all(generation: Generation) -> list[_core.Token]:
    tokens: list[_core.Token] = []
    while taken := generation.take():
        tokens += taken
    return tokens


def wait_for(generation: Generation) -> None:
    end = time.monotonic() + 20
    while not generation.finished and time.monotonic() < end:
        time.sleep(0.005)
    assert generation.finished


def by_hand(engine: Engine, n: int, prompt: list[int] = PROMPT) -> list[int]:
    """The greedy answer, a token at a time."""
    session = engine.session()
    session.feed_tokens(prompt)
    tokens: list[int] = []
    while len(tokens) < n:
        token = int(session.logits().argmax())
        if engine.is_eog(token):
            break
        tokens.append(token)
        session.feed_tokens([token])
    session.close()
    return tokens


# What is generated -----------------------------------------------------------------------------


def test_greedy_is_what_a_loop_by_hand_gives(engine: Engine, session: Session) -> None:
    generation = generate(session, engine, max_tokens=40)
    tokens = take_all(generation)
    assert [token.id for token in tokens] == by_hand(engine, 40)
    assert generation.n_tokens == len(tokens) and generation.reason in ("stop", "length")


def test_neighbours_change_nothing(engine: Engine) -> None:
    prompts = [[10 + i, 20, 30 + 2 * i] for i in range(5)]
    sessions = [engine.session() for _ in prompts]
    for one, prompt in zip(sessions, prompts, strict=True):
        one.feed_tokens(prompt)
    generations = [generate(one, engine, max_tokens=20) for one in sessions]
    for generation, prompt in zip(generations, prompts, strict=True):
        assert [token.id for token in take_all(generation)] == by_hand(engine, 20, prompt)
    for one in sessions:
        one.close()


def test_tokens_carry_their_text_and_time(engine: Engine, session: Session) -> None:
    tokens = take_all(generate(session, engine, max_tokens=5))
    assert [token.bytes for token in tokens] == [engine.token_bytes(token.id) for token in tokens]
    assert [token.at for token in tokens] == sorted(token.at for token in tokens) and tokens[0].at >= 0


def test_what_is_fed_is_counted(engine: Engine, session: Session) -> None:
    generation = generate(session, engine, max_tokens=5)
    tokens = take_all(generation)
    assert len(tokens) == 5 and generation.n_fed == 4  # the last one is not fed: nothing follows
    assert session.n_past == len(PROMPT) + 4


# Log-probabilities -------------------------------------------------------------------------------


def test_log_probability() -> None:
    logits = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    wanted = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    logprob, top = _core.log_probability(logits, 7, 3)
    assert logprob == pytest.approx(wanted[7], abs=1e-5)
    assert [token for token, _ in top] == np.argsort(-wanted)[:3].tolist()
    assert [value for _, value in top] == pytest.approx(np.sort(wanted)[::-1][:3], abs=1e-5)


def test_log_probability_of_what_is_no_token() -> None:
    for token in (-1, 5):
        with pytest.raises(ValueError, match="token one of them"):
            _core.log_probability(np.zeros(5, np.float32), token)


def test_logprobs_are_those_of_the_logits(engine: Engine, session: Session) -> None:
    wanted = _core.log_probability(session.logits(), int(session.logits().argmax()), 2)
    first = take_all(generate(session, engine, max_tokens=3, logprobs=2))[0]
    assert (first.logprob, first.top) == wanted


def test_only_the_first_token_has_one_unless_asked_for(engine: Engine, session: Session) -> None:
    first, *rest = take_all(generate(session, engine, max_tokens=4))
    assert first.logprob < 0 and first.top == []
    assert len(rest) == 3 and all(math.isnan(token.logprob) for token in rest)


# How it ends -------------------------------------------------------------------------------------


def test_length(engine: Engine, session: Session) -> None:
    generation = generate(session, engine, max_tokens=3)
    assert len(take_all(generation)) == 3 and generation.reason == "length"


def test_a_full_context_is_length(engine: Engine) -> None:
    session = engine.session()
    session.feed_tokens([10] * (N_CTX - 4))
    generation = generate(session, engine, max_tokens=100)
    assert 1 <= len(take_all(generation)) <= 5 and generation.reason in ("length", "stop")
    session.close()


def test_a_stop_string(engine: Engine, session: Session) -> None:
    text = [engine.token_bytes(token) for token in by_hand(engine, 12)]
    wanted = b"".join(text[5:7]).decode("utf-8", "ignore") or "?"
    generation = generate(session, engine, max_tokens=40, stop=[wanted])
    said = b"".join(token.bytes for token in take_all(generation))
    assert generation.reason == "stop" and wanted.encode() in said
    assert wanted.encode() not in said[: -len(wanted.encode())]


def test_one_token_over_and_over(engine: Engine, session: Session) -> None:
    sampler = Sampler(engine, grammar=SAME)
    generation = generate(session, engine, sampler=sampler, max_tokens=200, repeat_limit=16)
    tokens = [token.id for token in take_all(generation)]
    assert generation.reason == "repetition" and generation.n_repeated >= 4 and len(tokens) < 100
    if generation.n_repeated == 16:
        assert len(set(tokens[-16:])) == 1


def test_a_phrase_over_and_over(engine: Engine, session: Session) -> None:
    sampler = Sampler(engine, grammar='root ::= ("a" "b" "c"){300}')
    generation = generate(session, engine, sampler=sampler, max_tokens=200, repeat_limit=16)
    take_all(generation)
    assert generation.reason == "repetition" and 4 <= generation.n_repeated <= 16


def test_going_on_after_an_end_of_turn(engine: Engine, session: Session) -> None:
    """For measurements: the end of turn is a token like others."""
    grammar = 'root ::= "a"'
    ended = generate(session.fork(), engine, sampler=Sampler(engine, grammar=grammar), max_tokens=50)
    take_all(ended)
    assert ended.reason == "stop"
    endless = generate(session, engine, max_tokens=200, ignore_end=True)
    assert len(take_all(endless)) == 200 and endless.reason == "length"


def test_repetition_for_ever(engine: Engine, session: Session) -> None:
    sampler = Sampler(engine, grammar=SAME)
    generation = generate(session, engine, sampler=sampler, max_tokens=100, repeat_limit=0)
    assert len(take_all(generation)) == 100 and generation.reason == "length"


def test_cancel(engine: Engine, session: Session) -> None:
    cancel = Cancel()
    cancel.cancel()
    generation = generate(session, engine, cancel=cancel)
    assert take_all(generation) == [] and generation.reason == "cancelled"


def test_cancelling_a_generation_leaves_the_requests_cancel_alone(engine: Engine, session: Session) -> None:
    cancel = Cancel()
    generation = generate(session, engine, sampler=Sampler(engine, grammar=SAME), cancel=cancel)
    generation.take()
    generation.cancel()
    take_all(generation)
    assert generation.reason in ("cancelled", "length") and not cancel.cancelled


def test_a_cancel_ends_one_of_two(engine: Engine, session: Session) -> None:
    other = session.fork()
    cancel = Cancel()
    grammar = SAME
    one = generate(session, engine, sampler=Sampler(engine, grammar=grammar), max_tokens=120, cancel=cancel)
    two = generate(other, engine, sampler=Sampler(engine, grammar=grammar), max_tokens=60)
    one.take()
    cancel.cancel()
    take_all(one)
    assert len(take_all(two)) == 60 and two.reason == "length"
    other.close()


def test_a_closed_session_ends_it(engine: Engine) -> None:
    session = engine.session()
    session.feed_tokens(PROMPT)
    generation = generate(session, engine, sampler=Sampler(engine, grammar=SAME), max_tokens=240)
    generation.take()
    session.close()
    take_all(generation)
    assert generation.reason in ("cancelled", "length")


# Who may use the session -----------------------------------------------------------------------


def endless(session: Session, engine: Engine) -> Generation:
    generation = generate(session, engine, sampler=Sampler(engine, grammar=SAME), max_tokens=240)
    generation.take()
    return generation


def test_a_session_that_generates_is_not_free(engine: Engine, session: Session) -> None:
    generation = endless(session, engine)
    try:
        if not generation.finished:
            with pytest.raises(MataError, match="generating"):
                session.feed_tokens([1])
    finally:
        generation.cancel()
        take_all(generation)
    session.feed_tokens([1])


def test_a_part_of_it_can_be_shared_meanwhile(engine: Engine, session: Session) -> None:
    generation = endless(session, engine)
    twin = session.share(3)
    generation.cancel()
    take_all(generation)
    twin.feed_tokens(PROMPT[3:])
    wanted = engine.session()
    wanted.feed_tokens(PROMPT)
    np.testing.assert_allclose(twin.logits(), wanted.logits(), atol=1e-4)
    twin.close()
    wanted.close()


def test_a_fork_has_the_logits(session: Session) -> None:
    twin = session.fork()
    assert twin.n_past == 4 and np.array_equal(twin.logits(), session.logits())
    twin.close()


def test_a_shared_part_has_none(session: Session) -> None:
    twin = session.share(2)
    assert twin.n_past == 2
    with pytest.raises(ValueError, match="no logits"):
        twin.logits()
    twin.close()


def test_more_than_there_is_cannot_be_shared(session: Session) -> None:
    with pytest.raises(ValueError, match="cannot share 5 positions: there are 4"):
        session.share(5)


def test_a_session_without_logits(engine: Engine) -> None:
    session = engine.session()
    with pytest.raises(ValueError, match="no logits"):
        generate(session, engine)
    session.close()


def test_a_sampler_of_another_engine(tiny: TinyFiles, engine: Engine, session: Session) -> None:
    other = _core.Engine(str(tiny.model("llama")), n_ctx=64, n_threads=1)
    with pytest.raises(ValueError, match="another engine"):
        Generation(session, Sampler(other))
    other.close()


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"stop": [""]}])
def test_bad_options(engine: Engine, session: Session, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        generate(session, engine, **options)


# Consumers ---------------------------------------------------------------------------------------


def test_nobody_has_to_take_the_tokens(engine: Engine, session: Session) -> None:
    generation = generate(session, engine, max_tokens=30)
    wait_for(generation)
    n = generation.n_tokens
    session.feed_tokens([5])
    assert len(take_all(generation)) == n


def test_tokens_may_be_taken_in_another_thread(engine: Engine, session: Session) -> None:
    generation = generate(session, engine, max_tokens=30)
    found: list[_core.Token] = []
    thread = threading.Thread(target=lambda: found.extend(take_all(generation)))
    thread.start()
    thread.join(20)
    assert [token.id for token in found] == by_hand(engine, 30)


def test_a_generation_that_is_forgotten_ends(engine: Engine, session: Session) -> None:
    """It keeps its session busy until then, and nothing longer."""
    generate(session, engine, max_tokens=50)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            session.feed_tokens([5])
            break
        except MataError:
            time.sleep(0.01)
    assert time.monotonic() < end


def test_waiting_no_longer_than_asked_for(engine: Engine, session: Session) -> None:
    generation = generate(session, engine, max_tokens=1)
    take_all(generation)
    started = time.monotonic()
    assert generation.take(5.0) == [] and time.monotonic() - started < 1


def test_closing_the_engine_ends_what_is_generated(tiny: TinyFiles) -> None:
    engine = _core.Engine(str(tiny.model("llama")), n_ctx=4096, n_threads=1)
    session = engine.session()
    session.feed_tokens(PROMPT)
    generation = generate(session, engine, sampler=Sampler(engine, grammar=SAME), max_tokens=4000)
    generation.take()
    engine.close()
    take_all(generation)
    assert generation.reason == "cancelled"


# Attention ---------------------------------------------------------------------------------------


def test_the_attention_of_each_token_is_that_of_the_row_that_predicted_it(engine: Engine) -> None:
    groups = [(0, 2, 0), (2, 4, 1), (4, 1 << 30, 4)]

    def started() -> Session:
        session = engine.session()
        session.set_attention_sums([0, 1], groups, [1])
        session.feed_tokens(PROMPT)
        return session

    generated, stepped = started(), started()
    for token in take_all(generate(generated, engine, max_tokens=6, attention=True)):
        assert token.attention is not None
        for part, wanted in zip(token.attention, stepped.attention_sums(), strict=True):
            np.testing.assert_allclose(part, wanted[-1], atol=1e-5)
        stepped.feed_tokens([token.id])
    generated.close()
    stepped.close()


def test_attention_that_is_not_kept(engine: Engine, session: Session) -> None:
    assert {token.attention for token in take_all(generate(session, engine, max_tokens=3))} == {None}


# JSON schemas -----------------------------------------------------------------------------------


def test_an_answer_that_fits_a_schema(engine: Engine, session: Session) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"]}
    grammar = _core.json_schema_to_grammar(json.dumps(schema))
    generation = generate(session, engine, sampler=Sampler(engine, grammar=grammar), max_tokens=200)
    said = b"".join(token.bytes for token in take_all(generation))
    if generation.reason == "stop":
        assert 0 <= json.loads(said)["n"] <= 9
    else:
        assert said.lstrip().startswith(b"{")


@pytest.mark.parametrize("schema", ["{", '{"type": "nonsense"}', '{"$ref": "#/none"}', "[" * 100 + "]" * 100])
def test_a_schema_that_cannot_be_used(schema: str) -> None:
    with pytest.raises(ValueError, match="JSON schema") as error:
        _core.json_schema_to_grammar(schema)
    assert "\n" not in str(error.value)


# Grammars that explode ----------------------------------------------------------------------------

ONE_OR_NONE = '"a"? ' * 1999
DOUBLING = "".join(f'r{i} ::= r{i + 1} | r{i + 1} "x"\n' for i in range(24)) + 'r24 ::= "y"'
DEEP = "".join(f"r{i} ::= r{i + 1}\n" for i in range(30_000)) + 'r30000 ::= "y"'
AMBIGUOUS = {
    "optional": f"root ::= {ONE_OR_NONE}",
    "a class": f"root ::= {'[a-z]? ' * 1999}",
    "nested": 'root ::= a a a a\na ::= b b b b\nb ::= c c c c\nc ::= d d d d\nd ::= ("a" | "aa")?',
    "doubling": f"root ::= r0\n{DOUBLING}",
}


@pytest.mark.parametrize("grammar", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_grammar_that_explodes_is_refused(engine: Engine, session: Session, grammar: str) -> None:
    other = session.fork()
    with pytest.raises(ValueError, match="the grammar is too ambiguous"):
        take_all(generate(session, engine, sampler=Sampler(engine, grammar=grammar)))
    assert len(take_all(generate(other, engine, max_tokens=3, ignore_end=True))) == 3
    other.close()


def test_rules_that_begin_with_each_other_without_end(engine: Engine) -> None:
    with pytest.raises(ValueError, match="more than 1000 rules begin with each other"):
        Sampler(engine, grammar=f"root ::= r0\n{DEEP}")


def test_a_cancel_ends_the_work_on_a_grammar(engine: Engine, session: Session) -> None:
    cancel = Cancel()
    sampler = Sampler(engine, grammar=AMBIGUOUS["optional"])
    generation = generate(session, engine, sampler=sampler, cancel=cancel)
    time.sleep(0.02)
    cancel.cancel()
    assert take_all(generation) == [] and generation.reason == "cancelled"
    with pytest.raises(CancelledError):
        Sampler(engine, grammar=AMBIGUOUS["doubling"], cancel=cancel)
