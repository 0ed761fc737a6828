#include "mtmd-audio-rules.h"

#include "mtmd-mata.h"

#include <algorithm>

// the rows that a convolution of stride 2, width 3 and padding 1 leaves
static int halve(int n) {
    return n > 0 ? (n - 1) / 2 + 1 : 0;
}

static int divide_up(int n, int by) {
    return (n + by - 1) / by;
}

int mata_audio_block_frames(mata_audio_rule rule) {
    switch (rule) {
        case MATA_AUDIO_QWEN25_OMNI: return 200;
        case MATA_AUDIO_QWEN3_OMNI:  return 100;
        default:                     return 0;
    }
}

int mata_audio_block_rows(mata_audio_rule rule) {
    switch (rule) {
        case MATA_AUDIO_QWEN25_OMNI: return 100;
        case MATA_AUDIO_QWEN3_OMNI:  return 13;
        default:                     return 0;
    }
}

int mata_audio_shape::n_rows() const {
    return rule == MATA_AUDIO_ULTRAVOX ? halve(n_frames) : n_keys();
}

int mata_audio_shape::n_keys() const {
    if (rule == MATA_AUDIO_QWEN3_OMNI) {
        const int block = mata_audio_block_frames(rule);
        return n_valid / block * mata_audio_block_rows(rule) + halve(halve(halve(n_valid % block)));
    }
    return halve(n_valid);
}

int mata_audio_shape::n_tokens() const {
    switch (rule) {
        case MATA_AUDIO_QWEN2:
        case MATA_AUDIO_FLAMINGO3:
        case MATA_AUDIO_QWEN25_OMNI: return n_keys() / 2;
        case MATA_AUDIO_ULTRAVOX:
        case MATA_AUDIO_VOXTRAL:     return divide_up(n_keys(), stack);
        default:                     return n_keys();
    }
}

mata_audio_rule mata_audio_rule_of(const clip_ctx * ctx) {
    if (!ctx || !clip_has_audio_encoder(ctx)) {
        return MATA_AUDIO_STOCK;
    }
    switch (clip_get_projector_type(ctx)) {
        case PROJECTOR_TYPE_QWEN2A:
            return clip_get_hparams(ctx)->audio_is_qwen25o ? MATA_AUDIO_QWEN25_OMNI : MATA_AUDIO_QWEN2;
        case PROJECTOR_TYPE_MUSIC_FLAMINGO: return MATA_AUDIO_FLAMINGO3;
        case PROJECTOR_TYPE_QWEN3A:         return MATA_AUDIO_QWEN3_OMNI;
        case PROJECTOR_TYPE_ULTRAVOX:       return MATA_AUDIO_ULTRAVOX;
        case PROJECTOR_TYPE_VOXTRAL:        return MATA_AUDIO_VOXTRAL;
        default:                            return MATA_AUDIO_STOCK;
    }
}

int64_t mata_audio_max_samples(mata_audio_rule rule) {
    switch (rule) {
        case MATA_AUDIO_QWEN2:       return MATA_AUDIO_WINDOW;
        case MATA_AUDIO_QWEN25_OMNI: return MATA_AUDIO_WINDOW * 10;
        case MATA_AUDIO_FLAMINGO3:   return MATA_AUDIO_WINDOW * 20;
        default:                     return 0;
    }
}

mata_audio_shape mata_audio_shape_of(const clip_ctx * ctx, const clip_image_f32 & mel) {
    return {
        mata_audio_rule_of(ctx),
        mel.nx(),
        mel.n_valid_frames > 0 ? mel.n_valid_frames : mel.nx(),
        std::max(1, clip_get_hparams(ctx)->proj_stack_factor),
    };
}

// --- mtmd-mata.h ---

const char * mata_mtmd_projector(const mtmd_context * ctx) {
    const clip_ctx * audio = mata_mtmd_audio_ctx(ctx);
    if (!audio) {
        return "";
    }
    const bool omni = mata_audio_rule_of(audio) == MATA_AUDIO_QWEN25_OMNI;
    const auto name = PROJECTOR_TYPE_NAMES.find(omni ? PROJECTOR_TYPE_QWEN25O : clip_get_projector_type(audio));
    return name == PROJECTOR_TYPE_NAMES.end() ? "" : name->second.c_str();
}

bool mata_mtmd_audio_checked(const mtmd_context * ctx) {
    return mata_audio_rule_of(mata_mtmd_audio_ctx(ctx)) != MATA_AUDIO_STOCK;
}

int64_t mata_mtmd_window_samples(const mtmd_context * ctx) {
    const clip_ctx * audio = mata_mtmd_audio_ctx(ctx);
    switch (audio ? clip_get_projector_type(audio) : PROJECTOR_TYPE_UNKNOWN) {
        case PROJECTOR_TYPE_QWEN2A:
            return mata_audio_rule_of(audio) == MATA_AUDIO_QWEN25_OMNI ? 0 : MATA_AUDIO_WINDOW;
        case PROJECTOR_TYPE_MUSIC_FLAMINGO:
        case PROJECTOR_TYPE_ULTRAVOX:
        case PROJECTOR_TYPE_VOXTRAL:
        case PROJECTOR_TYPE_GLMA:     // these two keep libmtmd's own behaviour
        case PROJECTOR_TYPE_MERALION:
            return MATA_AUDIO_WINDOW;
        default:
            return 0;
    }
}

int64_t mata_mtmd_max_samples(const mtmd_context * ctx) {
    return mata_audio_max_samples(mata_audio_rule_of(mata_mtmd_audio_ctx(ctx)));
}
