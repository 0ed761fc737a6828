// MATA's part of the attention graph: called from llm_graph_context::build_attn_mha.

#pragma once

#include "mata-state.h"

struct ggml_tensor;
struct llm_graph_context;
class  llm_graph_result;

// Flash attention. q [d, n_tokens, n_head], k and v [d, n_kv, n_head_kv] as build_attn_mha has permuted them;
// stock is its flash attention over all rows, [d_v, n_head, n_tokens]. Returns stock, or the tensor to use instead.
ggml_tensor * mata_flash_attn(const llm_graph_context & g, ggml_tensor * stock,
        ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask,
        ggml_tensor * sinks, bool plain, float kq_scale, int il);

// Attention in single steps: changes kq [n_kv, n_tokens, n_head] in place, after any soft-cap, before the softmax.
void mata_scores(const llm_graph_context & g, ggml_tensor * kq, ggml_tensor * mask, bool plain, float kq_scale, int il);

// Same: kq after the softmax, for the read-out.
void mata_weights(const llm_graph_context & g, ggml_tensor * kq, int il);

// False when the graph just built could not hold what its plan asks for; mata_error says why.
bool mata_graph_ok(const mata_plan_ptr & plan);

// After the graph was computed: copies the rows to keep into the state.
void mata_collect(mata_state * state, const mata_plan_ptr & plan, const llm_graph_result & res);
