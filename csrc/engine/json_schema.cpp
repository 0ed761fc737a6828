#include "json_schema.h"
#include "error.h"
#include "guard.h"

#include "json-schema-to-grammar.h"

#include <algorithm>
#include <vector>

// llama.cpp's converter needs three small functions of its common library, which is not built here: it would bring
// command lines, downloads and servers along.
std::string string_join(const std::vector<std::string> & values, const std::string & separator) {
    std::string all;
    for (const auto & value : values) {
        all += &value == &values.front() ? value : separator + value;
    }
    return all;
}

std::vector<std::string> string_split(const std::string & text, const std::string & separator) {
    std::vector<std::string> parts(1);
    for (size_t at = 0; at < text.size();) {
        if (text.compare(at, separator.size(), separator) == 0) {
            parts.emplace_back();
            at += separator.size();
        } else {
            parts.back() += text[at++];
        }
    }
    return parts;
}

std::string string_repeat(const std::string & text, size_t times) {
    std::string all;
    while (times-- > 0) {
        all += text;
    }
    return all;
}

namespace mata {

// The converter recurses into the schema.
static void check_depth(const std::string & schema) {
    constexpr int DEPTH_MAX = 64;
    int  depth  = 0;
    bool string = false;
    for (size_t i = 0; i < schema.size(); ++i) {
        const char c = schema[i];
        if (string) {
            i += c == '\\';
            string = c != '"';
        } else if (c == '"') {
            string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > DEPTH_MAX) {
                throw Error(ErrorKind::Argument, "the JSON schema has more than " + std::to_string(DEPTH_MAX) + " nested levels");
            }
        } else if (c == '}' || c == ']') {
            --depth;
        }
    }
}

std::string json_schema_to_gbnf(const std::string & schema) {
    constexpr size_t SCHEMA_MAX = 1 << 18;
    if (schema.size() > SCHEMA_MAX) {
        throw Error(ErrorKind::Argument, "the JSON schema is longer than 256 KiB");
    }
    check_depth(schema);
    try {
        Guard guard;
        return json_schema_to_grammar(common_json::parse(schema), true);
    } catch (const std::exception & e) {
        std::string why = e.what();
        std::replace(why.begin(), why.end(), '\n', ' ');
        throw Error(ErrorKind::Argument, "the JSON schema cannot be used: " + why);
    }
}

} // namespace mata
