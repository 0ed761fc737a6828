// See mata.h for the formula. Both branches of attention add the same term
//
//     b_hij = a_ij * f(s_hij),   f(s) = s (scale), |s| (abs), 1 (add),   a_ij = alpha * weight, 0 off the audio
//
// to the scores of the predicting rows. With single-step attention the scores are a tensor, and the term goes
// there. Flash attention has no such tensor. On the CPU it takes a_ij as an operand (0003-cpu-flash-attn-columns.patch).
// Elsewhere the term goes into the F16 mask that it adds to its scores; a mask per head is not supported by every
// backend, so the query heads that share a KV head become rows, and the KV heads the outermost dimension, where every
// backend takes a mask of its own:
//
//     q [d, n_rows, H]  ->  [d, G*n_rows, 1, H_kv],  K [d, n_kv, H_kv]  ->  [d, n_kv, 1, H_kv],  G = H/H_kv
//
// Inputs hold one slice per distinct alpha vector (mata_plan::n_sets), so that layers share them.

#include "mata-input.h"

#include "llama-graph.h"

#include <algorithm>
#include <string>
#include <utility>

// Names and records a node, so that a test can hold its operator to the tables of the backends.
static ggml_tensor * node(const llm_graph_context & g, ggml_tensor * t, const char * name, int il) {
    g.cb(t, name, il);
    if (t->op != GGML_OP_VIEW && t->op != GGML_OP_RESHAPE && t->op != GGML_OP_PERMUTE) {
        std::string desc = ggml_op_desc(t);
        for (int i = 0; i < 3 && t->src[i]; ++i) {
            desc += i == 0 ? " " : ",";
            desc += ggml_type_name(t->src[i]->type);
        }
        desc += std::string(" -> ") + ggml_type_name(t->type);
        g.mata->state->ops.insert(desc);
    }
    return t;
}

// One alpha set of an input whose dimension 3 counts the sets.
// With one set there is no view: the scheduler copies an input to a device once, but every view of it once more.
static ggml_tensor * slice(const llm_graph_context & g, ggml_tensor * t, int32_t set) {
    if (t->ne[3] == 1) {
        return t;
    }
    return ggml_view_4d(g.ctx0, t, t->ne[0], t->ne[1], t->ne[2], 1, t->nb[1], t->nb[2], t->nb[3], set*t->nb[3]);
}

// a*f(s) for scores s [n_cols, ...]; null when the plan has neither scale nor abs. The slices broadcast over heads.
static ggml_tensor * term_of(const llm_graph_context & g, ggml_tensor * s, const mata_inputs & in, int32_t set, int il) {
    ggml_tensor * term = nullptr;
    if (in.a_scale) {
        term = node(g, ggml_mul(g.ctx0, s, slice(g, in.a_scale, set)), "mata_scale", il);
    }
    if (in.a_abs) {
        ggml_tensor * t = node(g, ggml_abs(g.ctx0, s), "mata_abs", il);
        t    = node(g, ggml_mul(g.ctx0, t, slice(g, in.a_abs, set)), "mata_abs_scaled", il);
        term = term ? node(g, ggml_add(g.ctx0, term, t), "mata_term", il) : t;
    }
    return term;
}

// What neither branch can do. kq_b, MLA and top-k attention do not occur in models with audio.
static bool refused(const llm_graph_context & g, bool plain, int il) {
    if (!plain) {
        g.mata->state->fail("layer " + std::to_string(il) + " uses a kind of attention (bias, MLA or top-k) that MATA does not support");
    }
    return !plain;
}

static bool wanted(const llm_graph_context & g, int il) {
    return g.mata && il >= 0 && il < (int) g.mata->set_of.size() && (g.mata->boosts(il) || g.mata->reads(il));
}

// --- flash attention --------------------------------------------------------------------------------------------

// Query rows that predict, [d, H, n_rows].
static ggml_tensor * predicting_rows(const llm_graph_context & g, llm_graph_input_mata * inp, ggml_tensor * q, int il) {
    q = ggml_permute(g.ctx0, q, 0, 2, 1, 3);
    const int64_t d = q->ne[0];
    const int64_t H = q->ne[1];

    const bool dense_heads = q->nb[1] == d*ggml_element_size(q);
    if (g.mata->all_rows) {
        return dense_heads && ggml_is_contiguous(q) ? q : node(g, ggml_cont(g.ctx0, q), "mata_q", il);
    }
    if (!dense_heads) {
        q = node(g, ggml_cont(g.ctx0, q), "mata_q", il);
    }
    q = ggml_view_2d(g.ctx0, q, d*H, q->ne[2], q->nb[2], 0);
    q = node(g, ggml_get_rows(g.ctx0, q, inp->row_ids(g)), "mata_q_rows", il);
    return ggml_reshape_3d(g.ctx0, q, d, H, g.mata->n_rows);
}

