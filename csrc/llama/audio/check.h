// A wrong file must not get as far as an assertion: what the graphs ask of a projector's tensors.

#pragma once

#include "ggml.h"

#include <cstdint>
#include <initializer_list>
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

// Q8_1 and Q8_K are only what activations are rounded to: nothing multiplies by them.
inline bool is_matrix(const ggml_tensor * w, int64_t n_in, int64_t n_out) {
    return w && w->ne[0] == n_in && w->ne[1] == n_out && ggml_nelements(w) == n_in * n_out &&
           (is_float(w) || (ggml_is_quantized(w->type) && ggml_get_type_traits(w->type)->to_float));
}

inline bool is_vector(const ggml_tensor * b, int64_t n) {
    return b && ggml_nelements(b) == n && b->type == GGML_TYPE_F32;
}

// What is added or multiplied as it lies; is_vector also takes [1, n], as the biases of convolutions come.
inline bool is_row(const ggml_tensor * b, int64_t n) {
    return is_vector(b, n) && b->ne[0] == n;
}

inline bool is_row_or_null(const ggml_tensor * b, int64_t n) {
    return !b || is_row(b, n);
}

inline void require_matrix(const ggml_tensor * w, int64_t n_in, int64_t n_out, const char * what) {
    require(is_matrix(w, n_in, n_out), what);
}

inline void require_rows(std::initializer_list<const ggml_tensor *> rows, int64_t n, const char * what) {
    for (const ggml_tensor * row : rows) {
        require(is_row(row, n), what);
    }
}

// The rows of a matrix that has n_in columns.
inline int64_t rows_of(const ggml_tensor * w, int64_t n_in, const char * what) {
    require(w && w->ne[1] > 0 && is_matrix(w, n_in, w->ne[1]), what);
    return w->ne[1];
}

// Two matrices, n -> any -> n
inline void require_ffn(const ggml_tensor * up, const ggml_tensor * down, int64_t n) {
    require_matrix(down, rows_of(up, n, "a feed-forward matrix"), n, "a feed-forward matrix");
}

inline bool is_conv2d(const ggml_tensor * w, int64_t width, int64_t n_in, int64_t n_out) {
    return is_float(w) && w->ne[0] == width && w->ne[1] == width && w->ne[2] == n_in && w->ne[3] == n_out;
}

} // namespace mata_audio
