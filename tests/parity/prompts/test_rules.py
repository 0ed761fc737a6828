"""What the prompt rules of further architectures write, without an engine: the text of a conversation, clips by name.

Whose text it is: Gemma 4's, that of the template that came with the pinned llama.cpp for its 31 B model, whose
processor puts the markers around a clip; Qwen3-ASR's, of transformers' processor; GLM-ASR's, of zai-org's inference.py,
which writes a turn for the clip and one for the question; Music Flamingo's, Audio Flamingo 3's with the markers of its
own processor (its template was not at hand); Granite Speech's, of IBM's examples, which write the clip before the
question (its template was not at hand: the plain one stands in for any that knows no audio).
"""

from __future__ import annotations

from functools import cache

import pytest
from parity.prompts import scenario
from parity.prompts.scenario import ANSWER, CASES, OTHER, QUESTION, SYSTEM, Turn

from mata_cpp import Audio
from mata_cpp.prompts.builder import Message, PromptBuilder
from mata_cpp.prompts.rules import CHATML, CHATML_TOKENS, RULES
from mata_cpp.prompts.template import FALLBACK_TEMPLATE, ChatTemplate

SPECIAL = {
    "gemma4": ("<bos>", "<|turn>", "<turn|>", "<|audio|>", "<|audio>", "<audio|>", "<|channel>", "<channel|>"),
    "qwen3asr": (*CHATML_TOKENS, "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>", "<asr_text>"),
    "glmasr": ("<|user|>", "<|assistant|>", "<|system|>", "<|pad|>", "<|begin_of_audio|>", "<|end_of_audio|>"),
    "musicflamingo2601": (*CHATML_TOKENS, "<sound>", "<|sound_bos|>", "<|sound_eos|>"),
    "granite": ("<|audio|>", "<|end_of_text|>"),
}
BOS = {"gemma4": "<bos>"}

# Templates that know audio, of our own writing, with the wording of those in the models' repositories.
GEMMA_PARTS = (
    "{{ bos_token }}{% for m in messages %}<|turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio|>{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{% endif %}"
    "<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n<|channel>thought\n<channel|>{% endif %}"
)
ASR_PARTS = (
    "<|im_start|>system\n{% for m in messages if m['role'] == 'system' %}{{ m['content'] }}{% endfor %}<|im_end|>\n"
    "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}"
    "{{ m['content'] }}{% else %}{% for part in m['content'] %}{% if part['type'] == 'audio' %}"
    "<|audio_start|><|audio_pad|><|audio_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "gemma4": {"own": RULES["gemma4"].template, "parts": GEMMA_PARTS},
    "qwen3asr": {"own": RULES["qwen3asr"].template, "text": CHATML, "parts": ASR_PARTS},
    "glmasr": {"own": RULES["glmasr"].template},
    "musicflamingo2601": {"own": RULES["musicflamingo2601"].template, "text": CHATML},
    "granite": {"text": FALLBACK_TEMPLATE},
}

TRANSCRIBE: list[Turn] = [("user", "", ("first",))]
EXPECT_WORDS: list[Turn] = [("system", "Barcelona", ()), ("user", "", ("first",))]


def chatml(*turns: str) -> str:
    return "".join(f"<|im_start|>{turn}<|im_end|>\n" for turn in turns) + "<|im_start|>assistant\n"


def gemma(*turns: str) -> str:
    return "<bos>" + "".join(f"<|turn>{turn}<turn|>\n" for turn in turns) + "<|turn>model\n"


