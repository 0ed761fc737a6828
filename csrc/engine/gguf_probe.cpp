#include "gguf_probe.h"
#include "error.h"
#include "guard.h"
#include "log.h"

#include "gguf.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

namespace mata {

namespace fs = std::filesystem;

static constexpr size_t MAX_NAME = 64;

struct GgufDeleter {
    void operator()(gguf_context * ctx) const { gguf_free(ctx); }
};

// A tensor's name as it may stand in a message.
static std::string printable_name(std::string name) {
    std::replace_if(name.begin(), name.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return name;
}

static bool get_bool(const gguf_context * ctx, const char * key) {
    const int64_t id = gguf_find_key(ctx, key);
    return id >= 0 && gguf_get_kv_type(ctx, id) == GGUF_TYPE_BOOL && gguf_get_val_bool(ctx, id);
}

// ggml multiplies by floats and by what it can dequantize; it calls a null pointer for integers, doubles and the types
// that activations are rounded to (Q8_1, Q8_K). One wrong byte in a file is enough.
static bool can_compute_with(ggml_type type, const std::string & name) {
    switch (type) {
        case GGML_TYPE_F32:
        case GGML_TYPE_F16:
        case GGML_TYPE_BF16:
            return true;
        case GGML_TYPE_I32:
            return name.find("tid2eid") != std::string::npos; // a table of indices
        default:
            return ggml_is_quantized(type) && ggml_get_type_traits(type)->to_float;
    }
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
        const std::string tensor = gguf_get_tensor_name(ctx.get(), i);
        const ggml_type   type   = gguf_get_tensor_type(ctx.get(), i);
        if (info.unusable.empty() && !can_compute_with(type, tensor)) {
            info.unusable = printable_name(tensor) + " is of type " + ggml_type_name(type);
        }
        const uint64_t end = data_offset + gguf_get_tensor_offset(ctx.get(), i) + gguf_get_tensor_size(ctx.get(), i);
        if (end > (uint64_t) info.n_bytes) {
            fail("truncated: tensor " + printable_name(tensor) + " ends at byte " +
                 std::to_string(end) + " but the file has " + std::to_string(info.n_bytes) + ": download it again");
        }
    }

    // All of these are names; what else a file holds there must not reach a terminal or Python's decoder.
    const auto name = [&](const std::string & key) -> std::string {
        const int64_t id = gguf_find_key(ctx.get(), key.c_str());
        if (id < 0) {
            return "";
        }
        if (gguf_get_kv_type(ctx.get(), id) != GGUF_TYPE_STRING) {
            fail(key + " is not text: the file is damaged or made wrongly");
        }
        const std::string value = gguf_get_val_str(ctx.get(), id);
        const bool printable = std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c < 0x7f; });
        if (!printable || value.size() > MAX_NAME) {
            fail(key + " is not a name: the file is damaged or made wrongly");
        }
        return value;
    };
    info.architecture = name("general.architecture");
    info.type         = name("general.type");
    info.prompt_rule  = name("mata.audio.prompt");
    info.has_audio    = get_bool  (ctx.get(), "clip.has_audio_encoder");
    info.has_vision   = get_bool  (ctx.get(), "clip.has_vision_encoder");
    info.projector    = name("clip.audio.projector_type");
    if (info.projector.empty()) {
        info.projector = name("clip.projector_type");
    }
    return info;
}

} // namespace mata
