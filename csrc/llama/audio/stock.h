// libmtmd's own features, for clips that they take.

#pragma once

#include "arch.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace mata_audio {

// Clips of fewer than SHORTEST samples, which would become no token, get silence behind them.
template <typename Stock, int64_t SHORTEST>
struct at_least : Stock {
    explicit at_least(clip_ctx * ctx) : Stock(ctx) {}

    bool preprocess(const float * samples, size_t n_samples, std::vector<mtmd_audio_mel> & output) const override {
        if (n_samples == 0 || (int64_t) n_samples >= SHORTEST) {
            return Stock::preprocess(samples, n_samples, output);
        }
        std::vector<float> longer(samples, samples + n_samples);
        longer.resize((size_t) SHORTEST, 0.0f);
        return Stock::preprocess(longer.data(), longer.size(), output);
    }
};

template <typename Stock, int64_t SHORTEST>
std::unique_ptr<mtmd_audio_preprocessor> make_at_least(const clip_ctx * ctx) {
    return std::make_unique<at_least<Stock, SHORTEST>>(const_cast<clip_ctx *>(ctx)); // which nobody changes
}

} // namespace mata_audio
