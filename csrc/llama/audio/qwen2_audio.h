// Qwen2-Audio's way to hear, which the Audio Flamingos have too.

#pragma once

#include "mel.h"
#include "whisper.h"

namespace mata_audio {

// Windows of 30 s, each with its own maximum and edges.
class qwen2_audio_features : public whisper_features {
  public:
    explicit qwen2_audio_features(const clip_ctx * ctx) : whisper_features(ctx) {}

  protected:
    int64_t shortest() const override { return 2 * HOP + 1; } // three frames
    void hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const override;
    int tokens_of(const mtmd_audio_mel & chunk) const override { return halve((int) chunk.n_valid) / 2; }
};

int qwen2_audio_tokens(const clip_ctx * ctx, const clip_image_f32 & frames);

} // namespace mata_audio
