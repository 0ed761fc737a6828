#!/usr/bin/env bash
# MATA through a GPU backend on a machine without a GPU: builds the extension with Vulkan into build/vulkan and
# compares it with the CPU on Mesa's software driver.  Debian: apt install glslc mesa-vulkan-drivers libvulkan-dev
# spirv-headers.  Run it in an environment where mata-cpp's own dependencies and pybind11 are installed.
#
#   tests/gpu/vulkan_software.sh [MODEL.gguf ...]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Vulkan headers before 1.3.272 (Debian 12 has 1.3.239) lack VK_EXT_layer_settings, which only validation uses.
source=$root/build/vulkan/source
mkdir -p "$root/build/vulkan"
"$python" "$root/cmake/llama_source.py" --pin "$root/csrc/llama/pin.json" --dest "$source" \
    ${MATA_LLAMA_SOURCE:+--source "$MATA_LLAMA_SOURCE"}
"$python" - "$source/ggml/src/ggml-vulkan/ggml-vulkan.cpp" <<'PY'
import re, sys
from pathlib import Path

header = Path("/usr/include/vulkan/vulkan_core.h")
path = Path(sys.argv[1])
text = path.read_text()
if header.exists() and "VK_EXT_layer_settings" not in header.read_text() and "LayerSettingEXT" in text:
    text, n = re.subn(
        r"    VkBool32 enable_best_practice = layer_settings;\n.*?"
        r"vk::InstanceCreateInfo instance_create_info\((.*?), &layer_setting_info\);\n",
        r"    vk::InstanceCreateInfo instance_create_info(\1);\n", text, flags=re.S)
    assert n == 1, "the block that uses VK_EXT_layer_settings has changed"
    path.write_text(text)
PY

export MATA_LLAMA_SOURCE=$source
build_extension vulkan -DGGML_VULKAN=ON

cd "$root"
# a CPU-type device is passed over unless it is asked for
GGML_VK_VISIBLE_DEVICES=0 PYTHONPATH=$root/build/vulkan/site "$python" -m benchmarks.gpu_parity "$@"
