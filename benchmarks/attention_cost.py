"""What reading the attention costs: a decoding step with the read-out of all layers, over the same without.

    python -m benchmarks.attention_cost [--rounds 9] [--audio 25 --audio 750] [--json FILE] [MODEL.gguf]

Without a model: the default one.  A prompt of 60 text tokens and the audio, MATA on in the middle third.  The runs
alternate, and each ratio is the median over the rounds of (read / not read of the same round).
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from mata_cpp import Mata, _core
from mata_cpp.mata import boost_of

N_TEXT = 60
N_STEPS = 32
KINDS = ("off", "sums", "rows")
"""Not read; what ask(attention=True) reads; whole rows, as Session.attention gives them."""


class Bench:
    """One engine, and a prompt that every run forks."""

    def __init__(self, model: Path, flash_attn: str, n_audio: int, threads: int) -> None:
        self.engine = _core.Engine(str(model), flash_attn=flash_attn, n_ctx=2048, n_seq_max=4, n_threads=threads)
        rng = np.random.default_rng(0)
        tokens = rng.integers(1, self.engine.n_vocab, size=N_TEXT + N_STEPS + 2).tolist()
        self.steps = tokens[N_TEXT:]
        self.parent = self.engine.session()
        self.parent.feed_tokens(tokens[: N_TEXT // 2])
        audio = rng.normal(0, 0.05, size=(n_audio, self.engine.n_embd)).astype(np.float32)
        self.span = self.parent.feed_embeddings(audio)
        self.parent.feed_tokens(tokens[N_TEXT // 2 : N_TEXT])

    def run(self, kind: str) -> float:
        """Median seconds of a step."""
        session = self.parent.fork()
        n_layer = self.engine.n_layer
        boost = boost_of(self.engine, Mata())
        assert boost is not None
        session.set_mata(boost.mata.mode, boost.alphas, [(*self.span, 1.0)])
        take = None
        if kind == "rows":
            session.set_attention_readout(self.engine.attention_layers)
            take = session.attention
        elif kind == "sums":
            ranges = [(*self.span, 0), (0, self.span[0], 1), (self.span[1], self.parent.n_past, 2)]
            ranges += [(self.parent.n_past, 1 << 30, 4)]
            session.set_attention_sums(self.engine.attention_layers, ranges, list(range(n_layer * 2 // 3, n_layer)))
            take = session.attention_sums
        times = []
        for token in self.steps:
            start = time.perf_counter()
            session.feed_tokens([token])
            if take is not None:
                take()
            times.append(time.perf_counter() - start)
        session.close()
        return statistics.median(times[2:])  # the first builds the graph


def measure(model: Path, flash_attn: str, n_audio: int, rounds: int, threads: int) -> dict[str, Any]:
    bench = Bench(model, flash_attn, n_audio, threads)
    bench.run("off")
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for i in range(rounds):
        for kind in KINDS[i % 3 :] + KINDS[: i % 3]:
            seconds[kind].append(bench.run(kind))
    result: dict[str, Any] = {
        "model": bench.engine.description,
        "n_layer": bench.engine.n_layer,
        "flash_attn": flash_attn,
        "n_audio": n_audio,
        "n_threads": bench.engine.n_threads,
        "off_ms": 1e3 * statistics.median(seconds["off"]),
    }
    for kind in KINDS[1:]:
        ratios = [read / off for read, off in zip(seconds[kind], seconds["off"], strict=True)]
        result[kind] = {"ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    bench.engine.close()
    return result


def line(r: dict[str, Any]) -> str:
    def part(kind: str) -> str:
        x = r[kind]
        return f"{kind} {x['ratio']:.3f} [{x['ratio_min']:.3f} .. {x['ratio_max']:.3f}]"

    head = f"{r['model'][:24]:24} FA {r['flash_attn']:3} {r['n_audio']:4} audio tokens, {r['n_threads']} threads"
    return f"{head}  {r['off_ms']:.2f} ms  {part('sums')}  {part('rows')}"


@click.command(help=__doc__.split("\n")[0])
@click.argument("model", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rounds", default=9, show_default=True)
@click.option("--audio", "audio", multiple=True, default=[25, 150, 750], show_default=True, help="Audio tokens.")
@click.option("--flash-attn", "flash", multiple=True, default=["on", "off"], type=click.Choice(["on", "off"]))
@click.option("--threads", default=0, help="0: the physical cores.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the results here.")
def main(
    model: Path | None, rounds: int, audio: list[int], flash: list[str], threads: int, json_path: Path | None
) -> None:
    if model is None:
        from mata_cpp.files.resolve import resolve

        model = Path(resolve("tiny").model)
    results = []
    for flash_attn in flash:
        for n_audio in audio:
            results.append(measure(model, flash_attn, n_audio, rounds, threads))
            click.echo(line(results[-1]))
    if json_path:
        json_path.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
