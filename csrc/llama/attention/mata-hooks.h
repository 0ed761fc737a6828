// What llama.cpp's own files see of MATA: declarations only, as llama-graph.h, and so every model, includes this.

#pragma once

#include "ggml-backend.h"

#include <memory>

struct llama_ubatch;
struct llm_graph_context;
class  llm_graph_result;

struct mata_state;  // of a context
struct mata_plan;   // of a ubatch

using mata_plan_ptr = std::shared_ptr<const mata_plan>;

// Null when no row of the ubatch is changed or read: the graph is then the stock graph.
mata_plan_ptr mata_make_plan(const mata_state * state, const llama_ubatch & ubatch);

// For llm_graph_params::allow_reuse: may the graph of plan a serve plan b?
bool mata_same_topology(const mata_plan_ptr & a, const mata_plan_ptr & b);

// Flash attention. q [d, n_tokens, n_head], k and v [d, n_kv, n_head_kv] as build_attn_mha has permuted them;
// stock is its flash attention over all rows, [d_v, n_head, n_tokens]. Returns stock, or the tensor to use instead.
// plain: no bias, MLA or top-k.
ggml_tensor * mata_flash_attn(const llm_graph_context & g, ggml_tensor * stock,
        ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask,
        ggml_tensor * sinks, bool plain, float kq_scale, int il);

// Attention in single steps: kq [n_kv, n_tokens, n_head] after any soft-cap and before the softmax. Returns kq, or the
// tensor to use instead, which takes kq's memory.
ggml_tensor * mata_scores(const llm_graph_context & g, ggml_tensor * kq, ggml_tensor * mask, bool plain, float kq_scale, int il);

// Same: kq after the softmax, for the read-out.
void mata_weights(const llm_graph_context & g, ggml_tensor * kq, int il);

// Before a graph that was just built is given memory. False when it could not hold what its plan asks for; mata_error
// says why. The scheduler takes two graphs for one if they have equally many nodes and leaves of fitting sizes, and gives
// the second the places of the first; two settings of MATA can be such graphs, so memory is planned anew between them.
bool mata_before_alloc(mata_state * state, const mata_plan_ptr & plan, ggml_backend_sched_t sched);

// After the graph was given to the scheduler: copies the rows to keep, if any, into the state.
void mata_collect(mata_state * state, const mata_plan_ptr & plan, const llm_graph_result & res, ggml_backend_sched_t sched);
