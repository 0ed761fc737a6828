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

from ..audio.encoder import Clip
from ..errors import ModelError
from .rules import PLAIN, PromptRule, rule_of

if TYPE_CHECKING:
    from .._core import Cancel, Engine
    from .template import ChatTemplate

PromptUnit = int | Clip
"""A token, or a clip."""


class Tokenizer(Protocol):
    def __call__(
        self, text: str, *, add_special: bool = False, parse_special: bool = True, cancel: Cancel | None = None
    ) -> list[int]: ...


@dataclass(frozen=True)
class Message:
    """role: "system" | "user" | "assistant"; the model's prompt rule says whether clips come before the text."""

    role: str
    text: str
    clips: tuple[Clip, ...] = ()


@dataclass(frozen=True)
class AnswerFrame:
    """What the template puts around an assistant's answer, after the generation prompt."""

    before: str
    after: str


class PromptBuilder:
    """Renders and tokenises conversations for one model.

    add_bos: whether the model wants a begin-of-text token; it is put in front unless the template
    wrote it.  variables: more values for the template (e.g. enable_thinking).  rule: where clips stand.
    What takes a cancel ends soon with CancelledError once it is set.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenize: Tokenizer,
        *,
        add_bos: bool = False,
        bos_token: str = "",
        variables: Mapping[str, Any] | None = None,
        rule: PromptRule = PLAIN,
    ) -> None:
        self._template = template
        self._rule = rule
        self._placeholder = _placeholder(rule)
        self._tokenize = tokenize
        self._add_bos = add_bos
        self._bos_token = bos_token
        self._variables = dict(variables or {})
        self._nonce = secrets.token_hex(8)
        self._marker = re.compile(f"MATA{self._nonce}([AT])([0-9a-f]+)Z")
        self._clips: dict[str, Clip] = {}
        self._texts: dict[str, str] = {}
        self._known_as_parts = False
        self._writes_clips = bool(rule.placeholder) and rule.placeholder in template.source

    @classmethod
    def for_engine(
        cls, engine: Engine, variables: Mapping[str, Any] | None = None, *, name: str = "the model"
    ) -> PromptBuilder:
        """By the rule of the engine's projector.  name: of the model's file, for messages.  Raises ModelError."""
        from .template import ChatTemplate  # jinja2 comes with it

        rule = rule_of(engine.audio_prompt, engine.prompt_rule)
        source = engine.chat_template
        wanted = rule.template and (rule.replaces or not source.strip())
        if wanted and all(len(engine.tokenize(text)) == 1 for text in rule.needs):
            source = rule.template
        template = ChatTemplate(source, bos_token=engine.bos_token, eos_token=engine.eos_token, name=name)
        return cls(
            template,
            engine.tokenize,
            add_bos=engine.add_bos,
            bos_token=engine.bos_token,
            variables=variables,
            rule=rule,
        )

    @property
    def called(self) -> str:
        """The template in a message: "the chat template of model.gguf"."""
        return self._template.called

    def fresh(self) -> PromptBuilder:
        """A builder for another conversation, which shares the compiled template."""
        return PromptBuilder(
            self._template,
            self._tokenize,
            add_bos=self._add_bos,
            bos_token=self._bos_token,
            variables=self._variables,
            rule=self._rule,
        )

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, cancel: Cancel | None = None
    ) -> str:
        """The template's text with a marker for each clip and each risky text.  Raises ModelError."""
        guarded = [(message, self._guarded(message.text, cancel)) for message in messages]
        if self._writes_clips:
            text = self._render_parts(guarded, add_generation_prompt, cancel)
            if text is not None:
                return text
        if self._rule.system is not None and not any(message.role == "system" for message in messages):
            guarded.insert(0, (Message("system", ""), self._rule.system))
        contents = self._contents(guarded)
        wanted = self._markers("".join(contents))
        for as_parts in (self._known_as_parts, not self._known_as_parts):
            text = self._template.render(
                [_as_message(m.role, content, as_parts) for (m, _), content in zip(guarded, contents, strict=True)],
                add_generation_prompt=add_generation_prompt,
                variables=self._variables,
                cancel=cancel,
            )
            if self._markers(text) == wanted:
                self._known_as_parts = as_parts
                return text
        raise ModelError(f"{self.called} drops or repeats parts of the conversation; use another GGUF")

    def units(self, text: str, *, start: bool = True, cancel: Cancel | None = None) -> list[PromptUnit]:
        """Tokens and clips of rendered text; start: it is the beginning, where a begin token may be due."""
        units: list[PromptUnit] = []
        if start and self._add_bos and not (self._bos_token and text.startswith(self._bos_token)):
            units += self._bos()
        position = 0
        for match in self._marker.finditer(text):
            units += self._template_tokens(text[position : match.start()], cancel)
            kind, key = match.groups()
            if kind == "A":
                units.append(self._clips[key])
            else:
                units += self._tokenize(self._texts[key], add_special=False, parse_special=False, cancel=cancel)
            position = match.end()
        return units + self._template_tokens(text[position:], cancel)

    def parts(self, messages: Sequence[Message]) -> list[list[int] | Clip]:
        """Runs of tokens and clips of a conversation that waits for an answer.  Raises ModelError."""
        parts: list[list[int] | Clip] = []
        for unit in self.units(self.render(messages)):
            if not isinstance(unit, int):
                parts.append(unit)
            elif parts and isinstance(parts[-1], list):
                parts[-1].append(unit)
            else:
                parts.append([unit])
        return parts

    def answer_frame(self, messages: Sequence[Message], cancel: Cancel | None = None) -> AnswerFrame:
        """The texts before and after an answer to messages, as the template writes a finished one."""
        prompt = self.render(messages, cancel=cancel)
        answer = f"MATA{self._nonce}X"
        done = self.render([*messages, Message("assistant", answer)], add_generation_prompt=False, cancel=cancel)
        at = done.rfind(answer)
        if not done.startswith(prompt) or at < len(prompt):
            return AnswerFrame("", "")
        return AnswerFrame(done[len(prompt) : at], done[at + len(answer) :])

    def text_before(self, messages: Sequence[Message], index: int, cancel: Cancel | None = None) -> str:
        """The rendered text up to the content of messages[index]; "" where the template puts that elsewhere."""
        mark = f"MATA{self._nonce}Q"
        text = self.render([*messages[:index], Message(messages[index].role, mark)], cancel=cancel)
        return text[: max(0, text.find(mark))]

    def keep_clips(self, messages: Sequence[Message]) -> None:
        """Drop the clips that past markers stand for, but for those of messages."""
        kept = {clip.content_id[:32] for message in messages for clip in message.clips}
        self._clips = {key: clip for key, clip in self._clips.items() if key in kept}

    def forget(self) -> None:
        """Drop the clips and texts that past markers stand for."""
        self._clips.clear()
        self._texts.clear()

    # -------------------------------------------------------------------------------------------

    def _render_parts(
        self, guarded: Sequence[tuple[Message, str]], add_generation_prompt: bool, cancel: Cancel | None
    ) -> str | None:
        """With clips as the parts that the template writes itself; None where it does not write all of it."""
        clips = [self._clip_marker(clip) for message, _ in guarded for clip in message.clips]
        if not clips:
            return None
        from .template import TemplateLimitError

        try:
            text = self._template.render(
                [_with_clips(message, text, self._rule.clips_last) for message, text in guarded],
                add_generation_prompt=add_generation_prompt,
                variables=self._variables,
                cancel=cancel,
            )
        except TemplateLimitError:
            raise
        except ModelError:
            return None
        if len(self._placeholder.findall(text)) != len(clips):
            return None
        markers = iter(clips)
        text = self._placeholder.sub(lambda _: next(markers), text)
        asked = [written.strip() for message, written in guarded if message.role == "user"]
        wanted = clips + [marker for _, written in guarded for marker in self._markers(written)]
        whole = all(written in text for written in asked) and sorted(self._markers(text)) == sorted(wanted)
        return text if whole else None

    def _contents(self, guarded: Sequence[tuple[Message, str]]) -> list[str]:
        """Each message as one string; clips are numbered over the whole conversation, so that history stays."""
        contents, first = [], 1
        for message, text in guarded:
            clips = [self._clip_marker(clip) for clip in message.clips]
            contents.append(self._rule.content(clips, text, first))
            first += len(clips)
        return contents

    def _markers(self, text: str) -> list[str]:
        return [match.group() for match in self._marker.finditer(text)]

    def _clip_marker(self, clip: Clip) -> str:
        key = clip.content_id[:32]
        self._clips[key] = clip
        return f"MATA{self._nonce}A{key}Z"

    def _guarded(self, text: str, cancel: Cancel | None) -> str:
        """text, or a marker for it where it would give special tokens or pass for a clip."""
        if not self._placeholder.search(text):
            plain = self._tokenize(text, add_special=False, parse_special=False, cancel=cancel)
            if plain == self._tokenize(text, add_special=False, parse_special=True, cancel=cancel):
                return text
        key = next((key for key, known in self._texts.items() if known == text), f"{len(self._texts):x}")
        self._texts[key] = text
        return f"MATA{self._nonce}T{key}Z"

    def _template_tokens(self, text: str, cancel: Cancel | None) -> list[int]:
        return self._tokenize(text, add_special=False, parse_special=True, cancel=cancel) if text else []

    def _bos(self) -> list[int]:
        if self._bos_token:
            return self._tokenize(self._bos_token, add_special=False, parse_special=True)[:1]
        return self._tokenize("", add_special=True, parse_special=True)[:1]


def _placeholder(rule: PromptRule) -> re.Pattern[str]:
    """A clip as a template writes it; its own begin and end go, since the engine feeds them with the clip."""
    if not rule.placeholder:
        return re.compile(r"(?!)")
    begin, placeholder, end = (re.escape(text) for text in (rule.begin, rule.placeholder, rule.end))
    return re.compile(f"(?:{begin})?{placeholder}(?:{end})?")


def _with_clips(message: Message, text: str, clips_last: bool) -> dict[str, Any]:
    """A message for a template that writes clips; templates look for either key, or for the type."""
    if not message.clips:
        return {"role": message.role, "content": text}
    clips: list[dict[str, str]] = [{"type": "audio", "audio": "", "audio_url": ""} for _ in message.clips]
    texts = [{"type": "text", "text": text}] if text else []
    return {"role": message.role, "content": texts + clips if clips_last else clips + texts}


def _as_message(role: str, content: str, as_parts: bool) -> dict[str, Any]:
    """content as a string, or as a list of parts for templates that know only those."""
    return {"role": role, "content": [{"type": "text", "text": content}] if as_parts else content}
