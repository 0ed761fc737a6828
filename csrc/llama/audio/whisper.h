// Whisper's encoder without padding and without masks: what the reference masks is left out of the keys, what it drops
// at the end is not computed. An architecture derives from it and says what is otherwise.

#pragma once

#include "arch.h"
#include "check.h"

#include <cstdint>

namespace mata_audio {

// The rows that a convolution of stride 2, width 3 and padding 1 leaves.
inline int halve(int n) {
    return n > 0 ? (n - 1) / 2 + 1 : 0;
}

inline int divide_up(int n, int by) {
    return (n + by - 1) / by;
}

// How many of the frames belong to the clip.
inline int n_valid(const clip_image_f32 & frames) {
    return frames.n_valid_frames > 0 ? frames.n_valid_frames : frames.nx();
}

inline int stack_of(const clip_ctx * ctx) {
    return clip_get_hparams(ctx)->proj_stack_factor > 0 ? clip_get_hparams(ctx)->proj_stack_factor : 1;
}

struct whisper_graph : clip_graph {
    whisper_graph(clip_ctx * ctx, const clip_image_f32 & frames) : clip_graph(ctx, frames), n_frames(frames.nx()), n_valid(mata_audio::n_valid(frames)) {}

    void          check() const; // throws unless the tensors fit
    ggml_cgraph * build() final;

  protected:
    const int n_frames; // handed to the encoder
    const int n_valid;  // of the clip among them

    // --- what an architecture may say otherwise

    virtual int n_keys() const { return halve(n_valid); } // rows that are attended to
    virtual int n_rows() const { return n_keys(); }       // rows that pass through the layers
    // Frames and rows of blocks in which positions begin anew. 0: one block.
    virtual int block_frames() const { return 0; }
    virtual int block_rows() const { return 0; }
    virtual bool blocks_see_each_other() const { return true; }

    // Throw unless the tensors fit.
    virtual void check_front() const;
    virtual void check_projection() const = 0;

    // frames [n, n_mel, n_blocks] -> rows with positions [n_embd, n_rows * n_blocks]
    virtual ggml_tensor * front(ggml_tensor * mel) const;

    // rows with positions; from 0 in each block. [n_embd, n_rows, n_blocks]
    virtual ggml_tensor * add_positions(ggml_tensor * rows) const;

    // queries or keys [d_head, n_head, n]
    virtual ggml_tensor * rotate(ggml_tensor * x) const { return x; }

    // rows after the layers, before the last norm
    virtual ggml_tensor * pool(ggml_tensor * x) const { return x; }

    // [n_embd, n] -> [n_embd of the language model, n_tokens]. frames: the input.
    virtual ggml_tensor * project(ggml_tensor * x, ggml_tensor * frames) = 0;

    virtual void make_inputs() {}

    // --- for them to use

    void          check_positions(int64_t n) const;
    ggml_tensor * first_rows(ggml_tensor * x, int64_t n) const;
    ggml_tensor * average_pairs(ggml_tensor * x) const;
    void          check_mlp(int64_t n_in) const;      // mm_1, mm_2 and their biases, which may be missing
    ggml_tensor * mlp(ggml_tensor * x) const;         // by them, with an exact GELU between

  private:
    ggml_tensor * conv1d(ggml_tensor * x, ggml_tensor * w, ggml_tensor * b, int stride) const;
    ggml_tensor * blocks(ggml_tensor * mel, int64_t begin, int64_t n, int64_t n_block) const;
    ggml_tensor * attention(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, int il) const;
    ggml_tensor * layers(ggml_tensor * x) const;
};

template <typename T>
std::unique_ptr<mtmd_audio_preprocessor> make_features(const clip_ctx * ctx) {
    return std::make_unique<T>(ctx);
}

// Also made while a projector is loaded, which ends there if its tensors do not fit (Music Flamingo's as Audio Flamingo 3's).
template <typename T>
std::unique_ptr<clip_graph> make_graph(clip_ctx * ctx, const clip_image_f32 & frames) {
    auto graph = std::make_unique<T>(ctx, frames);
    graph->check();
    return graph;
}

} // namespace mata_audio
