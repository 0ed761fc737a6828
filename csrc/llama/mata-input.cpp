#include "mata-input.h"

#include "llama-hparams.h"
#include "llama-kv-cache.h"
#include "llama-kv-cells.h"

#include "ggml-backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

llm_graph_input_mata::llm_graph_input_mata(mata_plan_ptr plan, bool soft_cap)
    : plan(std::move(plan)), soft_cap(soft_cap) {}

llm_graph_input_mata * llm_graph_input_mata::of(const llm_graph_context & g) {
    for (auto & input : g.res->inputs) {
        if (auto * found = dynamic_cast<llm_graph_input_mata *>(input.get())) {
            return found;
        }
    }
    return static_cast<llm_graph_input_mata *>(
            g.res->add_input(std::make_unique<llm_graph_input_mata>(g.mata, g.hparams.attn_soft_cap)));
}

static ggml_tensor * new_input(const llm_graph_context & g, ggml_type type, int64_t n0, int64_t n1, int64_t n2, int64_t n3, const char * name) {
    ggml_tensor * t = ggml_new_tensor_4d(g.ctx0, type, n0, n1, n2, n3);
    ggml_set_input(t);
    g.cb(t, name, -1);
    return t;
}

ggml_tensor * llm_graph_input_mata::row_ids(const llm_graph_context & g) {
    if (!ids) {
        ids = new_input(g, GGML_TYPE_I32, plan->n_rows, 1, 1, 1, "mata_row_ids");
    }
    return ids;
}

ggml_tensor * llm_graph_input_mata::row_ids64(const llm_graph_context & g) {
    if (!ids64) {
        ids64 = new_input(g, GGML_TYPE_I64, plan->n_rows, 1, 1, 1, "mata_row_ids64");
    }
    return ids64;
}

// Only what a layer of the group will use is created: the scheduler does not allocate an input without a user.
mata_inputs & llm_graph_input_mata::inputs(const llm_graph_context & g, ggml_tensor * mask, float kq_scale, bool flash, int il) {
    const bool boosts = plan->boosts(il);
    const bool reads  = plan->reads(il);

    mata_inputs * in = nullptr;
    for (auto & group : groups) {
        if (group.stock_mask == mask && group.kq_scale == kq_scale) {
            in = &group;
        }
    }
    if (!in) {
        groups.emplace_back();
        in = &groups.back();
        in->stock_mask = mask;
        in->kq_scale   = kq_scale;
        in->flash      = flash;
        in->swa        = plan->state->kv_swa && g.hparams.is_swa(il);
        const auto & columns = in->swa ? plan->swa : plan->base;
        in->col_0      = columns.col_0;
        in->n_cols     = columns.n_cols;
        GGML_ASSERT(in->col_0 + in->n_cols <= mask->ne[0]);
        // where every layer is boosted no node of the graph uses it, and it would not be allocated
        ggml_build_forward_expand(g.gf, mask);
    }

    const int64_t n_kv   = mask->ne[0];
    const int64_t n_cols = in->n_cols;
    const int64_t n_rows = flash ? plan->n_rows : plan->row_1 - plan->row_0;
    const int64_t d1     = flash ? 1 : n_rows;
    const int64_t d2     = flash ? n_rows : 1;
    const int64_t n_sets = plan->n_sets;
    const bool per_head  = plan->scale || plan->abs;

    if (boosts && n_cols > 0) {
        if (plan->scale && !in->a_scale) {
            in->a_scale = new_input(g, GGML_TYPE_F32, n_cols, d1, d2, n_sets, "mata_a_scale");
        }
        if (plan->abs && !in->a_abs) {
            in->a_abs = new_input(g, GGML_TYPE_F32, n_cols, d1, d2, n_sets, "mata_a_abs");
        }
        if (plan->add && !flash && !in->a_add) {
            in->a_add = new_input(g, GGML_TYPE_F32, n_cols, d1, d2, n_sets, "mata_a_add");
        }
        if (flash && !in->mask && (per_head || reads)) {
            in->mask = new_input(g, GGML_TYPE_F32, n_kv, 1, n_rows, plan->add ? n_sets : 1, "mata_mask_f32");
        }
        if (flash && !per_head && !in->mask_f16) {
            in->mask_f16 = new_input(g, GGML_TYPE_F16, n_kv, n_rows, 1, n_sets, "mata_mask_f16");
        }
    }
    if (flash && reads && !in->plain_mask) {
        in->plain_mask = new_input(g, GGML_TYPE_F32, n_kv, 1, n_rows, 1, "mata_plain_mask");
    }
    return *in;
}

bool llm_graph_input_mata::can_reuse(const llm_graph_params & params) {
    // allow_reuse has compared the topology of the plans, the inputs of the attention the shape of their masks
    plan = params.mata;
    return plan != nullptr;
}

void llm_graph_input_mata::set_input(const llama_ubatch * /*ubatch*/) {
    if (ids) {
        ggml_backend_tensor_set(ids, plan->row_ids.data(), 0, ggml_nbytes(ids));
    }
    if (ids64) {
        const std::vector<int64_t> wide(plan->row_ids.begin(), plan->row_ids.end());
        ggml_backend_tensor_set(ids64, wide.data(), 0, ggml_nbytes(ids64));
    }
    for (const auto & in : groups) {
        fill(in);
    }
}

