// The event network's features (events.h).

#include "events.h"

#include "../fft.h"

#include <algorithm>
#include <cmath>
#include <complex>

using namespace mata_audio;

static constexpr int    FFT    = 512;
static constexpr int    BINS   = FFT / 2 + 1;
static constexpr double OFFSET = 0.001;

static double to_mel(double hertz) {
    return 1127 * std::log(1 + hertz / 700);
}

// Triangles of height 1 in mel, evenly spread; the constant bin is left out.
mata_event_features::mata_event_features() {
    const double low  = to_mel(125);
    const double step = (to_mel(7500) - low) / (MATA_EVENT_BANDS + 1);
    for (int m = 0; m < MATA_EVENT_BANDS; m++) {
        double row[BINS] = {};
        for (int k = 1; k < BINS; k++) {
            row[k] = std::max(0.0, 1 - std::abs((to_mel(k * 8000.0 / (BINS - 1)) - low) / step - (m + 1)));
        }
        filters.emplace_back(row, BINS);
    }
}

spectrogram mata_event_features::operator()(const float * samples, int64_t n, int64_t n_frames) const {
    const real_fft            fft(FFT);
    const std::vector<double> hann = hann_window(WINDOW);

    spectrogram out;
    out.n_mel    = MATA_EVENT_BANDS;
    out.n_frames = n_frames;
    out.data.assign((size_t) (out.n_mel * n_frames), 0.0f);

    for_frames(n_frames, [&](int64_t begin, int64_t end) {
        std::vector<std::complex<double>> bins(BINS), work;
        std::vector<double>               frame(FFT), magnitudes(BINS);
        for (int64_t t = begin; t < end; t++) {
            const int64_t first = std::min(t * HOP, n);
            const int64_t count = std::min<int64_t>(WINDOW, n - first);
            std::fill(frame.begin(), frame.end(), 0.0);
            for (int64_t i = 0; i < count; i++) {
                frame[i] = samples[first + i] * hann[i];
            }
            if (std::all_of(samples + first, samples + first + count, [](float x) { return x == 0.0f; })) {
                continue;
            }
            fft(frame.data(), bins.data(), work);
            for (int k = 0; k < BINS; k++) {
                magnitudes[k] = std::sqrt(bins[k].real() * bins[k].real() + bins[k].imag() * bins[k].imag());
            }
            for (int64_t m = 0; m < out.n_mel; m++) {
                out.data[m * n_frames + t] = (float) (std::log(filters[m](magnitudes.data()) + OFFSET) - std::log(OFFSET));
            }
        }
    });
    return out;
}
