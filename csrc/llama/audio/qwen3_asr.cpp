// Qwen3-ASR: Qwen3-Omni's encoder; a clip is filled up to half a second with silence, which counts as sound, and every
// last block to 100 frames with 0.0. The projector has Qwen3-Omni's type; the language model, which is no mixture of
// experts, tells the two apart.
//
// There are two references, which differ for clips below 1 s: transformers, which this follows, and the code of the
// model's makers, which fills up neither the clip nor a lone block.

#include "qwen3_audio.h"

#include <cstring>

namespace mata_audio {

namespace {

struct features : qwen3_audio_features {
    using qwen3_audio_features::qwen3_audio_features;

    int64_t shortest() const override { return 8000; }
    bool    fills_up_lone_block() const override { return true; }
};

bool is(const clip_ctx * ctx, const llama_model * text) {
    const char * name = text_architecture(text);
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_QWEN3A && (!std::strcmp(name, "qwen3") || !std::strcmp(name, "qwen3vl"));
}

} // namespace

const mata_audio_arch QWEN3_ASR = {
    /* name           */ "qwen3a",
    /* prompt         */ "qwen3asr",
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
