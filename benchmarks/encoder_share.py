"""What a short clip costs: the encoder's time for 1.7 s over that for 30 s, for each audio architecture.

    python -m benchmarks.encoder_share [ARCH ...] [--rounds 3] [--threads N] [--layers N] [--json FILE]

The projectors have random weights and the sizes of published models (benchmarks/encoder_models.py); each is written to
a temporary folder, measured and removed.  Needs about 4 GB of memory and 2 GB of disk.  Time is that of
Engine.encode_audio, log-mel frames included, the best of the rounds (of more where they are short); the clips
alternate, and none is heard twice.

The ratio of the two times should be at most 1.1 times the greater of two shares:

    frames   frames that the encoder is handed, padding included, at 1.7 s over 30 s
    work     additions and multiplications (benchmarks/encoder_work.py): less than the frames where all rows attend to
             all, more where a short clip is filled up inside the encoder

Below is fine.  Where the reference pads clips to 30 s, both shares are 1.  An architecture without a row in
csrc/llama/audio is not measured.
"""

from __future__ import annotations

import itertools
import json
import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from benchmarks import encoder_models, encoder_work, sounds
from benchmarks.encoder_models import Size
from benchmarks.long_clip import peak_mb
from mata_cpp import _core

SHORT, LONG = 1.7, 30.0
TOLERANCE = 1.1
AT_LEAST_S = 5.0


@dataclass(frozen=True)
class Measured:
    arch: str
    model: str
    layers: int
    width: int
    mib: float  # the projector
    threads: int
    padded_s: float  # 0: the reference does not pad
    short_s: float
    long_s: float
    tokens: tuple[int, int]
    frames: float  # shares
    work: float
    long_gflop: float

    @property
    def ratio(self) -> float:
        return self.short_s / self.long_s

    @property
    def is_fault(self) -> bool:
        return self.ratio > TOLERANCE * max(self.frames, self.work)

    @property
    def note(self) -> str:
        notes = [f"pads to {self.padded_s:g} s"] if self.padded_s else []
        notes += ["no layers: one matrix"] if not self.layers else []
        notes += ["TOO MUCH"] if self.is_fault else []
        return ", ".join(notes)


def shares(arch: str, size: Size) -> tuple[float, float, float]:
    """frames, work; and the long clip's additions and multiplications."""
    with encoder_models.sized(arch, size):
        tensors = [(name, x.shape) for name, x in encoder_models.projector_tensors(arch, size)]
    short, long = (encoder_work.USES[arch](round(s * sounds.RATE)) for s in (SHORT, LONG))
    n_short, n_long = (encoder_work.operations(use, size.layers, size.width, tensors) for use in (short, long))
    return short.frames / long.frames, n_short / n_long, n_long


def best(engine: _core.Engine, rounds: int) -> tuple[dict[float, float], dict[float, int]]:
    """Seconds and tokens of the short and the long clip.  A short one before them warms up."""
    seconds, tokens = {SHORT: math.inf, LONG: math.inf}, {}
    seeds = itertools.count()
    engine.encode_audio(sounds.mixed(SHORT, next(seeds)))
    spent = 0.0
    while rounds > 0 or spent < AT_LEAST_S:
        rounds -= 1
        for length in (SHORT, LONG):
            heard = engine.encode_audio(sounds.mixed(length, next(seeds)))
            seconds[length] = min(seconds[length], heard.encode_s)
            tokens[length] = heard.n_tokens
            spent += heard.encode_s
    return seconds, tokens


def measure(arch: str, size: Size, rounds: int, threads: int) -> Measured:
    frames, work, operations = shares(arch, size)
    with tempfile.TemporaryDirectory() as folder:
        language, projector = encoder_models.write(arch, size, Path(folder))
        mib = projector.stat().st_size / 2**20
        engine = _core.Engine(str(language), str(projector), n_ctx=2048, n_threads=threads)
        try:
            seconds, tokens = best(engine, rounds)
            padded_s, threads = engine.padded_samples / engine.sample_rate, engine.n_threads
        finally:
            engine.close()
    return Measured(
        arch, size.model, size.layers, size.width, mib, threads, padded_s, seconds[SHORT], seconds[LONG],
        (tokens[SHORT], tokens[LONG]), frames, work, operations / 1e9,
    )  # fmt: skip


HEAD = """\
                encoder projector  tokens of    seconds at      GFLOP/s          share of       ratio / share of
architecture     layers    MiB    1.7 s 30 s    1.7 s     30 s  at 30 s   ratio  frames    work  frames    work"""


def line(m: Measured) -> str:
    return (
        f"{m.arch:14} {f'{m.layers}x{m.width}':>8} {m.mib:6.0f} {m.tokens[0]:8} {m.tokens[1]:4}"
        f" {m.short_s:8.3f} {m.long_s:8.3f} {m.long_gflop / m.long_s:8.0f} {m.ratio:7.3f}"
        f" {m.frames:7.3f} {m.work:7.3f} {m.ratio / m.frames:7.2f} {m.ratio / m.work:7.2f}  {m.note}"
    ).rstrip()


@click.command(help=__doc__.split("\n")[0])
@click.argument("archs", metavar="[ARCH ...]", nargs=-1, type=click.Choice(list(encoder_models.SIZES)))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=0, help="0: the physical cores.")
@click.option("--layers", default=0, help="At most so many, to try the command out; 0: all.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the results here.")
def main(archs: tuple[str, ...], rounds: int, threads: int, layers: int, json_path: Path | None) -> None:
    results = []
    for arch in archs or encoder_models.SIZES:
        size = encoder_models.SIZES[arch]
        if layers:
            size = replace(size, layers=min(size.layers, layers))
        results.append(measure(arch, size, rounds, threads))
        if len(results) == 1:
            click.echo(f"{results[0].threads} threads, matrices F16, best of {rounds} rounds\n{HEAD}")
        click.echo(line(results[-1]))
    click.echo(f"peak memory {peak_mb():.0f} MiB")
    if json_path:
        json_path.write_text(json.dumps([asdict(r) | {"ratio": r.ratio} for r in results], indent=2))


if __name__ == "__main__":
    main()
