// Qwen3-Omni's thinker: a last block that is not the only one is filled up with 0.0.

#include "qwen3_audio.h"

namespace mata_audio {

namespace {

struct features : qwen3_audio_features {
    using qwen3_audio_features::qwen3_audio_features;

    bool fills_up_lone_block() const override { return false; }
};

bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_QWEN3A;
}

} // namespace

const mata_audio_arch QWEN3_OMNI = {
    /* name           */ "qwen3a",
    /* prompt         */ "qwen3a",
    /* window_samples */ 0,
    /* max_samples    */ 0,
    /* padded_samples */ 0,
    /* begin          */ nullptr,
    /* end            */ nullptr,
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ nullptr,
    /* features       */ make_features<features>,
    /* graph          */ make_graph<qwen3_audio_graph>,
    /* n_tokens       */ qwen3_audio_tokens,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