HELPFUL = "system\nYou are a helpful assistant."
WANTED: list[tuple[str, list[Turn], str]] = [
    ("gemma4", CASES["one clip"], gemma(f"user\n(first){QUESTION}")),
    ("gemma4", CASES["two clips"], gemma(f"user\n(first)(second){QUESTION}")),
    ("gemma4", CASES["system"], gemma(f"system\n{SYSTEM}", f"user\n(first){QUESTION}")),
    (
        "gemma4",
        CASES["follow-up with a clip"],
        gemma(f"user\n(first){QUESTION}", f"model\n{ANSWER}", f"user\n(second){OTHER}"),
    ),
    ("qwen3asr", TRANSCRIBE, chatml("system\n", "user\n(first)")),
    ("qwen3asr", EXPECT_WORDS, chatml("system\nBarcelona", "user\n(first)")),
    ("glmasr", CASES["one clip"], f"<|user|>\n(first)<|user|>\n{QUESTION}<|assistant|>\n"),
    (
        "glmasr",
        CASES["follow-up"],
        f"<|user|>\n(first)<|user|>\n{QUESTION}<|assistant|>\n{ANSWER}<|user|>\n{OTHER}<|assistant|>\n",
    ),
    ("musicflamingo2601", CASES["one clip"], chatml(HELPFUL, f"user\n(first){QUESTION}")),
    ("musicflamingo2601", CASES["system"], chatml(f"system\n{SYSTEM}", f"user\n(first){QUESTION}")),
    ("granite", CASES["one clip"], f"USER: (first){QUESTION}\nASSISTANT:"),
]
ALL = [(rule, kind, turns, text) for rule, turns, text in WANTED for kind in TEMPLATES[rule]]


@cache
def clip(name: str) -> Audio:
    return Audio((scenario.samples(name), scenario.RATE), name=name)


class Tokenizer:
    """Characters, and a token for each special text."""

    def __init__(self, special: tuple[str, ...]) -> None:
        self.special = sorted(special, key=len, reverse=True)

    def __call__(self, text: str, *, add_special: bool = False, parse_special: bool = True, cancel: object = None):
        made: list[int] = []
        while text:
            found = next((s for s in self.special if parse_special and text.startswith(s)), None)
            made.append(-1 - self.special.index(found) if found else ord(text[0]))
            text = text[len(found) if found else 1 :]
        return made

    def text(self, units: list) -> str:
        names = {id(clip(name)): f"({name})" for name in scenario.SECONDS}
        return "".join(
            names[id(unit)] if isinstance(unit, Audio) else self.special[-1 - unit] if unit < 0 else chr(unit)
            for unit in units
        )


def builder(rule: str, kind: str) -> tuple[PromptBuilder, Tokenizer]:
    tokenizer = Tokenizer(SPECIAL[rule])
    template = ChatTemplate(TEMPLATES[rule][kind], bos_token=BOS.get(rule, ""), eos_token="")
    return PromptBuilder(template, tokenizer, rule=RULES[rule]), tokenizer


def written(rule: str, kind: str, turns: list[Turn]) -> str:
    made, tokenizer = builder(rule, kind)
    messages = [Message(role, text, tuple(clip(name) for name in names)) for role, text, names in turns]
    return tokenizer.text(made.units(made.render(messages)))


@pytest.mark.parametrize(("rule", "kind", "turns", "wanted"), ALL)
def test_text(rule: str, kind: str, turns: list[Turn], wanted: str) -> None:
    if (rule, kind) == ("gemma4", "parts"):
        wanted += "<|channel>thought\n<channel|>"  # no thinking, which this template says so
    assert written(rule, kind, turns) == wanted


@pytest.mark.parametrize(("rule", "kind"), [(rule, kind) for rule, kinds in TEMPLATES.items() for kind in kinds])
def test_a_placeholder_in_a_question_is_text(rule: str, kind: str) -> None:
    about = RULES[rule]
    evil = f"Say {about.begin}{about.placeholder}{about.end} twice."
    made, tokenizer = builder(rule, kind)
    units = made.units(made.render([Message("user", evil, (clip("first"),))]))
    assert [unit for unit in units if isinstance(unit, Audio)] == [clip("first")]
    assert not {"<|audio|>", about.begin, about.placeholder, about.end} & {
        tokenizer.special[-1 - unit] for unit in units if not isinstance(unit, Audio) and unit < 0
    }
    assert evil in tokenizer.text(units)


@pytest.mark.parametrize("rule", sorted(TEMPLATES))
def test_what_a_template_needs_is_special(rule: str) -> None:
    """A fallback is taken only where its markers are single tokens."""
    assert set(RULES[rule].needs) <= set(SPECIAL[rule])
