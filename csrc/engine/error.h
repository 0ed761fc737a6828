// The engine's one exception type. The bindings map each kind to a class of mata_cpp.errors.

#pragma once

#include <stdexcept>
#include <string>

namespace mata {

enum class ErrorKind {
    Model,        // a model, projector or adapter file: missing, damaged, or not fitting the others
    Audio,        // samples that cannot be encoded
    ContextFull,  // no room in the KV cache, or no free session
    Cancelled,    // cancel(), or a signal
    Argument,     // a value the caller could have checked
    Engine,       // everything else
};

class Error : public std::runtime_error {
public:
    Error(ErrorKind kind, const std::string & what) : std::runtime_error(what), kind(kind) {}

    const ErrorKind kind;
};

} // namespace mata
