"""What the number of threads costs on an idle and on a busy machine: the whole command, and its parts.

    python -m benchmarks.threads [--threads 0 --threads 1] [--busy 0 --busy 2] [--python FILE] [--rounds 7]
        [--limit SECONDS] [CLIP]

Busy processes count in a loop beside what is measured; they are started here and end with this command.  Threads 0 is
the default of the package.  Another --python has another build of the package, to compare with.  All variants run in
turn in every round, and each ratio is the median over the rounds of (variant / first variant of the same round).
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

QUESTION = "What sound is this?"
COMMAND = "from mata_cpp.cli.chat import main; main()"
BUSY = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
LIMIT = 120.0
"""Seconds for one measured process; a busy one ends by itself after all that could run beside it."""

N_STEPS = 32


@dataclass(frozen=True)
class Variant:
    python: str
    threads: int

    def name(self, pythons: tuple[str, ...]) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}" if self.threads else "default"
        return threads if len(pythons) == 1 else f"{threads}, build {pythons.index(self.python) + 1}"


@contextlib.contextmanager
def busy(n: int, seconds: float) -> Iterator[None]:
    """n processes that use a processor each."""
    loop = [sys.executable, "-c", BUSY.format(seconds=seconds)]
    processes = [subprocess.Popen(loop, stdin=subprocess.DEVNULL) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def parts(clip: str, threads: int) -> dict[str, float]:
    """In a process of its own: milliseconds of the encoder for a clip, and of a decoded token."""
    from mata_cpp import Audio, _core
    from mata_cpp.files.resolve import resolve

    files = resolve("tiny")
    engine = _core.Engine(str(files.model), str(files.mmproj), n_threads=threads, n_ctx=1024)
    samples = Audio(clip).samples(engine.sample_rate)
    session = engine.session()
    engine.encode_audio(samples)  # the first builds the graphs
    session.feed_tokens(list(range(100, 164)))
    session.feed_tokens([164])

    started = time.perf_counter()
    engine.encode_audio(samples)
    encoded = time.perf_counter()
    for token in range(200, 200 + N_STEPS):
        session.feed_tokens([token])
    ended = time.perf_counter()
    return {"encode": 1e3 * (encoded - started), "step": 1e3 * (ended - encoded) / N_STEPS}


def measure(variant: Variant, clip: Path) -> dict[str, float]:
    from benchmarks import child

    threads = ["--threads", str(variant.threads)] if variant.threads else []
    whole = child.run([variant.python, "-c", COMMAND, "-q", *threads, str(clip), QUESTION], timeout=LIMIT)
    inside = child.run([variant.python, __file__, "--parts", str(variant.threads), str(clip)], timeout=LIMIT)
    return {"command": whole.seconds, "cpu": whole.cpu_seconds, **json.loads(inside.output)}


def table(results: dict[int, dict[Variant, list[dict[str, float]]]], pythons: tuple[str, ...]) -> list[str]:
    lines = [
        "| busy processes | threads | command | CPU time | encoder | a token | command / first |",
        "|---|---|---|---|---|---|---|",
    ]
    for n_busy, by_variant in results.items():
        first = next(iter(by_variant.values()))
        for variant, runs in by_variant.items():
            median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            ratios = [a["command"] / b["command"] for a, b in zip(runs, first, strict=True)]
            ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f} .. {max(ratios):.2f}]"
            lines.append(
                f"| {n_busy} | {variant.name(pythons)} | {median['command']:.2f} s | {median['cpu']:.2f} s "
                f"| {median['encode']:.0f} ms | {median['step']:.1f} ms | {ratio} |"
            )
    return lines


@click.command(help=__doc__.split("\n")[0])
@click.argument("clip", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--threads", multiple=True, default=[0, 1], show_default=True, type=click.IntRange(0), help="0: default.")
@click.option("--busy", "busy_counts", multiple=True, default=[0, 2], show_default=True, type=click.IntRange(0))
@click.option("--python", "pythons", multiple=True, default=[sys.executable], help="Has the build to measure.")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
@click.option("--limit", default=600.0, show_default=True, help="Seconds after which no further round begins.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write every single run here.")
@click.option("--parts", "parts_threads", type=int, hidden=True)
def main(
    clip: Path | None,
    threads: tuple[int, ...],
    busy_counts: tuple[int, ...],
    pythons: tuple[str, ...],
    rounds: int,
    limit: float,
    json_path: Path | None,
    parts_threads: int | None,
) -> None:
    if parts_threads is not None:
        click.echo(json.dumps(parts(str(clip), parts_threads)))
        return
    from benchmarks import sounds

    variants = [Variant(python, n) for python in pythons for n in threads]
    results: dict[int, dict[Variant, list[Any]]] = {n: {v: [] for v in variants} for n in busy_counts}
    with tempfile.TemporaryDirectory() as folder:
        if clip is None:
            clip = sounds.write_wav(Path(folder) / "clip.wav", sounds.mixed(5))
        end = time.monotonic() + limit
        for i in range(rounds):
            if i > 0 and time.monotonic() > end:
                click.echo(f"{i} of {rounds} rounds", err=True)
                break
            for n, by_variant in results.items():
                with busy(n, 2 * LIMIT * len(variants)):
                    for variant in variants if i % 2 == 0 else variants[::-1]:
                        by_variant[variant].append(measure(variant, clip))
    for line in table(results, pythons):
        click.echo(line)
    if json_path:
        named = {n: {v.name(pythons): runs for v, runs in rows.items()} for n, rows in results.items()}
        json_path.write_text(json.dumps(named, indent=2))


if __name__ == "__main__":
    main()
