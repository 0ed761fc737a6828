"""A tokenizer made by code: bytes, some words, and the special tokens of the real one.

Text is cut as GPT-2 does it and merged by byte pairs.  The three libraries that read it (llama.cpp, tokenizers,
tiktoken) give the same tokens, so that what is compared is what the prompts are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import gguf

WORDS = ("Audio", " sound", "What", " is", " this", "\n\n", " are", " You", "You", " helpful", "?\n", " 1", " A", " <")

CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPECIAL = {
    "qwen2_audio": (*CHATML, "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"),
    "qwen2_5_omni": (*CHATML, "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|IMAGE|>", "<|VIDEO|>"),
    "qwen3_omni": (*CHATML, "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>", "<|image_pad|>", "<|video_pad|>"),
    "audioflamingo3": (*CHATML, "<sound>"),
    "voxtral": (
        "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
        "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]",
        "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]", "[AUDIO]",
        "[BEGIN_AUDIO]", "[TRANSCRIBE]",
    ),
    "ultravox": ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
}  # fmt: skip
AUDIO = {
    "qwen2_audio": "<|AUDIO|>", "qwen2_5_omni": "<|AUDIO|>", "qwen3_omni": "<|audio_pad|>",
    "audioflamingo3": "<sound>", "voxtral": "[AUDIO]", "ultravox": "<|audio|>",
}  # fmt: skip
BOS = {"voxtral": "<s>", "ultravox": "<|begin_of_text|>"}
END = {"voxtral": "</s>", "ultravox": "<|eot_id|>"}


@cache
def byte_characters() -> tuple[str, ...]:
    """The printable character that stands for each byte in byte-level vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return tuple(chr(byte) if byte in printable else chr(next(others)) for byte in range(256))


@dataclass(frozen=True)
class Vocabulary:
    """tokens by id, in byte characters; merges in order of rank; special: names of the special ones."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    special: tuple[str, ...]
    bos: str | None
    end: str

    @property
    def plain(self) -> tuple[str, ...]:
        return tuple(token for token in self.tokens if token not in self.special)

    def id(self, token: str) -> int:
        return self.tokens.index(token)


@cache
def vocabulary(arch: str) -> Vocabulary:
    characters = byte_characters()
    plain, merges = list(characters), []
    for word in WORDS:
        pieces = [characters[byte] for byte in word.encode()]
        left = pieces[0]
        for right in pieces[1:]:
            if left + right not in plain:
                merges.append((left, right))
                plain.append(left + right)
            left += right
    special = SPECIAL[arch]
    tokens = (*special, *plain) if arch == "voxtral" else (*plain, *special)  # tekken's come first
    return Vocabulary(tuple(tokens), tuple(merges), special, BOS.get(arch), END.get(arch, "<|im_end|>"))


def add_tokenizer(writer: gguf.GGUFWriter, arch: str, template: str) -> int:
    """The vocabulary and a chat template into a GGUF; gives the number of tokens."""
    v = vocabulary(arch)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(v.tokens))
    writer.add_token_types([gguf.TokenType.CONTROL if t in v.special else gguf.TokenType.NORMAL for t in v.tokens])
    writer.add_token_merges([" ".join(pair) for pair in v.merges])
    writer.add_eos_token_id(v.id(v.end))
    if v.bos:
        writer.add_bos_token_id(v.id(v.bos))
    writer.add_add_bos_token(v.bos is not None)
    if template:
        writer.add_chat_template(template)
    return len(v.tokens)
