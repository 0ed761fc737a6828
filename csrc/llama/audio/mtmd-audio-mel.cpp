// Samples to log-mel frames, as Whisper's feature extractor makes them (window 400, hop 160, Hann), and the frames
// cut into audio chunks by the rules of mtmd-audio-rules.h.

#include "mtmd-audio-rules.h"

#include "mtmd-audio-events.h"
#include "mtmd-audio-spectrogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

using namespace mata_audio;

namespace {

constexpr int    BINS   = WINDOW / 2 + 1;
constexpr double FLOOR  = 1e-10;
constexpr float  SILENT = -10.0f; // log10 of the floor

// Power spectrum of 400 real samples in double precision: 16 transforms of length 25, joined by one of length 16.
// With n = 16 a + b:  X[k] = sum over b of w^(b k) Y[b][k mod 25],  Y[b][d] = sum over a of x[16 a + b] w^(16 a d).
class power_spectrum {
    static constexpr int N1 = 16;
    static constexpr int N2 = WINDOW / N1;

    std::vector<double> cos_ = std::vector<double>(WINDOW);
    std::vector<double> sin_ = std::vector<double>(WINDOW);

  public:
    power_spectrum() {
        const double pi = std::acos(-1.0);
        for (int i = 0; i < WINDOW; i++) {
            cos_[i] = std::cos(2 * pi * i / WINDOW);
            sin_[i] = std::sin(2 * pi * i / WINDOW);
        }
    }

    double hann(int i) const { return 0.5 - 0.5 * cos_[i]; }

    // in [WINDOW], out [BINS]
    void operator()(const double * in, double * out) const {
        double re[N2][N1] = {}, im[N2][N1] = {};
        for (int d = 0; d <= N2 / 2; d++) {
            for (int a = 0; a < N2; a++) {
                const double c = cos_[N1 * a * d % WINDOW];
                const double s = sin_[N1 * a * d % WINDOW];
                for (int b = 0; b < N1; b++) {
                    re[d][b] += in[N1 * a + b] * c;
                    im[d][b] -= in[N1 * a + b] * s;
                }
            }
        }
        for (int d = N2 / 2 + 1; d < N2; d++) { // the input is real
            for (int b = 0; b < N1; b++) {
                re[d][b] =  re[N2 - d][b];
                im[d][b] = -im[N2 - d][b];
            }
        }
        for (int k = 0; k < BINS; k++) {
            const double * yr = re[k % N2];
            const double * yi = im[k % N2];
            double xr = 0, xi = 0;
            for (int b = 0; b < N1; b++) {
                const double c = cos_[b * k % WINDOW];
                const double s = sin_[b * k % WINDOW];
                xr += yr[b] * c + yi[b] * s;
                xi += yi[b] * c - yr[b] * s;
            }
            out[k] = xr * xr + xi * xi;
        }
    }
};

class preprocessor : public mtmd_audio_preprocessor {
    const mata_audio_rule   rule;
    const int               stack;
    power_spectrum          power;
    std::vector<mel_filter> filters;

    std::optional<mata_event_features> events;

    // The first n_frames frames of a signal: n samples, zeros up to n_total, mirrored at both ends.
    // The first frame is centred on the first sample.
    spectrogram log_mel(const float * samples, int64_t n, int64_t n_total, int64_t n_frames) const {
        const int64_t      pad  = WINDOW / 2;
        const int64_t      last = n_total - 1;
        std::vector<float> signal((size_t) ((n_frames - 1) * HOP + WINDOW));
        for (int64_t i = 0; i < (int64_t) signal.size(); i++) {
            int64_t at = std::abs(i - pad);
            at         = std::min(at, 2 * last - at);
            signal[i]  = at >= 0 && at < n ? samples[at] : 0.0f;
        }

        spectrogram out;
        out.n_mel    = (int64_t) filters.size();
        out.n_frames = n_frames;
        out.data.assign((size_t) (out.n_mel * n_frames), SILENT);

        for_frames(n_frames, [&](int64_t begin, int64_t end) {
            double frame[WINDOW], bins[BINS];
            for (int64_t t = begin; t < end; t++) {
                const float * x      = signal.data() + t * HOP;
                bool          silent = true;
                for (int i = 0; i < WINDOW; i++) {
                    frame[i] = x[i] * power.hann(i);
                    silent   = silent && x[i] == 0.0f;
                }
                if (silent) {
                    continue;
                }
                power(frame, bins);
                for (int64_t m = 0; m < out.n_mel; m++) {
                    out.data[m * n_frames + t] = (float) std::log10(std::max(filters[m](bins), FLOOR));
                }
            }
        });
        return out;
    }