// [d, H, n_rows] -> [d, G*n_rows, H_kv]: the heads of a group are the rows.
static ggml_tensor * group_heads(const llm_graph_context & g, ggml_tensor * q, int64_t H_kv, int il) {
    const int64_t d = q->ne[0];
    const int64_t G = q->ne[1]/H_kv;
    const int64_t n = q->ne[2];
    if (n > 1) {
        q = ggml_reshape_4d(g.ctx0, q, d, G, H_kv, n);
        q = node(g, ggml_cont(g.ctx0, ggml_permute(g.ctx0, q, 0, 1, 3, 2)), "mata_q_grouped", il);
    }
    return ggml_reshape_3d(g.ctx0, q, d, G*n, H_kv);
}

// Inverse, for the result of flash attention [d, 1, G*n_rows, H_kv] -> [d*H, n_rows].
static ggml_tensor * ungroup_heads(const llm_graph_context & g, ggml_tensor * o, int64_t n, int il) {
    const int64_t d    = o->ne[0];
    const int64_t G    = o->ne[2]/n;
    const int64_t H_kv = o->ne[3];
    if (n > 1) {
        o = ggml_reshape_4d(g.ctx0, o, d, G, n, H_kv);
        o = node(g, ggml_cont(g.ctx0, ggml_permute(g.ctx0, o, 0, 1, 3, 2)), "mata_out_grouped", il);
    }
    return ggml_reshape_2d(g.ctx0, o, d*G*H_kv, n);
}

// Scores s [n_cols, G, n_rows, H_kv] of the cells from col_0 on, before kq_scale unless there is a soft-cap.
static ggml_tensor * scores(const llm_graph_context & g, ggml_tensor * k, ggml_tensor * qg, int64_t col_0, int64_t n_cols,
        int64_t n_rows, float kq_scale, int il) {
    ggml_tensor * kc = ggml_view_3d(g.ctx0, k, k->ne[0], n_cols, k->ne[2], k->nb[1], k->nb[2], col_0*k->nb[1]);
    ggml_tensor * s  = node(g, ggml_mul_mat(g.ctx0, kc, qg), "mata_kq", il);
    ggml_prec_set_acc(s, GGML_PREC_F32);
    if (g.hparams.attn_soft_cap) {
        const float cap = g.hparams.f_attn_logit_softcapping;
        s = node(g, ggml_scale(g.ctx0, s, kq_scale/cap), "mata_kq_scaled", il);
        s = node(g, ggml_tanh (g.ctx0, s),               "mata_kq_tanh",   il);
        s = node(g, ggml_scale(g.ctx0, s, cap),          "mata_kq_capped", il);
    }
    return ggml_reshape_4d(g.ctx0, s, n_cols, qg->ne[1]/n_rows, n_rows, qg->ne[2]);
}

// The mask of a set for every head, [n_kv, G*n_rows, H_kv]: made once, read by all layers of the group.
static ggml_tensor * mask_of_heads(const llm_graph_context & g, mata_inputs & in, const ggml_tensor * qg, int64_t n_rows, int32_t set, int il) {
    set = in.mask->ne[3] > 1 ? set : 0;
    in.mask_of_heads.resize(in.mask->ne[3], nullptr);
    ggml_tensor * & m = in.mask_of_heads[set];
    if (!m || m->ne[1] != qg->ne[1] || m->ne[2] != qg->ne[2]) {
        m = node(g, ggml_repeat_4d(g.ctx0, slice(g, in.mask, set), in.mask->ne[0], qg->ne[1]/n_rows, n_rows, qg->ne[2]), "mata_mask_of_heads", il);
        m = ggml_reshape_3d(g.ctx0, m, m->ne[0], qg->ne[1], qg->ne[2]);
    }
    return m;
}

