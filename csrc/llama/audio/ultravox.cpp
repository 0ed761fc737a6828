// Ultravox.
//   L = ceil(n/160), at least 2; mirrored at both ends, no padding; rows stacked by 8 (in general by the GGUF's stack
//   factor), the last stack filled up with zeros. Longer than 30 s: blocks of 3000 frames; a block after the first is
//   filled up with 0.0 frames, which are no keys, but which are rows of its last stack.
//   With an event network (no part of the reference), 64 rows of its features lie behind those of Whisper.

#include "events/events.h"
#include "mel.h"
#include "whisper.h"

#include <algorithm>
#include <optional>

namespace mata_audio {

namespace {

class features : public whisper_features {
    const int                          stack;
    std::optional<mata_event_features> events;

  public:
    explicit features(const clip_ctx * ctx) : whisper_features(ctx), stack(stack_of(ctx)) {}

    void initialize() override {
        whisper_features::initialize();
        if (hparams.audio_event_bands > 0) {
            events.emplace();
        }
    }

  protected:
    void hear(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const override {
        const int64_t valid = std::max<int64_t>(2, frames_up(n));
        spectrogram   mel   = log_mel(samples, n, valid * HOP, valid);
        mel.normalize();
        if (events) {
            mel.append((*events)(samples, n, valid));
        }
        for (int64_t begin = 0; begin < valid; begin += WINDOW_FRAMES) {
            const int64_t n_frames = std::min<int64_t>(valid - begin, WINDOW_FRAMES);
            int64_t       n_len    = n_frames;
            if (begin > 0) {
                // whole stacks of rows, as far as the reference's padding goes
                const int64_t n_rows = divide_up(halve((int) n_frames), stack) * (int64_t) stack;
                n_len                = std::max(n_len, std::min<int64_t>(2 * n_rows, WINDOW_FRAMES));
            }
            output.push_back(mel.cut(begin, n_frames, n_len, n_frames));
        }
    }

    int tokens_of(const mtmd_audio_mel & chunk) const override { return divide_up(halve((int) chunk.n_valid), stack); }
};

struct graph : whisper_graph {
    const int stack;

    graph(clip_ctx * ctx, const clip_image_f32 & frames) : whisper_graph(ctx, frames), stack(stack_of(ctx)) {}

    int n_rows() const override { return halve(n_frames); }

    void check_projection() const override {
        const int64_t n_in = (int64_t) n_embd * stack;
        require(model.mm_1_w && model.mm_2_w, "the projection");
        const int64_t n_mid = model.mm_1_w->ne[1];
        require(is_matrix(model.mm_1_w, n_in, n_mid), "the projection");
        require(n_mid > 0 && n_mid % 2 == 0 && is_matrix(model.mm_2_w, n_mid / 2, model.mm_2_w->ne[1]) &&
                is_row(model.mm_norm_pre_w, n_in) && is_row(model.mm_norm_mid_w, n_mid / 2), "the projection");
        if (model.audio_events) {
            model.audio_events->check(n_mid, model.mm_2_w->ne[1]);
        }
    }

    ggml_tensor * project(ggml_tensor * x, ggml_tensor * frames) override {
        const int     n_tokens = divide_up(n_keys(), stack);
        ggml_tensor * events   = nullptr;
        if (model.audio_events) {
            events = ggml_view_2d(ctx0, frames, frames->ne[0], hparams.audio_event_bands, frames->nb[1],
                                  hparams.n_mel_bins * frames->nb[1]);
            events = model.audio_events->rows(ctx0, events);
            cb(events, "events_rows", -1);
        }
        auto add_events = [&](ggml_tensor * cur, ggml_tensor * rows, const char * name) {
            rows = mata_audio_events::at_tokens(ctx0, rows, n_tokens, stack);
            cb(rows, name, -1);
            return ggml_add(ctx0, cur, rows);
        };
        x = build_stack(x, stack, n_embd);
        x = build_norm(x, model.mm_norm_pre_w, nullptr, NORM_TYPE_RMS, 1e-6f, -1);
        x = build_mm(model.mm_1_w, x);
        if (events) {
            x = add_events(x, model.audio_events->middle(ctx0, events), "events_middle");
        }
        x = ggml_swiglu_swapped(ctx0, x); // silu on the second half
        x = build_norm(x, model.mm_norm_mid_w, nullptr, NORM_TYPE_RMS, 1e-6f, -1);
        x = build_mm(model.mm_2_w, x);
        return events ? add_events(x, model.audio_events->names(ctx0, events), "events_names") : x;
    }
};

bool is(const clip_ctx * ctx, const llama_model *) {
    return clip_get_projector_type(ctx) == PROJECTOR_TYPE_ULTRAVOX;
}

int n_tokens(const clip_ctx * ctx, const clip_image_f32 & frames) {
    return divide_up(halve(n_valid(frames)), stack_of(ctx));
}

} // namespace

const mata_audio_arch ULTRAVOX = {
    /* name           */ "ultravox",
    /* prompt         */ "ultravox",
    /* window_samples */ WINDOW_SAMPLES,
    /* max_samples    */ 0,
    /* padded_samples */ 0,
    /* begin          */ nullptr,
    /* end            */ nullptr,
    /* adapters_hear  */ false,
    /* is             */ is,
    /* check          */ nullptr,
    /* features       */ make_features<features>,
    /* graph          */ make_graph<graph>,
    /* n_tokens       */ n_tokens,
    /* set_inputs     */ nullptr,
};

} // namespace mata_audio
