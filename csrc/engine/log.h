// All ggml, llama and mtmd log lines go through one callback; without one there is silence.

#pragma once

#include <functional>
#include <string>

namespace mata {

enum class LogLevel { Debug = 1, Info = 2, Warn = 3, Error = 4 };

// Called from any thread that computes or loads.
using LogCallback = std::function<void(LogLevel, const std::string &)>;

// An empty callback is silence. Takes effect for all engines of the process.
void set_log_callback(LogCallback callback);

// Points the libraries at our callback; done once, before anything is loaded.
void init_logging();

// The error lines that this thread has logged since the last call, joined: the libraries return null and log why.
std::string take_logged_errors();

} // namespace mata
