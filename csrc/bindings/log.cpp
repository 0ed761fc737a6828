#include "bindings.h"

#include "engine.h"
#include "log.h"

#include <pybind11/stl.h>

#include <memory>

namespace py = pybind11;

namespace mata {

static void set_callback(const py::object & callback) {
    if (callback.is_none()) {
        py::gil_scoped_release release;
        set_log_callback({});
        return;
    }
    if (!PyCallable_Check(callback.ptr())) {
        throw py::type_error("the log callback must be callable or None");
    }
    // Released with the GIL held, from whichever thread lets it go last.
    auto held = std::shared_ptr<py::object>(new py::object(callback), [](py::object * p) {
        if (interpreter_alive()) {
            py::gil_scoped_acquire acquire;
            delete p;
        }
    });
    auto wrapped = [held](LogLevel level, const std::string & text) {
        if (!interpreter_alive()) {
            return;
        }
        py::gil_scoped_acquire acquire;
        // a signal's exception may be pending on this thread: logging must not lose it
        py::error_scope pending;
        try {
            (*held)((int) level, py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(text.data(), (Py_ssize_t) text.size(), "replace")));
        } catch (const py::error_already_set &) {
            // a failing logger is not the engine's failure
        }
    };
    py::gil_scoped_release release;
    set_log_callback(std::move(wrapped));
}

void register_log(py::module_ & m) {
    m.def("set_log_callback", set_callback, py::arg("callback").none(true));
    m.def("system_info", system_info, NoGil());
    m.def("devices", devices, NoGil());
}

} // namespace mata
