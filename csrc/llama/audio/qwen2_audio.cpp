// Qwen2-Audio.
//   Reference: padded to 30 s, keys >= r masked in every layer, r = (L-1)/2+1; pairs averaged; the first r/2 tokens
//   kept; no more than 30 s heard.
//   Here the same without the padding: L = ceil(n/160), L+2 frames of the zero-padded signal (the last two still reach
//   row r-1 through the two convolutions), cut to r rows after them.

#include "qwen2_audio.h"

#include <algorithm>

namespace mata_audio {

void qwen2_audio_features::hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const {
    for (int64_t begin = 0; begin < n; begin += WINDOW_SAMPLES) {
        const int64_t count    = std::min(n - begin, WINDOW_SAMPLES);
        const int64_t valid    = frames_up(count);
        const int64_t n_frames = (valid + 3) / 2 * 2; // at least valid + 2
        // frames from 3000 on are the convolution's own padding: 0.0
        spectrogram mel = log_mel(samples + begin, count, WINDOW_SAMPLES, std::min<int64_t>(n_frames, WINDOW_FRAMES));
        mel.normalize();
        output.push_back(mel.cut(0, n_frames, n_frames, valid));
        output.back().window = (int32_t) (begin / WINDOW_SAMPLES);
    }
}

int qwen2_audio_tokens(const clip_ctx *, const clip_image_f32 & frames) {
    return halve(n_valid(frames)) / 2;
}

namespace {

struct graph : whisper_graph {
    using whisper_graph::whisper_graph;

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
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_QWEN2A && !clip_get_hparams(ctx)->audio_is_qwen25o;
}

} // namespace

const mata_audio_arch QWEN2_AUDIO = {
    /* name           */ "qwen2a",
    /* prompt         */ "qwen2a",
    /* window_samples */ WINDOW_SAMPLES,
    /* max_samples    */ WINDOW_SAMPLES,
    /* padded_samples */ 0,
    /* begin          */ nullptr,
    /* end            */ nullptr,
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ nullptr,
    /* features       */ make_features<qwen2_audio_features>,
    /* graph          */ make_graph<graph>,
    /* n_tokens       */ qwen2_audio_tokens,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
