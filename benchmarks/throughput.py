"""Many questions at once on one loaded model, beside llama.cpp's own batched decoding and beside several processes.

    python -m benchmarks.throughput [--model tiny] [--audio DIR] [--repeats 3] [--json FILE]

The first run builds llama-batched-bench of the pinned llama.cpp, unpatched (benchmarks/stock.py).  All runs are
interleaved, the order reversed every other round; a ratio is the median of the rounds' ratios.

decode       tokens a second in all when 1, 2, 4, 8, 16 answers of --tokens tokens are generated at once, with MATA,
             beside llama-batched-bench with as many sequences and as long a prompt (its S_TG; it samples nothing).
             Without the model's adapter, if it has one: llama-batched-bench takes none
questions    questions a second of ask_many over different clips, beside as many processes of one thread as there are
             cores, each with a share of the clips
first token  of a question that comes alone, and of one that comes while 8 others are generated; and of a second
             question about the same clip from another conversation
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from benchmarks.stock import ROOT, StockError, build
from mata_cpp.decoding.sampling import Sampling
from mata_cpp.files.resolve import resolve

if TYPE_CHECKING:
    from mata_cpp import AudioModel, _core
    from mata_cpp.session import Session

BATCHES = (1, 2, 4, 8, 16)
QUESTION = "What sound is this?"
LONG = "Tell me a long story about this sound, with many details."

CHILD = """
import sys, time
from mata_cpp import Audio, AudioModel
model, threads, question = sys.argv[1], int(sys.argv[2]), sys.argv[3]
clips = [Audio(path) for path in sys.argv[4:]]
with AudioModel(model, n_threads=threads) as model:
    model.ask(clips[0], question)
    model.forget()
    print("ready", flush=True)
    sys.stdin.readline()
    for clip in clips:
        model.ask(clip, question, max_tokens=32)
    print("done", flush=True)
