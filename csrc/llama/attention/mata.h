// MATA: raise the attention scores of audio tokens before softmax (arXiv 2509.18816), for llama.cpp.
//
// For a row i that predicts a token, in a chosen layer, for every head, on the key columns j that hold audio,
// with s = (q_i . k_j) * kq_scale, after any soft-cap and before mask and softmax:
//
//     scale   s <- s + a * s          a = alpha(layer) * weight(span of j)
//     abs     s <- s + a * |s|
//     add     s <- s + a
//
// Settings belong to a sequence of a llama_context. They stay until they are set anew or cleared; moving, copying
// or removing cells does not change them: spans are positions. While no sequence of a batch has an effective
// setting, the graph is the stock graph.
//
// None of these functions throws. They are as thread-safe as the context: not at all.

#pragma once

#include "llama.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mata_mode {
    MATA_MODE_SCALE = 0,
    MATA_MODE_ABS   = 1,
    MATA_MODE_ADD   = 2,
};

// Positions [p0, p1) hold audio; alpha is multiplied by weight there.
struct mata_span {
    llama_pos p0;
    llama_pos p1;
    float     weight;
};

// NULL when the model and context can run MATA, else the reason in one line (a static string).
const char * mata_refusal(const struct llama_context * ctx);

// Sets the sequence's mode, alpha [n_layer] (0 leaves a layer alone) and spans [n_spans].
// False when it is refused; mata_error then says why. The former setting stays in that case.
bool mata_set(struct llama_context * ctx, llama_seq_id seq_id, enum mata_mode mode,
              const float * alpha, int32_t n_layer, const struct mata_span * spans, int32_t n_spans);

void mata_clear(struct llama_context * ctx, llama_seq_id seq_id);

// Why the last mata_set was refused or the last llama_decode failed in the attention code; "" if neither.
const char * mata_error(const struct llama_context * ctx);
void         mata_clear_error(struct llama_context * ctx);

// --- read-out ---------------------------------------------------------------------------------------------------
// Keeps, for the rows of this sequence that predict a token, the softmax of the scores before and after the boost.

// Layers [n_layers] to keep from now on; n_layers 0 stops it. Drops the rows kept so far.
bool mata_readout_set(struct llama_context * ctx, llama_seq_id seq_id, const int32_t * layers, int32_t n_layers);

// The same, but of each row only sums are kept: per layer and head the weight that falls on each group of positions
// and, over the heads and the time_layers [n_time_layers], the mean weight of each position of group 0. A position
// belongs to the first of the groups' ranges that holds it, or to none. All kept layers must have equally many heads.
struct mata_group {
    llama_pos p0;       // positions [p0, p1)
    llama_pos p1;
    int32_t   group;    // from 0 on
};

bool mata_readout_set_sums(struct llama_context * ctx, llama_seq_id seq_id, const int32_t * layers, int32_t n_layers,
                           const struct mata_group * groups, int32_t n_groups,
                           const int32_t * time_layers, int32_t n_time_layers);

// Copies the sums of one row: sums [n_layers][n_head][number of groups], layers ascending, and time [n_time], the
// positions of group 0 in order. False when the row was not kept like that or the sizes differ.
bool mata_readout_get_sums(const struct llama_context * ctx, llama_seq_id seq_id, int32_t row, bool after,
                           float * sums, size_t n_sums, float * time, size_t n_time);

// Query heads of a layer; 0 when it has no attention that could be read.
int32_t mata_layer_heads(const struct llama_model * model, int32_t layer);

// Bytes that one position takes in the KV cache, an upper bound.
size_t mata_kv_bytes_per_position(const struct llama_model * model, enum ggml_type type_k, enum ggml_type type_v);

// Rows kept since the last call of mata_readout_set or mata_readout_drop.
int32_t mata_readout_n_rows(const struct llama_context * ctx, llama_seq_id seq_id);
void    mata_readout_drop  (struct llama_context * ctx, llama_seq_id seq_id);

// Columns of a row: the positions 0 .. its own.
int32_t mata_readout_n_cols(const struct llama_context * ctx, llama_seq_id seq_id, int32_t row);

// Copies one row of one layer to dst [n_head][n_cols]; columns are in order of position (0 where no cell is).
// False when that layer or row was not kept, or does not have n_dst values.
bool mata_readout_get(const struct llama_context * ctx, llama_seq_id seq_id, int32_t row, int32_t layer,
                      bool after, float * dst, int32_t n_dst);

// --- introspection ----------------------------------------------------------------------------------------------

// The i-th distinct operator that MATA added to a graph of this context, as
// "NAME src0-type[,src1-type] -> type"; NULL past the last.
const char * mata_graph_op(const struct llama_context * ctx, int32_t i);

// Builds the graph of flash attention that every backend can run, on the CPU too: for tests on machines without a GPU.
bool mata_use_portable_graph(struct llama_context * ctx, bool portable);

// How often a graph was built anew with MATA in it: alpha and spans must not rebuild it.
int64_t mata_n_builds(const struct llama_context * ctx);

// NULL, or what is wrong with the model's hyperparameters, in one line (a static string): values that pass loading and
// end the process in the first computation, on a thread where nothing can catch it.
const char * mata_model_problem(const struct llama_model * model);

// What llama.h does not tell: whether flash attention is in use (after "auto"), and cells of the cache in use.
bool    mata_flash_attn_enabled(const struct llama_context * ctx);
int32_t mata_kv_used(const struct llama_context * ctx);

#ifdef __cplusplus
}
#endif
