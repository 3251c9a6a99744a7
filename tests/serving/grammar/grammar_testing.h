// What tests of constraints share: the program that compiles for them.
#pragma once
#include "grammar/compile_child.h"

namespace hadal::testing {

// The built binary compiles; this program could not.
inline GrammarLimits grammar_limits() {
  GrammarLimits limits;
  limits.program = HADAL_BINARY_DIR "/hadal";
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  limits.compile_bytes = 0;  // sanitizers reserve terabytes of addresses
#endif
  return limits;
}

}  // namespace hadal::testing
