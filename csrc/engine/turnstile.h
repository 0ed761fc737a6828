// The lock of everything that computes. Unlike std::mutex it is fair, and it shares time between the two kinds of work:
// the decode loop, which asks again and again for a short step, and tasks (prefill, encoding), which come now and then
// and are long. Tasks pass in the order of asking. While both wait, tasks get TASK_SHARE times as long as the loop's
// last step took, so that a new question is not held up by those that are being answered, nor they by it. A question is
// many small tasks and some long ones: after a task the loop waits LINGER for the next one, out of the tasks' share.

#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

namespace mata {

class Turnstile {
public:
    static constexpr double TASK_SHARE = 2.0;
    static constexpr std::chrono::milliseconds LINGER { 3 };

    // The names of std::mutex, for std::unique_lock.
    void lock() { enter(false); }
    void unlock();

    void lock_for_loop() { enter(true); }

    // Whether others want their share of the time: a long task is better cut into pieces.
    bool shared();

    // By the holder, a task: lets those pass who wait, if their turn has come, and goes on.
    void yield();

private:
    struct Waiter {
        std::condition_variable cv;
        bool granted = false;
    };
    using Clock = std::chrono::steady_clock;

    void enter(bool loop);
    void take(bool loop);           // with own_ held, as all below
    void wait(std::unique_lock<std::mutex> & own);
    void wait_for_loop(std::unique_lock<std::mutex> & own);
    void leave();                   // accounts for the time and lets the next one in
    bool others_turn() const;

    std::mutex           own_;
    std::deque<Waiter *> tasks_;
    Waiter *             loop_ = nullptr;
    bool                 held_ = false;
    bool                 held_by_loop_ = false;
    bool                 lingers_ = false;
    double               credit_ = 0.0; // seconds that tasks may take before the loop's next step
    Clock::time_point    since_;        // when the holder came, or, while the loop lingers, the last task went
};

} // namespace mata
