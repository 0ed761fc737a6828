// Log-mel frames to embeddings: Whisper's encoder (and Qwen3-Omni's, with another front) without padding and without
// masks. What the reference masks is left out of the keys; what it drops at the end is not computed.

#include "mtmd-audio-rules.h"

#include "mtmd-audio-check.h"
#include "mtmd-audio-events.h"

#include <algorithm>
#include <utility>

using namespace mata_audio;

namespace {

struct audio_graph : clip_graph {
    const mata_audio_shape shape;

    audio_graph(clip_ctx * ctx, const clip_image_f32 & mel) : clip_graph(ctx, mel), shape(mata_audio_shape_of(ctx, mel)) {
        check();
    }

    void check() const;

    // x [n_frames, n_channels, n_blocks] -> [n_embd, n_out, n_blocks], each block on its own
    ggml_tensor * conv1d(ggml_tensor * x, ggml_tensor * w, ggml_tensor * b, int stride) const;

    // mel [n_frames, n_mel, n_blocks] -> rows with positions [n_embd, n_rows * n_blocks]
    ggml_tensor * front_whisper(ggml_tensor * mel) const;
    ggml_tensor * front_qwen3(ggml_tensor * mel) const;

    // frames [begin, begin + n) of the input in blocks of n_block frames: [n_block, n_mel, n / n_block]
    ggml_tensor * blocks(ggml_tensor * mel, int64_t begin, int64_t n, int64_t n_block) const;

    ggml_tensor * add_positions(ggml_tensor * rows) const; // [n_embd, n_rows, n_blocks], from 0 in each block
    ggml_tensor * first_rows(ggml_tensor * x, int64_t n) const;
    ggml_tensor * attention(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, int il) const;
    ggml_tensor * layers(ggml_tensor * x) const;
    ggml_tensor * average_pairs(ggml_tensor * x) const;
    ggml_tensor * project(ggml_tensor * x, ggml_tensor * events);

