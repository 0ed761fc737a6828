// How the reference implementations of six audio models turn a clip into tokens, where libmtmd does it otherwise.
//
//   mtmd-audio-rules.cpp   which model follows which rule, token counts, limits
//   mtmd-audio-mel.cpp     samples -> log-mel frames, cut into what the encoder takes at once
//   mtmd-audio-graph.cpp   frames -> embeddings
//   mtmd-audio-events.h    a second network that an Ultravox projector may hold, its tensors and features
//
// libmtmd's files only get call sites (the patches here). n samples at 16 kHz, L mel frames of 10 ms,
// r = (L-1)/2+1 encoder rows (L frames through a convolution of stride 2); divisions round down.
//
//   Qwen2-Audio, Audio Flamingo 3
//       Reference: padded to 30 s, keys >= r masked in every layer, pairs averaged, the first r/2 tokens kept.
//       Here the same without the padding: L = ceil(n/160), L+2 frames of the zero-padded signal (the last two still
//       reach row r-1 through the two convolutions), sliced to r rows after them.
//       Longer than 30 s: Qwen2-Audio hears the first 30 s; Audio Flamingo 3 takes windows of 30 s, each with its own
//       maximum and edges, up to 600 s.
//   Qwen2.5-Omni (thinker)
//       L = ceil(n/160); blocks of 200 frames, each convolved, positioned and attended on its own; r/2 tokens.
//   Qwen3-Omni (thinker)
//       L = n/160; blocks of 100 frames through three convolutions of stride 2, the last block filled up with 0.0 if
//       it is not the only one; positions restart in each block; attention inside windows of 8 blocks.
//   Ultravox
//       L = ceil(n/160), at least 2; mirrored at both ends, no padding; rows stacked by 8 (in general by the GGUF's
//       stack factor), the last stack filled up with zeros. Longer than 30 s: blocks of 3000 frames; a block after the
//       first is filled up with 0.0 frames, which are no keys, but which are rows of its last stack.
//       With an event network (no part of the reference), 64 rows of its features lie behind those of Whisper.
//   Voxtral
//       Padded to a multiple of 30 s, which the model hears: 1500 rows of each 30 s, stacked by 4, no pooling.
//
// All: floor 1e-10 before the logarithm, clamped at 8 below the maximum of the clip (of the window for
// Audio Flamingo 3), (x+4)/4.

#pragma once

#include "clip-graph.h"
#include "mtmd-audio.h"

#include <cstdint>
#include <memory>

// Whisper's window of 30 s
constexpr int64_t MATA_AUDIO_WINDOW        = 30 * 16000;
constexpr int     MATA_AUDIO_WINDOW_FRAMES = 3000;

enum mata_audio_rule {
    MATA_AUDIO_STOCK, // libmtmd's own behaviour
    MATA_AUDIO_QWEN2,
    MATA_AUDIO_FLAMINGO3,
    MATA_AUDIO_QWEN25_OMNI,
    MATA_AUDIO_QWEN3_OMNI,
    MATA_AUDIO_ULTRAVOX,
    MATA_AUDIO_VOXTRAL,
};

// Frames and rows of one audio chunk. n_frames counts the frames handed to the encoder, n_valid those of the clip
// among them.
struct mata_audio_shape {
    mata_audio_rule rule;
    int             n_frames;
    int             n_valid;
    int             stack; // rows joined into one token

    int n_rows() const;   // rows that pass through the encoder's layers
    int n_keys() const;   // rows among them that are attended to
    int n_tokens() const; // embeddings for the language model
};

// Encoder frames per block, where positions restart, and the rows that a whole block becomes. 0: one block.
int mata_audio_block_frames(mata_audio_rule rule);
int mata_audio_block_rows(mata_audio_rule rule);

mata_audio_rule mata_audio_rule_of(const clip_ctx * ctx);
int64_t         mata_audio_max_samples(mata_audio_rule rule); // as in mtmd-mata.h

mata_audio_shape mata_audio_shape_of(const clip_ctx * ctx, const clip_image_f32 & mel);

// Null when the model follows libmtmd's own behaviour.
std::unique_ptr<mtmd_audio_preprocessor> mata_audio_preprocessor(const clip_ctx * ctx);
std::unique_ptr<clip_graph>              mata_audio_graph(clip_ctx * ctx, const clip_image_f32 & mel);

// Defined by the patch to mtmd.cpp: null without an audio encoder.
const clip_ctx * mata_mtmd_audio_ctx(const mtmd_context * ctx);
