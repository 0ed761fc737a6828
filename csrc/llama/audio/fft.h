// The spectrum of real samples, in double precision.

#pragma once

#include <cmath>
#include <complex>
#include <stdexcept>
#include <utility>
#include <vector>

namespace mata_audio {

// Even and odd samples are the two parts of n/2 complex ones, whose transform is Stockham's, with one pass for each factor.
class real_fft {
    using complex = std::complex<double>;

    int                  half;
    std::vector<int>     factors;
    std::vector<complex> root; // exp(-2 pi i k / n)

    // std::complex's own product looks after infinities, which takes several times as long
    static complex times(complex a, complex b) {
        return { a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real() };
    }

    // One pass: transforms of length p over x, whose results lie in y for the next one. stride: product of the factors
    // before; rest: what p and the factors behind make.
    template <int P>
    void pass(const complex * x, complex * y, int stride, int rest) const {
        const int m    = rest / P;
        const int step = 2 * half / rest; // root[step k] = exp(-2 pi i k / rest)
        for (int q = 0; q < m; q++) {
            for (int t = 0; t < stride; t++) {
                complex in[P];
                for (int j = 0; j < P; j++) {
                    in[j] = x[stride * (q + m * j) + t];
                }
                complex sum[P];
                short_transform<P>(in, sum);
                for (int k = 0; k < P; k++) {
                    y[stride * (P * q + k) + t] = k == 0 ? sum[0] : times(sum[k], root[(size_t) (step * q * k)]);
                }
            }
        }
    }

    template <int P>
    void short_transform(const complex * in, complex * out) const {
        if constexpr (P == 2) {
            out[0] = in[0] + in[1];
            out[1] = in[0] - in[1];
        } else if constexpr (P == 4) {
            const complex a = in[0] + in[2], b = in[0] - in[2], c = in[1] + in[3], d = in[1] - in[3];
            out[0] = a + c;
            out[1] = { b.real() + d.imag(), b.imag() - d.real() };
            out[2] = a - c;
            out[3] = { b.real() - d.imag(), b.imag() + d.real() };
        } else {
            const int step = 2 * half / P;
            for (int k = 0; k < P; k++) {
                out[k] = in[0];
                for (int j = 1; j < P; j++) {
                    out[k] += times(in[j], root[(size_t) (step * (j * k % P))]);
                }
            }
        }
    }

  public:
    // n: 2^a 3^b 5^c, a > 0
    explicit real_fft(int n) : half(n / 2) {
        const double pi = std::acos(-1.0);
        for (int k = 0; k < n; k++) {
            root.emplace_back(std::cos(2 * pi * k / n), -std::sin(2 * pi * k / n));
        }
        int rest = half;
        for (const int p : { 4, 2, 3, 5 }) {
            for (; rest % p == 0; rest /= p) {
                factors.push_back(p);
            }
        }
        if (n % 2 != 0 || rest != 1) {
            throw std::invalid_argument("a transform of a length that is not 2^a 3^b 5^c");
        }
    }

    int length() const { return 2 * half; }
    int bins() const { return half + 1; }

    // in [length()] -> out [bins()]. work: for the caller to keep.
    void operator()(const double * in, complex * out, std::vector<complex> & work) const {
        work.resize((size_t) (2 * half));
        complex * x = work.data();
        complex * y = x + half;
        for (int i = 0; i < half; i++) {
            x[i] = { in[2 * i], in[2 * i + 1] };
        }
        int stride = 1;
        for (const int p : factors) {
            switch (p) {
                case 2: pass<2>(x, y, stride, half / stride); break;
                case 3: pass<3>(x, y, stride, half / stride); break;
                case 4: pass<4>(x, y, stride, half / stride); break;
                case 5: pass<5>(x, y, stride, half / stride); break;
            }
            std::swap(x, y);
            stride *= p;
        }
        for (int k = 0; k <= half; k++) {
            const complex a = x[k % half];
            const complex b = std::conj(x[(half - k) % half]);
            out[k] = 0.5 * (a + b) + times(times({ 0.0, -0.5 }, a - b), k < half ? root[(size_t) k] : complex(-1.0));
        }
    }
};

} // namespace mata_audio
