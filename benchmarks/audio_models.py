"""Audio models with random weights: Whisper-large's encoder in front of a text model of about 0.5 B parameters.

    python -m benchmarks.audio_models NAME FOLDER     # writes NAME-text-q4_0.gguf and NAME-mmproj-f16.gguf

NAME is qwen2-audio or ultravox, or one of these with "-small", which has their form and takes a second to write.
The weights are drawn so that activations keep their size and logits have a standard deviation of about 2; answers are
made-up words and never end by chance.  All layers of one file hold the same numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import q4_0

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_bos|>", "<|audio_eos|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
N_POS = 1500
LOGIT_STD = 2.0


@dataclass(frozen=True)
class Shape:
    """Sizes of a text model and its audio encoder, named as in GGUF."""

    text: str  # general.architecture: "qwen2" or "llama"
    projector: str  # "qwen2a" or "ultravox"
    n_layer: int = 24
    n_embd: int = 896
    n_head: int = 14
    n_head_kv: int = 2
    n_ff: int = 4864
    n_vocab: int = 151936
    audio_layers: int = 32
    audio_embd: int = 1280
    audio_heads: int = 20
    audio_ff: int = 5120
    projector_mid: int = 4096  # ultravox: the gated layer's two halves together
    n_mel: int = 128
    stack: int = 8  # ultravox: encoder rows of a token

    def small(self) -> Shape:
        return replace(
            self,
            n_layer=4, n_embd=128, n_head=4, n_ff=512, n_vocab=1024, audio_layers=4, audio_embd=320, audio_heads=5,
            audio_ff=1280, projector_mid=256,
        )  # fmt: skip


SHAPES = {"qwen2-audio": Shape("qwen2", "qwen2a"), "ultravox": Shape("llama", "ultravox", n_vocab=128256)}
SHAPES |= {f"{name}-small": shape.small() for name, shape in SHAPES.items()}

TINY = Shape(
    "llama", "ultravox", n_layer=30, n_embd=576, n_head=9, n_head_kv=3, n_ff=1536, n_vocab=49152, audio_layers=4,
    audio_embd=384, audio_heads=6, audio_ff=1536, projector_mid=1024, n_mel=80, stack=10,
)  # fmt: skip
"""The default model's sizes; its weights are not made here."""


