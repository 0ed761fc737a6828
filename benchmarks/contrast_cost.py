"""What decoding by contrast costs: seconds of an answer with it over those of the same question without.

    python -m benchmarks.contrast_cost [--model tiny] [--rule silence] [--tokens 64] [--rounds 9] [--json FILE] [FILE]

Every run is a whole question on an empty cache: the clip's encoding and prefill are in it, and for the contrast those
of the other clip too.  Answers are forced by a grammar, whose small cost is in both, and have exactly so many tokens.
Runs with and without alternate, the order swapped every round, and the ratio is the median of the rounds' own.  "new
clip" forgets the encoded clips before each run; "known clip" keeps them, as for a second question about a clip; "steps"
are the tokens after the first only.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import click

from mata_cpp import Answer, Audio, AudioModel, Mata

ROOT = Path(__file__).resolve().parents[1]
QUESTION = "Tell me what you hear."
TEXT = " ".join(map(str, range(2000)))
"""What is answered: it repeats nothing, and is longer than any answer here."""


class Bench:
    """One model and one clip; answers of so many tokens."""

    def __init__(self, model: AudioModel, clip: Audio, n_tokens: int) -> None:
        self._model, self._clip, self._n_tokens = model, clip, n_tokens
        self._grammar = f'root ::= "{TEXT}"'

    def run(self, rule: str | None, *, known: bool) -> tuple[float, float]:
        """Seconds of the question, and of a token after the first."""
        pool, encoder = self._model._loaded.pool, self._model._loaded.encoder
        pool.forget()
        if not known:
            encoder.forget()
        start = time.perf_counter()
        answer: Answer = self._model.ask(
            self._clip,
            QUESTION,
            contrast=rule,
            grammar=self._grammar,
            max_tokens=self._n_tokens,
        )
        seconds = time.perf_counter() - start
        if answer.usage.completion_tokens != self._n_tokens:
            raise click.ClickException(f"an answer has {answer.usage.completion_tokens} tokens, not {self._n_tokens}")
        return seconds, 1 / answer.timings.decode_tokens_per_s

    def ratios(self, rule: str, rounds: int, *, known: bool) -> dict[str, float]:
        """Medians: seconds of both, the ratio of whole answers, and that of steps."""
        plain: list[tuple[float, float]] = []
        contrasted: list[tuple[float, float]] = []
        self.run(None, known=known), self.run(rule, known=known)  # graphs are built once
        for i in range(rounds):
            for on in (False, True) if i % 2 == 0 else (True, False):
                (contrasted if on else plain).append(self.run(rule if on else None, known=known))
        pairs = list(zip(plain, contrasted, strict=True))
        return {
            "plain_s": statistics.median(run[0] for run in plain),
            "contrast_s": statistics.median(run[0] for run in contrasted),
            "answer_ratio": statistics.median(b[0] / a[0] for a, b in pairs),
            "step_ratio": statistics.median(b[1] / a[1] for a, b in pairs),
        }


@click.command()
@click.option("--model", default="tiny")
@click.option("--rule", "rules", multiple=True, default=["silence"], help="May be repeated.")
@click.option("--tokens", default=64)
@click.option("--rounds", default=9)
@click.option("--threads", type=int)
@click.option("--no-mata", is_flag=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.argument("file", default=str(ROOT / "examples" / "dog.flac"))
def main(
    model: str,
    rules: tuple[str, ...],
    tokens: int,
    rounds: int,
    threads: int | None,
    no_mata: bool,
    json_path: Path | None,
    file: str,
) -> None:
    """Print a line for each rule."""
    results = []
    with AudioModel(model, n_threads=threads, mata=None if no_mata else Mata()) as opened:
        bench = Bench(opened, Audio(file), tokens)
        for rule in rules:
            for name, known in (("new clip", False), ("known clip", True)):
                found = bench.ratios(rule, rounds, known=known)
                results.append({"rule": rule, "clip": name, "tokens": tokens, "rounds": rounds, **found})
                click.echo(
                    f"{rule:9} {name:10} {tokens} tokens: {found['plain_s']:.2f} s -> {found['contrast_s']:.2f} s, "
                    f"{found['answer_ratio']:.2f} times; steps {found['step_ratio']:.2f} times"
                )
    if json_path is not None:
        json_path.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
