// What MATA knows of a llama_context, and the plan it makes for one ubatch. Internal to the llama library.

#pragma once

#include "llama.h"
#include "mata.h"
#include "mata-hooks.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

class llama_kv_cache;
struct llama_context;
struct mata_plan;

// The largest number of a mask for flash attention.
constexpr float MATA_F16_MAX = 65504.0f;

struct mata_setting {
    mata_mode               mode = MATA_MODE_SCALE;
    std::vector<float>      alpha;  // [n_layer]
    std::vector<mata_span>  spans;
};

// The attention of one predicting row, per kept layer.
struct mata_row {
    int32_t n_cols = 0;                             // positions 0 .. n_cols - 1
    std::map<int32_t, std::vector<float>> before;   // layer -> [n_head][n_cols]
    std::map<int32_t, std::vector<float>> after;    // only layers that were boosted

    // instead of these where sums were asked for, before [0] and after [1] the boost
    std::vector<float> sums[2];                     // [n_layers][n_head][n_groups]
    std::vector<float> time[2];                     // [n_time]
};

struct mata_readout {
    std::set<int32_t>     layers;
    std::vector<mata_row> rows;

    bool                    summed   = false;
    int32_t                 n_head   = 0;           // of every layer, where summed
    int32_t                 n_groups = 0;
    int32_t                 n_time   = 0;           // positions of group 0
    std::vector<mata_group> groups;
    std::set<int32_t>       time_layers;
};

struct mata_state {
    // the caches whose cells hold the keys; swa is null without sliding-window layers
    const llama_kv_cache * kv_base = nullptr;
    const llama_kv_cache * kv_swa  = nullptr;

    int32_t      n_layer = 0;
    const char * refusal = nullptr;
    bool         portable = false; // see mata_use_portable_graph

    std::map<llama_seq_id, mata_setting> settings;
    std::map<llama_seq_id, mata_readout> readouts;

    // of the graph that was given memory last
    std::shared_ptr<const mata_plan> allocated;

    // written while a graph is planned and built
    mutable std::string           error;
    mutable std::set<std::string> ops;
    mutable int64_t               n_builds = 0;

    // the first reason counts
    void fail(const std::string & reason) const {
        if (error.empty()) {
            error = reason;
        }
    }

    explicit mata_state(const llama_context & ctx);
};

// Audio columns of one cache for the rows of a ubatch.
struct mata_columns {
    int32_t            col_0  = 0;  // cells [col_0, col_0 + n_cols) include all audio cells
    int32_t            n_cols = 0;
    std::vector<float> weight;      // [n_rows][n_cols], 0 where there is no audio
};

// All that the graph of one ubatch needs. Two plans with the same topology share a graph.
struct mata_plan {
    const mata_state * state = nullptr;

    // --- topology
    bool    scale    = false;       // modes present among the rows
    bool    abs      = false;
    bool    add      = false;
    bool    clamp    = false;       // alpha is large enough for a term beyond the range of F16
    bool    all_rows = false;       // every row predicts
    bool    portable = false;       // see mata_use_portable_graph
    int32_t row_0    = 0;           // predicting rows lie in [row_0, row_1)
    int32_t row_1    = 0;
    int32_t n_rows   = 0;
    int32_t n_sets   = 0;           // distinct alpha vectors over the rows
    std::vector<int32_t> set_of;    // [n_layer] alpha set, or -1: the layer stays as it is
    std::set<int32_t>    readout;   // layers whose rows are kept

    // --- values
    std::vector<int32_t>   row_ids; // [n_rows] token of each predicting row
    std::vector<llama_seq_id> seqs; // [n_rows]
    std::vector<llama_pos> pos;     // [n_rows]
    std::vector<mata_mode> modes;   // [n_rows]
    std::vector<float>     alpha;   // [n_sets][n_rows]
    mata_columns base;
    mata_columns swa;

    bool boosts(int32_t il) const { return set_of[il] >= 0; }
    bool reads (int32_t il) const { return readout.count(il) > 0; }

    bool same_topology(const mata_plan & other) const;
};
