#include "bindings.h"

#include "cancel.h"

namespace py = pybind11;

namespace mata {

void register_cancel(py::module_ & m) {
    py::class_<Cancel, CancelPtr>(m, "Cancel",
            "Ends one request: given to what computes for it, which then raises CancelledError soon after cancel().")
        .def(py::init<>())
        .def("cancel", &Cancel::cancel, "From any thread, and from signal handlers.")
        .def_property_readonly("cancelled", &Cancel::cancelled)
        .def("__repr__", [](const Cancel & c) { return c.cancelled() ? "Cancel(cancelled)" : "Cancel()"; });
}

} // namespace mata
