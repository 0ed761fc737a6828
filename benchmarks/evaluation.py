"""How fast mata-eval asks, beside a plain loop over choose() and beside as many processes as cores.

    python -m benchmarks.evaluation TABLE [--audio DIR] [--items 1000] [--chunk 50] [--parallel 4] [--json FILE]

TABLE is one that `mata-eval run table` takes.  The three take turns at chunks of the items, the order reversed every
other chunk; what a ratio tells is the ratio of the sums.

loop       model.choose(clip, question, choices) for one item after the other
run        what mata-eval run does, with the log, --parallel questions at a time
processes  the loop in processes of one thread, each with its share of the chunk
sweep      one setting beside a grid of 24, for the first items
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import click

from mata_cpp import AudioModel
from mata_cpp.evaluate import datasets
from mata_cpp.evaluate.items import Item
from mata_cpp.evaluate.jobs import jobs
from mata_cpp.evaluate.local import LocalModel
from mata_cpp.evaluate.log import Log
from mata_cpp.evaluate.run import run
from mata_cpp.evaluate.settings import parse_grid, parse_setting

GRID = ("alpha=0.05,0.1,0.2,0.4", "layers=0:10,10:20", "mode=scale,abs,add")
"""24 settings."""

SWEPT = 12
"""Items of the comparison of one setting and a grid."""

CHILD = """
import json, sys
from mata_cpp import Audio, AudioModel
with AudioModel(sys.argv[1], n_threads=1) as model:
    print("ready", flush=True)
    for line in sys.stdin:
        for audio, question, choices in json.loads(line):
            model.choose(Audio(audio), question, choices)
        print("done", flush=True)
"""


def loop(model: AudioModel, items: list[Item]) -> None:
    for item in items:
        model.choose(list(map(str, item.audio)), item.question, list(item.choices))


def by_run(model: AudioModel, items: list[Item], parallel: int, folder: Path) -> None:
    answerer = LocalModel(model, "choose", hashes={}, parallel=parallel)
    with Log(folder / f"{time.monotonic_ns()}.jsonl", {}) as log:
        run(jobs(items, forms=("listed",)), [parse_setting("alpha=0.1 mode=abs")], answerer, log)


class Processes:
    """Children that have loaded the model and wait for work."""

    def __init__(self, model: str, count: int) -> None:
        self._children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(count)
        ]
        for child in self._children:
            self._line(child.stdout)

    def ask(self, items: list[Item]) -> None:
        count = len(self._children)
        for number, child in enumerate(self._children):
            assert child.stdin is not None
            share = [(str(item.audio[0]), item.question, item.choices) for item in items[number::count]]
            child.stdin.write(json.dumps(share) + "\n")
            child.stdin.flush()
        for child in self._children:
            self._line(child.stdout)

    def close(self) -> None:
        for child in self._children:
            assert child.stdin is not None
            child.stdin.close()
            child.wait()

    @staticmethod
    def _line(stream: IO[str] | None) -> None:
        assert stream is not None
        if not stream.readline():
            raise click.ClickException("a process of the benchmark ended")


def sweep(model: AudioModel, items: list[Item]) -> tuple[float, float]:
    """Seconds for one setting, and for the grid, over the same items; nothing is known of the clips before."""
    one, grid = [parse_setting("alpha=0.1").mata], [setting.mata for setting in parse_grid(GRID)]
    took = [0.0, 0.0]
    for item in items:
        for side, settings in enumerate((one, grid)):
            model.forget()
            started = time.perf_counter()
            clip, choices = str(item.audio[0]), list(item.choices)
            model.sweep_choices(clip, item.question, choices, settings, contrast=False)
            took[side] += time.perf_counter() - started
    return took[0], took[1]


@click.command()
@click.argument("table", type=click.Path(exists=True, path_type=Path))
@click.option("--audio", type=click.Path(path_type=Path), help="Where the sounds are.")
@click.option("--model", "name", default="tiny", show_default=True)
@click.option("--items", "count", default=1000, show_default=True)
@click.option("--chunk", default=50, show_default=True)
@click.option("--parallel", default=4, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the numbers here.")
def main(table: Path, audio: Path | None, name: str, count: int, chunk: int, parallel: int, file: Path | None) -> None:
    """Items a second of a loop, of mata-eval, and of several processes."""
    items = datasets.load("table", table, audio)[:count]
    cores = os.cpu_count() or 1
    took = {"loop": 0.0, "run": 0.0, "processes": 0.0}
    model = AudioModel(name, n_seq_max=128)
    processes = Processes(name, cores)
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "loop": lambda part: loop(model, part),
            "run": lambda part: by_run(model, part, parallel, Path(folder)),
            "processes": processes.ask,
        }
        model.choose(str(items[0].audio[0]), items[0].question, list(items[0].choices))
        for number in range(0, len(items), chunk):
            part = items[number : number + chunk]
            order = list(ways) if number // chunk % 2 == 0 else list(ways)[::-1]
            for way in order:
                model.forget()
                started = time.perf_counter()
                ways[way](part)
                took[way] += time.perf_counter() - started
    processes.close()
    one, grid = sweep(model, items[:SWEPT])
    found = {way: len(items) / seconds for way, seconds in took.items()}
    print(f"{len(items)} items, {cores} cores, {name}")
    for way, rate in found.items():
        print(f"{way:10} {rate:6.2f} items/s  {rate / found['loop']:5.2f} of the loop")
    print(f"sweep      {grid / one:6.2f} times one setting, for 24 settings ({SWEPT} items)")
    if file is not None:
        file.write_text(json.dumps({"items": len(items), "items_per_s": found, "sweep_24": grid / one}) + "\n")


if __name__ == "__main__":
    main()