static void upload(ggml_tensor * t, const std::vector<float> & data) {
    if (!t) {
        return;
    }
    GGML_ASSERT((int64_t) data.size() == ggml_nelements(t));
    if (t->type == GGML_TYPE_F16) {
        std::vector<float> finite(data);
        for (float & x : finite) {
            if (x != -INFINITY) {
                x = std::min(std::max(x, -MATA_F16_MAX), MATA_F16_MAX);
            }
        }
        std::vector<ggml_fp16_t> half(data.size());
        ggml_fp32_to_fp16_row(finite.data(), half.data(), (int64_t) data.size());
        ggml_backend_tensor_set(t, half.data(), 0, ggml_nbytes(t));
    } else {
        ggml_backend_tensor_set(t, data.data(), 0, ggml_nbytes(t));
    }
}

void llm_graph_input_mata::fill(const mata_inputs & in) const {
    const mata_plan & p = *plan;
    const mata_columns & columns = in.swa ? p.swa : p.base;

    const int64_t n_kv   = in.stock_mask->ne[0];
    const int64_t n_cols = in.n_cols;
    const int64_t n_out  = in.flash ? p.n_rows : p.row_1 - p.row_0; // rows of our inputs

    const auto row_of = [&](int32_t r) { return in.flash ? r : p.row_ids[r] - p.row_0; };

    // With flash attention the term is built from the raw product, so kq_scale belongs to a. Without, the softmax
    // multiplies everything by kq_scale later: a plain shift has to be divided by it. A soft-cap has had it already.
    const float unit     = in.flash && !soft_cap ? in.kq_scale : 1.0f;
    const float unit_add = in.flash ? 1.0f : 1.0f/in.kq_scale;

    const auto fill_a = [&](ggml_tensor * t, mata_mode mode, float scale) {
        if (!t) {
            return;
        }
        std::vector<float> a((size_t) n_cols*n_out*p.n_sets, 0.0f);
        for (int32_t set = 0; set < p.n_sets; ++set) {
            for (int32_t r = 0; r < p.n_rows; ++r) {
                const float alpha = p.modes[r] == mode ? scale*p.alpha[(size_t) set*p.n_rows + r] : 0.0f;
                if (alpha == 0.0f) {
                    continue;
                }
                float       * dst = a.data() + ((size_t) set*n_out + row_of(r))*n_cols;
                const float * w   = columns.weight.data() + (size_t) r*n_cols;
                for (int64_t j = 0; j < n_cols; ++j) {
                    dst[j] = alpha*w[j];
                }
            }
        }
        upload(t, a);
    };
    fill_a(in.a_scale, MATA_MODE_SCALE, unit);
    fill_a(in.a_abs,   MATA_MODE_ABS,   unit);
    fill_a(in.a_add,   MATA_MODE_ADD,   unit_add);

    if (!in.mask && !in.mask_f16 && !in.plain_mask) {
        return;
    }

    // llama.cpp fills its masks on the host, before us: inputs are set in the order in which they were created
    GGML_ASSERT(ggml_backend_buffer_is_host(in.stock_mask->buffer));
    std::vector<float> rows((size_t) n_kv*p.n_rows);
    for (int32_t r = 0; r < p.n_rows; ++r) {
        const char * src = (const char *) in.stock_mask->data + p.row_ids[r]*in.stock_mask->nb[1];
        if (in.stock_mask->type == GGML_TYPE_F16) {
            ggml_fp16_to_fp32_row((const ggml_fp16_t *) src, rows.data() + (size_t) r*n_kv, n_kv);
        } else {
            std::memcpy(rows.data() + (size_t) r*n_kv, src, n_kv*sizeof(float));
        }
    }
    upload(in.plain_mask, rows);

    const auto fill_mask = [&](ggml_tensor * t) {
        if (!t) {
            return;
        }
        const int64_t n_slices = ggml_nelements(t)/(n_kv*p.n_rows);
        std::vector<float> m;
        m.reserve((size_t) ggml_nelements(t));
        for (int64_t set = 0; set < n_slices; ++set) {
            m.insert(m.end(), rows.begin(), rows.end());
            for (int32_t r = 0; p.add && r < p.n_rows; ++r) {
                if (p.modes[r] != MATA_MODE_ADD) {
                    continue;
                }
                float       * dst   = m.data() + ((size_t) set*p.n_rows + r)*n_kv;
                const float * w     = columns.weight.data() + (size_t) r*n_cols;
                const float   alpha = p.alpha[(size_t) set*p.n_rows + r];
                for (int64_t j = 0; j < n_cols; ++j) {
                    dst[in.col_0 + j] += std::clamp(alpha*w[j], -MATA_F16_MAX, MATA_F16_MAX);
                }
            }
        }
        upload(t, m);
    };
    fill_mask(in.mask);
    fill_mask(in.mask_f16);
}

// --- read-out ---------------------------------------------------------------------------------------------------

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
