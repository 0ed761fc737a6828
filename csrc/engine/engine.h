// A model, its audio projector and one KV cache shared by all sessions.
//
// Thread safety: every call that computes or changes the cache takes the engine's lock (turnstile.h); sessions and
// samplers of one engine may be used from several threads, each object from one at a time. Long work lets others pass
// on its way. A Cancel may be set from any thread.

#pragma once

#include "cancel.h"
#include "error.h"
#include "turnstile.h"

#include "ggml-cpu.h"
#include "llama.h"
#include "mtmd.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

namespace mata {

class Generation;
class Scheduler;
class Session;

int64_t process_id();

// Deletes an object in the process that made it. In a child it stays as it is: a thread that the child does not have
// may have been in the middle of changing it, or wait at a condition that is its member.
struct UnlessForked {
    int64_t pid = process_id();

    template <typename T> void operator()(T * p) const {
        if (process_id() == pid) {
            delete p;
        }
    }
};

struct EngineParams {
    std::string model_path;
    std::string mmproj_path;                                // empty: text only
    std::vector<std::pair<std::string, float>> lora;        // path, scale
    int32_t     n_ctx        = 4096;                        // 0: the model's training length
    int32_t     n_batch      = 2048;
    int32_t     n_ubatch     = 512;
    int32_t     n_threads    = 0;                           // 0: physical cores
    int32_t     n_gpu_layers = -1;                          // negative: all
    std::vector<std::string> rpc;                           // servers that layers go to, "host:port"
    std::string flash_attn   = "auto";                      // auto | on | off
    std::string cache_type_k = "f16";
    std::string cache_type_v = "f16";
    int32_t     n_seq_max    = 32;
    std::function<void(float)> progress;                    // 0..1 while the model loads
    // Asked now and then while computing, on the computing thread; true stops the computation (Error Cancelled).
    std::function<bool()>      interrupted;
    CancelPtr                  cancel;                      // of loading
};

// One clip as the language model gets it.
struct AudioEmbedding {
    std::vector<float>       embeddings;    // [n_tokens][n_embd]
    int32_t                  n_tokens  = 0;
    int32_t                  n_embd    = 0;
    int32_t                  n_windows = 0; // encoder windows the clip was cut into
    std::vector<llama_token> begin;         // text tokens the model wants around the audio
    std::vector<llama_token> end;
    bool                     non_causal = false;
    double                   encode_s  = 0.0;
};

// Tokens for one sequence of a batch.
struct DecodeItem {
    Session *                session;
    std::vector<llama_token> tokens;
    bool                     all_logits;
};

class Engine : public std::enable_shared_from_this<Engine> {
public:
    // Throws Error (Model, Argument).
    static std::shared_ptr<Engine> load(const EngineParams & params);
    ~Engine();

    Engine(const Engine &) = delete;
    Engine & operator=(const Engine &) = delete;

    // Frees model and cache. Sessions that still exist throw from then on. Waits for a running computation; what is
    // being generated is cancelled.
    // Nothing is freed in a child of the process that loaded the model.
    void close();
    bool closed() const { return closed_; }

    // From any thread: what computes ends with Error Cancelled, and so does everything after.
    void stop() { stopping_ = true; }
    bool asked_to_end(const CancelPtr & cancel) const; // by the request, stop() or a signal; the lock may be held or not

    // --- facts; valid after close as well
    struct Facts {
        int32_t     n_ctx, n_ctx_train, n_seq_max, n_vocab, n_layer, n_embd, n_head, n_head_kv, n_threads;
        int64_t     n_params, n_bytes;
        std::string description, architecture, chat_template, bos_token, eos_token;
        bool        add_bos, flash_attn;
        bool        can_cut;                        // sequences can be cut anywhere: no layer is recurrent
        bool        has_audio         = false;
        int32_t     sample_rate       = 0;
        int64_t     max_samples       = 0; // of a clip, no more are heard; 0: no limit
        int64_t     padded_samples    = 0; // clips are heard as a multiple of this; 0: as they are
        std::string audio_prompt;          // by which rule the architecture's reference writes clips into a prompt; "": unknown
        std::string projector;
        std::string prompt_rule;           // of the prompts the projector was trained with; "": the projector type's
        bool        projector_checked = false;
        bool        adapters_hear     = false; // LoRA adapters act only where there is sound
        std::string mata_refusal;
        std::vector<int32_t> attention_layers;      // those that have attention to read
        std::map<std::string, std::string> metadata;
    };
    const Facts & facts() const { return facts_; }

    // --- vocabulary
    // Setting cancel stops waiting for a huge text (Error Cancelled).
    std::vector<llama_token> tokenize(const std::string & text, bool add_special, bool parse_special, const CancelPtr & cancel = nullptr);
    std::string              token_bytes(llama_token token, bool special) const;
    bool                     is_eog(llama_token token) const;

    // --- audio. samples: mono, at facts().sample_rate. One clip at a time; decoding goes on in between.
    // Throws Error (Audio, Cancelled).
    AudioEmbedding encode_audio(const float * samples, size_t n_samples, const CancelPtr & cancel = nullptr);
    int32_t        count_audio_tokens(const float * samples, size_t n_samples); // without running the encoder