    ggml_cgraph * build() override;
};

void audio_graph::check() const {
    const int64_t n_mel = hparams.n_mel_bins;
    require(n_embd > 0 && n_head > 0 && n_head == n_head_kv && n_embd == n_head * d_head, "an attention head");
    require(img.ny() == n_mel + hparams.audio_event_bands, "the number of mel bins");

    int64_t n_pos = 1500;
    if (shape.rule == MATA_AUDIO_QWEN3_OMNI) {
        n_pos = 13;
        int64_t n_in = 1, bins = n_mel;
        for (const auto & [w, b] : { std::pair(model.conv2d_1_w, model.conv2d_1_b),
                                     std::pair(model.conv2d_2_w, model.conv2d_2_b),
                                     std::pair(model.conv2d_3_w, model.conv2d_3_b) }) {
            require(is_float(w) && w->ne[0] == 3 && w->ne[1] == 3 && w->ne[2] == n_in && is_vector(b, w->ne[3]), "a convolution");
            n_in = w->ne[3];
            bins = (bins - 1) / 2 + 1;
        }
        require(is_matrix(model.conv_out_w, n_in * bins, n_embd), "the convolutions' output");
    } else {
        n_pos = shape.rule == MATA_AUDIO_QWEN25_OMNI ? mata_audio_block_rows(shape.rule) : n_pos;
        int64_t n_in = n_mel;
        for (const auto & [w, b] : { std::pair(model.conv1d_1_w, model.conv1d_1_b),
                                     std::pair(model.conv1d_2_w, model.conv1d_2_b) }) {
            require(is_float(w) && w->ne[0] == 3 && w->ne[1] == n_in && w->ne[2] == n_embd && is_vector(b, n_embd), "a convolution");
            n_in = n_embd;
        }
    }
    const ggml_tensor * pos = model.position_embeddings;
    require(pos && pos->ne[0] == n_embd && pos->ne[1] >= n_pos && pos->type == GGML_TYPE_F32, "the position table");

    for (const auto & layer : model.layers) {
        for (const ggml_tensor * w : { layer.q_w, layer.k_w, layer.v_w, layer.o_w }) {
            require(is_matrix(w, n_embd, n_embd), "an attention matrix");
        }
        for (const ggml_tensor * b : { layer.q_b, layer.k_b, layer.v_b, layer.o_b, layer.ff_down_b }) {
            require(is_row_or_null(b, n_embd), "a bias");
        }
        for (const ggml_tensor * b : { layer.ln_1_w, layer.ln_1_b, layer.ln_2_w, layer.ln_2_b }) {
            require(is_row(b, n_embd), "a norm");
        }
        require(layer.ff_up_w && is_matrix(layer.ff_up_w, n_embd, layer.ff_up_w->ne[1]) &&
                is_matrix(layer.ff_down_w, layer.ff_up_w->ne[1], n_embd) &&
                is_row_or_null(layer.ff_up_b, layer.ff_up_w->ne[1]), "a feed-forward matrix");
    }
    require(is_row_or_null(model.post_ln_w, n_embd) && is_row_or_null(model.post_ln_b, n_embd), "the last norm");

    if (shape.rule == MATA_AUDIO_QWEN2 || shape.rule == MATA_AUDIO_QWEN25_OMNI) {
        require(is_matrix(model.mm_fc_w, n_embd, model.mm_fc_w->ne[1]) &&
                is_row(model.mm_fc_b, model.mm_fc_w->ne[1]), "the projection");
        return;
    }
    const bool    stacked = shape.rule == MATA_AUDIO_ULTRAVOX || shape.rule == MATA_AUDIO_VOXTRAL;
    const int64_t n_in    = stacked ? (int64_t) n_embd * shape.stack : n_embd;
    const int64_t n_mid   = model.mm_1_w->ne[1];
    require(is_matrix(model.mm_1_w, n_in, n_mid), "the projection");
    if (shape.rule == MATA_AUDIO_ULTRAVOX) {
        require(n_mid > 0 && n_mid % 2 == 0 && is_matrix(model.mm_2_w, n_mid / 2, model.mm_2_w->ne[1]) &&
                is_row(model.mm_norm_pre_w, n_in) && is_row(model.mm_norm_mid_w, n_mid / 2), "the projection");
        if (model.audio_events) {
            model.audio_events->check(n_mid, model.mm_2_w->ne[1]);
        }
    } else {
        require(is_matrix(model.mm_2_w, n_mid, model.mm_2_w->ne[1]) && is_row_or_null(model.mm_1_b, n_mid) &&
                is_row_or_null(model.mm_2_b, model.mm_2_w->ne[1]), "the projection");
    }
}

ggml_tensor * audio_graph::conv1d(ggml_tensor * x, ggml_tensor * w, ggml_tensor * b, int stride) const {
    const ggml_type type = w->type == GGML_TYPE_F16 ? GGML_TYPE_F16 : GGML_TYPE_F32;
    ggml_tensor *   cols = ggml_im2col(ctx0, w, x, stride, 0, 1, 0, 1, 0, false, type); // [3 * n_channels, n_out, n_blocks]

    ggml_tensor * cur = ggml_mul_mat(ctx0, ggml_reshape_2d(ctx0, w, w->ne[0] * w->ne[1], w->ne[2]),
                                     ggml_reshape_2d(ctx0, cols, cols->ne[0], cols->ne[1] * cols->ne[2]));
    cur = ggml_add(ctx0, cur, ggml_reshape_1d(ctx0, b, n_embd));
    cur = ggml_gelu_erf(ctx0, cur);
    return ggml_reshape_3d(ctx0, cur, n_embd, cols->ne[1], cols->ne[2]);
}

ggml_tensor * audio_graph::add_positions(ggml_tensor * rows) const {
    ggml_tensor * pos = model.position_embeddings;
    rows = ggml_add(ctx0, rows, ggml_view_2d(ctx0, pos, n_embd, rows->ne[1], pos->nb[1], 0));
    return ggml_reshape_2d(ctx0, rows, n_embd, rows->ne[1] * rows->ne[2]);
}

ggml_tensor * audio_graph::front_whisper(ggml_tensor * mel) const {
    ggml_tensor * cur = conv1d(mel, model.conv1d_1_w, model.conv1d_1_b, 1);
    cur = ggml_cont(ctx0, ggml_transpose(ctx0, cur));
    cur = conv1d(cur, model.conv1d_2_w, model.conv1d_2_b, 2);
    if (mel->ne[2] == 1) {
        cur = ggml_view_3d(ctx0, cur, n_embd, std::min<int64_t>(cur->ne[1], shape.n_rows()), 1, cur->nb[1], cur->nb[2], 0);
    }
    cb(cur, "after_conv1d", -1);
    return add_positions(cur);
}

ggml_tensor * audio_graph::front_qwen3(ggml_tensor * mel) const {
    // one channel: [n_frames, n_mel, 1, n_blocks]
    ggml_tensor * cur = ggml_reshape_4d(ctx0, mel, mel->ne[0], mel->ne[1], 1, mel->ne[2]);
    for (const auto & [w, b] : { std::pair(model.conv2d_1_w, model.conv2d_1_b),
                                 std::pair(model.conv2d_2_w, model.conv2d_2_b),
                                 std::pair(model.conv2d_3_w, model.conv2d_3_b) }) {
        cur = ggml_conv_2d(ctx0, w, cur, 2, 2, 1, 1, 1, 1);
        cur = ggml_gelu_erf(ctx0, ggml_add(ctx0, cur, ggml_reshape_4d(ctx0, b, 1, 1, cur->ne[2], 1)));
    }
    // [n_rows, n_bins, n_channels, n_blocks] -> [n_bins * n_channels, n_rows, n_blocks]
    cur = ggml_cont(ctx0, ggml_permute(ctx0, cur, 2, 0, 1, 3));
    cur = ggml_reshape_3d(ctx0, cur, cur->ne[0] * cur->ne[1], cur->ne[2], cur->ne[3]);
    cur = build_mm(model.conv_out_w, cur);
    cb(cur, "after_conv2d", -1);
    return add_positions(cur);
}

ggml_tensor * audio_graph::blocks(ggml_tensor * mel, int64_t begin, int64_t n, int64_t n_block) const {
    ggml_tensor * view = ggml_view_3d(ctx0, mel, n_block, mel->ne[1], n / n_block, mel->nb[1], n_block * mel->nb[0],
                                      begin * mel->nb[0]);
    return ggml_cont(ctx0, view);
}

ggml_tensor * audio_graph::first_rows(ggml_tensor * x, int64_t n) const {
    return x->ne[1] == n ? x : ggml_view_2d(ctx0, x, x->ne[0], n, x->nb[1], 0);
}

// q [n_embd, n_rows], k and v [n_embd, n_keys] -> [n_embd, n_rows]
ggml_tensor * audio_graph::attention(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, int il) const {
    const int64_t n_rows = q->ne[1];
    const int64_t n_keys = k->ne[1];

    // rows [begin, begin + n * n_blocks) in n_blocks that do not see each other; without blocks, all rows see all keys
    auto part = [&](int64_t begin, int64_t n_q, int64_t n_k, int64_t n_blocks) {
        auto heads = [&](ggml_tensor * x, int64_t n) {
            return ggml_view_4d(ctx0, x, d_head, n_head, n, n_blocks, d_head * x->nb[0], x->nb[1], n * x->nb[1], begin * x->nb[1]);
        };
        return build_attn(nullptr, nullptr, heads(q, n_q), heads(k, n_k), heads(v, n_k), nullptr, kq_scale, il);
    };
    const int64_t block = shape.rule == MATA_AUDIO_QWEN25_OMNI ? mata_audio_block_rows(shape.rule) : 0;
    if (block == 0 || n_rows <= block) {
        return part(0, n_rows, n_keys, 1);
    }
    const int64_t n_whole = n_rows / block;
    const int64_t n_tail  = n_rows % block;
    ggml_tensor * cur     = part(0, block, block, n_whole);
    return n_tail == 0 ? cur : ggml_concat(ctx0, cur, part(n_whole * block, n_tail, n_tail, 1), 1);
}

ggml_tensor * audio_graph::layers(ggml_tensor * x) const {
    auto linear = [&](ggml_tensor * w, ggml_tensor * b, ggml_tensor * cur) {
        cur = build_mm(w, cur);
        return b ? ggml_add(ctx0, cur, b) : cur;
    };
    for (int il = 0; il < n_layer; il++) {
        const auto &  layer = model.layers[il];
        ggml_tensor * cur   = build_norm(x, layer.ln_1_w, layer.ln_1_b, NORM_TYPE_NORMAL, eps, il);
        ggml_tensor * heard = first_rows(cur, shape.n_keys());
        ggml_tensor * q     = linear(layer.q_w, layer.q_b, cur);
        ggml_tensor * k     = linear(layer.k_w, layer.k_b, heard);
        ggml_tensor * v     = linear(layer.v_w, layer.v_b, heard);
        cur = linear(layer.o_w, layer.o_b, attention(q, k, v, il));
        x   = ggml_add(ctx0, x, cur);
        cb(x, "attn_out", il);

        cur = build_norm(x, layer.ln_2_w, layer.ln_2_b, NORM_TYPE_NORMAL, eps, il);
        cur = build_ffn(cur, layer.ff_up_w, layer.ff_up_b, nullptr, nullptr, layer.ff_down_w, layer.ff_down_b,
                        hparams.ffn_op, il);
        x   = ggml_add(ctx0, x, cur);
        cb(x, "layer_out", il);
    }
    return x;
}

ggml_tensor * audio_graph::average_pairs(ggml_tensor * x) const {
    const int64_t n    = x->ne[1] / 2;
    ggml_tensor * even = ggml_view_2d(ctx0, x, n_embd, n, 2 * x->nb[1], 0);
    ggml_tensor * odd  = ggml_view_2d(ctx0, x, n_embd, n, 2 * x->nb[1], x->nb[1]);
    return ggml_scale(ctx0, ggml_add(ctx0, even, odd), 0.5f);
}

// [n_embd, n_rows], the event network's rows or null -> [n_embd of the language model, n_tokens]
ggml_tensor * audio_graph::project(ggml_tensor * x, ggml_tensor * events) {
    auto at_tokens = [&](ggml_tensor * rows, const char * name) {
        rows = mata_audio_events::at_tokens(ctx0, rows, shape.n_tokens(), shape.stack);
        cb(rows, name, -1);
        return rows;
    };
    switch (shape.rule) {
        case MATA_AUDIO_QWEN2:
        case MATA_AUDIO_QWEN25_OMNI:
            return ggml_add(ctx0, build_mm(model.mm_fc_w, x), model.mm_fc_b);
        case MATA_AUDIO_ULTRAVOX:
            x = build_stack(x, shape.stack, n_embd);
            x = build_norm(x, model.mm_norm_pre_w, nullptr, NORM_TYPE_RMS, 1e-6f, -1);
            x = build_mm(model.mm_1_w, x);
            if (events) {
                x = ggml_add(ctx0, x, at_tokens(model.audio_events->middle(ctx0, events), "events_middle"));
            }
            x = ggml_swiglu_swapped(ctx0, x); // silu on the second half
            x = build_norm(x, model.mm_norm_mid_w, nullptr, NORM_TYPE_RMS, 1e-6f, -1);
            x = build_mm(model.mm_2_w, x);
            return events ? ggml_add(ctx0, x, at_tokens(model.audio_events->names(ctx0, events), "events_names")) : x;
        case MATA_AUDIO_VOXTRAL:
            x = build_stack(x, shape.stack, n_embd);
            break;
        default:
            break;
    }
    return build_ffn(x, model.mm_1_w, model.mm_1_b, nullptr, nullptr, model.mm_2_w, model.mm_2_b, FFN_GELU_ERF, -1);
}

ggml_cgraph * audio_graph::build() {
    ggml_tensor * inp    = build_inp_raw(1); // [n_frames, n_mel], and the event network's bands behind them
    ggml_tensor * events = nullptr;
    if (model.audio_events) {
        const int64_t n_mel = hparams.n_mel_bins;
        events = ggml_view_2d(ctx0, inp, inp->ne[0], hparams.audio_event_bands, inp->nb[1], n_mel * inp->nb[1]);
        events = model.audio_events->rows(ctx0, events);
        cb(events, "events_rows", -1);
        inp = ggml_view_2d(ctx0, inp, inp->ne[0], n_mel, inp->nb[1], 0);
    }
    const bool    qwen3 = shape.rule == MATA_AUDIO_QWEN3_OMNI;
    auto          front = [&](ggml_tensor * mel) { return qwen3 ? front_qwen3(mel) : front_whisper(mel); };

    const int64_t block   = mata_audio_block_frames(shape.rule);
    const int64_t n_whole = block > 0 ? shape.n_frames / block : 0;
    const int64_t n_tail  = shape.n_frames - n_whole * block;
    ggml_tensor * cur     = n_whole > 0 ? front(blocks(inp, 0, n_whole * block, block)) : nullptr;
    if (n_tail > 0) {
        ggml_tensor * tail = front(n_whole > 0 ? blocks(inp, n_whole * block, n_tail, n_tail) : inp);
        cur                = cur ? ggml_concat(ctx0, cur, tail, 1) : tail;
    }
    cur = first_rows(cur, shape.n_rows());
    cur = layers(cur);

    switch (shape.rule) {
        case MATA_AUDIO_QWEN2:
        case MATA_AUDIO_FLAMINGO3:
        case MATA_AUDIO_QWEN25_OMNI:
            cur = average_pairs(cur);
            break;
        default:
            break;
    }
    if (model.post_ln_w) {
        cur = build_norm(cur, model.post_ln_w, model.post_ln_b, NORM_TYPE_NORMAL, eps, -1);
    }
    cb(cur, "after_transformer", -1);
    cur = project(cur, events);
    cb(cur, "projected", -1);
    ggml_build_forward_expand(gf, cur);
    return gf;
}

} // namespace

std::unique_ptr<clip_graph> mata_audio_graph(clip_ctx * ctx, const clip_image_f32 & mel) {
    if (mata_audio_rule_of(ctx) == MATA_AUDIO_STOCK) {
        return nullptr;
    }
    return std::make_unique<audio_graph>(ctx, mel);
}
