// llama.cpp's sampler chain over logits.

#pragma once

#include "engine.h"

namespace mata {

struct SamplerParams {
    float    temperature       = 0.0f;  // 0: greedy
    int32_t  top_k             = 40;    // 0: all
    float    top_p             = 0.95f;
    float    min_p             = 0.05f;
    float    repeat_penalty    = 1.0f;
    float    frequency_penalty = 0.0f;
    float    presence_penalty  = 0.0f;
    int32_t  penalty_last_n    = 64;    // 0: none, -1: all
    uint32_t seed              = 0;
    std::string grammar;                // GBNF, root rule "root"
};

class Sampler {
public:
    // Throws Error (Argument, Cancelled: work on a grammar can take long, here and in sample).
    Sampler(std::shared_ptr<Engine> engine, const SamplerParams & params, const CancelPtr & cancel = nullptr);

    // Draws from logits [n_vocab] and accepts the token. Throws Error.
    llama_token sample(const float * logits, const CancelPtr & cancel = nullptr);

    const std::shared_ptr<Engine> & engine() const { return engine_; }

private:
    struct Deleter { void operator()(llama_sampler * p) const { llama_sampler_free(p); } };
    using Ptr = std::unique_ptr<llama_sampler, Deleter>;

    std::shared_ptr<Engine> engine_;    // keeps the vocabulary alive
    std::mutex mutex_;
    Ptr grammar_;
    Ptr chain_;
    bool plain_greedy_ = false; // no more than the greatest logit is wanted
    std::vector<llama_token_data> candidates_;
};

// Natural logarithm of the probability that logits [n] give to token; the n_top likeliest tokens with theirs, best first.
float log_probability(const float * logits, size_t n, llama_token token, int32_t n_top, std::vector<std::pair<llama_token, float>> & top);

} // namespace mata
