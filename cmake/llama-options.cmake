# How llama.cpp is built, for the extension and for the stock build that it is compared with: one file,
# so that the two cannot drift apart.  Included by CMakeLists.txt, and given to cmake -C by benchmarks/stock.py.
# Plain cache entries can be overridden with CMAKE_ARGS="-DNAME=VALUE".

# Whatever follows is not part of a library that hears and answers.
foreach(part APP COMMON EXAMPLES SERVER TESTS TOOLS UI)
    set(LLAMA_BUILD_${part} OFF CACHE BOOL "")
endforeach()
set(LLAMA_OPENSSL OFF CACHE BOOL "")
set(LLAMA_TOOLS_INSTALL OFF CACHE BOOL "")
set(LLAMA_BUILD_MTMD ON CACHE BOOL "")
set(MTMD_VIDEO OFF CACHE BOOL "") # needs an ffmpeg program at run time

# Otherwise these come from the git repository around the build, and every commit there recompiles.
set(LLAMA_BUILD_NUMBER 0 CACHE STRING "")
set(LLAMA_BUILD_COMMIT "pinned" CACHE STRING "")
set(GIT_EXE "" CACHE FILEPATH "")

# GGML_NATIVE (code for the processor of this machine) is left at llama.cpp's default, which is ON here and
# OFF when cross compiling or when SOURCE_DATE_EPOCH is set.  Wheels for other machines need -DGGML_NATIVE=OFF.

# ggml's own threads (0006-cpu-threads-sleep.patch). GNU's OpenMP makes a team for every thread that computes, ends the
# process where the system refuses threads, and is many times slower beside other busy processes.
set(GGML_OPENMP OFF CACHE BOOL "")

if(CMAKE_HOST_SYSTEM_NAME STREQUAL "Darwin")
    if(CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "arm64")
        set(GGML_METAL ON CACHE BOOL "")
        set(GGML_METAL_EMBED_LIBRARY ON CACHE BOOL "")
    else()
        set(GGML_METAL OFF CACHE BOOL "") # Intel Macs: slower than the processor on most of their GPUs
    endif()
endif()
