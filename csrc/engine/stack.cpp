#include "stack.h"
#include "error.h"

#include <exception>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <pthread.h>
#endif

namespace mata {

namespace {

struct Call {
    const std::function<void()> & f;
    std::exception_ptr error;

    void operator()() {
        try {
            f();
        } catch (...) {
            error = std::current_exception();
        }
    }
};

[[noreturn]] void refuse() {
    throw Error(ErrorKind::Engine, "the system gives no thread with the stack that this text needs: shorten it");
}

} // namespace

void run_with_stack(size_t n_bytes, const std::function<void()> & f) {
    Call call { f, nullptr };
#if defined(_WIN32)
    const auto start = [](void * data) -> DWORD {
        (*static_cast<Call *>(data))();
        return 0;
    };
    HANDLE thread = CreateThread(nullptr, n_bytes, start, &call, STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
    if (!thread) {
        refuse();
    }
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
#else
    const auto start = [](void * data) -> void * {
        (*static_cast<Call *>(data))();
        return nullptr;
    };
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    const bool ok = pthread_attr_setstacksize(&attributes, n_bytes) == 0 && pthread_create(&thread, &attributes, start, &call) == 0;
    pthread_attr_destroy(&attributes);
    if (!ok) {
        refuse();
    }
    pthread_join(thread, nullptr);
#endif
    if (call.error) {
        std::rethrow_exception(call.error);
    }
}

} // namespace mata
