#include "bindings.h"
#include "arrays.h"

#include "engine.h"
#include "gguf_probe.h"
#include "rpc.h"
#include "session.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <chrono>
#include <optional>
#include <thread>
#include <tuple>

namespace py = pybind11;

namespace mata {

static std::thread::id g_main_thread;

// Lets Python's signal handlers run while the engine computes on the main thread; true when one has raised.
static bool signal_raised() {
    if (!interpreter_alive()) {
        return true;
    }
    if (std::this_thread::get_id() != g_main_thread) {
        return false; // signals are handled there only, and the GIL may be busy
    }
    py::gil_scoped_acquire acquire;
    return PyErr_Occurred() || PyErr_CheckSignals() != 0;
}

static std::shared_ptr<Engine> load(const std::string & model_path, const std::optional<std::string> & mmproj_path,
        std::vector<std::pair<std::string, float>> lora, int32_t n_ctx, int32_t n_batch, int32_t n_ubatch,
        int32_t n_threads, int32_t n_gpu_layers, const std::string & flash_attn, const std::string & cache_type_k,
        const std::string & cache_type_v, int32_t n_seq_max,
        const std::vector<std::string> & rpc, const py::object & progress, CancelPtr cancel) {
    EngineParams p;
    p.model_path   = model_path;
    p.mmproj_path  = mmproj_path.value_or("");
    p.lora         = std::move(lora);
    p.n_ctx        = n_ctx;
    p.n_batch      = n_batch;
    p.n_ubatch     = std::min(n_ubatch, n_batch);
    p.n_threads    = n_threads;
    p.n_gpu_layers = n_gpu_layers;
    p.flash_attn   = flash_attn;
    p.cache_type_k = cache_type_k;
    p.cache_type_v = cache_type_v;
    p.n_seq_max    = n_seq_max;
    p.rpc          = rpc;
    p.interrupted  = signal_raised;
    p.cancel       = std::move(cancel);
    if (!progress.is_none()) {
        p.progress = [&progress](float value) {
            py::gil_scoped_acquire acquire;
            if (PyErr_Occurred()) {
                return;
            }
            try {
                progress(value);
            } catch (py::error_already_set & e) {
                e.restore(); // p.interrupted sees it and stops the load
            }
        };
    }
    py::gil_scoped_release release;
    return Engine::load(p);
}

static py::dict probe(const std::string & path) {
    GgufInfo info;
    {
        py::gil_scoped_release release;
        info = probe_gguf(path);
    }
    py::dict d;
    d["architecture"] = info.architecture;
    d["type"]         = info.type;
    d["has_audio"]    = info.has_audio;
    d["has_vision"]   = info.has_vision;
    d["n_tensors"]    = info.n_tensors;
    d["projector"]    = info.projector;
    d["prompt_rule"]  = info.prompt_rule;
    return d;
}

static void decode(Engine & engine, const std::vector<std::tuple<std::shared_ptr<Session>, std::vector<llama_token>, bool>> & items,
        const CancelPtr & cancel) {
    std::vector<DecodeItem> list;
    for (const auto & [session, tokens, all_logits] : items) {
        if (!session) {
            throw Error(ErrorKind::Argument, "a session is missing in the batch");
        }
        list.push_back({ session.get(), tokens, all_logits });
    }
    py::gil_scoped_release release;
    engine.decode(list, cancel);
}

static std::shared_ptr<AudioEmbedding> encode_audio(Engine & engine, const FloatArray & samples, const CancelPtr & cancel) {
    if (samples.ndim() != 1) {
        throw Error(ErrorKind::Argument, "samples must be one channel, [n]");
    }
    const float * data = samples.data();
    const size_t  n    = (size_t) samples.size();
    py::gil_scoped_release release;
    return std::make_shared<AudioEmbedding>(engine.encode_audio(data, n, cancel));
}

static int32_t count_audio_tokens(Engine & engine, const FloatArray & samples) {
    if (samples.ndim() != 1) {
        throw Error(ErrorKind::Argument, "samples must be one channel, [n]");
    }
    const float * data = samples.data();
    const size_t  n    = (size_t) samples.size();
    py::gil_scoped_release release;
    return engine.count_audio_tokens(data, n);
}

void register_engine(py::module_ & m) {
    const auto threading = py::module_::import("threading");
    if (threading.attr("current_thread")().is(threading.attr("main_thread")())) {
        g_main_thread = std::this_thread::get_id();
    }

    // A thread that computes when the interpreter goes away would take the GIL back from nobody.
    py::module_::import("atexit").attr("register")(py::cpp_function([] {
        py::gil_scoped_release release;
        close_all_engines();
        std::this_thread::sleep_for(std::chrono::milliseconds(20)); // threads get back into Python
    }));

    m.def("probe_gguf", probe, py::arg("path"));
    m.attr("has_rpc") = rpc_available();
    m.def("rpc_serve", [](const std::string & address, int32_t n_threads, const std::string & cache) {
            py::gil_scoped_release release;
            rpc_serve(address, n_threads > 0 ? n_threads : default_threads(), cache);
        }, py::arg("address"), py::kw_only(), py::arg("n_threads") = 0, py::arg("cache") = "");

    py::class_<Engine, std::shared_ptr<Engine>> engine(m, "Engine", "A model, its audio projector and one KV cache shared by all sessions.");
    engine
        .def(py::init(&load), py::arg("model_path"), py::arg("mmproj_path") = py::none(), py::kw_only(),
            py::arg("lora") = py::tuple(), py::arg("n_ctx") = 4096, py::arg("n_batch") = 2048, py::arg("n_ubatch") = 512,
            py::arg("n_threads") = 0, py::arg("n_gpu_layers") = -1, py::arg("flash_attn") = "auto",
            py::arg("cache_type_k") = "f16", py::arg("cache_type_v") = "f16", py::arg("n_seq_max") = 32,
            py::arg("rpc") = py::tuple(), py::arg("progress") = py::none(), py::arg("cancel") = py::none())
        .def("metadata", [](const Engine & e) { return e.facts().metadata; })
        .def("tokenize", [](Engine & e, const std::string & text, bool add_special, bool parse_special, const CancelPtr & cancel) {
                py::gil_scoped_release release;
                return e.tokenize(text, add_special, parse_special, cancel);
            }, py::arg("text"), py::kw_only(), py::arg("add_special") = false, py::arg("parse_special") = true, py::arg("cancel") = py::none())
        .def("token_bytes", [](const Engine & e, llama_token token, bool special) {
                std::string piece;
                {
                    py::gil_scoped_release release;
                    piece = e.token_bytes(token, special);
                }
                return py::bytes(piece);
            }, py::arg("token"), py::kw_only(), py::arg("special") = false)
        .def("is_eog", &Engine::is_eog, py::arg("token"), NoGil())
        .def("encode_audio", encode_audio, py::arg("samples"), py::kw_only(), py::arg("cancel") = py::none())
        .def("count_audio_tokens", count_audio_tokens, py::arg("samples"))
        .def("session", &Engine::new_session, NoGil())
        .def("decode", decode, py::arg("items"), py::kw_only(), py::arg("cancel") = py::none())
        .def("close", &Engine::close, NoGil())
        .def("graph_ops", &Engine::graph_ops, NoGil())
        .def("n_graph_builds", &Engine::n_graph_builds, NoGil())
        .def("use_portable_graph", &Engine::use_portable_graph, py::arg("portable"), NoGil())
        .def_property_readonly("closed", &Engine::closed)
        .def_property_readonly("n_used", [](Engine & e) { py::gil_scoped_release release; return e.n_used(); })
        .def("__repr__", [](const Engine & e) {
            return "Engine(" + e.facts().description + (e.closed() ? ", closed)" : ")");
        });

#define FACT(name) engine.def_property_readonly(#name, [](const Engine & e) { return e.facts().name; })
    FACT(n_ctx); FACT(n_ctx_train); FACT(n_seq_max); FACT(n_vocab); FACT(n_layer); FACT(n_embd); FACT(n_head);
    FACT(n_head_kv); FACT(n_threads); FACT(n_params); FACT(n_bytes); FACT(description); FACT(architecture);
    FACT(flash_attn); FACT(can_cut); FACT(has_audio); FACT(sample_rate); FACT(max_samples); FACT(padded_samples); FACT(audio_prompt); FACT(projector); FACT(prompt_rule); FACT(projector_checked); FACT(adapters_hear);
    FACT(chat_template); FACT(bos_token); FACT(eos_token); FACT(add_bos); FACT(mata_refusal);
    FACT(attention_layers);
#undef FACT
}

} // namespace mata
