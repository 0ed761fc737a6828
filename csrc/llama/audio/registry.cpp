// The rows of all architectures, and what the engine asks about the one of a projector (mtmd-mata.h).

#include "arch.h"

#include "mtmd-mata.h"

#include "llama.h"

#include <array>
#include <cstring>
#include <string>

using namespace mata_audio;

// The first one that fits is taken.
static const std::array ROWS = {
    &QWEN2_AUDIO, &QWEN25_OMNI,    &QWEN3_ASR, &QWEN3_OMNI,     &ULTRAVOX,       &VOXTRAL,  &MUSIC_FLAMINGO,
    &AUDIO_FLAMINGO_3, &GLM_ASR, &GEMMA_4,   &GEMMA_4_UNIFIED, &GRANITE_SPEECH, &PARAKEET,
};

bool mata_audio::has_token(const llama_model * text, const char * token) {
    if (!text) {
        return false;
    }
    llama_token tokens[2];
    return llama_tokenize(llama_model_get_vocab(text), token, (int32_t) std::strlen(token), tokens, 2, false, true) == 1;
}

const char * mata_audio::text_architecture(const llama_model * text) {
    thread_local char name[64];
    if (!text || llama_model_meta_val_str(text, "general.architecture", name, sizeof(name)) < 0) {
        return "";
    }
    return name;
}

static const mata_audio_arch * row_of(const clip_ctx * ctx, const llama_model * text) {
    for (const mata_audio_arch * arch : ROWS) {
        if (arch->is(ctx, text)) {
            return arch;
        }
    }
    return nullptr;
}

void mata_audio_choose(clip_ctx * ctx, const llama_model * text) {
    const mata_audio_arch * arch = row_of(ctx, text);
    if (arch && arch->check) {
        arch->check(mata_clip_model(ctx));
    }
    mata_clip_set_arch(ctx, arch);
}

const mata_audio_arch * mata_audio_arch_of(const clip_ctx * ctx) {
    if (!ctx || !clip_has_audio_encoder(ctx)) {
        return nullptr;
    }
    const mata_audio_arch * chosen = clip_get_hparams(ctx)->audio_arch;
    return chosen ? chosen : row_of(ctx, nullptr); // while libmtmd warms up
}

std::unique_ptr<mtmd_audio_preprocessor> mata_audio_features(const clip_ctx * ctx) {
    const mata_audio_arch * arch = mata_audio_arch_of(ctx);
    return arch && arch->features ? arch->features(ctx) : nullptr;
}

std::unique_ptr<clip_graph> mata_audio_graph(clip_ctx * ctx, const clip_image_f32 & frames) {
    const mata_audio_arch * arch = mata_audio_arch_of(ctx);
    return arch && arch->graph ? arch->graph(ctx, frames) : nullptr;
}

int mata_audio_n_tokens(const clip_ctx * ctx, const clip_image_f32 & frames) {
    const mata_audio_arch * arch = mata_audio_arch_of(ctx);
    return arch && arch->n_tokens ? arch->n_tokens(ctx, frames) : -1;
}

void mata_audio_set_inputs(const clip_ctx * ctx, const clip_image_f32 & frames, ggml_cgraph * gf) {
    const mata_audio_arch * arch = mata_audio_arch_of(ctx);
    if (arch && arch->set_inputs) {
        arch->set_inputs(ctx, frames, gf);
    }
}

// --- mtmd-mata.h ---

static const mata_audio_arch * arch_of(const mtmd_context * ctx) {
    return mata_audio_arch_of(mata_mtmd_audio_ctx(ctx));
}

const char * mata_mtmd_projector(const mtmd_context * ctx) {
    const clip_ctx * audio = mata_mtmd_audio_ctx(ctx);
    if (!audio) {
        return "";
    }
    if (const mata_audio_arch * arch = arch_of(ctx)) {
        return arch->name;
    }
    const auto name = PROJECTOR_TYPE_NAMES.find(clip_get_projector_type(audio));
    return name == PROJECTOR_TYPE_NAMES.end() ? "" : name->second.c_str();
}

bool mata_mtmd_audio_checked(const mtmd_context * ctx) {
    return arch_of(ctx) != nullptr;
}

const char * mata_mtmd_audio_prompt(const mtmd_context * ctx) {
    const mata_audio_arch * arch = arch_of(ctx);
    return arch ? arch->prompt : "";
}

int64_t mata_mtmd_window_samples(const mtmd_context * ctx) {
    if (const mata_audio_arch * arch = arch_of(ctx)) {
        return arch->window_samples;
    }
    const clip_ctx * audio = mata_mtmd_audio_ctx(ctx);
    // keeps libmtmd's own behaviour
    return audio && clip_get_projector_type(audio) == PROJECTOR_TYPE_MERALION ? 30 * 16000 : 0;
}

int64_t mata_mtmd_max_samples(const mtmd_context * ctx) {
    const mata_audio_arch * arch = arch_of(ctx);
    return arch ? arch->max_samples : 0;
}

bool mata_mtmd_adapters_hear(const mtmd_context * ctx) {
    const mata_audio_arch * arch = arch_of(ctx);
    return arch && arch->adapters_hear;
}

int64_t mata_mtmd_padded_samples(const mtmd_context * ctx) {
    const mata_audio_arch * arch = arch_of(ctx);
    return arch ? arch->padded_samples : 0;
}
