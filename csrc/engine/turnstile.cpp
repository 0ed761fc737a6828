#include "turnstile.h"

namespace mata {

static double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Turnstile::enter(bool loop) {
    std::unique_lock<std::mutex> own(own_);
    if (held_) {
        wait(own, loop);
    } else {
        held_         = true;
        held_by_loop_ = loop;
        since_        = Clock::now();
    }
}

void Turnstile::wait(std::unique_lock<std::mutex> & own, bool loop) {
    Waiter waiter;
    if (loop) {
        loop_ = &waiter;
    } else {
        tasks_.push_back(&waiter);
    }
    waiter.cv.wait(own, [&] { return waiter.granted; });
}

void Turnstile::grant(bool loop) {
    Waiter * next = loop ? loop_ : tasks_.front();
    if (loop) {
        loop_ = nullptr;
    } else {
        tasks_.pop_front();
    }
    held_         = true;
    held_by_loop_ = loop;
    since_        = Clock::now();
    next->granted = true;
    next->cv.notify_one(); // own_ is held: the waiter cannot be gone before this returns
}

void Turnstile::leave() {
    const double seconds = seconds_since(since_);
    credit_ = held_by_loop_ ? TASK_SHARE*seconds : credit_ - seconds;
    held_   = false;
    if (loop_ && (tasks_.empty() || credit_ <= 0.0)) {
        grant(true);
    } else if (!tasks_.empty()) {
        grant(false);
    }
}

void Turnstile::unlock() {
    std::lock_guard<std::mutex> own(own_);
    leave();
}

bool Turnstile::others_turn() const {
    return !tasks_.empty() || (loop_ && credit_ <= seconds_since(since_));
}

bool Turnstile::contended() {
    std::lock_guard<std::mutex> own(own_);
    return others_turn();
}

void Turnstile::yield() {
    std::unique_lock<std::mutex> own(own_);
    if (others_turn()) {
        leave();
        wait(own, false); // leave() has let someone in, so there is someone to wait for
    }
}

} // namespace mata
