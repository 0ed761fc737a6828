// Audio Flamingo 3: Qwen2-Audio's windows, up to 600 s; its embeddings stand in place of the template's <sound>.

#include "audio_flamingo.h"

namespace mata_audio {

static bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_MUSIC_FLAMINGO;
}

const mata_audio_arch AUDIO_FLAMINGO_3 = {
    /* name           */ "musicflamingo",
    /* prompt         */ "musicflamingo",
    /* window_samples */ WINDOW_SAMPLES,
    /* max_samples    */ 20 * WINDOW_SAMPLES,
    /* padded_samples */ 0,
    /* begin          */ "",
    /* end            */ "",
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ nullptr,
    /* features       */ make_features<qwen2_audio_features>,
    /* graph          */ make_graph<audio_flamingo_graph>,
    /* n_tokens       */ qwen2_audio_tokens,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
