"""Write references.json: the tokens that the reference implementations make of the conversations.

Run by hand, from the root of the repository, where transformers==5.23.0, torch, mistral-common==1.13.1,
soundfile and soxr are installed:

    python -m tests.parity.prompts.write_references [ARCH ...]

What is whose:

- Qwen2-Audio: transformers' processor with its own template.
- Qwen2.5-Omni, Qwen3-Omni, Audio Flamingo 3: transformers' processors; the template, which is in the models'
  repositories, is that of templates.AUDIO.
- Voxtral: mistral-common's InstructTokenizerV7 (for a system message with audio, which that refuses,
  InstructTokenizerV13, which has the same form).
- Ultravox: remote code, of which the prompt is written out here: the pipeline puts " <|audio|>" after a question
  without one, and the processor tokenises the text between the placeholders.
"""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
import sys
from typing import Any

import numpy as np

from . import scenario, templates
from .scenario import RATE, Runs, Turn, runs_of, samples
from .vocabulary import AUDIO, Vocabulary, byte_characters, vocabulary

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def fast_tokenizer(v: Vocabulary, **names: str) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE({token: i for i, token in enumerate(v.tokens)}, list(v.merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in v.special])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=v.special[0], extra_special_tokens=names)


def parts(turn: Turn) -> dict[str, Any]:
    role, text, clips = turn
    if not clips:
        return {"role": role, "content": text}
    heard = [{"type": "audio", "audio": samples(name)} for name in clips]
    return {"role": role, "content": [*heard, {"type": "text", "text": text}]}


def processor(arch: str) -> Any:
    import transformers
    from transformers import WhisperFeatureExtractor

    v = vocabulary(arch)
    if arch == "qwen2_audio":
        return transformers.Qwen2AudioProcessor(WhisperFeatureExtractor(feature_size=128), fast_tokenizer(v))
    if arch == "audioflamingo3":
        extractor = WhisperFeatureExtractor(feature_size=128)
        return transformers.AudioFlamingo3Processor(extractor, fast_tokenizer(v), chat_template=templates.AUDIO[arch])
    bos, eos = ("<|audio_bos|>", "<|audio_eos|>") if arch == "qwen2_5_omni" else ("<|audio_start|>", "<|audio_end|>")
    image, video = ("<|IMAGE|>", "<|VIDEO|>") if arch == "qwen2_5_omni" else ("<|image_pad|>", "<|video_pad|>")
    tokenizer = fast_tokenizer(
        v, audio_token=AUDIO[arch], image_token=image, video_token=video, audio_bos_token=bos, audio_eos_token=eos,
        vision_bos_token=bos, vision_eos_token=eos,
    )  # fmt: skip
    kind = transformers.Qwen2_5OmniProcessor if arch == "qwen2_5_omni" else transformers.Qwen3OmniMoeProcessor

    class Hearing(kind):  # type: ignore[misc, valid-type]
        """Without eyes, which would need torchvision."""

        def check_argument_for_proper_class(self, name: str, value: Any) -> Any:
            return type(value) if value is None else super().check_argument_for_proper_class(name, value)

    return Hearing(
        None,
        None,
        WhisperFeatureExtractor(feature_size=128, chunk_length=300),
        tokenizer,
        chat_template=templates.AUDIO[arch],
    )


def by_processor(arch: str, turns: list[Turn]) -> list[int]:
    made = processor(arch)
    conversation = [parts(turn) for turn in turns]
    if arch == "audioflamingo3" and sum(len(clips) for _, _, clips in turns) > 1:
        # It takes one clip a conversation: its template gives the text, its formula the counts.
        text = made.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        names = [name for _, _, clips in turns for name in clips]
        for name in names:
            ids = made(text=["<sound>"], audio=[samples(name)])["input_ids"][0]
            text = text.replace("<sound>", "<counted>" * len(ids), 1)
        assert "<sound>" not in text
        return made.tokenizer(text.replace("<counted>", "<sound>"), add_special_tokens=False)["input_ids"]
    inputs = made.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True, return_dict=True)
    return np.asarray(inputs["input_ids"])[0].tolist()


