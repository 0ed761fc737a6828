// Looks at a GGUF file without loading it, so that a wrong or damaged one is named before anything else happens.

#pragma once

#include <cstdint>
#include <string>

namespace mata {

struct GgufInfo {
    std::string architecture;       // general.architecture: "llama", "clip", ...
    std::string type;               // general.type: "model", "mmproj", "adapter", ... or ""
    std::string projector;          // clip.projector_type or clip.audio.projector_type
    std::string prompt_rule;        // mata.audio.prompt: by whose rule clips are written into a prompt; "": the projector type's
    bool        has_audio  = false; // an audio encoder
    bool        has_vision = false;
    int64_t     n_tensors  = 0;
    int64_t     n_bytes    = 0;     // of the file
    std::string unusable;           // "NAME is of type TYPE": a tensor of a type that nothing computes with; else ""
};

// Throws Error (Model) for a file that is missing, empty, not GGUF or shorter than its tensors, or that has something else
// than a name where one of these strings belongs.
GgufInfo probe_gguf(const std::string & path);

} // namespace mata
