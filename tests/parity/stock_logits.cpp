// Logits of unpatched llama.cpp: plays a script of feeds and writes every row of logits as raw floats.
//
//   stock_logits < script > logits
//
// One command a line; a session is a sequence id, positions count up by themselves:
//   model PATH | lora PATH SCALE | set NAME VALUE      before the first feed
//   tokens SEQ last|all T...                           append tokens, write the last row or all of them
//   embeddings SEQ N FILE                              append N rows of raw floats, write nothing
//   batch K                                            the next K tokens lines are one batch
//   fork FROM TO | truncate SEQ N
#include "ggml-backend.h"
#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string & message) {
    std::fprintf(stderr, "stock_logits: %s\n", message.c_str());
    std::exit(1);
}

ggml_type cache_type(const std::string & name) {
    for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
        const char * known = ggml_type_name(static_cast<ggml_type>(i));
        if (known != nullptr && name == known) {
            return static_cast<ggml_type>(i);
        }
    }
    fail("no such type: " + name);
}

// The defaults are those of the engine, so that a graph of the same shape is built.
struct player {
    llama_model *        model = nullptr;
    llama_context *      ctx   = nullptr;
    llama_context_params params = llama_context_default_params();

    std::vector<std::pair<llama_adapter_lora *, float>> loras;
    std::map<llama_seq_id, llama_pos>                   n_past;

    player() {
        params.n_ctx           = 4096;
        params.n_batch         = 2048;
        params.n_ubatch        = 512;
        params.n_seq_max       = 32;
        params.kv_unified      = true;
        params.swa_full        = true;
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
        params.no_perf         = true;
    }

    void set(const std::string & name, const std::string & value) {
        if (name == "flash_attn") {
            params.flash_attn_type = value == "on" ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        } else if (name == "cache_type_k") {
            params.type_k = cache_type(value);
        } else if (name == "cache_type_v") {
            params.type_v = cache_type(value);
        } else if (name == "n_threads") {
            params.n_threads = params.n_threads_batch = std::stoi(value);
        } else if (name == "n_ctx") {
            params.n_ctx = std::stoi(value);
        } else if (name == "n_batch") {
            params.n_batch = std::stoi(value);
        } else if (name == "n_ubatch") {
            params.n_ubatch = std::stoi(value);
        } else if (name == "n_seq_max") {
            params.n_seq_max = std::stoi(value);
        } else {
            fail("no such setting: " + name);
        }
    }

    void load(const std::string & path) {
        llama_model_params model_params = llama_model_default_params();
        model_params.n_gpu_layers = 0;
        model = llama_model_load_from_file(path.c_str(), model_params);
        if (model == nullptr) {
            fail("cannot load " + path);
        }
    }

    void start() {
        if (ctx != nullptr) {
            return;
        }
        ctx = llama_init_from_model(model, params);
        if (ctx == nullptr) {
            fail("cannot make a context");
        }
        std::vector<llama_adapter_lora *> adapters;
        std::vector<float>                scales;
        for (const auto & [adapter, scale] : loras) {
            adapters.push_back(adapter);
            scales.push_back(scale);
        }
        if (!adapters.empty() && llama_set_adapters_lora(ctx, adapters.data(), adapters.size(), scales.data()) != 0) {
            fail("cannot set the adapters");
        }
    }

    void write_logits(int n_rows) {
        const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
        for (int i = 0; i < n_rows; ++i) {
            std::fwrite(llama_get_logits(ctx) + static_cast<size_t>(i) * n_vocab, sizeof(float), n_vocab, stdout);
        }
    }

    void decode(const llama_batch & batch) {
        if (const int status = llama_decode(ctx, batch); status != 0) {
            fail("llama_decode gave " + std::to_string(status));
        }
    }

