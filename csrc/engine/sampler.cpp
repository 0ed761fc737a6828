#include "sampler.h"
#include "guard.h"
#include "log.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

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

// While it lives, this thread's work on grammars ends with an Error when there is too much of it, or the request is
// cancelled. The bound is on steps, not on time: an answer must not depend on how busy the machine is.
class GrammarWork {
public:
    GrammarWork(const Engine & engine, const CancelPtr & cancel) : engine_(engine), cancel_(cancel) {
        llama_grammar_on_step(on_step, this);
    }
    ~GrammarWork() { llama_grammar_on_step(nullptr, nullptr); }

    GrammarWork(const GrammarWork &) = delete;
    GrammarWork & operator=(const GrammarWork &) = delete;

private:
    static constexpr size_t WORK_MAX = (size_t) 1 << 26; // about a second

    static void on_step(void * data, size_t work) {
        auto & self = *static_cast<GrammarWork *>(data);
        self.work_ += work;
        if (self.work_ > WORK_MAX) {
            throw Error(ErrorKind::Argument, "the grammar is too ambiguous: the same text can be read in too many ways; give optional and repeated parts different beginnings");
        }
        if (self.engine_.asked_to_end(self.cancel_)) {
            throw Error(ErrorKind::Cancelled, "cancelled");
        }
    }

    const Engine    & engine_;
    const CancelPtr & cancel_;
    size_t work_ = 0;
};

Sampler::Sampler(std::shared_ptr<Engine> engine, const SamplerParams & p, const CancelPtr & cancel)
    : engine_(std::move(engine)) {
    check(p);
    const auto held = engine_->alive();
    const auto & facts = engine_->facts();

    if (!p.grammar.empty()) {
        check_grammar(p.grammar);
        take_logged_errors();
        try {
            Guard guard;
            GrammarWork work(*engine_, cancel);
            grammar_.reset(llama_sampler_init_grammar(engine_->vocab_, p.grammar.c_str(), "root"));
        } catch (const Aborted & e) {
            throw Error(ErrorKind::Argument, std::string("the grammar cannot be used: ") + e.what());
        } catch (const Error &) {
            throw;
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
// candidates: that is 1.8 MB for each token of a vocabulary of 150,000. In blocks that compilers turn into vectors.
static llama_token greatest(const float * row, size_t n) {
    constexpr size_t BLOCK = 64;
    float  best    = -INFINITY;
    size_t best_at = n;
    bool   numbers = true;
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t last = std::min(n, first + BLOCK);
        float lanes[BLOCK];
        bool finite = true;
        std::copy(row + first, row + last, lanes);
        std::fill(lanes + (last - first), lanes + BLOCK, -INFINITY);
        for (size_t width = BLOCK/2; width > 0; width /= 2) {
            for (size_t i = 0; i < width; ++i) {
                lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
            }
        }
        for (size_t i = first; i < last; ++i) {
            finite &= row[i] - row[i] == 0.0f;
        }
        if (!finite) {
            numbers = numbers && std::none_of(row + first, row + last, [](float x) { return std::isnan(x); });
        }
        if (lanes[0] > best) {
            best    = lanes[0];
            best_at = first;
        }
    }
    if (!numbers) {
        throw_nan();
    }
    if (best_at >= n || !std::isfinite(best)) {
        throw Error(ErrorKind::Engine, "the model gave logits that are not finite: the model file may be damaged");
    }
    return (llama_token) (std::find(row + best_at, row + n, best) - row);
}

llama_token Sampler::sample(const float * row, const CancelPtr & cancel) {
    const size_t n = (size_t) engine_->facts().n_vocab;

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
        GrammarWork work(*engine_, cancel);
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
        GrammarWork work(*engine_, cancel);
        llama_sampler_accept(grammar_.get(), token);
    }
    llama_sampler_accept(chain_.get(), token);
    return token;
}

float log_probability(const float * logits, size_t n, llama_token token, int32_t n_top, std::vector<std::pair<llama_token, float>> & top) {
    const float best = *std::max_element(logits, logits + n);
    double sum = 0.0;
    for (size_t i = 0; i < n; ++i) {
        sum += std::exp((double) (logits[i] - best));
    }
    const auto of = [&](float logit) { return (float) ((double) (logit - best) - std::log(sum)); };

    top.clear();
    if (n_top > 0) {
        std::vector<llama_token> order(n);
        std::iota(order.begin(), order.end(), 0);
        const auto count = (ptrdiff_t) std::min(n, (size_t) n_top);
        std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](llama_token a, llama_token b) {
            return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
        });
        for (ptrdiff_t i = 0; i < count; ++i) {
            top.emplace_back(order[i], of(logits[order[i]]));
        }
    }
    return of(logits[token]);
}

} // namespace mata
