#include "engine.h"
#include "guard.h"

#include <future>
#include <thread>

namespace mata {

static std::vector<llama_token> tokens_of(const llama_vocab * vocab, const std::string & text, bool add_special, bool parse_special) {
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
