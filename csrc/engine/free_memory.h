// What a process may still take.

#pragma once

#include <cstdint>

namespace mata {

// Bytes of memory that are free for this process, without swap; 0 where that is not known.
uint64_t available_memory();

} // namespace mata