def by_mistral_common(turns: list[Turn]) -> list[int]:
    import soundfile
    from mistral_common.protocol.instruct.chunk import AudioChunk, TextChunk
    from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
    from mistral_common.protocol.instruct.normalize import get_normalizer
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.protocol.instruct.validator import ValidationMode, get_validator
    from mistral_common.tokens.tokenizers.audio import (
        AudioConfig,
        AudioEncoder,
        AudioSpectrogramConfig,
        SpecialAudioIDs,
    )
    from mistral_common.tokens.tokenizers.base import TokenizerVersion
    from mistral_common.tokens.tokenizers.instruct import InstructTokenizerV7, InstructTokenizerV13
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    v = vocabulary("voxtral")
    byte = {character: i for i, character in enumerate(byte_characters())}
    entries = [
        {"rank": rank, "token_bytes": base64.b64encode(bytes(byte[c] for c in token)).decode(), "token_str": token}
        for rank, token in enumerate(v.plain)
    ]
    config = AudioConfig(RATE, 12.5, AudioSpectrogramConfig(128, 160, 400), chunk_length_s=30.0)
    has_system = turns[0][0] == "system"
    version = TokenizerVersion.v13 if has_system else TokenizerVersion.v7
    tekken = Tekkenizer(
        entries,
        [{"rank": i, "token_str": token, "is_control": True} for i, token in enumerate(v.special)],
        GPT2, len(v.tokens), len(v.special), version, audio_config=config,
    )  # fmt: skip
    ids = SpecialAudioIDs(v.id("[AUDIO]"), v.id("[BEGIN_AUDIO]"), None, None, None)
    encoder = AudioEncoder(config, ids)
    kind = InstructTokenizerV13 if has_system else InstructTokenizerV7

    def message(turn: Turn) -> Any:
        role, text, clips = turn
        if role != "user":
            return SystemMessage(content=text) if role == "system" else AssistantMessage(content=text)
        if not clips:
            return UserMessage(content=text)
        chunks: list[Any] = []
        for name in clips:
            file = io.BytesIO()
            soundfile.write(file, samples(name), RATE, format="WAV", subtype="FLOAT")
            chunks.append(AudioChunk(input_audio={"data": base64.b64encode(file.getvalue()).decode(), "format": "wav"}))
        return UserMessage(content=[*chunks, TextChunk(text=text)])

    mode = ValidationMode.test
    whole = MistralTokenizer(
        kind(tekken, audio_encoder=encoder), validator=get_validator(version, mode),
        request_normalizer=get_normalizer(version, None),
    )  # fmt: skip
    return whole.encode_chat_completion(ChatCompletionRequest(messages=[message(turn) for turn in turns])).tokens


def by_ultravox(turns: list[Turn]) -> Runs:
    """The placeholder is no token of the text model: counts come from the processor's formula."""
    tokenizer = fast_tokenizer(vocabulary("ultravox"), bos_token="<|begin_of_text|>")
    said, names = [], []
    for role, text, clips in turns:
        said.append({"role": role, "content": text + " <|audio|>" * len(clips)})
        names += clips
    whole = tokenizer.apply_chat_template(
        said, chat_template=templates.TEXT["ultravox"], tokenize=False, add_generation_prompt=True
    )
    runs: Runs = []
    for i, text in enumerate(whole.split("<|audio|>")):
        if i:
            frames = -(-len(samples(names[i - 1])) // 160)
            runs.append([-(-frames // 16)])
        runs += tokenizer(text, add_special_tokens=False)["input_ids"]
    return runs


def reference(arch: str, turns: list[Turn]) -> Runs | None:
    """None where there is none."""
    if arch == "ultravox":
        return by_ultravox(turns)
    if arch == "audioflamingo3" and any(len(clips) > 1 for _, _, clips in turns):
        return None
    v = vocabulary(arch)
    ids = by_mistral_common(turns) if arch == "voxtral" else by_processor(arch, turns)
    return runs_of(ids, v.id(AUDIO[arch]))


def main() -> None:
    stored = scenario.load() if scenario.REFERENCES.exists() else {}
    for arch in sys.argv[1:] or AUDIO:
        stored[arch] = {}
        for name, turns in scenario.CASES.items():
            stored[arch][name] = made = reference(arch, turns)
            print(f"{arch}, {name}: {'none' if made is None else len(made)}", flush=True)
    stored["versions"] = {name: importlib.metadata.version(name) for name in ("transformers", "mistral-common")}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(stored.items())]
    scenario.REFERENCES.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
