// NumPy arrays from and to vectors.

#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <vector>

namespace mata {

// Converted to contiguous float32 when it is not.
using FloatArray = pybind11::array_t<float, pybind11::array::c_style | pybind11::array::forcecast>;

// An array that owns a copy of data.
inline pybind11::array_t<float> to_array(const std::vector<float> & data, std::vector<pybind11::ssize_t> shape) {
    pybind11::array_t<float> res(std::move(shape));
    std::copy(data.begin(), data.end(), res.mutable_data());
    return res;
}

} // namespace mata
