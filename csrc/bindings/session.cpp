#include "bindings.h"
#include "arrays.h"

#include "session.h"

#include <pybind11/stl.h>

#include <optional>
#include <tuple>

namespace py = pybind11;

namespace mata {

static mata_mode parse_mode(const std::string & mode) {
    if (mode == "scale") {
        return MATA_MODE_SCALE;
    }
    if (mode == "abs") {
        return MATA_MODE_ABS;
    }
    if (mode == "add") {
        return MATA_MODE_ADD;
    }
    throw Error(ErrorKind::Argument, "mode \"" + mode + "\" is unknown: take scale, abs or add");
}

static void set_mata(Session & session, const std::string & mode, std::vector<float> alpha,
        const std::vector<std::tuple<int32_t, int32_t, float>> & spans) {
    MataSetting setting;
    setting.mode  = parse_mode(mode);
    setting.alpha = std::move(alpha);
    for (const auto & [start, end, weight] : spans) {
        setting.spans.push_back({ start, end, weight });
    }
    py::gil_scoped_release release;
    session.set_mata(setting);
}

static std::pair<int32_t, int32_t> feed_embeddings(Session & session, const FloatArray & embeddings, const CancelPtr & cancel) {
    if (embeddings.ndim() != 2) {
        throw Error(ErrorKind::Argument, "embeddings must be [n, n_embd]");
    }
    const float * data = embeddings.data();
    const auto n      = (int32_t) embeddings.shape(0);
    const auto n_embd = (int32_t) embeddings.shape(1);
    py::gil_scoped_release release;
    return session.feed_embeddings(data, n, n_embd, cancel);
}

static py::array_t<float> logits(const Session & session, bool all) {
    std::vector<float> rows;
    {
        py::gil_scoped_release release;
        rows = session.logits(all);
    }
    const auto n_vocab = (py::ssize_t) session.engine()->facts().n_vocab;
    if (all) {
        return to_array(rows, { (py::ssize_t) rows.size()/n_vocab, n_vocab });
    }
    return to_array(rows, { n_vocab });
}

static py::dict attention(Session & session) {
    std::map<int32_t, AttentionRows> layers;
    {
        py::gil_scoped_release release;
        layers = session.attention();
    }
    py::dict res;
    for (const auto & [layer, rows] : layers) {
        const std::vector<py::ssize_t> shape { rows.n_rows, rows.n_head, rows.n_cols };
        res[py::int_(layer)] = py::make_tuple(to_array(rows.before, shape), to_array(rows.after, shape));
    }
    return res;
}

static void set_attention_sums(Session & session, const std::vector<int32_t> & layers,
        const std::vector<std::tuple<int32_t, int32_t, int32_t>> & groups, const std::vector<int32_t> & time_layers) {
    std::vector<mata_group> list;
    for (const auto & [start, end, group] : groups) {
        list.push_back({ start, end, group });
    }
    py::gil_scoped_release release;
    session.set_attention_sums(layers, list, time_layers);
}

static py::tuple attention_sums(Session & session) {
    AttentionSums s;
    {
        py::gil_scoped_release release;
        s = session.attention_sums();
    }
    const std::vector<py::ssize_t> shape { s.n_rows, s.n_layers, s.n_head, s.n_groups };
    const std::vector<py::ssize_t> times { s.n_rows, s.n_time };
    return py::make_tuple(to_array(s.sums[0], shape), to_array(s.sums[1], shape), to_array(s.time[0], times), to_array(s.time[1], times));
}

void register_session(py::module_ & m) {
    py::class_<Session, std::shared_ptr<Session>>(m, "Session", "A sequence of positions in the engine's KV cache with its own MATA setting.")
        .def_property_readonly("n_past", &Session::n_past)
        .def("feed_tokens", &Session::feed_tokens, py::arg("tokens"), py::kw_only(), py::arg("all_logits") = false,
            py::arg("cancel") = py::none(), NoGil())
        .def("feed_audio", &Session::feed_audio, py::arg("audio"), py::kw_only(), py::arg("cancel") = py::none(), NoGil())
        .def("feed_embeddings", feed_embeddings, py::arg("embeddings"), py::kw_only(), py::arg("cancel") = py::none())
        .def("logits", [](const Session & s) { return logits(s, false); })
        .def("logits_all", [](const Session & s) { return logits(s, true); })
        .def("set_mata", set_mata, py::arg("mode"), py::arg("alpha"), py::arg("spans"))
        .def("clear_mata", &Session::clear_mata, NoGil())
        .def("use_adapters", &Session::use_adapters, py::arg("on"), NoGil())
        .def("fork", &Session::fork, NoGil())
        .def("share", &Session::share, py::arg("n_past"), NoGil())
        .def("truncate", &Session::truncate, py::arg("n_past"), NoGil())
        .def("set_attention_readout", [](Session & s, const std::optional<std::vector<int32_t>> & layers) {
                py::gil_scoped_release release;
                s.set_attention_readout(layers.value_or(std::vector<int32_t>()));
            }, py::arg("layers").none(true))
        .def("attention", attention)
        .def("set_attention_sums", set_attention_sums, py::arg("layers"), py::arg("groups"), py::arg("time_layers"))
        .def("attention_sums", attention_sums)
        .def("close", &Session::close)
        .def_property_readonly("closed", &Session::closed)
        .def("__repr__", [](const Session & s) {
            return "Session(n_past=" + std::to_string(s.n_past()) + (s.closed() ? ", closed)" : ")");
        });
}

} // namespace mata
