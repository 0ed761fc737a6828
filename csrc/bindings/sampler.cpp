#include "bindings.h"

#include "sampler.h"

namespace py = pybind11;

namespace mata {

static std::shared_ptr<Sampler> make(std::shared_ptr<Engine> engine, float temperature, int32_t top_k, float top_p, float min_p,
        float repeat_penalty, float frequency_penalty, float presence_penalty, int32_t penalty_last_n, uint32_t seed,
        const std::string & grammar) {
    py::gil_scoped_release release;
    return std::make_shared<Sampler>(std::move(engine), SamplerParams { temperature, top_k, top_p, min_p, repeat_penalty,
        frequency_penalty, presence_penalty, penalty_last_n, seed, grammar });
}

void register_sampler(py::module_ & m) {
    const SamplerParams p;
    py::class_<Sampler, std::shared_ptr<Sampler>>(m, "Sampler", "llama.cpp's sampler chain.")
        .def(py::init(&make), py::arg("engine"), py::kw_only(), py::arg("temperature") = p.temperature, py::arg("top_k") = p.top_k,
            py::arg("top_p") = p.top_p, py::arg("min_p") = p.min_p, py::arg("repeat_penalty") = p.repeat_penalty,
            py::arg("frequency_penalty") = p.frequency_penalty, py::arg("presence_penalty") = p.presence_penalty,
            py::arg("penalty_last_n") = p.penalty_last_n, py::arg("seed") = p.seed, py::arg("grammar") = p.grammar)
        .def("sample", &Sampler::sample, py::arg("session"), NoGil())
        .def("reset", &Sampler::reset, NoGil());
}

} // namespace mata
