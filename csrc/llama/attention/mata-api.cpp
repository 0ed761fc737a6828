#include "mata.h"
#include "mata-state.h"

#include "llama-context.h"
#include "llama-kv-cache.h"
#include "llama-kv-cells.h"
#include "llama-kv-cache-iswa.h"
#include "llama-memory-hybrid.h"
#include "llama-memory-hybrid-iswa.h"
#include "llama-model.h"

#include <algorithm>
#include <cmath>
#include <exception>

// Not every layer has attention: some are recurrent, and some of Nemotron-H are a feed-forward part alone, which
// is_recr does not count. Falcon-H1's are all recurrent, and have attention beside that.
static bool attends(const llama_model & model, uint32_t il) {
    const auto & hparams = model.hparams;
    return hparams.n_head_kv(il) > 0 && (model.arch == LLM_ARCH_FALCON_H1 || !hparams.is_recr(il));
}

mata_state::mata_state(const llama_context & ctx) {
    const auto & hparams = ctx.get_model().hparams;
    const auto & cparams = ctx.get_cparams();
    n_layer = (int32_t) hparams.n_layer();

    auto * memory = llama_get_memory(&ctx);

    if (auto * kv = dynamic_cast<llama_kv_cache *>(memory)) {
        kv_base = kv;
    } else if (auto * kv = dynamic_cast<llama_kv_cache_iswa *>(memory)) {
        kv_base = kv->get_base();
        kv_swa  = kv->get_swa();
    } else if (auto * kv = dynamic_cast<llama_memory_hybrid *>(memory)) {
        kv_base = kv->get_mem_attn();
    } else if (auto * kv = dynamic_cast<llama_memory_hybrid_iswa *>(memory)) {
        kv_base = kv->get_mem_attn()->get_base();
        kv_swa  = kv->get_mem_attn()->get_swa();
    }

    if (!kv_base) {
        refusal = "MATA needs a model with an ordinary attention cache";
    } else if (kv_base->get_n_stream() != 1) {
        refusal = "MATA needs one KV cache for all sequences (kv_unified)";
    } else if (hparams.is_mla()) {
        refusal = "MATA does not support multi-head latent attention (MLA)";
    } else if (hparams.use_alibi || hparams.f_max_alibi_bias > 0.0f) {
        refusal = "MATA does not support ALiBi position biases";
    } else if (cparams.pooling_type != LLAMA_POOLING_TYPE_NONE && cparams.embeddings) {
        refusal = "MATA needs a model that predicts tokens, not one that pools embeddings";
    }
}

static mata_state * state_of(const llama_context * ctx) {
    if (!ctx->mata) {
        // made at first use: a context that never asks for MATA stays stock
        auto * mut = const_cast<llama_context *>(ctx);
        mut->mata = std::make_shared<mata_state>(*ctx);
    }
    return ctx->mata.get();
}

const char * mata_refusal(const llama_context * ctx) {
    try {
        return state_of(ctx)->refusal;
    } catch (const std::exception &) {
        return "out of memory";
    }
}

static bool refuse(mata_state & state, const std::string & reason) {
    state.error = reason;
    return false;
}

static bool set(llama_context * ctx, llama_seq_id seq_id, mata_mode mode,
        const float * alpha, int32_t n_layer, const mata_span * spans, int32_t n_spans) {
    mata_state & state = *state_of(ctx);
    state.error.clear();

    if (state.refusal) {
        return refuse(state, state.refusal);
    }
    if (mode != MATA_MODE_SCALE && mode != MATA_MODE_ABS && mode != MATA_MODE_ADD) {
        return refuse(state, "unknown mode " + std::to_string((int) mode));
    }
    if (seq_id < 0 || seq_id >= (llama_seq_id) ctx->get_cparams().n_seq_max) {
        return refuse(state, "sequence " + std::to_string(seq_id) + " is out of range");
    }
    if (n_layer != state.n_layer || !alpha) {
        return refuse(state, "alpha has " + std::to_string(n_layer) + " values, the model " + std::to_string(state.n_layer) + " layers");
    }
    for (int32_t il = 0; il < n_layer; ++il) {
        if (!std::isfinite(alpha[il]) || std::fabs(alpha[il]) > 1e4f) {
            return refuse(state, "alpha of layer " + std::to_string(il) + " is not a number between -1e4 and 1e4");
        }
        if (alpha[il] != 0.0f && mata_layer_heads(&ctx->get_model(), il) == 0) {
            return refuse(state, "layer " + std::to_string(il) + " has no attention to boost");
        }
    }
    mata_setting setting;
    setting.mode  = mode;
    setting.alpha.assign(alpha, alpha + n_layer);
    for (int32_t i = 0; i < n_spans; ++i) {
        if (spans[i].p0 < 0 || spans[i].p1 < spans[i].p0 || !(std::fabs(spans[i].weight) <= 1e4f)) {
            return refuse(state, "span " + std::to_string(i) + " is not 0 <= start <= end with a weight between -1e4 and 1e4");
        }
        setting.spans.push_back(spans[i]);
    }
    const bool effective =
        std::any_of(setting.alpha.begin(), setting.alpha.end(), [](float a) { return a != 0.0f; }) &&
        std::any_of(setting.spans.begin(), setting.spans.end(), [](const mata_span & s) { return s.p1 > s.p0 && s.weight != 0.0f; });
    if (effective) {
        state.settings[seq_id] = std::move(setting);
    } else {
        state.settings.erase(seq_id);
    }
    return true;
}

