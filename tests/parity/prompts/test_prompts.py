"""Conversations become the reference's tokens, clip by clip, whatever template the GGUF holds.

The references are stored (write_references.py, whose docstring says which code each comes from): neither
transformers nor mistral-common is needed here.  The tokenizer is made by code and has the special tokens of the
real one (vocabulary.py).  The templates are of our own writing (templates.py): for Qwen2.5-Omni, Qwen3-Omni and
Audio Flamingo 3, whose real ones are only in their repositories, they also stand in for the reference's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from parity.audio import models
from parity.prompts import scenario, templates
from parity.prompts.scenario import CASES, Turn
from parity.prompts.vocabulary import SPECIAL, add_tokenizer, vocabulary

from mata_cpp import Audio, AudioChat
from mata_cpp.prompts.builder import Message, PromptBuilder
from mata_cpp.prompts.rules import PLAIN, RULES

ARCHS = tuple(SPECIAL)
REFERENCES = scenario.load()
GGUFS = [(arch, kind) for kind, held in (("text", templates.TEXT), ("audio", templates.AUDIO)) for arch in held]
GGUFS += [(arch, "none") for arch in ARCHS if arch != "ultravox"]  # text models of any kind

Chats = Callable[[str, str], AudioChat]


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chats]:
    """chats(arch, kind): a chat with a tiny model whose GGUF has that kind of template."""
    folder = tmp_path_factory.mktemp("prompts")
    opened: list[AudioChat] = []

    @cache
    def chat(arch: str, kind: str = "text") -> AudioChat:
        template = {"text": templates.TEXT, "audio": templates.AUDIO, "none": {}}[kind].get(arch, "")
        text = folder / f"{arch}-{kind}.gguf"
        models.write_text(arch, text, partial(add_tokenizer, arch=arch, template=template))
        mmproj = models.write_mmproj(arch, folder / f"mmproj-{arch}.gguf")
        opened.append(AudioChat(text, mmproj=mmproj, n_ctx=2048, n_threads=1))
        return opened[-1]

    yield chat
    for made in opened:
        made.close()


@cache
def clip(name: str) -> Audio:
    return Audio((scenario.samples(name), scenario.RATE), name=name)


def messages(turns: list[Turn]) -> list[Message]:
    return [Message(role, text, tuple(clip(name) for name in clips)) for role, text, clips in turns]


def runs(chat: AudioChat, units: list[Any]) -> list[Any]:
    """Units as the references are stored: what Session feeds for each."""
    made: list[Any] = []
    for unit in units:
        if isinstance(unit, Audio):
            heard = chat.engine.encode_audio(unit.samples(scenario.RATE))
            made += [*heard.begin, [heard.n_tokens], *heard.end]
        else:
            made.append(unit)
    return made


def expected(arch: str, case: str) -> list[Any]:
    made = REFERENCES[arch][case]
    if made is None:
        pytest.skip("the reference takes one clip a message")
    return made


def readable(arch: str, made: list[Any]) -> str:
    """For messages of failures."""
    return "".join(f"({part[0]})" if isinstance(part, list) else vocabulary(arch).tokens[part] for part in made)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("arch", "kind"), GGUFS)
def test_tokens(chats: Chats, arch: str, kind: str, case: str) -> None:
    wanted = expected(arch, case)
    chat = chats(arch, kind)
    builder = PromptBuilder.for_engine(chat.engine)
    made = runs(chat, builder.units(builder.render(messages(CASES[case]))))
    assert readable(arch, made) == readable(arch, wanted)
    assert made == wanted


@pytest.mark.parametrize("case", ["one clip", "two clips", "system"])
@pytest.mark.parametrize(("arch", "kind"), GGUFS)
def test_what_is_fed(chats: Chats, arch: str, kind: str, case: str) -> None:
    """An answered question holds the reference's tokens in the cache, and the spans are its audio tokens alone."""
    wanted = expected(arch, case)
    chat = chats(arch, kind)
    chat.reset()
    asked = CASES[case][-1]
    system = CASES[case][0][1] if case == "system" else None
    answer = chat.ask([clip(name) for name in asked[2]], asked[1], system=system, max_tokens=1)
    spans, position = [], 0
    for part in wanted:
        n = part[0] if isinstance(part, list) else 1
        if isinstance(part, list):
            spans.append((position, position + n))
        position += n
    assert [heard.span for heard in answer.audio] == spans
    assert answer.usage.prompt_tokens == position


