"""From a conversation to what the engine is fed: runs of tokens and clips, in order.

Clips, and user text that spells a special token, go through the template as random markers.  So a
question that contains ``<|im_end|>`` stays a question: template text is tokenised with special tokens
parsed, such user text without.  Ordinary text is tokenised together with the template's text around
it, which gives the tokens of a plain rendering.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .audio import Audio
from .errors import ModelError
from .template import ChatTemplate

if TYPE_CHECKING:
    from ._core import Engine

Unit = int | Audio
"""A token, or a clip."""


class Tokenizer(Protocol):
    def __call__(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]: ...


@dataclass(frozen=True)
class Message:
    """role: "system" | "user" | "assistant"; clips are heard before the text."""

    role: str
    text: str
    clips: tuple[Audio, ...] = ()


@dataclass(frozen=True)
class AnswerFrame:
    """What the template puts around an assistant's answer, after the generation prompt."""

    before: str
    after: str


class PromptBuilder:
    """Renders and tokenises conversations for one model.

    add_bos: whether the model wants a begin-of-text token; it is put in front unless the template
    wrote it.  variables: more values for the template (e.g. enable_thinking).
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenize: Tokenizer,
        *,
        add_bos: bool = False,
        bos_token: str = "",
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self._template = template
        self._tokenize = tokenize
        self._add_bos = add_bos
        self._bos_token = bos_token
        self._variables = dict(variables or {})
        self._nonce = secrets.token_hex(8)
        self._marker = re.compile(f"MATA{self._nonce}([AT])([0-9a-f]+)Z")
        self._clips: dict[str, Audio] = {}
        self._texts: dict[str, str] = {}
        self._as_parts = False

    @classmethod
    def for_engine(cls, engine: Engine, variables: Mapping[str, Any] | None = None) -> PromptBuilder:
        template = ChatTemplate(engine.chat_template, bos_token=engine.bos_token, eos_token=engine.eos_token)
        return cls(template, engine.tokenize, add_bos=engine.add_bos, bos_token=engine.bos_token, variables=variables)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """The template's text with a marker for each clip and each risky text.  Raises ModelError."""
        contents = [self._content(message) for message in messages]
        wanted = [match.group() for content in contents for match in self._marker.finditer(content)]
        for as_parts in (self._as_parts, not self._as_parts):
            text = self._template.render(
                [_as_message(m.role, content, as_parts) for m, content in zip(messages, contents, strict=True)],
                add_generation_prompt=add_generation_prompt,
                variables=self._variables,
            )
            if [match.group() for match in self._marker.finditer(text)] == wanted:
                self._as_parts = as_parts
                return text
        raise ModelError("the model's chat template drops or repeats parts of the conversation; use another GGUF")

    def units(self, text: str, *, start: bool = True) -> list[Unit]:
        """Tokens and clips of rendered text; start: it is the beginning, where a begin token may be due."""
        units: list[Unit] = []
        if start and self._add_bos and not (self._bos_token and text.startswith(self._bos_token)):
            units += self._bos()
        position = 0
        for match in self._marker.finditer(text):
            units += self._template_tokens(text[position : match.start()])
            kind, key = match.groups()
            if kind == "A":
                units.append(self._clips[key])
            else:
                units += self._tokenize(self._texts[key], add_special=False, parse_special=False)
            position = match.end()
        return units + self._template_tokens(text[position:])

    def answer_frame(self, messages: Sequence[Message]) -> AnswerFrame:
        """The texts before and after an answer to messages, as the template writes a finished one."""
        prompt = self.render(messages)
        answer = f"MATA{self._nonce}X"
        done = self.render([*messages, Message("assistant", answer)], add_generation_prompt=False)
        at = done.rfind(answer)
        if not done.startswith(prompt) or at < len(prompt):
            return AnswerFrame("", "")
        return AnswerFrame(done[len(prompt) : at], done[at + len(answer) :])

    def text_before(self, messages: Sequence[Message], index: int) -> str:
        """The rendered text up to the content of messages[index]; "" where the template puts that elsewhere."""
        mark = f"MATA{self._nonce}Q"
        text = self.render([*messages[:index], Message(messages[index].role, mark)])
        return text[: max(0, text.find(mark))]

    def forget(self) -> None:
        """Drop the clips and texts that past markers stand for."""
        self._clips.clear()
        self._texts.clear()

    # -------------------------------------------------------------------------------------------

    def _content(self, message: Message) -> str:
        lines = [self._clip_marker(clip) for clip in message.clips]
        if message.text:
            lines.append(self._guarded(message.text))
        return "\n".join(lines)

    def _clip_marker(self, clip: Audio) -> str:
        key = clip.content_id[:32]
        self._clips[key] = clip
        return f"MATA{self._nonce}A{key}Z"

    def _guarded(self, text: str) -> str:
        """text, or a marker for it where tokenising it would give special tokens."""
        plain = self._tokenize(text, add_special=False, parse_special=False)
        if plain == self._tokenize(text, add_special=False, parse_special=True):
            return text
        key = next((key for key, known in self._texts.items() if known == text), f"{len(self._texts):x}")
        self._texts[key] = text
        return f"MATA{self._nonce}T{key}Z"

    def _template_tokens(self, text: str) -> list[int]:
        return self._tokenize(text, add_special=False, parse_special=True) if text else []

    def _bos(self) -> list[int]:
        if self._bos_token:
            return self._tokenize(self._bos_token, add_special=False, parse_special=True)[:1]
        return self._tokenize("", add_special=True, parse_special=True)[:1]


def _as_message(role: str, content: str, as_parts: bool) -> dict[str, Any]:
    """content as a string, or as a list of parts for templates that know only those."""
    return {"role": role, "content": [{"type": "text", "text": content}] if as_parts else content}
