"""Step 6: WORK/trained.pt -> a projector (mmproj) and an adapter (LoRA) as GGUF files, and SHA256SUMS.

python export.py --work WORK [--to models/tiny] [--type q8_0|f16]
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import gguf
import numpy as np
import packages
import torch
import torch.nn.functional as F
import yamnet
from gguf import GGMLQuantizationType as Type
from language import ADAPTED
from projector import STACK
from whisper import BLOCKS, HEADS, MELS, WIDTH, Encoder


def add(writer: gguf.GGUFWriter, name: str, values: torch.Tensor | np.ndarray, kind: Type) -> None:
    data = np.ascontiguousarray(
        values.detach().float().numpy() if isinstance(values, torch.Tensor) else values, np.float32
    )
    if kind == Type.F16:
        data = data.astype(np.float16)
    elif kind == Type.Q8_0:
        writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        return
    writer.add_tensor(name, data)


def projector(path: Path, work: Path, trained: dict, kind: Type) -> None:
    """The encoder with its trained last blocks and the projector, of type ultravox."""
    encoder, state = Encoder(packages.whisper_file(work / "wheels")), trained["projector"]
    encoder.rest.load_state_dict(
        {key.removeprefix("blocks."): value for key, value in state.items() if key.startswith("blocks.")}
    )
    out = state["second.weight"].shape[0]
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_string(
        "general.name", "mata-cpp tiny: whisper-tiny.en, YAMNet and a projector for SmolLM2-135M-Instruct"
    )
    writer.add_string(
        "general.license", "MIT AND Apache-2.0 (whisper: MIT, OpenAI; YAMNet: Apache-2.0, The TensorFlow Authors)"
    )
    writer.add_file_type(7 if kind == Type.Q8_0 else 1)
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.projector_type", "ultravox")
    writer.add_string("mata.audio.prompt", "plain")  # clips come first, not last as in Ultravox's own prompts
    writer.add_bool("clip.use_gelu", True)
    for key, value in {
        "num_mel_bins": MELS,
        "embedding_length": WIDTH,
        "feed_forward_length": 4 * WIDTH,
        "block_count": BLOCKS,
        "attention.head_count": HEADS,
        "projection_dim": out,
        "projector.stack_factor": STACK,
    }.items():
        writer.add_uint32("clip.audio." + key, value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    for i, (weight, bias) in enumerate(((encoder.conv1, encoder.conv1_bias), (encoder.conv2, encoder.conv2_bias)), 1):
        add(writer, f"a.conv1d.{i}.weight", weight, Type.F16)
        add(writer, f"a.conv1d.{i}.bias", bias[:, None], Type.F32)
    add(writer, "a.position_embd.weight", encoder.positions, Type.F32)
    for i, block in enumerate(encoder.blocks):
        name = f"a.blk.{i}."
        for letter, weight, bias in zip("qkv", block.qkv.weight.chunk(3), block.qkv.bias.chunk(3), strict=True):
            add(writer, f"{name}attn_{letter}.weight", weight, kind)
            if letter != "k":  # a bias of the keys changes no softmax, and the graph has none
                add(writer, f"{name}attn_{letter}.bias", bias, Type.F32)
        for tensor, module in (("attn_out", block.out), ("ffn_up", block.up), ("ffn_down", block.down)):
            add(writer, f"{name}{tensor}.weight", module.weight, kind)
            add(writer, f"{name}{tensor}.bias", module.bias, Type.F32)
        for tensor, module in (("ln1", block.ln1), ("ln2", block.ln2)):
            add(writer, f"{name}{tensor}.weight", module.weight, Type.F32)
            add(writer, f"{name}{tensor}.bias", module.bias, Type.F32)
    add(writer, "a.post_ln.weight", state["norm.weight"], Type.F32)
    add(writer, "a.post_ln.bias", state["norm.bias"], Type.F32)
    add(writer, "mm.a.norm_pre.weight", state["pre.weight"], Type.F32)
    add(writer, "mm.a.mlp.1.weight", state["first.weight"], kind)
    add(writer, "mm.a.norm_mid.weight", state["mid.weight"], Type.F32)
    add(writer, "mm.a.mlp.2.weight", state["second.weight"], kind)
    events(writer, yamnet.Yamnet(work / "wheels"), state, kind)
    _write(writer)


def events(writer: gguf.GGUFWriter, network: yamnet.Yamnet, state: dict, kind: Type) -> None:
    """YAMNet, and how the projector takes it in."""
    writer.add_string("mata.audio.events", "yamnet")
    number = 0
    for shape, weight, bias, _ in network.layers:
        if shape == "full":
            name, weight, stored = "conv", weight.reshape(len(weight), -1), Type.F32
        elif shape == "depthwise":
            number += 1
            name, weight, stored = f"dw.{number}", weight[:, 0].permute(1, 2, 0), Type.F32
        else:
            # small ones whose rounding all that follows would hear
            name, weight, stored = f"pw.{number}", weight[:, :, 0, 0], kind if number > 6 else Type.F16
        add(writer, f"a.events.{name}.weight", weight, stored)
        add(writer, f"a.events.{name}.bias", bias, Type.F32)
    # blocks of 32: classes that are never there fill up the last one
    spare = -len(state["names"]) % 32
    add(writer, "a.events.head.weight", F.pad(state["classes"].T, (0, 0, 0, spare)), kind)
    add(writer, "a.events.head.bias", F.pad(state["classes_bias"], (0, spare), value=-100.0), Type.F32)
    add(writer, "mm.a.events.norm.weight", state["events_norm.weight"], Type.F32)
    add(writer, "mm.a.events.mlp.weight", state["events.weight"], kind)
    add(writer, "mm.a.events.names.weight", F.pad((state["names"] * state["gain"]).T, (0, spare)), kind)


def adapter(path: Path, trained: dict) -> None:
    """The low-rank matrices beside the language model's.  Of rank 32 and in 8 bits they are as small as of rank 8 in 32
    bits, and a prompt is read faster with them.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_string("general.name", "mata-cpp tiny: adapter for SmolLM2-135M-Instruct")
    writer.add_float32("adapter.lora.alpha", trained["alpha"])
    values = trained["adapters"]
    for index in range(1 + max(int(name.split(".")[1]) for name in values)):
        for matrix in ADAPTED:
            for letter in "ab":
                add(
                    writer,
                    f"blk.{index}.{matrix}.weight.lora_{letter}",
                    values[f"layers.{index}.{matrix}.{letter}"],
                    Type.Q8_0,
                )
    _write(writer)


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--type", choices=("q8_0", "f16"), default="q8_0")
    arguments = parser.parse_args()
    to = arguments.to or arguments.work
    to.mkdir(parents=True, exist_ok=True)
    trained = torch.load(arguments.work / "trained.pt")
    paths = to / f"mmproj-tiny-{arguments.type}.gguf", to / "lora-tiny-q8_0.gguf"
    projector(paths[0], arguments.work, trained, Type.Q8_0 if arguments.type == "q8_0" else Type.F16)
    adapter(paths[1], trained)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}
    (to / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    for path in paths:
        print(path.name, path.stat().st_size, sums[path.name])


if __name__ == "__main__":
    main()
