// Audio Flamingo 3's encoder, which Music Flamingo has too.

#pragma once

#include "qwen2_audio.h"

namespace mata_audio {

struct audio_flamingo_graph : whisper_graph {
    using whisper_graph::whisper_graph;

  protected:
    void check_projection() const override { check_mlp(n_embd); }
    ggml_tensor * pool(ggml_tensor * x) const override { return average_pairs(x); }
    ggml_tensor * project(ggml_tensor * x, ggml_tensor *) override { return mlp(x); }
};

} // namespace mata_audio
