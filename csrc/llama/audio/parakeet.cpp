// Parakeet, of Nemotron-H omni: libmtmd's own code, with the reference's masks (0015- and 0018-mtmd-parakeet*.patch).

#include "arch.h"

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_PARAKEET;
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
    /* features       */ nullptr,
    /* graph          */ nullptr,
    /* n_tokens       */ nullptr,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
