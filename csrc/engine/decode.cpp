// Batches: tokens and embeddings of sessions go into the cache, their logits come out.

#include "engine.h"
#include "guard.h"
#include "log.h"
#include "mata.h"
#include "rpc.h"
#include "scheduler.h"
#include "session.h"

#include <algorithm>

namespace mata {

Engine::Lock Engine::lock() {
    check_process();
    Lock lock(mutex_);
    check_usable();
    return lock;
}

Engine::Lock Engine::lock_for_loop() {
    mutex_.lock_for_loop();
    Lock lock(mutex_, std::adopt_lock);
    check_usable();
    return lock;
}

void Engine::check_not_closed() const {
    if (closed_) {
        throw Error(ErrorKind::Engine, "the engine is closed");
    }
}

void Engine::check_usable() {
    check_not_closed();
    if (broken_) {
        throw Error(ErrorKind::Engine, "the engine met an internal error (" + broken_why_ + "): load the model again");
    }
    free_retired();
}

void Engine::let_others_pass() {
    std::vector<CancelPtr> mine;
    mine.swap(active_);
    mutex_.yield();
    active_.swap(mine);
    check_usable();
}

void Engine::check_process() const {
    if (foreign_process()) {
        throw Error(ErrorKind::Engine, "the model was loaded before fork(): load it in this process, or start processes with spawn");
    }
}

Engine::Alive Engine::alive() const {
    check_process();
    Alive alive(alive_mutex_);
    if (closed_) {
        throw Error(ErrorKind::Engine, "the engine is closed");
    }
    return alive;
}

void Engine::retire(llama_seq_id seq) {
    if (foreign_process()) {
        return; // who held the mutex at fork() is not here to let go of it
    }
    std::lock_guard<std::mutex> guard(retired_mutex_);
    retired_.push_back(seq);
}

void Engine::free_retired() {
    std::vector<llama_seq_id> dead;
    {
        std::lock_guard<std::mutex> guard(retired_mutex_);
        dead.swap(retired_);
    }
    for (const llama_seq_id seq : dead) {
        llama_memory_seq_rm(llama_get_memory(ctx_.get()), seq, -1, -1);
        mata_clear(ctx_.get(), seq);
        mata_readout_set(ctx_.get(), seq, nullptr, 0);
        free_seqs_.push_back(seq);
    }
}

std::shared_ptr<Session> Engine::new_session() {
    auto held = lock();
    return new_session_locked();
}

std::shared_ptr<Session> Engine::new_session_locked() {
    if (free_seqs_.empty()) {
        throw Error(ErrorKind::ContextFull, "all " + std::to_string(facts_.n_seq_max) + " sessions are in use: close some, or raise n_seq_max");
    }
    const llama_seq_id seq = free_seqs_.back();
    std::shared_ptr<Session> session(new Session(shared_from_this(), seq), UnlessForked());
    free_seqs_.pop_back();
    return session;
}

int32_t Engine::n_used() {
    auto held = lock();
    return mata_kv_used(ctx_.get());
}

std::vector<std::string> Engine::graph_ops() {
    auto held = lock();
    std::vector<std::string> res;
    for (int32_t i = 0; const char * op = mata_graph_op(ctx_.get(), i); ++i) {
        res.push_back(op);
    }
    return res;
}

void Engine::use_portable_graph(bool portable) {
    auto held = lock();
    mata_use_portable_graph(ctx_.get(), portable);
}

int64_t Engine::n_graph_builds() {
    auto held = lock();
    return mata_n_builds(ctx_.get());
}

bool Engine::signal_came() {
    if (!interrupted_ || in_loop_) {
        return false;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - last_check_ <= std::chrono::milliseconds(50)) {
        return false;
    }
    last_check_ = now;
    return interrupted_();
}

bool Engine::asked_to_end(const CancelPtr & cancel) const {
    return stopping_ || cancelled(cancel) || (interrupted_ && interrupted_());
}

// Called between graph nodes, on the computing thread.
bool Engine::should_abort() {
    if (stopping_) {
        return true;
    }
    if (!active_.empty() && std::all_of(active_.begin(), active_.end(), [](const CancelPtr & c) { return cancelled(c); })) {
        return true;
    }
    // a step of decoding has a thousand nodes, and a look at the clock costs as much as a small one
    return n_asked_++%16 == 0 && signal_came();
}

// What a lost RPC server should have computed is zeros.
void Engine::check_servers() {
    if (rpc_.empty() || broken_) {
        return;
    }
    llama_synchronize(ctx_.get());
    if (rpc_n_lost(rpc_) == rpc_n_lost_) {
        return;
    }
    broken_     = true;
    broken_why_ = "the connection to an RPC server was lost";
    throw Error(ErrorKind::Engine, broken_why_ + ": load the model again");
}

void Engine::run_batch(const llama_batch & batch, bool with_adapters) {
    if (broken_) { // by another batch of the same step
        throw Error(ErrorKind::Engine, broken_why_ + ": load the model again");
    }
    check_servers(); // it may have been lost since the last batch
    take_logged_errors();
    if (with_adapters != adapters_on_ && !adapters_.empty()) {
        llama_set_adapters_lora(ctx_.get(), with_adapters ? adapters_.data() : nullptr, with_adapters ? adapters_.size() : 0,
                                with_adapters ? adapter_scales_.data() : nullptr);
        adapters_on_ = with_adapters;
    }
    mata_clear_error(ctx_.get());
    int32_t status = 0;
    try {
        Guard guard;
        status = llama_decode(ctx_.get(), batch);
    } catch (const Aborted & e) {
        broken_        = true;
        threads_stuck_ = true;
        broken_why_    = e.what();
        throw;
    } catch (const std::bad_alloc &) {
        throw Error(ErrorKind::Engine, "out of memory: take a smaller n_ctx or n_batch, or feed fewer rows with logits at once");
    } catch (const Error &) {
        throw;
    } catch (const std::exception & e) { // where compute buffers are made anew
        check_servers();
        throw Error(ErrorKind::Engine, e.what());
    }
    check_servers();
    if (status == 0) {
        return;
    }
    const std::string why = mata_error(ctx_.get());
    if (!why.empty()) {
        throw Error(ErrorKind::Engine, "MATA: " + why);
    }
    if (status == 1) {
        throw Error(ErrorKind::ContextFull, "the context of " + std::to_string(facts_.n_ctx) + " positions has no room for " +
            std::to_string(batch.n_tokens) + " more (" + std::to_string(mata_kv_used(ctx_.get())) + " are in use): raise n_ctx, or close or reset sessions");
    }
    if (status == 2) {
        throw Error(ErrorKind::Cancelled, "cancelled");
    }
    const std::string log = take_logged_errors();
    throw Error(ErrorKind::Engine, "llama_decode failed with status " + std::to_string(status) + (log.empty() ? "" : " (" + log + ")"));
}

void Engine::roll_back(const std::vector<std::pair<Session *, int32_t>> & marks) {
    if (broken_ || closed_) {
        return;
    }
    for (const auto & [session, n_past] : marks) {
        if (session->closed_) {
            continue; // its sequence may be another session's by now
        }
        mata_readout_drop(ctx_.get(), session->seq_);
        if (!llama_memory_seq_rm(llama_get_memory(ctx_.get()), session->seq_, n_past, -1)) {
            // recurrent state cannot be cut: the sequence starts anew rather than going on with a wrong state
            llama_memory_seq_rm(llama_get_memory(ctx_.get()), session->seq_, -1, -1);
            session->n_past_ = 0;
        } else {
            session->n_past_ = n_past;
        }
        session->drop_logits();
    }
}

void Engine::decode(std::vector<DecodeItem> & items, const CancelPtr & cancel) {
    for (size_t i = 0; i < items.size(); ++i) {
        if (items[i].session->engine_.get() != this) {
            throw Error(ErrorKind::Argument, "a session of another engine");
        }
        for (size_t j = 0; j < i; ++j) {
            if (items[i].session == items[j].session) {
                throw Error(ErrorKind::Argument, "a session may occur once in a batch");
            }
        }
    }
    auto held = lock();
    for (const auto & item : items) {
        item.session->check_free();
    }
    if (cancelled(cancel)) {
        throw Error(ErrorKind::Cancelled, "cancelled");
    }
    decode_locked(items, true, cancel);
}

void Engine::generate(const std::shared_ptr<Generation> & generation) {
    Session & session = *generation->session_;
    if (session.engine_.get() != this || generation->sampler_->engine().get() != this) {
        throw Error(ErrorKind::Argument, "a session or a sampler of another engine");
    }
    {
        const auto held = lock();
        session.check_free();
        if (session.n_logit_rows_ == 0) {
            throw Error(ErrorKind::Argument, "the session has no logits: the last thing fed must be text");
        }
        session.generating_ = true;
    }
    try {
        scheduler_->add(generation);
    } catch (...) {
        session.generating_ = false;
        throw;
    }
}

void Engine::decode_locked(std::vector<DecodeItem> & items, bool want_logits, const CancelPtr & cancel) {
    struct Entry { size_t item; llama_token token; llama_pos pos; bool output; };
    std::vector<Entry> entries;
    std::vector<std::pair<Session *, int32_t>> marks;

    for (size_t i = 0; i < items.size(); ++i) {
        Session & session = *items[i].session;
        const auto & tokens = items[i].tokens;
        for (const llama_token token : tokens) {
            if (token < 0 || token >= facts_.n_vocab) {
                throw Error(ErrorKind::Argument, "token " + std::to_string(token) + " is not between 0 and " + std::to_string(facts_.n_vocab - 1));
            }
        }
        session.check_room((int64_t) tokens.size());
        if (session.adapters_ != items.front().session->adapters_) {
            throw Error(ErrorKind::Argument, "sessions with adapters and without cannot be in one batch");
        }
        for (size_t t = 0; t < tokens.size(); ++t) {
            const bool output = want_logits && (items[i].all_logits || t + 1 == tokens.size());
            entries.push_back({ i, tokens[t], session.n_past_ + (llama_pos) t, output });
        }
        if (!tokens.empty()) {
            marks.emplace_back(&session, session.n_past_);
        }
    }
    const Active active(active_, { cancel });
    for (const auto & mark : marks) {
        mark.first->drop_logits();
        mata_readout_drop(ctx_.get(), mark.first->seq_);
    }

    const size_t n_batch = llama_n_batch(ctx_.get());
    const size_t n_piece = std::min(n_batch, (size_t) n_ubatch_);
    std::vector<llama_token>    token;
    std::vector<llama_pos>      pos;
    std::vector<int32_t>        n_seq_id;
    std::vector<llama_seq_id>   seq_id;
    std::vector<llama_seq_id *> seq_ptr;
    std::vector<int8_t>         output;

    try {
        size_t n = 0;
        for (size_t first = 0; first < entries.size(); first += n) {
            if (first > 0) {
                let_others_pass();
                for (const auto & mark : marks) {
                    mark.first->check_open();
                }
            }
            n = std::min(mutex_.shared() ? n_piece : n_batch, entries.size() - first);
            token.clear(); pos.clear(); seq_id.clear(); output.clear();
            n_seq_id.assign(n, 1);
            for (size_t k = first; k < first + n; ++k) {
                token .push_back(entries[k].token);
                pos   .push_back(entries[k].pos);
                seq_id.push_back(items[entries[k].item].session->seq_);
                output.push_back(entries[k].output);
            }
            seq_ptr.clear();
            for (auto & id : seq_id) {
                seq_ptr.push_back(&id);
            }
            run_batch({ (int32_t) n, token.data(), nullptr, pos.data(), n_seq_id.data(), seq_ptr.data(), output.data() },
                      items.front().session->adapters_);

            for (size_t k = 0; k < n; ++k) {
                Session & session = *items[entries[first + k].item].session;
                session.n_past_ = entries[first + k].pos + 1;
                if (!entries[first + k].output) {
                    continue;
                }
                const float * row = llama_get_logits_ith(ctx_.get(), (int32_t) k);
                if (!row) {
                    throw Error(ErrorKind::Engine, "llama.cpp gave no logits");
                }
                session.logits_->insert(session.logits_->end(), row, row + facts_.n_vocab);
                session.n_logit_rows_++;
            }
        }
    } catch (...) {
        roll_back(marks);
        throw;
    }
}

void Engine::decode_embeddings_locked(Session & session, const float * embd, int32_t n_rows, bool non_causal, const CancelPtr & cancel) {
    session.check_room(n_rows);
    session.drop_logits();
    mata_readout_drop(ctx_.get(), session.seq_);

    // rows that see each other have to be computed together
    const int32_t n_batch = (int32_t) llama_n_batch(ctx_.get());
    if (non_causal && n_rows > n_ubatch_) {
        throw Error(ErrorKind::Audio, "this model attends to a clip as a whole: its " + std::to_string(n_rows) +
            " tokens need n_ubatch of at least that (now " + std::to_string(n_ubatch_) + ")");
    }

    const std::vector<std::pair<Session *, int32_t>> marks = { { &session, session.n_past_ } };
    const Active active(active_, { cancel });
    struct CausalAgain {
        llama_context * ctx;
        bool            changed;
        ~CausalAgain() { if (changed) { llama_set_causal_attn(ctx, true); } }
    } again { ctx_.get(), non_causal };
    if (non_causal) {
        llama_set_causal_attn(ctx_.get(), false);
    }

    try {
        int32_t n = 0;
        for (int32_t first = 0; first < n_rows; first += n) {
            if (first > 0) {
                let_others_pass();
                session.check_open();
            }
            n = std::min(!non_causal && mutex_.shared() ? std::min(n_batch, n_ubatch_) : n_batch, n_rows - first);
            const llama_pos start = session.n_past_;

            // M-RoPE: three axes advance together, as in text; the fourth is not used
            std::vector<llama_pos> pos((size_t) n*(mrope_ ? 4 : 1), 0);
            for (int32_t axis = 0; axis < (mrope_ ? 3 : 1); ++axis) {
                for (int32_t i = 0; i < n; ++i) {
                    pos[(size_t) axis*n + i] = start + i;
                }
            }
            std::vector<int32_t>        n_seq_id(n, 1);
            std::vector<llama_seq_id *> seq_ptr (n, &session.seq_);
            std::vector<int8_t>         output  (n, 0);
            run_batch({ n, nullptr, const_cast<float *>(embd) + (size_t) first*facts_.n_embd, pos.data(),
                        n_seq_id.data(), seq_ptr.data(), output.data() }, session.adapters_);
            session.n_past_ = start + n;
        }
    } catch (...) {
        roll_back(marks);
        throw;
    }
}

} // namespace mata
