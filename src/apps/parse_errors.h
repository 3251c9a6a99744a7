// What a command line got wrong, in words of ours: the parser knows neither nearest names nor the order of the words.
#pragma once
#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace hadal {

// "hadal train" of the verb that was being parsed.
std::string verb_path(const CLI::App& root);
// One sentence without an end.
std::string parse_error_text(const CLI::ParseError& error, const CLI::App& root, int argc, const char* const* argv);

}  // namespace hadal
