// Granite Speech: libmtmd's own code. Its loader looks for the batch norm by the name that its converter writes, too
// (0017-mtmd-granite-speech.patch). An adapter that comes with the model is on exactly while there is audio.

#include "arch.h"

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_GRANITE_SPEECH;
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
    /* features       */ nullptr,
    /* graph          */ nullptr,
    /* n_tokens       */ nullptr,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