    void feed_tokens(const std::vector<std::string> & lines) {
        std::vector<llama_token>  token;
        std::vector<llama_pos>    pos;
        std::vector<llama_seq_id> seq;
        std::vector<int8_t>       output;
        for (const std::string & line : lines) {
            std::istringstream in(line);
            std::string        word, rows;
            llama_seq_id       id = 0;
            in >> word >> id >> rows;
            if (word != "tokens") {
                fail("not a tokens line: " + line);
            }
            for (llama_token t; in >> t;) {
                token.push_back(t);
                pos.push_back(n_past[id]++);
                seq.push_back(id);
                output.push_back(rows == "all");
            }
            output.back() = 1;
        }
        std::vector<int32_t>        n_seq(token.size(), 1);
        std::vector<llama_seq_id *> seq_of(token.size());
        int                         n_rows = 0;
        for (size_t i = 0; i < token.size(); ++i) {
            seq_of[i] = &seq[i];
            n_rows += output[i];
        }
        llama_batch batch{};
        batch.n_tokens = static_cast<int32_t>(token.size());
        batch.token    = token.data();
        batch.pos      = pos.data();
        batch.n_seq_id = n_seq.data();
        batch.seq_id   = seq_of.data();
        batch.logits   = output.data();
        decode(batch);
        write_logits(n_rows);
    }

    void feed_embeddings(llama_seq_id id, int n, const std::string & path) {
        const int          n_embd = llama_model_n_embd_inp(model);
        std::vector<float> embd(static_cast<size_t>(n) * n_embd);
        std::ifstream      file(path, std::ios::binary);
        if (!file.read(reinterpret_cast<char *>(embd.data()), static_cast<std::streamsize>(embd.size() * sizeof(float)))) {
            fail("cannot read " + path);
        }
        // M-RoPE takes a position per axis: time, height, width and an unused fourth.
        const auto             rope    = llama_model_rope_type(model);
        const bool             m_rope  = rope == LLAMA_ROPE_TYPE_MROPE || rope == LLAMA_ROPE_TYPE_IMROPE;
        std::vector<llama_pos> pos(static_cast<size_t>(n) * (m_rope ? 4 : 1), 0);
        for (int i = 0; i < n; ++i) {
            for (int axis = 0; axis < (m_rope ? 3 : 1); ++axis) {
                pos[static_cast<size_t>(axis) * n + i] = n_past[id];
            }
            ++n_past[id];
        }
        std::vector<int32_t>        n_seq(n, 1);
        std::vector<llama_seq_id *> seq_of(n, &id);
        std::vector<int8_t>         output(n, 0);
        llama_batch batch{};
        batch.n_tokens = n;
        batch.embd     = embd.data();
        batch.pos      = pos.data();
        batch.n_seq_id = n_seq.data();
        batch.seq_id   = seq_of.data();
        batch.logits   = output.data();
        decode(batch);
    }

    void run(const std::string & line) {
        std::istringstream in(line);
        std::string        word;
        in >> word;
        if (word == "model") {
            std::string path;
            in >> path;
            load(path);
        } else if (word == "lora") {
            std::string path;
            float       scale = 0;
            in >> path >> scale;
            loras.emplace_back(llama_adapter_lora_init(model, path.c_str()), scale);
            if (loras.back().first == nullptr) {
                fail("cannot load " + path);
            }
        } else if (word == "set") {
            std::string name, value;
            in >> name >> value;
            set(name, value);
        } else if (word == "tokens") {
            start();
            feed_tokens({line});
        } else if (word == "batch") {
            start();
            int n = 0;
            in >> n;
            std::vector<std::string> lines(n);
            for (std::string & next : lines) {
                std::getline(std::cin, next);
            }
            feed_tokens(lines);
        } else if (word == "embeddings") {
            start();
            llama_seq_id id = 0;
            int          n  = 0;
            std::string  path;
            in >> id >> n >> path;
            feed_embeddings(id, n, path);
        } else if (word == "fork") {
            llama_seq_id from = 0, to = 0;
            in >> from >> to;
            llama_memory_seq_cp(llama_get_memory(ctx), from, to, -1, -1);
            n_past[to] = n_past[from];
        } else if (word == "truncate") {
            llama_seq_id id = 0;
            llama_pos    n  = 0;
            in >> id >> n;
            llama_memory_seq_rm(llama_get_memory(ctx), id, n, -1);
            n_past[id] = n;
        } else if (!word.empty()) {
            fail("no such command: " + word);
        }
    }
};

} // namespace

int main() {
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level == GGML_LOG_LEVEL_ERROR) {
            std::fputs(text, stderr);
        }
    }, nullptr);
    ggml_backend_load_all();
    player play;
    for (std::string line; std::getline(std::cin, line);) {
        play.run(line);
    }
    return 0;
}
