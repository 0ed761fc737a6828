// Loading: model, adapters, context, projector. Every file is looked at before llama.cpp opens it.

#include "engine.h"
#include "gguf_probe.h"
#include "guard.h"
#include "log.h"
#include "mata.h"
#include "free_memory.h"
#include "mtmd-mata.h"
#include "rpc.h"
#include "scheduler.h"
#include "session.h"

#include "ggml-backend.h"

#include <algorithm>
#include <cstdio>
#include <vector>

namespace mata {

static ggml_type parse_cache_type(const std::string & name) {
    static const std::map<std::string, ggml_type> types = {
        { "f32",  GGML_TYPE_F32  }, { "f16",  GGML_TYPE_F16  }, { "bf16", GGML_TYPE_BF16 },
        { "q8_0", GGML_TYPE_Q8_0 }, { "q4_0", GGML_TYPE_Q4_0 }, { "q4_1", GGML_TYPE_Q4_1 },
        { "q5_0", GGML_TYPE_Q5_0 }, { "q5_1", GGML_TYPE_Q5_1 }, { "iq4_nl", GGML_TYPE_IQ4_NL },
    };
    const auto it = types.find(name);
    if (it == types.end()) {
        throw Error(ErrorKind::Argument, "cache type \"" + name + "\" is unknown: take f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl");
    }
    return it->second;
}

static llama_flash_attn_type parse_flash_attn(const std::string & name) {
    if (name == "auto") {
        return LLAMA_FLASH_ATTN_TYPE_AUTO;
    }
    if (name == "on") {
        return LLAMA_FLASH_ATTN_TYPE_ENABLED;
    }
    if (name == "off") {
        return LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    throw Error(ErrorKind::Argument, "flash_attn \"" + name + "\" is unknown: take auto, on or off");
}

static void check_params(const EngineParams & p) {
    const auto need = [](bool ok, const std::string & what) {
        if (!ok) {
            throw Error(ErrorKind::Argument, what);
        }
    };
    need(p.n_ctx == 0 || p.n_ctx >= 32,                   "n_ctx must be at least 32 (or 0: the model's training length)");
    need(p.n_batch   >= 1 && p.n_batch   <= (1 << 20),    "n_batch must be between 1 and 1048576");
    need(p.n_ubatch  >= 1 && p.n_ubatch  <= p.n_batch,    "n_ubatch must be between 1 and n_batch");
    need(p.n_threads >= 0 && p.n_threads <= 512,          "n_threads must be between 0 (physical cores) and 512");
    need(p.n_seq_max >= 1 && p.n_seq_max <= (int32_t) llama_max_parallel_sequences(),
         "n_seq_max must be between 1 and " + std::to_string(llama_max_parallel_sequences()));
    parse_cache_type(p.cache_type_k);
    parse_cache_type(p.cache_type_v);
    parse_flash_attn(p.flash_attn);
}

// "path: what", with what llama.cpp has logged about it.
[[noreturn]] static void fail(const std::string & path, const std::string & what) {
    const std::string why = take_logged_errors();
    throw Error(ErrorKind::Model, path + ": " + what + (why.empty() ? "" : " (" + why + ")"));
}

static void check_tensors(const std::string & path, const GgufInfo & info) {
    if (!info.unusable.empty()) {
        throw Error(ErrorKind::Model, path + ": " + info.unusable + ", which nothing computes with: the file is damaged or made wrongly");
    }
}

// Runs a call into llama.cpp that may throw or abort.
template <typename F>
static auto guarded(const std::string & path, const std::string & what, F && f) -> decltype(f()) {
    take_logged_errors();
    try {
        Guard guard;
        return f();
    } catch (const std::bad_alloc &) {
        fail(path, what + ": out of memory");
    } catch (const std::exception & e) {
        fail(path, what + ": " + e.what());
    }
}

// The engines of one process. A child gets its own: the parent's mutex may be locked for good there.
struct Registry {
    const int64_t                      pid = process_id();
    std::mutex                         mutex;
    std::vector<std::weak_ptr<Engine>> engines;
};

static std::atomic<Registry *> g_registry { nullptr };

static Registry & registry() {
    Registry * now = g_registry;
    while (!now || now->pid != process_id()) {
        auto own = std::make_unique<Registry>();
        if (g_registry.compare_exchange_strong(now, own.get())) {
            now = own.release(); // for as long as the process lives
        }
    }
    return *now;
}

std::shared_ptr<Engine> Engine::load(const EngineParams & params) {
    std::shared_ptr<Engine> engine(new Engine(params), UnlessForked());
    engine->scheduler_ = std::make_shared<Scheduler>(engine);
    Registry & known = registry();
    std::lock_guard<std::mutex> guard(known.mutex);
    known.engines.erase(std::remove_if(known.engines.begin(), known.engines.end(), [](const auto & e) { return e.expired(); }), known.engines.end());
    known.engines.push_back(engine);
    return engine;
}

void close_all_engines() {
    std::vector<std::shared_ptr<Engine>> engines;
    {
        Registry & known = registry();
        std::lock_guard<std::mutex> guard(known.mutex);
        for (const auto & weak : known.engines) {
            if (auto engine = weak.lock()) {
                engines.push_back(std::move(engine));
            }
        }
        known.engines.clear();
    }
    for (const auto & engine : engines) {
        engine->stop();
    }
    for (const auto & engine : engines) {
        engine->close();
    }
}

Engine::Engine(const EngineParams & params) : model_path_(params.model_path), interrupted_(params.interrupted) {
    init_logging();
    check_params(params);

    static std::once_flag once;
    std::call_once(once, llama_backend_init);

    load_model(params);
    pool_.reset(new_threadpool(params.n_threads > 0 ? std::min(params.n_threads, most_threads()) : default_threads()));
    load_context(params);
    load_lora(params);
    if (!params.mmproj_path.empty()) {
        load_mmproj(params);
    }
    read_facts(params);
    check_servers();

    for (int32_t s = params.n_seq_max - 1; s >= 0; --s) {
        free_seqs_.push_back(s);
    }
}

void Engine::load_model(const EngineParams & params) {
    const std::string & path = params.model_path;
    const GgufInfo info = probe_gguf(path);
    if (info.architecture == "clip" || info.type == "mmproj") {
        throw Error(ErrorKind::Model, path + ": this is a projector (mmproj), not a language model: give it as mmproj, and the model's own file as the model");
    }
    if (info.type == "adapter") {
        throw Error(ErrorKind::Model, path + ": this is a LoRA adapter, not a language model: give it as lora");
    }
    check_tensors(path, info);
    if (info.n_tensors == 0) {
        throw Error(ErrorKind::Model, path + ": holds no weights (a vocabulary only?)");
    }

    auto mp = llama_model_default_params();
    mp.n_gpu_layers = params.n_gpu_layers;
    std::vector<ggml_backend_dev_t> devices;
    if (!params.rpc.empty()) {
        rpc_ = params.rpc;
        rpc_forget_lost(rpc_);
        rpc_n_lost_ = rpc_n_lost(rpc_);
        devices    = rpc_devices(params.rpc);
        mp.devices = devices.data();
    }
    mp.progress_callback = [](float value, void * data) {
        const auto & p = *static_cast<const EngineParams *>(data);
        if (p.progress) {
            p.progress(value);
        }
        return !cancelled(p.cancel) && !(p.interrupted && p.interrupted());
    };
    mp.progress_callback_user_data = const_cast<EngineParams *>(&params);

    model_.reset(guarded(path, "cannot be loaded", [&] { return llama_model_load_from_file(path.c_str(), mp); }));
    if (!model_) {
        if (cancelled(params.cancel) || (params.interrupted && params.interrupted())) {
            throw Error(ErrorKind::Cancelled, "loading was interrupted");
        }
        fail(path, "cannot be loaded as a language model");
    }
    vocab_ = llama_model_get_vocab(model_.get());
    if (llama_vocab_type(vocab_) == LLAMA_VOCAB_TYPE_NONE) {
        fail(path, "has no tokenizer");
    }
    if (!llama_model_has_decoder(model_.get()) || llama_model_has_encoder(model_.get())) {
        fail(path, "is not a decoder-only language model (architecture " + info.architecture + ")");
    }
    if (const char * problem = mata_model_problem(model_.get())) {
        fail(path, problem);
    }
    facts_.architecture = info.architecture;
    mrope_ = llama_model_rope_type(model_.get()) == LLAMA_ROPE_TYPE_MROPE || llama_model_rope_type(model_.get()) == LLAMA_ROPE_TYPE_IMROPE;
}

void Engine::load_context(const EngineParams & params) {
    auto cp = llama_context_default_params();
    cp.n_ctx           = params.n_ctx;
    cp.n_batch         = params.n_batch;
    cp.n_ubatch        = params.n_ubatch;
    cp.n_seq_max       = params.n_seq_max;
    cp.n_outputs_max   = std::max(params.n_batch, params.n_seq_max); // llama.cpp asserts this when n_batch is small
    cp.n_threads       = ggml_threadpool_get_n_threads(pool_.get());
    cp.n_threads_batch = cp.n_threads;
    cp.type_k          = parse_cache_type(params.cache_type_k);
    cp.type_v          = parse_cache_type(params.cache_type_v);
    cp.flash_attn_type = parse_flash_attn(params.flash_attn);
    cp.kv_unified      = true;  // sessions share their prefix, and MATA sees one set of cells
    cp.swa_full        = true;  // forks and truncation reach back beyond the window
    cp.no_perf         = true;
    cp.abort_callback  = [](void * data) { return static_cast<Engine *>(data)->should_abort(); };
    cp.abort_callback_data = this;

    const int32_t n_ctx = params.n_ctx > 0 ? params.n_ctx : llama_model_n_ctx_train(model_.get());
    const std::string what = "cannot make a context of " + std::to_string(n_ctx) + " positions (cache type " +
        params.cache_type_k + "/" + params.cache_type_v + ", flash attention " + params.flash_attn + ")";
    const bool elsewhere = !params.rpc.empty() || ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) ||
                           ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU);
    if (params.n_gpu_layers == 0 || !elsewhere) {
        constexpr double GIB = 1 << 30;
        const double needed = (double) n_ctx * (double) mata_kv_bytes_per_position(model_.get(), cp.type_k, cp.type_v);
        const double there  = (double) available_memory();
        if (there > 0 && needed > there) {
            char text[96];
            std::snprintf(text, sizeof(text), ": it takes %.1f GiB, and %.1f GiB are free; load with a smaller n_ctx (--ctx)", needed/GIB, there/GIB);
            throw Error(ErrorKind::Model, params.model_path + ": " + what + text);
        }
    }
    ctx_.reset(guarded(params.model_path, what, [&] { return llama_init_from_model(model_.get(), cp); }));
    if (!ctx_) {
        fail(params.model_path, what);
    }
    llama_attach_threadpool(ctx_.get(), pool_.get(), nullptr);
    n_ubatch_ = (int32_t) llama_n_ubatch(ctx_.get());
}

