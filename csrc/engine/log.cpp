#include "log.h"

#include "llama.h"
#include "mtmd.h"
#include "mtmd-helper.h"

#include <memory>
#include <mutex>

namespace mata {

static std::mutex                   g_mutex;
static std::shared_ptr<LogCallback> g_callback; // null: silence

// Errors are kept for take_logged_errors. A lost library would otherwise say "null" and nothing else.
static thread_local std::string t_errors;
static thread_local bool        t_in_error = false;

static constexpr size_t ERRORS_MAX = 2000;

static void keep_error(const char * text) {
    if (t_errors.size() < ERRORS_MAX) {
        t_errors += text;
    }
}

static void on_log(ggml_log_level level, const char * text, void * /*user_data*/) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        t_in_error = true;
        keep_error(text);
    } else if (level == GGML_LOG_LEVEL_CONT) {
        if (t_in_error) {
            keep_error(text);
        }
    } else {
        t_in_error = false;
    }

    std::shared_ptr<LogCallback> callback;
    {
        std::lock_guard<std::mutex> lock(g_mutex);
        callback = g_callback;
    }
    if (!callback) {
        return;
    }
    LogLevel own = LogLevel::Info;
    switch (level) {
        case GGML_LOG_LEVEL_DEBUG: own = LogLevel::Debug; break;
        case GGML_LOG_LEVEL_WARN:  own = LogLevel::Warn;  break;
        case GGML_LOG_LEVEL_ERROR: own = LogLevel::Error; break;
        default: break;
    }
    try {
        (*callback)(own, text);
    } catch (...) {
        // this is called from C code: nothing may pass
    }
}

void set_log_callback(LogCallback callback) {
    auto next = callback ? std::make_shared<LogCallback>(std::move(callback)) : nullptr;
    std::lock_guard<std::mutex> lock(g_mutex);
    g_callback.swap(next);
}

void init_logging() {
    static std::once_flag once;
    std::call_once(once, [] {
        llama_log_set(on_log, nullptr); // ggml's as well
        mtmd_log_set(on_log, nullptr);
        mtmd_helper_log_set(on_log, nullptr);
    });
}

std::string take_logged_errors() {
    std::string res;
    std::string line;
    const auto flush = [&] {
        if (!line.empty()) {
            res += res.empty() ? line : "; " + line;
        }
        line.clear();
    };
    for (const char c : t_errors) {
        if (c == '\n') {
            flush();
        } else if (c >= 32) {
            line += c;
        }
    }
    flush();
    t_errors.clear();
    t_in_error = false;
    return res;
}

} // namespace mata
