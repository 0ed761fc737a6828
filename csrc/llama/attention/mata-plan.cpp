// Which rows, columns and layers of a ubatch are changed: computed on the host from positions, before the graph
// is built or reused.

#include "mata-state.h"

#include "llama-batch.h"
#include "llama-kv-cache.h"
#include "llama-kv-cells.h"

#include <algorithm>
#include <cmath>

// The columns are rounded to this, so that a growing span does not change the graph at every token. They never exceed
// those of the mask, which llama_kv_cache pads to 256.
static constexpr int32_t COLS_PAD = 64;

static float span_weight(const mata_setting & setting, llama_pos pos) {
    for (const auto & span : setting.spans) {
        if (pos >= span.p0 && pos < span.p1) {
            return span.weight;
        }
    }
    return 0.0f;
}

static mata_columns find_columns(const llama_kv_cache & kv, const mata_plan & plan, const mata_state & state) {
    const int32_t n_rows = plan.n_rows;

    // one scan per sequence: its rows share the columns
    std::map<llama_seq_id, std::vector<std::pair<int32_t, float>>> audio;
    int32_t first = INT32_MAX;
    int32_t last  = -1;

    for (int32_t r = 0; r < n_rows; ++r) {
        const llama_seq_id seq = plan.seqs[r];
        const auto it = state.settings.find(seq);
        if (it == state.settings.end() || audio.count(seq)) {
            continue;
        }
        auto & cols = audio[seq];
        const auto & cells = kv.get_cells(seq);
        for (uint32_t j = 0; j < cells.used_max_p1(); ++j) {
            if (cells.is_empty(j) || !cells.seq_has(j, seq)) {
                continue;
            }
            const float w = span_weight(it->second, cells.pos_get(j));
            if (w != 0.0f) {
                cols.emplace_back((int32_t) j, w);
                first = std::min(first, (int32_t) j);
                last  = std::max(last,  (int32_t) j);
            }
        }
    }

    mata_columns res;
    if (last < 0) {
        return res;
    }
    res.col_0  = first/COLS_PAD*COLS_PAD;
    res.n_cols = (last/COLS_PAD + 1)*COLS_PAD - res.col_0;
    res.weight.resize((size_t) n_rows*res.n_cols, 0.0f);
    for (int32_t r = 0; r < n_rows; ++r) {
        const auto it = audio.find(plan.seqs[r]);
        if (it == audio.end()) {
            continue;
        }
        for (const auto & [j, w] : it->second) {
            res.weight[(size_t) r*res.n_cols + j - res.col_0] = w;
        }
    }
    return res;
}

// Layers with the same alpha for every row share one set of inputs.
static void find_sets(mata_plan & plan, const mata_state & state) {
    std::map<std::vector<float>, int32_t> sets;
    plan.set_of.assign(state.n_layer, -1);

    for (int32_t il = 0; il < state.n_layer; ++il) {
        std::vector<float> alpha(plan.n_rows, 0.0f);
        bool any = false;
        for (int32_t r = 0; r < plan.n_rows; ++r) {
            const auto it = state.settings.find(plan.seqs[r]);
            if (it != state.settings.end()) {
                alpha[r] = it->second.alpha[il];
                any = any || alpha[r] != 0.0f;
            }
        }
        if (!any) {
            continue;
        }
        const auto [it, fresh] = sets.emplace(alpha, plan.n_sets);
        if (fresh) {
            plan.n_sets++;
            plan.alpha.insert(plan.alpha.end(), alpha.begin(), alpha.end());
        }
        plan.set_of[il] = it->second;
    }
}

