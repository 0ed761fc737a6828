"""MATA adds only operators that llama.cpp's own tables call supported on CPU, CUDA, Metal and Vulkan."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import sys
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from parity.scenario import MODES, Prompt, Setting, alphas, play

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("CPU", "CUDA", "Metal", "Vulkan")

# Operators that only rename memory: no backend computes anything for them.
NO_WORK = {"NONE", "VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"}

# Which operand a type in a table's parameters is about: a source, or the result as -1.
ROLES = {"type": 0, "type_a": 0, "type_b": 1, "type_src": 0, "type_dst": -1, "type_K": 1, "type_V": 2, "type_KV": 1}
ROLES_OF = {"SET_ROWS": {"type": -1, "type_src": 0, "type_dst": -1, "type_idx": 1}}

# Where a table also has cases unlike ours: what ours look like.  Operands that are no views with gaps, copies that
# do not transpose, padding at the end of rows, products that broadcast over the third dimension alone, and flash
# attention with a mask for heads of usual sizes.
LIKE_OURS = {
    "": {"v": ("0",), "perm1": ("0",), "circular": ("0",), "tfrm": ("0",)},
    "CPY": {"permute_src": ("[0,0,0,0]",), "permute_dst": ("[0,0,0,0]",), "_src_transpose": ("0",)},
    "FLASH_ATTN_EXT": {"hsk": ("64", "128"), "hsv": ("64", "128"), "mask": ("1",), "sinks": ("0",), "nr23": ("[1,1]",)},
    "MUL_MAT": {"per": ("[0,1,2,3]",), "nr": ("[1,1]", "[2,1]", "[4,1]")},
    "PAD": {side: ("0",) for side in ("lp0", "lp1", "lp2", "lp3")},
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docs/ops of the pinned source.  The build leaves it in the archive, so it is taken from there."""
    spec = importlib.util.spec_from_file_location("llama_source", ROOT / "cmake" / "llama_source.py")
    assert spec is not None and spec.loader is not None
    llama_source = sys.modules["llama_source"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(llama_source)

    pin = llama_source.Pin.read(ROOT / "csrc" / "llama" / "pin.json")
    given = os.environ.get("MATA_LLAMA_SOURCE")
    if given and Path(given).is_dir():
        return Path(llama_source.llama_dir(Path(given), pin)) / "docs" / "ops"
    folder = tmp_path_factory.mktemp("ops")
    with tarfile.open(given or llama_source.cached_archive(pin, llama_source.cache_dir())) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if member.isfile() and path.parts[-3:-1] == ("docs", "ops"):
                content = archive.extractfile(member)
                assert content is not None
                (folder / path.name).write_bytes(content.read())
    return folder


@cache
def table(folder: Path, backend: str) -> dict[str, list[tuple[dict[str, str], bool]]]:
    """Operator -> (parameters of a tested case, supported).

    A table may hold several devices of a backend; a case counts as supported where any device has it.
    """
    cases: dict[str, dict[str, bool]] = {}
    with (folder / f"{backend}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            known = cases.setdefault(row["op_name"], {})
            known[row["op_params"]] = known.get(row["op_params"], False) or row["supported"] == "1"
    return {
        name: [(dict(re.findall(r"(\w+)=(\[[^]]*\]|[^,]*)", text)), supported) for text, supported in known.items()]
        for name, known in cases.items()
    }


def unsupported(folder: Path, operator: str) -> list[str]:
    """Backends whose table does not show operator ("NAME src,src -> result") as supported."""
    name, _, types = operator.partition(" ")
    if name in NO_WORK:
        return []
    sources, _, result = types.partition(" -> ")
    operands = [*sources.split(","), result]
    return [b for b in BACKENDS if not _supported(name, table(folder, b).get(name, []), operands)]


def _supported(name: str, cases: list[tuple[dict[str, str], bool]], operands: list[str]) -> bool:
    """Cases like ours must be in the table, all of them supported."""
    roles = ROLES_OF.get(name, ROLES)
    wanted = LIKE_OURS[""] | LIKE_OURS.get(name, {})

    def like_ours(case: dict[str, str]) -> bool:
        types = {key: role for key, role in roles.items() if key in case}
        return (
            bool(types)
            and all(case[key] == operands[role] for key, role in types.items())
            and all(case.get(key, values[0]) in values for key, values in wanted.items())
        )

    verdicts = [supported for case, supported in cases if like_ours(case)]
    return bool(verdicts) and all(verdicts)


@pytest.fixture(scope="module")
def operators(engines: Callable[..., Any]) -> set[str]:
    """All that MATA adds: "NAME src0-type[,src1-type] -> type".

    In any mode, alone and in mixed batches, with and without the read-out.  Flash attention "on" has operands on the
    CPU that the tables do not know; "portable" is the graph that other backends are given.
    """
    added: set[str] = set()
    for name in ("llama", "gemma2"):
        for flash_attn, cache_type in (
            ("off", "f32"), ("off", "f16"), ("on", "f16"), ("on", "q8_0"), ("portable", "f16"), ("portable", "q8_0")
        ):  # fmt: skip
            engine = engines(
                name, flash_attn, cache_type_k=cache_type, cache_type_v="f16" if flash_attn == "off" else cache_type
            )
            for read in (None, [0, 2]):
                sessions = [engine.session() for _ in MODES]
                for mode, session in zip(MODES, sessions, strict=True):
                    session.set_attention_readout(read)
                    play(session, Prompt(name, n_answer=1), Setting(mode, alphas(name)))
                engine.decode([(session, [20, 21], True) for session in sessions])
                engine.decode([(session, [20], False) for session in sessions])
                for session in sessions:
                    session.close()
            added.update(engine.graph_ops())
    return added


def test_all_are_supported_everywhere(operators: set[str], tables: Path) -> None:
    assert {op.split(" ")[0] for op in operators} - NO_WORK, "the graph reports no operators of MATA"
    for op in sorted(operators):
        print(op)
    missing = {op: backends for op in sorted(operators) if (backends := unsupported(tables, op))}
    assert not missing


def test_tables_can_say_no(tables: Path) -> None:
    """Operators that a backend lacks are found out."""
    assert "Metal" in unsupported(tables, "ADD1 f32,f32 -> f32")
    assert "CUDA" in unsupported(tables, "GATED_DELTA_NET f32,f32 -> f32")
    assert unsupported(tables, "NO_SUCH_OPERATOR f32 -> f32") == list(BACKENDS)
    assert unsupported(tables, "ADD f32,f32 -> f32") == []
    assert unsupported(tables, "VIEW f32 -> f32") == []
