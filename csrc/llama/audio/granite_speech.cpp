// Granite Speech: libmtmd's own code. Its loader looks for the batch norm by the name that its converter writes, too
// (0017-mtmd-granite-speech.patch). An adapter that comes with the model is on exactly while there is audio.

#include "arch.h"
#include "check.h"
#include "stock.h"

#include <set>

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_GRANITE_SPEECH;
}

static void check(const clip_model & model) {
    const auto &  hparams = model.hparams;
    const int64_t n       = hparams.n_embd;
    require(n > 0 && hparams.n_head > 0 && n % hparams.n_head == 0, "an attention head");
    require(hparams.audio_conv_kernel_size > 0 && hparams.audio_conv_kernel_size % 2 == 1, "an odd convolution");
    require_matrix(model.inp_proj_w, hparams.n_mel_bins, n, "the input projection"); // two frames at once
    require_rows({ model.inp_proj_b, model.ctc_out_mid_b }, n, "a bias");
    const int64_t n_ctc = rows_of(model.ctc_out_w, n, "the CTC head");
    require_matrix(model.ctc_out_mid_w, n_ctc, n, "the CTC head");
    require_rows({ model.ctc_out_b }, n_ctc, "the CTC head");
    for (const auto & layer : model.layers) {
        for (const ggml_tensor * w : { layer.q_w, layer.k_w, layer.v_w, layer.o_w }) {
            require_matrix(w, n, n, "an attention matrix");
        }
        require_ffn(layer.ff_up_w, layer.ff_down_w, n);
        require_ffn(layer.ff_up_1_w, layer.ff_down_1_w, n);
        require_rows({ layer.ff_up_b }, layer.ff_up_w->ne[1], "a bias");
        require_rows({ layer.ff_up_1_b }, layer.ff_up_1_w->ne[1], "a bias");
        require_rows({ layer.o_b, layer.ff_down_b, layer.ff_down_1_b, layer.conv_pw2_b }, n, "a bias");
        require_rows({ layer.ff_norm_w, layer.ff_norm_b, layer.ff_norm_1_w, layer.ff_norm_1_b, layer.ln_1_w, layer.ln_1_b,
                       layer.ln_2_w, layer.ln_2_b, layer.norm_conv_w, layer.norm_conv_b }, n, "a norm");
        require(layer.attn_rel_pos_emb && is_float(layer.attn_rel_pos_emb) && layer.attn_rel_pos_emb->ne[0] == n / hparams.n_head &&
                layer.attn_rel_pos_emb->ne[1] > hparams.audio_max_pos_emb + hparams.audio_chunk_size &&
                hparams.audio_max_pos_emb >= hparams.audio_chunk_size, "the relative positions");
        const int64_t n_wide = rows_of(layer.conv_pw1_w, n, "a pointwise convolution");
        require(n_wide % 2 == 0, "a pointwise convolution");
        require_rows({ layer.conv_pw1_b }, n_wide, "a bias");
        require_rows({ layer.conv_norm_w, layer.conv_norm_b }, n_wide / 2, "a norm");
        require_matrix(layer.conv_pw2_w, n_wide / 2, n, "a pointwise convolution");
        require(layer.conv_dw_w && layer.conv_dw_w->type == GGML_TYPE_F32 && layer.conv_dw_w->ne[0] == hparams.audio_conv_kernel_size &&
                layer.conv_dw_w->ne[1] == n_wide / 2 && ggml_nelements(layer.conv_dw_w) == layer.conv_dw_w->ne[0] * n_wide / 2, "a depthwise convolution");
    }
    const int window = hparams.audio_proj_window_size, rate = hparams.audio_proj_downsample_rate;
    require(window > 0 && rate > 0 && window % rate == 0 && hparams.audio_proj_head_count > 0 && n % hparams.audio_proj_head_count == 0,
            "the projector's window");
    require(window <= 4096, "the projector's window");
    std::set<int> features;
    for (const int layer : hparams.feature_layers) {
        require(layer >= 0 && layer <= hparams.n_layer && features.insert(layer).second, "the list of layers");
    }
    const auto &  former = model.qf_proj_blocks[0];
    const int64_t n_in   = n * (int64_t) (hparams.feature_layers.size() + 1);
    require(former.qf_proj_query && former.qf_proj_query->type == GGML_TYPE_F32 && former.qf_proj_query->ne[0] == n &&
            ggml_nelements(former.qf_proj_query) == n * (window / rate), "the projector's queries");
    require_rows({ former.qf_proj_norm_w, former.qf_proj_norm_b }, n, "the projector's norm");
    for (const auto & layer : former.qf_proj_layers) {
        for (const ggml_tensor * w : { layer.q_w, layer.k_w, layer.v_w, layer.o_w, layer.cross_attn_q_w, layer.cross_attn_o_w }) {
            require_matrix(w, n, n, "the projector's attention");
        }
        require_matrix(layer.cross_attn_k_w, n_in, n, "the projector's attention");
        require_matrix(layer.cross_attn_v_w, n_in, n, "the projector's attention");
        require_ffn(layer.ff_up_w, layer.ff_down_w, n);
        require_rows({ layer.ff_up_b }, layer.ff_up_w->ne[1], "a bias");
        require_rows({ layer.q_b, layer.k_b, layer.v_b, layer.o_b, layer.cross_attn_q_b, layer.cross_attn_k_b, layer.cross_attn_v_b,
                       layer.cross_attn_o_b, layer.ff_down_b }, n, "a bias");
        require_rows({ layer.ln_1_w, layer.ln_1_b, layer.ln_2_w, layer.ln_2_b, layer.cross_attn_norm_w, layer.cross_attn_norm_b }, n,
                     "the projector's norm");
    }
    require_rows({ former.qf_proj_linear_b }, rows_of(former.qf_proj_linear_w, n, "the projection"), "the projection");
}

const mata_audio_arch GRANITE_SPEECH = {
    /* name           */ "granite_speech",
    /* prompt         */ "granite",
    /* window_samples */ 0,
    /* max_samples    */ 0,
    /* padded_samples */ 0,
    /* begin          */ nullptr,
    /* end            */ nullptr,
    /* adapters_hear  */ true,
    /* is             */ is,
    /* check          */ check,
    /* features       */ make_at_least<mtmd_audio_preprocessor_granite_speech, 257>,
    /* graph          */ nullptr,
    /* n_tokens       */ nullptr,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
