#!/usr/bin/env bash
# Build the engine and llama.cpp with sanitizers, and run many_threads.cpp on a small random model.
#
#     tests/sanitizers/run.sh thread|address [ROUNDS]
#
# Needs cmake, a C++ compiler, and a python3 that has gguf and numpy. The first build takes ten minutes or more.
set -euo pipefail
kind=${1:?thread or address}
rounds=${2:-10}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build="$root/build/sanitizer-$kind"

cmake -S "$root" -B "$build" -DMATA_BUILD_PYTHON=OFF -DMATA_BUILD_TESTS=ON -DMATA_SANITIZE="$kind" \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGGML_NATIVE=ON > "$build.log" 2>&1 || { tail -n 20 "$build.log"; exit 1; }
cmake --build "$build" --target many_threads -j "${JOBS:-$(nproc)}" >> "$build.log" 2>&1 || { tail -n 30 "$build.log"; exit 1; }
python3 "$root/tests/sanitizers/write_model.py" "$build/models" > /dev/null
export TSAN_OPTIONS="halt_on_error=0 exitcode=66"
export ASAN_OPTIONS="detect_leaks=1" UBSAN_OPTIONS="print_stacktrace=1"
"$build/csrc/many_threads" "$build/models/text.gguf" "$build/models/mmproj.gguf" "$rounds"
