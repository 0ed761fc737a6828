#include "turnstile.h"

namespace mata {

static double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Turnstile::take(bool loop) {
    if (lingers_ && !loop) {
        credit_ -= seconds_since(since_);
    }
    lingers_      = false;
    held_         = true;
    held_by_loop_ = loop;
    since_        = Clock::now();
}

void Turnstile::enter(bool loop) {
    std::unique_lock<std::mutex> own(own_);
    if (!held_ && !(loop && lingers_)) {
        take(loop);
    } else if (loop) {
        wait_for_loop(own);
    } else {
        wait(own);
    }
}

void Turnstile::wait(std::unique_lock<std::mutex> & own) {
    Waiter waiter;
    tasks_.push_back(&waiter);
    waiter.cv.wait(own, [&] { return waiter.granted; });
}

void Turnstile::wait_for_loop(std::unique_lock<std::mutex> & own) {
    Waiter waiter;
    loop_ = &waiter;
    while (!waiter.granted) {
        if (!lingers_) {
            waiter.cv.wait(own);
            continue;
        }
        waiter.cv.wait_until(own, since_ + LINGER);
        if (lingers_ && Clock::now() >= since_ + LINGER) {
            loop_ = nullptr; // no task came
            take(true);
            return;
        }
    }
}

void Turnstile::leave() {
    const bool   by_task = !held_by_loop_;
    const double seconds = seconds_since(since_);
    credit_ = by_task ? credit_ - seconds : TASK_SHARE*seconds;
    held_   = false;

    Waiter * next = nullptr;
    if (!tasks_.empty() && (!loop_ || credit_ > 0.0)) {
        next = tasks_.front();
        tasks_.pop_front();
        take(false);
    } else if (by_task && credit_ > 0.0) {
        lingers_ = true;
        since_   = Clock::now();
        if (loop_) {
            loop_->cv.notify_one();
        }
    } else if (loop_) {
        next  = loop_;
        loop_ = nullptr;
        take(true);
    }
    if (next) {
        next->granted = true;
        next->cv.notify_one(); // own_ is held: the waiter cannot be gone before this returns
    }
}

void Turnstile::unlock() {
    std::lock_guard<std::mutex> own(own_);
    leave();
}

bool Turnstile::others_turn() const {
    return !tasks_.empty() || (loop_ && credit_ <= seconds_since(since_));
}

bool Turnstile::shared() {
    std::lock_guard<std::mutex> own(own_);
    return !tasks_.empty() || loop_;
}

void Turnstile::yield() {
    std::unique_lock<std::mutex> own(own_);
    if (!others_turn()) {
        return;
    }
    leave();
    if (held_) {
        wait(own);
    } else {
        take(false);
    }
}

} // namespace mata
