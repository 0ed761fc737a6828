#include "free_memory.h"

#if defined(__linux__)
#include <fstream>
#include <sys/resource.h>
#elif defined(__APPLE__)
#include <mach/mach.h>
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#endif

#include <algorithm>
#include <string>

namespace mata {

uint64_t available_memory() {
#if defined(__linux__)
    uint64_t found = 0;
    std::ifstream file("/proc/meminfo");
    std::string key;
    uint64_t kib = 0;
    for (std::string unit; file >> key >> kib && std::getline(file, unit);) {
        if (key == "MemAvailable:") {
            found = kib*1024;
            break;
        }
    }
    for (const char * path : { "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes" }) {
        uint64_t limit = 0; // a container's; "max" where it has none
        if (std::ifstream(path) >> limit && limit > 0) {
            found = std::min(found, limit);
        }
    }
    rlimit space {};
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
        found = std::min(found, (uint64_t) space.rlim_cur);
    }
    return found;
#elif defined(__APPLE__)
    vm_statistics64_data_t pages {};
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    if (host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t) &pages, &count) != KERN_SUCCESS) {
        return 0;
    }
    return (uint64_t) vm_page_size*((uint64_t) pages.free_count + pages.inactive_count + pages.purgeable_count);
#elif defined(_WIN32)
    MEMORYSTATUSEX status {};
    status.dwLength = sizeof(status);
    return GlobalMemoryStatusEx(&status) ? status.ullAvailPhys : 0;
#else
    return 0;
#endif
}

} // namespace mata
