// Gemma 4 12B: no encoder. Frames of 640 samples, each to the same power, through one matrix; libmtmd's own code.

#include "arch.h"
#include "check.h"

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_GEMMA4UA;
}

static void check(const clip_model & model) {
    rows_of(model.mm_input_proj_w, model.hparams.n_mel_bins, "the projection");
}

const mata_audio_arch GEMMA_4_UNIFIED = {
    /* name           */ "gemma4ua",
    /* prompt         */ "gemma4",
    /* window_samples */ 0,
    /* max_samples    */ 0,
    /* padded_samples */ 0,
    /* begin          */ nullptr,
    /* end            */ nullptr,
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ check,
    /* features       */ nullptr,
    /* graph          */ nullptr,
    /* n_tokens       */ nullptr,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