// The F32 term plus mask, [n_kv, G*n_rows, H_kv].
static ggml_tensor * masked_term(const llm_graph_context & g, mata_inputs & in, ggml_tensor * k, ggml_tensor * qg,
        int64_t n_rows, int32_t set, float kq_scale, int il) {
    ggml_tensor * b = term_of(g, scores(g, k, qg, in.col_0, in.n_cols, n_rows, kq_scale, il), in, set, il);
    if (g.mata->clamp) {
        b = node(g, ggml_clamp(g.ctx0, b, -MATA_F16_MAX, MATA_F16_MAX), "mata_term_clamped", il);
    }
    b = ggml_reshape_3d(g.ctx0, b, b->ne[0], qg->ne[1], qg->ne[2]);
    ggml_tensor * m = mask_of_heads(g, in, qg, n_rows, set, il);
    if (b->ne[0] == m->ne[0]) {
        return node(g, ggml_add(g.ctx0, m, b), "mata_bias", il);
    }
    return node(g, ggml_acc(g.ctx0, m, b, m->nb[1], m->nb[2], m->nb[3], in.col_0*ggml_element_size(m)), "mata_bias", il);
}

static ggml_tensor * flash(const llm_graph_context & g, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v,
        ggml_tensor * mask, ggml_tensor * sinks, float kq_scale, int il) {
    ggml_tensor * o = ggml_flash_attn_ext(g.ctx0, q, k, v, mask, kq_scale, 0.0f,
            g.hparams.attn_soft_cap ? g.hparams.f_attn_logit_softcapping : 0.0f);
    ggml_flash_attn_ext_add_sinks(o, sinks);
    ggml_prec_set_acc(o, GGML_PREC_F32);
    return node(g, o, "mata_fattn", il);
}

static void keep(const llm_graph_context & g, llm_graph_input_mata * inp, ggml_tensor * t, bool after, bool grouped, int il) {
    ggml_set_output(t);
    ggml_build_forward_expand(g.gf, t);
    inp->kept.push_back({ il, after, g.mata->state->kv_swa && g.hparams.is_swa(il), grouped, t });
}

// The scores with the term on the audio columns, where flash attention takes the factors itself.
static ggml_tensor * boosted_scores(const llm_graph_context & g, const mata_inputs & in, ggml_tensor * s, int32_t set, int il) {
    const size_t offset = in.col_0*ggml_element_size(s);
    ggml_tensor * cols = ggml_view_4d(g.ctx0, s, in.n_cols, s->ne[1], s->ne[2], s->ne[3], s->nb[1], s->nb[2], s->nb[3], offset);
    ggml_tensor * term = term_of(g, node(g, ggml_cont(g.ctx0, cols), "mata_block", il), in, set, il);
    return node(g, ggml_acc(g.ctx0, s, term, s->nb[1], s->nb[2], s->nb[3], offset), "mata_boosted", il);
}

// Read-out beside flash attention: the scores of all cells once more, in F32. bias: the term plus mask of the portable
// graph; without it the layer is boosted by factors, or not at all.
static void read_flash(const llm_graph_context & g, llm_graph_input_mata * inp, const mata_inputs & in, ggml_tensor * k,
        ggml_tensor * qg, ggml_tensor * bias, bool boosts, int32_t set, int64_t n_rows, float kq_scale, int il) {
    const auto kept = [&](ggml_tensor * w, bool after) {
        keep(g, inp, node(g, w, after ? "mata_weights_after" : "mata_weights_before", il), after, n_rows > 1, il);
    };
    ggml_tensor * s    = scores(g, k, qg, 0, k->ne[1], n_rows, kq_scale, il);
    ggml_tensor * mask = boosts && in.mask ? slice(g, in.mask, set) : in.plain_mask; // plain shifts included

    if (n_rows == 1) {
        // one operator for scale, mask and softmax; with several rows its mask would have to be repeated per head
        const float scale = g.hparams.attn_soft_cap ? 1.0f : kq_scale;
        s = ggml_reshape_3d(g.ctx0, s, s->ne[0], 1, s->ne[1]*s->ne[3]);
        kept(ggml_soft_max_ext(g.ctx0, s, in.plain_mask, scale, 0.0f), false);
        if (bias) {
            bias = ggml_reshape_3d(g.ctx0, bias, bias->ne[0], 1, ggml_nelements(bias)/bias->ne[0]);
            kept(ggml_soft_max_ext(g.ctx0, s, bias, scale, 0.0f), true);
        } else if (boosts) {
            s = scale == 1.0f ? s : node(g, ggml_scale(g.ctx0, s, scale), "mata_kq_scaled", il);
            kept(ggml_soft_max_ext(g.ctx0, boosted_scores(g, in, s, set, il), mask, 1.0f, 0.0f), true);
        }
        return;
    }
    if (!g.hparams.attn_soft_cap) {
        s = node(g, ggml_scale(g.ctx0, s, kq_scale), "mata_kq_scaled", il);
    }
    kept(ggml_soft_max(g.ctx0, node(g, ggml_add(g.ctx0, s, in.plain_mask), "mata_before", il)), false);
    if (bias) {
        if (ggml_nelements(bias) == ggml_nelements(s)) {
            bias = ggml_reshape_4d(g.ctx0, bias, s->ne[0], s->ne[1], s->ne[2], s->ne[3]);
        }
        kept(ggml_soft_max(g.ctx0, node(g, ggml_add(g.ctx0, s, bias), "mata_after", il)), true);
    } else if (boosts) {
        s = boosted_scores(g, in, s, set, il);
        kept(ggml_soft_max(g.ctx0, node(g, ggml_add(g.ctx0, s, mask), "mata_after", il)), true);
    }
}

