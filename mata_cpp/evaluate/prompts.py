"""Forms of a multiple-choice prompt that are in use, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class PromptForm:
    """source: who asks like this.  write(question, choices) gives the prompt.  lettered: the choices have letters."""

    source: str
    write: Callable[[str, Sequence[str]], str]
    lettered: bool = False


def lettered(choices: Sequence[str], mark: str = "({})") -> list[str]:
    """ "(A) dog", "(B) cat"."""
    return [f"{mark.format(letter)} {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]


def _plain(question: str, choices: Sequence[str]) -> str:
    return f"{question} Choose one: {', '.join(choices)}."


def _mmau(question: str, choices: Sequence[str]) -> str:
    return f"{question}  Select one option from the provided choices.\n{list(choices)!r}."


def _mmar(question: str, choices: Sequence[str]) -> str:
    return "\n".join([question, "Select one option from the provided choices:", *choices])


def _answer_tags(question: str, choices: Sequence[str]) -> str:
    return (
        f"{question} Please choose the answer from the following options: {list(choices)!r}. "
        "Output the final answer in <answer> </answer>."
    )


def _letters(question: str, choices: Sequence[str]) -> str:
    lines = [question, *lettered(choices, "{}."), "Answer with the option's letter from the given choices directly."]
    return "\n".join(lines)


def _response_tags(question: str, choices: Sequence[str]) -> str:
    return (
        f"{question} Select one option from the provided choices. [{', '.join(choices)}]. "
        "Put the answer in <RESPONSE> </RESPONSE>."
    )


def _structured(question: str, choices: Sequence[str]) -> str:
    return "\n".join(
        [
            question,
            "Options:",
            *lettered(choices),
            "First write HEARD: and what you hear. Then write ANALYSIS: and what it says about each option. "
            "Then write ANSWER: and the option.",
        ]
    )


FORMS = {
    "plain": PromptForm("this package's own choose", _plain),
    "mmau": PromptForm("MMAU as Qwen2-Audio is asked, the form that is copied most", _mmau),
    "mmar": PromptForm("MMAR's authors", _mmar),
    "answer-tags": PromptForm("R1-AQA, Ke-Omni-R, NeMo-RL", _answer_tags),
    "letters": PromptForm("lmms-eval", _letters, lettered=True),
    "response-tags": PromptForm("examples that want <RESPONSE>", _response_tags),
    "structured": PromptForm(
        "hear, analyse, answer: for models that reason (Interspeech 2026, 2880)", _structured, lettered=True
    ),
}


def render(form: str, question: str, choices: Sequence[str]) -> str:
    """The prompt; the question alone where there are no choices.  Raises ValueError for a form that there is not."""
    if form not in FORMS:
        raise ValueError(f"there is no prompt form {form!r}; there are {', '.join(FORMS)}")
    return FORMS[form].write(question, choices) if choices else question
