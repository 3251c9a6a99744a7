// Compiling a grammar in a child process under limits: the compiler has no limit of time and may recurse, and what it
// reads comes from strangers. The child is this program again (or another one of this house), started with
// kGrammarChild as its only argument; it sets its limits before it looks at the format:
//   in:   limits, the tokens' bytes, the format       out:  'k' and the compiled grammar, or 'e' and why there is none
#pragma once
#include <cstdint>
#include <string>

#include "grammar/backend.h"

namespace hadal {

inline constexpr const char* kGrammarChild = "--compile-grammar";

struct GrammarLimits {
  double compile_seconds = 2;         // of computing
  int64_t compile_bytes = 512 << 20;  // of memory; 0: no limit
  double wait_seconds = 60;           // on a busy machine
  int64_t compiled_bytes = 64 << 20;  // of the result
  double text_seconds = 2;  // of computing for the masks of one text, and so much more for each of its tokens:
  double token_seconds = 0.1;
  std::string program = "/proc/self/exe";
};

// Throws invalid, saying why, for what cannot be compiled or takes more than the limits; io where no child starts.
std::string compile_in_child(const TokenTable& tokens, const std::string& format, const GrammarLimits& limits);

// The child: reads standard input, writes standard output. Its exit status.
int run_grammar_child();

}  // namespace hadal
