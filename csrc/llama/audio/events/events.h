// The event network: YAMNet (MobileNet v1 trained on AudioSet's sounds), which an Ultravox projector may hold besides
// Whisper's encoder. What it hears is added in the projector (formulas below).
//
//   network.cpp    its tensors and its graph
//   features.cpp   its features
//
// GGUF: the string mata.audio.events = "yamnet", and the tensors (ne; i = 1..13)
//   a.events.conv.weight   [9, C_0]          F32, 3 frames x 3 bands, band fastest    .bias [C_0]
//   a.events.dw.{i}.weight [C_i-1, 3, 3]     F32, channel, band, frame                .bias [C_i-1]
//   a.events.pw.{i}.weight [C_i-1, C_i]                                               .bias [C_i]
//   a.events.head.weight   [C_13, n_classes]                                          .bias [n_classes]
//   mm.a.events.norm.weight  [C_13]
//   mm.a.events.mlp.weight   [C_13, n_mid]                 n_mid: rows of mm.a.mlp.1
//   mm.a.events.names.weight [n_classes, n_embd of the language model]
// Biases and norms are F32; batch norms are folded into the weights in front of them.
//
// Features: 64 rows behind Whisper's in the audio chunk. Frame t holds samples 160 t .. 160 t + 399 (zeros behind the
// clip) by a periodic Hann window, transformed with 512 points; mel magnitudes m by HTK's scale, 125 to 7500 Hz;
// log(m + 0.001) - log(0.001), so that silence is 0.0, and so are frames that fill up a chunk or a patch.
//
// The network hears patches of 96 frames, each alone, one every 48 frames: N = 1 + ceil(max(0, n_frames - 96) / 48)
// rows. Token t of stack factor S takes the row of the patch whose middle is nearest to its own,
//   r(t) = (2 S t + S - 24) / 48, at least 0 and at most N - 1,
// and the projector becomes
//   h   = mm.a.mlp.1 rms_norm(stack) + mm.a.events.mlp rms_norm(rows)[r(t)]
//   out = mm.a.mlp.2 rms_norm(swiglu(h)) + mm.a.events.names sigmoid(head rows + bias)[r(t)]
//
// Clips over 30 s: each block of 3000 frames has patches of its own, the last of them filled up with silence.
// The key is looked for in Ultravox projectors only.

#pragma once

#include "../spectrogram.h"

#include "ggml.h"
#include "gguf.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

constexpr int MATA_EVENT_BANDS = 64;

struct mata_audio_events {
    struct layer {
        ggml_tensor * dw_w = nullptr;
        ggml_tensor * dw_b = nullptr;
        ggml_tensor * pw_w = nullptr;
        ggml_tensor * pw_b = nullptr;
    };

    ggml_tensor *         conv_w = nullptr;
    ggml_tensor *         conv_b = nullptr;
    std::array<layer, 13> layers;
    ggml_tensor *         head_w  = nullptr;
    ggml_tensor *         head_b  = nullptr;
    ggml_tensor *         norm_w  = nullptr;
    ggml_tensor *         mlp_w   = nullptr;
    ggml_tensor *         names_w = nullptr;

    // Throws unless the shapes fit each other and the projector.
    void check(int64_t n_mid, int64_t n_embd_text) const;

    // features [n_frames, 64] -> rows [C_13, N]
    ggml_tensor * rows(ggml_context * ctx, ggml_tensor * features) const;

    // rows -> what is added in the middle and at the end of the projector: [n_mid, N], [n_embd_text, N]
    ggml_tensor * middle(ggml_context * ctx, ggml_tensor * rows) const;
    ggml_tensor * names(ggml_context * ctx, ggml_tensor * rows) const;

    // x [n, N] -> [n, n_tokens], the row of each token
    static ggml_tensor * at_tokens(ggml_context * ctx, ggml_tensor * x, int64_t n_tokens, int64_t stack);
};

using mata_tensor_of = std::function<ggml_tensor *(const std::string & name)>; // throws when there is none

// Null when the file names no event network.
std::shared_ptr<const mata_audio_events> mata_audio_events_load(const gguf_context * gguf, const mata_tensor_of & tensor);

class mata_event_features {
    std::vector<mata_audio::mel_filter> filters;

  public:
    mata_event_features();

    // n_frames frames of n samples
    mata_audio::spectrogram operator()(const float * samples, int64_t n, int64_t n_frames) const;
};
