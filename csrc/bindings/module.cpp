#include "bindings.h"

PYBIND11_MODULE(_core, m) {
    m.doc() = "The engine of mata_cpp: llama.cpp with MATA in its attention graph.";
    m.attr("LLAMA_VERSION") = MATA_LLAMA_VERSION;
    mata::register_errors(m);
    mata::register_log(m);
    mata::register_cancel(m);
    mata::register_audio(m);
    mata::register_engine(m);
    mata::register_session(m);
    mata::register_sampler(m);
    mata::register_generation(m);
}
