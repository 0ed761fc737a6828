#include "generation.h"
#include "engine.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace mata {

Generation::Generation(std::shared_ptr<Session> session, std::shared_ptr<Sampler> sampler, GenerationParams params, CancelPtr cancel)
    : session_(std::move(session)), sampler_(std::move(sampler)), params_(std::move(params)),
      cancel_(cancel ? std::move(cancel) : std::make_shared<Cancel>()), start_(std::chrono::steady_clock::now()),
      repetition_(params_.repeat_limit) {
    if (params_.max_tokens < 1) {
        throw Error(ErrorKind::Argument, "max_tokens must be at least 1");
    }
    for (const auto & text : params_.stop) {
        if (text.empty()) {
            throw Error(ErrorKind::Argument, "a stop string must not be empty");
        }
        longest_stop_ = std::max(longest_stop_, text.size());
    }
}

void Generation::check_process() const {
    session_->engine()->check_process();
}

bool Generation::take(std::vector<Token> & out, std::chrono::milliseconds timeout) {
    check_process();
    std::unique_lock<std::mutex> own(mutex_);
    changed_.wait_for(own, timeout, [&] { return !tokens_.empty() || reason_ != FinishReason::Running; });
    const bool any = !tokens_.empty();
    std::move(tokens_.begin(), tokens_.end(), std::back_inserter(out));
    tokens_.clear();
    if (any || reason_ == FinishReason::Running) {
        return true;
    }
    if (error_) {
        std::rethrow_exception(error_);
    }
    return false;
}

bool Generation::finished() const {
    check_process();
    std::lock_guard<std::mutex> own(mutex_);
    return reason_ != FinishReason::Running;
}

FinishReason Generation::reason() const {
    check_process();
    std::lock_guard<std::mutex> own(mutex_);
    return reason_;
}

int32_t Generation::n_tokens() const {
    check_process();
    std::lock_guard<std::mutex> own(mutex_);
    return n_tokens_;
}

int32_t Generation::n_fed() const {
    check_process();
    std::lock_guard<std::mutex> own(mutex_);
    return n_fed_;
}

int32_t Generation::n_repeated() const {
    check_process();
    std::lock_guard<std::mutex> own(mutex_);
    return repetition_.times();
}

int32_t Generation::n_in_phrase() const {
    check_process();
    std::lock_guard<std::mutex> own(mutex_);
    return repetition_.period();
}

void Generation::fed() {
    std::lock_guard<std::mutex> own(mutex_);
    n_fed_++;
}

void Generation::sample(const float * row, std::shared_ptr<const AttentionSums> attention, double now_s) {
    const Engine & engine = *session_->engine();
    Token token;
    token.id = sampler_->sample(row, cancel_);
    if (!params_.ignore_end && engine.is_eog(token.id)) {
        finish(FinishReason::Stop);
        return;
    }
    const bool first = n_tokens_ == 0; // written by this thread only
    if (first || params_.logprobs >= 0) {
        token.logprob = log_probability(row, (size_t) engine.facts().n_vocab, token.id, std::max(0, params_.logprobs), token.top);
    } else {
        token.logprob = NAN;
    }
    token.bytes     = engine.token_bytes(token.id, false);
    token.at        = now_s;
    token.attention = std::move(attention);

    bool stopped = false;
    if (longest_stop_ > 0) {
        tail_ += token.bytes;
        stopped = std::any_of(params_.stop.begin(), params_.stop.end(), [&](const auto & text) { return tail_.find(text) != std::string::npos; });
        if (tail_.size() > longest_stop_) {
            tail_.erase(0, tail_.size() - longest_stop_);
        }
    }
    const llama_token id = token.id;
    bool repeats = false;
    {
        std::lock_guard<std::mutex> own(mutex_);
        tokens_.push_back(std::move(token));
        n_tokens_++;
        repeats = repetition_.add(id) > 0;
    }
    changed_.notify_all();
    if (stopped) {
        finish(FinishReason::Stop);
    } else if (repeats) {
        finish(FinishReason::Repetition);
    } else if (n_tokens_ >= params_.max_tokens) {
        finish(FinishReason::Length);
    } else {
        pending_ = id;
    }
}

void Generation::finish(FinishReason reason, std::exception_ptr error) {
    pending_ = LLAMA_TOKEN_NULL;
    {
        std::lock_guard<std::mutex> own(mutex_);
        reason_ = reason;
        error_  = std::move(error);
    }
    changed_.notify_all();
}

} // namespace mata
