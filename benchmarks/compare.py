"""This package beside the pinned llama.cpp's own tools (built without our patches), and beside transformers.

    python -m benchmarks.compare [--model tiny --model qwen2-audio --model ultravox] [--json FILE] [--plot FILE]

The first run builds llama-mtmd-cli and llama-bench (benchmarks/stock.py) and writes the models with random weights
(benchmarks/audio_models.py: Whisper-large's encoder, 0.5 B text model; 1.6 GB each in --work).  transformers takes
part when --transformers-python names an interpreter that has it.

For each model and clip the systems run in turn, --repeats times, each time in a new process and the order reversed
every other round, after one untimed run of each that brings the files into the page cache.  All get the same threads,
context, cache type and flash attention setting, decode greedily and are asked for the same number of tokens (the
default model ends its answer by itself after a few in this package; llama-mtmd-cli is told to ignore the end).  Values
are medians over the rounds, with the least in brackets; a ratio is the median of the rounds' ratios.

load     from the start of the process until model and projector are there: for this package with the interpreter and
         the imports; for llama-mtmd-cli until its line "loading model:" arrives, without its warm-up run
encode   the clip to embeddings; this package counts the log-mel frames with it, llama-mtmd-cli does not
         ("mtmd batch encoding done in")
a window the same, divided by the number of the encoder's windows: llama-mtmd-cli cuts clips of a multiple of 30 s into
         one more than they fill
prefill  the prompt through the text model; llama-mtmd-cli: from its first line "encoding mtmd batch" to the first
         token, less the encoding, so without the tokens ahead of the clip (its "prompt eval time" has the encoding in)
first    from then on until the first token: this package from the call of stream() to its first piece; llama-mtmd-cli
         from the "loading model:" line to the first byte of the answer on its standard output.  Both read the clip in
         this time
total    first token from the start of the process, seen from outside: on the standard output of both
decode   tokens per second behind the first one, as the systems tell it; transformers: wall time
peak     the most memory the process held (ru_maxrss), with the files that are mapped into it
audio    audio tokens.  llama-mtmd-cli hears 30 s whatever the clip's length, which is what this package changes
second   this package: first token of a second question in the same conversation

Below each clip (up to --decode-up-to seconds) decode is compared with llama-bench on its own terms: given tokens,
no sampling, at the depth of this package's prompt, MATA off and on.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks import systems
from benchmarks.child import Child, ChildError, run
from benchmarks.stock import ROOT, StockError, build
from benchmarks.systems import Measured, Setting

OURS, MTMD, HF = "mata-cpp", "llama-mtmd-cli", "transformers"
COLUMNS = (
    ("load", "load_s"),
    ("encode", "encode_s"),
    ("a window", "encode_window_s"),
    ("prefill", "prefill_s"),
    ("first", "first_token_s"),
    ("total", "total_s"),
    ("decode", "decode_tokens_per_s"),
    ("peak", "max_rss"),
    ("audio", "audio_tokens"),
    ("second", "second_first_token_s"),
)
FIELDS = (*Measured.__dataclass_fields__, "encode_window_s", "encode_prefill_s")
OUT = click.Path(dir_okay=False, path_type=Path)


def rounds(repeats: int, runs: dict[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Every run in turn, the order reversed every other round; None where one failed, which is reported."""
    results: dict[str, list[Any]] = {name: [] for name in runs}
    for i in range(repeats):
        for name in list(runs) if i % 2 == 0 else reversed(list(runs)):
            try:
                results[name].append(runs[name]())
            except ChildError as error:
                click.echo(f"{name}: {error}", err=True)
                results[name].append(None)
    return results


