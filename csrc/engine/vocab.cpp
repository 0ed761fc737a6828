#include "engine.h"
#include "guard.h"

namespace mata {

std::vector<llama_token> Engine::tokenize(const std::string & text, bool add_special, bool parse_special) const {
    const auto held = alive();
    if (text.size() > (size_t) 1 << 28) {
        throw Error(ErrorKind::Argument, "the text is longer than 256 MiB");
    }
    Guard guard;
    std::vector<llama_token> tokens(text.size() + 8);
    int32_t n = llama_tokenize(vocab_, text.data(), (int32_t) text.size(), tokens.data(), (int32_t) tokens.size(), add_special, parse_special);
    if (n < 0) {
        tokens.resize((size_t) -(int64_t) n);
        n = llama_tokenize(vocab_, text.data(), (int32_t) text.size(), tokens.data(), (int32_t) tokens.size(), add_special, parse_special);
    }
    if (n < 0) {
        throw Error(ErrorKind::Engine, "the tokenizer failed");
    }
    tokens.resize((size_t) n);
    return tokens;
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
