#include "engine.h"

#include <set>
#include <string>
#include <thread>

#if defined(__linux__)
#include <fstream>
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace mata {

int64_t process_id() {
#if defined(_WIN32)
    return 0; // there is no fork()
#else
    return (int64_t) getpid();
#endif
}

// Attention and matrix products are bound by memory: a second thread on a core slows them down.
int32_t default_threads() {
    const int32_t logical = std::max(1, (int32_t) std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
        return logical;
    }
    std::set<std::string> cores;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &allowed)) {
            continue;
        }
        std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings");
        std::string siblings;
        cores.insert(std::getline(file, siblings) ? siblings : std::to_string(cpu));
    }
    return cores.empty() ? logical : (int32_t) cores.size();
#elif defined(__APPLE__)
    int32_t n = 0;
    size_t size = sizeof(n);
    // the performance cores; older systems have no levels
    if (sysctlbyname("hw.perflevel0.physicalcpu", &n, &size, nullptr, 0) == 0 && n > 0) {
        return n;
    }
    size = sizeof(n);
    if (sysctlbyname("hw.physicalcpu", &n, &size, nullptr, 0) == 0 && n > 0) {
        return n;
    }
    return logical;
#else
    return std::max(1, logical/2);
#endif
}

// More than there are cores for help nobody, and the system may refuse them. Small machines may still be asked for a few.
int32_t most_threads() {
    return std::max(8, (int32_t) std::thread::hardware_concurrency());
}

ggml_threadpool * new_threadpool(int32_t n_threads) {
    auto params = ggml_threadpool_params_default(n_threads);
    params.poll = 0; // between graphs they sleep: to be woken takes less than a hundredth of a token's time
    return ggml_threadpool_new(&params);
}

} // namespace mata