    // --- sequences
    std::shared_ptr<Session> new_session();
    void    decode(std::vector<DecodeItem> & items, const CancelPtr & cancel = nullptr);
    void    generate(const std::shared_ptr<Generation> & generation); // from now on it gets tokens until it ends
    int32_t n_used();                       // cells of the cache in use
    std::vector<std::string> graph_ops();   // operators that MATA has added to graphs so far
    int64_t n_graph_builds();               // graphs built with MATA in them
    void use_portable_graph(bool portable); // the graph of GPU backends, on the CPU too

private:
    friend class Session;
    friend class Generation;
    friend class Sampler;
    friend class Scheduler;

    explicit Engine(const EngineParams & params);

    struct ModelDeleter   { void operator()(llama_model   * p) const { llama_model_free(p); } };
    struct ContextDeleter { void operator()(llama_context * p) const { llama_free(p); } };

    struct PoolDeleter    { void operator()(ggml_threadpool * p) const { ggml_threadpool_free(p); } };

    using Lock = std::unique_lock<Turnstile>;
    Lock lock();                            // throws when closed; frees the sequences of dead sessions
    Lock lock_for_loop();
    void check_usable();                    // with the lock held
    void check_not_closed() const;
    void let_others_pass();                 // with the lock held, between two pieces of a long task; throws when closed
    void check_servers();
    void check_process() const;
    bool foreign_process() const { return process_id() != pid_; } // a child, after fork()

    void load_model  (const EngineParams & params);
    void load_context(const EngineParams & params);
    void load_mmproj (const EngineParams & params);
    void load_lora   (const EngineParams & params);
    void read_facts  (const EngineParams & params);

    void   check_audio(const float * samples, size_t n_samples) const;
    size_t cut_audio_locked(const float * samples, size_t n_samples, mtmd::input_chunks & chunks);

    // With the lock held. Either everything is in the cache afterwards, or nothing.
    void decode_locked(std::vector<DecodeItem> & items, bool want_logits, const CancelPtr & cancel);
    void decode_embeddings_locked(Session & session, const float * embd, int32_t n_rows, bool non_causal, const CancelPtr & cancel);
    void run_batch(const llama_batch & batch, bool with_adapters);
    void roll_back(const std::vector<std::pair<Session *, int32_t>> & marks);
    std::shared_ptr<Session> new_session_locked();
    void free_retired();
    void retire(llama_seq_id seq);          // from a destructor, on any thread, without the lock

    bool should_abort();                    // asked at every node of the language model's graph
    bool signal_came();                     // asks the interpreter, at most every 50 ms
    bool encoder_looks_at(const ggml_tensor * node);
    bool encoder_goes_on();

    // For calls that use the vocabulary and not the cache: they do not wait for a computation, only for close().
    using Alive = std::shared_lock<std::shared_mutex>;
    Alive alive() const;                    // throws when closed

    // One pool for the language model and the encoder, and for whichever thread calls. Freed after both.
    std::unique_ptr<ggml_threadpool, PoolDeleter>  pool_;
    std::unique_ptr<llama_model,   ModelDeleter>   model_;
    std::unique_ptr<llama_context, ContextDeleter> ctx_;
    mtmd::context_ptr    mtmd_;
    std::vector<llama_adapter_lora *> adapters_;   // owned by the model
    std::vector<float>                adapter_scales_;
    bool                              adapters_on_ = true;  // in the context as it is
    bool                              turn_adapters_ = true; // whose turn it is in the decode loop
    int32_t                           n_in_turn_ = 0;
    std::vector<std::string>          rpc_;
    int64_t                           rpc_n_lost_ = 0;      // before the model was loaded
    const llama_vocab *  vocab_ = nullptr;
    Facts                facts_;
    std::string          model_path_;
    bool                 mrope_ = false;
    int32_t              n_ubatch_ = 0;

    Turnstile                 mutex_;       // computing and the cache
    Turnstile                 encoder_mutex_; // the encoder's own state; taken before mutex_, kept while others compute
    std::atomic<bool>         closed_   { false };
    std::atomic<bool>         stopping_ { false };
    std::vector<llama_seq_id> free_seqs_;

    mutable std::shared_mutex alive_mutex_; // the model exists; taken after mutex_ where both are

    std::mutex                retired_mutex_;
    std::vector<llama_seq_id> retired_;

    // while a batch runs
    std::vector<CancelPtr>                active_;      // see Active in session.h
    bool                                  in_loop_ = false; // not on a thread of the interpreter
    bool                                  broken_ = false;
    bool                                  threads_stuck_ = false; // in a graph that was left by an abort
    std::string                           broken_why_;
    const int64_t                         pid_ = process_id(); // threads do not survive fork()
    std::function<bool()>                 interrupted_;
    std::chrono::steady_clock::time_point last_check_;
    uint32_t                              n_asked_ = 0;

    // while a clip is encoded
    struct EncoderRun {
        bool      locked  = false;      // the engine's lock is held: it may be lent
        CancelPtr cancel;
        bool      stopped = false;
        double    work    = 0.0;        // operations since the last look
        std::chrono::steady_clock::time_point since;
    };
    EncoderRun encoder_run_;
    double     encoder_budget_ = 2e8;   // operations between two looks; adapted to the time that they take

    std::shared_ptr<Scheduler> scheduler_;
};

// Stops what computes, in all engines, and closes them: for the end of the process.
void close_all_engines();

// Number of physical cores this process may use.
int32_t default_threads();
int32_t most_threads(); // that may be asked for

// Of n_threads threads, the caller's among them, or of as many as the system grants.
ggml_threadpool * new_threadpool(int32_t n_threads);

std::string system_info();
std::vector<std::pair<std::string, std::string>> devices();

} // namespace mata
