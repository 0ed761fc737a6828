#include "bindings.h"

#include "error.h"

namespace py = pybind11;

namespace mata {

static const char * class_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::Model:       return "ModelError";
        case ErrorKind::Audio:       return "AudioError";
        case ErrorKind::ContextFull: return "ContextFullError";
        case ErrorKind::Cancelled:   return "CancelledError";
        case ErrorKind::Argument:
        case ErrorKind::Engine:      break;
    }
    return "MataError";
}

static void raise(const Error & e) {
    if (PyErr_Occurred()) {
        return; // a signal handler has raised while the engine computed: that is what the caller shall see
    }
    if (e.kind == ErrorKind::Argument) {
        PyErr_SetString(PyExc_ValueError, e.what());
        return;
    }
    const py::object type = py::module_::import("mata_cpp.errors").attr(class_of(e.kind));
    PyErr_SetString(type.ptr(), e.what());
}

void register_errors(py::module_ & /*m*/) {
    py::register_exception_translator([](std::exception_ptr p) {
        try {
            if (p) {
                std::rethrow_exception(p);
            }
        } catch (const Error & e) {
            raise(e);
        }
    });
}

} // namespace mata
