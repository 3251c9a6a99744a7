// What a program can do with grammars, which one folder answers: xgrammar/ with the library that ./setup builds into
// .xgrammar, or no_xgrammar/. Formats are texts (formats.h), tokens the bytes of each id.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/constraint.h"

namespace hadal {

using TokenTable = std::vector<std::string>;  // of each id its bytes; empty: never written

// Empty where there are grammars; else why there are none, and what to do.
std::string why_no_grammars();

// Compiles a format for these tokens; the result is for constraint_of(). Takes any time and memory and may recurse to
// any depth: it belongs into a child (compile_child.h). Throws invalid, saying why, for what is no format, what would
// be followed in part alone, and what no text satisfies.
std::string compile_grammar(const TokenTable& tokens, const std::string& format);

// The tokens as matching wants them: made once.
struct GrammarTokens;
std::shared_ptr<const GrammarTokens> grammar_tokens(const TokenTable& tokens);

struct GrammarConstraint {
  std::shared_ptr<const Constraint> constraint;
  int64_t bytes = 0;  // about what it takes
};
// What following one text may take of computing: more, and the text fails.
struct FollowLimits {
  double seconds = 0, seconds_a_token = 0;
};
// Throws internal for what compile_grammar did not make for these tokens.
GrammarConstraint constraint_of(const std::shared_ptr<const GrammarTokens>& tokens, const std::string& compiled,
                                const FollowLimits& limits);

}  // namespace hadal
