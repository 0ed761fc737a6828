// A call on a thread with a stack of a given size.

#pragma once

#include <cstddef>
#include <functional>

namespace mata {

// Runs f on a thread of its own whose stack has n_bytes, and waits; what f throws is thrown here. Throws Error (Engine)
// where the system gives no such thread.
void run_with_stack(size_t n_bytes, const std::function<void()> & f);

} // namespace mata
