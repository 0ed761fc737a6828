// The event network's features (mtmd-audio-events.h).

#include "mtmd-audio-events.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <utility>

using namespace mata_audio;

static constexpr int    FFT    = 512;
static constexpr int    HALF   = FFT / 2;
static constexpr int    BINS   = HALF + 1;
static constexpr double OFFSET = 0.001;

namespace {

// Magnitudes of the spectrum of 512 real samples, in double precision: even and odd ones are the two parts of 256
// complex ones.
class magnitude_spectrum {
    std::vector<double>               hann_ = std::vector<double>(WINDOW);
    std::vector<std::complex<double>> root  = std::vector<std::complex<double>>(BINS); // exp(-2 pi i k / 512)

    // std::complex's own product looks after infinities, which takes several times as long
    static std::complex<double> times(std::complex<double> a, std::complex<double> b) {
        return { a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real() };
    }

    void transform(std::complex<double> * z) const {
        for (int i = 1, j = 0; i < HALF; i++) {
            int bit = HALF / 2;
            for (; j & bit; bit /= 2) {
                j ^= bit;
            }
            j ^= bit;
            if (i < j) {
                std::swap(z[i], z[j]);
            }
        }
        for (int size = 2; size <= HALF; size *= 2) {
            for (int begin = 0; begin < HALF; begin += size) {
                for (int k = 0; k < size / 2; k++) {
                    std::complex<double> & a    = z[begin + k];
                    std::complex<double> & b    = z[begin + k + size / 2];
                    const auto             turn = times(b, root[FFT / size * k]);
                    b = a - turn;
                    a = a + turn;
                }
            }
        }
    }

  public:
    magnitude_spectrum() {
        const double pi = std::acos(-1.0);
        for (int i = 0; i < WINDOW; i++) {
            hann_[i] = 0.5 - 0.5 * std::cos(2 * pi * i / WINDOW);
        }
        for (int k = 0; k < BINS; k++) {
            root[k] = { std::cos(2 * pi * k / FFT), -std::sin(2 * pi * k / FFT) };
        }
    }

    // in [WINDOW], out [BINS]
    void operator()(const float * in, double * out) const {
        std::complex<double> z[HALF];
        for (int i = 0; i < WINDOW / 2; i++) {
            z[i] = { in[2 * i] * hann_[2 * i], in[2 * i + 1] * hann_[2 * i + 1] };
        }
        transform(z);
        for (int k = 0; k < BINS; k++) {
            const auto a    = z[k % HALF];
            const auto b    = std::conj(z[(HALF - k) % HALF]);
            const auto even = 0.5 * (a + b);
            const auto odd  = times({ 0.0, -0.5 }, a - b);
            const auto x    = even + times(odd, root[k]);
            out[k] = std::sqrt(x.real() * x.real() + x.imag() * x.imag());
        }
    }
};

double to_mel(double hertz) {
    return 1127 * std::log(1 + hertz / 700);
}

} // namespace

// Triangles of height 1 in mel, evenly spread; the constant bin is left out.
mata_event_features::mata_event_features() {
    const double low  = to_mel(125);
    const double step = (to_mel(7500) - low) / (MATA_EVENT_BANDS + 1);
    for (int m = 0; m < MATA_EVENT_BANDS; m++) {
        double row[BINS] = {};
        for (int k = 1; k < BINS; k++) {
            row[k] = std::max(0.0, 1 - std::abs((to_mel(k * 8000.0 / HALF) - low) / step - (m + 1)));
        }
        filters.emplace_back(row, BINS);
    }
}

spectrogram mata_event_features::operator()(const float * samples, int64_t n, int64_t n_frames) const {
    const magnitude_spectrum spectrum;

    spectrogram out;
    out.n_mel    = MATA_EVENT_BANDS;
    out.n_frames = n_frames;
    out.data.assign((size_t) (out.n_mel * n_frames), 0.0f);

    for_frames(n_frames, [&](int64_t begin, int64_t end) {
        double bins[BINS];
        for (int64_t t = begin; t < end; t++) {
            float         frame[WINDOW] = {};
            const int64_t first         = std::min(t * HOP, n);
            std::copy(samples + first, samples + std::min(first + WINDOW, n), frame);
            if (std::all_of(frame, frame + WINDOW, [](float x) { return x == 0.0f; })) {
                continue;
            }
            spectrum(frame, bins);
            for (int64_t m = 0; m < out.n_mel; m++) {
                out.data[m * n_frames + t] = (float) (std::log(filters[m](bins) + OFFSET) - std::log(OFFSET));
            }
        }
    });
    return out;
}
