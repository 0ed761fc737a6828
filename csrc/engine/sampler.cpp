#include "sampler.h"
#include "guard.h"
#include "log.h"

#include <cmath>
#include <cstdio>

namespace mata {

static void check(const SamplerParams & p) {
    const auto need = [](bool ok, const char * what) {
        if (!ok) {
            throw Error(ErrorKind::Argument, what);
        }
    };
    need(std::isfinite(p.temperature) && p.temperature >= 0.0f,       "temperature must be 0 (greedy) or more");
    need(p.top_k >= 0,                                                "top_k must be 0 (all) or more");
    need(p.top_p > 0.0f && p.top_p <= 1.0f,                           "top_p must be above 0 and at most 1");
    need(p.min_p >= 0.0f && p.min_p <= 1.0f,                          "min_p must be between 0 and 1");
    need(std::isfinite(p.repeat_penalty) && p.repeat_penalty > 0.0f,  "repeat_penalty must be above 0 (1: none)");
    need(std::isfinite(p.frequency_penalty),                          "frequency_penalty must be a finite number");
    need(std::isfinite(p.presence_penalty),                           "presence_penalty must be a finite number");
    need(p.penalty_last_n >= -1,                                      "penalty_last_n must be -1 (all), 0 (none) or more");
}

// llama.cpp's parser recurses per bracket and counts max - min of a repetition unsigned: both can end the process.
static void check_grammar(const std::string & grammar) {
    constexpr size_t SIZE_MAX_ = 1 << 20;
    constexpr int    DEPTH_MAX = 256;
    const auto fail = [](const std::string & what) { throw Error(ErrorKind::Argument, "the grammar " + what); };
    if (grammar.size() > SIZE_MAX_) {
        fail("is longer than 1 MiB");
    }
    int  depth = 0;
    char inside = 0; // the end of a string or character class
    for (size_t i = 0; i < grammar.size(); ++i) {
        const char c = grammar[i];
        if (inside) {
            if (c == '\\') {
                ++i;
            } else if (c == inside || (inside == '\n' && c == '\n')) {
                inside = 0;
            }
        } else if (c == '"') {
            inside = '"';
        } else if (c == '[') {
            inside = ']';
        } else if (c == '#') {
            inside = '\n';
        } else if (c == '(' && ++depth > DEPTH_MAX) {
            fail("has more than " + std::to_string(DEPTH_MAX) + " nested brackets");
        } else if (c == ')') {
            --depth;
        } else if (c == '{') {
            unsigned long min = 0;
            unsigned long max = 0;
            const int n = std::sscanf(grammar.c_str() + i, "{%lu , %lu", &min, &max);
            if (n == 2 && max < min) {
                fail("has a repetition whose maximum is below its minimum");
            }
        }
    }
}

Sampler::Sampler(std::shared_ptr<Engine> engine, const SamplerParams & p) : engine_(std::move(engine)) {
    check(p);
    const auto held = engine_->alive();
    const auto & facts = engine_->facts();

    if (!p.grammar.empty()) {
        check_grammar(p.grammar);
        take_logged_errors();
        try {
            Guard guard;
            grammar_.reset(llama_sampler_init_grammar(engine_->vocab_, p.grammar.c_str(), "root"));
        } catch (const std::exception & e) {
            throw Error(ErrorKind::Argument, std::string("the grammar cannot be used: ") + e.what());
        }
        if (!grammar_) {
            const std::string why = take_logged_errors();
            throw Error(ErrorKind::Argument, "the grammar is not valid GBNF with a rule \"root\"" + (why.empty() ? "" : " (" + why + ")"));
        }
    }

    chain_.reset(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    const auto add = [this](llama_sampler * sampler) { llama_sampler_chain_add(chain_.get(), sampler); };

    const bool penalties = p.penalty_last_n != 0 && (p.repeat_penalty != 1.0f || p.frequency_penalty != 0.0f || p.presence_penalty != 0.0f);
    if (penalties) {
        const int32_t last_n = p.penalty_last_n < 0 ? facts.n_ctx : p.penalty_last_n;
        add(llama_sampler_init_penalties(facts.n_vocab, last_n, p.repeat_penalty, p.frequency_penalty, p.presence_penalty));
    }
    plain_greedy_ = p.temperature == 0.0f && !penalties && !grammar_;
    if (p.temperature == 0.0f) {
        add(llama_sampler_init_greedy());
    } else {
        add(llama_sampler_init_top_k(p.top_k));
        add(llama_sampler_init_top_p(p.top_p, 1));
        add(llama_sampler_init_min_p(p.min_p, 1));
        add(llama_sampler_init_temp (p.temperature));
        add(llama_sampler_init_dist (p.seed));
    }
}

[[noreturn]] static void throw_nan() {
    throw Error(ErrorKind::Engine, "the model gave logits that are not numbers: the model file may be damaged");
}

// What the chain with nothing but llama.cpp's greedy sampler chooses (the first of equals), without a table of
// candidates: that is 1.8 MB for each token of a vocabulary of 150,000.
static llama_token greatest(const float * row, size_t n) {
    size_t best = 0;
    for (size_t i = 0; i < n; ++i) {
        if (std::isnan(row[i])) {
            throw_nan();
        }
        if (row[i] > row[best]) {
            best = i;
        }
    }
    if (!std::isfinite(row[best])) {
        throw Error(ErrorKind::Engine, "the model gave logits that are not finite: the model file may be damaged");
    }
    return (llama_token) best;
}

llama_token Sampler::sample(const Session & session) {
    if (session.engine() != engine_) {
        throw Error(ErrorKind::Argument, "a session of another engine");
    }
    const Logits rows = session.logits_shared();
    const size_t n    = (size_t) engine_->facts().n_vocab;
    const float * row = rows->data() + rows->size() - n;

    std::lock_guard<std::mutex> own(mutex_);
    const auto held = engine_->alive();
    if (plain_greedy_) {
        return greatest(row, n);
    }
    candidates_.resize(n);
    for (size_t i = 0; i < n; ++i) {
        if (std::isnan(row[i])) {
            throw_nan();
        }
        candidates_[i] = { (llama_token) i, row[i], 0.0f };
    }
    llama_token_data_array array { candidates_.data(), candidates_.size(), -1, false };

    Guard guard;
    if (grammar_) {
        llama_sampler_apply(grammar_.get(), &array);
    }
    bool any = false;
    for (size_t i = 0; i < array.size && !any; ++i) {
        any = std::isfinite(array.data[i].logit);
    }
    if (!any) {
        throw Error(ErrorKind::Argument, "the grammar allows no token here");
    }
    llama_sampler_apply(chain_.get(), &array);
    if (array.selected < 0 || array.selected >= (int64_t) array.size) {
        throw Error(ErrorKind::Engine, "the sampler chose no token");
    }
    const llama_token token = array.data[array.selected].id;
    if (grammar_) {
        llama_sampler_accept(grammar_.get(), token);
    }
    llama_sampler_accept(chain_.get(), token);
    return token;
}

void Sampler::reset() {
    std::lock_guard<std::mutex> own(mutex_);
    const auto held = engine_->alive();
    if (grammar_) {
        llama_sampler_reset(grammar_.get());
    }
    llama_sampler_reset(chain_.get());
}

} // namespace mata
