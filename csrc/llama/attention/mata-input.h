// Graph inputs of MATA: filled on the host beside the attention mask.

#pragma once

#include "mata-state.h"

#include "llama-graph.h"

#include <deque>

// Tensors for the layers that share a mask and a scale. [.., n_sets] in dimension 3.
struct mata_inputs {
    ggml_tensor * stock_mask = nullptr; // the mask of llama.cpp, read when ours are filled
    float         kq_scale   = 0.0f;
    bool          flash      = false;
    bool          columns    = false;   // flash attention takes the factors itself
    bool          swa        = false;
    int32_t       col_0      = 0;
    int32_t       n_cols     = 0;

    // F32 [n_cols, 1, n_rows, n_sets], or [n_cols, n_range, 1, n_sets] without flash attention
    ggml_tensor * a_scale = nullptr;
    ggml_tensor * a_abs   = nullptr;
    ggml_tensor * a_add   = nullptr;    // without flash attention only

    // flash attention only
    ggml_tensor * mask       = nullptr; // F32 [n_kv, 1, n_rows, 1 or n_sets], a_add included
    std::vector<ggml_tensor *> mask_of_heads; // [n_sets] of [n_kv, G*n_rows, n_head_kv]: mask repeated, not an input
    ggml_tensor * plain_mask = nullptr; // F32 [n_kv, 1, n_rows], for the read-out
    ggml_tensor * mask_f16   = nullptr; // F16 [n_kv, n_rows, 1, 1 or n_sets], a_add included: the mask of all heads
};

// A tensor to copy out after the graph was computed.
struct mata_kept {
    int32_t       il;
    bool          after;
    bool          swa;
    bool          grouped;  // [n_kv, G, n_rows, H_kv], else [n_kv, n_range, n_head]
    ggml_tensor * tensor;
};

class llm_graph_input_mata : public llm_graph_input_i {
public:
    llm_graph_input_mata(mata_plan_ptr plan, bool soft_cap);

    // that of the graph under construction
    static llm_graph_input_mata * of(const llm_graph_context & g);

    mata_inputs & inputs(const llm_graph_context & g, ggml_tensor * mask, float kq_scale, bool flash, int il);
    ggml_tensor * row_ids  (const llm_graph_context & g);  // I32 [n_rows]
    ggml_tensor * row_ids64(const llm_graph_context & g);  // I64 [n_rows]

    void set_input(const llama_ubatch * ubatch) override;
    bool can_reuse(const llm_graph_params & params) override;

    std::vector<mata_kept> kept;

private:
    void fill(const mata_inputs & in) const;

    mata_plan_ptr plan;
    bool          soft_cap;

    std::deque<mata_inputs> groups; // a deque, as references to its entries are handed out
    ggml_tensor * ids   = nullptr;
    ggml_tensor * ids64 = nullptr;
};
