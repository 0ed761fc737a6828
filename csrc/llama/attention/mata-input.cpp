#include "mata-input.h"

#include "llama-hparams.h"
#include "llama-kv-cache.h"

#include "ggml-backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
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

// Flash attention runs on the CPU for certain: accelerators beside it (BLAS) multiply matrices and nothing else.
static bool on_cpu(ggml_backend_sched_t sched) {
    for (int i = 0; i < ggml_backend_sched_get_n_backends(sched); ++i) {
        const auto type = ggml_backend_dev_type(ggml_backend_get_device(ggml_backend_sched_get_backend(sched, i)));
        if (type != GGML_BACKEND_DEVICE_TYPE_CPU && type != GGML_BACKEND_DEVICE_TYPE_ACCEL) {
            return false;
        }
    }
    return true;
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
        in->columns    = flash && !plan->portable && on_cpu(g.sched);
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
        // the mask of all heads, unless that of llama.cpp will do
        const bool portable = flash && per_head && !in->columns;
        const bool own_mask = flash && !portable && (plan->add || !plan->all_rows);
        const int64_t n_masks = plan->add ? n_sets : 1;
        if (own_mask && !in->mask_f16) {
            in->mask_f16 = new_input(g, GGML_TYPE_F16, n_kv, n_rows, 1, n_masks, "mata_mask_f16");
        }
        if (!in->mask && (portable || (flash && reads && plan->add))) {
            in->mask = new_input(g, GGML_TYPE_F32, n_kv, 1, n_rows, n_masks, "mata_mask_f32");
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

    // The portable graph of flash attention builds the term from the raw product, so kq_scale belongs to a. Without flash
    // attention the softmax multiplies everything by kq_scale later: a plain shift has to be divided by it. A soft-cap
    // has had it already.
    const float unit     = in.flash && !in.columns && !soft_cap ? in.kq_scale : 1.0f;
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
