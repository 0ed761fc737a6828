// Eight threads on one engine: conversations fed, forked, generated, cancelled and closed at once, clips encoded in
// between. Built with a sanitizer by run.sh; without one it still checks that every answer is the one given alone.
//
//     many_threads MODEL MMPROJ [ROUNDS]

#include "engine.h"
#include "generation.h"
#include "sampler.h"
#include "session.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

using namespace mata;

namespace {

constexpr int N_THREADS = 8;
constexpr int N_TOKENS  = 8;

std::vector<float> noise(int seed, size_t n) {
    std::mt19937 rng((unsigned) seed);
    std::normal_distribution<float> normal(0.0f, 0.1f);
    std::vector<float> samples(n);
    for (float & x : samples) {
        x = normal(rng);
    }
    return samples;
}

// A session that has heard clip number i and waits for an answer.
std::shared_ptr<Session> ask(const std::shared_ptr<Engine> & engine, int i, const CancelPtr & cancel) {
    const auto samples = noise(i, 16000*(1 + i%2));
    const AudioEmbedding clip = engine->encode_audio(samples.data(), samples.size(), cancel);
    auto session = engine->new_session();
    session->feed_tokens({ 1, 2, 3 }, false, cancel);
    const auto span = session->feed_audio(clip, cancel);
    if (i % 3) {
        const std::vector<float> alpha((size_t) engine->facts().n_layer, 0.3f);
        session->set_mata({ i % 3 == 1 ? MATA_MODE_SCALE : MATA_MODE_ADD, alpha, { { span.first, span.second, 1.0f } } });
    }
    session->feed_tokens({ 4, 5, 6 + i }, false, cancel);
    return session;
}

std::vector<llama_token> answer(const std::shared_ptr<Engine> & engine, const std::shared_ptr<Session> & session, const CancelPtr & cancel) {
    auto generation = std::make_shared<Generation>(session, std::make_shared<Sampler>(engine, SamplerParams()),
        GenerationParams { N_TOKENS, {}, 2, 0, false, false }, cancel);
    engine->generate(generation);
    std::vector<Token> tokens;
    while (generation->take(tokens, std::chrono::milliseconds(100))) {
        std::this_thread::yield();
    }
    std::vector<llama_token> ids;
    for (const auto & token : tokens) {
        ids.push_back(token.id);
        if (token.top.size() == 2 && token.top[0].second - token.top[1].second < 1e-2f) {
            break; // from here on two answers are equally good
        }
    }
    return ids;
}

int talk(const std::shared_ptr<Engine> & engine, const std::vector<std::vector<llama_token>> & known, int seed, int n_rounds) {
    std::mt19937 rng((unsigned) seed);
    int wrong = 0;
    for (int round = 0; round < n_rounds; ++round) {
        const int i = (int) (rng() % known.size());
        const auto cancel = std::make_shared<Cancel>();
        try {
            if (rng() % 4 == 0) { // cancelled somewhere on the way
                std::thread late([cancel, ms = rng() % 30] {
                    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
                    cancel->cancel();
                });
                try {
                    answer(engine, ask(engine, i, cancel), cancel);
                } catch (const Error &) {
                    late.join();
                    throw;
                }
                late.join();
                continue;
            }
            const auto session = ask(engine, i, cancel);
            if (rng() % 4 == 0) { // closed in the middle
                engine->generate(std::make_shared<Generation>(session, std::make_shared<Sampler>(engine, SamplerParams()),
                    GenerationParams { 64, {}, -1, 0, false, false }, cancel));
                session->share(session->n_past()/2)->close();
                session->close();
                continue;
            }
            const auto twin = session->fork();
            const auto ids  = answer(engine, session, cancel);
            const size_t n  = std::min(ids.size(), known[(size_t) i].size());
            if (!std::equal(ids.begin(), ids.begin() + (ptrdiff_t) n, known[(size_t) i].begin())) {
                std::fprintf(stderr, "question %d was answered otherwise than alone\n", i);
                wrong++;
            }
        } catch (const Error & e) {
            if (e.kind != ErrorKind::Cancelled && e.kind != ErrorKind::ContextFull) {
                std::fprintf(stderr, "%s\n", e.what());
                wrong++;
            }
        }
    }
    return wrong;
}

} // namespace

int main(int argc, char ** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: many_threads MODEL MMPROJ [ROUNDS]\n");
        return 2;
    }
    EngineParams params;
    params.model_path   = argv[1];
    params.mmproj_path  = argv[2];
    params.n_ctx        = 2048;
    params.n_threads    = 2;
    params.cache_type_k = params.cache_type_v = "f32";
    const int n_rounds  = argc > 3 ? std::atoi(argv[3]) : 10;

    auto engine = Engine::load(params);
    std::vector<std::vector<llama_token>> known;
    for (int i = 0; i < 6; ++i) {
        known.push_back(answer(engine, ask(engine, i, nullptr), nullptr));
    }
    std::vector<std::thread> threads;
    std::vector<int> wrong(N_THREADS, 0);
    for (int t = 0; t < N_THREADS; ++t) {
        threads.emplace_back([&, t] { wrong[(size_t) t] = talk(engine, known, t, n_rounds); });
    }
    for (auto & thread : threads) {
        thread.join();
    }
    int total = 0;
    for (const int n : wrong) {
        total += n;
    }
    engine->close();
    std::printf("%d threads, %d rounds each: %d wrong\n", N_THREADS, n_rounds, total);
    return total != 0;
}
