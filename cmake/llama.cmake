# ggml, llama and mtmd as static libraries, from the pinned source with our patches and our own files.
# Hidden and static: several copies of llama.cpp can then live in one process without meeting.

set(MATA_LLAMA_DIR ${CMAKE_SOURCE_DIR}/csrc/llama)
set(MATA_LLAMA_TREE ${CMAKE_BINARY_DIR}/llama.cpp)

file(READ ${MATA_LLAMA_DIR}/pin.json pin)
string(JSON MATA_LLAMA_VERSION GET "${pin}" version)

file(GLOB patches CONFIGURE_DEPENDS ${MATA_LLAMA_DIR}/patches/*.patch)
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
    ${patches} ${MATA_LLAMA_DIR}/pin.json ${CMAKE_SOURCE_DIR}/cmake/llama_source.py)

set(source ${MATA_LLAMA_SOURCE})
if(NOT source)
    set(source $ENV{MATA_LLAMA_SOURCE})
endif()
if(source)
    set(source --source ${source})
endif()
execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_SOURCE_DIR}/cmake/llama_source.py
            --pin ${MATA_LLAMA_DIR}/pin.json --patches ${MATA_LLAMA_DIR}/patches --dest ${MATA_LLAMA_TREE} ${source}
    RESULT_VARIABLE failed
    ERROR_VARIABLE message
    ERROR_STRIP_TRAILING_WHITESPACE)
if(failed)
    message(FATAL_ERROR " ${message}") # the space keeps it on one line
endif()

include(${CMAKE_SOURCE_DIR}/cmake/llama-options.cmake)
set(BUILD_SHARED_LIBS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

# csrc/engine/guard.cpp turns an abort in ggml's C code into an exception that has to pass through it.
if(NOT MSVC)
    add_compile_options($<$<COMPILE_LANGUAGE:C>:-fexceptions>)
endif()

if(MATA_SANITIZE STREQUAL "thread")
    set(GGML_SANITIZE_THREAD ON CACHE BOOL "" FORCE) # its barriers have to be known too
endif()

set(GGML_RPC ${MATA_RPC} CACHE BOOL "" FORCE)
set(GGML_RPC_RDMA OFF CACHE BOOL "") # whether a library happens to be installed must not change the build

# EXCLUDE_FROM_ALL keeps its headers and CMake files out of the wheel.
add_subdirectory(${MATA_LLAMA_TREE} ${CMAKE_BINARY_DIR}/llama-build EXCLUDE_FROM_ALL)

file(GLOB sources CONFIGURE_DEPENDS ${MATA_LLAMA_DIR}/attention/*.cpp)
file(GLOB_RECURSE mtmd_sources CONFIGURE_DEPENDS ${MATA_LLAMA_DIR}/audio/*.cpp)
target_sources(llama PRIVATE ${sources})
target_sources(mtmd PRIVATE ${mtmd_sources})
foreach(target llama mtmd)
    target_include_directories(${target} PUBLIC ${MATA_LLAMA_DIR} ${MATA_LLAMA_DIR}/attention ${MATA_LLAMA_DIR}/audio)
endforeach()
# llama's private headers are the point of the files in csrc/llama; unity builds would mix them with its own.
set_source_files_properties(${sources} ${mtmd_sources} TARGET_DIRECTORY llama mtmd
    PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)

# MATA_SANITIZE=ON or "address": addresses and undefined behaviour; "thread": data races.
function(mata_sanitize)
    if(MATA_SANITIZE)
        set(kinds address,undefined)
        if(MATA_SANITIZE STREQUAL "thread")
            set(kinds thread)
        endif()
        foreach(target ${ARGN})
            target_compile_options(${target} PRIVATE -fsanitize=${kinds} -fno-omit-frame-pointer -g)
            target_link_options(${target} PUBLIC -fsanitize=${kinds})
        endforeach()
    endif()
endfunction()
mata_sanitize(llama mtmd)