bool mata_set(llama_context * ctx, llama_seq_id seq_id, mata_mode mode,
        const float * alpha, int32_t n_layer, const mata_span * spans, int32_t n_spans) {
    try {
        return set(ctx, seq_id, mode, alpha, n_layer, spans, n_spans);
    } catch (const std::exception &) {
        return false;
    }
}

void mata_clear(llama_context * ctx, llama_seq_id seq_id) {
    if (ctx->mata) {
        ctx->mata->settings.erase(seq_id);
    }
}

const char * mata_error(const llama_context * ctx) {
    return ctx->mata ? ctx->mata->error.c_str() : "";
}

void mata_clear_error(llama_context * ctx) {
    if (ctx->mata) {
        ctx->mata->error.clear();
    }
}

int32_t mata_layer_heads(const llama_model * model, int32_t layer) {
    const auto & hparams = model->hparams;
    const bool exists = layer >= 0 && layer < (int32_t) hparams.n_layer();
    return exists && attends(*model, layer) ? (int32_t) hparams.n_head(layer) : 0;
}

size_t mata_kv_bytes_per_position(const llama_model * model, ggml_type type_k, ggml_type type_v) {
    const auto & hparams = model->hparams;
    size_t n_bytes = 0;
    for (uint32_t il = 0; il < hparams.n_layer(); ++il) {
        if (attends(*model, il) && hparams.has_kv(il)) {
            n_bytes += ggml_row_size(type_k, hparams.n_embd_k_gqa(il));
            n_bytes += hparams.is_mla() ? 0 : ggml_row_size(type_v, hparams.n_embd_v_gqa(il));
        }
    }
    return n_bytes;
}

static bool take_layers(llama_context * ctx, mata_readout & readout, const int32_t * layers, int32_t n_layers) {
    mata_state & state = *state_of(ctx);
    if (state.refusal) {
        return refuse(state, state.refusal);
    }
    for (int32_t i = 0; i < n_layers; ++i) {
        if (mata_layer_heads(&ctx->get_model(), layers[i]) == 0) {
            return refuse(state, "layer " + std::to_string(layers[i]) + " has no attention to read");
        }
        readout.layers.insert(layers[i]);
    }
    return true;
}

