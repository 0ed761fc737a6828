"""The systems that compare.py runs: their commands, and what is read out of what they print."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import Child, ChildError

QUESTION = "What sound is this?"


@dataclass(frozen=True)
class Setting:
    """What all systems are given alike."""

    n: int = 32  # tokens of the answer
    threads: int = 2
    n_ctx: int = 4096
    flash_attn: str = "auto"
    cache_type: str = "f16"


@dataclass
class Measured:
    """Seconds, tokens per second, bytes; None is what a system does not tell.  See compare.py for what they mean."""

    load_s: float | None = None
    encode_s: float | None = None
    windows: int | None = None
    prefill_s: float | None = None
    first_token_s: float | None = None
    total_s: float | None = None
    decode_tokens_per_s: float | None = None
    max_rss: int | None = None
    prompt_tokens: int | None = None
    audio_tokens: int | None = None
    second_first_token_s: float | None = None

    @property
    def encode_window_s(self) -> float | None:
        return self.encode_s / self.windows if self.encode_s is not None and self.windows else None

    @property
    def encode_prefill_s(self) -> float | None:
        return None if self.encode_s is None or self.prefill_s is None else self.encode_s + self.prefill_s


# This package ------------------------------------------------------------------------------------


def ours_command(files: dict[str, Any], clip: str | None, setting: Setting, depth: int = 0) -> list[str]:
    named = None if depth else files["catalogue"]  # decoding beside llama-bench, which takes no adapter
    job = {
        "model": named or files["model"],
        "mmproj": None if named else files["mmproj"],
        "audio": clip,
        "question": QUESTION,
        "n": setting.n,
        "threads": setting.threads,
        "n_ctx": setting.n_ctx,
        "flash_attn": setting.flash_attn if setting.flash_attn == "auto" else setting.flash_attn == "on",
        "cache_type": setting.cache_type,
        "depth": depth,
    }
    return [sys.executable, "-m", "benchmarks.ours", json.dumps(job)]


def events(child: Child) -> dict[str, dict[str, Any]]:
    """The lines of JSON on standard output, by their event.  Raises ChildError."""
    found = {}
    for line in child.output.splitlines():
        try:
            values = json.loads(line)
            found[values.pop("event")] = values
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ChildError(f"not an event: {line[:80]!r}") from None
    return found


def read_events(child: Child) -> Measured:
    """Of ours.py and hf.py.  Raises ChildError."""
    result = events(child).get("result")
    if result is None:
        raise ChildError("the process gave no result")
    fields = {key: result.get(key) for key in Measured.__dataclass_fields__}
    fields |= {"load_s": child.when('"loaded"'), "total_s": child.when('"token"'), "max_rss": child.max_rss}
    return Measured(**fields)


# llama.cpp's own tools ---------------------------------------------------------------------------


def mtmd_command(tools: Path, files: dict[str, Any], clip: str, setting: Setting) -> list[str]:
    command = [tools / "llama-mtmd-cli", "-m", files["model"], "--mmproj", files["mmproj"], "--audio", clip]
    command += ["--lora", files["lora"]] if files["lora"] else []
    command += ["-p", QUESTION, "-n", setting.n, "--temp", 0, "--samplers", "temperature", "--ignore-eos"]
    command += ["-t", setting.threads, "-c", setting.n_ctx, "-fa", setting.flash_attn]
    command += ["-ctk", setting.cache_type, "-ctv", setting.cache_type]
    # No warm-up and no probing of free memory, which this package does not do either; -lv 4 for the timing lines.
    command += ["--no-warmup", "-fit", "off", "-lv", 4]
    return [str(word) for word in command]


ENCODED = re.compile(r"mtmd batch encoding done in (\d+) ms")
AUDIO_BATCH = re.compile(r"decoding audio batch \d+/\d+, n_tokens_batch = (\d+)")
PROMPT_EVAL = re.compile(r"prompt eval time =\s*[\d.]+ ms /\s*(\d+) tokens")  # its time has the encoding in it
EVAL = re.compile(r"(?<!prompt )eval time =\s*([\d.]+) ms /\s*(\d+) runs")
LOADED = "loading model:"
"""llama-mtmd-cli logs this line when the model and the projector are there."""
ENCODING = "encoding mtmd batch"


def read_mtmd(child: Child) -> Measured:
    """Of llama-mtmd-cli.  Raises ChildError where a line is missing.

    Its last lines are sometimes lost when it ends; then the rate of decoding is that of the pieces on standard output.
    """
    log = child.log
    encoded = [int(ms) / 1e3 for ms in ENCODED.findall(log)]
    loaded, encoding, first = child.when(LOADED), child.when(ENCODING), child.first_output()
    if not (encoded and loaded and encoding and first):
        raise ChildError("llama-mtmd-cli printed no timings")
    prompt, evaluated = PROMPT_EVAL.search(log), EVAL.search(log)
    rate = 1e3 * int(evaluated[2]) / float(evaluated[1]) if evaluated and float(evaluated[1]) else pieces_rate(child)
    return Measured(
        load_s=loaded,
        encode_s=sum(encoded),
        windows=len(encoded),
        prefill_s=first - encoding - sum(encoded),
        first_token_s=first - loaded,
        total_s=first,
        decode_tokens_per_s=rate,
        max_rss=child.max_rss,
        prompt_tokens=int(prompt[1]) if prompt else None,
        audio_tokens=sum(map(int, AUDIO_BATCH.findall(log))),
    )


def pieces_rate(child: Child) -> float | None:
    """Pieces per second on standard output behind the first one."""
    times = [at for at, data in child.stdout if data.strip()]
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None


def bench_command(tools: Path, files: dict[str, Any], setting: Setting, depth: int) -> list[str]:
    command = [tools / "llama-bench", "-m", files["model"], "-p", 0, "-n", setting.n, "-d", depth, "-r", 1]
    command += ["-t", setting.threads, "-fa", setting.flash_attn, "-ctk", setting.cache_type]
    command += ["-ctv", setting.cache_type, "-o", "json"]
    return [str(word) for word in command]


def read_bench(child: Child) -> float:
    """Tokens per second of llama-bench.  Raises ChildError."""
    try:
        return float(json.loads(child.output)[0]["avg_ts"])
    except (ValueError, LookupError, TypeError):
        raise ChildError("llama-bench printed no result") from None


# transformers ------------------------------------------------------------------------------------


def hf_command(python: str, shape: dict[str, Any], clip: str, setting: Setting) -> list[str]:
    job = {"shape": shape, "audio": clip, "n": setting.n, "threads": setting.threads}
    return [python, str(Path(__file__).parent / "hf.py"), json.dumps(job)]


HF_PROBE = "import torch, transformers; print(transformers.__version__, torch.__version__)"
