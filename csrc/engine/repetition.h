// Notices that a model says the same thing over and over: one token, or a phrase.

#pragma once

#include "llama.h"

#include <array>
#include <cstdint>
#include <vector>

namespace mata {

class Repetition {
public:
    static constexpr int32_t PERIOD_MAX = 64;
    static constexpr int32_t TIMES_MIN  = 4;

    // limit: so many tokens that repeat what stands before them are no answer any more, if the phrase has come at least
    // TIMES_MIN times. 0: never.
    explicit Repetition(int32_t limit) : limit_(limit) {}

    // The next token; how often the phrase at the end has come if that is too often, else 0.
    int32_t add(llama_token token);

    int32_t times() const { return times_; }
    int32_t period() const { return period_; } // tokens in the phrase

private:
    int32_t limit_;
    int32_t times_  = 0;
    int32_t period_ = 0;
    std::vector<llama_token> tokens_;
    std::array<int32_t, PERIOD_MAX + 1> same_ {}; // [period] tokens at the end that equal the one a period before
};

} // namespace mata
