# For the scripts beside it: root, python, and a function that builds the extension with a GPU backend.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=$(command -v python3)

# An editable install of mata-cpp in the environment would win over the folder built here.
# build_extension NAME [CMAKE-ARGUMENT ...]: into build/NAME; build/NAME/site is then a folder for PYTHONPATH
build_extension() {
    local build=$root/build/$1 generator=()
    shift
    if command -v ninja > /dev/null; then generator=(-G Ninja); fi
    mkdir -p "$build"
    cmake "${generator[@]}" -S "$root" -B "$build/cmake" -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$python" \
        -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" "$@"
    cmake --build "$build/cmake" --target _core -j "$(nproc)"
    rm -rf "$build/site"
    mkdir -p "$build/site"
    cp -r "$root/mata_cpp" "$root/models" "$build/site/"
    cp "$build"/cmake/csrc/_core*.so "$build/site/mata_cpp/"
}
