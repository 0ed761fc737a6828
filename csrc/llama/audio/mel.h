// Samples to log-mel frames, as Whisper's feature extractor makes them: window 400, hop 160, Hann, 1e-10 as the floor
// before the logarithm, clamped at 8 below the maximum of what is normalised together, (x + 4) / 4.

#pragma once

#include "arch.h"
#include "fft.h"
#include "spectrogram.h"

#include <cstdint>
#include <vector>

namespace mata_audio {

constexpr int     WINDOW_FRAMES  = 3000; // Whisper's window of 30 s
constexpr int64_t WINDOW_SAMPLES = WINDOW_FRAMES * (int64_t) HOP;

// What architectures with Whisper's features have in common: a limit, and clips that are not too short for a token.
class whisper_features : public mtmd_audio_preprocessor {
    real_fft                fft { WINDOW };
    std::vector<double>     hann;
    std::vector<mel_filter> filters;
    const int64_t           limit;

  protected:
    explicit whisper_features(const clip_ctx * ctx) : mtmd_audio_preprocessor(ctx), limit(mata_audio_arch_of(ctx)->max_samples) {}

    // Samples of the shortest clip that becomes a token: a shorter one gets silence behind it.
    virtual int64_t shortest() const { return 1; }

    // n > 0 samples, no more than the architecture hears, as the chunks that the encoder takes at once.
    virtual void hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const = 0;

    // How many tokens a chunk becomes; a last one that becomes none is dropped.
    virtual int tokens_of(const mtmd_audio_mel & chunk) const = 0;

    // The first n_frames frames of a signal: n samples, zeros up to n_total, mirrored at both ends. The first frame is
    // centred on the first sample.
    spectrogram log_mel(const float * samples, int64_t n, int64_t n_total, int64_t n_frames) const;

    static int64_t frames_up(int64_t n) { return (n + HOP - 1) / HOP; }

  public:
    void initialize() override;
    bool preprocess(const float * samples, size_t n_samples, std::vector<mtmd_audio_mel> & output) const override;
};

} // namespace mata_audio
