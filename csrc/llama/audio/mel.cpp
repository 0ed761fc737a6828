#include "mel.h"

#include <algorithm>
#include <cmath>
#include <complex>

namespace mata_audio {

constexpr double FLOOR  = 1e-10;
constexpr float  SILENT = -10.0f; // log10 of the floor

void whisper_features::initialize() {
    mtmd_audio_cache bank;
    bank.fill_mel_filterbank_matrix(hparams.n_mel_bins, WINDOW, 16000);
    filters.clear();
    for (int64_t m = 0; m < hparams.n_mel_bins; m++) {
        filters.emplace_back(bank.filters.data.data() + m * fft.bins(), fft.bins());
    }
    hann = hann_window(WINDOW);
}

spectrogram whisper_features::log_mel(const float * samples, int64_t n, int64_t n_total, int64_t n_frames) const {
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
        std::vector<std::complex<double>> bins((size_t) fft.bins()), work;
        std::vector<double>               frame(WINDOW), power(bins.size());
        for (int64_t t = begin; t < end; t++) {
            const float * x      = signal.data() + t * HOP;
            bool          silent = true;
            for (int i = 0; i < WINDOW; i++) {
                frame[i] = x[i] * hann[i];
                silent   = silent && x[i] == 0.0f;
            }
            if (silent) {
                continue;
            }
            fft(frame.data(), bins.data(), work);
            for (size_t k = 0; k < bins.size(); k++) {
                power[k] = bins[k].real() * bins[k].real() + bins[k].imag() * bins[k].imag();
            }
            for (int64_t m = 0; m < out.n_mel; m++) {
                out.data[m * n_frames + t] = (float) std::log10(std::max(filters[m](power.data()), FLOOR));
            }
        }
    });
    return out;
}

bool whisper_features::preprocess(const float * samples, size_t n_samples, std::vector<mtmd_audio_mel> & output) const {
    int64_t n = std::min<int64_t>((int64_t) n_samples, limit > 0 ? limit : INT64_MAX);
    if (n <= 0) {
        return false;
    }
    std::vector<float> longer;
    if (n < shortest()) {
        longer.assign(samples, samples + n);
        longer.resize((size_t) shortest(), 0.0f);
        samples = longer.data();
        n       = (int64_t) longer.size();
    }
    hear(samples, n, output);
    if (output.size() > 1 && tokens_of(output.back()) == 0) {
        output.pop_back();
    }
    return true;
}

} // namespace mata_audio