@pytest.mark.parametrize(("arch", "kind"), GGUFS)
def test_follow_ups_keep_the_cache(chats: Chats, arch: str, kind: str) -> None:
    """A question about a new clip feeds only what is new: earlier clips keep their places and numbers."""
    chat = chats(arch, kind)
    chat.reset()
    first = chat.ask(clip("first"), scenario.QUESTION, max_tokens=3)
    for names in ((), ("second",), ("first", "second")):
        before = chat.messages
        answer = chat.ask([clip(name) for name in names], scenario.OTHER, max_tokens=3)
        assert answer.usage.cached_tokens >= first.usage.prompt_tokens
        assert answer.audio[: len(first.audio)] == first.audio
        assert chat.messages[: len(before)] == before
        first = answer


@pytest.mark.parametrize("arch", ARCHS)
def test_rules_have_the_engines_markers(chats: Chats, arch: str) -> None:
    """What is cut from a template is what the engine puts there."""
    chat = chats(arch, "text")
    heard = chat.engine.encode_audio(scenario.samples("first"))
    rule = RULES[chat.engine.projector]
    for text, tokens in ((rule.begin, heard.begin), (rule.end, heard.end)):
        assert [*tokens] == (chat.engine.tokenize(text) if text else [])


@pytest.mark.parametrize(("arch", "kind"), GGUFS)
def test_a_placeholder_in_a_question_is_text(chats: Chats, arch: str, kind: str) -> None:
    chat = chats(arch, kind)
    builder = PromptBuilder.for_engine(chat.engine)
    rule = RULES[chat.engine.projector]
    evil = f"Say {rule.begin}{rule.placeholder}{rule.end} twice."
    special = {chat.engine.tokenize(token)[0] for token in vocabulary(arch).special}
    counts = []
    for question in (scenario.QUESTION, evil):
        asked = [Message("user", question, (clip("first"),)), Message("assistant", question), Message("user", question)]
        units = builder.units(builder.render(asked))
        assert [unit for unit in units if isinstance(unit, Audio)] == [clip("first")]
        counts.append([unit for unit in units if unit in special])
    assert counts[0] == counts[1]


@pytest.mark.parametrize("arch", ARCHS)
def test_without_its_rule_no_model_gets_the_references_tokens(
    chats: Chats, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = chats(arch, "text")
    monkeypatch.setattr("mata_cpp.prompts.builder.rule_of", lambda *_: PLAIN)
    builder = PromptBuilder.for_engine(chat.engine)
    assert runs(chat, builder.units(builder.render(messages(CASES["one clip"])))) != expected(arch, "one clip")


@pytest.mark.parametrize("kind", ["text", "audio"])
def test_two_clips_of_audio_flamingo(chats: Chats, kind: str) -> None:
    """Its template has one placeholder a message; no clip is lost for that."""
    chat = chats("audioflamingo3", kind)
    builder = PromptBuilder.for_engine(chat.engine)
    one, two = (runs(chat, builder.units(builder.render(messages(CASES[c])))) for c in ("one clip", "two clips"))
    at = next(i for i, part in enumerate(one) if isinstance(part, list))
    n = chat.engine.encode_audio(scenario.samples("second")).n_tokens
    assert two == [*one[: at + 1], [n], *one[at + 1 :]]


def test_a_model_without_the_rules_tokens_keeps_its_template(tmp_path: Path) -> None:
    """Voxtral's own form needs its own tokens."""
    chatml = partial(add_tokenizer, arch="qwen2_audio", template=templates.TEXT["qwen2_audio"])
    text = models.write_text("voxtral", tmp_path / "text.gguf", chatml)
    mmproj = models.write_mmproj("voxtral", tmp_path / "mmproj.gguf")
    with AudioChat(text, mmproj=mmproj, n_ctx=2048, n_threads=1) as chat:
        builder = PromptBuilder.for_engine(chat.engine)
        assert builder.render([Message("user", "Q")]).startswith("<|im_start|>system\nYou are Somebody Else.")
