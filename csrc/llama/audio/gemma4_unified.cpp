// Gemma 4 12B: no encoder. Frames of 640 samples, each to the same power, through one matrix; libmtmd's own code.

#include "arch.h"

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_GEMMA4UA;
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
    /* features       */ nullptr,
    /* graph          */ nullptr,
    /* n_tokens       */ nullptr,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
