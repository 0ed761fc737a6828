// GGML_ASSERT and GGML_ABORT end the process. What a user can reach is checked before the call; this is the net
// below: inside a Guard, an abort on the same thread becomes an Aborted error. What was being used is not to be used
// again. An assertion in the middle of a computation on several threads still ends the process.

#pragma once

#include "error.h"

namespace mata {

class Aborted : public Error {
public:
    explicit Aborted(const std::string & what) : Error(ErrorKind::Engine, what) {}
};

class Guard {
public:
    Guard();
    ~Guard();

    Guard(const Guard &) = delete;
    Guard & operator=(const Guard &) = delete;
};

} // namespace mata
