// Gemma 4 E2B and E4B: libmtmd's own code, but for the mel floor, which is added, and for clips longer than 30 s, of which
// the first 30 are heard (0016-mtmd-gemma4.patch). Everything in the encoder looks back only, so a clip needs no padding.

#include "arch.h"
#include "check.h"
#include "stock.h"

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_GEMMA4A;
}

static void check(const clip_model & model) {
    const auto &  hparams = model.hparams;
    const int64_t n       = hparams.n_embd;
    require(n > 0 && hparams.n_head > 0 && n % hparams.n_head == 0, "an attention head");
    int64_t n_in = 1, bins = hparams.n_mel_bins;
    for (int i = 0; i < 2; i++) {
        const ggml_tensor * w = model.sscp_conv_w[i];
        require(w && w->ne[3] > 0 && is_conv2d(w, 3, n_in, w->ne[3]), "a convolution");
        n_in = w->ne[3];
        bins = (bins - 1) / 2 + 1;
        require_rows({ model.sscp_norm_w[i] }, n_in, "a convolution's norm");
        require(!model.sscp_conv_b[i] || is_vector(model.sscp_conv_b[i], n_in), "a convolution's bias");
    }
    require_matrix(model.sscp_inp_proj_w, n_in * bins, n, "the input projection");
    require(is_row_or_null(model.sscp_inp_proj_b, n), "the input projection");
    for (const auto & layer : model.layers) {
        for (const ggml_tensor * w : { layer.q_w, layer.k_w, layer.v_w, layer.o_w, layer.attn_k_rel_w }) {
            require_matrix(w, n, n, "an attention matrix");
        }
        require_rows({ layer.per_dim_scale_w }, n / hparams.n_head, "the scale of queries");
        require(is_row_or_null(layer.per_dim_k_scale_w, n / hparams.n_head), "the scale of keys");
        require_ffn(layer.ff_up_w, layer.ff_down_w, n);
        require_ffn(layer.ff_up_1_w, layer.ff_down_1_w, n);
        require_rows({ layer.ff_norm_w, layer.ff_norm_1_w, layer.ff_post_norm_w, layer.ff_post_norm_1_w, layer.attn_pre_norm_w,
                       layer.attn_post_norm_w, layer.norm_conv_w, layer.conv_norm_w, layer.ln_2_w }, n, "a norm");
        require_matrix(layer.conv_pw1_w, n, 2 * n, "a pointwise convolution");
        require_matrix(layer.conv_pw2_w, n, n, "a pointwise convolution");
        require(layer.conv_dw_w && layer.conv_dw_w->type == GGML_TYPE_F32 && layer.conv_dw_w->ne[0] == 5 &&
                layer.conv_dw_w->ne[1] == n && ggml_nelements(layer.conv_dw_w) == 5 * n, "a depthwise convolution");
        require(is_row_or_null(layer.conv_dw_b, n) && is_row_or_null(layer.o_b, n), "a bias");
    }
    const int64_t n_out = rows_of(model.audio_out_proj_w, n, "the output projection");
    require(is_row_or_null(model.audio_out_proj_b, n_out) && is_row_or_null(model.mm_soft_emb_norm_w, n_out), "the output projection");
    rows_of(model.mm_input_proj_w, n_out, "the projection");
}

const mata_audio_arch GEMMA_4 = {
    /* name           */ "gemma4a",
    /* prompt         */ "gemma4",
    /* window_samples */ 0,
    /* max_samples    */ 30 * 16000,
    /* padded_samples */ 0,
    /* begin          */ nullptr,
    /* end            */ nullptr,
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ check,
    /* features       */ make_at_least<mtmd_audio_preprocessor_gemma4a, 161>,
    /* graph          */ nullptr,
    /* n_tokens       */ nullptr,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
