"""Chat templates, of our own writing, with the wording of those in the models' repositories.

TEXT: what a converter takes from a tokenizer's configuration, which knows no audio.  AUDIO: what it takes from a
processor's, where that is a template.
"""

from __future__ import annotations

_CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Somebody Else.<|im_end|>\n{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CHATML_WITHOUT_SYSTEM = _CHATML.partition("{% endif %}")[2]


def _parts(clip: str, system: str) -> str:
    """ChatML whose messages are texts or lists of parts; clip is written for an audio part."""
    first = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n" + system + "<|im_end|>\n{% endif %}"
        if system
        else ""
    )
    return (
        "{% set heard = namespace(n=0) %}" + first + "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
        "{% if part['type'] == 'audio' %}{% set heard.n = heard.n + 1 %}" + clip + "{% elif part['type'] == 'text' %}"
        "{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


_HELPFUL = "You are a helpful assistant."
_FLAMINGO = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n" + _HELPFUL + "<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% if 'audio' in (m['content'] | map(attribute='type') | list) %}<sound>{% endif %}"
    "{% for part in m['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""One placeholder a message, however many clips it has."""

_LLAMA3 = (
    "{{ bos_token }}{% if messages[0]['role'] != 'system' %}<|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\n\n<|eot_id|>{% endif %}{% for m in messages %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_INSTRUCT_WITH_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] != 'system' %}[SYSTEM_PROMPT]You are Somebody Else.[/SYSTEM_PROMPT]"
    "{% endif %}{% for m in messages %}{% if m['role'] == 'user' %}[INST]{{ m['content'] }}[/INST]{% else %}"
    "{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)

TEXT = {
    "qwen2_audio": _CHATML,
    "qwen2_5_omni": _CHATML,
    "qwen3_omni": _CHATML_WITHOUT_SYSTEM,
    "audioflamingo3": _CHATML,
    "voxtral": _INSTRUCT_WITH_SYSTEM,
    "ultravox": _LLAMA3,
}
AUDIO = {
    "qwen2_audio": _parts("Audio {{ heard.n }}: <|audio_bos|><|AUDIO|><|audio_eos|>\n", _HELPFUL),
    "qwen2_5_omni": _parts("<|audio_bos|><|AUDIO|><|audio_eos|>", _HELPFUL),
    "qwen3_omni": _parts("<|audio_start|><|audio_pad|><|audio_end|>", ""),
    "audioflamingo3": _FLAMINGO,
    "voxtral": "mistral-v7-tekken",  # llama.cpp's converter may store a name
}
