#!/usr/bin/env bash
# Builds the extension with CUDA into build/cuda (nvcc is needed, a GPU is not), and compares it with the CPU where
# there is an NVIDIA GPU.  CUDA_ARCHITECTURES chooses what to compile for; all of ggml's list takes an hour or more
# on two cores.  Run it in an environment where mata-cpp's own dependencies and pybind11 are installed.
#
#   [CUDA_ARCHITECTURES=90] tests/gpu/cuda.sh [MODEL.gguf ...]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

command -v nvcc > /dev/null || { echo "error: nvcc is not installed" >&2; exit 1; }
build_extension cuda -DGGML_CUDA=ON ${CUDA_ARCHITECTURES:+-DCMAKE_CUDA_ARCHITECTURES="$CUDA_ARCHITECTURES"}

if command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1; then
    cd "$root"
    PYTHONPATH=$root/build/cuda/site "$python" -m benchmarks.gpu_parity "$@"
else
    echo "compiled; no NVIDIA GPU here to run it on"
fi
