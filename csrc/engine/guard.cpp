#include "guard.h"
#include "error.h"

#include "ggml.h"

#include <cstdio>
#include <mutex>
#include <string>

namespace mata {

static thread_local int t_depth = 0;

// The message starts with the file's path on the machine that built us, which helps nobody.
static std::string without_path(const char * message) {
    std::string s = message;
    const size_t colon = s.find(':');
    const size_t slash = s.rfind('/', colon);
    return slash == std::string::npos || colon == std::string::npos ? s : s.substr(slash + 1);
}

// Called by ggml_abort, which is C: llama.cpp is compiled with -fexceptions so that this may pass through.
static void on_abort(const char * message) {
    if (t_depth > 0) {
        throw Aborted("llama.cpp refused to go on: " + without_path(message));
    }
    std::fprintf(stderr, "%s\n", message);
}

Guard::Guard() {
    static std::once_flag once;
    std::call_once(once, [] { ggml_set_abort_callback(on_abort); });
    t_depth++;
}

Guard::~Guard() {
    t_depth--;
}

} // namespace mata
