#include "bindings.h"
#include "arrays.h"

#include "json_schema.h"
#include "sampler.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace mata {

static std::shared_ptr<Sampler> make(std::shared_ptr<Engine> engine, float temperature, int32_t top_k, float top_p, float min_p,
        float repeat_penalty, float frequency_penalty, float presence_penalty, int32_t penalty_last_n, uint32_t seed,
        const std::string & grammar, const CancelPtr & cancel) {
    py::gil_scoped_release release;
    return std::make_shared<Sampler>(std::move(engine), SamplerParams { temperature, top_k, top_p, min_p, repeat_penalty,
        frequency_penalty, presence_penalty, penalty_last_n, seed, grammar }, cancel);
}

static llama_token sample(Sampler & sampler, const FloatArray & logits) {
    if (logits.ndim() != 1 || logits.shape(0) != sampler.engine()->facts().n_vocab) {
        throw Error(ErrorKind::Argument, "logits must be [n_vocab]: one number for each token");
    }
    const float * data = logits.data();
    py::gil_scoped_release release;
    return sampler.sample(data);
}

static py::tuple log_prob(const FloatArray & logits, llama_token token, int32_t n_top) {
    if (logits.ndim() != 1 || token < 0 || token >= logits.shape(0)) {
        throw Error(ErrorKind::Argument, "logits must be [n_vocab], and token one of them");
    }
    std::vector<std::pair<llama_token, float>> top;
    const float logprob = log_probability(logits.data(), (size_t) logits.shape(0), token, n_top, top);
    return py::make_tuple(logprob, top);
}

void register_sampler(py::module_ & m) {
    const SamplerParams p;
    py::class_<Sampler, std::shared_ptr<Sampler>>(m, "Sampler", "llama.cpp's sampler chain.")
        .def(py::init(&make), py::arg("engine"), py::kw_only(), py::arg("temperature") = p.temperature, py::arg("top_k") = p.top_k,
            py::arg("top_p") = p.top_p, py::arg("min_p") = p.min_p, py::arg("repeat_penalty") = p.repeat_penalty,
            py::arg("frequency_penalty") = p.frequency_penalty, py::arg("presence_penalty") = p.presence_penalty,
            py::arg("penalty_last_n") = p.penalty_last_n, py::arg("seed") = p.seed, py::arg("grammar") = p.grammar,
            py::arg("cancel") = py::none())
        .def("sample", sample, py::arg("logits"), "Draw from logits [n_vocab] and accept the token.");
    py::dict defaults;
    defaults["temperature"]       = p.temperature;
    defaults["top_k"]             = p.top_k;
    defaults["top_p"]             = p.top_p;
    defaults["min_p"]             = p.min_p;
    defaults["repeat_penalty"]    = p.repeat_penalty;
    defaults["frequency_penalty"] = p.frequency_penalty;
    defaults["presence_penalty"]  = p.presence_penalty;
    defaults["penalty_last_n"]    = p.penalty_last_n;
    defaults["seed"]              = p.seed;
    defaults["grammar"]           = p.grammar;
    m.attr("SAMPLING_DEFAULTS") = defaults;
    m.def("json_schema_to_grammar", json_schema_to_gbnf, py::arg("schema"), NoGil());
    m.def("log_probability", log_prob, py::arg("logits"), py::arg("token"), py::arg("n_top") = 0);
}

} // namespace mata
