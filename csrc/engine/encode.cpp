// Samples to embeddings, through libmtmd.

#include "engine.h"
#include "guard.h"
#include "log.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

namespace mata {

// libmtmd counts samples in int
static constexpr size_t SAMPLES_MAX = (size_t) 1 << 30;

static void check_samples(const float * samples, size_t n) {
    if (n == 0) {
        throw Error(ErrorKind::Audio, "the clip is empty");
    }
    if (n > SAMPLES_MAX) {
        throw Error(ErrorKind::Audio, "the clip has " + std::to_string(n) + " samples; at most " + std::to_string(SAMPLES_MAX) + " can be encoded at once");
    }
    for (size_t i = 0; i < n; ++i) {
        if (!std::isfinite(samples[i])) {
            throw Error(ErrorKind::Audio, "sample " + std::to_string(i) + " is not a finite number");
        }
    }
}

[[noreturn]] static void fail(const std::string & what) {
    const std::string why = take_logged_errors();
    throw Error(ErrorKind::Audio, what + (why.empty() ? "" : " (" + why + ")"));
}

void Engine::check_audio(const float * samples, size_t n_samples) const {
    if (!facts_.has_audio) {
        throw Error(ErrorKind::Audio, model_path_ + ": was loaded without a projector: give its audio mmproj file");
    }
    check_samples(samples, n_samples);
}

// Log-mel frames, window by window, between the markers that the model wants; the number of audio tokens in them.
size_t Engine::cut_audio_locked(const float * samples, size_t n_samples, mtmd::input_chunks & chunks) {
    take_logged_errors();
    mtmd::bitmap bitmap(mtmd_bitmap_init_from_audio(n_samples, samples));
    const std::string marker = mtmd_get_marker(mtmd_.get());
    const mtmd_input_text text { marker.c_str(), marker.size(), /*.add_special =*/ false, /*.parse_special =*/ true };
    const mtmd_bitmap * bitmaps[] = { bitmap.ptr.get() };
    {
        Guard guard;
        if (mtmd_tokenize(mtmd_.get(), chunks.ptr.get(), &text, bitmaps, 1) != 0) {
            fail("the clip of " + std::to_string(n_samples) + " samples cannot be prepared for the encoder");
        }
    }

    size_t n_tokens = 0;
    for (size_t i = 0; i < chunks.size(); ++i) {
        if (mtmd_input_chunk_get_type(chunks[i]) == MTMD_INPUT_CHUNK_TYPE_AUDIO) {
            n_tokens += mtmd_input_chunk_get_n_tokens(chunks[i]);
        }
    }
    if (n_tokens == 0) {
        fail("the encoder makes no audio token of the clip: it is too short");
    }
    return n_tokens;
}

// A rough count of multiplications and additions: how long a node takes beside others.
static double work_of(const ggml_tensor * node) {
    double per_element = 4.0;
    if (node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_OUT_PROD) {
        per_element = 2.0*(double) node->src[0]->ne[0];
    } else if (node->op == GGML_OP_FLASH_ATTN_EXT) {
        per_element = 4.0*(double) node->src[1]->ne[1];
    }
    return per_element*(double) ggml_nelements(node);
}

// The encoder asks for many nodes in advance, and then computes up to one that is to be looked at.
bool Engine::encoder_looks_at(const ggml_tensor * node) {
    encoder_run_.work += work_of(node);
    return encoder_run_.work >= encoder_budget_;
}

// Between two pieces of the encoder's graph: others may compute. False when it is to stop.
bool Engine::encoder_goes_on() {
    constexpr double PIECE_S = 0.02;
    EncoderRun & run = encoder_run_;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - run.since).count();
    encoder_budget_ = std::clamp(run.work*std::clamp(PIECE_S/std::max(seconds, 1e-6), 0.5, 2.0), 1e6, 1e13);
    run.work    = 0.0;
    run.stopped = run.stopped || stopping_ || cancelled(run.cancel) || signal_came();
    if (!run.stopped && run.locked) {
        mutex_.yield();
        run.stopped = closed_ || broken_;
    }
    run.since = std::chrono::steady_clock::now();
    return !run.stopped;
}

int32_t Engine::count_audio_tokens(const float * samples, size_t n_samples) {
    check_audio(samples, n_samples);
    check_process();
    const std::lock_guard<Turnstile> encoder(encoder_mutex_);
    check_not_closed();
    mtmd::input_chunks chunks(mtmd_input_chunks_init());
    return (int32_t) cut_audio_locked(samples, n_samples, chunks);
}

AudioEmbedding Engine::encode_audio(const float * samples, size_t n_samples, const CancelPtr & cancel) {
    check_audio(samples, n_samples);
    check_process();
    const std::lock_guard<Turnstile> encoder(encoder_mutex_); // close() waits for it
    check_not_closed();
    if (cancelled(cancel)) {
        throw Error(ErrorKind::Cancelled, "cancelled");
    }
    const auto t_start = std::chrono::steady_clock::now();
    mtmd::input_chunks chunks(mtmd_input_chunks_init());
    const size_t n_tokens = cut_audio_locked(samples, n_samples, chunks);

    auto held = lock();
    encoder_run_ = { true, cancel, false, 0.0, std::chrono::steady_clock::now() };
    struct Done {
        EncoderRun & run;
        ~Done() { run = {}; }
    } done { encoder_run_ };

    AudioEmbedding res;
    res.n_embd = facts_.n_embd;
    if (n_tokens > (size_t) facts_.n_ctx) {
        // known before the expensive part
        throw Error(ErrorKind::ContextFull, "the clip becomes " + std::to_string(n_tokens) + " audio tokens, more than the context of " +
            std::to_string(facts_.n_ctx) + " positions: raise n_ctx, or give a shorter clip");
    }
    res.embeddings.reserve(n_tokens*res.n_embd);

    for (size_t i = 0; i < chunks.size(); ++i) {
        const mtmd_input_chunk * chunk = chunks[i];
        if (mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT) {
            size_t n = 0;
            const llama_token * tokens = mtmd_input_chunk_get_tokens_text(chunk, &n);
            auto & dst = res.n_windows == 0 ? res.begin : res.end;
            dst.insert(dst.end(), tokens, tokens + n);
            continue;
        }
        const size_t n = mtmd_input_chunk_get_n_tokens(chunk);
        const float * out = nullptr;
        encoder_run_.work = 0.0;
        if (!encoder_goes_on()) {
            throw Error(ErrorKind::Cancelled, "cancelled");
        }
        try {
            Guard guard;
            if (mtmd_encode_chunk(mtmd_.get(), chunk) == 0) {
                out = mtmd_get_output_embd(mtmd_.get());
            }
        } catch (const Aborted & e) {
            broken_        = true;
            threads_stuck_ = true;
            broken_why_    = e.what();
            throw;
        }
        if (encoder_run_.stopped) {
            check_usable(); // closed meanwhile?
            throw Error(ErrorKind::Cancelled, "cancelled");
        }
        if (!out) {
            fail("the audio encoder failed");
        }
        res.embeddings.insert(res.embeddings.end(), out, out + n*res.n_embd);
        res.non_causal = res.non_causal || mtmd_decode_use_non_causal(mtmd_.get(), chunk);
        res.n_tokens += (int32_t) n;
        res.n_windows++;
    }
    for (const float x : res.embeddings) {
        if (!std::isfinite(x)) {
            fail("the audio encoder gave values that are not finite: the projector file may be damaged");
        }
    }
    res.encode_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - t_start).count();
    return res;
}

} // namespace mata
