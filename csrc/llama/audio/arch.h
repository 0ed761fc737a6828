// An audio architecture: one row of facts, and what libmtmd does otherwise than the reference implementation.
//
// A file here holds each architecture: its row, and where libmtmd's own code does not do, its features and its graph.
// registry.cpp lists the rows and chooses one for a projector. libmtmd's files only get call sites (the patches).
//
//   mel.h       samples -> log-mel frames as Whisper's feature extractor makes them
//   whisper.h   frames -> embeddings by Whisper's encoder, which most architectures have
//   events/     a second network that an Ultravox projector may hold
//
// In all files: n samples at 16 kHz, L frames of 10 ms, rows: what the encoder's layers compute, of 20 ms and more.
// Divisions round down.

#pragma once

#include "clip-graph.h"
#include "mtmd-audio.h"

#include <cstdint>
#include <memory>

struct llama_model;

struct mata_audio_arch {
    const char * name;   // the projector's type, as users see it
    const char * prompt; // how the reference writes clips into a prompt: a key of RULES in mata_cpp/prompts/rules.py

    int64_t window_samples; // longer clips are heard in windows that know nothing of each other; 0: as a whole
    int64_t max_samples;    // the reference hears no more of a clip; 0: no limit
    int64_t padded_samples; // clips are filled up to a multiple of this, and cost as much; 0: a clip costs what it is

    // Text around a clip; null: what libmtmd puts there.
    const char * begin;
    const char * end;

    bool adapters_hear; // LoRA adapters of the language model act only where there is sound

    // Whether the projector is of this architecture. text: null where no language model is known (yet).
    bool (*is)(const clip_ctx * ctx, const llama_model * text);

    // Throws unless the tensors fit each other, for what libmtmd's own graph takes for granted. Null: graph checks.
    void (*check)(const clip_model & model);

    // Null: libmtmd's own.
    std::unique_ptr<mtmd_audio_preprocessor> (*features)(const clip_ctx * ctx);
    std::unique_ptr<clip_graph> (*graph)(clip_ctx * ctx, const clip_image_f32 & frames);
    int (*n_tokens)(const clip_ctx * ctx, const clip_image_f32 & frames);
    void (*set_inputs)(const clip_ctx * ctx, const clip_image_f32 & frames, ggml_cgraph * gf); // of graph
};

namespace mata_audio {

extern const mata_audio_arch AUDIO_FLAMINGO_3, GEMMA_4, GEMMA_4_UNIFIED, GLM_ASR, GRANITE_SPEECH, MUSIC_FLAMINGO,
    PARAKEET, QWEN2_AUDIO, QWEN25_OMNI, QWEN3_ASR, QWEN3_OMNI, ULTRAVOX, VOXTRAL;

// Whether the language model has this text as a single token.
bool has_token(const llama_model * text, const char * token);
// general.architecture; "" for null
const char * text_architecture(const llama_model * text);

} // namespace mata_audio

// The rest is called by the patches.

// Once the language model is known. Throws where the projector's tensors do not fit.
void mata_audio_choose(clip_ctx * ctx, const llama_model * text);

// Null: an architecture without a row, which is heard as libmtmd does it.
const mata_audio_arch * mata_audio_arch_of(const clip_ctx * ctx);

std::unique_ptr<mtmd_audio_preprocessor> mata_audio_features(const clip_ctx * ctx);                        // or null
std::unique_ptr<clip_graph>              mata_audio_graph(clip_ctx * ctx, const clip_image_f32 & frames);  // or null
int                                      mata_audio_n_tokens(const clip_ctx * ctx, const clip_image_f32 & frames); // or -1
void mata_audio_set_inputs(const clip_ctx * ctx, const clip_image_f32 & frames, ggml_cgraph * gf); // of an own graph

// Defined by the patches: null without an audio encoder.
const clip_ctx * mata_mtmd_audio_ctx(const mtmd_context * ctx);
void             mata_clip_set_arch(clip_ctx * ctx, const mata_audio_arch * arch);
const clip_model & mata_clip_model(const clip_ctx * ctx);
