#include "bindings.h"
#include "arrays.h"

#include "engine.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace mata {

void register_audio(py::module_ & m) {
    py::class_<AudioEmbedding, std::shared_ptr<AudioEmbedding>>(m, "AudioEmbedding", "One clip as the language model gets it.")
        .def_property_readonly("embeddings", [](const AudioEmbedding & a) {
            auto res = to_array(a.embeddings, { a.n_tokens, a.n_embd });
            res.attr("setflags")(py::arg("write") = false);
            return res;
        }, "float32 [n_tokens, n_embd], a read-only copy")
        .def_readonly("n_tokens",  &AudioEmbedding::n_tokens)
        .def_readonly("n_embd",    &AudioEmbedding::n_embd)
        .def_readonly("n_windows", &AudioEmbedding::n_windows, "encoder windows the clip was cut into")
        .def_readonly("begin",     &AudioEmbedding::begin, "text tokens the model wants before the audio")
        .def_readonly("end",       &AudioEmbedding::end)
        .def_readonly("encode_s",  &AudioEmbedding::encode_s)
        .def("__repr__", [](const AudioEmbedding & a) {
            return "AudioEmbedding(n_tokens=" + std::to_string(a.n_tokens) + ", n_windows=" + std::to_string(a.n_windows) + ")";
        });
}

} // namespace mata