// The stock call for the predicting rows, with the factors that flash attention on the CPU takes for the audio columns.
static ggml_tensor * flash_columns(const llm_graph_context & g, const mata_inputs & in, ggml_tensor * qr, ggml_tensor * k,
        ggml_tensor * v, ggml_tensor * mask, ggml_tensor * sinks, int32_t set, float kq_scale, int il) {
    if (in.mask_f16) {
        mask = slice(g, in.mask_f16, set);
    }
    ggml_tensor * o = flash(g, ggml_permute(g.ctx0, qr, 0, 2, 1, 3), k, v, mask, sinks, kq_scale, il);
    o->src[5] = in.a_scale ? slice(g, in.a_scale, set) : nullptr;
    o->src[6] = in.a_abs   ? slice(g, in.a_abs,   set) : nullptr;
    o->op_params[5] = in.col_0;
    return ggml_reshape_2d(g.ctx0, o, o->ne[0]*o->ne[1], o->ne[2]);
}

ggml_tensor * mata_flash_attn(const llm_graph_context & g, ggml_tensor * stock,
        ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask,
        ggml_tensor * sinks, bool plain, float kq_scale, int il) {
    if (!wanted(g, il) || refused(g, plain, il)) {
        return stock;
    }
    const mata_plan & plan = *g.mata;

    auto * inp = llm_graph_input_mata::of(g);
    mata_inputs & in = inp->inputs(g, mask, kq_scale, true, il);
    const bool boosts = plan.boosts(il) && in.n_cols > 0;
    const bool reads  = plan.reads(il);
    if (!boosts && !reads) {
        return stock;
    }
    const bool per_head = boosts && (plan.scale || plan.abs);
    if (sinks && ((per_head && !in.columns) || reads)) {
        plan.state->fail(reads
            ? "attention cannot be read beside attention sinks with flash attention: turn flash attention off"
            : "attention sinks with flash attention: turn flash attention off, or use mode \"add\"");
        return stock;
    }

    const int64_t H_kv = k->ne[2];
    const int64_t n    = plan.n_rows;
    const int32_t set  = plan.set_of[il];

    ggml_tensor * qr = predicting_rows(g, inp, q, il);
    ggml_tensor * qg = (per_head && !in.columns) || reads ? group_heads(g, qr, H_kv, il) : nullptr;
    ggml_tensor * bias = nullptr;
    ggml_tensor * o    = nullptr;

    if (per_head && in.columns) {
        o = flash_columns(g, in, qr, k, v, mask, sinks, set, kq_scale, il);
    } else if (per_head) {
        bias = masked_term(g, in, k, qg, n, set, kq_scale, il);
        ggml_tensor * m = node(g, ggml_cast(g.ctx0, bias, GGML_TYPE_F16), "mata_mask", il);
        m = ggml_reshape_4d(g.ctx0, m, m->ne[0], qg->ne[1], 1, H_kv);
        o = flash(g, ggml_reshape_4d(g.ctx0, qg, qg->ne[0], qg->ne[1], 1, H_kv),
                ggml_view_4d(g.ctx0, k, k->ne[0], k->ne[1], 1, H_kv, k->nb[1], k->nb[2], k->nb[2], 0),
                ggml_view_4d(g.ctx0, v, v->ne[0], v->ne[1], 1, H_kv, v->nb[1], v->nb[2], v->nb[2], 0),
                m, nullptr, kq_scale, il);
        o = ungroup_heads(g, o, n, il);
    } else if (boosts) {
        // a plain shift is the same for every head: the stock call with another mask
        ggml_tensor * m = slice(g, in.mask_f16, set);
        o = flash(g, ggml_permute(g.ctx0, qr, 0, 2, 1, 3), k, v, m, sinks, kq_scale, il);
        o = ggml_reshape_2d(g.ctx0, o, o->ne[0]*o->ne[1], n);
        if (reads) {
            bias = slice(g, in.mask, set);
        }
    }
    if (reads) {
        read_flash(g, inp, in, k, qg, bias, boosts, set, n, kq_scale, il);
    }
    if (!boosts) {
        return stock;
    }
    if (!plan.all_rows) {
        ggml_tensor * all = ggml_reshape_2d(g.ctx0, stock, stock->ne[0]*stock->ne[1], stock->ne[2]);
        o = node(g, ggml_set_rows(g.ctx0, all, o, inp->row_ids64(g)), "mata_out", il);
    }
    return ggml_reshape_4d(g.ctx0, o, stock->ne[0], stock->ne[1], stock->ne[2], stock->ne[3]);
}

