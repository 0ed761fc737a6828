#include "whisper.h"

#include <algorithm>
#include <utility>

namespace mata_audio {

void whisper_graph::check_positions(int64_t n) const {
    const ggml_tensor * pos = model.position_embeddings;
    require(pos && pos->ne[0] == n_embd && pos->ne[1] >= n && pos->type == GGML_TYPE_F32, "the position table");
}

void whisper_graph::check_front() const {
    int64_t n_in = hparams.n_mel_bins;
    for (const auto & [w, b] : { std::pair(model.conv1d_1_w, model.conv1d_1_b),
                                 std::pair(model.conv1d_2_w, model.conv1d_2_b) }) {
        require(is_float(w) && w->ne[0] == 3 && w->ne[1] == n_in && w->ne[2] == n_embd && is_vector(b, n_embd), "a convolution");
        n_in = n_embd;
    }
    check_positions(block_rows() > 0 ? block_rows() : 1500);
}

void whisper_graph::check() const {
    require(n_embd > 0 && n_head > 0 && n_head == n_head_kv && n_embd == n_head * d_head, "an attention head");
    require(img.ny() == hparams.n_mel_bins + hparams.audio_event_bands, "the number of mel bins");
    check_front();
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
    check_projection();
}

void whisper_graph::check_mlp(int64_t n_in) const {
    require(model.mm_1_w && model.mm_2_w, "the projection");
    const int64_t n_mid = model.mm_1_w->ne[1];
    require(is_matrix(model.mm_1_w, n_in, n_mid) && is_matrix(model.mm_2_w, n_mid, model.mm_2_w->ne[1]) &&
            is_row_or_null(model.mm_1_b, n_mid) && is_row_or_null(model.mm_2_b, model.mm_2_w->ne[1]), "the projection");
}

ggml_tensor * whisper_graph::mlp(ggml_tensor * x) const {
    return build_ffn(x, model.mm_1_w, model.mm_1_b, nullptr, nullptr, model.mm_2_w, model.mm_2_b, FFN_GELU_ERF, -1);
}

// x [n_frames, n_channels, n_blocks] -> [n_embd, n_out, n_blocks], each block on its own
ggml_tensor * whisper_graph::conv1d(ggml_tensor * x, ggml_tensor * w, ggml_tensor * b, int stride) const {
    const ggml_type type = w->type == GGML_TYPE_F16 ? GGML_TYPE_F16 : GGML_TYPE_F32;
    ggml_tensor *   cols = ggml_im2col(ctx0, w, x, stride, 0, 1, 0, 1, 0, false, type); // [3 * n_channels, n_out, n_blocks]

    ggml_tensor * cur = ggml_mul_mat(ctx0, ggml_reshape_2d(ctx0, w, w->ne[0] * w->ne[1], w->ne[2]),
                                     ggml_reshape_2d(ctx0, cols, cols->ne[0], cols->ne[1] * cols->ne[2]));
    cur = ggml_add(ctx0, cur, ggml_reshape_1d(ctx0, b, n_embd));
    cur = ggml_gelu_erf(ctx0, cur);
    return ggml_reshape_3d(ctx0, cur, n_embd, cols->ne[1], cols->ne[2]);
}

ggml_tensor * whisper_graph::add_positions(ggml_tensor * rows) const {
    ggml_tensor * pos = model.position_embeddings;
    rows = ggml_add(ctx0, rows, ggml_view_2d(ctx0, pos, n_embd, rows->ne[1], pos->nb[1], 0));
    return ggml_reshape_2d(ctx0, rows, n_embd, rows->ne[1] * rows->ne[2]);
}

ggml_tensor * whisper_graph::front(ggml_tensor * mel) const {
    ggml_tensor * cur = conv1d(mel, model.conv1d_1_w, model.conv1d_1_b, 1);
    cur = ggml_cont(ctx0, ggml_transpose(ctx0, cur));
    cur = conv1d(cur, model.conv1d_2_w, model.conv1d_2_b, 2);
    if (mel->ne[2] == 1) {
        cur = ggml_view_3d(ctx0, cur, n_embd, std::min<int64_t>(cur->ne[1], n_rows()), 1, cur->nb[1], cur->nb[2], 0);
    }
    cb(cur, "after_conv1d", -1);
    return add_positions(cur);
}

// frames [begin, begin + n) of the input in blocks of n_block frames: [n_block, n_mel, n / n_block]
ggml_tensor * whisper_graph::blocks(ggml_tensor * mel, int64_t begin, int64_t n, int64_t n_block) const {
    ggml_tensor * view = ggml_view_3d(ctx0, mel, n_block, mel->ne[1], n / n_block, mel->nb[1], n_block * mel->nb[0],
                                      begin * mel->nb[0]);
    return ggml_cont(ctx0, view);
}

ggml_tensor * whisper_graph::first_rows(ggml_tensor * x, int64_t n) const {
    return x->ne[1] == n ? x : ggml_view_2d(ctx0, x, x->ne[0], n, x->nb[1], 0);
}

ggml_tensor * whisper_graph::average_pairs(ggml_tensor * x) const {
    const int64_t n    = x->ne[1] / 2;
    ggml_tensor * even = ggml_view_2d(ctx0, x, n_embd, n, 2 * x->nb[1], 0);
    ggml_tensor * odd  = ggml_view_2d(ctx0, x, n_embd, n, 2 * x->nb[1], x->nb[1]);
    return ggml_scale(ctx0, ggml_add(ctx0, even, odd), 0.5f);
}

// q [n_embd, n_rows], k and v [n_embd, n_keys] -> [n_embd, n_rows]
ggml_tensor * whisper_graph::attention(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, int il) const {
    const int64_t n_rows = q->ne[1];
    const int64_t n_keys = k->ne[1];

    // rows [begin, begin + n * n_blocks) in n_blocks that do not see each other; without blocks, all rows see all keys
    auto part = [&](int64_t begin, int64_t n_q, int64_t n_k, int64_t n_blocks) {
        auto heads = [&](ggml_tensor * x, int64_t n) {
            return ggml_view_4d(ctx0, x, d_head, n_head, n, n_blocks, d_head * x->nb[0], x->nb[1], n * x->nb[1], begin * x->nb[1]);
        };
        return build_attn(nullptr, nullptr, heads(q, n_q), heads(k, n_k), heads(v, n_k), nullptr, kq_scale, il);
    };
    const int64_t block = blocks_see_each_other() ? 0 : block_rows();
    if (block == 0 || n_rows <= block) {
        return part(0, n_rows, n_keys, 1);
    }
    const int64_t n_whole = n_rows / block;
    const int64_t n_tail  = n_rows % block;
    ggml_tensor * cur     = part(0, block, block, n_whole);
    return n_tail == 0 ? cur : ggml_concat(ctx0, cur, part(n_whole * block, n_tail, n_tail, 1), 1);
}

ggml_tensor * whisper_graph::layers(ggml_tensor * x) const {
    auto linear = [&](ggml_tensor * w, ggml_tensor * b, ggml_tensor * cur) {
        cur = build_mm(w, cur);
        return b ? ggml_add(ctx0, cur, b) : cur;
    };
    auto rotated = [&](ggml_tensor * cur) {
        return ggml_reshape_2d(ctx0, rotate(ggml_reshape_3d(ctx0, cur, d_head, n_head, cur->ne[1])), n_embd, cur->ne[1]);
    };
    for (int il = 0; il < n_layer; il++) {
        const auto &  layer = model.layers[il];
        ggml_tensor * cur   = build_norm(x, layer.ln_1_w, layer.ln_1_b, NORM_TYPE_NORMAL, eps, il);
        ggml_tensor * heard = first_rows(cur, n_keys());
        ggml_tensor * q     = rotated(linear(layer.q_w, layer.q_b, cur));
        ggml_tensor * k     = rotated(linear(layer.k_w, layer.k_b, heard));
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

ggml_cgraph * whisper_graph::build() {
    make_inputs();
    ggml_tensor * frames = build_inp_raw(1); // [n_frames, n_mel], and the event network's bands behind them
    ggml_tensor * mel    = frames;
    if (hparams.audio_event_bands > 0) {
        mel = ggml_view_2d(ctx0, frames, frames->ne[0], hparams.n_mel_bins, frames->nb[1], 0);
    }
    const int64_t block   = block_frames();
    const int64_t n_whole = block > 0 ? n_frames / block : 0;
    const int64_t n_tail  = n_frames - n_whole * block;
    ggml_tensor * cur     = n_whole > 0 ? front(blocks(mel, 0, n_whole * block, block)) : nullptr;
    if (n_tail > 0) {
        ggml_tensor * tail = front(n_whole > 0 ? blocks(mel, n_whole * block, n_tail, n_tail) : mel);
        cur                = cur ? ggml_concat(ctx0, cur, tail, 1) : tail;
    }
    cur = pool(layers(first_rows(cur, n_rows())));
    if (model.post_ln_w) {
        cur = build_norm(cur, model.post_ln_w, model.post_ln_b, NORM_TYPE_NORMAL, eps, -1);
    }
    cb(cur, "after_transformer", -1);
    cur = project(cur, frames);
    cb(cur, "projected", -1);
    ggml_build_forward_expand(gf, cur);
    return gf;
}

} // namespace mata_audio