    // Qwen2-Audio, and one window of Audio Flamingo 3
    void window(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const {
        const int64_t n_valid  = frames_up(n);
        const int64_t n_frames = (n_valid + 3) / 2 * 2; // at least n_valid + 2
        // frames from 3000 on are the convolution's own padding: 0.0
        spectrogram mel = log_mel(samples, n, MATA_AUDIO_WINDOW, std::min<int64_t>(n_frames, MATA_AUDIO_WINDOW_FRAMES));
        mel.normalize();
        output.push_back(mel.cut(0, n_frames, n_frames, n_valid));
    }

    void qwen25_omni(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const {
        const int64_t n_total = mata_audio_max_samples(rule);
        const int64_t n_valid = frames_up(n);
        // the maximum is taken over the padded clip, where the last samples reach two frames further
        spectrogram mel = log_mel(samples, n, n_total, std::min(n_valid + 2, n_total / HOP));
        mel.normalize();
        for (int64_t begin = 0; begin < n_valid; begin += MATA_AUDIO_WINDOW_FRAMES) {
            const int64_t n_frames = std::min<int64_t>(n_valid - begin, MATA_AUDIO_WINDOW_FRAMES);
            output.push_back(mel.cut(begin, n_frames, n_frames, n_frames));
        }
    }

    void qwen3_omni(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const {
        const int64_t n_total = std::max<int64_t>(n, WINDOW / 2 + 1); // shorter clips have nothing to mirror
        const int64_t n_valid = n_total / HOP;
        const int64_t block   = mata_audio_block_frames(rule);
        spectrogram   mel     = log_mel(samples, n, n_total, n_valid);
        mel.normalize();
        for (int64_t begin = 0; begin < n_valid; begin += 8 * block) { // one attention window
            const int64_t n_frames = std::min(n_valid - begin, 8 * block);
            const int64_t n_len    = n_valid < block ? n_valid : (n_frames + block - 1) / block * block;
            output.push_back(mel.cut(begin, n_frames, n_len, n_frames));
        }
    }

    void ultravox(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const {
        const int64_t n_valid = std::max<int64_t>(2, frames_up(n));
        spectrogram   mel     = log_mel(samples, n, n_valid * HOP, n_valid);
        mel.normalize();
        if (events) {
            mel.append((*events)(samples, n, n_valid));
        }
        for (int64_t begin = 0; begin < n_valid; begin += MATA_AUDIO_WINDOW_FRAMES) {
            const int64_t n_frames = std::min<int64_t>(n_valid - begin, MATA_AUDIO_WINDOW_FRAMES);
            int64_t       n_len    = n_frames;
            if (begin > 0) {
                // whole stacks of rows, as far as the reference's padding goes
                const int64_t n_rows = ((n_frames + 1) / 2 + stack - 1) / stack * stack;
                n_len                = std::max(n_len, std::min<int64_t>(2 * n_rows, MATA_AUDIO_WINDOW_FRAMES));
            }
            output.push_back(mel.cut(begin, n_frames, n_len, n_frames));
        }
    }

    void voxtral(const float * samples, int64_t n, std::vector<mtmd_audio_mel> & output) const {
        const int64_t n_windows = (n + MATA_AUDIO_WINDOW - 1) / MATA_AUDIO_WINDOW;
        const int64_t len       = MATA_AUDIO_WINDOW_FRAMES;
        spectrogram   mel       = log_mel(samples, n, n_windows * MATA_AUDIO_WINDOW, n_windows * len);
        mel.normalize();
        for (int64_t i = 0; i < n_windows; i++) {
            output.push_back(mel.cut(i * len, len, len, len));
        }
    }

    static int64_t frames_up(int64_t n) { return (n + HOP - 1) / HOP; }

  public:
    preprocessor(const clip_ctx * ctx)
        : mtmd_audio_preprocessor(ctx), rule(mata_audio_rule_of(ctx)), stack(std::max(1, hparams.proj_stack_factor)) {}

    void initialize() override {
        mtmd_audio_cache bank;
        bank.fill_mel_filterbank_matrix(hparams.n_mel_bins, WINDOW, 16000);
        filters.clear();
        for (int64_t m = 0; m < hparams.n_mel_bins; m++) {
            filters.emplace_back(bank.filters.data.data() + m * BINS, BINS);
        }
        if (hparams.audio_event_bands > 0) {
            events.emplace();
        }
    }

    bool preprocess(const float * samples, size_t n_samples, std::vector<mtmd_audio_mel> & output) const override {
        const int64_t limit = mata_audio_max_samples(rule);
        int64_t       n     = std::min<int64_t>((int64_t) n_samples, limit > 0 ? limit : INT64_MAX);
        if (n <= 0) {
            return false;
        }
        std::vector<float> longer;
        if (rule == MATA_AUDIO_QWEN2 || rule == MATA_AUDIO_FLAMINGO3 || rule == MATA_AUDIO_QWEN25_OMNI) {
            // The reference makes no token of fewer than 3 frames; give such a clip one, with silence behind it.
            const int64_t shortest = 2 * HOP + 1;
            if (n < shortest) {
                longer.assign(samples, samples + n);
                longer.resize((size_t) shortest, 0.0f);
                samples = longer.data();
                n       = shortest;
            }
        }
        switch (rule) {
            case MATA_AUDIO_QWEN2:
            case MATA_AUDIO_FLAMINGO3:
                for (int64_t begin = 0; begin < n; begin += MATA_AUDIO_WINDOW) {
                    window(samples + begin, std::min(n - begin, MATA_AUDIO_WINDOW), output);
                }
                break;
            case MATA_AUDIO_QWEN25_OMNI: qwen25_omni(samples, n, output); break;
            case MATA_AUDIO_QWEN3_OMNI:  qwen3_omni(samples, n, output);  break;
            case MATA_AUDIO_ULTRAVOX:    ultravox(samples, n, output);    break;
            case MATA_AUDIO_VOXTRAL:     voxtral(samples, n, output);     break;
            case MATA_AUDIO_STOCK:       return false;
        }
        // a last window of one or two frames becomes no token
        const mtmd_audio_mel & tail = output.back();
        if (output.size() > 1 && mata_audio_shape{ rule, (int) tail.n_len, (int) tail.n_valid, stack }.n_tokens() == 0) {
            output.pop_back();
        }
        return true;
    }
};

} // namespace

std::unique_ptr<mtmd_audio_preprocessor> mata_audio_preprocessor(const clip_ctx * ctx) {
    if (mata_audio_rule_of(ctx) == MATA_AUDIO_STOCK) {
        return nullptr;
    }
    return std::make_unique<preprocessor>(ctx);
}
