#include "gguf_probe.h"
#include "error.h"
#include "guard.h"
#include "log.h"

#include "gguf.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

namespace mata {

namespace fs = std::filesystem;

struct GgufDeleter {
    void operator()(gguf_context * ctx) const { gguf_free(ctx); }
};

static std::string get_string(const gguf_context * ctx, const char * key) {
    const int64_t id = gguf_find_key(ctx, key);
    return id >= 0 && gguf_get_kv_type(ctx, id) == GGUF_TYPE_STRING ? gguf_get_val_str(ctx, id) : "";
}

static bool get_bool(const gguf_context * ctx, const char * key) {
    const int64_t id = gguf_find_key(ctx, key);
    return id >= 0 && gguf_get_kv_type(ctx, id) == GGUF_TYPE_BOOL && gguf_get_val_bool(ctx, id);
}

GgufInfo probe_gguf(const std::string & path) {
    init_logging();
    const auto fail = [&](const std::string & why) { throw Error(ErrorKind::Model, path + ": " + why); };

    GgufInfo info;
    std::error_code ec;
    const auto status = fs::status(fs::u8path(path), ec);
    if (!fs::exists(status)) {
        fail("no such file");
    }
    if (fs::is_directory(status)) {
        fail("this is a folder, not a GGUF file");
    }
    info.n_bytes = (int64_t) fs::file_size(fs::u8path(path), ec);
    if (ec) {
        fail("cannot be read: " + ec.message());
    }

    char magic[4] = {};
    {
        std::ifstream file(fs::u8path(path), std::ios::binary);
        if (!file) {
            fail("cannot be opened: check its permissions");
        }
        file.read(magic, sizeof(magic));
    }
    if (info.n_bytes == 0) {
        fail("the file is empty: download it again");
    }
    if (std::memcmp(magic, "GGUF", sizeof(magic)) != 0) {
        fail("not a GGUF file (it does not start with \"GGUF\")");
    }

    take_logged_errors();
    std::unique_ptr<gguf_context, GgufDeleter> ctx;
    try {
        Guard guard;
        ctx.reset(gguf_init_from_file(path.c_str(), { /*.no_alloc =*/ true, /*.ctx =*/ nullptr }));
    } catch (const std::exception & e) {
        fail(std::string("damaged GGUF header: ") + e.what());
    }
    if (!ctx) {
        const std::string why = take_logged_errors();
        fail("damaged or truncated GGUF header" + (why.empty() ? "" : " (" + why + ")") + ": download it again");
    }

    info.n_tensors = gguf_get_n_tensors(ctx.get());
    const uint64_t data_offset = gguf_get_data_offset(ctx.get());
    for (int64_t i = 0; i < info.n_tensors; ++i) {
        const uint64_t end = data_offset + gguf_get_tensor_offset(ctx.get(), i) + gguf_get_tensor_size(ctx.get(), i);
        if (end > (uint64_t) info.n_bytes) {
            fail("truncated: tensor " + std::string(gguf_get_tensor_name(ctx.get(), i)) + " ends at byte " +
                 std::to_string(end) + " but the file has " + std::to_string(info.n_bytes) + ": download it again");
        }
    }

    info.architecture = get_string(ctx.get(), "general.architecture");
    info.type         = get_string(ctx.get(), "general.type");
    info.prompt_rule  = get_string(ctx.get(), "mata.audio.prompt");
    info.has_audio    = get_bool  (ctx.get(), "clip.has_audio_encoder");
    info.has_vision   = get_bool  (ctx.get(), "clip.has_vision_encoder");
    info.projector    = get_string(ctx.get(), "clip.audio.projector_type");
    if (info.projector.empty()) {
        info.projector = get_string(ctx.get(), "clip.projector_type");
    }
    return info;
}

} // namespace mata
