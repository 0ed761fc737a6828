"""What MATA costs: prefill and decode with it on, over the same with it off.

    python -m benchmarks.overhead [--rounds 5] [--prompt 800] [--audio 750] [--json FILE] [MODEL.gguf ...]

Without models: the default model, and a random Qwen2 shape of about 1 B parameters at Q4_0.  The runs of one
measurement alternate, and each ratio is the median over the rounds of (on / off of the same round).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from mata_cpp import Mata, _core
from mata_cpp.mata import boost_of

N_STEPS = 24


class Bench:
    """One engine, and the same prompt for every run: text, audio embeddings, question."""

    def __init__(self, model: Path, flash_attn: str, n_prompt: int, n_audio: int, mata: Mata) -> None:
        self.engine = _core.Engine(str(model), flash_attn=flash_attn, n_ctx=2048, n_seq_max=4)
        rng = np.random.default_rng(0)
        n_text = n_prompt - n_audio
        tokens = rng.integers(1, self.engine.n_vocab, size=n_text + 64).tolist()
        self.head, self.question = tokens[: n_text // 2], tokens[n_text // 2 : n_text]
        self.steps = tokens[n_text:]
        self.audio = rng.normal(0, 0.05, size=(n_audio, self.engine.n_embd)).astype(np.float32)
        self.mata = mata
        boost = boost_of(self.engine, mata)
        assert boost is not None
        self.boost = boost

    def turn_on(self, session: Any, span: tuple[int, int]) -> None:
        session.set_mata(self.mata.mode, self.boost.alphas, [(*span, 1.0)])

    def prefill(self, on: bool) -> tuple[float, Any, tuple[int, int]]:
        """Seconds for the whole prompt; the session; where the audio lies."""
        session = self.engine.session()
        start = time.perf_counter()
        session.feed_tokens(self.head)
        span = session.feed_embeddings(self.audio)
        if on:
            self.turn_on(session, span)
        session.feed_tokens(self.question)
        return time.perf_counter() - start, session, span

    def decode(self, parent: Any, span: tuple[int, int], on: bool) -> float:
        """Median seconds of a step, on a fork that is gone afterwards."""
        session = parent.fork()
        session.clear_mata()
        if on:
            self.turn_on(session, span)
        times = []
        for token in self.steps[: N_STEPS + 2]:
            start = time.perf_counter()
            session.feed_tokens([token])
            times.append(time.perf_counter() - start)
        session.close()
        return statistics.median(times[2:])  # the first builds the graph


def alternate(run: Any, rounds: int) -> dict[str, float]:
    """run(on) in turns, the order swapped every round."""
    off, on = [], []
    for i in range(rounds):
        for is_on in (False, True) if i % 2 == 0 else (True, False):
            (on if is_on else off).append(run(is_on))
    ratios = [b / a for a, b in zip(off, on, strict=True)]
    return {
        "off_ms": 1e3 * statistics.median(off),
        "on_ms": 1e3 * statistics.median(on),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def measure(model: Path, flash_attn: str, n_prompt: int, n_audio: int, mata: Mata, rounds: int) -> dict[str, Any]:
    bench = Bench(model, flash_attn, n_prompt, n_audio, mata)
    _, parent, span = bench.prefill(False)  # warm-up, and the prefix of the decode runs
    decode = alternate(lambda on: bench.decode(parent, span, on), rounds * 3)
    parent.close()

    def prefill(on: bool) -> float:
        seconds, session, _ = bench.prefill(on)
        session.close()
        return seconds

    result = {
        "model": bench.engine.description,
        "n_params": bench.engine.n_params,
        "flash_attn": flash_attn,
        "n_prompt": n_prompt,
        "n_audio": n_audio,
        "mode": mata.mode,
        "layers": len(bench.boost.layers),
        "n_layer": bench.engine.n_layer,
        "n_threads": bench.engine.n_threads,
        "prefill": alternate(prefill, rounds),
        "decode": decode,
    }
    bench.engine.close()
    return result


def line(r: dict[str, Any]) -> str:
    def part(name: str) -> str:
        x = r[name]
        span = f"[{x['ratio_min']:.3f} .. {x['ratio_max']:.3f}]"
        return f"{name} {x['off_ms']:.2f} -> {x['on_ms']:.2f} ms, ratio {x['ratio']:.3f} {span}"

    where = f"{r['layers']:2}/{r['n_layer']:2} layers"
    head = f"{r['model'][:24]:24} FA {r['flash_attn']:3} {r['mode']:5} {where}"
    return f"{head}  {part('prefill')}  {part('decode')}"


@click.command(help=__doc__.split("\n")[0])
@click.argument("models", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rounds", default=5, show_default=True, help="Prefill runs each way; decode takes three times as many.")
@click.option("--prompt", default=800, show_default=True, help="Tokens of the prompt.")
@click.option("--audio", default=750, show_default=True, help="Audio tokens among those of the prompt.")
@click.option("--mode", "modes", multiple=True, default=["scale"], type=click.Choice(["scale", "abs", "add"]))
@click.option("--flash-attn", "flash", multiple=True, default=["on", "off"], type=click.Choice(["on", "off"]))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the results here.")
def main(
    models: tuple[Path, ...],
    rounds: int,
    prompt: int,
    audio: int,
    modes: list[str],
    flash: list[str],
    json_path: Path | None,
) -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        paths = list(models)
        if not paths:
            from benchmarks.models import write_qwen2
            from mata_cpp.files.resolve import resolve

            paths = [Path(resolve("tiny").model), write_qwen2(Path(folder) / "qwen2-1b-q4_0.gguf")]
        for path in paths:
            for flash_attn in flash:
                for mode in modes:
                    result = measure(path, flash_attn, prompt, audio, Mata(mode=mode), rounds)
                    results.append(result)
                    click.echo(line(result))
    if json_path:
        json_path.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
