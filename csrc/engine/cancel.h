// One flag for one request: whoever computes for the request is given it and ends soon after it is set.

#pragma once

#include <atomic>
#include <memory>

namespace mata {

class Cancel {
public:
    void cancel() { set_.store(true, std::memory_order_relaxed); }
    bool cancelled() const { return set_.load(std::memory_order_relaxed); }

private:
    std::atomic<bool> set_ { false };
};

using CancelPtr = std::shared_ptr<Cancel>;

inline bool cancelled(const CancelPtr & cancel) { return cancel && cancel->cancelled(); }

} // namespace mata
