// Gemma 4 E2B and E4B: libmtmd's own code, but for the mel floor, which is added, and for clips longer than 30 s, of which
// the first 30 are heard (0016-mtmd-gemma4.patch). Everything in the encoder looks back only, so a clip needs no padding.

#include "arch.h"

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_GEMMA4A;
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
    /* features       */ nullptr,
    /* graph          */ nullptr,
    /* n_tokens       */ nullptr,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
