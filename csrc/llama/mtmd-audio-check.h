// A wrong file must not get as far as an assertion: what the graphs ask of a projector's tensors.

#pragma once

#include "ggml.h"

#include <cstdint>
#include <stdexcept>
#include <string>

namespace mata_audio {

inline void require(bool ok, const char * what) {
    if (!ok) {
        throw std::runtime_error(std::string("audio projector: ") + what + " is missing or has a wrong shape or type");
    }
}

inline bool is_float(const ggml_tensor * w) {
    return w && (w->type == GGML_TYPE_F32 || w->type == GGML_TYPE_F16 || w->type == GGML_TYPE_BF16);
}

inline bool is_matrix(const ggml_tensor * w, int64_t n_in, int64_t n_out) {
    return w && w->ne[0] == n_in && w->ne[1] == n_out && ggml_nelements(w) == n_in * n_out &&
           (is_float(w) || ggml_is_quantized(w->type));
}

inline bool is_vector(const ggml_tensor * b, int64_t n) {
    return b && ggml_nelements(b) == n && b->type == GGML_TYPE_F32;
}

inline bool is_vector_or_null(const ggml_tensor * b, int64_t n) {
    return !b || is_vector(b, n);
}

} // namespace mata_audio
