// The event network's tensors and graph. Everything lies with its channels together, [C, bands, frames, N]: a pointwise
// convolution is then one matrix product.

#include "events.h"

#include "../check.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

using namespace mata_audio;

static constexpr int PATCH       = 96; // frames
static constexpr int STEP        = PATCH / 2;
static constexpr int STRIDES[13] = { 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1 }; // of the depthwise convolutions

std::shared_ptr<const mata_audio_events> mata_audio_events_load(const gguf_context * gguf, const mata_tensor_of & tensor) {
    const int64_t key = gguf_find_key(gguf, "mata.audio.events");
    if (key < 0) {
        return nullptr;
    }
    const bool        is_string = gguf_get_kv_type(gguf, key) == GGUF_TYPE_STRING;
    const std::string kind      = is_string ? gguf_get_val_str(gguf, key) : "";
    if (kind != "yamnet") {
        throw std::runtime_error("audio projector: mata.audio.events is not \"yamnet\" but " +
                                 (is_string ? "\"" + kind.substr(0, 40) + "\"" : "no string"));
    }

    auto events = std::make_shared<mata_audio_events>();
    events->conv_w = tensor("a.events.conv.weight");
    events->conv_b = tensor("a.events.conv.bias");
    for (size_t i = 0; i < events->layers.size(); i++) {
        const std::string number = std::to_string(i + 1);
        auto &            layer  = events->layers[i];
        layer.dw_w = tensor("a.events.dw." + number + ".weight");
        layer.dw_b = tensor("a.events.dw." + number + ".bias");
        layer.pw_w = tensor("a.events.pw." + number + ".weight");
        layer.pw_b = tensor("a.events.pw." + number + ".bias");
    }
    events->head_w  = tensor("a.events.head.weight");
    events->head_b  = tensor("a.events.head.bias");
    events->norm_w  = tensor("mm.a.events.norm.weight");
    events->mlp_w   = tensor("mm.a.events.mlp.weight");
    events->names_w = tensor("mm.a.events.names.weight");
    return events;
}

void mata_audio_events::check(int64_t n_mid, int64_t n_embd_text) const {
    require(conv_w && conv_w->type == GGML_TYPE_F32 && conv_w->ne[1] > 0 && is_matrix(conv_w, 9, conv_w->ne[1]) &&
            is_vector(conv_b, conv_w->ne[1]), "the event network's first convolution");
    int64_t n = conv_w->ne[1];
    for (const layer & l : layers) {
        // ggml takes the planes of a single channel for the other layout
        require(n > 1 && l.dw_w && l.dw_w->type == GGML_TYPE_F32 && l.dw_w->ne[0] == n && l.dw_w->ne[1] == 3 && l.dw_w->ne[2] == 3 &&
                ggml_nelements(l.dw_w) == 9 * n && is_vector(l.dw_b, n), "a depthwise convolution of the event network");
        require(l.pw_w && l.pw_w->ne[1] > 0 && is_matrix(l.pw_w, n, l.pw_w->ne[1]) && is_vector(l.pw_b, l.pw_w->ne[1]),
                "a pointwise convolution of the event network");
        n = l.pw_w->ne[1];
    }
    require(head_w && head_w->ne[1] > 0 && is_matrix(head_w, n, head_w->ne[1]) && is_row(head_b, head_w->ne[1]),
            "the event network's classifier");
    require(is_row(norm_w, n) && is_matrix(mlp_w, n, n_mid), "the event network's projection");
    require(is_matrix(names_w, head_w->ne[1], n_embd_text), "the projection of the event network's classes");
}

// x [C, ...] + b, then ReLU
static ggml_tensor * activate(ggml_context * ctx, ggml_tensor * x, ggml_tensor * b) {
    return ggml_relu(ctx, ggml_add(ctx, x, ggml_reshape_1d(ctx, b, ggml_nelements(b))));
}

// x [C, bands, frames, N]; w [C, 3, 3]
static ggml_tensor * depthwise(ggml_context * ctx, ggml_tensor * x, ggml_tensor * w, int stride) {
    // TensorFlow pads what is even and strided at the end only
    if (stride == 2) {
        x = ggml_pad(ctx, x, 0, 1, 1, 0);
    }
    const int pad = stride == 2 ? 0 : 1;

    ggml_tensor * kernel = ggml_permute(ctx, ggml_reshape_4d(ctx, w, 1, w->ne[0], 3, 3), 2, 3, 0, 1); // [3, 3, 1, C]
    ggml_tensor * cur    = ggml_permute(ctx, x, 2, 0, 1, 3);                                          // [bands, frames, C, N]
    cur = ggml_conv_2d_dw_direct(ctx, kernel, cur, stride, stride, pad, pad, 1, 1);
    return ggml_permute(ctx, cur, 1, 2, 0, 3);
}