def summary(values: list[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    return {"median": statistics.median(known), "min": min(known), "max": max(known)} if known else None


def summaries(runs: list[Measured | None]) -> dict[str, Any]:
    """{field: {"median", "min", "max"}} over the rounds."""
    done = [one for one in runs if one is not None]
    return {name: summary([getattr(one, name) for one in done]) for name in FIELDS}


def ratios(ours: list[Measured | None], theirs: list[Measured | None]) -> dict[str, float | None]:
    """{field: median over the rounds of ours / theirs}."""
    result = {}
    for name in FIELDS:
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(ours, theirs, strict=True) if a and b]
        known = [a / b for a, b in pairs if a is not None and b]
        result[name] = statistics.median(known) if known else None
    return result


# The table ---------------------------------------------------------------------------------------


def shown(field: str, value: dict[str, float] | None) -> str:
    if value is None:
        return "-"
    if field == "max_rss":
        return f"{value['median'] / 2**20:.0f} MiB"
    if field.endswith("tokens"):
        return f"{value['median']:.0f}"
    if field == "decode_tokens_per_s":
        return f"{value['median']:.1f}/s"
    return f"{value['median']:.2f} [{value['min']:.2f}]"


def table(systems_: dict[str, dict[str, Any]], ratio: dict[str, float | None]) -> str:
    rows = [["", *(title for title, _ in COLUMNS)]]
    rows += [[name, *(shown(field, fields[field]) for _, field in COLUMNS)] for name, fields in systems_.items()]
    if any(value is not None for value in ratio.values()):
        line = ["-" if ratio[field] is None else f"{ratio[field]:.3f}" for _, field in COLUMNS]
        rows.append([f"ratio to {MTMD}", *line])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


# Measuring ---------------------------------------------------------------------------------------


class Comparison:
    """What stays the same over all models and clips."""

    def __init__(self, tools: Path, setting: Setting, repeats: int, timeout: float, hf: str | None, hf_up_to: float):
        self.tools, self.setting, self.repeats, self.timeout = tools, setting, repeats, timeout
        self.hf, self.hf_up_to = hf, hf_up_to

    def _run(self, command: list[str]) -> Child:
        return run(command, timeout=self.timeout, env={"PYTHONPATH": ""} if command[0] == self.hf else None)

    def answers(self, files: dict[str, Any], clip: str, seconds: float) -> dict[str, Callable[[], Measured]]:
        """A run of each system that takes part."""
        runs = {
            OURS: lambda: systems.read_events(self._run(systems.ours_command(files, clip, self.setting))),
            MTMD: lambda: systems.read_mtmd(self._run(systems.mtmd_command(self.tools, files, clip, self.setting))),
        }
        if self.hf and files["shape"] and seconds <= self.hf_up_to:
            command = systems.hf_command(self.hf, files["shape"], clip, self.setting)
            runs[HF] = lambda: systems.read_events(self._run(command))
        return runs

    def clip(self, files: dict[str, Any], clip: str, seconds: float) -> dict[str, Any]:
        runs = rounds(self.repeats, self.answers(files, clip, seconds))
        return {
            "seconds": seconds,
            "systems": {name: summaries(done) for name, done in runs.items()},
            "ratio": ratios(runs[OURS], runs[MTMD]),
            "runs": {name: [one and asdict(one) for one in done] for name, done in runs.items()},
        }

    def decode(self, files: dict[str, Any], depth: int) -> dict[str, Any]:
        """Against llama-bench, tokens per second behind depth positions."""
        ours = systems.ours_command(files, None, self.setting, depth)
        bench = systems.bench_command(self.tools, files, self.setting, depth)
        runs = rounds(
            self.repeats,
            {
                OURS: lambda: systems.events(self._run(ours))["decode"],
                "llama-bench": lambda: systems.read_bench(self._run(bench)),
            },
        )
        result: dict[str, Any] = {"depth": depth, "runs": runs, "llama-bench": summary(runs["llama-bench"])}
        for key in ("off", "on"):
            mine = [one and one[key] for one in runs[OURS]]
            pairs = [a / b for a, b in zip(mine, runs["llama-bench"], strict=True) if a and b]
            result[key], result[f"ratio_{key}"] = summary(mine), statistics.median(pairs) if pairs else None
        return result


def decode_line(result: dict[str, Any]) -> str:
    def rate(key: str) -> str:
        return "-" if result[key] is None else f"{result[key]['median']:.1f}/s"

    def ratio(key: str) -> str:
        return "-" if result[f"ratio_{key}"] is None else f"{result[f'ratio_{key}']:.3f}"

    return (
        f"decode at depth {result['depth']}: llama-bench {rate('llama-bench')}, MATA off {rate('off')} "
        f"(ratio {ratio('off')}), on {rate('on')} (ratio {ratio('on')})"
    )


def transformers_version(python: str | None) -> str | None:
    """Of the interpreter, None where it has none, which is said in a line."""
    if python is None:
        click.echo("transformers is left out: name an interpreter that has torch and it with --transformers-python")
        return None
    try:
        probe = subprocess.run([python, "-c", systems.HF_PROBE], capture_output=True, text=True, timeout=300)
        if probe.returncode == 0:
            return probe.stdout.strip()
        reason = (probe.stderr.strip().splitlines() or ["no message"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    click.echo(f"transformers is left out: {python}: {reason}")
    return None


def prepare(folder: Path, models: list[str], seconds: list[float], audio: Path | None) -> dict[str, Any]:
    wanted = {"models": models, "seconds": seconds, "audio": audio and str(audio)}
    command = [sys.executable, "-m", "benchmarks.prepare", str(folder), json.dumps(wanted)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise click.ClickException("the models and clips cannot be prepared")
    return json.loads(done.stdout.splitlines()[-1])


@click.command(help=__doc__.split("\n")[0])
@click.option("--model", "models", multiple=True, default=["tiny"], show_default=True,
              help="tiny, qwen2-audio, ultravox, another catalogue name; repeatable.")  # fmt: skip
@click.option("--seconds", multiple=True, type=float, default=[2, 10, 30, 120], show_default=True, help="Clip lengths.")
@click.option("--audio", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A recording, repeated to each length.  [default: made by code]")  # fmt: skip
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1))
@click.option("--tokens", default=32, show_default=True, type=click.IntRange(2), help="Tokens of an answer.")
@click.option("--threads", default=0, help="[default: as the package chooses, the physical cores]")
@click.option("--ctx", default=4096, show_default=True)
@click.option("--flash-attn", default="auto", show_default=True, type=click.Choice(["auto", "on", "off"]))
@click.option("--decode-up-to", default=30.0, show_default=True, help="Compare with llama-bench up to this length.")
@click.option("--transformers-python", help="An interpreter that has torch and transformers.")
@click.option("--transformers-up-to", default=10.0, show_default=True, help="Clips up to this length.")
@click.option("--timeout", default=1800.0, show_default=True, help="Seconds for one process.")
@click.option("--tools", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="A folder with llama-mtmd-cli and llama-bench.  [default: built]")  # fmt: skip
@click.option("--work", type=click.Path(path_type=Path), default=ROOT / "build" / "compare", help="Models and clips.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Also write everything here."
)
@click.option(
    "--plot", "plot_path", type=click.Path(dir_okay=False, path_type=Path), help="Also draw it (extra: plot)."
)
def main(
    models: tuple[str, ...], seconds: tuple[float, ...], audio: Path | None, repeats: int, tokens: int, threads: int,
    ctx: int, flash_attn: str, decode_up_to: float, transformers_python: str | None, transformers_up_to: float,
    timeout: float, tools: Path | None, work: Path, json_path: Path | None, plot_path: Path | None,
) -> None:  # fmt: skip
    try:
        tools = tools or build(tools=True)
    except StockError as error:
        raise click.ClickException(str(error)) from None
    hf_version = transformers_version(transformers_python)
    made = prepare(work, list(models), sorted(seconds), audio)
    setting = Setting(tokens, threads or made["threads"], ctx, flash_attn)
    hf = transformers_python if hf_version else None
    comparison = Comparison(tools, setting, repeats, timeout, hf, transformers_up_to)
    results: dict[str, Any] = {"setting": asdict(setting), "repeats": repeats, "transformers": hf_version, "models": {}}
    click.echo(f"{setting.threads} threads, flash attention {flash_attn}, {repeats} rounds, {tokens} tokens")

    for name, files in made["models"].items():
        lengths = sorted(made["clips"], key=float)
        rounds(1, comparison.answers(files, made["clips"][lengths[0]], float(lengths[0])))  # untimed
        clips = results["models"].setdefault(name, {"sizes": files["shape"], "clips": {}})["clips"]
        for length in lengths:
            clips[length] = result = comparison.clip(files, made["clips"][length], float(length))
            click.echo(f"\n{name}, clip of {length} s\n{table(result['systems'], result['ratio'])}")
            depth = result["systems"][OURS]["prompt_tokens"]
            if depth and float(length) <= decode_up_to:
                result["decode"] = comparison.decode(files, int(depth["median"]))
                click.echo(decode_line(result["decode"]))
            if json_path:
                json_path.write_text(json.dumps(results, indent=2))
    if plot_path:
        draw(results, plot_path)


def draw(results: dict[str, Any], path: Path) -> None:
    """In another process: matplotlib is large."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(results, file)
        file.flush()
        if subprocess.run([sys.executable, "-m", "benchmarks.plot", file.name, str(path)]).returncode:
            raise click.ClickException("the plot could not be drawn")


if __name__ == "__main__":
    main()
