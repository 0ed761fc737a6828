#include "scheduler.h"
#include "engine.h"
#include "mata.h"

#include <algorithm>
#include <iterator>
#include <thread>

namespace mata {

Scheduler::Scheduler(std::weak_ptr<Engine> engine) : shared_(std::make_shared<Shared>()) {
    shared_->engine = std::move(engine);
}

Scheduler::~Scheduler() {
    std::lock_guard<std::mutex> guard(shared_->mutex);
    shared_->stopped = true;
    shared_->woken.notify_all();
}

void Scheduler::add(std::shared_ptr<Generation> generation) {
    std::lock_guard<std::mutex> guard(shared_->mutex);
    if (!started_) {
        try {
            std::thread(run, shared_).detach();
        } catch (const std::system_error & e) {
            throw Error(ErrorKind::Engine, std::string("the system gives no thread to generate in (") + e.what() + "): end other programs, or raise the limit");
        }
        started_ = true;
    }
    shared_->added.push_back(std::move(generation));
    shared_->woken.notify_all();
}

void Scheduler::run(const std::shared_ptr<Shared> & given) {
    const std::shared_ptr<Shared> shared = given;
    Running running;
    for (;;) {
        {
            std::unique_lock<std::mutex> guard(shared->mutex);
            shared->woken.wait(guard, [&] { return shared->stopped || !shared->added.empty(); });
            if (shared->stopped) {
                return; // the engine is gone, and with it all generations: they keep it alive
            }
        }
        const std::shared_ptr<Engine> engine = shared->engine.lock();
        bool more = engine != nullptr;
        while (more) {
            {
                std::lock_guard<std::mutex> guard(shared->mutex);
                std::move(shared->added.begin(), shared->added.end(), std::back_inserter(running));
                shared->added.clear();
            }
            more = step(*engine, running);
        }
        // here the last reference to the engine may go, and the scheduler with it: only `shared` is touched afterwards
        running.clear();
    }
}

static double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The attention of the row that was computed last, if it is kept.
static std::shared_ptr<const AttentionSums> last_row(AttentionSums sums) {
    if (sums.n_rows < 1) {
        throw Error(ErrorKind::Argument, "no attention was kept of the last row: ask for it before the feed");
    }
    if (sums.n_rows > 1) {
        for (auto * part : { &sums.sums[0], &sums.sums[1], &sums.time[0], &sums.time[1] }) {
            part->erase(part->begin(), part->end() - (ptrdiff_t) (part->size()/sums.n_rows));
        }
        sums.n_rows = 1;
    }
    return std::make_shared<const AttentionSums>(std::move(sums));
}

void Scheduler::settle(Running & running) {
    const auto ended = [](const std::shared_ptr<Generation> & g) { return g->finished(); };
    running.erase(std::remove_if(running.begin(), running.end(), ended), running.end());
}

// With the engine's lock held, unless the engine is closed: no one uses the session before it is let go.
void Scheduler::end(Generation & g, FinishReason reason, const std::exception_ptr & error) {
    g.session_->generating_ = false;
    g.finish(reason, error);
}

// One token for each; false when none is left.
bool Scheduler::step(Engine & engine, Running & running) {
    if (running.empty()) {
        return false;
    }
    try {
        const Engine::Lock held = engine.lock_for_loop();
        struct InLoop {
            bool & flag;
            explicit InLoop(bool & flag) : flag(flag) { flag = true; }
            ~InLoop() { flag = false; }
        } in_loop(engine.in_loop_);

        for (const auto & g : running) {
            if (g->cancelled() || g->session_->closed_ || engine.stopping_) {
                end(*g, FinishReason::Cancelled);
            }
        }
        settle(running);
        begin(running);
        settle(running);
        const Running some = those_in_turn(engine, running);
        for (size_t first = 0; first < some.size();) {
            const size_t n = std::min(some.size() - first, (size_t) llama_n_batch(engine.ctx_.get()));
            decode(engine, Running(some.begin() + first, some.begin() + first + n));
            first += n;
        }
        settle(running);
    } catch (...) { // the engine is closed or broken
        for (const auto & g : running) {
            if (!g->finished() && (engine.closed_ || g->cancelled())) {
                end(*g, FinishReason::Cancelled);
            } else if (!g->finished()) {
                end(*g, FinishReason::Error, std::current_exception());
            }
        }
        running.clear();
    }
    return !running.empty();
}

// Answers with adapters and without cannot be in one batch, and a change costs some milliseconds: they take turns of
// several tokens.
Scheduler::Running Scheduler::those_in_turn(Engine & engine, const Running & running) {
    constexpr int32_t TURN = 8;
    auto group = [&](bool adapters) {
        Running some;
        std::copy_if(running.begin(), running.end(), std::back_inserter(some),
                     [&](const auto & g) { return g->session_->adapters_ == adapters; });
        return some;
    };
    Running now = group(engine.turn_adapters_);
    if (now.empty() || (engine.n_in_turn_ >= TURN && now.size() < running.size())) {
        engine.turn_adapters_ = !engine.turn_adapters_;
        engine.n_in_turn_     = 0;
        now                   = group(engine.turn_adapters_);
    }
    engine.n_in_turn_++;
    return now;
}

// The first token, from the logits that the prompt left.
void Scheduler::begin(const Running & running) {
    for (const auto & g : running) {
        if (g->pending_ != LLAMA_TOKEN_NULL) {
            continue;
        }
        Session & session = *g->session_;
        try {
            if (session.n_logit_rows_ == 0) {
                throw Error(ErrorKind::Argument, "the session has no logits: the last thing fed must be text");
            }
            const Logits rows = session.logits_;
            advance(*g, rows->data() + rows->size() - session.engine_->facts().n_vocab);
        } catch (...) {
            end(*g, FinishReason::Error, std::current_exception());
        }
    }
}

// Samples from the row that has just been computed.
void Scheduler::advance(Generation & g, const float * row) {
    try {
        const Session & session = *g.session_;
        g.sample(row, g.params_.attention ? last_row(session.attention_sums_locked()) : nullptr, seconds_since(g.start_));
        if (g.finished()) {
            g.session_->generating_ = false;
        }
    } catch (const Error & e) {
        if (e.kind == ErrorKind::Cancelled) {
            end(g, FinishReason::Cancelled);
        } else {
            end(g, FinishReason::Error, std::current_exception());
        }
    } catch (...) {
        end(g, FinishReason::Error, std::current_exception());
    }
}

// Feeds the last token of each and samples the next.
void Scheduler::decode(Engine & engine, const Running & running) {
    Running batch;
    std::vector<std::pair<Session *, int32_t>> marks;
    std::vector<CancelPtr>      requests;
    std::vector<llama_token>    token;
    std::vector<llama_pos>      pos;
    std::vector<llama_seq_id>   seq_id;
    for (const auto & g : running) {
        Session & session = *g->session_;
        if (session.n_past_ >= engine.facts_.n_ctx) {
            end(*g, FinishReason::Length);
            continue;
        }
        batch   .push_back(g);
        marks   .emplace_back(&session, session.n_past_);
        requests.push_back(g->cancel_);
        token   .push_back(g->pending_);
        pos     .push_back(session.n_past_);
        seq_id  .push_back(session.seq_);
        session.drop_logits();
        mata_readout_drop(engine.ctx_.get(), session.seq_);
    }
    if (batch.empty()) {
        return;
    }
    std::vector<llama_seq_id *> seq_ptr;
    for (auto & id : seq_id) {
        seq_ptr.push_back(&id);
    }
    std::vector<int32_t> n_seq_id(batch.size(), 1);
    std::vector<int8_t>  output  (batch.size(), 1);
    try {
        const Active active(engine.active_, requests);
        engine.run_batch({ (int32_t) batch.size(), token.data(), nullptr, pos.data(), n_seq_id.data(), seq_ptr.data(), output.data() },
                         batch.front()->session_->adapters_);
    } catch (const Error & e) {
        engine.roll_back(marks);
        if (e.kind == ErrorKind::Cancelled) {
            return; // all of them, or the engine stops: the next step sees it
        }
        if (e.kind == ErrorKind::ContextFull) {
            end(*batch.back(), FinishReason::Length); // the newest; the others have its room
            return;
        }
        for (const auto & g : batch) {
            end(*g, FinishReason::Error, std::current_exception());
        }
        return;
    } catch (...) { // of llama.cpp itself
        engine.roll_back(marks);
        for (const auto & g : batch) {
            end(*g, FinishReason::Error, std::current_exception());
        }
        return;
    }
    for (size_t k = 0; k < batch.size(); ++k) {
        Generation & g = *batch[k];
        g.session_->n_past_ = pos[k] + 1;
        g.fed();
        const float * row = llama_get_logits_ith(engine.ctx_.get(), (int32_t) k);
        if (row) {
            advance(g, row);
        } else {
            end(g, FinishReason::Error, std::make_exception_ptr(Error(ErrorKind::Engine, "llama.cpp gave no logits")));
        }
    }
}

} // namespace mata
