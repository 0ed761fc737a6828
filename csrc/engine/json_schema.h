// A JSON schema as a grammar, by llama.cpp's own converter.

#pragma once

#include <string>

namespace mata {

// GBNF with a rule "root". Throws Error (Argument) for what is not a JSON schema, or one that the converter does not know.
std::string json_schema_to_gbnf(const std::string & schema);

} // namespace mata
