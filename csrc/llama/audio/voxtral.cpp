// Voxtral: padded to a multiple of 30 s, which the model hears; 1500 rows of each 30 s, stacked by 4, no pooling.

#include "mel.h"
#include "whisper.h"

namespace mata_audio {

namespace {

struct features : whisper_features {
    const int stack;

    explicit features(const clip_ctx * ctx) : whisper_features(ctx), stack(stack_of(ctx)) {}

    void hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const override {
        const int64_t n_windows = (n + WINDOW_SAMPLES - 1) / WINDOW_SAMPLES;
        spectrogram   mel       = log_mel(samples, n, n_windows * WINDOW_SAMPLES, n_windows * WINDOW_FRAMES);
        mel.normalize();
        for (int64_t i = 0; i < n_windows; i++) {
            output.push_back(mel.cut(i * WINDOW_FRAMES, WINDOW_FRAMES, WINDOW_FRAMES, WINDOW_FRAMES));
        }
    }
    int tokens_of(const mtmd_audio_mel & chunk) const override { return divide_up(halve((int) chunk.n_valid), stack); }
};

struct graph : whisper_graph {
    const int stack;

    graph(clip_ctx * ctx, const clip_image_f32 & frames) : whisper_graph(ctx, frames), stack(stack_of(ctx)) {}

    void check_projection() const override { check_mlp((int64_t) n_embd * stack); }

    ggml_tensor * project(ggml_tensor * x, ggml_tensor *) override { return mlp(build_stack(x, stack, n_embd)); }
};

bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_VOXTRAL;
}

int n_tokens(const clip_ctx * ctx, const clip_image_f32 & frames) {
    return divide_up(halve(n_valid(frames)), stack_of(ctx));
}

} // namespace

const mata_audio_arch VOXTRAL = {
    /* name           */ "voxtral",
    /* prompt         */ "voxtral",
    /* window_samples */ WINDOW_SAMPLES,
    /* max_samples    */ 0,
    /* padded_samples */ WINDOW_SAMPLES,
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
