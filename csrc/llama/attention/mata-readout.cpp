// The read-out: rows of attention weights, or sums over them, copied out of a graph that was computed.

#include "mata-input.h"

#include "llama-kv-cache.h"
#include "llama-kv-cells.h"

#include "ggml-backend.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace {

// Neighbouring cells that hold neighbouring positions of one group.
struct cell_run {
    int32_t   cell;
    int32_t   n;
    llama_pos pos;
    int32_t   group;    // -1: none
    int32_t   time;     // index of the first among the positions of group 0, or -1
};

// The cells of a sequence in one cache. Looked up once for all layers and heads.
struct cell_maps {
    const mata_state & state;
    std::map<std::pair<llama_seq_id, bool>, std::vector<cell_run>> known;

    const std::vector<cell_run> & of(llama_seq_id seq, bool swa, int64_t n_kv) {
        const auto [it, fresh] = known.try_emplace({ seq, swa });
        if (!fresh) {
            return it->second;
        }
        auto       & runs   = it->second;
        const auto & groups = state.readouts.at(seq).groups;
        const auto & cells  = (swa ? state.kv_swa : state.kv_base)->get_cells(seq);
        const int64_t n     = std::min<int64_t>(n_kv, cells.used_max_p1());
        for (int64_t j = 0; j < n; ++j) {
            if (cells.is_empty(j) || !cells.seq_has(j, seq)) {
                continue;
            }
            cell_run run { (int32_t) j, 1, cells.pos_get(j), -1, -1 };
            int32_t time = 0;
            for (const auto & g : groups) {
                if (run.pos >= g.p0 && run.pos < g.p1) {
                    run.group = g.group;
                    run.time  = g.group == 0 ? time + run.pos - g.p0 : -1;
                    break;
                }
                time += g.group == 0 ? g.p1 - g.p0 : 0;
            }
            if (!runs.empty()) {
                cell_run & last = runs.back();
                const bool in_time = run.time < 0 ? last.time < 0 : last.time >= 0 && run.time == last.time + last.n;
                if (last.cell + last.n == run.cell && last.pos + last.n == run.pos && last.group == run.group && in_time) {
                    last.n++;
                    continue;
                }
            }
            runs.push_back(run);
        }
        return runs;
    }
};

// In eight lanes, which a compiler may add at once.
static float sum_of(const float * x, int32_t n) {
    float lanes[8] = {};
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int32_t l = 0; l < 8; ++l) {
            lanes[l] += x[i + l];
        }
    }
    float sum = 0.0f;
    for (; i < n; ++i) {
        sum += x[i];
    }
    for (const float lane : lanes) {
        sum += lane;
    }
    return sum;
}

// The weights of one row: a run of n_kv for each head.
struct head_rows {
    const float     * weights;
    const mata_kept & kept;
    int32_t           r;        // among the predicting rows
    int32_t           r_range;  // in [row_0, row_1)

    int64_t n_head() const {
        const auto * ne = kept.tensor->ne;
        return kept.grouped ? ne[1]*ne[3] : ne[2];
    }
    const float * of(int64_t h) const {
        const auto * ne = kept.tensor->ne;
        const int64_t G = kept.grouped ? ne[1] : 1;
        return weights + ne[0]*(kept.grouped ? ((h/G)*ne[2] + r)*G + h%G : h*ne[1] + r_range);
    }
};

} // namespace

static void copy_rows(mata_row & row, const std::vector<cell_run> & cells, const head_rows & heads) {
    const int32_t n_cols = row.n_cols;
    auto & dst = (heads.kept.after ? row.after : row.before)[heads.kept.il];
    dst.assign((size_t) heads.n_head()*n_cols, 0.0f);
    for (int64_t h = 0; h < heads.n_head(); ++h) {
        const float * src = heads.of(h);
        for (const auto & c : cells) {
            const int32_t n = std::min(c.n, n_cols - c.pos);
            if (c.pos >= 0 && n > 0) {
                std::copy_n(src + c.cell, n, dst.begin() + h*n_cols + c.pos);
            }
        }
    }
}

