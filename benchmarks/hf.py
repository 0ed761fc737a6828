"""transformers on the CPU in float32, in a process that compare.py measures; for an interpreter that has torch.

    PYTHON benchmarks/hf.py '{"shape": {...}, "audio": "clip.wav", "n": 32, "threads": 2}'

The same sizes as the model it stands beside, with other random weights, since speed does not depend on them.  The
encoder is transformers' WhisperEncoder, which always computes 30 s; only the rows of the clip go on, through a
linear projector.  Clips of up to 30 s.  Loading (building the modules and drawing weights) is not comparable.
"""

from __future__ import annotations

import json
import sys
import time
import wave
from typing import Any

N_TEXT = 48  # about the prompt's tokens around the audio


def say(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def build(shape: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Encoder, projector, language model."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = Qwen2Config if shape["text"] == "qwen2" else LlamaConfig
    text = config(
        vocab_size=shape["n_vocab"],
        hidden_size=shape["n_embd"],
        intermediate_size=shape["n_ff"],
        num_hidden_layers=shape["n_layer"],
        num_attention_heads=shape["n_head"],
        num_key_value_heads=shape["n_head_kv"],
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        use_cache=True,
    )
    audio = WhisperConfig(
        d_model=shape["audio_embd"],
        encoder_layers=shape["audio_layers"],
        encoder_attention_heads=shape["audio_heads"],
        encoder_ffn_dim=shape["audio_ff"],
        num_mel_bins=shape["n_mel"],
    )
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(text, dtype=torch.float32, attn_implementation="sdpa").eval()
    audio._attn_implementation = "sdpa"
    encoder = WhisperEncoder(audio).eval()
    stack = 2 if shape["projector"] == "qwen2a" else shape["stack"]
    return encoder, torch.nn.Linear(shape["audio_embd"] * stack, shape["n_embd"]), lm


def main() -> None:
    job = json.loads(sys.argv[1])
    import numpy as np
    import torch
    from transformers import WhisperFeatureExtractor

    torch.set_num_threads(job["threads"])
    shape = job["shape"]
    encoder, projector, lm = build(shape)
    features = WhisperFeatureExtractor(feature_size=shape["n_mel"])
    say("loaded")

    with torch.inference_mode():
        started = time.perf_counter()
        with wave.open(job["audio"]) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        if len(samples) > 30 * 16000:
            raise SystemExit("error: clips of more than 30 s are not measured here")
        mel = features(samples, sampling_rate=16000, return_tensors="pt").input_features
        rows = encoder(mel).last_hidden_state[:, : (len(samples) // 160 + 1) // 2]
        stack = projector.in_features // rows.shape[-1]
        rows = rows[:, : rows.shape[1] // stack * stack].reshape(1, -1, projector.in_features)
        audio = projector(rows)
        encoded = time.perf_counter()

        text = lm.get_input_embeddings()(torch.randint(0, shape["n_vocab"], (1, N_TEXT)))
        prompt = torch.cat([text[:, : N_TEXT // 2], audio, text[:, N_TEXT // 2 :]], 1)
        out = lm(inputs_embeds=prompt, use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        first = time.perf_counter()
        say("token")
        for _ in range(job["n"] - 1):
            out = lm(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[:, -1].argmax(-1, keepdim=True)
        ended = time.perf_counter()
    say(
        "result",
        encode_s=encoded - started,
        windows=1,
        prefill_s=first - encoded,
        first_token_s=first - started,
        decode_tokens_per_s=(job["n"] - 1) / (ended - first),
        prompt_tokens=prompt.shape[1],
        audio_tokens=audio.shape[1],
    )


if __name__ == "__main__":
    main()