mata_plan_ptr mata_make_plan(const mata_state * state, const llama_ubatch & ubatch) {
    if (!state || (state->settings.empty() && state->readouts.empty()) || !ubatch.output || !state->kv_base) {
        return nullptr;
    }

    state->error.clear();

    auto plan = std::make_shared<mata_plan>();
    plan->state = state;
    plan->portable = state->portable;

    bool wanted = false;
    for (uint32_t i = 0; i < ubatch.n_tokens; ++i) {
        if (!ubatch.output[i]) {
            continue;
        }
        const llama_seq_id seq = ubatch.seq_id[i][0];
        const auto setting = state->settings.find(seq);
        const auto readout = state->readouts.find(seq);

        plan->row_ids.push_back((int32_t) i);
        plan->seqs   .push_back(seq);
        plan->pos    .push_back(ubatch.pos[i]);
        plan->modes  .push_back(setting == state->settings.end() ? MATA_MODE_SCALE : setting->second.mode);
        if (setting != state->settings.end()) {
            wanted = true;
            if (ubatch.n_seq_id[i] > 1) {
                state->fail("a token that belongs to several sequences cannot be boosted: give each sequence its own");
            }
        }
        if (readout != state->readouts.end()) {
            wanted = true;
            plan->readout.insert(readout->second.layers.begin(), readout->second.layers.end());
        }
    }
    if (!wanted) {
        return nullptr;
    }

    plan->n_rows   = (int32_t) plan->row_ids.size();
    plan->all_rows = plan->n_rows == (int32_t) ubatch.n_tokens;
    plan->row_0    = plan->row_ids.front();
    plan->row_1    = plan->row_ids.back() + 1;

    find_sets(*plan, *state);
    if (plan->n_sets > 0) {
        plan->base = find_columns(*state->kv_base, *plan, *state);
        if (state->kv_swa) {
            plan->swa = find_columns(*state->kv_swa, *plan, *state);
        }
    }
    if (plan->base.n_cols == 0 && plan->swa.n_cols == 0) {
        plan->n_sets = 0;
        plan->alpha.clear();
        plan->set_of.assign(state->n_layer, -1);
    }
    if (plan->n_sets == 0 && plan->readout.empty()) {
        return nullptr;
    }

    // A term of 65504 or more needs a score of that size at |alpha| <= 1. Above, one operator more keeps it finite.
    float alpha_max  = 0.0f;
    float weight_max = 0.0f;
    for (const float a : plan->alpha) {
        alpha_max = std::max(alpha_max, std::fabs(a));
    }
    for (const auto * columns : { &plan->base, &plan->swa }) {
        for (const float w : columns->weight) {
            weight_max = std::max(weight_max, std::fabs(w));
        }
    }
    plan->clamp = alpha_max*weight_max > 1.0f;

    if (plan->n_sets > 0) {
        for (int32_t r = 0; r < plan->n_rows; ++r) {
            const auto it = state->settings.find(plan->seqs[r]);
            if (it == state->settings.end()) {
                continue;
            }
            plan->scale = plan->scale || it->second.mode == MATA_MODE_SCALE;
            plan->abs   = plan->abs   || it->second.mode == MATA_MODE_ABS;
            plan->add   = plan->add   || it->second.mode == MATA_MODE_ADD;
        }
    }
    return plan;
}

bool mata_plan::same_topology(const mata_plan & other) const {
    return
        state       == other.state       &&
        scale       == other.scale       &&
        abs         == other.abs         &&
        add         == other.add         &&
        clamp       == other.clamp       &&
        all_rows    == other.all_rows    &&
        portable    == other.portable    &&
        row_0       == other.row_0       &&
        row_1       == other.row_1       &&
        n_rows      == other.n_rows      &&
        n_sets      == other.n_sets      &&
        set_of      == other.set_of      &&
        readout     == other.readout     &&
        base.col_0  == other.base.col_0  &&
        base.n_cols == other.base.n_cols &&
        swa.col_0   == other.swa.col_0   &&
        swa.n_cols  == other.swa.n_cols;
}

bool mata_same_topology(const mata_plan_ptr & a, const mata_plan_ptr & b) {
    if (!a || !b) {
        return !a && !b;
    }
    // b is the new one: a refused plan must not slip through on an old graph
    return b->state->error.empty() && a->same_topology(*b);
}