// --- single steps -----------------------------------------------------------------------------------------------

ggml_tensor * mata_scores(const llm_graph_context & g, ggml_tensor * kq, ggml_tensor * mask, bool plain, float kq_scale, int il) {
    if (!wanted(g, il) || refused(g, plain, il)) {
        return kq;
    }
    const mata_plan & plan = *g.mata;
    auto * inp = llm_graph_input_mata::of(g);
    const mata_inputs & in = inp->inputs(g, mask, kq_scale, false, il);

    const int64_t n_range = plan.row_1 - plan.row_0;
    const size_t  rows_at = plan.row_0*kq->nb[1];

    if (plan.reads(il)) {
        ggml_tensor * rows = ggml_view_3d(g.ctx0, kq, kq->ne[0], n_range, kq->ne[2], kq->nb[1], kq->nb[2], rows_at);
        ggml_tensor * m    = ggml_view_2d(g.ctx0, mask, mask->ne[0], n_range, mask->nb[1], plan.row_0*mask->nb[1]);
        rows = node(g, ggml_cont(g.ctx0, rows), "mata_rows", il);
        keep(g, inp, node(g, ggml_soft_max_ext(g.ctx0, rows, m, kq_scale, 0.0f), "mata_weights_before", il), false, false, il);
    }
    if (!plan.boosts(il) || in.n_cols == 0) {
        return kq;
    }

    // The block of predicting rows x audio columns; rows between them that do not predict get a = 0. It goes back into
    // kq by an operator whose result is kq as a whole: the allocator then knows when kq is no longer needed.
    const int32_t set    = plan.set_of[il];
    const size_t  offset = rows_at + in.col_0*ggml_element_size(kq);
    ggml_tensor * s = ggml_view_3d(g.ctx0, kq, in.n_cols, n_range, kq->ne[2], kq->nb[1], kq->nb[2], offset);

    if (in.a_scale || in.a_abs) {
        ggml_tensor * block = in.a_abs ? node(g, ggml_cont(g.ctx0, s), "mata_block", il) : s;
        ggml_tensor * term  = term_of(g, block, in, set, il);
        if (in.a_add) {
            term = node(g, ggml_add(g.ctx0, term, slice(g, in.a_add, set)), "mata_term_shifted", il);
        }
        return node(g, ggml_acc_inplace(g.ctx0, kq, term, kq->nb[1], kq->nb[2], kq->nb[3], offset), "mata_boosted", il);
    }
    s = node(g, ggml_add(g.ctx0, s, slice(g, in.a_add, set)), "mata_shifted", il);
    return node(g, ggml_set_inplace(g.ctx0, kq, s, kq->nb[1], kq->nb[2], kq->nb[3], offset), "mata_boosted", il);
}

void mata_weights(const llm_graph_context & g, ggml_tensor * kq, int il) {
    if (!wanted(g, il) || !g.mata->reads(il) || !g.mata->boosts(il)) {
        return;
    }
    const mata_plan & plan = *g.mata;
    ggml_tensor * rows = ggml_view_3d(g.ctx0, kq, kq->ne[0], plan.row_1 - plan.row_0, kq->ne[2],
            kq->nb[1], kq->nb[2], plan.row_0*kq->nb[1]);
    keep(g, llm_graph_input_mata::of(g), node(g, ggml_cont(g.ctx0, rows), "mata_weights_after", il), true, false, il);
}

void ggml_backend_sched_plan_anew(ggml_backend_sched_t sched); // 0007-sched-plans-anew.patch

bool mata_before_alloc(mata_state * state, const mata_plan_ptr & plan, ggml_backend_sched_t sched) {
    if (!state) {
        return true;
    }
    if (plan) {
        state->n_builds++;
        if (!state->error.empty()) {
            return false;
        }
    }
    const mata_plan_ptr last = std::exchange(state->allocated, plan);
    const bool same = last && plan ? last->same_topology(*plan) : last == plan;
    if (!same) {
        ggml_backend_sched_plan_anew(sched);
    }
    return true;
}
