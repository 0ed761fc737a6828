"""The pinned llama.cpp, unpatched, built beside the extension: what "off is stock" and all comparisons are held to.

    python -m benchmarks.stock            # libllama, libggml*, libmtmd as shared libraries
    python -m benchmarks.stock --tools    # also llama-mtmd-cli, llama-bench and llama-batched-bench

prints the folder they are in.  The first run compiles for some minutes; later ones find it done.
program() compiles a C++ file of ours against these libraries.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "stock"
OPTIONS = ROOT / "cmake" / "llama-options.cmake"
LIBRARIES = ("llama", "mtmd")
TOOLS = ("llama-mtmd-cli", "llama-bench", "llama-batched-bench")


class StockError(Exception):
    pass


def _run(command: list[str], log: Path) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        try:
            returncode = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
        except FileNotFoundError:
            raise StockError(f"{command[0]} is not installed") from None
    if returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise StockError(f"{' '.join(command[:2])} failed, see {log}:\n{tail}")


def extension_settings() -> list[str]:
    """The ggml options and compilers that the extension was last built with, as cmake arguments."""
    caches = sorted(ROOT.glob("build/cp*/CMakeCache.txt"), key=lambda path: path.stat().st_mtime)
    if not caches:
        return []
    wanted = re.compile(
        r"^((?:GGML_\w+|CMAKE_(?:C|CXX|CUDA)_FLAGS|CMAKE_CUDA_ARCHITECTURES|CMAKE_(?:C|CXX|CUDA)_COMPILER):"
        r"(?:BOOL|STRING|FILEPATH)=.*)$",
        re.MULTILINE,
    )
    return [f"-D{entry}" for entry in wanted.findall(caches[-1].read_text(encoding="utf-8")) if "NOTFOUND" not in entry]


def build(tools: bool = False) -> Path:
    """The folder with the shared libraries (and the tools), built first when anything is missing or outdated."""
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / "log.txt"
    log.write_text("")
    source = BUILD / "llama.cpp"
    lay_out = [sys.executable, str(ROOT / "cmake" / "llama_source.py"), "--dest", str(source)]
    lay_out += ["--pin", str(ROOT / "csrc" / "llama" / "pin.json")]
    if given := os.environ.get("MATA_LLAMA_SOURCE"):
        lay_out += ["--source", given]
    _run(lay_out, log)

    configure = ["cmake", "-S", str(source), "-B", str(BUILD), "-C", str(OPTIONS)]
    configure += ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON", *extension_settings()]
    if tools or (BUILD / "with-tools").exists():
        # Remembered, because switching back and forth would configure anew each time.
        (BUILD / "with-tools").touch()
        configure += ["-DLLAMA_BUILD_COMMON=ON", "-DLLAMA_BUILD_TOOLS=ON"]
    # Configuring anew takes seconds, and many tests may ask.
    remembered, settings = BUILD / "configured.txt", "\n".join([*configure, OPTIONS.read_text(encoding="utf-8")])
    if not remembered.exists() or remembered.read_text(encoding="utf-8") != settings:
        # Another compiler in an old cache makes CMake start anew without the other settings.
        (BUILD / "CMakeCache.txt").unlink(missing_ok=True)
        _run(configure, log)
        remembered.write_text(settings, encoding="utf-8")
    jobs = str(os.cpu_count() or 1)
    _run(["cmake", "--build", str(BUILD), "-j", jobs, "--target", *LIBRARIES, *(TOOLS if tools else ())], log)
    return BUILD / "bin"


def program(source: Path) -> Path:
    """An executable made of one C++ file that uses llama.h, mtmd.h and ggml, linked to the stock libraries."""
    folder = build()
    target = folder / source.stem
    if target.exists() and target.stat().st_mtime > max(p.stat().st_mtime for p in [source, *folder.glob("lib*")]):
        return target
    cache = (BUILD / "CMakeCache.txt").read_text(encoding="utf-8")
    compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE)[1]
    tree = BUILD / "llama.cpp"
    command = [compiler, "-std=c++17", "-O2", "-DLLAMA_SHARED", "-DGGML_BACKEND_SHARED", str(source), "-o", str(target)]
    command += [f"-I{tree / part}" for part in ("include", "ggml/include", "tools/mtmd")]
    command += [f"-L{folder}", f"-Wl,-rpath,{folder}", "-lmtmd", "-lllama", "-lggml", "-lggml-base"]
    _run(command, BUILD / "log.txt")
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the unpatched llama.cpp that comparisons use.")
    parser.add_argument("--tools", action="store_true", help="also build " + " and ".join(TOOLS))
    args = parser.parse_args()
    try:
        print(build(tools=args.tools))
    except StockError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
