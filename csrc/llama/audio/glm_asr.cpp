// GLM-ASR.
//   Windows of 30 s, each padded to 30 s with its own maximum, at most 21 of them. Whisper's convolutions and layers, but no
//   learned positions: the first half of each head is turned by its row (neighbouring pairs, base 10000). All 1500 rows
//   are attended to, padding too. Norm, rows stacked by 4, two matrices with GELU; the first r/4 tokens of a window are
//   kept, r = (L-1)/2+1, L = ceil(n/160). Around a clip stand the text tokens <|begin_of_audio|> and <|end_of_audio|>.

#include "mel.h"
#include "whisper.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace mata_audio {

namespace {

struct features : whisper_features {
    const int stack;

    explicit features(const clip_ctx * ctx) : whisper_features(ctx), stack(stack_of(ctx)) {}

    int64_t shortest() const override { return (2 * stack - 2) * HOP + 1; } // a stack of rows

    void hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const override {
        for (int64_t begin = 0; begin < n; begin += WINDOW_SAMPLES) {
            const int64_t count = std::min(n - begin, WINDOW_SAMPLES);
            spectrogram   mel   = log_mel(samples + begin, count, WINDOW_SAMPLES, WINDOW_FRAMES);
            mel.normalize();
            output.push_back(mel.cut(0, WINDOW_FRAMES, WINDOW_FRAMES, frames_up(count)));
        }
    }
    int tokens_of(const mtmd_audio_mel & chunk) const override { return halve((int) chunk.n_valid) / stack; }
};

struct graph : whisper_graph {
    const int     stack;
    ggml_tensor * positions = nullptr;

    graph(clip_ctx * ctx, const clip_image_f32 & frames) : whisper_graph(ctx, frames), stack(stack_of(ctx)) {}

    int n_keys() const override { return halve(n_frames); }

    void make_inputs() override {
        positions = ggml_new_tensor_1d(ctx0, GGML_TYPE_I32, n_rows());
        ggml_set_name(positions, "rows");
        ggml_set_input(positions);
    }

    void check_projection() const override {
        require(d_head % 4 == 0, "a head whose half has pairs");
        require(is_row(model.mm_norm_pre_w, n_embd) && is_row(model.mm_norm_pre_b, n_embd), "the projection's norm");
        check_mlp((int64_t) n_embd * stack);
    }

    ggml_tensor * add_positions(ggml_tensor * rows) const override {
        return ggml_reshape_2d(ctx0, rows, n_embd, rows->ne[1] * rows->ne[2]);
    }

    ggml_tensor * rotate(ggml_tensor * x) const override {
        return ggml_rope_ext(ctx0, x, positions, nullptr, d_head / 2, GGML_ROPE_TYPE_NORMAL, 0, 10000.0f, 1.0f, 0.0f, 1.0f, 0.0f, 0.0f);
    }

    ggml_tensor * project(ggml_tensor * x, ggml_tensor *) override {
        x = first_rows(x, (int64_t) halve(n_valid) / stack * stack);
        x = build_norm(x, model.mm_norm_pre_w, model.mm_norm_pre_b, NORM_TYPE_NORMAL, eps, -1);
        return mlp(build_stack(x, stack, n_embd));
    }
};

bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_GLMA;
}

int n_tokens(const clip_ctx * ctx, const clip_image_f32 & frames) {
    return halve(n_valid(frames)) / stack_of(ctx);
}

void set_inputs(const clip_ctx *, const clip_image_f32 &, ggml_cgraph * gf) {
    ggml_tensor *        rows = ggml_graph_get_tensor(gf, "rows");
    std::vector<int32_t> numbers((size_t) rows->ne[0]);
    std::iota(numbers.begin(), numbers.end(), 0);
    ggml_backend_tensor_set(rows, numbers.data(), 0, ggml_nbytes(rows));
}

} // namespace

const mata_audio_arch GLM_ASR = {
    /* name           */ "glma",
    /* prompt         */ "glmasr",
    /* window_samples */ WINDOW_SAMPLES,
    /* max_samples    */ 21 * WINDOW_SAMPLES,
    /* padded_samples */ WINDOW_SAMPLES,
    /* begin          */ "<|begin_of_audio|>",
    /* end            */ "<|end_of_audio|>",
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ nullptr,
    /* features       */ make_features<features>,
    /* graph          */ make_graph<graph>,
    /* n_tokens       */ n_tokens,
    /* set_inputs     */ set_inputs,
};

} // namespace mata_audio