def vocabulary(n_vocab: int) -> list[str]:
    """The markers, a token for every byte (as byte-level BPE writes it), and made-up words."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [byte for byte in range(256) if byte not in plain]
    letters = [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(other))]
    words = n_vocab - len(SPECIAL) - len(letters)
    return [*SPECIAL, *letters, *(f"Ġword{i}" for i in range(words))]


def write_text(shape: Shape, path: Path, seed: int = 0) -> Path:
    """The text model, Q4_0, embeddings and output tied."""
    import gguf

    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), shape.text)
    writer.add_type("model")
    writer.add_name("random weights")
    writer.add_context_length(32768)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    if shape.text == "llama":
        writer.add_rope_dimension_count(shape.n_embd // shape.n_head)
        writer.add_vocab_size(shape.n_vocab)

    tokens = vocabulary(shape.n_vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if shape.text == "qwen2" else "llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIAL))
    )
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    embedding = q4_0(rng, shape.n_vocab, shape.n_embd, LOGIT_STD / shape.n_embd**0.5)
    # Never the greatest logit: ends of turn (a scale of zero) and white space, which is hard to see on a pipe.
    embedding[: len(SPECIAL)] = 0
    embedding[len(SPECIAL) : len(SPECIAL) + 256] = q4_0(rng, 256, shape.n_embd, LOGIT_STD / 16 / shape.n_embd**0.5)
    quantized = {"raw_dtype": gguf.GGMLQuantizationType.Q4_0}
    writer.add_tensor("token_embd.weight", embedding, **quantized)
    writer.add_tensor("output_norm.weight", np.ones(shape.n_embd, np.float32))
    kv = shape.n_embd // shape.n_head * shape.n_head_kv
    layer = {
        f"{name}.weight": q4_0(rng, rows, columns, columns**-0.5)
        for name, rows, columns in (
            ("attn_q", shape.n_embd, shape.n_embd),
            ("attn_k", kv, shape.n_embd),
            ("attn_v", kv, shape.n_embd),
            ("attn_output", shape.n_embd, shape.n_embd),
            ("ffn_gate", shape.n_ff, shape.n_embd),
            ("ffn_up", shape.n_ff, shape.n_embd),
            ("ffn_down", shape.n_embd, shape.n_ff),
        )
    }
    for i in range(shape.n_layer):
        for name, data in layer.items():
            writer.add_tensor(f"blk.{i}.{name}", data, **quantized)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{name}.weight", np.ones(shape.n_embd, np.float32))
        if shape.text == "qwen2":
            for name, size in (("attn_q", shape.n_embd), ("attn_k", kv), ("attn_v", kv)):
                writer.add_tensor(f"blk.{i}.{name}.bias", np.full(size, 0.1, np.float32))
    return _finish(writer, path)


def write_mmproj(shape: Shape, path: Path, seed: int = 1) -> Path:
    """The encoder and projector, F16; norms, biases and positions F32."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_type("mmproj")
    writer.add_name("random weights")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_bool("clip.use_gelu", True)
    writer.add_string("clip.projector_type", shape.projector)
    for name, value in {
        "projection_dim": shape.n_embd, "embedding_length": shape.audio_embd, "feed_forward_length": shape.audio_ff,
        "block_count": shape.audio_layers, "attention.head_count": shape.audio_heads, "num_mel_bins": shape.n_mel,
    }.items():  # fmt: skip
        writer.add_uint32(f"clip.audio.{name}", value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    if shape.projector == "ultravox":
        writer.add_uint32("clip.audio.projector.stack_factor", shape.stack)
    for name, data in _audio_tensors(shape, np.random.default_rng(seed)):
        writer.add_tensor(name, data)
    return _finish(writer, path)


def _audio_tensors(shape: Shape, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[Any]]]:
    d = shape.audio_embd

    def matrix(rows: int, columns: int, *kernel: int, gain: float = 1.0) -> NDArray[np.float16]:
        std = gain / float(columns * np.prod(kernel)) ** 0.5
        return (std * rng.standard_normal((rows, columns, *kernel), dtype=np.float32)).astype(np.float16)

    def norm(name: str, size: int) -> Iterator[tuple[str, NDArray[Any]]]:
        yield f"{name}.weight", np.ones(size, np.float32)
        yield f"{name}.bias", np.zeros(size, np.float32)

    for i, n_in in ((1, shape.n_mel), (2, d)):
        yield f"a.conv1d.{i}.weight", matrix(d, n_in, 3)
        yield f"a.conv1d.{i}.bias", np.zeros((d, 1), np.float32)
    yield "a.position_embd.weight", 0.1 * rng.standard_normal((N_POS, d), dtype=np.float32)
    yield from norm("a.post_ln", d)

    attention = {name: matrix(d, d) for name in ("attn_q", "attn_k", "attn_v", "attn_out")}
    up, down = matrix(shape.audio_ff, d), matrix(d, shape.audio_ff)
    for i in range(shape.audio_layers):
        block = f"a.blk.{i}."
        for name, data in attention.items():
            yield f"{block}{name}.weight", data
            if name != "attn_k":
                yield f"{block}{name}.bias", np.zeros(d, np.float32)
        yield from norm(block + "ln1", d)
        yield from norm(block + "ln2", d)
        yield f"{block}ffn_up.weight", up
        yield f"{block}ffn_up.bias", np.zeros(shape.audio_ff, np.float32)
        yield f"{block}ffn_down.weight", down
        yield f"{block}ffn_down.bias", np.zeros(d, np.float32)

    # What comes out should look like token embeddings.
    gain = LOGIT_STD / shape.n_embd**0.5
    if shape.projector == "ultravox":
        mid = shape.projector_mid
        yield "mm.a.norm_pre.weight", np.ones(shape.stack * d, np.float32)
        yield "mm.a.mlp.1.weight", matrix(mid, shape.stack * d)
        yield "mm.a.norm_mid.weight", np.ones(mid // 2, np.float32)
        yield "mm.a.mlp.2.weight", matrix(shape.n_embd, mid // 2, gain=gain)
    else:
        yield "mm.a.fc.weight", matrix(shape.n_embd, d, gain=gain)
        yield "mm.a.fc.bias", np.zeros(shape.n_embd, np.float32)


def _finish(writer: Any, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """(text model, projector) of SHAPES[name] in folder; files that are there already are kept."""
    shape, folder = SHAPES[name], Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text, mmproj = folder / f"{name}-text-q4_0.gguf", folder / f"{name}-mmproj-f16.gguf"
    for path, make in ((text, write_text), (mmproj, write_mmproj)):
        if not path.exists():
            make(shape, path.with_suffix(".part")).replace(path)
    return text, mmproj


def sizes(name: str) -> dict[str, Any] | None:
    """Shape's fields, None for a model that is neither made here nor the default one."""
    shape = TINY if name == "tiny" else SHAPES.get(name)
    return asdict(shape) if shape else None


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in SHAPES:
        print(f"usage: python -m benchmarks.audio_models {'|'.join(SHAPES)} FOLDER", file=sys.stderr)
        return 2
    for path in write(arguments[0], Path(arguments[1])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
