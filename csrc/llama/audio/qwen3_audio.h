// The audio encoder (AuT) of Qwen3-Omni and Qwen3-ASR.
//   L = n/160; blocks of 100 frames through three convolutions of stride 2, 13 rows of a whole one; positions begin anew
//   in each block; attention within windows of 8 blocks, which are chunks here.

#pragma once

#include "mel.h"
#include "whisper.h"

namespace mata_audio {

struct qwen3_audio_features : whisper_features {
    explicit qwen3_audio_features(const clip_ctx * ctx) : whisper_features(ctx) {}

    void hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const override;
    int tokens_of(const mtmd_audio_mel & chunk) const override;

  protected:
    virtual bool fills_up_lone_block() const = 0; // with 0.0
};

struct qwen3_audio_graph : whisper_graph {
    using whisper_graph::whisper_graph;

  protected:
    int  n_keys() const override;
    int  block_frames() const override;
    int  block_rows() const override;
    void check_front() const override;
    void check_projection() const override { check_mlp(n_embd); }

    ggml_tensor * front(ggml_tensor * mel) const override;
    ggml_tensor * project(ggml_tensor * x, ggml_tensor *) override { return mlp(x); }
};

int qwen3_audio_tokens(const clip_ctx * ctx, const clip_image_f32 & frames);

} // namespace mata_audio
