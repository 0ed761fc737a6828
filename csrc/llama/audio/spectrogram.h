// What the features of Whisper's encoder and of the event network have in common.

#pragma once

#include "mtmd-audio.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace mata_audio {

constexpr int WINDOW = 400;
constexpr int HOP    = 160;

// periodic
inline std::vector<double> hann_window(int n) {
    std::vector<double> out((size_t) n);
    for (int i = 0; i < n; i++) {
        out[i] = 0.5 - 0.5 * std::cos(2 * std::acos(-1.0) * i / n);
    }
    return out;
}

// log-mel values [n_mel][n_frames]
struct spectrogram {
    int64_t            n_mel    = 0;
    int64_t            n_frames = 0;
    std::vector<float> data;

    // Whisper's scaling, by the largest value in here
    void normalize() {
        const float top = *std::max_element(data.begin(), data.end()) - 8.0f;
        for (float & v : data) {
            v = (std::max(v, top) + 4.0f) / 4.0f;
        }
    }

    // More rows for the same frames.
    void append(const spectrogram & rows) {
        n_mel += rows.n_mel;
        data.insert(data.end(), rows.data.begin(), rows.data.end());
    }

    // Frames [begin, begin + n) in an audio chunk of n_len frames, n_valid of which count as audio; the rest is 0.0.
    mtmd_audio_mel cut(int64_t begin, int64_t n, int64_t n_len, int64_t n_valid) const {
        mtmd_audio_mel out;
        out.n_mel     = n_mel;
        out.n_len     = n_len;
        out.n_len_org = n_valid;
        out.n_valid   = n_valid;
        out.data.assign((size_t) (n_mel * n_len), 0.0f);
        n = std::min({ n, n_len, n_frames - begin });
        for (int64_t m = 0; m < n_mel; m++) {
            const float * from = data.data() + m * n_frames + begin;
            std::copy(from, from + n, out.data.data() + m * n_len);
        }
        return out;
    }
};

// One triangle of a filter bank: weights for the bins from `first` on.
struct mel_filter {
    int                 first = 0;
    std::vector<double> weights;

    template <typename T>
    mel_filter(const T * row, int n_bins) {
        int end = n_bins;
        while (first < end && row[first] == 0) {
            first++;
        }
        while (end > first && row[end - 1] == 0) {
            end--;
        }
        weights.assign(row + first, row + end);
    }

    double operator()(const double * bins) const {
        double sum = 0;
        for (size_t k = 0; k < weights.size(); k++) {
            sum += weights[k] * bins[first + k];
        }
        return sum;
    }
};

// work(begin, end) for all frames, in a few threads; what it throws is thrown
template <typename F>
void for_frames(int64_t n_frames, const F & frames_work) {
    std::exception_ptr error;
    std::mutex         mutex;
    const auto         work = [&](int64_t begin, int64_t end) {
        try {
            frames_work(begin, end);
        } catch (...) {
            std::lock_guard<std::mutex> lock(mutex);
            error = std::current_exception();
        }
    };
    const int64_t            n_threads = std::min<int64_t>({ 4, std::max(1u, std::thread::hardware_concurrency()), n_frames / 200 + 1 });
    std::vector<std::thread> threads;
    for (int64_t i = 1; i < n_threads; i++) {
        const int64_t begin = n_frames * i / n_threads;
        const int64_t end   = n_frames * (i + 1) / n_threads;
        try {
            threads.emplace_back(work, begin, end);
        } catch (const std::system_error &) {
            work(begin, end); // the system grants no more threads
        }
    }
    work(0, n_frames / n_threads);
    for (auto & thread : threads) {
        thread.join();
    }
    if (error) {
        std::rethrow_exception(error);
    }
}

} // namespace mata_audio
