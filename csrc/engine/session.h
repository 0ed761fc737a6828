// A sequence of positions in the engine's KV cache, with its own MATA setting.

#pragma once

#include "engine.h"
#include "mata.h"

#include <optional>

namespace mata {

struct MataSetting {
    mata_mode              mode = MATA_MODE_SCALE;
    std::vector<float>     alpha;   // [n_layer]
    std::vector<mata_span> spans;
};

// Attention of the rows of the last feed for one layer; columns in order of position.
struct AttentionRows {
    int32_t n_rows = 0;
    int32_t n_head = 0;
    int32_t n_cols = 0;
    std::vector<float> before;      // [n_rows][n_head][n_cols]
    std::vector<float> after;
};

// Sums over the weights of the rows of the last feed; mata.h says what is summed.
struct AttentionSums {
    int32_t n_rows   = 0;
    int32_t n_layers = 0;
    int32_t n_head   = 0;
    int32_t n_groups = 0;
    int32_t n_time   = 0;
    std::vector<float> sums[2];     // before and after the boost, [n_rows][n_layers][n_head][n_groups]
    std::vector<float> time[2];     // [n_rows][n_time]
};

// The requests that the running batch is for: it is stopped when all of them are cancelled.
struct Active {
    std::vector<CancelPtr> & list;

    Active(std::vector<CancelPtr> & list, std::vector<CancelPtr> requests) : list(list) { list = std::move(requests); }
    ~Active() { list.clear(); }

    Active(const Active &) = delete;
    Active & operator=(const Active &) = delete;
};

// [n_rows][n_vocab]; shared by forks and with samplers that read it while the session goes on.
using Logits = std::shared_ptr<const std::vector<float>>;

class Session {
public:
    Session(std::shared_ptr<Engine> engine, llama_seq_id seq);
    ~Session();

    Session(const Session &) = delete;
    Session & operator=(const Session &) = delete;

    int32_t n_past() const { return n_past_; }

    // All feeds: on an error, or when cancelled, the cache is as before, and the logits are gone.
    void feed_tokens(const std::vector<llama_token> & tokens, bool all_logits, const CancelPtr & cancel = nullptr);
    std::pair<int32_t, int32_t> feed_audio(const AudioEmbedding & audio, const CancelPtr & cancel = nullptr);
    std::pair<int32_t, int32_t> feed_embeddings(const float * embd, int32_t n_rows, int32_t n_embd, const CancelPtr & cancel = nullptr);

    // Logits of the last feed, [n_rows][n_vocab]: all rows, or the last. Throws Error (Argument) when it gave none.
    std::vector<float> logits(bool all) const;
    Logits             logits_shared() const;   // all rows, without a copy

    void set_mata(const MataSetting & setting);
    void clear_mata();

    // Whether the model's LoRA adapters act, as they do from the start. Throws Error (Argument) once something was fed.
    void use_adapters(bool on);

    // A session that has the same positions, logits and MATA setting.
    std::shared_ptr<Session> fork();
    // One that has the first n_past positions and nothing else; also while this session is fed or generated from. Throws
    // Error (Argument) where the model's memory cannot be cut.
    std::shared_ptr<Session> share(int32_t n_past);
    void truncate(int32_t n_past);

    void set_attention_readout(const std::vector<int32_t> & layers);    // empty: none
    std::map<int32_t, AttentionRows> attention();

    // Sums instead of rows: over the heads' weights on groups of positions, and the mean of time_layers on group 0.
    void set_attention_sums(const std::vector<int32_t> & layers, const std::vector<mata_group> & groups,
                            const std::vector<int32_t> & time_layers);
    AttentionSums attention_sums();

    void close();
    bool closed() const { return closed_; }

    const std::shared_ptr<Engine> & engine() const { return engine_; }

private:
    friend class Engine;
    friend class Scheduler;

    void check_open() const;
    void check_free() const;        // open, and not being generated from
    void check_room(int64_t n) const;
    void drop_logits();
    void apply_mata_locked(const MataSetting & setting);
    AttentionSums attention_sums_locked() const;

    std::shared_ptr<Engine> engine_;
    llama_seq_id            seq_;
    std::atomic<int32_t>    n_past_ { 0 };
    std::shared_ptr<std::vector<float>> logits_ = std::make_shared<std::vector<float>>();
    int32_t                 n_logit_rows_ = 0;
    bool                    adapters_ = true;
    std::optional<MataSetting> mata_;
    std::vector<int32_t>    readout_layers_;
    AttentionSums           sums_shape_;    // its n_layers is 0 while no sums are kept
    std::atomic<bool>       generating_ { false };
    std::atomic<bool>       closed_ { false };
};

} // namespace mata