ggml_tensor * mata_audio_events::rows(ggml_context * ctx, ggml_tensor * features) const {
    const int64_t n_frames  = features->ne[0];
    const int64_t n_patches = 1 + (std::max<int64_t>(n_frames - PATCH, 0) + STEP - 1) / STEP;

    // the last patch is filled up with silence, which is 0.0 before the logarithm's offset; the padding of a
    // convolution is 0.0 after it
    ggml_tensor * cur = ggml_cont(ctx, ggml_transpose(ctx, features)); // [bands, frames]
    cur = ggml_pad(ctx, cur, 0, (int) ((n_patches + 1) * STEP - n_frames), 0, 0);
    cur = ggml_scale_bias(ctx, cur, 1.0f, std::log(0.001f));

    // a patch is half of the one before and as much of its own
    auto halves = [&](size_t begin) {
        return ggml_view_3d(ctx, cur, cur->ne[0], STEP, n_patches, cur->nb[1], STEP * cur->nb[1], begin * cur->nb[1]);
    };
    cur = ggml_concat(ctx, halves(0), halves(STEP), 1);
    cur = ggml_reshape_4d(ctx, cur, cur->ne[0], PATCH, 1, n_patches);
    cur = ggml_pad(ctx, cur, 1, 1, 0, 0);

    cur = ggml_im2col(ctx, ggml_reshape_4d(ctx, conv_w, 3, 3, 1, conv_w->ne[1]), cur, 2, 2, 0, 0, 1, 1, true,
                      GGML_TYPE_F32);
    int64_t bands  = cur->ne[1];
    int64_t frames = cur->ne[2];
    cur = ggml_mul_mat(ctx, conv_w, ggml_reshape_2d(ctx, cur, 9, bands * frames * n_patches));
    cur = activate(ctx, cur, conv_b);

    for (size_t i = 0; i < layers.size(); i++) {
        const layer & l = layers[i];
        cur = depthwise(ctx, ggml_reshape_4d(ctx, cur, cur->ne[0], bands, frames, n_patches), l.dw_w, STRIDES[i]);
        bands  = cur->ne[1];
        frames = cur->ne[2];
        cur = activate(ctx, cur, l.dw_b);
        cur = ggml_mul_mat(ctx, l.pw_w, ggml_reshape_2d(ctx, cur, cur->ne[0], bands * frames * n_patches));
        cur = activate(ctx, cur, l.pw_b);
    }

    const int64_t n = cur->ne[0];
    cur = ggml_reshape_3d(ctx, cur, n, bands * frames, n_patches);
    cur = ggml_mean(ctx, ggml_cont(ctx, ggml_permute(ctx, cur, 1, 0, 2, 3)));
    return ggml_reshape_2d(ctx, cur, n, n_patches);
}

ggml_tensor * mata_audio_events::middle(ggml_context * ctx, ggml_tensor * rows) const {
    ggml_tensor * cur = ggml_mul(ctx, ggml_rms_norm(ctx, rows, 1e-6f), norm_w);
    return ggml_mul_mat(ctx, mlp_w, cur);
}

ggml_tensor * mata_audio_events::names(ggml_context * ctx, ggml_tensor * rows) const {
    ggml_tensor * scores = ggml_add(ctx, ggml_mul_mat(ctx, head_w, rows), head_b);
    return ggml_mul_mat(ctx, names_w, ggml_sigmoid(ctx, scores));
}

// Counted in what divides both a token's frames and a step, a token's place is an offset and a stride.
ggml_tensor * mata_audio_events::at_tokens(ggml_context * ctx, ggml_tensor * x, int64_t n_tokens, int64_t stack) {
    const int64_t unit   = std::gcd<int64_t>(2 * stack, STEP);
    const int64_t copies = STEP / unit;
    const int64_t stride = 2 * stack / unit;

    // so many units before the first row and behind the last one are needed
    const int64_t before = std::max<int64_t>(0, (STEP / 2 - stack + unit - 1) / unit);
    const int64_t offset = before > 0 ? 0 : (stack - STEP / 2) / unit;
    const int64_t behind = (n_tokens - 1) * stride + offset + 1 - before - copies * x->ne[1];

    auto repeat = [&](int64_t row, int64_t n) {
        return ggml_repeat_4d(ctx, ggml_view_2d(ctx, x, x->ne[0], 1, x->nb[1], row * x->nb[1]), x->ne[0], n, 1, 1);
    };
    ggml_tensor * cur = ggml_reshape_3d(ctx, x, x->ne[0], 1, x->ne[1]);
    cur = ggml_reshape_2d(ctx, ggml_repeat_4d(ctx, cur, x->ne[0], copies, x->ne[1], 1), x->ne[0], copies * x->ne[1]);
    if (before > 0) {
        cur = ggml_concat(ctx, repeat(0, before), cur, 1);
    }
    if (behind > 0) {
        cur = ggml_concat(ctx, cur, repeat(x->ne[1] - 1, behind), 1);
    }
    return ggml_view_2d(ctx, cur, cur->ne[0], n_tokens, stride * cur->nb[1], offset * cur->nb[1]);
}
