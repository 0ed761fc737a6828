// GGML_ASSERT and GGML_ABORT end the process. What a user can reach is checked before the call; this is the net
// below: inside a Guard, an abort on the same thread becomes an Error. What was being used is not to be used again.

#pragma once

namespace mata {

class Guard {
public:
    Guard();
    ~Guard();

    Guard(const Guard &) = delete;
    Guard & operator=(const Guard &) = delete;
};

} // namespace mata