void Engine::load_lora(const EngineParams & params) {
    for (const auto & [path, scale] : params.lora) {
        const GgufInfo info = probe_gguf(path);
        if (info.type != "adapter") {
            throw Error(ErrorKind::Model, path + ": is not a LoRA adapter (general.type is \"" + info.type + "\")");
        }
        if (info.architecture != facts_.architecture) {
            throw Error(ErrorKind::Model, path + ": the adapter is for a " + info.architecture + " model, this one is " + facts_.architecture);
        }
        check_tensors(path, info);
        auto * adapter = guarded(path, "cannot be loaded", [&] { return llama_adapter_lora_init(model_.get(), path.c_str()); });
        if (!adapter) {
            fail(path, "does not fit the model");
        }
        adapters_.push_back(adapter);
        adapter_scales_.push_back(scale);
    }
    if (!adapters_.empty() && llama_set_adapters_lora(ctx_.get(), adapters_.data(), adapters_.size(), adapter_scales_.data()) != 0) {
        fail(params.lora.front().first, "cannot be applied");
    }
}

void Engine::load_mmproj(const EngineParams & params) {
    const std::string & path = params.mmproj_path;
    const GgufInfo info = probe_gguf(path);
    if (info.architecture != "clip" && info.type != "mmproj") {
        throw Error(ErrorKind::Model, path + ": this is not a projector (mmproj) but a " +
            (info.architecture.empty() ? std::string("GGUF without an architecture") : info.architecture + " model") + ": are model and mmproj swapped?");
    }
    check_tensors(path, info);
    if (!info.has_audio) {
        throw Error(ErrorKind::Model, path + ": has no audio encoder" + (info.has_vision ? " (it is for images)" : "") + ": take the model's audio mmproj");
    }

    auto mp = mtmd_context_params_default();
    mp.use_gpu         = params.n_gpu_layers != 0;
    mp.print_timings   = false;
    mp.n_threads       = ggml_threadpool_get_n_threads(pool_.get());
    mp.warmup          = false;
    mp.flash_attn_type = parse_flash_attn(params.flash_attn);

    // The encoder has no abort callback. This one chooses nodes of its graph; the graph computes up to each of them
    // and asks whether to go on.
    mp.cb_eval_user_data = this;
    mp.cb_eval = [](ggml_tensor * node, bool ask, void * data) {
        auto & engine = *static_cast<Engine *>(data);
        return ask ? engine.encoder_looks_at(node) : engine.encoder_goes_on();
    };

    mtmd_.reset(guarded(path, "cannot be loaded", [&] { return mtmd_init_from_file(path.c_str(), model_.get(), mp); }));
    if (!mtmd_) {
        fail(path, "does not fit the model " + params.model_path);
    }
    if (!mtmd_support_audio(mtmd_.get()) || mtmd_get_audio_sample_rate(mtmd_.get()) <= 0) {
        fail(path, "has no audio encoder");
    }
    facts_.has_audio   = true;
    facts_.sample_rate = mtmd_get_audio_sample_rate(mtmd_.get());
    facts_.projector   = info.projector;
    facts_.prompt_rule = info.prompt_rule;
    mata_mtmd_set_threadpool(mtmd_.get(), pool_.get());
    facts_.projector         = mata_mtmd_projector(mtmd_.get());
    facts_.projector_checked = mata_mtmd_audio_checked(mtmd_.get());
    facts_.max_samples       = mata_mtmd_max_samples(mtmd_.get());
    facts_.padded_samples    = mata_mtmd_padded_samples(mtmd_.get());
    facts_.adapters_hear     = mata_mtmd_adapters_hear(mtmd_.get());
    facts_.audio_prompt      = mata_mtmd_audio_prompt(mtmd_.get());
}

