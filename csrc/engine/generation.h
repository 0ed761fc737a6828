// One answer being generated: tokens that the scheduler (scheduler.h) puts in, and that a consumer takes out when it
// likes, from any thread. A consumer that is slow, or never comes, holds up nobody.

#pragma once

#include "cancel.h"
#include "repetition.h"
#include "sampler.h"
#include "session.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace mata {

struct GenerationParams {
    int32_t max_tokens   = 256;
    std::vector<std::string> stop;  // the answer ends with the first of these texts
    int32_t logprobs     = -1;      // alternatives given with each token; negative: no log-probabilities but the first token's
    int32_t repeat_limit = 32;      // see Repetition; 0: repeat for ever
    bool    ignore_end   = false;   // go on after an end of turn, for measurements
    bool    attention    = false;   // keep the session's sums of attention of each token's row
};

struct Token {
    llama_token id = 0;
    std::string bytes;                                   // "" for a special token
    float       logprob = 0.0f;                          // natural logarithm, before sampling options; NaN where not asked for
    std::vector<std::pair<llama_token, float>> top;      // the likeliest, best first
    double      at = 0.0;                                // seconds since the generation began
    std::shared_ptr<const AttentionSums> attention;      // of the row that predicted it
};

enum class FinishReason { Running, Stop, Length, Cancelled, Repetition, Error };

class Generation {
public:
    // The session must have logits, and is the generation's until that ends. Throws Error (Argument).
    Generation(std::shared_ptr<Session> session, std::shared_ptr<Sampler> sampler, GenerationParams params, CancelPtr cancel);

    // Waits for tokens, at most for timeout, and moves them into out. False when there will be no more; an error of
    // the computation is thrown then. After an empty true the time was up.
    bool take(std::vector<Token> & out, std::chrono::milliseconds timeout);

    // Ends this one; the request's Cancel, which others may share, is left alone.
    void cancel() { abandoned_ = true; }

    // From when the session is free again.
    bool         finished() const;
    FinishReason reason() const;
    int32_t      n_tokens() const;      // made so far, the end of turn not counted
    int32_t      n_fed() const;         // of these, in the cache
    int32_t      n_repeated() const;    // times that the repeated text came, if it ended by repetition
    int32_t      n_in_phrase() const;   // and its tokens

private:
    void check_process() const; // a child of fork() has no loop, and the mutex may be locked there for good

    friend class Engine;
    friend class Scheduler;

    // By the scheduler.
    bool cancelled() const { return abandoned_ || cancel_->cancelled(); }
    void fed();
    void sample(const float * row, std::shared_ptr<const AttentionSums> attention, double now_s);
    void finish(FinishReason reason, std::exception_ptr error = nullptr);

    const std::shared_ptr<Session> session_;
    const std::shared_ptr<Sampler> sampler_;
    const GenerationParams         params_;
    const CancelPtr                cancel_;
    const std::chrono::steady_clock::time_point start_;

    // the scheduler's own
    llama_token pending_ = LLAMA_TOKEN_NULL; // sampled, to be fed next
    std::string tail_;                       // of the text: as much as a stop string may need
    size_t      longest_stop_ = 0;
    Repetition  repetition_;
    std::atomic<bool> abandoned_ { false };

    mutable std::mutex      mutex_;
    std::condition_variable changed_;
    std::deque<Token>       tokens_;         // not taken yet
    int32_t                 n_tokens_ = 0;
    int32_t                 n_fed_    = 0;
    FinishReason            reason_   = FinishReason::Running;
    std::exception_ptr      error_;
};

} // namespace mata
