#include "repetition.h"

#include <algorithm>

namespace mata {

int32_t Repetition::add(llama_token token) {
    const auto n = (int32_t) tokens_.size();
    tokens_.push_back(token);
    if (limit_ <= 0) {
        return 0;
    }
    for (int32_t period = 1; period <= std::min(PERIOD_MAX, n); ++period) {
        same_[period] = tokens_[n - period] == token ? same_[period] + 1 : 0;
        const int32_t times = 1 + same_[period]/period;
        if (same_[period] + period >= limit_ && times >= TIMES_MIN) {
            times_  = times;
            period_ = period;
            return times;
        }
    }
    return 0;
}

} // namespace mata