// A layer that is not boosted counts as it is also after the boost.
static void add_sums(mata_row & row, const mata_readout & readout, const std::vector<cell_run> & cells,
        const head_rows & heads, bool boosted) {
    const int32_t n_groups = readout.n_groups;
    const int64_t n_head   = std::min<int64_t>(heads.n_head(), readout.n_head);
    const int64_t layer    = std::distance(readout.layers.begin(), readout.layers.find(heads.kept.il));
    const bool    timed    = readout.time_layers.count(heads.kept.il) > 0;
    const float   share    = timed ? 1.0f/(float) (n_head*(int64_t) readout.time_layers.size()) : 0.0f;

    std::vector<float> sums((size_t) n_head*n_groups, 0.0f);
    std::vector<float> time(timed ? readout.n_time : 0, 0.0f);
    for (int64_t h = 0; h < n_head; ++h) {
        const float * src = heads.of(h);
        float       * dst = sums.data() + h*n_groups;
        for (const auto & c : cells) {
            if (c.group < 0) {
                continue;
            }
            dst[c.group] += sum_of(src + c.cell, c.n);
            for (int32_t i = 0; timed && c.time >= 0 && i < c.n; ++i) {
                time[c.time + i] += share*src[c.cell + i];
            }
        }
    }
    for (const bool after : { false, true }) {
        if (heads.kept.after ? !after : after && boosted) {
            continue;
        }
        auto & all_sums = row.sums[after];
        auto & all_time = row.time[after];
        all_sums.resize((size_t) readout.layers.size()*readout.n_head*n_groups, 0.0f);
        all_time.resize(readout.n_time, 0.0f);
        std::copy(sums.begin(), sums.end(), all_sums.begin() + layer*readout.n_head*n_groups);
        for (size_t i = 0; i < time.size(); ++i) {
            all_time[i] += time[i];
        }
    }
}

void mata_collect(mata_state * state, const mata_plan_ptr & plan, const llm_graph_result & res, ggml_backend_sched_t sched) {
    if (!plan || plan->readout.empty()) {
        return;
    }
    ggml_backend_sched_synchronize(sched);
    const llm_graph_input_mata * inp = nullptr;
    for (const auto & input : res.inputs) {
        if (const auto * found = dynamic_cast<const llm_graph_input_mata *>(input.get())) {
            inp = found;
        }
    }
    if (!inp) {
        return;
    }

    std::vector<mata_row *> rows(plan->n_rows, nullptr);
    for (int32_t r = 0; r < plan->n_rows; ++r) {
        const auto it = state->readouts.find(plan->seqs[r]);
        if (it != state->readouts.end()) {
            it->second.rows.emplace_back();
            it->second.rows.back().n_cols = plan->pos[r] + 1;
        }
    }
    // pointers only now: emplace_back moves the rows
    std::map<llama_seq_id, size_t> next;
    for (int32_t r = plan->n_rows - 1; r >= 0; --r) {
        const auto it = state->readouts.find(plan->seqs[r]);
        if (it != state->readouts.end()) {
            auto & all = it->second.rows;
            rows[r] = &all[all.size() - 1 - next[plan->seqs[r]]++];
        }
    }

    std::set<int32_t> boosted; // layers whose weights after the boost are there
    for (const auto & kept : inp->kept) {
        if (kept.after) {
            boosted.insert(kept.il);
        }
    }
    cell_maps maps { *state, {} };
    std::vector<float> data;
    for (const auto & kept : inp->kept) {
        const ggml_tensor * t = kept.tensor;
        const float * weights = (const float *) t->data;
        if (!ggml_backend_buffer_is_host(t->buffer)) {
            data.resize((size_t) ggml_nelements(t));
            ggml_backend_tensor_get(t, data.data(), 0, ggml_nbytes(t));
            weights = data.data();
        }
        for (int32_t r = 0; r < plan->n_rows; ++r) {
            if (!rows[r]) {
                continue;
            }
            const auto & readout = state->readouts.at(plan->seqs[r]);
            if (!readout.layers.count(kept.il)) {
                continue;
            }
            const auto & cells = maps.of(plan->seqs[r], kept.swa, t->ne[0]);
            const head_rows heads { weights, kept, r, plan->row_ids[r] - plan->row_0 };
            if (readout.summed) {
                add_sums(*rows[r], readout, cells, heads, boosted.count(kept.il) > 0);
            } else {
                copy_rows(*rows[r], cells, heads);
            }
        }
    }
}