static bool is_utf8(const std::string & text) {
    for (size_t i = 0; i < text.size();) {
        const auto c = (unsigned char) text[i];
        const size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
        if (n == 0 || i + n > text.size()) {
            return false;
        }
        uint32_t code = n == 1 ? c : c & (0xff >> (n + 1));
        for (size_t k = 1; k < n; ++k) {
            const auto next = (unsigned char) text[i + k];
            if ((next & 0xc0) != 0x80) {
                return false;
            }
            code = code << 6 | (next & 0x3f);
        }
        const bool too_long  = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000);
        const bool surrogate = code >= 0xd800 && code < 0xe000;
        if (too_long || surrogate || code > 0x10ffff) {
            return false;
        }
        i += n;
    }
    return true;
}

static std::string token_text(const llama_vocab * vocab, llama_token token) {
    return token == LLAMA_TOKEN_NULL ? "" : llama_vocab_get_text(vocab, token);
}

void Engine::read_facts(const EngineParams & params) {
    const llama_model * m = model_.get();
    facts_.n_ctx       = (int32_t) llama_n_ctx(ctx_.get());
    facts_.n_ctx_train = llama_model_n_ctx_train(m);
    facts_.n_seq_max   = params.n_seq_max;
    facts_.n_vocab     = llama_vocab_n_tokens(vocab_);
    facts_.n_layer     = llama_model_n_layer(m);
    facts_.n_embd      = llama_model_n_embd_inp(m);
    facts_.n_head      = llama_model_n_head(m);
    facts_.n_head_kv   = llama_model_n_head_kv(m);
    facts_.n_threads   = llama_n_threads(ctx_.get());
    facts_.n_params    = (int64_t) llama_model_n_params(m);
    facts_.n_bytes     = (int64_t) llama_model_size(m);
    facts_.add_bos     = llama_vocab_get_add_bos(vocab_);
    facts_.bos_token   = token_text(vocab_, llama_vocab_bos(vocab_));
    facts_.eos_token   = token_text(vocab_, llama_vocab_eos(vocab_));
    facts_.flash_attn  = mata_flash_attn_enabled(ctx_.get());
    facts_.can_cut     = !llama_model_is_recurrent(m) && !llama_model_is_hybrid(m);

    std::vector<char> text(256);
    llama_model_desc(m, text.data(), text.size());
    facts_.description = text.data();

    const char * tmpl = llama_model_chat_template(m, nullptr);
    facts_.chat_template = tmpl ? tmpl : "";
    if (!is_utf8(facts_.chat_template)) {
        throw Error(ErrorKind::Model, model_path_ + ": its chat template is not text in UTF-8: the file is damaged or made wrongly");
    }

    const char * refusal = mata_refusal(ctx_.get());
    facts_.mata_refusal = refusal ? refusal : "";
    for (int32_t il = 0; il < facts_.n_layer; ++il) {
        if (mata_layer_heads(model_.get(), il) > 0) {
            facts_.attention_layers.push_back(il);
        }
    }

    const auto read = [&text](auto && call) {
        int32_t n = call(text.data(), text.size());
        if (n >= (int32_t) text.size()) {
            text.resize((size_t) n + 1);
            n = call(text.data(), text.size());
        }
        return n < 0 ? std::string() : std::string(text.data(), (size_t) n);
    };
    for (int32_t i = 0; i < llama_model_meta_count(m); ++i) {
        const std::string key = read([&](char * buf, size_t size) { return llama_model_meta_key_by_index(m, i, buf, size); });
        facts_.metadata[key]  = read([&](char * buf, size_t size) { return llama_model_meta_val_str_by_index(m, i, buf, size); });
    }
}

