#include "session.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

namespace mata {

Session::Session(std::shared_ptr<Engine> engine, llama_seq_id seq) : engine_(std::move(engine)), seq_(seq) {}

Session::~Session() {
    close();
}

// Without the engine's lock: a destructor may run while another thread computes.
void Session::close() {
    if (!closed_.exchange(true)) {
        engine_->retire(seq_);
    }
}

void Session::check_open() const {
    if (closed_) {
        throw Error(ErrorKind::Engine, "the session is closed");
    }
}

void Session::check_free() const {
    check_open();
    if (generating_) {
        throw Error(ErrorKind::Engine, "the session is generating: wait for its end, or cancel it");
    }
}

static void check_cancel(const CancelPtr & cancel) {
    if (cancelled(cancel)) {
        throw Error(ErrorKind::Cancelled, "cancelled");
    }
}

void Session::check_room(int64_t n) const {
    if (n_past_ + n > engine_->facts().n_ctx) {
        throw Error(ErrorKind::ContextFull, std::to_string(n) + " more positions do not fit: " + std::to_string(n_past_) + " of " +
            std::to_string(engine_->facts().n_ctx) + " are taken by this session: raise n_ctx, or reset it");
    }
}

void Session::drop_logits() {
    if (logits_.use_count() > 1) {
        logits_ = std::make_shared<std::vector<float>>();
    } else {
        std::atomic_thread_fence(std::memory_order_acquire); // a sampler that let go of it has read it before
    }
    logits_->clear(); // the memory stays: 600 kB for each token of a vocabulary of 150,000
    n_logit_rows_ = 0;
}

Logits Session::logits_shared() const {
    const auto held = engine_->lock();
    if (closed_) {
        throw Error(ErrorKind::Engine, "the session is closed");
    }
    if (n_logit_rows_ == 0) {
        throw Error(ErrorKind::Argument, "the session has no logits: the last thing fed must be text");
    }
    return logits_;
}

std::vector<float> Session::logits(bool all) const {
    const Logits rows = logits_shared();
    return { all ? rows->begin() : rows->end() - engine_->facts().n_vocab, rows->end() };
}

void Session::feed_tokens(const std::vector<llama_token> & tokens, bool all_logits, const CancelPtr & cancel) {
    auto held = engine_->lock();
    check_free();
    check_cancel(cancel);
    std::vector<DecodeItem> items;
    items.push_back({ this, tokens, all_logits });
    engine_->decode_locked(items, true, cancel);
}

std::pair<int32_t, int32_t> Session::feed_embeddings(const float * embd, int32_t n_rows, int32_t n_embd, const CancelPtr & cancel) {
    if (n_rows < 1 || n_embd != engine_->facts().n_embd) {
        throw Error(ErrorKind::Argument, "embeddings must be [n >= 1, " + std::to_string(engine_->facts().n_embd) + "], not [" +
            std::to_string(n_rows) + ", " + std::to_string(n_embd) + "]");
    }
    for (int64_t i = 0; i < (int64_t) n_rows*n_embd; ++i) {
        if (!std::isfinite(embd[i])) {
            // it would stay in the cache and spoil what other sessions compute
            throw Error(ErrorKind::Argument, "row " + std::to_string(i/n_embd) + " of the embeddings is not finite");
        }
    }
    auto held = engine_->lock();
    check_free();
    check_cancel(cancel);
    const int32_t start = n_past_;
    engine_->decode_embeddings_locked(*this, embd, n_rows, false, cancel);
    return { start, n_past_ };
}

std::pair<int32_t, int32_t> Session::feed_audio(const AudioEmbedding & audio, const CancelPtr & cancel) {
    if (audio.n_embd != engine_->facts().n_embd || audio.n_tokens < 1) {
        throw Error(ErrorKind::Argument, "the clip was encoded for another model");
    }
    auto held = engine_->lock();
    check_free();
    check_cancel(cancel);
    check_room((int64_t) audio.n_tokens + (int64_t) audio.begin.size() + (int64_t) audio.end.size());
    const int32_t before = n_past_;
    std::pair<int32_t, int32_t> span;
    try {
        std::vector<DecodeItem> items;
        items.push_back({ this, audio.begin, false });
        engine_->decode_locked(items, false, cancel);
        span.first = n_past_;
        engine_->decode_embeddings_locked(*this, audio.embeddings.data(), audio.n_tokens, audio.non_causal, cancel);
        span.second = n_past_;
        items.front().tokens = audio.end;
        engine_->decode_locked(items, false, cancel);
    } catch (...) {
        engine_->roll_back({ { this, before } });
        throw;
    }
    return span;
}

void Session::apply_mata_locked(const MataSetting & setting) {
    llama_context * ctx = engine_->ctx_.get();
    if (!mata_set(ctx, seq_, setting.mode, setting.alpha.data(), (int32_t) setting.alpha.size(),
                  setting.spans.data(), (int32_t) setting.spans.size())) {
        const bool refused = mata_refusal(ctx) != nullptr;
        throw Error(refused ? ErrorKind::Engine : ErrorKind::Argument, mata_error(ctx));
    }
}

void Session::set_mata(const MataSetting & setting) {
    auto held = engine_->lock();
    check_free();
    apply_mata_locked(setting);
    mata_ = setting;
}

void Session::clear_mata() {
    auto held = engine_->lock();
    check_free();
    mata_clear(engine_->ctx_.get(), seq_);
    mata_.reset();
}

std::shared_ptr<Session> Session::fork() {
    auto held = engine_->lock();
    check_free();
    auto child = engine_->new_session_locked();
    llama_memory_seq_cp(llama_get_memory(engine_->ctx_.get()), seq_, child->seq_, -1, -1);
    child->adapters_     = adapters_;
    child->n_past_       = n_past_.load();
    child->logits_       = logits_;
    child->n_logit_rows_ = n_logit_rows_;
    if (mata_) {
        child->apply_mata_locked(*mata_);
        child->mata_ = mata_;
    }
    return child;
}

std::shared_ptr<Session> Session::share(int32_t n_past) {
    auto held = engine_->lock();
    check_open();
    if (n_past < 0 || n_past > n_past_) {
        throw Error(ErrorKind::Argument, "cannot share " + std::to_string(n_past) + " positions: there are " + std::to_string(n_past_));
    }
    auto child = engine_->new_session_locked();
    llama_memory_t memory = llama_get_memory(engine_->ctx_.get());
    llama_memory_seq_cp(memory, seq_, child->seq_, -1, -1);
    // the whole is copied and then cut: a recurrent state cannot be copied in part
    if (n_past < n_past_ && !llama_memory_seq_rm(memory, child->seq_, n_past, -1)) {
        throw Error(ErrorKind::Argument, "this model's memory cannot be cut in the middle");
    }
    child->n_past_   = n_past;
    child->adapters_ = adapters_;
    return child;
}

void Session::use_adapters(bool on) {
    auto held = engine_->lock();
    check_free();
    if (on != adapters_ && n_past_ > 0) {
        throw Error(ErrorKind::Argument, "adapters are switched before anything is fed");
    }
    adapters_ = on || engine_->adapters_.empty(); // without any, all sessions are alike
}

void Session::truncate(int32_t n_past) {
    auto held = engine_->lock();
    check_free();
    if (n_past < 0 || n_past > n_past_) {
        throw Error(ErrorKind::Argument, "cannot cut to " + std::to_string(n_past) + " positions: there are " + std::to_string(n_past_));
    }
    mata_readout_drop(engine_->ctx_.get(), seq_);
    if (n_past < n_past_ && !llama_memory_seq_rm(llama_get_memory(engine_->ctx_.get()), seq_, n_past, -1)) {
        throw Error(ErrorKind::Argument, "this model's memory cannot be cut in the middle");
    }
    n_past_ = n_past;
    drop_logits();
}

void Session::set_attention_readout(const std::vector<int32_t> & layers) {
    auto held = engine_->lock();
    check_free();
    if (!mata_readout_set(engine_->ctx_.get(), seq_, layers.data(), (int32_t) layers.size())) {
        throw Error(ErrorKind::Argument, mata_error(engine_->ctx_.get()));
    }
    readout_layers_ = layers;
    sums_shape_     = {};
}

void Session::set_attention_sums(const std::vector<int32_t> & layers, const std::vector<mata_group> & groups,
        const std::vector<int32_t> & time_layers) {
    auto held = engine_->lock();
    check_free();
    llama_context * ctx = engine_->ctx_.get();
    if (!mata_readout_set_sums(ctx, seq_, layers.data(), (int32_t) layers.size(), groups.data(), (int32_t) groups.size(),
                               time_layers.data(), (int32_t) time_layers.size())) {
        throw Error(ErrorKind::Argument, mata_error(ctx));
    }
    readout_layers_.clear();
    sums_shape_ = {};
    const std::set<int32_t> distinct(layers.begin(), layers.end());
    sums_shape_.n_layers = (int32_t) distinct.size();
    sums_shape_.n_head   = mata_layer_heads(engine_->model_.get(), *distinct.begin());
    for (const auto & g : groups) {
        sums_shape_.n_groups = std::max(sums_shape_.n_groups, g.group + 1);
        sums_shape_.n_time  += g.group == 0 ? g.p1 - g.p0 : 0;
    }
}

AttentionSums Session::attention_sums() {
    auto held = engine_->lock();
    check_free();
    return attention_sums_locked();
}

AttentionSums Session::attention_sums_locked() const {
    const llama_context * ctx = engine_->ctx_.get();
    AttentionSums res = sums_shape_;
    if (res.n_layers == 0) {
        throw Error(ErrorKind::Argument, "no sums of attention are kept: call set_attention_sums before the feed");
    }
    res.n_rows = mata_readout_n_rows(ctx, seq_);
    const size_t n_sums = (size_t) res.n_layers*res.n_head*res.n_groups;
    const size_t n_time = (size_t) res.n_time;
    for (const bool after : { false, true }) {
        res.sums[after].resize(n_sums*res.n_rows, 0.0f);
        res.time[after].resize(n_time*res.n_rows, 0.0f);
        for (int32_t r = 0; r < res.n_rows; ++r) {
            if (!mata_readout_get_sums(ctx, seq_, r, after, res.sums[after].data() + r*n_sums, n_sums,
                                       res.time[after].data() + r*n_time, n_time)) {
                throw Error(ErrorKind::Engine, "a row of attention was not kept");
            }
        }
    }
    return res;
}

std::map<int32_t, AttentionRows> Session::attention() {
    auto held = engine_->lock();
    check_open();
    const llama_context * ctx = engine_->ctx_.get();
    const int32_t n_rows = mata_readout_n_rows(ctx, seq_);

    std::map<int32_t, AttentionRows> res;
    if (n_rows == 0) {
        return res;
    }
    const int32_t n_cols = mata_readout_n_cols(ctx, seq_, n_rows - 1);

    for (const int32_t layer : readout_layers_) {
        const int32_t n_head = mata_layer_heads(engine_->model_.get(), layer);
        AttentionRows rows { n_rows, n_head, n_cols, {}, {} };
        rows.before.resize((size_t) n_rows*n_head*n_cols, 0.0f);
        rows.after .resize((size_t) n_rows*n_head*n_cols, 0.0f);
        bool found = false;
        std::vector<float> one;
        for (int32_t r = 0; r < n_rows; ++r) {
            // a row has the columns up to its own position; the rest stays 0
            const int32_t n = mata_readout_n_cols(ctx, seq_, r);
            one.resize((size_t) n_head*n);
            for (const bool after : { false, true }) {
                if (!mata_readout_get(ctx, seq_, r, layer, after, one.data(), (int32_t) one.size())) {
                    continue;
                }
                found = true;
                auto & dst = after ? rows.after : rows.before;
                for (int32_t h = 0; h < n_head; ++h) {
                    std::copy_n(one.data() + (size_t) h*n, n, dst.data() + ((size_t) r*n_head + h)*n_cols);
                }
            }
        }
        if (found) {
            res.emplace(layer, std::move(rows));
        }
    }
    return res;
}

} // namespace mata