"""


def median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


class Bench:
    """One loaded model and the clips to ask about."""

    def __init__(self, name: str, clips: list[Path], threads: int | None, tokens: int) -> None:
        from mata_cpp import Audio, AudioModel

        self.name, self.paths, self.tokens = name, clips, tokens
        self.model = AudioModel(name, n_threads=threads, n_ctx=8192)
        self.bare = self.model
        if resolve(name).lora is not None:
            files = self.model.model_path, self.model.mmproj_path
            self.bare = AudioModel(files[0], mmproj=files[1], n_threads=threads, n_ctx=8192)
        self.clips = [Audio(path) for path in clips]
        self.model.ask(self.clips[0], QUESTION)
        self.prompt_tokens = 0

    def started(self, model: AudioModel, n: int, max_tokens: int) -> tuple[list[Session], list[_core.Generation]]:
        """n answers that do not end by themselves, over prompts that are in the cache."""
        from mata_cpp import _core

        sessions = []
        for i in range(n):
            session = model.session(model.mata)
            session.feed(model.prompt(self.clips[i % len(self.clips)], LONG))
            sessions.append(session)
            self.prompt_tokens = session.n_past
        return sessions, [
            _core.Generation(
                session.core,
                Sampling().sampler(model.engine),
                max_tokens=max_tokens,
                repeat_limit=0,
                ignore_end=True,
            )
            for session in sessions
        ]

    def decode(self, n: int) -> float:
        """Tokens a second while n answers are generated, from the first token of the last one on."""
        sessions, runs = self.started(self.bare, n, self.tokens)
        tokens = []
        for run in runs:
            while some := run.take():
                tokens += [token.at for token in some]
        for session in sessions:
            session.close()
        return (len(tokens) - n) / (max(tokens) - min(tokens))

    def questions(self) -> float:
        """Questions a second over all clips, none of them known."""
        self.model.forget()
        started = time.perf_counter()
        for _ in self.model.ask_many([(clip, QUESTION, {"max_tokens": 32}) for clip in self.clips]):
            pass
        return len(self.clips) / (time.perf_counter() - started)

    def first_token(self, busy: int = 0) -> float:
        """Seconds from a question about an unknown clip to its first token, while busy others are generated."""
        self.model.forget()
        sessions, runs = self.started(self.model, busy, 600)
        self.model.forget()
        seconds = self.model.ask(self.clips[-1], QUESTION).timings.first_token_s
        assert not any(run.finished for run in runs)
        for session in sessions:
            session.close()
        return seconds

    def second_question(self) -> tuple[float, float]:
        """First tokens of a question about an unknown clip, and of another one in another conversation."""
        self.model.forget()
        first = self.model.ask(self.clips[0], QUESTION).timings.first_token_s
        chat = self.model.chat()
        second = chat.ask(self.clips[0], "Is there a dog?").timings.first_token_s
        chat.close()
        return first, second


def processes(name: str, clips: list[Path], n: int) -> float:
    """Questions a second of n processes of one thread, each loaded and warm before the time begins."""
    shares = [clips[i::n] for i in range(n)]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, name, "1", QUESTION, *map(str, share)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for share in shares
    ]  # fmt: skip
    try:
        for child in children:
            assert child.stdout is not None and child.stdout.readline().strip() == "ready"
        started = time.perf_counter()
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        for child in children:
            assert child.stdout is not None and child.stdout.readline().strip() == "done"
        return len(clips) / (time.perf_counter() - started)
    finally:
        for child in children:
            child.kill()
            child.wait()


def batched_bench(program: Path, model: Path, n: int, prompt: int, tokens: int, threads: int) -> float:
    """llama-batched-bench's tokens a second of text generation with n sequences."""
    command = [str(program), "-m", str(model), "-npp", str(prompt), "-ntg", str(tokens), "-npl", str(n)]
    command += ["-c", "8192", "-t", str(threads), "-tb", str(threads), "-kvu", "-fa", "auto"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    rows = [line for line in result.stdout.splitlines() if re.match(r"\|\s*\d", line)]
    if result.returncode or not rows:
        raise StockError(f"llama-batched-bench failed: {result.stderr[-500:]}")
    cells = [cell.strip() for cell in rows[-1].strip("|").split("|")]
    return float(cells[7])  # PP, TG, B, N_KV, T_PP, S_PP, T_TG, S_TG, T, S


@click.command()
@click.option("--model", default="tiny", show_default=True)
@click.option("--audio", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--clips", default=32, show_default=True, help="So many files of --audio.")
@click.option("--tokens", default=64, show_default=True, help="Of each answer in decode.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--threads", type=int, help="[default: the package's]")
@click.option("--skip-stock", is_flag=True, help="Without llama-batched-bench.")
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path))
def main(
    model: str,
    audio: Path,
    clips: int,
    tokens: int,
    repeats: int,
    threads: int | None,
    skip_stock: bool,
    out: Path | None,
) -> None:
    """Measure many questions at once."""
    paths = sorted(path for path in audio.iterdir() if path.suffix in (".wav", ".flac", ".mp3", ".ogg"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:clips]]
    bench = Bench(model, paths, threads, tokens)
    n_threads = bench.model.engine.n_threads
    program = None if skip_stock else build(tools=True) / "llama-batched-bench"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    ours: dict[int, list[float]] = {n: [] for n in BATCHES}
    theirs: dict[int, list[float]] = {n: [] for n in BATCHES}
    many: list[float] = []
    apart: list[float] = []
    alone: list[float] = []
    beside: list[float] = []
    seconds: list[tuple[float, float]] = []
    bench.decode(1)

    def stock(n: int) -> None:
        assert program is not None
        theirs[n].append(batched_bench(program, bench.model.model_path, n, bench.prompt_tokens, tokens, n_threads))

    for i in range(repeats):
        runs: list[Callable[[], object]] = []
        for n in BATCHES:
            runs.append(lambda n=n: ours[n].append(bench.decode(n)))
            if program is not None:
                runs.append(lambda n=n: stock(n))
        runs += [lambda: many.append(bench.questions()), lambda: apart.append(processes(model, paths, cores))]
        runs += [lambda: alone.append(bench.first_token()), lambda: beside.append(bench.first_token(8))]
        runs.append(lambda: seconds.append(bench.second_question()))
        for run in runs if i % 2 == 0 else reversed(runs):
            run()

    print(f"{bench.model!r}, {n_threads} threads, {cores} cores, prompts of {bench.prompt_tokens} tokens\n")
    print("| answers at once | tokens/s | llama-batched-bench | ratio |\n|---|---|---|---|")
    for n in BATCHES:
        pairs = [a / b for a, b in zip(ours[n], theirs[n], strict=False)]
        print(f"| {n} | {median(ours[n]):.1f} | {median(theirs[n]):.1f} | {median(pairs):.3f} |")
    ratio = median([a / b for a, b in zip(many, apart, strict=True)])
    print(f"\nquestions/s: {median(many):.2f}, {cores} processes of one thread {median(apart):.2f}, ratio {ratio:.2f}")
    ratio = median([b / a for a, b in zip(alone, beside, strict=True)])
    print(f"first token: alone {median(alone):.3f} s, while 8 decode {median(beside):.3f} s, ratio {ratio:.2f}")
    ratio = median([b / a for a, b in seconds])
    print(
        f"second question about the clip from another chat: {median([b for _, b in seconds]):.3f} s, ratio {ratio:.2f}"
    )
    if out is not None:
        record = {"decode": ours, "stock": theirs, "questions": many, "processes": apart}
        record |= {"first_alone": alone, "first_beside": beside, "second": seconds}
        out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    bench.model.close()
    bench.bare.close()


if __name__ == "__main__":
    main()
