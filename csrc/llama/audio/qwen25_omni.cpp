// Qwen2.5-Omni's thinker.
//   L = ceil(n/160); blocks of 200 frames, each convolved, positioned and attended on its own; ((L-1)/2+1)/2 tokens.
//   No more than 300 s heard.

#include "mel.h"
#include "whisper.h"

#include <algorithm>

namespace mata_audio {

namespace {

constexpr int BLOCK_FRAMES = 200, BLOCK_ROWS = 100;

constexpr int64_t LONGEST = 10 * WINDOW_SAMPLES;

struct features : whisper_features {
    explicit features(const clip_ctx * ctx) : whisper_features(ctx) {}

    int64_t shortest() const override { return 2 * HOP + 1; } // three frames

    void hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const override {
        const int64_t valid = frames_up(n);
        // the maximum is taken over the padded clip, where the last samples reach two frames further
        spectrogram mel = log_mel(samples, n, LONGEST, std::min(valid + 2, LONGEST / HOP));
        mel.normalize();
        for (int64_t begin = 0; begin < valid; begin += WINDOW_FRAMES) {
            const int64_t n_frames = std::min<int64_t>(valid - begin, WINDOW_FRAMES);
            output.push_back(mel.cut(begin, n_frames, n_frames, n_frames));
        }
    }
    int tokens_of(const mtmd_audio_mel & chunk) const override { return halve((int) chunk.n_valid) / 2; }
};

struct graph : whisper_graph {
    using whisper_graph::whisper_graph;

    int  block_frames() const override { return BLOCK_FRAMES; }
    int  block_rows() const override { return BLOCK_ROWS; }
    bool blocks_see_each_other() const override { return false; }

    void check_projection() const override {
        require(model.mm_fc_w && is_matrix(model.mm_fc_w, n_embd, model.mm_fc_w->ne[1]) &&
                is_row(model.mm_fc_b, model.mm_fc_w->ne[1]), "the projection");
    }
    ggml_tensor * pool(ggml_tensor * x) const override { return average_pairs(x); }
    ggml_tensor * project(ggml_tensor * x, ggml_tensor *) override {
        return ggml_add(ctx0, build_mm(model.mm_fc_w, x), model.mm_fc_b);
    }
};

bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_QWEN2A && clip_get_hparams(ctx)->audio_is_qwen25o;
}

int n_tokens(const clip_ctx *, const clip_image_f32 & frames) {
    return halve(n_valid(frames)) / 2;
}

} // namespace

const mata_audio_arch QWEN25_OMNI = {
    /* name           */ "qwen2.5o",
    /* prompt         */ "qwen2.5o",
    /* window_samples */ 0,
    /* max_samples    */ LONGEST,
    /* padded_samples */ 0,
    /* begin          */ nullptr,
    /* end            */ nullptr,
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ nullptr,
    /* features       */ make_features<features>,
    /* graph          */ make_graph<graph>,
    /* n_tokens       */ n_tokens,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
