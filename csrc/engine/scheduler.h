// The decode loop of an engine: one thread that puts the next token of every generation that runs into one batch.
// Generations join between two steps and leave when they end. The thread sleeps while there is nothing to do, and
// keeps no engine alive.

#pragma once

#include "generation.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

namespace mata {

class Scheduler {
public:
    explicit Scheduler(std::weak_ptr<Engine> engine);
    ~Scheduler();

    Scheduler(const Scheduler &) = delete;
    Scheduler & operator=(const Scheduler &) = delete;

    void add(std::shared_ptr<Generation> generation);

private:
    using Running = std::vector<std::shared_ptr<Generation>>;

    // Outlives the scheduler if the thread does.
    struct Shared {
        std::weak_ptr<Engine>   engine;
        std::mutex              mutex;
        std::condition_variable woken;
        Running                 added;
        bool                    stopped = false;
    };

    static void run(const std::shared_ptr<Shared> & shared);
    static bool step   (Engine & engine, Running & running);
    static void begin  (const Running & running);
    static Running those_in_turn(Engine & engine, const Running & running);
    static void decode (Engine & engine, const Running & running);
    static void advance(Generation & g, const float * row);
    static void end    (Generation & g, FinishReason reason, const std::exception_ptr & error = nullptr);
    static void settle (Running & running);     // those that have ended leave

    std::shared_ptr<Shared> shared_;
    bool                    started_ = false;   // with the lock of shared_
};

} // namespace mata
