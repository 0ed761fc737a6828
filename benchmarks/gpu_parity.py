"""MATA on a GPU backend against the CPU: the same prompt, the same settings, both sets of logits.

    python -m benchmarks.gpu_parity [MODEL.gguf ...]

needs an extension built with a GPU backend (CMAKE_ARGS="-DGGML_VULKAN=ON" or -DGGML_CUDA=ON).  Without a GPU,
Mesa's software driver runs the Vulkan graph on the CPU: set GGML_VK_VISIBLE_DEVICES=0.  A line per model, flash
attention and mode: the greatest difference of logits between the backends over the last token of the prompt and
eight steps, and beside it the effect of MATA, which it has to be small against.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from mata_cpp import Mata, _core
from mata_cpp.mata import boost_of

N_STEPS = 8
ALPHA = 0.5


def logits(engine: Any, mata: Mata | None, n_audio: int) -> NDArray[np.float32]:
    """[1 + N_STEPS, n_vocab]"""
    rng = np.random.default_rng(0)
    tokens = rng.integers(10, engine.n_vocab, size=40 + N_STEPS).tolist()
    audio = rng.normal(0, 0.1, size=(n_audio, engine.n_embd)).astype(np.float32)
    session = engine.session()
    session.feed_tokens(tokens[:20])
    span = session.feed_embeddings(audio)
    boost = boost_of(engine, mata)
    if boost is not None:
        session.set_mata(boost.mata.mode, boost.alphas, [(*span, 1.0)])
    rows = []
    session.feed_tokens(tokens[20:40])
    rows.append(session.logits())
    for token in tokens[40:]:
        session.feed_tokens([token])
        rows.append(session.logits())
    session.close()
    return np.stack(rows)


def compare(model: Path, flash_attn: str, n_audio: int) -> list[dict[str, Any]]:
    options = {"flash_attn": flash_attn, "n_ctx": 1024, "n_seq_max": 2}
    cpu = _core.Engine(str(model), n_gpu_layers=0, **options)
    gpu = _core.Engine(str(model), n_gpu_layers=-1, **options)
    off = logits(cpu, None, n_audio)
    results = []
    for mode in (None, "scale", "abs", "add"):
        mata = None if mode is None else Mata(alpha=ALPHA, mode=mode)
        a, b = logits(cpu, mata, n_audio), logits(gpu, mata, n_audio)
        results.append(
            {
                "model": cpu.description,
                "flash_attn": flash_attn,
                "mode": mode or "off",
                "difference": float(np.abs(a - b).max()),
                "effect": float(np.abs(a - off).max()),
                "same_top": float((a.argmax(-1) == b.argmax(-1)).mean()),
                "std": float(a.std()),
            }
        )
    cpu.close()
    gpu.close()
    return results


@click.command(help=__doc__.split("\n")[0])
@click.argument("models", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--audio", default=150, show_default=True, help="Audio tokens in the prompt.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the results here.")
def main(models: tuple[Path, ...], audio: int, json_path: Path | None) -> None:
    devices = _core.devices()
    click.echo("; ".join(f"{name}: {what}" for name, what in devices))
    if not any(name != "CPU" for name, _ in devices):
        raise click.ClickException("this extension has no GPU backend, or no device was found")
    if not models:
        from mata_cpp.files.resolve import resolve

        models = (Path(resolve("tiny").model),)
    results = []
    for model in models:
        for flash_attn in ("on", "off"):
            for r in compare(model, flash_attn, audio):
                results.append(r)
                click.echo(
                    f"{r['model'][:24]:24} FA {flash_attn:3} MATA {r['mode']:5} CPU - GPU {r['difference']:.2e}  "
                    f"effect of MATA {r['effect']:.2e}  same top token {r['same_top']:.0%}  logit std {r['std']:.2f}"
                )
    if json_path:
        json_path.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
