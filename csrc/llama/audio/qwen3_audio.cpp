#include "qwen3_audio.h"

#include <algorithm>
#include <utility>

namespace mata_audio {

constexpr int BLOCK_FRAMES = 100, BLOCK_ROWS = 13;

static int rows_of(int n_frames) {
    return n_frames / BLOCK_FRAMES * BLOCK_ROWS + halve(halve(halve(n_frames % BLOCK_FRAMES)));
}

int qwen3_audio_tokens(const clip_ctx *, const clip_image_f32 & frames) {
    return rows_of(n_valid(frames));
}

int qwen3_audio_features::tokens_of(const mtmd_audio_mel & chunk) const {
    return rows_of((int) chunk.n_valid);
}

void qwen3_audio_features::hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const {
    const int64_t n_total = std::max<int64_t>(n, WINDOW / 2 + 1); // shorter clips have nothing to mirror
    const int64_t valid   = n_total / HOP;
    const bool    alone   = valid < BLOCK_FRAMES && !fills_up_lone_block();
    spectrogram   mel     = log_mel(samples, n, n_total, valid);
    mel.normalize();
    for (int64_t begin = 0; begin < valid; begin += 8 * BLOCK_FRAMES) {
        const int64_t n_frames = std::min<int64_t>(valid - begin, 8 * BLOCK_FRAMES);
        const int64_t n_len    = alone ? valid : (n_frames + BLOCK_FRAMES - 1) / BLOCK_FRAMES * BLOCK_FRAMES;
        output.push_back(mel.cut(begin, n_frames, n_len, n_frames));
    }
}

int qwen3_audio_graph::n_keys() const {
    return rows_of(n_valid);
}

int qwen3_audio_graph::block_frames() const {
    return BLOCK_FRAMES;
}

int qwen3_audio_graph::block_rows() const {
    return BLOCK_ROWS;
}

void qwen3_audio_graph::check_front() const {
    int64_t n_in = 1, bins = hparams.n_mel_bins;
    for (const auto & [w, b] : { std::pair(model.conv2d_1_w, model.conv2d_1_b),
                                 std::pair(model.conv2d_2_w, model.conv2d_2_b),
                                 std::pair(model.conv2d_3_w, model.conv2d_3_b) }) {
        require(is_float(w) && w->ne[0] == 3 && w->ne[1] == 3 && w->ne[2] == n_in && is_vector(b, w->ne[3]), "a convolution");
        n_in = w->ne[3];
        bins = (bins - 1) / 2 + 1;
    }
    require(is_matrix(model.conv_out_w, n_in * bins, n_embd), "the convolutions' output");
    check_positions(BLOCK_ROWS);
}

ggml_tensor * qwen3_audio_graph::front(ggml_tensor * mel) const {
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

} // namespace mata_audio