bool mata_readout_set(llama_context * ctx, llama_seq_id seq_id, const int32_t * layers, int32_t n_layers) {
    try {
        mata_state & state = *state_of(ctx);
        state.error.clear();
        if (n_layers <= 0) {
            state.readouts.erase(seq_id);
            return true;
        }
        mata_readout readout;
        if (!take_layers(ctx, readout, layers, n_layers)) {
            return false;
        }
        state.readouts[seq_id] = std::move(readout);
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

static constexpr int32_t MAX_GROUPS = 64;

bool mata_readout_set_sums(llama_context * ctx, llama_seq_id seq_id, const int32_t * layers, int32_t n_layers,
        const mata_group * groups, int32_t n_groups, const int32_t * time_layers, int32_t n_time_layers) {
    try {
        mata_state & state = *state_of(ctx);
        state.error.clear();
        if (n_layers <= 0 || n_groups <= 0) {
            return refuse(state, "sums of attention need at least one layer and one group of positions");
        }
        mata_readout readout;
        readout.summed = true;
        if (!take_layers(ctx, readout, layers, n_layers)) {
            return false;
        }
        const auto & hparams = ctx->get_model().hparams;
        readout.n_head = (int32_t) hparams.n_head(*readout.layers.begin());
        for (const int32_t il : readout.layers) {
            if ((int32_t) hparams.n_head(il) != readout.n_head) {
                return refuse(state, "layers " + std::to_string(*readout.layers.begin()) + " and " + std::to_string(il) +
                    " have different numbers of heads: read them apart");
            }
        }
        for (int32_t i = 0; i < n_time_layers; ++i) {
            if (!readout.layers.count(time_layers[i])) {
                return refuse(state, "layer " + std::to_string(time_layers[i]) + " is not among the layers that are read");
            }
            readout.time_layers.insert(time_layers[i]);
        }
        int64_t n_time = 0;
        for (int32_t i = 0; i < n_groups; ++i) {
            const mata_group & g = groups[i];
            if (g.p0 < 0 || g.p1 < g.p0 || g.group < 0 || g.group >= MAX_GROUPS) {
                return refuse(state, "group " + std::to_string(i) + " is not 0 <= start <= end with a number below " + std::to_string(MAX_GROUPS));
            }
            n_time += g.group == 0 ? (int64_t) g.p1 - g.p0 : 0;
            readout.n_groups = std::max(readout.n_groups, g.group + 1);
            readout.groups.push_back(g);
        }
        if (n_time > (int64_t) ctx->get_cparams().n_ctx) {
            return refuse(state, "group 0 has more positions than the context");
        }
        readout.n_time = (int32_t) n_time;
        state.readouts[seq_id] = std::move(readout);
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

static const mata_readout * readout_of(const llama_context * ctx, llama_seq_id seq_id) {
    if (!ctx->mata) {
        return nullptr;
    }
    const auto it = ctx->mata->readouts.find(seq_id);
    return it == ctx->mata->readouts.end() ? nullptr : &it->second;
}

int32_t mata_readout_n_rows(const llama_context * ctx, llama_seq_id seq_id) {
    const auto * readout = readout_of(ctx, seq_id);
    return readout ? (int32_t) readout->rows.size() : 0;
}

void mata_readout_drop(llama_context * ctx, llama_seq_id seq_id) {
    if (readout_of(ctx, seq_id)) {
        ctx->mata->readouts[seq_id].rows.clear();
    }
}

static const mata_row * row_at(const llama_context * ctx, llama_seq_id seq_id, int32_t row) {
    const auto * readout = readout_of(ctx, seq_id);
    if (!readout || row < 0 || row >= (int32_t) readout->rows.size()) {
        return nullptr;
    }
    return &readout->rows[row];
}

int32_t mata_readout_n_cols(const llama_context * ctx, llama_seq_id seq_id, int32_t row) {
    const auto * found = row_at(ctx, seq_id, row);
    return found ? found->n_cols : 0;
}

bool mata_readout_get(const llama_context * ctx, llama_seq_id seq_id, int32_t row, int32_t layer, bool after, float * dst, int32_t n_dst) {
    const auto * found = row_at(ctx, seq_id, row);
    if (!found) {
        return false;
    }
    // a layer that was not boosted has the same weights before and after
    const auto & from = after && found->after.count(layer) ? found->after : found->before;
    const auto it = from.find(layer);
    if (it == from.end() || (int32_t) it->second.size() != n_dst) {
        return false;
    }
    std::copy(it->second.begin(), it->second.end(), dst);
    return true;
}

bool mata_readout_get_sums(const llama_context * ctx, llama_seq_id seq_id, int32_t row, bool after,
        float * sums, size_t n_sums, float * time, size_t n_time) {
    const auto * found = row_at(ctx, seq_id, row);
    if (!found || found->sums[after].size() != n_sums || found->time[after].size() != n_time) {
        return false;
    }
    std::copy(found->sums[after].begin(), found->sums[after].end(), sums);
    std::copy(found->time[after].begin(), found->time[after].end(), time);
    return true;
}

const char * mata_graph_op(const llama_context * ctx, int32_t i) {
    if (!ctx->mata || i < 0 || i >= (int32_t) ctx->mata->ops.size()) {
        return nullptr;
    }
    return std::next(ctx->mata->ops.begin(), i)->c_str();
}

bool mata_use_portable_graph(llama_context * ctx, bool portable) {
    try {
        state_of(ctx)->portable = portable;
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

int64_t mata_n_builds(const llama_context * ctx) {
    return ctx->mata ? ctx->mata->n_builds : 0;
}

bool mata_flash_attn_enabled(const llama_context * ctx) {
    return ctx->get_cparams().flash_attn;
}

int32_t mata_kv_used(const llama_context * ctx) {
    try {
        const auto * kv = state_of(ctx)->kv_base;
        return kv ? (int32_t) kv->get_cells(0).get_used() : 0;
    } catch (const std::exception &) {
        return 0;
    }
}

const char * mata_model_problem(const llama_model * model) {
    const auto & hparams = model->hparams;
    const auto rope_type = llama_model_rope_type(model);
    if (rope_type == LLAMA_ROPE_TYPE_NONE) {
        return nullptr;
    }
    for (uint32_t il = 0; il < hparams.n_layer(); ++il) {
        if (!attends(*model, il)) {
            continue;
        }
        const uint32_t n_rot = hparams.n_rot(il);
        if (n_rot%2 != 0 || n_rot > hparams.n_embd_head_k(il)) {
            return "its rotary dimension is odd, or larger than a head";
        }
        if (rope_type == LLAMA_ROPE_TYPE_MROPE || rope_type == LLAMA_ROPE_TYPE_IMROPE) {
            int64_t sum = 0;
            for (const int section : hparams.rope_sections) {
                if (section < 0) {
                    return "a section of its rotary dimensions is negative";
                }
                sum += section;
            }
            if (sum == 0 || sum > n_rot/2) {
                return "the sections of its rotary dimensions are empty, or do not fit a head";
            }
        }
    }
    return nullptr;
}
