// What the engine asks libmtmd about audio, beyond mtmd.h. The facts are those of arch.h.

#pragma once

#include "mtmd.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The audio projector's type ("ultravox", "qwen2.5o", ...); "" without an audio encoder.
const char * mata_mtmd_projector(const mtmd_context * ctx);

// True when clips of this projector become tokens as in its reference implementation;
// false for the types that keep libmtmd's own behaviour.
bool mata_mtmd_audio_checked(const mtmd_context * ctx);

// By which rule the reference writes clips into a prompt; "" where none is known.
const char * mata_mtmd_audio_prompt(const mtmd_context * ctx);

// Longer clips are heard in windows of so many samples that know nothing of each other. 0 when there is no such
// window: the clip is heard as a whole (audio chunks may be shorter all the same).
int64_t mata_mtmd_window_samples(const mtmd_context * ctx);

// Samples after which the reference stops listening: the rest of a longer clip is dropped. 0 when it has no limit.
int64_t mata_mtmd_max_samples(const mtmd_context * ctx);

// Clips are filled up to a multiple of so many samples, which are heard and computed. 0: a clip costs what it is.
int64_t mata_mtmd_padded_samples(const mtmd_context * ctx);

// Whether LoRA adapters of the language model act only where there is sound.
bool mata_mtmd_adapters_hear(const mtmd_context * ctx);

// Threads for what the encoders compute on the CPU, which are to live longer than ctx. Without them every graph makes
// threads of its own.
void mata_mtmd_set_threadpool(mtmd_context * ctx, ggml_threadpool_t threadpool);

#ifdef __cplusplus
}
#endif
