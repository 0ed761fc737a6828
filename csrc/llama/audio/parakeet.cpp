// Parakeet, of Nemotron-H omni: libmtmd's own code, with the reference's masks (0015- and 0018-mtmd-parakeet*.patch).

#include "arch.h"
#include "check.h"
#include "stock.h"

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_PARAKEET;
}

static void check(const clip_model & model) {
    const auto &  hparams = model.hparams;
    const int64_t n       = hparams.n_embd;
    require(n > 0 && n % 2 == 0 && hparams.n_head > 0 && n % hparams.n_head == 0, "an attention head");
    const auto &  w      = model.pre_encode_conv_X_w;
    const auto &  b      = model.pre_encode_conv_X_b;
    require(w[0] && w[0]->ne[3] > 0, "a convolution");
    const int64_t channels = w[0]->ne[3];
    for (const int i : { 0, 2, 5 }) { // the later ones channel by channel
        require(is_conv2d(w[i], 3, 1, channels), "a convolution");
    }
    for (const int i : { 3, 6 }) {
        require(is_conv2d(w[i], 1, channels, channels), "a convolution");
    }
    for (const int i : { 0, 2, 3, 5, 6 }) {
        require(is_vector(b[i], channels) && b[i]->ne[2] == channels, "a convolution's bias");
    }
    int64_t bins = hparams.n_mel_bins;
    for (int i = 0; i < 3; i++) {
        bins = (bins - 1) / 2 + 1;
    }
    require_matrix(model.pre_encode_out_w, bins * channels, n, "the convolutions' output");
    require_rows({ model.pre_encode_out_b }, n, "the convolutions' output");
    for (const auto & layer : model.layers) {
        for (const ggml_tensor * matrix : { layer.q_w, layer.k_w, layer.v_w, layer.o_w, layer.linear_pos_w }) {
            require_matrix(matrix, n, n, "an attention matrix");
        }
        for (const ggml_tensor * bias : { layer.pos_bias_u, layer.pos_bias_v }) {
            require(is_vector(bias, n) && bias->ne[0] == n / hparams.n_head && bias->ne[1] == hparams.n_head, "a bias of positions");
        }
        require_ffn(layer.ff_up_w, layer.ff_down_w, n);
        require_ffn(layer.ff_up_1_w, layer.ff_down_1_w, n);
        require_matrix(layer.conv_pw1_w, n, 2 * n, "a pointwise convolution");
        require_matrix(layer.conv_pw2_w, n, n, "a pointwise convolution");
        require(layer.conv_dw_w && layer.conv_dw_w->type == GGML_TYPE_F32 && hparams.audio_conv_kernel_size % 2 == 1 &&
                layer.conv_dw_w->ne[0] == hparams.audio_conv_kernel_size && layer.conv_dw_w->ne[1] == n &&
                ggml_nelements(layer.conv_dw_w) == layer.conv_dw_w->ne[0] * n, "a depthwise convolution");
        require_rows({ layer.conv_norm_w, layer.conv_norm_b, layer.conv_norm_mean, layer.conv_norm_var, layer.ff_norm_w, layer.ff_norm_b,
                       layer.ff_norm_1_w, layer.ff_norm_1_b, layer.ln_1_w, layer.ln_1_b, layer.ln_2_w, layer.ln_2_b,
                       layer.norm_conv_w, layer.norm_conv_b }, n, "a norm");
    }
    require_rows({ model.mm_norm_pre_w }, n, "the projection's norm");
    const int64_t n_mid = rows_of(model.mm_0_w, n, "the projection");
    rows_of(model.mm_1_w, n_mid, "the projection");
}

const mata_audio_arch PARAKEET = {
    /* name           */ "parakeet",
    /* prompt         */ "",
    /* window_samples */ 0,
    /* max_samples    */ 0,
    /* padded_samples */ 0,
    /* begin          */ nullptr,
    /* end            */ nullptr,
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ check,
    /* features       */ make_at_least<mtmd_audio_preprocessor_parakeet, 320>,
    /* graph          */ nullptr,
    /* n_tokens       */ nullptr,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
