#include "engine.h"
#include "guard.h"
#include "stack.h"

#include <algorithm>
#include <future>
#include <thread>

namespace mata {

// Letters without a space between them, or spaces without a letter: no pattern of a pre-tokenizer matches across.
static size_t longest_run(const std::string & text) {
    size_t longest = 0;
    size_t run     = 0;
    bool   space   = false;
    for (const char c : text) {
        const bool is_space = c == ' ' || (c >= '\t' && c <= '\r');
        run     = is_space == space ? run + 1 : 1;
        space   = is_space;
        longest = std::max(longest, run);
    }
    return longest;
}

static std::vector<llama_token> tokenized(const llama_vocab * vocab, const std::string & text, bool add_special, bool parse_special) {
    Guard guard;
    std::vector<llama_token> tokens(text.size() + 8);
    int32_t n = llama_tokenize(vocab, text.data(), (int32_t) text.size(), tokens.data(), (int32_t) tokens.size(), add_special, parse_special);
    if (n < 0) {
        tokens.resize((size_t) -(int64_t) n);
        n = llama_tokenize(vocab, text.data(), (int32_t) text.size(), tokens.data(), (int32_t) tokens.size(), add_special, parse_special);
    }
    if (n < 0) {
        throw Error(ErrorKind::Engine, "the tokenizer failed");
    }
    tokens.resize((size_t) n);
    return tokens;
}

// Where llama.cpp has no splitter of its own it uses std::regex, which recurses for each character of a match.
static std::vector<llama_token> tokens_of(const llama_vocab * vocab, const std::string & text, bool add_special, bool parse_special) {
    constexpr size_t RUN_SHORT = 200;     // any stack suffices
    constexpr size_t RUN_MAX   = 500'000;
    constexpr size_t PER_BYTE  = 2048;    // a third of it was seen to be used
    const size_t run = longest_run(text);
    if (run <= RUN_SHORT) {
        return tokenized(vocab, text, add_special, parse_special);
    }
    if (run > RUN_MAX) {
        throw Error(ErrorKind::Argument, "the text has " + std::to_string(run) + " characters in a row without a space: at most " + std::to_string(RUN_MAX) + " can be read");
    }
    std::vector<llama_token> tokens;
    run_with_stack(((size_t) 1 << 20) + run*PER_BYTE, [&] { tokens = tokenized(vocab, text, add_special, parse_special); });
    return tokens;
}

std::vector<llama_token> Engine::tokenize(const std::string & text, bool add_special, bool parse_special, const CancelPtr & cancel) {
    constexpr size_t TEXT_MAX = (size_t) 1 << 28;
    constexpr size_t TEXT_BIG = (size_t) 1 << 18; // takes a moment
    if (text.size() > TEXT_MAX) {
        throw Error(ErrorKind::Argument, "the text is longer than 256 MiB");
    }
    check_process();
    if (!cancel || text.size() < TEXT_BIG) {
        const auto held = alive();
        return tokens_of(vocab_, text, add_special, parse_special);
    }
    // llama_tokenize cannot be stopped: it runs on a thread that can be left alone
    auto task = std::make_shared<std::packaged_task<std::vector<llama_token>()>>([self = shared_from_this(), text, add_special, parse_special] {
        const auto held = self->alive();
        return tokens_of(self->vocab_, text, add_special, parse_special);
    });
    auto result = task->get_future();
    std::thread([task] { (*task)(); }).detach();
    while (result.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
        if (asked_to_end(cancel)) {
            throw Error(ErrorKind::Cancelled, "cancelled");
        }
    }
    return result.get();
}

static void check_token(llama_token token, int32_t n_vocab) {
    if (token < 0 || token >= n_vocab) {
        throw Error(ErrorKind::Argument, "token " + std::to_string(token) + " is not between 0 and " + std::to_string(n_vocab - 1));
    }
}

std::string Engine::token_bytes(llama_token token, bool special) const {
    const auto held = alive();
    check_token(token, facts_.n_vocab);
    std::string piece(32, '\0');
    int32_t n = llama_token_to_piece(vocab_, token, piece.data(), (int32_t) piece.size(), 0, special);
    if (n < 0) {
        piece.resize((size_t) -n);
        n = llama_token_to_piece(vocab_, token, piece.data(), (int32_t) piece.size(), 0, special);
    }
    piece.resize(n > 0 ? (size_t) n : 0);
    return piece;
}

bool Engine::is_eog(llama_token token) const {
    const auto held = alive();
    check_token(token, facts_.n_vocab);
    return llama_vocab_is_eog(vocab_, token);
}

} // namespace mata
