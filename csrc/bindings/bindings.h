// One register_* per bound type; module.cpp calls them in order.

#pragma once

#include <pybind11/pybind11.h>

#include <vector>

namespace mata {

void register_errors (pybind11::module_ & m);
void register_log    (pybind11::module_ & m);
void register_cancel (pybind11::module_ & m);
void register_audio  (pybind11::module_ & m);
void register_engine (pybind11::module_ & m);
void register_session(pybind11::module_ & m);
void register_sampler(pybind11::module_ & m);
void register_generation(pybind11::module_ & m);

// False once the interpreter is going away: the GIL must not be asked for then.
inline bool interpreter_alive() {
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsInitialized() && !Py_IsFinalizing();
#else
    return Py_IsInitialized() && !_Py_IsFinalizing();
#endif
}

// The engine computes without the GIL. Arguments are converted before, results after.
using NoGil = pybind11::call_guard<pybind11::gil_scoped_release>;

} // namespace mata
