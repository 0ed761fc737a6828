// Music Flamingo (2601): Audio Flamingo 3 with a rotation by time between the last norm and the projection, its own
// markers, and clips up to 1200 s. The projector has the same type; the tokenizer tells the two apart.
//
//   Channels [0, 2r), r = 0.2 n_embd (an odd r counts as one more here), are turned in neighbouring pairs (2i, 2i+1) by
//   the angle -2 pi t f, where row j of window w stands at t = 30 w + 0.04 j seconds, and
//     f = w / 1200 * 1200^(-2k/r)           of the first r channels, k the pair's number
//     f = j / 1200 * 2 pi * 1200^(-2k/r)    of the next r
//   The reference computes the angles in single precision, and so does this.

#include "audio_flamingo.h"

#include <cmath>
#include <utility>
#include <vector>

namespace mata_audio {

namespace {

constexpr float LONGEST = 1200.0f; // seconds, and the base of the frequencies
constexpr float PI      = 3.14159265358979f;

int share(int n_embd) { // r
    return (int) (n_embd * 0.2);
}

int n_pairs_of(int n_embd) {
    return 2 * ((share(n_embd) + 1) / 2);
}

struct graph : audio_flamingo_graph {
    using audio_flamingo_graph::audio_flamingo_graph;

    ggml_tensor * cos = nullptr; // [1, pairs, n_tokens]
    ggml_tensor * sin = nullptr;

    void make_inputs() override {
        for (auto & [tensor, name] : { std::pair(&cos, "time_cos"), std::pair(&sin, "time_sin") }) {
            *tensor = ggml_new_tensor_3d(ctx0, GGML_TYPE_F32, 1, n_pairs_of(n_embd), n_keys() / 2);
            ggml_set_name(*tensor, name);
            ggml_set_input(*tensor);
        }
    }

    void check_projection() const override {
        audio_flamingo_graph::check_projection();
        require(n_pairs_of(n_embd) > 0 && 2 * n_pairs_of(n_embd) < n_embd, "a width to turn a part of");
    }

    ggml_tensor * project(ggml_tensor * x, ggml_tensor *) override {
        const int64_t n_turned = 2 * n_pairs_of(n_embd);
        const int64_t n        = x->ne[1];
        auto part = [&](int64_t first) { // of each pair
            ggml_tensor * view = ggml_view_3d(ctx0, x, 1, n_turned / 2, n, 2 * x->nb[0], x->nb[1], first * x->nb[0]);
            return ggml_cont(ctx0, view);
        };
        ggml_tensor * a = part(0);
        ggml_tensor * b = part(1);
        ggml_tensor * turned =
            ggml_concat(ctx0, ggml_sub(ctx0, ggml_mul(ctx0, a, cos), ggml_mul(ctx0, b, sin)),
                        ggml_add(ctx0, ggml_mul(ctx0, b, cos), ggml_mul(ctx0, a, sin)), 0);
        turned = ggml_reshape_2d(ctx0, turned, n_turned, n);
        ggml_tensor * rest = ggml_view_2d(ctx0, x, n_embd - n_turned, n, x->nb[1], n_turned * x->nb[0]);
        x = ggml_concat(ctx0, turned, ggml_cont(ctx0, rest), 0);
        cb(x, "turned", -1);
        return mlp(x);
    }
};

void set_inputs(const clip_ctx * ctx, const clip_image_f32 & frames, ggml_cgraph * gf) {
    ggml_tensor * cos = ggml_graph_get_tensor(gf, "time_cos");
    ggml_tensor * sin = ggml_graph_get_tensor(gf, "time_sin");
    const int     r       = share(clip_get_hparams(ctx)->n_embd);
    const int     n_pairs = (int) cos->ne[1];
    const int     half    = n_pairs / 2; // of the first r channels
    const float   window  = (float) frames.n_window;

    std::vector<float> c((size_t) ggml_nelements(cos)), s(c.size());
    for (int j = 0; j < cos->ne[2]; j++) {
        const float t     = window * 750 * 0.04f + (float) j * 0.04f;
        const float angle = -t * 2 * PI;
        for (int i = 0; i < n_pairs; i++) {
            const float inverse = 1.0f / std::pow(LONGEST, (float) (2 * (i % half)) / (float) r);
            const float f       = i < half ? window / LONGEST * inverse : (float) j / LONGEST * (2 * PI) * inverse;
            c[(size_t) (j * n_pairs + i)] = std::cos(f * angle);
            s[(size_t) (j * n_pairs + i)] = std::sin(f * angle);
        }
    }
    ggml_backend_tensor_set(cos, c.data(), 0, ggml_nbytes(cos));
    ggml_backend_tensor_set(sin, s.data(), 0, ggml_nbytes(sin));
}

bool is(const clip_ctx * ctx, const llama_model * text) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_MUSIC_FLAMINGO && has_token(text, "<|sound_bos|>");
}

} // namespace

const mata_audio_arch MUSIC_FLAMINGO = {
    /* name           */ "musicflamingo",
    /* prompt         */ "musicflamingo2601",
    /* window_samples */ WINDOW_SAMPLES,
    /* max_samples    */ 40 * WINDOW_SAMPLES,
    /* padded_samples */ 0,
    /* begin          */ "<|sound_bos|>",
    /* end            */ "<|sound_eos|>",
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ nullptr,
    /* features       */ make_features<qwen2_audio_features>,
    /* graph          */ make_graph<graph>,
    /* n_tokens       */ qwen2_audio_tokens,
    /* set_inputs     */ set_inputs,
};

} // namespace mata_audio