Engine::~Engine() {
    close();
}

void Engine::close() {
    if (foreign_process()) {
        closed_ = true;
        return;
    }
    std::unique_lock<Turnstile> encoder(encoder_mutex_);
    std::unique_lock<Turnstile> guard(mutex_);
    // Freed after alive_mutex_ is let go: the libraries log while they free, and a log callback may wait for a thread
    // that waits for that mutex.
    decltype(model_) model;
    decltype(ctx_)   ctx;
    decltype(mtmd_)  mtmd;
    decltype(pool_)  pool;
    {
        std::lock_guard<std::shared_mutex> last(alive_mutex_);
        closed_ = true;
        vocab_  = nullptr;
        model   = std::move(model_);
        ctx     = std::move(ctx_);
        mtmd    = std::move(mtmd_);
        pool    = std::move(pool_);
    }
    if (threads_stuck_ && facts_.n_threads > 1) {
        // the pool's threads may wait for good in the middle of a graph: what they use stays
        mtmd.release();
        (void) ctx.release();
        (void) model.release();
        (void) pool.release();
        return;
    }
    mtmd.reset();
    ctx.reset();
    model.reset();
    pool.reset();
}

std::string system_info() {
    init_logging();
    return llama_print_system_info();
}

std::vector<std::pair<std::string, std::string>> devices() {
    init_logging();
    std::vector<std::pair<std::string, std::string>> res;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        res.emplace_back(ggml_backend_dev_name(dev), ggml_backend_dev_description(dev));
    }
    return res;
}

} // namespace mata
