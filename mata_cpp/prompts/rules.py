"""How the reference implementation of each audio architecture writes clips into a prompt.

Converters often put a text-only chat template into the GGUF: what the model's processor does with clips is
lost there.  A rule says it again: what stands around a clip, what joins clips and text, which of them comes
first, and which system message the model gets when nobody gives one.

Sources: the chat templates of the processors in transformers (Qwen2-Audio, Qwen2.5-Omni, Qwen3-Omni, Audio
Flamingo 3, Gemma 4), its processor (Qwen3-ASR, the markers of Music Flamingo), mistral-common's instruct tokenizer 7
(Voxtral), fixie's pipeline (Ultravox), GLM-ASR's inference.py, IBM's examples (Granite Speech).  tests/parity/prompts
holds every rule to them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ModelError

HELPFUL = "You are a helpful assistant."

CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")

GEMMA = """\
{{ bos_token }}
{%- for message in messages -%}
{{ '<|turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
{{- message['content'] | trim }}{{ '<turn|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|turn>model\\n' }}{%- endif -%}
"""

GLM = """\
{%- for message in messages -%}{{ '<|' + message['role'] + '|>\\n' + message['content'] }}{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}
"""

INSTRUCT = """\
{{ bos_token }}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}[SYSTEM_PROMPT]{{ message['content'] }}[/SYSTEM_PROMPT]
{%- elif message['role'] == 'user' -%}[INST]{{ message['content'] }}[/INST]
{%- else -%}{{ message['content'] }}{{ eos_token }}
{%- endif -%}
{%- endfor -%}
"""
"""Voxtral's reference has no template but code; GGUFs hold one of another Mistral model, with a system message of its
own, or the name of one."""


@dataclass(frozen=True)
class PromptRule:
    """Clips in a prompt.

    placeholder: what a template that knows audio writes for a clip, between begin and end, which the engine feeds
    with the clip by itself.  clip: a clip in a text-only template, {n} its number in the conversation.  joiner:
    between clips, and between clips and text.  clips_last: the text comes first.  system: the system message of
    a conversation without one; None: whatever the template does.  template: for a GGUF that has none, or for any
    where it replaces theirs; all of needs have to be single tokens of the model.
    """

    placeholder: str = ""
    begin: str = ""
    end: str = ""
    clip: str = "{clip}"
    joiner: str = "\n"
    clips_last: bool = False
    system: str | None = None
    template: str = ""
    needs: tuple[str, ...] = ()
    replaces: bool = False

    def content(self, clips: list[str], text: str, first: int) -> str:
        """A message as one string; first is the number of its first clip, from 1."""
        parts = [self.clip.format(n=first + i, clip=clip) for i, clip in enumerate(clips)]
        texts = [text] if text else []
        return self.joiner.join(texts + parts if self.clips_last else parts + texts)


PLAIN = PromptRule()
"""Each clip on a line of its own, before the text: for models whose reference is not known here, and for those whose
projector says so (mata.audio.prompt = "plain"), as the default model's.
"""

RULES = {
    "qwen2a": PromptRule(
        "<|AUDIO|>",
        "<|audio_bos|>",
        "<|audio_eos|>",
        clip="Audio {n}: {clip}\n",
        joiner="",
        system=HELPFUL,
        template=CHATML,
        needs=CHATML_TOKENS,
    ),
    "qwen2.5o": PromptRule(
        "<|AUDIO|>",
        "<|audio_bos|>",
        "<|audio_eos|>",
        joiner="",
        system=HELPFUL,
        template=CHATML,
        needs=CHATML_TOKENS,
    ),
    "qwen3a": PromptRule(
        "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>", joiner="", template=CHATML, needs=CHATML_TOKENS
    ),
    "musicflamingo": PromptRule("<sound>", joiner="", system=HELPFUL, template=CHATML, needs=CHATML_TOKENS),
    "voxtral": PromptRule(
        "[AUDIO]", "[BEGIN_AUDIO]", joiner="", template=INSTRUCT, needs=("[INST]", "[/INST]"), replaces=True
    ),
    "ultravox": PromptRule("<|audio|>", joiner=" ", clips_last=True),
    "gemma4": PromptRule("<|audio|>", "<|audio>", "<audio|>", joiner="", template=GEMMA, needs=("<|turn>", "<turn|>")),
    "qwen3asr": PromptRule(
        "<|audio_pad|>",
        "<|audio_start|>",
        "<|audio_end|>",
        joiner="",
        system="",  # words to expect, where there are any
        template=CHATML,
        needs=CHATML_TOKENS,
    ),
    "glmasr": PromptRule(
        "<|pad|>",
        "<|begin_of_audio|>",
        "<|end_of_audio|>",
        joiner="<|user|>\n",  # a turn for what was heard, and one for what is asked about it
        template=GLM,
        needs=("<|user|>", "<|assistant|>"),
    ),
    "musicflamingo2601": PromptRule(
        "<sound>",
        "<|sound_bos|>",
        "<|sound_eos|>",
        joiner="",
        system=HELPFUL,
        template=CHATML,
        needs=CHATML_TOKENS,
    ),
    "granite": PromptRule("<|audio|>", joiner=""),
}
"""By the name that the engine gives for an architecture (csrc/llama/audio)."""


def rule_of(reference: str, named: str = "") -> PromptRule:
    """The rule of an architecture's reference, unless the projector's file names "plain".

    reference: the engine's audio_prompt, or the projector's type.  named: mata.audio.prompt of the file, "" where it
    has none.  Raises ModelError for another name: its markers would not be those that the engine feeds.
    """
    if named in ("", reference):
        return RULES.get(reference, PLAIN)
    if named == "plain":
        return PLAIN
    raise ModelError(
        f'it wants prompts by the rule "{named}" (mata.audio.prompt), which is unknown here: a newer mata-cpp may know'
    )
